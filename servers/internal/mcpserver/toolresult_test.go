package mcpserver

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/audit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpclient"
)

// The answer to a call says in both eras what the protocol library would have said.
func TestAnswersAsTheLibraryDoes(t *testing.T) {
	line, _ := testPipeline(t)
	hard := json.RawMessage("{\"lines\":[\"<a> & \\\"b\\\" \\\\ \\u0001\u2028é\"]}")
	for name, result := range map[string]toolResult{
		"success": {structured: hard},
		"error":   {code: CodeNotFound, text: "not_found: no <such> \"tag\"\n"},
	} {
		for era, meta := range map[string]string{"stateless": modernMeta + ",", "initialize": ""} {
			for _, id := range []string{"7", `"a\u00e9\"<"`} {
				body := []byte(`{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":{` + meta + `"name":"any","arguments":{}}}`)
				m, err := parse(body)
				if err != nil {
					t.Fatal(err)
				}
				ours := result.answer(&request{message: m, record: audit.Record{Call: "ABC"}}, line.identity)
				library := server.NewMCPServer("test", "v0", server.WithTitle("Test"))
				library.AddTool(mcp.Tool{Name: "any"}, func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
					return asLibrary(result), nil
				})
				theirs, err := json.Marshal(library.HandleMessage(t.Context(), body))
				if err != nil {
					t.Fatal(err)
				}
				var got, want any
				if err := json.Unmarshal(ours, &got); err != nil {
					t.Fatalf("%s: %v", ours, err)
				}
				if err := json.Unmarshal(theirs, &want); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s, %s: (-library +ours)\n%s", name, era, diff)
				}
			}
		}
	}
}

func asLibrary(t toolResult) *mcp.CallToolResult {
	meta := map[string]any{mcpclient.MetaCall: "ABC"}
	out := &mcp.CallToolResult{Result: mcp.Result{Meta: &mcp.Meta{AdditionalFields: meta}}}
	if t.structured == nil {
		meta[mcpclient.MetaCode], out.IsError = string(t.code), true
		out.Content = []mcp.Content{mcp.NewTextContent(t.text)}
		return out
	}
	meta[mcpclient.MetaContent], out.StructuredContent = mcpclient.Untrusted, t.structured
	out.Content = []mcp.Content{mcp.NewTextContent(string(t.structured))}
	return out
}

// What a call says of its era is judged by the protocol library wherever it is not as it should be.
func TestMalformedEra(t *testing.T) {
	for _, meta := range []string{
		`"io.modelcontextprotocol/protocolVersion":"2026-07-28"`,
		`"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":null`,
		`"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":3`,
		`"io.modelcontextprotocol/protocolVersion":"2999-01-01","io.modelcontextprotocol/clientCapabilities":{}`,
		`"io.modelcontextprotocol/protocolVersion":"zzz","io.modelcontextprotocol/clientCapabilities":{}`,
	} {
		line, recorder := testPipeline(t)
		body := `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"_meta":{` + meta + `},"name":"echo","arguments":{"text":"a"}}}`
		out := decodeReply(t, line.serve(t.Context(), inbound{principal: "p", body: []byte(body)}).body)
		if out.Error == nil || out.Error.Code == mcp.INTERNAL_ERROR {
			t.Errorf("%s: %+v", meta, out)
		}
		if len(recorder.records) != 1 || recorder.records[0].Decision != audit.Error {
			t.Errorf("%s: records %+v", meta, recorder.records)
		}
	}
}
