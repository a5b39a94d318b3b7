package main

import (
	"bytes"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// asProgram tells the test binary to be the program, so that tests can run it in another folder, umask and environment.
const asProgram = "BULKHEAD_IMAGES_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	log.SetOutput(io.Discard) // as main does
	os.Exit(m.Run())
}

func buildNamed(t *testing.T, root, version, name string) image {
	t.Helper()
	images, err := buildLocal(t.Context(), root, version, []string{name}, false)
	if err != nil {
		t.Fatal(err)
	}
	return images[0]
}

func TestConfiguration(t *testing.T) {
	root := newRepo(t)
	for name, ports := range map[string]map[string]struct{}{"hello": {"4000/tcp": {}}, "plain": nil} {
		built := buildNamed(t, root, "v1.2.3", name)
		got, err := built.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		summaries := map[string]string{"hello": "Hello greets whoever asks.", "plain": "Plain speaks no MCP."}
		labels := map[string]string{
			"org.opencontainers.image.title":       "Bulkhead " + name,
			"org.opencontainers.image.description": summaries[name],
			"org.opencontainers.image.source":      "https://github.com/bulkhead-mcp/bulkhead",
			"org.opencontainers.image.licenses":    "Apache-2.0",
			"org.opencontainers.image.version":     "v1.2.3",
			"org.opencontainers.image.base.name":   "bulkhead.local/base:latest",
		}
		want := v1.Config{
			User:         "65532:65532",
			ExposedPorts: ports,
			Entrypoint:   []string{"/ko-app/" + name},
			Env: []string{
				"container=oci",
				"SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
				"ZONEINFO=/usr/share/zoneinfo.zip",
				"PATH=/ko-app",
				"KO_DATA_PATH=/var/run/ko",
			},
			Labels: labels,
		}
		if diff := cmp.Diff(want, got.Config); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if got.OS != "linux" || got.Architecture != runtime.GOARCH || !got.Created.Equal(epoch().Time) {
			t.Errorf("%s is for %s/%s, of %s", name, got.OS, got.Architecture, got.Created)
		}
		manifest, err := built.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		for key, value := range labels {
			if manifest.Annotations[key] != value {
				t.Errorf("%s: annotation %s is %q, want %q", name, key, manifest.Annotations[key], value)
			}
		}
	}
}

// TestFileSystem looks at what a container of the image would see: the base, what belongs to the server, and nothing else.
func TestFileSystem(t *testing.T) {
	built := buildNamed(t, newRepo(t), localVersion, "hello")
	layers, err := built.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var added []string
	for _, layer := range layers[1:] {
		content, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		added = append(added, listing(t, content)...)
	}
	for i, line := range added {
		added[i] = regexp.MustCompile(`@[^/]+/`).ReplaceAllString(line, "@VERSION/")
	}
	want := []string{
		"dr-xr-xr-x 0:0 usr/",
		"dr-xr-xr-x 0:0 usr/share/",
		"dr-xr-xr-x 0:0 usr/share/licenses/",
		"dr-xr-xr-x 0:0 usr/share/licenses/github.com/",
		"dr-xr-xr-x 0:0 usr/share/licenses/github.com/bulkhead-mcp/",
		"dr-xr-xr-x 0:0 usr/share/licenses/github.com/bulkhead-mcp/bulkhead/",
		"-r--r--r-- 0:0 usr/share/licenses/github.com/bulkhead-mcp/bulkhead/LICENSE",
		"dr-xr-xr-x 0:0 usr/share/licenses/go/",
		"-r--r--r-- 0:0 usr/share/licenses/go/LICENSE",
		"-r--r--r-- 0:0 usr/share/licenses/go/PATENTS",
		"dr-xr-xr-x 0:0 usr/share/licenses/golang.org/",
		"dr-xr-xr-x 0:0 usr/share/licenses/golang.org/x/",
		"dr-xr-xr-x 0:0 usr/share/licenses/golang.org/x/crypto/",
		"dr-xr-xr-x 0:0 usr/share/licenses/golang.org/x/crypto/x509roots/",
		"dr-xr-xr-x 0:0 usr/share/licenses/golang.org/x/crypto/x509roots/fallback@VERSION/",
		"-r--r--r-- 0:0 usr/share/licenses/golang.org/x/crypto/x509roots/fallback@VERSION/LICENSE",
		"dr-xr-xr-x 0:0 /var",
		"dr-xr-xr-x 0:0 /var/run",
		"dr-xr-xr-x 0:0 /var/run/ko",
		"dr-xr-xr-x 0:0 ko-app",
		"-r-xr-xr-x 0:0 /ko-app/hello",
	}
	if diff := cmp.Diff(want, added); diff != "" {
		t.Errorf("entries over the base (-want +got):\n%s", diff)
	}
	checkContent(t, built, "hello")
}

// TestSameID runs the program twice as two people would: other folders, umasks, time zones, homes and habits.
func TestSameID(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ids := func(root, umask string, env ...string) string {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", "umask "+umask+" && exec \"$0\" ids --test", self)
		cmd.Dir = filepath.Join(root, "servers") // it finds its own way up
		cmd.Env = append(append(os.Environ(), asProgram+"=1"), env...)
		cmd.Stderr = t.Output()
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	elsewhere := filepath.Join(t.TempDir(), "a", "deeper folder")
	fillRepo(t, elsewhere)
	one := ids(newRepo(t), "022", "TZ=UTC")
	two := ids(elsewhere, "077", "TZ=Pacific/Chatham", "TMPDIR="+t.TempDir(),
		"GOFLAGS=-buildvcs=false -tags=other", "GOAMD64=v3", "GOARM64=v9.0", "CGO_ENABLED=1", "GOOS=darwin", "GOARCH=arm", "SOURCE_DATE_EPOCH=315532800", "USER=somebody")
	if diff := cmp.Diff(one, two); diff != "" {
		t.Errorf("ids differ between two folders (-one +two):\n%s", diff)
	}
	var names []string
	for line := range strings.Lines(one) {
		name, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		if _, err := v1.NewHash(id); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		names = append(names, name)
	}
	if diff := cmp.Diff([]string{"hello", "plain", "probe"}, names); diff != "" {
		t.Errorf("images (-want +got):\n%s", diff)
	}
}

func TestIDFollowsContent(t *testing.T) {
	root := newRepo(t)
	before := buildNamed(t, root, localVersion, "hello").id
	layers, err := buildNamed(t, root, "v1.2.3-linked", "hello").Layers()
	if err != nil {
		t.Fatal(err)
	}
	content, err := layers[len(layers)-1].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	binary, err := io.ReadAll(content)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(binary, []byte("v1.2.3-linked")) {
		t.Error("the version is not in the binary")
	}
	write(t, filepath.Join(root, "servers/plain/main.go"), "// Plain is another program now.\npackage main\n\nfunc main() { println() }\n")
	if after := buildNamed(t, root, localVersion, "hello").id; after != before {
		t.Error("another server's source is in the image")
	}
	write(t, filepath.Join(root, "servers/internal/mcpserver/mcpserver.go"), "// Package mcpserver says something.\npackage mcpserver\n\n// Main speaks.\nfunc Main() { println(42) }\n")
	if after := buildNamed(t, root, localVersion, "hello").id; after == before {
		t.Error("the server's own source is not in the image")
	}
}

func TestFindAndChoose(t *testing.T) {
	all, err := findServers(newRepo(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		names string
		test  bool
		want  string
	}{
		{names: "", want: "hello plain"},
		{names: "", test: true, want: "hello plain probe"},
		{names: "plain", want: "plain"},
		{names: "probe", want: "probe"}, // asked for by name
	} {
		chosen, err := choose(all, strings.Fields(test.names), test.test)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range chosen {
			got = append(got, s.name)
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("choose(%q, test %v) = %q, want %q", test.names, test.test, got, test.want)
		}
	}
	if _, err := choose(all, []string{"nobody"}, true); err == nil || !strings.Contains(err.Error(), "servers/nobody") {
		t.Errorf("an unknown name: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	for name, test := range map[string]struct{ file, text, want string }{
		"no package comment": {"servers/mute/main.go", "package main\n\nfunc main() {}\n", "servers/mute has no package comment"},
		"name taken":         {"servers/probe/main.go", "// Probe is one too many.\npackage main\n\nfunc main() {}\n", "one name"},
		"not Go":             {"servers/broken/main.go", "package\n", "servers/broken"},
	} {
		t.Run(name, func(t *testing.T) {
			root := newRepo(t)
			write(t, filepath.Join(root, test.file), test.text)
			if _, err := findServers(root); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
	t.Run("does not compile", func(t *testing.T) {
		root := newRepo(t)
		write(t, filepath.Join(root, "servers/plain/main.go"), "// Plain is broken.\npackage main\n\nfunc main() { undefined() }\n")
		if _, err := buildLocal(t.Context(), root, localVersion, nil, false); err == nil || !strings.Contains(err.Error(), "undefined") {
			t.Errorf("got %v, want the compiler's words", err)
		}
	})
	t.Run("version", func(t *testing.T) {
		for _, version := range []string{"", "-v", "a b", "{{.Env}}", strings.Repeat("a", 65)} {
			if _, err := buildLocal(t.Context(), newRepo(t), version, nil, false); err == nil {
				t.Errorf("version %q was taken", version)
			}
		}
	})
}
