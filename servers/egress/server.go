package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/confine"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/egresspolicy"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/listen"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/relay"
)

// The bounds of this program.
const (
	maxConnections = 128                    // open connections of one client; a tunnel costs up to six descriptors
	maxHeader      = 16 << 10               // bytes of a request's line and header
	maxHello       = 16 << 10               // bytes of a ClientHello, with its record headers
	maxAnswer      = 64 << 10               // bytes of a plain answer's header
	maxReason      = 512                    // bytes of a reason in a record and in a refusal
	headerTimeout  = 10 * time.Second       // from accepting a connection to the end of its request's header
	helloTimeout   = 10 * time.Second       // from our 200 to the end of the ClientHello
	dialTimeout    = 20 * time.Second       // to resolve a name and try its addresses
	writeTimeout   = 5 * time.Second        // for our own few bytes to a client, and the ClientHello to an upstream
	lingerTimeout  = 500 * time.Millisecond // for a refused client to read its answer, as net/http gives one
	maxLinger      = 256 << 10              // bytes that it may still send meanwhile
	idleTimeout    = 5 * time.Minute        // without a byte in either direction
	lifetime       = time.Hour              // of a connection, whatever moves on it: its record comes when it ends
	shutdownGrace  = 3 * time.Second        // for open connections when the process is told to stop
	socketName     = "s"                    // of a client's socket, in the client's folder
)

// errStopping is why connections end when the process is told to stop.
var errStopping = errors.New("egress is stopping")

// errLifetime is why a connection ends that never would by itself.
var errLifetime = errors.New("the connection lasted too long")

// server serves every client of a policy, each on its own socket.
type server struct {
	policy   *egresspolicy.Policy
	logger   *slog.Logger
	sandbox  confine.Sandbox
	resolver egresspolicy.Resolver
	limits   limits
}

// limits are the bounds that tests make smaller.
type limits struct {
	connections                 int
	headerTimeout, helloTimeout time.Duration
	idleTimeout, lifetime       time.Duration
	shutdownGrace               time.Duration
}

func newServer(policy *egresspolicy.Policy, logger *slog.Logger, sandbox confine.Sandbox) *server {
	return &server{
		policy:   policy,
		logger:   logger,
		sandbox:  sandbox,
		resolver: &net.Resolver{PreferGo: true},
		limits: limits{
			connections:   maxConnections,
			headerTimeout: headerTimeout,
			helloTimeout:  helloTimeout,
			idleTimeout:   idleTimeout,
			lifetime:      lifetime,
			shutdownGrace: shutdownGrace,
		},
	}
}

// run listens for every client, gives up what dialling and carrying do not need, serves until ctx ends, and lets open
// connections end within the grace. The health socket, if there is one, opens last.
func (s *server) run(ctx context.Context, sockets string, health listen.Address) error {
	listeners := make([]net.Listener, 0, len(s.policy.Clients))
	defer func() {
		for _, l := range listeners {
			_ = l.Close()
		}
	}()
	for _, client := range s.policy.Clients {
		address, err := listen.Parse(listen.Unix + "://" + filepath.Join(sockets, client.Name, socketName))
		if err != nil {
			return fmt.Errorf("the socket of client %s: %w", client.Name, err)
		}
		l, err := listen.Listen(ctx, address)
		if err != nil {
			return fmt.Errorf("the socket of client %s: %w", client.Name, err)
		}
		listeners = append(listeners, l)
	}
	var healthListener net.Listener
	if health != (listen.Address{}) {
		var err error
		if healthListener, err = listen.Listen(ctx, health); err != nil {
			return fmt.Errorf("--health: %w", err)
		}
		defer func() { _ = healthListener.Close() }()
	}
	if err := s.sandbox.Enter(ctx, confine.Rules{Network: true, Splice: true}, s.logger); err != nil {
		return err
	}

	// Connections outlive ctx by the grace.
	connections, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(errStopping)
	var open sync.WaitGroup
	for i, client := range s.policy.Clients {
		open.Go(func() { s.serveClient(ctx, connections, listeners[i], client, &open) })
	}
	if healthListener != nil {
		open.Go(func() { listen.ServeHealth(ctx, healthListener) })
	}
	s.logger.LogAttrs(ctx, slog.LevelInfo, "serving", slog.Int("clients", len(listeners)), slog.String("sockets", sockets))

	<-ctx.Done()
	s.logger.LogAttrs(connections, slog.LevelInfo, "stopping")
	grace := time.AfterFunc(s.limits.shutdownGrace, func() { end(errStopping) })
	defer grace.Stop()
	open.Wait()
	return nil
}

// serveClient accepts the connections of one client until ctx ends. The socket says who is calling.
func (s *server) serveClient(ctx, connections context.Context, l net.Listener, client egresspolicy.Client, open *sync.WaitGroup) {
	slots := make(chan struct{}, s.limits.connections)
	report := func(err error) {
		s.logger.LogAttrs(ctx, slog.LevelError, "cannot accept", slog.String("client", client.Name), slog.String("error", err.Error()))
	}
	listen.Accept(ctx, l, report, func(conn net.Conn) {
		x := s.newExchange(conn.(relay.Conn), client) //nolint:forcetypeassert // a Unix socket always is one
		select {
		case slots <- struct{}{}:
			open.Go(func() {
				defer func() { <-slots }()
				x.serve(connections)
			})
		default:
			// Answered right here: a refusal must not cost a goroutine. It fits into the socket's buffer.
			x.refuseBusy(ctx, s.limits.connections)
		}
	})
}
