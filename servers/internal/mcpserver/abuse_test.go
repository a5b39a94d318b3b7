package mcpserver

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/audit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/listen"
)

// listening serves the edge on a socket as serve does, until the test ends.
func listening(t *testing.T) (address string, line *pipeline) {
	t.Helper()
	edge, _ := testEdge(t)
	// A recorder that keeps nothing: a test of a million calls must not measure its own memory.
	edge.pipeline.recorder = discard{}
	path := filepath.Join(t.TempDir(), "s")
	parsed, err := listen.Parse("unix://" + path)
	if err != nil {
		t.Fatal(err)
	}
	l, err := listen.Listen(t.Context(), parsed)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- edge.serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Logf("shutdown: %v", err) // connections of abusers may still be open
		}
	})
	return path, edge.pipeline
}

func honestClient(path string) *http.Client {
	return &http.Client{Transport: withToken{&http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}}}
}

func callOnce(ctx context.Context, client *http.Client) error {
	body := callBody("echo", `{"text":"hi"}`)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://localhost/mcp", strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header = modernRequest("tools/call", "echo", "").Header
	response, err := client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || !strings.Contains(string(answer), `"text":"hi"`) {
		return fmt.Errorf("%s: %s", response.Status, answer)
	}
	return nil
}

// Clients that send a byte a second, never read, open connections until they are refused, or send 200 MB do not
// keep the others from being served.
func TestAbusers(t *testing.T) {
	path, _ := listening(t)
	ctx, stop := context.WithCancel(t.Context())
	var abusers sync.WaitGroup
	dial := func() net.Conn {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
		if err != nil {
			return nil
		}
		return conn
	}
	began := make(chan struct{}, 4)
	head := "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + testToken + "\r\nContent-Type: application/json\r\n"
	abuse := func(f func(conn net.Conn)) {
		abusers.Go(func() {
			conn := dial()
			if conn == nil {
				t.Error("an abuser could not connect at all")
				return
			}
			defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
			f(conn)
			_ = conn.Close()
		})
	}
	abuse(func(conn net.Conn) { // one byte a second
		for i := range len(head) {
			if _, err := io.WriteString(conn, head[i:i+1]); err != nil {
				return
			}
			if i == 0 {
				began <- struct{}{}
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
			}
		}
	})
	abuse(func(conn net.Conn) { // asks and asks, and never reads
		body := `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
		request := fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(body), body)
		began <- struct{}{}
		for {
			if _, err := io.WriteString(conn, request); err != nil {
				return
			}
		}
	})
	abuse(func(conn net.Conn) { // 200 MB
		began <- struct{}{}
		_, _ = io.WriteString(conn, head+"Content-Length: 209715200\r\n\r\n")
		megabyte := make([]byte, 1<<20)
		for range 200 {
			if _, err := conn.Write(megabyte); err != nil {
				return
			}
		}
	})
	abusers.Go(func() { // connections, until refused
		var open []net.Conn
		for range 2 * maxConnections {
			conn := dial()
			if conn == nil {
				break
			}
			open = append(open, conn)
		}
		began <- struct{}{}
		<-ctx.Done()
		for _, conn := range open {
			_ = conn.Close()
		}
	})
	for range cap(began) {
		<-began
	}
	client := honestClient(path)
	for i := range 200 {
		if i%10 == 0 {
			client.CloseIdleConnections() // a client that comes anew is served as well
		}
		if err := callOnce(t.Context(), client); err != nil {
			t.Errorf("call %d: %v", i, err)
			break
		}
	}
	client.CloseIdleConnections()
	stop()
	abusers.Wait()
}

type discard struct{}

var soakCalls = flag.Int("soak-calls", 5000, "calls that TestSoak makes")

// Many calls leave goroutines, descriptors and memory where they were.
func TestSoak(t *testing.T) {
	path, line := listening(t)
	const clients = 8
	round := func(calls int) {
		var all sync.WaitGroup
		for range clients {
			all.Go(func() {
				client := honestClient(path)
				defer client.CloseIdleConnections()
				for range calls / clients {
					if err := callOnce(t.Context(), client); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		awaitSlots(t, line, 0)
	}
	round(2000) // what is allocated once
	goroutines, descriptors, resident := settled(t)
	round(*soakCalls)
	for range 50 { // connections close in their own time
		if g, d, _ := settled(t); g <= goroutines && d <= descriptors {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	g, d, r := settled(t)
	t.Logf("%d calls: goroutines %d to %d, descriptors %d to %d, resident %.1f to %.1f MB", *soakCalls, goroutines, g, descriptors, d, resident, r)
	const slackMB = 24 // the garbage collector's, not the calls'
	if g > goroutines || d > descriptors || r > resident+slackMB {
		t.Error("something is left of the calls")
	}
}

func settled(t *testing.T) (goroutines, descriptors int, residentMB float64) {
	t.Helper()
	runtime.GC()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, pages int
	if _, err := fmt.Sscan(string(data), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return runtime.NumGoroutine(), len(entries), float64(pages*os.Getpagesize()) / 1e6
}

func (discard) Record(context.Context, audit.Record, []byte) error { return nil }
