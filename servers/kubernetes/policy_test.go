package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/rego"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/rego/regotest"
)

const samplePolicies = "../../agents/policies/kubernetes"

// TestConftest holds what the sample policies say of manifests to what the conftest CLI makes of them.
func TestConftest(t *testing.T) {
	policies, err := rego.Load(samplePolicies)
	if err != nil {
		t.Fatal(err)
	}
	reports := map[string]rego.Report{}
	for _, dir := range []string{"../../agents/workspace/kubernetes", "testdata/policy"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.*"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", dir, len(files), err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			e, err := policies.Start([]string{"*"}, rego.Gate())
			if err != nil {
				t.Fatal(err)
			}
			if err := judgePolicies(t.Context(), e, finding.Input{Name: file, Data: data}); err != nil {
				t.Fatal(err)
			}
			reports[file] = e.Report()
		}
	}
	regotest.Compare(t, samplePolicies, "*", reports)
}
