package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"k8s.io/pod-security-admission/api"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/workspace"
)

func tools(env mcpserver.Env, own *options) ([]mcpserver.Tool, error) {
	policies, err := own.policies.Load()
	if err != nil {
		return nil, err
	}
	e, err := newEvaluator()
	if err != nil {
		return nil, err
	}
	custom, err := readCustomKinds(own.schemas)
	if err != nil {
		return nil, fmt.Errorf("--schemas %s: %w", own.schemas, err)
	}
	s := server{evaluator: e, schemas: sync.OnceValues(loadSchemas), custom: custom, workspace: env.Workspace, turn: make(chan struct{}, 1)}
	return []mcpserver.Tool{
		mcpserver.Typed(mcpserver.Definition{
			Name:  "check_pod_security",
			Title: "Check manifests against the Pod Security Standards",
			Description: "Judges Kubernetes manifests as the API server's Pod Security admission would, without a cluster. " +
				"Takes every workload kind with a pod template, several documents, and lists. A Namespace among them decides by its labels for its pods, unless level is given. " +
				"Pass exactly one of text and path. Each finding names object, container, field, line and what would satisfy the standard; " +
				"verdict unknown means that the manifest does not say enough, and why.",
		}, s.checkPodSecurity),
		mcpserver.Typed(validateDefinition(), s.validateManifests),
		mcpserver.Typed(mcpserver.Definition{
			Name:  "lint_manifests",
			Title: "Lint manifests",
			Description: "Holds Kubernetes manifests to what kube-linter, the CIS benchmark and NSA's guidance ask beside Pod Security: images, resources, probes, secrets, " +
				"service accounts, RBAC, network policies, disruption budgets, references between objects and more. " +
				"Pass exactly one of text and path; objects that belong together belong in one call. " +
				"Verdict unknown means that it depends on what may be in the cluster. explain_check says why a rule is there.",
		}, s.lintManifests),
		mcpserver.Typed(mcpserver.Definition{
			Name:        "explain_check",
			Title:       "Explain a rule",
			Description: "Says of a rule that findings name why it is there, how to satisfy it, and where it comes from; without id it lists all rules.",
		}, s.explainCheck),
		evaluatePolicyTool(s, policies),
	}, nil
}

type server struct {
	evaluator *evaluator
	schemas   func() (*schemas, error) // read when they are first needed
	custom    customKinds              // that the operator mounted
	workspace *workspace.Root          // nil without --workspace
	turn      chan struct{}            // holds one while a check runs: two at once need twice the memory
}

type checkPodSecurityIn struct {
	Text    string `json:"text,omitempty" jsonschema:"the manifests themselves: YAML or JSON, one or more documents" maxLength:"1048576"`
	Path    string `json:"path,omitempty" jsonschema:"a file or folder of the workspace, relative and slash-separated; of a folder, every .yaml, .yml and .json below it" maxLength:"1024"`
	Level   string `json:"level,omitempty" jsonschema:"the level to hold all pods to; without it what their Namespace enforces, if it is among the manifests, else restricted" enum:"privileged,baseline,restricted"`
	Version string `json:"version,omitempty" jsonschema:"the Kubernetes release whose standards count, latest or v1.N; without it what the Namespace states, else latest" pattern:"^(latest|v1\\.(0|[1-9][0-9]{0,2}))$" maxLength:"8"`
}

type checkPodSecurityOut struct {
	Level     string            `json:"level"`                                                     // the level of pods whose Namespace states none
	Version   string            `json:"version"`                                                   // the release whose standards were applied to them
	Strictest string            `json:"strictest,omitempty" enum:"privileged,baseline,restricted"` // the strictest level that all pods meet which could be judged
	Verdict   finding.Verdict   `json:"verdict" enum:"pass,fail,unknown"`                          // fail if an object fails, else unknown if something could not be judged, else pass
	Counts    finding.Counts    `json:"counts"`                                                    // objects by verdict
	Objects   []objectVerdict   `json:"objects"`                                                   // the objects that have pods
	Findings  []finding.Finding `json:"findings"`                                                  // what fails and what is unknown
	Skipped   []string          `json:"skipped"`                                                   // kinds without pods, which were not judged, with their number
	Truncated bool              `json:"truncated,omitempty"`                                       // the lists were cut; counts and verdict are of everything
}

type objectVerdict struct {
	Object    string          `json:"object"`
	File      string          `json:"file,omitempty"`
	Verdict   finding.Verdict `json:"verdict" enum:"pass,fail,unknown"`
	Level     string          `json:"level,omitempty"` // what its Namespace enforces
	Version   string          `json:"version,omitempty"`
	Strictest string          `json:"strictest,omitempty"` // the strictest level that it meets
}

func (s server) checkPodSecurity(ctx context.Context, in checkPodSecurityIn) (checkPodSecurityOut, error) {
	c := checker{evaluator: s.evaluator, pods: true, level: api.Level(in.Level), version: in.Version, values: maxServedValues, kept: maxServedKept}
	version, err := s.evaluator.version(cmp.Or(in.Version, "latest"))
	if err != nil {
		return checkPodSecurityOut{}, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "%w", err)
	}
	r, a, err := s.judge(ctx, &c, in.Text, in.Path)
	if err != nil {
		return checkPodSecurityOut{}, err
	}
	out := checkPodSecurityOut{
		Level: cmp.Or(in.Level, string(api.LevelRestricted)), Version: version.String(),
		Verdict: a.verdict, Counts: r.counts(), Objects: []objectVerdict{}, Findings: a.findings, Skipped: a.skipped, Truncated: a.truncated,
	}
	worst := api.Level("")
	for _, o := range r.subjects {
		if !o.judged {
			continue
		}
		if o.pod.strictest != "" && (worst == "" || api.CompareLevels(o.pod.strictest, worst) < 0) {
			worst = o.pod.strictest
		}
		if len(out.Objects) == maxListed {
			out.Truncated = true
			continue
		}
		v := objectVerdict{Object: o.name, File: o.file, Verdict: o.verdict, Strictest: string(o.pod.strictest)}
		if applied := o.pod.applied; o.pod.stated {
			v.Level, v.Version = string(applied.Level), applied.Version.String()
		}
		out.Objects = append(out.Objects, v)
	}
	out.Strictest = string(worst)
	return out, nil
}

type lintManifestsIn struct {
	Text     string           `json:"text,omitempty" jsonschema:"as in check_pod_security" maxLength:"1048576"`
	Path     string           `json:"path,omitempty" jsonschema:"as in check_pod_security" maxLength:"1024"`
	Only     []string         `json:"only,omitempty" jsonschema:"rules to hold the manifests to, by id, or THEME/* for a theme; without it all" maxItems:"50" maxLength:"64"`
	Skip     []string         `json:"skip,omitempty" jsonschema:"rules to leave out, in the same form" maxItems:"50" maxLength:"64"`
	Severity finding.Severity `json:"severity,omitempty" jsonschema:"the least severity to report" enum:"low,medium,high,critical" default:"low"`
}

type lintManifestsOut struct {
	Verdict   finding.Verdict   `json:"verdict" enum:"pass,fail,unknown"`
	Counts    finding.Counts    `json:"counts"`              // objects by verdict
	Findings  []finding.Finding `json:"findings"`            // what fails and what is unknown, the gravest kept
	Skipped   []string          `json:"skipped"`             // kinds that no rule is about, with their number
	Truncated bool              `json:"truncated,omitempty"` // the lists were cut; counts and verdict are of everything
}

func (s server) lintManifests(ctx context.Context, in lintManifestsIn) (lintManifestsOut, error) {
	for _, rule := range slices.Concat(in.Only, in.Skip) {
		if err := ruleIDs().Check(rule); err != nil {
			return lintManifestsOut{}, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "%w", err)
		}
	}
	c := checker{
		lint: lintRules(), selection: selection{only: in.Only, skip: in.Skip, least: in.Severity}, values: maxServedValues, kept: maxServedKept,
	}
	r, a, err := s.judge(ctx, &c, in.Text, in.Path)
	if err != nil {
		return lintManifestsOut{}, err
	}
	return lintManifestsOut{Verdict: a.verdict, Counts: r.counts(), Findings: a.findings, Skipped: a.skipped, Truncated: a.truncated}, nil
}

// judge runs a check over the inputs that a caller names, when it is its turn.
func (s server) judge(ctx context.Context, c *checker, text, path string) (*run, *reply, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, nil, mcpserver.Errorf(mcpserver.CodeBusy, "other checks are running; try again")
	}
	files, problems, err := s.inputs(text, path)
	if err != nil {
		return nil, nil, err
	}
	inputs := make([]finding.Input, len(files))
	for i, f := range files {
		inputs[i] = finding.Input{Name: f.Path, Data: f.Data}
	}
	c.structure = s.schemas
	r, err := c.start(inputs)
	if err != nil {
		return nil, nil, err
	}
	a := &reply{verdict: finding.Pass, findings: []finding.Finding{}, skipped: []string{}}
	for _, problem := range problems {
		a.note(unreadable(problem))
	}
	for _, in := range inputs {
		findings, errs, err := r.read(ctx, in)
		if err != nil {
			return nil, nil, err
		}
		for _, err := range errs {
			findings = append(findings, unreadable(err))
		}
		sortByPlace(findings)
		a.truncated = a.truncated || r.cut
		a.note(findings...)
	}
	a.note(r.finish()...)
	a.truncated = a.truncated || r.cut
	a.finish(r, inputs)
	return r, a, nil
}

// inputs returns what to judge, and what of it could not be read. It fails only if nothing could.
func (s server) inputs(text, path string) ([]workspace.File, []error, error) {
	switch {
	case (text == "") == (path == ""):
		return nil, nil, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "pass exactly one of text and path")
	case len(text) > maxText:
		return nil, nil, mcpserver.Errorf(mcpserver.CodeTooLarge, "text: %w: more than %d bytes", limit.ErrTooLarge, maxText)
	case text != "":
		return []workspace.File{{Data: []byte(text)}}, nil, nil
	case s.workspace == nil:
		return nil, nil, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "path: this server was started without --workspace; pass the manifests as text")
	}
	files, err := s.workspace.Read(path, isManifest)
	switch {
	case len(files) == 0 && err != nil:
		return nil, nil, mcpserver.PathError(err)
	case len(files) == 0:
		return nil, nil, mcpserver.Errorf(mcpserver.CodeNotFound, "path: no .yaml, .yml or .json file below %q", path)
	}
	for i := range files {
		files[i].Path = strings.ToValidUTF8(files[i].Path, "\ufffd")
	}
	return files, workspace.Problems(err), nil
}

// reply is what a tool answers, in the making.
type reply struct {
	verdict   finding.Verdict
	findings  []finding.Finding
	skipped   []string
	truncated bool
}

func (a *reply) note(findings ...finding.Finding) {
	for _, f := range findings {
		if f.Object == "" || f.Rule == string(ruleUnreadable) { // the verdict on an object knows of the others
			a.verdict = a.verdict.Worse(f.Verdict)
		}
	}
	a.findings = append(a.findings, findings...)
	a.trim(maxServedKept)
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

// finish completes the answer with what the run knows at its end.
func (a *reply) finish(r *run, inputs []finding.Input) {
	if len(r.subjects) == 0 && len(a.findings) == 0 {
		a.note(emptyInput(""))
	}
	for _, s := range r.subjects {
		a.verdict = a.verdict.Worse(s.verdict)
	}
	kinds := slices.Sorted(maps.Keys(r.skipped))
	others := 0
	for i, kind := range kinds {
		if len(kinds) > maxSkipped && i >= maxSkipped-1 {
			others += r.skipped[kind]
			continue
		}
		a.skipped = append(a.skipped, fmt.Sprintf("%s: %d", kind, r.skipped[kind]))
	}
	if others > 0 {
		a.skipped, a.truncated = append(a.skipped, fmt.Sprintf("other kinds: %d", others)), true
	}
	if len(a.findings) > maxFindings {
		a.trim(maxFindings)
	} else {
		sortByFile(a.findings, inputs)
	}
}

// trim cuts the findings, if there are too many: failures stay before what is unknown, and the gravest first.
func (a *reply) trim(most int) {
	if len(a.findings) <= most {
		return
	}
	rank := func(f finding.Finding) int {
		if f.Verdict == finding.Fail {
			return f.Severity.Rank() + finding.Critical.Rank()
		}
		return f.Severity.Rank()
	}
	slices.SortStableFunc(a.findings, func(a, b finding.Finding) int { return rank(b) - rank(a) })
	a.findings, a.truncated = slices.Clone(a.findings[:most]), true
}
