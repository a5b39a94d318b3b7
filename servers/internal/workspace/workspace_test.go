package workspace

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
)

// canary is what must never be read.
const canary = "hunter2"

// tree makes a workspace with a folder outside it; a value that begins with "-> " is a symbolic link.
func tree(t testing.TB, files map[string]string) *Root {
	t.Helper()
	top := t.TempDir()
	dir := filepath.Join(top, "workspace")
	write(t, filepath.Join(top, "outside", "secret.yaml"), canary)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		write(t, filepath.Join(dir, name), content)
	}
	root, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root
}

func write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	if target, ok := strings.CutPrefix(content, "-> "); ok {
		err = os.Symlink(target, name)
	} else {
		err = os.WriteFile(name, []byte(content), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func yamls(name string) bool { return strings.HasSuffix(name, ".yaml") }

func all(string) bool { return true }

func paths(files []File) []string {
	got := []string{}
	for _, f := range files {
		got = append(got, f.Path)
	}
	return got
}

var sample = map[string]string{
	"a.yaml":                   "a",
	"b.txt":                    "b",
	"sub/c.yaml":               "c",
	"sub/deep/d.yaml":          "d",
	".git/config.yaml":         canary,
	"sub/.terraform/x.yaml":    canary,
	".terraform.lock.hcl":      "locked",
	".env":                     canary,
	".env.yaml":                canary,
	"prod.tfstate":             canary,
	"prod.tfstate.backup.yaml": canary,
	"terraform.tfstate.d/x":    canary,
	".ENV":                     canary,
	".envrc.yaml":              "no secret by its name",
}

func TestRead(t *testing.T) {
	root := tree(t, sample)
	for _, tc := range []struct {
		path string
		want []string
	}{
		{"a.yaml", []string{"a.yaml"}},
		{"./a.yaml", []string{"a.yaml"}},
		{"b.txt", []string{"b.txt"}}, // named, so read whatever match says
		{".", []string{".envrc.yaml", "a.yaml", "sub/c.yaml", "sub/deep/d.yaml"}},
		{"", []string{".envrc.yaml", "a.yaml", "sub/c.yaml", "sub/deep/d.yaml"}},
		{"sub", []string{"sub/c.yaml", "sub/deep/d.yaml"}},
		{"sub//deep/", []string{"sub/deep/d.yaml"}},
	} {
		t.Run(tc.path, func(t *testing.T) {
			files, err := root.Read(tc.path, yamls)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, paths(files)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
	files, err := root.Read("sub/c.yaml", nil)
	if err != nil || len(files) != 1 || string(files[0].Data) != "c" {
		t.Errorf("content: %q, %v", files, err)
	}
	files, err = root.Read(".", all)
	if want := []string{".envrc.yaml", ".terraform.lock.hcl", "a.yaml", "b.txt", "sub/c.yaml", "sub/deep/d.yaml"}; err != nil || !cmp.Equal(want, paths(files)) {
		t.Errorf("everything: %q, %v", paths(files), err)
	}
}

func TestReadRefuses(t *testing.T) {
	root := tree(t, sample)
	for _, tc := range []struct {
		path string
		want error
		text string
	}{
		{"/etc/passwd", ErrOutside, root.Name()},
		{root.Name() + "/a.yaml", ErrOutside, "relative to " + root.Name()},
		{"..", ErrOutside, root.Name()},
		{"../outside/secret.yaml", ErrOutside, root.Name()},
		{"sub/../a.yaml", ErrOutside, `".."`},
		{"sub/..", ErrOutside, `".."`},
		{"a.yaml\x00", ErrNotFound, "control character"},
		{"none.yaml", ErrNotFound, "none.yaml"},
		{"a.yaml/b", ErrNotFound, "a.yaml/b"},
		{".git", ErrForbidden, "named .git"},
		{".git/config.yaml", ErrForbidden, "named .git"},
		{"sub/.terraform/x.yaml", ErrForbidden, "named .terraform"},
		{".env", ErrForbidden, ".env"},
		{".ENV", ErrForbidden, ".ENV"},
		{".env.yaml", ErrForbidden, ".env.yaml"},
		{"prod.tfstate", ErrForbidden, "prod.tfstate"},
		{"prod.tfstate.backup.yaml", ErrForbidden, "prod.tfstate"},
		{"terraform.tfstate.d/x", ErrForbidden, "terraform.tfstate.d"},
		{strings.Repeat("x", MaxPath+1), limit.ErrTooLarge, "4096"},
	} {
		t.Run(tc.path[:min(len(tc.path), 40)], func(t *testing.T) {
			files, err := root.Read(tc.path, all)
			if !errors.Is(err, tc.want) || len(files) != 0 {
				t.Fatalf("%d files, error %v, want %v", len(files), err, tc.want)
			}
			if !strings.Contains(err.Error(), tc.text) {
				t.Errorf("error %q does not say %q", err, tc.text)
			}
		})
	}
}

func TestReadFile(t *testing.T) {
	root := tree(t, map[string]string{"big": strings.Repeat("x", MaxFile+2), ".env": canary, "sub/a": "a", "link": "-> sub/a", "out": "-> ../outside/secret.yaml"})
	for _, tc := range []struct {
		path string
		size int
		want error
	}{
		{"big", MaxFile + 2, nil},
		{"link", 1, nil},
		{".env", 0, ErrForbidden},
		{"out", 0, ErrOutside},
		{"sub", 0, ErrUnreadable},
		{"none", 0, ErrNotFound},
		{"/etc/passwd", 0, ErrOutside},
	} {
		file, err := root.ReadFile(tc.path, MaxFile+2)
		if !errors.Is(err, tc.want) || len(file.Data) != tc.size {
			t.Errorf("%s: %d bytes, %v; want %d, %v", tc.path, len(file.Data), err, tc.size, tc.want)
		}
	}
	if _, err := root.ReadFile("big", MaxFile+1); !errors.Is(err, limit.ErrTooLarge) {
		t.Errorf("past the bound: %v", err)
	}
	// The operator's bound may be higher than that of all files of a caller's folder.
	larger := tree(t, map[string]string{"plan": strings.Repeat("x", MaxTotal+1)})
	if file, err := larger.ReadFile("plan", MaxTotal+1); err != nil || len(file.Data) != MaxTotal+1 {
		t.Errorf("%d bytes, %v", len(file.Data), err)
	}
}

func TestLinks(t *testing.T) {
	root := tree(t, map[string]string{
		"a.yaml":            "a",
		"sub/b.yaml":        "b",
		".env":              canary,
		".git/c.yaml":       canary,
		"in/a.yaml":         "-> ../a.yaml",
		"in/twice.yaml":     "-> a.yaml",
		"in/folder.yaml":    "-> ../sub",
		"dir":               "-> sub",
		"out.yaml":          "-> ../outside/secret.yaml",
		"absolute.yaml":     "-> /etc/hostname",
		"outdir":            "-> ../outside",
		"env.yaml":          "-> .env",
		"git":               "-> .git",
		"git2":              "-> ./in/../git",
		"loop.yaml":         "-> loop.yaml",
		"ping":              "-> pong",
		"pong":              "-> ping",
		"dangling.yaml":     "-> nothing",
		"sub/roundabout":    "-> ../in/../sub/b.yaml",
		"escape-and-return": "-> ../workspace/a.yaml",
	})
	for _, tc := range []struct {
		path string
		data string
		want error
	}{
		{"in/a.yaml", "a", nil},
		{"in/twice.yaml", "a", nil},
		{"dir/b.yaml", "b", nil},
		{"in/folder.yaml/b.yaml", "b", nil},
		{"sub/roundabout", "b", nil},
		{"out.yaml", "", ErrOutside},
		{"absolute.yaml", "", ErrOutside},
		{"outdir", "", ErrOutside},
		{"outdir/secret.yaml", "", ErrOutside},
		{"escape-and-return", "", ErrOutside},
		{"env.yaml", "", ErrForbidden},
		{"git/c.yaml", "", ErrForbidden},
		{"git2/c.yaml", "", ErrForbidden},
		{"git", "", ErrForbidden},
		{"loop.yaml", "", ErrUnreadable},
		{"ping", "", ErrUnreadable},
		{"dangling.yaml", "", ErrNotFound},
	} {
		t.Run(tc.path, func(t *testing.T) {
			files, err := root.Read(tc.path, yamls)
			if !errors.Is(err, tc.want) {
				t.Fatalf("error %v, want %v", err, tc.want)
			}
			if tc.want == nil && (len(files) != 1 || string(files[0].Data) != tc.data) {
				t.Errorf("got %q, want one file that holds %q", files, tc.data)
			}
		})
	}

	// A walk reads linked files, enters no linked folder, and names every link that it must not follow.
	files, err := root.Read(".", yamls)
	if diff := cmp.Diff([]string{"a.yaml", "in/a.yaml", "in/twice.yaml", "sub/b.yaml"}, paths(files)); diff != "" {
		t.Errorf("walk (-want +got):\n%s", diff)
	}
	for _, name := range []string{"out.yaml", "absolute.yaml", "env.yaml", "loop.yaml", "dangling.yaml"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("the walk's error does not name %s: %v", name, err)
		}
	}
}

func TestNotRegular(t *testing.T) {
	root := tree(t, map[string]string{"a.yaml": "a"})
	if err := syscall.Mkfifo(filepath.Join(root.Name(), "pipe.yaml"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"pipe.yaml", "."} {
		files, err := root.Read(path, yamls)
		if !errors.Is(err, ErrUnreadable) || !strings.Contains(err.Error(), "pipe.yaml: not a regular file") {
			t.Errorf("%s: %v", path, err)
		}
		if path == "." && len(files) != 1 {
			t.Errorf("the pipe hides the other file")
		}
	}
}

// TestUnreadable reads as uid 65532, as in a container, a file that only its owner may read.
func TestUnreadable(t *testing.T) {
	root := tree(t, map[string]string{"a.yaml": "a", "private.yaml": "p", "closed/b.yaml": "b"})
	for name, mode := range map[string]fs.FileMode{"private.yaml": 0o000, "closed": 0o000, ".": 0o755} {
		if err := os.Chmod(filepath.Join(root.Name(), name), mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(root.Name(), "closed"), 0o755) })

	type result struct {
		files []File
		err   error
	}
	done := make(chan result)
	go func() {
		// The thread is never unlocked, so it ends with the goroutine and its fsuid with it.
		runtime.LockOSThread()
		_, _, _ = syscall.RawSyscall(syscall.SYS_SETFSUID, 65532, 0, 0)
		files, err := root.Read(".", yamls)
		done <- result{files, err}
	}()
	got := <-done
	if diff := cmp.Diff([]string{"a.yaml"}, paths(got.files)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if !errors.Is(got.err, ErrUnreadable) {
		t.Fatalf("error %v, want %v", got.err, ErrUnreadable)
	}
	for _, want := range []string{"private.yaml: uid", "closed: uid", "chmod o+rX"} {
		if !strings.Contains(got.err.Error(), want) {
			t.Errorf("error %q does not say %q", got.err, want)
		}
	}
}

func TestBounds(t *testing.T) {
	t.Run("file", func(t *testing.T) {
		root := tree(t, map[string]string{"full": strings.Repeat("x", MaxFile), "over": strings.Repeat("x", MaxFile+1), "z": "z"})
		files, err := root.Read(".", all)
		if want := []string{"full", "z"}; !cmp.Equal(want, paths(files)) {
			t.Errorf("files %q, want %q", paths(files), want)
		}
		if !errors.Is(err, limit.ErrTooLarge) || !strings.Contains(err.Error(), "over: ") {
			t.Errorf("error %v does not name the file", err)
		}
	})
	t.Run("files", func(t *testing.T) {
		files := map[string]string{}
		for i := range MaxFiles + 1 {
			files[fmt.Sprintf("f%04d", i)] = ""
		}
		root := tree(t, files)
		got, err := root.Read(".", all)
		if len(got) != MaxFiles || !errors.Is(err, limit.ErrTooLarge) {
			t.Errorf("%d files, error %v", len(got), err)
		}
		if got, err := root.Read(".", func(p string) bool { return p != "f0000" }); len(got) != MaxFiles || err != nil {
			t.Errorf("exactly full: %d files, error %v", len(got), err)
		}
	})
	t.Run("total", func(t *testing.T) {
		files := map[string]string{}
		for i := range MaxTotal/MaxFile + 1 {
			files[fmt.Sprintf("f%04d", i)] = strings.Repeat("x", MaxFile)
		}
		got, err := tree(t, files).Read(".", all)
		if len(got) != MaxTotal/MaxFile || !errors.Is(err, limit.ErrTooLarge) {
			t.Errorf("%d files, error %v", len(got), err)
		}
	})
	t.Run("depth", func(t *testing.T) {
		deep := strings.Repeat("d/", MaxDepth)
		got, err := tree(t, map[string]string{deep + "in": "", deep + "d/out": ""}).Read(".", all)
		if !cmp.Equal([]string{deep + "in"}, paths(got)) || !errors.Is(err, limit.ErrTooLarge) {
			t.Errorf("files %q, error %v", paths(got), err)
		}
	})
	t.Run("problems", func(t *testing.T) {
		files := map[string]string{}
		for i := range maxProblems + 7 {
			files[fmt.Sprintf("l%04d", i)] = "-> ../outside"
		}
		_, err := tree(t, files).Read(".", all)
		if err == nil || strings.Count(err.Error(), "\n") != maxProblems || !strings.Contains(err.Error(), "7 more") {
			t.Errorf("error %v", err)
		}
	})
}

// TestReplaced holds enter and read to what was looked at before: what takes its place is not opened.
func TestReplaced(t *testing.T) {
	root := tree(t, map[string]string{"sub/a.yaml": "a", ".git/a.yaml": canary, "f": "f", ".env": canary})
	dirInfo, err := root.dir.Lstat("sub")
	if err != nil {
		t.Fatal(err)
	}
	fileInfo, err := root.dir.Lstat("f")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sub", "f"} {
		if err := os.Rename(filepath.Join(root.Name(), name), filepath.Join(root.Name(), name+".old")); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(root.Name(), "sub"), "-> .git")
	write(t, filepath.Join(root.Name(), "f"), "-> .env")
	if dir, err := enter(root.dir, "sub", dirInfo); !errors.Is(err, errChanged) {
		t.Errorf("enter: %v, %v", dir, err)
	}
	if data, err := read(root.dir, "f", fileInfo, MaxFile); !errors.Is(err, errChanged) {
		t.Errorf("read: %q, %v", data, err)
	}
}

func TestOpen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	write(t, file, "")
	for _, dir := range []string{file, file + "/none"} {
		if _, err := Open(dir); err == nil {
			t.Errorf("Open(%q) succeeded", dir)
		}
	}
}

// FuzzRead asks for any path in a workspace that has one link to any target, and for everything.
func FuzzRead(f *testing.F) {
	for path := range sample {
		f.Add(path, "a.yaml")
	}
	for _, target := range []string{"../outside/secret.yaml", ".env", "sub/../.git/config.yaml", "/etc/passwd", "link", "link/a", ".", "..", "sub/./c.yaml"} {
		f.Add("link", target)
		f.Add("./link/x//y/../", target)
	}
	root := tree(f, sample)
	link := filepath.Join(root.Name(), "link")
	f.Fuzz(func(t *testing.T, path, target string) {
		_ = os.Remove(link)
		_ = os.Symlink(target, link) // not every string can be a target
		for _, path := range []string{path, "link", "."} {
			files, err := root.Read(path, all)
			if path == "link" && target == "a.yaml" && err != nil {
				t.Errorf("a harmless link is refused: %v", err)
			}
			for _, file := range files {
				if strings.Contains(string(file.Data), canary) {
					t.Errorf("Read(%q) with a link to %q read %s", path, target, file.Path)
				}
				if again, err := root.Read(file.Path, nil); err != nil || len(again) != 1 || string(again[0].Data) != string(file.Data) {
					t.Errorf("Read(%q) is not what Read(%q) gave: %v", file.Path, path, err)
				}
			}
			if err == nil {
				continue
			}
			for _, known := range []error{ErrOutside, ErrForbidden, ErrNotFound, ErrUnreadable, limit.ErrTooLarge} {
				if errors.Is(err, known) {
					err = nil
					break
				}
			}
			if err != nil {
				t.Errorf("Read(%q): untyped error %v", path, err)
			}
		}
	})
}
