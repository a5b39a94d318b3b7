package mcpserver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
)

// blockingPipeline has a tool that runs until the test lets it end, heeding its context or not.
func blockingPipeline(t *testing.T) (line *pipeline, recorder *memory, started chan struct{}, end func()) {
	t.Helper()
	line, recorder = testPipeline(t)
	started, stop := make(chan struct{}, 2*maxCalls), make(chan struct{})
	end = sync.OnceFunc(func() { close(stop) })
	t.Cleanup(end)
	for _, tool := range []Tool{
		Typed(Definition{Name: "heeds"}, func(ctx context.Context, _ nothing) (nothing, error) {
			started <- struct{}{}
			select {
			case <-ctx.Done():
				return nothing{}, ctx.Err()
			case <-stop:
				return nothing{}, nil
			}
		}),
		Typed(Definition{Name: "stuck"}, func(context.Context, nothing) (nothing, error) {
			started <- struct{}{}
			<-stop
			return nothing{}, nil
		}),
	} {
		tool.Timeout = time.Minute
		if tool.Definition.Name == "stuck" {
			tool.Timeout = time.Millisecond
		}
		if err := tool.Check(); err != nil {
			t.Fatal(err)
		}
		line.tools[tool.Definition.Name] = &tool
		line.protocol.AddTool(tool.Definition.mcpTool(), outsidePipeline)
	}
	return line, recorder, started, end
}

func codeOf(t *testing.T, out outcome) string {
	t.Helper()
	code, _ := decodeReply(t, out.body).Result.Meta["dev.bulkhead/code"].(string)
	return code
}

// A caller that takes all it may is told so at once, and the next caller is served.
func TestBusy(t *testing.T) {
	line, _, started, end := blockingPipeline(t)
	call := func(principal string) outcome {
		return line.serve(t.Context(), inbound{principal: principal, body: []byte(callBody("heeds", "{}"))})
	}
	var calls sync.WaitGroup
	for range MaxPrincipalCalls {
		calls.Go(func() {
			if code := codeOf(t, call("greedy")); code != "" {
				t.Errorf("a call that was let in ended with %q", code)
			}
		})
	}
	for range MaxPrincipalCalls {
		<-started
	}
	if code := codeOf(t, call("greedy")); code != "busy" {
		t.Errorf("one too many: %q", code)
	}
	calls.Go(func() {
		if code := codeOf(t, call("modest")); code != "" {
			t.Errorf("another caller: %q", code)
		}
	})
	<-started
	end()
	calls.Wait()
	awaitSlots(t, line, 0)
}

// A tool that heeds nothing does not hold the answer back; it keeps its slot until it ends.
func TestStuckTool(t *testing.T) {
	line, recorder, started, end := blockingPipeline(t)
	out := line.serve(t.Context(), inbound{principal: "p", body: []byte(callBody("stuck", "{}"))})
	if code := codeOf(t, out); code != "timeout" || recorder.last(t).Reason != "timeout" {
		t.Errorf("%s", out.body)
	}
	<-started
	awaitSlots(t, line, 1)
	end()
	awaitSlots(t, line, 0)
}

// awaitSlots waits until just n calls hold a slot: one gives it back after its answer.
func awaitSlots(t *testing.T, line *pipeline, n int) {
	t.Helper()
	var running, principals int
	for range 1000 {
		line.slots.mu.Lock()
		running, principals = line.slots.running, len(line.slots.by)
		line.slots.mu.Unlock()
		if running == n && principals <= n {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("%d slots of %d principals are taken, want %d", running, principals, n)
}

// A client that goes away ends its call and no other.
func TestClientGoesAway(t *testing.T) {
	line, recorder, started, end := blockingPipeline(t)
	ctx, leave := context.WithCancel(t.Context())
	gone, stays := make(chan outcome, 1), make(chan outcome, 1)
	body := []byte(callBody("heeds", "{}")) // the same id on both
	go func() { gone <- line.serve(ctx, inbound{principal: "a", body: body}) }()
	<-started
	go func() { stays <- line.serve(t.Context(), inbound{principal: "b", body: body}) }()
	<-started
	leave()
	<-gone
	if rec := recorder.last(t); rec.Principal != "a" || rec.Reason != "cancelled" {
		t.Errorf("record %+v", rec)
	}
	// Over HTTP a notification cancels nothing, whoever sends it.
	line.serve(t.Context(), inbound{principal: "a", body: []byte(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}`)})
	end()
	if code := codeOf(t, <-stays); code != "" {
		t.Errorf("the other call ended with %q", code)
	}
}

// On stdio a client cancels its own request by id, and gets no answer to it.
func TestCancelOnStdio(t *testing.T) {
	line, recorder, started, _ := blockingPipeline(t)
	in, toServer := io.Pipe()
	var out bytes.Buffer
	done := make(chan error, 1)
	go func() { done <- (&stdioEdge{pipeline: line, out: &out}).serve(t.Context(), in) }()
	send := func(text string) {
		if _, err := io.WriteString(toServer, text+"\n"); err != nil {
			t.Error(err)
		}
	}
	send(callBody("heeds", "{}"))
	<-started
	send(callBody("heeds", "{}")) // the same id, while the first runs
	send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"7"}}`)
	send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":8}}`)
	send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}`)
	_ = toServer.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if text := out.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "another request with this id") {
		t.Errorf("answers %q", text)
	}
	cancelled := 0
	for _, rec := range recorder.records {
		if rec.Reason == "cancelled" {
			cancelled++
		}
	}
	if cancelled != 1 {
		t.Errorf("%d records of a cancelled call", cancelled)
	}
}

func TestFit(t *testing.T) {
	record := func(n int) string { return fmt.Sprintf(`{"n":%d}`, n) }
	var all []string
	for n := range 100 {
		all = append(all, record(n))
	}
	type shape struct {
		Few       []int
		Rows      []struct{ N int }
		Truncated bool
	}
	for _, end := range []string{`,"truncated":false}`, `}`} {
		whole := `{"few":[1,2],"rows":[` + strings.Join(all, ",") + `]` + end
		for maxBytes := 40; maxBytes <= len(whole)+1; maxBytes++ {
			out, isCut := fit(json.RawMessage(whole), maxBytes)
			if len(out) > maxBytes || isCut != (maxBytes < len(whole)) {
				t.Fatalf("at %d: %d bytes, cut %t", maxBytes, len(out), isCut)
			}
			if out == nil {
				t.Fatalf("at %d: nothing left", maxBytes)
			}
			var got shape
			if err := json.Unmarshal(out, &got); err != nil || got.Truncated != isCut || len(got.Few) != 2 {
				t.Fatalf("at %d: %s, %v", maxBytes, out, err)
			}
			for i, r := range got.Rows {
				if r.N != i {
					t.Fatalf("at %d: row %d is %d", maxBytes, i, r.N)
				}
			}
		}
	}
	for _, uncuttable := range []string{`{"text":"` + strings.Repeat("x", 50) + `","truncated":false}`, `[1,2,3,4,5,6,7,8,9,10,11]`} {
		if out, isCut := fit(json.RawMessage(uncuttable), 20); out != nil || !isCut {
			t.Errorf("%s was cut to %s", uncuttable, out)
		}
	}
	for members, want := range map[string]bool{
		`"rows":{},"truncated":{}`: true, `"rows":{}`: false, `"rows":{},"truncated":{},"next_cursor":{}`: false,
	} {
		if got, err := canCut(json.RawMessage(`{"properties":{` + members + `}}`)); got != want || err != nil {
			t.Errorf("%s: may be cut: %t, %v", members, got, err)
		}
	}
}

// Whoever opens connections and says nothing shuts out itself, and nobody else.
func TestConnectionFlood(t *testing.T) {
	const limit = 4
	edge, _ := testEdge(t)
	srv := httptest.NewUnstartedServer(edge)
	c := newConnections(limit)
	srv.Config.ConnState = c.track
	srv.Start()
	defer srv.Close()
	address := srv.Listener.Addr().String()

	honest := &http.Client{Transport: &http.Transport{}}
	ask := func() error {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/healthz", nil)
		if err != nil {
			return err
		}
		response, err := honest.Do(request)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, response.Body)
		return response.Body.Close()
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	var silent []net.Conn
	for range 5 * limit {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, conn)
		honest.CloseIdleConnections()
		if err := ask(); err != nil {
			t.Fatalf("after %d silent connections: %v", len(silent), err)
		}
	}
	closed := 0
	for _, conn := range silent {
		_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := conn.Read(make([]byte, 1)); errors.Is(err, io.EOF) || err != nil && strings.Contains(err.Error(), "reset") {
			closed++
		}
		_ = conn.Close()
	}
	if closed < len(silent)-limit {
		t.Errorf("%d of %d silent connections were closed", closed, len(silent))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) > limit {
		t.Errorf("%d connections are open", len(c.open))
	}
}

// Whoever begins requests and does not end them, or is refused and does not hang up, shuts out nobody else either.
func TestHeldConnections(t *testing.T) {
	const limit = 8
	for name, tc := range map[string]struct {
		token  string
		length int // of the body, of which nothing is sent
		status int // of the answer; 0 if there is none before the body
	}{
		"of a principal in a request": {testToken, 1, 0},
		"of a principal, refused":     {testToken, maxPrincipalBodies, http.StatusServiceUnavailable},
		"of strangers":                {"nobody", maxPrincipalBodies, http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			edge, _ := testEdge(t)
			c := edge.connections
			c.limit = limit
			srv := httptest.NewUnstartedServer(edge)
			srv.Config.ConnState, srv.Config.ConnContext = c.track, c.remember
			srv.Start()
			defer srv.Close()
			if tc.status == http.StatusServiceUnavailable {
				release, ok := edge.bodies.take("reader", maxPrincipalBodies)
				if !ok {
					t.Fatal("no room for a body")
				}
				defer release()
			}
			address := srv.Listener.Addr().String()
			serves := func(conn net.Conn) bool {
				c.mu.Lock()
				defer c.mu.Unlock()
				for other, principal := range c.open {
					if other.RemoteAddr().String() == conn.LocalAddr().String() {
						return principal == "reader"
					}
				}
				return true // closed for another
			}
			for n := range 3 * limit {
				conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				_, _ = fmt.Fprintf(conn, "POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", tc.token, tc.length)
				if tc.status == 0 {
					for !serves(conn) {
						time.Sleep(time.Millisecond)
					}
				} else if response, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || response.StatusCode != tc.status {
					t.Fatalf("%+v, %v", response, err)
				}
				request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/healthz", nil)
				if err != nil {
					t.Fatal(err)
				}
				response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
				if err != nil {
					t.Fatalf("after %d connections: %v", n+1, err)
				}
				_ = response.Body.Close()
			}
		})
	}
}

// Strangers are counted, by source, status and second, and cannot fill a disk.
func TestRejectsAreCounted(t *testing.T) {
	var out bytes.Buffer
	r := rejects{logger: slog.New(slog.NewJSONHandler(&out, nil))}
	for i := range 10 * maxSources {
		request := httptest.NewRequest(http.MethodPost, "/", http.NoBody)
		request.RemoteAddr = fmt.Sprintf("10.0.%d.%d:1", i/256, i%256)
		r.count(t.Context(), request, http.StatusUnauthorized)
		request.RemoteAddr = "192.0.2.1:2"
		r.count(t.Context(), request, http.StatusForbidden)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	r.run(ctx)
	total := 0
	lines := 0
	for line := range strings.Lines(out.String()) {
		var entry struct{ Count int }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatal(err)
		}
		total += entry.Count
		lines++
	}
	if total != 20*maxSources || lines > 4*(maxSources+2) {
		t.Errorf("%d rejects counted in %d lines", total, lines)
	}
}

// What encoding/json would write as six bytes is one: an answer is as large as its result.
func TestAnswersAreNotEscapedForHTML(t *testing.T) {
	body, err := encodeAnswer(mcp.NewJSONRPCResultResponse(mcp.NewRequestId(1), map[string]any{"text": strings.Repeat("<&>", 1000) + "\n"}))
	if err != nil || len(body) > 3100 {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	var decoded struct{ Result struct{ Text string } }
	if err := json.Unmarshal(body, &decoded); err != nil || decoded.Result.Text != strings.Repeat("<&>", 1000)+"\n" {
		t.Errorf("%.80s, %v", body, err)
	}
}

// A number that is within the bounds of its exponent, and of no float64.
func TestNumberBounds(t *testing.T) {
	for text, plain := range map[string]bool{"360.300006e306": false, "1.7e308": true, "1e309": false, "-360.3e306": false, "1e-308": true, "9007199254740993": true} {
		if plainNumber(text) != plain {
			t.Errorf("%s is plain: %t", text, !plain)
		}
	}
}

// Arguments that are wrong in each of their values take, for as many calls as one caller may run at once, no more memory than
// a process has.
func TestViolationsDoNotGrow(t *testing.T) {
	const most = 128 << 20
	type in struct {
		Names []string `json:"names" maxItems:"100" maxLength:"100" pattern:"^[a-z]+$"`
	}
	tool := Typed(Definition{Name: "x"}, func(context.Context, in) (struct{}, error) { return struct{}{}, nil })
	if err := tool.Check(); err != nil {
		t.Fatal(err)
	}
	for _, item := range []string{`1`, `"A"`, `{}`} {
		args := json.RawMessage(`{"names":[` + strings.Repeat(item+",", maxValues) + item + `]}`)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := validate(tool.schemas.input, args)
		runtime.ReadMemStats(&after)
		if err == nil || strings.Count(err.Error(), "; ") != maxProblems || !strings.HasSuffix(err.Error(), "…") {
			t.Errorf("%s: %v", item, err)
		}
		if grown := MaxPrincipalCalls * (after.TotalAlloc - before.TotalAlloc); grown > most {
			t.Errorf("%s: %d bytes of arguments become %d in %d calls", item, len(args), grown, MaxPrincipalCalls)
		}
	}
}
