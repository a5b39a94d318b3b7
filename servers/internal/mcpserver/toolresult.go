package mcpserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/mark3labs/mcp-go/mcp"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpclient"
)

// toolResult is what became of a call: structured content, or an error's code and text.
type toolResult struct {
	structured json.RawMessage // compact, and safe to show
	code       Code
	text       string
}

// answer encodes the JSON-RPC response of a call (specification 2026-07-28, schema.ts: CallToolResult). The protocol
// library would decode the message four times and encode the result three times for the same bytes, and calls are what
// servers and, in front of each, the gateway do all day.
func (t toolResult) answer(r *request, serverInfo jsontext.Value) json.RawMessage {
	text := []byte(t.text)
	if t.structured != nil {
		text = t.structured
	}
	out := make([]byte, 0, 3*len(text)+512)
	out = append(out, `{"jsonrpc":"2.0","id":`...)
	out = append(out, r.message.ID...)
	out = append(out, `,"result":{"_meta":{"`+mcpclient.MetaCall+`":`...)
	out = appendString(out, []byte(r.record.Call))
	if t.structured != nil {
		out = append(out, `,"`+mcpclient.MetaContent+`":"`+mcpclient.Untrusted+`"`...)
	} else {
		out = append(out, `,"`+mcpclient.MetaCode+`":`...)
		out = appendString(out, []byte(t.code))
	}
	modern := mcp.IsModernProtocol(r.message.metaString(mcp.MetaKeyProtocolVersion))
	if modern {
		out = append(out, `,"`+mcp.MetaKeyServerInfo+`":`...)
		out = append(out, serverInfo...)
	}
	out = append(out, '}')
	out = append(out, `,"content":[{"type":"text","text":`...)
	out = appendString(out, text)
	out = append(out, `}]`...)
	if t.structured != nil {
		out = append(out, `,"structuredContent":`...)
		out = append(out, t.structured...)
	} else {
		out = append(out, `,"isError":true`...)
	}
	if modern {
		out = append(out, `,"resultType":"`+string(mcp.ResultTypeComplete)+`"`...)
	}
	return append(out, `}}`...)
}

// appendString appends text as a JSON string. What is no UTF-8 in it is replaced, as JSON demands.
func appendString(to, text []byte) []byte {
	to, _ = jsontext.AppendQuote(to, text)
	return to
}

// wellFormedEra says whether the protocol library has nothing against what a call says of its era: a version that exists
// with the capabilities that come with it, or none.
func (m message) wellFormedEra() bool {
	version := m.metaString(mcp.MetaKeyProtocolVersion)
	if !mcp.IsModernProtocol(version) {
		return true
	}
	capabilities := m.Params.Meta[mcp.MetaKeyClientCapabilities]
	if !mcp.IsValidProtocolVersion(version) || capabilities == nil {
		return false
	}
	declared := mcp.Meta{AdditionalFields: map[string]any{mcp.MetaKeyClientCapabilities: json.RawMessage(capabilities)}}
	return bytes.Equal(capabilities, []byte("{}")) || declared.ClientCapabilities() != nil
}

// outsidePipeline stands for every tool in the protocol library's table, which is there for its lists.
func outsidePipeline(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	return nil, errors.New("a tool was called outside the pipeline")
}
