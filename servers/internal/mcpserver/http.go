package mcpserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/listen"
)

const (
	mcpPath    = "/mcp"
	healthPath = "/healthz"
)

// The bounds of one connection.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 30 * time.Second
	writeTimeout  = maxTimeout + answerTimeout
	answerTimeout = 30 * time.Second // from an answer being ready to its last byte
	minBodySize   = 64 << 10         // bytes that any message counts as, since its connection costs some too
	idleTimeout   = 2 * time.Minute
	maxHeader     = 16 << 10 // bytes
	drainTimeout  = 10 * time.Second
)

// httpEdge is where requests over TCP and Unix sockets come in.
type httpEdge struct {
	pipeline  *pipeline
	transport string   // tcp or unix
	tokens    *tokens  // nil on a Unix socket whose only client is the gateway
	hosts     []string // accepted in Host and Origin
	rejects   *rejects
	bodies    *bodies // being read and worked on
	answers   *bodies // waiting to be read

	connections *connections
}

func newHTTPEdge(line *pipeline, transport string, accepted *tokens, serverNames []string) *httpEdge {
	principalBodies := int64(maxPrincipalBodies)
	if accepted == nil {
		principalBodies = maxBodies // the one principal is the gateway, which speaks for many
	}
	e := &httpEdge{
		pipeline: line, transport: transport, tokens: accepted,
		hosts:   append([]string{"localhost", "127.0.0.1", "::1", line.name}, serverNames...),
		rejects: &rejects{logger: line.logger},
		bodies:  newBodies(maxBodies, principalBodies),
		answers: newBodies(maxAnswers, maxPrincipalAnswers),
	}
	e.connections = newConnections(e.maxConnections())
	return e
}

// serve answers requests from l until ctx ends, then waits for those in flight.
func (e *httpEdge) serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go e.rejects.run(ctx)
	srv := &http.Server{
		ConnState:                    e.connections.track,
		ConnContext:                  e.connections.remember,
		Handler:                      e,
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            headerTimeout,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 writeTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeader,
		ErrorLog:                     slog.NewLogLogger(e.pipeline.logger.Handler(), slog.LevelDebug),
	}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		stopped <- srv.Shutdown(drain)
	}()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

// maxConnections is less behind door, which has to have places left for those that this edge would rather have.
func (e *httpEdge) maxConnections() int {
	if e.transport == listen.Unix {
		return maxUnixConnections
	}
	return maxConnections
}

func (e *httpEdge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	in, known := e.caller(r)
	if known && e.tokens != nil {
		e.connections.serves(r.Context(), in.principal)
	}
	// Whoever has a token is recorded, strangers are counted.
	deny := func(status int, reason string) {
		if known && e.tokens != nil {
			e.refuse(w, r, in, status, reason)
			return
		}
		e.rejects.count(r.Context(), r, status)
		e.connections.refuses(r.Context())
		w.Header().Set("Connection", "close")
		_ = http.NewResponseController(w).SetReadDeadline(time.Now()) // what a stranger announces is not waited for
		reject(w, status, reason)
	}
	if !slices.Contains(e.hosts, hostname(r.Host)) {
		deny(http.StatusForbidden, fmt.Sprintf("host %q is not served here; --server-name adds a name", echo(r.Host)))
		return
	}
	if origin := r.Header.Get("Origin"); origin != "" && !e.ownOrigin(origin) {
		deny(http.StatusForbidden, fmt.Sprintf("origin %q may not call this server", echo(origin)))
		return
	}
	if r.URL.Path == healthPath && r.Method == http.MethodGet {
		e.health(w, r)
		return
	}
	if !known {
		// No WWW-Authenticate: some agents answer it with an OAuth flow that nobody here completes.
		deny(http.StatusUnauthorized, "a valid token is missing: send Authorization: Bearer TOKEN")
		return
	}
	release, ok := e.bodies.take(in.principal, bodySize(r))
	if !ok {
		e.refuse(w, r, in, http.StatusServiceUnavailable, "too many messages are on their way; try again when one has been answered")
		return
	}
	defer release()
	body, status, reason := receive(r)
	if status != 0 {
		e.refuse(w, r, in, status, reason)
		return
	}
	in.body = body
	out := e.pipeline.serve(r.Context(), in)
	if out.body == nil {
		w.WriteHeader(out.status)
		return
	}
	e.answer(w, in.principal, out)
}

// answer writes what may be large, to somebody who may not read it: neither for long nor much at once.
func (e *httpEdge) answer(w http.ResponseWriter, principal string, out outcome) {
	release, ok := e.answers.take(principal, int64(len(out.body)))
	if !ok {
		write(w, http.StatusServiceUnavailable, rejection("too many answers wait to be read; read them and try again"))
		return
	}
	defer release()
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTimeout))
	write(w, out.status, out.body)
}

// receive reads the message of r, or says with which status and why not.
func receive(r *http.Request) (body []byte, status int, reason string) {
	if r.URL.Path != mcpPath {
		return nil, http.StatusNotFound, "the MCP endpoint is " + mcpPath
	}
	if r.Method != http.MethodPost {
		return nil, http.StatusMethodNotAllowed, "this server has no sessions and no streams: POST only"
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return nil, http.StatusUnsupportedMediaType, "Content-Type must be application/json"
	}
	body, err := limit.ReadAll(r.Body, maxBody)
	switch {
	case errors.Is(err, limit.ErrTooLarge):
		return nil, http.StatusRequestEntityTooLarge, fmt.Sprintf("a message has at most %d bytes", maxBody)
	case err != nil:
		return nil, http.StatusBadRequest, "the body could not be read"
	}
	return body, 0, ""
}

// bodySize is how much memory the message of r may take.
func bodySize(r *http.Request) int64 {
	if r.ContentLength < 0 || r.ContentLength > maxBody {
		return maxBody
	}
	return max(r.ContentLength, minBodySize)
}

// refuse answers an authenticated request that is no message, and records it.
func (e *httpEdge) refuse(w http.ResponseWriter, r *http.Request, in inbound, status int, reason string) {
	switch status {
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", http.MethodPost)
	case http.StatusForbidden, http.StatusRequestEntityTooLarge, http.StatusServiceUnavailable:
		e.connections.refuses(r.Context())
		_ = http.NewResponseController(w).SetReadDeadline(time.Now())
		w.Header().Set("Connection", "close") // rather than read on what will be thrown away
	}
	out := e.pipeline.refused(r.Context(), in, outcome{body: rejection(reason), status: status}, fmt.Sprintf("HTTP %d: %s", status, reason))
	write(w, out.status, out.body)
}

// caller says whose request r is, if it is known. On a socket without tokens it is the gateway's.
func (e *httpEdge) caller(r *http.Request) (in inbound, known bool) {
	in = inbound{transport: e.transport, header: r.Header, principal: "gateway", trusted: true}
	if e.tokens == nil {
		return in, true
	}
	in.trusted = false
	in.principal, known = e.authenticate(r)
	return in, known
}

func (e *httpEdge) authenticate(r *http.Request) (principal string, ok bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	holder, ok := e.tokens.holder(r.Context(), strings.TrimSpace(token))
	if !ok || e.pipeline.gate.Principal == nil {
		return holder, ok
	}
	return e.pipeline.gate.Principal(holder)
}

func (e *httpEdge) health(w http.ResponseWriter, r *http.Request) {
	if healthy := e.pipeline.gate.Healthy; healthy != nil {
		if err := healthy(); err != nil {
			e.pipeline.logger.LogAttrs(r.Context(), slog.LevelError, "not healthy", slog.String("error", err.Error()))
			reject(w, http.StatusServiceUnavailable, "not healthy; the server's log says why")
			return
		}
	}
	write(w, http.StatusOK, json.RawMessage(`{"status":"ok"}`))
}

// ownOrigin says whether a browser's page of that origin was served under one of our own names.
func (e *httpEdge) ownOrigin(origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && slices.Contains(e.hosts, hostname(u.Host))
}

func hostname(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	return strings.ToLower(host)
}

// reject answers a request that has not passed the edge. The body is no JSON-RPC: there is no id to answer to.
func reject(w http.ResponseWriter, status int, reason string) {
	write(w, status, rejection(reason))
}

func rejection(reason string) json.RawMessage {
	body, err := json.Marshal(map[string]string{"error": reason})
	if err != nil {
		return json.RawMessage(`{}`)
	}
	return body
}

func write(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body))) // else net/http sends what is more than 2 KB in chunks
	w.WriteHeader(status)
	_, _ = w.Write(body) // the caller has gone away: nobody is left to tell
}
