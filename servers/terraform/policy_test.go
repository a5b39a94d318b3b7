package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/rego"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/rego/regotest"
)

const samplePolicies = "../../agents/policies/terraform"

// judged is what policies say of each file.
func judged(t *testing.T, policies, pattern string) map[string]rego.Report {
	t.Helper()
	p, err := rego.Load(policies)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	reports := map[string]rego.Report{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		e, err := p.Start([]string{"*"}, rego.Gate())
		if err != nil {
			t.Fatal(err)
		}
		if err := judgePolicies(t.Context(), e, finding.Input{Name: file, Data: data}); err != nil {
			t.Fatal(err)
		}
		reports[file] = e.Report()
	}
	return reports
}

// TestConftest holds what the sample policies say of configurations and of a plan to what the conftest CLI makes of them.
func TestConftest(t *testing.T) {
	regotest.Compare(t, samplePolicies, "*", judged(t, samplePolicies, "testdata/policy/*"))
}

// TestForm holds every leaf of the form in which policies see a file to conftest's.
func TestForm(t *testing.T) {
	for _, pattern := range []string{"testdata/form/*.tf", "testdata/policy/*"} {
		regotest.Compare(t, "testdata/form", "main", judged(t, "testdata/form", pattern))
	}
}
