package main

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/workspace"
)

type validateManifestsIn struct {
	Text    string `json:"text,omitempty" jsonschema:"the manifests themselves: YAML or JSON, one or more documents; CustomResourceDefinitions among them count as schemas" maxLength:"1048576"`
	Path    string `json:"path,omitempty" jsonschema:"a file or folder of the workspace, relative and slash-separated; of a folder, every .yaml, .yml and .json below it" maxLength:"1024"`
	Version string `json:"version,omitempty" jsonschema:"the Kubernetes release of the cluster: latest or v1.N" pattern:"^(latest|v1\\.(0|[1-9][0-9]{0,2}))$" maxLength:"8" default:"latest"`
}

type validateManifestsOut struct {
	Version   string            `json:"version" jsonschema:"the release whose schemas were applied"`
	Covers    string            `json:"covers" jsonschema:"what a pass means, and what it does not"`
	Verdict   finding.Verdict   `json:"verdict" jsonschema:"fail if an object fails, else unknown if something could not be judged, else pass" enum:"pass,fail,unknown"`
	Counts    finding.Counts    `json:"counts" jsonschema:"objects by verdict"`
	Findings  []finding.Finding `json:"findings" jsonschema:"what fails and what is unknown"`
	Truncated bool              `json:"truncated,omitempty" jsonschema:"the findings were cut; counts and verdict are of everything"`
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
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return validateManifestsOut{}, mcpserver.Errorf(mcpserver.CodeBusy, "other checks are running; try again")
	}
	files, problems, err := s.inputs(checkPodSecurityIn{Text: in.Text, Path: in.Path})
	if err != nil {
		return validateManifestsOut{}, err
	}
	a := validation{validateManifestsOut{Version: at.String(), Covers: validateCovers, Verdict: finding.Pass, Findings: []finding.Finding{}}}
	for _, problem := range problems {
		a.note(unreadable(problem))
	}
	v := newManifestValidator(structure, at, customKinds{})
	for _, f := range files {
		v.custom.read(f)
	}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return validateManifestsOut{}, err
		}
		a.add(v, f)
	}
	if a.Counts.Pass+a.Counts.Fail+a.Counts.Unknown == 0 && len(a.Findings) == 0 {
		a.note(emptyInput(""))
	}
	return a.validateManifestsOut, nil
}

// read takes the kinds that an input defines. Only one that mentions a CustomResourceDefinition is looked into.
func (c customKinds) read(f workspace.File) {
	if bytes.Contains(f.Data, []byte(crdKind)) {
		// What cannot be read is told when the input is validated.
		_ = readObjects(f.Path, f.Data, maxServedValues, c.add, func(finding.Finding) {})
	}
}

// validation is validateManifestsOut in the making.
type validation struct {
	validateManifestsOut
}

func (a *validation) note(f finding.Finding) {
	a.Verdict = a.Verdict.Worse(f.Verdict)
	if a.Findings = append(a.Findings, f); len(a.Findings) > maxServedKept {
		a.trim()
	}
}

// add validates the objects of one input.
func (a *validation) add(v *manifestValidator, f workspace.File) {
	var all []finding.Finding
	errs := readObjects(f.Path, f.Data, maxServedValues, func(o object) {
		verdict := finding.Pass
		v.validate(o, func(f finding.Finding) {
			verdict = verdict.Worse(f.Verdict)
			all = append(all, f)
		})
		a.Counts.Add(verdict)
	}, func(f finding.Finding) { all = append(all, f) })
	for _, err := range errs {
		all = append(all, unreadable(err))
	}
	sortByPlace(all)
	for _, f := range all {
		a.note(f)
	}
	a.trim()
}

// trim cuts the findings, if there are too many: failures stay before what is unknown, and the gravest first.
func (a *validation) trim() {
	if len(a.Findings) <= maxFindings {
		return
	}
	rank := func(f finding.Finding) int {
		if f.Verdict == finding.Fail {
			return f.Severity.Rank() + finding.Critical.Rank()
		}
		return f.Severity.Rank()
	}
	slices.SortStableFunc(a.Findings, func(a, b finding.Finding) int { return rank(b) - rank(a) })
	a.Findings, a.Truncated = slices.Clone(a.Findings[:maxFindings]), true
}

// unreadable makes a finding of what could not be read, so that the rest is judged all the same.
func unreadable(err error) finding.Finding {
	f := finding.Finding{
		Rule: string(ruleUnreadable), Title: ruleUnreadable.title(), Severity: ruleUnreadable.severity(), Verdict: finding.Unknown,
		Message: "not judged", Reason: strings.ToValidUTF8(err.Error(), "\ufffd"),
	}
	if input, ok := errors.AsType[*inputError](err); ok {
		f.Reason, f.Object = input.text, input.object
		f.Location = finding.Location{File: input.file, Line: input.line}
	}
	return f
}
