package main

import (
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
