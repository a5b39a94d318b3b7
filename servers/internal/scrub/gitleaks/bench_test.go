package gitleaks

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/scrub"
)

const benchBytes = 256 << 10

// BenchmarkLines reports how fast scrub and gitleaks go through the same ordinary lines, one by one and on one core,
// and how many times as fast scrub is.
func BenchmarkLines(b *testing.B) {
	for _, pattern := range []string{"*", "logs.txt", "results.json"} {
		name := pattern
		if pattern == "*" {
			name = "all"
		}
		b.Run(name, func(b *testing.B) {
			files, err := filepath.Glob(filepath.Join("..", "testdata", "ordinary", pattern))
			if err != nil || len(files) == 0 {
				b.Fatal(files, err)
			}
			var text []byte
			for _, file := range files {
				content, err := os.ReadFile(file)
				if err != nil {
					b.Fatal(err)
				}
				text = append(text, content...)
			}
			text = bytes.Repeat(text, benchBytes/len(text)+1)
			lines := bytes.Split(text, []byte("\n"))
			d := detector(b)
			d.MaxDecodeDepth = 0 // its fastest
			var shown []byte
			ours, theirs := time.Hour, time.Hour
			for b.Loop() { // the best of each: a machine that does other things too slows both
				start := time.Now()
				stream := scrub.New().Stream(false)
				for _, line := range lines {
					shown = stream.Line(shown[:0], line)
				}
				ours = min(ours, time.Since(start))
				start = time.Now()
				for _, line := range lines {
					d.DetectString(string(line))
				}
				theirs = min(theirs, time.Since(start))
			}
			b.ReportMetric(float64(len(text))/1e6/ours.Seconds(), "scrub-MB/s")
			b.ReportMetric(float64(len(text))/1e6/theirs.Seconds(), "gitleaks-MB/s")
			b.ReportMetric(float64(theirs)/float64(ours), "x-gitleaks")
			b.ReportMetric(0, "ns/op")
		})
	}
}
