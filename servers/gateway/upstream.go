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
)

const (
	upstreamURL     = "http://localhost/mcp" // the host is for the server's own check; the socket says where
	maxDefinitions  = 1 << 20                // bytes of a server's answer to tools/list, header included
	maxHeader       = 16 << 10               // bytes of the header of any other answer
	maxLogged       = 512                    // bytes of an upstream's words in our log
	maxConnections  = 64                     // to one server
	verifyTimeout   = 5 * time.Second
	watchInterval   = 5 * time.Second
	maxIdleUpstream = 16 // connections
)

// upstream is a server behind the gateway. No connection to it carries a call before the definitions that it
// gives on that very connection are the locked ones.
type upstream struct {
	name    string
	address listen.Address
	locked  map[string]lockedTool
	logger  *slog.Logger
	client  *mcpclient.Client

	mu     sync.Mutex
	broken error // why the last attempt to connect failed; nil if it did not
}

// errQuarantined is wrapped by errors about definitions that are not the locked ones.
var errQuarantined = errors.New("quarantined")

func newUpstream(name string, address listen.Address, locked map[string]lockedTool, logger *slog.Logger) *upstream {
	u := &upstream{name: name, address: address, locked: locked, logger: logger.With(slog.String("upstream", name))}
	u.client = &mcpclient.Client{URL: upstreamURL, HTTP: &http.Client{Transport: &http.Transport{
		DialContext:            u.dial,
		MaxIdleConnsPerHost:    maxIdleUpstream,
		MaxConnsPerHost:        maxConnections,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true,
	}}}
	return u
}

// tool is the locked tool of that name, forwarded, as agents know it.
func (u *upstream) tool(name string) mcpserver.Tool {
	definition := u.locked[name].Definition
	definition.Name = agentToolName(u.name, name)
	return mcpserver.Tool{
		Definition: definition,
		Server:     u.name,
		Call: func(ctx context.Context, args json.RawMessage) (mcpserver.Result, error) {
			return u.call(ctx, name, args)
		},
	}
}

func (u *upstream) call(ctx context.Context, tool string, args json.RawMessage) (mcpserver.Result, error) {
	result, err := u.client.CallTool(ctx, tool, args, map[string]string{
		mcpclient.MetaPrincipal: mcpserver.Principal(ctx),
		mcpclient.MetaCall:      outbound.Call(ctx),
	})
	switch {
	case errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled):
		return mcpserver.Result{}, fmt.Errorf("forwarding to %s: %w", u.name, err)
	case err != nil:
		u.logger.LogAttrs(ctx, slog.LevelError, "forwarding failed", slog.String("call", outbound.Call(ctx)), slog.String("error", logged(err)))
		return mcpserver.Result{}, mcpserver.Errorf(mcpserver.CodeUnavailable, "the server %s cannot be reached; try again later", u.name)
	case result.IsError:
		return mcpserver.Result{}, forwardedError(result)
	}
	return mcpserver.Result{Structured: result.Structured}, nil
}

// forwardedError is the server's own error, which is written for the caller. A code that no server of ours has is not
// passed on: what stands behind a socket may be somebody else's.
func forwardedError(result mcpclient.CallResult) *mcpserver.Error {
	code := mcpserver.Code(result.Code)
	if !code.Known() {
		return mcpserver.Errorf(mcpserver.CodeUnavailable, "the server answered with an error of its own: %s", result.Text)
	}
	return &mcpserver.Error{Code: code, Message: strings.TrimPrefix(result.Text, result.Code+": ")}
}

// logged is an error's text, cut: an upstream may have written it.
func logged(err error) string {
	text := err.Error()
	return strings.ToValidUTF8(text[:min(len(text), maxLogged)], "")
}

// dial connects and holds what the server says of itself against the lock.
func (u *upstream) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	conn, err := listen.Dial(ctx, u.address)
	if err == nil {
		if err = u.verify(ctx, conn); err != nil {
			_ = conn.Close()
		}
	}
	u.note(ctx, err)
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
	request, err := mcpclient.NewRequest(ctx, upstreamURL, "tools/list", "", nil, nil)
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
	result, err := mcpclient.ReadResponse(response)
	if err != nil {
		return fmt.Errorf("asking for definitions: %w", err)
	}
	definitions, err := mcpclient.DecodeTools(result)
	if err != nil {
		return err
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
	if diff := difference(u.locked, definitions); diff != "" {
		return fmt.Errorf("%w: %s", errQuarantined, diff)
	}
	return nil
}

// note keeps and logs what became of an attempt to connect.
func (u *upstream) note(ctx context.Context, err error) {
	u.mu.Lock()
	before := u.broken
	if err == nil || errors.Is(err, errQuarantined) || !errors.Is(before, errQuarantined) {
		u.broken = err // hanging up is no way out of quarantine
	}
	u.mu.Unlock()
	switch {
	case err == nil && before != nil:
		u.logger.LogAttrs(ctx, slog.LevelInfo, "serves what is locked again")
	case err == nil || before != nil && before.Error() == err.Error():
	case errors.Is(err, errQuarantined):
		u.logger.LogAttrs(ctx, slog.LevelError, "its tools are withdrawn: the definitions are not the locked ones", slog.String("difference", logged(err)))
	default:
		u.logger.LogAttrs(ctx, slog.LevelWarn, "cannot be reached", slog.String("error", logged(err)))
	}
}

func (u *upstream) quarantined() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return errors.Is(u.broken, errQuarantined)
}

// watch connects now and then, so that a changed or dead server is known before somebody calls it.
func (u *upstream) watch(ctx context.Context) {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		definitions, err := u.client.ListTools(ctx)
		if err == nil {
			if err = u.check(definitions); err != nil {
				u.note(ctx, err)
			}
		}
		if err != nil {
			u.client.HTTP.CloseIdleConnections() // the next attempt dials, and so verifies
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
