package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/confine"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/egresspolicy"
)

// counting is a resolver that sends every name to a spy on the loopback interface.
type counting struct{ asked atomic.Int64 }

func (c *counting) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	c.asked.Add(1)
	if host != "hub.example." && host != "m.example." {
		return nil, &net.DNSError{Err: "not a name of the policy", Name: host}
	}
	return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
}

// socketPair is a connected pair of Unix sockets: a fuzzer is too quick for files.
func socketPair(t *testing.T) (*net.UnixConn, *net.UnixConn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socket")
		conn, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
		ends[i] = conn.(*net.UnixConn)
	}
	return ends[0], ends[1]
}

// Whatever a client sends, there is one record; what reaches the upstream begins with a ClientHello for the
// host or is plain HTTP; and a name is resolved only if the policy has it.
func FuzzExchange(f *testing.F) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { l.Close() })
	got := make(chan []byte, 1)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(time.Second))
			data, _ := io.ReadAll(conn)
			conn.Close()
			got <- data
		}
	}()
	port := portOf(l.Addr().String())
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	client := egresspolicy.Client{Name: "a", Rules: []egresspolicy.Rule{
		{Host: "hub.example", Port: port, TLS: egresspolicy.SNI, Addresses: loopback},
		{Host: "m.example", Port: port, TLS: egresspolicy.Plain, Addresses: loopback},
	}}

	hello := string(helloFor(f, &tls.Config{ServerName: "hub.example"}))
	evil := string(helloFor(f, &tls.Config{ServerName: "evil.example"}))
	f.Add("CONNECT hub.example:PORT HTTP/1.1\r\nBulkhead-Call: x\r\n\r\n" + hello)
	f.Add("CONNECT hub.example:PORT HTTP/1.1\r\n\r\n" + evil)
	f.Add("CONNECT hub.example:PORT HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n")
	f.Add("CONNECT m.example:PORT HTTP/1.1\r\n\r\n" + hello)
	f.Add("GET http://m.example:PORT/ HTTP/1.1\r\n\r\n")
	f.Add("POST http://m.example:PORT/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")
	f.Add("GET http://hub.example:PORT/ HTTP/1.1\r\n\r\n")
	f.Add("CONNECT user@hub.example:PORT HTTP/1.1\r\n\r\n" + hello)
	f.Add("")
	f.Fuzz(func(t *testing.T, in string) {
		in = strings.ReplaceAll(in, "PORT", itoa(port))
		var log bytes.Buffer
		s := newServer(&egresspolicy.Policy{Clients: []egresspolicy.Client{client}}, slog.New(slog.NewJSONHandler(&log, nil)), confine.Sandbox{})
		resolver := new(counting)
		s.resolver = resolver
		near, far := socketPair(t)
		go func() {
			_, _ = io.WriteString(far, in)
			_ = far.CloseWrite()
		}()
		answers := make(chan []byte, 1)
		go func() {
			answer, _ := io.ReadAll(far)
			answers <- answer
		}()
		s.newExchange(near, client).serve(t.Context())
		answer := <-answers
		_ = far.Close()

		lines := bytes.Split(bytes.TrimSpace(log.Bytes()), []byte("\n"))
		var e entry
		if err := json.Unmarshal(lines[0], &e); err != nil || len(lines) != 1 || e.Msg != "connection" {
			t.Fatalf("the log of one connection:\n%s", &log)
		}
		if e.Decision != "allow" && e.Decision != "deny" || e.Reason == "" {
			t.Errorf("%+v", e)
		}
		if e.Call != "" && !egresspolicy.ValidCall(e.Call) {
			t.Errorf("call id %q", e.Call)
		}
		if resolver.asked.Load() > 1 {
			t.Errorf("%d names resolved", resolver.asked.Load())
		}
		if len(answer) > 0 && !bytes.HasPrefix(answer, []byte("HTTP/1.1 ")) {
			t.Errorf("the client got %.100q", answer)
		}
		if e.Address == "" {
			if resolver.asked.Load() > 0 {
				t.Errorf("resolved and not dialled: %+v", e)
			}
			return
		}
		upstream := <-got
		switch {
		case e.Decision == "deny" && len(upstream) > 0:
			t.Errorf("%d bytes went up: %+v", len(upstream), e)
		case e.Host == "hub.example" && len(upstream) > 0:
			h, err := readHello(t.Context(), bytes.NewReader(upstream))
			if err != nil || !strings.EqualFold(h.serverName, "hub.example") {
				t.Errorf("a ClientHello for %q, %v, went up", h.serverName, err)
			}
		case e.Host == "m.example" && len(upstream) > 0:
			// A request whose body broke off is one that the upstream sees broken off.
			r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(upstream)))
			if err != nil || r.Host != net.JoinHostPort("m.example", itoa(port)) || r.URL.Host != "" || len(r.Header.Values(egresspolicy.CallHeader)) > 0 {
				t.Errorf("%v: %q went up", err, upstream)
			}
		}
	})
}

func itoa(port uint16) string {
	return strings.TrimPrefix(netip.AddrPortFrom(netip.IPv4Unspecified(), port).String(), "0.0.0.0:")
}

// What was read to see a ClientHello is what was sent, and the name is what a second look finds.
func FuzzReadHello(f *testing.F) {
	good := helloFor(f, &tls.Config{ServerName: "hub.example"})
	f.Add(good, uint8(0))
	f.Add(fragment(good, 5), uint8(3))
	f.Add(helloFor(f, &tls.Config{InsecureSkipVerify: true}), uint8(1))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), uint8(1))
	f.Add([]byte{22, 3, 1, 0, 5, 1, 0, 0, 1, 0}, uint8(0))
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		h, err := readHello(t.Context(), &steps{in, int(step)})
		if err != nil {
			if h.bytes != nil || h.serverName != "" || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Errorf("%+v, %q", h, err)
			}
			return
		}
		if !bytes.HasPrefix(in, h.bytes) || len(h.bytes) > maxHello {
			t.Errorf("%d of %d bytes", len(h.bytes), len(in))
		}
		again, err := readHello(t.Context(), bytes.NewReader(h.bytes))
		if err != nil || again.serverName != h.serverName {
			t.Errorf("%q becomes %q, %v", h.serverName, again.serverName, err)
		}
		// The name is there in clear, and the whole of a rule's check hangs on it.
		if rule := (egresspolicy.Rule{Host: "hub.example", TLS: egresspolicy.SNI}); h.check(rule) == nil && !strings.EqualFold(h.serverName, "hub.example") {
			t.Errorf("%q passes", h.serverName)
		}
	})
}

// steps gives its bytes a few at a time.
type steps struct {
	rest []byte
	step int
}

func (s *steps) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := len(p)
	if s.step > 0 {
		n = min(n, s.step)
	}
	n = copy(p[:n], s.rest)
	s.rest = s.rest[n:]
	return n, nil
}
