# One view of what is to be there: of a configuration as it is written, where each block is an array and an
# expression is its source, and of a plan, where values are known and what is to be destroyed is left out.
package lib.terraform

import rego.v1

default is_plan := false

is_plan if input.resource_changes

resources contains {"address": address, "type": type, "values": values} if {
	some type, named in input.resource
	some name, bodies in named
	some values in bodies
	address := sprintf("%s.%s", [type, name])
}

resources contains {"address": change.address, "type": change.type, "values": change.change.after} if {
	some change in input.resource_changes
	change.mode == "managed"
	is_object(change.change.after)
}

of_type(types) := {resource | some resource in resources; resource.type in types}

# known says whether a value is one, and not an expression or something that is known after apply.
known(value) if not is_string(value)

known(value) if {
	is_string(value)
	not startswith(value, "${")
}

# blocks are the nested blocks of a kind, which a resource may not have.
blocks(resource, kind) := object.get(resource.values, kind, [])

is_true(value) if value in {true, "true"}
