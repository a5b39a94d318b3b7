package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/audit"
)

// audit runs gateway audit on the bundle's log.
func (b *bundle) audit(verb string, args ...string) (string, int) {
	b.t.Helper()
	command := append([]string{"audit", verb, "--audit", filepath.Join(b.dir, "audit")}, args...)
	var out bytes.Buffer
	code := program().Run(b.t.Context(), command, os.Stdin, &out, &out)
	return out.String(), code
}

func (b *bundle) key() string { return filepath.Join(b.dir, "keys", audit.VerifierFile) }

// asked starts everything and makes four calls; the last is of a tool that is not granted.
func asked(t *testing.T) (b *bundle, calls []string) {
	t.Helper()
	b = newBundle(t)
	client := b.startAll()
	for _, tool := range []string{"alpha_ask", "beta_ask", "alpha_ask"} {
		result, err := ask(t, client, tool, "hi")
		if err != nil {
			t.Fatal(err)
		}
		calls = append(calls, result.Call)
	}
	if _, err := ask(t, client, "alpha_other", "hi"); err == nil {
		t.Fatal("a tool that is not granted answers")
	}
	return b, calls
}

func TestAuditRead(t *testing.T) {
	b, calls := asked(t)
	for _, tc := range []struct {
		name, verb string
		args       []string
		lines      int
		has        string
	}{
		{"all", "export", nil, 5, `"event":"opened"`},
		{"an agent's", "export", []string{"--agent", "reader"}, 4, calls[0]},
		{"nobody's", "export", []string{"--agent", "writer"}, 0, ""},
		{"a tool's", "export", []string{"--tool", "beta_ask"}, 1, calls[1]},
		{"refused", "export", []string{"--decision", "deny"}, 1, "alpha_other"},
		{"of the last hour", "export", []string{"--since", "1h"}, 5, calls[0]},
		{"of another day", "export", []string{"--until", "2026-01-01"}, 0, ""},
		{"to come", "export", []string{"--since", time.Now().Add(time.Hour).Format(time.RFC3339)}, 0, ""},
		{"with results", "export", []string{"--tool", "beta_ask", "--results"}, 1, `"result":"{\"text\":\"hi\"`},
		{"the newest", "tail", []string{"--limit", "1"}, 1, "alpha_other"},
		{"the newest of a tool", "tail", []string{"--limit", "1", "--tool", "alpha_ask"}, 1, calls[2]},
		{"calls", "show", []string{calls[2], calls[0]}, 2, calls[0]},
		{"a call with its result", "show", []string{"--results", calls[1]}, 1, `"result":"{\"text\":\"hi\"`},
	} {
		out, code := b.audit(tc.verb, tc.args...)
		if code != 0 || strings.Count(out, "\n") != tc.lines || !strings.Contains(out, tc.has) {
			t.Errorf("%s: %d, want %d lines with %s:\n%s", tc.name, code, tc.lines, tc.has, out)
		}
	}
	for _, tc := range []struct {
		verb string
		args []string
		says string
	}{
		{"show", []string{"NOSUCHCALL"}, "NOSUCHCALL"},
		{"show", nil, "id of a call"},
		{"tail", []string{"x"}, "no arguments"},
		{"tail", []string{"--limit", "0"}, "--limit"},
		{"tail", []string{"--decision", "maybe"}, "allow, deny or error"},
		{"export", []string{"--since", "yesterday"}, "90m"},
		{"erase", nil, "usage"},
	} {
		if out, code := b.audit(tc.verb, tc.args...); code == 0 || !strings.Contains(out, tc.says) {
			t.Errorf("%s %q: %d %s", tc.verb, tc.args, code, out)
		}
	}
}

// An edit of the log of a gateway that ran is found, and named by its record.
func TestAuditVerify(t *testing.T) {
	b, calls := asked(t)
	b.servers["gateway"]() // what is left is signed
	kept, code := b.audit("checkpoint", "--key", b.key())
	if code != 0 || !strings.HasPrefix(kept, "example.com/test\n5\n") {
		t.Fatalf("%d %s", code, kept)
	}
	b.write("kept", kept+"\n")
	verify := []string{"--key", b.key(), "--checkpoint", filepath.Join(b.dir, "kept")}
	if out, code := b.audit("verify", verify...); code != 0 || !strings.Contains(out, "5 records read, 1 to 5; 3 stored results checked") {
		t.Errorf("%d %s", code, out)
	}

	lines := filepath.Join("audit", "00000000000000000001.jsonl")
	whole := b.read(lines)
	b.write(lines, strings.Replace(whole, `"tool":"beta_ask"`, `"tool":"beta_axe"`, 1))
	if out, code := b.audit("verify", verify...); code != 1 || !strings.Contains(out, "FOUND record 3 ") {
		t.Errorf("%d %s", code, out)
	}
	out, code := b.audit("verify", append(verify, "--format", "json")...)
	var report audit.Report
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&report); err != nil || code != 1 || len(report.Findings) != 1 || report.Findings[0].From != 3 {
		t.Errorf("%d %s %v", code, out, err)
	}

	// The tail cut off, and the checkpoints rolled back with it: only who kept one outside sees it.
	b.write(lines, whole[:strings.Index(whole, calls[2])-len(`{"v":1,"seq":4,"time":"2026-11-25T22:05:38.785541117Z","call":"`)])
	b.write("audit/checkpoints", "")
	if out, code := b.audit("verify", verify...); code != 1 || !strings.Contains(out, "trusted checkpoint covers 5 records") {
		t.Errorf("%d %s", code, out)
	}
}

func TestAuditKeys(t *testing.T) {
	b, _ := asked(t)
	b.servers["gateway"]()
	run := func(args ...string) (string, int) {
		var out bytes.Buffer
		code := program().Run(t.Context(), args, os.Stdin, &out, &out)
		return out.String(), code
	}
	// What is there is never overwritten.
	if out, code := run("audit", "keygen", "example.com/other", filepath.Join(b.dir, "keys")); code == 0 || !strings.Contains(out, "exists") {
		t.Errorf("%d %s", code, out)
	}
	other := filepath.Join(b.dir, "other")
	if err := os.Mkdir(other, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, code := run("audit", "keygen", "example.com/other", other); code != 0 || !strings.Contains(out, "signs") {
		t.Errorf("%d %s", code, out)
	}
	if out, code := b.audit("verify", "--key", filepath.Join(other, audit.VerifierFile)); code != 1 || !strings.Contains(out, "FOUND") {
		t.Errorf("%d %s", code, out)
	}
	if out, code := b.audit("verify", "--key", filepath.Join(other, audit.SignerFile)); code != 1 || !strings.Contains(out, "not a public key") {
		t.Errorf("%d %s", code, out)
	}
	// A gateway with another key does not go on with the log, and one without a key does not begin.
	args := append([]string{"serve", "--listen", "unix://" + b.socket("gateway")}, b.gatewayArgs()...)
	if out, code := run(append(args, "--audit-key", filepath.Join(other, audit.SignerFile))...); code != 1 || !strings.Contains(out, "none of its checkpoints is signed by the key example.com/other") {
		t.Errorf("%d %s", code, out)
	}
	if out, code := run(append(args, "--audit-key", filepath.Join(other, "nothing"))...); code != 1 || !strings.Contains(out, "gateway audit keygen") {
		t.Errorf("%d %s", code, out)
	}
}
