package outbound

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/egresspolicy"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
)

// upstream is a TLS server that is good for hub.example and 127.0.0.1, and the file that makes a client trust it.
func upstream(t *testing.T, handler http.HandlerFunc) (port uint16, caFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"hub.example", "egress.invalid"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(handler)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	s.StartTLS()
	t.Cleanup(s.Close)
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return netip.MustParseAddrPort(s.Listener.Addr().String()).Port(), caFile
}

// proxy is a small egress: it keeps each request's head, and does what it is told for the target.
type proxy struct {
	socket string
	mu     sync.Mutex
	heads  []string
}

func newProxy(t *testing.T, serve func(conn net.Conn, reader *bufio.Reader, request *http.Request)) *proxy {
	t.Helper()
	p := &proxy{socket: filepath.Join(t.TempDir(), "s")}
	l, err := net.Listen("unix", p.socket)
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
				var head bytes.Buffer
				reader := bufio.NewReader(io.TeeReader(conn, &head))
				request, err := http.ReadRequest(reader)
				if err != nil {
					return
				}
				text, _, _ := strings.Cut(head.String(), "\r\n\r\n")
				p.mu.Lock()
				p.heads = append(p.heads, text)
				p.mu.Unlock()
				serve(conn, reader, request)
			}()
		}
	}()
	return p
}

func (p *proxy) seen() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heads
}

// say answers with bytes.
func say(answer string) func(net.Conn, *bufio.Reader, *http.Request) {
	return func(conn net.Conn, _ *bufio.Reader, _ *http.Request) { _, _ = io.WriteString(conn, answer) }
}

// tunnelTo makes every target 127.0.0.1:port.
func tunnelTo(port uint16) func(net.Conn, *bufio.Reader, *http.Request) {
	return func(conn net.Conn, reader *bufio.Reader, _ *http.Request) {
		up, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return
		}
		defer up.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n")
		go func() { _, _ = io.Copy(up, reader); _ = up.(*net.TCPConn).CloseWrite() }()
		_, _ = io.Copy(conn, up)
	}
}

func newClient(t *testing.T, c Config) *Client {
	t.Helper()
	client, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// directTo is a client in direct mode that may reach hub.example, and finds it on the loopback interface.
func directTo(t *testing.T, port uint16, caFile string) *Client {
	t.Helper()
	c := newClient(t, Config{Egress: "direct", CAFile: caFile, Allow: []egresspolicy.Rule{
		{Host: "hub.example", Port: port, TLS: egresspolicy.SNI, Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		{Host: "public.example", Port: port, TLS: egresspolicy.SNI},
	}})
	c.resolver = &names{"hub.example.": {"127.0.0.1"}, "public.example.": {"8.8.8.8", "127.0.0.1"}}
	return c
}

type names map[string][]string

func (n *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	var addrs []netip.Addr
	for _, a := range (*n)[host] {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	if addrs == nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return addrs, nil
}

func do(ctx context.Context, c *Client, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := (&http.Client{Transport: c.Transport()}).Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}

func TestNewRefuses(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		config Config
		want   string
	}{
		{Config{}, "write unix:///PATH or direct"},
		{Config{Egress: "Direct"}, "write unix:///PATH or direct"},
		{Config{Egress: "/e/s"}, "write unix:///PATH or direct"},
		{Config{Egress: "tcp://127.0.0.1:3128"}, "write unix:///PATH or direct"},
		{Config{Egress: "unix:///e/s", Allow: []egresspolicy.Rule{{Host: "a.example", Port: 443}}}, "only in direct mode"},
		{Config{Egress: "direct", CAFile: empty}, "holds no PEM certificate"},
		{Config{Egress: "direct", CAFile: empty + "x"}, "no such file"},
		{Config{Egress: "direct", CAFile: t.TempDir()}, "is a directory"},
	} {
		if _, err := New(tc.config); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v", tc.config, err)
		}
	}
}

func TestEgress(t *testing.T) {
	port, caFile := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s", r.Host, r.URL, r.Header.Get("Bulkhead-Call"))
	})
	p := newProxy(t, tunnelTo(port))
	c := newClient(t, Config{Egress: "unix://" + p.socket, CAFile: caFile})
	ctx := WithCall(t.Context(), "call-1")
	for range 2 {
		body, err := do(ctx, c, "https://hub.example/v2/")
		if err != nil || string(body) != "hub.example /v2/ " {
			t.Fatalf("%q, %v", body, err)
		}
	}
	// A call has its own connections, and keeps them.
	const head = "CONNECT hub.example:443 HTTP/1.1\r\nHost: hub.example:443"
	if diff := cmp.Diff([]string{head + "\r\nBulkhead-Call: call-1"}, p.seen()); diff != "" {
		t.Error(diff)
	}
	for _, call := range []string{"call-2", "not a call id\r\nX: y", ""} {
		if _, err := do(WithCall(t.Context(), call), c, "https://hub.example/v2/"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := do(t.Context(), c, "https://hub.example/v2/"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{head + "\r\nBulkhead-Call: call-1", head + "\r\nBulkhead-Call: call-2", head, head, head}, p.seen()); diff != "" {
		t.Error(diff)
	}
	if Call(ctx) != "call-1" || Call(t.Context()) != "" {
		t.Errorf("calls %q and %q", Call(ctx), Call(t.Context()))
	}
}

// One call may use two clients, and two calls one client.
func TestEgressConcurrent(t *testing.T) {
	port, caFile := upstream(t, func(http.ResponseWriter, *http.Request) {})
	p := newProxy(t, tunnelTo(port))
	one := newClient(t, Config{Egress: "unix://" + p.socket, CAFile: caFile})
	two := newClient(t, Config{Egress: "unix://" + p.socket, CAFile: caFile})
	var wg sync.WaitGroup
	for i := range 4 {
		ctx := WithCall(t.Context(), fmt.Sprint(i))
		for _, c := range []*Client{one, two, one, two} {
			wg.Go(func() {
				if _, err := do(ctx, c, "https://hub.example/"); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
}

func TestEgressRefusals(t *testing.T) {
	body := func(status, text string) string {
		return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s", status, len(text), text)
	}
	for _, tc := range []struct {
		name, answer  string
		denied        bool
		reason        string
		outOfDeadline bool
	}{
		{"denied", body("403 Forbidden", `{"code":"denied","message":"the host is not listed"}`), true, "the host is not listed", false},
		{"denied without words", body("403 Forbidden", ``), true, "status 403 Forbidden", false},
		{"denied in other words", body("403 Forbidden", `<html>`), true, "status 403 Forbidden", false},
		{"dial failed", body("502 Bad Gateway", `{"code":"unavailable","message":"connection refused"}`), false, "connection refused", false},
		{"timeout", body("504 Gateway Timeout", `{"code":"timeout","message":"too slow"}`), false, "too slow", true},
		{"busy", body("503 Service Unavailable", `{"code":"busy","message":"too many"}`), false, "too many", false},
		{"many words", body("502 Bad Gateway", `{"code":"unavailable","message":"`+strings.Repeat("x", 10000)+`"}`), false, strings.Repeat("x", maxReason), false},
		{"endless words", "HTTP/1.1 502 Bad Gateway\r\n\r\n" + strings.Repeat("x", 1<<20), false, "status 502 Bad Gateway", false},
		{"redirect", "HTTP/1.1 302 Found\r\nLocation: https://evil.example/\r\n\r\n", false, "status 302 Found", false},
		{"endless header", "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20) + "\r\n\r\n", false, "no proper answer", false},
		{"not HTTP", "hello\r\n\r\n", false, "no proper answer", false},
		{"nothing", "", false, "no proper answer", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newProxy(t, say(tc.answer))
			c := newClient(t, Config{Egress: "unix://" + p.socket})
			_, err := do(t.Context(), c, "https://hub.example/")
			var denied *DeniedError
			var unavailable *UnavailableError
			host, reason := "", ""
			switch {
			case errors.As(err, &denied):
				host, reason = denied.Host, denied.Reason
			case errors.As(err, &unavailable):
				host, reason = unavailable.Host, unavailable.Reason
			}
			if (denied != nil) != tc.denied || host != "hub.example" || !strings.Contains(reason, tc.reason) || len(reason) > maxReason+100 {
				t.Errorf("%.200v", err)
			}
			if errors.Is(err, context.DeadlineExceeded) != tc.outOfDeadline {
				t.Errorf("out of time: %t", !tc.outOfDeadline)
			}
		})
	}
}

func TestEgressNotThere(t *testing.T) {
	c := newClient(t, Config{Egress: "unix://" + filepath.Join(t.TempDir(), "s")})
	for _, url := range []string{"https://hub.example/", "http://hub.example/"} {
		_, err := do(t.Context(), c, url)
		var unavailable *UnavailableError
		if !errors.As(err, &unavailable) || !strings.Contains(unavailable.Reason, "egress does not answer") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// A context that ends while egress thinks ends the wait.
func TestEgressCanceled(t *testing.T) {
	asked := make(chan struct{})
	hang := make(chan struct{})
	defer close(hang)
	p := newProxy(t, func(net.Conn, *bufio.Reader, *http.Request) { close(asked); <-hang })
	c := newClient(t, Config{Egress: "unix://" + p.socket})
	ctx, cancel := context.WithCancel(t.Context())
	errs := make(chan error, 1)
	go func() {
		_, err := c.DialContext(ctx, "tcp", "hub.example:443")
		errs <- err
	}()
	<-asked
	cancel()
	select {
	case err := <-errs:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	case <-time.After(connectTimeout / 2):
		t.Error("the wait goes on as if nothing had happened")
	}
}

// An upstream that speaks first may be heard together with egress's answer.
func TestEgressEarlyBytes(t *testing.T) {
	p := newProxy(t, func(conn net.Conn, reader *bufio.Reader, _ *http.Request) {
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\nhello ")
		line, _ := reader.ReadString('\n')
		_, _ = io.WriteString(conn, line)
	})
	c := newClient(t, Config{Egress: "unix://" + p.socket})
	conn, err := c.DialContext(t.Context(), "tcp", "hub.example:443")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "world\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "hello world\n" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestEgressPlain(t *testing.T) {
	p := newProxy(t, func(conn net.Conn, _ *bufio.Reader, r *http.Request) {
		answer := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
		if strings.Contains(r.URL.Path, "denied") {
			answer = "HTTP/1.1 403 Forbidden\r\nBulkhead-Refused: denied\r\nContent-Length: 41\r\n\r\n" + `{"code":"denied","message":"not for you"}`
		}
		_, _ = io.WriteString(conn, answer)
	})
	c := newClient(t, Config{Egress: "unix://" + p.socket})
	ctx := WithCall(t.Context(), "call-4")
	if body, err := do(ctx, c, "http://model.example:12434/v1"); err != nil || string(body) != "ok" {
		t.Errorf("%q, %v", body, err)
	}
	head := p.seen()[0]
	if !strings.HasPrefix(head, "GET http://model.example:12434/v1 HTTP/1.1\r\nHost: model.example:12434\r\n") || !strings.Contains(head, "\r\nBulkhead-Call: call-4") {
		t.Errorf("%q", head)
	}
	_, err := do(ctx, c, "http://model.example:12434/denied")
	var denied *DeniedError
	if !errors.As(err, &denied) || *denied != (DeniedError{Host: "model.example", Reason: "not for you"}) {
		t.Errorf("%v", err)
	}
}

// Nothing is sent for a destination that cannot be meant.
func TestRefusedHere(t *testing.T) {
	p := newProxy(t, say("HTTP/1.1 200 OK\r\n\r\n"))
	viaEgress := newClient(t, Config{Egress: "unix://" + p.socket})
	alone := newClient(t, Config{Egress: "direct", Allow: []egresspolicy.Rule{{Host: "hub.example", Port: 443, TLS: egresspolicy.SNI}}})
	for _, url := range []string{
		"https://hub.example./", "https://2130706433/", "https://0x7f.1/", "https://127.1/", "https://[::ffff:127.0.0.1]/", "https://user:password@hub.example/",
		"https://h\u00fcb.example/", "https://*.example/", "https://hub_x.example/", "ftp://hub.example/", "https:hub.example", "https://hub.example:99999/",
		"http://egress.invalid/", "https://egress.invalid:80/",
	} {
		for _, c := range []*Client{viaEgress, alone} {
			_, err := do(t.Context(), c, url)
			if _, ok := errors.AsType[*DeniedError](err); !ok {
				t.Errorf("%s: %v", url, err)
			}
			if err != nil && strings.Contains(err.Error(), "password") {
				t.Errorf("the error tells the password: %v", err)
			}
		}
	}
	for _, addr := range []string{"hub.example", "hub.example:0443", "hub.example:443\r\nX: y", "[hub.example]:443", "", "a b:1"} {
		for _, c := range []*Client{viaEgress, alone} {
			_, err := c.DialContext(t.Context(), "tcp", addr)
			if _, ok := errors.AsType[*DeniedError](err); !ok {
				t.Errorf("%q: %v", addr, err)
			}
		}
	}
	for _, network := range []string{"udp", "unix", "ip"} {
		_, err := viaEgress.DialContext(t.Context(), network, "hub.example:443")
		if _, ok := errors.AsType[*DeniedError](err); !ok {
			t.Errorf("%s: %v", network, err)
		}
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://hub.example/", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "evil.example"
	response, err := viaEgress.Transport().RoundTrip(request)
	if err == nil {
		response.Body.Close()
	}
	if _, ok := errors.AsType[*DeniedError](err); !ok {
		t.Errorf("a Host header of its own: %v", err)
	}
	if got := p.seen(); len(got) > 0 {
		t.Errorf("sent: %q", got)
	}
}

func TestDirect(t *testing.T) {
	port, caFile := upstream(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) })
	c := directTo(t, port, caFile)
	body, err := do(WithCall(t.Context(), "x"), c, fmt.Sprintf("https://hub.example:%d/", port))
	if err != nil || string(body) != fmt.Sprintf("hub.example:%d", port) {
		t.Errorf("%q, %v", body, err)
	}
	for _, tc := range []struct{ url, want string }{
		{fmt.Sprintf("https://evil.example:%d/", port), fmt.Sprintf("the host is not listed; allow it with --allow-host evil.example:%d", port)},
		{"https://hub.example/", "but not with port 443; allow it with --allow-host hub.example:443"},
		{fmt.Sprintf("https://public.example:%d/", port), "its address 127.0.0.1 is not allowed"},
		{fmt.Sprintf("http://hub.example:%d/", port), "tls: sni, and so not by http"},
		{fmt.Sprintf("https://127.0.0.1:%d/", port), "the host is not listed"},
	} {
		_, err := do(t.Context(), c, tc.url)
		var denied *DeniedError
		if !errors.As(err, &denied) || !strings.Contains(denied.Reason, tc.want) {
			t.Errorf("%s: %v", tc.url, err)
		}
	}
}

// What an operator writes as --allow-host 127.0.0.1:PORT.
func TestDirectAddress(t *testing.T) {
	port, caFile := upstream(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "ok") })
	rule, err := egresspolicy.ParseRule(fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, Config{Egress: "direct", CAFile: caFile, Allow: []egresspolicy.Rule{rule}})
	if body, err := do(t.Context(), c, fmt.Sprintf("https://127.0.0.1:%d/", port)); err != nil || string(body) != "ok" {
		t.Errorf("%q, %v", body, err)
	}
}

func TestDirectPlain(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "ok"+r.Header.Get("Bulkhead-Call"))
	}))
	defer s.Close()
	addr := netip.MustParseAddrPort(s.Listener.Addr().String())
	c := newClient(t, Config{Egress: "direct", Allow: []egresspolicy.Rule{
		{Host: "127.0.0.1", Port: addr.Port(), TLS: egresspolicy.Plain, Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}},
	}})
	if body, err := do(WithCall(t.Context(), "x"), c, s.URL); err != nil || string(body) != "ok" {
		t.Errorf("%q, %v", body, err)
	}
	_, err := do(t.Context(), c, "https://"+addr.String())
	var denied *DeniedError
	if !errors.As(err, &denied) || !strings.Contains(denied.Reason, "tls: plain, and so not by https") {
		t.Errorf("%v", err)
	}
}

func TestDirectUnavailable(t *testing.T) {
	port, _ := upstream(t, nil)
	c := directTo(t, port, "")
	c.allow = append(c.allow, egresspolicy.Rule{Host: "missing.example", Port: 443, TLS: egresspolicy.SNI},
		egresspolicy.Rule{Host: "hub.example", Port: 1, TLS: egresspolicy.SNI, Addresses: c.allow[0].Addresses})
	for url, want := range map[string]string{"https://missing.example/": "no such host", "https://hub.example:1/": "connection refused"} {
		_, err := do(t.Context(), c, url)
		var unavailable *UnavailableError
		if !errors.As(err, &unavailable) || !strings.Contains(unavailable.Reason, want) {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// The environment has no say. (net/http reads it once in the life of a process, so that setting it here would show nothing.)
func TestNoProxyFromEnvironment(t *testing.T) {
	if newClient(t, Config{Egress: "direct"}).newTransport().Proxy != nil {
		t.Error("direct mode has a proxy")
	}
	proxy := newClient(t, Config{Egress: "unix:///e/s"}).newTransport().Proxy
	for scheme, want := range map[string]string{"https": "<nil>", "http": "http://egress.invalid:80"} {
		got, err := proxy(&http.Request{URL: &url.URL{Scheme: scheme, Host: "hub.example"}})
		if err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: %v, %v", scheme, got, err)
		}
	}
}

// Only the certificate's holder is spoken to, with TLS 1.2 at least.
func TestTLS(t *testing.T) {
	port, caFile := upstream(t, func(http.ResponseWriter, *http.Request) {})
	url := fmt.Sprintf("https://hub.example:%d/", port)
	if _, err := do(t.Context(), directTo(t, port, ""), url); err == nil {
		t.Error("an unknown authority is trusted")
	}
	c := directTo(t, port, caFile)
	c.allow = append(c.allow, egresspolicy.Rule{Host: "other.example", Port: port, TLS: egresspolicy.SNI, Addresses: c.allow[0].Addresses})
	c.resolver = &names{"other.example.": {"127.0.0.1"}}
	if _, err := do(t.Context(), c, fmt.Sprintf("https://other.example:%d/", port)); err == nil {
		t.Error("a certificate for another name is accepted")
	}
	if got := c.newTransport().TLSClientConfig.MinVersion; got != tls.VersionTLS12 {
		t.Errorf("the least version of TLS is %x", got)
	}
}

func TestAnswers(t *testing.T) {
	zeros := func(w io.Writer, n int64) { _, _ = io.CopyN(w, zero{}, n) }
	port, caFile := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/exactly":
			zeros(w, maxBody)
		case "/more":
			w.(http.Flusher).Flush() // no length is announced
			zeros(w, maxBody+1)
		case "/announced":
			w.Header().Set("Content-Length", fmt.Sprint(maxBody+1))
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			zeros(z, maxBody+1)
			_ = z.Close()
		case "/header":
			w.Header().Set("X", strings.Repeat("x", maxResponseHeader))
		case "/up":
			w.Header().Set("Location", "https://hub.example/x")
			w.WriteHeader(http.StatusFound)
		case "/down":
			w.Header().Set("Location", "http://hub.example/x")
			w.WriteHeader(http.StatusTemporaryRedirect)
		case "/made":
			w.Header().Set("Location", "http://hub.example/x")
			w.WriteHeader(http.StatusCreated)
		case "/upgrade":
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "x")
			w.WriteHeader(http.StatusSwitchingProtocols)
		}
	})
	c := directTo(t, port, caFile)
	for _, tc := range []struct {
		path     string
		n        int64
		tooLarge bool
		want     string
	}{
		{"/exactly", maxBody, false, ""},
		{"/more", maxBody, true, ""},
		{"/announced", 0, true, ""},
		{"/bomb", maxBody, true, ""},
		{"/header", 0, false, "server response headers exceeded"},
		{"/up", 0, false, ""},
		{"/down", 0, false, `it redirects from https to "http"`},
		{"/made", 0, false, ""},
		{"/upgrade", 0, false, "changes to a protocol that nobody asked for"},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("https://hub.example:%d%s", port, tc.path), nil)
		if err != nil {
			t.Fatal(err)
		}
		var n int64
		response, err := c.Transport().RoundTrip(request)
		if err == nil {
			n, err = io.Copy(io.Discard, response.Body)
			response.Body.Close()
			if response.Request != request {
				t.Errorf("%s: the answer belongs to another request", tc.path)
			}
		}
		if errors.Is(err, limit.ErrTooLarge) != tc.tooLarge || n != tc.n || (err != nil) != (tc.tooLarge || tc.want != "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %d bytes, %v", tc.path, n, err)
		}
	}
}

type zero struct{}

func (zero) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// A body that is not wanted is closed, as a RoundTripper's contract has it.
func TestRequestBodyIsClosed(t *testing.T) {
	c := newClient(t, Config{Egress: "direct"})
	body := &closing{Reader: strings.NewReader("x")}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://hub.example/", body)
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.Transport().RoundTrip(request)
	if err == nil {
		response.Body.Close()
		t.Fatal("no error")
	}
	if !body.closed {
		t.Error("the body is open")
	}
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return nil
}

// What egress says is bytes that another process wrote: no answer may make more of them than a tunnel or an error.
func FuzzConnectAnswer(f *testing.F) {
	f.Add("HTTP/1.1 200 OK\r\n\r\nhello")
	f.Add("HTTP/1.1 403 Forbidden\r\nContent-Length: 27\r\n\r\n{\"code\":\"x\",\"message\":\"y\"}")
	f.Add("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")
	f.Add("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	f.Fuzz(func(t *testing.T, answer string) {
		near, far := net.Pipe()
		go func() {
			_, _ = http.ReadRequest(bufio.NewReader(far))
			_, _ = io.WriteString(far, answer)
			_ = far.Close()
		}()
		defer near.Close()
		conn, err := new(Client).handshake(t.Context(), near, "hub.example", 443)
		if err != nil {
			var denied *DeniedError
			var unavailable *UnavailableError
			if !errors.As(err, &denied) && !errors.As(err, &unavailable) {
				t.Errorf("%v", err)
			}
			return
		}
		rest, _ := io.ReadAll(conn)
		if !strings.HasSuffix(answer, string(rest)) {
			t.Errorf("the tunnel holds %q", rest)
		}
	})
}
