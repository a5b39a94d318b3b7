package main

import (
	"container/list"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// answer is the body of a successful answer, with what HTTP says about using it again (RFC 9111).
type answer struct {
	body         []byte
	etag         string
	lastModified string
	freshUntil   time.Time // zero: ask whether it is still the same
}

// newAnswer reads the header of an answer that came at now. ok is false where the answer may not be kept.
func newAnswer(body []byte, header http.Header, now time.Time) (a answer, ok bool) {
	a = answer{body: body, etag: header.Get("ETag"), lastModified: header.Get("Last-Modified")}
	// Every request for a URL has the same header, so that a Vary of anything that has a name is satisfied.
	if strings.Contains(header.Get("Vary"), "*") {
		return a, false
	}
	directives := cacheControl(header)
	if _, no := directives["no-store"]; no {
		return a, false
	}
	if _, no := directives["no-cache"]; !no {
		a.freshUntil = now.Add(min(lifetime(directives, header), maxFresh))
	}
	return a, a.etag != "" || a.lastModified != "" || a.freshUntil.After(now)
}

// lifetime is how long the answer is still fresh: what it says, less its age (RFC 9111, 4.2). No heuristics.
func lifetime(directives map[string]string, header http.Header) time.Duration {
	var fresh time.Duration
	if text, ok := directives["max-age"]; ok {
		fresh = seconds(text)
	} else if expires, err := http.ParseTime(header.Get("Expires")); err == nil {
		if date, err := http.ParseTime(header.Get("Date")); err == nil {
			fresh = expires.Sub(date)
		}
	}
	return max(0, fresh-seconds(header.Get("Age")))
}

// seconds reads a number of seconds, at most maxReset; what is none is 0.
func seconds(text string) time.Duration {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0
	}
	return min(time.Duration(n)*time.Second, maxReset)
}

func cacheControl(header http.Header) map[string]string {
	directives := map[string]string{}
	for field := range strings.SplitSeq(strings.Join(header.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		directives[strings.ToLower(name)] = strings.Trim(value, `"`)
	}
	return directives
}

// cache keeps the answers that were used last, up to maxCache bytes. Its keys begin with whose answers they are:
// what a token's holder was told is told to nobody else.
type cache struct {
	maxBytes int

	mu     sync.Mutex
	bytes  int
	byKey  map[string]*list.Element
	recent *list.List // of *entry, the one used last in front
}

type entry struct {
	key string
	answer
}

func (e *entry) cost() int { return len(e.key) + len(e.body) + cacheOverhead }

func newCache(maxBytes int) *cache {
	return &cache{maxBytes: maxBytes, byKey: map[string]*list.Element{}, recent: list.New()}
}

// get returns what is kept under key, or the zero answer.
func (c *cache) get(key string) answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	element, ok := c.byKey[key]
	if !ok {
		return answer{}
	}
	c.recent.MoveToFront(element)
	return element.Value.(*entry).answer // nothing else is in the list
}

func (c *cache) put(key string, a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(c.byKey[key])
	kept := &entry{key: key, answer: a}
	if kept.cost() > c.maxBytes {
		return
	}
	c.byKey[key] = c.recent.PushFront(kept)
	for c.bytes += kept.cost(); c.bytes > c.maxBytes; {
		c.remove(c.recent.Back())
	}
}

func (c *cache) remove(element *list.Element) {
	if element == nil {
		return
	}
	gone := c.recent.Remove(element).(*entry) // nothing else is in the list
	delete(c.byKey, gone.key)
	c.bytes -= gone.cost()
}
