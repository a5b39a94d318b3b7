package main

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/outbound"
)

const testPolicy = `
version: 1
clients:
  dockerhub:
    hosts:
      - {host: hub.example, port: TLS, addresses: [127.0.0.0/8]}
      - {host: cdn.example, port: TLS, addresses: [127.0.0.0/8]}
      - {host: public.example, port: TLS}
      - {host: 127.0.0.1, port: TLS, tls: none-for-ip, addresses: [127.0.0.0/8]}
      - {host: missing.example}
      - {host: slow.example}
      - {host: broken.example}
      - {host: down.example, port: 1, addresses: [127.0.0.0/8]}
      - {host: model.example, port: PLAIN, tls: plain, addresses: [127.0.0.0/8]}
      - {host: model.example, port: 80, tls: plain}
  logs:
    hosts:
      - {host: logs.example, port: TLS, addresses: [127.0.0.0/8]}
`

func testBench(t *testing.T, set func(*limits)) *bench {
	b := newBench(t, testPolicy, set)
	b.names.hosts["hub.example"] = []string{"127.0.0.1"}
	b.names.hosts["cdn.example"] = []string{"127.0.0.1"}
	b.names.hosts["model.example"] = []string{"127.0.0.1"}
	b.names.hosts["logs.example"] = []string{"127.0.0.1"}
	b.names.hosts["public.example"] = []string{"8.8.8.8", "127.0.0.1"}
	b.names.hosts["down.example"] = []string{"127.0.0.1"}
	return b
}

// same compares a record, without what no test can foresee.
func same(t *testing.T, got, want entry) {
	t.Helper()
	want.Msg = "connection"
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(entry{}, "Duration", "BytesUp", "BytesDown", "Reason")); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(got.Reason, want.Reason) {
		t.Errorf("reason %q, want %q", got.Reason, want.Reason)
	}
	if (got.Decision == "deny") && (got.BytesUp != 0 || got.BytesDown != 0) {
		t.Errorf("denied, and yet %d bytes went up and %d down", got.BytesUp, got.BytesDown)
	}
}

func get(t *testing.T, c *http.Client, call, url string) (string, error) {
	t.Helper()
	ctx := t.Context()
	if call != "" {
		ctx = outbound.WithCall(ctx, call)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := c.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), err
}

func TestTunnel(t *testing.T) {
	b := testBench(t, nil)
	for _, tc := range []struct{ client, host, ask string }{
		{"dockerhub", "hub.example", "hub.example."},
		{"dockerhub", "127.0.0.1", ""},
		{"logs", "logs.example", "logs.example."},
	} {
		b.names.asked = nil
		url := fmt.Sprintf("https://%s:%d/v2/?page=2", tc.host, b.tlsPort)
		got, err := get(t, b.client(t, tc.client), "call-1", url)
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("GET %s:%d /v2/?page=2 ", tc.host, b.tlsPort); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		e := b.journal.next(t)
		same(t, e, entry{Call: "call-1", Client: tc.client, Host: tc.host, Port: int(b.tlsPort), Address: "127.0.0.1", Decision: "allow", Reason: "closed"})
		if e.BytesUp < 200 || e.BytesDown < 200 {
			t.Errorf("%d bytes up, %d down", e.BytesUp, e.BytesDown)
		}
		if got := strings.Join(b.names.asked, " "); got != tc.ask {
			t.Errorf("asked for the names %q, want %q", got, tc.ask)
		}
	}
	b.journal.none(t)
}

func TestTunnelUpperCase(t *testing.T) {
	b := testBench(t, nil)
	conn := b.connect(t, "dockerhub", fmt.Sprintf("HUB.Example:%d", b.tlsPort))
	if _, err := conn.Write(helloFor(t, &tls.Config{ServerName: "Hub.EXAMPLE"})); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("the upstream does not answer: %v", err)
	}
	conn.Close()
	if e := b.journal.next(t); e.Host != "hub.example" || e.Decision != "allow" {
		t.Errorf("%+v", e)
	}
}

func TestManyTunnels(t *testing.T) {
	b := testBench(t, nil)
	client := b.client(t, "dockerhub")
	var wg sync.WaitGroup
	const n = 40
	for i := range n {
		wg.Go(func() {
			for _, call := range []string{fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i)} {
				if _, err := get(t, client, call, fmt.Sprintf("https://hub.example:%d/", b.tlsPort)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	calls := make(map[string]bool)
	for range 2 * n {
		e := b.journal.next(t)
		if e.Decision != "allow" || calls[e.Call] {
			t.Errorf("%+v", e)
		}
		calls[e.Call] = true
	}
	b.journal.none(t)
}

// What the policy refuses comes back as a DeniedError, and is recorded before it does.
func TestTunnelDenied(t *testing.T) {
	b := testBench(t, nil)
	for _, tc := range []struct{ client, scheme, host, want string }{
		{"dockerhub", "https", "evil.example:TLS", "the host is not listed"},
		{"dockerhub", "https", "sub.hub.example:TLS", "the host is not listed"},
		{"dockerhub", "https", "hub.example", "the host is listed, but not with port 443"},
		{"dockerhub", "https", "logs.example:TLS", "the host is not listed"},
		{"logs", "https", "hub.example:TLS", "the host is not listed"},
		{"dockerhub", "https", "127.0.0.2:TLS", "the host is not listed"},
		{"dockerhub", "https", "public.example:TLS", "its address 127.0.0.1 is not allowed: it is loopback"},
		{"dockerhub", "https", "model.example:PLAIN", "tls: plain"},
		{"dockerhub", "http", "hub.example:TLS", "tls: sni"},
		{"dockerhub", "http", "evil.example", "the host is not listed"},
	} {
		url := tc.scheme + "://" + strings.NewReplacer("TLS", fmt.Sprint(b.tlsPort), "PLAIN", fmt.Sprint(b.port)).Replace(tc.host) + "/"
		_, err := get(t, b.client(t, tc.client), "call_2", url)
		e := b.journal.next(t)
		var denied *outbound.DeniedError
		host, _, _ := strings.Cut(tc.host, ":")
		if !errors.As(err, &denied) || denied.Host != host || !strings.Contains(denied.Reason, tc.want) {
			t.Errorf("%s: error %v, want %q", url, err, tc.want)
		}
		if e.Decision != "deny" || e.Call != "call_2" || e.Host != host || e.Client != tc.client || e.Address != "" || e.Reason != denied.Reason {
			t.Errorf("%s: %+v", url, e)
		}
	}
	b.journal.none(t)
}

// A hop to another host is a destination like any other.
func TestRedirect(t *testing.T) {
	b := testBench(t, nil)
	location := ""
	b.upstream.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/there" {
			fmt.Fprint(w, "there")
			return
		}
		http.Redirect(w, r, location, http.StatusFound)
	})
	url := fmt.Sprintf("https://hub.example:%d/", b.tlsPort)
	client := b.client(t, "dockerhub")
	for _, tc := range []struct{ to, want string }{
		{fmt.Sprintf("https://cdn.example:%d/there", b.tlsPort), ""},
		{fmt.Sprintf("https://evil.example:%d/there", b.tlsPort), "the host is not listed"},
		{fmt.Sprintf("http://model.example:%d/there", b.port), "redirects from https to"},
	} {
		location = tc.to
		got, err := get(t, client, "c", url)
		var denied *outbound.DeniedError
		if tc.want == "" && (err != nil || got != "there") || tc.want != "" && (!errors.As(err, &denied) || !strings.Contains(denied.Reason, tc.want)) {
			t.Errorf("to %s: %q, %v", tc.to, got, err)
		}
	}
}

func TestTunnelUnavailable(t *testing.T) {
	b := testBench(t, nil)
	for _, tc := range []struct {
		host, want string
		status     int
	}{
		{"missing.example:443", "no such host", 502},
		{"down.example:1", "connection refused", 502},
		{"slow.example:443", "i/o timeout", 504},
	} {
		status, said := b.ask(t, "CONNECT "+tc.host+" HTTP/1.1\r\n\r\n")
		if status != tc.status || !strings.Contains(said.Message, tc.want) {
			t.Errorf("%s: %d, %+v", tc.host, status, said)
		}
		if e := b.journal.next(t); e.Decision != "allow" || e.Reason != said.Message {
			t.Errorf("%s: %+v", tc.host, e)
		}
	}
}

// A panic is one connection's, and is recorded.
func TestPanic(t *testing.T) {
	b := testBench(t, nil)
	if _, err := get(t, b.client(t, "dockerhub"), "c", "https://broken.example/"); err == nil {
		t.Error("no error")
	}
	same(t, b.journal.next(t), entry{Call: "c", Client: "dockerhub", Host: "broken.example", Port: 443, Decision: "deny", Reason: "internal error"})
	if strings.Contains(b.journal.String(), `"reason":"the resolver is broken`) {
		t.Error("the panic's text is in the record")
	}
	if _, err := get(t, b.client(t, "dockerhub"), "c", fmt.Sprintf("https://hub.example:%d/", b.tlsPort)); err != nil {
		t.Error(err)
	}
}

func TestRequests(t *testing.T) {
	b := testBench(t, nil)
	port := fmt.Sprint(b.tlsPort)
	for _, tc := range []struct {
		name, request string
		status        int
		want          string
	}{
		{"not HTTP", "hello\r\n\r\n", 400, "not an HTTP request"},
		{"a ClientHello", string(helloFor(t, &tls.Config{ServerName: "hub.example"})) + "\r\n\r\n", 400, "not an HTTP request"},
		{"HTTP/1.0", "CONNECT hub.example:" + port + " HTTP/1.0\r\n\r\n", 400, "HTTP/1.0 is not spoken"},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "HTTP/2.0 is not spoken"},
		{"no target", "CONNECT  HTTP/1.1\r\n\r\n", 400, ""},
		{"no port", "CONNECT hub.example HTTP/1.1\r\n\r\n", 400, "is not HOST:PORT"},
		{"empty port", "CONNECT hub.example: HTTP/1.1\r\n\r\n", 400, "is not a port"},
		{"odd port", "CONNECT hub.example:+" + port + " HTTP/1.1\r\n\r\n", 400, ""},
		{"user", "CONNECT user@hub.example:" + port + " HTTP/1.1\r\n\r\n", 400, "host name is letters"},
		{"trailing dot", "CONNECT hub.example.:" + port + " HTTP/1.1\r\n\r\n", 400, "without the dot"},
		{"a path", "CONNECT /hub.example:" + port + " HTTP/1.1\r\n\r\n", 400, ""},
		{"a URL", "CONNECT https://hub.example:" + port + "/ HTTP/1.1\r\n\r\n", 400, ""},
		{"decimal address", "CONNECT 2130706433:" + port + " HTTP/1.1\r\n\r\n", 400, "neither a name nor"},
		{"octal address", "CONNECT 0177.0.0.1:" + port + " HTTP/1.1\r\n\r\n", 400, "neither a name nor"},
		{"hex address", "CONNECT 0x7f000001:" + port + " HTTP/1.1\r\n\r\n", 400, "neither a name nor"},
		{"short address", "CONNECT 127.1:" + port + " HTTP/1.1\r\n\r\n", 400, "neither a name nor"},
		{"mapped address", "CONNECT [::ffff:127.0.0.1]:" + port + " HTTP/1.1\r\n\r\n", 400, "write the IP address as 127.0.0.1"},
		{"bracketed name", "CONNECT [hub.example]:" + port + " HTTP/1.1\r\n\r\n", 400, ""},
		{"loopback 6", "CONNECT [::1]:" + port + " HTTP/1.1\r\n\r\n", 403, "not listed"},
		{"IDN", "CONNECT hüb.example:" + port + " HTTP/1.1\r\n\r\n", 400, "punycode"},
		{"full-width", "CONNECT ｈub.example:" + port + " HTTP/1.1\r\n\r\n", 400, "punycode"},
		{"escaped", "CONNECT hub%2eexample:" + port + " HTTP/1.1\r\n\r\n", 400, ""},
		{"null byte", "CONNECT hub.example\x00.evil:" + port + " HTTP/1.1\r\n\r\n", 400, ""},
		{"a body", "CONNECT hub.example:" + port + " HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 400, "no body"},
		{"a chunked body", "CONNECT hub.example:" + port + " HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "no body"},
		{"the Host header does not count", "CONNECT evil.example:443 HTTP/1.1\r\nHost: hub.example:" + port + "\r\n\r\n", 403, "not listed"},
		{"origin form", "GET / HTTP/1.1\r\nHost: hub.example\r\n\r\n", 400, "this is a proxy"},
		{"asterisk form", "OPTIONS * HTTP/1.1\r\nHost: hub.example\r\n\r\n", 400, "this is a proxy"},
		{"https in absolute form", "GET https://hub.example:" + port + "/ HTTP/1.1\r\n\r\n", 400, "use CONNECT"},
		{"ftp in absolute form", "GET ftp://hub.example/ HTTP/1.1\r\n\r\n", 400, "use CONNECT"},
		{"unix in absolute form", "GET unix:///g/s HTTP/1.1\r\n\r\n", 400, "this is a proxy"},
		{"opaque", "GET http:hub.example HTTP/1.1\r\n\r\n", 400, ""},
		{"user in absolute form", "GET http://u:p@model.example:" + fmt.Sprint(b.port) + "/ HTTP/1.1\r\n\r\n", 400, "credentials"},
		{"dot in absolute form", "GET http://model.example.:" + fmt.Sprint(b.port) + "/ HTTP/1.1\r\n\r\n", 400, "without the dot"},
		{"inward address in absolute form", "GET http://169.254.169.254/latest/meta-data/ HTTP/1.1\r\n\r\n", 403, "not listed"},
		{"port 80 by default", "GET http://model.example/ HTTP/1.1\r\n\r\n", 403, "its address 127.0.0.1 is not allowed"},
		{"endless header", "CONNECT hub.example:" + port + " HTTP/1.1\r\nX: " + strings.Repeat("x", 1<<20), 431, "larger than"},
		{"endless line", "CONNECT " + strings.Repeat("x", 1<<20), 431, "larger than"},
		{"endless headers", "CONNECT hub.example:" + port + " HTTP/1.1\r\n" + strings.Repeat("X: y\r\n", 1<<16), 431, "larger than"},
		{"bad header", "CONNECT hub.example:" + port + " HTTP/1.1\r\nX y\r\n\r\n", 400, "not an HTTP request"},
		{"control characters", "CONNECT \x1b[31m:443 HTTP/1.1\r\n\r\n", 400, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, said := b.ask(t, tc.request)
			if status != tc.status || !strings.Contains(said.Message, tc.want) {
				t.Errorf("%d %+v, want %d %q", status, said, tc.status, tc.want)
			}
			e := b.journal.next(t)
			if e.Decision != "deny" || e.Reason != said.Message || e.Client != "dockerhub" || len(e.Reason) > maxReason+4 {
				t.Errorf("%+v", e)
			}
			if strings.ContainsFunc(e.Reason, func(r rune) bool { return r < ' ' || r > '~' && r != '…' }) {
				t.Errorf("the reason %q is not plain text", e.Reason)
			}
		})
	}
	b.journal.none(t)
	if got := b.names.asked; len(got) != 1 {
		t.Errorf("names were resolved: %q", got)
	}
}

func TestNoRequest(t *testing.T) {
	b := testBench(t, nil)
	b.dial(t, "dockerhub").Close()
	same(t, b.journal.next(t), entry{Client: "dockerhub", Decision: "deny", Reason: "ended before a request"})
}

// A client that sends a byte now and then must not hold its place by that.
func TestSlowRequest(t *testing.T) {
	b := testBench(t, func(l *limits) { l.headerTimeout = 20 * time.Millisecond })
	conn := b.dial(t, "dockerhub")
	go func() {
		for _, err := conn.Write([]byte("C")); err == nil; _, err = conn.Write([]byte("C")) {
			time.Sleep(time.Millisecond)
		}
	}()
	same(t, b.journal.next(t), entry{Client: "dockerhub", Decision: "deny", Reason: "no request within"})
}

func TestCallID(t *testing.T) {
	b := testBench(t, nil)
	for header, want := range map[string]string{
		"":                               "",
		"Bulkhead-Call: abc_DEF-123\r\n": "abc_DEF-123",
		"bulkhead-call: abc\r\n":         "abc",
		"Bulkhead-Call: a b\r\n":         "",
		"Bulkhead-Call: \r\n":            "",
		"Bulkhead-Call: a\r\nBulkhead-Call: b\r\n":           "",
		"Bulkhead-Call: " + strings.Repeat("x", 65) + "\r\n": "",
		"Bulkhead-Call: \",\"decision\":\"allow\"\r\n":       "",
	} {
		b.ask(t, "CONNECT evil.example:443 HTTP/1.1\r\n"+header+"\r\n")
		if e := b.journal.next(t); e.Call != want {
			t.Errorf("%q: %q, want %q", header, e.Call, want)
		}
	}
}

// spy is an upstream that keeps what it gets.
func spy(t *testing.T) (port uint16, got <-chan []byte) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	seen := make(chan []byte, 100)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				data, _ := io.ReadAll(conn)
				conn.Close()
				seen <- data
			}()
		}
	}()
	return portOf(l.Addr().String()), seen
}

// fragment cuts a ClientHello into TLS records of n bytes each.
func fragment(hello []byte, n int) []byte {
	var out []byte
	for body := hello[5:]; len(body) > 0; {
		part := body[:min(n, len(body))]
		body = body[len(part):]
		out = append(out, 22, 3, 1)
		out = binary.BigEndian.AppendUint16(out, uint16(len(part)))
		out = append(out, part...)
	}
	return out
}

// echConfig is a configuration list for Encrypted Client Hello with a key that nobody has.
func echConfig(t *testing.T, publicName string) []byte {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public := key.PublicKey().Bytes()
	contents := []byte{1, 0, 0x20} // config id; KEM DHKEM(X25519, HKDF-SHA256)
	contents = binary.BigEndian.AppendUint16(contents, uint16(len(public)))
	contents = append(contents, public...)
	contents = append(contents, 0, 4, 0, 1, 0, 1, 0) // HKDF-SHA256, AES-128-GCM; no maximum name length
	contents = append(contents, byte(len(publicName)))
	contents = append(contents, publicName...)
	contents = append(contents, 0, 0)
	config := binary.BigEndian.AppendUint16([]byte{0xfe, 0x0d}, uint16(len(contents)))
	config = append(config, contents...)
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(config))), config...)
}

// helloBench is an egress in front of a spy.
func helloBench(t *testing.T, timeout time.Duration) (*bench, uint16, <-chan []byte) {
	t.Helper()
	port, seen := spy(t)
	b := newBench(t, fmt.Sprintf(`
version: 1
clients:
  a:
    hosts:
      - {host: hub.example, port: %d, addresses: [127.0.0.0/8]}
      - {host: 127.0.0.1, port: %d, tls: none-for-ip, addresses: [127.0.0.0/8]}
`, port, port), func(l *limits) { l.helloTimeout = timeout })
	b.names.hosts["hub.example"] = []string{"127.0.0.1"}
	return b, port, seen
}

// A ClientHello that does not come, or stops half-way, or comes too slowly, ends the connection.
func TestSlowHello(t *testing.T) {
	b, port, seen := helloBench(t, 20*time.Millisecond)
	good := helloFor(t, &tls.Config{ServerName: "hub.example"})
	for _, tc := range []struct {
		first []byte
		drip  bool
	}{{nil, false}, {good[:len(good)/2], false}, {good[:5], true}} {
		conn := b.connect(t, "a", fmt.Sprintf("hub.example:%d", port))
		if _, err := conn.Write(tc.first); err != nil {
			t.Fatal(err)
		}
		if tc.drip {
			go func() {
				for _, c := range good[5 : len(good)-1] {
					time.Sleep(time.Millisecond)
					if _, err := conn.Write([]byte{c}); err != nil {
						return
					}
				}
			}()
		}
		_, _ = io.ReadAll(conn)
		same(t, b.journal.next(t), entry{Client: "a", Host: "hub.example", Port: int(port), Address: "127.0.0.1", Decision: "deny", Reason: "the client did not send it in time"})
		if got := <-seen; len(got) > 0 {
			t.Errorf("%d bytes reached the upstream", len(got))
		}
	}
}

// Nothing of what the client says reaches the upstream unless its ClientHello is for the host.
func TestHello(t *testing.T) {
	b, port, seen := helloBench(t, time.Hour)
	good := helloFor(t, &tls.Config{ServerName: "hub.example"})
	other := helloFor(t, &tls.Config{ServerName: "evil.example"})
	nameless := helloFor(t, &tls.Config{InsecureSkipVerify: true})
	ech := helloFor(t, &tls.Config{ServerName: "evil.example", EncryptedClientHelloConfigList: echConfig(t, "hub.example"), MinVersion: tls.VersionTLS13})
	if !bytes.Contains(ech, []byte("hub.example")) || bytes.Contains(ech, []byte("evil.example")) {
		t.Fatal("the encrypted ClientHello does not show the public name alone")
	}
	dotted := bytes.Replace(bytes.Clone(good), []byte("hub.example"), []byte("hub.exampl."), 1)
	protocols := make([]string, 100)
	for i := range protocols {
		protocols[i] = strings.Repeat("x", 200)
	}
	proper := helloFor(t, &tls.Config{ServerName: "hub.example", NextProtos: protocols})
	large := fragment(append([]byte{22, 3, 1, 0, 0, 1, 0, 0xff, 0xff}, make([]byte, 0xffff)...), 1<<14)
	for _, tc := range []struct {
		name, host string
		hello      []byte
		step       int // bytes a write; 0: all at once
		refused    string
	}{
		{"good", "hub.example", good, 0, ""},
		{"byte by byte", "hub.example", good, 1, ""},
		{"in small records", "hub.example", fragment(good, 7), 0, ""},
		{"in small records, byte by byte", "hub.example", fragment(good, 1), 1, ""},
		{"with more behind it", "hub.example", append(bytes.Clone(good), make([]byte, 100000)...), 0, ""},
		{"old", "hub.example", helloFor(t, &tls.Config{ServerName: "hub.example", MaxVersion: tls.VersionTLS12}), 0, ""},
		{"no name needed", "127.0.0.1", nameless, 0, ""},
		{"any name will do", "127.0.0.1", other, 0, ""},

		{"another name", "hub.example", other, 0, `names the server "evil.example"`},
		{"another name, byte by byte", "hub.example", other, 1, `names the server "evil.example"`},
		{"another name, in small records", "hub.example", fragment(other, 3), 0, `names the server "evil.example"`},
		{"no name", "hub.example", nameless, 0, "names no server"},
		{"a name below", "hub.example", helloFor(t, &tls.Config{ServerName: "a.hub.example"}), 0, "names the server"},
		{"a name with a dot", "hub.example", dotted, 0, "no ClientHello"},
		{"encrypted", "hub.example", ech, 0, "encrypted (ECH)"},
		{"encrypted, to an address", "127.0.0.1", ech, 0, "encrypted (ECH)"},
		{"HTTP", "hub.example", []byte("GET / HTTP/1.1\r\nHost: hub.example\r\n\r\n"), 0, "no ClientHello: tls: first record does not look like"},
		{"HTTP, to an address", "127.0.0.1", []byte("GET / HTTP/1.1\r\n\r\n"), 0, "no ClientHello: tls: first record does not look like"},
		{"SSH", "127.0.0.1", []byte("SSH-2.0-OpenSSH_9.9\r\n"), 0, "no ClientHello"},
		{"another handshake message", "hub.example", []byte{22, 3, 1, 0, 4, 20, 0, 0, 0}, 0, "no ClientHello"},
		{"an alert", "hub.example", []byte{21, 3, 1, 0, 2, 1, 0}, 0, "no ClientHello"},
		{"empty records", "hub.example", bytes.Repeat([]byte{22, 3, 1, 0, 0}, 1000), 0, "no ClientHello"},
		{"too large", "hub.example", large, 0, "no ClientHello: it is larger than 16384 bytes"},
		{"proper and too large", "hub.example", proper, 0, "no ClientHello: it is larger than 16384 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conn := b.connect(t, "a", fmt.Sprintf("%s:%d", tc.host, port))
			go func() {
				step := tc.step
				if step == 0 {
					step = len(tc.hello)
				}
				for rest := tc.hello; len(rest) > 0; {
					n := min(step, len(rest))
					if _, err := conn.Write(rest[:n]); err != nil {
						return
					}
					rest = rest[n:]
				}
				if tc.refused == "" {
					_ = conn.CloseWrite()
				}
			}()
			answer, _ := io.ReadAll(conn)
			e := b.journal.next(t)
			upstream := <-seen
			if tc.refused != "" {
				same(t, e, entry{Client: "a", Host: tc.host, Port: int(port), Address: "127.0.0.1", Decision: "deny", Reason: tc.refused})
				if len(upstream) > 0 {
					t.Errorf("%d bytes reached the upstream", len(upstream))
				}
				if !bytes.Equal(answer, alertAccessDenied()) {
					t.Errorf("the client got %x", answer)
				}
				return
			}
			same(t, e, entry{Client: "a", Host: tc.host, Port: int(port), Address: "127.0.0.1", Decision: "allow", Reason: "closed"})
			if !bytes.Equal(upstream, tc.hello) || e.BytesUp != int64(len(tc.hello)) {
				t.Errorf("%d of %d bytes reached the upstream, and the record says %d", len(upstream), len(tc.hello), e.BytesUp)
			}
		})
	}

	t.Run("the client hangs up", func(t *testing.T) {
		conn := b.connect(t, "a", fmt.Sprintf("hub.example:%d", port))
		conn.Close()
		same(t, b.journal.next(t), entry{Client: "a", Host: "hub.example", Port: int(port), Address: "127.0.0.1", Decision: "deny", Reason: "the client hung up"})
		<-seen
	})
	t.Run("sent together with CONNECT", func(t *testing.T) {
		conn := b.dial(t, "a")
		all := append([]byte(fmt.Sprintf("CONNECT hub.example:%d HTTP/1.1\r\n\r\n", port)), good...)
		if _, err := conn.Write(append(all, "and more"...)); err != nil {
			t.Fatal(err)
		}
		_ = conn.CloseWrite()
		if got := <-seen; string(got) != string(good)+"and more" {
			t.Errorf("%d bytes reached the upstream", len(got))
		}
		if e := b.journal.next(t); e.Decision != "allow" {
			t.Errorf("%+v", e)
		}
	})
	t.Run("a client reads the alert", func(t *testing.T) {
		conn := b.connect(t, "a", fmt.Sprintf("hub.example:%d", port))
		err := tls.Client(conn, &tls.Config{ServerName: "evil.example"}).HandshakeContext(t.Context())
		if err == nil || !strings.Contains(err.Error(), "access denied") {
			t.Errorf("%v", err)
		}
		b.journal.next(t)
		<-seen
	})
	b.journal.none(t)
}

func TestTunnelIdle(t *testing.T) {
	b := testBench(t, func(l *limits) { l.idleTimeout = 20 * time.Millisecond })
	conn := b.connect(t, "dockerhub", fmt.Sprintf("hub.example:%d", b.tlsPort))
	secure := tls.Client(conn, &tls.Config{ServerName: "hub.example", InsecureSkipVerify: true})
	// The handshake may be cut as well on a busy machine; what counts is that the tunnel ends.
	_ = secure.HandshakeContext(t.Context())
	_, _ = io.ReadAll(conn)
	same(t, b.journal.next(t), entry{Client: "dockerhub", Host: "hub.example", Port: int(b.tlsPort), Address: "127.0.0.1", Decision: "allow", Reason: "nothing was sent for too long"})
}

// A stream that never ends and never pauses ends all the same, with a record of what it moved.
func TestTunnelLifetime(t *testing.T) {
	b := testBench(t, func(l *limits) { l.lifetime = 300 * time.Millisecond })
	b.upstream.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 4096)); err != nil {
				return
			}
			time.Sleep(time.Millisecond) // or it is too large for the client first
		}
	})
	response, err := b.client(t, "dockerhub").Get(fmt.Sprintf("https://hub.example:%d/", b.tlsPort))
	if err == nil {
		_, err = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	}
	if err == nil {
		t.Error("the stream ended well")
	}
	e := b.journal.next(t)
	if e.Decision != "allow" || e.Reason != "the connection lasted too long" || *e.Duration < 300_000 {
		t.Errorf("%+v after %d µs", e, *e.Duration)
	}
}

// One client's connections are bounded, and another client does not feel it.
func TestConnectionCap(t *testing.T) {
	b := testBench(t, func(l *limits) { l.connections = 3 })
	target := fmt.Sprintf("hub.example:%d", b.tlsPort)
	open := []net.Conn{b.connect(t, "dockerhub", target), b.connect(t, "dockerhub", target), b.connect(t, "dockerhub", target)}
	status, said := b.ask(t, "CONNECT "+target+" HTTP/1.1\r\n\r\n")
	if status != 503 || said.Code != "busy" || !strings.Contains(said.Message, "3 connections open") {
		t.Errorf("%d %+v", status, said)
	}
	same(t, b.journal.next(t), entry{Client: "dockerhub", Decision: "deny", Reason: said.Message})
	if _, err := get(t, b.client(t, "dockerhub"), "", "https://"+target+"/"); err == nil || !strings.Contains(err.Error(), "3 connections open") {
		t.Errorf("%v", err)
	}
	b.journal.next(t)
	if _, err := get(t, b.client(t, "logs"), "", fmt.Sprintf("https://logs.example:%d/", b.tlsPort)); err != nil {
		t.Error(err)
	}
	if e := b.journal.next(t); e.Client != "logs" {
		t.Errorf("%+v", e)
	}
	open[0].Close()
	b.journal.next(t)
	// The slot is free a moment after the record.
	for {
		if _, err := get(t, b.client(t, "dockerhub"), "", "https://"+target+"/"); err == nil {
			break
		}
	}
}

func TestShutdown(t *testing.T) {
	b := testBench(t, func(l *limits) { l.shutdownGrace = time.Millisecond })
	b.connect(t, "dockerhub", fmt.Sprintf("hub.example:%d", b.tlsPort))
	tunnel := b.connect(t, "dockerhub", fmt.Sprintf("hub.example:%d", b.tlsPort))
	if err := tls.Client(tunnel, &tls.Config{ServerName: "hub.example", InsecureSkipVerify: true}).HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.stop()
	if err := <-b.done; err != nil {
		t.Error(err)
	}
	b.done <- nil
	reasons := b.journal.next(t).Reason + ", " + b.journal.next(t).Reason
	if reasons != "egress is stopping, egress is stopping" {
		t.Errorf("reasons %q", reasons)
	}
	if _, err := net.Dial("unix", b.socket("dockerhub")); err == nil {
		t.Error("the socket still answers")
	}
}

// Within the grace a connection ends by itself.
func TestShutdownGrace(t *testing.T) {
	b := testBench(t, func(l *limits) { l.shutdownGrace = time.Hour })
	began, release := make(chan struct{}), make(chan struct{})
	b.upstream.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(began)
		<-release
		fmt.Fprint(w, "in the end")
	})
	answers := make(chan string)
	go func() {
		got, err := get(t, b.client(t, "dockerhub"), "c", fmt.Sprintf("https://hub.example:%d/", b.tlsPort))
		answers <- fmt.Sprint(got, err)
	}()
	<-began
	b.stop()
	close(release)
	if got := <-answers; got != "in the end<nil>" {
		t.Errorf("%q", got)
	}
	same(t, b.journal.next(t), entry{Call: "c", Client: "dockerhub", Host: "hub.example", Port: int(b.tlsPort), Address: "127.0.0.1", Decision: "allow", Reason: "closed"})
}
