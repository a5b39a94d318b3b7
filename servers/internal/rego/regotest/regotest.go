// Package regotest runs the conftest that users have, so that tests can hold what policies say here to what they say there.
package regotest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/rego"
)

// conftest is the binary that scripts/test has built, or that is built now: scripts/tools/conftest says which one.
func conftest(t *testing.T) string {
	t.Helper()
	binary := os.Getenv("CONFTEST")
	if binary == "" {
		out, err := exec.CommandContext(t.Context(), filepath.Join(root(t), "scripts/tool"), "conftest").Output() //nolint:gosec // a script of this checkout
		if err != nil {
			t.Fatalf("building conftest: %v", err)
		}
		binary = strings.TrimSpace(string(out))
		t.Setenv("CONFTEST", binary)
	}
	return binary
}

// root is the folder of the checkout.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	for ; err == nil && dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	t.Fatalf("no go.mod above the test: %v", err)
	return ""
}

// Evaluate calls a tool evaluate_policy as a client would.
func Evaluate(t *testing.T, tool mcpserver.Tool, args map[string]any) (rego.Report, error) {
	t.Helper()
	raw, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	result, err := tool.Call(t.Context(), raw)
	if err != nil {
		return rego.Report{}, err
	}
	var r rego.Report
	if err := json.Unmarshal(result.Structured, &r); err != nil {
		t.Fatal(err)
	}
	return r, nil
}

// said is what conftest's JSON output has for one file and namespace.
type said struct {
	Filename   string   `json:"filename"`
	Namespace  string   `json:"namespace"`
	Warnings   []result `json:"warnings"`
	Failures   []result `json:"failures"`
	Exceptions []result `json:"exceptions"`
}

type result struct {
	Msg      string         `json:"msg"`
	Metadata map[string]any `json:"metadata"`
}

// Compare fails the test unless the reports, one for each file, say what conftest says of the files by the policies
// in dir and the data in dir/data: the same failures, warnings and exceptions, with the same metadata.
func Compare(t *testing.T, dir, namespace string, reports map[string]rego.Report, args ...string) {
	t.Helper()
	files := slices.Sorted(maps.Keys(reports))
	args = append([]string{"test", "--output=json", "--no-fail", "--policy", dir, "--namespace", namespace}, args...)
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		args = append(args, "--data", filepath.Join(dir, "data"))
	}
	out, err := exec.CommandContext(t.Context(), conftest(t), append(args, files...)...).Output() //nolint:gosec // the binary that it built
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		t.Fatalf("conftest: %v", err)
	}
	var all []said
	decoder := json.NewDecoder(bytes.NewReader(out))
	decoder.UseNumber()
	if err := decoder.Decode(&all); err != nil {
		t.Fatalf("conftest: %v: %s", err, out)
	}
	want, have := map[string][]string{}, map[string][]string{}
	for _, s := range all {
		want[s.Filename] = append(want[s.Filename], s.lines()...)
	}
	for file, report := range reports {
		for _, f := range report.Findings {
			if line := lineOf(t, f); line != "" {
				have[file] = append(have[file], line)
			}
		}
	}
	messages := 0
	for _, file := range files {
		messages += len(want[file])
		// An exception is said once for each entry there, and once for each message here.
		if diff := cmp.Diff(distinct(want[file]), distinct(have[file])); diff != "" {
			t.Errorf("%s: (-conftest +here):\n%s", file, diff)
		}
	}
	if messages == 0 {
		t.Error("conftest has nothing to say: the comparison compares nothing")
	}
	t.Logf("%d messages in %d files agree", messages, len(files))
}

func (s said) lines() []string {
	var lines []string
	for kind, results := range map[string][]result{"FAIL": s.Failures, "WARN": s.Warnings} {
		for _, r := range results {
			query, _ := r.Metadata["query"].(string)
			lines = append(lines, line(kind, strings.TrimPrefix(query, "data."), r.Msg, r.Metadata))
		}
	}
	for _, r := range s.Exceptions {
		lines = append(lines, "EXCP "+strings.Replace(strings.Replace(r.Msg, "[_][_] ==", " names", 1), "  ", " ", 1))
	}
	return lines
}

func line(kind, rule, message string, metadata map[string]any) string {
	metadata = maps.Clone(metadata)
	delete(metadata, "query") // conftest's own, over what the policy says
	if metadata == nil {
		metadata = map[string]any{}
	}
	text, err := json.Marshal(metadata)
	if err != nil {
		text = []byte(err.Error())
	}
	return fmt.Sprintf("%s %s: %s %s", kind, rule, message, text)
}

func lineOf(t *testing.T, f rego.Finding) string {
	t.Helper()
	_, name, _ := cutLast(f.Rule)
	switch {
	case f.Verdict == finding.Pass:
		return "EXCP " + strings.TrimPrefix(f.Reason, "excepted: ")
	case f.Verdict == finding.Unknown && f.Severity == finding.Medium:
		return "" // a built-in function failed, of which conftest says nothing
	case f.Verdict == finding.Unknown:
		t.Errorf("unknown: %+v", f)
		return ""
	case strings.HasPrefix(name, "warn"):
		return line("WARN", f.Rule, f.Message, f.Metadata)
	default:
		return line("FAIL", f.Rule, f.Message, f.Metadata)
	}
}

func cutLast(rule string) (before, after string, found bool) {
	i := strings.LastIndex(rule, ".")
	return rule[:max(i, 0)], rule[i+1:], i >= 0
}

// distinct sorts lines, and keeps one of equal exceptions; equal messages are as many as they are.
func distinct(lines []string) []string {
	lines = slices.Sorted(slices.Values(lines))
	return slices.CompactFunc(lines, func(a, b string) bool { return a == b && strings.HasPrefix(a, "EXCP") })
}
