package mcpserver

import (
	"context"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/mark3labs/mcp-go/mcp"
)

// inflight knows the running requests of one connection, so that its client can cancel them, and nobody else's.
// A nil inflight, of a transport without connections that outlive a request, cancels nothing.
type inflight struct {
	mu      sync.Mutex
	cancels map[string]context.CancelFunc // by the request's id, as it stands in JSON
}

// begin returns the request's context; done must be called at its end.
func (f *inflight) begin(ctx context.Context, id jsontext.Value) (_ context.Context, done func(), err error) {
	if f == nil {
		return ctx, func() {}, nil
	}
	key := string(id)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cancels[key] != nil {
		return nil, nil, protocolError{mcp.INVALID_REQUEST, "another request with this id is running"}
	}
	ctx, cancel := context.WithCancel(ctx)
	if f.cancels == nil {
		f.cancels = map[string]context.CancelFunc{}
	}
	f.cancels[key] = cancel
	return ctx, func() {
		cancel()
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.cancels, key)
	}, nil
}

// cancel ends the request with that id, if it runs.
func (f *inflight) cancel(id jsontext.Value) {
	if f == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if cancel := f.cancels[string(id)]; cancel != nil {
		cancel()
	}
}
