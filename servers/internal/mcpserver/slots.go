package mcpserver

import (
	"sync"
	"sync/atomic"
)

// The calls that run at once. One caller cannot take them all.
const (
	maxCalls          = 64
	MaxPrincipalCalls = 16
)

// slots counts running calls, in all and for each principal.
type slots struct {
	mu      sync.Mutex
	running int
	by      map[string]int
}

// slot is one call's place. It is free again when everybody who holds it has released it.
type slot struct {
	holders atomic.Int32
	free    func()
}

func (s *slot) hold() { s.holders.Add(1) }

func (s *slot) release() {
	if s.holders.Add(-1) == 0 {
		s.free()
	}
}

// take returns false at once where there is no room; else the slot is held once.
func (s *slots) take(principal string) (*slot, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running >= maxCalls || s.by[principal] >= MaxPrincipalCalls {
		return nil, false
	}
	s.running++
	s.by[principal]++
	taken := &slot{free: func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.running--
		if s.by[principal]--; s.by[principal] == 0 {
			delete(s.by, principal)
		}
	}}
	taken.hold()
	return taken, true
}
