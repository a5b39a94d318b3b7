package mcpserver

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

// The contenders: what a request costs with nothing but net/http, with the bare library, and with
// everything of ours.
func contenders(t testing.TB) map[string]http.Handler {
	t.Helper()
	const answer = `{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"{\"text\":\"hi\"}"}],"structuredContent":{"text":"hi"}}}`
	plain := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	})
	bare := server.NewMCPServer("bare", "1", server.WithRecovery(), server.WithInputSchemaValidation(),
		server.WithOutputSchemaValidation(), server.WithToolCapabilities(false))
	bare.AddTool(mcp.NewTool("echo", mcp.WithInputSchema[echoIn](), mcp.WithOutputSchema[echoOut]()),
		mcp.NewStructuredToolHandler(func(ctx context.Context, _ mcp.CallToolRequest, in echoIn) (echoOut, error) { return echoTool(ctx, in) }))

	edge, _ := testEdge(t)
	line, err := newPipeline(Program{Name: "test"}, "v0", testTools(), Gate{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	edge.pipeline = line
	return map[string]http.Handler{
		"net/http alone": plain,
		"bare mcp-go":    server.NewStreamableHTTPServer(bare, server.WithStateLess(true), server.WithDisableStreaming(true)),
		"bulkhead":       edge,
	}
}

// BenchmarkPipeline prints, from one run, how the pipeline does beside the bare library and net/http alone: make bench.
func BenchmarkPipeline(t *testing.B) {
	body := callBody("echo", `{"text":"hi","tags":["a"]}`)
	type figure struct {
		rate  float64
		alloc float64
	}
	figures := map[string]map[int]figure{}
	const rounds = 3
	for name, handler := range contenders(t) {
		path := filepath.Join(t.TempDir(), "s")
		l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
		if err != nil {
			t.Fatal(err)
		}
		srv := httptest.NewUnstartedServer(handler)
		_ = srv.Listener.Close()
		srv.Listener = l
		srv.Start()
		figures[name] = map[int]figure{}
		for _, clients := range []int{1, 16} {
			var best figure
			for range rounds {
				f := figure{}
				f.rate, f.alloc = drive(t, path, body, clients)
				if f.rate > best.rate {
					best = f
				}
			}
			figures[name][clients] = best
		}
		srv.Close()
	}
	for _, clients := range []int{1, 16} {
		base := figures["bare mcp-go"][clients]
		for _, name := range []string{"net/http alone", "bare mcp-go", "bulkhead"} {
			f := figures[name][clients]
			t.Logf("%2d clients: %-14s %7.0f requests/s, %5.2f of bare mcp-go; %5.1f KB allocated a request, %5.2f of it",
				clients, name, f.rate, f.rate/base.rate, f.alloc/1024, f.alloc/base.alloc)
		}
	}
}

// drive sends requests for a while and returns how many a second were answered, and the bytes allocated for each, those of
// the client included.
func drive(t testing.TB, path, body string, clients int) (rate, allocated float64) {
	t.Helper()
	const forAbout = 700 * time.Millisecond
	debug.FreeOSMemory()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var all sync.WaitGroup
	counts := make([]int, clients)
	start := time.Now()
	for i := range clients {
		all.Go(func() {
			client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", path)
			}}}
			defer client.CloseIdleConnections()
			for time.Since(start) < forAbout {
				r := modernRequest("tools/call", "echo", body)
				r.RequestURI, r.URL.Host = "", "localhost"
				r.Header.Set("Accept", "application/json, text/event-stream")
				r.Body = io.NopCloser(strings.NewReader(body))
				response, err := client.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				data, err := io.ReadAll(response.Body)
				_ = response.Body.Close()
				if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(data), `"hi"`) {
					t.Errorf("%d %s %v", response.StatusCode, data, err)
					return
				}
				counts[i]++
			}
		})
	}
	all.Wait()
	elapsed := time.Since(start)
	runtime.ReadMemStats(&after)
	total := 0
	for _, n := range counts {
		total += n
	}
	if total == 0 {
		t.Fatal(fmt.Errorf("nothing was answered"))
	}
	return float64(total) / elapsed.Seconds(), float64(after.TotalAlloc-before.TotalAlloc) / float64(total)
}
