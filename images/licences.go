package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// licencesFolder holds, in every image, the licence texts of all that it contains: MODULE@VERSION/FILE.
const licencesFolder = "usr/share/licenses/"

// rootsModule is where caRoots come from.
const rootsModule = "golang.org/x/crypto/x509roots/fallback"

// licenceFile matches the names under which modules keep licence texts and the notices that go with them.
var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([._-].*)?$`)

// listed is what `go list -deps -json` says of a package.
type listed struct {
	Dir      string
	Standard bool
	Module   *struct {
		Path, Version, Dir string
		Main               bool
	}
}

// findLicences is the licence texts of what a server links on platforms, of the Go library, and of the CA roots; with the
// folders above them, parents first.
func findLicences(ctx context.Context, root string, platforms []v1.Platform, s server) ([]file, error) {
	texts := map[string][]byte{} // by path below licencesFolder
	for _, platform := range platforms {
		packages, err := listPackages(ctx, root, goEnvironment(platform), "-deps", s.importPath)
		if err != nil {
			return nil, err
		}
		for _, p := range packages {
			if p.Standard {
				continue
			}
			if err := collect(texts, p); err != nil {
				return nil, err
			}
		}
	}
	goroot, err := goRoot(ctx)
	if err != nil {
		return nil, err
	}
	if err := collectFolder(texts, goroot, "go"); err != nil {
		return nil, err
	}
	roots, err := listPackages(ctx, filepath.Join(root, "images"), goEnvironment(), rootsModule)
	if err != nil {
		return nil, err
	}
	for _, p := range roots {
		if err := collect(texts, p); err != nil {
			return nil, err
		}
	}
	return withParents(texts), nil
}

// collect adds the texts of the package's module: those in its root, and those on the way down to the package, where a
// module keeps the licence of what it has copied from another.
func collect(texts map[string][]byte, p listed) error {
	module := p.Module
	name := module.Path
	if !module.Main {
		name += "@" + module.Version
	}
	before := len(texts)
	for dir := p.Dir; ; dir = filepath.Dir(dir) {
		below, err := filepath.Rel(module.Dir, dir)
		if err != nil {
			return err
		}
		if err := collectFolder(texts, dir, path.Join(name, filepath.ToSlash(below))); err != nil {
			return err
		}
		if below == "." {
			break
		}
	}
	if len(texts) == before && !slices.ContainsFunc(slices.Collect(maps.Keys(texts)), func(text string) bool { return strings.HasPrefix(text, name+"/") }) {
		return fmt.Errorf("%s comes without a licence: nothing in its root is called LICENSE, COPYING, NOTICE or PATENTS", name)
	}
	return nil
}

func collectFolder(texts map[string][]byte, dir, name string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !entry.Type().IsRegular() || !licenceFile.MatchString(entry.Name()) || strings.HasSuffix(entry.Name(), ".go") {
			continue
		}
		if texts[path.Join(name, entry.Name())], err = os.ReadFile(filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// withParents is the texts as files, in order, each folder before what is in it.
func withParents(texts map[string][]byte) []file {
	files := map[string]file{}
	for name, text := range texts {
		name = licencesFolder + name
		files[name] = file{path: name, mode: 0o444, data: text}
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			files[dir+"/"] = file{path: dir + "/", mode: 0o555}
		}
	}
	var sorted []file
	for _, name := range slices.Sorted(maps.Keys(files)) {
		sorted = append(sorted, files[name])
	}
	return sorted
}

// listPackages asks go about packages, in dir, with env over the environment of this process.
func listPackages(ctx context.Context, dir string, env []string, args ...string) ([]listed, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"list", "-json=Dir,Standard,Module"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	var packages []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading what go list says: %w", err)
		}
		packages = append(packages, p)
	}
}
