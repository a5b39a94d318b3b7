package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// file is an entry of a layer.
type file struct {
	name, content, link string
	mode                int64
	kind                byte
}

func layerOf(t testing.TB, files ...file) v1.Layer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Linkname: f.link, Mode: max(f.mode, 0o644), Size: int64(len(f.content)), Typeflag: f.kind}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return blobLayer(t, b.Bytes())
}

func blobLayer(t testing.TB, content []byte) v1.Layer {
	t.Helper()
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil })
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

// step is a layer and what made it.
type step struct {
	layer v1.Layer // nil for an instruction that makes none
	by    string
}

func build(t testing.TB, base v1.Image, config v1.Config, steps ...step) v1.Image {
	t.Helper()
	img := base
	for _, s := range steps {
		var err error
		img, err = mutate.Append(img, mutate.Addendum{Layer: s.layer, History: v1.History{
			CreatedBy: s.by, EmptyLayer: s.layer == nil, Created: v1.Time{Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.Config, file.OS, file.Architecture = config, "linux", "amd64"
	file.Created = v1.Time{Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	if img, err = mutate.ConfigFile(img, file); err != nil {
		t.Fatal(err)
	}
	return img
}

func (p place) putIndex(t testing.TB, repository, tag string, images map[string]v1.Image) string {
	t.Helper()
	index := v1.ImageIndex(empty.Index)
	for _, key := range slices.Sorted(func(yield func(string) bool) {
		for key := range images {
			if !yield(key) {
				return
			}
		}
	}) {
		at, err := v1.ParsePlatform(key)
		if err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: images[key], Descriptor: v1.Descriptor{Platform: at}})
	}
	ref, err := name.ParseReference(p.host + "/" + repository + ":" + tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref, index, remote.WithTransport(p.push)); err != nil {
		t.Fatal(err)
	}
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

func TestInspectImage(t *testing.T) {
	p := distributionRegistry(t)
	config := v1.Config{User: "65532", Env: []string{"PATH=/bin", "DB_PASSWORD=hunter2hunter2"}, Cmd: []string{"/app"}, Labels: map[string]string{"a": "b"}, Volumes: map[string]struct{}{"/data": {}}}
	amd := build(t, empty.Image, config, step{layerOf(t, file{name: "app", content: "x"}), "COPY app /app # buildkit"}, step{nil, "CMD [\"/app\"]"})
	arm := build(t, empty.Image, v1.Config{}, step{layerOf(t, file{name: "app", content: "y"}), "COPY app /app"})
	index := p.putIndex(t, "acme/api", "v1", map[string]v1.Image{"linux/amd64": amd, "linux/arm64/v8": arm})
	s := serverFor(t, options{}, p)
	out, err := ask[inspectImageOut](t, s, "inspect_image", map[string]any{"reference": p.host + "/acme/api:v1"})
	if err != nil {
		t.Fatal(err)
	}
	digest, _ := amd.Digest()
	if out.Digest != index || out.ImageDigest != digest.String() || out.Platform != "linux/amd64" || len(out.Platforms) != 2 ||
		len(out.Layers) != 1 || !strings.HasPrefix(out.Layers[0].Instruction, "COPY app") || out.Config.User != "65532" ||
		out.Created != "2026-01-02T03:04:05Z" || out.Labels["a"] != "b" || out.SizeBytes != out.Layers[0].SizeBytes || out.SizeBytes == 0 {
		t.Errorf("%+v", out)
	}
	out, err = ask[inspectImageOut](t, s, "inspect_image", map[string]any{"reference": p.host + "/acme/api:v1", "platform": "linux/arm64"})
	if err != nil || out.Platform != "linux/arm64/v8" {
		t.Errorf("%+v, %v", out, err)
	}
	_, err = ask[inspectImageOut](t, s, "inspect_image", map[string]any{"reference": p.host + "/acme/api:v1", "platform": "windows/amd64"})
	wantCode(t, err, mcpserver.CodeNotFound, "linux/amd64, linux/arm64/v8")
}

func TestFindBaseImage(t *testing.T) {
	p := serve(t, inProcess())
	base := build(t, empty.Image, v1.Config{}, step{layerOf(t, file{name: "bin/sh", content: "sh"}), "/bin/sh -c #(nop) ADD file:1 in / "}, step{nil, `/bin/sh -c #(nop)  CMD ["bash"]`})
	middle := build(t, base, v1.Config{}, step{layerOf(t, file{name: "usr/bin/node", content: "n"}), "RUN install"}, step{nil, `CMD ["node"]`})
	app := build(t, middle, v1.Config{}, step{layerOf(t, file{name: "app", content: "a"}), "COPY app /app"}, step{nil, `CMD ["/app"]`})
	baseDigestNow := p.put(t, "library/debian", "bookworm", base)
	p.put(t, "library/node", "20", middle)
	p.put(t, "acme/api", "v1", app)
	s := serverFor(t, options{}, p)
	s.client.now = func() time.Time { return time.Date(2026, 1, 12, 3, 4, 5, 0, time.UTC) }
	at := func(text string) string { return p.host + "/" + text }
	find := func(reference string, candidates ...string) findBaseImageOut {
		t.Helper()
		arguments := map[string]any{"reference": at(reference)}
		if len(candidates) > 0 {
			arguments["candidates"] = candidates
		}
		out, err := ask[findBaseImageOut](t, s, "find_base_image", arguments)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	// The nearest base wins, and a candidate that is not there does not hide the others.
	out := find("acme/api:v1", at("library/debian:bookworm"), at("library/node:20"), at("library/none:1"))
	if out.Method != byLayers || out.Guess || out.Base != at("library/node:20") || out.Layers != 2 || len(out.NotCompared) != 1 || out.AgeDays == nil || *out.AgeDays != 10 {
		t.Errorf("by layers: %+v", out)
	}
	if out.Newer == nil || out.Newer.Changed {
		t.Errorf("newer: %+v", out.Newer)
	}
	if out = find("acme/api:v1"); out.Method != byHistory || !out.Guess || out.Base != "node" || out.Layers != 2 {
		t.Errorf("by history: %+v", out)
	}
	annotated, ok := mutate.Annotations(app, map[string]string{baseName: at("library/debian:bookworm"), baseDigest: baseDigestNow}).(v1.Image)
	if !ok {
		t.Fatal("no image")
	}
	p.put(t, "acme/api", "v2", annotated)
	if out = find("acme/api:v2", at("library/node:20")); out.Method != byAnnotation || out.Digest != baseDigestNow || !out.Verified || out.Newer == nil || out.Newer.Changed {
		t.Errorf("by annotation: %+v", out)
	}
	moved := p.put(t, "library/debian", "bookworm", build(t, base, v1.Config{}, step{layerOf(t, file{name: "fix", content: "f"}), "RUN fix"}))
	s = serverFor(t, options{}, p)
	if out = find("acme/api:v2"); out.Newer == nil || !out.Newer.Changed || out.Newer.Digest != moved {
		t.Errorf("a base that was built again: %+v", out)
	}
	lying, ok := mutate.Annotations(app, map[string]string{baseName: at("library/debian:bookworm"), baseDigest: moved}).(v1.Image)
	if !ok {
		t.Fatal("no image")
	}
	p.put(t, "acme/api", "v3", lying)
	if out = find("acme/api:v3"); out.Method != byAnnotation || out.Verified {
		t.Errorf("an annotation that does not fit: %+v", out)
	}
	p.put(t, "acme/scratch", "v1", build(t, empty.Image, v1.Config{}, step{layerOf(t, file{name: "a", content: "a"}), "COPY a /"}))
	if out = find("acme/scratch:v1"); out.Method != byNothing || len(out.Evidence) != 3 {
		t.Errorf("nothing: %+v", out)
	}
}

// A layer that one answer may not hold is read in parts, and its digest is that of the whole.
func TestLayerInParts(t *testing.T) {
	for name, start := range map[string]func(testing.TB) place{
		"docker-registry": distributionRegistry, "go-containerregistry": func(t testing.TB) place { return serve(t, inProcess()) },
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t)
			random := make([]byte, 2*layerPart+12345)
			rng := rand.NewChaCha8([32]byte{})
			_, _ = rng.Read(random)
			p.put(t, "acme/big", "v1", build(t, empty.Image, v1.Config{User: "1"},
				step{layerOf(t, file{name: "big", content: string(random)}, file{name: "bin/su", mode: 0o4755}), "COPY"}))
			out, err := ask[lintImageOut](t, serverFor(t, options{}, p), "lint_image", map[string]any{"reference": p.host + "/acme/big:v1"})
			if err != nil || !strings.Contains(fmt.Sprint(out.Findings), "/bin/su") || strings.Contains(fmt.Sprint(out.Findings), ruleUnread) {
				t.Errorf("%+v, %v", out, err)
			}
		})
	}
}

// What an image says of its base does not have the server use a login of the operator's for another registry.
func TestBaseBehindALogin(t *testing.T) {
	private := &tally{Handler: inProcess()}
	p, other := serve(t, inProcess()), serve(t, private)
	base := build(t, empty.Image, v1.Config{}, step{layerOf(t, file{name: "a", content: "a"}), "COPY"})
	digest := other.put(t, "secret/base", "v1", base)
	annotated, ok := mutate.Annotations(base, map[string]string{baseName: other.host + "/secret/base:v1", baseDigest: digest}).(v1.Image)
	if !ok {
		t.Fatal("no image")
	}
	p.put(t, "evil/app", "v1", annotated)
	credentials := t.TempDir()
	write(t, credentials+"/"+other.host+".token", "user:token-of-the-operator")
	s := serverFor(t, options{credentials: credentials}, p, other)
	private.counts = nil
	out, err := ask[findBaseImageOut](t, s, "find_base_image", map[string]any{"reference": p.host + "/evil/app:v1"})
	if err != nil || out.Method != byAnnotation || out.Verified || out.Newer != nil || out.AgeDays != nil || sum(private.counts) != 0 {
		t.Errorf("%+v, %v, %v", out, err, private.counts)
	}
	out, err = ask[findBaseImageOut](t, s, "find_base_image", map[string]any{"reference": p.host + "/evil/app:v1", "candidates": []string{other.host + "/secret/base:v1"}})
	if err != nil || sum(private.counts) == 0 {
		t.Errorf("as a candidate: %+v, %v", out, err)
	}
}

// Each rule has an image that it fails and one that it passes.
func TestLintRules(t *testing.T) {
	good := func() ([]step, v1.Config) {
		return []step{{layerOf(t, file{name: "etc/passwd", content: "root:x:0:0\napp:x:10:10\n"}, file{name: "etc/shadow", content: "root:!:1\napp:*:1\n"}), "COPY rootfs /"}},
			v1.Config{User: "10:10", Healthcheck: &v1.HealthConfig{Test: []string{"CMD", "/health"}}, Env: []string{"PATH=/bin", "DB_PASSWORD_FILE=/run/secrets/db", "GPG_KEY=E3FF2839C048B25C084DEBE9B26995E310250568"}}
	}
	secret := "hunter2hunter2-" + "Zq8"
	for rule, spoil := range map[string]func(steps *[]step, config *v1.Config){
		"CIS-DI-0001": func(_ *[]step, c *v1.Config) { c.User = "root" },
		"CIS-DI-0006": func(_ *[]step, c *v1.Config) { c.Healthcheck = nil },
		"CIS-DI-0007": func(s *[]step, _ *v1.Config) { *s = append(*s, step{nil, "/bin/sh -c apt-get -qq update"}) },
		"CIS-DI-0008": func(s *[]step, _ *v1.Config) {
			*s = append(*s, step{layerOf(t, file{name: "bin/su", mode: 0o4755}), "COPY"})
		},
		"CIS-DI-0009": func(s *[]step, _ *v1.Config) { *s = append(*s, step{nil, "ADD https://example.com/x.tgz /x"}) },
		"CIS-DI-0010": func(_ *[]step, c *v1.Config) { c.Env = append(c.Env, "DB_PASSWORD="+secret) },
		"DKL-DI-0001": func(s *[]step, _ *v1.Config) { *s = append(*s, step{nil, "/bin/sh -c sudo make install"}) },
		"DKL-DI-0002": func(_ *[]step, c *v1.Config) { c.Volumes = map[string]struct{}{"/etc": {}} },
		"DKL-DI-0003": func(s *[]step, _ *v1.Config) { *s = append(*s, step{nil, "apt-get update && apt-get -y dist-upgrade"}) },
		"DKL-DI-0005": func(s *[]step, _ *v1.Config) {
			*s = append(*s, step{layerOf(t, file{name: "var/lib/apt/lists/deb_main_Packages", content: "x"}), "RUN"})
		},
		"DKL-DI-0006": nil,
		"DKL-LI-0001": func(s *[]step, _ *v1.Config) {
			*s = append(*s, step{layerOf(t, file{name: "etc/shadow", content: "root::1\n"}), "COPY"})
		},
		"DKL-LI-0002": func(s *[]step, _ *v1.Config) {
			*s = append(*s, step{layerOf(t, file{name: "etc/passwd", content: "root:x:0:0\ntoor:x:0:0\n"}), "COPY"})
		},
		"DKL-LI-0003": func(s *[]step, _ *v1.Config) {
			*s = append(*s, step{layerOf(t, file{name: "app/.git", kind: tar.TypeDir}), "COPY"})
		},
		"SECRET-FILE": func(s *[]step, _ *v1.Config) {
			*s = append(*s, step{layerOf(t, file{name: "root/.ssh/id_rsa", content: "x"}), "COPY"}, step{layerOf(t, file{name: "root/.ssh/.wh.id_rsa"}), "RUN rm"})
		},
		"LAYER-PATH": func(s *[]step, _ *v1.Config) {
			*s = append(*s, step{layerOf(t, file{name: "a/../../etc/cron.d/x", content: "x"}), "COPY"})
		},
	} {
		p := serve(t, inProcess())
		s := serverFor(t, options{}, p)
		tag := "v1"
		steps, config := good()
		p.put(t, "acme/good", tag, build(t, empty.Image, config, steps...))
		if spoil == nil {
			tag = "latest"
		} else {
			spoil(&steps, &config)
		}
		p.put(t, "acme/bad", tag, build(t, empty.Image, config, steps...))
		clean, err := ask[lintImageOut](t, s, "lint_image", map[string]any{"reference": p.host + "/acme/good:v1"})
		if err != nil || clean.Verdict != finding.Pass || len(clean.Findings) != 0 || len(clean.Passed) != len(lintRules()) {
			t.Errorf("%s: a good image: %+v, %v", rule, clean, err)
		}
		out, err := ask[lintImageOut](t, s, "lint_image", map[string]any{"reference": p.host + "/acme/bad:" + tag})
		if err != nil || out.Verdict != finding.Fail || len(out.Findings) != 1 || out.Findings[0].Rule != rule {
			t.Errorf("%s: %+v, %v", rule, out, err)
		}
		if strings.Contains(fmt.Sprint(out), secret) {
			t.Errorf("%s: the answer holds the secret", rule)
		}
	}
	if n := len(lintRules()); n != 16 {
		t.Errorf("%d rules, and 16 are tried here", n)
	}
}
