package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/confine"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/daemon"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/listen"
)

// buffer is a log that is read while it is written.
type buffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

type opened struct {
	address   string   // of the first way
	addresses []string // of each
	health    listen.Address
	log       *buffer
	stop      context.CancelFunc
	done      chan error
}

// open runs a door to path and waits until it serves.
func open(t *testing.T, path string, set func(*limits)) *opened {
	t.Helper()
	return openWays(t, set, path)
}

// openWays runs a door with a port for each path.
func openWays(t *testing.T, set func(*limits), paths ...string) *opened {
	t.Helper()
	o := &opened{
		health: listen.Address{Network: listen.Unix, Path: filepath.Join(t.TempDir(), "h")},
		log:    new(buffer),
		done:   make(chan error, 1),
	}
	d := newDoor(slog.New(slog.NewJSONHandler(o.log, nil)), confine.Sandbox{})
	if set != nil {
		set(&d.limits)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	o.stop = cancel
	at := addresses{health: o.health}
	for _, path := range paths {
		at.ways = append(at.ways, way{listen.Address{Network: listen.TCP, Path: "127.0.0.1:0"}, listen.Address{Network: listen.Unix, Path: path}})
	}
	go func() { o.done <- d.run(ctx, at) }()
	for strings.Count(o.log.String(), "\n") < len(paths) {
		time.Sleep(time.Millisecond)
	}
	for text := range strings.Lines(o.log.String()) {
		var line struct{ Listen string }
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		o.addresses = append(o.addresses, strings.TrimPrefix(line.Listen, "tcp://"))
	}
	o.address = o.addresses[0]
	t.Cleanup(func() {
		cancel()
		if err := <-o.done; err != nil {
			t.Error(err)
		}
	})
	return o
}

func (o *opened) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", o.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// echo answers every connection with what it got, once the other side has said all.
func echo(t *testing.T, path string) <-chan struct{} {
	t.Helper()
	accepted := make(chan struct{}, 100)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- struct{}{}
			go func() {
				defer conn.Close()
				data, err := io.ReadAll(conn)
				if err == nil {
					_, _ = conn.Write(append([]byte("echo "), data...))
				}
			}()
		}
	}()
	return accepted
}

func ask(t *testing.T, conn *net.TCPConn, question string) string {
	t.Helper()
	if _, err := io.WriteString(conn, question); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

func TestDoor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "g")
	echo(t, path)
	o := open(t, path, nil)
	if err := listen.CheckHealth(t.Context(), o.health); err != nil {
		t.Error(err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			question := strings.Repeat("x", 1<<20)
			if got := ask(t, o.dial(t), question); got != "echo "+question {
				t.Errorf("%d bytes", len(got))
			}
		})
	}
	wg.Wait()
}

// A gateway that is down closes connections, and is one line in the log however many clients try.
func TestDoorGatewayDown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "g")
	o := open(t, path, nil)
	for range 5 {
		if n, err := o.dial(t).Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
	if n := strings.Count(o.log.String(), "cannot be reached"); n != 1 {
		t.Errorf("%d lines:\n%s", n, o.log)
	}
	echo(t, path)
	if got := ask(t, o.dial(t), "hello"); got != "echo hello" {
		t.Errorf("%q", got)
	}
	if !strings.Contains(o.log.String(), "can be reached again") {
		t.Errorf("log:\n%s", o.log)
	}
}

func TestDoorIdle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "g")
	echo(t, path)
	o := open(t, path, func(l *limits) { l.idleTimeout = 20 * time.Millisecond })
	if n, err := o.dial(t).Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// Each port leads to the socket in its place, and to no other.
func TestDoorWays(t *testing.T) {
	one, two := filepath.Join(t.TempDir(), "g"), filepath.Join(t.TempDir(), "e")
	echo(t, one)
	o := openWays(t, nil, one, two)
	conn, err := net.Dial("tcp", o.addresses[0])
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(t, conn.(*net.TCPConn), "one"); got != "echo one" {
		t.Errorf("%q", got)
	}
	if conn, err = net.Dial("tcp", o.addresses[1]); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("nobody listens on the other socket, and it says %d bytes, %v", n, err)
	}
	if !strings.Contains(o.log.String(), `"to":"unix://`+two+`"`) {
		t.Errorf("log:\n%s", o.log)
	}
}

// With every slot taken the next client waits, and is served when one is free.
func TestDoorCap(t *testing.T) {
	path := filepath.Join(t.TempDir(), "g")
	echo(t, path)
	o := open(t, path, func(l *limits) { l.connections = 2 })
	first, second, third := o.dial(t), o.dial(t), o.dial(t)
	if _, err := io.WriteString(third, "third"); err != nil {
		t.Fatal(err)
	}
	if err := third.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := third.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := third.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("a third connection was served: %d, %v", n, err)
	}
	if err := third.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, first, "first"); got != "echo first" {
		t.Errorf("%q", got)
	}
	if got, err := io.ReadAll(third); err != nil || string(got) != "echo third" {
		t.Errorf("%q, %v", got, err)
	}
	if got := ask(t, second, "second"); got != "echo second" {
		t.Errorf("%q", got)
	}
}

// Told to stop, a door lets open connections end, takes no new ones, and cuts what goes on for too long.
func TestDoorStops(t *testing.T) {
	path := filepath.Join(t.TempDir(), "g")
	accepted := echo(t, path)
	o := open(t, path, func(l *limits) { l.shutdownGrace = time.Hour })
	conn := o.dial(t)
	if _, err := io.WriteString(conn, "hel"); err != nil {
		t.Fatal(err)
	}
	<-accepted
	o.stop()
	for {
		c, err := net.Dial("tcp", o.address)
		if err != nil {
			break
		}
		c.Close()
	}
	if got := ask(t, conn, "lo"); got != "echo hello" {
		t.Errorf("%q", got)
	}
	if err := listen.CheckHealth(t.Context(), o.health); err == nil {
		t.Error("healthy after the end")
	}

	cut := open(t, path, func(l *limits) { l.shutdownGrace = time.Millisecond })
	conn = cut.dial(t)
	cut.stop()
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestCommand(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args string
		code int
		want string
	}{
		{"version", daemon.ExitOK, "door "},
		{"--help", daemon.ExitOK, "usage:"},
		{"version --listen x", daemon.ExitUsage, "flag provided but not defined"},
		{"version now", daemon.ExitUsage, `unexpected argument "now"`},
		{"open", daemon.ExitUsage, `unknown command "open"`},
		{"", daemon.ExitUsage, "--to is missing"},
		{"--to unix:///g/s --to unix:///e/s", daemon.ExitUsage, "0 times --listen and 2 times --to"},
		{"--listen tcp://127.0.0.1:0 --to unix:///g/s --listen tcp://127.0.0.1:1", daemon.ExitUsage, "2 times --listen and 1 times --to"},
		{"--listen tcp://127.0.0.1:0 --to unix:///g/s --listen tcp://127.0.0.1:0 --to unix:///the/egress/s", daemon.ExitUsage, "the path /the/egress/s has 13 characters"},
		{"--verbose", daemon.ExitUsage, "flag provided but not defined: -verbose"},
		{"--to unix:///g/s now", daemon.ExitUsage, `unexpected argument "now"`},
		{"--to tcp://127.0.0.1:4000", daemon.ExitUsage, "is not unix:///PATH"},
		{"--to /g/s", daemon.ExitUsage, "write unix:///PATH"},
		{"--to unix:///gateway/sock", daemon.ExitUsage, "has 13 characters, more than 12: door may connect to nothing but short Unix paths"},
		{"serve --to unix:///g/s --listen unix:///l/s", daemon.ExitUsage, "is not tcp://IP:PORT"},
		{"--to unix:///g/s --listen tcp://localhost:4000", daemon.ExitUsage, "is not an IP address"},
		{"--to unix:///g/s --health tcp://127.0.0.1:1", daemon.ExitUsage, "is not unix:///PATH"},
		{"--to unix:///g/s --listen tcp://127.0.0.1:0 --health unix://" + dir + "/none/s", daemon.ExitFailed, "there is no folder " + dir + "/none"},
		{"--to unix:///g/s --listen tcp://127.0.0.1:0 --health unix://" + dir + "/f", daemon.ExitFailed, "is not a socket"},
		{"--to unix:///g/s --listen tcp://192.0.2.1:1", daemon.ExitFailed, "--listen: "},
		{"health --health unix://" + dir + "/s", daemon.ExitFailed, "no such file"},
		{"health --to unix:///g/s", daemon.ExitUsage, "flag provided but not defined"},
	} {
		var out bytes.Buffer
		code := program().Run(t.Context(), strings.Fields(tc.args), &out, &out)
		if code != tc.code || !strings.Contains(out.String(), tc.want) {
			t.Errorf("door %s: exit code %d, want %d, with %q:\n%s", tc.args, code, tc.code, tc.want, &out)
		}
	}
	// Twelve characters are not too many.
	if _, err := pair(nil, []listen.Address{{Network: listen.Unix, Path: "/" + strings.Repeat("g", maxTo-1)}}); err != nil {
		t.Error(err)
	}
}
