package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// TestSchemaRules: each rule has a fixture that fails it and one that passes it, and says of both what is expected. A fixture is an
// archive whose comment is the release, and whose files are fail.yaml, pass.yaml and want, the findings of the first.
func TestSchemaRules(t *testing.T) {
	structure := schemasFor(t)
	for _, rule := range schemaRules() {
		t.Run(rule.ID, func(t *testing.T) {
			if rule.Title == "" || rule.Why == "" || rule.Fix == "" || len(rule.References) == 0 || rule.Severity == "" {
				t.Errorf("%+v", rule)
			}
			name := filepath.Join("testdata", "validate", strings.TrimPrefix(rule.ID, "schema/")+".txtar")
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatalf("the rule needs fixtures: %v", err)
			}
			at, err := structure.release(strings.TrimSpace(string(archive.Comment)))
			if err != nil {
				t.Fatal(err)
			}
			if len(archive.Files) != 3 {
				t.Fatalf("%d files", len(archive.Files))
			}
			told := func(text []byte) (lines []string, rules []string) {
				v := newManifestValidator(structure, at, customKinds{})
				readObjects("", text, maxCheckValues, v.custom.add, func(finding.Finding) {})
				for _, f := range findings(v, text) {
					lines = append(lines, f.Location.String()+" "+f.Location.Field+" "+f.Rule+" "+string(f.Verdict)+": "+strings.Join([]string{f.Message, f.Reason, f.Fix}, " | "))
					rules = append(rules, f.Rule)
				}
				return lines, rules
			}
			got, rules := told(archive.Files[0].Data)
			if !slices.Contains(rules, rule.ID) {
				t.Errorf("fail.yaml does not fail it: %q", got)
			}
			if lines, _ := told(archive.Files[1].Data); len(lines) > 0 {
				t.Errorf("pass.yaml: %q", lines)
			}
			if *update {
				archive.Files[2].Data = []byte(strings.Join(got, "\n") + "\n")
				if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(archive.Files[2].Data), strings.Join(got, "\n")+"\n"); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestShadowed: a CustomResourceDefinition does not stand for a kind that Kubernetes has itself.
func TestShadowed(t *testing.T) {
	structure := schemasFor(t)
	at, err := structure.release("latest")
	if err != nil {
		t.Fatal(err)
	}
	text := []byte("apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: deployments.apps}\nspec:\n  group: apps\n  scope: Namespaced\n" +
		"  names: {kind: Deployment, plural: deployments}\n  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]\n" +
		"---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\nspec: {bogus: 1}\n")
	v := newManifestValidator(structure, at, customKinds{})
	readObjects("", text, maxCheckValues, v.custom.add, func(finding.Finding) {})
	if !slices.ContainsFunc(findings(v, text), func(f finding.Finding) bool { return f.Rule == string(ruleUnknownField) }) {
		t.Error("spec.bogus passes")
	}
}
