package processes

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/outbound"
)

const (
	streamSize  = 64 << 20 // bytes of one stream
	streams     = 40       // each way, in turns; the median counts
	connections = 300      // each way, one after the other; the median counts
	tunnels     = 100      // idle, at one time
)

// up and down are what a client asks the upstream of the benchmark for, with its first byte after the handshake's.
const (
	down = 'd' // send the client a stream
	up   = 'u' // take a stream, and say when it was all there
	ping = 'p' // say one byte
)

// upstream is a server that does as it is asked. What a client says first is a ClientHello, or it would not get here
// through egress: nothing else of TLS is spoken, since its work would hide what egress costs.
func upstream(b *testing.B, hello []byte) string {
	b.Helper()
	l, err := new(net.ListenConfig).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = l.Close() })
	serve := func(conn net.Conn) error {
		first := make([]byte, len(hello)+1)
		if _, err := io.ReadFull(conn, first); err != nil {
			return err
		}
		switch first[len(hello)] {
		case down:
			block := make([]byte, 256<<10)
			for sent := 0; sent < streamSize; sent += len(block) {
				if _, err := conn.Write(block); err != nil {
					return err
				}
			}
		case up:
			if err := drain(conn); err != nil {
				return err
			}
			fallthrough
		case ping:
			if _, err := conn.Write([]byte{ping}); err != nil {
				return err
			}
		}
		_, err := io.Copy(io.Discard, conn)
		return err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = serve(conn)
				_ = conn.Close()
			}()
		}
	}()
	return l.Addr().String()
}

// clientHello is what a client of TLS says first.
func clientHello(b *testing.B) []byte {
	b.Helper()
	near, far := net.Pipe()
	go func() { _ = tls.Client(near, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(b.Context()) }()
	header := make([]byte, 5)
	_, err := io.ReadFull(far, header)
	body := make([]byte, int(header[3])<<8|int(header[4]))
	_, bodyErr := io.ReadFull(far, body)
	if err := errors.Join(err, bodyErr, far.Close(), near.Close()); err != nil {
		b.Fatal(err)
	}
	return append(header, body...)
}

// route is a way to the upstream.
type route func() (net.Conn, error)

// ask opens a connection and asks the upstream for something.
func (r route) ask(hello []byte, what byte) (net.Conn, error) {
	conn, err := r()
	if err != nil {
		return nil, err
	}
	_, err = conn.Write(append(bytes.Clone(hello), what))
	return conn, err
}

// through is the way that servers go.
func through(b *testing.B, socket, target string) route {
	b.Helper()
	client, err := outbound.New(outbound.Config{Egress: "unix://" + socket})
	if err != nil {
		b.Fatal(err)
	}
	return func() (net.Conn, error) { return client.DialContext(b.Context(), "tcp", target) }
}

// BenchmarkEgress prints what it costs to go through egress, against the same without it, in turns: streams in both
// directions, connections, and the memory of idle tunnels.
func BenchmarkEgress(b *testing.B) {
	dir := prepare(b)
	hello := clientHello(b)
	target := upstream(b, hello)
	_, port, err := net.SplitHostPort(target)
	if err != nil {
		b.Fatal(err)
	}
	policy := fmt.Sprintf("version: 1\nclients:\n  dockerhub:\n    hosts:\n      - {host: 127.0.0.1, port: %s, tls: none-for-ip, addresses: [127.0.0.0/8]}\n", port)
	if err := os.WriteFile(filepath.Join(dir, "egress.yaml"), []byte(policy), 0o644); err != nil {
		b.Fatal(err)
	}
	part := bundle(dir)[0]
	process, _ := start(b, filepath.Join(dir, "bin", part.name), strings.Fields(strings.ReplaceAll(part.args, "DIR", dir)), part.ask)
	b.Cleanup(func() { stop(b, process) })
	direct := route(func() (net.Conn, error) { return new(net.Dialer).DialContext(b.Context(), "tcp", target) })
	tunnel := through(b, filepath.Join(dir, "c/dockerhub/s"), target)

	idle(b, process, tunnel, hello)
	for _, way := range []struct {
		name string
		what byte
	}{{"down, from the upstream", down}, {"up, to the upstream", up}} {
		var plain, carried []time.Duration
		for range streams {
			plain = append(plain, stream(b, direct, hello, way.what))
			carried = append(carried, stream(b, tunnel, hello, way.what))
		}
		b.Logf("a stream %s: %.2f of the same stream direct (%.0f and %.0f MB/s; medians of %d streams of %d MB, in turns; %.2f for the fastest tenth)",
			way.name, median(plain).Seconds()/median(carried).Seconds(), rate(median(carried)), rate(median(plain)), streams, streamSize>>20,
			fast(plain).Seconds()/fast(carried).Seconds())
	}
	var plain, carried []time.Duration
	for range connections {
		plain = append(plain, connection(b, direct, hello))
		carried = append(carried, connection(b, tunnel, hello))
	}
	b.Logf("a connection, to the first byte of an answer: %.2f ms more than direct (%.2f and %.2f ms; medians of %d)",
		ms(median(carried))-ms(median(plain)), ms(median(carried)), ms(median(plain)), connections)
}

// stream moves streamSize bytes and returns how long that took.
func stream(b *testing.B, r route, hello []byte, what byte) time.Duration {
	b.Helper()
	began := time.Now()
	conn, err := r.ask(hello, what)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if what == down {
		if err := drain(conn); err != nil {
			b.Fatal(err)
		}
		return time.Since(began)
	}
	block := make([]byte, 256<<10)
	for sent := 0; sent < streamSize; sent += len(block) {
		if _, err := conn.Write(block); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := io.ReadFull(conn, block[:1]); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

// drain reads a stream.
func drain(conn net.Conn) error {
	block := make([]byte, 256<<10)
	for got := 0; got < streamSize; {
		n, err := conn.Read(block)
		if err != nil {
			return err
		}
		got += n
	}
	return nil
}

// connection opens one and waits for a byte.
func connection(b *testing.B, r route, hello []byte) time.Duration {
	b.Helper()
	began := time.Now()
	conn, err := r.ask(hello, ping)
	if err != nil {
		b.Fatal(err)
	}
	_, err = io.ReadFull(conn, make([]byte, 1))
	took := time.Since(began)
	if err := errors.Join(err, conn.Close()); err != nil {
		b.Fatal(err)
	}
	return took
}

// idle opens tunnels, lets them lie, and reads egress's memory before and with them.
func idle(b *testing.B, process *os.Process, tunnel route, hello []byte) {
	b.Helper()
	time.Sleep(idleFor)
	before := resident(b, process.Pid)
	for range tunnels {
		conn, err := tunnel.ask(hello, ping)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = conn.Close() })
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			b.Fatal(err)
		}
	}
	time.Sleep(idleFor)
	with := resident(b, process.Pid)
	b.Logf("%d idle tunnels: %.1f MB more resident than without (%.1f and %.1f MB)", tunnels, (with-before)/1e6, with/1e6, before/1e6)
}

func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}

// fast is the slowest of the fastest tenth.
func fast(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/10]
}

func rate(d time.Duration) float64 { return streamSize / 1e6 / d.Seconds() }
