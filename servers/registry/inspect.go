package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/scrub"
)

// defaultPlatform is looked at where an image has several and none is asked for.
const defaultPlatform = "linux/amd64"

// imageView is one platform's image, as far as it is small: manifest and configuration, without layers.
type imageView struct {
	ref      reference
	top      manifest // what the reference names: an index, or the image itself
	manifest manifest
	platform string
	config   *v1.ConfigFile
}

// image resolves a reference for a platform; empty is the default, or the first there is.
func (s *session) image(ctx context.Context, ref reference, wanted string) (imageView, error) {
	top, err := s.manifest(ctx, ref.repository, ref.identifier())
	if err != nil {
		return imageView{}, err
	}
	view := imageView{ref: ref, top: top, manifest: top}
	if top.isIndex() {
		entry, err := pick(ref, top, wanted)
		if err != nil {
			return imageView{}, err
		}
		if err := entry.check(maxManifest); err != nil {
			return imageView{}, err
		}
		view.platform = entry.Platform.String()
		view.manifest, err = s.manifest(ctx, ref.repository, entry.Digest)
		if err != nil {
			return imageView{}, err
		}
		switch {
		case view.manifest.isIndex():
			return imageView{}, fmt.Errorf("%w: an index in an index", errDescriptor)
		case int64(len(view.manifest.body)) != entry.Size:
			return imageView{}, errSize
		}
	}
	data, err := s.blob(ctx, ref.repository, view.manifest.content.Config, maxImageConfig)
	if err != nil {
		return imageView{}, err
	}
	if bytes.Count(data, []byte("{")) > maxObjects {
		return imageView{}, errConfig
	}
	view.config, err = v1.ParseConfigFile(bytes.NewReader(data))
	if err != nil {
		return imageView{}, errConfig
	}
	own := platform{OS: view.config.OS, Architecture: view.config.Architecture, Variant: view.config.Variant}
	if view.platform == "" {
		view.platform = own.String()
	}
	if wanted != "" && !top.isIndex() && !matches(wanted, &own) {
		return imageView{}, mcpserver.Errorf(mcpserver.CodeNotFound, "%s: it is for %s and not for %s", ref, own.String(), wanted)
	}
	return view, nil
}

var errConfig = errors.New("the image's configuration is not in the form of the specification; an artifact that is no container image, perhaps")

// pick returns the entry of an index for a platform.
func pick(ref reference, index manifest, wanted string) (descriptor, error) {
	var names []string
	var first *descriptor
	for _, entry := range index.content.Manifests {
		if entry.isAttestation() {
			continue
		}
		if matches(wanted, entry.Platform) || wanted == "" && matches(defaultPlatform, entry.Platform) {
			return entry, nil
		}
		if first == nil {
			first = &entry
		}
		names = append(names, entry.Platform.String())
	}
	if wanted == "" && first != nil {
		return *first, nil
	}
	return descriptor{}, mcpserver.Errorf(mcpserver.CodeNotFound, "%s: there is nothing for %s; the platforms are %s",
		ref, cmpPlatform(wanted), clip(strings.Join(slices.DeleteFunc(names, func(s string) bool { return s == "" }), ", "), maxUpstreamText))
}

func cmpPlatform(wanted string) string {
	if wanted == "" {
		return "any platform"
	}
	return wanted
}

// matches takes a platform without a variant for any variant.
func matches(wanted string, p *platform) bool {
	return p.String() == wanted || p != nil && p.OS+"/"+p.Architecture == wanted
}

type platformIn struct {
	Reference string `json:"reference" jsonschema:"an image: nginx:1.27, ghcr.io/acme/api@sha256:…" minLength:"1" maxLength:"512"`
	Platform  string `json:"platform,omitempty" jsonschema:"like linux/arm64/v8; if absent linux/amd64, or else the first" maxLength:"64" pattern:"^[a-z0-9]+/[a-z0-9_]+(/[a-z0-9]+)?$"`
}

type inspectImageOut struct {
	Image       string            `json:"image"`  // the reference, in full
	Digest      string            `json:"digest"` // of what the reference names: an index or, for a single platform, the image
	MediaType   string            `json:"media_type"`
	Platforms   []platformLine    `json:"platforms,omitempty"` // of an index; what stores attestations is left out
	Platform    string            `json:"platform,omitempty"`  // the one that the rest is about
	ImageDigest string            `json:"image_digest"`        // of that platform's manifest
	Created     string            `json:"created,omitempty"`   // RFC 3339; absent where the image was built without the time
	SizeBytes   int64             `json:"size_bytes"`          // compressed, of all layers
	Config      configLine        `json:"config"`
	Layers      []layerLine       `json:"layers"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"` // of the image's manifest, and of its index
	Referrers   []referrerLine    `json:"referrers"`             // what refers to the image or its index: signatures, attestations, SBOMs
	Truncated   bool              `json:"truncated"`             // whether a list or a text was cut
}

type platformLine struct {
	Platform  string `json:"platform"`
	OSVersion string `json:"os_version,omitempty"`
	Digest    string `json:"digest"`
}

type configLine struct {
	User         string   `json:"user,omitempty"` // absent is root
	Entrypoint   []string `json:"entrypoint,omitempty"`
	Command      []string `json:"command,omitempty"`
	Environment  []string `json:"environment,omitempty"`
	WorkingDir   string   `json:"working_dir,omitempty"`
	ExposedPorts []string `json:"exposed_ports,omitempty"`
	Volumes      []string `json:"volumes,omitempty"`
	StopSignal   string   `json:"stop_signal,omitempty"`
	HealthCheck  []string `json:"health_check,omitempty"`
}

type layerLine struct {
	Digest      string `json:"digest"`
	SizeBytes   int64  `json:"size_bytes"` // compressed
	MediaType   string `json:"media_type,omitempty"`
	Instruction string `json:"instruction,omitempty"` // what made it, as the image's history tells
}

type referrerLine struct {
	Digest       string `json:"digest"`
	Subject      string `json:"subject"` // which of the two digests above it refers to
	ArtifactType string `json:"artifact_type,omitempty"`
	SizeBytes    int64  `json:"size_bytes,omitempty"` // of its manifest
}

func (s *server) inspectImage(ctx context.Context, in platformIn) (inspectImageOut, error) {
	ref, err := parseReference(in.Reference)
	if err != nil {
		return inspectImageOut{}, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "reference: %w", err)
	}
	asked, end, err := s.begin(ctx)
	if err != nil {
		return inspectImageOut{}, err
	}
	defer end()
	view, err := asked.image(ctx, ref, in.Platform)
	if err != nil {
		return inspectImageOut{}, explain(ref.String(), err)
	}
	referrers, cut, err := asked.referrersOf(ctx, view)
	if err != nil {
		return inspectImageOut{}, explain("what refers to "+ref.String(), err)
	}
	out := view.describe()
	out.Referrers = referrers
	out.Truncated = out.Truncated || cut
	return out, nil
}

// describe says what is known of an image without asking for more.
func (v imageView) describe() inspectImageOut {
	c := v.config.Config
	short := shortener{}
	out := inspectImageOut{
		Image: v.ref.String(), Digest: v.top.digest, MediaType: v.top.mediaType, Platform: v.platform, ImageDigest: v.manifest.digest,
		Config: configLine{
			User: short.text(c.User), Entrypoint: short.list(c.Entrypoint), Command: short.list(c.Cmd), Environment: short.list(c.Env),
			WorkingDir: short.text(c.WorkingDir), ExposedPorts: short.list(slices.Sorted(maps.Keys(c.ExposedPorts))),
			Volumes: short.list(slices.Sorted(maps.Keys(c.Volumes))), StopSignal: short.text(c.StopSignal),
		},
		Layers: []layerLine{}, Labels: short.table(c.Labels),
	}
	if c.Healthcheck != nil {
		out.Config.HealthCheck = short.list(c.Healthcheck.Test)
	}
	annotations := maps.Clone(v.top.content.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	maps.Copy(annotations, v.manifest.content.Annotations)
	out.Annotations = short.table(annotations)
	if created := v.created(); !created.IsZero() {
		out.Created = created.Format(time.RFC3339)
	}
	for _, entry := range v.top.content.Manifests {
		if entry.isAttestation() || len(out.Platforms) == maxShownPlatforms {
			short.cut = short.cut || !entry.isAttestation()
			continue
		}
		line := platformLine{Platform: short.text(entry.Platform.String()), Digest: entry.Digest}
		if entry.Platform != nil {
			line.OSVersion = short.text(entry.Platform.OSVersion)
		}
		out.Platforms = append(out.Platforms, line)
	}
	instructions := v.instructions()
	for i, layer := range v.manifest.content.Layers {
		out.SizeBytes += layer.Size
		if len(out.Layers) == maxShownLayers {
			short.cut = true
			continue
		}
		line := layerLine{Digest: layer.Digest, SizeBytes: layer.Size, MediaType: short.text(layer.MediaType)}
		if i < len(instructions) {
			line.Instruction = short.text(instructions[i].CreatedBy)
		}
		out.Layers = append(out.Layers, line)
	}
	out.Truncated = short.cut
	return out
}

// instructions are the entries of the history that made layers, one for each; nil where the history does not fit.
func (v imageView) instructions() []v1.History {
	var made []v1.History
	for _, h := range v.config.History {
		if !h.EmptyLayer {
			made = append(made, h)
		}
	}
	if len(made) != len(v.manifest.content.Layers) {
		return nil
	}
	return made
}

// created is when the image was built; zero where it does not say, or says the epoch, as reproducible builds do.
func (v imageView) created() time.Time {
	at := v.config.Created.UTC()
	if at.Unix() <= 0 || at.Year() > maxYear {
		return time.Time{}
	}
	return at
}

// shortener cuts what strangers wrote, and remembers that it did.
type shortener struct{ cut bool }

func (s *shortener) text(text string) string {
	s.cut = s.cut || len(text) > maxValue
	return shorten(text, maxValue)
}

// shorten cuts what a stranger wrote. Secrets go first: of the half of one nobody sees any more that it is one.
func shorten(text string, bytes int) string {
	if len(text) > bytes {
		text = clip(scrub.Text(text), bytes)
	}
	return strings.ToValidUTF8(text, "\ufffd")
}

func (s *shortener) list(texts []string) []string {
	s.cut = s.cut || len(texts) > maxValues
	var out []string
	for _, text := range texts[:min(len(texts), maxValues)] {
		out = append(out, s.text(text))
	}
	return out
}

func (s *shortener) table(values map[string]string) map[string]string {
	if len(values) == 0 {
		return nil
	}
	s.cut = s.cut || len(values) > maxValues
	out := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if len(out) < maxValues {
			out[s.text(key)] = s.text(values[key])
		}
	}
	return out
}

// referrersOf lists what refers to an image and to its index.
func (s *session) referrersOf(ctx context.Context, view imageView) ([]referrerLine, bool, error) {
	lines := []referrerLine{}
	cut := false
	subjects := []string{view.top.digest}
	if view.manifest.digest != view.top.digest {
		subjects = append(subjects, view.manifest.digest)
	}
	for _, subject := range subjects {
		found, _, err := s.referrers(ctx, view.ref.repository, subject)
		if err != nil {
			return nil, false, err
		}
		for _, d := range found {
			if len(lines) == maxShownReferrers {
				cut = true
				break
			}
			lines = append(lines, referrerLine{Digest: d.Digest, Subject: subject, ArtifactType: clip(d.ArtifactType, maxValue), SizeBytes: d.Size})
		}
	}
	return lines, cut, nil
}

// referrers asks what refers to a digest (distribution specification, "listing referrers"), and where the registry does not
// know, looks at the tag that stands in for it ("unavailable referrers API"). Signatures that lie under cosign's own tags
// are not among them.
func (s *session) referrers(ctx context.Context, repository name.Repository, digest string) (found []descriptor, how string, err error) {
	how = "api"
	said, err := firstOf(ctx, s, repository, func(e *endpoint) (answer, error) {
		return e.read(ctx, http.MethodGet, "referrers/"+digest, nil, manifestTypes()[:1], maxManifest)
	})
	var status *statusError
	var index manifest
	switch {
	case err == nil:
		said.header.Del(digestHeader) // the list is made for the question; what it says of itself is of no use
		index, err = newManifest(said, "")
		if err != nil {
			return nil, how, err
		}
	case errors.As(err, &status) && status.status < http.StatusInternalServerError && status.status != http.StatusTooManyRequests:
		index, err = s.manifest(ctx, repository, strings.Replace(digest, ":", "-", 1))
		how = "tag"
		if errors.As(err, &status) && status.status == http.StatusNotFound {
			return nil, how, nil
		}
		if err != nil {
			return nil, how, err
		}
	default:
		return nil, how, err
	}
	for _, d := range index.content.Manifests {
		if d.check(maxManifest) == nil {
			found = append(found, d)
		}
	}
	return found, how, nil
}
