package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"path"
	"strings"
	"testing"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/secretdir"
)

func FuzzReference(f *testing.F) {
	f.Add("ghcr.io/acme/api:v1@sha256:" + strings.Repeat("0", 64))
	f.Add("a/../b")
	f.Fuzz(func(t *testing.T, text string) {
		ref, err := parseReference(text)
		if err != nil {
			return
		}
		if name := ref.repository.RepositoryStr(); path.Clean("/"+name) != "/"+name {
			t.Errorf("%q: %q climbs", text, name)
		}
		again, err := parseReference(ref.String())
		if err != nil || again.String() != ref.String() {
			t.Errorf("%q is %q, and that %q, %v", text, ref, again, err)
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"digest":"x","platform":{"os":"linux"}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := newManifest(answer{header: http.Header{"Content-Type": {manifestTypes()[1]}}, body: body}, "")
		if err == nil && (m.digest != digestOf(body) || m.isIndex() && len(m.content.Layers) > 0) {
			t.Errorf("%q: %+v", body, m)
		}
	})
}

func FuzzLayer(f *testing.F) {
	f.Add(repeated(f, []byte("x"), []byte("y"), 2))
	f.Add(bytes.Repeat([]byte{0}, 1024))
	f.Fuzz(func(t *testing.T, data []byte) {
		left := &allowance{bytes: 1 << 20, entries: 100}
		facts, err := readLayer(bytes.NewReader(data), left)
		if err == nil && (left.bytes < 0 || left.entries < 0 || len(facts.files) > 200) {
			t.Errorf("%d bytes, %d entries left, %d files", left.bytes, left.entries, len(facts.files))
		}
		(&rootfs{}).apply(facts)
	})
}

// Nothing is verified that was not signed.
func FuzzSignature(f *testing.F) {
	f.Add("simple_signing", []byte(`{"critical":{"image":{"docker-manifest-digest":"x"},"type":"cosign container image signature"}}`), "TUVRQ0k=", "", "")
	f.Add("dsse", []byte(`{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"AA=="}]}`), "", "", "{}")
	f.Add("bundle", []byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}`), "", "", "")
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		f.Fatal(err)
	}
	verifier, err := keyVerifier(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
	if err != nil {
		f.Fatal(err)
	}
	trusted := &trust{keys: []key{{"k", verifier}}}
	f.Fuzz(func(t *testing.T, format string, data []byte, signature, certificate, entry string) {
		annotations := map[string]string{signatureAnnotation: signature, certificateAnnotation: certificate, rekorAnnotation: entry}
		if v := trusted.judge(format, "sha256:"+strings.Repeat("a", 64), data, annotations); v.by != "" || v.reason == "" {
			t.Errorf("%q: %+v", data, v)
		}
	})
}

func FuzzLogins(f *testing.F) {
	f.Add([]byte(`{"auths":{"https://index.docker.io/v1/":{"auth":"dTpw"}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		write(t, dir+"/config.json", string(data))
		logins, err := readLogins(secretdir.Dir{Path: dir})
		if err != nil && logins != nil {
			t.Errorf("%q: logins and an error", data)
		}
	})
}
