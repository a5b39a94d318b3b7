package main

import data.lib.kubernetes
import rego.v1

# What the platform team has agreed to, in data/exceptions.yaml.
exception contains rules if {
	some entry in data.exceptions
	entry.namespace == kubernetes.namespace
	glob.match(entry.name, [], kubernetes.name)
	rules := entry.rules
}

# What teams may accept themselves, by an annotation.
exception contains rules if {
	acceptable := ["image_digest", "replicas"]
	rules := [rule | some rule in acceptable; kubernetes.annotated(rule)]
}
