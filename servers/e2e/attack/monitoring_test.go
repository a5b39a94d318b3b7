//go:build linux && (amd64 || arm64)

package attack

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// tags are those of the Falco rules of each claim.
var tags = map[Claim]string{
	NoWayOut: "no_way_out", NoWrite: "no_write", NoProgram: "no_program", NoPrivilege: "no_privilege",
	NoNeighbour: "no_neighbour", Bounded: "bounded", EgressPolicy: "egress_policy",
}

type falcoItem struct {
	Rule, Macro, List, Desc, Condition, Output, Priority string
	Items, Tags                                          []string
}

// What is watched at run time is what is claimed: each claim has a rule, and each call in the rules is one that the
// profiles refuse by name.
func TestFalcoRules(t *testing.T) {
	data, err := os.ReadFile("../../../scripts/falco/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var items []falcoItem
	if err := yaml.Unmarshal(data, &items); err != nil {
		t.Fatal(err)
	}
	names, quoted := regexp.MustCompile(`\b(bulkhead\w*|container_started|spawned_process)\b`), regexp.MustCompile(`"[^"]*"`)
	defined := map[string]bool{}
	watched := map[string]bool{}
	for _, i := range items {
		for _, name := range names.FindAllString(quoted.ReplaceAllString(i.Condition, ""), -1) {
			if !defined[name] { // Falco reads from top to bottom
				t.Errorf("%s%s: %s is not defined above", i.Rule, i.Macro, name)
			}
		}
		defined[i.Macro+i.List] = true
		for _, tag := range i.Tags {
			watched[tag] = true
		}
		if i.Rule != "" && (i.Desc == "" || i.Condition == "" || i.Output == "" || !slices.Contains([]string{"CRITICAL", "ERROR", "WARNING"}, i.Priority) ||
			!strings.HasPrefix(i.Desc, "Claim - ") || !slices.Contains(i.Tags, "bulkhead")) {
			t.Errorf("the rule %q is not whole: %+v", i.Rule, i)
		}
		if strings.Count(i.Condition, "(") != strings.Count(i.Condition, ")") {
			t.Errorf("%s%s: parentheses in %q", i.Rule, i.Macro, i.Condition)
		}
		for _, call := range i.Items {
			if i.List == "bulkhead_calls_never_made" && !slices.ContainsFunc(Refused(), func(c Call) bool { return c.Name == call }) {
				t.Errorf("%s is watched, and no profile is held to refuse it", call)
			}
		}
	}
	for _, a := range Table() {
		if tag := tags[a.Claim]; tag == "" || !watched[tag] {
			t.Errorf("no rule watches the claim %q", a.Claim)
		}
	}
}

// An attack without a layer that refuses it, or two of one name, would show as something else in the table.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, a := range Table() {
		if a.Name == "" || seen[a.Name] || a.Try == nil || a.Claim == "" {
			t.Errorf("%+v", a)
		}
		seen[a.Name] = true
		if (a.By == 0) != (a.Client || a.Agent) {
			t.Errorf("%s: refused by %s", a.Name, a.By)
		}
		if a.Confined != "" && a.By&Filter == 0 {
			t.Errorf("%s: a confined process refuses it, and its filter does not", a.Name)
		}
	}
	t.Logf("%d attacks", len(seen))
}
