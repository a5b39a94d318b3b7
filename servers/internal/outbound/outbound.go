// Package outbound is a server's one way to an upstream: a dial function and an HTTP transport, with bounds,
// that go through the egress socket or, outside the bundle, hold to the same rules themselves.
//
// Through egress no name is resolved here: egress is asked for HOST:PORT and answers with a tunnel or with
// a reason. In direct mode the name is resolved once, every address is checked, and only those are dialled.
//
// The transport carries TLS end to end; egress sees the server's name and no more. Redirects are not
// followed by a transport: the client that uses it does that, and each hop is a destination of its own.
package outbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/egresspolicy"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/listen"
)

// The bounds of this package.
const (
	maxBody           = 64 << 20         // bytes of one response's body, after decompression
	maxResponseHeader = 64 << 10         // bytes of one response's header
	maxConnectAnswer  = 16 << 10         // bytes of egress's answer to CONNECT
	maxReason         = 1 << 10          // bytes of a reason that egress gives
	maxCAFile         = 1 << 20          // bytes
	maxConnsPerHost   = 8                // of one call
	maxSessions       = 64               // TLS sessions that are kept for resumption
	socketTimeout     = 2 * time.Second  // to reach egress's socket
	socketBuffer      = 640 << 10        // bytes on their way to egress; with less, both ends wait for each other most of the time
	connectTimeout    = 30 * time.Second // for egress's answer; it resolves a name and tries some addresses
	handshakeTimeout  = 10 * time.Second
	headerTimeout     = 30 * time.Second // from request to response header
	requestTimeout    = 2 * time.Minute  // from request to the end of the body, if the context has no earlier end
	idleTimeout       = time.Second      // of a connection that its call may use again
)

// Direct is the Config.Egress of a server that dials by itself.
const Direct = "direct"

// Config says how a server gets out.
type Config struct {
	Egress string              // "unix:///PATH" or "direct"
	CAFile string              // PEM certificates that are trusted beside the system's; may be empty
	Allow  []egresspolicy.Rule // direct mode only: the server's own hosts and the operator's
}

// Client is a server's way out. It is safe for concurrent use.
type Client struct {
	socket   *listen.Address // nil in direct mode
	allow    []egresspolicy.Rule
	roots    *x509.CertPool
	sessions tls.ClientSessionCache
	resolver egresspolicy.Resolver // direct mode only
	stray    *http.Transport       // for requests that belong to no call
}

// New checks c and returns the client.
func New(c Config) (*Client, error) {
	client := &Client{sessions: tls.NewLRUClientSessionCache(maxSessions)}
	if c.Egress == Direct {
		client.allow = slices.Clone(c.Allow)
		client.resolver = &net.Resolver{PreferGo: true}
	} else {
		if len(c.Allow) > 0 {
			return nil, errors.New("hosts are allowed here only in direct mode; an egress socket has its own policy")
		}
		address, err := listen.Parse(c.Egress)
		if err != nil || address.Network != listen.Unix {
			return nil, fmt.Errorf("egress %q: write unix:///PATH or direct", c.Egress)
		}
		client.socket = &address
	}
	roots, err := readRoots(c.CAFile)
	if err != nil {
		return nil, err
	}
	client.roots = roots
	client.stray = client.newTransport()
	return client, nil
}

// readRoots returns the system's roots, and those of file if one is named. They are read at start: a confined process
// opens no files later.
func readRoots(file string) (*x509.CertPool, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		// A machine without roots of its own has just the operator's.
		roots = x509.NewCertPool()
	}
	if file == "" {
		return roots, nil
	}
	f, err := os.Open(file) //nolint:gosec // the operator names the file on the command line
	if err != nil {
		return nil, fmt.Errorf("CA file: %w", err)
	}
	defer func() { _ = f.Close() }()
	pem, err := limit.ReadAll(f, maxCAFile)
	if err != nil {
		return nil, fmt.Errorf("CA file %s: %w", file, err)
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CA file %s holds no PEM certificate", file)
	}
	return roots, nil
}

// DeniedError says that a destination may not be reached: by egress's policy, or by the rules of direct mode.
type DeniedError = egresspolicy.DeniedError

// UnavailableError says that a destination could not be reached though it may be: egress does not answer, or
// the upstream does not. Where time ran out, it wraps [context.DeadlineExceeded].
type UnavailableError struct {
	Host   string
	Reason string
	Err    error // may be nil
}

func (e *UnavailableError) Error() string { return e.Host + " cannot be reached: " + e.Reason }

func (e *UnavailableError) Unwrap() error { return e.Err }

func unavailable(host, reason string, err error) error {
	if egresspolicy.IsTimeout(err) {
		err = errors.Join(context.DeadlineExceeded, err)
	}
	return &UnavailableError{Host: host, Reason: reason, Err: err}
}

// DialContext connects to addr, which is HOST:PORT, over TCP. Errors about the destination are
// [*DeniedError] and [*UnavailableError]. It is what an upstream's library takes for its dial function; such a
// library should not keep connections for longer than one call, since egress records the call that opened one.
func (c *Client) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, &DeniedError{Host: addr, Reason: "network " + network + " is not TCP"}
	}
	host, port, err := egresspolicy.ParseTarget(addr)
	if err != nil {
		return nil, &DeniedError{Host: fmt.Sprintf("%.255q", addr), Reason: err.Error()}
	}
	if c.socket != nil {
		return c.connect(ctx, host, port)
	}
	rule, err := c.rule(host, port)
	if err != nil {
		return nil, err
	}
	conn, _, err := egresspolicy.Dial(ctx, c.resolver, rule)
	var denied *DeniedError
	switch {
	case err == nil:
		return conn, nil
	case errors.As(err, &denied):
		return nil, denied
	case ctx.Err() != nil:
		return nil, fmt.Errorf("dial %s: %w", host, context.Cause(ctx))
	}
	return nil, unavailable(host, err.Error(), err)
}

// rule finds the rule of direct mode, and says in a refusal which flag would have allowed it.
func (c *Client) rule(host string, port uint16) (egresspolicy.Rule, error) {
	rule, err := egresspolicy.Find(c.allow, host, port)
	if denied, ok := errors.AsType[*DeniedError](err); ok {
		denied.Reason += "; allow it with --allow-host " + egresspolicy.Rule{Host: host, Port: port}.Destination()
	}
	return rule, err
}

type callKey struct{}

// call is what the requests of one call share.
type call struct {
	id         string
	transports transports
}

// WithCall makes what is done under the context a part of the call with this audit id. Egress records the id
// with every connection. Connections are kept and used again within one call and never by another, so that
// egress's records tell which call reached which host, and how much it sent.
func WithCall(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, callKey{}, &call{id: id})
}

// Call returns the audit id that [WithCall] put into the context, or "".
func Call(ctx context.Context) string {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c.id
	}
	return ""
}

// prefixed is a connection of which some bytes were read already.
type prefixed struct {
	net.Conn
	prefix *bytes.Reader
}

func (p *prefixed) Read(b []byte) (int, error) {
	if p.prefix.Len() > 0 {
		return p.prefix.Read(b)
	}
	return p.Conn.Read(b)
}
