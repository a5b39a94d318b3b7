# Admits only hardened deployments of Bulkhead's images into a Kubernetes cluster.
#
# An admission webhook that runs OPA asks data.bulkhead.admission.main with an AdmissionReview (admission.k8s.io/v1) and
# sends back what it gets. Pods and what makes pods are judged, in every container of theirs, and ephemeral ones too. Other
# images are none of its business: see concerned. docs/monitoring.md says how to use it.
package bulkhead.admission

import rego.v1

# Where the images come from. data.bulkhead.config.prefixes, if it is there, replaces this.
default prefixes := ["bulkhead.local/", "ghcr.io/bulkhead-mcp/"]

prefixes := data.bulkhead.config.prefixes

main := {
	"apiVersion": "admission.k8s.io/v1",
	"kind": "AdmissionReview",
	"response": response,
}

response := {"uid": input.request.uid, "allowed": true} if count(deny) == 0

response := {
	"uid": input.request.uid,
	"allowed": false,
	"status": {"code": 403, "message": concat("; ", sort(deny))},
} if {
	count(deny) > 0
}

spec := input.request.object.spec if input.request.object.kind == "Pod"

spec := input.request.object.spec.jobTemplate.spec.template.spec if input.request.object.kind == "CronJob"

spec := input.request.object.spec.template.spec if {
	input.request.object.kind in {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"}
}

containers := [c | some key in ["initContainers", "containers", "ephemeralContainers"]; some c in object.get(spec, key, [])]

ours(container) if {
	some prefix in prefixes
	startswith(container.image, prefix)
}

# A pod with one of our containers is judged whole: what stands beside it shares its namespaces and volumes.
concerned if {
	some container in containers
	ours(container)
}

deny contains message if {
	concerned
	some message in pod_flaws
}

deny contains sprintf("container %s: %s", [container.name, message]) if {
	concerned
	some container in containers
	some message in container_flaws(container)
}

pod_flaws contains sprintf("%s is set", [key]) if {
	some key in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"]
	object.get(spec, key, false) != false
}

pod_flaws contains sprintf("the volume %s is a path of the host", [volume.name]) if {
	some volume in object.get(spec, "volumes", [])
	volume.hostPath
}

pod_flaws contains "the service account's token is mounted: set automountServiceAccountToken to false" if {
	object.get(spec, "automountServiceAccountToken", true) != false
}

pod_flaws contains sprintf("the volume %s has no sizeLimit", [volume.name]) if {
	some volume in object.get(spec, "volumes", [])
	volume.emptyDir
	not volume.emptyDir.sizeLimit
}

# What a container does not say itself, the pod says for it, where Kubernetes has it so.
setting(container, key) := object.get(container, ["securityContext", key], object.get(spec, ["securityContext", key], null))

own(container, key) := object.get(container, ["securityContext", key], null)

container_flaws(container) := {message |
	some message, holds in {
		"its image is not named by digest": regex.match(`@sha256:[0-9a-f]{64}$`, container.image),
		"runAsNonRoot is not true": setting(container, "runAsNonRoot") == true,
		"it runs as uid 0": setting(container, "runAsUser") != 0,
		"readOnlyRootFilesystem is not true": own(container, "readOnlyRootFilesystem") == true,
		"allowPrivilegeEscalation is not false": own(container, "allowPrivilegeEscalation") == false,
		"it is privileged": own(container, "privileged") in {null, false},
		"procMount is changed": own(container, "procMount") in {null, "Default"},
		"not all capabilities are dropped": drops_all(container),
		"capabilities are added": adds_none(container),
		"seccompProfile is neither RuntimeDefault nor Localhost": confined(container),
		"it has no limits of memory and CPU": limited(container),
		"it has a port of the host": without_host_port(container),
	}
	holds == false
}

default drops_all(_) := false

drops_all(container) if "ALL" in container.securityContext.capabilities.drop

default adds_none(_) := false

adds_none(container) if count(object.get(container, ["securityContext", "capabilities", "add"], [])) == 0

default confined(_) := false

confined(container) if setting(container, "seccompProfile").type in {"RuntimeDefault", "Localhost"}

default limited(_) := false

limited(container) if {
	container.resources.limits.memory
	container.resources.limits.cpu
}

default without_host_port(_) := false

without_host_port(container) if count([p | some p in object.get(container, "ports", []); object.get(p, "hostPort", 0) != 0]) == 0
