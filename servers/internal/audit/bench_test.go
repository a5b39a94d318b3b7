package audit

import (
	"flag"
	"sync"
	"syscall"
	"testing"
	"time"
)

var largeLog = flag.Uint64("audit.records", 1_000_000, "records of the log that BenchmarkLarge opens")

const (
	appends  = 19_200 // to each log
	turns    = 20
	askers   = 16   // who append at once
	perWrite = 4096 // records that are written at once to make the large log
)

// BenchmarkLarge opens a log of many records, and appends to it and to an empty one in turns.
func BenchmarkLarge(b *testing.B) {
	signer, verifier := testKey(b)
	options := Options{Signer: signer, Verifier: verifier}
	dir := b.TempDir()
	fill(b, dir, options, *largeLog)
	for b.Loop() {
		start := time.Now()
		large, err := Open(dir, options)
		opened := time.Since(start)
		if err != nil {
			b.Fatal(err)
		}
		empty, err := Open(b.TempDir(), options)
		if err != nil {
			b.Fatal(err)
		}
		var toLarge, toEmpty time.Duration
		for range turns {
			toEmpty += appending(b, empty, appends/turns)
			toLarge += appending(b, large, appends/turns)
		}
		b.ReportMetric(float64(*largeLog), "records")
		b.ReportMetric(float64(opened.Milliseconds()), "ms/open")
		b.ReportMetric(toEmpty.Seconds()/toLarge.Seconds(), "x-rate-of-empty")
		b.ReportMetric(appends/toLarge.Seconds(), "appends/s")
		if err := large.Close(); err != nil {
			b.Fatal(err)
		}
		if err := empty.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// fill makes a log of n calls, of which none stores a result.
func fill(b *testing.B, dir string, options Options, n uint64) {
	b.Helper()
	l, err := Open(dir, options)
	if err != nil {
		b.Fatal(err)
	}
	r, _ := call("a call like any other")
	text, err := body(r)
	if err != nil {
		b.Fatal(err)
	}
	entries := make([]*entry, perWrite)
	for i := range entries {
		entries[i] = &entry{body: text}
	}
	for l.tree.size < n {
		l.writing.Lock()
		err := l.commit(entries[:min(perWrite, n-l.tree.size)])
		l.writing.Unlock()
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		b.Fatal(err)
	}
	syscall.Sync() // what the kernel has yet to write would slow down whatever syncs next
}

// appending says how long n records take from several callers at once.
func appending(b *testing.B, l *Log, n int) time.Duration {
	b.Helper()
	start := time.Now()
	var group sync.WaitGroup
	for range askers {
		group.Go(func() {
			for range n / askers {
				r, content := call("appended")
				if err := l.Record(b.Context(), r, content); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	return time.Since(start)
}
