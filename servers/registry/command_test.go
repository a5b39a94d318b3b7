package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// run runs the program as a shell would.
func run(t testing.TB, arguments ...string) (code int, stdout, stderr string) {
	t.Helper()
	input, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer input.Close()
	var out, errs bytes.Buffer
	code = program().Run(t.Context(), arguments, input, &out, &errs)
	return code, out.String(), errs.String()
}

func TestCheckCommand(t *testing.T) {
	p := distributionRegistry(t)
	digest := p.put(t, "acme/api", "1.2.3", image(t, "a"))
	newer := p.put(t, "acme/api", "1.3.0", image(t, "b"))
	p.put(t, "acme/os", "1.0-bookworm", image(t, "c"))
	p.put(t, "acme/os", "1.0-trixie", image(t, "d"))
	dir := t.TempDir()
	write(t, filepath.Join(dir, "Dockerfile"), "FROM "+p.host+"/acme/api:1.2.3@"+digest+"\nFROM "+p.host+"/acme/os:1.0-bookworm\nFROM $UNKNOWN\n")
	write(t, filepath.Join(dir, "deploy", "pod.yaml"), "apiVersion: v1\nkind: Pod\nspec: {containers: [{name: a, image: "+p.host+"/acme/api}]}\n")
	write(t, filepath.Join(dir, "notes.md"), "FROM x\n")
	asked := []string{"check", "--egress", "direct", "--allow-host", p.host, "--ca-file", p.caFile}
	code, out, errs := run(t, append(asked, dir)...)
	if code != 1 {
		t.Errorf("exit code %d, %s", code, errs)
	}
	for _, want := range []string{
		"Dockerfile:1:6: medium image/outdated", "write " + p.host + "/acme/api:1.3.0@" + newer,
		"Dockerfile:2:6: low image/old-distribution", "Dockerfile:2:6: medium image/floating-tag", "bookworm, and there is trixie",
		"image/reference", "pod.yaml:3:38: high image/no-tag",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("nothing says %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "image/no-digest") || strings.Contains(out, "notes.md") {
		t.Errorf("too much is said:\n%s", out)
	}
	// Without a way out the files alone are judged.
	code, out, _ = run(t, "check", "--fail-on", "high", filepath.Join(dir, "Dockerfile"))
	if code != 0 || strings.Contains(out, "image/outdated") || !strings.Contains(out, "image/floating-tag") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	code, out, _ = run(t, "check", "--format", "sarif", dir)
	var sarif struct {
		Runs []struct{ Results []struct{ RuleID string } }
	}
	if err := json.Unmarshal([]byte(out), &sarif); err != nil || code != 1 || len(sarif.Runs) != 1 || len(sarif.Runs[0].Results) == 0 {
		t.Errorf("exit code %d, %v:\n%s", code, err, out)
	}
	write(t, filepath.Join(dir, "broken.yaml"), "a: [\n")
	for name, tc := range map[string]struct {
		arguments []string
		code      int
		want      string
	}{
		"unreadable":    {[]string{"check", dir}, 2, "broken.yaml"},
		"no such file":  {[]string{"check", dir + "/none"}, 2, "none"},
		"unknown kind":  {[]string{"check", "--kind", "x", dir}, 2, "want auto"},
		"unknown flag":  {[]string{"check", "--nope", dir}, 2, "nope"},
		"bad host":      {[]string{"check", "--allow-host", "*", dir}, 2, "wildcards"},
		"bad config":    {[]string{"check", "--egress", "direct", "--registries", filepath.Join(dir, "broken.yaml"), filepath.Join(dir, "Dockerfile")}, 2, "--registries"},
		"strict":        {[]string{"check", "--strict", "--fail-on", "medium", filepath.Join(dir, "Dockerfile")}, 1, ""},
		"not reachable": {[]string{"check", "--egress", "direct", filepath.Join(dir, "deploy")}, 1, ""},
	} {
		if code, _, errs := run(t, tc.arguments...); code != tc.code || !strings.Contains(errs, tc.want) {
			t.Errorf("%s: exit code %d, %q; want %d, %q", name, code, errs, tc.code, tc.want)
		}
	}
}

// A server that would not start says so to whoever lists its tools; and one without a way out says how to get one.
func TestToolsCommand(t *testing.T) {
	code, out, errs := run(t, "tools")
	var tools []struct{ Name string }
	if err := json.Unmarshal([]byte(out), &tools); err != nil || code != 0 || len(tools) != 8 {
		t.Errorf("exit code %d, %d tools, %v: %s", code, len(tools), err, errs)
	}
	code, _, errs = run(t, "call", "list_tags", `{"repository": "nginx"}`)
	if code != 1 || !strings.Contains(errs, "--egress") {
		t.Errorf("exit code %d: %s", code, errs)
	}
	for _, arguments := range [][]string{
		{"call", "--credentials", "/none", "list_tags", "{}"}, {"call", "--keys", "/none", "list_tags", "{}"}, {"call", "--registries", "/none", "list_tags", "{}"},
	} {
		if code, _, errs := run(t, arguments...); code != 1 || !strings.Contains(errs, arguments[1]) {
			t.Errorf("%v: exit code %d: %s", arguments, code, errs)
		}
	}
}
