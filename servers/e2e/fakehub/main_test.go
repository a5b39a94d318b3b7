package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// The three subcommands together: certificates that a client believes, a server that uses them, its health.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	makeAll := []string{"certs", "--dir", dir, "--host", "hub.docker.com", "--host", "127.0.0.1", "fakehub"}
	discard := slog.New(slog.DiscardHandler)
	for range 2 { // the second time over files that cannot be written
		if err := run(t.Context(), discard, makeAll); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"ca.pem", "cert.pem", "key.pem"} {
		info, err := os.Stat(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o444 {
			t.Errorf("%s: mode %v", file, mode)
		}
	}

	ctx, stop := context.WithCancel(t.Context())
	var output buffer
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, slog.New(slog.NewJSONHandler(&output, nil)), []string{"--listen", "127.0.0.1:0", "--cert", cert, "--key", key})
	}()
	address := listening(t, &output, done)

	if err := run(t.Context(), discard, []string{"health", "--listen", address, "--cert", cert}); err != nil {
		t.Errorf("health: %v", err)
	}
	pem, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatal("ca.pem holds no certificate")
	}
	for name, good := range map[string]bool{"hub.docker.com": true, "fakehub": true, "127.0.0.1": true, "example.com": false} {
		dialer := tls.Dialer{Config: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: name}}
		conn, err := dialer.DialContext(t.Context(), "tcp", address)
		if (err == nil) != good {
			t.Errorf("as %s: %v", name, err)
		}
		if err == nil {
			conn.Close()
		}
	}

	stop()
	if err := <-done; err != nil {
		t.Errorf("the server's end: %v", err)
	}
	if err := run(t.Context(), discard, []string{"health", "--listen", address, "--cert", cert}); err == nil {
		t.Error("healthy after its end")
	}
}

func TestUsage(t *testing.T) {
	dir := t.TempDir()
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"certs"}, "needs --dir"},
		{[]string{"certs", "--dir", dir}, "--host"},
		{[]string{"--cert", filepath.Join(dir, "none"), "--key", "none"}, "--cert and --key"},
		{[]string{"health", "--cert", filepath.Join(dir, "none")}, "--cert"},
		{[]string{"extra"}, `unexpected argument "extra"`},
		{[]string{"--nothing"}, "not defined"},
	} {
		err := run(t.Context(), slog.New(slog.DiscardHandler), tc.args)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v: %v, want %q", tc.args, err, tc.want)
		}
	}
}

// listening waits for the log line that names the address.
func listening(t *testing.T, output *buffer, done <-chan error) string {
	t.Helper()
	pattern := regexp.MustCompile(`"address":"([^"]+)"`)
	for {
		select {
		case err := <-done:
			t.Fatalf("the server ended: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
		if match := pattern.FindStringSubmatch(output.String()); match != nil {
			if _, _, err := net.SplitHostPort(match[1]); err != nil {
				t.Fatal(err)
			}
			return match[1]
		}
	}
}

// buffer is a bytes.Buffer for two goroutines.
type buffer struct {
	mu   sync.Mutex
	data bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.String()
}
