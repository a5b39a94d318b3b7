package scrub

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const benchBytes = 1 << 20

// ordinary returns texts without secrets, repeated to a megabyte.
func ordinary(b *testing.B, pattern string) string {
	b.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "ordinary", pattern))
	if err != nil || len(files) == 0 {
		b.Fatalf("%s: %v %v", pattern, files, err)
	}
	var corpus strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		corpus.Write(text)
	}
	return strings.Repeat(corpus.String(), benchBytes/corpus.Len()+1)[:benchBytes]
}

// BenchmarkText reports how many times as long scrubbing takes as counting a byte does, on the same text in the same
// run, and how many times as long as half of the text: for ordinary text, and for text made to be slow.
func BenchmarkText(b *testing.B) {
	for _, bench := range []struct{ name, text string }{
		{"all", ordinary(b, "*")},
		{"logs", ordinary(b, "logs.txt")},
		{"json", ordinary(b, "results.json")},
		{"secrets", strings.Repeat("POSTGRES_PASSWORD=correct-horse ", benchBytes/32)},
		{"slow-refused", strings.Repeat("token={{", benchBytes/8)},
		{"slow-quotes", strings.Repeat(`token="${`, benchBytes/9)},
		{"slow-headers", strings.Repeat("cookie: ", benchBytes/8)},
		{"slow-urls", strings.Repeat("a://b:", benchBytes/6)},
		{"slow-at", strings.Repeat("a://b@", benchBytes/6)},
		{"slow-jwt", strings.Repeat("eyJ-", benchBytes/4)},
		{"slow-jwts", strings.Repeat(".eyJ", benchBytes/4)},
		{"slow-pem", strings.Repeat(dashes+"BEGIN "+privateKeyLabel+dashes, benchBytes/27)},
		{"slow-blocks", strings.Repeat("token: |\n ", benchBytes/10)},
		{"slow-names", strings.Repeat("=", benchBytes)},
		{"slow-closers", "password=" + strings.Repeat("]", benchBytes)},
		{"slow-escapes", strings.Repeat("\x1b]", benchBytes/2)},
		{"slow-markers", strings.Repeat(markerStart, benchBytes/10)},
		{"slow-auth", strings.Repeat("auth=", benchBytes/5)},
		{"slow-members", strings.Repeat("name: token value: ", benchBytes/19)},
		{"slow-bearer", strings.Repeat("Bearer -", benchBytes/8)},
		{"slow-separators", "password=" + strings.Repeat(",a", benchBytes/2)},
		{"slow-data", strings.Repeat("\"data\":{\ndata:\n", benchBytes/16)},
		{"slow-kinds", "kind: Secret\n" + strings.Repeat(" data:\n\"data\":{ \"kind\"::::", benchBytes/27)},
		{"slow-yaml", "kind: Secret " + strings.Repeat(`data:\n`, benchBytes/7)},
		{"slow-yaml-blocks", "kind: Secret " + strings.Repeat(`data:\n  `, benchBytes/9)},
		{"slow-curl", strings.Repeat("curl -u a:$b ", benchBytes/13)},
		{"slow-services", strings.Repeat("travis sonar = ", benchBytes/15)},
		{"slow-sql", strings.Repeat("password '", benchBytes/10)},
		{"slow-bars", strings.Repeat("1234567890123456|", benchBytes/17)},
		{"slow-bots", strings.Repeat("123456789:A", benchBytes/11)},
		{"slow-tokens", strings.Repeat("xoxb-", benchBytes/5)},
		{"slow-percent", strings.Repeat("%25%2", benchBytes/5)},
		{"slow-wrapped", strings.Repeat("cGFzc3dvcmQ9JHt4fSA", benchBytes/19)},
		{"slow-runs", strings.Repeat("cGFzc3dvcmQ9JHt4fSBwYXNz ", benchBytes/25)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			raw, newline := []byte(bench.text), []byte{'\n'}
			scrubbing, counting, half := time.Hour, time.Hour, time.Hour
			for b.Loop() { // the best of each: a machine that does other things too slows both
				start := time.Now()
				Text(bench.text)
				scrubbed := time.Now()
				bytes.Count(raw, newline)
				counted := time.Now()
				Text(bench.text[:len(raw)/2])
				scrubbing, counting, half = min(scrubbing, scrubbed.Sub(start)), min(counting, counted.Sub(scrubbed)), min(half, time.Since(counted))
			}
			b.ReportMetric(float64(scrubbing)/float64(half), "x-half") // 2 is linear
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(len(raw))/1e6/scrubbing.Seconds(), "MB/s")
			b.ReportMetric(float64(scrubbing)/float64(counting), "x-counting")
		})
	}
}

// BenchmarkStream is BenchmarkText line by line.
func BenchmarkStream(b *testing.B) {
	for _, pattern := range []string{"*", "logs.txt", "results.json", "tricky.txt"} {
		b.Run(pattern, func(b *testing.B) {
			text := ordinary(b, pattern)
			lines := bytes.Split([]byte(text), []byte{'\n'})
			var out []byte
			scrubbing := time.Hour
			for b.Loop() {
				start := time.Now()
				stream := New().Stream(false)
				for _, line := range lines {
					out = stream.Line(out[:0], line)
				}
				scrubbing = min(scrubbing, time.Since(start))
			}
			b.ReportMetric(float64(len(text))/1e6/scrubbing.Seconds(), "MB/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}
