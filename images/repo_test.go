package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// newRepo is a checkout in a folder of its own: two servers, one of which speaks MCP, a probe, packages that are neither,
// and this program.
func newRepo(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	fillRepo(t, root)
	return root
}

func fillRepo(t *testing.T, root string) {
	t.Helper()
	if err := os.CopyFS(root, os.DirFS("testdata/repo")); err != nil {
		t.Fatal(err)
	}
	gomod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "go.mod"), string(gomod)+"\ntoolchain "+runtime.Version()+"\n")
	for _, pattern := range []string{"*.go", "go.*"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(root, "images", file), string(data))
		}
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// commitAll makes a commit of what is in root, the same one for the same content.
func commitAll(t *testing.T, root string) {
	t.Helper()
	for _, args := range [][]string{{"init", "--quiet", "--initial-branch=main"}, {"add", "--all"}, {"commit", "--quiet", "--allow-empty", "--no-gpg-sign", "--message=One"}} {
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir = root
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_AUTHOR_DATE=2026-01-02T03:04:05Z",
			"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com", "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
}

// releaseRepo is newRepo, committed.
func releaseRepo(t *testing.T) string {
	t.Helper()
	root := newRepo(t)
	commitAll(t, root)
	return root
}

// runVerb runs a verb of the program in root, and returns what it prints.
func runVerb(t *testing.T, root string, args ...string) (string, error) {
	t.Helper()
	t.Chdir(root)
	var out bytes.Buffer
	err := run(t.Context(), args, &out, t.Output())
	return out.String(), err
}

// mustRun is runVerb where nothing may go wrong.
func mustRun(t *testing.T, root string, args ...string) string {
	t.Helper()
	out, err := runVerb(t, root, args...)
	if err != nil {
		t.Fatalf("images %v: %v\n%s", args, err, out)
	}
	return out
}
