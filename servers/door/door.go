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
	listen, to listen.Address
	health     listen.Address // zero: none
}

// door carries bytes from a TCP port to a Unix socket.
type door struct {
	logger      *slog.Logger
	sandbox     confine.Sandbox
	limits      limits
	unreachable atomic.Bool // whether the last dial failed, so that a gateway that is down is one line in the log
}

// limits are the bounds that tests make smaller.
type limits struct {
	connections                int
	idleTimeout, shutdownGrace time.Duration
}

func newDoor(logger *slog.Logger, sandbox confine.Sandbox) *door {
	return &door{logger: logger, sandbox: sandbox, limits: limits{maxConnections, idleTimeout, shutdownGrace}}
}

// run opens the port, and the health socket after it, gives up what carrying does not need, and carries until ctx
// ends. Open connections then have the grace.
func (d *door) run(ctx context.Context, at addresses) error {
	l, err := listen.Listen(ctx, at.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	defer func() { _ = l.Close() }()
	var healthListener net.Listener
	if at.health != (listen.Address{}) {
		if healthListener, err = listen.Listen(ctx, at.health); err != nil {
			return fmt.Errorf("--health: %w", err)
		}
		defer func() { _ = healthListener.Close() }()
	}
	if err := d.sandbox.Enter(ctx, confine.Rules{Connect: []string{at.to.Path}, Splice: true}, d.logger); err != nil {
		return err
	}

	// Connections outlive ctx by the grace.
	connections, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(errStopping)
	var open sync.WaitGroup
	if healthListener != nil {
		open.Go(func() { listen.ServeHealth(ctx, healthListener) })
	}
	d.logger.LogAttrs(ctx, slog.LevelInfo, "serving", slog.String("listen", "tcp://"+l.Addr().String()), slog.String("to", at.to.String()))
	d.accept(ctx, connections, l, at.to, &open)
	d.logger.LogAttrs(connections, slog.LevelInfo, "stopping")
	grace := time.AfterFunc(d.limits.shutdownGrace, func() { end(errStopping) })
	defer grace.Stop()
	open.Wait()
	return nil
}

// accept takes connections until ctx ends, and waits with the next one while every slot is taken.
func (d *door) accept(ctx, connections context.Context, l net.Listener, to listen.Address, open *sync.WaitGroup) {
	slots := make(chan struct{}, d.limits.connections)
	report := func(err error) {
		d.logger.LogAttrs(ctx, slog.LevelError, "cannot accept", slog.String("error", err.Error()))
	}
	listen.Accept(ctx, l, report, func(conn net.Conn) {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			_ = conn.Close()
			return
		}
		open.Go(func() {
			defer func() { <-slots }()
			defer func() { _ = conn.Close() }()
			d.carry(connections, conn, to)
		})
	})
}

func (d *door) carry(ctx context.Context, conn net.Conn, to listen.Address) {
	dialCtx, cancel := context.WithTimeout(ctx, dialTimeout)
	inner, err := listen.Dial(dialCtx, to)
	cancel()
	if failed := err != nil; d.unreachable.Swap(failed) != failed {
		if failed {
			d.logger.LogAttrs(ctx, slog.LevelError, "the gateway cannot be reached; connections are closed until it can", slog.String("error", err.Error()))
		} else {
			d.logger.LogAttrs(ctx, slog.LevelInfo, "the gateway can be reached again")
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
