package main

import rego.v1

deny_excepted contains "excepted"

violation_excepted_too contains {"msg": "excepted too"}

warn_excepted_warn contains "excepted, a warning"

deny_excepted_silent contains "nothing to say" if false

deny_violation_odd contains "conftest takes off every kind that a name begins with"

exception contains rules if {
	input.all
	rules := ["excepted", "excepted_too", "none_of_that_name"]
}

exception contains rules if {
	input.all
	rules := ["excepted", "excepted_warn", "excepted_silent", "odd"]
}

exception contains ["everything"] if input.nothing
