package main

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// TestFixtures holds every rule to its fixtures: as they are, in a module, with a count on every resource, and
// with every plain value behind a variable.
func TestFixtures(t *testing.T) {
	for _, rule := range rules() {
		t.Run(rule.ID, func(t *testing.T) {
			book := newRuleBook([]Rule{rule})
			for _, f := range fixtures(t, rule) {
				for form, texts := range forms(t, f.text) {
					t.Run(f.name+"/"+form, func(t *testing.T) {
						checkFixture(t, rule, f.want, judgeTexts(t, book, texts))
					})
				}
			}
		})
	}
}

func checkFixture(t *testing.T, rule Rule, want finding.Verdict, r *report) {
	t.Helper()
	seen := map[finding.Verdict]int{}
	for _, f := range r.findings {
		switch {
		case f.Rule != rule.ID && f.Rule != ruleModule:
			t.Errorf("the fixture itself is wrong: %+v", f)
		case f.Rule == rule.ID:
			seen[f.Verdict]++
		}
		if f.Verdict == finding.Unknown && f.Reason == "" || f.Verdict == finding.Fail && (f.Message == "" || f.Location.Line == 0) {
			t.Errorf("a finding says what was found or not known, and where: %+v", f)
		}
	}
	worst := finding.Pass
	for verdict := range seen {
		worst = worst.Worse(verdict)
	}
	if seen[want] == 0 || worst != want {
		t.Errorf("got %v, want %s", seen, want)
		for _, f := range r.findings {
			t.Logf("%+v", f)
		}
	}
}

// forms are the ways in which a fixture is written out, as file texts.
func forms(t *testing.T, text string) map[string]map[string]string {
	t.Helper()
	out := map[string]map[string]string{
		"plain":  {"main.tf": text},
		"module": {"main.tf": "module \"m\" {\n  source = \"./m\"\n}\n", "m/main.tf": text},
	}
	if counted := withCount(t, text); counted != text {
		out["count"] = map[string]string{"main.tf": counted}
	}
	if varied := withVariables(t, text); varied != text {
		out["variable"] = map[string]string{"main.tf": varied}
	}
	return out
}

// edit is a text that is put in place of a range of another.
type edit struct {
	from, to int
	text     string
}

func apply(text string, edits []edit) string {
	sort.Slice(edits, func(i, j int) bool { return edits[i].from > edits[j].from })
	for _, e := range edits {
		text = text[:e.from] + e.text + text[e.to:]
	}
	return text
}

func parse(t *testing.T, text string) *hclsyntax.Body {
	t.Helper()
	body, problems := parseFile("fixture.tf", []byte(text))
	if len(problems) > 0 {
		t.Fatal(problems[0])
	}
	return body
}

// withCount gives every resource a count of one, and every reference to one the index.
func withCount(t *testing.T, text string) string {
	body := parse(t, text)
	counted := map[string]bool{}
	var edits []edit
	for _, b := range body.Blocks {
		if b.Type == "resource" && b.Body.Attributes["count"] == nil && b.Body.Attributes["for_each"] == nil {
			counted[b.Labels[0]+"."+b.Labels[1]] = true
			at := b.OpenBraceRange.End.Byte
			edits = append(edits, edit{at, at, "\n  count = 1\n"})
		}
	}
	done := map[int]bool{}
	_ = hclsyntax.VisitAll(body, func(n hclsyntax.Node) hcl.Diagnostics {
		e, ok := n.(*hclsyntax.ScopeTraversalExpr)
		if !ok || len(e.Traversal) < 2 {
			return nil
		}
		name, ok := e.Traversal[1].(hcl.TraverseAttr)
		if !ok || !counted[e.Traversal.RootName()+"."+name.Name] {
			return nil
		}
		if at := name.SrcRange.End.Byte; !done[at] {
			done[at] = true
			edits = append(edits, edit{at, at, "[0]"})
		}
		return nil
	})
	return apply(text, edits)
}

// withVariables puts every plain value in a resource, data source or provider behind a variable.
func withVariables(t *testing.T, text string) string {
	var edits []edit
	var declared strings.Builder
	var visit func(body *hclsyntax.Body)
	visit = func(body *hclsyntax.Body) {
		for name, attribute := range body.Attributes {
			if slices.Contains([]string{"provider", "depends_on", "iterator", "ignore_changes", "count", "for_each"}, name) {
				continue
			}
			if v, diags := attribute.Expr.Value(nil); diags.HasErrors() || !v.IsWhollyKnown() {
				continue
			}
			at := attribute.Expr.Range()
			literal := text[at.Start.Byte:at.End.Byte]
			variable := fmt.Sprintf("fixture_%d", at.Start.Byte)
			fmt.Fprintf(&declared, "\nvariable %q {\n  default = %s\n}\n", variable, strings.TrimRight(literal, "\n"))
			ending := ""
			if strings.HasSuffix(literal, "\n") {
				ending = "\n"
			}
			edits = append(edits, edit{at.Start.Byte, at.End.Byte, "var." + variable + ending})
		}
		for _, b := range body.Blocks {
			if b.Type != "lifecycle" && b.Type != "dynamic" {
				visit(b.Body)
			}
		}
	}
	for _, b := range parse(t, text).Blocks {
		if b.Type == "resource" || b.Type == "data" || b.Type == "provider" {
			visit(b.Body)
		}
	}
	return apply(text, edits) + declared.String()
}
