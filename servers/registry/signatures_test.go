package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// signer is the real cosign, with a key.
type signer struct {
	binary, dir string
}

// cosign finds the tool of scripts/tools/cosign, which takes minutes to build: a test does not begin with that.
func cosign(t testing.TB) signer {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	if built, _ := filepath.Glob(filepath.Join(cache, "bulkhead/tools/cosign-*/cosign")); len(built) == 0 {
		if os.Getenv("REQUIRE_ENGINE") != "" {
			t.Fatal("cosign is not built: scripts/tool cosign")
		}
		t.Skip("cosign is not built: scripts/tool cosign")
	}
	path, err := exec.CommandContext(t.Context(), "../../scripts/tool", "cosign").Output()
	if err != nil {
		t.Fatal(err)
	}
	s := signer{binary: strings.TrimSpace(string(path)), dir: t.TempDir()}
	s.run(t, "generate-key-pair")
	return s
}

func (s signer) run(t testing.TB, arguments ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), s.binary, arguments...)
	command.Dir, command.Env = s.dir, append(os.Environ(), "COSIGN_PASSWORD=", "COSIGN_EXPERIMENTAL=1", "HOME="+s.dir)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("cosign %v: %v\n%s", arguments, err, out)
	}
}

// sign signs or attests an image.
func (s signer) sign(t testing.TB, verb string, p place, repository, digest string, more ...string) {
	t.Helper()
	arguments := []string{verb, "--yes", "--key", "cosign.key", "--use-signing-config=false", "--tlog-upload=false", "--allow-insecure-registry"}
	if verb == "attest" {
		write(t, filepath.Join(s.dir, "predicate.json"), `{"built": "here"}`)
		arguments = append(arguments, "--predicate", "predicate.json", "--type", "custom")
	}
	s.run(t, append(append(arguments, more...), p.host+"/"+repository+"@"+digest)...)
}

// keys makes a folder for --keys.
func (s signer) keys(t testing.TB) string {
	t.Helper()
	public, err := os.ReadFile(filepath.Join(s.dir, "cosign.pub"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "release.pub"), string(public))
	return dir
}

func (p place) request(t testing.TB, method, path, contentType string, body []byte) *http.Response {
	t.Helper()
	if !strings.HasPrefix(path, "http") {
		path = "https://" + p.host + path
	}
	request, err := http.NewRequestWithContext(t.Context(), method, path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("Accept", strings.Join(manifestTypes(), ", "))
	response, err := p.push.RoundTrip(request)
	if err != nil || response.StatusCode >= 300 {
		t.Fatalf("%s %s: %v, %v", method, path, response, err)
	}
	t.Cleanup(func() { response.Body.Close() })
	return response
}

func (p place) getManifest(t testing.TB, repository, tag string) []byte {
	t.Helper()
	body, err := io.ReadAll(p.request(t, http.MethodGet, "/v2/"+repository+"/manifests/"+tag, "", nil).Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func (p place) putManifest(t testing.TB, repository, tag string, body []byte) {
	t.Helper()
	p.request(t, http.MethodPut, "/v2/"+repository+"/manifests/"+tag, "application/vnd.oci.image.manifest.v1+json", body)
}

func (p place) putBlob(t testing.TB, repository string, body []byte) {
	t.Helper()
	location := p.request(t, http.MethodPost, "/v2/"+repository+"/blobs/uploads/", "", nil).Header.Get("Location")
	separator := "?"
	if strings.Contains(location, "?") {
		separator = "&"
	}
	p.request(t, http.MethodPut, location+separator+"digest="+digestOf(body), "application/octet-stream", body)
}

func sigTag(digest, suffix string) string { return strings.Replace(digest, ":", "-", 1) + suffix }

// wantStanding asks about an image and holds the answer against what is wanted of its first subject.
func wantStanding(t testing.TB, s *server, reference string, signature, attestations standing, words ...string) {
	t.Helper()
	out, err := ask[checkSignaturesOut](t, s, "check_signatures", map[string]any{"reference": reference})
	if err != nil {
		t.Errorf("%s: %v", reference, err)
		return
	}
	subject := out.Subjects[0]
	if subject.Signature != signature || subject.Attestations != attestations {
		t.Errorf("%s: signature %s, attestations %s; want %s, %s: %+v", reference, subject.Signature, subject.Attestations, signature, attestations, subject.Found)
	}
	for _, word := range words {
		if !strings.Contains(fmt.Sprintf("%+v", subject.Found), word) {
			t.Errorf("%s: nothing says %q: %+v", reference, word, subject.Found)
		}
	}
}

// What the real cosign signs is verified, in each format and place, at a registry that knows of referrers and at one that
// does not; and what was moved, changed or signed by others is not.
func TestCheckSignatures(t *testing.T) {
	c := cosign(t)
	other := signer{binary: c.binary, dir: t.TempDir()}
	other.run(t, "generate-key-pair")
	for name, start := range map[string]func(testing.TB) place{
		"docker-registry":      distributionRegistry,
		"go-containerregistry": func(t testing.TB) place { return serve(t, inProcess()) },
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t)
			const old = "--new-bundle-format=false"
			put := func(tag string) string { return p.put(t, "acme/api", tag, image(t, tag)) }
			at := func(tag string) string { return p.host + "/acme/api:" + tag }
			bundled, tagged, referred, attested, foreign := put("bundled"), put("tagged"), put("referred"), put("attested"), put("foreign")
			c.sign(t, "sign", p, "acme/api", bundled)
			c.sign(t, "sign", p, "acme/api", tagged, old)
			c.sign(t, "sign", p, "acme/api", referred, old, "--registry-referrers-mode=oci-1-1")
			c.sign(t, "attest", p, "acme/api", attested)
			c.sign(t, "attest", p, "acme/api", attested, old)
			other.sign(t, "sign", p, "acme/api", foreign)
			other.sign(t, "sign", p, "acme/api", foreign, old)
			s := serverFor(t, options{keys: c.keys(t)}, p)
			wantStanding(t, s, at("bundled"), standingVerified, standingAbsent, "Format:bundle", "Where:referrer", "By:key release")
			wantStanding(t, s, at("tagged"), standingVerified, standingAbsent, "Format:simple_signing", "Where:tag")
			wantStanding(t, s, at("referred"), standingVerified, standingAbsent, "Format:simple_signing", "Where:referrer")
			wantStanding(t, s, at("attested"), standingAbsent, standingVerified, "Format:bundle", "Format:dsse", "cosign.sigstore.dev/attestation/v1")
			wantStanding(t, s, at("foreign"), standingPresent, standingAbsent, "none of the keys")
			put("bare")
			wantStanding(t, s, at("bare"), standingAbsent, standingAbsent)
			wantStanding(t, serverFor(t, options{}, p), at("bundled"), standingPresent, standingAbsent, "no keys")
			wantStanding(t, serverFor(t, options{keys: other.keys(t)}, p), at("tagged"), standingPresent, standingAbsent, "none of the keys")

			// A genuine signature beside another image, in each format.
			moved := put("moved")
			p.putManifest(t, "acme/api", sigTag(moved, ".sig"), p.getManifest(t, "acme/api", sigTag(tagged, ".sig")))
			wantStanding(t, s, at("moved"), standingPresent, standingAbsent, "another image")
			attached := put("attached")
			movedBundle := p.list(t, s, "acme/api", bundled, attached, true)
			wantStanding(t, s, at("attached"), standingPresent, standingAbsent, "another image", movedBundle)
			// A list that names the signature of another image: what it refers to stands in it.
			listed := put("listed")
			p.list(t, s, "acme/api", bundled, listed, false)
			wantStanding(t, s, at("listed"), standingAbsent, standingAbsent)
			// The payload made to name this image, with the signature of the other.
			changed := put("changed")
			p.forge(t, "acme/api", tagged, changed)
			wantStanding(t, s, at("changed"), standingPresent, standingAbsent, "changed")
			// An attestation in the place of a signature is no signature.
			dressed := put("dressed")
			c.sign(t, "attest", p, "acme/api", dressed, old)
			p.putManifest(t, "acme/api", sigTag(dressed, ".sig"), p.getManifest(t, "acme/api", sigTag(dressed, ".att")))
			wantStanding(t, s, at("dressed"), standingAbsent, standingVerified)

			// A signature of an index is none of its platforms, and the other way round.
			index := p.putIndex(t, "acme/multi", "v1", map[string]v1.Image{"linux/amd64": image(t, "m1"), "linux/arm64": image(t, "m2")})
			c.sign(t, "sign", p, "acme/multi", index)
			out, err := ask[checkSignaturesOut](t, s, "check_signatures", map[string]any{"reference": p.host + "/acme/multi:v1"})
			if err != nil || len(out.Subjects) != 2 || out.Digest != index || out.Subjects[0].Signature != standingVerified || out.Subjects[1].Signature != standingAbsent || out.Subjects[1].Platform != "linux/amd64" {
				t.Errorf("%+v, %v", out, err)
			}
		})
	}
}

// list writes a list of referrers of an image that names the first referrer of another, and returns that one's digest.
// Where it is to refer, it is made to refer to the image itself.
func (p place) list(t testing.TB, s *server, repository, from, to string, refer bool) string {
	t.Helper()
	asked, err := s.client.session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	target, err := parseRepository(p.host + "/" + repository)
	if err != nil {
		t.Fatal(err)
	}
	found, _, err := asked.referrers(t.Context(), target, from)
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	body := p.getManifest(t, repository, found[0].Digest)
	if refer {
		body = bytes.Replace(body, []byte(from), []byte(to), 1)
		p.putManifest(t, repository, digestOf(body), body)
	}
	index := map[string]any{"schemaVersion": 2, "mediaType": manifestTypes()[0], "manifests": []any{map[string]any{
		"mediaType": manifestTypes()[1], "digest": digestOf(body), "size": len(body), "artifactType": found[0].ArtifactType,
	}}}
	list, err := json.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	p.request(t, http.MethodPut, "/v2/"+repository+"/manifests/"+sigTag(to, ""), manifestTypes()[0], list)
	return digestOf(body)
}

// forge signs one image with the signature of another, whose payload it changes.
func (p place) forge(t testing.TB, repository, from, to string) {
	t.Helper()
	var content manifestContent
	body := p.getManifest(t, repository, sigTag(from, ".sig"))
	if err := json.Unmarshal(body, &content); err != nil {
		t.Fatal(err)
	}
	layer := content.Layers[0].Digest
	payload, err := io.ReadAll(p.request(t, http.MethodGet, "/v2/"+repository+"/blobs/"+layer, "", nil).Body)
	if err != nil {
		t.Fatal(err)
	}
	payload = bytes.Replace(payload, []byte(from), []byte(to), 1)
	p.putBlob(t, repository, payload)
	p.putManifest(t, repository, sigTag(to, ".sig"), bytes.Replace(body, []byte(layer), []byte(digestOf(payload)), 1))
}

// What cannot be asked is not absent.
func TestSignaturesOfAFailingRegistry(t *testing.T) {
	inner := inProcess()
	good := serve(t, inner)
	for _, failing := range []string{".sig", ".att", "/referrers/"} {
		p := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, failing) {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			inner.ServeHTTP(w, r)
		}))
		good.put(t, "acme/api", "v1", image(t, "x"))
		_, err := ask[checkSignaturesOut](t, serverFor(t, options{}, p), "check_signatures", map[string]any{"reference": p.host + "/acme/api:v1"})
		wantCode(t, err, mcpserver.CodeUnavailable, "503")
	}
}

func TestOpenTrust(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "bad.pub"), "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
	root := filepath.Join(t.TempDir(), "root.json")
	write(t, root, "{}")
	signers := []signerConfig{{Issuer: "https://issuer.example", Subject: "a@b.example"}}
	for name, tc := range map[string]struct {
		own     options
		signers []signerConfig
		want    string
	}{
		"no key":          {options{keys: dir}, nil, "bad.pub: not one public key"},
		"no folder":       {options{keys: dir + "/none"}, nil, "--keys"},
		"root alone":      {options{trustedRoot: root}, nil, "signers in --registries"},
		"signers alone":   {options{}, signers, "--trusted-root"},
		"no trusted root": {options{trustedRoot: root}, signers, "not a sigstore trusted root"},
		"no root's file":  {options{trustedRoot: root + "x"}, signers, "--trusted-root"},
	} {
		if _, err := openTrust(tc.own, tc.signers); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}
