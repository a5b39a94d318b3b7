package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// What is attached to an image, by what it says.
const (
	aSignature  = "signature"
	anSBOM      = "SBOM"
	aProvenance = "provenance"
)

// attachment is one signature or attestation, as a registry has it: in a tag beside the image, or as its referrer.
type attachment struct {
	repo     name.Repository
	suffix   string // of the tag; empty for a referrer
	manifest map[string]any
	blobs    map[string][]byte // by digest
}

// attachments are all that the release has on the digest.
func attachments(t *testing.T, of name.Digest) []attachment {
	t.Helper()
	var found []attachment
	for _, suffix := range []string{".sig", ".att"} {
		found = append(found, readAttachment(t, of.Context().Tag(strings.ReplaceAll(of.DigestStr(), ":", "-")+suffix), suffix))
	}
	referrers, err := remote.Referrers(of)
	if err != nil {
		t.Fatal(err)
	}
	index, err := referrers.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(index.Manifests) != 3 {
		t.Fatalf("%s has %d referrers: want a signature, an SBOM and provenance", of, len(index.Manifests))
	}
	for _, referrer := range index.Manifests {
		found = append(found, readAttachment(t, of.Context().Digest(referrer.Digest.String()), ""))
	}
	return found
}

func readAttachment(t *testing.T, ref name.Reference, suffix string) attachment {
	t.Helper()
	got, err := remote.Get(ref)
	if err != nil {
		t.Fatal(err)
	}
	a := attachment{repo: ref.Context(), suffix: suffix, blobs: map[string][]byte{}}
	if err := json.Unmarshal(got.Manifest, &a.manifest); err != nil {
		t.Fatal(err)
	}
	for _, blob := range append(a.layers(), a.manifest["config"].(map[string]any)) {
		digest := blob["digest"].(string)
		layer, err := remote.Layer(ref.Context().Digest(digest))
		if err != nil {
			t.Fatal(err)
		}
		content, err := layer.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		if a.blobs[digest], err = io.ReadAll(content); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

func (a attachment) layers() []map[string]any {
	var layers []map[string]any
	for _, layer := range a.manifest["layers"].([]any) {
		layers = append(layers, layer.(map[string]any))
	}
	return layers
}

// what is attached in a layer.
func what(blob []byte) string {
	_, statement := openEnvelope(blob)
	switch kind := fmt.Sprint(statement["predicateType"]); {
	case strings.Contains(kind, "spdx"):
		return anSBOM
	case strings.Contains(kind, "slsa.dev/provenance"):
		return aProvenance
	default:
		return aSignature
	}
}

// openEnvelope is the DSSE envelope in blob, bare or in a Sigstore bundle, and the statement in that.
func openEnvelope(blob []byte) (outer, statement map[string]any) {
	if json.Unmarshal(blob, &outer) != nil {
		return nil, nil
	}
	envelope := outer
	if inner, ok := outer["dsseEnvelope"].(map[string]any); ok {
		envelope = inner
	}
	text, _ := envelope["payload"].(string)
	payload, _ := base64.StdEncoding.DecodeString(text)
	_ = json.Unmarshal(payload, &statement)
	return outer, statement
}

// changed is blob with old replaced in the statement that was signed.
func changed(t *testing.T, blob []byte, old, replacement string) []byte {
	t.Helper()
	outer, statement := openEnvelope(blob)
	payload, err := json.Marshal(statement)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(payload, []byte(old)) {
		t.Fatalf("%q is not in the statement", old)
	}
	payload = bytes.ReplaceAll(payload, []byte(old), []byte(replacement))
	envelope := outer
	if inner, ok := outer["dsseEnvelope"].(map[string]any); ok {
		envelope = inner
	}
	envelope["payload"] = base64.StdEncoding.EncodeToString(payload)
	out, err := json.Marshal(outer)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// put attaches a to the image subject, as it is but for what alter makes of its layers; a layer for which it returns nothing
// is left out.
func (a attachment) put(t *testing.T, subject name.Digest, size int64, alter func(what string, blob []byte) []byte) {
	t.Helper()
	repo := subject.Context()
	upload := func(blob map[string]any, content []byte) {
		layer := static.NewLayer(content, types.MediaType(blob["mediaType"].(string)))
		if err := remote.WriteLayer(repo, layer); err != nil {
			t.Fatal(err)
		}
		digest, err := layer.Digest()
		if err != nil {
			t.Fatal(err)
		}
		blob["digest"], blob["size"] = digest.String(), len(content)
	}
	kept := []any{}
	for _, layer := range a.layers() {
		blob := a.blobs[layer["digest"].(string)]
		if alter != nil {
			blob = alter(what(blob), blob)
		}
		if blob == nil {
			continue
		}
		upload(layer, blob)
		kept = append(kept, layer)
	}
	if len(kept) == 0 {
		return
	}
	config := a.manifest["config"].(map[string]any)
	upload(config, a.blobs[config["digest"].(string)])
	a.manifest["layers"] = kept
	if of, ok := a.manifest["subject"].(map[string]any); ok {
		of["digest"], of["size"] = subject.DigestStr(), size
	}
	raw, err := json.Marshal(a.manifest)
	if err != nil {
		t.Fatal(err)
	}
	var ref name.Reference
	if a.suffix != "" {
		ref = repo.Tag(strings.ReplaceAll(subject.DigestStr(), ":", "-") + a.suffix)
	} else {
		digest, _, err := v1.SHA256(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		ref = repo.Digest(digest.String())
	}
	if err := remote.Put(ref, rawManifest(raw)); err != nil {
		t.Fatal(err)
	}
}

// rawManifest is a manifest that goes to a registry byte for byte.
type rawManifest []byte

func (m rawManifest) RawManifest() ([]byte, error)        { return m, nil }
func (m rawManifest) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// serve puts the image of the release at another place, under a tag, and returns its digest there.
func (r released) serve(t *testing.T, image string, tag name.Tag) {
	t.Helper()
	index, err := remote.Index(r.digest(t, image, "index"))
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(tag, index); err != nil {
		t.Fatal(err)
	}
}

// attach puts what is signed of the image at the place of tag, on the parts of the image on, altered.
func (r released) attach(t *testing.T, image string, tag name.Tag, on string, alter func(what string, blob []byte) []byte) {
	t.Helper()
	for _, part := range []string{"index", "linux/amd64", "linux/arm64"} {
		subject := tag.Context().Digest(r.digest(t, on, part).DigestStr())
		there, err := remote.Head(subject)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range attachments(t, r.digest(t, image, part)) {
			a.put(t, subject, there.Size, alter)
		}
	}
}

// only keeps what is attached of some kinds.
func only(kinds ...string) func(string, []byte) []byte {
	return func(what string, blob []byte) []byte {
		if slices.Contains(kinds, what) {
			return blob
		}
		return nil
	}
}

// change alters what is attached of one kind, and leaves the rest.
func change(t *testing.T, kind, old, replacement string) func(string, []byte) []byte {
	return func(what string, blob []byte) []byte {
		if what != kind {
			return blob
		}
		return changed(t, blob, old, replacement)
	}
}

// TestTampering is somebody who may write to the registry and does not hold the key: they serve what they like under the
// tag, with any mix of what was ever signed.
func TestTampering(t *testing.T) {
	r := makeRelease(t, true)
	const all = ""
	for n, test := range []struct {
		what  string
		tag   string // hello:v1.2.3, if empty
		serve func(tag name.Tag)
		fails string // what the line that says no is called; all is well if empty
	}{
		{"nothing changed", "", func(tag name.Tag) {
			r.serve(t, "hello", tag)
			r.attach(t, "hello", tag, "hello", nil)
		}, all},
		{"another image under the tag", "", func(tag name.Tag) {
			r.serve(t, "hello", tag)
			r.attach(t, "hello", tag, "hello", nil)
			r.serve(t, "plain", tag)
		}, "signature"},
		{"another image, with all that is rightly signed of it", "", func(tag name.Tag) {
			r.serve(t, "plain", tag)
			r.attach(t, "plain", tag, "plain", nil)
		}, "provenance"},
		{"a version under the tag of another", "v1.2.4", func(tag name.Tag) {
			r.serve(t, "hello", tag)
			r.attach(t, "hello", tag, "hello", nil)
		}, "provenance"},
		{"the signature of another image", "", func(tag name.Tag) {
			r.serve(t, "hello", tag)
			r.attach(t, "plain", tag, "hello", only(aSignature))
			r.attach(t, "hello", tag, "hello", only(anSBOM, aProvenance))
		}, "signature"},
		{"the SBOM of another image", "", func(tag name.Tag) {
			r.serve(t, "hello", tag)
			r.attach(t, "plain", tag, "hello", only(anSBOM))
		}, "SBOM"},
		{"the provenance of another image", "", func(tag name.Tag) {
			r.serve(t, "hello", tag)
			r.attach(t, "plain", tag, "hello", only(aProvenance))
		}, "provenance"},
		{"a changed SBOM", "", func(tag name.Tag) {
			r.serve(t, "hello", tag)
			r.attach(t, "hello", tag, "hello", change(t, anSBOM, `"spdxVersion":"SPDX-2.3"`, `"spdxVersion":"SPDX-2.2"`))
		}, "SBOM"},
		{"a changed provenance", "", func(tag name.Tag) {
			r.serve(t, "hello", tag)
			r.attach(t, "hello", tag, "hello", change(t, aProvenance, r.Revision, strings.Repeat("0", 40)))
		}, "provenance"},
		{"a stripped signature", "", func(tag name.Tag) {
			r.serve(t, "hello", tag)
			r.attach(t, "hello", tag, "hello", only(anSBOM, aProvenance))
		}, "signature"},
		{"a stripped SBOM", "", func(tag name.Tag) {
			r.serve(t, "hello", tag)
			r.attach(t, "hello", tag, "hello", only(aSignature, aProvenance))
		}, "SBOM"},
		{"a stripped provenance", "", func(tag name.Tag) {
			r.serve(t, "hello", tag)
			r.attach(t, "hello", tag, "hello", only(aSignature, anSBOM))
		}, "provenance"},
		{"nothing signed at all", "", func(tag name.Tag) { r.serve(t, "hello", tag) }, "signature"},
		{"provenance of another repository, by the right key", "", func(tag name.Tag) {
			r.serve(t, "hello", tag)
			r.attach(t, "hello", tag, "hello", only(aSignature, anSBOM))
			said := provenanceOf(r.release, "hello")
			said.BuildDefinition.ExternalParameters.Source = "https://github.com/somebody/bulkhead"
			said.BuildDefinition.ResolvedDependencies = []resource{sourceOf(said.BuildDefinition.ExternalParameters)}
			r.attest(t, tag, said)
		}, "provenance"},
	} {
		t.Run(test.what, func(t *testing.T) {
			if test.tag == "" {
				test.tag = "v1.2.3"
			}
			tag, err := name.NewTag(fmt.Sprintf("%s/case%d/hello:%s", r.registry, n, test.tag))
			if err != nil {
				t.Fatal(err)
			}
			test.serve(tag)
			out, err := r.verify(t, tag.String())
			if test.fails == all {
				if err != nil {
					t.Errorf("%v\n%s", err, out)
				}
				return
			}
			if err == nil || !strings.Contains(out, "FAIL  "+test.fails) {
				t.Errorf("got %v, want a line FAIL %s:\n%s", err, test.fails, out)
			}
		})
	}
	t.Run("another key", func(t *testing.T) {
		_, r.public = newKey(t)
		out, err := r.verify(t, r.registry+"/hello:v1.2.3")
		if err == nil || strings.Contains(out, "  ok ") {
			t.Errorf("got %v, want nothing but failures:\n%s", err, out)
		}
	})
}

// attest says something of the image under the tag, with the key of the release.
func (r released) attest(t *testing.T, tag name.Tag, said provenance) {
	t.Helper()
	data, err := json.Marshal(said)
	if err != nil {
		t.Fatal(err)
	}
	predicate := filepath.Join(t.TempDir(), "predicate")
	write(t, predicate, string(data))
	subject := tag.Context().Digest(r.digest(t, "hello", "index").DigestStr()).String()
	args := append([]string{"attest", "--type", provenanceType, "--predicate", predicate}, signer{key: r.private}.flags()...)
	if out, err := exec.CommandContext(t.Context(), realCosign(t), append(args, subject)...).CombinedOutput(); err != nil {
		t.Fatalf("cosign: %v: %s", err, out)
	}
}

// TestTamperedReleaseStartsNothing gives `make up RELEASE=DIR` a folder that somebody has changed on its way. Its docker
// writes down that it was called: it must not be.
func TestTamperedReleaseStartsNothing(t *testing.T) {
	up, err := filepath.Abs("../scripts/up")
	if err != nil {
		t.Fatal(err)
	}
	r := makeRelease(t, true)
	private, _ := newKey(t)
	inFile := func(file, old, replacement string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			data, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(data, []byte(old)) {
				t.Fatalf("%q is not in %s", old, file)
			}
			write(t, filepath.Join(dir, file), strings.Replace(string(data), old, replacement, 1))
		}
	}
	sumAgain := func(t *testing.T, dir string) {
		data, err := sums(dir)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, sumsFile), string(data))
	}
	type steps = []func(t *testing.T, dir string)
	signAgain := func(key string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			args := append([]string{"sign-blob", "--bundle", filepath.Join(dir, sumsSignature)}, signer{key: key}.flags()...)
			if out, err := exec.CommandContext(t.Context(), realCosign(t), append(args, filepath.Join(dir, sumsFile))...).CombinedOutput(); err != nil {
				t.Fatalf("cosign: %v: %s", err, out)
			}
		}
	}
	hello, plain := r.digest(t, "hello", "index").DigestStr(), r.digest(t, "plain", "index").DigestStr()
	for _, test := range []struct {
		what  string
		steps []func(t *testing.T, dir string)
	}{
		{"a service more", steps{inFile(composeFile, "services:", "services:\n  evil: {image: evil, privileged: true}\n")}},
		{"the images exchanged", steps{inFile(composeFile, hello, plain), sumAgain}},
		{"another lock", steps{inFile(lockFile, "1", "2"), sumAgain}},
		{"another image", steps{inFile(imagesFile, hello, plain), sumAgain}},
		{"a file more", steps{func(t *testing.T, dir string) { write(t, filepath.Join(dir, "compose.override.yaml"), "{}") }}},
		{"a file in the layout's place", steps{func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, layoutFolder)); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, layoutFolder), "")
		}}},
		{"the compose file of something else, rightly signed", steps{inFile(composeFile, hello, strings.Replace(hello, "sha256:", "sha256:0", 1)[:len(hello)]), sumAgain, signAgain(r.private)}},
		{"a file less", steps{func(t *testing.T, dir string) { remove(t, filepath.Join(dir, lockFile)) }}},
		{"no signature", steps{func(t *testing.T, dir string) { remove(t, filepath.Join(dir, sumsSignature)) }}},
		{"signed by another", steps{inFile(composeFile, "services:", "services: # mine"), sumAgain, signAgain(private)}},
		{"an image whose signatures are gone", steps{func(t *testing.T, _ string) { r.strip(t, "plain") }}}, // from the registry, for good
	} {
		t.Run(test.what, func(t *testing.T) {
			dir, bin := filepath.Join(t.TempDir(), "dist"), t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(r.dist)); err != nil {
				t.Fatal(err)
			}
			for _, step := range test.steps {
				step(t, dir)
			}
			called := filepath.Join(bin, "called")
			if err := os.WriteFile(filepath.Join(bin, "docker"), []byte("#!/bin/sh\necho \"$@\" >>"+called+"\nexit 1\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), up)
			cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "RELEASE="+dir, "VERIFY_KEY="+r.public)
			out, err := cmd.CombinedOutput()
			if err == nil || !strings.Contains(string(out), "FAIL") || !strings.Contains(string(out), errNotVerified.Error()) {
				t.Errorf("got %v:\n%s", err, out)
			}
			if calls, err := os.ReadFile(called); err == nil {
				t.Errorf("docker was called: %s", calls)
			}
		})
	}
}

// strip takes what is signed of an image away from the registry.
func (r released) strip(t *testing.T, image string) {
	t.Helper()
	for _, part := range []string{"index", "linux/amd64", "linux/arm64"} {
		digest := r.digest(t, image, part)
		index, err := remote.Referrers(digest)
		if err != nil {
			t.Fatal(err)
		}
		referrers, err := index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		tag := strings.ReplaceAll(digest.DigestStr(), ":", "-")
		gone := []name.Reference{digest.Context().Tag(tag + ".sig"), digest.Context().Tag(tag + ".att")}
		for _, referrer := range referrers.Manifests {
			gone = append(gone, digest.Context().Digest(referrer.Digest.String()))
		}
		for _, reference := range gone {
			if err := remote.Delete(reference); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func remove(t *testing.T, file string) {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}
