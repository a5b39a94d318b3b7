package mcpserver

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/audit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/outbound"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/scrub"
)

// The bounds of one request.
const (
	maxBody     = 2 << 20          // bytes of one message, over HTTP and stdio alike
	maxDepth    = 64               // nesting of JSON objects and lists in a message
	maxValues   = 10_000           // JSON values in a message: five times what the largest tool takes
	maxNumber   = 32               // bytes of a JSON number
	maxExponent = 308              // of a JSON number: a float64's
	maxMessage  = 4 << 10          // bytes of an error that a caller sees
	MaxResult   = 1 << 20          // bytes of a result's structured content
	maxName     = 128              // bytes of a method, a tool's name, a principal
	maxID       = 256              // bytes of a request's id
	maxEcho     = 64               // bytes of a caller's input that a message repeats
	maxReason   = 256              // bytes of the reason in a record
	maxProblems = 10               // violations of a schema that a message lists
	maxTimeout  = 5 * time.Minute  // the longest that a tool may ask for
	callTimeout = 30 * time.Second // one tool call, if the tool does not say otherwise

	maxResultValues = 100_000  // JSON values in a result
	largeResult     = 64 << 10 // bytes of a result that needs a slot until it is encoded
	maxLargeResults = 4        // slots
)

// pipeline is what every request of every transport goes through.
type pipeline struct {
	name     string
	protocol *server.MCPServer
	identity jsontext.Value   // what the server says of itself in the results of the stateless era
	tools    map[string]*Tool // checked
	gate     Gate
	recorder audit.Recorder
	slots    slots
	large    chan struct{} // held for results that take much more memory while they are checked and encoded
	logger   *slog.Logger
}

// Gate is what a server decides about its callers. The zero Gate lets every caller call every tool and
// records to the log.
type Gate struct {
	// Refusal says why a principal may not see and call a tool, for the record; empty if it may. nil grants all.
	Refusal func(principal, tool string) string
	// Admit lets in a call that Refusal has nothing against: within its rate, and with these arguments. valid says
	// whether they are what the tool's schema wants. An error that holds an [*Error] reaches the caller. nil lets
	// everyone in.
	Admit func(ctx context.Context, principal, tool string, args json.RawMessage, valid bool) (Admission, error)
	// Principal says who holds the token of that name; nil takes the token's name for the principal's.
	Principal func(token string) (string, bool)
	// Holders are the names of tokens that must be there at start.
	Holders []string
	// Open opens what keeps the evidence, when all else is known to be right; nil is the log on stderr.
	Open func() (audit.Recorder, error)
	// Close closes what Open opened, when no request is left; nil is nothing.
	Close func() error
	// Healthy returns why the server cannot serve; nil is always healthy.
	Healthy func() error
}

// Admission is what a gate says of a call, let in or not.
type Admission struct {
	Entry     string                // of the policy, that decided; for the record
	Reason    string                // why the call is not let in; for the record
	MaxResult int                   // bytes of the result; 0 leaves it at [MaxResult]
	Leave     func(resultBytes int) // called once when a call that was let in has ended; nil is nothing
}

// inbound is a message that has passed the edge.
type inbound struct {
	transport string      // stdio, tcp or unix
	principal string      // who the edge says is calling
	trusted   bool        // the caller is the gateway: what it says about principal and call is believed
	header    http.Header // nil on stdio
	inflight  *inflight   // the connection's own requests, if it can cancel them; nil over HTTP
	begun     func()      // called when the next message of the connection may follow; nil over HTTP
	body      []byte
}

// outcome is what goes back: a JSON-RPC message, or nothing for a notification.
type outcome struct {
	body   json.RawMessage
	status int // of HTTP
}

// request is a message on its way through the pipeline, with the record that grows as it goes.
type request struct {
	inbound
	message message
	tool    *Tool
	record  audit.Record
	result  []byte // what record.Result is of, if a tool answered
	large   bool   // holds a slot of the pipeline's
}

// serve takes one message through parse, admit, validate, call, result and record. The edge (http.go,
// stdio.go) comes before it.
func (p *pipeline) serve(ctx context.Context, in inbound) (out outcome) {
	start := time.Now()
	r := &request{inbound: in, record: audit.Record{
		Time: start.UTC(), Call: rand.Text(), Principal: in.principal,
		Server: p.name, Transport: in.transport, Decision: audit.Error,
	}}
	defer func() {
		if r.large {
			<-p.large
		}
	}()
	out = p.answer(ctx, r)
	return p.keep(ctx, r, start, out)
}

// refused records an authenticated request that the edge did not let in.
func (p *pipeline) refused(ctx context.Context, in inbound, out outcome, reason string) outcome {
	r := &request{inbound: in, record: audit.Record{
		Time: time.Now().UTC(), Call: rand.Text(), Principal: in.principal,
		Server: p.name, Transport: in.transport, Decision: audit.Error, Reason: reason,
	}}
	return p.keep(ctx, r, r.record.Time, out)
}

// keep writes the record of a request, without which there is no answer.
func (p *pipeline) keep(ctx context.Context, r *request, start time.Time, out outcome) outcome {
	for _, text := range []*string{&r.record.Tool, &r.record.Method, &r.record.Reason} {
		*text = scrub.Text(*text)
	}
	r.record.Reason = cut(r.record.Reason, maxReason)
	r.record.DurationUS = time.Since(start).Microseconds()
	if out.body != nil && r.record.Result == nil {
		r.record.Result = summary(out.body)
	}
	// The record is written even when the caller has gone away meanwhile.
	if err := p.recorder.Record(context.WithoutCancel(ctx), r.record, r.result); err != nil {
		p.logger.LogAttrs(ctx, slog.LevelError, "no record, no answer",
			slog.String("call", r.record.Call), slog.String("error", err.Error()))
		fault := protocolError{
			mcp.INTERNAL_ERROR, "the audit log cannot be written, so this call was not answered; call id " + r.record.Call,
		}
		return outcome{body: fault.response(r.message.ID, r.record.Call), status: http.StatusServiceUnavailable}
	}
	return out
}

func (p *pipeline) answer(ctx context.Context, r *request) (out outcome) {
	defer func() {
		if cause := recover(); cause != nil {
			p.logPanic(ctx, r, cause)
			out = p.refuse(r, protocolError{mcp.INTERNAL_ERROR, internalMessage(r)}, http.StatusInternalServerError)
		}
	}()

	// parse
	var err error
	if r.message, err = parse(r.body); err != nil {
		return p.refuseErr(r, err)
	}
	r.record.Method, r.record.Era = r.message.Method, r.message.era()
	if r.trusted {
		r.believe()
	}
	// What a caller pasted into its arguments must not outlive the call in the log. They have been parsed, so that
	// scrubbing fails at most for names that become equal; then none are kept.
	if args, err := scrubArgs(r.message.Params.Arguments); err == nil {
		r.record.SetArgs(args)
	}
	if err := checkHeaders(r.header, r.message); err != nil {
		return p.refuseErr(r, err)
	}

	// admit
	if err := p.admit(r); err != nil {
		return p.refuseErr(r, err)
	}
	r.record.Decision = audit.Allow
	if r.message.notification() {
		if r.tool != nil {
			r.record.Decision, r.record.Reason = audit.Error, "a notification calls no tool"
		}
		if r.message.Method == methodCancelled {
			r.inflight.cancel(r.message.Params.RequestID)
		}
		return outcome{status: http.StatusAccepted}
	}
	ctx, done, err := r.inflight.begin(ctx, r.message.ID)
	if err != nil {
		return p.refuseErr(r, err)
	}
	defer done()
	if r.begun != nil {
		r.begun()
	}

	ctx = context.WithValue(outbound.WithCall(ctx, r.record.Call), requestKey{}, r)
	if r.tool != nil && r.message.wellFormedEra() {
		body := p.runTool(ctx, r).answer(r, p.identity)
		if r.cancelled(ctx) {
			return outcome{}
		}
		return outcome{body: body, status: http.StatusOK}
	}
	reply := p.protocol.HandleMessage(ctx, r.message.serialized())
	if r.cancelled(ctx) {
		return outcome{}
	}
	body, err := encodeAnswer(reply)
	if err != nil {
		return p.refuseErr(r, fmt.Errorf("encoding an answer: %w", err))
	}
	status := http.StatusOK
	if fault, ok := reply.(mcp.JSONRPCError); ok {
		r.record.Decision, r.record.Reason = audit.Error, fmt.Sprintf("protocol error %d", fault.Error.Code)
		status = statusOf(fault.Error.Code, r.modern())
	}
	return outcome{body: body, status: status}
}

// cancelled says whether the request was cancelled by its sender, which expects no answer (specification,
// basic/utilities/cancellation).
func (r *request) cancelled(ctx context.Context) bool { return r.inflight != nil && ctx.Err() != nil }

// encodeAnswer encodes what the protocol library replies, without the six bytes that encoding/json makes of each "<",
// ">" and "&" in HTML's honour: twice in a result, they would multiply its size.
func encodeAnswer(reply mcp.JSONRPCMessage) (json.RawMessage, error) {
	body, err := json.Marshal(reply)
	if err != nil || !bytes.Contains(body, []byte(`\u00`)) {
		return body, err
	}
	value := jsontext.Value(body)
	err = value.Format(jsontext.PreserveRawStrings(false), jsontext.AllowDuplicateNames(true))
	return json.RawMessage(value), err
}

// admit refuses methods and tools that are unknown. A tool that the caller may not use is unknown to it.
func (p *pipeline) admit(r *request) error {
	switch mcp.MCPMethod(r.message.Method) {
	case mcp.MethodInitialize, mcp.MethodPing, mcp.MethodServerDiscover, mcp.MethodToolsList:
		return nil
	case methodInitialized, methodCancelled:
		return nil
	case mcp.MethodToolsCall:
	default:
		r.record.Reason = "unknown method"
		return protocolError{mcp.METHOD_NOT_FOUND, fmt.Sprintf("unknown method %q; this server has tools only", echo(r.message.Method))}
	}
	name := r.message.Params.Name
	r.record.Tool = echo(name)
	// Both are looked up whatever the other says: what is unknown must not take another time than what is not granted.
	tool, known := p.tools[name]
	switch refusal := p.gate.refusal(r.principal, name); {
	case !known:
		r.record.Reason = "unknown tool"
	case refusal != "":
		r.record.Decision, r.record.Reason = audit.Deny, refusal
	default:
		r.tool = tool
		if tool.Server != "" {
			r.record.Server = tool.Server
		}
		return nil
	}
	return protocolError{mcp.INVALID_PARAMS, fmt.Sprintf("unknown tool %q; tools/list names the tools that you may call", echo(name))}
}

// runTool takes a call that was let in through validate, call and result.
func (p *pipeline) runTool(ctx context.Context, r *request) toolResult {
	args := r.message.Params.Arguments
	if len(args) == 0 {
		args = json.RawMessage("{}")
	}

	slot, ok := p.slots.take(r.principal)
	if !ok {
		return p.failure(ctx, r, Errorf(CodeBusy, "too many calls are running at once (%d for one caller, %d in all); try again when one has ended",
			MaxPrincipalCalls, maxCalls))
	}
	defer slot.release()

	// validate
	invalid := validate(r.tool.schemas.input, args)
	admission, err := p.gate.admit(ctx, r.principal, r.tool.Definition.Name, args, invalid == nil)
	r.record.Entry = admission.Entry
	if err != nil {
		refusal := p.failure(ctx, r, err)
		r.record.Decision, r.record.Reason = audit.Deny, cmp.Or(admission.Reason, r.record.Reason)
		return refusal
	}
	defer func() {
		bytes := 0
		if r.record.Result != nil { // nil after a panic
			bytes = r.record.Result.Bytes
		}
		admission.Leave(bytes)
	}()
	if invalid != nil {
		answer := p.failure(ctx, r, Errorf(CodeInvalidArguments, "%w", invalid))
		r.record.Decision = audit.Error // no tool ran
		return answer
	}

	// call
	result, err := p.call(ctx, r, slot, args)
	if err != nil {
		return p.failure(ctx, r, err)
	}

	// result
	if len(result.Structured) > largeResult {
		select {
		case p.large <- struct{}{}:
			r.large = true
		case <-ctx.Done():
			return p.failure(ctx, r, ctx.Err())
		}
	}
	structured, err := scrubJSON(result.Structured)
	if err != nil {
		return p.failure(ctx, r, fmt.Errorf("scrubbing a result: %w", err))
	}
	isCut := false
	if r.tool.schemas.canCut {
		structured, isCut = fit(structured, admission.MaxResult)
	}
	if structured == nil || len(structured) > admission.MaxResult {
		return p.failure(ctx, r, Errorf(CodeTooLarge, "the result has more than the %d bytes that an answer may have; ask for less: a smaller limit where there is one, else something narrower", admission.MaxResult))
	}
	if err := validate(r.tool.schemas.output, structured); err != nil {
		return p.failure(ctx, r, fmt.Errorf("the result breaks its own schema: %w", err))
	}
	r.record.Reason, r.record.Result, r.result = "ok", summary(structured), structured
	r.record.Result.Cut = isCut
	return toolResult{structured: structured}
}

// call runs the tool in a goroutine of its own, so that a tool which does not heed its context cannot hold the
// answer back. Until it ends it keeps its slot.
func (p *pipeline) call(ctx context.Context, r *request, held *slot, args json.RawMessage) (Result, error) {
	ctx, cancel := context.WithTimeout(WithPrincipal(ctx, r.principal), r.tool.timeout())
	defer cancel()
	if r.tool.Server != "" { // a request to another server ends with its context
		return r.tool.Call(ctx, args)
	}
	type ending struct {
		result Result
		err    error
	}
	ended := make(chan ending, 1)
	held.hold()
	go func() {
		defer held.release()
		defer func() {
			if cause := recover(); cause != nil {
				p.logPanic(ctx, r, cause)
				ended <- ending{err: &Error{Code: CodeInternal, Message: internalMessage(r)}}
			}
		}()
		result, err := r.tool.Call(ctx, args)
		ended <- ending{result, err}
	}()
	select {
	case e := <-ended:
		return e.result, e.err
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

// failure turns a tool's error into the result that the caller sees, and records it.
func (p *pipeline) failure(ctx context.Context, r *request, err error) toolResult {
	var visible *Error
	switch {
	case errors.As(err, &visible):
	case errors.Is(err, context.DeadlineExceeded):
		visible = Errorf(CodeTimeout, "no answer within %s; ask for less, or try again later", r.tool.timeout())
	case errors.Is(err, context.Canceled):
		visible = Errorf(CodeCancelled, "the caller has gone away or cancelled the call")
	default:
		visible = &Error{Code: CodeInternal, Message: internalMessage(r)}
		p.logger.LogAttrs(ctx, slog.LevelError, "tool failed", slog.String("call", r.record.Call),
			slog.String("tool", r.record.Tool), slog.String("error", err.Error()))
	}
	r.record.Reason = string(visible.Code)
	if visible.Code == CodeDenied && r.tool.Server == "" {
		r.record.Decision = audit.Deny // what another server says of its own policy is no decision of ours
	}
	text := cut(scrub.Text(visible.Error()), maxMessage)
	r.result = []byte(text)
	r.record.Result = summary(r.result)
	return toolResult{code: visible.Code, text: text}
}

// refuseErr answers with err if it is a protocol error, else with an internal error whose text stays in the log.
func (p *pipeline) refuseErr(r *request, err error) outcome {
	var fault protocolError
	if !errors.As(err, &fault) {
		p.logger.LogAttrs(context.Background(), slog.LevelError, "request failed",
			slog.String("call", r.record.Call), slog.String("error", err.Error()))
		return p.refuse(r, protocolError{mcp.INTERNAL_ERROR, internalMessage(r)}, http.StatusInternalServerError)
	}
	if r.record.Reason == "" {
		r.record.Reason = fault.message
	}
	fault.message = scrub.Text(fault.message)
	return p.refuse(r, fault, statusOf(fault.code, r.modern()))
}

func (p *pipeline) refuse(r *request, fault protocolError, status int) outcome {
	if r.record.Reason == "" {
		r.record.Reason = string(CodeInternal)
	}
	if r.message.notification() && r.message.Method != "" {
		return outcome{status: http.StatusAccepted} // JSON-RPC 2.0, section 4.1: never an answer
	}
	return outcome{body: fault.response(r.message.ID, r.record.Call), status: status}
}

func (p *pipeline) logPanic(ctx context.Context, r *request, cause any) {
	p.logger.LogAttrs(ctx, slog.LevelError, "panic", slog.String("call", r.record.Call),
		slog.String("panic", fmt.Sprint(cause)), slog.String("stack", string(debug.Stack())))
}

func internalMessage(r *request) string {
	return "internal error; the server's log has the details under call id " + r.record.Call
}

func summary(body []byte) *audit.Result {
	sum := sha256.Sum256(body)
	return &audit.Result{Bytes: len(body), SHA256: hex.EncodeToString(sum[:])}
}

func (g Gate) refusal(principal, tool string) string {
	if g.Refusal == nil {
		return ""
	}
	return g.Refusal(principal, tool)
}

func (g Gate) admit(ctx context.Context, principal, tool string, args json.RawMessage, valid bool) (Admission, error) {
	var admission Admission
	var err error
	if g.Admit != nil {
		admission, err = g.Admit(ctx, principal, tool, args, valid)
	}
	if admission.Leave == nil {
		admission.Leave = func(int) {}
	}
	admission.MaxResult = cmp.Or(admission.MaxResult, MaxResult)
	return admission, err
}

type requestKey struct{}

type principalKey struct{}

// WithPrincipal returns a context that says on whose behalf a call is made.
func WithPrincipal(ctx context.Context, principal string) context.Context {
	return context.WithValue(ctx, principalKey{}, principal)
}

// Principal returns on whose behalf the call of ctx is made.
func Principal(ctx context.Context) string {
	principal, _ := ctx.Value(principalKey{}).(string)
	return principal
}
