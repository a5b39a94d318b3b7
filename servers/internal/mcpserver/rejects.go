package mcpserver

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// maxSources is how many callers are told apart within one second; the others are counted together.
const maxSources = 256

// rejects counts what did not pass the edge, by source, status and second: strangers leave a trace, and cannot
// fill a disk with it.
type rejects struct {
	logger *slog.Logger

	mu     sync.Mutex
	second time.Time
	counts map[rejected]int
}

type rejected struct {
	source string
	status int
}

// count adds one, and logs the second before when a new one has begun.
func (r *rejects) count(ctx context.Context, request *http.Request, status int) {
	source, _, err := net.SplitHostPort(request.RemoteAddr)
	if err != nil {
		source = "unix" // a Unix socket's clients have no address
	}
	now := time.Now().Truncate(time.Second)
	r.mu.Lock()
	defer r.mu.Unlock()
	if !now.Equal(r.second) {
		r.flush(ctx)
		r.second = now
	}
	key := rejected{source, status}
	if _, known := r.counts[key]; !known && len(r.counts) >= maxSources {
		key.source = "others"
	}
	r.counts[key]++
}

// run logs what is counted, every second, until ctx ends.
func (r *rejects) run(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			r.mu.Lock()
			r.flush(context.WithoutCancel(ctx))
			r.mu.Unlock()
			return
		case now := <-ticker.C:
			r.mu.Lock()
			if now.Truncate(time.Second).After(r.second) {
				r.flush(ctx)
			}
			r.mu.Unlock()
		}
	}
}

func (r *rejects) flush(ctx context.Context) {
	for key, n := range r.counts {
		r.logger.LogAttrs(ctx, slog.LevelWarn, "rejected before a call was made", slog.Time("second", r.second),
			slog.String("source", key.source), slog.Int("status", key.status), slog.Int("count", n))
	}
	r.counts = map[rejected]int{}
}
