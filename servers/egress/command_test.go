package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
		{"version", exitOK, "egress "},
		{"-h", exitOK, "usage:"},
		{"serve --help", exitOK, "usage:"},
		{"check-config --policy " + good, exitOK, "a may reach hub.docker.com:443 (tls: sni, addresses: public)\n"},
		{"check-config --policy policy.yaml", exitOK, "dockerhub may reach hub.docker.com:443 (tls: sni, addresses: public)\n"},
		{"check-config --policy " + bad, exitFailed, bad + ":3: unknown key preset"},
		{"check-config --policy " + dir + "/none", exitFailed, "no such file"},
		{"check-config", exitUsage, "a flag is missing"},
		{"check-config --policy " + good + " --sockets /s", exitUsage, "flag provided but not defined: -sockets"},
		{"version 2", exitUsage, `unexpected argument "2"`},
		{"dial", exitUsage, `unknown command "dial"`},
		{"", exitUsage, "a flag is missing"},
		{"--policy " + good, exitUsage, "a flag is missing"},
		{"--policy " + good + " --sockets " + dir + " now", exitUsage, `unexpected argument "now"`},
		{"--allow-all", exitUsage, "flag provided but not defined: -allow-all"},
		{"serve --policy " + bad + " --sockets " + dir, exitFailed, bad + ":3: unknown key preset"},
		{"--policy " + good + " --sockets " + dir, exitFailed, "the socket of client a: listen on unix://" + dir + "/a/s: there is no folder " + dir + "/a"},
		{"--policy " + good + " --sockets " + long, exitFailed, "a Unix socket's is at most 107"},
		{"--policy " + good + " --sockets " + dir + " --health tcp://127.0.0.1:1", exitUsage, "is not a Unix socket"},
		{"--policy " + good + " --sockets " + dir + " --health /h/s", exitUsage, "write unix:///PATH"},
		{"health --health unix://" + dir + "/h", exitFailed, "no such file"},
		{"health --policy " + good, exitUsage, "flag provided but not defined"},
	} {
		var out bytes.Buffer
		code := run(t.Context(), strings.Fields(tc.args), &out, &out)
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
			codes <- run(ctx, []string{"--policy", policy, "--sockets", dir, "--health", health}, &log, &log)
		}()
		for run(t.Context(), []string{"health", "--health", health}, &bytes.Buffer{}, &bytes.Buffer{}) != exitOK {
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
		if code := <-codes; code != exitOK {
			t.Errorf("exit code %d: %s", code, &log)
		}
	}
}
