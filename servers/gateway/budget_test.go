package main

import (
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

func limited(calls, concurrent, bytesPerDay int64) *budget {
	return newBudget(limitsFile{CallsPerMinute: count{value: calls}, Concurrent: count{value: concurrent}, ResultBytesPerDay: count{value: bytesPerDay}})
}

func wantRefusal(t *testing.T, err *mcpserver.Error, code mcpserver.Code, message string) {
	t.Helper()
	if err == nil || err.Code != code || !strings.Contains(err.Message, message) {
		t.Errorf("%v, want %s with %q", err, code, message)
	}
}

func TestCallsPerMinute(t *testing.T) {
	b := limited(2, 0, 0)
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, after := range []time.Duration{0, 30 * time.Second} {
		if err := b.count(start.Add(after)); err != nil {
			t.Errorf("after %s: %v", after, err)
		}
	}
	wantRefusal(t, b.count(start.Add(40*time.Second)), mcpserver.CodeRateLimited, "2 calls a minute are allowed; come back in 21 s")
	if err := b.count(start.Add(time.Minute)); err != nil {
		t.Errorf("a minute after the first call: %v", err)
	}
	wantRefusal(t, b.count(start.Add(61*time.Second)), mcpserver.CodeRateLimited, "come back in 30 s")
}

func TestConcurrent(t *testing.T) {
	b, now := limited(0, 2, 0), time.Now()
	for range 2 {
		if err := b.begin(now); err != nil {
			t.Fatal(err)
		}
	}
	wantRefusal(t, b.begin(now), mcpserver.CodeBusy, "2 calls at once are allowed")
	b.end(now, 0)
	if err := b.begin(now); err != nil {
		t.Error(err)
	}
}

func TestBytesPerDay(t *testing.T) {
	b := limited(0, 0, 2000)
	evening := time.Date(2026, 1, 2, 23, 59, 0, 0, time.UTC)
	for range 2 {
		if err := b.begin(evening); err != nil {
			t.Fatal(err)
		}
		b.end(evening, 1500)
	}
	wantRefusal(t, b.begin(evening), mcpserver.CodeRateLimited, "2000 bytes of results a day are allowed, and used up; come back in 61 s")
	if err := b.begin(evening.Add(time.Minute)); err != nil {
		t.Errorf("the next day: %v", err)
	}
}

// A restart gives nobody a second budget.
func TestReplay(t *testing.T) {
	now := time.Date(2026, 1, 2, 0, 0, 30, 0, time.UTC)
	b := limited(2, 0, 2000)
	b.replay(now.Add(-time.Hour), now, 1000)      // yesterday
	b.replay(now.Add(-40*time.Second), now, 1000) // yesterday, and within the minute
	b.replay(now.Add(-10*time.Second), now, 1000) // today
	wantRefusal(t, b.count(now), mcpserver.CodeRateLimited, "come back in 21 s")
	if err := b.begin(now); err != nil {
		t.Errorf("1000 of 2000 bytes are used: %v", err)
	}
	b.end(now, 1000)
	wantRefusal(t, b.begin(now), mcpserver.CodeRateLimited, "used up")
}

// Entries may stand on one line: what one of them has used is not the other's.
func TestReplayOfEntriesOnOneLine(t *testing.T) {
	b := newBundle(t)
	b.write("policy.yaml", `version: 1
agents:
  reader:
    identity: {token: reader}
    allow: [{tool: alpha_ask, limits: {calls_per_minute: 1}}, {tool: beta_ask, limits: {calls_per_minute: 1}}]
`)
	client := b.startAll()
	if result, err := ask(t, client, "alpha_ask", "hi"); err != nil || result.IsError {
		t.Fatal(result, err)
	}
	b.servers["gateway"]()
	b.start("gateway", program(), b.gatewayArgs()...)
	client = b.client("reader-token")
	if result, err := ask(t, client, "alpha_ask", "hi"); err != nil || result.Code != "rate_limited" {
		t.Errorf("the entry that was used: %+v, %v", result, err)
	}
	if result, err := ask(t, client, "beta_ask", "hi"); err != nil || result.IsError {
		t.Errorf("the other one: %+v, %v", result, err)
	}
}

// A policy that was edited moves its entries to other lines: what they have used is still used.
func TestReplayAfterAnEdit(t *testing.T) {
	b := newBundle(t)
	entries := "      - {tool: alpha_ask, limits: {calls_per_minute: 1}}\n      - {tool: beta_ask, limits: {calls_per_minute: 1}}\n"
	b.write("policy.yaml", "version: 1\nagents:\n  reader:\n    identity: {token: reader}\n    allow:\n"+entries)
	client := b.startAll()
	if result, err := ask(t, client, "alpha_ask", "hi"); err != nil || result.IsError {
		t.Fatal(result, err)
	}
	b.servers["gateway"]()
	b.write("policy.yaml", "version: 1\nagents:\n  reader:\n    identity: {token: reader}\n    allow:\n      # a comment\n"+entries)
	b.start("gateway", program(), b.gatewayArgs()...)
	client = b.client("reader-token")
	if result, err := ask(t, client, "alpha_ask", "hi"); err != nil || result.Code != "rate_limited" {
		t.Errorf("the entry that was used: %+v, %v", result, err)
	}
	if result, err := ask(t, client, "beta_ask", "hi"); err != nil || result.IsError {
		t.Errorf("the other one: %+v, %v", result, err)
	}
}
