package mcpserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpclient"
)

const (
	methodInitialized = "notifications/initialized"
	methodCancelled   = "notifications/cancelled"
)

// message is a JSON-RPC 2.0 request or notification, of which only what MCP's tools need is kept.
type message struct {
	JSONRPC string         `json:"jsonrpc"`
	ID      jsontext.Value `json:"id,omitzero"`
	Method  string         `json:"method"`
	Params  params         `json:"params,omitzero"`
}

type params struct {
	Meta map[string]jsontext.Value `json:"_meta,omitzero"`
	// tools/call
	Name      string          `json:"name,omitzero"`
	Arguments json.RawMessage `json:"arguments,omitzero"`
	// notifications/cancelled
	RequestID jsontext.Value `json:"requestId,omitzero"`
	// everything else, passed on as it is: cursor, capabilities, clientInfo, …
	Rest jsontext.Value `json:",embed"`
}

// protocolError is a JSON-RPC error; its text reaches the caller.
type protocolError struct {
	code    int
	message string
}

func (e protocolError) Error() string { return e.message }

// response is the JSON-RPC error; its data names the call's audit record, if it has one.
func (e protocolError) response(id jsontext.Value, call string) json.RawMessage {
	type fault struct {
		Code    int               `json:"code"`
		Message string            `json:"message"`
		Data    map[string]string `json:"data,omitzero"`
	}
	reply := struct {
		JSONRPC string         `json:"jsonrpc"`
		ID      jsontext.Value `json:"id"`
		Error   fault          `json:"error"`
	}{mcp.JSONRPC_VERSION, id, fault{Code: e.code, Message: e.message}}
	if len(id) == 0 {
		reply.ID = jsontext.Value("null")
	}
	if call != "" {
		reply.Error.Data = map[string]string{mcpclient.MetaCall: call}
	}
	body, err := jsonv2.Marshal(reply, jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return json.RawMessage(`{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"internal error"}}`)
	}
	return json.RawMessage(body)
}

// parse reads one JSON-RPC object. Names are matched to the letter, doubled names, invalid UTF-8, members that
// JSON-RPC does not have, batches and nesting beyond maxDepth are refused. With an error comes the id, if it
// could be read: a client that waits for it must not wait for ever.
func parse(body []byte) (message, error) {
	if err := checkShape(body); err != nil {
		return message{}, err
	}
	var m message
	if err := jsonv2.Unmarshal(body, &m, jsonv2.RejectUnknownMembers(true)); err != nil {
		return message{ID: readableID(body)}, protocolError{mcp.INVALID_REQUEST, "not a JSON-RPC request: " + describe(err)}
	}
	var id jsontext.Value
	if validID(m.ID) {
		id = m.ID
	}
	switch {
	case m.JSONRPC != mcp.JSONRPC_VERSION:
		return message{ID: id}, protocolError{mcp.INVALID_REQUEST, `"jsonrpc" must be "2.0"`}
	case m.Method == "" || len(m.Method) > maxName:
		return message{ID: id}, protocolError{mcp.INVALID_REQUEST, fmt.Sprintf(`"method" must have 1 to %d bytes`, maxName)}
	case len(m.ID) > 0 && id == nil:
		return message{}, protocolError{mcp.INVALID_REQUEST, fmt.Sprintf(`"id" must be a string or an integer of at most %d bytes`, maxID)}
	}
	return m, nil
}

// integerID keeps to what survives a float64, which many JSON-RPC peers decode ids to.
var integerID = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,14})$`)

// readableID is the id of body, an object, if it is one that can be answered to.
func readableID(body []byte) jsontext.Value {
	var m struct {
		ID jsontext.Value `json:"id"`
	}
	if jsonv2.Unmarshal(body, &m) != nil || !validID(m.ID) {
		return nil
	}
	return m.ID
}

func validID(id jsontext.Value) bool {
	return len(id) > 0 && len(id) <= maxID && (id.Kind() == '"' || integerID.Match(id))
}

// checkShape walks the tokens of body once, so that nothing after it meets a stack, a mass of values or a number of a
// caller's making.
func checkShape(body []byte) error {
	dec := jsontext.NewDecoder(bytes.NewReader(body))
	for values := 0; ; values++ {
		token, err := dec.ReadToken()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return protocolError{mcp.PARSE_ERROR, "not JSON: " + describe(err)}
		case dec.StackDepth() > maxDepth:
			return protocolError{mcp.INVALID_REQUEST, fmt.Sprintf("nested deeper than %d", maxDepth)}
		case values > maxValues:
			return protocolError{mcp.INVALID_REQUEST, fmt.Sprintf("more than %d JSON values", maxValues)}
		case token.Kind() == '0' && !plainNumber(token.String()):
			return protocolError{mcp.INVALID_REQUEST, "a number that no 64-bit float holds"}
		}
	}
}

// plainNumber says whether text, a JSON number, is one that a float64 holds and that was not written to be expensive: a
// library that computes exactly takes 1e999999 at its word.
func plainNumber(text string) bool {
	if len(text) > maxNumber {
		return false
	}
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		exponent, err := strconv.Atoi(text[i+1:])
		if err != nil || exponent < -maxExponent || exponent > maxExponent {
			return false
		}
	}
	_, err := strconv.ParseFloat(text, 64)
	return err == nil
}

// describe says where in the input a JSON error is, without repeating the input.
func describe(err error) string {
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fmt.Sprintf("%s at byte %d", echo(syntax.Err.Error()), syntax.ByteOffset)
	}
	if semantic, ok := errors.AsType[*jsonv2.SemanticError](err); ok {
		reason := "wrong type"
		if semantic.Err != nil {
			reason = semantic.Err.Error()
		}
		return fmt.Sprintf("%s at %s", echo(reason), echo(string(semantic.JSONPointer)))
	}
	return "malformed"
}

func (m message) notification() bool { return len(m.ID) == 0 }

// era is the protocol version that the message names for itself; empty in the era of the initialize handshake.
func (m message) era() string {
	version := m.metaString(mcp.MetaKeyProtocolVersion)
	if !eraForm.MatchString(version) {
		return ""
	}
	return version
}

var eraForm = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)

// modern says whether the request claims, in its header or its body, to be of the stateless era.
func (r *request) modern() bool {
	return mcp.IsModernProtocol(r.message.era()) || mcp.IsModernProtocol(r.header.Get(mcp.HeaderProtocolVersion))
}

func (m message) metaString(key string) string {
	var s string
	if jsonv2.Unmarshal(m.Params.Meta[key], &s) != nil {
		return ""
	}
	return s
}

// serialized is the message as it goes to the protocol library: what was parsed, not what came. Of a call that is what
// the pipeline has looked at, and no member that the library might take for another.
func (m message) serialized() json.RawMessage {
	if m.Method == string(mcp.MethodToolsCall) {
		m.Params.Rest, m.Params.Arguments = nil, nil
	}
	body, err := jsonv2.Marshal(m, jsonv2.Deterministic(true))
	if err != nil {
		// Every part was unmarshalled from valid JSON.
		return nil
	}
	return json.RawMessage(body)
}

// principalForm is what names of agents, tokens and calls look like.
var principalForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// believe takes principal and call from _meta. It is for a Unix socket without tokens only, where the caller is
// the gateway.
func (r *request) believe() {
	if principal := r.message.metaString(mcpclient.MetaPrincipal); principalForm.MatchString(principal) {
		r.principal, r.record.Principal = principal, principal
	}
	if call := r.message.metaString(mcpclient.MetaCall); principalForm.MatchString(call) {
		r.record.Call = call
	}
}

// checkHeaders holds the headers of the 2026-07-28 era against the body (specification 2026-07-28,
// basic/transports). On stdio there are none.
func checkHeaders(header http.Header, m message) error {
	if header == nil {
		return nil
	}
	inHeader, inBody := header.Get(mcp.HeaderProtocolVersion), m.metaString(mcp.MetaKeyProtocolVersion)
	if !mcp.IsModernProtocol(inHeader) && !mcp.IsModernProtocol(inBody) {
		if inHeader != "" && !mcp.IsValidProtocolVersion(inHeader) {
			return protocolError{mcp.HEADER_MISMATCH, fmt.Sprintf("unsupported %s %q", mcp.HeaderProtocolVersion, echo(inHeader))}
		}
		return nil
	}
	switch {
	case header.Get(mcp.HeaderLastEventID) != "":
		return protocolError{mcp.HEADER_MISMATCH, mcp.HeaderLastEventID + ": streams cannot be resumed in this protocol version"}
	case inHeader == "":
		return protocolError{mcp.HEADER_MISMATCH, mcp.HeaderProtocolVersion + " header is missing"}
	case inBody == "":
		return protocolError{mcp.INVALID_PARAMS, "_meta lacks " + mcp.MetaKeyProtocolVersion}
	case inHeader != inBody:
		return protocolError{mcp.HEADER_MISMATCH, fmt.Sprintf("%s header %q is not the %q of _meta", mcp.HeaderProtocolVersion, echo(inHeader), echo(inBody))}
	}
	// All that the library looks at in the parameters of our methods is the tool's name.
	raw, err := json.Marshal(map[string]string{"name": m.Params.Name})
	if err != nil {
		return err
	}
	if err := mcp.ValidateStandardHeaders(header.Get, inBody, mcp.MCPMethod(m.Method), raw); err != nil {
		return protocolError{mcp.HEADER_MISMATCH, cut(err.Error(), maxReason)} // it repeats the headers
	}
	return nil
}

// statusOf is the HTTP status of a JSON-RPC error: 2026-07-28 prescribes it, earlier eras answer 200 to a
// well-formed request.
func statusOf(code int, modern bool) int {
	switch {
	case code == mcp.PARSE_ERROR || code == mcp.INVALID_REQUEST || code == mcp.HEADER_MISMATCH:
		return http.StatusBadRequest
	case !modern:
		return http.StatusOK
	case code == mcp.METHOD_NOT_FOUND:
		return http.StatusNotFound
	case code == mcp.INVALID_PARAMS || code == mcp.UNSUPPORTED_PROTOCOL_VERSION || code == mcp.MISSING_REQUIRED_CLIENT_CAPABILITY:
		return http.StatusBadRequest
	default:
		return http.StatusOK
	}
}

// newProtocol makes the protocol library's server: tools only, nothing that it could say on its own.
func newProtocol(p *pipeline, version, title, instructions string, tools []Tool) *server.MCPServer {
	s := server.NewMCPServer(p.name, version,
		server.WithTitle(title),
		server.WithInstructions(instructions),
		server.WithToolCapabilities(false),
		server.WithCacheHints(0, mcp.CacheScopePrivate),
		server.WithToolFilter(p.visible),
	)
	for _, tool := range tools {
		s.AddTool(tool.Definition.mcpTool(), outsidePipeline)
	}
	return s
}
