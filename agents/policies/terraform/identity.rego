package main

import data.lib.terraform
import rego.v1

# METADATA
# title: No secret stands in a configuration
deny_password contains msg if {
	some resource in terraform.resources
	walk(resource.values, [path, value])
	is_string(path[count(path) - 1])
	regex.match(`(?i)(^|_)(password|secret|token|private_key)$`, path[count(path) - 1])
	is_string(value)
	value != ""
	terraform.known(value)
	not terraform.is_plan
	msg := sprintf("%s: %s is written out", [resource.address, path[count(path) - 1]])
}

# METADATA
# title: A provider's credentials come from elsewhere
deny_provider_credentials contains msg if {
	some name, blocks in input.provider
	some block in blocks
	some field in {"access_key", "secret_key", "token", "client_secret", "credentials"} & object.keys(block)
	terraform.known(block[field])
	msg := sprintf("provider %s: %s is written out", [name, field])
}

# METADATA
# title: A policy grants what it names
deny_policy_wildcard contains msg if {
	some policy in terraform.of_type({"aws_iam_policy", "aws_iam_role_policy"})
	document := json.unmarshal(policy.values.policy)
	some i, statement in document.Statement
	object.get(statement, "Effect", "Allow") == "Allow"
	"*" in as_set(statement.Action)
	"*" in as_set(statement.Resource)
	msg := sprintf("%s: statement %d allows everything", [policy.address, i])
}

deny_policy_wildcard contains msg if {
	some policy in terraform.of_type({"aws_iam_policy", "aws_iam_role_policy"})
	startswith(policy.values.policy, "${jsonencode(")
	regex.match(`Action\s*=\s*\[?\s*"\*"`, policy.values.policy)
	msg := sprintf("%s: jsonencode makes a statement that allows every action", [policy.address])
}

as_set(value) := {value} if is_string(value)

as_set(value) := {item | some item in value} if is_array(value)

# METADATA
# title: An output that holds a secret says so
warn_output contains sprintf("output %s is not sensitive", [name]) if {
	some name, blocks in input.output
	regex.match(`(?i)password|secret|token`, name)
	some block in blocks
	not object.get(block, "sensitive", false)
}
