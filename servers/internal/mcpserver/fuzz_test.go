package mcpserver

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mark3labs/mcp-go/mcp"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/scrub"
)

// What is accepted goes on in a form that is accepted again, as the same message, and within bounds.
func FuzzEnvelope(f *testing.F) {
	for _, seed := range []string{
		callBody("echo", `{"text":"hi"}`),
		`{"jsonrpc":"2.0","id":"x","method":"tools/list","params":{"cursor":"a","_meta":{"a":{"b":[1,2.5e3,null]}}}}`,
		`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`,
		`{"jsonrpc":"2.0","id":-1,"method":"ping"}`,
		`{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}`,
		`[{"jsonrpc":"2.0","id":1,"method":"ping"}]`,
		`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"é\u0000"}}}`,
		strings.Repeat(`{"a":`, 100),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := parse(body)
		if err != nil {
			return
		}
		if bytes.ContainsAny([]byte(m.Method), "\xff") || len(m.Method) > maxName || len(m.ID) > maxID {
			t.Errorf("accepted %+v", m)
		}
		wire := m.serialized()
		again, err := parse(wire)
		if err != nil {
			t.Fatalf("%s was accepted, and what it became is not: %s: %v", body, wire, err)
		}
		if diff := cmp.Diff(string(wire), string(again.serialized())); diff != "" {
			t.Error(diff)
		}
		if again.Method != m.Method || again.Params.Name != m.Params.Name || again.notification() != m.notification() {
			t.Errorf("%+v became %+v", m, again)
		}
	})
}

// Whatever the arguments, the answer is one message of ours, and arguments that the schema refuses do not reach the
// tool.
func FuzzArguments(f *testing.F) {
	for _, seed := range []string{`{"text":"hi"}`, `{"text":"hi","times":9,"tags":["a"],"level":"high"}`, `{"Text":"hi"}`, `[]`, `null`, `{"text":"\u202e"}`, `{"times":1e400,"text":""}`} {
		f.Add(seed)
	}
	line, recorder := testPipeline(f)
	f.Fuzz(func(t *testing.T, args string) {
		recorder.records = nil
		out := line.serve(t.Context(), inbound{transport: stdio, principal: "p", body: []byte(callBody("echo", args))})
		var r reply
		if err := json.Unmarshal(out.body, &r); err != nil {
			t.Fatalf("%s: %v", out.body, err)
		}
		rec := recorder.last(t)
		if len(recorder.records) != 1 || rec.Decision == "" || rec.Reason == "" {
			t.Errorf("records %+v", recorder.records)
		}
		if rec.Reason != "ok" {
			if r.Error == nil && !r.Result.IsError {
				t.Errorf("%s, and yet %s", rec.Reason, out.body)
			}
			return
		}
		var result echoOut
		if err := json.Unmarshal(r.Result.StructuredContent, &result); err != nil {
			t.Fatal(err)
		}
		if len([]rune(result.Text)) > 16 || strings.Trim(result.Text, "abcdefghijklmnopqrstuvwxyz ") != "" ||
			result.Times < 1 || result.Times > 9 || len(result.Tags) > 2 || result.Level != "low" && result.Level != "high" {
			t.Errorf("%s passed the schema as %+v", args, result)
		}
	})
}

// A request of the stateless era passes only if its headers say what its body says.
func FuzzHeaders(f *testing.F) {
	f.Add("2026-07-28", "tools/call", "echo", "2026-07-28", "tools/call", "echo")
	f.Add("2026-07-28", "tools/call", "=?base64?ZWNobw==?=", "2026-07-28", "tools/call", "echo")
	f.Add("2025-11-25", "", "", "", "tools/list", "")
	f.Add("", "", "", "2026-07-28", "ping", "")
	f.Fuzz(func(t *testing.T, version, method, name, bodyVersion, bodyMethod, bodyName string) {
		header := http.Header{}
		header.Set("Mcp-Protocol-Version", version)
		header.Set("Mcp-Method", method)
		header.Set("Mcp-Name", name)
		body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": bodyMethod, "params": map[string]any{
			"name": bodyName, "_meta": map[string]any{mcp.MetaKeyProtocolVersion: bodyVersion},
		}})
		if err != nil {
			return
		}
		m, err := parse(body)
		if err != nil || checkHeaders(header, m) != nil {
			return
		}
		if !mcp.IsModernProtocol(version) && !mcp.IsModernProtocol(bodyVersion) {
			return
		}
		decoded, _ := mcp.DecodeHeaderValue(name)
		if version != m.metaString(mcp.MetaKeyProtocolVersion) || method != m.Method || m.Method == "tools/call" && decoded != m.Params.Name {
			t.Errorf("%q passes for %s", header, body)
		}
	})
}

// Every string of a result is safe to show, and the result stays the JSON that it was otherwise.
func FuzzScrubJSON(f *testing.F) {
	for _, seed := range []string{`{"a":"b\u001b[31m","c":[1,true,null,{"\u202e":"x"}]}`, `"x"`, `[]`, `{"a":1,"a":2}`,
		`{"name":"password","value":"correct-horse-9"}`, `{"password":["correct-horse-9",[{"key":"api_token"}]]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := scrubJSON(data)
		if err != nil {
			return
		}
		again, err := scrubJSON(out)
		if err != nil || !bytes.Equal(out, again) {
			t.Errorf("%s becomes %s, then %s, %v", data, out, again, err)
		}
		var v any
		if err := json.Unmarshal(out, &v); len(bytes.TrimSpace(data)) > 0 && err != nil {
			t.Errorf("%s becomes %s: %v", data, out, err)
		}
		walk(v, func(s string) {
			if scrub.Text(s) != s {
				t.Errorf("%q is left", s)
			}
		})
	})
}

func walk(v any, f func(string)) {
	switch v := v.(type) {
	case string:
		f(v)
	case []any:
		for _, x := range v {
			walk(x, f)
		}
	case map[string]any:
		for name, x := range v {
			f(name)
			walk(x, f)
		}
	}
}
