package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/confine"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/listen"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/relay"
)

// The bounds of this program.
const (
	maxConnections = 256 // open at once; the next ones wait in the kernel's queue. A connection costs up to six descriptors
	dialTimeout    = 5 * time.Second
	idleTimeout    = 5 * time.Minute // without a byte in either direction
	shutdownGrace  = 3 * time.Second // for open connections when the process is told to stop
)

// errStopping is why connections end when the process is told to stop.
var errStopping = errors.New("door is stopping")

// addresses are where a door listens and where it leads.
type addresses struct {
	ways   []way
	health listen.Address // zero: none
}

// way is one port and the socket that it leads to.
type way struct {
	listen, to listen.Address
}

// door carries bytes from TCP ports to Unix sockets.
type door struct {
	logger  *slog.Logger
	sandbox confine.Sandbox
	limits  limits
}

// passage is a way that is open.
type passage struct {
	way
	listener    net.Listener
	unreachable atomic.Bool // whether the last dial failed, so that a socket that is down is one line in the log
}

// limits are the bounds that tests make smaller.
type limits struct {
	connections                int
	idleTimeout, shutdownGrace time.Duration
}

func newDoor(logger *slog.Logger, sandbox confine.Sandbox) *door {
	return &door{logger: logger, sandbox: sandbox, limits: limits{maxConnections, idleTimeout, shutdownGrace}}
}

// run opens the ports, and the health socket after them, gives up what carrying does not need, and carries until ctx
// ends. Open connections then have the grace.
func (d *door) run(ctx context.Context, at addresses) error {
	var passages []*passage
	var connect []string
	for _, w := range at.ways {
		l, err := listen.Listen(ctx, w.listen)
		if err != nil {
			return fmt.Errorf("--listen: %w", err)
		}
		defer func() { _ = l.Close() }()
		passages, connect = append(passages, &passage{way: w, listener: l}), append(connect, w.to.Path)
	}
	var healthListener net.Listener
	if at.health != (listen.Address{}) {
		var err error
		if healthListener, err = listen.Listen(ctx, at.health); err != nil {
			return fmt.Errorf("--health: %w", err)
		}
		defer func() { _ = healthListener.Close() }()
	}
	if err := d.sandbox.Enter(ctx, confine.Rules{Connect: connect, Splice: true}, d.logger); err != nil {
		return err
	}

	// Connections outlive ctx by the grace.
	connections, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(errStopping)
	var accepting, open sync.WaitGroup
	if healthListener != nil {
		open.Go(func() { listen.ServeHealth(ctx, healthListener) })
	}
	slots := make(chan struct{}, d.limits.connections)
	for _, p := range passages {
		d.logger.LogAttrs(ctx, slog.LevelInfo, "serving", slog.String("listen", "tcp://"+p.listener.Addr().String()), slog.String("to", p.to.String()))
		accepting.Go(func() { d.accept(ctx, connections, p, slots, &open) })
	}
	accepting.Wait()
	d.logger.LogAttrs(connections, slog.LevelInfo, "stopping")
	grace := time.AfterFunc(d.limits.shutdownGrace, func() { end(errStopping) })
	defer grace.Stop()
	open.Wait()
	return nil
}

// accept takes connections until ctx ends, and waits with the next one while every slot is taken.
func (d *door) accept(ctx, connections context.Context, p *passage, slots chan struct{}, open *sync.WaitGroup) {
	report := func(err error) {
		d.logger.LogAttrs(ctx, slog.LevelError, "cannot accept", slog.String("error", err.Error()))
	}
	listen.Accept(ctx, p.listener, report, func(conn net.Conn) {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			_ = conn.Close()
			return
		}
		open.Go(func() {
			defer func() { <-slots }()
			defer func() { _ = conn.Close() }()
			d.carry(connections, conn, p)
		})
	})
}

func (d *door) carry(ctx context.Context, conn net.Conn, p *passage) {
	dialCtx, cancel := context.WithTimeout(ctx, dialTimeout)
	inner, err := listen.Dial(dialCtx, p.to)
	cancel()
	if failed := err != nil; p.unreachable.Swap(failed) != failed {
		if failed {
			d.logger.LogAttrs(ctx, slog.LevelError, "the socket cannot be reached; connections are closed until it can", slog.String("to", p.to.String()), slog.String("error", err.Error()))
		} else {
			d.logger.LogAttrs(ctx, slog.LevelInfo, "the socket can be reached again", slog.String("to", p.to.String()))
		}
	}
	if err != nil {
		return
	}
	near, ok := conn.(relay.Conn)
	far, okFar := inner.(relay.Conn)
	if !ok || !okFar {
		// A listener of package listen gives neither TLS nor packets.
		_ = inner.Close()
		return
	}
	// Why a connection ended is the gateway's to tell: a line for each here would let a stranger fill the disk.
	_ = relay.Carry(ctx, near, far, d.limits.idleTimeout)
}
