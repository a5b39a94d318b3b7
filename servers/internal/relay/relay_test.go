package relay

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"testing"
	"testing/synctest"
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
func start(ctx context.Context, t *testing.T, nearNetwork, farNetwork string, idle time.Duration) (client, upstream Conn, done <-chan Result) {
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
			client, upstream, done := start(t.Context(), t, networks[0], networks[1], long)
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

// Many ticks pass while bytes move, and none may be lost. On a machine that is too busy to move any for a while
// the relay may end, but not lose what it took.
func TestCarryAcrossTicks(t *testing.T) {
	for _, networks := range [][2]string{{"tcp", "unix"}, {"unix", "unix"}} {
		const idle = 400 * time.Millisecond
		client, upstream, done := start(t.Context(), t, networks[0], networks[1], idle)
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
		_ = client.Close()
		r := <-done
		if errors.Is(r.Err, ErrIdle) && bytes.HasPrefix(sent.Bytes(), got) {
			continue
		}
		if err != nil || r.Err != nil || !bytes.Equal(got, sent.Bytes()) || r.Down != int64(len(got)) {
			t.Errorf("got %d of %d bytes, %v, %+v", len(got), sent.Len(), err, r)
		}
	}
}

// piped is a connection in memory, whose deadlines a test's own clock can drive.
type piped struct{ net.Conn }

func (p piped) CloseWrite() error { return p.Close() }

// What moves a little now and then is not idle, in whichever direction it moves.
func TestCarryIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, near := net.Pipe()
		far, upstream := net.Pipe()
		done := make(chan Result, 1)
		go func() { done <- Carry(t.Context(), piped{near}, piped{far}, time.Minute) }()
		for i := range 20 {
			from, to := client, upstream
			if i > 10 {
				from, to = upstream, client
			}
			time.Sleep(29 * time.Second)
			go func() { _, _ = from.Write([]byte("x")) }()
			if n, err := to.Read(make([]byte, 1)); n != 1 || err != nil {
				t.Fatalf("after %d: %d, %v", i, n, err)
			}
		}
		if r := <-done; !errors.Is(r.Err, ErrIdle) || r.Up != 11 || r.Down != 9 {
			t.Errorf("%+v", r)
		}
	})
}

// A write that ran out of time has lost bytes; no later ones may take their place.
func TestCarryLeavesNoGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, near := net.Pipe()
		far, upstream := net.Pipe()
		done := make(chan Result, 1)
		go func() { done <- Carry(t.Context(), piped{near}, piped{far}, time.Minute) }()
		go func() {
			_, _ = client.Write([]byte("0123456789"))
			_, _ = client.Write([]byte("late"))
		}()
		if _, err := io.ReadFull(upstream, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(70 * time.Second)
		if got, _ := io.ReadAll(upstream); len(got) > 0 {
			t.Errorf("behind a gap came %q", got)
		}
		if r := <-done; !errors.Is(r.Err, ErrIdle) || r.Up != 4 {
			t.Errorf("%+v", r)
		}
	})
}

// The context's cause is told even where its end closed a connection first.
func TestCarryContextClosesFirst(t *testing.T) {
	stopping := errors.New("stopping")
	for range 20 {
		ctx, cancel := context.WithCancelCause(t.Context())
		client, near := pair(t, "unix")
		_, far := pair(t, "tcp")
		context.AfterFunc(ctx, func() { near.Close() })
		done := make(chan Result, 1)
		go func() { done <- Carry(ctx, near, far, long) }()
		cancel(stopping)
		if r := <-done; !errors.Is(r.Err, stopping) {
			t.Errorf("%+v", r)
		}
		ended(t, client)
	}
}

func TestCarryIdle(t *testing.T) {
	client, upstream, done := start(t.Context(), t, "tcp", "unix", short)
	if r := <-done; !errors.Is(r.Err, ErrIdle) {
		t.Errorf("%+v", r)
	}
	ended(t, client)
	ended(t, upstream)
}

// One side has ended and the other says nothing: half a connection must not stay for ever.
func TestCarryHalfIdle(t *testing.T) {
	client, _, done := start(t.Context(), t, "tcp", "unix", short)
	_ = client.CloseWrite()
	if r := <-done; !errors.Is(r.Err, ErrIdle) {
		t.Errorf("%+v", r)
	}
}

// A peer that sends and never reads fills the buffers; that must not hold the relay either.
func TestCarryStalledReader(t *testing.T) {
	for _, networks := range [][2]string{{"tcp", "unix"}, {"unix", "unix"}} {
		client, _, done := start(t.Context(), t, networks[0], networks[1], short)
		go func() {
			for {
				if _, err := client.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}()
		if r := <-done; !errors.Is(r.Err, ErrIdle) {
			t.Errorf("%+v", r)
		}
	}
}

// The same when the other direction has ended, and so cannot notice.
func TestCarryStalledReaderAlone(t *testing.T) {
	for _, networks := range [][2]string{{"tcp", "unix"}, {"unix", "unix"}} {
		client, upstream, done := start(t.Context(), t, networks[0], networks[1], short)
		_ = upstream.CloseWrite()
		if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		go func() {
			for {
				if _, err := client.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}()
		if r := <-done; !errors.Is(r.Err, ErrIdle) {
			t.Errorf("%+v", r)
		}
	}
}

func TestCarryContext(t *testing.T) {
	stopping := errors.New("stopping")
	ctx, cancel := context.WithCancelCause(t.Context())
	client, upstream, done := start(ctx, t, "tcp", "unix", long)
	cancel(stopping)
	if r := <-done; !errors.Is(r.Err, stopping) {
		t.Errorf("%+v", r)
	}
	ended(t, client)
	ended(t, upstream)
}

func TestCarryReset(t *testing.T) {
	client, upstream, done := start(t.Context(), t, "tcp", "unix", long)
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
