package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// fixture is what testdata/rules has of one rule.
type fixture struct {
	name string // fail.tf, pass.tf, unknown.tf, or with more after a dash: fail-any-port.tf
	want finding.Verdict
	text string
}

// fixtures reads testdata/rules/ID.txtar.
func fixtures(t *testing.T, rule Rule) []fixture {
	t.Helper()
	archive, err := txtar.ParseFile(filepath.Join("testdata", "rules", filepath.FromSlash(rule.ID)+".txtar"))
	if err != nil {
		t.Fatalf("rule %s has no fixtures: %v", rule.ID, err)
	}
	var out []fixture
	for _, f := range archive.Files {
		word, _, _ := strings.Cut(strings.TrimSuffix(f.Name, ".tf"), "-")
		verdict := finding.Verdict(word)
		if !slices.Contains([]finding.Verdict{finding.Pass, finding.Fail, finding.Unknown}, verdict) || !strings.HasSuffix(f.Name, ".tf") {
			t.Errorf("rule %s: fixture %s: want fail.tf, pass.tf or unknown.tf, or such as fail-two.tf", rule.ID, f.Name)
			continue
		}
		out = append(out, fixture{name: f.Name, want: verdict, text: string(f.Data)})
	}
	return out
}

// TestEveryRuleIsWhole holds every rule to what a rule consists of, its fixtures too.
func TestEveryRuleIsWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, rule := range rules() {
		t.Run(rule.ID, func(t *testing.T) {
			if seen[rule.ID] {
				t.Error("the id is taken")
			}
			seen[rule.ID] = true
			if rule.Title == "" || rule.Severity.Rank() == 0 || rule.Why == "" || rule.Fix == "" || len(rule.References) == 0 || rule.Check == nil {
				t.Error("a rule has a title, a severity, references, a why, a fix and a check")
			}
			for _, want := range []finding.Verdict{finding.Fail, finding.Pass} {
				if !slices.ContainsFunc(fixtures(t, rule), func(f fixture) bool { return f.want == want }) {
					t.Errorf("no %s.tf in testdata/rules/%s.txtar", want, rule.ID)
				}
			}
		})
	}
	err := filepath.WalkDir(filepath.Join("testdata", "rules"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(filepath.Join("testdata", "rules"), path)
		if id := strings.TrimSuffix(filepath.ToSlash(rel), ".txtar"); err == nil && !seen[id] {
			t.Errorf("%s: there is no rule %s", path, id)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
