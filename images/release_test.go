package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// newRegistry is a registry on loopback; with referrers it knows OCI 1.1's API for them, without it only tags.
func newRegistry(t *testing.T, referrers bool) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.WithReferrersSupport(referrers), registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://") + "/bulkhead"
}

// realCosign is the cosign that users have, which scripts/test has built.
func realCosign(t *testing.T) string {
	t.Helper()
	binary := os.Getenv("COSIGN")
	if binary == "" {
		out, err := exec.CommandContext(t.Context(), "../scripts/tool", "cosign").Output()
		if err != nil {
			t.Fatalf("building cosign: %v", err)
		}
		binary = strings.TrimSpace(string(out))
		t.Setenv("COSIGN", binary)
	}
	t.Setenv("COSIGN_PASSWORD", "")
	return binary
}

// newKey makes a throw-away key pair, and returns the files of its halves.
func newKey(t *testing.T) (private, public string) {
	t.Helper()
	prefix := filepath.Join(t.TempDir(), "cosign")
	if out, err := exec.CommandContext(t.Context(), realCosign(t), "generate-key-pair", "--output-key-prefix", prefix).CombinedOutput(); err != nil {
		t.Fatalf("cosign: %v: %s", err, out)
	}
	return prefix + ".key", prefix + ".pub"
}

// released is a release of newRepo, built, published and signed.
type released struct {
	root, dist, registry string
	private, public      string
	release
}

func makeRelease(t *testing.T, referrers bool) released {
	t.Helper()
	r := released{root: releaseRepo(t), registry: newRegistry(t, referrers)}
	r.private, r.public = newKey(t)
	mustRun(t, r.root, "build", "--version", "v1.2.3")
	mustRun(t, r.root, "publish", "--registry", r.registry)
	mustRun(t, r.root, "sign", "--key", r.private)
	r.dist = filepath.Join(r.root, "images", "dist")
	var err error
	if r.release, err = readRelease(r.dist); err != nil {
		t.Fatal(err)
	}
	return r
}

// digest is that of an image of the release, by name; of the index, or of one platform.
func (r released) digest(t *testing.T, image, part string) name.Digest {
	t.Helper()
	for _, i := range r.Images {
		if i.Name == image {
			ref, err := r.reference(i)
			if err != nil {
				t.Fatal(err)
			}
			return ref.Context().Digest(i.parts()[part].String())
		}
	}
	t.Fatalf("no image %s", image)
	return name.Digest{}
}

// verify runs the verb for references, and returns what it prints.
func (r released) verify(t *testing.T, references ...string) (string, error) {
	t.Helper()
	return runVerb(t, r.root, append([]string{"verify", "--key", r.public}, references...)...)
}

// TestRelease is the way of an image from the commit to whoever verifies it: by tag and digest, the index and what is in
// it, by this program and by the commands that README shows, at registries of both kinds.
func TestRelease(t *testing.T) {
	for kind, referrers := range map[string]bool{"referrers": true, "tags only": false} {
		t.Run(kind, func(t *testing.T) {
			r := makeRelease(t, referrers)
			for _, reference := range []string{
				r.registry + "/hello:v1.2.3",
				r.digest(t, "hello", "index").String(),
				r.digest(t, "hello", "linux/arm64").String(),
			} {
				out, err := r.verify(t, reference)
				if err != nil {
					t.Errorf("%s: %v\n%s", reference, err, out)
				}
			}
			if out, err := r.verify(t, "--release", r.dist); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			// Each of the two forms must be enough by itself, for whoever knows just that one.
			for _, format := range formats() {
				for _, command := range []string{"verify", "verify-attestation --type spdxjson", "verify-attestation --type slsaprovenance1"} {
					for _, part := range []string{"index", "linux/amd64", "linux/arm64"} {
						args := append(strings.Fields(command), format, "--key", r.public, "--insecure-ignore-tlog=true", "--private-infrastructure")
						args = append(args, r.digest(t, "plain", part).String())
						if out, err := exec.CommandContext(t.Context(), realCosign(t), args...).CombinedOutput(); err != nil {
							t.Errorf("cosign %v: %v\n%s", args, err, out)
						}
					}
				}
			}
			checkReleaseFiles(t, r)
		})
	}
}

// checkReleaseFiles looks at what starts a release.
func checkReleaseFiles(t *testing.T, r released) {
	t.Helper()
	compose, err := os.ReadFile(filepath.Join(r.dist, composeFile))
	if err != nil {
		t.Fatal(err)
	}
	want := "# Bulkhead v1.2.3, from https://github.com/bulkhead-mcp/bulkhead at " + r.Revision + ", with every image by digest. `make up RELEASE=DIR` verifies and starts it.\n#\n" +
		"name: bulkhead\nservices:\n  hello:\n    image: " + r.digest(t, "hello", "index").String() +
		"\n  plain:\n    image: " + r.digest(t, "plain", "index").String() + "\n    environment: {NOTHING: \"${NOTHING:-}\"}\n"
	if diff := cmp.Diff(want, string(compose)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", composeFile, diff)
	}
	check := exec.CommandContext(t.Context(), "sha256sum", "--check", "--strict", "--quiet", sumsFile)
	check.Dir = r.dist
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("sha256sum: %v: %s", err, out)
	}
	env := filepath.Join(t.TempDir(), ".env")
	if out, err := r.verify(t, "--release", r.dist, "--env", env); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	variables, err := os.ReadFile(env)
	if err != nil {
		t.Fatal(err)
	}
	wantEnv := "BULKHEAD_HELLO_IMAGE=" + r.digest(t, "hello", "index").String() + "\nBULKHEAD_PLAIN_IMAGE=" + r.digest(t, "plain", "index").String() + "\n"
	if diff := cmp.Diff(wantEnv, string(variables)); diff != "" {
		t.Errorf(".env (-want +got):\n%s", diff)
	}
	// What is attested of an image is of that image.
	for _, part := range []string{"index", "linux/amd64", "linux/arm64"} {
		data, err := os.ReadFile(filepath.Join(r.dist, sbomFile("hello", part)))
		if err != nil {
			t.Fatal(err)
		}
		if digest := r.digest(t, "hello", part).DigestStr(); !bytes.Contains(data, []byte(digest)) {
			t.Errorf("the SBOM of %s does not name %s", part, digest)
		}
	}
}

// TestComposeRefusals is what no release starts.
func TestComposeRefusals(t *testing.T) {
	digest, err := v1.NewHash("sha256:" + strings.Repeat("0", 64))
	if err != nil {
		t.Fatal(err)
	}
	r := release{Registry: "ghcr.io/bulkhead-mcp/bulkhead", Images: []releasedImage{{Name: "door", Digest: digest}}}
	for what, compose := range map[string]string{
		"an image by tag":          "services: {evil: {image: \"docker.io/evil:latest\"}}",
		"one that is not released": "services: {evil: {image: \"${BULKHEAD_EVIL_IMAGE:?run make images}\"}}",
		"a default":                "services: {evil: {image: \"${EVIL:-evil}\"}}",
		"one that is built":        "services: {door: {image: \"${BULKHEAD_DOOR_IMAGE:?}\", build: .}}",
		"an agent for everybody":   "services: {agent: {image: \"${DOCKER_AGENT_IMAGE:-x}\"}}",
		"an agent that is built":   "services: {agent: {image: \"${DOCKER_AGENT_IMAGE:-x}\", profiles: [agents], build: .}}",
		"no image":                 "services: {evil: {command: [evil]}}",
		"not YAML":                 "services: [",
	} {
		if out, err := pinCompose([]byte(compose), r); err == nil {
			t.Errorf("%s: taken as %s", what, out)
		}
	}
	for what, compose := range map[string]string{
		"a released image": "services: {door: {image: \"${BULKHEAD_DOOR_IMAGE:?}\"}}",
		"an agent":         "services: {agent: {image: \"${DOCKER_AGENT_IMAGE:-x}\", profiles: [agents]}}",
	} {
		if _, err := pinCompose([]byte(compose), r); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestReleasedImage looks at what a registry has of a release.
func TestReleasedImage(t *testing.T) {
	root := releaseRepo(t)
	where := newRegistry(t, true)
	mustRun(t, root, "build", "--version", "v1.2.3")
	mustRun(t, root, "publish", "--registry", where)
	tag, err := name.NewTag(where + "/hello:v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(tag)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	made, err := readRelease(filepath.Join(root, "images", "dist"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"org.opencontainers.image.title":       "Bulkhead hello",
		"org.opencontainers.image.description": "Hello greets whoever asks.",
		"org.opencontainers.image.source":      "https://github.com/bulkhead-mcp/bulkhead",
		"org.opencontainers.image.licenses":    "Apache-2.0",
		"org.opencontainers.image.version":     "v1.2.3",
		"org.opencontainers.image.revision":    made.Revision,
		"org.opencontainers.image.base.name":   "bulkhead.local/base:latest",
	}
	annotated := func(what string, annotations map[string]string) {
		digest, rest := "", map[string]string{}
		for key, value := range annotations {
			if key == "org.opencontainers.image.base.digest" {
				digest = value
			} else {
				rest[key] = value
			}
		}
		if _, err := v1.NewHash(digest); err != nil {
			t.Errorf("%s: digest of the base: %v", what, err)
		}
		if diff := cmp.Diff(want, rest); diff != "" {
			t.Errorf("annotations of %s (-want +got):\n%s", what, diff)
		}
	}
	annotated("the index", manifest.Annotations)
	var platforms []string
	for _, part := range manifest.Manifests {
		platforms = append(platforms, part.Platform.String())
		image, err := index.Image(part.Digest)
		if err != nil {
			t.Fatal(err)
		}
		single, err := image.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		annotated(part.Platform.String(), single.Annotations)
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, config.Config.Labels); diff != "" {
			t.Errorf("labels (-want +got):\n%s", diff)
		}
		if got := config.Created.UTC().Format("2006-01-02T15:04:05Z"); got != "2026-01-02T03:04:05Z" {
			t.Errorf("created %s: want the time of the commit", got)
		}
		if got := config.OS + "/" + config.Architecture; got != part.Platform.String() {
			t.Errorf("the image for %s says that it is for %s", part.Platform, got)
		}
		checkContent(t, image, "hello")
	}
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64"}, platforms); diff != "" {
		t.Errorf("platforms (-want +got):\n%s", diff)
	}
}

// TestReproducible builds one commit as two people would, and a third time from what the first has released.
func TestReproducible(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	build := func(root, umask string, env ...string) string {
		commitAll(t, root)
		write(t, filepath.Join(root, "notes.txt"), "dirty, and no part of the build: "+umask)
		cmd := exec.CommandContext(t.Context(), "sh", "-c", "umask "+umask+" && exec \"$0\" build --version v1.2.3", self)
		cmd.Dir = root
		cmd.Env = append(append(os.Environ(), asProgram+"=1"), env...)
		cmd.Stderr = t.Output()
		if _, err := cmd.Output(); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(root, "images", "dist", imagesFile))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	first := newRepo(t)
	one := build(first, "022", "TZ=UTC", "LC_ALL=C")
	elsewhere := filepath.Join(t.TempDir(), "a", "deeper folder")
	fillRepo(t, elsewhere)
	two := build(elsewhere, "077", "TZ=Pacific/Chatham", "LC_ALL=tr_TR.UTF-8", "TMPDIR="+t.TempDir(), "HOME="+t.TempDir(), "GOPATH="+gopath(t), "GOCACHE="+gocache(t),
		"GOFLAGS=-buildvcs=true -tags=other", "GOAMD64=v3", "GOARM64=v9.0", "CGO_ENABLED=1", "GOOS=darwin", "GOARCH=arm", "SOURCE_DATE_EPOCH=315532800", "USER=somebody")
	if diff := cmp.Diff(one, two); diff != "" {
		t.Errorf("two builds of one commit (-one +two):\n%s", diff)
	}
	if !strings.Contains(one, `"linux/arm64"`) {
		t.Error("arm64 was not built")
	}

	out := mustRun(t, first, "rebuild")
	if got := strings.Count(out, "same "); got != 6 || strings.Contains(out, "DIFFERS") {
		t.Errorf("rebuilt %d of 6 digests alike:\n%s", got, out)
	}
	lock := filepath.Join(first, "images", "dist", imagesFile)
	var r release
	if err := json.Unmarshal([]byte(one), &r); err != nil {
		t.Fatal(err)
	}
	r.Images[1].Platforms["linux/arm64"] = r.Images[0].Digest
	if err := r.write(filepath.Dir(lock)); err != nil {
		t.Fatal(err)
	}
	out, err = runVerb(t, first, "rebuild")
	if err == nil || strings.Count(out, "DIFFERS plain linux/arm64") != 1 || strings.Count(out, "same ") != 5 {
		t.Errorf("another digest in the release: %v\n%s", err, out)
	}
}

func goEnv(t *testing.T, variable string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", variable).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func gopath(t *testing.T) string  { return goEnv(t, "GOPATH") }
func gocache(t *testing.T) string { return goEnv(t, "GOCACHE") }

// TestReleaseRefusals is what no release is made of.
func TestReleaseRefusals(t *testing.T) {
	for what, test := range map[string]struct {
		spoil func(root string)
		args  []string
		want  string
	}{
		"changed file": {func(root string) {
			write(t, filepath.Join(root, "servers/plain/main.go"), "// Plain.\npackage main\n\nfunc main() {}\n")
		}, nil, "M servers/plain/main.go"},
		"new file":       {func(root string) { write(t, filepath.Join(root, "servers/plain/more.go"), "package main\n") }, nil, "?? servers/plain/more.go"},
		"ignored file":   {func(root string) { write(t, filepath.Join(root, "servers/ignored.go"), "package servers\n") }, nil, "!! servers/ignored.go"},
		"version":        {nil, []string{"--version", "a/b"}, "version"},
		"base by tag":    {nil, []string{"--base", "gcr.io/distroless/static:nonroot"}, "REGISTRY/NAME@sha256:DIGEST"},
		"only some":      {nil, []string{"hello"}, "every image"},
		"another folder": {nil, []string{"--dist", ".."}, "not empty"},
		"no toolchain": {func(root string) {
			write(t, filepath.Join(root, "go.mod"), "module "+module+"\n\ngo 1.26.0\n")
			commitAll(t, root)
		}, nil, "no toolchain"},
		"other toolchain": {func(root string) {
			write(t, filepath.Join(root, "go.mod"), "module "+module+"\n\ngo 1.26.0\n\ntoolchain go1.26.99\n")
			commitAll(t, root)
			t.Setenv("GOTOOLCHAIN", "local")
		}, nil, "GOTOOLCHAIN=go1.26.99"},
	} {
		t.Run(what, func(t *testing.T) {
			root := releaseRepo(t)
			if test.spoil != nil {
				test.spoil(root)
			}
			if out, err := runVerb(t, root, append([]string{"build"}, test.args...)...); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q\n%s", err, test.want, out)
			}
		})
	}
}

// TestBase puts the servers on somebody else's base: what is in it stays, and what a server needs is added.
func TestBase(t *testing.T) {
	root, where := releaseRepo(t), newRegistry(t, true)
	layer, err := newLayer([]file{{path: "etc/", mode: 0o755}, {path: "etc/theirs", mode: 0o644, data: []byte("theirs")}})
	if err != nil {
		t.Fatal(err)
	}
	var index v1.ImageIndex = empty.Index
	for _, platform := range append(releasePlatforms(), v1.Platform{OS: "linux", Architecture: "s390x"}) {
		image, err := mutate.AppendLayers(mutate.MediaType(empty.Image, types.OCIManifestSchema1), layer)
		if err != nil {
			t.Fatal(err)
		}
		image, err = mutate.ConfigFile(image, &v1.ConfigFile{OS: platform.OS, Architecture: platform.Architecture, Config: v1.Config{User: "0", Env: []string{"THEIRS=1"}}})
		if err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &platform}})
	}
	tag, err := name.NewTag(where + "/theirs:latest")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(tag, index); err != nil {
		t.Fatal(err)
	}
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	base := tag.Context().Digest(digest.String()).String()
	mustRun(t, root, "build", "--version", "v1.2.3", "--base", base)
	mustRun(t, root, "publish", "--registry", where)
	built, err := remote.Image(tag.Context().Registry.Repo("bulkhead", "hello").Tag("v1.2.3"), remote.WithPlatform(releasePlatforms()[1]))
	if err != nil {
		t.Fatal(err)
	}
	config, err := built.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Architecture != "arm64" || config.Config.User != "65532:65532" || !slices.Contains(config.Config.Env, "THEIRS=1") || !slices.Contains(config.Config.Env, "container=oci") {
		t.Errorf("%s, user %s, environment %q", config.Architecture, config.Config.User, config.Config.Env)
	}
	if got := config.Config.Labels["org.opencontainers.image.base.name"]; got != base {
		t.Errorf("the base is called %s", got)
	}
	content := mutate.Extract(built)
	defer content.Close()
	var entries []string
	for files := tar.NewReader(content); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, strings.Trim(h.Name, "/"))
	}
	for _, want := range []string{"etc/theirs", "run/bulkhead", "var/lib/bulkhead", "ko-app/hello", licencesFolder + "go/LICENSE"} {
		if !slices.Contains(entries, want) {
			t.Errorf("no %s in %q", want, entries)
		}
	}
	if slices.Contains(entries, rootsFile) {
		t.Errorf("%s is ours, and not of the base", rootsFile)
	}
	made, err := readRelease(filepath.Join(root, "images", "dist"))
	if err != nil {
		t.Fatal(err)
	}
	if made.Base != base || len(made.Images[0].Platforms) != 2 {
		t.Errorf("the release is on %q, for %v", made.Base, made.Images[0].Platforms)
	}
}

// TestVersionIsOnce is what makes a tag worth something: another image does not take its place.
func TestVersionIsOnce(t *testing.T) {
	root, where := releaseRepo(t), newRegistry(t, true)
	mustRun(t, root, "build", "--version", "v1.2.3")
	mustRun(t, root, "publish", "--registry", where)
	mustRun(t, root, "publish", "--registry", where) // the same again
	write(t, filepath.Join(root, "servers/hello/more.go"), "package main\n\nvar _ = 1\n")
	if _, err := runVerb(t, root, "publish", "--registry", where); err == nil || !strings.Contains(err.Error(), "more.go") {
		t.Errorf("from a dirty checkout: %v", err)
	}
	commitAll(t, root)
	if _, err := runVerb(t, root, "publish", "--registry", where); err == nil || !strings.Contains(err.Error(), "build again") {
		t.Errorf("from another commit: %v", err)
	}
	mustRun(t, root, "build", "--version", "v1.2.3")
	if _, err := runVerb(t, root, "publish", "--registry", where); err == nil || !strings.Contains(err.Error(), "published already") {
		t.Errorf("got %v, want a refusal", err)
	}
	mustRun(t, root, "build", "--version", "v1.2.4")
	mustRun(t, root, "publish", "--registry", where)
	t.Setenv("COSIGN_PASSWORD", "") // restored afterwards
	_ = os.Unsetenv("COSIGN_PASSWORD")
	if _, err := runVerb(t, root, "sign", "--key", "cosign.key"); err == nil || !strings.Contains(err.Error(), "COSIGN_PASSWORD") {
		t.Errorf("without a password to sign with: %v", err)
	}
}
