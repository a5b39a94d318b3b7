package secretdir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestState(t *testing.T) {
	d := Dir{Path: t.TempDir(), Suffix: ".sha256"}
	in := func(name string) string { return filepath.Join(d.Path, name) }
	seen := map[string]bool{}
	fresh := func(after string, want bool) {
		t.Helper()
		state, err := d.State()
		if err != nil {
			t.Fatal(err)
		}
		if seen[state] == want {
			t.Errorf("after %s: changed is %t, want %t: %q", after, !want, want, state)
		}
		seen[state] = true
	}
	fresh("nothing", true)
	write(t, in("a.sha256"), "one")
	fresh("a new file", true)
	write(t, in("b.txt"), "two")
	write(t, in(".c.sha256"), "two")
	fresh("files that do not count", false)
	write(t, in("a.sha256"), "longer")
	fresh("a change", true)
	if err := os.Remove(in("a.sha256")); err != nil {
		t.Fatal(err)
	}
	fresh("the removal, which leaves what was at first", false)
	if _, err := (Dir{Path: in("none")}).State(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}

func TestRead(t *testing.T) {
	d := Dir{Path: t.TempDir()}
	in := func(name string) string { return filepath.Join(d.Path, name) }
	write(t, in("good"), "hunter2")
	outside := filepath.Join(t.TempDir(), "outside")
	write(t, outside, "hunter2")
	// An orchestrator's mount: the name is a link to a folder that is replaced as a whole.
	if err := os.Mkdir(in("..data"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, in("..data/mounted"), "hunter2")
	for name, target := range map[string]string{"link": "good", "mounted": "..data/mounted", "out": outside, "up": "../x", "gone": "none"} {
		if err := os.Symlink(target, in(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(in("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, ok := range map[string]bool{
		"good": true, "link": true, "mounted": true, "out": false, "up": false, "gone": false, "pipe": false, "..data": false, "../x": false, "": false,
	} {
		data, err := d.Read(name, 7)
		if (err == nil) != ok || ok && string(data) != "hunter2" {
			t.Errorf("%q: %q, %v", name, data, err)
		}
	}
	if _, err := d.Read("good", 6); !errors.Is(err, limit.ErrTooLarge) || !strings.Contains(err.Error(), in("good")) || strings.Contains(err.Error(), "hunter") {
		t.Errorf("too large a file: %v", err)
	}
	names, err := d.Names()
	if diff := cmp.Diff([]string{"gone", "good", "link", "mounted", "out", "pipe", "up"}, names); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
