package main

import rego.v1

stateful := {"aws_db_instance", "aws_rds_cluster", "aws_s3_bucket", "aws_ebs_volume", "aws_dynamodb_table"}

# METADATA
# title: A plan destroys nothing that holds data
deny_destroy contains {"msg": msg, "severity": "critical", "actions": change.change.actions} if {
	some change in input.resource_changes
	change.type in stateful
	"delete" in change.change.actions
	msg := sprintf("%s would be %s", [change.address, done(change.change.actions)])
}

done(actions) := "destroyed" if actions == ["delete"]

done(actions) := "replaced" if {
	"create" in actions
	"delete" in actions
}

# METADATA
# title: A plan changes as much as somebody can review
warn_plan_size contains sprintf("the plan changes %d resources", [changed]) if {
	changed := count([change | some change in input.resource_changes; change.change.actions != ["no-op"]])
	changed > data.agreed.reviewable
}

# What the platform team has agreed to, in data/exceptions.yaml.
exception contains entry.rules if {
	some entry in data.exceptions
	some resource in input.resource_changes
	resource.address == entry.address
}

exception contains entry.rules if {
	some entry in data.exceptions
	[type, name] := split(entry.address, ".")
	input.resource[type][name]
}
