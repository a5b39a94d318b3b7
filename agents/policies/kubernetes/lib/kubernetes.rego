# What the policies know of Kubernetes: where a pod template is, and which containers it has.
package lib.kubernetes

import rego.v1

workloads := {"Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"}

default is_workload := false

is_workload if input.kind in workloads

name := sprintf("%s/%s", [input.kind, object.get(input, ["metadata", "name"], "(no name)")])

namespace := object.get(input, ["metadata", "namespace"], "default")

template := input if input.kind == "Pod"

template := input.spec.jobTemplate.spec.template if input.kind == "CronJob"

template := input.spec.template if {
	is_workload
	not input.kind in {"Pod", "CronJob"}
}

pod := template.spec

# An init container is a container, too: the second element says which kind of one.
containers contains [kind, container] if {
	some kind in ["containers", "initContainers"]
	some container in object.get(pod, kind, [])
}

# An image without a registry is Docker Hub's, as the container runtimes have it.
registry(image) := "docker.io" if not contains(image, "/")

registry(image) := host if {
	host := split(image, "/")[0]
	regex.match(`[.:]|^localhost$`, host)
}

registry(image) := "docker.io" if {
	contains(image, "/")
	not regex.match(`[.:]|^localhost$`, split(image, "/")[0])
}

# annotated says whether the object itself accepts a finding of that name.
annotated(rule) if {
	accepted := object.get(input, ["metadata", "annotations", "policy.example.com/accepts"], "")
	rule in {trim_space(part) | some part in split(accepted, ",")}
}
