package rego

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/workspace"
)

const fine = "package main\n\ndeny contains \"x\" if input.x\n"

// TestLoadErrors: whatever is wrong with a folder stops the start, with the file and the line.
func TestLoadErrors(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"empty", map[string]string{"README.md": "x"}, []string{"has no .rego file in it"}},
		{"syntax", map[string]string{"a/b.rego": fine + "\ndeny contains if {\n"}, []string{"a/b.rego:5: rego_parse_error: "}},
		{"no package", map[string]string{"p.rego": "deny contains 1\n"}, []string{"p.rego:1: rego_parse_error: package expected"}},
		{"an older language", map[string]string{"p.rego": "package main\n\ndeny[msg] {\n  msg := \"x\"\n}\n"}, []string{"p.rego:3: ", "opa fmt --v0-v1"}},
		{"unknown name", map[string]string{"p.rego": "package main\n\ndeny contains x if y\n"}, []string{"p.rego:3: rego_unsafe_var_error: var"}},
		{"types", map[string]string{"p.rego": "package main\n\ndeny contains \"x\" if count(1) == 1\n"}, []string{"p.rego:3: rego_type_error: "}},
		{"unknown function", map[string]string{"p.rego": "package main\n\ndeny contains \"x\" if data.lib.f(1)\n"}, []string{"p.rego:3: rego_type_error: undefined function data.lib.f"}},
		{"recursion", map[string]string{"p.rego": "package main\n\ndeny contains x if deny[x]\n"}, []string{"p.rego:3: rego_recursion_error"}},
		{"conflict", map[string]string{"p.rego": "package main\n\na := 1\n\na contains 2\n"}, []string{"p.rego:3: rego_type_error: conflicting rules"}},
		{"several", map[string]string{"a.rego": "package main\n\na := z\n", "b.rego": "package main\n\nb := c\n\nd := e\n"}, []string{"a.rego:3: ", "b.rego:3: ", "b.rego:5: "}},
		{"no set", map[string]string{"p.rego": "package main\n\ndeny.x if input.x\n"}, []string{"p.rego:3: rule uses if without contains", "write deny contains msg if"}},
		{"a part of a rule", map[string]string{"p.rego": "package main\n\ndeny.x contains \"x\" if input.x\n"}, []string{"p.rego:3: deny.x is a part of deny", "write deny contains msg if"}},
		{"data in a rule's place", map[string]string{"p.rego": fine, "data/x.yaml": "main: {deny: []}\n"}, []string{"p.rego:3: rego_compile_error: conflicting rule for data path main/deny"}},
		{"data of several documents", map[string]string{"p.rego": fine, "data/x.yaml": "---\n# a\na: 1\n--- # b\nb: 2\n"}, []string{"data/x.yaml: several documents"}},
		{"function", map[string]string{"p.rego": "package main\n\ndeny_x(a) := a\n"}, []string{"p.rego:3: deny_x is a function"}},
		{"annotation", map[string]string{"p.rego": "package main\n\n# METADATA\n# title: [\ndeny contains \"x\" if input.x\n"}, []string{"p.rego:", "yaml"}},
		{"data", map[string]string{"p.rego": fine, "data/a/x.yaml": "a: [\n"}, []string{"data/a/x.yaml: yaml: line 1"}},
		{"data of no folder", map[string]string{"p.rego": fine, "data/x.json": "[1]"}, []string{"data/x.json: data that lies in no folder of data must be a mapping"}},
		{"data twice", map[string]string{"p.rego": fine, "data/a/x.yaml": "k: {l: 1}\n", "data/a/y.json": `{"k": {"l": 2}}`}, []string{"data/a/y.json: data.a.k.l has another value in another file"}},
		{"data too deep", map[string]string{"p.rego": fine, "data/x.json": `{"a":` + strings.Repeat("[", 1500) + strings.Repeat("]", 1500) + "}"}, []string{"data/x.json: too large"}},
		{"data too large", map[string]string{"p.rego": fine, "data/a/x.json": "[" + strings.Repeat("1,", 520_000) + "1]", "data/b/x.json": "[" + strings.Repeat("1,", 520_000) + "1]", "data/c/x.json": "[" + strings.Repeat("1,", 520_000) + "1]"}, []string{"data/c/x.json: too large"}},
		{"file too large", map[string]string{"p.rego": fine + strings.Repeat("#", workspace.MaxFile)}, []string{"p.rego: too large: more than 1048576 bytes"}},
		{"conftest's own", map[string]string{"p.rego": "package main\n\ndeny contains \"x\" if parse_config(\"yaml\", \"\")\n"}, []string{"p.rego:3: parse_config is refused: it is conftest's own, and reads files"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := folder(t, tc.files)
			_, err := Load(dir)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in:\n%v", want, err)
				}
			}
			if !strings.Contains(err.Error(), dir) {
				t.Errorf("the error does not name the folder: %v", err)
			}
		})
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	many := map[string]string{}
	for name := range strings.FieldsSeq("a b c d e f g h i j k l m n o p q r s t u v w x y z") {
		many[name+".rego"] = "package\n"
	}
	var problems *LoadError
	if _, err := Load(folder(t, many)); !errors.As(err, &problems) || len(problems.Problems) != maxLoadErrors+1 || !strings.HasSuffix(err.Error(), "6 more problems") {
		t.Errorf("many problems: %v", err)
	}
}

// TestRefused: every function that OPA has is allowed or refused, never both, and a policy that calls a refused one
// does not start.
func TestRefused(t *testing.T) {
	have := allowed()
	for _, builtin := range ast.Builtins {
		reason, isRefused := refused(builtin.Name)
		switch isAllowed := slices.Contains(have, builtin.Name); {
		case isAllowed == isRefused:
			t.Errorf("%s: allowed is %t, and so is refused: decide about it", builtin.Name, isAllowed)
		case isAllowed && builtin.IsNondeterministic():
			t.Errorf("%s is not deterministic, and allowed", builtin.Name)
		case isRefused && builtin.Decl != nil:
			args := make([]string, builtin.Decl.Arity())
			for i := range args {
				args[i] = "input.x"
			}
			_, err := Load(folder(t, map[string]string{"p.rego": "package main\n\nx := " + builtin.Name + "(" + strings.Join(args, ", ") + ")\n"}))
			if err == nil || !strings.Contains(err.Error(), "p.rego:3: "+builtin.Name+" is refused: "+reason) {
				t.Errorf("%s: %v", builtin.Name, err)
			}
		}
	}
	for _, name := range have {
		if ast.BuiltinMap[name] == nil {
			t.Errorf("%s is allowed, and there is no such function", name)
		}
	}
	for name := range guards() {
		if !slices.Contains(have, name) {
			t.Errorf("%s is guarded, and not allowed", name)
		}
	}
}

// TestFolder: which files of a folder count, and as what.
func TestFolder(t *testing.T) {
	p := load(t, map[string]string{
		"p.rego":                 "package main\n\ndeny contains json.marshal(data.all) if true\n\ndeny contains json.marshal(data.lists) if true\n",
		"deep/er/q.rego":         "package other.pkg\n\nx := 1\n",
		"data/all/a.yaml":        "# one document\n---\nfrom: yaml\n---\n",
		"data/all/b.yml":         "and: yml\n",
		"data/all/more/c.json":   `{"and": 1.50}`,
		"data/lists/l.json":      `[1, "two"]`,
		"data/all/d.txt":         "no: data\n",
		"other/e.yaml":           "no: data\n",
		"..2024/p.rego":          "not Rego",
		"data/..2024/a.yaml":     "not: [yaml",
		".hidden.rego":           "not Rego",
		"p_test.rego":            "package main\n\ntest_deny if parse_config(\"yaml\", \"\")\n",
		"data/policy/inner.rego": "package inner\n",
	})
	if diff := cmp.Diff([]string{"inner", "main", "other.pkg"}, p.Namespaces()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	r, err := judge(t, p, Served(), `{}`)
	if err != nil || len(r.Findings) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	for i, want := range []string{`[1,"two"]`, `{"and":"yml","from":"yaml","more":{"and":1.50}}`} {
		if r.Findings[i].Message != want {
			t.Errorf("message %d is %s, want %s", i, r.Findings[i].Message, want)
		}
	}
}

// TestLinks: a link to a file is read, a link to a folder is an error rather than left out, and what is hidden is.
func TestLinks(t *testing.T) {
	dir := folder(t, map[string]string{"..2024/p.rego": fine, "..2024/more/q.rego": fine})
	for name, target := range map[string]string{"..data": "..2024", "p.rego": "..data/p.rego"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if p, err := Load(dir); err != nil || len(p.namespaces) != 1 {
		t.Errorf("a link to a file: %v", err)
	}
	if err := os.Symlink("..data/more", filepath.Join(dir, "more")); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "more")+": a link to a folder, which is not entered") {
		t.Errorf("a link to a folder: %v", err)
	}
}

// TestReadOnce: what happens to a folder after its start changes nothing.
func TestReadOnce(t *testing.T) {
	dir := folder(t, map[string]string{"p.rego": fine, "data/x.json": "{}"})
	p, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if r, err := judge(t, p, Served(), `{"x": true}`); err != nil || r.Counts.Failures != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestNamespaces(t *testing.T) {
	p := load(t, map[string]string{
		"a.rego": "package main\n\ndeny contains \"main\" if true\n",
		"b.rego": "package k8s.pods\n\ndeny contains \"pods\" if true\n",
		"c.rego": "package k8s.net\n\nwarn contains \"net\" if true\n",
		"d.rego": "package lib\n\nx := 1\n",
	})
	for _, tc := range []struct {
		patterns []string
		want     []string
		err      string
	}{
		{[]string{"main"}, []string{"main"}, ""},
		{[]string{"*"}, []string{"k8s.net", "k8s.pods", "lib", "main"}, ""},
		{[]string{"k8s.*"}, []string{"k8s.net", "k8s.pods"}, ""},
		{[]string{"k8s.p?ds", "main", "main"}, []string{"k8s.pods", "main"}, ""},
		{[]string{"k8s"}, nil, `no policy in namespace "k8s"; there are k8s.net, k8s.pods, lib, main`},
		{[]string{"main", "none"}, nil, `no policy in namespace "none"`},
		{[]string{"["}, nil, `no policy in namespace "["`},
		{[]string{""}, nil, `no policy in namespace ""`},
		{[]string{"lib"}, nil, "lib: no rule deny, violation or warn in any of them"},
		{slices.Repeat([]string{"main"}, maxNamespaces+1), nil, "more than 200 namespaces"},
	} {
		e, err := p.Start(tc.patterns, Served())
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%q: %v, want %q", tc.patterns, err, tc.err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Judge(t.Context(), Document{Value: map[string]any{}}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tc.want, e.Report().Namespaces); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tc.patterns, diff)
		}
	}
}

// FuzzJudge: no input does more to policies than to make them slow, and what they say of it is the same each time.
func FuzzJudge(f *testing.F) {
	p, err := Load("testdata/idioms")
	if err != nil {
		f.Fatal(err)
	}
	inputs, err := filepath.Glob("testdata/inputs/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range inputs {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	limits := Served()
	limits.Steps = 200_000
	f.Fuzz(func(t *testing.T, data []byte) {
		var value any
		if json.Unmarshal(data, &value) != nil {
			t.Skip()
		}
		var said [2][]byte
		for i := range said {
			e, err := p.Start([]string{"*"}, limits)
			if err != nil {
				t.Fatal(err)
			}
			err = e.Judge(t.Context(), Document{Path: "f", Value: value})
			r := e.Report()
			if (err != nil) != slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Rule == ruleBounds }) {
				t.Errorf("error %v, report %+v", err, r)
			}
			if said[i], err = json.Marshal(r); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(string(said[0]), string(said[1])); diff != "" {
			t.Errorf("the second time (-first +second):\n%s", diff)
		}
	})
}
