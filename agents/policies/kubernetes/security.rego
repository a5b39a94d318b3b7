package main

import data.lib.kubernetes
import rego.v1

forbidden_paths := {"/", "/etc", "/proc", "/root", "/var/run/docker.sock", "/run/containerd/containerd.sock"}

dropped_by_default := {"ALL"}

# METADATA
# title: No container is privileged
deny_privileged contains msg if {
	some [_, container] in kubernetes.containers
	container.securityContext.privileged
	msg := sprintf("%s: container %q is privileged", [kubernetes.name, container.name])
}

# METADATA
# title: No container adds capabilities but to bind a low port
deny_capabilities contains msg if {
	some [_, container] in kubernetes.containers
	added := {upper(c) | some c in container.securityContext.capabilities.add}
	beyond := added - {"NET_BIND_SERVICE"}
	count(beyond) > 0
	msg := sprintf("%s: container %q adds %s", [kubernetes.name, container.name, concat(", ", sort(beyond))])
}

# METADATA
# title: Capabilities are dropped
warn_capabilities contains msg if {
	some ["containers", container] in kubernetes.containers
	dropped := {upper(c) | some c in object.get(container, ["securityContext", "capabilities", "drop"], [])}
	count(dropped & dropped_by_default) == 0
	msg := sprintf("%s: container %q keeps its default capabilities", [kubernetes.name, container.name])
}

# METADATA
# title: The node's files stay the node's
deny_host_path contains msg if {
	some volume in kubernetes.pod.volumes
	path := volume.hostPath.path
	some forbidden in forbidden_paths
	path == forbidden
	msg := sprintf("%s: volume %q mounts %s of the node", [kubernetes.name, volume.name, path])
}

# METADATA
# title: Nothing shares the node's namespaces
deny_host_namespaces contains msg if {
	some field in ["hostNetwork", "hostPID", "hostIPC"]
	kubernetes.pod[field] == true
	msg := sprintf("%s sets %s", [kubernetes.name, field])
}

# METADATA
# title: Nothing runs as root
deny_root contains msg if {
	walk(kubernetes.pod, [path, value])
	path[count(path) - 1] == "runAsUser"
	value == 0
	msg := sprintf("%s: %s is 0", [kubernetes.name, concat(".", [sprintf("%v", [step]) | some step in path])])
}

# METADATA
# title: The service account's token is mounted where it is used
warn_token contains msg if {
	kubernetes.is_workload
	object.get(kubernetes.pod, "automountServiceAccountToken", true)
	object.get(kubernetes.pod, "serviceAccountName", "default") == "default"
	msg := sprintf("%s mounts the token of the default service account", [kubernetes.name])
}
