package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// fakeEngine answers as much of the engine's API as loading takes, and keeps what it is given.
type fakeEngine struct {
	refuse   bool                // answer a load as a full disk does: status 200, the error in the stream
	identify func(string) string // the id that the engine gives an image, from the image's own

	mu     sync.Mutex
	images map[string]loadedImage // by id and by tag
	loads  int
}

type loadedImage struct {
	id     string
	layers []v1.Hash
}

func newFakeEngine(t *testing.T) *fakeEngine {
	t.Helper()
	e := &fakeEngine{images: map[string]loadedImage{}, identify: func(id string) string { return id }}
	mux := http.NewServeMux()
	mux.HandleFunc("/_ping", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Api-Version", "1.41") })
	mux.HandleFunc("POST /v1.41/images/load", e.load)
	mux.HandleFunc("GET /v1.41/images/", e.inspect)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	t.Setenv("DOCKER_HOST", "tcp://"+server.Listener.Addr().String())
	return e
}

func (e *fakeEngine) load(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.loads++
	data, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if e.refuse {
		fmt.Fprintln(w, `{"errorDetail":{"message":"no space left on device"},"error":"no space left on device"}`)
		return
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
	manifest, err := tarball.LoadManifest(open)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	image, err := tarball.Image(open, nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	config, err := image.ConfigFile()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	id, err := image.ConfigName()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	loaded := loadedImage{id: e.identify(id.String()), layers: config.RootFS.DiffIDs}
	e.images[loaded.id] = loaded
	for _, tag := range manifest[0].RepoTags {
		e.images[tag] = loaded
	}
	fmt.Fprintln(w, `{"stream":"Loaded image"}`)
}

func (e *fakeEngine) inspect(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	name, what := r.URL.Path, ""
	name = strings.TrimPrefix(name, "/v1.41/images/")
	if i := strings.LastIndex(name, "/"); i >= 0 {
		name, what = name[:i], name[i+1:]
	}
	loaded, ok := e.images[name]
	switch {
	case !ok:
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintln(w, `{"message":"No such image"}`)
	case what == "history":
		fmt.Fprintln(w, `[]`)
	default:
		tags := []string{}
		for tag, image := range e.images {
			if image.id == loaded.id && tag != loaded.id {
				tags = append(tags, tag)
			}
		}
		answer := map[string]any{
			"Id": loaded.id, "RepoTags": tags, "Created": "1970-01-01T00:00:00Z",
			"RootFS": map[string]any{"Type": "layers", "Layers": loaded.layers},
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			panic(err)
		}
	}
}

func TestLoad(t *testing.T) {
	engine, root := newFakeEngine(t), newRepo(t)
	write(t, filepath.Join(root, ".env"), "EGRESS_POLICY=mine.yaml\nBULKHEAD_HELLO_IMAGE=sha256:old\n")
	printed, err := runVerb(t, root, "load")
	if err != nil {
		t.Fatal(err)
	}
	hello, plain := buildNamed(t, root, localVersion, "hello").id, buildNamed(t, root, localVersion, "plain").id
	if diff := cmp.Diff("hello "+hello+"\nplain "+plain+"\n", printed); diff != "" {
		t.Errorf("printed (-want +got):\n%s", diff)
	}
	env, err := os.ReadFile(filepath.Join(root, ".env"))
	if err != nil {
		t.Fatal(err)
	}
	want := "EGRESS_POLICY=mine.yaml\nBULKHEAD_HELLO_IMAGE=" + hello + "\nBULKHEAD_PLAIN_IMAGE=" + plain + "\n"
	if diff := cmp.Diff(want, string(env)); diff != "" {
		t.Errorf(".env (-want +got):\n%s", diff)
	}

	if engine.loads != 2 {
		t.Errorf("%d loads, want 2", engine.loads)
	}
	if _, err := runVerb(t, root, "load", "--env", "other.env"); err != nil {
		t.Fatal(err)
	}
	if engine.loads != 2 {
		t.Error("an image that the engine has was loaded again")
	}
	if _, err := os.Stat(filepath.Join(root, "other.env")); err != nil {
		t.Error(err)
	}
}

// TestLoadOtherID is an engine that keeps images in containerd's store.
func TestLoadOtherID(t *testing.T) {
	engine, root := newFakeEngine(t), newRepo(t)
	other := "sha256:" + strings.Repeat("0123456789abcdef", 4)
	engine.identify = func(string) string { return other }
	printed, err := runVerb(t, root, "load", "plain")
	if err != nil {
		t.Fatal(err)
	}
	if printed != "plain "+other+"\n" {
		t.Errorf("printed %q, want the engine's id", printed)
	}
}

func TestLoadFails(t *testing.T) {
	t.Run("engine refuses", func(t *testing.T) {
		engine, root := newFakeEngine(t), newRepo(t)
		engine.refuse = true
		if _, err := runVerb(t, root, "load", "plain"); err == nil || !strings.Contains(err.Error(), "no space left on device") {
			t.Errorf("got %v, want the engine's words", err)
		}
		if _, err := os.Stat(filepath.Join(root, ".env")); err == nil {
			t.Error(".env was written")
		}
	})
	t.Run("engine has something else", func(t *testing.T) {
		engine, root := newFakeEngine(t), newRepo(t)
		id := buildNamed(t, root, localVersion, "plain").id
		engine.images[id] = loadedImage{id: id}
		engine.images[localDomain+"/plain:latest"] = loadedImage{id: id}
		if _, err := runVerb(t, root, "load", "plain"); err == nil || !strings.Contains(err.Error(), "other layers") {
			t.Errorf("got %v, want a complaint about the layers", err)
		}
	})
	t.Run("no engine", func(t *testing.T) {
		t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(t.TempDir(), "absent.sock"))
		if _, err := runVerb(t, newRepo(t), "load"); err == nil || !strings.Contains(err.Error(), "scripts/engine") {
			t.Errorf("got %v, want advice", err)
		}
	})
}
