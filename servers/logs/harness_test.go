package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/scrub"
)

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
		t.Fatal(err)
	}
}

func pack(t testing.TB, content string) string {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// serving is a server with one source, called s: the folder that it returns.
func serving(t testing.TB, files map[string]string) (*server, string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		write(t, filepath.Join(dir, "logs", name), content)
	}
	if len(files) == 0 {
		if err := os.Mkdir(filepath.Join(dir, "logs"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return servingFolder(t, filepath.Join(dir, "logs")), filepath.Join(dir, "logs")
}

// servingFolder is a server with one source, called s.
func servingFolder(t testing.TB, folder string) *server {
	t.Helper()
	config := filepath.Join(t.TempDir(), "sources.yaml")
	write(t, config, "version: 1\nsources:\n  - name: s\n    folder: "+folder+"\n")
	s, err := newServer(config, mcpserver.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// call calls a tool as a client does, but for the pipeline's own scrubbing.
func call[Out any](t testing.TB, s *server, tool string, args map[string]any) (Out, error) {
	t.Helper()
	var out Out
	for _, one := range s.tools() {
		if one.Definition.Name != tool {
			continue
		}
		if err := one.Check(); err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(args)
		if err != nil {
			t.Fatal(err)
		}
		if err := one.Definition.CheckArguments(data); err != nil {
			t.Fatal(err)
		}
		result, err := one.Call(context.Background(), data)
		if err != nil {
			return out, err
		}
		if err := json.Unmarshal(result.Structured, &out); err != nil {
			t.Fatal(err)
		}
		return out, nil
	}
	t.Fatalf("no tool %s", tool)
	return out, nil
}

func fetching(t testing.TB, s *server, args map[string]any) fetchLogsOut {
	t.Helper()
	args["source"] = "s"
	out, err := call[fetchLogsOut](t, s, "fetch_logs", args)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// texts are the messages of an answer.
func texts(out fetchLogsOut) []string {
	all := []string{}
	for _, l := range out.Lines {
		for range max(l.Count, 1) {
			all = append(all, l.Text)
		}
	}
	return all
}

// code is that of an error that a caller sees.
func code(err error) mcpserver.Code {
	if visible, ok := errors.AsType[*mcpserver.Error](err); ok {
		return visible.Code
	}
	return ""
}

// memory is a content that counts what is read of it.
type memory struct {
	io.ReaderAt

	length int64
	read   int64
}

func (m *memory) ReadAt(p []byte, offset int64) (int, error) {
	n, err := m.ReaderAt.ReadAt(p, offset)
	m.read += int64(n)
	return n, err
}

func (m *memory) size() int64                      { return m.length }
func (m *memory) mark(offset int64) string         { return markOffset(offset) }
func (m *memory) place(mark string) (int64, error) { return placeOffset(mark, m.length) }

func inMemory(text string) *memory {
	return &memory{ReaderAt: strings.NewReader(text), length: int64(len(text))}
}

func reading(c content, format string) *reader {
	return &reader{content: c, decode: decoder(format), clock: clock{zone: time.UTC, near: time.Now()}, join: true, redact: newRedactor()}
}

// generated is a log of length bytes that is made as it is read: one line a second, each of lineSize bytes.
type generated struct{ length int64 }

const lineSize = 100

func beginning() time.Time { return time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC) }

func (g generated) line(i int64) string {
	head := beginning().Add(time.Duration(i)*time.Second).Format(time.RFC3339) + " INFO request " + strconv.FormatInt(i, 10) + " "
	return head + strings.Repeat("x", lineSize-1-len(head)) + "\n"
}

func (g generated) ReadAt(p []byte, offset int64) (int, error) {
	n := 0
	for n < len(p) {
		at := offset + int64(n)
		if at >= g.length {
			return n, io.EOF
		}
		n += copy(p[n:], g.line(at / lineSize)[at%lineSize:])
	}
	return n, nil
}

// one is a source with one log.
type one struct {
	content content
	format  string
	packed  bool
}

func (o one) kind() string { return "files" }

func (o one) streams(context.Context) ([]stream, []string, error) {
	return []stream{{name: "a.log", parts: []part{{id: "1", name: "a.log", compressed: o.packed, open: func(context.Context, span) (opened, error) {
		return opened{content: o.content, format: o.format, clock: clock{zone: time.UTC, near: time.Now()}, close: func() {}}, nil
	}}}}}, nil, nil
}

func servingOne(o one) *server {
	return &server{sources: []namedSource{{source: o, name: "s", join: true}}, turn: make(chan struct{}, 1), now: time.Now, scan: time.Hour}
}

// key is a private key as a log shows it.
func key(lines int) string {
	dashes := strings.Repeat("-", 5)
	return dashes + "BEGIN PRIVATE KEY" + dashes + "\n" + strings.Repeat(strings.Repeat("MIIEvQIBADANBgkq", 4)+"\n", lines) + dashes + "END PRIVATE KEY" + dashes
}

// redactedKey counts the marks of keys.
func redactedKey(text string) int {
	return strings.Count(scrub.Unnumbered(text), "[redacted:private-key]")
}
