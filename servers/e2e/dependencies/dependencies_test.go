// Package dependencies holds what this repository takes from others to lists that a reviewer has read: the modules that
// go.mod may name, and every package that each binary links.
package dependencies

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const root = "../../.."

var update = flag.Bool("update", false, "write testdata/imports from what the binaries link; review the change")

// linked are the modules that go.mod may require because a binary is made of them, and what for. It is changed by hand: a
// new line is a decision, and its reason stands here.
var linked = map[string]string{
	"cel.dev/cel-go":                                "gateway: conditions of agents/policy.yaml",
	"github.com/bmatcuk/doublestar/v4":              "terraform: the patterns of fileset",
	"github.com/go-json-experiment/json":            "mcpserver: strict JSON, duplicate and case-variant keys refused",
	"github.com/google/go-containerregistry":        "dockerhub, registry: image references; registry: the protocol",
	"github.com/google/jsonschema-go":               "mcpserver: schemas from the In and Out types of a tool",
	"github.com/hashicorp/go-cty-funcs":             "terraform: Terraform's functions of addresses, encodings and keys",
	"github.com/hashicorp/go-version":               "terraform: version constraints",
	"github.com/hashicorp/hcl/v2":                   "terraform: the language",
	"github.com/hashicorp/terraform-config-inspect": "terraform: what a module declares",
	"github.com/hashicorp/terraform-json":           "terraform: the form of plans",
	"github.com/klauspost/compress":                 "registry: layers in zstd; logs: rotated files in gzip",
	"github.com/landlock-lsm/go-landlock":           "confine: Landlock",
	"github.com/mark3labs/mcp-go":                   "mcpserver: the protocol",
	"github.com/open-policy-agent/opa":              "rego: the operator's policies",
	"github.com/prometheus/client_golang":           "gateway: metrics",
	"github.com/santhosh-tekuri/jsonschema/v6":      "mcpserver: validation of arguments and results",
	"github.com/sigstore/protobuf-specs":            "registry: the form of signature bundles",
	"github.com/sigstore/sigstore":                  "registry: public keys",
	"github.com/sigstore/sigstore-go":               "registry: verification of signatures",
	"github.com/tmccombs/hcl2json":                  "terraform: the form of a configuration that conftest hands to policies",
	"github.com/zclconf/go-cty":                     "terraform: its values and functions",
	"github.com/zclconf/go-cty-yaml":                "terraform: yamldecode and yamlencode",
	"go.yaml.in/yaml/v3":                            "strictyaml: configuration, with lines in its errors",
	"golang.org/x/mod":                              "audit: the Merkle tree and signed notes of the log",
	"golang.org/x/net":                              "confine: the assembler of seccomp filters; gateway: a cap on connections",
	"golang.org/x/sync":                             "dockerhub: equal requests in flight are one",
	"golang.org/x/sys":                              "confine: system calls that the standard library has no names for",
	"golang.org/x/text":                             "mcpserver: the words of the schema validator",
	"k8s.io/api":                                    "kubernetes: the types of manifests; logs: those of pods and access reviews",
	"k8s.io/apimachinery":                           "kubernetes: decoding them; logs: names and label selectors",
	"k8s.io/pod-security-admission":                 "kubernetes: the Pod Security Standards",
	"sigs.k8s.io/json":                              "kubernetes: strict decoding, as an API server does",
	"sigs.k8s.io/yaml":                              "kubernetes: YAML as an API server reads it",
}

// testOnly are those that tests alone may import.
var testOnly = map[string]string{
	"github.com/google/go-cmp":               "differences of values",
	"github.com/modelcontextprotocol/go-sdk": "an MCP client that we did not write",
	"github.com/rogpeppe/go-internal":        "testscript: commands as users type them",
}

// dragged are modules for tests that a library of ours links nevertheless, by the server that links it.
var dragged = map[string]map[string]bool{
	"terraform": {"github.com/google/go-cmp": true}, // terraform-config-inspect decodes by gohcl, which brings hclwrite, which compares
}

// reaching are the packages of the standard library by which a process reaches out of itself, or by which others reach in.
// Which binary has them stands in its list too.
var reaching = []string{
	"crypto/tls", "expvar", "net", "net/http", "net/http/pprof", "net/rpc", "net/smtp", "os/exec", "os/user", "plugin", "runtime/cgo", "testing",
}

// module is as much of `go mod edit -json` as is looked at.
type module struct {
	Require []struct {
		Path     string
		Indirect bool
	}
	Replace, Exclude, Tool []any
}

func readModule(t *testing.T, dir string) module {
	t.Helper()
	var m module
	if err := json.Unmarshal(goCommand(t, dir, nil, "mod", "edit", "-json"), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func goCommand(t *testing.T, dir string, env []string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %v: %v: %s", args, err, &stderr)
	}
	return out
}

func TestModules(t *testing.T) {
	m := readModule(t, root)
	want := slices.AppendSeq(slices.Collect(maps.Keys(linked)), maps.Keys(testOnly))
	slices.Sort(want)
	var have []string
	for _, r := range m.Require {
		if !r.Indirect {
			have = append(have, r.Path)
		}
	}
	slices.Sort(have)
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("what go.mod requires directly; a new module needs a line, with its reason, in this test (-listed +go.mod):\n%s", diff)
	}
	if len(m.Replace)+len(m.Exclude)+len(m.Tool) > 0 {
		t.Error("go.mod has replace, exclude or tool directives: what is built must be what go.mod says, and tools have modules of their own")
	}
}

// TestOtherModules looks at the modules beside the main one: images/ is a program, the others are tools, one in each.
func TestOtherModules(t *testing.T) {
	if m := readModule(t, filepath.Join(root, "images")); len(m.Replace)+len(m.Exclude)+len(m.Tool) > 0 {
		t.Error("images/go.mod has replace, exclude or tool directives")
	}
	tools, err := filepath.Glob(filepath.Join(root, "scripts/tools/*/go.mod"))
	if err != nil || len(tools) == 0 {
		t.Fatalf("no tools: %v", err)
	}
	for _, tool := range tools {
		if m := readModule(t, filepath.Dir(tool)); len(m.Tool) != 1 {
			t.Errorf("%s has %d tool directives, want one", tool, len(m.Tool))
		}
	}
}

// listed is as much of `go list -json` as is looked at.
type listed struct {
	ImportPath string
	Standard   bool
	Module     struct {
		Path string
		Main bool
	}
}

// packages are all that the server links, in its image for amd64.
func packages(t *testing.T, server string) []listed {
	t.Helper()
	env := []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=-mod=readonly", "GOWORK=off"}
	out := goCommand(t, root, env, "list", "-deps", "-json=ImportPath,Standard,Module", "./servers/"+server)
	var all []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func servers(t *testing.T) []string {
	t.Helper()
	mains, err := filepath.Glob(filepath.Join(root, "servers/*/main.go"))
	if err != nil || len(mains) == 0 {
		t.Fatalf("no servers: %v", err)
	}
	var names []string
	for _, main := range mains {
		names = append(names, filepath.Base(filepath.Dir(main)))
	}
	return names
}

// TestImports holds every binary to the list of its packages: those of others, ours, and what reaches out.
func TestImports(t *testing.T) {
	goldens, err := filepath.Glob("testdata/imports/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := servers(t)
	for _, golden := range goldens {
		if name := strings.TrimSuffix(filepath.Base(golden), ".txt"); !slices.Contains(all, name) {
			t.Errorf("%s is of no server", golden)
		}
	}
	used := map[string]bool{}
	for _, server := range all {
		t.Run(server, func(t *testing.T) {
			var have []string
			for _, p := range packages(t, server) {
				if p.Module.Path != "" {
					used[p.Module.Path] = true
				}
				if _, banned := testOnly[p.Module.Path]; banned && !dragged[server][p.Module.Path] {
					t.Errorf("%s is for tests only", p.ImportPath)
				}
				if !p.Standard || slices.Contains(reaching, p.ImportPath) {
					have = append(have, p.ImportPath)
				}
			}
			slices.Sort(have)
			golden := filepath.Join("testdata/imports", server+".txt")
			text := strings.Join(have, "\n") + "\n"
			if *update {
				if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatalf("%v: write it with -update, and review it", err)
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(text, "\n")); diff != "" {
				t.Errorf("what the binary links; -update writes the list, for review (-listed +linked):\n%s", diff)
			}
		})
	}
	for path := range linked {
		if !used[path] {
			t.Errorf("no binary links %s: it is for tests only, or for nothing", path)
		}
	}
}
