package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// The files of a release's folder. sumsFile is over all others of it but those in layoutFolder, which are named by digest,
// and sumsSignature, which is over sumsFile.
const (
	imagesFile    = "images.lock.json"     // the release
	composeFile   = "compose.release.yaml" // starts it: compose.yaml with every image by digest
	lockFile      = "tools.lock.json"      // the tool definitions that were reviewed for it
	sumsFile      = "SHA256SUMS"
	sumsSignature = "SHA256SUMS.sigstore.json"
	attestFolder  = "attestations" // SBOMs and provenance, before they are signed
	layoutFolder  = "oci"          // what was built, as an OCI image layout; publish pushes it

	lockSource = "agents/tools.lock.json"

	maxReleaseFile = 16 << 20 // bytes of a file that somebody else may have written
)

// release is the file imagesFile: what was built, from what, and where it was published.
type release struct {
	Version  string          `json:"version"`
	Source   string          `json:"source"`
	Revision string          `json:"revision"`
	Go       string          `json:"go"`                 // the toolchain, as GOTOOLCHAIN takes it
	Base     string          `json:"base,omitempty"`     // REF@DIGEST, where it is not our own
	Registry string          `json:"registry,omitempty"` // images are REGISTRY/NAME@DIGEST; empty until published
	Images   []releasedImage `json:"images"`
}

// releasedImage is the index of one server, and the images in it by platform.
type releasedImage struct {
	Name      string             `json:"name"`
	Digest    v1.Hash            `json:"digest"`
	Platforms map[string]v1.Hash `json:"platforms"`
}

// reference is the image as an engine pulls it.
func (r release) reference(i releasedImage) (name.Digest, error) {
	return name.NewDigest(r.Registry + "/" + i.Name + "@" + i.Digest.String())
}

// references are all images as an engine pulls them, by the variable under which compose.yaml asks for each.
func (r release) references() (map[string]string, error) {
	references := map[string]string{}
	for _, image := range r.Images {
		reference, err := r.reference(image)
		if err != nil {
			return nil, err
		}
		references[imageVariable(image.Name)] = reference.String()
	}
	return references, nil
}

// parts are the digests that one image stands for, with the name of each: the index itself is "index".
func (i releasedImage) parts() map[string]v1.Hash {
	parts := map[string]v1.Hash{"index": i.Digest}
	maps.Copy(parts, i.Platforms)
	return parts
}

// sbomFile and provenanceFile are what is attested of an image, and of a part of it.
func sbomFile(image, part string) string {
	return filepath.Join(attestFolder, image+"."+strings.ReplaceAll(part, "/", "-")+".spdx.json")
}

func provenanceFile(image string) string {
	return filepath.Join(attestFolder, image+".provenance.json")
}

func readRelease(dir string) (release, error) {
	data, err := readBounded(filepath.Join(dir, imagesFile))
	if err != nil {
		return release{}, fmt.Errorf("%s holds no release: %w", dir, err)
	}
	return parseRelease(data)
}

// parseRelease reads imagesFile, which somebody else may have written: without an error, it can be used as it is.
func parseRelease(data []byte) (release, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var r release
	if err := decoder.Decode(&r); err != nil {
		return release{}, fmt.Errorf("reading %s: %w", imagesFile, err)
	}
	if err := r.check(); err != nil {
		return release{}, err
	}
	return r, nil
}

// check holds the release to what the rest of the program makes of it: names become paths, variables and references.
func (r release) check() error {
	problem := func(format string, args ...any) error { return fmt.Errorf(imagesFile+": "+format, args...) }
	if err := checkVersion(r.Version); err != nil {
		return problem("%w", err)
	}
	if !regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`).MatchString(r.Revision) {
		return problem("revision %q is no commit", r.Revision)
	}
	if !regexp.MustCompile(`^go[0-9]+(\.[0-9]+)*$`).MatchString(r.Go) {
		return problem("%q is no Go release", r.Go)
	}
	if r.Source != sourceURL {
		return problem("source %q is not %s", r.Source, sourceURL)
	}
	if r.Base != "" {
		if _, err := name.NewDigest(r.Base, name.StrictValidation); err != nil {
			return problem("the base: %w", err)
		}
	}
	if len(r.Images) == 0 {
		return problem("no images")
	}
	seen := map[string]bool{}
	for _, image := range r.Images {
		if !regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`).MatchString(image.Name) || seen[image.Name] {
			return problem("image %q: want a name of lower-case letters, digits and dashes, once", image.Name)
		}
		seen[image.Name] = true
		for part, digest := range image.parts() {
			if !regexp.MustCompile(`^[a-z0-9]+(/[a-z0-9]+)*$`).MatchString(part) {
				return problem("image %s: %q is no platform", image.Name, part)
			}
			if _, err := v1.NewHash(digest.String()); err != nil {
				return problem("image %s, %s: %w", image.Name, part, err)
			}
		}
		if r.Registry != "" {
			if _, err := r.reference(image); err != nil {
				return problem("%w", err)
			}
		}
	}
	return nil
}

func (r release) write(dir string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, imagesFile), append(data, '\n'))
}

// sums is what sumsFile should hold: the SHA-256 of every other file of the release, in the form that sha256sum reads.
func sums(dir string) ([]byte, error) {
	var lines []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path == layoutFolder && entry.IsDir():
			return fs.SkipDir
		case entry.IsDir() || path == sumsFile || path == sumsSignature:
			return nil
		case !entry.Type().IsRegular():
			return fmt.Errorf("%s is no file", path)
		}
		data, err := readBounded(filepath.Join(dir, filepath.FromSlash(path)))
		if err != nil {
			return err
		}
		sum := sha256.Sum256(data)
		lines = append(lines, hex.EncodeToString(sum[:])+"  "+path+"\n")
		return nil
	})
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[66:], b[66:]) })
	return []byte(strings.Join(lines, "")), err
}

// checkSums holds the files of a release to sumsFile: none may differ, be missing or be there besides.
func checkSums(dir string) error {
	want, err := readBounded(filepath.Join(dir, sumsFile))
	if err != nil {
		return err
	}
	have, err := sums(dir)
	if err != nil {
		return err
	}
	if bytes.Equal(want, have) {
		return nil
	}
	listed := slices.Collect(strings.Lines(string(want)))
	for line := range strings.Lines(string(have)) {
		if !slices.Contains(listed, line) {
			return fmt.Errorf("%s is not the file that %s lists", strings.TrimSpace(line[66:]), sumsFile)
		}
	}
	return fmt.Errorf("%s lists other files than there are", sumsFile)
}

// readBounded reads a file of a release.
func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxReleaseFile+1))
	if err == nil && len(data) > maxReleaseFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxReleaseFile)
	}
	return data, err
}

// writeFile writes a file of a release, and the folder that it is in, for all to read.
func writeFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // a release is public
		return err
	}
	return os.WriteFile(path, data, 0o644) //nolint:gosec // a release is public
}
