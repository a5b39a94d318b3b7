package mcpserver

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// peer is a server under test: bare mcp-go, as its documentation sets it up, or our pipeline around it.
type peer struct {
	url     string
	token   string
	client  *http.Client
	records func() int // how many requests left a trace
	started <-chan struct{}

	patience time.Duration // how long send waits for an answer
}

// slowTool runs until its context ends or the test does, and says when it began.
func slowTool(t *testing.T, started chan<- struct{}) func(context.Context) {
	t.Helper()
	end := make(chan struct{})
	t.Cleanup(func() { close(end) })
	return func(ctx context.Context) {
		started <- struct{}{}
		select {
		case <-ctx.Done():
		case <-end:
		}
	}
}

func barePeer(t *testing.T) peer {
	t.Helper()
	var calls atomic.Int64
	started := make(chan struct{}, 8)
	slow := slowTool(t, started)
	s := server.NewMCPServer("bare", "1", server.WithRecovery(), server.WithInputSchemaValidation(), server.WithToolCapabilities(false),
		server.WithToolHandlerMiddleware(func(next server.ToolHandlerFunc) server.ToolHandlerFunc {
			return func(ctx context.Context, r mcp.CallToolRequest) (*mcp.CallToolResult, error) {
				calls.Add(1)
				return next(ctx, r)
			}
		}))
	s.AddTool(mcp.NewTool("echo", mcp.WithString("text")), func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return mcp.NewToolResultText("hi"), nil
	})
	s.AddTool(mcp.NewTool("fault"), func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		return nil, errors.New("the password is hunter2")
	})
	s.AddTool(mcp.NewTool("heeds"), func(ctx context.Context, _ mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		slow(ctx)
		return mcp.NewToolResultText("ended"), ctx.Err()
	})
	s.AddTool(mcp.NewTool("stuck"), func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		slow(context.Background())
		return mcp.NewToolResultText("ended"), nil
	})
	handler := server.NewStreamableHTTPServer(s, server.WithStateLess(true), server.WithDisableStreaming(true))
	p := serveOn(t, handler)
	p.records, p.started = func() int { return int(calls.Load()) }, started
	return p
}

func ownPeer(t *testing.T) peer {
	t.Helper()
	edge, _ := testEdge(t)
	line, recorder, started, _ := blockingPipeline(t)
	edge.pipeline = line
	p := serveOn(t, edge)
	p.token, p.started = testToken, started
	p.records = func() int {
		recorder.mu.Lock()
		defer recorder.mu.Unlock()
		return len(recorder.records)
	}
	return p
}

// serveOn serves on a Unix socket, where mcp-go does not look at Host.
func serveOn(t *testing.T, handler http.Handler) peer {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(handler)
	_ = srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.CloseClientConnections)
	return peer{url: "http://localhost/mcp", client: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}}
}

// send posts a legacy request and returns what came back, or status 0 if nothing does for a while.
func (p peer) send(t *testing.T, method, body string, change func(*http.Request)) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), cmp.Or(p.patience, time.Minute))
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, p.url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json, text/event-stream")
	if p.token != "" {
		r.Header.Set("Authorization", "Bearer "+p.token)
	}
	if change != nil {
		change(r)
	}
	response, err := p.client.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(data)
}

func legacyCall(tool, args string) string {
	return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"` + tool + `","arguments":` + args + `}}`
}

// The holes of mcp-go that this package closes. Each row holds here and does not hold for the bare library: the day
// it does, the row and what it tests can go.
func TestHolesOverHTTP(t *testing.T) {
	const list = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	for name, holds := range map[string]func(t *testing.T, p peer) bool{
		"a foreign origin is refused": func(t *testing.T, p peer) bool {
			status, _ := p.send(t, "POST", list, func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") })
			return status == http.StatusForbidden
		},
		"a foreign host is refused": func(t *testing.T, p peer) bool {
			status, _ := p.send(t, "POST", list, func(r *http.Request) { r.Host = "evil.example" })
			return status == http.StatusForbidden
		},
		"a body is bounded": func(t *testing.T, p peer) bool {
			status, _ := p.send(t, "POST", strings.TrimSuffix(list, "}")+`,"params":{"cursor":"`+strings.Repeat("x", maxBody)+`"}}`, nil)
			return status == http.StatusRequestEntityTooLarge
		},
		"a tool has a deadline": func(t *testing.T, p peer) bool {
			p.patience = 5 * time.Second
			status, _ := p.send(t, "POST", legacyCall("stuck", "{}"), nil)
			return status == http.StatusOK
		},
		"a client cannot cancel another's call": func(t *testing.T, p peer) bool {
			answered := make(chan string, 1)
			go func() {
				_, answer := p.send(t, "POST", legacyCall("heeds", "{}"), nil)
				answered <- answer
			}()
			<-p.started
			p.send(t, "POST", `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`, nil)
			select {
			case <-answered:
				return false
			case <-time.After(300 * time.Millisecond): // longer than the bare library takes to cancel
				return true
			}
		},
		"names are matched to the letter": func(t *testing.T, p peer) bool {
			_, answer := p.send(t, "POST", `{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/list"}`, nil)
			return !strings.Contains(answer, `"tools"`)
		},
		"an unknown tool leaves a record": func(t *testing.T, p peer) bool {
			before := p.records()
			p.send(t, "POST", legacyCall("nope", "{}"), nil)
			return p.records() == before+1
		},
		"refused arguments leave a record": func(t *testing.T, p peer) bool {
			before := p.records()
			p.send(t, "POST", legacyCall("echo", `{"text":1}`), nil)
			return p.records() == before+1
		},
		"a null id leaves a record": func(t *testing.T, p peer) bool {
			before := p.records()
			p.send(t, "POST", `{"jsonrpc":"2.0","id":null,"method":"tools/list"}`, nil)
			return p.records() == before+1
		},
		"a fault's text stays inside": func(t *testing.T, p peer) bool {
			_, answer := p.send(t, "POST", legacyCall("fault", "{}"), nil)
			return !strings.Contains(answer, "hunter2")
		},
		"a token is asked for": func(t *testing.T, p peer) bool {
			status, _ := p.send(t, "POST", list, func(r *http.Request) { r.Header.Del("Authorization") })
			return status == http.StatusUnauthorized
		},
		"DELETE is not allowed": func(t *testing.T, p peer) bool {
			status, _ := p.send(t, "DELETE", "", nil)
			return status == http.StatusMethodNotAllowed
		},
		"HEAD is not allowed": func(t *testing.T, p peer) bool {
			status, _ := p.send(t, "HEAD", "", nil)
			return status == http.StatusMethodNotAllowed
		},
	} {
		t.Run(name, func(t *testing.T) {
			if holds(t, barePeer(t)) {
				t.Error("bare mcp-go does this by itself")
			}
			if !holds(t, ownPeer(t)) {
				t.Error("does not hold")
			}
		})
	}
}

func TestHolesOnStdio(t *testing.T) {
	s := server.NewMCPServer("bare", "1", server.WithToolCapabilities(false))
	bare := func(t *testing.T, in string) string {
		t.Helper()
		var out bytes.Buffer
		if err := server.NewStdioServer(s).Listen(t.Context(), strings.NewReader(in), &out); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		return out.String()
	}
	own := func(t *testing.T, in string) string {
		t.Helper()
		line, _ := testPipeline(t)
		var out bytes.Buffer
		if err := (&stdioEdge{pipeline: line, out: &out}).serve(t.Context(), strings.NewReader(in)); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	for name, tc := range map[string]struct {
		in    string
		holds func(answer string) bool
	}{
		"a line is bounded": {
			`{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"` + strings.Repeat("x", maxBody) + `"}}` + "\n",
			func(answer string) bool { return strings.Contains(answer, `"error"`) },
		},
		"the last line needs no newline": {
			`{"jsonrpc":"2.0","id":1,"method":"ping"}`,
			func(answer string) bool { return strings.Contains(answer, `"result"`) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.holds(bare(t, tc.in)) {
				t.Error("bare mcp-go does this by itself")
			}
			if !tc.holds(own(t, tc.in)) {
				t.Error("does not hold")
			}
		})
	}
}

func TestHolesAtStartUp(t *testing.T) {
	t.Run("a schema that does not compile stops start-up", func(t *testing.T) {
		s := server.NewMCPServer("bare", "1", server.WithInputSchemaValidation())
		s.AddTool(mcp.NewToolWithRawSchema("t", "", []byte(`{"type":12}`)), func(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return mcp.NewToolResultText("ran"), nil
		})
		reply := s.HandleMessage(t.Context(), []byte(legacyCall("t", `{"anything":1}`)))
		if r, ok := reply.(mcp.JSONRPCResponse); !ok || r.Result.(*mcp.CallToolResult).IsError {
			t.Errorf("bare mcp-go does this by itself: %+v", reply)
		}
		tool := testTools()[0]
		tool.Definition.InputSchema = []byte(`{"type":12}`)
		if _, err := newPipeline(Program{Name: "test"}, "v0", []Tool{tool}, Gate{}, slog.New(slog.DiscardHandler)); err == nil {
			t.Error("does not hold")
		}
	})
	t.Run("a tool is read-only", func(t *testing.T) {
		if bare := mcp.NewTool("t").Annotations; bare.DestructiveHint == nil || !*bare.DestructiveHint {
			t.Error("bare mcp-go does this by itself")
		}
		if own := testTools()[0].Definition.mcpTool().Annotations; *own.DestructiveHint || !*own.ReadOnlyHint || *own.OpenWorldHint {
			t.Errorf("does not hold: %+v", own)
		}
	})
}

// An open subscription does not hold up shutdown, for there are none.
func TestHoleAtShutdown(t *testing.T) {
	const subscribe = `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{` + modernMeta + `,"notifications":{"toolsListChanged":true}}}`
	stalls := func(t *testing.T, handler http.Handler) bool {
		t.Helper()
		srv := httptest.NewServer(handler)
		defer srv.CloseClientConnections()
		r := modernRequest("subscriptions/listen", "", subscribe)
		r.Header.Set("Accept", "application/json, text/event-stream")
		target, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/mcp", r.Body)
		if err != nil {
			t.Fatal(err)
		}
		target.Header = r.Header
		response, err := http.DefaultClient.Do(target)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		if response.StatusCode != http.StatusOK {
			_, _ = io.Copy(io.Discard, response.Body)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		return srv.Config.Shutdown(ctx) != nil
	}
	s := server.NewMCPServer("bare", "1", server.WithToolCapabilities(true))
	if !stalls(t, server.NewStreamableHTTPServer(s, server.WithStateLess(true))) {
		t.Error("bare mcp-go does this by itself")
	}
	edge, _ := testEdge(t)
	if stalls(t, edge) {
		t.Error("does not hold")
	}
}
