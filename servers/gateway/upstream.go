package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/listen"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpclient"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/outbound"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/scrub"
)

const (
	upstreamURL      = "http://localhost/mcp" // the host is for the server's own check; the socket says where
	maxDefinitions   = 1 << 20                // bytes of a server's answer to tools/list, header included
	maxHeader        = 16 << 10               // bytes of the header of any other answer
	maxLogged        = 512                    // bytes of an upstream's words in our log
	maxConnections   = 64                     // to one server
	maxIdleUpstream  = 16                     // connections
	largeAnswer      = 256 << 10              // bytes of an answer beyond which it needs a slot
	maxLargeAnswers  = 2                      // slots of one server
	maxVerifications = 2                      // of one server's connections at once
	maxErrorText     = 16 << 10               // bytes of an error of a server's that are looked at
	verifyTimeout    = 5 * time.Second
	watchInterval    = 5 * time.Second
	minRetry         = 250 * time.Millisecond // after the first failure to reach a server; doubled up to watchInterval
	maxTimeouts      = 5                      // calls in a row that a server may leave unanswered
)

// upstream is a server behind the gateway. No connection to it carries a call before the definitions that it
// gives on that very connection are the locked ones.
type upstream struct {
	name    string
	address listen.Address
	locked  map[string]lockedTool
	logger  *slog.Logger
	client  *mcpclient.Client

	transport *http.Transport // of client
	verifying chan struct{}   // held by who looks at definitions, which take many times their bytes

	lost chan struct{} // tells watch that the server has just been lost

	mu       sync.Mutex
	broken   error // why the server cannot be called; nil if it can. Only watch, which tries again, mends it
	timeouts int   // in a row
}

func newUpstream(name string, address listen.Address, locked map[string]lockedTool, logger *slog.Logger) *upstream {
	u := &upstream{
		name: name, address: address, locked: locked, lost: make(chan struct{}, 1), verifying: make(chan struct{}, maxVerifications),
		logger: logger.With(slog.String("upstream", name)),
	}
	u.transport = &http.Transport{
		DialContext:            u.dial,
		MaxIdleConnsPerHost:    maxIdleUpstream,
		MaxConnsPerHost:        maxConnections,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true,
	}
	u.client = &mcpclient.Client{URL: upstreamURL, HTTP: &http.Client{
		Transport:     largeAnswers{u.transport, make(chan struct{}, maxLargeAnswers)},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	return u
}

// tool is the locked tool of that name, forwarded, as agents know it.
func (u *upstream) tool(name string) mcpserver.Tool {
	tool := u.locked[name].tool
	tool.Call = func(ctx context.Context, args json.RawMessage) (mcpserver.Result, error) {
		return u.call(ctx, name, args)
	}
	return tool
}

func (u *upstream) call(ctx context.Context, tool string, args json.RawMessage) (mcpserver.Result, error) {
	// A server that was lost costs nobody a wait: watch tries again, and not every caller.
	if broken := u.state(); broken != nil {
		return mcpserver.Result{}, u.unavailable()
	}
	result, err := u.client.CallTool(ctx, tool, args, &mcpclient.Caller{Principal: mcpserver.Principal(ctx), Call: outbound.Call(ctx)})
	u.answered(ctx, err)
	status, _ := errors.AsType[*mcpclient.StatusError](err)
	switch {
	case status != nil && status.Status == http.StatusRequestEntityTooLarge: // what is forwarded is longer than what came: it says who calls
		return mcpserver.Result{}, mcpserver.Errorf(mcpserver.CodeTooLarge, "the arguments have more bytes than the server %s takes; give it less", u.name)
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
		return mcpserver.Result{}, fmt.Errorf("forwarding to %s: %w", u.name, err)
	case err != nil:
		u.logger.LogAttrs(ctx, slog.LevelError, "forwarding failed", slog.String("call", outbound.Call(ctx)), slog.String("error", logged(err)))
		return mcpserver.Result{}, u.unavailable()
	case result.IsError:
		return mcpserver.Result{}, forwardedError(result)
	case len(result.Structured) > mcpserver.MaxResult:
		return mcpserver.Result{}, mcpserver.Errorf(mcpserver.CodeTooLarge, "the server %s answered with %d bytes, more than the %d that a result may have", u.name, len(result.Structured), mcpserver.MaxResult)
	}
	return mcpserver.Result{Structured: result.Structured}, nil
}

func (u *upstream) unavailable() error {
	return mcpserver.Errorf(mcpserver.CodeUnavailable, "the server %s cannot be reached; it is tried again every %s, so come back then", u.name, watchInterval)
}

// largeAnswers lets few large answers of one server be read and decoded at once, so that it cannot fill the memory that
// all servers' calls share. A slot is held until the body is closed.
type largeAnswers struct {
	http.RoundTripper
	slots chan struct{}
}

// RoundTrip is the http.RoundTripper.
func (l largeAnswers) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := l.RoundTripper.RoundTrip(r)
	if err == nil {
		response.Body = &answerBody{ReadCloser: response.Body, request: r, slots: l.slots}
	}
	return response, err
}

type answerBody struct {
	io.ReadCloser
	request *http.Request // whose end ends the wait
	slots   chan struct{}
	read    int
	held    bool
}

// Read waits for a slot before it reads more than what any answer may have.
func (b *answerBody) Read(p []byte) (int, error) {
	if b.read >= largeAnswer && !b.held {
		select {
		case b.slots <- struct{}{}:
			b.held = true
		case <-b.request.Context().Done():
			return 0, b.request.Context().Err()
		}
	}
	n, err := b.ReadCloser.Read(p)
	b.read += n
	return n, err
}

// Close gives the slot back.
func (b *answerBody) Close() error {
	if b.held {
		b.held = false
		<-b.slots
	}
	return b.ReadCloser.Close()
}

// answered learns from what became of a call: a server that hangs up, or leaves several calls in a row unanswered, is
// lost. One that answers with an error is there.
func (u *upstream) answered(ctx context.Context, err error) {
	var status *mcpclient.StatusError
	var rpc *mcpclient.RPCError
	switch {
	case err == nil || errors.As(err, &status) || errors.As(err, &rpc):
		u.mu.Lock()
		u.timeouts = 0
		u.mu.Unlock()
	case errors.Is(err, context.Canceled):
	case errors.Is(err, context.DeadlineExceeded):
		u.mu.Lock()
		u.timeouts++
		silent := u.timeouts
		u.mu.Unlock()
		if silent >= maxTimeouts {
			u.lose(ctx, fmt.Errorf("%d calls in a row without an answer", silent))
		}
	default:
		u.lose(ctx, err)
	}
}

// lose withdraws the server until watch has reached it again.
func (u *upstream) lose(ctx context.Context, err error) {
	u.note(ctx, err)
	select {
	case u.lost <- struct{}{}:
	default: // watch knows already
	}
}

// forwardedError is the server's own error, which is written for the caller. A code that no server of ours has is not
// passed on: what stands behind a socket may be somebody else's.
func forwardedError(result mcpclient.CallResult) *mcpserver.Error {
	code := mcpserver.Code(result.Code)
	result.Text = head(result.Text, maxErrorText)
	if !code.Known() {
		return mcpserver.Errorf(mcpserver.CodeUnavailable, "the server answered with an error of its own: %s", result.Text)
	}
	return &mcpserver.Error{Code: code, Message: strings.TrimPrefix(result.Text, result.Code+": ")}
}

// logged is an error's text, safe to show and cut: an upstream may have written it.
func logged(err error) string {
	return head(scrub.Text(head(err.Error(), maxErrorText)), maxLogged)
}

// dial connects and holds what the server says of itself against the lock.
func (u *upstream) dial(caller context.Context, _, _ string) (net.Conn, error) {
	select {
	case u.verifying <- struct{}{}:
		defer func() { <-u.verifying }()
	case <-caller.Done():
		return nil, caller.Err()
	}
	ctx, cancel := context.WithTimeout(caller, verifyTimeout)
	defer cancel()
	conn, err := listen.Dial(ctx, u.address)
	if err == nil {
		if err = u.verify(ctx, conn); err != nil {
			_ = conn.Close()
		}
	}
	if err == nil || caller.Err() == nil { // a caller that went away says nothing about the server
		u.note(ctx, err)
	}
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// verify asks for the definitions on conn, by hand: the connection must not reach a pool before.
func (u *upstream) verify(ctx context.Context, conn net.Conn) error {
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	request, err := mcpclient.ListRequest(ctx, upstreamURL)
	if err != nil {
		return err
	}
	if err := request.Write(conn); err != nil {
		return fmt.Errorf("asking for definitions: %w", err)
	}
	answer := bufio.NewReader(io.LimitReader(conn, maxDefinitions))
	response, err := http.ReadResponse(answer, request)
	if err != nil {
		return fmt.Errorf("asking for definitions: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	definitions, err := mcpclient.ReadTools(response)
	if err != nil {
		return fmt.Errorf("asking for definitions: %w", err)
	}
	if err := u.check(definitions); err != nil {
		return err
	}
	if answer.Buffered() > 0 || response.Close {
		return errors.New("the server said more than it was asked, or closes its connections")
	}
	return conn.SetDeadline(time.Time{})
}

func (u *upstream) check(definitions []json.RawMessage) error {
	if d := compare(u.locked, definitions); !d.empty() {
		return quarantine{d}
	}
	return nil
}

// note keeps and logs what became of an attempt to connect.
func (u *upstream) note(ctx context.Context, err error) {
	u.mu.Lock()
	before := u.broken
	_, wasQuarantined := errors.AsType[quarantine](before)
	quarantined, isQuarantined := errors.AsType[quarantine](err)
	if err == nil || isQuarantined || !wasQuarantined {
		u.broken = err // hanging up is no way out of quarantine
	}
	if err == nil {
		u.timeouts = 0
	}
	u.mu.Unlock()
	switch {
	case err == nil && before != nil:
		u.logger.LogAttrs(ctx, slog.LevelInfo, "serves what is locked again")
	case err == nil || before != nil && before.Error() == err.Error():
	case isQuarantined:
		u.logger.LogAttrs(ctx, slog.LevelError, "its tools are withdrawn: the definitions are not the locked ones",
			slog.Any("difference", quarantined.changes), slog.Int("more", quarantined.more))
	default:
		u.logger.LogAttrs(ctx, slog.LevelWarn, "cannot be reached", slog.String("error", logged(err)))
	}
}

// state returns why the server cannot be called, or nil.
func (u *upstream) state() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.broken
}

// quarantined returns how the server's definitions differ from the locked ones; nil if it is not known that they do.
func (u *upstream) quarantined() *difference {
	q, _ := errors.AsType[quarantine](u.state())
	return q.difference
}

// watch looks at the server now and then, so that a changed or dead one is known before somebody calls it, and is the
// only one to try again when it is lost: at once, and then ever more rarely.
func (u *upstream) watch(ctx context.Context) {
	retry := minRetry
	for {
		wait := watchInterval
		if err := u.look(ctx); err != nil {
			u.transport.CloseIdleConnections() // the next attempt dials, and so verifies
			wait, retry = retry, min(2*retry, watchInterval)
		} else {
			retry = minRetry
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-u.lost:
			u.transport.CloseIdleConnections()
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (u *upstream) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	definitions, err := u.client.ListTools(ctx)
	if err == nil {
		err = u.check(definitions)
	}
	u.note(ctx, err)
	return err
}
