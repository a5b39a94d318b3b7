package mcpserver

import (
	"net"
	"net/http"
	"sync"
)

// How many connections one listener has open.
const (
	maxConnections     = 512
	maxUnixConnections = 192 // below door's 256
)

// connections keeps a listener's open connections at or below a bound. One too many costs the one that has been
// waiting longest without a request; only when every connection is in a call is the new one refused. So whoever
// opens connections and says nothing shuts out itself.
type connections struct {
	limit int

	mu      sync.Mutex
	waiting []net.Conn // oldest first: new, or idle between requests
	open    map[net.Conn]bool
}

// track is an http.Server's ConnState.
func (c *connections) track(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.open[conn] = true
		if len(c.open) > c.limit {
			victim := conn
			if len(c.waiting) > 0 {
				victim = c.waiting[0]
			}
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
		if c.open[conn] {
			c.waiting = append(c.waiting, conn)
		}
	case http.StateClosed, http.StateHijacked:
		c.forget(conn)
	}
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
