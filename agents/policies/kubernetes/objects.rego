package main

import data.lib.kubernetes
import rego.v1

required_labels := {"app", "team"}

# METADATA
# title: Objects say whose they are
violation_labels contains {"msg": msg, "severity": "low", "details": {"missing": missing}} if {
	input.kind in {"Deployment", "StatefulSet", "DaemonSet"}
	labels := {label | input.metadata.labels[label]}
	missing := required_labels - labels
	count(missing) > 0
	msg := sprintf("%s has no label %s", [kubernetes.name, concat(", ", missing)])
}

# METADATA
# title: Names are names of the DNS, and short
deny_name contains sprintf("%s: the name is not a short DNS label", [kubernetes.name]) if {
	name := input.metadata.name
	not regex.match(`^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$`, name)
}

# METADATA
# title: Nothing is put into the namespace default
deny_namespace contains sprintf("%s is in the namespace default", [kubernetes.name]) if {
	kubernetes.is_workload
	kubernetes.namespace == "default"
}

# METADATA
# title: A service is reached through the ingress
deny_service_type contains msg if {
	input.kind == "Service"
	type := object.get(input.spec, "type", "ClusterIP")
	type in {"NodePort", "LoadBalancer"}
	msg := sprintf("%s is of type %s", [kubernetes.name, type])
}

# METADATA
# title: An ingress has TLS
deny_ingress_tls contains msg if {
	input.kind == "Ingress"
	hosts := {rule.host | some rule in input.spec.rules}
	secured := {host | some tls in object.get(input.spec, "tls", []); some host in tls.hosts}
	some host in hosts - secured
	msg := sprintf("%s serves %s without TLS", [kubernetes.name, host])
}

# METADATA
# title: A secret is not committed
deny_secret contains msg if {
	input.kind == "Secret"
	keys := object.keys(object.union(object.get(input, "data", {}), object.get(input, "stringData", {})))
	count(keys) > 0
	msg := sprintf("%s holds %d value(s) (%s); keep them in the vault", [kubernetes.name, count(keys), concat(", ", keys)])
}

# METADATA
# title: A role grants what it names
deny_wildcard contains msg if {
	input.kind in {"Role", "ClusterRole"}
	some i, rule in input.rules
	some field in ["verbs", "resources", "apiGroups"]
	"*" in rule[field]
	msg := sprintf("%s: rule %d grants every one of %s", [kubernetes.name, i, field])
}
