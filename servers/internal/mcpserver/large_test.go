package mcpserver

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
)

// Large results are checked and encoded a few at a time; each gives its slot back, whatever becomes of it, and one with
// a mass of values is none.
func TestLargeResults(t *testing.T) {
	tool := func(name, lines string) Tool {
		made := Typed(Definition{Name: name}, func(context.Context, nothing) (struct {
			Lines []int `json:"lines"`
		}, error) {
			panic("not called")
		})
		made.Call = func(context.Context, json.RawMessage) (Result, error) {
			return Result{Structured: json.RawMessage(`{"lines":[` + lines + `0]}`)}, nil
		}
		return made
	}
	line, err := newPipeline(Program{Name: "test"}, "v0", []Tool{
		tool("large", strings.Repeat("1000000,", largeResult/8)),
		tool("wrong", strings.Repeat(`"a",`, largeResult/4)),
		tool("mass", strings.Repeat("0,", maxResultValues)),
	}, Gate{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 * maxLargeResults {
		for name, code := range map[string]any{"large": nil, "wrong": "internal", "mass": "internal"} {
			out := line.serve(t.Context(), inbound{transport: stdio, principal: "a", body: []byte(callBody(name, "{}"))})
			if r := decodeReply(t, out.body); r.Result.Meta["dev.bulkhead/code"] != code || r.Result.IsError != (code != nil) {
				t.Fatalf("%s: %.300s", name, out.body)
			}
		}
	}
	if held := len(line.large); held != 0 {
		t.Errorf("%d slots are still held", held)
	}

	// Where none is free, a call waits, and a caller that goes away waits no longer.
	for range maxLargeResults {
		line.large <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan outcome, 1)
	go func() {
		ended <- line.serve(ctx, inbound{transport: stdio, principal: "a", body: []byte(callBody("large", "{}"))})
	}()
	cancel()
	if r := decodeReply(t, (<-ended).body); r.Result.Meta["dev.bulkhead/code"] != "cancelled" {
		t.Errorf("without a slot: %+v", r)
	}
	if held := len(line.large); held != maxLargeResults {
		t.Errorf("%d slots are held", held)
	}
}
