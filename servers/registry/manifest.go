package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/types"
)

// digestHeader names what an answer is about (distribution specification, "pulling manifests").
const digestHeader = "Docker-Content-Digest"

// manifestTypes are the manifests that are understood.
func manifestTypes() []string {
	return []string{string(types.OCIImageIndex), string(types.OCIManifestSchema1), string(types.DockerManifestList), string(types.DockerManifestSchema2)}
}

// descriptor is OCI's (image specification, "descriptors"), what of it is used.
type descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	ArtifactType string            `json:"artifactType"`
	Annotations  map[string]string `json:"annotations"`
	Platform     *platform         `json:"platform"`
}

type platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant"`
	OSVersion    string `json:"os.version"`
}

// String is os/architecture, with the variant if there is one.
func (p *platform) String() string {
	if p == nil || p.OS == "" {
		return ""
	}
	text := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		text += "/" + p.Variant
	}
	return text
}

// Why content is not what was said of it.
var (
	errDigest     = errors.New("the content has another digest than it is asked for by; it was changed, or the registry lies")
	errSize       = errors.New("the content has another size than its descriptor says")
	errDescriptor = errors.New("a descriptor in the manifest makes no sense")
	errSchema     = errors.New("the manifest is of a kind that is not understood (of Docker's schema 1, perhaps); push the image again with a current tool")
)

// check says whether a descriptor can be followed.
func (d descriptor) check(maxBytes int64) error {
	switch {
	case !digestName.MatchString(d.Digest) || d.Size < 0:
		return errDescriptor
	case d.Size > maxBytes:
		return &sizeError{bytes: d.Size, most: maxBytes}
	}
	return nil
}

func (d descriptor) verify(body []byte) error {
	switch {
	case int64(len(body)) != d.Size:
		return errSize
	case digestOf(body) != d.Digest:
		return errDigest
	}
	return nil
}

// sizeError says that something is larger than is taken.
type sizeError struct{ bytes, most int64 }

func (e *sizeError) Error() string {
	return fmt.Sprintf("it has %d bytes, more than the %d that are taken", e.bytes, e.most)
}

func digestOf(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func newHash() hash.Hash { return sha256.New() }

// manifest is an image's manifest or an index of such.
type manifest struct {
	mediaType string
	digest    string
	body      []byte
	content   manifestContent
}

// manifestContent holds the members of both an image manifest and an image index.
type manifestContent struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        descriptor        `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Manifests     []descriptor      `json:"manifests"`
	Subject       *descriptor       `json:"subject"`
	Annotations   map[string]string `json:"annotations"`
}

// newManifest reads an answer. The digest is computed; what the registry says of it must agree.
func newManifest(said answer, identifier string) (manifest, error) {
	m := manifest{body: said.body, digest: digestOf(said.body)}
	claimed := said.header.Get(digestHeader)
	if strings.HasPrefix(identifier, "sha256:") && m.digest != identifier || strings.HasPrefix(claimed, "sha256:") && m.digest != claimed {
		return manifest{}, errDigest
	}
	if bytes.Count(said.body, []byte("{")) > maxObjects {
		return manifest{}, fmt.Errorf("%w: it has more than %d objects", errDescriptor, maxObjects)
	}
	if err := json.Unmarshal(said.body, &m.content); err != nil || m.content.SchemaVersion != 2 {
		return manifest{}, errSchema
	}
	m.mediaType, _, _ = mime.ParseMediaType(said.header.Get("Content-Type"))
	// A manifest that says what it is must not be read as something else because of a header.
	if m.content.MediaType != "" {
		m.mediaType = m.content.MediaType
	}
	index := types.MediaType(m.mediaType).IsIndex()
	switch {
	case !index && !types.MediaType(m.mediaType).IsImage():
		return manifest{}, errSchema
	case index && (len(m.content.Layers) > 0 || m.content.Config.Digest != ""), !index && len(m.content.Manifests) > 0:
		return manifest{}, fmt.Errorf("%w: it is an index and an image at once", errDescriptor)
	case len(m.content.Layers) > maxLayers || len(m.content.Manifests) > maxPlatforms:
		return manifest{}, fmt.Errorf("%w: it lists more than %d layers or %d platforms", errDescriptor, maxLayers, maxPlatforms)
	}
	return m, nil
}

func (m manifest) isIndex() bool { return types.MediaType(m.mediaType).IsIndex() }

// isAttestation says whether an index entry is no platform: BuildKit stores attestations as images of unknown/unknown.
func (d descriptor) isAttestation() bool {
	return d.Platform != nil && d.Platform.OS == "unknown" || d.Annotations["vnd.docker.reference.type"] != ""
}

// verified is a stream that ends in an error if it is not what its descriptor says.
type verified struct {
	body io.ReadCloser
	want descriptor
	hash hash.Hash
	read int64
	end  func()
}

func (v *verified) Read(p []byte) (int, error) {
	n, err := v.body.Read(p)
	v.read += int64(n)
	_, _ = v.hash.Write(p[:n])
	switch {
	case v.read > v.want.Size:
		return 0, errSize
	case errors.Is(err, io.EOF) && v.read != v.want.Size:
		return n, errSize
	case errors.Is(err, io.EOF) && "sha256:"+hex.EncodeToString(v.hash.Sum(nil)) != v.want.Digest:
		return n, errDigest
	}
	return n, err
}

func (v *verified) Close() error {
	defer v.end()
	return v.body.Close()
}

// decodeNames reads a list's page, whose names are in one member.
func decodeNames(body []byte, member string) ([]string, error) {
	var page map[string]json.RawMessage
	if err := json.Unmarshal(body, &page); err != nil {
		return nil, errList
	}
	var names []string
	if raw := page[member]; raw != nil {
		if err := json.Unmarshal(raw, &names); err != nil {
			return nil, errList
		}
	}
	return names, nil
}

var errList = errors.New("the registry's list is not in the form of the specification")
