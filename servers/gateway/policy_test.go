package main

import (
	"strings"
	"testing"
)

// The policy decides row by row; a reader of this table knows what a grant means.
func TestGrants(t *testing.T) {
	p := mustPolicy(t, `
version: 1
agents:
  exact:
    identity: {token: exact}
    allow: [{tool: kubernetes_check_pod_security}]
  glob:
    identity: {token: glob-token}
    allow: [{tool: dockerhub_*}, {tool: kubernetes_check_*}]
  nothing:
    identity: {token: nothing}
`)
	for _, tc := range []struct {
		agent, tool string
		granted     bool
	}{
		{"exact", "kubernetes_check_pod_security", true},
		{"exact", "kubernetes_check_pod_securit", false},
		{"exact", "kubernetes_check_pod_security2", false},
		{"exact", "dockerhub_list_tags", false},
		{"exact", "", false},
		{"glob", "dockerhub_list_tags", true},
		{"glob", "dockerhub_get_tag", true},
		{"glob", "kubernetes_check_pod_security", true},
		{"glob", "kubernetes_explain", false},
		{"glob", "dockerhub", false},
		{"nothing", "dockerhub_list_tags", false},
		{"glob-token", "dockerhub_list_tags", false},
		{"stranger", "dockerhub_list_tags", false},
		{"", "dockerhub_list_tags", false},
	} {
		if got := p.grants(tc.agent, tc.tool); got != tc.granted {
			t.Errorf("%q may call %q: %t, want %t", tc.agent, tc.tool, got, tc.granted)
		}
	}
	if agent, ok := p.principal("glob-token"); agent != "glob" || !ok {
		t.Errorf("glob-token is %q, %t", agent, ok)
	}
	if agent, ok := p.principal("glob"); ok {
		t.Errorf("a token named as an agent is %q", agent)
	}
}

// Each mistake stops start-up and names its line.
func TestPolicyMistakes(t *testing.T) {
	for name, tc := range map[string]struct{ in, want string }{
		"unknown key":         {"version: 1\nagent: {}\n", "p.yaml:2: unknown key agent"},
		"unknown agent key":   {"version: 1\nagents:\n  a:\n    identity: {token: a}\n    alow: []\n", "p.yaml:5: unknown key alow"},
		"unknown grant key":   {"version: 1\nagents:\n  a:\n    identity: {token: a}\n    allow:\n      - tools: x\n", "p.yaml:6: unknown key tools"},
		"limits":              {"version: 1\nagents:\n  a:\n    identity: {token: a}\n    limits: {}\n", "p.yaml:5: unknown key limits"},
		"agent twice":         {"version: 1\nagents:\n  a: {identity: {token: a}}\n  a: {identity: {token: b}}\n", "p.yaml:4: "},
		"no identity":         {"version: 1\nagents:\n  a: {allow: []}\n", "agent a: identity: {token: NAME}"},
		"token path":          {"version: 1\nagents:\n  a: {identity: {token: ../a}}\n", "p.yaml:3: agent a: identity"},
		"shared token":        {"version: 1\nagents:\n  a: {identity: {token: x}}\n  b: {identity: {token: x}}\n", "p.yaml:4: agent b: token x is already the identity of a"},
		"bad agent name":      {"version: 1\nagents:\n  \"a b\": {identity: {token: x}}\n", "p.yaml:3: agent a b: a name has"},
		"unknown tool":        {"version: 1\nagents:\n  a:\n    identity: {token: a}\n    allow:\n      - tool: dockerhub_nope\n", "p.yaml:6: agent a: tool \"dockerhub_nope\": the lock file has no such tool"},
		"glob of nothing":     {"version: 1\nagents:\n  a:\n    identity: {token: a}\n    allow:\n      - tool: nope_*\n", "p.yaml:6: "},
		"everything":          {"version: 1\nagents:\n  a:\n    identity: {token: a}\n    allow:\n      - tool: '*'\n", "p.yaml:6: agent a: tool \"*\": want SERVER_TOOL"},
		"star in the middle":  {"version: 1\nagents:\n  a:\n    identity: {token: a}\n    allow:\n      - tool: docker*_tags\n", "p.yaml:6: "},
		"version":             {"version: 2\nagents: {}\n", "version is 2"},
		"no version":          {"agents: {}\n", "version is 0"},
		"no agents":           {"version: 1\n", "agents has 0 entries"},
		"two documents":       {"version: 1\n---\nversion: 1\n", "a second document"},
		"list for a map":      {"version: 1\nagents: []\n", "p.yaml:2: "},
		"map for a tool name": {"version: 1\nagents:\n  a:\n    identity: {token: a}\n    allow:\n      - tool: {x: y}\n", "p.yaml:6: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parsePolicy(tc.in)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q in it", err, tc.want)
			}
		})
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add("version: 1\nagents:\n  a:\n    identity: {token: a}\n    allow: [{tool: dockerhub_*}]\n")
	f.Add("version: 1\nagents: {a: &a {identity: {token: b}}, c: *a}\n")
	f.Fuzz(func(t *testing.T, in string) {
		p, err := parsePolicy(in)
		if err != nil {
			return
		}
		for name := range p.agents {
			for _, tool := range append(testTools(), "other_tool") {
				if p.grants(name, tool) && tool == "other_tool" {
					t.Errorf("%s may call a tool that is not locked", name)
				}
			}
		}
		if p.grants("", "dockerhub_list_tags") {
			t.Error("nobody may call something")
		}
	})
}

func testTools() []string {
	return []string{"dockerhub_list_tags", "dockerhub_get_tag", "kubernetes_check_pod_security", "kubernetes_explain"}
}

func parsePolicy(text string) (*policy, error) {
	file, err := decodePolicy("p.yaml", strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	return newPolicy("p.yaml", file, testTools())
}

func mustPolicy(t *testing.T, text string) *policy {
	t.Helper()
	p, err := parsePolicy(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
