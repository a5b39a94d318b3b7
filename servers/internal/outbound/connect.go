package outbound

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/egresspolicy"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/listen"
)

// connect asks egress for a tunnel. host and port are parsed, so nothing of them can end the request's line.
func (c *Client) connect(ctx context.Context, host string, port uint16) (net.Conn, error) {
	conn, err := c.dialSocket(ctx, host)
	if err != nil {
		return nil, err
	}
	// Whatever ends the context ends a read that waits for the answer.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	tunnel, err := c.handshake(ctx, conn, host, port)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		if cause := context.Cause(ctx); cause != nil {
			return nil, fmt.Errorf("connect to %s through egress: %w", host, cause)
		}
		return nil, err
	}
	return tunnel, nil
}

func (c *Client) dialSocket(ctx context.Context, host string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, socketTimeout)
	defer cancel()
	conn, err := listen.Dial(ctx, *c.socket)
	if err != nil {
		return nil, unavailable(host, "egress does not answer: "+err.Error(), err)
	}
	if socket, ok := conn.(*net.UnixConn); ok {
		_ = socket.SetWriteBuffer(socketBuffer) // the kernel gives less if it may not give as much
	}
	return conn, nil
}

func (c *Client) handshake(ctx context.Context, conn net.Conn, host string, port uint16) (net.Conn, error) {
	if err := conn.SetDeadline(time.Now().Add(connectTimeout)); err != nil {
		return nil, unavailable(host, "egress hung up", err)
	}
	target := egresspolicy.Rule{Host: host, Port: port}.Destination()
	request := "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n"
	if id := Call(ctx); egresspolicy.ValidCall(id) {
		request += egresspolicy.CallHeader + ": " + id + "\r\n"
	}
	// Egress may answer "busy" without having read a thing, so a failed write is not the end.
	_, writeErr := io.WriteString(conn, request+"\r\n")
	reader := bufio.NewReader(io.LimitReader(conn, maxConnectAnswer))
	response, err := http.ReadResponse(reader, &http.Request{Method: http.MethodConnect})
	if err != nil {
		err = errors.Join(err, writeErr)
		return nil, unavailable(host, "egress gives no proper answer: "+err.Error(), err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, refusal(host, response)
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return nil, unavailable(host, "egress hung up", err)
	}
	return unread(conn, reader)
}

// unread gives back what the upstream sent together with egress's answer.
func unread(conn net.Conn, reader *bufio.Reader) (net.Conn, error) {
	if reader.Buffered() == 0 {
		return conn, nil
	}
	early := make([]byte, reader.Buffered())
	if _, err := io.ReadFull(reader, early); err != nil {
		return nil, fmt.Errorf("read from the tunnel: %w", err)
	}
	return &prefixed{Conn: conn, prefix: bytes.NewReader(early)}, nil
}

// refusal turns an answer of egress that is not 200 into an error.
func refusal(host string, response *http.Response) error {
	said := egresspolicy.Refusal{Message: "status " + response.Status}
	body, err := limit.ReadAll(response.Body, maxConnectAnswer)
	if err == nil {
		var parsed egresspolicy.Refusal
		if json.Unmarshal(body, &parsed) == nil && parsed.Message != "" {
			said = parsed
		}
	}
	reason := said.Message[:min(len(said.Message), maxReason)]
	switch response.StatusCode {
	case http.StatusForbidden:
		return &DeniedError{Host: host, Reason: reason}
	case http.StatusGatewayTimeout:
		return &UnavailableError{Host: host, Reason: reason, Err: context.DeadlineExceeded}
	}
	return &UnavailableError{Host: host, Reason: reason}
}
