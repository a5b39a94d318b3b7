package mcpserver

import "sync"

// The calls that run at once. One caller cannot take them all.
const (
	maxCalls          = 64
	maxPrincipalCalls = 16
)

// slots counts running calls, in all and for each principal.
type slots struct {
	mu      sync.Mutex
	running int
	by      map[string]int
}

// take returns false at once where there is no room; else release must be called when the call has ended.
func (s *slots) take(principal string) (release func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running >= maxCalls || s.by[principal] >= maxPrincipalCalls {
		return nil, false
	}
	s.running++
	s.by[principal]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.running--
		if s.by[principal]--; s.by[principal] == 0 {
			delete(s.by, principal)
		}
	}, true
}
