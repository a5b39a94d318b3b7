package main

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/secretdir"
)

// trust is what the operator has signatures verified with.
type trust struct {
	keys    []key
	keyless *verify.Verifier // nil without a trusted root
	signers []verify.CertificateIdentity
}

// key is a public key of the operator's.
type key struct {
	name     string
	verifier *verify.Verifier
}

const keySuffix = ".pub"

// openTrust reads keys and the trusted root, once: what is trusted changes with a restart.
func openTrust(own options, signers []signerConfig) (*trust, error) {
	t := &trust{}
	if own.keys != "" {
		dir := secretdir.Dir{Path: own.keys, Suffix: keySuffix}
		names, err := dir.Names()
		if err != nil {
			return nil, fmt.Errorf("--keys: %w", err)
		}
		for _, name := range names {
			data, err := dir.Read(name, maxSecretFile)
			if err != nil {
				return nil, fmt.Errorf("--keys: %w", err)
			}
			verifier, err := keyVerifier(data)
			if err != nil {
				return nil, fmt.Errorf("--keys: %s/%s: not one public key in PEM: %w", own.keys, name, err)
			}
			t.keys = append(t.keys, key{strings.TrimSuffix(name, keySuffix), verifier})
		}
	}
	if (own.trustedRoot == "") != (len(signers) == 0) {
		return nil, errors.New("keyless signatures take both --trusted-root and signers in --registries: whoever can log in anywhere can sign, so that it counts only who signed")
	}
	if own.trustedRoot == "" {
		return t, nil
	}
	for _, s := range signers {
		identity, err := verify.NewShortCertificateIdentity(s.Issuer, "", s.Subject, s.SubjectRegexp)
		if err != nil {
			return nil, fmt.Errorf("signers: %w", err)
		}
		t.signers = append(t.signers, identity)
	}
	file, err := os.Open(own.trustedRoot)
	if err != nil {
		return nil, fmt.Errorf("--trusted-root: %w", err)
	}
	defer func() { _ = file.Close() }()
	data, err := limit.ReadAll(file, maxTrustedRoot)
	if err != nil {
		return nil, fmt.Errorf("--trusted-root: %w", err)
	}
	trusted, err := root.NewTrustedRootFromJSON(data)
	if err != nil {
		return nil, fmt.Errorf("--trusted-root: %s: not a sigstore trusted root: %w", own.trustedRoot, err)
	}
	t.keyless, err = verify.NewVerifier(trusted, verify.WithTransparencyLog(1), verify.WithObserverTimestamps(1),
		verify.WithSignedCertificateTimestamps(1), verify.WithoutStatementPredicate())
	return t, err
}

// keyVerifier makes a verifier that knows one key and demands no entry in a log.
func keyVerifier(data []byte) (*verify.Verifier, error) {
	if block, rest := pem.Decode(data); block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("no PEM block, or more than one")
	}
	public, err := cryptoutils.UnmarshalPEMToPublicKey(data)
	if err != nil {
		return nil, err
	}
	loaded, err := signature.LoadVerifier(public, crypto.SHA256)
	if err != nil {
		return nil, err
	}
	material := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) {
		return root.NewExpiringKey(loaded, time.Time{}, time.Time{}), nil
	})
	return verify.NewVerifier(material, verify.WithNoObserverTimestamps(), verify.WithoutStatementPredicate())
}

func (t *trust) line() trustLine {
	line := trustLine{Keys: []string{}, Signers: len(t.signers)}
	for _, k := range t.keys {
		line.Keys = append(line.Keys, k.name)
	}
	return line
}

// The kinds of what is found.
const (
	kindSignature   = "signature"
	kindAttestation = "attestation"
)

// verdict is what is known of one signature. by is empty unless it is verified.
type verdict struct {
	kind          string
	by            string
	reason        string
	predicateType string
}

// judge verifies a signature of the image with that digest.
func (t *trust) judge(format, digest string, data []byte, annotations map[string]string) verdict {
	switch format {
	case "simple_signing":
		return t.judgeSimple(digest, data, annotations)
	case "dsse":
		v := verdict{kind: kindAttestation}
		signed, err := envelopeBundle(data, annotations)
		if err != nil {
			v.reason = err.Error()
			return v
		}
		return t.judgeBundle(v, digest, signed)
	}
	v := verdict{kind: kindSignature}
	var signed bundle.Bundle
	if err := signed.UnmarshalJSON(data); err != nil {
		v.reason = "it is no sigstore bundle that can be read"
		return v
	}
	return t.judgeBundle(v, digest, &signed)
}

// signPredicate is the type of the statement that cosign signs an image with, in the bundle format. A statement of any other
// type is an attestation.
const signPredicate = "https://sigstore.dev/cosign/sign/v1"

// judgeBundle verifies a bundle whose statement, or message, is about the image.
func (t *trust) judgeBundle(v verdict, digest string, signed *bundle.Bundle) verdict {
	if envelope, err := signed.Envelope(); err == nil {
		if statement, err := envelope.Statement(); err == nil && statement != nil {
			v.predicateType = statement.GetPredicateType()
		}
		v.kind = kindAttestation
		if v.predicateType == signPredicate {
			v.kind, v.predicateType = kindSignature, ""
		}
	}
	sum, err := hex.DecodeString(strings.TrimPrefix(digest, "sha256:"))
	if err != nil {
		v.reason = "the image has no digest that can be verified"
		return v
	}
	v.by, v.reason = t.verify(signed, verify.WithArtifactDigest("sha256", sum))
	return v
}

// simplePayload is what cosign's old format signs (containers/image, "atomic container signature").
type simplePayload struct {
	Critical struct {
		Identity struct {
			Reference string `json:"docker-reference"`
		} `json:"identity"`
		Image struct {
			Digest string `json:"docker-manifest-digest"`
		} `json:"image"`
		Type string `json:"type"`
	} `json:"critical"`
}

// judgeSimple verifies a payload, and that it is about the image: a signature that was put beside another image is genuine,
// and says nothing of it.
func (t *trust) judgeSimple(digest string, payload []byte, annotations map[string]string) verdict {
	v := verdict{kind: kindSignature}
	signed, err := messageBundle(payload, annotations)
	if err != nil {
		v.reason = err.Error()
		return v
	}
	var content simplePayload
	if err := json.Unmarshal(payload, &content); err != nil {
		v.reason = "what is signed is not in cosign's form"
		return v
	}
	switch {
	case content.Critical.Image.Digest != digest:
		v.reason = "it is a signature of another image"
		return v
	case content.Critical.Type != "cosign container image signature" && content.Critical.Type != "atomic container signature":
		v.reason = "what is signed does not say that it is an image's signature"
		return v
	}
	v.by, v.reason = t.verify(signed, verify.WithArtifact(bytes.NewReader(payload)))
	return v
}

// verify holds a bundle against every key, or against the signers if it has a certificate.
func (t *trust) verify(signed *bundle.Bundle, artifact verify.ArtifactPolicyOption) (by, reason string) {
	content, err := signed.VerificationContent()
	if err != nil {
		return "", "it has neither a key nor a certificate"
	}
	if content.Certificate() == nil {
		return t.verifyByKey(signed, artifact)
	}
	if t.keyless == nil {
		return "", "it is keyless, and the operator has given no trusted root and signers"
	}
	for _, signer := range t.signers {
		result, err := t.keyless.Verify(signed, verify.NewPolicy(artifact, verify.WithCertificateIdentity(signer)))
		if err == nil {
			return "signer " + result.Signature.Certificate.SubjectAlternativeName + " at " + result.Signature.Certificate.Issuer, ""
		}
	}
	return "", "it is by none of the signers that the operator trusts, or of another image, or its certificate or log entry does not hold"
}

func (t *trust) verifyByKey(signed *bundle.Bundle, artifact verify.ArtifactPolicyOption) (by, reason string) {
	if len(t.keys) == 0 {
		return "", "the operator has given no keys"
	}
	for _, k := range t.keys {
		if _, err := k.verifier.Verify(signed, verify.NewPolicy(artifact, verify.WithKey())); err == nil {
			return "key " + k.name, ""
		}
	}
	return "", "it is by none of the keys that the operator trusts, or of another image, or was changed"
}

// The annotations of cosign's old formats.
const (
	signatureAnnotation   = "dev.cosignproject.cosign/signature"
	certificateAnnotation = "dev.sigstore.cosign/certificate"
	rekorAnnotation       = "dev.sigstore.cosign/bundle"
)

// messageBundle makes a bundle of a payload and the signature beside it.
func messageBundle(payload []byte, annotations map[string]string) (*bundle.Bundle, error) {
	raw, err := base64.StdEncoding.DecodeString(annotations[signatureAnnotation])
	if err != nil || len(raw) == 0 {
		return nil, errors.New("there is no signature beside what is signed")
	}
	sum := sha256.Sum256(payload)
	return oldBundle(annotations, &protobundle.Bundle{Content: &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
		MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: sum[:]}, Signature: raw,
	}}})
}

// envelopeBundle makes a bundle of a DSSE envelope.
func envelopeBundle(data []byte, annotations map[string]string) (*bundle.Bundle, error) {
	var envelope struct {
		Payload     []byte `json:"payload"`
		PayloadType string `json:"payloadType"`
		Signatures  []struct {
			KeyID string `json:"keyid"`
			Sig   []byte `json:"sig"`
		} `json:"signatures"`
	}
	if err := json.Unmarshal(data, &envelope); err != nil || len(envelope.Signatures) != 1 {
		return nil, errors.New("it is no envelope with one signature")
	}
	return oldBundle(annotations, &protobundle.Bundle{Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
		Payload: envelope.Payload, PayloadType: envelope.PayloadType,
		Signatures: []*protodsse.Signature{{Sig: envelope.Signatures[0].Sig, Keyid: envelope.Signatures[0].KeyID}},
	}}})
}

// oldBundle adds what the annotations say of how it was signed: by a key of which nothing is said, or with a certificate and
// an entry in the log.
func oldBundle(annotations map[string]string, made *protobundle.Bundle) (*bundle.Bundle, error) {
	if annotations[certificateAnnotation] == "" {
		made.MediaType = bundleType + ".v0.3+json"
		made.VerificationMaterial = &protobundle.VerificationMaterial{Content: &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{}}}
		return readBundle(made)
	}
	block, _ := pem.Decode([]byte(annotations[certificateAnnotation]))
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("its certificate cannot be read")
	}
	entry, err := logEntry(annotations[rekorAnnotation])
	if err != nil {
		return nil, err
	}
	made.MediaType = bundleType + "+json;version=0.1"
	made.VerificationMaterial = &protobundle.VerificationMaterial{
		Content: &protobundle.VerificationMaterial_X509CertificateChain{X509CertificateChain: &protocommon.X509CertificateChain{
			Certificates: []*protocommon.X509Certificate{{RawBytes: block.Bytes}},
		}},
		TlogEntries: []*protorekor.TransparencyLogEntry{entry},
	}
	return readBundle(made)
}

func readBundle(made *protobundle.Bundle) (*bundle.Bundle, error) {
	signed, err := bundle.NewBundle(made)
	if err != nil {
		return nil, errors.New("it does not hold together: its signature, certificate or log entry is incomplete")
	}
	return signed, nil
}

// logEntry reads what cosign's old format keeps of the entry in the log.
func logEntry(text string) (*protorekor.TransparencyLogEntry, error) {
	var kept struct {
		SignedEntryTimestamp []byte
		Payload              struct {
			Body           []byte `json:"body"`
			IntegratedTime int64  `json:"integratedTime"`
			LogIndex       int64  `json:"logIndex"`
			LogID          string `json:"logID"`
		}
	}
	var body struct {
		Kind       string `json:"kind"`
		APIVersion string `json:"apiVersion"`
	}
	incomplete := errors.New("it is keyless, and its entry in the log is not kept beside it")
	if json.Unmarshal([]byte(text), &kept) != nil || json.Unmarshal(kept.Payload.Body, &body) != nil {
		return nil, incomplete
	}
	id, err := hex.DecodeString(kept.Payload.LogID)
	if err != nil || !slices.Contains([]string{"hashedrekord", "intoto", "dsse"}, body.Kind) {
		return nil, incomplete
	}
	return &protorekor.TransparencyLogEntry{
		LogIndex: kept.Payload.LogIndex, LogId: &protocommon.LogId{KeyId: id},
		KindVersion:    &protorekor.KindVersion{Kind: body.Kind, Version: body.APIVersion},
		IntegratedTime: kept.Payload.IntegratedTime, CanonicalizedBody: kept.Payload.Body,
		InclusionPromise: &protorekor.InclusionPromise{SignedEntryTimestamp: kept.SignedEntryTimestamp},
	}, nil
}
