package mcpserver

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
)

// How many connections one listener has open.
const (
	maxConnections     = 512
	maxUnixConnections = 192 // below door's 256
)

// principalShare is which part of the connections one principal may hold when others need them.
const principalShare = 4

// connections keeps a listener's open connections at or below a bound. One too many costs a principal that holds more than
// its share one of its own, whatever it is doing; else the one that has been waiting longest without a request; only when
// there is neither is the new one refused. So whoever opens connections and says nothing, or never ends, shuts out itself.
type connections struct {
	limit int

	mu      sync.Mutex
	waiting []net.Conn          // those that were refused and are not yet closed; then, oldest first, new ones and idle ones
	open    map[net.Conn]string // and the principal of its last request; empty if it had none, or a stranger's
}

func newConnections(limit int) *connections {
	return &connections{limit: limit, open: map[net.Conn]string{}}
}

type connectionKey struct{}

// remember is an http.Server's ConnContext: it lets a request find its connection.
func (c *connections) remember(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, conn)
}

// serves says whose request it is that came over the connection of ctx.
func (c *connections) serves(ctx context.Context, principal string) {
	conn, _ := ctx.Value(connectionKey{}).(net.Conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, open := c.open[conn]; open {
		c.open[conn] = principal
	}
}

// refuses says that the connection of ctx has nothing more to do: net/http leaves it open for a while, so that its client can
// read the answer before it learns that nobody takes what it sends.
func (c *connections) refuses(ctx context.Context) {
	conn, _ := ctx.Value(connectionKey{}).(net.Conn)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaveWaiting(conn)
	if _, open := c.open[conn]; open {
		c.waiting = slices.Insert(c.waiting, 0, conn)
	}
}

// track is an http.Server's ConnState.
func (c *connections) track(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.open[conn] = ""
		if len(c.open) > c.limit {
			victim := c.victim(conn)
			c.forget(victim)
			_ = victim.Close()
			if victim == conn {
				return
			}
		}
		c.waiting = append(c.waiting, conn)
	case http.StateActive:
		c.leaveWaiting(conn)
	case http.StateIdle:
		c.leaveWaiting(conn)
		if _, open := c.open[conn]; open {
			c.waiting = append(c.waiting, conn)
		}
	case http.StateClosed, http.StateHijacked:
		c.forget(conn)
	}
}

// victim is which connection is closed for the sake of the others.
func (c *connections) victim(newest net.Conn) net.Conn {
	held := map[string]int{}
	for conn, principal := range c.open {
		if held[principal]++; principal != "" && held[principal] > c.limit/principalShare {
			return conn
		}
	}
	if len(c.waiting) > 0 {
		return c.waiting[0]
	}
	return newest
}

func (c *connections) forget(conn net.Conn) {
	delete(c.open, conn)
	c.leaveWaiting(conn)
}

func (c *connections) leaveWaiting(conn net.Conn) {
	for i, other := range c.waiting {
		if other == conn {
			c.waiting = append(c.waiting[:i], c.waiting[i+1:]...)
			return
		}
	}
}
