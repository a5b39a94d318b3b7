// Command schemas writes servers/kubernetes/schemas.txt: the structure of every kind that the API server of Kubernetes decodes,
// at several releases, without the descriptions; and which kinds were, or are to be, removed, and what replaces them.
//
// It reads the module cache, into which the go command fetches and verifies what is missing: k8s.io/kubernetes for the structure
// (api/openapi-spec/swagger.json), and the modules of the API's types for the lifecycle. Releases are merged: what all of them
// have stands there once, and what some have says which. To add a release, add it to sources below, and run make schemas.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// release is a Kubernetes release whose structure is written.
type release struct {
	minor  int
	module string // version of k8s.io/kubernetes
}

func releases() []release {
	return []release{
		{29, "v1.29.6"}, {30, "v1.30.14"}, {31, "v1.31.14"}, {32, "v1.32.13"}, {33, "v1.33.13"}, {34, "v1.34.4"}, {35, "v1.35.4"}, {36, "v1.36.3"}, {37, "v1.37.2"},
	}
}

// lifecycleSources are the modules that tell the fate of API versions, the oldest first: what a later one says counts. Types leave
// the modules some releases after the server stopped serving them, so the old ones are read, too.
func lifecycleSources() []module {
	return []module{
		{"k8s.io/api", "v0.20.6"}, {"k8s.io/api", "v0.26.9"}, {"k8s.io/api", "v0.31.14"}, {"k8s.io/api", "v0.34.4"}, {"k8s.io/api", "v0.37.2"},
		{"k8s.io/apiextensions-apiserver", "v0.37.2"}, {"k8s.io/kube-aggregator", "v0.37.2"},
	}
}

type module struct{ path, version string }

func (m module) String() string { return m.path + " " + m.version }

// output is where the program writes, from its own folder.
const output = "../../servers/kubernetes/schemas.txt"

func main() {
	text, err := generate()
	if err == nil {
		err = os.WriteFile(output, text, 0o644) //nolint:gosec // a tracked file
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "schemas:", err)
		os.Exit(1)
	}
}

func generate() ([]byte, error) {
	c := newCollection()
	for _, r := range releases() {
		dir, sum, err := fetch(module{"k8s.io/kubernetes", r.module})
		if err != nil {
			return nil, err
		}
		c.source("k8s.io/kubernetes", r.module, sum)
		data, err := os.ReadFile(filepath.Join(dir, "api", "openapi-spec", "swagger.json"))
		if err != nil {
			return nil, err
		}
		if err := c.addRelease(r.minor, data); err != nil {
			return nil, fmt.Errorf("%s: %w", r.module, err)
		}
	}
	for _, m := range lifecycleSources() {
		dir, sum, err := fetch(m)
		if err != nil {
			return nil, err
		}
		c.source(m.path, m.version, sum)
		if err := c.addLifecycles(dir); err != nil {
			return nil, fmt.Errorf("%s: %w", m, err)
		}
	}
	return c.text(), nil
}

// fetch returns the folder of a module in the module cache, and the sum that the go command verified it by.
func fetch(m module) (dir, sum string, err error) {
	cmd := exec.CommandContext(context.Background(), "go", "mod", "download", "-json", m.path+"@"+m.version) //nolint:gosec // a module of the table above
	cmd.Stderr = os.Stderr
	answer, err := cmd.Output()
	var got struct{ Dir, Sum, Error string }
	if jsonErr := json.Unmarshal(answer, &got); jsonErr == nil && got.Error != "" {
		return "", "", errors.New(got.Error)
	}
	if err != nil {
		return "", "", fmt.Errorf("go mod download %s: %w", m, err)
	}
	return got.Dir, got.Sum, nil
}
