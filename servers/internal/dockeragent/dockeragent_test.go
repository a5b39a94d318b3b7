package dockeragent

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func good() File {
	return New("http://127.0.0.1:4000/mcp", "Bearer ${env."+TokenVariable+"}", Agent{
		Model: "dmr/some/model", Description: "d", Instruction: "Be good.\n", MaxIterations: 3,
	}, []string{"a_b", "a_c"})
}

func TestRoundTrip(t *testing.T) {
	data, err := good().Encode()
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := Parse("f.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(good(), parsed); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What docker-agent would take, and not mean.
func TestTraps(t *testing.T) {
	encoded, err := good().Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ old, with, want string }{
		"no version":           {"version: \"7\"\n", "", `version is "", not "7"`},
		"prefixed names":       {"- type: mcp\n", "- type: mcp\n        name: x\n", "f.yaml:11: unknown key name"},
		"a denial":             {"permissions:\n", "permissions:\n  deny: ['*']\n", "unknown key deny"},
		"stdio":                {"type: mcp", "type: mcp\n        command: npx", "unknown key command"},
		"every tool":           {"        tools: [a_b, a_c]\n", "", "tools is empty"},
		"a wildcard":           {"tools: [a_b,", "tools: [a_*,", "no wildcards"},
		"asks":                 {"allow: [a_b, a_c]", "allow: [a_b]", "permissions: a_c is not allowed"},
		"allows more":          {"allow: [a_b,", "allow: [a_b, shell,", "permissions: shell is allowed, and no tool of the agent"},
		"no token":             {"Bearer ", "", "want Authorization: Bearer"},
		"another transport":    {"streamable", "sse", `transport_type is "sse"`},
		"no end":               {"max_iterations: 3", "max_iterations: 0", "max_iterations is not set"},
		"an agent that is not": {"  root:", "  other:", "want root alone"},
		"another toolset":      {"- type: mcp", "- type: shell", `a toolset of type "shell"`},
		"OAuth":                {"headers: {", "headers: {X-Other: y, ", "headers: want Authorization"},
	} {
		text := strings.Replace(string(encoded), tc.old, tc.with, 1)
		if text == string(encoded) {
			t.Errorf("%s: %q is not in\n%s", name, tc.old, text)
		}
		if _, err := Parse("f.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	encoded, err := good().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(encoded))
	f.Add("version: \"7\"\nagents: {root: {toolsets: [{}]}}\n")
	f.Fuzz(func(t *testing.T, text string) {
		file, err := Parse("f.yaml", []byte(text))
		if err != nil {
			return
		}
		again, err := file.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse("f.yaml", again); err != nil {
			t.Errorf("what was read cannot be read again: %v\n%s", err, again)
		}
	})
}
