package main

import (
	"bufio"
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"

	fakehub "github.com/bulkhead-mcp/bulkhead/servers/e2e/fakehub/hub"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/egresspolicy"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/outbound"
)

// testHost is a name that httptest's certificate is good for.
const testHost = "example.com"

// egressFor plays egress on a Unix socket: it answers CONNECT and carries bytes to the address, whatever the
// name. It returns the socket's path, and the call ids that it was told.
func egressFor(t *testing.T, address string, answer int) (socket string, calls func() []string) {
	t.Helper()
	// A short folder: a socket's path has at most 107 bytes.
	dir, err := os.MkdirTemp("", "hub") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket = filepath.Join(dir, "s")
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var seen []string
	var tunnels sync.WaitGroup
	t.Cleanup(func() {
		_ = listener.Close()
		tunnels.Wait()
	})
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			tunnels.Go(func() {
				defer conn.Close()
				reader := bufio.NewReader(conn)
				request, err := http.ReadRequest(reader)
				if err != nil || request.Method != http.MethodConnect || request.Host != testHost+":443" {
					t.Errorf("egress was asked for %+v, %v", request, err)
					return
				}
				mu.Lock()
				seen = append(seen, request.Header.Get(egresspolicy.CallHeader))
				mu.Unlock()
				if answer != http.StatusOK {
					refuse(conn, answer)
					return
				}
				tunnel(t.Context(), conn, reader, address)
			})
		}
	}()
	return socket, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return append([]string(nil), seen...)
	}
}

func refuse(conn net.Conn, status int) {
	body, err := json.Marshal(egresspolicy.Refusal{Code: "denied", Message: "not in the policy of dockerhub"})
	if err != nil {
		return
	}
	recorder := httptest.NewRecorder()
	recorder.WriteHeader(status)
	_, _ = recorder.Write(body)
	response := recorder.Result()
	response.ContentLength = int64(len(body))
	_ = response.Write(conn)
}

func tunnel(ctx context.Context, conn net.Conn, reader io.Reader, address string) {
	var dialer net.Dialer
	upstream, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return
	}
	defer upstream.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
	go func() {
		_, _ = io.Copy(upstream, reader)
		_ = upstream.Close()
	}()
	_, _ = io.Copy(conn, upstream)
}

// hubBehind returns a client that goes through the socket with the real transport.
func hubBehind(t *testing.T, socket string, server *httptest.Server) *hub {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := outbound.New(outbound.Config{Egress: "unix://" + socket, CAFile: ca})
	if err != nil {
		t.Fatal(err)
	}
	h := newHub(mcpserver.Env{Logger: testLogger(), Outbound: func() (*outbound.Client, error) { return client, nil }}, anonymous(t))
	h.base = &url.URL{Scheme: "https", Host: testHost}
	return h
}

// The whole way out but the container: the client over the real transport, through a socket, to the fake.
func TestThroughEgress(t *testing.T) {
	server := httptest.NewTLSServer(fake())
	t.Cleanup(server.Close)

	t.Run("allowed", func(t *testing.T) {
		socket, calls := egressFor(t, server.Listener.Addr().String(), http.StatusOK)
		h := hubBehind(t, socket, server)
		ctx := outbound.WithCall(t.Context(), "call-1")
		out, err := h.listTags(ctx, listTagsIn{Repository: "nginx", Order: "newest"})
		if err != nil || len(out.Tags) != defaultLimit || out.Total != fakehub.NginxTags {
			t.Errorf("%d of %d tags, %v", len(out.Tags), out.Total, err)
		}
		if seen := calls(); len(seen) != 1 || seen[0] != "call-1" {
			t.Errorf("egress was told the calls %q", seen)
		}
		_, err = h.getRepository(ctx, getRepositoryIn{Repository: fakehub.Endless})
		wantError(t, err, mcpserver.CodeTooLarge)
		_, err = h.getRepository(ctx, getRepositoryIn{Repository: fakehub.Redirects})
		wantError(t, err, mcpserver.CodeUnavailable, "redirected")
		h.timeout = shortTimeout
		_, err = h.getRepository(ctx, getRepositoryIn{Repository: fakehub.Silent})
		wantError(t, err, mcpserver.CodeTimeout)
	})
	t.Run("denied", func(t *testing.T) {
		socket, _ := egressFor(t, "", http.StatusForbidden)
		_, err := hubBehind(t, socket, server).getRepository(t.Context(), getRepositoryIn{Repository: "nginx"})
		wantError(t, err, mcpserver.CodeDenied, testHost, "not in the policy of dockerhub")
	})
	t.Run("egress cannot dial", func(t *testing.T) {
		socket, _ := egressFor(t, "", http.StatusBadGateway)
		_, err := hubBehind(t, socket, server).getRepository(t.Context(), getRepositoryIn{Repository: "nginx"})
		wantError(t, err, mcpserver.CodeUnavailable, "docker.io/library/nginx")
	})
	t.Run("egress timed out", func(t *testing.T) {
		socket, _ := egressFor(t, "", http.StatusGatewayTimeout)
		_, err := hubBehind(t, socket, server).getRepository(t.Context(), getRepositoryIn{Repository: "nginx"})
		wantError(t, err, mcpserver.CodeTimeout)
	})
	t.Run("no egress", func(t *testing.T) {
		_, err := hubBehind(t, filepath.Join(t.TempDir(), "none"), server).getRepository(t.Context(), getRepositoryIn{Repository: "nginx"})
		wantError(t, err, mcpserver.CodeUnavailable, "egress does not answer")
	})
}
