package main

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"
)

// cache keeps what registries said, by a key that names the repository too: who may not ask for one repository must not
// get its content through another. The least recently used goes first.
type cache struct {
	mu      sync.Mutex
	budget  int // bytes
	used    int
	order   *list.List // of *entry, newest first
	entries map[string]*list.Element
	now     func() time.Time
}

type entry struct {
	key     string
	value   any
	bytes   int
	expires time.Time // zero: never; what a digest names does not change
}

func newCache(budget int) *cache {
	return &cache{budget: budget, order: list.New(), entries: map[string]*list.Element{}, now: time.Now}
}

// cached returns what is kept under key, if it is a T.
func cached[T any](c *cache, key string) (value T, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	element := c.entries[key]
	if element == nil {
		return value, false
	}
	kept := element.Value.(*entry)
	if !kept.expires.IsZero() && !c.now().Before(kept.expires) {
		c.drop(element)
		return value, false
	}
	c.order.MoveToFront(element)
	value, ok = kept.value.(T)
	return value, ok
}

// put keeps value, which takes about so many bytes, for so long; for ever if that is zero.
func (c *cache) put(key string, value any, bytes int, lasts time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	bytes += len(key) + entryOverhead
	if bytes > c.budget/maxShare {
		return // one large answer must not push out all the others
	}
	if element := c.entries[key]; element != nil {
		c.drop(element)
	}
	kept := &entry{key: key, value: value, bytes: bytes}
	if lasts > 0 {
		kept.expires = c.now().Add(lasts)
	}
	c.entries[key] = c.order.PushFront(kept)
	for c.used += bytes; c.used > c.budget; {
		c.drop(c.order.Back())
	}
}

func (c *cache) drop(element *list.Element) {
	kept := c.order.Remove(element).(*entry)
	delete(c.entries, kept.key)
	c.used -= kept.bytes
}

// memo does a thing once for each key, however many ask at once.
type memo[T any] struct {
	mu   sync.Mutex
	made map[string]*once[T]
}

type once[T any] struct {
	done  chan struct{} // closed when value and err are there
	value T
	err   error
}

// do returns what f returned for key, now or before. Who waits for another's f waits no longer than ctx.
func (m *memo[T]) do(ctx context.Context, key string, f func() (T, error)) (T, error) {
	m.mu.Lock()
	o := m.made[key]
	if o != nil {
		m.mu.Unlock()
		select {
		case <-o.done:
			return o.value, o.err
		case <-ctx.Done():
			var none T
			return none, ctx.Err()
		}
	}
	o = &once[T]{done: make(chan struct{}), err: errPanic}
	if m.made == nil {
		m.made = map[string]*once[T]{}
	}
	m.made[key] = o
	m.mu.Unlock()
	defer close(o.done)
	o.value, o.err = f()
	return o.value, o.err
}

// errPanic is what others get where f did not return.
var errPanic = errors.New("another request for the same thing broke off")
