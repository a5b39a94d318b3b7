package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	fakehub "github.com/bulkhead-mcp/bulkhead/servers/e2e/fakehub/hub"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// shortTimeout is what a test waits for an answer that does not come.
const shortTimeout = 50 * time.Millisecond

// everything is what all tests of this package let out: logs, records, answers and errors. What they must not hold is
// the tokens: those of the accounts, in each form in which they are sent, and those that a fake handed out.
var everything struct {
	mu    sync.Mutex
	text  bytes.Buffer
	fakes []*fakehub.Hub
}

// TestMain looks for tokens in everything that was let out.
func TestMain(m *testing.M) {
	code := m.Run()
	everything.mu.Lock()
	defer everything.mu.Unlock()
	tokens := map[string]bool{}
	for _, secret := range secrets() {
		tokens[secret] = true
		for _, identifier := range []string{fakehub.Robot, fakehub.Organization} {
			tokens[base64.StdEncoding.EncodeToString([]byte(identifier+":"+secret))] = true
		}
	}
	for _, fake := range everything.fakes {
		for _, token := range fake.Issued() {
			tokens[token] = true
		}
	}
	text := everything.text.String()
	for token := range tokens {
		if at := strings.Index(text, token); at >= 0 && code == 0 {
			fmt.Fprintf(os.Stderr, "FAIL: a token was let out: …%s…\n", text[max(0, at-200):min(len(text), at+200)])
			code = 1
		}
	}
	fmt.Fprintf(os.Stderr, "looked for %d tokens in %d bytes of logs, records, answers and errors\n", len(tokens), len(text))
	os.Exit(code)
}

func secrets() []string {
	return []string{fakehub.ReadToken, fakehub.PublicToken, fakehub.WriteToken, fakehub.OrgToken, fakehub.OldToken}
}

// letOut is a writer to everything.
type letOut struct{}

func (letOut) Write(p []byte) (int, error) {
	everything.mu.Lock()
	defer everything.mu.Unlock()
	return everything.text.Write(p)
}

// fake returns a Docker Hub of its own.
func fake() *fakehub.Hub {
	h := fakehub.New()
	everything.mu.Lock()
	defer everything.mu.Unlock()
	everything.fakes = append(everything.fakes, h)
	return h
}

// testLogger logs to everything, and to others.
func testLogger(also ...io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(io.MultiWriter(append(also, letOut{})...), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// anonymous is the login of nobody.
func anonymous(t testing.TB) *login {
	t.Helper()
	l, err := openLogin("", testLogger())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// loginOf is the login of a folder that holds an account.
func loginOf(t testing.TB, identifier, secret string) *login {
	t.Helper()
	l, err := openLogin(accountIn(t, t.TempDir(), identifier, secret), testLogger())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func accountIn(t testing.TB, dir, identifier, secret string) string {
	t.Helper()
	for name, content := range map[string]string{identifierFile: identifier, secretFile: secret} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// hubAt returns an anonymous client of the handler behind TLS.
func hubAt(t testing.TB, handler http.Handler) *hub { return hubAs(t, handler, anonymous(t)) }

// hubAs returns a client of the handler, which stands for all three hosts.
func hubAs(t testing.TB, handler http.Handler, account *login) *hub {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	h := newHub(mcpserver.Env{Logger: testLogger()}, account)
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	h.base, h.auth, h.registry = base, base, base
	h.transport = func() (http.RoundTripper, error) { return server.Client().Transport, nil }
	return h
}

// hubSaying returns a client of an API that gives one answer to everything.
func hubSaying(t *testing.T, status int, header http.Header, body string) *hub {
	t.Helper()
	return hubAt(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		maps.Copy(w.Header(), header)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
}

// hubThrough returns a client whose requests end in f.
func hubThrough(t *testing.T, f roundTripper) *hub {
	t.Helper()
	h := newHub(mcpserver.Env{Logger: testLogger()}, anonymous(t))
	h.transport = func() (http.RoundTripper, error) { return f, nil }
	return h
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// call calls a tool as the pipeline does, and decodes its answer into out, if there is one.
func call(t testing.TB, h *hub, name, args string, out any) error {
	t.Helper()
	all := h.tools()
	i := slices.IndexFunc(all, func(tool mcpserver.Tool) bool { return tool.Definition.Name == name })
	result, err := all[i].Call(t.Context(), json.RawMessage(args))
	_, _ = letOut{}.Write(append(result.Structured, '\n'))
	if err != nil {
		_, _ = fmt.Fprintln(letOut{}, err)
		return err
	}
	if raw, ok := out.(*json.RawMessage); ok {
		*raw = result.Structured
		return nil
	}
	if err := json.Unmarshal(result.Structured, out); err != nil {
		t.Fatal(err)
	}
	return nil
}

// wantError checks the code, and that the message has all the words.
func wantError(t testing.TB, err error, code mcpserver.Code, words ...string) {
	t.Helper()
	var visible *mcpserver.Error
	if !errors.As(err, &visible) {
		t.Fatalf("error %v is not for callers", err)
	}
	_, _ = fmt.Fprintln(letOut{}, visible)
	if visible.Code != code {
		t.Errorf("code %s, want %s: %s", visible.Code, code, visible.Message)
	}
	for _, word := range words {
		if !strings.Contains(visible.Message, word) {
			t.Errorf("%q does not say %q", visible.Message, word)
		}
	}
}

// noSleep makes a client wait for nothing, and returns how long it would have waited.
func noSleep(h *hub) *[]time.Duration {
	var waits []time.Duration
	h.sleep = func(_ context.Context, d time.Duration) error {
		waits = append(waits, d)
		return nil
	}
	return &waits
}
