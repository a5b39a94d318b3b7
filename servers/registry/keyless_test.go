package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// A bundle that the public instance of sigstore vouches for, and that instance's trusted root: both are sigstore-go's
// examples.
func TestKeylessBundle(t *testing.T) {
	const (
		root    = "testdata/keyless/trusted-root-public-good.json"
		issuer  = "https://token.actions.githubusercontent.com"
		subject = "https://github.com/sigstore/sigstore-js/.github/workflows/release.yml@refs/heads/main"
	)
	data, err := os.ReadFile("testdata/keyless/bundle-provenance.json")
	if err != nil {
		t.Fatal(err)
	}
	var signed bundle.Bundle
	if err := signed.UnmarshalJSON(data); err != nil {
		t.Fatal(err)
	}
	artifact, err := hex.DecodeString("76176ffa33808b54602c7c35de5c6e9a4deb96066dba6533f50ac234f4f1f4c6b3527515dc17c06fbe2860030f410eee69ea20079bd3a2c6f3dcf3b329b10751")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		signer   signerConfig
		artifact []byte
		verified bool
	}{
		"the signer":       {signerConfig{Issuer: issuer, Subject: subject}, artifact, true},
		"a pattern":        {signerConfig{Issuer: issuer, SubjectRegexp: "^https://github.com/sigstore/sigstore-js/"}, artifact, true},
		"another workflow": {signerConfig{Issuer: issuer, Subject: subject + "x"}, artifact, false},
		"another issuer":   {signerConfig{Issuer: "https://accounts.example", Subject: subject}, artifact, false},
		"another artifact": {signerConfig{Issuer: issuer, Subject: subject}, bytes.Repeat([]byte{1}, 64), false},
	} {
		trusted, err := openTrust(options{trustedRoot: root}, []signerConfig{tc.signer})
		if err != nil {
			t.Fatal(err)
		}
		by, reason := trusted.verify(&signed, verify.WithArtifactDigest("sha512", tc.artifact))
		if (by != "") != tc.verified || (reason == "") != tc.verified {
			t.Errorf("%s: by %q, %q", name, by, reason)
		}
	}
	none := &trust{}
	if by, reason := none.verify(&signed, verify.WithArtifactDigest("sha512", artifact)); by != "" || !strings.Contains(reason, "no trusted root") {
		t.Errorf("without a root: by %q, %q", by, reason)
	}
}

// Cosign's old format keeps certificate and log entry in annotations.
func TestKeylessSimpleSigning(t *testing.T) {
	const identity, issuer = "release@acme.example", "https://issuer.example"
	authority, err := ca.NewVirtualSigstore()
	if err != nil {
		t.Fatal(err)
	}
	// This authority's certificates have no timestamp of a certificate log, which the server insists on.
	verifier, err := verify.NewVerifier(authority, verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := verify.NewShortCertificateIdentity(issuer, "", identity, "")
	if err != nil {
		t.Fatal(err)
	}
	trusted := &trust{keyless: verifier, signers: []verify.CertificateIdentity{signer}}
	digest := "sha256:" + strings.Repeat("a", 64)
	payload := fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":"x"},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`, digest)
	annotations := func(identity string) map[string]string {
		entity, err := authority.Sign(identity, issuer, payload)
		if err != nil {
			t.Fatal(err)
		}
		content, err := entity.VerificationContent()
		if err != nil {
			t.Fatal(err)
		}
		signature, err := entity.SignatureContent()
		if err != nil {
			t.Fatal(err)
		}
		entries, err := entity.TlogEntries()
		if err != nil || len(entries) != 1 {
			t.Fatal(err)
		}
		entry := entries[0].TransparencyLogEntry()
		promised := tlog.RekorPayload{
			Body: base64.StdEncoding.EncodeToString(entry.GetCanonicalizedBody()), IntegratedTime: entry.GetIntegratedTime(),
			LogIndex: entry.GetLogIndex(), LogID: hex.EncodeToString(entry.GetLogId().GetKeyId()),
		}
		promise, err := authority.RekorSignPayload(promised)
		if err != nil {
			t.Fatal(err)
		}
		kept, err := json.Marshal(map[string]any{"SignedEntryTimestamp": promise, "Payload": promised})
		if err != nil {
			t.Fatal(err)
		}
		return map[string]string{
			signatureAnnotation:   base64.StdEncoding.EncodeToString(signature.Signature()),
			certificateAnnotation: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: content.Certificate().Raw})),
			rekorAnnotation:       string(kept),
		}
	}
	good := annotations(identity)
	if v := trusted.judge("simple_signing", digest, payload, good); v.by != "signer "+identity+" at "+issuer {
		t.Errorf("%+v", v)
	}
	if v := trusted.judge("simple_signing", "sha256:"+strings.Repeat("b", 64), payload, good); v.by != "" || !strings.Contains(v.reason, "another image") {
		t.Errorf("another image: %+v", v)
	}
	if v := trusted.judge("simple_signing", digest, payload, annotations("somebody@else.example")); v.by != "" {
		t.Errorf("another signer: %+v", v)
	}
	unlogged := annotations(identity)
	unlogged[rekorAnnotation] = ""
	if v := trusted.judge("simple_signing", digest, payload, unlogged); v.by != "" || !strings.Contains(v.reason, "log") {
		t.Errorf("without a log entry: %+v", v)
	}
	// The log entry of another signature does not vouch for this one.
	mixed := annotations(identity)
	mixed[rekorAnnotation] = annotations(identity)[rekorAnnotation]
	if v := trusted.judge("simple_signing", digest, payload, mixed); v.by != "" {
		t.Errorf("another's log entry: %+v", v)
	}
}
