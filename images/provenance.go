package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
)

// buildType says how to read our provenance: the image NAME is what `images build` makes, at the revision, of version and
// base, with the toolchain.
const buildType = sourceURL + "/images/build/v1"

// provenance is the predicate https://slsa.dev/provenance/v1, with the names of its specification.
type provenance struct {
	BuildDefinition buildDefinition `json:"buildDefinition"`
	RunDetails      runDetails      `json:"runDetails"`
}

type buildDefinition struct {
	BuildType            string     `json:"buildType"`
	ExternalParameters   parameters `json:"externalParameters"`
	ResolvedDependencies []resource `json:"resolvedDependencies"`
}

// parameters, with the commit, are all that decides an image.
type parameters struct {
	Image     string   `json:"image"`
	Source    string   `json:"source"`
	Revision  string   `json:"revision"`
	Version   string   `json:"version"`
	Base      string   `json:"base,omitempty"`
	Platforms []string `json:"platforms"`
	Go        string   `json:"go"`
}

type resource struct {
	URI    string            `json:"uri"`
	Digest map[string]string `json:"digest"`
}

type runDetails struct {
	Builder  builder  `json:"builder"`
	Metadata metadata `json:"metadata,omitzero"`
}

type builder struct {
	ID string `json:"id"`
}

type metadata struct {
	InvocationID string `json:"invocationId,omitempty"`
}

// provenanceOf is what we say of an image of the release.
func provenanceOf(r release, image string) provenance {
	said := parameters{Image: image, Source: r.Source, Revision: r.Revision, Version: r.Version, Base: r.Base, Go: r.Go}
	for _, platform := range releasePlatforms() {
		said.Platforms = append(said.Platforms, platform.String())
	}
	dependencies := []resource{sourceOf(said)}
	if _, digest, ok := strings.Cut(r.Base, "@sha256:"); ok {
		dependencies = append(dependencies, resource{URI: "docker://" + r.Base, Digest: map[string]string{"sha256": digest}})
	}
	return provenance{
		BuildDefinition: buildDefinition{BuildType: buildType, ExternalParameters: said, ResolvedDependencies: dependencies},
		RunDetails:      whoRuns(),
	}
}

// sourceOf is the commit that the parameters name.
func sourceOf(p parameters) resource {
	return resource{URI: "git+" + p.Source + "@" + p.Revision, Digest: map[string]string{"gitCommit": p.Revision}}
}

// whoRuns names the workflow that runs this and its run, as GitHub tells them; elsewhere, only that it is a machine of
// whoever holds the key.
func whoRuns() runDetails {
	host, workflow := os.Getenv("GITHUB_SERVER_URL"), os.Getenv("GITHUB_WORKFLOW_REF")
	if host == "" || workflow == "" {
		return runDetails{Builder: builder{ID: sourceURL + "/images#by-hand"}}
	}
	run := fmt.Sprintf("%s/%s/actions/runs/%s/attempts/%s",
		host, os.Getenv("GITHUB_REPOSITORY"), os.Getenv("GITHUB_RUN_ID"), os.Getenv("GITHUB_RUN_ATTEMPT"))
	return runDetails{Builder: builder{ID: host + "/" + workflow}, Metadata: metadata{InvocationID: run}}
}

// expectation is what the provenance of an image must say; an empty string may be anything.
type expectation struct {
	image, version, revision string
}

// check says what p, which somebody who may sign has said of an image, does not meet.
func (e expectation) check(p provenance) error {
	if p.BuildDefinition.BuildType != buildType {
		return fmt.Errorf("it tells of another kind of build: %q", p.BuildDefinition.BuildType)
	}
	said := p.BuildDefinition.ExternalParameters
	for _, c := range []struct{ what, want, have string }{
		{"source", sourceURL, said.Source},
		{"image", e.image, said.Image},
		{"version", e.version, said.Version},
		{"revision", e.revision, said.Revision},
	} {
		if c.want != "" && c.have != c.want {
			return fmt.Errorf("it tells of the %s %q, and not %q", c.what, c.have, c.want)
		}
	}
	source := sourceOf(said)
	if !slices.ContainsFunc(p.BuildDefinition.ResolvedDependencies, func(r resource) bool {
		return r.URI == source.URI && maps.Equal(r.Digest, source.Digest)
	}) {
		return fmt.Errorf("it does not name the commit %q among what the image was built from", said.Revision)
	}
	return nil
}
