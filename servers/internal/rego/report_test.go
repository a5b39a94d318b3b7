package rego

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// TestReport: what each kind of result comes to.
func TestReport(t *testing.T) {
	at := finding.Location{File: "f.json", Line: 7}
	f := func(rule string, severity finding.Severity, verdict finding.Verdict, message string) Finding {
		return Finding{Finding: finding.Finding{Rule: "main." + rule, Severity: severity, Verdict: verdict, Message: message, Object: "o", Location: at}}
	}
	because := func(f Finding, reason string) Finding {
		f.Reason = reason
		return f
	}
	for _, tc := range []struct {
		name, rules string
		verdict     finding.Verdict
		counts      Counts
		want        []Finding
	}{
		{"pass", `deny contains "x" if false`, finding.Pass, Counts{Passed: 1}, nil},
		{"deny", `deny contains "x"`, finding.Fail, Counts{Failures: 1}, []Finding{f("deny", "high", "fail", "x")}},
		{"violation", `violation_a contains {"msg": "x"}`, finding.Fail, Counts{Failures: 1}, []Finding{f("violation_a", "high", "fail", "x")}},
		{"warn", `warn contains "x"`, finding.Pass, Counts{Warnings: 1}, []Finding{f("warn", "low", "fail", "x")}},
		{
			"severity", `deny contains {"msg": "x", "severity": "Critical"}`, finding.Fail, Counts{Failures: 1},
			[]Finding{{Finding: f("deny", "critical", "fail", "x").Finding, Metadata: map[string]any{"severity": "Critical"}}},
		},
		{
			"severity of a warning, and another word", "warn contains {\"msg\": \"x\", \"severity\": \"high\"}\ndeny contains {\"msg\": \"x\", \"severity\": \"error\"}", finding.Fail,
			Counts{Failures: 1, Warnings: 1},
			[]Finding{
				{Finding: f("deny", "high", "fail", "x").Finding, Metadata: map[string]any{"severity": "error"}},
				{Finding: f("warn", "low", "fail", "x").Finding, Metadata: map[string]any{"severity": "high"}},
			},
		},
		{
			"exception", "deny_a contains \"x\"\nexception contains [\"a\"]", finding.Pass, Counts{Exceptions: 1},
			[]Finding{because(f("deny_a", "", "pass", "x"), `excepted: data.main.exception names "a"`)},
		},
		{
			"exception without a message", "deny_a contains \"x\" if false\nexception contains [\"a\"]", finding.Pass, Counts{Exceptions: 1},
			[]Finding{because(f("deny_a", "", "pass", "no message"), `excepted: data.main.exception names "a"`)},
		},
		{
			"a rule that is true", `deny if true`, finding.Unknown, Counts{Unknown: 1},
			[]Finding{because(f("deny", "high", "unknown", "the rule could not be judged"), "the rule is true, and so has no message; write deny contains msg if …")},
		},
		{
			"a rule that is a string", `deny := "x" if input.a`, finding.Unknown, Counts{Unknown: 1},
			[]Finding{because(f("deny", "high", "unknown", "the rule could not be judged"), "the rule is a string, and so has no message; write deny contains msg if …")},
		},
		{
			"a rule that is an object", `deny[x] := "x" if some x, _ in input`, finding.Unknown, Counts{Unknown: 1},
			[]Finding{because(f("deny", "high", "unknown", "the rule could not be judged"), "the rule is an object, and so has no message; write deny contains msg if …")},
		},
		{
			"a rule that is a number", `deny := 0`, finding.Unknown, Counts{Unknown: 1},
			[]Finding{because(f("deny", "high", "unknown", "the rule could not be judged"), "the rule is a number, and so has no message; write deny contains msg if …")},
		},
		{"a rule that is false, and one that is empty", "deny_a := false\ndeny_b := {}\ndeny_c := \"\"\ndeny_d := []", finding.Pass, Counts{Passed: 4}, nil},
		{
			"a result that is none", `deny contains 5`, finding.Unknown, Counts{Unknown: 1},
			[]Finding{because(f("deny", "high", "unknown", "the rule could not be judged"), "a result is neither a string nor an object with a msg, but a number")},
		},
		{
			"a result without a message", `deny contains {"msg": 5}`, finding.Unknown, Counts{Unknown: 1},
			[]Finding{because(f("deny", "high", "unknown", "the rule could not be judged"), `a result is an object without a "msg" that is a string`)},
		},
		{
			"a conflict, and another rule", "deny_a := [\"x\"] if input.a\ndeny_a := [\"y\"] if input.a\ndeny_b contains \"x\"", finding.Fail, Counts{Unknown: 1, Failures: 1},
			[]Finding{
				because(f("deny_a", "high", "unknown", "the rule could not be judged"), `DIR/p.rego:3: rule data.main.deny_a produced conflicting values: ["x"] at p.rego:2 ["y"] at p.rego:3`),
				f("deny_b", "high", "fail", "x"),
			},
		},
		{
			"a function that fails", `deny contains "x" if to_number(input.s) > 1`, finding.Unknown, Counts{Unknown: 1},
			[]Finding{because(f("deny", "medium", "unknown", "a part of the rule is undefined, since a built-in function failed"),
				`DIR/p.rego:2: to_number: strconv.ParseFloat: parsing "s": invalid syntax`)},
		},
		{
			"title", "# METADATA\n# title: Nothing is x\ndeny contains \"x\"", finding.Fail, Counts{Failures: 1},
			[]Finding{{Finding: finding.Finding{Rule: "main.deny", Title: "Nothing is x", Severity: "high", Verdict: "fail", Message: "x", Object: "o", Location: at}}},
		},
		{
			"place and fix", `deny contains {"msg": "x", "_loc": {"file": "g.yaml", "line": 3}, "fix": "do not"}`, finding.Fail, Counts{Failures: 1},
			[]Finding{{
				Finding:  finding.Finding{Rule: "main.deny", Severity: "high", Verdict: "fail", Message: "x", Fix: "do not", Object: "o", Location: finding.Location{File: "g.yaml", Line: 3}},
				Metadata: map[string]any{"fix": "do not"},
			}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := rules(t, tc.rules)
			got, err := judge(t, p, Served(), `{"a": true, "s": "s"}`)
			if err != nil {
				t.Fatal(err)
			}
			for i := range got.Findings {
				got.Findings[i].Reason = strings.ReplaceAll(got.Findings[i].Reason, p.dir, "DIR")
			}
			want := Report{Verdict: tc.verdict, Namespaces: []string{"main"}, Documents: 1, Counts: tc.counts, Findings: append([]Finding{}, tc.want...)}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestCuts: what is said at length is cut, and the report says so and counts everything.
func TestCuts(t *testing.T) {
	for _, tc := range []struct {
		name, rules string
		counts      Counts
		kept        int
	}{
		{"messages", `deny contains sprintf("%d", [i]) if some i in numbers.range(1, 5000)`, Counts{Failures: 5000}, 100},
		{"a message", `deny contains concat("", [input.text, "end"])`, Counts{Failures: 1}, 1},
		{"metadata", `deny contains {"msg": "x", "all": input.text}`, Counts{Failures: 1}, 1},
		{"a place", `deny contains {"msg": "x", "_loc": {"file": input.text}}`, Counts{Failures: 1}, 1},
		{"failures of functions", `deny contains i if { some i in numbers.range(1, 500); to_number(input.text) == i }`, Counts{Unknown: maxBuiltinErrors + 1}, maxBuiltinErrors},
		{"failures of functions, and then of another rule", `deny contains i if { some i in numbers.range(1, 10); to_number(input.text) == i }
deny_next contains i if { some i in numbers.range(1, 10); to_number(input.text) == i }`, Counts{Unknown: maxBuiltinErrors + 1}, maxBuiltinErrors},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := judge(t, rules(t, tc.rules), Served(), text(20_000))
			if err != nil || !r.Truncated || r.Counts != tc.counts || len(r.Findings) != tc.kept {
				t.Errorf("truncated %t, counts %+v, %d findings, %v", r.Truncated, r.Counts, len(r.Findings), err)
			}
			for _, f := range r.Findings {
				if size := len(f.Message) + len(f.Reason) + len(f.Location.File) + len(fmt.Sprint(f.Metadata)); size > 2*maxMessage {
					t.Errorf("a finding of %d bytes", size)
				}
			}
		})
	}
	// The gravest stay.
	p := rules(t, "warn contains sprintf(\"%d\", [i]) if some i in numbers.range(1, 900)\nviolation_z contains {\"msg\": \"z\", \"severity\": \"critical\"}\ndeny_c contains 5")
	r, err := judge(t, p, Served(), `{}`)
	if err != nil || len(r.Findings) != 100 || r.Findings[0].Message != "z" || r.Findings[1].Verdict != finding.Fail || r.Counts.Unknown != 1 {
		t.Errorf("%+v, %v", r.Counts, err)
	}
}

// TestDocuments: one document leaves no trace for the next one, and evaluations at the same time none in each other.
func TestDocuments(t *testing.T) {
	p := load(t, map[string]string{
		"p.rego":            "package main\n\ndeny contains sprintf(\"%v %v\", [input, data.conftest]) if true\n",
		"data/conftest.yml": "conftest: {file: mine, other: 1}\n",
	})
	var together sync.WaitGroup
	for i := range 8 {
		together.Go(func() {
			e, err := p.Start([]string{"main"}, Served())
			if err != nil {
				t.Error(err)
				return
			}
			for j := range 20 {
				if err := e.Judge(context.Background(), Document{Path: fmt.Sprintf("/d%d/f%d", i, j), Value: float64(100*i + j)}); err != nil {
					t.Error(err)
				}
			}
			for j, f := range e.Report().Findings {
				if want := fmt.Sprintf(`%d {"file": {"dir": "/d%d", "name": "f%d"}, "other": 1}`, 100*i+j, i, j); f.Message != want {
					t.Errorf("%s, want %s", f.Message, want)
				}
			}
		})
	}
	together.Wait()
}

// TestCancel: a caller that leaves ends the evaluation.
func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	e, err := rules(t, `deny contains "x"`).Start([]string{"main"}, Served())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Judge(ctx, Document{}); err == nil || !strings.Contains(err.Error(), "the caller left") {
		t.Errorf("%v", err)
	}
	if r := e.Report(); r.Verdict != finding.Unknown || r.Documents != 0 {
		t.Errorf("%+v", r)
	}
}

// TestFindings: what --policies and --namespace make of the inputs of a check.
func TestFindings(t *testing.T) {
	dir := folder(t, map[string]string{
		"a.rego": "package main\n\ndeny contains \"main\" if input == \"bad\"\n",
		"b.rego": "package other\n\nwarn contains \"other\" if true\n",
		"c.rego": "package slow\n\ndeny contains \"x\" if { some a in numbers.range(1, 100000); some b in numbers.range(1, 100000); a + b < 0 }\n",
	})
	whole := func(ctx context.Context, e *Evaluation, in finding.Input) error {
		return e.Judge(ctx, Document{File: in.Name, Value: string(in.Data)})
	}
	inputs := []finding.Input{{Name: "one", Data: []byte("bad")}, {Name: "two", Data: []byte("good")}}
	for _, tc := range []struct {
		args []string
		want []string
		err  string
	}{
		{nil, nil, ""},
		{[]string{"--policies", dir}, []string{"one main"}, ""},
		{[]string{"--policies", dir, "--namespace", "other"}, []string{"one other", "two other"}, ""},
		{[]string{"--policies", dir, "--namespace", "main,other"}, []string{"one main", "one other", "two other"}, ""},
		{[]string{"--policies", dir, "--namespace", "main", "--namespace", "o*"}, []string{"one main", "one other", "two other"}, ""},
		{[]string{"--policies", dir, "--namespace", "none"}, nil, "--policies " + dir + `: no policy in namespace "none"`},
		{[]string{"--policies", dir + "/none"}, nil, "no such file"},
		{[]string{"--namespace", "main"}, nil, "--namespace goes with --policies"},
	} {
		var o Options
		set := flag.NewFlagSet("check", flag.ContinueOnError)
		o.CheckFlags(set)
		if err := set.Parse(tc.args); err != nil {
			t.Fatal(err)
		}
		findings, err := o.Findings(t.Context(), inputs, whole)
		if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%q: %v, want %q", tc.args, err, tc.err)
		}
		var got []string
		for _, f := range findings {
			got = append(got, f.Location.File+" "+f.Message)
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tc.args, diff)
		}
	}
	// What is grave must not be lost behind what is not.
	o := Options{dir: folder(t, map[string]string{"p.rego": `package main
deny contains {"msg": sprintf("%d", [i]), "severity": "low"} if some i in numbers.range(1, 1000)
deny contains {"msg": "worse", "severity": "critical"} if true
`})}
	if _, err := o.Findings(t.Context(), inputs[:1], whole); err == nil || !strings.Contains(err.Error(), "one: too large: ") {
		t.Errorf("more messages than are kept: %v", err)
	}
	// What an input makes of a rule must not be exit code 0: conftest stops for the second and the third, and has no
	// bounds for the first. A function that fails for what it is given is undefined there, too.
	for _, tc := range []struct{ rule, err string }{
		{`deny contains "x" if bits.lsh(1, 5000) == 1`, "one: main.deny: not judged: bits.lsh: too large: more than 4096 bits"},
		{`deny contains {"msg": count(input)}`, `one: main.deny: not judged: a result is an object without a "msg" that is a string`},
		{"deny := [\"x\"] if input\ndeny := [\"y\"] if input", "one: main.deny: not judged: "},
		{`deny if input`, "one: main.deny: not judged: the rule is true"},
		{`deny contains "x" if to_number(input) == 1`, ""},
	} {
		o := Options{dir: folder(t, map[string]string{"p.rego": "package main\n" + tc.rule})}
		findings, err := o.Findings(t.Context(), inputs[:1], whole)
		if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) || len(findings) != 1 || findings[0].Verdict != finding.Unknown {
			t.Errorf("%s: %+v, %v, want %q", tc.rule, findings, err, tc.err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o = Options{dir: dir, namespaces: []string{"slow"}}
	if _, err := o.Findings(ctx, inputs, whole); err == nil || !strings.Contains(err.Error(), "one: not judged by the policies: slow.deny: ") {
		t.Errorf("a bound: %v", err)
	}
}
