package main

import data.lib.util
import data.lib.util.double as twice
import data.teams.web.members
import rego.v1

# What policies are written with.

deny_import contains sprintf("%d %v %s", [util.double(2), twice(1.5), concat(",", members)])

deny_data contains sprintf("%v %v", [data.limits, data.teams.web.size])

deny_object_get contains sprintf("%v %v", [object.get(input, ["a", "b"], "none"), object.get(input, "nothing", {"d": 1})])

deny_walk contains sprintf("%v: %v", [path, value]) if {
	walk(input.tree, [path, value])
	is_number(value)
}

deny_sets contains sprintf("%v %v %v %v", [a | b, a & b, a - b, count(a)]) if {
	a := {x | some x in input.list}
	b := {2, "two", [2]}
}

deny_every contains "every" if every x in input.list { x != "no" }

deny_not_every contains "not every" if not all_positive

all_positive if every x in input.list { x > 0 }

deny_some contains sprintf("%v %v", [i, x]) if {
	some i, x in input.list
	i > 0
}

deny_old_iteration contains sprintf("%v", [input.list[i]]) if i > 1

deny_comprehensions contains sprintf("%v %v %v", [
	[x | some x in input.list],
	{x | some x in input.list},
	{k: v | some k, v in input.tree; is_number(v)},
])

partial[key] := value if some key, value in input.tree

deny_partial contains sprintf("%v", [partial])

deny_with contains "with" if all_positive with input.list as [1]

default level := "none"

level := "some" if input.tree.deep

deny_default_rule contains level

deny_regex contains sprintf("%v %v %v", [
	regex.match(`^[a-z]+\d{2}$`, "abc12"),
	regex.find_n(`\d+`, "a1b22c333", 2),
	regex.replace("a.c", `\.`, "-$0-"),
])

deny_strings contains sprintf("%v %v %v %v %v %v", [
	split("a/b/c", "/"), trim_space("  x "), lower("Ä"), replace("aXa", "X", "-"), substring("hello", 1, 3), indexof("abc", "c"),
])

deny_format contains sprintf("%s|%d|%5d|%-5s|%05.1f|%v|%q|%t|%x|%%|%!", ["s", 7, 42, "ab", 3.14159, {"k": [1, "two", null]}, "q\"", true, 255])

deny_numbers contains sprintf("%v %v %v %v %v %v %v", [1 / 3, 10 / 2, 7 % 3, round(2.5), 1e21, 100000000000000000000, 0.1 + 0.2])

deny_input_numbers contains sprintf("%v %v %d %s", [input.big, input.float, input.integer, input.integer])

deny_to_number contains sprintf("%v", [to_number("1.50") + to_number("0x") ]) if input.never

deny_json contains sprintf("%s %v", [json.marshal({"b": 1, "a": [true, null, 1.0]}), json.unmarshal(`{"x": 1.0}`)])

deny_yaml contains sprintf("%v", [yaml.unmarshal("a: [1, b]")])

deny_base64 contains base64.decode("aGVsbG8=")

deny_time contains sprintf("%v %v", [time.parse_rfc3339_ns("2024-02-29T12:00:00Z"), time.date(1709208000000000000)])

deny_units contains sprintf("%v %v", [units.parse_bytes("1.5Gi"), units.parse("250m")])

deny_semver contains sprintf("%v", [semver.compare("1.10.0", "1.9.9")])

deny_net contains sprintf("%v %v", [net.cidr_contains("10.0.0.0/8", "10.1.2.3/32"), net.cidr_merge(["10.0.0.0/9", "10.128.0.0/9"])])

deny_glob contains sprintf("%v %v", [glob.match("*.example.com", ["."], "a.example.com"), glob.match("*.example.com", ["."], "a.b.example.com")])

deny_graph contains sprintf("%v", [graph.reachable({"a": ["b"], "b": ["c"], "d": []}, {"a"})])

deny_hash contains crypto.sha256("x")

deny_sort contains sprintf("%v %v %v", [sort([3, 1, "a", null, true]), max([1, 5, 3]), sum([1, 2.5])])

deny_template contains $"the list has {count(input.list)} elements, the first {input.list[0]}"

deny_types contains sprintf("%v", [[type_name(x) | some x in [1, "s", null, true, [], {}, {1}]]])

deny_builtin_error contains "the failure of a function is undefined" if to_number("no number")

deny_negated_error contains "and its negation holds" if not to_number("no number")

deny_file contains sprintf("%s", [data.conftest.file.name])

deny_walk_all contains sprintf("%v", [count([1 | walk(input, _)])])
