package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/workspace"
)

// workspaceOf is a workspace of these files, or none.
func workspaceOf(t testing.TB, files map[string]string) *workspace.Root {
	t.Helper()
	if files == nil {
		return nil
	}
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	root, err := workspace.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root
}

// toolFor returns the tool over a workspace of these files, or over none.
func toolFor(t testing.TB, files map[string]string) mcpserver.Tool {
	t.Helper()
	return toolNamed(t, mcpserver.Env{Workspace: workspaceOf(t, files)}, "check_pod_security")
}

// toolNamed returns one tool of the server, as started with these flags.
func toolNamed(t testing.TB, env mcpserver.Env, name string, args ...string) mcpserver.Tool {
	t.Helper()
	var own options
	set := flag.NewFlagSet("", flag.ContinueOnError)
	own.flags(set)
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	all, err := tools(env, &own)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all, func(tool mcpserver.Tool) bool { return tool.Definition.Name == name })
	if i < 0 {
		t.Fatalf("no tool %s", name)
	}
	return all[i]
}

// call calls the tool as a client would, and holds the answer to the tool's output schema.
func call(t testing.TB, tool mcpserver.Tool, args map[string]any) (checkPodSecurityOut, error) {
	t.Helper()
	raw, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	result, err := tool.Call(context.Background(), raw)
	if err != nil {
		return checkPodSecurityOut{}, err
	}
	schema, err := validator.UnmarshalJSON(bytes.NewReader(tool.Definition.OutputSchema))
	if err != nil {
		t.Fatal(err)
	}
	c := validator.NewCompiler()
	if err := c.AddResource("mem:///out.json", schema); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("mem:///out.json")
	if err != nil {
		t.Fatal(err)
	}
	value, err := validator.UnmarshalJSON(bytes.NewReader(result.Structured))
	if err != nil {
		t.Fatal(err)
	}
	if err := compiled.Validate(value); err != nil {
		t.Errorf("the answer is not what the schema says: %v\n%s", err, result.Structured)
	}
	var out checkPodSecurityOut
	if err := json.Unmarshal(result.Structured, &out); err != nil {
		t.Fatal(err)
	}
	return out, nil
}

const failing = "apiVersion: v1\nkind: Pod\nmetadata: {name: bad, namespace: shop}\nspec:\n  hostPID: true\n  containers: [{name: c}]\n"

func TestAnswer(t *testing.T) {
	tool := toolFor(t, map[string]string{
		"m/good.yaml":   podYAML("good"),
		"m/bad.yml":     failing,
		"m/rest.json":   `{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Secret"}, {"apiVersion": "v1", "kind": "Secret"}, {"apiVersion": "x.io/v1", "kind": "Thing"}]}`,
		"m/broken.yaml": "a: [\n",
		"m/README.md":   failing,
		"empty/x.txt":   "",
	})
	got, err := call(t, tool, map[string]any{"path": "m", "level": "baseline"})
	if err != nil {
		t.Fatal(err)
	}
	want := checkPodSecurityOut{
		Level: "baseline", Version: evaluatorFor(t).newest.String(), Strictest: "privileged", Verdict: finding.Fail,
		Counts: finding.Counts{Pass: 1, Fail: 1},
		Objects: []objectVerdict{
			{Object: "Pod/shop/bad", File: "m/bad.yml", Verdict: finding.Fail, Strictest: "privileged"},
			{Object: "Pod/good", File: "m/good.yaml", Verdict: finding.Pass, Strictest: "baseline"},
		},
		Findings: []finding.Finding{
			{
				Rule: "pod-security/hostNamespaces", Title: "Host namespaces", Severity: finding.High, Verdict: finding.Fail,
				Message: "the pod shares the node's processes", Fix: "remove the field, or set it to false", Object: "Pod/shop/bad",
				Location: finding.Location{File: "m/bad.yml", Line: 5, Column: 3, Field: "spec.hostPID"},
			},
			{
				Rule: "manifest/unreadable", Title: "Inputs can be read", Severity: finding.High, Verdict: finding.Unknown,
				Message: "not judged", Reason: "not valid YAML: did not find expected node content", Location: finding.Location{File: "m/broken.yaml", Line: 1},
			},
		},
		Skipped: []string{"Secret: 2", "Thing.x.io: 1"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestVerdicts(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       finding.Verdict
		counts     finding.Counts
	}{
		{"pass", podYAML("p"), finding.Pass, finding.Counts{Pass: 1}},
		{"fail beats unknown", failing + "---\na: [", finding.Fail, finding.Counts{Fail: 1}},
		{"broken", podYAML("p") + "---\na: [", finding.Unknown, finding.Counts{Pass: 1}},
		{"only kinds without pods", "apiVersion: v1\nkind: Service\n", finding.Pass, finding.Counts{}},
		{"only a comment", "# nothing\n", finding.Unknown, finding.Counts{}},
		{"strict", strings.Replace(podYAML("p"), "spec: {", "spec: {x: y, ", 1), finding.Unknown, finding.Counts{Unknown: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := call(t, toolFor(t, nil), map[string]any{"text": tc.text, "level": "baseline"})
			if err != nil {
				t.Fatal(err)
			}
			if got.Verdict != tc.want || got.Counts != tc.counts {
				t.Errorf("verdict %s, counts %+v, want %s, %+v", got.Verdict, got.Counts, tc.want, tc.counts)
			}
			for _, f := range got.Findings {
				if f.Location.File != "" {
					t.Errorf("text has no file: %+v", f)
				}
			}
		})
	}
}

func TestDefaultsOfTheTool(t *testing.T) {
	got, err := call(t, toolFor(t, nil), map[string]any{"text": podYAML("p")})
	if err != nil || got.Level != "restricted" || got.Version != evaluatorFor(t).newest.String() || got.Verdict != finding.Fail {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = call(t, toolFor(t, nil), map[string]any{"text": podYAML("p"), "version": "v1.7", "level": "privileged"})
	if err != nil || got.Level != "privileged" || got.Version != "v1.7" || got.Verdict != finding.Pass {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRefusals(t *testing.T) {
	bare, full := toolFor(t, nil), toolFor(t, map[string]string{"a.yaml": podYAML("p"), "b/x.txt": "", ".env": "", "big.yaml": strings.Repeat("#", workspace.MaxFile+1)})
	for _, tc := range []struct {
		name string
		tool mcpserver.Tool
		args map[string]any
		code mcpserver.Code
		text string
	}{
		{"neither", full, map[string]any{}, mcpserver.CodeInvalidArguments, "exactly one of text and path"},
		{"both", full, map[string]any{"text": "a", "path": "a.yaml"}, mcpserver.CodeInvalidArguments, "exactly one of text and path"},
		{"no workspace", bare, map[string]any{"path": "a.yaml"}, mcpserver.CodeInvalidArguments, "without --workspace"},
		{"version too new", bare, map[string]any{"text": "a", "version": "v1.999"}, mcpserver.CodeInvalidArguments, "newest that is known here"},
		{"absolute", full, map[string]any{"path": "/etc/passwd"}, mcpserver.CodeDenied, "is absolute"},
		{"outside", full, map[string]any{"path": "../x"}, mcpserver.CodeDenied, "below"},
		{"forbidden", full, map[string]any{"path": ".env"}, mcpserver.CodeDenied, "never opened"},
		{"missing", full, map[string]any{"path": "none"}, mcpserver.CodeNotFound, "none"},
		{"nothing there", full, map[string]any{"path": "b"}, mcpserver.CodeNotFound, `below "b"`},
		{"too large", full, map[string]any{"path": "big.yaml"}, mcpserver.CodeTooLarge, "big.yaml"},
		{"text too large", full, map[string]any{"text": strings.Repeat("ü", maxText/2+1)}, mcpserver.CodeTooLarge, "1048576 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := call(t, tc.tool, tc.args)
			var visible *mcpserver.Error
			if !errors.As(err, &visible) || visible.Code != tc.code || !strings.Contains(visible.Message, tc.text) {
				t.Errorf("error %v, want %s with %q", err, tc.code, tc.text)
			}
		})
	}
}

// TestNothingLost: a file of a folder that cannot be read is a finding, and the others are judged.
func TestNothingLost(t *testing.T) {
	tool := toolFor(t, map[string]string{"a.yaml": podYAML("p"), "big.yaml": strings.Repeat("#", workspace.MaxFile+1), "z\xff.yaml": failing})
	got, err := call(t, tool, map[string]any{"path": ".", "level": "baseline"})
	if err != nil {
		t.Fatal(err)
	}
	if got.Verdict != finding.Fail || len(got.Objects) != 2 || len(got.Findings) != 2 {
		t.Errorf("%+v", got)
	}
	if f := got.Findings[0]; f.Rule != "manifest/unreadable" || !strings.Contains(f.Reason, "big.yaml: too large") {
		t.Errorf("%+v", f)
	}
}

// TestServedBound: the server takes fewer values than the check subcommand, since its memory is bounded.
func TestServedBound(t *testing.T) {
	list := func(n int) string {
		return "apiVersion: v1\nkind: ConfigMap\nx: [" + strings.Repeat("1,", n) + "]\n"
	}
	text := func(n int) string {
		return `{"apiVersion": "v1", "kind": "ConfigMap", "x": [` + strings.Repeat("1,", n) + "1]}"
	}
	for _, tc := range []struct {
		name, in string
		want     finding.Verdict
	}{
		{"YAML, full", list(maxServedValues - 7), finding.Pass},
		{"YAML, over", list(maxServedValues - 6), finding.Unknown},
		{"YAML, far over", list(4 * maxServedValues), finding.Unknown},
		{"JSON, full", text(maxServedValues - 8), finding.Pass},
		{"JSON, over", text(maxServedValues - 7), finding.Unknown},
		{"JSON, far over", text(4 * maxServedValues), finding.Unknown},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := call(t, toolFor(t, nil), map[string]any{"text": tc.in})
			if err != nil || got.Verdict != tc.want {
				t.Fatalf("%s, %v, want %s", got.Verdict, err, tc.want)
			}
			if tc.want == finding.Unknown && !strings.Contains(got.Findings[0].Reason, "more than 80000 values") {
				t.Errorf("%+v", got.Findings)
			}
		})
	}
}

// TestOneAtATime: a check waits for its turn no longer than its caller does.
func TestOneAtATime(t *testing.T) {
	s := server{evaluator: evaluatorFor(t), turn: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := s.checkPodSecurity(ctx, checkPodSecurityIn{Text: podYAML("p"), Level: "baseline", Version: "latest"})
	var visible *mcpserver.Error
	if !errors.As(err, &visible) || visible.Code != mcpserver.CodeBusy {
		t.Errorf("error %v, want busy", err)
	}
	<-s.turn
	if _, err := s.checkPodSecurity(context.Background(), checkPodSecurityIn{Text: podYAML("p"), Level: "baseline", Version: "latest"}); err != nil || len(s.turn) != 0 {
		t.Errorf("%v, %d turns taken", err, len(s.turn))
	}
}

// TestTruncated: a long answer is cut, says so, keeps the gravest, and counts everything.
func TestTruncated(t *testing.T) {
	var b strings.Builder
	for i := range maxListed + 1 {
		fmt.Fprintf(&b, "---\n%s", strings.Replace(podYAML(fmt.Sprintf("p%d", i)), "spec: {", "spec: {x: y, ", 1))
	}
	text := "apiVersion: v1\nkind: List\nitems:\n" // one document holds them all
	for doc := range strings.SplitSeq(b.String(), "---\n") {
		if doc = strings.TrimSpace(doc); doc != "" {
			text += "- " + strings.ReplaceAll(doc, "\n", "\n  ") + "\n"
		}
	}
	for i := range maxSkipped + 1 {
		text += fmt.Sprintf("- {apiVersion: v1, kind: K%d}\n", i)
	}
	text += "---\n" + failing
	got, err := call(t, toolFor(t, nil), map[string]any{"text": text, "level": "baseline"})
	if err != nil {
		t.Fatal(err)
	}
	if !got.Truncated || len(got.Findings) != maxFindings || len(got.Objects) != maxListed || len(got.Skipped) != maxSkipped {
		t.Errorf("truncated %t, %d findings, %d objects, %d skipped", got.Truncated, len(got.Findings), len(got.Objects), len(got.Skipped))
	}
	if want := (finding.Counts{Fail: 1, Unknown: maxListed + 1}); got.Counts != want || got.Verdict != finding.Fail {
		t.Errorf("%s, %+v, want fail, %+v", got.Verdict, got.Counts, want)
	}
	if got.Findings[0].Object != "Pod/shop/bad" {
		t.Errorf("the failure is not among the findings that were kept first: %+v", got.Findings[0])
	}
}

// TestRules: every rule that a finding may have is in the table of reports, once.
func TestRules(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range sarifRules() {
		if seen[r.ID] || r.Title == "" || r.Title == r.ID || r.Severity.Rank() == 0 {
			t.Errorf("%+v", r)
		}
		seen[r.ID] = true
	}
	for _, r := range lintRules() {
		if !seen[r.ID] {
			t.Errorf("%s is missing", r.ID)
		}
	}
	for _, r := range podRules() {
		if !seen[podRulePrefix+string(r.id)] {
			t.Errorf("%s is missing", r.id)
		}
	}
}
