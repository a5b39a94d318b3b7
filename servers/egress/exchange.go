package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/egresspolicy"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/relay"
)

// exchange is one connection of a client: one request, one decision, one record.
type exchange struct {
	*server
	client egresspolicy.Client
	conn   relay.Conn
	from   *watched          // reads conn
	head   *io.LimitedReader // bounds the request's header
	reader *bufio.Reader     // reads the client through head and from
	record record
}

func (s *server) newExchange(conn relay.Conn, client egresspolicy.Client) *exchange {
	from := &watched{Reader: conn}
	head := &io.LimitedReader{R: from, N: maxHeader}
	return &exchange{
		server: s,
		client: client,
		conn:   conn,
		from:   from,
		head:   head,
		reader: bufio.NewReader(head),
		record: record{client: client.Name, start: time.Now()},
	}
}

// watched remembers why reading ended: http.ReadRequest calls half a line malformed, and not late.
type watched struct {
	io.Reader
	err error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	w.err = err
	return n, err
}

// serve reads one request, does what the policy lets it, and records what became of it.
func (x *exchange) serve(ctx context.Context) {
	ctx, cancel := context.WithTimeoutCause(ctx, x.limits.lifetime, errLifetime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = x.conn.Close() })
	defer stop()
	defer func() { _ = x.conn.Close() }()
	defer func() {
		if p := recover(); p != nil {
			x.record.decide(deny, "internal error")
			x.logger.LogAttrs(ctx, slog.LevelError, "panic", slog.String("client", x.client.Name), slog.String("panic", fmt.Sprint(p)))
		}
		x.record.write(ctx, x.logger)
	}()
	_ = x.conn.SetReadDeadline(x.record.start.Add(x.limits.headerTimeout))
	request, err := http.ReadRequest(x.reader)
	if err != nil {
		x.refuse(ctx, x.unreadable(err))
		x.linger()
		return
	}
	x.head.N = math.MaxInt64
	x.record.call = callOf(request.Header)
	if err := x.route(ctx, request); err != nil {
		x.refuse(ctx, err)
		x.linger()
	}
}

// linger takes what a refused client still sends, for a moment: where a connection is closed over it, the client may lose the
// answer (RFC 9112, section 9.6).
func (x *exchange) linger() {
	if x.conn.CloseWrite() != nil || x.conn.SetReadDeadline(time.Now().Add(lingerTimeout)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, x.conn, maxLinger)
}

func (x *exchange) route(ctx context.Context, request *http.Request) error {
	if request.ProtoMajor != 1 || request.ProtoMinor != 1 {
		return invalid("%s is not spoken here; use HTTP/1.1", request.Proto)
	}
	if request.Method == http.MethodConnect {
		return x.tunnel(ctx, request)
	}
	return x.forward(ctx, request)
}

// unreadable says why there is no request.
func (x *exchange) unreadable(err error) error {
	switch {
	case x.head.N <= 0:
		return &refusal{http.StatusRequestHeaderFieldsTooLarge, egresspolicy.CodeTooLarge, fmt.Sprintf("the request's header is larger than %d bytes", maxHeader)}
	case egresspolicy.IsTimeout(x.from.err):
		return &refusal{http.StatusRequestTimeout, egresspolicy.CodeTimeout, fmt.Sprintf("no request within %s", x.limits.headerTimeout)}
	case x.from.err != nil:
		return invalid("the connection ended before a request")
	}
	return invalid("not an HTTP request: %s", asciiOf(err.Error()))
}

// callOf returns the audit id that the request bears, if it bears exactly one in the form of one.
func callOf(header http.Header) string {
	if values := header.Values(egresspolicy.CallHeader); len(values) == 1 && egresspolicy.ValidCall(values[0]) {
		return values[0]
	}
	return ""
}

// reach finds the rule for a destination and dials it. how tells whether the rule's TLS mode fits the request.
func (x *exchange) reach(ctx context.Context, host string, port uint16, how func(egresspolicy.TLS) error) (relay.Conn, egresspolicy.Rule, error) {
	x.record.host, x.record.port = host, port
	rule, err := egresspolicy.Find(x.client.Rules, host, port)
	if err != nil {
		return nil, rule, err
	}
	if err := how(rule.TLS); err != nil {
		return nil, rule, err
	}
	dialCtx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, address, err := egresspolicy.Dial(dialCtx, x.resolver, rule)
	if err != nil {
		return nil, rule, err
	}
	x.record.address = address.Addr()
	return conn.(relay.Conn), rule, nil //nolint:forcetypeassert // TCP always is one
}

// refusal is an error that names its own answer.
type refusal struct {
	status  int
	code    egresspolicy.Code
	message string
}

func (r *refusal) Error() string { return r.message }

func invalid(format string, args ...any) error {
	return &refusal{http.StatusBadRequest, egresspolicy.CodeInvalid, fmt.Sprintf(format, args...)}
}

func denied(format string, args ...any) error {
	return &refusal{http.StatusForbidden, egresspolicy.CodeDenied, fmt.Sprintf(format, args...)}
}

// answerTo turns any error of this program into the answer that the client gets.
func answerTo(err error) *refusal {
	var own *refusal
	var policy *egresspolicy.DeniedError
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &policy):
		return &refusal{http.StatusForbidden, egresspolicy.CodeDenied, policy.Reason}
	case egresspolicy.IsTimeout(err):
		return &refusal{http.StatusGatewayTimeout, egresspolicy.CodeTimeout, err.Error()}
	}
	return &refusal{http.StatusBadGateway, egresspolicy.CodeUnavailable, err.Error()}
}

// refuse records the refusal, and then tells the client.
func (x *exchange) refuse(ctx context.Context, err error) {
	r := answerTo(err)
	verdict := deny
	if r.code == egresspolicy.CodeUnavailable || r.code == egresspolicy.CodeTimeout && r.status == http.StatusGatewayTimeout {
		// The policy has nothing against it; the upstream was not there.
		verdict = allow
	}
	x.record.decide(verdict, r.message)
	x.record.write(ctx, x.logger)
	body, err := json.Marshal(egresspolicy.Refusal{Code: r.code, Message: cut(r.message)})
	if err != nil {
		return
	}
	_ = x.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	// A client that has gone is nobody's loss.
	_, _ = io.WriteString(x.conn, "HTTP/1.1 "+strconv.Itoa(r.status)+" "+http.StatusText(r.status)+"\r\n"+
		"Content-Type: application/json\r\n"+
		"Content-Length: "+strconv.Itoa(len(body))+"\r\n"+
		egresspolicy.RefusedHeader+": "+string(r.code)+"\r\n"+
		"Connection: close\r\n\r\n"+string(body))
}

func (x *exchange) refuseBusy(ctx context.Context, most int) {
	x.refuse(ctx, &refusal{http.StatusServiceUnavailable, egresspolicy.CodeBusy, fmt.Sprintf("this client has %d connections open, and may have no more", most)})
	_ = x.conn.Close()
}

// decision is the policy's, not the network's: a dial that fails was allowed.
type decision string

const (
	allow decision = "allow"
	deny  decision = "deny"
)

// record is what is said about a connection, once, on standard error.
type record struct {
	client   string
	start    time.Time
	call     string // the audit id, or ""
	host     string // as parsed; what could not be parsed stands escaped in the reason
	port     uint16
	address  netip.Addr // that was dialled
	decision decision
	reason   string
	up, down int64 // bytes from the client and to it
	written  bool
}

func (r *record) decide(d decision, reason string) { r.decision, r.reason = d, cut(reason) }

// write logs the record. Only the first time counts: a refusal is recorded before it is told.
func (r *record) write(ctx context.Context, logger *slog.Logger) {
	if r.written {
		return
	}
	r.written = true
	level, address := slog.LevelInfo, ""
	if r.decision == deny {
		level = slog.LevelWarn
	}
	if r.address.IsValid() {
		address = r.address.String()
	}
	logger.LogAttrs(ctx, level, "connection",
		slog.String("call", r.call),
		slog.String("client", r.client),
		slog.String("host", r.host),
		slog.Int("port", int(r.port)),
		slog.String("address", address),
		slog.String("decision", string(r.decision)),
		slog.String("reason", r.reason),
		slog.Int64("bytes_up", r.up),
		slog.Int64("bytes_down", r.down),
		slog.Int64("duration_us", time.Since(r.start).Microseconds()),
	)
}

func cut(s string) string {
	if len(s) > maxReason {
		return s[:maxReason] + "…"
	}
	return s
}

// asciiOf makes the words of a library about a client's bytes fit for a log.
func asciiOf(s string) string {
	quoted := strconv.QuoteToASCII(s)
	return quoted[1 : len(quoted)-1]
}

// outcome says why a connection that was let through ended.
func outcome(err error) string {
	var opErr *net.OpError
	switch {
	case err == nil:
		return "closed"
	case errors.Is(err, relay.ErrIdle), errors.Is(err, errStopping), errors.Is(err, errLifetime):
		return err.Error()
	case errors.As(err, &opErr):
		// Without the addresses, which have fields of their own.
		return "closed: " + opErr.Err.Error()
	}
	return "closed: " + asciiOf(err.Error())
}
