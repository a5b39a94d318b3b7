package main

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// standing says how much is known of signatures. The three are never confused: verified is by the operator's keys or
// signers, present is everything else that is there.
type standing string

// The standings.
const (
	standingVerified standing = "verified"
	standingPresent  standing = "present"
	standingAbsent   standing = "absent"
)

type checkSignaturesOut struct {
	Image   string    `json:"image"`   // the reference, in full
	Digest  string    `json:"digest"`  // what it stands for now, and what subjects are about; use the image by this digest
	Trusted trustLine `json:"trusted"` // what the operator has signatures verified with
	// the digest that the reference stands for and, where that is an index, that of one platform; a signature of the one is none
	// of the other
	Subjects  []subjectLine `json:"subjects"`
	Referrers string        `json:"referrers" enum:"api,tag"` // how the registry tells what refers to an image: api, or tag where it cannot
	Truncated bool          `json:"truncated"`                // whether there are more signatures than were looked at
}

type trustLine struct {
	Keys    []string `json:"keys"`    // names of public keys
	Signers int      `json:"signers"` // identities whose keyless signatures count; none without a trusted root
}

type subjectLine struct {
	Digest   string `json:"digest"`
	Platform string `json:"platform,omitempty"` // absent for what the reference itself stands for
	// verified: at least one signature is by a key or signer that the operator trusts, and is of this very digest; present:
	// there are signatures, none of which is; absent: there are none
	Signature    standing        `json:"signature" enum:"verified,present,absent"`
	Attestations standing        `json:"attestations" enum:"verified,present,absent"` // the same of attestations; an attestation is no signature
	Found        []signatureLine `json:"found"`
}

type signatureLine struct {
	Kind          string   `json:"kind" enum:"signature,attestation"` // signature or attestation
	State         standing `json:"state" enum:"verified,present"`
	By            string   `json:"by,omitempty"`                             // the key or signer that it is verified by
	Reason        string   `json:"reason,omitempty"`                         // why it is not verified
	PredicateType string   `json:"predicate_type,omitempty"`                 // of an attestation; of one that is not verified it is a stranger's word
	Format        string   `json:"format" enum:"simple_signing,dsse,bundle"` // simple_signing and dsse are cosign's old formats, bundle is sigstore's
	Where         string   `json:"where" enum:"tag,referrer"`                // tag: under a tag that is made of the digest; referrer: it refers to the digest
	Manifest      string   `json:"manifest"`                                 // digest of the manifest that holds it
}

func (s *server) checkSignatures(ctx context.Context, in platformIn) (checkSignaturesOut, error) {
	ref, err := parseReference(in.Reference)
	if err != nil {
		return checkSignaturesOut{}, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "reference: %w", err)
	}
	asked, end, err := s.begin(ctx)
	if err != nil {
		return checkSignaturesOut{}, err
	}
	defer end()
	top, err := asked.manifest(ctx, ref.repository, ref.identifier())
	if err != nil {
		return checkSignaturesOut{}, explain(ref.String(), err)
	}
	out := checkSignaturesOut{Image: ref.String(), Digest: top.digest, Trusted: s.trust.line()}
	out.Subjects = []subjectLine{{Digest: top.digest}}
	if top.isIndex() {
		entry, err := pick(ref, top, in.Platform)
		if err == nil {
			err = entry.check(maxManifest)
		}
		if err != nil {
			return checkSignaturesOut{}, explain(ref.String(), err)
		}
		out.Subjects = append(out.Subjects, subjectLine{Digest: entry.Digest, Platform: entry.Platform.String()})
	}
	for i := range out.Subjects {
		// Whatever cannot be asked ends the call: an answer without it might say absent of what is there.
		cut, how, err := asked.signatures(ctx, s.trust, ref.repository, &out.Subjects[i])
		if err != nil {
			return checkSignaturesOut{}, explain("the signatures of "+ref.String(), err)
		}
		out.Truncated, out.Referrers = out.Truncated || cut, how
	}
	return out, nil
}

// The types of artifacts that hold signatures.
const (
	bundleType    = "application/vnd.dev.sigstore.bundle" // and a version
	cosignType    = "application/vnd.dev.cosign.artifact."
	simpleSigning = "application/vnd.dev.cosign.simplesigning.v1+json"
	dsseEnvelope  = "application/vnd.dsse.envelope.v1+json"
	emptyType     = "application/vnd.oci.empty.v1+json" // of a configuration that says nothing
)

// holder is a manifest that may hold signatures of a subject.
type holder struct {
	manifest manifest
	where    string
}

// signatures looks for signatures of a subject, under cosign's tags and among its referrers, and verifies them.
func (s *session) signatures(ctx context.Context, t *trust, repository name.Repository, subject *subjectLine) (cut bool, how string, err error) {
	subject.Signature, subject.Attestations, subject.Found = standingAbsent, standingAbsent, []signatureLine{}
	holders, cut, how, err := s.holders(ctx, repository, subject.Digest)
	if err != nil {
		return false, how, err
	}
	type part struct {
		holder
		layer descriptor
	}
	var all []part
	for _, h := range holders {
		for _, layer := range h.manifest.content.Layers {
			if len(all) == maxSignatures {
				cut = true
				break
			}
			all = append(all, part{h, layer})
		}
	}
	found := make([]*signatureLine, len(all))
	faults := make([]error, len(all))
	each(len(all), maxAtOnce, func(i int) {
		found[i], faults[i] = s.signature(ctx, t, repository, subject.Digest, all[i].holder, all[i].layer)
	})
	for i, line := range found {
		if faults[i] != nil {
			return false, how, faults[i]
		}
		if line == nil {
			continue
		}
		subject.Found = append(subject.Found, *line)
		sum := &subject.Signature
		if line.Kind == kindAttestation {
			sum = &subject.Attestations
		}
		if *sum != standingVerified {
			*sum = line.State
		}
	}
	return cut, how, nil
}

// holders finds the manifests.
func (s *session) holders(ctx context.Context, repository name.Repository, digest string) (found []holder, cut bool, how string, err error) {
	for _, suffix := range []string{".sig", ".att"} {
		m, err := s.manifest(ctx, repository, strings.Replace(digest, ":", "-", 1)+suffix)
		if status, ok := errors.AsType[*statusError](err); ok && status.status == http.StatusNotFound {
			continue
		}
		if err != nil {
			return nil, false, "", err
		}
		found = append(found, holder{m, "tag"})
	}
	referrers, how, err := s.referrers(ctx, repository, digest)
	if err != nil {
		return nil, false, how, err
	}
	for _, d := range referrers {
		if !mayHold(d.ArtifactType) {
			continue
		}
		if len(found) == maxHolders {
			return found, true, how, nil
		}
		m, err := s.manifest(ctx, repository, d.Digest)
		if err != nil {
			return nil, false, how, err
		}
		// The list is the registry's word; what a manifest refers to is in the manifest.
		if m.content.Subject == nil || m.content.Subject.Digest != digest {
			continue
		}
		found = append(found, holder{m, "referrer"})
	}
	return found, false, how, nil
}

// mayHold says whether an artifact of that type may hold signatures. Some registries know the type of a configuration alone,
// which tells nothing of a bundle.
func mayHold(artifactType string) bool {
	return artifactType == "" || artifactType == emptyType || strings.HasPrefix(artifactType, bundleType) || strings.HasPrefix(artifactType, cosignType)
}

// signature reads and judges one layer of a holder; nil if it holds no signature.
func (s *session) signature(ctx context.Context, t *trust, repository name.Repository, digest string, h holder, layer descriptor) (*signatureLine, error) {
	line := signatureLine{Kind: kindSignature, State: standingPresent, Where: h.where, Manifest: h.manifest.digest}
	switch {
	case layer.MediaType == simpleSigning:
		line.Format = "simple_signing"
	case layer.MediaType == dsseEnvelope:
		line.Format, line.Kind = "dsse", kindAttestation
	case strings.HasPrefix(layer.MediaType, bundleType):
		line.Format = "bundle"
	default:
		return nil, nil //nolint:nilnil // no signature
	}
	data, err := s.blob(ctx, repository, layer, maxSignature)
	var size *sizeError
	switch {
	case errors.As(err, &size), errors.Is(err, errDigest), errors.Is(err, errSize), errors.Is(err, errDescriptor):
		line.Reason = err.Error()
		return &line, nil
	case err != nil:
		return nil, err
	}
	verdict := t.judge(line.Format, digest, data, layer.Annotations)
	line.Kind, line.By, line.Reason, line.PredicateType = verdict.kind, verdict.by, clip(verdict.reason, maxProblem), clip(verdict.predicateType, maxValue)
	if verdict.by != "" {
		line.State = standingVerified
	}
	return &line, nil
}
