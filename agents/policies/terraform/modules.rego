package main

import data.lib.terraform
import rego.v1

# METADATA
# title: A module from elsewhere is pinned
deny_module_source contains msg if {
	some name, blocks in input.module
	some block in blocks
	not pinned(block)
	msg := sprintf("module %s: source %s is not pinned", [name, block.source])
}

pinned(block) if startswith(block.source, "./")

pinned(block) if startswith(block.source, "../")

pinned(block) if regex.match(`[?&]ref=([0-9a-f]{40}|v\d+\.\d+\.\d+)$`, block.source)

pinned(block) if {
	regex.match(`^[a-z0-9.-]+/[\w-]+/[\w-]+(/[\w-]+)?$`, block.source)
	regex.match(`^\d+\.\d+\.\d+$`, object.get(block, "version", ""))
}

# METADATA
# title: A provider has an upper bound
warn_provider_version contains msg if {
	some settings in input.terraform
	some providers in settings.required_providers
	some name, provider in providers
	version := object.get(provider, "version", "")
	not regex.match(`~>|<|^=?\s*\d`, version)
	msg := sprintf("provider %s: version %q has no upper bound", [name, version])
}

# METADATA
# title: Resources are where they may be
deny_region contains msg if {
	some name, blocks in input.provider
	some block in blocks
	terraform.known(block.region)
	not block.region in data.agreed.regions
	msg := sprintf("provider %s: region %s is none of %s", [name, block.region, concat(", ", data.agreed.regions)])
}

# METADATA
# title: Resources say whose they are
violation_tags contains {"msg": msg, "severity": "low", "details": {"missing": missing, "address": resource.address}} if {
	some resource in terraform.of_type(data.agreed.tagged)
	tags := object.get(resource.values, "tags", {})
	is_object(tags)
	missing := {tag | some tag in data.agreed.tags} - object.keys(tags)
	count(missing) > 0
	msg := sprintf("%s has no tag %s", [resource.address, concat(", ", missing)])
}

# METADATA
# title: Machines are of the sizes that were agreed on
warn_instance_type contains msg if {
	some machine in terraform.of_type({"aws_instance", "aws_db_instance"})
	some field in ["instance_type", "instance_class"]
	size := machine.values[field]
	terraform.known(size)
	not glob.match(data.agreed.sizes[machine.type], ["."], size)
	msg := sprintf("%s: %s is not one of %s", [machine.address, size, data.agreed.sizes[machine.type]])
}
