# Says all of the input, so that the forms can be compared: one message a leaf.
package main

import rego.v1

warn_leaf contains sprintf("%s = %s", [json.marshal(path), json.marshal(value)]) if {
	walk(input, [path, value])
	leaf(value)
}

leaf(value) if not type_name(value) in {"array", "object"}

leaf(value) if count(value) == 0
