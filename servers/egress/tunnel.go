package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/egresspolicy"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/relay"
)

const established = "HTTP/1.1 200 Connection established\r\n\r\n"

// TLS extensions by which a ClientHello hides the server's real name: Encrypted Client Hello (RFC 9849) and
// the draft before it.
const (
	extensionECH  = 0xfe0d
	extensionESNI = 0xffce
)

// tunnel serves CONNECT. The upstream is dialled first, so that the client learns whether it is there; it gets
// no byte before the ClientHello was read whole and found to be for the host that was asked for.
func (x *exchange) tunnel(ctx context.Context, request *http.Request) error {
	if request.ContentLength != 0 || len(request.TransferEncoding) > 0 {
		return invalid("CONNECT has no body")
	}
	// The line as it was sent: net/url would take apart, and accept, what is no HOST:PORT.
	host, port, err := egresspolicy.ParseTarget(request.RequestURI)
	if err != nil {
		return invalid("CONNECT: %v", err)
	}
	upstream, rule, err := x.reach(ctx, host, port, func(mode egresspolicy.TLS) error {
		if mode == egresspolicy.Plain {
			return denied("the destination is listed with tls: plain; ask for it in absolute form (GET http://…), not with CONNECT")
		}
		return nil
	})
	if err != nil {
		return err
	}
	defer func() { _ = upstream.Close() }()

	_ = x.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := io.WriteString(x.conn, established); err != nil {
		x.record.decide(allow, outcome(err))
		return nil
	}
	_ = x.conn.SetReadDeadline(time.Now().Add(x.limits.helloTimeout))
	hello, err := readHello(ctx, x.reader)
	if err == nil {
		err = hello.check(rule)
	}
	if cause := context.Cause(ctx); cause != nil && err != nil {
		err = cause
	}
	if err != nil {
		// After the 200 there is no refusing in HTTP. TLS has words of its own.
		x.record.decide(deny, err.Error())
		x.record.write(ctx, x.logger)
		_ = x.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
		_, _ = x.conn.Write(alertAccessDenied())
		return nil
	}
	x.carry(ctx, upstream, hello.bytes)
	return nil
}

// carry sends the upstream what was read of the client so far, and then relays.
func (x *exchange) carry(ctx context.Context, upstream relay.Conn, first []byte) {
	buffered, _ := x.reader.Peek(x.reader.Buffered())
	first = append(first, buffered...)
	_ = upstream.SetWriteDeadline(time.Now().Add(writeTimeout))
	n, err := upstream.Write(first)
	x.record.up = int64(n)
	if err != nil {
		x.record.decide(allow, outcome(err))
		return
	}
	result := relay.Carry(ctx, x.conn, upstream, x.limits.idleTimeout)
	x.record.up += result.Up
	x.record.down = result.Down
	x.record.decide(allow, outcome(result.Err))
}

// hello is what a ClientHello says about where it wants to go.
type hello struct {
	serverName string
	extensions []uint16
	bytes      []byte // everything that was read to get it, which the upstream must see
}

func (h hello) check(rule egresspolicy.Rule) error {
	if slices.Contains(h.extensions, extensionECH) || slices.Contains(h.extensions, extensionESNI) {
		return errors.New("the ClientHello is encrypted (ECH), so the server's name cannot be seen; switch ECH off in the client")
	}
	if rule.TLS == egresspolicy.NoneForIP {
		return nil
	}
	if h.serverName == "" {
		return errors.New("the ClientHello names no server (SNI)")
	}
	// A name that is no proper host name is equal to none.
	if name, err := egresspolicy.ParseHost(h.serverName); err != nil || name != rule.Host {
		return fmt.Errorf("the ClientHello names the server %.255q", h.serverName)
	}
	return nil
}

// errSeen stops the handshake that [readHello] begins.
var errSeen = errors.New("the ClientHello was seen")

// readHello reads a ClientHello. It lets crypto/tls do that, as a server that gives up once it has one: the
// parser is the one whose faults get found and mended by others.
func readHello(ctx context.Context, r io.Reader) (hello, error) {
	var seen *hello
	recorder := &recorder{from: io.LimitReader(r, maxHello)}
	server := tls.Server(recorder, &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
			seen = &hello{serverName: info.ServerName, extensions: slices.Clone(info.Extensions)}
			return nil, errSeen
		},
	})
	err := server.HandshakeContext(ctx)
	if seen == nil {
		return hello{}, fmt.Errorf("no ClientHello: %s", noHello(recorder.seen.Len(), err))
	}
	seen.bytes = recorder.seen.Bytes()
	return *seen, nil
}

func noHello(read int, err error) string {
	switch {
	case read >= maxHello:
		return fmt.Sprintf("it is larger than %d bytes", maxHello)
	case egresspolicy.IsTimeout(err):
		return "the client did not send it in time"
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return "the client hung up"
	case err == nil:
		return "the handshake ended without one"
	}
	return asciiOf(err.Error())
}

// alertAccessDenied is a fatal alert in a TLS 1.2 record (RFC 8446 section 6), so that the client says "access denied"
// rather than "connection reset".
func alertAccessDenied() []byte {
	const recordAlert, fatal, accessDenied = 21, 2, 49
	return []byte{recordAlert, 3, 3, 0, 2, fatal, accessDenied}
}

// recorder is the connection that crypto/tls believes to have: it keeps what is read and drops what is written.
type recorder struct {
	from io.Reader
	seen bytes.Buffer
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.seen.Write(p[:n])
	return n, err
}

func (r *recorder) Write(p []byte) (int, error)      { return len(p), nil }
func (r *recorder) Close() error                     { return nil }
func (r *recorder) LocalAddr() net.Addr              { return &net.UnixAddr{Net: "unix"} }
func (r *recorder) RemoteAddr() net.Addr             { return &net.UnixAddr{Net: "unix"} }
func (r *recorder) SetDeadline(time.Time) error      { return nil }
func (r *recorder) SetReadDeadline(time.Time) error  { return nil }
func (r *recorder) SetWriteDeadline(time.Time) error { return nil }
