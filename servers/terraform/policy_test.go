package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/rego"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/rego/regotest"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/workspace"
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

// policyTool is the tool with policies of this text, "" for none, over a workspace of these files.
func policyTool(t *testing.T, policies string, files map[string]string) mcpserver.Tool {
	t.Helper()
	var p *rego.Policies
	if policies != "" {
		var err error
		if p, err = rego.Load(folderOf(t, map[string]string{"p.rego": "package main\n\n" + policies})); err != nil {
			t.Fatal(err)
		}
	}
	root, err := workspace.Open(folderOf(t, files))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	all, err := tools(mcpserver.Env{Workspace: root}, p)
	if err != nil {
		t.Fatal(err)
	}
	return all[slices.IndexFunc(all, func(tool mcpserver.Tool) bool { return tool.Definition.Name == "evaluate_policy" })]
}

func folderOf(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func messages(r rego.Report) []string {
	var all []string
	for _, f := range r.Findings {
		all = append(all, strings.TrimPrefix(f.Location.File+" "+f.Message, " "))
	}
	return all
}

// sayAll is a policy that says all that it sees.
const sayAll = "deny contains json.marshal(input) if true\n"

func TestEvaluatePolicy(t *testing.T) {
	tool := policyTool(t, sayAll, map[string]string{
		"m/main.tf":           `a = "${var.x}"`,
		"m/deep/er/b.tf.json": `{"b": 1}`,
		"m/c.tfvars":          `c = [1]`,
		"m/other.json":        `{"no": "input"}`,
		"m/broken.tf":         "a = \n\nb = {\n",
		"plan.json":           `{"format_version": "1.2"}`,
		"m/.terraform/x.tf":   `x = 1`,
	})
	for _, tc := range []struct {
		args map[string]any
		want []string
	}{
		{map[string]any{"path": "m"}, []string{"m/broken.tf not judged", `m/c.tfvars {"c":[1]}`, `m/deep/er/b.tf.json {"b":1}`, `m/main.tf {"a":"${var.x}"}`}},
		{map[string]any{"path": "m/main.tf"}, []string{`m/main.tf {"a":"${var.x}"}`}},
		{map[string]any{"path": "plan.json"}, []string{`plan.json {"format_version":"1.2"}`}},
		{map[string]any{"text": "resource \"a\" \"b\" {}"}, []string{`{"resource":{"a":{"b":[{}]}}}`}},
		{map[string]any{"text": "\ufeff \n{\"a\": {}}"}, []string{`{"a":{}}`}},
	} {
		r, err := regotest.Evaluate(t, tool, tc.args)
		if err != nil {
			t.Fatal(err)
		}
		got := messages(r)
		slices.Sort(got)
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tc.args, diff)
		}
	}
	for _, tc := range []struct {
		args map[string]any
		code mcpserver.Code
		text string
	}{
		{map[string]any{}, mcpserver.CodeInvalidArguments, "exactly one of text and path"},
		{map[string]any{"text": "a", "path": "b"}, mcpserver.CodeInvalidArguments, "exactly one of text and path"},
		{map[string]any{"path": "../x"}, mcpserver.CodeDenied, "outside"},
		{map[string]any{"path": "../x.json"}, mcpserver.CodeDenied, "outside"},
		{map[string]any{"path": "none.json"}, mcpserver.CodeNotFound, "none.json"},
		{map[string]any{"path": "m/.terraform/x.tf"}, mcpserver.CodeDenied, "never"},
		{map[string]any{"text": "a = 1", "namespaces": []string{"other"}}, mcpserver.CodeInvalidArguments, `no policy in namespace "other"; there are main`},
	} {
		var e *mcpserver.Error
		if _, err := regotest.Evaluate(t, tool, tc.args); !errors.As(err, &e) || e.Code != tc.code || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%v: %v, want %s with %q", tc.args, err, tc.code, tc.text)
		}
	}
	if _, err := regotest.Evaluate(t, policyTool(t, "", nil), map[string]any{"text": "a = 1"}); !errors.Is(err, rego.ErrNone) {
		t.Errorf("without policies: %v", err)
	}
}

// TestPolicyInput: what cannot be read, or is made to be expensive, is told with its place, and the next call works.
func TestPolicyInput(t *testing.T) {
	tool := policyTool(t, "deny contains \"x\" if { pairs := [[i, j] | some i, a in input.list; some j, b in input.list; a >= b]; count(pairs) == 3 }\n", nil)
	for _, tc := range []struct {
		name, text string
		reason     string
		line       int
	}{
		{"syntax", "a = 1\nb = [\n", "Missing expression: Expected the start", 3},
		{"JSON", "{\n\"a\": 1,\n}", "not valid JSON: invalid character '}'", 3},
		{"a name twice", "{\n\"a\": 1,\n\"a\": 2}", "a name is there twice in one object", 3},
		{"a name but for case", "{\"format_version\": \"1.2\",\n\"Resource_Changes\": []}", `a name that is "resource_changes" but for case`, 2},
		{"of a version but for case", "{\"Format_Version\": \"1.2\"}", `a name that is "format_version" but for case`, 1},
		{"labels", "a \"b\" {}\na {}\n", "has no form for policies: ", 0},
		{"brackets", "a = " + strings.Repeat("[", 100_000), "more than 400 brackets", 1},
		{"JSON brackets", `{"a": ` + strings.Repeat("[", 100_000), "more than 400 lists", 1},
		{"templates", `a = "` + strings.Repeat("${\"", 100_000), "more than 400 brackets", 1},
		{"values", `{"a": [` + strings.Repeat("1,", 510_000) + "1]}", "more than 500000 values", 0},
		{"pairs", `{"list": [` + strings.Repeat("7,", 20_000) + "7]}", "main.deny: too much", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := regotest.Evaluate(t, tool, map[string]any{"text": tc.text})
			if err != nil || r.Verdict != finding.Unknown || len(r.Findings) != 1 {
				t.Fatalf("%+v, %v", r, err)
			}
			if f := r.Findings[0]; !strings.Contains(f.Reason, tc.reason) || tc.line > 0 && f.Location.Line != tc.line {
				t.Errorf("%+v", f)
			}
			if r, err := regotest.Evaluate(t, tool, map[string]any{"text": "list = [2, 1]"}); err != nil || r.Verdict != finding.Fail {
				t.Errorf("the next call: %+v, %v", r, err)
			}
		})
	}
}

// TestPolicyFiles: what a file is that no text can be.
func TestPolicyFiles(t *testing.T) {
	for name, want := range map[string]string{"a.tf": "a.tf:2: not UTF-8: save the file as UTF-8", "a.json": "a.json:2: not UTF-8: save the file as UTF-8"} {
		if _, err := policyForm(name, []byte("{\n\"\xff\": 1}"), maxPolicyValues); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestPolicySensitive: no policy sees what a plan, a state or a configuration marks as sensitive.
func TestPolicySensitive(t *testing.T) {
	const canary = "hunter2-canary"
	tool := policyTool(t, sayAll, nil)
	for name, text := range map[string]string{
		"after":         `{"resource_changes": [{"change": {"after": {"p": "` + canary + `", "q": 1}, "after_sensitive": {"p": true}}}]}`,
		"before":        `{"resource_drift": [{"change": {"before": {"p": {"q": ["` + canary + `"]}}, "before_sensitive": {"p": {"q": [true]}}}}]}`,
		"whole":         `{"output_changes": {"o": {"after": {"a": ["` + canary + `"]}, "after_sensitive": true}}}`,
		"planned":       `{"planned_values": {"root_module": {"child_modules": [{"resources": [{"values": {"p": "` + canary + `"}, "sensitive_values": {"p": true}}]}]}}}`,
		"prior":         `{"prior_state": {"values": {"outputs": {"o": {"sensitive": true, "value": "` + canary + `"}}}}}`,
		"variable":      `{"variables": {"v": {"value": "` + canary + `"}}, "configuration": {"root_module": {"variables": {"v": {"sensitive": true}}}}}`,
		"default":       `{"configuration": {"root_module": {"variables": {"v": {"sensitive": true, "default": "` + canary + `"}}}}}`,
		"constant":      `{"configuration": {"root_module": {"resources": [{"expressions": {"p": {"constant_value": "` + canary + `"}}}]}}, "resource_changes": [{"change": {"after": {"p": "` + canary + `"}, "after_sensitive": {"p": true}}}]}`,
		"part":          `{"x": "postgres://u:` + canary + `@h/d", "resource_changes": [{"change": {"after": {"p": "` + canary + `"}, "after_sensitive": {"p": true}}}]}`,
		"configuration": `variable "v" {` + "\n  sensitive = true\n  default = \"" + canary + "\"\n}\n",
		"map":           `variable "v" {` + "\n  sensitive = true\n  default = { a = [\"" + canary + "\"] }\n}\n",
		"output":        `output "o" {` + "\n  sensitive = true\n  value = \"" + canary + "\"\n}\n",
	} {
		r, err := regotest.Evaluate(t, tool, map[string]any{"text": text})
		if err != nil || r.Counts.Failures != 1 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		if said := strings.Join(messages(r), " "); strings.Contains(said, "hunter2") || !strings.Contains(said, hidden) {
			t.Errorf("%s: %s", name, said)
		}
	}
	// What is not sensitive, not set, or only where a value comes from, stays.
	r, err := regotest.Evaluate(t, tool, map[string]any{"text": `{"resource_changes": [{"change": {"after": {"a": "x", "b": null, "c": "", "d": "pw"}, "after_sensitive": {"b": true, "c": true, "d": true, "e": true}}}], ` +
		`"output": {"o": [{"sensitive": true, "value": "${random_password.p.result}"}]}, "pw": "pwd pw"}`})
	want := `{"output":{"o":[{"sensitive":true,"value":"${random_password.p.result}"}]},"pw":"pwd pw","resource_changes":[{"change":{"after":{"a":"x","b":null,"c":"","d":"(sensitive value)"},` +
		`"after_sensitive":{"b":true,"c":true,"d":true,"e":true}}}]}`
	if err != nil || messages(r)[0] != want {
		t.Errorf("%q, %v", messages(r), err)
	}
}

// FuzzPolicyForm: no file makes the form that policies see fail in another way than with an error.
func FuzzPolicyForm(f *testing.F) {
	for _, pattern := range []string{"testdata/form/*.tf", "testdata/policy/*"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(filepath.Ext(file) == ".json", data)
		}
	}
	f.Fuzz(func(t *testing.T, isJSON bool, data []byte) {
		name := "f.tf"
		if isJSON {
			name = "f.json"
		}
		form, err := policyForm(name, data, maxPolicyValues)
		if err != nil {
			return
		}
		if _, err := json.Marshal(form); err != nil {
			t.Error(err)
		}
	})
}
