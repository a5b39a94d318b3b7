package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/workspace"
)

// realTool is the path of a real Terraform or OpenTofu: TERRAFORM, or the tool that scripts/tool builds.
func realTool(t *testing.T) string {
	t.Helper()
	if path := os.Getenv("TERRAFORM"); path != "" {
		return path
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	// It takes minutes to build: a test does not begin with that.
	if built, _ := filepath.Glob(filepath.Join(cache, "bulkhead/tools/tofu-*/tofu")); len(built) == 0 {
		if os.Getenv("REQUIRE_ENGINE") != "" {
			t.Fatal("nothing to compare with is built: scripts/tool tofu (or TERRAFORM=PATH)")
		}
		t.Skip("NOT TESTED against the real thing, which is not built: scripts/tool tofu (or TERRAFORM=PATH)")
	}
	path, err := exec.CommandContext(t.Context(), "../../scripts/tool", "tofu").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(path))
}

// runTool runs the real thing in a folder.
func runTool(t *testing.T, dir, stdin string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), realTool(t), args...)
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "TF_CLI_CONFIG_FILE=/dev/null", "CHECKPOINT_DISABLE=1", "NO_COLOR=1", "TF_IN_AUTOMATION=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s\n%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return out
}

// localFiles are the files of a folder of the test.
func localFiles(t testing.TB, dir string) files {
	t.Helper()
	root, err := workspace.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return workspaceFiles{root: root, most: maxFileContent}
}

// TestExpressionsAgree evaluates every expression of the list here and by the real thing.
func TestExpressionsAgree(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "agree", "module"))); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile(filepath.Join("testdata", "agree", "expressions.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var expressions []string
	var source, all strings.Builder
	for line := range strings.Lines(string(list)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fmt.Fprintf(&source, "  e%d = %s\n", len(expressions), line)
		fmt.Fprintf(&all, "local.e%d, ", len(expressions))
		expressions = append(expressions, line)
	}
	text := "locals {\n" + source.String() + "}\n"
	if err := os.WriteFile(filepath.Join(dir, "expressions.tf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out := runTool(t, dir, "base64encode(jsonencode(["+all.String()+"]))\n", "console")
	encoded, err := base64.StdEncoding.DecodeString(strings.Trim(strings.TrimSpace(string(out)), `"`))
	if err != nil {
		t.Fatalf("%v: %.300s", err, out)
	}
	var want []json.RawMessage
	if err := json.Unmarshal(encoded, &want); err != nil {
		t.Fatal(err)
	}

	l := newLoader(localFiles(t, dir))
	m, err := l.load(".")
	if err != nil {
		t.Fatal(err)
	}
	c := newCheck(l, ".")
	c.arguments = c.readArguments(m, nil)
	i := c.instance(m, nil, nil, "")
	agreed := 0
	for n, expression := range expressions {
		v, _ := i.local("e" + strconv.Itoa(n)).UnmarkDeep()
		if !v.IsWhollyKnown() {
			t.Errorf("%s: unknown here, %s there", expression, want[n])
			continue
		}
		got, err := ctyjson.Marshal(v, v.Type())
		if err != nil {
			t.Errorf("%s: %v", expression, err)
			continue
		}
		if string(got) != string(want[n]) {
			t.Errorf("%s:\n here  %s\n there %s", expression, got, want[n])
			continue
		}
		agreed++
	}
	for _, e := range l.problems.all {
		t.Errorf("problem: %v", e)
	}
	t.Logf("%d expressions agree", agreed)
	if agreed < 300 {
		t.Errorf("only %d expressions agree", agreed)
	}
}
