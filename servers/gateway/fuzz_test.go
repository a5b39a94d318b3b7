package main

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"go.yaml.in/yaml/v3"
)

// MarshalYAML writes what UnmarshalYAML reads; the program itself writes no YAML.
func (s scalar) MarshalYAML() (any, error) { //nolint:unparam // the interface has an error
	if s.line == 0 {
		return nil, nil
	}
	return s.value, nil
}

// MarshalYAML writes what UnmarshalYAML reads.
func (c count) MarshalYAML() (any, error) { //nolint:unparam // the interface has an error
	if c.line == 0 {
		return nil, nil
	}
	return c.value, nil
}

func mustYAML(t *testing.T, v any) []byte {
	t.Helper()
	text, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func seedFile(f *testing.F, path string) {
	f.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
}

// A policy that is accepted is accepted again as it is written out, and then decides the same; none grants a tool that
// is not locked, or anything to nobody.
func FuzzPolicy(f *testing.F) {
	f.Add([]byte("version: 1\nagents:\n  a:\n    identity: {token: a}\n    allow: [{tool: dockerhub_*}]\n"))
	f.Add([]byte("version: 1\nagents: {a: &a {identity: {token: b}}, c: *a}\n"))
	f.Add([]byte("version: 1\nagents: {a: {identity: {token: b}, limits: {concurrent: 1}, allow: [{tool: dockerhub_list_tags, when: 'args.limit < 3', limits: {calls_per_minute: 2}}]}}\n"))
	f.Add([]byte("version: 1\nagents: {a: {identity: &x {token: b}, allow: &y [{tool: dockerhub_*}]}, b: {<<: {allow: *y}, identity: {token: c}}}\n"))
	seedFile(f, "../../agents/policy.yaml")
	f.Fuzz(func(t *testing.T, in []byte) {
		file, err := decodePolicy("p.yaml", in)
		if err != nil {
			return
		}
		p, err := newPolicy("p.yaml", file, testTools())
		if err != nil {
			return
		}
		again, err := parsePolicy(string(mustYAML(t, file)))
		if err != nil {
			t.Fatalf("%q is a policy, and %q is not: %v", in, mustYAML(t, file), err)
		}
		for _, name := range append(sortedKeys(p.agents), "", "stranger") {
			for _, tool := range append(sortedKeys(testTools()), "", "other_tool") {
				grants := p.grants(name, tool)
				if grants && (p.agents[name] == nil || testTools()[tool] == nil) {
					t.Errorf("%q may call %q", name, tool)
				}
				first, _ := p.decide(t.Context(), name, tool, json.RawMessage(`{"limit":1,"repository":"a"}`))
				second, _ := again.decide(t.Context(), name, tool, json.RawMessage(`{"limit":1,"repository":"a"}`))
				if (first == nil) != (second == nil) || grants != again.grants(name, tool) {
					t.Errorf("%q calls %q: written out, the policy decides otherwise", name, tool)
				}
			}
		}
	})
}

// A table that is accepted is accepted again as it is written out, and has the same rows.
func FuzzTable(f *testing.F) {
	f.Add([]byte(testTable))
	f.Add([]byte("version: 1\ndecisions: [{agent: a, tool: dockerhub_get_tag, args: {1: x, y: [1.5, ~, 2001-01-01]}, expect: deny}]\n"))
	seedFile(f, "../../agents/policy_test.yaml")
	f.Fuzz(func(t *testing.T, in []byte) {
		table, err := decodeTable("t.yaml", in)
		if err != nil {
			return
		}
		text := mustYAML(t, table)
		again, err := decodeTable("t.yaml", text)
		if err != nil || len(again.Rows) != len(table.Rows) {
			t.Fatalf("%q is a table, and %q is not: %v", in, text, err)
		}
		p := mustPolicy(t, "version: 1\nagents: {a: {identity: {token: a}, allow: [{tool: dockerhub_*}]}}\n")
		lock := &lockFile{Version: lockVersion, Servers: map[string]map[string]lockedTool{"dockerhub": mustLock(t, lockedDefinition)}}
		for i, row := range table.Rows {
			if row.Agent.value != again.Rows[i].Agent.value || row.Tool.value != again.Rows[i].Tool.value || row.Expect != again.Rows[i].Expect {
				t.Errorf("row %d of %q is another one in %q", i+1, in, text)
			}
			if got, _, err := row.decide(t.Context(), lock, p); err == nil && got == "" {
				t.Errorf("row %d of %q: neither a decision nor an error", i+1, in)
			}
		}
	})
}

// A lock that is accepted is accepted again as it is written out, with the same bytes.
func FuzzLock(f *testing.F) {
	f.Add([]byte(`{"version":1,"servers":{"a":{"b":{"sha256":"x","definition":{"name":"b","inputSchema":{},"annotations":{"readOnlyHint":true,"destructiveHint":false,"idempotentHint":true,"openWorldHint":false}}}}}}`))
	f.Add([]byte(`{"version":1,"servers":{}}`))
	f.Add([]byte(`{"version":1,"servers":{"a":null,"a":{}}}`))
	seedFile(f, "../../agents/tools.lock.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		lock, err := parseLock("lock.json", data)
		if err != nil {
			return
		}
		written, err := json.Marshal(lock)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseLock("lock.json", written)
		if err != nil {
			t.Fatalf("%s is a lock, and %s is not: %v", data, written, err)
		}
		if twice, err := json.Marshal(again); err != nil || !bytes.Equal(twice, written) {
			t.Errorf("%s becomes %s, %v", written, twice, err)
		}
		for server, tools := range lock.Servers {
			var raw []json.RawMessage
			for _, tool := range tools {
				definition, err := json.Marshal(tool.Definition)
				if err != nil {
					t.Fatal(err)
				}
				raw = append(raw, definition)
			}
			if d := compare(tools, raw); !d.empty() {
				t.Errorf("%s differs from itself: %s", server, d)
			}
		}
	})
}

// A condition that compiles gives the same answer or an error on any JSON each time, and never panics; what fails never
// holds.
func FuzzCondition(f *testing.F) {
	f.Add(`args.repository == "x"`, `{"repository":"x"}`)
	f.Add(`args.names.all(n, n.matches("^[a-z]+$"))`, `{"names":["a",null,1,{}]}`)
	f.Add(`args.filter.sizes.exists(s, s.bytes > args.limit)`, `{"filter":{"sizes":[{"bytes":1e308}]},"limit":-1}`)
	f.Add(`dyn(args) == {}`, `{"any":[1e-400]}`)
	f.Add(`args.names.map(n, args.names.map(m, n + m)).size() > 0`, `{"names":["aaaaaaaa","bbbbbbbb","cccccccc"]}`)
	f.Add(`args.repository.matches(args.names[0])`, `{"repository":"aaaaaaaaaaaa","names":["(a{100}){10}"]}`)
	f.Add(`type(args) == type({}) || string(args.any) == "1" || timestamp(args.repository) < timestamp("2026-01-01T00:00:00Z")`, `{"any":1,"repository":"9999-99-99"}`)
	f.Add(`has(args.__proto__) || args["limit"] == 1`, `{"limit":1,"__proto__":{}}`)
	schema := testTools()["dockerhub_list_tags"]
	f.Fuzz(func(t *testing.T, when, args string) {
		c, err := newCondition(when, "dockerhub_list_tags", schema)
		if err != nil {
			return
		}
		holds, err := c.holds(t.Context(), "a", "dockerhub_list_tags", json.RawMessage(args))
		if err != nil && holds {
			t.Errorf("%s over %s holds and fails: %v", when, args, err)
		}
		if again, errAgain := c.holds(t.Context(), "a", "dockerhub_list_tags", json.RawMessage(args)); again != holds || (err == nil) != (errAgain == nil) {
			t.Errorf("%s over %s: %t, %v, and then %t, %v", when, args, holds, err, again, errAgain)
		}
	})
}
