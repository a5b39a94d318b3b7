package main

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
)

// component is a path component of a repository's name, as the distribution specification has it. The name library lets
// "." and ".." through, which would climb in a URL's path.
var component = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)

// tagName and digestName are the forms of what a reference may end in (distribution specification, "pulling manifests").
var (
	tagName    = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	digestName = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// dockerHub is how references to Docker Hub are written; the name library calls its registry by a host's name.
const dockerHub = "docker.io"

// reference is a parsed reference to an image.
type reference struct {
	written    string // the repository as it was written: nginx
	repository name.Repository
	tag        string // empty where none is written
	digest     string // empty where none is written
}

// parseReference reads every form that a docker command takes.
func parseReference(text string) (reference, error) {
	repository, err := parseRepository(text)
	if err != nil {
		return reference{}, err
	}
	rest, digest, pinned := strings.Cut(text, "@")
	if pinned && !digestName.MatchString(digest) {
		return reference{}, fmt.Errorf("%q: after @ stands a digest, sha256: and 64 hexadecimal digits", clip(text, maxReference))
	}
	ref := reference{written: rest, repository: repository, digest: digest}
	if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, '/') {
		ref.written, ref.tag = rest[:i], rest[i+1:]
		if !tagName.MatchString(ref.tag) {
			return reference{}, fmt.Errorf("%q: %q is no tag", clip(text, maxReference), clip(ref.tag, maxReference))
		}
	}
	return ref, nil
}

// parseRepository reads the repository of a reference, which may have a tag and a digest.
func parseRepository(text string) (name.Repository, error) {
	refused := fmt.Errorf("%q is no image reference; write NAME[:TAG][@DIGEST], with the registry's host before it unless it is Docker Hub", clip(text, maxReference))
	if len(text) > maxReference || strings.ContainsAny(text, " \t\r\n") {
		return name.Repository{}, refused
	}
	parsed, err := name.ParseReference(text)
	if err != nil {
		return name.Repository{}, refused
	}
	for part := range strings.SplitSeq(parsed.Context().RepositoryStr(), "/") {
		if !component.MatchString(part) {
			return name.Repository{}, refused
		}
	}
	if host := parsed.Context().RegistryStr(); !hostForm.MatchString(host) {
		return name.Repository{}, refused
	}
	return parsed.Context(), nil
}

// hostForm is a registry's host. What the way out lets through decides about the rest.
var hostForm = regexp.MustCompile(`^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?$`)

// hostOf returns a registry's name as references have it.
func hostOf(registry name.Registry) string {
	if registry.RegistryStr() == name.DefaultRegistry {
		return dockerHub
	}
	return registry.RegistryStr()
}

// fullName is a repository's name with its registry.
func fullName(repository name.Repository) string {
	return hostOf(repository.Registry) + "/" + repository.RepositoryStr()
}

// String is the reference in full: registry, repository, tag and digest.
func (r reference) String() string {
	text := fullName(r.repository)
	if r.tag != "" {
		text += ":" + r.tag
	}
	if r.digest != "" {
		text += "@" + r.digest
	}
	return text
}

// effectiveTag is the tag that docker would take: latest where neither a tag nor a digest is written. It is empty where
// only a digest is.
func (r reference) effectiveTag() string {
	if r.tag == "" && r.digest == "" {
		return name.DefaultTag
	}
	return r.tag
}

// identifier is what the reference names in the API: its digest if it has one.
func (r reference) identifier() string {
	if r.digest != "" {
		return r.digest
	}
	return r.effectiveTag()
}

// pinned writes the reference, with its repository as it was written, to another tag at a digest.
func (r reference) pinned(tag, digest string) string {
	text := r.written
	if tag != "" {
		text += ":" + tag
	}
	return text + "@" + digest
}

// clip returns text, at most bytes long, cut between two characters.
func clip(text string, bytes int) string {
	if len(text) <= bytes {
		return text
	}
	return strings.ToValidUTF8(text[:bytes], "") + "…"
}
