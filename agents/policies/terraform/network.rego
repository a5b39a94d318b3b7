package main

import data.lib.terraform
import rego.v1

anywhere := {"0.0.0.0/0", "::/0"}

# METADATA
# title: The internet reaches web ports alone
deny_ingress contains msg if {
	some group in terraform.of_type({"aws_security_group"})
	some ingress in terraform.blocks(group, "ingress")
	some cidr in ingress.cidr_blocks
	cidr in anywhere
	ports := numbers.range(ingress.from_port, ingress.to_port)
	beyond := [port | some port in ports; not port in data.agreed.public_ports]
	count(beyond) > 0
	msg := sprintf("%s lets %s in on %d port(s) from %d", [group.address, cidr, count(beyond), beyond[0]])
}

# METADATA
# title: Rules between networks stay within the company's
warn_ingress_networks contains msg if {
	some group in terraform.of_type({"aws_security_group"})
	some ingress in terraform.blocks(group, "ingress")
	some cidr in ingress.cidr_blocks
	not cidr in anywhere
	net.cidr_is_valid(cidr)
	every network in data.agreed.networks { not net.cidr_contains(network, cidr) }
	msg := sprintf("%s lets %s in, which is in none of %v", [group.address, cidr, data.agreed.networks])
}

# METADATA
# title: Nothing names the whole internet but security groups
warn_anywhere contains msg if {
	some resource in terraform.resources
	resource.type != "aws_security_group"
	walk(resource.values, [path, value])
	value in anywhere
	msg := sprintf("%s: %s is %s", [resource.address, concat(".", [format(step) | some step in path]), value])
}

format(step) := step if is_string(step)

format(step) := sprintf("%d", [step]) if is_number(step)
