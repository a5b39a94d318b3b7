// Package mcpclient speaks to a Bulkhead server as its client: one stateless request of MCP 2026-07-28 at a
// time, over any HTTP transport.
package mcpclient

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
)

// ProtocolVersion is the revision of MCP that this client speaks.
const ProtocolVersion = "2026-07-28"

// MaxResponse is the most bytes of an answer that are read: a result of a mebibyte, once as JSON and once as text.
const MaxResponse = 4 << 20

const methodListTools = "tools/list"

// MaxTools is how many tools a server may have.
const MaxTools = 1000

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
	Text       string // all text content, joined by newlines, where there is nothing structured or an error; else it says the same again
	Code       string // of an error, stable
	Call       string // the id under which the audit log has it
}

// RPCError is a JSON-RPC error that the server answered.
type RPCError struct {
	Code    int
	Message string
	Call    string // the id under which the audit log has it, if the server is Bulkhead's
}

func (e *RPCError) Error() string { return fmt.Sprintf("%s (JSON-RPC error %d)", e.Message, e.Code) }

// StatusError is an answer of the server's edge: no JSON-RPC, but an HTTP status and its reason.
type StatusError struct {
	Status int
	Reason string
}

func (e *StatusError) Error() string { return fmt.Sprintf("HTTP %d: %s", e.Status, e.Reason) }

// Caller is on whose behalf a server is called, and the id of the call. Servers believe it of their gateway only.
type Caller struct {
	Principal string `json:"dev.bulkhead/principal"` // MetaPrincipal
	Call      string `json:"dev.bulkhead/call"`      // MetaCall
}

// CallTool calls a tool. args marshals to an object; caller may be nil.
func (c *Client) CallTool(ctx context.Context, name string, args any, caller *Caller) (CallResult, error) {
	response, err := c.send(ctx, "tools/call", params{Meta: metaOf(caller), Name: name, Arguments: args})
	if err != nil {
		return CallResult{}, err
	}
	defer func() { _ = response.Body.Close() }()
	r, err := read[struct {
		Content           jsontext.Value `json:"content"`
		StructuredContent jsontext.Value `json:"structuredContent"`
		IsError           bool           `json:"isError"`
		Meta              struct {
			Code jsontext.Value `json:"dev.bulkhead/code"` // MetaCode
			Call jsontext.Value `json:"dev.bulkhead/call"` // MetaCall
		} `json:"_meta"`
	}](response)
	if err != nil {
		return CallResult{}, err
	}
	out := CallResult{Structured: json.RawMessage(r.StructuredContent), IsError: r.IsError, Code: text(r.Meta.Code), Call: text(r.Meta.Call)}
	if out.Structured == nil || out.IsError {
		out.Text = texts(r.Content)
	}
	return out, nil
}

// text is a JSON string's, and empty for anything else.
func text(value jsontext.Value) string {
	var s string
	if decode(value, &s) != nil {
		return ""
	}
	return s
}

// texts joins the first texts of a list of contents. It decodes no more of the list: a server may have made it long.
func texts(content jsontext.Value) string {
	dec := jsontext.NewDecoder(bytes.NewReader(content), jsontext.AllowDuplicateNames(true))
	if start, err := dec.ReadToken(); err != nil || start.Kind() != '[' {
		return ""
	}
	var parts []string
	for len(parts) < maxContent && dec.PeekKind() == '{' {
		var part struct {
			Text jsontext.Value `json:"text"`
		}
		if jsonv2.UnmarshalDecode(dec, &part) != nil {
			break
		}
		parts = append(parts, text(part.Text))
	}
	return strings.Join(parts, "\n")
}

// ListTools returns the definitions of the server's tools, raw.
func (c *Client) ListTools(ctx context.Context) ([]json.RawMessage, error) {
	response, err := c.send(ctx, methodListTools, params{Meta: metaOf(nil)})
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	return ReadTools(response)
}

func (c *Client) send(ctx context.Context, method string, p params) (*http.Response, error) {
	request, err := newRequest(ctx, c.URL, method, p)
	if err != nil {
		return nil, err
	}
	if c.Token != "" {
		request.Header.Set("Authorization", "Bearer "+c.Token)
	}
	response, err := c.HTTP.Do(request)
	if err == nil && response.StatusCode == http.StatusSwitchingProtocols {
		// Its body is the bare connection, from which a read does not end with ctx.
		_ = response.Body.Close()
		return nil, &StatusError{Status: response.StatusCode, Reason: "the server changes to a protocol that nobody asked for"}
	}
	return response, err
}

// message is a JSON-RPC request of ours. These are structs rather than maps because every forwarded call makes one.
type message struct {
	JSONRPC string `json:"jsonrpc"`
	ID      int    `json:"id"`
	Method  string `json:"method"`
	Params  params `json:"params"`
}

type params struct {
	Meta      meta   `json:"_meta"`
	Name      string `json:"name,omitempty"`
	Arguments any    `json:"arguments,omitempty"`
}

type meta struct {
	ProtocolVersion string   `json:"io.modelcontextprotocol/protocolVersion"`
	Capabilities    struct{} `json:"io.modelcontextprotocol/clientCapabilities"`
	*Caller
}

func metaOf(caller *Caller) meta { return meta{ProtocolVersion: ProtocolVersion, Caller: caller} }

// ListRequest makes the HTTP request for the definitions of the tools of the server at url.
func ListRequest(ctx context.Context, url string) (*http.Request, error) {
	return newRequest(ctx, url, methodListTools, params{Meta: metaOf(nil)})
}

func newRequest(ctx context.Context, url, method string, p params) (*http.Request, error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false) // six bytes for each "<" would make what just fits too large for the server
	if err := enc.Encode(message{JSONRPC: "2.0", ID: 1, Method: method, Params: p}); err != nil {
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
	if p.Name != "" {
		request.Header.Set("Mcp-Name", p.Name)
	}
	return request, nil
}

// read reads an answer to its end and decodes the JSON-RPC result. Errors are *RPCError, *StatusError, or about reading.
func read[T any](response *http.Response) (*T, error) {
	body, err := limit.ReadAll(response.Body, MaxResponse)
	if err != nil {
		return nil, fmt.Errorf("reading an answer: %w", err)
	}
	var reply struct {
		JSONRPC string         `json:"jsonrpc"`
		Result  *T             `json:"result"`
		Error   jsontext.Value `json:"error"`
	}
	err = decode(body, &reply)
	if _, mistyped := errors.AsType[*jsonv2.SemanticError](err); reply.JSONRPC != "2.0" && !mistyped {
		reason := cmp.Or(text(reply.Error), http.StatusText(response.StatusCode))
		return nil, &StatusError{Status: response.StatusCode, Reason: reason}
	}
	if err != nil {
		return nil, fmt.Errorf("decoding an answer: %w", err)
	}
	if reply.Error != nil {
		var fault struct {
			Code    int            `json:"code"`
			Message string         `json:"message"`
			Data    jsontext.Value `json:"data"`
		}
		if err := decode(reply.Error, &fault); err != nil {
			return nil, fmt.Errorf("decoding an answer: %w", err)
		}
		var data struct {
			Call jsontext.Value `json:"dev.bulkhead/call"` // MetaCall
		}
		_ = decode(fault.Data, &data) // anything may stand there
		return nil, &RPCError{fault.Code, fault.Message, text(data.Call)}
	}
	if reply.Result == nil {
		return nil, errors.New("an answer has neither result nor error")
	}
	return reply.Result, nil
}

// decode does not look for names that stand twice in an object: whoever does must remember all of them, which takes many
// times their bytes. What is made of an answer here is all that anybody sees of it.
func decode(data []byte, to any) error {
	return jsonv2.Unmarshal(data, to, jsontext.AllowDuplicateNames(true))
}

// ReadTools reads the answer to a [ListRequest] and returns the definitions, raw. Of more than [MaxTools] it returns the first
// and one more, which tells: a server may have made the list long.
func ReadTools(response *http.Response) ([]json.RawMessage, error) {
	list, err := read[struct {
		Tools      jsontext.Value `json:"tools"`
		NextCursor string         `json:"nextCursor"`
	}](response)
	if err != nil {
		return nil, err
	}
	if list.NextCursor != "" {
		return nil, errors.New("the list of tools has a second page; Bulkhead's servers have one")
	}
	if list.Tools.Kind() != '[' {
		return nil, errors.New("an answer has no list of tools")
	}
	dec := jsontext.NewDecoder(bytes.NewReader(list.Tools), jsontext.AllowDuplicateNames(true))
	if _, err := dec.ReadToken(); err != nil {
		return nil, fmt.Errorf("decoding an answer: %w", err)
	}
	var tools []json.RawMessage
	for len(tools) <= MaxTools && dec.PeekKind() != ']' {
		tool, err := dec.ReadValue()
		if err != nil {
			return nil, fmt.Errorf("decoding an answer: %w", err)
		}
		tools = append(tools, json.RawMessage(tool.Clone()))
	}
	return tools, nil
}
