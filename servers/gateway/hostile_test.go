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
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/listen"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpclient"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// hostile is a server that gives the locked definitions, none, and answers each call with the bytes of answer. It counts
// who asked for definitions.
func hostile(t *testing.T, answer string) (u *upstream, asked *atomic.Int32) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	asked = new(atomic.Int32)
	serve := func(conn net.Conn) {
		in := bufio.NewReader(conn)
		for {
			request, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, request.Body)
			if request.Header.Get("Mcp-Method") != "tools/list" {
				_, _ = io.WriteString(conn, answer)
				continue
			}
			asked.Add(1)
			const list = `{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}`
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(list), list)
		}
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return newUpstream("alpha", listen.Address{Network: listen.Unix, Path: path}, nil, slog.New(slog.DiscardHandler)), asked
}

// Whatever a server sends or does not send, a call of it ends with its time: until then it has a place among all calls.
func TestAnswerThatNeverEnds(t *testing.T) {
	for name, answer := range map[string]string{
		"nothing":           "",
		"half a header":     "HTTP/1.1 200 OK\r\nX: ",
		"half a body":       "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
		"half a chunk":      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1",
		"to be continued":   "HTTP/1.1 100 Continue\r\n\r\n",
		"another protocol":  "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
		"no other protocol": "HTTP/1.1 101 Switching Protocols\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			u, _ := hostile(t, answer)
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			ended := make(chan error)
			go func() {
				_, err := u.call(ctx, "ask", json.RawMessage(`{}`))
				ended <- err
			}()
			select {
			case err := <-ended:
				if visible, ok := errors.AsType[*mcpserver.Error](err); !errors.Is(err, context.DeadlineExceeded) && (!ok || visible.Code != mcpserver.CodeUnavailable) {
					t.Error(err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("the call goes on without its context")
			}
		})
	}
}

// Of one server, so many connections are verified at once, and no more; each takes many times the bytes of its definitions.
func TestVerificationsAtOnce(t *testing.T) {
	u, asked := hostile(t, "")
	for range maxVerifications {
		u.verifying <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := u.dial(ctx, "", ""); !errors.Is(err, context.DeadlineExceeded) || asked.Load() > 0 {
		t.Errorf("one more was verified: %v", err)
	}
	<-u.verifying
	for range 2 { // a place is given back
		conn, err := u.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	if asked.Load() != 2 || u.state() != nil {
		t.Errorf("%d were verified, and %v", asked.Load(), u.state())
	}
}

// What just fits into a message to the gateway may not fit into the gateway's own. That is no fault of the server's.
func TestForwardedTooLarge(t *testing.T) {
	u, _ := hostile(t, "HTTP/1.1 413 Request Entity Too Large\r\nContent-Length: 18\r\n\r\n"+`{"error":"longer"}`)
	_, err := u.call(t.Context(), "ask", json.RawMessage(`{}`))
	if visible, ok := errors.AsType[*mcpserver.Error](err); !ok || visible.Code != mcpserver.CodeTooLarge || u.state() != nil {
		t.Errorf("%v, and the server: %v", err, u.state())
	}
}

// What a server says reaches the log short and safe to show.
func TestLoggedWords(t *testing.T) {
	secret := "AKIA" + "2345672345ABCDEF"
	got := logged(&mcpclient.RPCError{Message: secret + " \u202e" + strings.Repeat("x", 1<<20)})
	if strings.Contains(got, secret) || strings.Contains(got, "\u202e") || len(got) > 2*maxLogged {
		t.Errorf("%d bytes: %.100q", len(got), got)
	}
}
