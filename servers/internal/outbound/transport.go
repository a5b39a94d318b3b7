package outbound

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/egresspolicy"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
)

// viaEgress stands for egress's socket where net/http wants a proxy's URL. The name cannot be a
// destination: RFC 6761 keeps .invalid from existing, and RoundTrip refuses it.
const viaEgress = "egress.invalid:80"

// transports makes an [http.Transport] when it is first needed.
type transports struct {
	mu   sync.Mutex
	made map[*Client]*http.Transport
}

func (t *transports) get(c *Client) *http.Transport {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.made == nil {
		t.made = make(map[*Client]*http.Transport)
	}
	if t.made[c] == nil {
		t.made[c] = c.newTransport()
	}
	return t.made[c]
}

// newTransport makes a transport for one call. It speaks HTTP/1.1 alone, since a call has few requests;
// its connections end soon after the last of them.
func (c *Client) newTransport() *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	t := &http.Transport{
		DialContext:            c.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.roots, ClientSessionCache: c.sessions},
		TLSHandshakeTimeout:    handshakeTimeout,
		ResponseHeaderTimeout:  headerTimeout,
		MaxResponseHeaderBytes: maxResponseHeader,
		MaxConnsPerHost:        maxConnsPerHost,
		MaxIdleConnsPerHost:    maxConnsPerHost,
		IdleConnTimeout:        idleTimeout,
		Protocols:              &protocols,
	}
	if c.socket != nil {
		// Plain HTTP goes to egress as a whole, in absolute form, since there is no server name to hold it to.
		t.Proxy = func(r *http.Request) (*url.URL, error) {
			if r.URL.Scheme == "http" {
				return &url.URL{Scheme: "http", Host: viaEgress}, nil
			}
			return nil, nil
		}
		t.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if addr == viaEgress {
				return c.dialSocket(ctx, "egress")
			}
			return c.DialContext(ctx, network, addr)
		}
	}
	return t
}

// Transport returns an [http.RoundTripper] that reaches only what [Client.DialContext] reaches.
//
// Responses are bounded in time and size; a body that is too large ends in an error that wraps
// [limit.ErrTooLarge]. No proxy is taken from the environment. A request whose Host differs from its URL's,
// one with credentials in its URL, and an answer that redirects from one scheme to another are refused.
// Redirects are otherwise left to the caller; a hop to another host is checked like any request.
func (c *Client) Transport() http.RoundTripper { return roundTripper{c} }

type roundTripper struct{ client *Client }

func (rt roundTripper) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := rt.roundTrip(request)
	if err != nil && request.Body != nil {
		// Part of a RoundTripper's contract; a second Close does no harm.
		_ = request.Body.Close()
	}
	return response, err
}

func (rt roundTripper) roundTrip(request *http.Request) (*http.Response, error) {
	if err := rt.client.admit(request); err != nil {
		return nil, err
	}
	transport := rt.client.stray
	if c, ok := request.Context().Value(callKey{}).(*call); ok {
		transport = c.transports.get(rt.client)
	}
	ctx, cancel := context.WithTimeout(request.Context(), requestTimeout)
	outgoing := request.Clone(ctx)
	outgoing.Header.Del(egresspolicy.CallHeader)
	plain := request.URL.Scheme == "http" && rt.client.socket != nil
	if id := Call(ctx); plain && egresspolicy.ValidCall(id) {
		outgoing.Header.Set(egresspolicy.CallHeader, id)
	}
	response, err := transport.RoundTrip(outgoing)
	if err != nil {
		cancel()
		return nil, err
	}
	response.Request = request
	response.Body = &boundedBody{body: response.Body, left: maxBody, cancel: cancel}
	if err := inspect(response, plain); err != nil {
		_ = response.Body.Close()
		return nil, err
	}
	return response, nil
}

// admit refuses requests that say two things at once.
func (c *Client) admit(request *http.Request) error {
	u := request.URL
	refuse := func(reason string) error { return &DeniedError{Host: fmt.Sprintf("%.255q", u.Host), Reason: reason} }
	if u.Scheme != "https" && u.Scheme != "http" {
		return refuse("the scheme is neither https nor http")
	}
	if u.User != nil {
		return refuse("the URL holds credentials")
	}
	if u.Opaque != "" {
		return refuse("the URL has no host")
	}
	if request.Host != "" && request.Host != u.Host {
		return refuse(fmt.Sprintf("the Host header names another host, %.255q", request.Host))
	}
	target := u.Host
	if u.Port() == "" {
		target = strings.TrimSuffix(target, ":") + map[string]string{"https": ":443", "http": ":80"}[u.Scheme]
	}
	host, port, err := egresspolicy.ParseTarget(target)
	if err != nil {
		return refuse(err.Error())
	}
	if target == viaEgress {
		return refuse("the name is reserved")
	}
	if c.socket != nil {
		return nil
	}
	rule, err := c.rule(host, port)
	if err != nil {
		return err
	}
	if plain := rule.TLS == egresspolicy.Plain; plain != (u.Scheme == "http") {
		return &DeniedError{Host: host, Reason: fmt.Sprintf("it is allowed with tls: %s, and so not by %s", rule.TLS, u.Scheme)}
	}
	return nil
}

// inspect refuses an answer by its header.
func inspect(response *http.Response, viaProxy bool) error {
	host := response.Request.URL.Hostname()
	// An answer that egress itself gives to plain HTTP says so in a header that it strips from upstreams' answers.
	if viaProxy && response.Header.Get(egresspolicy.RefusedHeader) != "" {
		return refusal(host, response)
	}
	// Its body would be the bare connection, whose reads no context ends.
	if response.StatusCode == http.StatusSwitchingProtocols {
		return fmt.Errorf("%s changes to a protocol that nobody asked for", host)
	}
	if response.ContentLength > maxBody {
		return fmt.Errorf("%w: the answer of %s announces %d bytes, more than %d", limit.ErrTooLarge, host, response.ContentLength, int64(maxBody))
	}
	if response.StatusCode/100 != 3 {
		return nil
	}
	if location, err := response.Location(); err == nil && location.Scheme != response.Request.URL.Scheme {
		return &DeniedError{Host: host, Reason: fmt.Sprintf("it redirects from %s to %.20q", response.Request.URL.Scheme, location.Scheme)}
	}
	return nil
}

// boundedBody ends in an error where an upstream sends more than it may.
type boundedBody struct {
	body   io.ReadCloser
	left   int64
	cancel context.CancelFunc
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	if int64(n) > b.left {
		n = int(b.left)
		b.left = 0
		return n, fmt.Errorf("%w: the answer has more than %d bytes", limit.ErrTooLarge, int64(maxBody))
	}
	b.left -= int64(n)
	return n, err
}

func (b *boundedBody) Close() error {
	defer b.cancel()
	return b.body.Close()
}
