package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// checkConfig runs the command over the files of b.
func (b *bundle) checkConfig() (code int, out string) {
	b.t.Helper()
	var all bytes.Buffer
	file := func(name string) string { return filepath.Join(b.dir, name) }
	code = program().Run(b.t.Context(), []string{
		"check-config", "--policy", file("policy.yaml"), "--lock", file("lock.json"), "--tokens", file("tokens"), file("table.yaml"),
	}, os.Stdin, &all, &all)
	return code, strings.ReplaceAll(all.String(), b.dir+"/", "")
}

const testTable = "version: 1\ndecisions:\n  - {agent: reader, tool: alpha_ask, args: {text: hi}, expect: allow}\n"

func TestCheckConfig(t *testing.T) {
	replaced := func(name, old, with string) func(*bundle) {
		return func(b *bundle) { b.write(name, strings.Replace(b.read(name), old, with, 1)) }
	}
	for name, tc := range map[string]struct {
		change func(*bundle)
		code   int
		want   string // whole lines, in any place
	}{
		"good":                {func(*bundle) {}, 0, "1 agents, 4 locked tools, 1 expected decisions\n"},
		"unknown tool":        {replaced("policy.yaml", "alpha_ask", "alpha_aks"), 1, "policy.yaml:5: agent reader: tool \"alpha_aks\": the lock file has no such tool; correct the name, or write the lock anew with make lock\n"},
		"unknown key":         {replaced("policy.yaml", "allow", "alow"), 1, "policy.yaml:5: unknown key alow\n"},
		"no policy":           {func(b *bundle) { _ = os.Remove(filepath.Join(b.dir, "policy.yaml")) }, 1, "open policy.yaml: no such file or directory\n"},
		"changed definition":  {replaced("lock.json", `"Not granted"`, `"Not granted!"`), 1, "lock.json:51: alpha_other: the definition is not the one that its sha256 stands for; run make lock and review what it changes\n"},
		"bad definition":      {replaced("lock.json", `"readOnlyHint": true`, `"readOnlyHint": false`), 1, "lock.json:7: /servers/alpha/ask/definition: tool definition: \"ask\" is not annotated as a read-only tool; run make lock\n"},
		"a definition twice":  {replaced("lock.json", `"other": {`, `"ask": {`), 1, "lock.json:51: duplicate object member name; run make lock\n"},
		"cut lock":            {func(b *bundle) { b.write("lock.json", b.read("lock.json")[:100]) }, 1, "unexpected EOF; run make lock\n"},
		"server name":         {replaced("lock.json", `"alpha": {`, `"Alpha": {`), 1, "lock.json:4: server \"Alpha\": want lower-case letters and digits\n"},
		"lock version":        {replaced("lock.json", `"version": 1`, `"version": 2`), 1, "lock.json:2: version is 2; this gateway reads version 1\n"},
		"lock version's type": {replaced("lock.json", `"version": 1`, `"version": "1"`), 1, "lock.json:2: /version: string is no int; run make lock\n"},
		"case of a member":    {replaced("lock.json", `"version": 1`, `"Version": 1`), 1, "lock.json:2: /Version: unknown object member name; run make lock\n"},
		"no token":            {func(b *bundle) { _ = os.Remove(filepath.Join(b.dir, "tokens/reader.sha256")) }, 1, "reader has no token: stat tokens/reader.sha256: no such file or directory; make secrets makes it\n"},
		"bad token file":      {func(b *bundle) { b.write("tokens/reader.sha256", "\nx\n") }, 1, "tokens/reader.sha256:2: not a SHA-256 in hexadecimal\n"},
		"unknown agent":       {replaced("table.yaml", "reader", "writer"), 1, "table.yaml:3: the policy has no agent \"writer\"\n"},
		"table of nothing":    {func(b *bundle) { b.write("table.yaml", "version: 1\n") }, 1, "table.yaml:1: no decisions: a table without rows shows nothing\n"},
		"everything at once": {func(b *bundle) {
			b.write("policy.yaml", "version: 1\nagents:\n  reader:\n    identity: {token: reader}\n    allow: [{tool: x_y}]\n  writer:\n    identity: {token: writer}\n    limits: {concurrent: 0}\n")
			b.write("table.yaml", "version: 1\ndecisions:\n  - {agent: reader}\n")
		}, 1, "policy.yaml:5: agent reader: tool \"x_y\": the lock file has no such tool; correct the name, or write the lock anew with make lock\n" +
			"policy.yaml:8: agent writer: limits: concurrent is 0; it may be 1 to 16\n" +
			"table.yaml:3: row 1: agent, tool and expect are needed\n" +
			"reading tokens: writer has no token: stat tokens/writer.sha256: no such file or directory; make secrets makes it\n" +
			"gateway: 4 problems\n"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBundle(t)
			b.write("table.yaml", testTable)
			tc.change(b)
			if code, out := b.checkConfig(); code != tc.code || !strings.Contains(out, tc.want) {
				t.Errorf("exit code %d, want %d, with\n%s\nin\n%s", code, tc.code, tc.want, out)
			}
		})
	}
}
