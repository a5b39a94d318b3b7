package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/egresspolicy"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/relay"
)

// forward serves a request in absolute form, for destinations with tls: plain. One request a connection, so that
// each is checked, dialled and recorded by itself, and nothing can be smuggled in behind one.
func (x *exchange) forward(ctx context.Context, request *http.Request) error {
	host, port, err := plainTarget(request.URL)
	if err != nil {
		return err
	}
	upstream, rule, err := x.reach(ctx, host, port, func(mode egresspolicy.TLS) error {
		if mode != egresspolicy.Plain {
			return denied("the destination is listed with tls: %s; reach it over TLS, with CONNECT", mode)
		}
		return nil
	})
	if err != nil {
		return err
	}
	wire := &metered{Conn: upstream, idle: x.limits.idleTimeout}
	defer func() {
		_ = wire.Close()
		x.record.up, x.record.down = wire.up.Load(), wire.down.Load()
	}()
	stop := context.AfterFunc(ctx, func() { _ = wire.Close() })
	defer stop()

	client := &metered{Conn: x.conn, idle: x.limits.idleTimeout}
	// What the reader has buffered comes first; after that each read of the body has the idle time.
	x.from.Reader = client
	_ = x.conn.SetReadDeadline(time.Now().Add(x.limits.idleTimeout))
	if err := outgoing(request, rule, client); err != nil {
		return err
	}
	transport := oneConnection(wire, x.limits.idleTimeout)
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request.WithContext(ctx))
	if err != nil {
		return upstreamError(ctx, err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusSwitchingProtocols {
		return upstreamError(ctx, errors.New("the upstream switches protocols, which it was not asked for"))
	}
	x.record.decide(allow, outcome(answer(response, request.Method, client)))
	return nil
}

// plainTarget reads the destination of a request in absolute form.
func plainTarget(u *url.URL) (string, uint16, error) {
	switch {
	case u.Scheme == "" || u.Host == "":
		return "", 0, invalid("this is a proxy: use CONNECT HOST:PORT, or http://HOST/… for a destination with tls: plain")
	case u.Scheme != "http":
		return "", 0, invalid("scheme %q in absolute form; use CONNECT for TLS", asciiOf(u.Scheme))
	case u.User != nil:
		return "", 0, invalid("the URL holds credentials")
	}
	target := u.Host
	if u.Port() == "" {
		target = strings.TrimSuffix(target, ":") + ":80"
	}
	host, port, err := egresspolicy.ParseTarget(target)
	if err != nil {
		return "", 0, invalid("%v", err)
	}
	return host, port, nil
}

// outgoing makes the client's request one that can be sent on.
func outgoing(request *http.Request, rule egresspolicy.Rule, client io.Writer) error {
	if strings.EqualFold(request.Header.Get("Expect"), "100-continue") {
		// The client waits for it, and the transport will not pass the upstream's on.
		if _, err := io.WriteString(client, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
			return err
		}
	}
	request.Header.Del("Expect")
	request.Header.Del(egresspolicy.CallHeader)
	dropHopByHop(request.Header)
	if _, named := request.Header["User-Agent"]; !named {
		// Present and empty: the transport shall not add its own.
		request.Header["User-Agent"] = nil
	}
	// The Host header was already replaced by the URL's (RFC 9112 section 3.2.2); this fixes its spelling.
	request.URL.Host, request.Host = rule.Destination(), ""
	request.RequestURI = ""
	request.Trailer = nil
	return nil
}

// oneConnection is a transport over a connection that is already open, to an address that was already checked.
func oneConnection(conn net.Conn, timeout time.Duration) *http.Transport {
	var taken atomic.Bool
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	return &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			if taken.Swap(true) {
				return nil, errors.New("a second connection for one request")
			}
			return conn, nil
		},
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxAnswer,
		ResponseHeaderTimeout:  timeout,
		Protocols:              &protocols,
	}
}

// upstreamError keeps a cause that lies in this process apart from the upstream's.
func upstreamError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if egresspolicy.IsTimeout(err) {
		return &refusal{http.StatusGatewayTimeout, egresspolicy.CodeTimeout, "the upstream did not answer in time"}
	}
	return &refusal{http.StatusBadGateway, egresspolicy.CodeUnavailable, asciiOf(err.Error())}
}

// answer sends the upstream's answer to the client.
func answer(response *http.Response, method string, client io.Writer) error {
	dropHopByHop(response.Header)
	response.Header.Del(egresspolicy.RefusedHeader)
	response.ProtoMajor, response.ProtoMinor = 1, 1
	response.Close = true
	response.Trailer = nil
	response.TransferEncoding = nil
	if response.ContentLength < 0 && method != http.MethodHead {
		// Chunked, so that the client can tell an answer that broke off from one that ended.
		response.TransferEncoding = []string{"chunked"}
	}
	return response.Write(client)
}

// dropHopByHop removes what is between two neighbours only (RFC 9110 section 7.6.1).
func dropHopByHop(h http.Header) {
	for _, line := range h.Values("Connection") {
		for name := range strings.SplitSeq(line, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range []string{
		"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	} {
		h.Del(name)
	}
}

// metered is a connection whose every read and write has the idle time, and which counts bytes. While something
// is sent, whoever waits for the answer is not idle either.
type metered struct {
	relay.Conn
	idle     time.Duration
	up, down atomic.Int64
}

func (m *metered) Read(p []byte) (int, error) {
	if err := m.SetReadDeadline(time.Now().Add(m.idle)); err != nil {
		return 0, err
	}
	n, err := m.Conn.Read(p)
	m.down.Add(int64(n))
	return n, err
}

func (m *metered) Write(p []byte) (int, error) {
	if err := m.SetDeadline(time.Now().Add(m.idle)); err != nil {
		return 0, err
	}
	n, err := m.Conn.Write(p)
	m.up.Add(int64(n))
	return n, err
}
