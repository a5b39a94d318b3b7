package mcpserver

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
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

// contenderVariable names the contender that a child of the benchmark is, and the socket that it serves on.
const contenderVariable = "BULKHEAD_CONTENDER"

// TestContender is no test: it is the child, which serves until its standard input ends.
func TestContender(t *testing.T) {
	name, path, ok := strings.Cut(os.Getenv(contenderVariable), "=")
	if !ok {
		t.Skip("only as a child of BenchmarkPipeline")
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(contenders(t)[name])
	_ = srv.Listener.Close()
	srv.Listener = l
	srv.Start()
	defer srv.Close()
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// figure is what one contender did with one number of clients.
type figure struct {
	rate   float64       // requests a second
	cpu    time.Duration // of the server, for each request
	memory float64       // the most that was resident, in bytes
}

// BenchmarkPipeline prints, from one run, how the pipeline does beside the bare library and net/http alone: make bench.
// Each contender is a process of its own with the same GOGC, and a new one for every round; rounds are interleaved, and
// the best counts.
func BenchmarkPipeline(t *testing.B) {
	const rounds = 5
	names := []string{"net/http alone", "bare mcp-go", "bulkhead"}
	for _, clients := range []int{1, 16} {
		figures := map[string]figure{}
		for range rounds {
			for _, name := range names {
				f, best := measure(t, name, clients), figures[name]
				if best.rate > 0 {
					f = figure{max(f.rate, best.rate), min(f.cpu, best.cpu), min(f.memory, best.memory)}
				}
				figures[name] = f
			}
		}
		bare := figures["bare mcp-go"]
		for _, name := range names {
			f := figures[name]
			t.Logf("%2d clients: %-14s %6.0f requests/s, %4.2f of bare mcp-go; %4d µs of CPU a request, %4.2f of it; at most %5.1f MB resident, %4.2f of it",
				clients, name, f.rate, f.rate/bare.rate, f.cpu.Microseconds(), float64(f.cpu)/float64(bare.cpu), f.memory/1e6, f.memory/bare.memory)
		}
	}
}

func measure(t *testing.B, name string, clients int) figure {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestContender$")
	child.Env = append(os.Environ(), contenderVariable+"="+name+"="+path)
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	for {
		if conn, err := new(net.Dialer).DialContext(t.Context(), "unix", path); err == nil {
			_ = conn.Close()
			break
		}
		time.Sleep(time.Millisecond)
	}
	requests, rate := drive(t, path, clients)
	memory := peak(t, child.Process.Pid)
	_ = stdin.Close()
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	cpu := child.ProcessState.UserTime() + child.ProcessState.SystemTime()
	return figure{rate, cpu / time.Duration(requests), memory}
}

// peak is the most that was ever resident of a process, in bytes: VmHWM of proc_pid_status(5).
func peak(t *testing.B, pid int) float64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kib float64
	if _, err := fmt.Sscanf(rest, "%f kB", &kib); err != nil {
		t.Fatal(err)
	}
	return kib * 1024
}

// drive sends requests for a while and returns how many were answered, and how many a second.
func drive(t *testing.B, path string, clients int) (requests int64, rate float64) {
	t.Helper()
	const forAbout = time.Second
	body := callBody("echo", `{"text":"hi","tags":["a"]}`)
	var all sync.WaitGroup
	var total atomic.Int64
	start := time.Now()
	for range clients {
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
				total.Add(1)
			}
		})
	}
	all.Wait()
	return total.Load(), float64(total.Load()) / time.Since(start).Seconds()
}
