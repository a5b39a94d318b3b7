package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// formats are the two ways in which cosign stores what it makes, as flags: in tags beside the image (sha256-DIGEST.sig),
// which every version of cosign and every registry knows, and as Sigstore bundles that refer to the image (OCI 1.1).
func formats() []string {
	return []string{"--new-bundle-format=false", "--new-bundle-format=true"}
}

// signVerb signs what publish has pushed: each index, each image in it, and the files of the release.
func signVerb(flags *flag.FlagSet) func(context.Context, call) error {
	key := flags.String("key", "", "the private `key`, a file or a URI as cosign takes it (default: the identity of the workflow)")
	dist := distFlag(flags)
	return func(ctx context.Context, c call) error {
		if len(c.args) > 0 {
			return fmt.Errorf("%q: a release is signed as a whole", c.args)
		}
		// cosign would ask for it, some dozen times, where nobody sees the question.
		if _, set := os.LookupEnv("COSIGN_PASSWORD"); *key != "" && !set && !strings.Contains(*key, "://") {
			return errors.New("set COSIGN_PASSWORD to the password of the key; to nothing, if it has none")
		}
		dir := distOr(*dist, c.root)
		r, err := readRelease(dir)
		if err != nil {
			return err
		}
		if r.Registry == "" {
			return errors.New("nothing is published yet: images publish")
		}
		if err := checkSums(dir); err != nil {
			return err
		}
		tool, err := findCosign(ctx, c.root)
		if err != nil {
			return err
		}
		return tool.signRelease(ctx, signer{key: *key}, dir, r, c.stdout)
	}
}

func (c cosign) signRelease(ctx context.Context, by signer, dir string, r release, stdout io.Writer) error {
	for _, image := range r.Images {
		reference, err := r.reference(image)
		if err != nil {
			return err
		}
		for _, format := range formats() {
			if err := c.signImage(ctx, append(by.flags(), format), dir, image, reference); err != nil {
				return fmt.Errorf("%s: %w", image.Name, err)
			}
		}
		fmt.Fprintf(stdout, "signed %s\n", reference)
	}
	sign := append([]string{"sign-blob", "--bundle", filepath.Join(dir, sumsSignature)}, by.flags()...)
	_, err := c.run(ctx, append(sign, filepath.Join(dir, sumsFile))...)
	return err
}

// signImage signs an index and the images in it, and attests to each its SBOM and how it was built.
func (c cosign) signImage(ctx context.Context, flags []string, dir string, image releasedImage, index name.Digest) error {
	if _, err := c.run(ctx, append(append([]string{"sign", "--recursive"}, flags...), index.String())...); err != nil {
		return err
	}
	parts := image.parts()
	for _, part := range slices.Sorted(maps.Keys(parts)) {
		reference := index.Context().Digest(parts[part].String()).String()
		for kind, file := range map[string]string{spdxType: sbomFile(image.Name, part), provenanceType: provenanceFile(image.Name)} {
			attest := append([]string{"attest", "--type", kind, "--predicate", filepath.Join(dir, file)}, flags...)
			if _, err := c.run(ctx, append(attest, reference)...); err != nil {
				return err
			}
		}
	}
	return nil
}
