// Package mcpclient speaks to a Bulkhead server as its client: one stateless request of MCP 2026-07-28 at a
// time, over any HTTP transport.
package mcpclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
)

// ProtocolVersion is the revision of MCP that this client speaks.
const ProtocolVersion = "2026-07-28"

// MaxResponse is the most bytes of an answer that are read: a result of a mebibyte, once as JSON and once as text.
const MaxResponse = 4 << 20

// maxContent is how many parts of a result's text are looked at; Bulkhead's servers send one.
const maxContent = 16

// The keys of _meta that Bulkhead's processes exchange. A server believes the first two from its gateway only.
const (
	MetaPrincipal = "dev.bulkhead/principal"
	MetaCall      = "dev.bulkhead/call"
	MetaCode      = "dev.bulkhead/code"
	MetaContent   = "dev.bulkhead/content" // of a result: Untrusted, always
)

// Untrusted marks content that outsiders wrote: data, never instructions.
const Untrusted = "untrusted"

// Client calls the server at URL.
type Client struct {
	HTTP  *http.Client
	URL   string // of the MCP endpoint
	Token string // bearer token; empty sends none
}

// CallResult is what a tool answered.
type CallResult struct {
	Structured json.RawMessage // of a success
	IsError    bool
	Text       string // all text content, joined by newlines
	Code       string // of an error, stable
	Call       string // the id under which the audit log has it
}

// RPCError is a JSON-RPC error that the server answered.
type RPCError struct {
	Code    int               `json:"code"`
	Message string            `json:"message"`
	Data    map[string]string `json:"data"` // MetaCall, if the server is Bulkhead's
}

func (e *RPCError) Error() string { return fmt.Sprintf("%s (JSON-RPC error %d)", e.Message, e.Code) }

// StatusError is an answer of the server's edge: no JSON-RPC, but an HTTP status and its reason.
type StatusError struct {
	Status int
	Reason string
}

func (e *StatusError) Error() string { return fmt.Sprintf("HTTP %d: %s", e.Status, e.Reason) }

// CallTool calls a tool. args marshals to an object; meta is added to _meta.
func (c *Client) CallTool(ctx context.Context, name string, args any, meta map[string]string) (CallResult, error) {
	result, err := c.do(ctx, "tools/call", name, map[string]any{"name": name, "arguments": args}, meta)
	if err != nil {
		return CallResult{}, err
	}
	var r struct {
		Content           []struct{ Text string } `json:"content"`
		StructuredContent json.RawMessage         `json:"structuredContent"`
		IsError           bool                    `json:"isError"`
		Meta              map[string]any          `json:"_meta"`
	}
	if err := json.Unmarshal(result, &r); err != nil {
		return CallResult{}, fmt.Errorf("decoding the result of %s: %w", name, err)
	}
	out := CallResult{Structured: r.StructuredContent, IsError: r.IsError}
	var parts []string
	for _, content := range r.Content[:min(len(r.Content), maxContent)] {
		parts = append(parts, content.Text)
	}
	out.Text = strings.Join(parts, "\n")
	out.Code, _ = r.Meta[MetaCode].(string)
	out.Call, _ = r.Meta[MetaCall].(string)
	return out, nil
}

// ListTools returns the definitions of the server's tools, raw.
func (c *Client) ListTools(ctx context.Context) ([]json.RawMessage, error) {
	result, err := c.do(ctx, "tools/list", "", nil, nil)
	if err != nil {
		return nil, err
	}
	return DecodeTools(result)
}

func (c *Client) do(ctx context.Context, method, name string, params map[string]any, meta map[string]string) (json.RawMessage, error) {
	request, err := NewRequest(ctx, c.URL, method, name, params, meta)
	if err != nil {
		return nil, err
	}
	if c.Token != "" {
		request.Header.Set("Authorization", "Bearer "+c.Token)
	}
	response, err := c.HTTP.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	return ReadResponse(response)
}

// NewRequest makes the HTTP request of one call of method. name is the tool's, for tools/call.
func NewRequest(ctx context.Context, url, method, name string, params map[string]any, meta map[string]string) (*http.Request, error) {
	all := map[string]any{
		"io.modelcontextprotocol/protocolVersion":    ProtocolVersion,
		"io.modelcontextprotocol/clientCapabilities": map[string]any{},
	}
	for key, value := range meta {
		all[key] = value
	}
	whole := map[string]any{"_meta": all}
	maps.Copy(whole, params)
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false) // six bytes for each "<" would make what just fits too large for the server
	if err := enc.Encode(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": whole}); err != nil {
		return nil, fmt.Errorf("encoding a request for %s: %w", method, err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body.Bytes()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json, text/event-stream")
	request.Header.Set("Mcp-Protocol-Version", ProtocolVersion)
	request.Header.Set("Mcp-Method", method)
	// For net/http alone, which sends no empty list: everything here only reads, so that a request whose connection was
	// already dead may be sent again on a new one.
	request.Header["Idempotency-Key"] = nil
	if name != "" {
		request.Header.Set("Mcp-Name", name)
	}
	return request, nil
}

// ReadResponse reads an answer to its end and returns the JSON-RPC result. Errors are *RPCError,
// *StatusError, or about reading.
func ReadResponse(response *http.Response) (json.RawMessage, error) {
	body, err := limit.ReadAll(response.Body, MaxResponse)
	if err != nil {
		return nil, fmt.Errorf("reading an answer: %w", err)
	}
	var reply struct {
		JSONRPC string          `json:"jsonrpc"`
		Result  json.RawMessage `json:"result"`
		Error   json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(body, &reply); err != nil || reply.JSONRPC != "2.0" {
		var reason string
		if json.Unmarshal(reply.Error, &reason) != nil {
			reason = http.StatusText(response.StatusCode)
		}
		return nil, &StatusError{Status: response.StatusCode, Reason: reason}
	}
	if reply.Error != nil {
		fault := new(RPCError)
		if err := json.Unmarshal(reply.Error, fault); err != nil {
			return nil, fmt.Errorf("decoding an answer: %w", err)
		}
		return nil, fault
	}
	if reply.Result == nil {
		return nil, errors.New("an answer has neither result nor error")
	}
	return reply.Result, nil
}

// DecodeTools takes the definitions out of the result of tools/list.
func DecodeTools(result json.RawMessage) ([]json.RawMessage, error) {
	var list struct {
		Tools      []json.RawMessage `json:"tools"`
		NextCursor string            `json:"nextCursor"`
	}
	if err := json.Unmarshal(result, &list); err != nil {
		return nil, fmt.Errorf("decoding a list of tools: %w", err)
	}
	if list.NextCursor != "" {
		return nil, errors.New("the list of tools has a second page; Bulkhead's servers have one")
	}
	return list.Tools, nil
}
