package e2e

import (
	"regexp"
	"sync"
	"testing"
	"time"
)

// lines collects what a process writes, for a test that waits for a part of it.
type lines struct {
	mu   sync.Mutex
	text []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, p...)
	return len(p), nil
}

// await returns the first group of pattern once it is there.
func (l *lines) await(t *testing.T, pattern *regexp.Regexp) string {
	t.Helper()
	for range 300 {
		l.mu.Lock()
		found := pattern.FindSubmatch(l.text)
		l.mu.Unlock()
		if found != nil {
			return string(found[1])
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("%s never came: %s", pattern, l.text)
	return ""
}
