package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/egresspolicy"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/outbound"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/workspace"
)

// place is a registry that a test talks to over TLS.
type place struct {
	host   string
	caFile string
	push   http.RoundTripper // trusts it
}

// serve gives handler an address with TLS.
func serve(t testing.TB, handler http.Handler) place {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	write(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	return place{host: strings.TrimPrefix(s.URL, "https://"), caFile: ca, push: s.Client().Transport}
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// inProcess is go-containerregistry's registry.
func inProcess() http.Handler {
	return registry.New(registry.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)), registry.WithReferrersSupport(true))
}

// distributionRegistry starts the registry of the package docker-registry, with TLS in front of it.
func distributionRegistry(t testing.TB) place {
	t.Helper()
	binary, err := exec.LookPath("docker-registry")
	if err != nil {
		if os.Getenv("REQUIRE_ENGINE") != "" {
			t.Fatal("docker-registry is missing: apt-get install docker-registry")
		}
		t.Skip("docker-registry is not installed: apt-get install docker-registry")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "config.yml"), fmt.Sprintf(
		"version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\n", filepath.Join(dir, "data"), address))
	command := exec.CommandContext(t.Context(), binary, "serve", filepath.Join(dir, "config.yml"))
	var said bytes.Buffer
	command.Stderr = &said
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	for range 200 {
		if response, err := http.Get("http://" + address + "/v2/"); err == nil {
			response.Body.Close()
			return serve(t, forward(address))
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("docker-registry does not answer: %s", said.String())
	return place{}
}

// forward passes requests on to address, which then believes that it was asked over TLS.
func forward(address string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := r.Clone(r.Context())
		out.URL.Scheme, out.URL.Host, out.RequestURI = "http", address, ""
		out.Header.Set("X-Forwarded-Proto", "https")
		response, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer response.Body.Close()
		maps.Copy(w.Header(), response.Header)
		w.WriteHeader(response.StatusCode)
		_, _ = io.Copy(w, response.Body)
	})
}

// serverFor makes a server that may reach the places and nothing else.
func serverFor(t testing.TB, own options, places ...place) *server {
	t.Helper()
	var roots []byte
	var allow []egresspolicy.Rule
	for _, p := range places {
		pem, err := os.ReadFile(p.caFile)
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, pem...)
		rule, err := egresspolicy.ParseRule(p.host)
		if err != nil {
			t.Fatal(err)
		}
		allow = append(allow, rule)
	}
	ca := filepath.Join(t.TempDir(), "roots.pem")
	write(t, ca, string(roots))
	way, err := outbound.New(outbound.Config{Egress: outbound.Direct, CAFile: ca, Allow: allow})
	if err != nil {
		t.Fatal(err)
	}
	s, err := newServer(own, mcpserver.Env{
		Logger:   slog.New(slog.DiscardHandler),
		Outbound: func() (*outbound.Client, error) { return way, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func withWorkspace(t testing.TB, s *server, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for path, content := range files {
		write(t, filepath.Join(dir, path), content)
	}
	root, err := workspace.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	s.workspace = root
}

// image makes a small image whose content depends on the seed.
func image(t testing.TB, seed string) v1.Image {
	t.Helper()
	img, err := mutate.Config(empty.Image, v1.Config{Labels: map[string]string{"seed": seed}})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// put pushes an image under a tag and returns its digest.
func (p place) put(t testing.TB, repository, tag string, img v1.Image) string {
	t.Helper()
	ref, err := name.ParseReference(p.host + "/" + repository + ":" + tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img, remote.WithTransport(p.push)); err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

// ask calls a tool as a client would, arguments by schema and all, and decodes the answer.
func ask[Out any](t testing.TB, s *server, tool string, arguments any) (out Out, err error) {
	t.Helper()
	args, marshalErr := json.Marshal(arguments)
	if marshalErr != nil {
		t.Fatal(marshalErr)
	}
	for _, known := range s.tools() {
		if known.Definition.Name != tool {
			continue
		}
		if err := known.Definition.CheckArguments(args); err != nil {
			return out, err
		}
		result, err := known.Call(outbound.WithCall(t.Context(), "01TEST"), args)
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

func wantCode(t testing.TB, err error, code mcpserver.Code, words ...string) {
	t.Helper()
	visible, ok := errors.AsType[*mcpserver.Error](err)
	if !ok || visible.Code != code {
		t.Errorf("%v, want %s", err, code)
		return
	}
	for _, word := range words {
		if !strings.Contains(visible.Message, word) {
			t.Errorf("%q does not say %q", visible.Message, word)
		}
	}
}

// tally counts requests, by method and the kind of path, and makes each wait.
type tally struct {
	http.Handler
	delay time.Duration

	mu     sync.Mutex
	counts map[string]int
}

func (c *tally) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind := "other"
	for _, part := range []string{"/manifests/", "/tags/list", "/blobs/", "/referrers/", "/token", "/_catalog"} {
		if strings.Contains(r.URL.Path, part) {
			kind = strings.Trim(part, "/")
		}
	}
	if r.URL.Path == "/v2/" {
		kind = "ping"
	}
	c.mu.Lock()
	if c.counts == nil {
		c.counts = map[string]int{}
	}
	c.counts[r.Method+" "+kind]++
	c.mu.Unlock()
	time.Sleep(c.delay)
	c.Handler.ServeHTTP(w, r)
}

// withTokens wants a token for each repository, as Docker Hub does, and a login for it if there is one.
func withTokens(inner http.Handler, user, secret string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			if u, p, ok := r.BasicAuth(); user != "" && (!ok || u != user || p != secret) {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			_ = json.NewEncoder(w).Encode(map[string]string{"token": "for " + r.URL.Query().Get("scope")})
			return
		}
		scope := "repository:"
		if path, ok := strings.CutPrefix(r.URL.Path, "/v2/"); ok {
			for _, part := range []string{"/manifests/", "/tags/", "/blobs/", "/referrers/"} {
				if i := strings.Index(path, part); i > 0 {
					scope += path[:i] + ":pull"
				}
			}
		}
		if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer for "); !ok || token != scope {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="https://%s/token",service="test"`, r.Host))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	})
}
