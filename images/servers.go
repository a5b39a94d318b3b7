package main

import (
	"errors"
	"fmt"
	gobuild "go/build"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
)

const (
	module    = "github.com/bulkhead-mcp/bulkhead"
	runtimeOf = module + "/servers/internal/mcpserver" // what imports it is an MCP server
)

// hostPrograms are those of servers/e2e that are no containers: `make demo` and `make prove` run them beside the engine.
func hostPrograms() []string { return []string{"servers/e2e/demo", "servers/e2e/prove"} }

// server is a folder that becomes an image.
type server struct {
	name       string
	importPath string
	summary    string // the first sentence of its package comment
	mcp        bool   // speaks MCP, so it has a port
	test       bool   // a fake or a probe of servers/e2e: never released
}

// findRoot is the folder of the repository: the nearest one upwards whose go.mod is the main module's.
func findRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && modfile.ModulePath(data) == module {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("%s is not inside a checkout of %s", start, module)
		}
	}
}

// findServers lists every folder of servers/ and servers/e2e/ that holds a program, by name: a new server is a new folder.
func findServers(root string) ([]server, error) {
	var found []server
	for _, dir := range []string{"servers", "servers/e2e"} {
		entries, err := os.ReadDir(filepath.Join(root, dir))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, entry := range entries {
			folder := path.Join(dir, entry.Name())
			if !entry.IsDir() || slices.Contains(hostPrograms(), folder) {
				continue
			}
			s, ok, err := readServer(root, folder)
			if err != nil {
				return nil, err
			}
			if ok {
				found = append(found, s)
			}
		}
	}
	slices.SortFunc(found, func(a, b server) int { return strings.Compare(a.name, b.name) })
	for i := range len(found) - 1 {
		if found[i].name == found[i+1].name {
			return nil, fmt.Errorf("%s and %s would have one name: rename one", found[i].importPath, found[i+1].importPath)
		}
	}
	return found, nil
}

// readServer reads what the folder's Go files say of themselves; ok is false where they are no program.
func readServer(root, dir string) (s server, ok bool, err error) {
	linux := gobuild.Default
	linux.GOOS, linux.CgoEnabled = "linux", false
	pkg, err := linux.ImportDir(filepath.Join(root, dir), 0)
	if _, none := errors.AsType[*gobuild.NoGoError](err); none {
		return server{}, false, nil
	}
	if err != nil {
		return server{}, false, fmt.Errorf("reading %s: %w", dir, err)
	}
	if !pkg.IsCommand() {
		return server{}, false, nil
	}
	if pkg.Doc == "" {
		return server{}, false, fmt.Errorf("%s has no package comment: its first sentence describes the image", dir)
	}
	return server{
		name:       path.Base(dir),
		importPath: path.Join(module, dir),
		summary:    pkg.Doc,
		mcp:        slices.Contains(pkg.Imports, runtimeOf),
		test:       path.Base(path.Dir(dir)) == "e2e",
	}, true, nil
}

// choose is the servers that names tells; without names, every server, and with test also those of servers/e2e.
func choose(all []server, names []string, test bool) ([]server, error) {
	if len(names) == 0 {
		return slices.DeleteFunc(slices.Clone(all), func(s server) bool { return s.test && !test }), nil
	}
	var chosen []server
	for _, name := range names {
		i := slices.IndexFunc(all, func(s server) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("no folder servers/%s with a program in it", name)
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}
