package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/daemon"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/listen"
)

func TestCommand(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	good := write("good.yaml", "version: 1\nclients: {a: {presets: [docker.io-api]}}\n")
	bad := write("bad.yaml", "version: 1\nclients:\n  a: {preset: [docker.io-api]}\n")
	long := filepath.Join(dir, strings.Repeat("x", 120))
	for _, tc := range []struct {
		args string
		code int
		want string
	}{
		{"version", daemon.ExitOK, "egress "},
		{"-h", daemon.ExitOK, "usage:"},
		{"serve --help", daemon.ExitOK, "usage:"},
		{"check-config --policy " + good, daemon.ExitOK, "a may reach hub.docker.com:443 (tls: sni, addresses: public)\n"},
		{"check-config --policy policy.yaml", daemon.ExitOK, "dockerhub may reach hub.docker.com:443 (tls: sni, addresses: public)\n"},
		{"check-config --policy " + bad, daemon.ExitFailed, bad + ":3: unknown key preset"},
		{"check-config --policy " + dir + "/none", daemon.ExitFailed, "no such file"},
		{"check-config", daemon.ExitUsage, "--policy is missing"},
		{"check-config --policy " + good + " --sockets /s", daemon.ExitUsage, "flag provided but not defined: -sockets"},
		{"version 2", daemon.ExitUsage, `unexpected argument "2"`},
		{"dial", daemon.ExitUsage, `unknown command "dial"`},
		{"", daemon.ExitUsage, "--sockets is missing"},
		{"--sockets " + dir, daemon.ExitUsage, "--policy is missing"},
		{"--policy " + good, daemon.ExitUsage, "--sockets is missing"},
		{"--policy " + good + " --sockets " + dir + " now", daemon.ExitUsage, `unexpected argument "now"`},
		{"--allow-all", daemon.ExitUsage, "flag provided but not defined: -allow-all"},
		{"serve --policy " + bad + " --sockets " + dir, daemon.ExitFailed, bad + ":3: unknown key preset"},
		{"--policy " + good + " --sockets " + dir, daemon.ExitFailed, "the socket of client a: listen on unix://" + dir + "/a/s: there is no folder " + dir + "/a"},
		{"--policy " + good + " --sockets " + long, daemon.ExitFailed, "a Unix socket's is at most 107"},
		{"--policy " + good + " --sockets " + dir + " --health tcp://127.0.0.1:1", daemon.ExitUsage, "is not unix:///PATH"},
		{"--policy " + good + " --sockets " + dir + " --health /h/s", daemon.ExitUsage, "write unix:///PATH"},
		{"health --health unix://" + dir + "/h", daemon.ExitFailed, "no such file"},
		{"health --policy " + good, daemon.ExitUsage, "flag provided but not defined"},
	} {
		var out bytes.Buffer
		code := program().Run(t.Context(), strings.Fields(tc.args), &out, &out)
		if code != tc.code || !strings.Contains(out.String(), tc.want) {
			t.Errorf("egress %s: exit code %d, want %d, with %q:\n%s", tc.args, code, tc.code, tc.want, &out)
		}
	}
}

// The process as it is started in the bundle, with sockets that an earlier run left behind.
func TestServe(t *testing.T) {
	dir := t.TempDir()
	policy := filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(policy, []byte("version: 1\nclients: {a: {presets: [ghcr.io]}, b: {presets: [quay.io]}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	health := "unix://" + filepath.Join(dir, "h")
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		var log bytes.Buffer
		codes := make(chan int, 1)
		go func() {
			codes <- program().Run(ctx, []string{"--policy", policy, "--sockets", dir, "--health", health}, &log, &log)
		}()
		for program().Run(t.Context(), []string{"health", "--health", health}, &bytes.Buffer{}, &bytes.Buffer{}) != daemon.ExitOK {
			select {
			case code := <-codes:
				t.Fatalf("egress ended with %d: %s", code, &log)
			case <-time.After(time.Millisecond):
			}
		}
		for _, name := range []string{"a", "b"} {
			info, err := os.Lstat(filepath.Join(dir, name, "s"))
			if err != nil {
				t.Fatal(err)
			}
			if info.Mode() != os.ModeSocket|0o660 {
				t.Errorf("mode %v", info.Mode())
			}
			conn, err := listen.Dial(t.Context(), listen.Address{Network: listen.Unix, Path: filepath.Join(dir, name, "s")})
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
		}
		cancel()
		if code := <-codes; code != daemon.ExitOK {
			t.Errorf("exit code %d: %s", code, &log)
		}
	}
}
