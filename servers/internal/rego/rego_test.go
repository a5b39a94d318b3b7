package rego_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/rego"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/rego/regotest"
)

// TestConftest holds what policies that use all of the language say to what the conftest CLI makes of them.
func TestConftest(t *testing.T) {
	const dir = "testdata/idioms"
	p, err := rego.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/inputs/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, namespace := range []string{"main", "*", "lib.*", "main.sub*"} {
		t.Run(namespace, func(t *testing.T) {
			reports := map[string]rego.Report{}
			for _, file := range files {
				data, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				var value any
				if err := json.Unmarshal(data, &value); err != nil {
					t.Fatal(err)
				}
				e, err := p.Start([]string{namespace}, rego.Gate())
				if err != nil {
					t.Fatal(err)
				}
				documents, ok := value.([]any) // each of which conftest, too, judges by itself
				if !ok {
					documents = []any{value}
				}
				for _, document := range documents {
					if err := e.Judge(t.Context(), rego.Document{Path: file, File: file, Value: document}); err != nil {
						t.Fatal(err)
					}
				}
				reports[file] = e.Report()
			}
			regotest.Compare(t, dir, namespace, reports)
		})
	}
}
