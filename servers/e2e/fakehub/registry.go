package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/bulkhead-mcp/bulkhead/servers/e2e/canary"
)

// leakyRegistry is a registry with one image, whose configuration is full of secrets. What it does not have it refuses with
// a secret in the error.
func leakyRegistry() (http.Handler, error) {
	inner := registry.New(registry.Logger(slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)))
	server := httptest.NewServer(inner) // just to push to
	defer server.Close()
	address, err := url.Parse(server.URL)
	if err != nil {
		return nil, err
	}
	target, err := name.NewTag(address.Host+strings.TrimPrefix(canary.Repository, canary.Host)+":1.0", name.Insecure)
	if err != nil {
		return nil, err
	}
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		Architecture: "amd64", OS: "linux", RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			Env:    []string{"PATH=/bin", "DB_PASSWORD=" + canary.Password(canary.Environment), "HUB=" + canary.Token(canary.Environment)},
			Labels: map[string]string{"notes": canary.Text(canary.Environment)},
			Cmd:    []string{"/app", "--token", canary.Token(canary.Environment)},
		},
		History: []v1.History{{CreatedBy: "ENV AWS_ACCESS_KEY_ID=" + canary.Key(canary.Environment), EmptyLayer: true}},
	})
	if err != nil {
		return nil, err
	}
	if err := remote.Write(target, image); err != nil {
		return nil, fmt.Errorf("the leaky image: %w", err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/acme/broken/") {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = fmt.Fprintf(w, `{"errors":[{"code":"UNKNOWN","message":%q}]}`, canary.Text(canary.UpstreamError))
			return
		}
		inner.ServeHTTP(w, r)
	}), nil
}
