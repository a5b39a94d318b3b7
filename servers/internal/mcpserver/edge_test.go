package mcpserver

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mcpclient "github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/listen"
)

const testToken = "a-token-for-tests"

func testEdge(t testing.TB) (*httpEdge, *memory) {
	t.Helper()
	line, recorder := testPipeline(t)
	dir := t.TempDir()
	writeToken(t, dir, "reader", testToken)
	accepted, err := openTokens(dir, []string{"reader"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return newHTTPEdge(line, "tcp", accepted, nil), recorder
}

func writeToken(t testing.TB, dir, holder string, tokens ...string) {
	t.Helper()
	var lines string
	for _, token := range tokens {
		sum := sha256.Sum256([]byte(token))
		lines += hex.EncodeToString(sum[:]) + "\n"
	}
	if err := os.WriteFile(filepath.Join(dir, holder+".sha256"), []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
}

func modernRequest(method, name, body string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "http://localhost/mcp", strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+testToken)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Mcp-Protocol-Version", "2026-07-28")
	r.Header.Set("Mcp-Method", method)
	if name != "" {
		r.Header.Set("Mcp-Name", name)
	}
	return r
}

func TestHTTPEdge(t *testing.T) {
	edge, recorder := testEdge(t)
	good := callBody("echo", `{"text":"hi"}`)
	legacy := `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	for _, tc := range []struct {
		name     string
		change   func(r *http.Request)
		body     string
		status   int
		text     string
		recorded bool
	}{
		{"good", nil, good, 200, `"text":"hi"`, true},
		{"base64 name", func(r *http.Request) { r.Header.Set("Mcp-Name", "=?base64?ZWNobw==?=") }, good, 200, `"text":"hi"`, true},
		{"legacy", func(r *http.Request) { r.Header = legacyHeader("2025-11-25") }, legacy, 200, `"tools"`, true},
		{"legacy, no version", func(r *http.Request) { r.Header = legacyHeader("") }, legacy, 200, `"tools"`, true},
		{"notification", func(r *http.Request) { r.Header = legacyHeader("") }, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, 202, "", true},
		{"GET", func(r *http.Request) { r.Method = http.MethodGet }, "", 405, "POST only", true},
		{"DELETE", func(r *http.Request) { r.Method = http.MethodDelete }, "", 405, "POST only", true},
		{"HEAD", func(r *http.Request) { r.Method = http.MethodHead }, "", 405, "POST only", true},
		{"path", func(r *http.Request) { r.URL.Path = "/mcp/" }, good, 404, "/mcp", true},
		{"host", func(r *http.Request) { r.Host = "evil.example:4000" }, good, 403, "evil.example", true},
		{"host of the bundle", func(r *http.Request) { r.Host = "test:4000" }, good, 200, `"text":"hi"`, true},
		{"IPv6 host", func(r *http.Request) { r.Host = "[::1]:4000" }, good, 200, `"text":"hi"`, true},
		{"own origin", func(r *http.Request) { r.Header.Set("Origin", "http://localhost:6274") }, good, 200, `"text":"hi"`, true},
		{"origin", func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") }, good, 403, "origin", true},
		{"null origin", func(r *http.Request) { r.Header.Set("Origin", "null") }, good, 403, "origin", true},
		{"a stranger's origin", func(r *http.Request) {
			r.Header.Set("Origin", "https://evil.example")
			r.Header.Del("Authorization")
		}, good, 403, "origin", false},
		{"no token", func(r *http.Request) { r.Header.Del("Authorization") }, good, 401, "Bearer", false},
		{"wrong token", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+testToken+"x") }, good, 401, "Bearer", false},
		{"basic", func(r *http.Request) { r.SetBasicAuth("reader", testToken) }, good, 401, "Bearer", false},
		{"content type", func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, good, 415, "application/json", true},
		{"too large", nil, strings.Repeat(" ", maxBody+1), 413, "at most", true},
		{"version missing in header", func(r *http.Request) { r.Header.Del("Mcp-Protocol-Version") }, good, 400, "-32020", true},
		{"version missing in body", nil, strings.Replace(good, `"io.modelcontextprotocol/protocolVersion":"2026-07-28",`, "", 1), 400, "-32602", true},
		{"versions differ", func(r *http.Request) { r.Header.Set("Mcp-Protocol-Version", "2025-11-25") }, good, 400, "-32020", true},
		{"unknown version", func(r *http.Request) { r.Header = legacyHeader("2020-01-01") }, legacy, 400, "-32020", true},
		{"future version", func(r *http.Request) { r.Header.Set("Mcp-Protocol-Version", "2099-01-01") },
			strings.Replace(good, "2026-07-28", "2099-01-01", 1), 400, "2026-07-28", true},
		{"no capabilities", nil, strings.Replace(good, `,"io.modelcontextprotocol/clientCapabilities":{}`, "", 1), 400, "-32602", true},
		{"method header", func(r *http.Request) { r.Header.Set("Mcp-Method", "tools/list") }, good, 400, "-32020", true},
		{"no method header", func(r *http.Request) { r.Header.Del("Mcp-Method") }, good, 400, "-32020", true},
		{"name header", func(r *http.Request) { r.Header.Set("Mcp-Name", "other") }, good, 400, "-32020", true},
		{"last event id", func(r *http.Request) { r.Header.Set("Last-Event-ID", "1") }, good, 400, "-32020", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := len(recorder.records)
			r := modernRequest("tools/call", "echo", tc.body)
			if tc.change != nil {
				tc.change(r)
			}
			w := httptest.NewRecorder()
			edge.ServeHTTP(w, r)
			if w.Code != tc.status || !strings.Contains(w.Body.String(), tc.text) {
				t.Errorf("%d %s; want %d and %q", w.Code, w.Body, tc.status, tc.text)
			}
			if w.Header().Get("WWW-Authenticate") != "" {
				t.Error("WWW-Authenticate would start an OAuth flow")
			}
			if w.Header().Get("Mcp-Session-Id") != "" {
				t.Error("a session was made")
			}
			if recorded := len(recorder.records) > before; recorded != tc.recorded {
				t.Errorf("recorded: %t, want %t", recorded, tc.recorded)
			}
			if tc.recorded && recorder.last(t).Principal != "reader" {
				t.Errorf("principal %q", recorder.last(t).Principal)
			}
		})
	}
}

func legacyHeader(version string) http.Header {
	h := http.Header{}
	h.Set("Authorization", "bearer "+testToken)
	h.Set("Content-Type", "application/json; charset=utf-8")
	if version != "" {
		h.Set("Mcp-Protocol-Version", version)
	}
	return h
}

func TestHealth(t *testing.T) {
	edge, _ := testEdge(t)
	var broken error
	edge.pipeline.gate.Healthy = func() error { return broken }
	for _, want := range []int{http.StatusOK, http.StatusServiceUnavailable} {
		w := httptest.NewRecorder()
		edge.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://localhost/healthz", http.NoBody))
		if w.Code != want {
			t.Errorf("%d, want %d", w.Code, want)
		}
		broken = errors.New("the audit log is full")
	}
}

func TestTokens(t *testing.T) {
	dir := t.TempDir()
	logger := slog.New(slog.DiscardHandler)
	if _, err := openTokens(dir, nil, logger); err == nil {
		t.Error("an empty folder was taken")
	}
	writeToken(t, dir, "one", "first", "second")
	if _, err := openTokens(dir, []string{"one", "two"}, logger); err == nil || !strings.Contains(err.Error(), "two has no token") {
		t.Errorf("a holder without a token: %v", err)
	}
	tokens, err := openTokens(dir, []string{"one"}, logger)
	if err != nil {
		t.Fatal(err)
	}
	expect := func(token, want string) {
		t.Helper()
		tokens.checked = time.Time{} // the folder is looked at once a second
		if got, ok := tokens.holder(t.Context(), token); got != want || ok != (want != "") {
			t.Errorf("%q is held by %q, %t; want %q", token, got, ok, want)
		}
	}
	expect("first", "one")
	expect("second", "one")
	expect("third", "")
	expect("", "")
	writeToken(t, dir, "two", "third")
	expect("third", "two")
	if err := os.WriteFile(filepath.Join(dir, "three.sha256"), []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	writeToken(t, dir, "one", "first")
	expect("second", "") // another's bad file does not bring back what was revoked
	if err := os.WriteFile(filepath.Join(dir, "one.sha256"), []byte("nonsense, and longer\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect("first", "one") // a bad file leaves its holder's old ones
	writeToken(t, dir, "one", "first")
	if err := os.Remove(filepath.Join(dir, "two.sha256")); err != nil {
		t.Fatal(err)
	}
	expect("third", "")
	expect("first", "one")
	if err := os.Remove(filepath.Join(dir, "one.sha256")); err != nil {
		t.Fatal(err)
	}
	expect("first", "") // the last one can be revoked too
}

func TestBadTokenFiles(t *testing.T) {
	sum := sha256.Sum256([]byte("x"))
	good := hex.EncodeToString(sum[:])
	for name, content := range map[string]string{
		"short": good[:63], "long": good + "0", "not hex": strings.Repeat("g", 64), "a plain token": "hunter2",
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "a.sha256"), []byte("# comment\n\n"+good+"\n"+content+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := openTokens(dir, nil, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), "a.sha256:4: ") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStdio(t *testing.T) {
	line, recorder := testPipeline(t)
	var out bytes.Buffer
	in := strings.Join([]string{
		`{"jsonrpc":"2.0","id":1,"method":"ping"}`,
		strings.Repeat("x", maxBody+1),
		``,
		`not JSON`,
		`{"jsonrpc":"2.0","method":"notifications/initialized"}`,
		`{"jsonrpc":"2.0","id":2,"method":"ping"}`, // not terminated
	}, "\n")
	if err := (&stdioEdge{pipeline: line, out: &out}).serve(t.Context(), strings.NewReader(in)); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for text := range strings.Lines(out.String()) {
		r := decodeReply(t, []byte(text))
		if r.Error != nil {
			got[r.Error.Message[:8]] = string(r.ID)
		} else {
			got["result"] += string(r.ID)
		}
	}
	if got["a messag"] != "null" || got["not JSON"] != "null" || len(got["result"]) != 2 || len(got) != 3 {
		t.Errorf("answers %q", out.String())
	}
	if len(recorder.records) != 5 {
		t.Errorf("%d records, want 5", len(recorder.records))
	}
}

// Lines beyond the bound do not take memory, and the last one needs no newline.
func TestReadLine(t *testing.T) {
	long := strings.Repeat("x", maxBody)
	for _, tc := range []struct {
		in   string
		want []string // an empty one is too long
	}{
		{"a\nb", []string{"a\n", "b"}},
		{long[1:] + "\nb\n", []string{long[1:] + "\n", "b\n"}},
		{long + "\nb\n", []string{"", "b\n"}},
		{long + long + "\nb", []string{"", "b"}},
		{long + "x", []string{""}},
	} {
		r := bufio.NewReaderSize(strings.NewReader(tc.in), 4096)
		var got []string
		for {
			line, err := readLine(r)
			if errors.Is(err, bufio.ErrTooLong) {
				got = append(got, "")
				continue
			}
			if len(line) > 0 {
				got = append(got, string(line))
			}
			if err != nil {
				break
			}
		}
		if strings.Join(got, "|") != strings.Join(tc.want, "|") {
			t.Errorf("%d bytes: %d lines, want %d", len(tc.in), len(got), len(tc.want))
		}
	}
}

// The clients that people use: the official SDK's and mcp-go's, over the three transports, in both eras.
func TestClients(t *testing.T) {
	eras := []string{"2025-11-25", "2026-07-28"}
	edge, _ := testEdge(t)
	servers := map[string]net.Listener{}
	for name, spec := range map[string]string{"tcp": "tcp://127.0.0.1:0", "unix": "unix://" + filepath.Join(t.TempDir(), "s")} {
		address, err := listen.Parse(spec)
		if err != nil {
			t.Fatal(err)
		}
		l, err := listen.Listen(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		servers[name] = l
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- edge.serve(ctx, l) }()
		t.Cleanup(func() {
			stop()
			if err := <-done; err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	for name, l := range servers {
		web := &http.Client{Transport: withToken{&http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, l.Addr().Network(), l.Addr().String())
		}}}}
		for _, era := range eras {
			t.Run("official SDK over "+name+" speaking "+era, func(t *testing.T) {
				useSDK(t, &sdk.StreamableClientTransport{Endpoint: "http://localhost/mcp", HTTPClient: web}, era)
			})
			t.Run("mcp-go over "+name+" speaking "+era, func(t *testing.T) {
				tr, err := transport.NewStreamableHTTP("http://localhost/mcp", transport.WithHTTPBasicClient(web))
				if err != nil {
					t.Fatal(err)
				}
				useMCPGo(t, tr, era)
			})
		}
	}
	for _, era := range eras {
		t.Run("official SDK over stdio speaking "+era, func(t *testing.T) {
			r, w := stdioServer(t, edge.pipeline)
			useSDK(t, &sdk.IOTransport{Reader: r, Writer: w}, era)
		})
		t.Run("mcp-go over stdio speaking "+era, func(t *testing.T) {
			r, w := stdioServer(t, edge.pipeline)
			useMCPGo(t, transport.NewIO(r, w, io.NopCloser(strings.NewReader(""))), era)
		})
	}
}

type withToken struct{ *http.Transport }

func (w withToken) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+testToken)
	return w.Transport.RoundTrip(r)
}

func stdioServer(t *testing.T, line *pipeline) (io.ReadCloser, io.WriteCloser) {
	t.Helper()
	in, toServer := io.Pipe()
	fromServer, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- (&stdioEdge{pipeline: line, out: out}).serve(t.Context(), in) }()
	t.Cleanup(func() {
		_ = toServer.Close()
		_ = fromServer.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return fromServer, toServer
}

func useSDK(t *testing.T, tr sdk.Transport, era string) {
	t.Helper()
	client := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), tr, &sdk.ClientSessionOptions{ProtocolVersion: era})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = session.Close() }()
	if got := session.InitializeResult().ProtocolVersion; got != era {
		t.Errorf("speaks %s, not %s", got, era)
	}
	tools, err := session.ListTools(t.Context(), nil)
	if err != nil || len(tools.Tools) != len(testTools())-1 {
		t.Fatalf("list: %v, %v", tools, err)
	}
	result, err := session.CallTool(t.Context(), &sdk.CallToolParams{Name: "echo", Arguments: map[string]any{"text": "hi"}})
	if err != nil || result.IsError {
		t.Fatalf("call: %v, %v", result, err)
	}
	if got, _ := json.Marshal(result.StructuredContent); !strings.Contains(string(got), `"text":"hi"`) {
		t.Errorf("call: %s", got)
	}
	result, err = session.CallTool(t.Context(), &sdk.CallToolParams{Name: "echo", Arguments: map[string]any{"text": 1}})
	if err != nil || !result.IsError {
		t.Errorf("bad arguments: %v, %v", result, err)
	}
	if _, err = session.CallTool(t.Context(), &sdk.CallToolParams{Name: "nope"}); err == nil || !strings.Contains(err.Error(), "unknown tool") {
		t.Errorf("unknown tool: %v", err)
	}
}

func useMCPGo(t *testing.T, tr transport.Interface, era string) {
	t.Helper()
	client := mcpclient.NewClient(tr)
	if err := client.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	initialize := mcp.InitializeRequest{}
	initialize.Params.ProtocolVersion = era
	initialize.Params.ClientInfo = mcp.Implementation{Name: "test", Version: "1"}
	initialized, err := client.Initialize(t.Context(), initialize)
	if err != nil {
		t.Fatal(err)
	}
	if got := initialized.ProtocolVersion; got != era {
		t.Errorf("speaks %s, not %s", got, era)
	}
	tools, err := client.ListTools(t.Context(), mcp.ListToolsRequest{})
	if err != nil || len(tools.Tools) != len(testTools())-1 {
		t.Fatalf("list: %v, %v", tools, err)
	}
	call := mcp.CallToolRequest{}
	call.Params.Name, call.Params.Arguments = "echo", map[string]any{"text": "hi"}
	result, err := client.CallTool(t.Context(), call)
	if err != nil || result.IsError {
		t.Fatalf("call: %v, %v", result, err)
	}
}

// A token file that is a link out of its folder would be one that cannot be revoked.
func TestTokenLinkOut(t *testing.T) {
	dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "hash")
	if err := os.WriteFile(elsewhere, []byte(strings.Repeat("0", 64)), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, filepath.Join(dir, "reader.sha256")); err != nil {
		t.Fatal(err)
	}
	if _, err := openTokens(dir, []string{"reader"}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "escapes") {
		t.Errorf("%v", err)
	}
	inside := filepath.Join(dir, "data")
	if err := errors.Join(os.Remove(filepath.Join(dir, "reader.sha256")), os.Rename(elsewhere, inside), os.Symlink("data", filepath.Join(dir, "reader.sha256"))); err != nil {
		t.Fatal(err)
	}
	if _, err := openTokens(dir, []string{"reader"}, slog.New(slog.DiscardHandler)); err != nil {
		t.Errorf("a link within the folder: %v", err)
	}
}

// A client that does not read keeps no server from stopping.
func TestStdioStopsUnread(t *testing.T) {
	line, err := newPipeline(Program{Name: "test"}, "v0", testTools(), Gate{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	in, feed := io.Pipe()
	unread, out := io.Pipe()
	t.Cleanup(func() { _ = unread.Close() })
	ended := make(chan error, 1)
	go func() { ended <- (&stdioEdge{pipeline: line, out: out}).serve(ctx, in) }()
	for range 3 {
		if _, err := io.WriteString(feed, `{"jsonrpc":"2.0","id":1,"method":"ping"}`+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
