package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// skipped are the recipe's commands that take an engine, or everything: CI runs them over the tree itself.
var skipped = []string{"make lint test prove", "make lint", "make test", "make prove", "go test ./servers/kubernetes/...", "scripts/cluster go test ./servers/kubernetes ./servers/logs"}

// TestRecipe adds a server as CONTRIBUTING.md says, in a copy of the tree, and runs what comes out.
func TestRecipe(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds every server")
	}
	scratch := filepath.Join(t.TempDir(), "copy")
	list := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root
	files, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	for path := range strings.SplitSeq(strings.TrimSuffix(string(files), "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.Join(root, path))
		if os.IsNotExist(err) {
			continue // removed, and not yet committed
		}
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(scratch, path), string(data), info.Mode())
	}
	done := 0
	for _, b := range blocks("CONTRIBUTING.md", read(t, "CONTRIBUTING.md")) {
		switch parts := strings.SplitN(b.info, " ", 4); {
		case b.info == "":
			for command := range strings.Lines(b.text) {
				done += follow(t, scratch, strings.TrimSpace(command))
			}
		case len(parts) == 2:
			write(t, filepath.Join(scratch, parts[1]), b.text, 0o644)
		case len(parts) == 4 && parts[2] == "below":
			path := filepath.Join(scratch, parts[1])
			anchor := strings.Trim(parts[3], `"`) + "\n"
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			changed := strings.Replace(string(data), anchor, anchor+b.text, 1)
			if changed == string(data) {
				t.Fatalf("CONTRIBUTING.md:%d: %s has no line %q", b.line, parts[1], anchor)
			}
			write(t, path, changed, 0o644)
		default:
			t.Errorf("CONTRIBUTING.md:%d: what is to be done with %q?", b.line, b.info)
		}
		if t.Failed() {
			return
		}
	}
	if done < 8 {
		t.Errorf("only %d commands were run", done)
	}
	// And it answers to a caller.
	out, err := run(t, scratch, "go", "run", "./servers/example", "call", "--workspace", "agents/workspace", "count_lines", `{"path": "../x"}`)
	if err == nil || !strings.Contains(out, "denied") {
		t.Errorf("a path out of the workspace: %v: %s", err, out)
	}
}

// follow runs a command of the recipe, and returns how many it has run.
func follow(t *testing.T, dir, command string) int {
	t.Helper()
	command, _, _ = strings.Cut(command, "  #")
	command = strings.TrimSpace(command)
	if slices.Contains(skipped, command) {
		return 0
	}
	c := exec.CommandContext(t.Context(), "bash", "-c", command)
	c.Dir, c.Env = dir, append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath")
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", command, err, out)
	}
	return 1
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode.Perm()); err != nil {
		t.Fatal(err)
	}
}
