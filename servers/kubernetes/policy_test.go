package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
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
			if _, err := judgePolicies(t.Context(), e, finding.Input{Name: file, Data: data}); err != nil {
				t.Fatal(err)
			}
			reports[file] = e.Report()
		}
	}
	regotest.Compare(t, samplePolicies, "*", reports)
}

// policyTool is the tool with policies of this text, over a workspace of these files or over none.
func policyTool(t *testing.T, policies string, files map[string]string) mcpserver.Tool {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p.rego"), []byte("package main\n\n"+policies), 0o600); err != nil {
		t.Fatal(err)
	}
	return toolNamed(t, mcpserver.Env{Workspace: workspaceOf(t, files)}, "evaluate_policy", "--policies", dir)
}

func TestEvaluatePolicy(t *testing.T) {
	tool := policyTool(t, "deny_name contains sprintf(\"%s in %s\", [input.metadata.name, data.conftest.file.name]) if input.metadata.name != \"good\"\n", map[string]string{
		"m/a.yaml":      "kind: A\nmetadata: {name: a, namespace: shop}\n---\nkind: A\nmetadata: {name: good}\n",
		"m/b.json":      `{"kind": "B", "metadata": {"name": "b"}}`,
		"m/broken.yaml": "a: [\n",
		"m/c.txt":       "kind: C\n",
	})
	got, err := regotest.Evaluate(t, tool, map[string]any{"path": "m"})
	if err != nil {
		t.Fatal(err)
	}
	fails := func(message, object, file string, line int) rego.Finding {
		return rego.Finding{Finding: finding.Finding{
			Rule: "main.deny_name", Severity: finding.High, Verdict: finding.Fail, Message: message, Object: object,
			Location: finding.Location{File: file, Line: line},
		}}
	}
	want := rego.Report{
		Verdict: finding.Fail, Namespaces: []string{"main"}, Documents: 3, Counts: rego.Counts{Failures: 2, Unknown: 1, Passed: 1},
		Findings: []rego.Finding{
			fails("a in a.yaml", "A/shop/a", "m/a.yaml", 1), fails("b in b.json", "B/b", "m/b.json", 1),
			{Finding: unreadable(&inputError{file: "m/broken.yaml", line: 1, text: "not valid YAML: did not find expected node content"})},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, tc := range []struct {
		args map[string]any
		code mcpserver.Code
		text string
	}{
		{map[string]any{}, mcpserver.CodeInvalidArguments, "exactly one of text and path"},
		{map[string]any{"text": "a", "path": "b"}, mcpserver.CodeInvalidArguments, "exactly one of text and path"},
		{map[string]any{"path": "../x"}, mcpserver.CodeDenied, "outside"},
		{map[string]any{"path": "none"}, mcpserver.CodeNotFound, "none"},
		{map[string]any{"text": "a: b", "namespaces": []string{"other"}}, mcpserver.CodeInvalidArguments, `no policy in namespace "other"; there are main`},
	} {
		var e *mcpserver.Error
		if _, err := regotest.Evaluate(t, tool, tc.args); !errors.As(err, &e) || e.Code != tc.code || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%v: %v, want %s with %q", tc.args, err, tc.code, tc.text)
		}
	}
	none := toolNamed(t, mcpserver.Env{}, "evaluate_policy")
	if _, err := regotest.Evaluate(t, none, map[string]any{"text": "a: b"}); !errors.Is(err, rego.ErrNone) {
		t.Errorf("without policies: %v", err)
	}
}

// sayAll is a policy that says all that it sees.
const sayAll = "deny contains sprintf(\"%v\", [input]) if true\n"

// TestPolicySecrets: no policy sees what a Secret holds, in whatever form it comes.
func TestPolicySecrets(t *testing.T) {
	const canary, encoded = "hunter2-canary", "aHVudGVyMi1jYW5hcnk="
	tool := policyTool(t, sayAll, nil)
	for name, text := range map[string]string{
		"data":         "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {p: " + encoded + "}\n",
		"stringData":   "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {p: " + canary + "}\n",
		"misspelled":   "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringdata: {p: " + canary + "}\nDATA: [" + encoded + "]\n",
		"no mapping":   "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: " + canary + "\nstringData: [{a: " + canary + "}]\n",
		"last applied": "apiVersion: v1\nkind: Secret\nmetadata: {name: s, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{\"data\": {\"p\": \"" + encoded + "\"}}'}}\n",
		"list":         "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {p: " + encoded + "}}]\n",
		"typed list":   "apiVersion: v1\nkind: SecretList\nitems: [{metadata: {name: s}, data: {p: " + encoded + "}}]\n",
		"list of list": "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: SecretList, items: [{metadata: {name: s}, stringData: {p: " + canary + "}}]}]\n",
		"inside":       "kind: Bundle\nspec: {template: {kind: Secret, data: {p: " + encoded + "}}}\n",
		"alias":        "kind: Bundle\nspec: &s {kind: Secret, stringData: {p: " + canary + "}}\nagain: *s\n",
		"items":        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nitems: [" + canary + ", [" + canary + "], {p: " + canary + "}]\n",
		"inside, case": "kind: Bundle\nspec: {template: {kind: Secret, stringdata: {p: " + canary + "}, Data: {p: " + encoded + "}}}\n",
		"inside, list": "kind: Bundle\nspec: {template: {kind: SecretList, items: [{data: {p: " + encoded + "}}]}}\n",
		"list of any":  "kind: Shelf\nitems: [{kind: Secret, p: " + canary + "}]\n",
		"array":        "[{kind: Secret, p: " + canary + "}]\n",
		"JSON":         `{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"p": "` + encoded + `"}}`,
	} {
		r, err := regotest.Evaluate(t, tool, map[string]any{"text": text})
		if err != nil || r.Counts.Failures == 0 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		if said := r.Findings; strings.Contains(strings.Join(messages(said), " "), "hunter2") || strings.Contains(strings.Join(messages(said), " "), encoded) {
			t.Errorf("%s: %q", name, messages(said))
		}
	}
	// What is there, and that it is not empty, policies see, as base64 where it was.
	r, err := regotest.Evaluate(t, tool, map[string]any{"text": "kind: Secret\ntype: Opaque\nmetadata: {name: s, labels: {a: b}}\ndata: {p: " + encoded + ", q: ''}\nstringData: {r: 1}\nimmutable: true\n"})
	want := []string{`{"data": {"p": "cmVkYWN0ZWQ=", "q": ""}, "immutable": true, "kind": "Secret", "metadata": {"labels": {"a": "b"}, "name": "s"}, "stringData": {"r": "redacted"}, "type": "Opaque"}`}
	if diff := cmp.Diff(want, messages(r.Findings)); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func messages(findings []rego.Finding) []string {
	var all []string
	for _, f := range findings {
		all = append(all, f.Message)
	}
	return all
}

// TestPolicyLists: a List is judged as conftest does, and so are its items.
func TestPolicyLists(t *testing.T) {
	tool := policyTool(t, "deny contains sprintf(\"%s %v\", [input.kind, count(object.get(input, \"items\", []))]) if true\n", nil)
	r, err := regotest.Evaluate(t, tool, map[string]any{"text": "kind: List\nitems: [{kind: A, items: [1]}, {kind: BList, items: [{kind: C}]}]\n"})
	want := []string{"List 2", "A 1", "BList 1", "C 0"}
	if diff := cmp.Diff(want, messages(r.Findings)); err != nil || diff != "" || r.Documents != 4 {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for text, want := range map[string][]string{
		"kind: A\nitems: [{kind: B}, 1, [{kind: D}]]\n":                                {"A 3", "B 0"}, // kubectl takes what has items for a list
		"kind: PodList\napiVersion: v1\nitems: [{metadata: {}}, {kind: Service}]\n":    {"PodList 2", "Pod 0", "Service 0"},
		"kind: List\napiVersion: v1\nitems: [{metadata: {}}]\n":                        {"List 1"},
		"[{kind: A}, {kind: BList, items: [{metadata: {}}]}]\n":                        {"A 0", "BList 1", "B 0"}, // as in conftest
		"kind: X\nitems: {kind: Y}\n":                                                  {"X 1"},
		"kind: List\nitems: [{kind: List, items: [{kind: List, items: [{kind: C}]}]}]": {"List 1", "List 1", "List 1", "C 0"},
	} {
		r, err := regotest.Evaluate(t, tool, map[string]any{"text": text})
		if diff := cmp.Diff(want, messages(r.Findings)); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", text, err, diff)
		}
	}
	deep := strings.Repeat("{kind: List, items: [", 50) + "{kind: X}" + strings.Repeat("]}", 50)
	if r, err := regotest.Evaluate(t, tool, map[string]any{"text": deep}); err != nil || r.Documents != maxListDepth+1 ||
		r.Counts.Unknown != 1 || !strings.Contains(r.Findings[len(r.Findings)-1].Reason, "lists nested more than 8 levels deep") {
		t.Errorf("%d documents, %+v, %v", r.Documents, r, err)
	}
	// What has nothing in it is no pass.
	for _, text := range []string{"# nothing\n", "---\n---\n", "null\n"} {
		if r, err := regotest.Evaluate(t, tool, map[string]any{"text": text}); err != nil || r.Verdict != finding.Unknown || len(r.Findings) != 1 || r.Findings[0].Message != "nothing to judge" {
			t.Errorf("%q: %+v, %v", text, r, err)
		}
	}
}

// TestPolicyNotHidden: whatever calls itself a Secret, what runs is seen.
func TestPolicyNotHidden(t *testing.T) {
	tool := policyTool(t, "deny contains \"privileged\" if { input.kind in {\"Pod\", \"Deployment\"}; walk(input, [path, true]); path[count(path) - 1] == \"privileged\" }\n", nil)
	const container = "{kind: Secret, name: c, securityContext: {privileged: true}}"
	for name, text := range map[string]string{
		"container":               "kind: Pod\nspec: {containers: [" + container + "]}\n",
		"template":                "kind: Deployment\nspec: {template: {kind: Secret, spec: {containers: [" + container + "]}}}\n",
		"list of secrets":         "kind: SecretList\napiVersion: v1\nitems: [{kind: Pod, apiVersion: v1, spec: {containers: [" + container + "]}}]\n",
		"secret with items":       "kind: Secret\napiVersion: v1\nitems: [{kind: Pod, apiVersion: v1, spec: {containers: [" + container + "]}}]\n",
		"item of what is no list": "kind: Shelf\napiVersion: v1\nitems: [{kind: Pod, apiVersion: v1, spec: {containers: [" + container + "]}}]\n",
		"list of nothing":         "kind: PodList\napiVersion: v1\nitems: [{kind: '', apiVersion: 5, spec: {containers: [" + container + "]}}]\n",
		"list of pods":            "kind: PodList\napiVersion: v1\nitems: [{spec: {containers: [" + container + "]}}]\n",
	} {
		if r, err := regotest.Evaluate(t, tool, map[string]any{"text": text}); err != nil || r.Counts.Failures != 1 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// TestPolicyBounds: an input that is made to be slow is told, and the next call works.
func TestPolicyBounds(t *testing.T) {
	tool := policyTool(t, "deny contains \"x\" if { pairs := [[i, j] | some i, a in input.list; some j, b in input.list; a >= b]; count(pairs) == 3 }\n", nil)
	r, err := regotest.Evaluate(t, tool, map[string]any{"text": "list: [" + strings.Repeat("7,", 20_000) + "7]\n---\nlist: [2, 1]\n"})
	if err != nil || r.Verdict != finding.Unknown || r.Documents != 0 || len(r.Findings) != 1 || !strings.Contains(r.Findings[0].Reason, "too much") {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := regotest.Evaluate(t, tool, map[string]any{"text": "list: [2, 1]\n"}); err != nil || r.Counts.Failures != 1 {
		t.Errorf("the next call: %+v, %v", r, err)
	}
}
