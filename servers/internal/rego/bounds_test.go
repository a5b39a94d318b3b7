package rego

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// load loads policies of these files.
func load(t testing.TB, files map[string]string) *Policies {
	t.Helper()
	p, err := Load(folder(t, files))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// rules is a policy of these rules.
func rules(t testing.TB, text string) *Policies {
	t.Helper()
	return load(t, map[string]string{"p.rego": "package main\n" + text})
}

// judge judges one input, JSON, by namespace main.
func judge(t testing.TB, p *Policies, limits Limits, input string) (Report, error) {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(input), &value); err != nil {
		t.Fatal(err)
	}
	e, err := p.Start([]string{"main"}, limits)
	if err != nil {
		t.Fatal(err)
	}
	err = e.Judge(context.Background(), Document{Path: "/w/f.json", File: "f.json", Line: 7, Object: "o", Value: value})
	return e.Report(), err
}

func numbers(n int) string {
	return `{"list": [` + strings.TrimSuffix(strings.Repeat("7,", n), ",") + `]}`
}

func text(n int) string { return `{"text": "` + strings.Repeat("a", n) + `"}` }

// TestBounds attacks policies that are careless with inputs that make the most of it. Each ends with an error that
// names the bound, or with a rule that is unknown, and the next call works.
func TestBounds(t *testing.T) {
	small := Served()
	small.Heap = 96 << 20
	fewSteps := Served()
	fewSteps.Steps = 1_000_000
	for _, tc := range []struct {
		name, rules, input string
		limits             Limits
		bound              string // the error of Judge
		reason             string // why a rule is unknown, if Judge goes on
	}{
		{
			"quadratic rule", `deny contains "x" if { some a in input.list; some b in input.list; a > b }`,
			numbers(70_000), fewSteps, "more than 1000000 steps", "",
		},
		{
			"quadratic comprehension", `deny contains "x" if { all := [[a, b] | some i, a in input.list; some j, b in input.list]; count(all) == 0 }`,
			numbers(70_000), small, "more than 96 MiB", "",
		},
		{
			"array that doubles", `deny contains "x" if { all := [array.concat(input.list, [i]) | some i, _ in input.list]; count(all) == 0 }`,
			numbers(70_000), small, "more than 96 MiB", "",
		},
		{
			"string that grows in every place", `deny contains "x" if { all := [concat("", [input.text, sprintf("%d", [i])]) | some i in numbers.range(1, 100000)]; count(all) == 0 }`,
			text(100_000), small, "more than 96 MiB", "",
		},
		{
			"time", `deny contains "x" if { some a in input.list; some b in input.list; a > b }`,
			numbers(70_000), Limits{Time: 50 * time.Millisecond, Steps: 1 << 60, Heap: 1 << 40, Values: 80_000, Findings: 10}, "more than 50ms", "",
		},
		{
			"what a function makes, before so many steps", `deny contains "x" if { some _ in [1]; a := split(input.text, "a"); count(array.concat(a, a)) == 0 }`,
			text(190_000), Limits{Time: time.Minute, Steps: 1 << 60, Heap: 1 << 20, Values: 10, Findings: 10}, "more than 1 MiB", "",
		},
		{
			"walk that finds nothing", `deny contains "x" if { all := [input | some i in numbers.range(1, 1000)]; walk(all, [_, "x"]) }`,
			numbers(70_000), fewSteps, "more than 1000000 steps", "",
		},
		{"range", `deny contains "x" if count(numbers.range(0, input.n)) == 0`, `{"n": 1e15}`, small, "more than 96 MiB", ""},
		{"range with a step", `deny contains "x" if count(numbers.range_step(0, input.n, 2)) == 0`, `{"n": 1e15}`, small, "more than 96 MiB", ""},
		{"network", `deny contains "x" if count(net.cidr_expand(input.net)) == 0`, `{"net": "::/0"}`, small, "more than 96 MiB", ""},
		{"values", `deny contains "x" if input.y`, numbers(80_000), Served(), "more than 80000 values", ""},
		{"depth", `deny contains "x" if input.y`, strings.Repeat("[", 2000) + strings.Repeat("]", 2000), Served(), "in each other", ""},

		{"shift", `deny contains "x" if bits.lsh(1, input.n) == 0`, `{"n": 1e15}`, Served(), "", "bits.lsh: too large: more than 4096 bits"},
		{"split", `deny contains "x" if count(split(input.text, "")) == 0`, text(500_000), Served(), "", "split: too large"},
		{"concat", `deny contains "x" if concat(input.text, split(input.text, "")) == ""`, text(100_000), Served(), "", "concat: too large"},
		{"regex", `deny contains "x" if regex.match("` + strings.Repeat("(a?){9}", 20) + `$", input.text)`, text(900_000), Served(), "", "regex.match: too large"},
		{"glob", `deny contains "x" if glob.match(input.text, [], input.text)`, text(100_000), Served(), "", "glob.match: too large"},
		{"format", `deny contains sprintf(input.text, [1])`, text(100_000), Served(), "", "sprintf: too large"},
		{"width", `deny contains sprintf(input.text, [1])`, `{"text": "%999999999d"}`, Served(), "", "sprintf: too large: a width"},
		{"star", `deny contains sprintf("%*d", [input.n, 1])`, `{"n": 999999}`, Served(), "", "an argument (*) is refused"},
		{"verbs", `deny contains sprintf("` + strings.Repeat("%[1]s", 100) + `", [input.text])`, text(900_000), Served(), "", "sprintf: too large"},
		{
			"networks", `deny contains "x" if count(net.cidr_contains_matches(input.list, input.list)) == 0`,
			numbers(600), Served(), "", "net.cidr_contains_matches: too large",
		},
		{"product", `deny contains "x" if product(input.list) == 0`, numbers(70_000), Served(), "", "product: too large"},
		{"subset", `deny contains "x" if object.subset({"a": input.list}, {"a": array.reverse(input.list)})`, numbers(70_000), Served(), "", "object.subset: too large"},
		{
			"patch", `deny contains "x" if { ops := [{"op": "add", "path": "/0", "value": x} | some x in input.list]; json.patch(input.list, ops) == [] }`,
			numbers(30_000), Served(), "", "json.patch: too large",
		},
		{"pieces", `deny contains "x" if regex.find_n(".", input.text, -1) == []`, text(500_000), Served(), "", "regex.find_n: too large"},
		{"indent", `deny contains json.marshal_with_options(input, {"pretty": true, "indent": input.text})`, text(5000), Served(), "", "json.marshal_with_options: too large"},
		{"amount", `deny contains "x" if units.parse_bytes(input.text) == 0`, `{"text": "` + strings.Repeat("1", 100) + `"}`, Served(), "", "units.parse_bytes: too large"},
		{"exponent", `deny contains "x" if units.parse(input.text) == 0`, `{"text": "1e999999m"}`, Served(), "", "units.parse: too large"},
		{"replace", `deny contains "x" if replace(input.text, "a", input.text) == ""`, text(500_000), Served(), "", "replace: too large"},
		{"replace_n", `deny contains "x" if strings.replace_n({"a": input.text}, input.text) == ""`, text(500_000), Served(), "", "strings.replace_n: too large"},
		{"regex.replace", `deny contains "x" if regex.replace(input.text, "a", input.text) == ""`, text(300_000), Served(), "", "regex.replace: too large: more than 16777216 bytes"},
		{"expression", `deny contains "x" if regex.match(input.text, "")`, text(5000), Served(), "", "regex.match: too large: more than 4096 bytes of a regular expression"},
		{"expression that is valid", `deny contains "x" if regex.is_valid(input.text)`, text(5000), Served(), "", "regex.is_valid: too large"},
		{"repetition", `deny contains "x" if regex.match(concat("", ["[a-z]{1000}" | some i in numbers.range(1, 20)]), "")`, `{}`, Served(), "", "regex.match: too large: more than 10000 instructions"},
		{"repetition of a text", `deny contains "x" if regex.match("[a-z]{1,1000}[0-9]", input.text)`, text(900_000), Served(), "", "bytes of text times instructions"},
		{"classes", `deny contains "x" if regex.match(concat("", ["[\\pL]" | some i in numbers.range(1, 500)]), "")`, `{}`, Served(), "", "regex.match: too large: more than 10000 instructions"},
		{"groups", `deny contains "x" if regex.find_all_string_submatch_n("((((a))))", input.text, -1) == []`, text(100_000), Served(), "", "regex.find_all_string_submatch_n: too large"},
		{"trim", `deny contains "x" if trim(input.text, input.text) == "x"`, text(20_000), Served(), "", "trim: too large"},
		{"aliases", `deny contains "x" if yaml.unmarshal(input.text)`, `{"text": "a: &a aaaaaaaaaa\nb: [*a,*a]"}`, Served(), "", "yaml.unmarshal: an alias (*a) is refused"},
		{"aliases that are valid", `deny contains "x" if yaml.is_valid(input.text)`, `{"text": "a: &a aaaaaaaaaa\nb: [*a,*a]"}`, Served(), "", "yaml.is_valid: an alias (*a) is refused"},
		{"YAML", `deny contains "x" if yaml.unmarshal(concat(",", ["[" | some i in numbers.range(1, 20000)]))`, `{}`, Served(), "", "yaml.unmarshal: too large: more than 10000 values"},
		{"YAML out", `deny contains "x" if yaml.marshal(input) == ""`, numbers(20_000), Served(), "", "yaml.marshal: too large: more than 10000 values"},
		{"JSON", `deny contains "x" if json.unmarshal(concat(",", ["[" | some i in numbers.range(1, 50000)]))`, `{}`, Served(), "", "json.unmarshal: too large: more than 80000 values"},
		{"indent in depth", `deny contains json.marshal_with_options(input, {"indent": "        "})`, `{"a": ` + strings.Repeat("[", 500) + strings.Repeat("7,", 9000) + "7" + strings.Repeat("]", 500) + "}", Served(), "", "json.marshal_with_options: too large: more than 16777216 bytes"},
		{"digits", `deny contains "x" if json.unmarshal(input.text) == 1`, `{"text": "` + strings.Repeat("1", 2000) + `"}`, Served(), "", "json.unmarshal: too large: a number of more than 1000 digits"},
		{"digits of a fraction", `deny contains "x" if to_number(input.text) == 1`, `{"text": "0.` + strings.Repeat("1", 2000) + `"}`, Served(), "", "to_number: too large: a number of more than 1000 digits"},
		{"what is written out again and again", `deny contains json.marshal([input | some i in numbers.range(1, 1000)])`, numbers(10_000), Served(), "", "json.marshal: too large: more than 160000 values"},
		{"a text again and again", `deny contains $"{[input | some i in numbers.range(1, 1000)]}"`, text(100_000), Served(), "", "internal.template_string: too large: more than 16777216 bytes"},
		{"patch that copies", `deny contains "x" if json.patch(input, [{"op": "copy", "from": "/list", "path": sprintf("/%d", [i])} | some i in numbers.range(1, 1000)]) == {}`, numbers(20_000), Served(), "", "json.patch: too large: more than 8388608 operations times values"},
		{"union", `deny contains "x" if { o := {sprintf("%d", [i]): i | some i in numbers.range(1, 20000)}; count(object.union_n([o | some i in numbers.range(1, 60)])) == 0 }`, numbers(1), Served(), "", "object.union_n: too large"},
		{"escapes", `deny contains sprintf("%+q%+q%+q%+q", [input.text, 1, 1, 1])`, text(900_000), Served(), "", "sprintf: too large"},
		{"the process's time zone", `deny contains "x" if time.clock([input.n, "Local"])`, `{"n": 0}`, Served(), "", "time.clock: the time zone Local is refused"},
		{"merge", `deny contains "x" if count(net.cidr_merge(input.list)) == 0`, numbers(70_000), Served(), "", "net.cidr_merge: too large"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := rules(t, tc.rules+"\nwarn contains \"here\" if input.next")
			start := time.Now()
			r, err := judge(t, p, tc.limits, tc.input)
			t.Log(time.Since(start).Round(time.Millisecond), err, r.Findings)
			if tc.bound == "" {
				if err != nil || r.Counts.Unknown != 1 || !strings.Contains(r.Findings[0].Reason, tc.reason) || !strings.Contains(r.Findings[0].Reason, "p.rego:2") {
					t.Errorf("%v, %+v, want reason %q", err, r.Findings, tc.reason)
				}
			} else {
				if err == nil || !strings.Contains(err.Error(), tc.bound) {
					t.Fatalf("error %v, want %q", err, tc.bound)
				}
				if f := r.Findings[0]; f.Rule != ruleBounds || f.Verdict != finding.Unknown || !strings.Contains(f.Reason, tc.bound) {
					t.Errorf("%+v", f)
				}
			}
			if r.Verdict != finding.Unknown {
				t.Errorf("verdict %s", r.Verdict)
			}
			next, err := judge(t, p, tc.limits, `{"next": true}`)
			if err != nil || next.Counts.Warnings != 1 {
				t.Errorf("the next call: %+v, %v", next, err)
			}
		})
	}
}

// TestReachable: a node is looked at once, however many ways lead to it. In OPA's own this graph of 900 nodes has 9 to the
// power of 100 ways.
func TestReachable(t *testing.T) {
	graph := map[string]any{}
	for i := range 900 {
		var next []any
		for j := range 9 {
			next = append(next, fmt.Sprint((i/9+1)*9+j))
		}
		graph[fmt.Sprint(i)] = next
	}
	input, err := json.Marshal(map[string]any{"graph": graph})
	if err != nil {
		t.Fatal(err)
	}
	p := rules(t, `deny contains sprintf("%d", [count(graph.reachable(input.graph, {"0"}))])
warn contains sprintf("%v", [graph.reachable({"a": {"b"}, "b": ["c", "d", "e"], "c": [], "e": ["a"], "x": {"a"}}, ["a", "y"])])`)
	r, err := judge(t, p, Served(), string(input))
	if err != nil || len(r.Findings) != 2 || r.Findings[0].Message != "892" || r.Findings[1].Message != `{"a", "b", "c", "e"}` {
		t.Errorf("%+v, %v", r.Findings, err)
	}
}

// lateContext ends when the first message was told.
type lateContext struct {
	context.Context
	evaluation *Evaluation
}

func (c lateContext) Err() error {
	if c.evaluation.report.Counts.Failures > 0 {
		return context.DeadlineExceeded
	}
	return nil
}

// TestLate: looking at results, which may be large and many, ends when the time does.
func TestLate(t *testing.T) {
	p := rules(t, `violation contains {"msg": sprintf("%d", [i]), "details": input} if some i in numbers.range(1, 500)`)
	e, err := p.Start([]string{"main"}, Served())
	if err != nil {
		t.Fatal(err)
	}
	err = e.judge(lateContext{t.Context(), e}, Document{Value: "x"})
	if err == nil || !strings.Contains(err.Error(), "main.violation: too much time: more than 20s") || e.report.Counts.Failures != 1 {
		t.Errorf("%+v, %v", e.report.Counts, err)
	}
}
