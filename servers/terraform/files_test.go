package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/workspace"
)

// TestWhatCannotBeRead: a part of a configuration that cannot be looked at is told, and what is no part of it is not.
func TestWhatCannotBeRead(t *testing.T) {
	const prod = "resource \"terraform_data\" \"x\" {\n  input = 1\n}\n"
	deep := strings.Repeat("d/", workspace.MaxDepth+1)
	for name, tc := range map[string]struct {
		files map[string]string
		links map[string]string
		want  string // what is told; "" for nothing
	}{
		"a source outside":          {nil, map[string]string{"prod/x.tf": "../../out.tf"}, "prod/x.tf: the symbolic link prod/x.tf leaves"},
		"a source in JSON":          {nil, map[string]string{"prod/x.tf.json": "/out.tf.json"}, "prod/x.tf.json: the symbolic link prod/x.tf.json leaves"},
		"a source in .git":          {map[string]string{".git/x.tf": prod}, map[string]string{"prod/x.tf": "../.git/x.tf"}, "prod/x.tf: leads to .git/x.tf"},
		"a source that is not":      {nil, map[string]string{"prod/x.tf": "none.tf"}, "no such file or folder: prod/x.tf"},
		"values":                    {nil, map[string]string{"prod/terraform.tfvars": "../../out"}, "prod/terraform.tfvars: the symbolic link"},
		"a module's source":         {map[string]string{"prod/m.tf": "module \"m\" {\n  source = \"../lib\"\n}\n", "lib/main.tf": prod}, map[string]string{"lib/x.tf": "../../out.tf"}, "lib/x.tf: the symbolic link"},
		"a folder too deep":         {map[string]string{"prod/" + deep + "main.tf": prod}, nil, "more than 32 folders deep"},
		"something else outside":    {nil, map[string]string{"prod/result": "/nix/store/x", "prod/.x.tf": "/out.tf"}, ""},
		"a source inside":           {map[string]string{"lib/x.tf": prod}, map[string]string{"prod/y.tf": "../lib/x.tf"}, ""},
		"another module's link":     {map[string]string{"other/main.tf": prod}, map[string]string{"other/x.tf": "/out.tf"}, ""},
		"a set of files, not whole": {map[string]string{"prod/s.tf": "resource \"terraform_data\" \"y\" {\n  for_each = fileset(\".\", \"d/*\")\n  input = 1\n}\n", "prod/d/a": ""}, map[string]string{"prod/d/b": "/b"}, "for_each of terraform_data.y"},
	} {
		dir := folderOf(t, tc.files)
		if err := os.MkdirAll(filepath.Join(dir, "prod"), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "prod", "main.tf"), []byte("locals {}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for from, to := range tc.links {
			if err := os.Symlink(to, filepath.Join(dir, from)); err != nil {
				t.Fatal(err)
			}
		}
		root, err := workspace.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		r := &report{}
		_, err = newLoader(workspaceFiles{root: root, most: maxFileContent}).judge(t.Context(), "prod", nil, plainBook(), r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := said(r); !strings.Contains(got, tc.want) || tc.want == "" && strings.Contains(got, "not judged") {
			t.Errorf("%s: it says %q, and not %q", name, got, tc.want)
		}
		if err := root.Close(); err != nil {
			t.Error(err)
		}
	}
}
