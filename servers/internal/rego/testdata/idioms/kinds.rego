package main

import rego.v1

# The kinds of rules, their suffixes, and what a result may be.

deny contains "deny without a suffix" if input.all

deny contains msg if {
	input.all
	msg := "deny, a second body"
}

violation contains {"msg": "violation without a suffix"} if input.all

warn contains "warn without a suffix" if input.all

deny_a contains "suffix" if input.all

deny_a_b2_C contains "suffix of several parts" if input.all

deny_ contains "an empty suffix is none that is judged" if input.all

deny_a__b contains "nor is one with an empty part" if input.all

denyall contains "nor is another name" if input.all

not_deny contains "nor is this" if input.all

Deny contains "nor this" if input.all

violation_meta contains result if {
	input.all
	result := {
		"msg": "metadata",
		"severity": "LOW",
		"details": {"list": [1, 2.50, 1e3, null, true], "set": {"b", "a"}, "nested": {"x": {}}},
		"number": 12345678901234567890,
		"query": "mine",
	}
}

violation_located contains {"msg": "located", "_loc": {"file": "elsewhere.yaml", "line": 12}} if input.all

violation_badly_located contains {"msg": "badly located", "_loc": "elsewhere.yaml:12", "x": 1} if input.all

deny_empty contains "" if input.all

deny_empty_msg contains {"msg": "", "x": 1} if input.all

deny_list := ["a list", "the same", "the same", {"msg": "and an object"}] if input.all

deny_default := [] if false

default deny_default := ["a default"]

warn_undefined contains input.nothing.at.all

warn_else := ["first"] if {
	input.nothing
} else := ["else"] if {
	input.all
} else := ["third"]

deny_multi contains msg if some msg in ["one", "two", "two", "three"]

deny_unicode contains "ä \u2028 \u202e <b> & \" \\ \t end" if input.all
