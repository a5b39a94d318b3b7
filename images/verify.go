package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// errNotVerified ends the program with a failure; what failed is printed already.
var errNotVerified = errors.New("not verified: do not run it")

// verifyVerb checks images that are at a registry, or a whole release, and prints a line for each check.
func verifyVerb(flags *flag.FlagSet) func(context.Context, call) error {
	var v verifier
	flags.StringVar(&v.key, "key", "", "the public `key` of who signed, a file or a URI as cosign takes it; else")
	flags.StringVar(&v.identity, "identity", releaseIdentity, "an `expression` for the identity of who signed")
	flags.StringVar(&v.issuer, "issuer", releaseIssuer, "the `URL` of who vouches for the identity")
	dir := flags.String("release", "", "the `folder` of a release, of which everything is checked")
	env := flags.String("env", "", "the `file` that gets the images of the release, if all is well, for compose")
	return func(ctx context.Context, c call) error {
		if (*dir == "") == (len(c.args) == 0) || *env != "" && *dir == "" {
			return errors.New("say what to verify: images verify REF…, or images verify --release DIR [--env FILE]")
		}
		tool, err := findCosign(ctx, c.root)
		if err != nil {
			return err
		}
		check := inspection{tool: tool, by: v, stdout: c.stdout}
		if *dir != "" {
			return check.release(ctx, *dir, *env)
		}
		for _, reference := range c.args {
			check.reference(ctx, reference)
		}
		return check.verdict()
	}
}

// inspection is one run of verifyVerb.
type inspection struct {
	tool   cosign
	by     verifier
	stdout io.Writer
	failed bool
}

// report prints the line of one check.
func (i *inspection) report(what, found string, err error) {
	if err != nil {
		i.failed = true
		fmt.Fprintf(i.stdout, "  FAIL  %-19s %v\n", what, err)
		return
	}
	fmt.Fprintf(i.stdout, "  ok    %-19s %s\n", what, found)
}

func (i *inspection) verdict() error {
	if i.failed {
		return errNotVerified
	}
	return nil
}

// release checks the files of a release, then each image that they name, and tells compose of them.
func (i *inspection) release(ctx context.Context, dir, env string) error {
	fmt.Fprintln(i.stdout, dir)
	verify := append([]string{"verify-blob", "--bundle", filepath.Join(dir, sumsSignature)}, i.by.flags()...)
	_, err := i.tool.run(ctx, append(verify, filepath.Join(dir, sumsFile))...)
	i.report("signature", fmt.Sprintf("%s, by %s", sumsFile, i.by), err)
	i.report("files", "each is the one that was signed", checkSums(dir))
	if i.failed {
		return i.verdict() // nothing that the files say counts
	}
	r, err := readRelease(dir)
	if err != nil {
		return err
	}
	if r.Registry == "" {
		return errors.New("the release was not published")
	}
	compose, err := readBounded(filepath.Join(dir, composeFile))
	if err != nil {
		return err
	}
	i.report("compose", "every service runs an image of the release", checkCompose(compose, r))
	var variables []variable
	for _, image := range r.Images {
		reference, err := r.reference(image)
		if err != nil {
			return err
		}
		i.image(ctx, reference, expectation{image: image.Name, version: r.Version, revision: r.Revision})
		variables = append(variables, variable{name: imageVariable(image.Name), value: reference.String()})
	}
	if i.failed || env == "" {
		return i.verdict()
	}
	return setVariables(env, variables)
}

// reference checks the image that a reference means now. The tag of it must be the version that was signed, so that an
// older one in its place, rightly signed, is found out.
func (i *inspection) reference(ctx context.Context, text string) {
	parsed, err := name.ParseReference(text, name.StrictValidation)
	if err != nil {
		fmt.Fprintln(i.stdout, text)
		i.report("reference", "", err)
		return
	}
	want := expectation{image: path.Base(parsed.Context().RepositoryStr())}
	digest, ok := parsed.(name.Digest)
	if !ok {
		want.version = parsed.Identifier()
		there, err := remote.Head(parsed, registryOptions(ctx)...)
		if err != nil {
			fmt.Fprintln(i.stdout, text)
			i.report("reference", "", err)
			return
		}
		digest = parsed.Context().Digest(there.Digest.String())
	}
	i.image(ctx, digest, want)
}

// image checks one image, by its digest: the index that a release has of each, or one of the images in it.
func (i *inspection) image(ctx context.Context, digest name.Digest, want expectation) {
	fmt.Fprintln(i.stdout, digest)
	i.report("signature", fmt.Sprintf("by %s", i.by), i.signature(ctx, digest))
	i.provenance(ctx, digest, want)
	i.sbom(ctx, digest, "SBOM")
	described, err := remote.Get(digest, registryOptions(ctx)...)
	if err != nil {
		i.report("SBOM", "", err)
		return
	}
	if !described.MediaType.IsIndex() {
		return
	}
	// What an engine pulls, and what an SBOM says most of, is one image of the index.
	index, err := described.ImageIndex()
	if err != nil {
		i.report("SBOM", "", err)
		return
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		i.report("SBOM", "", err)
		return
	}
	for _, part := range manifest.Manifests {
		i.sbom(ctx, digest.Context().Digest(part.Digest.String()), "SBOM of "+part.Platform.String())
	}
}

// signature checks that the image is signed. To cosign, an attestation of the signer's in a Sigstore bundle is a signature
// too; somebody has seen to it that an SBOM exists, which is not to say that they released the image.
func (i *inspection) signature(ctx context.Context, digest name.Digest) error {
	out, err := i.tool.run(ctx, append(append([]string{"verify", "--output", "json"}, i.by.flags()...), digest.String())...)
	if err != nil {
		return err
	}
	var verified []struct {
		Critical struct {
			Type  string `json:"type"`
			Image struct {
				Digest string `json:"docker-manifest-digest"`
			} `json:"image"`
		} `json:"critical"`
	}
	if err := json.Unmarshal(out, &verified); err != nil {
		return fmt.Errorf("reading what cosign has verified: %w", err)
	}
	for _, signed := range verified {
		if signed.Critical.Image.Digest == digest.DigestStr() && slices.Contains(signatureTypes(), signed.Critical.Type) {
			return nil
		}
	}
	return errors.New("there are attestations by the signer, and no signature")
}

// sbom checks that there is one which the signer has attested, and that it is of this image.
func (i *inspection) sbom(ctx context.Context, digest name.Digest, what string) {
	type document struct {
		Version  string            `json:"spdxVersion"`
		Name     string            `json:"name"`
		Packages []json.RawMessage `json:"packages"`
	}
	found, err := attested[document](ctx, i, digest, spdxType, func(d document) error {
		if d.Name != "sbom-"+digest.DigestStr() || len(d.Packages) == 0 {
			return fmt.Errorf("it is called %q and lists %d packages: another image's", d.Name, len(d.Packages))
		}
		return nil
	})
	i.report(what, fmt.Sprintf("%s, %d packages", found.Version, len(found.Packages)), err)
}

// provenance checks that the image was built from this repository, and is what it is taken for.
func (i *inspection) provenance(ctx context.Context, digest name.Digest, want expectation) {
	found, err := attested(ctx, i, digest, provenanceType, want.check)
	said := found.BuildDefinition.ExternalParameters
	i.report("provenance", fmt.Sprintf("%s %s, from %s at %s", said.Image, said.Version, said.Source, said.Revision), err)
}

// attested is the predicate of an attestation of the image, of the kind that cosign calls kind: the first that meets check
// among those that the signer has made.
func attested[P any](ctx context.Context, i *inspection, digest name.Digest, kind string, check func(P) error) (P, error) {
	var none P
	out, err := i.tool.run(ctx, append(append([]string{"verify-attestation", "--type", kind}, i.by.flags()...), digest.String())...)
	if err != nil {
		return none, err
	}
	problem := fmt.Errorf("cosign verified, but printed no attestation")
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var envelope struct {
			Payload []byte `json:"payload"`
		}
		if err := decoder.Decode(&envelope); errors.Is(err, io.EOF) {
			return none, problem
		} else if err != nil {
			return none, fmt.Errorf("reading what cosign has verified: %w", err)
		}
		var statement struct {
			Predicate P `json:"predicate"`
		}
		if err := json.Unmarshal(envelope.Payload, &statement); err != nil {
			return none, fmt.Errorf("reading what was attested: %w", err)
		}
		if problem = check(statement.Predicate); problem == nil {
			return statement.Predicate, nil
		}
	}
}
