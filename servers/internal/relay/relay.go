// Package relay carries bytes between two connections until both directions have ended.
package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is a connection of which each direction can end by itself: TCP or a Unix socket.
type Conn interface {
	net.Conn
	CloseWrite() error
}

// The bounds of this package.
const (
	linger     = 5 * time.Second // near may go on once far has ended
	quiet      = 4 << 10         // bytes that are moved without the kernel's help; each direction of a connection keeps a buffer of that size
	burst      = time.Second     // the kernel moves bytes so long before it is asked again
	unixBuffer = 1536 << 10      // bytes that may be on their way in a Unix socket; they take memory only while they are
	chunk      = 96 << 10        // bytes that come out of a Unix socket at once while there are many: two of the kernel's buffers (unix_stream_sendmsg)
)

// ErrIdle says that a relay ended because nothing moved for the idle time.
var ErrIdle = errors.New("nothing was sent for too long")

// Result tells what a relay carried and why it ended.
type Result struct {
	Up, Down int64 // bytes from near to far, and from far to near
	Err      error // nil when both sides had said all they had to say
}

// Carry copies in both directions between near and far. The end of one direction is passed on and the other
// goes on. It ends when both have ended, when one fails, when nothing was carried in either for idle to one and a
// half times idle, or when ctx ends. Once far has said all it had to say, near has a few seconds for the rest: what it
// still sends nobody answers, and whoever keeps silent must not keep the connection. Both connections are then closed.
func Carry(ctx context.Context, near, far Conn, idle time.Duration) Result {
	r := &relay{near: near, far: far, tick: idle / 2}
	for _, conn := range []Conn{near, far} {
		widen(conn)
	}
	r.lastMoved.Store(time.Now().UnixNano())
	stop := context.AfterFunc(ctx, func() { r.end(context.Cause(ctx)) })
	defer stop()
	down := make(chan struct{})
	go func() {
		defer close(down)
		r.carry(near, far, &r.down)
		r.farDone.Store(time.AfterFunc(linger, func() { r.end(nil) }))
	}()
	r.carry(far, near, &r.up)
	<-down
	r.farDone.Load().Stop()
	r.end(nil)
	if cause := context.Cause(ctx); cause != nil && r.err != nil {
		// Whoever ends the context may have closed the connections before this could.
		r.err = cause
	}
	return Result{Up: r.up.Load(), Down: r.down.Load(), Err: r.err}
}

type relay struct {
	near, far Conn
	tick      time.Duration
	up, down  atomic.Int64
	lastMoved atomic.Int64 // Unix nanoseconds
	farDone   atomic.Pointer[time.Timer]
	ended     sync.Once
	err       error // why, once it has ended
}

// widen gives a Unix socket a larger buffer than it comes with, or both ends wait for each other most of the time; one that is
// much larger falls out of the processor's cache. TCP finds its own size. The kernel gives less if it may not give as much.
func widen(conn Conn) {
	if socket, ok := conn.(*net.UnixConn); ok {
		_ = socket.SetWriteBuffer(unixBuffer)
	}
}

// end closes both connections. The first reason counts: what comes after it is its consequence.
func (r *relay) end(err error) {
	r.ended.Do(func() {
		r.err = err
		_ = r.near.Close()
		_ = r.far.Close()
	})
}

// carry copies one direction until it ends.
func (r *relay) carry(to, from Conn, moved *atomic.Int64) {
	buffer := make([]byte, quiet)
	for {
		readBy := time.Now().Add(r.tick)
		// A reader that does not read gets one tick longer: a write that is cut off loses bytes, a read does not.
		writeBy := readBy.Add(r.tick)
		_ = from.SetReadDeadline(readBy)
		_ = to.SetWriteDeadline(writeBy)
		n, err := step(to, from, buffer, min(burst, r.tick))
		moved.Add(n)
		now := time.Now()
		if n > 0 {
			r.lastMoved.Store(now.UnixNano())
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			if err := to.CloseWrite(); err != nil {
				// The other side is gone; what it still had to say is lost anyway.
				r.end(err)
			}
			return
		case !isTimeout(err):
			r.end(err)
			return
		// Once the write deadline has passed, what was read may be lost between the two, and nothing may follow it.
		case !now.Before(writeBy) || now.Sub(time.Unix(0, r.lastMoved.Load())) >= 2*r.tick:
			r.end(ErrIdle)
			return
		}
	}
}

// step moves what comes next, through the buffer, and if that fills it, the rest until nothing comes for a while. It does not
// wait with more than the small buffer: idle tunnels should cost little.
func step(to, from Conn, buffer []byte, burst time.Duration) (int64, error) {
	n, err := from.Read(buffer)
	if n == 0 {
		return 0, err
	}
	written, writeErr := to.Write(buffer[:n])
	if writeErr != nil || err != nil || n < len(buffer) {
		return int64(written), errors.Join(writeErr, err)
	}
	_ = from.SetReadDeadline(time.Now().Add(burst))
	rest, err := stream(to, from)
	if err == nil {
		err = io.EOF
	}
	return int64(written) + rest, err
}

// stream moves bytes until from ends or its deadline comes. Out of TCP the kernel moves them (splice). Out of a Unix socket it
// does so in such small pieces that copying them is half again as fast. Splice takes a pipe, which is two descriptors, and
// memory of which all processes of a user have little together; with some dozen idle tunnels in it, every stream would crawl
// (pipe-user-pages-soft, pipe(7)).
func stream(to, from Conn) (int64, error) {
	if _, ok := from.(*net.UnixConn); ok {
		// Without the methods by which io would choose splice.
		return io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, chunk))
	}
	return io.Copy(to, from)
}

func isTimeout(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) && netErr.Timeout()
}
