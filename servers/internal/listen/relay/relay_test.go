package relay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"
)

const (
	long  = time.Hour
	short = 20 * time.Millisecond
)

// pair returns the two ends of one connection.
func pair(t *testing.T, network string) (Conn, Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a.(Conn), b.(Conn)
}

// start relays between two connections and returns their outer ends.
func start(t *testing.T, ctx context.Context, nearNetwork, farNetwork string, idle time.Duration) (client, upstream Conn, done <-chan Result) {
	t.Helper()
	client, near := pair(t, nearNetwork)
	upstream, far := pair(t, farNetwork)
	results := make(chan Result, 1)
	go func() { results <- Carry(ctx, near, far, idle) }()
	return client, upstream, results
}

func TestCarry(t *testing.T) {
	for _, networks := range [][2]string{{"tcp", "unix"}, {"unix", "tcp"}, {"unix", "unix"}, {"tcp", "tcp"}} {
		t.Run(networks[0]+" to "+networks[1], func(t *testing.T) {
			client, upstream, done := start(t, t.Context(), networks[0], networks[1], long)
			question := bytes.Repeat([]byte("question"), 1<<17)
			answer := bytes.Repeat([]byte("an answer"), 1<<18)
			go func() {
				_, _ = client.Write(question)
				_ = client.CloseWrite()
			}()
			// The upstream answers only once the question has ended: the end must travel on its own.
			got, err := io.ReadAll(upstream)
			if err != nil || !bytes.Equal(got, question) {
				t.Fatalf("upstream got %d bytes, %v", len(got), err)
			}
			go func() {
				_, _ = upstream.Write(answer)
				_ = upstream.Close()
			}()
			if got, err = io.ReadAll(client); err != nil || !bytes.Equal(got, answer) {
				t.Fatalf("client got %d bytes, %v", len(got), err)
			}
			if r := <-done; r != (Result{Up: int64(len(question)), Down: int64(len(answer))}) {
				t.Errorf("%+v", r)
			}
		})
	}
}

// Many ticks pass while bytes move, and none may be lost or end the relay.
func TestCarryOutlivesTicks(t *testing.T) {
	for _, networks := range [][2]string{{"tcp", "unix"}, {"unix", "unix"}} {
		// Idle is long against the pauses of a busy machine, and the transfer spans some ticks.
		const idle = 400 * time.Millisecond
		client, upstream, done := start(t, t.Context(), networks[0], networks[1], idle)
		var sent bytes.Buffer
		written := make(chan struct{})
		go func() {
			defer close(written)
			for end := time.Now().Add(3 * idle); time.Now().Before(end); time.Sleep(time.Millisecond) {
				chunk := bytes.Repeat([]byte{byte(sent.Len())}, 1000)
				sent.Write(chunk)
				_, _ = upstream.Write(chunk)
			}
			_ = upstream.Close()
		}()
		got, err := io.ReadAll(client)
		<-written
		if err != nil || !bytes.Equal(got, sent.Bytes()) {
			t.Fatalf("got %d of %d bytes, %v", len(got), sent.Len(), err)
		}
		_ = client.Close()
		if r := <-done; r.Err != nil || r.Down != int64(len(got)) {
			t.Errorf("%+v", r)
		}
	}
}

func TestCarryIdle(t *testing.T) {
	client, upstream, done := start(t, t.Context(), "tcp", "unix", short)
	if r := <-done; !errors.Is(r.Err, ErrIdle) {
		t.Errorf("%+v", r)
	}
	ended(t, client)
	ended(t, upstream)
}

// One side has ended and the other says nothing: half a connection must not stay for ever.
func TestCarryHalfIdle(t *testing.T) {
	client, _, done := start(t, t.Context(), "tcp", "unix", short)
	_ = client.CloseWrite()
	if r := <-done; !errors.Is(r.Err, ErrIdle) {
		t.Errorf("%+v", r)
	}
}

// A peer that sends and never reads fills the buffers; that must not hold the relay either.
func TestCarryStalledReader(t *testing.T) {
	for _, networks := range [][2]string{{"tcp", "unix"}, {"unix", "unix"}} {
		client, _, done := start(t, t.Context(), networks[0], networks[1], short)
		go func() {
			for {
				if _, err := client.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}()
		if r := <-done; !errors.Is(r.Err, ErrIdle) || r.Up == 0 {
			t.Errorf("%+v", r)
		}
	}
}

func TestCarryContext(t *testing.T) {
	stopping := errors.New("stopping")
	ctx, cancel := context.WithCancelCause(t.Context())
	client, upstream, done := start(t, ctx, "tcp", "unix", long)
	cancel(stopping)
	if r := <-done; !errors.Is(r.Err, stopping) {
		t.Errorf("%+v", r)
	}
	ended(t, client)
	ended(t, upstream)
}

func TestCarryReset(t *testing.T) {
	client, upstream, done := start(t, t.Context(), "tcp", "unix", long)
	if err := client.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	_ = client.Close()
	if r := <-done; r.Err == nil {
		t.Errorf("%+v", r)
	}
	ended(t, upstream)
}

func ended(t *testing.T, c Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d bytes, %v, from a connection that should have ended", n, err)
	}
}
