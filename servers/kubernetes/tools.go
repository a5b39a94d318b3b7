package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/pod-security-admission/api"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/rego"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/workspace"
)

func tools(env mcpserver.Env, policies *rego.Policies) ([]mcpserver.Tool, error) {
	e, err := newEvaluator()
	if err != nil {
		return nil, err
	}
	s := server{evaluator: e, workspace: env.Workspace, turn: make(chan struct{}, 1)}
	return []mcpserver.Tool{
		mcpserver.Typed(mcpserver.Definition{
			Name:  "check_pod_security",
			Title: "Check manifests against the Pod Security Standards",
			Description: "Judges Kubernetes manifests as the API server's Pod Security admission would, without a cluster. " +
				"Takes every workload kind with a pod template, several documents, and lists. " +
				"Pass exactly one of text and path. Each finding names object, container, field, line and what would satisfy the standard; " +
				"verdict unknown means that the manifest does not say enough, and why.",
		}, s.checkPodSecurity),
		evaluatePolicyTool(s, policies),
	}, nil
}

type server struct {
	evaluator *evaluator
	workspace *workspace.Root // nil without --workspace
	turn      chan struct{}   // holds one while a check runs: two at once need twice the memory
}

type checkPodSecurityIn struct {
	Text    string `json:"text,omitempty" jsonschema:"the manifests themselves: YAML or JSON, one or more documents" maxLength:"1048576"`
	Path    string `json:"path,omitempty" jsonschema:"a file or folder of the workspace, relative and slash-separated; of a folder, every .yaml, .yml and .json below it" maxLength:"1024"`
	Level   string `json:"level,omitempty" jsonschema:"the level to hold the pods to" enum:"privileged,baseline,restricted" default:"restricted"`
	Version string `json:"version,omitempty" jsonschema:"the Kubernetes release whose standards count: latest or v1.N" pattern:"^(latest|v1\\.(0|[1-9][0-9]{0,2}))$" maxLength:"8" default:"latest"`
}

type checkPodSecurityOut struct {
	Level     string            `json:"level"`
	Version   string            `json:"version" jsonschema:"the release whose standards were applied"`
	Verdict   finding.Verdict   `json:"verdict" jsonschema:"fail if an object fails, else unknown if something could not be judged, else pass" enum:"pass,fail,unknown"`
	Counts    finding.Counts    `json:"counts" jsonschema:"objects by verdict"`
	Objects   []objectVerdict   `json:"objects" jsonschema:"the objects that have pods"`
	Findings  []finding.Finding `json:"findings" jsonschema:"what fails and what is unknown"`
	Skipped   []string          `json:"skipped" jsonschema:"kinds without pods, which were not judged, with their number"`
	Truncated bool              `json:"truncated,omitempty" jsonschema:"the lists were cut; counts and verdict are of everything"`
}

type objectVerdict struct {
	Object  string          `json:"object"`
	File    string          `json:"file,omitempty"`
	Verdict finding.Verdict `json:"verdict" enum:"pass,fail,unknown"`
}

func (s server) checkPodSecurity(ctx context.Context, in checkPodSecurityIn) (checkPodSecurityOut, error) {
	v, err := s.evaluator.version(in.Version)
	if err != nil {
		return checkPodSecurityOut{}, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "%w", err)
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return checkPodSecurityOut{}, mcpserver.Errorf(mcpserver.CodeBusy, "other checks are running; try again")
	}
	files, problems, err := s.inputs(in)
	if err != nil {
		return checkPodSecurityOut{}, err
	}
	c := checker{evaluator: s.evaluator, level: api.Level(in.Level), version: in.Version, values: maxServedValues, kept: maxServedKept}
	answer := newAnswer(in.Level, v.String())
	for _, problem := range problems {
		answer.unreadable(problem)
	}
	for _, f := range files {
		out, err := c.evaluate(ctx, f.Path, f.Data)
		if err != nil {
			return checkPodSecurityOut{}, err
		}
		answer.add(out)
		answer.trim()
	}
	return answer.finish(), nil
}

// inputs returns what to judge, and what of it could not be read. It fails only if nothing could.
func (s server) inputs(in checkPodSecurityIn) ([]workspace.File, []error, error) {
	switch {
	case (in.Text == "") == (in.Path == ""):
		return nil, nil, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "pass exactly one of text and path")
	case len(in.Text) > maxText:
		return nil, nil, mcpserver.Errorf(mcpserver.CodeTooLarge, "text: %w: more than %d bytes", limit.ErrTooLarge, maxText)
	case in.Text != "":
		return []workspace.File{{Data: []byte(in.Text)}}, nil, nil
	case s.workspace == nil:
		return nil, nil, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "path: this server was started without --workspace; pass the manifests as text")
	}
	files, err := s.workspace.Read(in.Path, isManifest)
	switch {
	case len(files) == 0 && err != nil:
		return nil, nil, mcpserver.PathError(err)
	case len(files) == 0:
		return nil, nil, mcpserver.Errorf(mcpserver.CodeNotFound, "path: no .yaml, .yml or .json file below %q", in.Path)
	}
	for i := range files {
		files[i].Path = strings.ToValidUTF8(files[i].Path, "\ufffd")
	}
	return files, workspace.Problems(err), nil
}

// answer is checkPodSecurityOut in the making.
type answer struct {
	out     checkPodSecurityOut
	skipped map[string]int
	empty   bool // no object so far
}

func newAnswer(level, version string) *answer {
	return &answer{
		out: checkPodSecurityOut{
			Level: level, Version: version, Verdict: finding.Pass,
			Objects: []objectVerdict{}, Findings: []finding.Finding{}, Skipped: []string{},
		},
		skipped: map[string]int{},
		empty:   true,
	}
}

func (a *answer) note(f finding.Finding) {
	a.out.Verdict = a.out.Verdict.Worse(f.Verdict)
	a.out.Findings = append(a.out.Findings, f)
}

// unreadable notes what could not be read as a finding, so that the rest is judged all the same.
func (a *answer) unreadable(err error) {
	a.note(unreadable(err))
}

func (a *answer) add(out outcome) {
	first := len(a.out.Findings)
	for _, err := range out.errs {
		a.unreadable(err)
	}
	for _, f := range out.findings {
		a.note(f)
	}
	for _, v := range out.verdicts {
		a.out.Counts.Add(v.verdict)
		if a.out.Objects = append(a.out.Objects, objectVerdict{v.object.String(), v.object.doc.file, v.verdict}); len(a.out.Objects) > maxListed {
			a.out.Objects, a.out.Truncated = a.out.Objects[:maxListed], true
		}
		for _, f := range v.findings {
			a.note(f)
		}
	}
	sortByPlace(a.out.Findings[first:])
	for _, kind := range slices.Sorted(maps.Keys(out.skipped)) {
		n := out.skipped[kind]
		if _, known := a.skipped[kind]; !known && len(a.skipped) >= maxSkipped-1 {
			kind, a.out.Truncated = "other kinds", true
		}
		a.skipped[kind] += n
	}
	a.empty = a.empty && len(out.verdicts) == 0 && len(out.skipped) == 0
}

func (a *answer) finish() checkPodSecurityOut {
	if a.empty && len(a.out.Findings) == 0 {
		a.note(emptyInput(""))
	}
	for _, kind := range slices.Sorted(maps.Keys(a.skipped)) {
		a.out.Skipped = append(a.out.Skipped, fmt.Sprintf("%s: %d", kind, a.skipped[kind]))
	}
	a.trim()
	return a.out
}

// trim cuts the findings, if there are too many: failures stay before what is unknown, and the gravest first.
func (a *answer) trim() {
	if len(a.out.Findings) <= maxFindings {
		return
	}
	rank := func(f finding.Finding) int {
		if f.Verdict == finding.Fail {
			return f.Severity.Rank() + finding.Critical.Rank()
		}
		return f.Severity.Rank()
	}
	slices.SortStableFunc(a.out.Findings, func(a, b finding.Finding) int { return rank(b) - rank(a) })
	a.out.Findings, a.out.Truncated = slices.Clone(a.out.Findings[:maxFindings]), true
}
