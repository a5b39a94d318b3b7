package main

import (
	"encoding/json"
	"fmt"
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
		"limits":              {"version: 1\nagents:\n  a:\n    identity: {token: a}\n    limits: {calls: 1}\n", "p.yaml:5: unknown key calls"},
		"no calls a minute":   {"version: 1\nagents:\n  a:\n    identity: {token: a}\n    limits: {calls_per_minute: 0}\n", "p.yaml:5: agent a: limits: calls_per_minute is 0; it may be 1 to 10000"},
		"calls in words":      {"version: 1\nagents:\n  a:\n    identity: {token: a}\n    limits: {calls_per_minute: many}\n", "p.yaml:5: "},
		"too many at once":    {"version: 1\nagents:\n  a:\n    identity: {token: a}\n    limits:\n      concurrent: 17\n", "p.yaml:6: agent a: limits: concurrent is 17"},
		"limits of an entry":  {"version: 1\nagents:\n  a:\n    identity: {token: a}\n    allow:\n      - {tool: dockerhub_*, limits: {result_bytes: 5}}\n", "p.yaml:6: agent a: limits: result_bytes is 5; it may be 1024 to"},
		"unknown argument":    {withCondition("dockerhub_list_tags", `args.repo == "x"`), "p.yaml:7: agent a: when: for dockerhub_list_tags: column 5: undefined field 'repo'"},
		"unknown nested":      {withCondition("dockerhub_list_tags", `args.filter.nam == "x"`), "undefined field 'nam'"},
		"of another tool":     {withCondition("dockerhub_*", `args.limit == 1`), "p.yaml:7: agent a: when: for dockerhub_get_tag: column 5: undefined field 'limit'"},
		"type mismatch":       {withCondition("dockerhub_list_tags", `args.limit == "1"`), "found no matching overload for '_==_' applied to '(int, string)'"},
		"item mismatch":       {withCondition("dockerhub_list_tags", `args.names.all(n, n > 1)`), "found no matching overload"},
		"not a decision":      {withCondition("dockerhub_list_tags", `args.repository`), "it gives string; a condition is true or false"},
		"syntax":              {withCondition("dockerhub_list_tags", `args.repository ==`), "p.yaml:7: agent a: when: for dockerhub_list_tags: column "},
		"empty condition":     {withCondition("dockerhub_list_tags", ""), "p.yaml:7: agent a: when: "},
		"unknown variable":    {withCondition("dockerhub_list_tags", "principal == 'a'"), "undeclared reference to 'principal'"},
		"long condition":      {withCondition("dockerhub_list_tags", "agent == '"+strings.Repeat("x", maxCondition)+"'"), "more than 4096"},
		"agent twice":         {"version: 1\nagents:\n  a: {identity: {token: a}}\n  a: {identity: {token: b}}\n", "p.yaml:4: "},
		"no identity":         {"version: 1\nagents:\n  a: {allow: []}\n", "p.yaml:3: agent a: identity: {token: NAME}"},
		"token path":          {"version: 1\nagents:\n  a: {identity: {token: ../a}}\n", "p.yaml:3: agent a: identity"},
		"shared token":        {"version: 1\nagents:\n  a: {identity: {token: x}}\n  b: {identity: {token: x}}\n", "p.yaml:4: agent b: token x is already the identity of a"},
		"bad agent name":      {"version: 1\nagents:\n  \"a b\": {identity: {token: x}}\n", "p.yaml:3: agent a b: a name has"},
		"unknown tool":        {"version: 1\nagents:\n  a:\n    identity: {token: a}\n    allow:\n      - tool: dockerhub_nope\n", "p.yaml:6: agent a: tool \"dockerhub_nope\": the lock file has no such tool"},
		"glob of nothing":     {"version: 1\nagents:\n  a:\n    identity: {token: a}\n    allow:\n      - tool: nope_*\n", "p.yaml:6: "},
		"entry of nothing":    {"version: 1\nagents:\n  a:\n    identity: {token: a}\n    allow:\n      - {limits: {}}\n", "p.yaml:3: agent a: tool \"\": want SERVER_TOOL"},
		"everything":          {"version: 1\nagents:\n  a:\n    identity: {token: a}\n    allow:\n      - tool: '*'\n", "p.yaml:6: agent a: tool \"*\": want SERVER_TOOL"},
		"star in the middle":  {"version: 1\nagents:\n  a:\n    identity: {token: a}\n    allow:\n      - tool: docker*_tags\n", "p.yaml:6: "},
		"version":             {"# ours\nversion: 2\nagents: {}\n", "p.yaml:2: version is 2; this gateway reads version 1"},
		"no version":          {"agents: {}\n", "p.yaml:1: version is 0"},
		"no agents":           {"version: 1\n", "p.yaml:1: agents has 0 entries; it needs 1 to 1000"},
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

func withCondition(tool, when string) string {
	return fmt.Sprintf("version: 1\nagents:\n  a:\n    identity: {token: a}\n    allow:\n      - tool: %q\n        when: %q\n", tool, when)
}

// Conditions decide by arguments, row by row.
func TestConditions(t *testing.T) {
	for _, tc := range []struct {
		when, args string
		holds      bool
		reason     string // in the record, if it does not hold
	}{
		{`args.repository.startsWith("library/")`, `{"repository":"library/nginx"}`, true, ""},
		{`args.repository.startsWith("library/")`, `{"repository":"acme/nginx"}`, false, "the condition of p.yaml:6 does not hold"},
		{`args.repository.startsWith("library/")`, `{}`, false, "the condition of p.yaml:6 failed: no such key: repository"},
		{`has(args.repository) && args.repository == "a"`, `{}`, false, "does not hold"},
		{`!has(args.repository)`, `{}`, true, ""},
		{`args.limit <= 25`, `{}`, true, ""}, // the schema's default counts
		{`args.limit <= 25`, `{"limit":26}`, false, "does not hold"},
		{`args.limit == 9007199254740993`, `{"limit":9007199254740993}`, true, ""}, // no float in between
		{`args.limit <= 25`, `{"limit":1.5}`, false, "failed"},
		{`args.ratio < 0.5`, `{"ratio":0.25}`, true, ""},
		{`args.ratio < 2.0`, `{"ratio":1}`, true, ""},
		{`args.deep`, `{"deep":true}`, true, ""},
		{`args.names.all(n, n.matches("^[a-z]+$"))`, `{"names":["a","b"]}`, true, ""},
		{`args.names.all(n, n.matches("^[a-z]+$"))`, `{"names":["a","B"]}`, false, "does not hold"},
		{`args.filter.name == "x"`, `{"filter":{"name":"x"}}`, true, ""},
		{`args.filter.sizes.exists(s, s.bytes > 5)`, `{"filter":{"sizes":[{"bytes":5},{"bytes":6}]}}`, true, ""},
		{`has(args.filter.name)`, `{"filter":{}}`, false, "does not hold"},
		{`has(args.filter.name)`, `{}`, false, "failed: no such key: filter"},
		{`args.any == "x"`, `{"any":"x"}`, true, ""},
		{`args.any == "x"`, `{"any":1}`, false, "does not hold"},
		{`agent == "a" && tool == "dockerhub_list_tags"`, `{}`, true, ""},
		{`args.names.all(a, args.names.all(b, args.names.all(c, a + b + c != "")))`, `{"names":["` + strings.Repeat(`x","`, 99) + `x"]}`, false, "failed: operation cancelled: actual cost limit exceeded"},
		{`args.repository == "x" || 1/0 == 1`, `{"repository":"y"}`, false, "failed: division by zero"},
	} {
		p := mustPolicy(t, withCondition("dockerhub_list_tags", tc.when))
		entry, reason := p.decide(t.Context(), "a", "dockerhub_list_tags", json.RawMessage(tc.args))
		if (entry != nil) != tc.holds || !strings.Contains(reason, tc.reason) {
			t.Errorf("%s over %.60s: %v, %q; want %t, %q", tc.when, tc.args, entry, reason, tc.holds, tc.reason)
		}
	}
}

// The first entry whose condition holds decides, and is named.
func TestDecidingEntry(t *testing.T) {
	p := mustPolicy(t, `version: 1
agents:
  a:
    identity: {token: a}
    allow:
      - tool: dockerhub_list_tags
        when: args.repository == "one"
      - tool: dockerhub_*
        when: args.repository == "two"
      - tool: dockerhub_get_tag
`)
	for _, tc := range []struct{ agent, tool, repository, want string }{
		{"a", "dockerhub_list_tags", "one", "p.yaml:6"},
		{"a", "dockerhub_list_tags", "two", "p.yaml:8"},
		{"a", "dockerhub_list_tags", "three", "the condition of p.yaml:8 does not hold"},
		{"a", "dockerhub_get_tag", "three", "p.yaml:10"},
		{"a", "kubernetes_explain", "one", reasonNotGranted},
		{"b", "dockerhub_get_tag", "one", reasonNotGranted},
	} {
		entry, got := p.decide(t.Context(), tc.agent, tc.tool, json.RawMessage(fmt.Sprintf(`{"repository":%q}`, tc.repository)))
		if entry != nil {
			got = p.entry(entry)
		}
		if got != tc.want {
			t.Errorf("%s, %s of %s: %s, want %s", tc.agent, tc.tool, tc.repository, got, tc.want)
		}
	}
}

// testTools are four tools; dockerhub_list_tags has one argument of each type.
func testTools() map[string]json.RawMessage {
	plain := json.RawMessage(`{"type":"object","properties":{"repository":{"type":"string","maxLength":64}}}`)
	return map[string]json.RawMessage{
		"dockerhub_list_tags": json.RawMessage(`{"type":"object","properties":{
			"repository":{"type":"string","maxLength":64},
			"limit":{"type":"integer","default":25},
			"ratio":{"type":"number"},
			"deep":{"type":"boolean"},
			"names":{"type":"array","items":{"type":"string"}},
			"filter":{"type":"object","properties":{"name":{"type":"string"},"sizes":{"type":"array","items":{"type":"object","properties":{"bytes":{"type":"integer"}}}}}},
			"any":{"type":["string","integer"]}}}`),
		"dockerhub_get_tag": plain, "kubernetes_check_pod_security": plain, "kubernetes_explain": plain,
	}
}

func parsePolicy(text string) (*policy, error) {
	file, err := decodePolicy("p.yaml", []byte(text))
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
