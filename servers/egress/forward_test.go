package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/outbound"
)

func TestForward(t *testing.T) {
	b := testBench(t, nil)
	seen := make(chan *http.Request, 1)
	b.plain.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen <- r
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Upstream", "yes")
		w.Header().Set("Keep-Alive", "timeout=5")
		w.Header().Set("Bulkhead-Refused", "denied")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "%s %s %s %q", r.Method, r.Host, r.URL, body)
	})
	url := fmt.Sprintf("http://MODEL.example:%d/v1/chat?x=1", b.port)
	request, err := http.NewRequestWithContext(outbound.WithCall(t.Context(), "call-3"), http.MethodPost, url, io.MultiReader(strings.NewReader("chunked "), strings.NewReader("body")))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer model")
	request.Header.Set("Proxy-Authorization", "Basic x")
	request.Header.Set("Connection", "X-Private")
	request.Header.Set("X-Private", "x")
	request.Header.Set("Te", "trailers")
	response, err := b.client(t, "dockerhub").Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf(`POST model.example:%d /v1/chat?x=1 "chunked body"`, b.port); string(body) != want || response.StatusCode != http.StatusCreated {
		t.Errorf("%d %s, want %s", response.StatusCode, body, want)
	}
	if response.Header.Get("X-Upstream") != "yes" || response.Header.Get("Keep-Alive") != "" || response.Header.Get("Bulkhead-Refused") != "" {
		t.Errorf("the answer's header: %v", response.Header)
	}
	got := <-seen
	for name, want := range map[string]string{
		"Authorization": "Bearer model", "Proxy-Authorization": "", "X-Private": "", "Te": "", "Bulkhead-Call": "", "Forwarded": "", "X-Forwarded-For": "",
	} {
		if got.Header.Get(name) != want {
			t.Errorf("the upstream got %s: %q", name, got.Header.Get(name))
		}
	}
	e := b.journal.next(t)
	same(t, e, entry{Call: "call-3", Client: "dockerhub", Host: "model.example", Port: int(b.port), Address: "127.0.0.1", Decision: "allow", Reason: "closed"})
	if e.BytesUp < 100 || e.BytesDown < 100 {
		t.Errorf("%d bytes up, %d down", e.BytesUp, e.BytesDown)
	}
	b.journal.none(t)
}

// raw is an upstream that answers any request with what it is told, and then closes.
func raw(t *testing.T, answer func(conn net.Conn)) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if r, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					_, _ = io.Copy(io.Discard, r.Body)
					answer(conn)
				}
			}()
		}
	}()
	return portOf(l.Addr().String())
}

func plainBench(t *testing.T, set func(*limits), answer func(net.Conn)) (*bench, string) {
	t.Helper()
	port := raw(t, answer)
	b := newBench(t, fmt.Sprintf("version: 1\nclients: {a: {hosts: [{host: m.example, port: %d, tls: plain, addresses: [127.0.0.0/8]}]}}\n", port), set)
	b.names.hosts["m.example"] = []string{"127.0.0.1"}
	return b, fmt.Sprintf("http://m.example:%d/", port)
}

// exchangeRaw sends a request and returns all that comes back.
func exchangeRaw(t *testing.T, b *bench, request string) string {
	t.Helper()
	conn := b.dial(t, "a")
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	got, _ := io.ReadAll(conn)
	return string(got)
}

// A refused client that is still sending its body can send the rest, and then reads why it is refused.
func TestRefusedWhileSending(t *testing.T) {
	b, _ := plainBench(t, nil, func(net.Conn) {})
	conn := b.dial(t, "a")
	if _, err := io.WriteString(conn, "POST http://elsewhere.example/ HTTP/1.1\r\nHost: elsewhere.example\r\nContent-Length: 65536\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer := bufio.NewReader(conn)
	if _, err := answer.Peek(1); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(make([]byte, 65536)); err != nil {
		t.Errorf("the rest of the body: %v", err)
	}
	if got, err := io.ReadAll(answer); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 403 ") || !strings.HasSuffix(string(got), "}") {
		t.Errorf("%q, %v", got, err)
	}
}

func TestForwardAnswers(t *testing.T) {
	for _, tc := range []struct{ name, method, answer, want, wantEnd, reason string }{
		{"length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 200 OK\r\n", "\r\n\r\nhello", "closed"},
		{"until the end", "GET", "HTTP/1.0 200 OK\r\n\r\nhello", "HTTP/1.1 200 OK\r\n", "\r\n5\r\nhello\r\n0\r\n\r\n", "closed"},
		{"chunked", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "HTTP/1.1 200 OK\r\n", "\r\n5\r\nhello\r\n0\r\n\r\n", "closed"},
		{"HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HTTP/1.1 200 OK\r\n", "\r\n\r\n", "closed"},
		{"HEAD of a stream", "HEAD", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n", "\r\n\r\n", "closed"},
		{"no content", "DELETE", "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\r\n", "\r\n\r\n", "closed"},
		{"early hints", "GET", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.1 200 OK\r\n", "hello", "closed"},
		{"two answers", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "HTTP/1.1 200 OK\r\n", "\r\n\r\nhello", "closed"},
		// A chunked answer without its last chunk is one that the client knows to be cut.
		{"cut", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "HTTP/1.1 200 OK\r\n", "\r\n5\r\nhello\r\n", "closed: unexpected EOF"},
		{"cut within a length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "HTTP/1.1 200 OK\r\n", "\r\n\r\nhello", "closed: "},
		{"no answer", "GET", "", "HTTP/1.1 502 Bad Gateway\r\n", "}", "EOF"},
		{"not HTTP", "GET", "hello\r\n\r\n", "HTTP/1.1 502 Bad Gateway\r\n", "}", "malformed HTTP"},
		{"endless header", "GET", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20), "HTTP/1.1 502 Bad Gateway\r\n", "}", "exceeded"},
		{"endless early hints", "GET", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 1<<15), "HTTP/1.1 502 Bad Gateway\r\n", "}", ""},
		{"switching protocols", "GET", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello", "HTTP/1.1 502 Bad Gateway\r\n", "}", "switches protocols"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b, url := plainBench(t, nil, func(conn net.Conn) { _, _ = io.WriteString(conn, tc.answer) })
			got := exchangeRaw(t, b, tc.method+" "+url+" HTTP/1.1\r\nHost: m.example\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
			if !strings.HasPrefix(got, tc.want) || !strings.HasSuffix(got, tc.wantEnd) || strings.Contains(got, "evil") {
				t.Errorf("%q", got)
			}
			if e := b.journal.next(t); e.Decision != "allow" || !strings.Contains(e.Reason, tc.reason) {
				t.Errorf("%+v", e)
			}
		})
	}
}

// What stands behind the first request on a connection is not a second one.
func TestForwardOnlyOne(t *testing.T) {
	b, url := plainBench(t, nil, func(conn net.Conn) { _, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") })
	got := exchangeRaw(t, b, strings.Repeat("GET "+url+" HTTP/1.1\r\nHost: m.example\r\n\r\n", 3))
	if strings.Count(got, "200 OK") != 1 {
		t.Errorf("%q", got)
	}
	b.journal.next(t)
	b.journal.none(t)
}

// Two lengths are how requests are smuggled; only one may arrive, and nothing behind it.
func TestForwardSmuggling(t *testing.T) {
	seen := make(chan string, 10)
	b, url := plainBench(t, nil, func(conn net.Conn) {
		_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		rest, _ := io.ReadAll(conn)
		seen <- string(rest)
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	})
	for _, header := range []string{
		"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
		"Content-Length: 0\r\nContent-Length: 40\r\n",
		"Transfer-Encoding: chunked, identity\r\n",
		"Transfer-Encoding : chunked\r\n",
	} {
		_ = exchangeRaw(t, b, "POST "+url+" HTTP/1.1\r\nHost: m.example\r\n"+header+"\r\n0\r\n\r\nGET /secret HTTP/1.1\r\nHost: m.example\r\n\r\n")
		b.journal.next(t)
	}
	close(seen)
	for rest := range seen {
		if rest != "" {
			t.Errorf("behind the request came %q", rest)
		}
	}
}

func TestForwardContinue(t *testing.T) {
	b, url := plainBench(t, nil, func(conn net.Conn) { _, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") })
	conn := b.dial(t, "a")
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: m.example\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n", url)
	const want = "HTTP/1.1 100 Continue\r\n\r\n"
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Fatalf("%q, %v", got, err)
	}
	fmt.Fprint(conn, "body")
	rest, err := io.ReadAll(conn)
	if err != nil || !strings.HasSuffix(string(rest), "ok") {
		t.Errorf("%q, %v", rest, err)
	}
}

// A stream's events arrive when they are sent, not when the stream ends.
func TestForwardStreams(t *testing.T) {
	next := make(chan struct{})
	b, url := plainBench(t, nil, func(conn net.Conn) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
		for range 3 {
			_, _ = io.WriteString(conn, "8\r\ndata: x\n\r\n")
			<-next
		}
		_, _ = io.WriteString(conn, "0\r\n\r\n")
	})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := b.client(t, "a").Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	for range 3 {
		line := make([]byte, 8)
		if _, err := io.ReadFull(response.Body, line); err != nil {
			t.Fatal(err)
		}
		next <- struct{}{}
	}
	if rest, err := io.ReadAll(response.Body); err != nil || len(rest) != 0 {
		t.Errorf("%q, %v", rest, err)
	}
}

// A body that comes slowly, and longer than the idle time in all, is not idle.
func TestForwardSlowBody(t *testing.T) {
	const idle = 2 * time.Second // long against the pauses of a busy machine
	b, url := plainBench(t, func(l *limits) { l.idleTimeout = idle }, func(conn net.Conn) { _, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") })
	conn := b.dial(t, "a")
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: m.example\r\nContent-Length: 5\r\n\r\n", url)
	for range 5 {
		time.Sleep(idle / 4)
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200") {
		t.Errorf("%q, %v", got, err)
	}
}

func TestForwardTimeouts(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	b, url := plainBench(t, func(l *limits) { l.idleTimeout = 50 * time.Millisecond }, func(net.Conn) { <-hang })
	_, err := get(t, b.client(t, "a"), "c", url)
	var unavailable *outbound.UnavailableError
	if !errors.As(err, &unavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if e := b.journal.next(t); e.Decision != "allow" || !strings.Contains(e.Reason, "did not answer in time") {
		t.Errorf("%+v", e)
	}
	// A client that announces a body and does not send it.
	conn := b.dial(t, "a")
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: m.example\r\nContent-Length: 100\r\n\r\n", url)
	got, _ := io.ReadAll(conn)
	if !strings.HasPrefix(string(got), "HTTP/1.1 50") {
		t.Errorf("%q", got)
	}
	b.journal.next(t)
}
