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
	"strings"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
)

const (
	mcpPath    = "/mcp"
	healthPath = "/healthz"
)

// The bounds of one connection.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 30 * time.Second
	writeTimeout  = maxTimeout + 30*time.Second
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
}

func newHTTPEdge(line *pipeline, transport string, accepted *tokens, serverNames []string) *httpEdge {
	return &httpEdge{
		pipeline: line, transport: transport, tokens: accepted,
		hosts:   append([]string{"localhost", "127.0.0.1", "::1", line.name}, serverNames...),
		rejects: &rejects{logger: line.logger},
	}
}

// serve answers requests from l until ctx ends, then waits for those in flight.
func (e *httpEdge) serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go e.rejects.run(ctx)
	srv := &http.Server{
		ConnState:         (&connections{limit: maxConnections, open: map[net.Conn]bool{}}).track,
		Handler:           e,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(e.pipeline.logger.Handler(), slog.LevelDebug),
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

func (e *httpEdge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	reject := func(status int, reason string) {
		e.rejects.count(r.Context(), r, status)
		reject(w, status, reason)
	}
	if !slices.Contains(e.hosts, hostname(r.Host)) {
		reject(http.StatusForbidden, fmt.Sprintf("host %q is not served here; --server-name adds a name", echo(r.Host)))
		return
	}
	if origin := r.Header.Get("Origin"); origin != "" && !e.ownOrigin(origin) {
		reject(http.StatusForbidden, fmt.Sprintf("origin %q may not call this server", echo(origin)))
		return
	}
	switch {
	case r.URL.Path == healthPath && r.Method == http.MethodGet:
		e.health(w)
		return
	case r.URL.Path != mcpPath:
		reject(http.StatusNotFound, "the MCP endpoint is "+mcpPath)
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		reject(http.StatusMethodNotAllowed, "this server has no sessions and no streams: POST only")
		return
	}
	in := inbound{transport: e.transport, header: r.Header, principal: "gateway", trusted: true}
	if e.tokens != nil {
		principal, ok := e.authenticate(r)
		if !ok {
			// No WWW-Authenticate: some agents answer it with an OAuth flow that nobody here completes.
			reject(http.StatusUnauthorized, "a valid token is missing: send Authorization: Bearer TOKEN")
			return
		}
		in.principal, in.trusted = principal, false
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		reject(http.StatusUnsupportedMediaType, "Content-Type must be application/json")
		return
	}
	var err error
	in.body, err = limit.ReadAll(r.Body, maxBody)
	switch {
	case errors.Is(err, limit.ErrTooLarge):
		w.Header().Set("Connection", "close")
		reject(http.StatusRequestEntityTooLarge, fmt.Sprintf("a message has at most %d bytes", maxBody))
		return
	case err != nil:
		reject(http.StatusBadRequest, "the body could not be read")
		return
	}
	out := e.pipeline.serve(r.Context(), in)
	if out.body == nil {
		w.WriteHeader(out.status)
		return
	}
	write(w, out.status, out.body)
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

func (e *httpEdge) health(w http.ResponseWriter) {
	if healthy := e.pipeline.gate.Healthy; healthy != nil {
		if err := healthy(); err != nil {
			reject(w, http.StatusServiceUnavailable, err.Error())
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
	body, err := json.Marshal(map[string]string{"error": reason})
	if err != nil {
		body = []byte(`{}`)
	}
	write(w, status, body)
}

func write(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the caller has gone away: nobody is left to tell
}
