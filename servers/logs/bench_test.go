package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/listen"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpclient"
)

var bigFile = flag.Int64("logs.bytes", 64<<20, "bytes of the file that TestBigFile and the benchmark read")

// makeBigFile writes a log of the size that -logs.bytes says.
func makeBigFile(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "big.log")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	length := *bigFile / lineSize * lineSize
	if _, err := io.Copy(file, io.NewSectionReader(generated{length}, 0, length)); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestBigFile: the end of a file that is far larger than memory may be takes little of it, and so does looking through it.
func TestBigFile(t *testing.T) {
	const most = 32 << 10 // KiB resident
	dir := t.TempDir()
	path := makeBigFile(t)
	binary := filepath.Join(dir, "logs")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	sources, socket := filepath.Join(dir, "sources.yaml"), filepath.Join(dir, "s")
	write(t, sources, "version: 1\nsources:\n  - {name: s, folder: "+filepath.Dir(path)+"}\n")
	ctx, stop := context.WithCancel(t.Context())
	server := exec.CommandContext(ctx, binary, "--listen", "unix://"+socket, "--sources", sources, "--allow-unisolated")
	var said bytes.Buffer
	server.Stderr = &said
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { stop(); _ = server.Wait() }()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return listen.Dial(ctx, listen.Address{Network: listen.Unix, Path: socket})
	}}
	defer transport.CloseIdleConnections()
	client := mcpclient.Client{HTTP: &http.Client{Transport: transport}, URL: "http://localhost/mcp"}
	for range 200 {
		if _, err := client.ListTools(t.Context()); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	for _, args := range []map[string]any{
		{"source": "s", "limit": 200}, {"source": "s", "contains": "nothing holds this", "take": "head"}, {"source": "s", "since": "2020-01-01T10:00:00Z", "until": "2020-01-01T10:05:00Z"},
	} {
		start := time.Now()
		result, err := client.CallTool(t.Context(), "fetch_logs", args, nil)
		if err != nil || result.IsError {
			t.Fatalf("%v %+v %s", err, result, said.String())
		}
		resident := highWater(t, server.Process.Pid)
		t.Logf("%v of %d bytes: %s, %d KiB resident at most", args, *bigFile, time.Since(start).Round(time.Millisecond), resident)
		if resident > most {
			t.Errorf("%v: %d KiB resident, more than %d", args, resident, most)
		}
	}
	if want := `"rules":{"read":["` + filepath.Dir(path) + `"],"landlock_optional":true,"filter_optional":true}`; !strings.Contains(said.String(), want) {
		t.Errorf("it is not confined to the folder of its source: %s", said.String())
	}
}

// highWater is the most that a process has had resident, in KiB.
func highWater(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	defer status.Close()
	for lines := bufio.NewScanner(status); lines.Scan(); {
		var n int
		if _, err := fmt.Sscanf(lines.Text(), "VmHWM: %d kB", &n); err == nil {
			return n
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// BenchmarkLogs reports how fast a log is looked through, beside reading the same file and counting its lines.
func BenchmarkLogs(b *testing.B) {
	path := makeBigFile(b)
	s := servingFolder(b, filepath.Dir(path))
	for _, bench := range []struct {
		name string
		args map[string]any
	}{
		{"literal, no match", map[string]any{"contains": "nothing holds this", "take": "head"}},
		{"literal, no match, from the end", map[string]any{"contains": "nothing holds this"}},
		{"expression, no match", map[string]any{"matches": "nothing (holds|has) this", "take": "head"}},
		{"the last 200", map[string]any{"limit": 200}},
		{"five minutes", map[string]any{"since": "2020-01-01T10:00:00Z", "until": "2020-01-01T10:05:00Z"}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			counting, reading := time.Hour, time.Hour
			var read int64
			for b.Loop() { // the best of each: a machine that does other things too slows both
				start := time.Now()
				out := fetching(b, s, bench.args)
				reading, read = min(reading, time.Since(start)), out.BytesRead
				start = time.Now()
				countLines(b, path)
				counting = min(counting, time.Since(start))
			}
			b.ReportMetric(float64(read)/1e6/reading.Seconds(), "MB/s")
			b.ReportMetric(float64(reading.Microseconds())/1000, "ms")
			b.ReportMetric(float64(reading)/float64(counting)*float64(*bigFile)/float64(read), "x-counting-lines")
		})
	}
}

func countLines(b *testing.B, path string) {
	b.Helper()
	file, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	buffer, lines := make([]byte, 1<<20), 0
	for {
		n, err := file.Read(buffer)
		lines += bytes.Count(buffer[:n], []byte{'\n'})
		if err != nil {
			break
		}
	}
	if lines == 0 {
		b.Fatal("no lines")
	}
}
