package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// lintFixture is a rule's part of testdata/lint/THEME.txtar.
type lintFixture struct {
	fail, pass []byte
	want       *[]byte // in the archive
}

// lintFixtures reads the fixtures of all rules, by id, and the archives that they are in, by path.
func lintFixtures(t testing.TB) (map[string]*lintFixture, map[string]*txtar.Archive) {
	t.Helper()
	paths, err := filepath.Glob("testdata/lint/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	all, archives := map[string]*lintFixture{}, map[string]*txtar.Archive{}
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		archives[path] = archive
		for i := range archive.Files {
			file := &archive.Files[i]
			name, part, _ := strings.Cut(file.Name, "/")
			id := strings.TrimSuffix(filepath.Base(path), ".txtar") + "/" + name
			if all[id] == nil {
				all[id] = &lintFixture{}
			}
			switch part {
			case "fail.yaml":
				all[id].fail = file.Data
			case "pass.yaml":
				all[id].pass = file.Data
			case "want":
				all[id].want = &file.Data
			default:
				t.Fatalf("%s: unknown part %s", path, file.Name)
			}
		}
	}
	return all, archives
}

// lintOne returns what one rule finds in a manifest, a line each.
func lintOne(t testing.TB, rule lintRule, manifest []byte) string {
	t.Helper()
	out := judged(t, checker{lint: []lintRule{rule}, values: maxCheckValues, kept: maxKept}, "f.yaml", manifest)
	if len(out.errs) > 0 || out.counts() == (finding.Counts{}) {
		t.Fatalf("%s: the fixture is wrong: %v, %+v", rule.ID, out.errs, out.counts())
	}
	findings := slices.Concat(out.own, out.late)
	sortByPlace(findings)
	var b strings.Builder
	for _, f := range findings {
		text := f.Message
		if f.Reason != "" {
			text += ": " + f.Reason
		}
		fmt.Fprintf(&b, "%d:%d %s %s %s\n", f.Location.Line, f.Location.Column, f.Location.Field, f.Verdict, text)
		if f.Rule != rule.ID || f.Severity != rule.Severity || f.Title != rule.Title || f.Object == "" {
			t.Errorf("%s: %+v", rule.ID, f)
		}
	}
	return b.String()
}

// TestLintFixtures holds every rule to manifests that fail it, with the fields and messages, and manifests that look
// much like them and pass.
func TestLintFixtures(t *testing.T) {
	fixtures, archives := lintFixtures(t)
	used := map[string]bool{}
	for _, rule := range lintRules() {
		t.Run(rule.ID, func(t *testing.T) {
			if used[rule.ID] {
				t.Fatal("there are two rules of the id")
			}
			used[rule.ID] = true
			if rule.Title == "" || rule.Severity.Rank() == 0 || rule.Kinds == "" || rule.Why == "" || rule.Fix == "" || rule.Check == nil {
				t.Fatalf("the rule is incomplete: %+v", rule)
			}
			f := fixtures[rule.ID]
			if f == nil || f.fail == nil || f.pass == nil || f.want == nil {
				t.Fatal("the rule needs fixtures: fail.yaml, want and pass.yaml")
			}
			got := lintOne(t, rule, f.fail)
			if *update {
				*f.want = []byte(got)
			}
			if diff := cmp.Diff(string(*f.want), got); diff != "" || !strings.Contains(got, " fail ") && !strings.Contains(got, " unknown ") {
				t.Errorf("fail.yaml (-want +got):\n%s", diff)
			}
			if got := lintOne(t, rule, f.pass); got != "" {
				t.Errorf("pass.yaml fails:\n%s", got)
			}
		})
	}
	for id := range fixtures {
		if !used[id] {
			t.Errorf("there are fixtures for %s, which is no rule", id)
		}
	}
	if *update {
		for path, archive := range archives {
			if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestThemes counts the rules: there are at least 60 beyond Pod Security.
func TestThemes(t *testing.T) {
	themes := map[string]int{}
	for _, rule := range lintRules() {
		theme, _, _ := strings.Cut(rule.ID, "/")
		themes[theme]++
	}
	total := 0
	for _, theme := range slices.Sorted(maps.Keys(themes)) {
		t.Logf("%-13s %3d", theme, themes[theme])
		total += themes[theme]
	}
	if t.Logf("%-13s %3d", "all", total); total < 60 {
		t.Errorf("%d rules", total)
	}
}

// TestRulesPage holds RULES.md to the table.
func TestRulesPage(t *testing.T) {
	if *update {
		if err := os.WriteFile("RULES.md", []byte(rulesPage()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	page, err := os.ReadFile("RULES.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(rulesPage(), string(page)); diff != "" {
		t.Errorf("RULES.md is stale: go test -run TestRulesPage -update (-want +got):\n%s", diff)
	}
	for i, row := range strings.Split(string(page), "\n") {
		if strings.HasPrefix(row, "| `") && strings.Count(row, "|")-strings.Count(row, `\|`) != 6 {
			t.Errorf("line %d is no row of five cells: %s", i+1, row)
		}
	}
}

// TestGood: manifests as they should be, of every kind, have nothing wrong with them, with every rule on. What people
// complain about in linters is here: DaemonSets without a budget, Jobs without probes, sidecars, Services without a
// selector, references to what is optional.
func TestGood(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/good.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var inputs []finding.Input
	for _, file := range archive.Files {
		inputs = append(inputs, finding.Input{Name: file.Name, Data: file.Data})
	}
	c := annotatedChecker()
	report, err := c.checkAll(t.Context(), inputs)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Findings {
		if f.Verdict != finding.Pass {
			t.Errorf("%s: %s %s: %s %s [%s]", f.Location, f.Verdict, f.Rule, f.Message, f.Reason, f.Object)
		}
	}
	if report.Objects.Pass < 30 {
		t.Errorf("%+v are few", *report.Objects)
	}
}

// replied returns what a tool without a workspace answers.
func replied[Out any](t *testing.T, tool string, args map[string]any) (out Out, err error) {
	t.Helper()
	raw, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	result, err := toolNamed(t, mcpserver.Env{}, tool).Call(t.Context(), raw)
	if err == nil {
		err = json.Unmarshal(result.Structured, &out)
	}
	return out, err
}

func TestExplainCheck(t *testing.T) {
	explain := func(id string) (explainCheckOut, error) {
		return replied[explainCheckOut](t, "explain_check", map[string]any{"id": id})
	}
	for _, e := range catalog() {
		out, err := explain(e.ID)
		if err != nil || len(out.Rules) != 1 || !cmp.Equal(out.Rules[0], e) {
			t.Errorf("%s: %+v, %v", e.ID, out, err)
		}
		if e.Title == "" || e.Why == "" || e.Fix == "" || e.Severity.Rank() == 0 || len(e.ID) > 64 {
			t.Errorf("%+v says too little", e)
		}
	}
	all, err := explain("")
	if err != nil || len(all.Rules) != len(catalog()) || all.Rules[0].Why != "" {
		t.Errorf("%d rules, %v", len(all.Rules), err)
	}
	pods, err := explain("pod-security/*")
	if err != nil || len(pods.Rules) != len(podRules())+1 {
		t.Errorf("%d rules of a theme, %v", len(pods.Rules), err)
	}
	if _, err := explain("image/latest"); err == nil || !strings.Contains(err.Error(), "there are image/latest-tag") {
		t.Errorf("%v", err)
	}
}

// TestItemsOfAnyKind: kubectl sends the items of an object of any kind, so they are judged.
func TestItemsOfAnyKind(t *testing.T) {
	const text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: shop}\nitems:\n" +
		"- {apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: r, namespace: shop}, rules: [{apiGroups: [\"\"], resources: [x], verbs: [\"*\"]}]}\n" +
		"- {apiVersion: v1, kind: Pod, metadata: {name: p, namespace: shop}, spec: {hostPID: true, containers: [{name: c, image: x}]}}\n"
	linted, err := replied[lintManifestsOut](t, "lint_manifests", map[string]any{"text": text, "only": []string{"rbac/wildcard-verbs"}})
	if err != nil || linted.Counts.Fail != 1 {
		t.Errorf("%+v, %v", linted, err)
	}
	pods, err := replied[checkPodSecurityOut](t, "check_pod_security", map[string]any{"text": text})
	if err != nil || pods.Verdict != finding.Fail {
		t.Errorf("%+v, %v", pods, err)
	}
}

func TestLintTool(t *testing.T) {
	lint := func(args map[string]any) (lintManifestsOut, error) {
		return replied[lintManifestsOut](t, "lint_manifests", args)
	}
	const text = "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: shop}\nspec: {type: NodePort, selector: {a: b}}\n---\n" +
		"apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: r}\nrules: [{apiGroups: [\"\"], resources: [x], verbs: [\"*\"]}]\n---\n" +
		"apiVersion: x.io/v1\nkind: Thing\n---\na: [\n"
	rules := func(out lintManifestsOut) string {
		var ids []string
		for _, f := range out.Findings {
			ids = append(ids, f.Rule)
		}
		return strings.Join(ids, " ")
	}
	for _, tc := range []struct {
		name   string
		args   map[string]any
		want   string
		counts finding.Counts
	}{
		{"all", map[string]any{}, "service/node-port service/selects rbac/wildcard-verbs manifest/unreadable", finding.Counts{Fail: 2}},
		{"high", map[string]any{"severity": "high"}, "rbac/wildcard-verbs manifest/unreadable", finding.Counts{Fail: 1, Pass: 1}},
		{"only", map[string]any{"only": []string{"service/*"}, "skip": []string{"service/node-port"}}, "service/selects manifest/unreadable", finding.Counts{Unknown: 1, Pass: 1}},
	} {
		tc.args["text"] = text
		out, err := lint(tc.args)
		if err != nil || rules(out) != tc.want || out.Counts != tc.counts || !slices.Equal(out.Skipped, []string{"Thing.x.io: 1"}) {
			t.Errorf("%s: %s, %+v, %v, %v, want %s, %+v", tc.name, rules(out), out.Counts, out.Skipped, err, tc.want, tc.counts)
		}
	}
	if _, err := lint(map[string]any{"text": text, "only": []string{"service"}}); err == nil || !strings.Contains(err.Error(), "there are service/") {
		t.Errorf("%v", err)
	}
}

// TestDefinitions: what all tools say of themselves fits in 16 KB.
func TestDefinitions(t *testing.T) {
	all, err := tools(mcpserver.Env{}, &options{})
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, tool := range all {
		canonical, err := tool.Definition.Canonical()
		if err != nil || tool.Check() != nil {
			t.Fatalf("%s: %v, %v", tool.Definition.Name, err, tool.Check())
		}
		t.Logf("%s: %d bytes", tool.Definition.Name, len(canonical))
		total += len(canonical)
	}
	if total > 16<<10 {
		t.Errorf("%d bytes", total)
	}
}

// TestManyObjects: the work grows with the objects, also where each could be compared with each, and what was not
// compared is unknown.
func TestManyObjects(t *testing.T) {
	const n = maxObjects / 2
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: List\nitems:\n")
	for i := range n {
		// Half of the pods have each of the labels, and none has both.
		fmt.Fprintf(&b, "- {apiVersion: v1, kind: Pod, metadata: {name: p%d, namespace: shop, labels: {a%d: x, all: x}}, spec: {containers: [{name: c}]}}\n", i, i%2)
		fmt.Fprintf(&b, "- {apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: n%d, namespace: shop}, spec: {podSelector: {matchLabels: {a0: x, a1: x}, matchExpressions: [{key: all, operator: NotIn, values: [v%d]}]}}}\n", i, i)
	}
	rules := slices.DeleteFunc(lintRules(), func(l lintRule) bool { return !strings.HasPrefix(l.ID, "network/") })
	out := judged(t, checker{lint: rules, values: maxCheckValues, kept: maxKept}, "f.yaml", []byte(b.String()))
	verdicts := finding.Count(out.late)
	if out.known.compared > maxCompared+10*n || len(out.errs) > 0 || verdicts.Unknown == 0 {
		t.Errorf("%d labels compared, %v, %+v", out.known.compared, out.errs, verdicts)
	}
}
