package mcpserver

import "sync"

// The bytes of messages that are being read and worked on at once, and of answers that wait to be read. One caller
// cannot take them all.
const (
	maxBodies           = 16 * maxBody
	maxPrincipalBodies  = 4 * maxBody
	maxAnswers          = 32 << 20
	maxPrincipalAnswers = 16 << 20
)

// bodies counts bytes, in all and for each principal.
type bodies struct {
	limit, principalLimit int64

	mu    sync.Mutex
	taken int64
	by    map[string]int64
}

func newBodies(limit, principalLimit int64) *bodies {
	return &bodies{limit: limit, principalLimit: principalLimit, by: map[string]int64{}}
}

// take returns false at once where there is no room for n bytes; else release must be called when they are gone.
func (b *bodies) take(principal string, n int64) (release func(), ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.taken+n > b.limit || b.by[principal]+n > b.principalLimit {
		return nil, false
	}
	b.taken += n
	b.by[principal] += n
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.taken -= n
		if b.by[principal] -= n; b.by[principal] == 0 {
			delete(b.by, principal)
		}
	}, true
}
