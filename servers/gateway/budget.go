package main

import (
	"fmt"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// The bounds of what a policy may allow.
const (
	maxCallsPerMinute = 10_000
	maxConcurrent     = mcpserver.MaxPrincipalCalls
	minResultBytes    = 1 << 10
	maxResultBytes    = mcpserver.MaxResult
	maxBytesPerDay    = 1 << 40
)

const window = time.Minute // of calls_per_minute

// limitsFile is the grammar of limits. What is left out is not limited, but for what the pipeline allows anyone.
type limitsFile struct {
	CallsPerMinute    count `yaml:"calls_per_minute"`
	Concurrent        count `yaml:"concurrent"`
	ResultBytes       count `yaml:"result_bytes"`         // of one result; what is more is cut
	ResultBytesPerDay count `yaml:"result_bytes_per_day"` // of all results of a day, UTC
}

// count is a number that knows its line; line 0 is absent.
type count struct {
	value int64
	line  int
}

// UnmarshalYAML reads a scalar node.
func (c *count) UnmarshalYAML(node *yaml.Node) error {
	c.line = node.Line
	return node.Decode(&c.value)
}

func (f limitsFile) problems() []problem {
	var problems []problem
	for _, limit := range []struct {
		name     string
		count    count
		min, max int64
	}{
		{"calls_per_minute", f.CallsPerMinute, 1, maxCallsPerMinute},
		{"concurrent", f.Concurrent, 1, maxConcurrent},
		{"result_bytes", f.ResultBytes, minResultBytes, maxResultBytes},
		{"result_bytes_per_day", f.ResultBytesPerDay, minResultBytes, maxBytesPerDay},
	} {
		if c := limit.count; c.line > 0 && (c.value < limit.min || c.value > limit.max) {
			problems = append(problems, problem{c.line, fmt.Errorf("%s is %d; it may be %d to %d", limit.name, c.value, limit.min, limit.max)})
		}
	}
	return problems
}

// budget counts what an agent, or an entry of its, has used. Nothing but time gives it back.
type budget struct {
	limits limitsFile

	mu      sync.Mutex
	calls   []time.Time // of the last minute, oldest first; empty if they are not limited
	running int64
	day     time.Time // that bytes is about
	bytes   int64
}

func newBudget(limits limitsFile) *budget { return &budget{limits: limits} }

// count takes one call out of the calls a minute; whether it then succeeds makes no difference.
func (b *budget) count(now time.Time) *mcpserver.Error {
	most := b.limits.CallsPerMinute.value
	if most == 0 {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forget(now)
	if int64(len(b.calls)) >= most {
		return rateLimited(b.calls[0].Add(window).Sub(now), "%d calls a minute are allowed", most)
	}
	b.calls = append(b.calls, now)
	return nil
}

// forget drops the calls that are older than a minute.
func (b *budget) forget(now time.Time) {
	for len(b.calls) > 0 && now.Sub(b.calls[0]) >= window {
		b.calls = b.calls[1:]
	}
}

// begin takes a place among the concurrent calls, and looks whether the day's bytes are used up. After nil, end must
// follow.
func (b *budget) begin(now time.Time) *mcpserver.Error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.roll(now)
	if most := b.limits.ResultBytesPerDay.value; most > 0 && b.bytes >= most {
		return rateLimited(b.day.AddDate(0, 0, 1).Sub(now), "%d bytes of results a day are allowed, and used up", most)
	}
	if most := b.limits.Concurrent.value; most > 0 && b.running >= most {
		return mcpserver.Errorf(mcpserver.CodeBusy, "%d calls at once are allowed; try again when one has ended", most)
	}
	b.running++
	return nil
}

// end gives the place back, and counts the bytes of the result.
func (b *budget) end(now time.Time, bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.roll(now)
	b.running--
	b.bytes += int64(bytes)
}

// replay counts a call of an earlier run of the gateway.
func (b *budget) replay(at, now time.Time, bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.roll(now)
	if !at.Before(b.day) {
		b.bytes += int64(bytes)
	}
	if b.limits.CallsPerMinute.value > 0 && now.Sub(at) < window {
		if at.After(now) { // the clock has been set back since
			at = now
		}
		b.calls = append(b.calls, at)
	}
}

// remembers is the earliest moment that a budget looks back to.
func (p *policy) remembers(now time.Time) time.Time {
	daily := false
	for _, a := range p.agents {
		daily = daily || a.budget.limits.ResultBytesPerDay.value > 0
		for _, entry := range a.allow {
			daily = daily || entry.budget.limits.ResultBytesPerDay.value > 0
		}
	}
	moment := now.Add(-window)
	if today := midnight(now); daily && today.Before(moment) {
		return today
	}
	return moment
}

func midnight(now time.Time) time.Time { return now.UTC().Truncate(24 * time.Hour) }

func (b *budget) roll(now time.Time) {
	if today := midnight(now); !today.Equal(b.day) {
		b.day, b.bytes = today, 0
	}
}

func rateLimited(wait time.Duration, format string, args ...any) *mcpserver.Error {
	seconds := int64(wait/time.Second) + 1
	return mcpserver.Errorf(mcpserver.CodeRateLimited, format+"; come back in %d s", append(args, seconds)...)
}
