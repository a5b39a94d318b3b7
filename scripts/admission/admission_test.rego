package bulkhead.admission_test

import rego.v1

import data.bulkhead.admission

digest := "@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

container := {
	"name": "kubernetes",
	"image": concat("", ["ghcr.io/bulkhead-mcp/kubernetes", digest]),
	"securityContext": {
		"runAsNonRoot": true,
		"runAsUser": 65532,
		"readOnlyRootFilesystem": true,
		"allowPrivilegeEscalation": false,
		"capabilities": {"drop": ["ALL"]},
		"seccompProfile": {"type": "RuntimeDefault"},
	},
	"resources": {"limits": {"memory": "256Mi", "cpu": "1"}},
	"ports": [{"containerPort": 4000}],
}

pod := {
	"automountServiceAccountToken": false,
	"containers": [container],
	"volumes": [{"name": "s", "emptyDir": {"sizeLimit": "64Ki"}}],
}

review(object) := {"request": {"uid": "1", "object": object}}

as_pod(spec) := review({"kind": "Pod", "spec": spec})

denied(spec) := messages if {
	messages := admission.deny with input as as_pod(spec)
}

test_hardened_is_admitted if {
	count(denied(pod)) == 0
	answer := admission.main with input as as_pod(pod)
	answer.response == {"uid": "1", "allowed": true}
}

test_everything_that_makes_pods if {
	bad := object.union(pod, {"hostNetwork": true})
	every kind in ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"] {
		count(admission.deny) == 1 with input as review({"kind": kind, "spec": {"template": {"spec": bad}}})
		count(admission.deny) == 0 with input as review({"kind": kind, "spec": {"template": {"spec": pod}}})
	}
	count(admission.deny) == 1 with input as review({"kind": "CronJob", "spec": {"jobTemplate": {"spec": {"template": {"spec": bad}}}}})
}

test_the_answer_names_what_is_wrong if {
	answer := admission.main with input as as_pod(object.union(pod, {"hostPID": true}))
	answer.response.allowed == false
	answer.response.status.message == "hostPID is set"
}

# Each way to break it, and what is said.
broken_pods := [
	[{"op": "add", "path": "/hostNetwork", "value": true}, "hostNetwork is set"],
	[{"op": "add", "path": "/hostPID", "value": true}, "hostPID is set"],
	[{"op": "add", "path": "/hostIPC", "value": true}, "hostIPC is set"],
	[{"op": "add", "path": "/shareProcessNamespace", "value": true}, "shareProcessNamespace is set"],
	[{"op": "remove", "path": "/automountServiceAccountToken"}, "the service account's token is mounted: set automountServiceAccountToken to false"],
	[{"op": "add", "path": "/volumes/-", "value": {"name": "d", "hostPath": {"path": "/run/docker.sock"}}}, "the volume d is a path of the host"],
	[{"op": "add", "path": "/volumes/-", "value": {"name": "t", "emptyDir": {"medium": "Memory"}}}, "the volume t has no sizeLimit"],
	[{"op": "replace", "path": "/containers/0/image", "value": "ghcr.io/bulkhead-mcp/kubernetes:latest"}, "container kubernetes: its image is not named by digest"],
	[{"op": "remove", "path": "/containers/0/securityContext/runAsNonRoot"}, "container kubernetes: runAsNonRoot is not true"],
	[{"op": "replace", "path": "/containers/0/securityContext/runAsUser", "value": 0}, "container kubernetes: it runs as uid 0"],
	[{"op": "remove", "path": "/containers/0/securityContext/readOnlyRootFilesystem"}, "container kubernetes: readOnlyRootFilesystem is not true"],
	[{"op": "remove", "path": "/containers/0/securityContext/allowPrivilegeEscalation"}, "container kubernetes: allowPrivilegeEscalation is not false"],
	[{"op": "add", "path": "/containers/0/securityContext/privileged", "value": true}, "container kubernetes: it is privileged"],
	[{"op": "add", "path": "/containers/0/securityContext/procMount", "value": "Unmasked"}, "container kubernetes: procMount is changed"],
	[{"op": "replace", "path": "/containers/0/securityContext/capabilities/drop", "value": ["NET_RAW"]}, "container kubernetes: not all capabilities are dropped"],
	[{"op": "add", "path": "/containers/0/securityContext/capabilities/add", "value": ["NET_ADMIN"]}, "container kubernetes: capabilities are added"],
	[{"op": "replace", "path": "/containers/0/securityContext/seccompProfile/type", "value": "Unconfined"}, "container kubernetes: seccompProfile is neither RuntimeDefault nor Localhost"],
	[{"op": "remove", "path": "/containers/0/resources/limits/memory"}, "container kubernetes: it has no limits of memory and CPU"],
	[{"op": "remove", "path": "/containers/0/resources"}, "container kubernetes: it has no limits of memory and CPU"],
	[{"op": "add", "path": "/containers/0/ports/0/hostPort", "value": 4000}, "container kubernetes: it has a port of the host"],
]

test_each_flaw_is_denied_and_named if {
	every broken in broken_pods {
		denied(json.patch(pod, [broken[0]])) == {broken[1]}
	}
}

test_a_container_without_a_security_context if {
	messages := denied(object.union(pod, {"containers": [object.remove(container, ["securityContext"])]}))
	count(messages) == 5
}

test_what_the_pod_says_counts_where_kubernetes_lets_it if {
	bare := json.patch(container, [
		{"op": "remove", "path": "/securityContext/runAsNonRoot"},
		{"op": "remove", "path": "/securityContext/seccompProfile"},
	])
	count(denied(object.union(pod, {"containers": [bare]}))) == 2
	count(denied(object.union(pod, {
		"containers": [bare],
		"securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
	}))) == 0
}

# A container beside ours shares the pod's namespaces, so it is held to the same.
test_containers_beside_ours if {
	other := {"name": "other", "image": "docker.io/library/busybox"}
	every key in ["initContainers", "ephemeralContainers"] {
		count(denied(object.union(pod, {key: [other]}))) > 0
	}
}

test_other_images_are_not_judged if {
	count(denied({"containers": [{"name": "other", "image": "docker.io/library/busybox"}], "hostNetwork": true})) == 0
}

test_prefixes_can_be_configured if {
	spec := {"automountServiceAccountToken": true, "containers": [object.union(container, {"image": concat("", ["registry.example/tools/kubernetes", digest])})]}
	count(admission.deny) == 0 with input as as_pod(spec)
	count(admission.deny) == 1 with input as as_pod(spec) with data.bulkhead.config as {"prefixes": ["registry.example/tools/"]}
}
