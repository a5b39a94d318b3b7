package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/rego"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/workspace"
)

type validateManifestsIn struct {
	Text    string `json:"text,omitempty" jsonschema:"the manifests themselves: YAML or JSON, one or more documents; CustomResourceDefinitions among them are schemas of their kinds" maxLength:"1048576"`
	Path    string `json:"path,omitempty" jsonschema:"as in check_pod_security" maxLength:"1024"`
	Version string `json:"version,omitempty" jsonschema:"the Kubernetes release of the cluster: latest or v1.N" pattern:"^(latest|v1\\.(0|[1-9][0-9]{0,2}))$" maxLength:"8" default:"latest"`
}

type validateManifestsOut struct {
	Version   string            `json:"version"`                          // the release whose schemas were applied
	Covers    string            `json:"covers"`                           // what a pass means, and what it does not
	Verdict   finding.Verdict   `json:"verdict" enum:"pass,fail,unknown"` // fail if an object fails, else unknown if something could not be judged, else pass
	Counts    finding.Counts    `json:"counts"`                           // objects by verdict
	Findings  []finding.Finding `json:"findings"`                         // what fails and what is unknown, the gravest kept
	Truncated bool              `json:"truncated,omitempty"`              // the findings were cut; counts and verdict are of everything
}

// validateCovers says what validate_manifests answers for.
const validateCovers = "decoding: whether an API server that is strict about fields can read each object, and whether the fields that its schema " +
	"requires are there. Not covered is what only the server's own validation tells, such as values that it does not allow, names, and " +
	"fields that do not go together; nor admission."

func validateDefinition() mcpserver.Definition {
	return mcpserver.Definition{
		Name:  "validate_manifests",
		Title: "Validate manifests against the schemas of a Kubernetes release",
		Description: "Finds unknown, duplicate, misspelled, mistyped and missing fields, and API versions that are removed or deprecated, with what replaces them, " +
			"as the strict decoding of an API server would, without a cluster. CustomResourceDefinitions in the same input, or mounted by the operator, are schemas of their kinds. " +
			"Pass exactly one of text and path. It answers for decoding, not for the server's own validation of values.",
	}
}

func (s server) validateManifests(ctx context.Context, in validateManifestsIn) (validateManifestsOut, error) {
	structure, err := s.schemas()
	if err != nil {
		return validateManifestsOut{}, err
	}
	at, err := structure.release(in.Version)
	if err != nil {
		return validateManifestsOut{}, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "%w", err)
	}
	c := checker{schemas: structure, release: at, custom: s.custom, values: maxServedValues, kept: maxServedKept}
	r, a, err := s.judge(ctx, &c, in.Text, in.Path)
	if err != nil {
		return validateManifestsOut{}, err
	}
	return validateManifestsOut{
		Version: at.String(), Covers: validateCovers, Verdict: a.verdict, Counts: r.counts(), Findings: a.findings, Truncated: a.truncated,
	}, nil
}

// options are the settings of this server alone.
type options struct {
	schemas  string
	policies rego.Options
}

func (o *options) flags(set *flag.FlagSet) {
	set.StringVar(&o.schemas, "schemas", "", "`folder` of CustomResourceDefinitions, which are the schemas of their kinds; it is read once, at start")
	o.policies.Flag(set)
}

// read takes the kinds that an input defines. Only one that mentions a CustomResourceDefinition is looked into; what is wrong with it
// is told where it is judged.
func (c customKinds) read(in finding.Input, values int) (errs []error) {
	if bytes.Contains(in.Data, []byte(crdKind)) {
		errs = readObjects(in.Name, in.Data, values, c.add, func(finding.Finding) {})
	}
	return errs
}

// readCustomKinds reads a folder of CustomResourceDefinitions; "" is none.
func readCustomKinds(folder string) (customKinds, error) {
	kinds := customKinds{}
	if folder == "" {
		return kinds, nil
	}
	root, err := workspace.Open(folder)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	files, err := root.Read(".", isManifest)
	errs := []error{err}
	for _, f := range files {
		errs = append(errs, kinds.read(finding.Input{Name: f.Path, Data: f.Data}, maxCheckValues)...)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if len(kinds) == 0 {
		return nil, fmt.Errorf("no CustomResourceDefinition of %s in it", crdAPIVersion)
	}
	for k, kind := range kinds {
		if kind.shape == nil {
			return nil, fmt.Errorf("the CustomResourceDefinition of %s cannot be used: %s", k, kind.reason)
		}
	}
	return kinds, nil
}
