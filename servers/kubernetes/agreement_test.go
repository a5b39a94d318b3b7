package main

import (
	"go/build"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"k8s.io/pod-security-admission/api"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// TestLibraryTestdata holds every verdict to the pods that the library's own tests are made of, which are in its
// module: LEVEL/VERSION/pass|fail/NAME.yaml.
func TestLibraryTestdata(t *testing.T) {
	e := evaluatorFor(t)
	module, err := build.Import("k8s.io/pod-security-admission/policy", ".", build.FindOnly)
	if err != nil {
		t.Fatal(err)
	}
	root := os.DirFS(filepath.Join(module.Dir, "..", "test", "testdata"))
	agree, versions := map[finding.Verdict]int{}, map[string]bool{}
	err = fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		parts := strings.Split(path, "/")
		if len(parts) != 4 {
			t.Errorf("%s: where does it belong?", path)
			return nil
		}
		data, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		level, version, want := api.Level(parts[0]), parts[1], finding.Verdict(parts[2])
		out := judged(t, podChecker(e, level, version), path, data)
		if len(out.errs) > 0 || len(out.subjects) != 1 || out.subjects[0].verdict != want {
			t.Errorf("%s: %v, %+v", path, out.errs, out.own)
			return nil
		}
		if strictest := out.subjects[0].pod.strictest; (api.CompareLevels(strictest, level) >= 0) != (want == finding.Pass) {
			t.Errorf("%s: the strictest level is %s", path, strictest)
		}
		agree[want]++
		versions[version] = true
		return nil
	})
	t.Logf("%d agree: %d pass, %d fail, of %d versions", agree[finding.Pass]+agree[finding.Fail], agree[finding.Pass], agree[finding.Fail], len(versions))
	if err != nil || agree[finding.Pass]+agree[finding.Fail] < 4241 || len(versions) <= newestRelease {
		t.Errorf("%v; the testdata are not whole", err)
	}
}

// TestNewestRelease: the newest release that is known is the one that the library belongs to.
func TestNewestRelease(t *testing.T) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		t.Fatal("no build info")
	}
	for _, dep := range info.Deps {
		if dep.Path == "k8s.io/pod-security-admission" {
			if want := "v0." + strconv.Itoa(newestRelease) + "."; !strings.HasPrefix(dep.Version, want) {
				t.Errorf("the library is %s, but newestRelease is %d", dep.Version, newestRelease)
			}
			return
		}
	}
	t.Error("the library is not among the dependencies")
}
