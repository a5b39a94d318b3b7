package main

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// component is a path component of a repository's name, as the distribution specification has it. The name
// library lets "." and ".." through, which would climb in a URL's path.
var component = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)

// tagName is a tag's name (distribution specification, "pulling manifests").
var tagName = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

// hubRegistry is how references to Docker Hub are written in answers.
const hubRegistry = "docker.io"

// reference is a parsed reference to something on Docker Hub.
type reference struct {
	namespace, name string
	tag             string // empty where the reference names none
	digest          digest // empty where the reference names none
}

// parseReference reads every form that a docker command takes: "nginx", "nginx:1.27", "acme/api@sha256:…",
// "docker.io/library/nginx:1.27@sha256:…". A reference to another registry is an error.
func parseReference(text string) (reference, error) {
	parsed, err := name.ParseReference(text)
	if err != nil {
		return reference{}, fmt.Errorf("%q is no image reference; write a repository as NAME, NAMESPACE/NAME or docker.io/NAMESPACE/NAME", text)
	}
	if registry := parsed.Context().RegistryStr(); !slices.Contains([]string{name.DefaultRegistry, "registry-1.docker.io"}, registry) {
		return reference{}, fmt.Errorf("%q is at the registry %s; this server knows Docker Hub (%s) alone", text, registry, hubRegistry)
	}
	parts := strings.Split(parsed.Context().RepositoryStr(), "/")
	if len(parts) != 2 || !component.MatchString(parts[0]) || !component.MatchString(parts[1]) {
		return reference{}, fmt.Errorf("%q is no repository of Docker Hub; they are NAMESPACE/NAME, in lower case, official images library/NAME", text)
	}
	ref := reference{namespace: parts[0], name: parts[1]}
	// The library drops a tag that stands before a digest, and adds "latest" where there is none.
	unpinned, pin, _ := strings.Cut(text, "@")
	tag, err := name.NewTag(unpinned, name.WithDefaultTag(""))
	if err != nil {
		return reference{}, fmt.Errorf("%q: %w", text, err)
	}
	ref.tag, ref.digest = tag.TagStr(), digest(pin)
	if ref.tag != "" && !tagName.MatchString(ref.tag) {
		return reference{}, fmt.Errorf("%q: %q is no tag", text, ref.tag)
	}
	return ref, nil
}

// String is the repository's full name.
func (r reference) String() string { return hubRegistry + "/" + r.namespace + "/" + r.name }

// wantedTag returns the tag that is asked for: asked itself, the reference's own, or "latest" as docker has it.
func (r reference) wantedTag(asked string) (string, error) {
	switch {
	case asked != "" && r.tag != "" && asked != r.tag:
		return "", fmt.Errorf("%q, but the reference names the tag %q; pass one of them", asked, r.tag)
	case asked != "":
		return asked, nil
	case r.tag != "":
		return r.tag, nil
	case r.digest != "":
		return "", errors.New("the reference has a digest and no tag; Docker Hub's API finds tags by name only, so name one")
	default:
		return name.DefaultTag, nil
	}
}

// wantedDigest returns the digest that is asked for: asked itself, or the reference's own.
func (r reference) wantedDigest(asked string) (digest, error) {
	switch wanted := cmp.Or(digest(asked), r.digest); {
	case wanted == "":
		return "", errors.New("which one? pass it, or a reference that has one: nginx@sha256:…")
	case r.digest != "" && wanted != r.digest:
		return "", fmt.Errorf("%s, but the reference names %s; pass one of them", wanted, r.digest)
	case !digestForm.MatchString(string(wanted)):
		return "", fmt.Errorf("%s is no whole digest; sha256 has 64 hexadecimal digits, sha512 has 128", wanted)
	default:
		return wanted, nil
	}
}
