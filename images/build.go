package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/sigstore/cosign/v3/pkg/oci"
)

// titleOf is the annotation by which publish finds an image in the layout.
const titleOf = "org.opencontainers.image.ref.name"

// releasePlatforms are those that every released image is for.
func releasePlatforms() []v1.Platform {
	return []v1.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}
}

// distFlag is the folder of the release that is being made.
func distFlag(flags *flag.FlagSet) *string {
	return flags.String("dist", "", "the `folder` of the release (default images/dist)")
}

// distOr is the folder dist, or the default below root.
func distOr(dist, root string) string {
	if dist != "" {
		return dist
	}
	return filepath.Join(root, "images", "dist")
}

// buildVerb builds every server for every platform into the folder of a release, and prints the digests.
func buildVerb(flags *flag.FlagSet) func(context.Context, call) error {
	version := flags.String("version", "", "the `version`, which is also the tag (default: what git describes the commit by)")
	baseName := flags.String("base", "", "somebody else's base image, as `REF@DIGEST`")
	dist := distFlag(flags)
	return func(ctx context.Context, c call) error {
		if len(c.args) > 0 {
			return fmt.Errorf("%q: a release has every image", c.args)
		}
		made, err := buildRelease(ctx, c.root, distOr(*dist, c.root), *version, *baseName)
		if err != nil {
			return err
		}
		for _, image := range made.Images {
			fmt.Fprintf(c.stdout, "%s %s\n", image.Name, image.Digest)
		}
		return nil
	}
}

// buildRelease builds the commit that is checked out below root into the folder dist, in the place of what was there.
func buildRelease(ctx context.Context, root, dist, version, baseName string) (release, error) {
	source, err := readCommit(ctx, root)
	if err != nil {
		return release{}, err
	}
	if version == "" {
		if version, err = describeCommit(ctx, root); err != nil {
			return release{}, err
		}
	}
	if err := checkVersion(version); err != nil {
		return release{}, err
	}
	toolchain, err := pinnedGo(root)
	if err != nil {
		return release{}, err
	}
	if err := usesGo(ctx, root, toolchain); err != nil {
		return release{}, err
	}
	servers, err := findServers(root)
	if err != nil {
		return release{}, err
	}
	if servers, err = choose(servers, nil, false); err != nil {
		return release{}, err
	}
	put := recipe{root: root, version: version, platforms: releasePlatforms(), commit: source}
	if baseName == "" {
		put.base, err = ownBase(ctx, put.platforms)
	} else {
		put.base, err = pulledBase(ctx, baseName)
	}
	if err != nil {
		return release{}, err
	}

	if err := clearRelease(dist); err != nil {
		return release{}, err
	}
	out, err := layout.Write(filepath.Join(dist, layoutFolder), empty.Index)
	if err != nil {
		return release{}, err
	}
	made := release{Version: version, Source: sourceURL, Revision: source.revision, Go: toolchain, Base: baseName}
	for _, s := range servers {
		result, err := put.build(ctx, s)
		if err != nil {
			return release{}, err
		}
		index, ok := result.(oci.SignedImageIndex)
		if !ok {
			return release{}, fmt.Errorf("ko returned a %T for two platforms, not an index: does the base %s have them all?", result, put.base.name)
		}
		if err := out.AppendIndex(index, layout.WithAnnotations(map[string]string{titleOf: s.name})); err != nil {
			return release{}, err
		}
		image, err := writeStatements(dist, made, s, index)
		if err != nil {
			return release{}, fmt.Errorf("what is to be attested of %s: %w", s.name, err)
		}
		made.Images = append(made.Images, image)
	}
	return made, made.write(dist)
}

// clearRelease takes away the release that was in dist. Another folder is not ours to clear.
func clearRelease(dist string) error {
	entries, err := os.ReadDir(dist)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0 {
		return os.MkdirAll(dist, 0o755) //nolint:gosec // a release is public
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dist, layoutFolder, "oci-layout")); err != nil {
		return fmt.Errorf("%s is not empty, and holds no release that a new one could replace: %w", dist, err)
	}
	return os.RemoveAll(dist)
}

// writeStatements writes what will be attested of a server's index and of the images in it, and returns their digests.
func writeStatements(dist string, r release, s server, index oci.SignedImageIndex) (releasedImage, error) {
	digest, err := index.Digest()
	if err != nil {
		return releasedImage{}, err
	}
	image := releasedImage{Name: s.name, Digest: digest, Platforms: map[string]v1.Hash{}}
	manifest, err := index.IndexManifest()
	if err != nil {
		return releasedImage{}, err
	}
	if err := writeSBOM(dist, s.name, "index", index); err != nil {
		return releasedImage{}, err
	}
	for _, part := range manifest.Manifests {
		single, err := index.SignedImage(part.Digest)
		if err != nil {
			return releasedImage{}, err
		}
		platform := part.Platform.String()
		if err := writeSBOM(dist, s.name, platform, single); err != nil {
			return releasedImage{}, err
		}
		image.Platforms[platform] = part.Digest
	}
	predicate, err := json.MarshalIndent(provenanceOf(r, s.name), "", "  ")
	if err != nil {
		return releasedImage{}, err
	}
	return image, writeFile(filepath.Join(dist, provenanceFile(s.name)), append(predicate, '\n'))
}

// writeSBOM writes the SBOM that ko has made for a part of an image.
func writeSBOM(dist, image, part string, of oci.SignedEntity) error {
	attached, err := of.Attachment("sbom")
	if err != nil {
		return fmt.Errorf("the SBOM of %s: %w", part, err)
	}
	sbom, err := attached.Payload()
	if err != nil {
		return fmt.Errorf("the SBOM of %s: %w", part, err)
	}
	return writeFile(filepath.Join(dist, sbomFile(image, part)), sbom)
}
