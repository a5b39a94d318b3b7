package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/confine"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/egresspolicy"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/listen"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/outbound"
)

// entry is a record of egress, as it stands in its log.
type entry struct {
	Msg, Call, Client, Host, Address, Decision, Reason string
	Port                                               int
	BytesUp                                            int64  `json:"bytes_up"`
	BytesDown                                          int64  `json:"bytes_down"`
	Duration                                           *int64 `json:"duration_us"`
}

// journal collects the records of an egress while it runs.
type journal struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	entries chan entry
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.buf.Write(p)
	var e entry
	if err := json.Unmarshal(p, &e); err != nil {
		e.Reason = "not JSON: " + err.Error()
	}
	if e.Msg == "connection" || e.Reason != "" {
		j.entries <- e
	}
	return len(p), nil
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

// next waits for a record.
func (j *journal) next(t *testing.T) entry {
	t.Helper()
	e := <-j.entries
	if e.Duration == nil {
		t.Errorf("a record without its duration: %+v", e)
	}
	return e
}

// none fails if there is a record that nobody asked for.
func (j *journal) none(t *testing.T) {
	t.Helper()
	select {
	case e := <-j.entries:
		t.Errorf("one record too many: %+v", e)
	default:
	}
}

// names is a resolver of fixed names.
type names struct {
	mu    sync.Mutex
	hosts map[string][]string
	asked []string
}

func (n *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, host)
	host = strings.TrimSuffix(host, ".")
	if host == "slow.example" {
		return nil, &net.DNSError{Err: "i/o timeout", Name: host, IsTimeout: true}
	}
	if host == "broken.example" {
		panic("the resolver is broken")
	}
	answers, ok := n.hosts[host]
	if !ok {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	var addrs []netip.Addr
	for _, a := range answers {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	return addrs, nil
}

// authority signs certificates in memory.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	file        string // the certificate as PEM
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &authority{certificate, key, file}
}

// tls returns a server's configuration that is good for every name that it is asked for, and for 127.0.0.1.
func (a *authority) tls(t testing.TB) *tls.Config {
	t.Helper()
	// A whole configuration, because httptest puts a certificate of its own into the outer one.
	inner := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		template := &x509.Certificate{
			SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		}
		if hello.ServerName != "" {
			template.DNSNames = []string{hello.ServerName}
		}
		der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
		return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
	}}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return inner, nil }}
}

// bench is an egress with two upstreams behind it: one over TLS, one plain.
type bench struct {
	ca       *authority
	upstream *httptest.Server
	plain    *httptest.Server
	tlsPort  uint16
	port     uint16
	names    *names
	journal  *journal
	dir      string
	health   listen.Address
	stop     context.CancelFunc
	done     chan error
}

func portOf(address string) uint16 { return netip.MustParseAddrPort(address).Port() }

// newBench starts an egress. policy is the text of the policy, with TLS and PLAIN for the upstreams' ports.
func newBench(t *testing.T, policy string, set func(*limits)) *bench {
	t.Helper()
	b := &bench{
		ca:      newAuthority(t),
		names:   &names{hosts: map[string][]string{}},
		journal: &journal{entries: make(chan entry, 1000)},
		dir:     t.TempDir(),
		done:    make(chan error, 1),
	}
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s", r.Method, r.Host, r.URL, body)
	})
	b.upstream = httptest.NewUnstartedServer(answer)
	b.upstream.TLS = b.ca.tls(t)
	b.upstream.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	b.upstream.StartTLS()
	t.Cleanup(b.upstream.Close)
	b.plain = httptest.NewServer(answer)
	t.Cleanup(b.plain.Close)
	b.tlsPort, b.port = portOf(b.upstream.Listener.Addr().String()), portOf(b.plain.Listener.Addr().String())

	policy = strings.NewReplacer("TLS", fmt.Sprint(b.tlsPort), "PLAIN", fmt.Sprint(b.port)).Replace(policy)
	parsed, err := egresspolicy.Parse("policy.yaml", strings.NewReader(policy))
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(parsed, slog.New(slog.NewJSONHandler(b.journal, nil)), confine.Sandbox{})
	s.resolver = b.names
	if set != nil {
		set(&s.limits)
	}
	for _, c := range parsed.Clients {
		if err := os.Mkdir(filepath.Join(b.dir, c.Name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	b.health = listen.Address{Network: listen.Unix, Path: filepath.Join(b.dir, "health")}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	b.stop = cancel
	go func() { b.done <- s.run(ctx, b.dir, b.health) }()
	for listen.CheckHealth(t.Context(), b.health) != nil {
		select {
		case err := <-b.done:
			t.Fatalf("egress ended: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	t.Cleanup(func() {
		cancel()
		if err := <-b.done; err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bench) socket(client string) string { return filepath.Join(b.dir, client, "s") }

// client is a server's way out through this egress.
func (b *bench) client(t *testing.T, name string) *http.Client {
	t.Helper()
	return &http.Client{Transport: b.outbound(t, name).Transport()}
}

func (b *bench) outbound(t *testing.T, name string) *outbound.Client {
	t.Helper()
	c, err := outbound.New(outbound.Config{Egress: "unix://" + b.socket(name), CAFile: b.ca.file})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// dial is a client that says what it likes.
func (b *bench) dial(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	conn, err := net.Dial("unix", b.socket(name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.UnixConn)
}

// ask sends bytes on dockerhub's socket and reads egress's answer.
func (b *bench) ask(t *testing.T, request string) (int, egresspolicy.Refusal) {
	t.Helper()
	conn := b.dial(t, "dockerhub")
	go func() { _, _ = io.WriteString(conn, request) }()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%.100q: %v", request, err)
	}
	defer response.Body.Close()
	var said egresspolicy.Refusal
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusOK {
		if err := json.Unmarshal(body, &said); err != nil {
			t.Errorf("%.100q: %d %q: %v", request, response.StatusCode, body, err)
		}
		if got := response.Header.Get(egresspolicy.RefusedHeader); got != string(said.Code) || response.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%.100q: header %v", request, response.Header)
		}
	}
	return response.StatusCode, said
}

// connect opens a tunnel and returns it after the 200.
func (b *bench) connect(t *testing.T, name, target string) *net.UnixConn {
	t.Helper()
	conn := b.dial(t, name)
	if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\n\r\n", target); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(established))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != established {
		t.Fatalf("%q, %v", got, err)
	}
	return conn
}

// helloFor is the ClientHello of a client that wants serverName.
func helloFor(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	var sent bytes.Buffer
	client := tls.Client(&sink{&sent}, config)
	_ = client.Handshake()
	return sent.Bytes()
}

// sink is a connection that keeps what is written and has nothing to read.
type sink struct{ sent *bytes.Buffer }

func (s *sink) Read([]byte) (int, error)         { return 0, io.EOF }
func (s *sink) Write(p []byte) (int, error)      { return s.sent.Write(p) }
func (s *sink) Close() error                     { return nil }
func (s *sink) LocalAddr() net.Addr              { return nil }
func (s *sink) RemoteAddr() net.Addr             { return nil }
func (s *sink) SetDeadline(time.Time) error      { return nil }
func (s *sink) SetReadDeadline(time.Time) error  { return nil }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }
