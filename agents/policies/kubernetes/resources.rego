package main

import data.lib.kubernetes
import rego.v1

# METADATA
# title: A container says how much memory it may take
violation_memory_limit contains {"msg": msg, "severity": "medium", "container": container.name, "fix": "set resources.limits.memory"} if {
	some ["containers", container] in kubernetes.containers
	not container.resources.limits.memory
	msg := sprintf("%s: container %q has no memory limit", [kubernetes.name, container.name])
}

# METADATA
# title: A container takes no more memory than its team has
deny_memory contains msg if {
	some [_, container] in kubernetes.containers
	asked := units.parse_bytes(container.resources.limits.memory)
	most := units.parse_bytes(object.get(data.teams, [kubernetes.namespace, "memory"], data.teams["*"].memory))
	asked > most
	msg := sprintf("%s: container %q asks for %s, and its team has %d MiB", [kubernetes.name, container.name, container.resources.limits.memory, most / 1048576])
}

# METADATA
# title: A service survives the loss of a node
warn_replicas contains sprintf("%s has %d replica(s); a service that matters has two at least", [kubernetes.name, replicas]) if {
	input.kind in {"Deployment", "StatefulSet"}
	replicas := object.get(input, ["spec", "replicas"], 1)
	replicas < 2
}
