package main

import (
	"context"
	"errors"
	"flag"
	"path"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/rego"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/workspace"
)

// evaluatePolicyTool is the tool over the operator's policies; nil policies are none.
func evaluatePolicyTool(s server, policies *rego.Policies) mcpserver.Tool {
	return mcpserver.Typed(mcpserver.Definition{
		Name:  "evaluate_policy",
		Title: "Judge a configuration or a plan by the operator's own policies",
		Description: "Judges Terraform files (as written, each by itself) or a plan (terraform show -json) by the Rego policies that this " +
			"server's operator gave it, as conftest does: rules deny and violation fail, warn warns, exceptions are listed. " +
			"Pass exactly one of text and path. What is marked sensitive is hidden from the policies.",
	}, policyJudge{s, policies}.evaluatePolicy)
}

type policyJudge struct {
	server
	policies *rego.Policies
}

type evaluatePolicyIn struct {
	Text       string   `json:"text,omitempty" jsonschema:"one file: HCL, or the JSON of a plan" maxLength:"1048576"`
	Path       string   `json:"path,omitempty" jsonschema:"a file or folder of the workspace, relative and slash-separated; of a folder, every .tf, .tf.json and .tfvars below it; a .json file is a plan" maxLength:"1024"`
	Namespaces []string `json:"namespaces,omitempty" jsonschema:"the packages of the policies to judge by, or patterns: * is every one" maxItems:"50" maxLength:"256" default:"[\"main\"]"`
}

func (p policyJudge) evaluatePolicy(ctx context.Context, in evaluatePolicyIn) (rego.Report, error) {
	if p.policies == nil {
		return rego.Report{}, mcpserver.Errorf(mcpserver.CodeUnavailable, "%w", rego.ErrNone)
	}
	end, err := p.begin(ctx)
	if err != nil {
		return rego.Report{}, err
	}
	defer end()
	files, problems, err := p.inputs(in)
	if err != nil {
		return rego.Report{}, err
	}
	limits := rego.Served()
	limits.Values = maxPolicyValues
	e, err := p.policies.Start(in.Namespaces, limits)
	if err != nil {
		return rego.Report{}, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "namespaces: %w", err)
	}
	for _, problem := range problems {
		e.Unreadable(unreadable(problem))
	}
	for _, f := range files {
		at := rego.NoFile
		if f.Path != "" {
			at = path.Join(p.workspace.Name(), f.Path)
		}
		content, err := policyForm(f.Path, f.Data, maxPolicyValues)
		if err != nil {
			e.Unreadable(unreadable(err))
			continue
		}
		if e.Judge(ctx, rego.Document{Path: at, File: f.Path, Value: content}) != nil {
			break // the report says it
		}
	}
	return e.Report(), nil
}

// inputs returns what to judge, and what of it could not be read. It fails only if nothing could.
func (p policyJudge) inputs(in evaluatePolicyIn) ([]workspace.File, []error, error) {
	switch {
	case (in.Text == "") == (in.Path == ""):
		return nil, nil, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "pass exactly one of text and path")
	case in.Text != "":
		return []workspace.File{{Data: []byte(in.Text)}}, nil, nil
	case p.workspace == nil:
		return nil, nil, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "path: this server was started without --workspace; pass the file as text")
	}
	if path.Ext(in.Path) == ".json" {
		plan, err := p.workspace.ReadFile(in.Path, maxServedPlan)
		if err != nil {
			return nil, nil, mcpserver.PathError(err)
		}
		return []workspace.File{plan}, nil, nil
	}
	files, err := p.workspace.Read(in.Path, isPolicyInput)
	switch {
	case len(files) == 0 && err != nil:
		return nil, nil, mcpserver.PathError(err)
	case len(files) == 0:
		return nil, nil, mcpserver.Errorf(mcpserver.CodeNotFound, "path: no .tf, .tf.json or .tfvars file below %q", in.Path)
	}
	for i := range files {
		files[i].Path = strings.ToValidUTF8(files[i].Path, "\ufffd")
	}
	return files, workspace.Problems(err), nil
}

// isPolicyInput says whether a file of a folder is judged.
func isPolicyInput(name string) bool {
	return strings.HasSuffix(name, ".tf") || strings.HasSuffix(name, ".tf.json") || strings.HasSuffix(name, ".tfvars")
}

// withPolicies lets a check judge by policies, too, what is at its paths, on standard input, and its plans.
func withPolicies(c finding.Checker, own *checker, o *rego.Options) finding.Checker {
	flags, judge, text, flagged := c.Flags, c.Judge, c.Check, c.Flagged
	more := func(ctx context.Context, findings []finding.Finding, err error, inputs ...finding.Input) ([]finding.Finding, error) {
		found, problem := o.Findings(ctx, inputs, judgePolicies)
		return append(findings, found...), errors.Join(err, problem)
	}
	c.Match = isPolicyInput
	c.Flags = func(set *flag.FlagSet) {
		flags(set)
		o.CheckFlags(set)
	}
	c.Judge = func(ctx context.Context, path string) ([]finding.Finding, error) {
		findings, err := judge(ctx, path)
		if !o.Given() {
			return findings, err
		}
		inputs, problem := c.Inputs(path)
		return more(ctx, findings, errors.Join(err, problem), inputs...)
	}
	c.Check = func(ctx context.Context, in finding.Input) ([]finding.Finding, error) {
		findings, err := text(ctx, in)
		return more(ctx, findings, err, in)
	}
	c.Flagged = func(ctx context.Context) ([]finding.Finding, bool, error) {
		if own.selection.empty() && !o.Given() {
			return nil, true, errors.New("nothing to check: --only and --skip leave no rule")
		}
		findings, named, err := flagged(ctx)
		findings, err = more(ctx, findings, err, own.texts...)
		return findings, named, err
	}
	return c
}

// judgePolicies judges one input of the check subcommand.
func judgePolicies(ctx context.Context, e *rego.Evaluation, in finding.Input) error {
	at, err := rego.PathOf(in)
	if err != nil {
		return err
	}
	content, err := policyForm(in.Name, in.Data, rego.Gate().Values)
	if err != nil {
		return err
	}
	return e.Judge(ctx, rego.Document{Path: at, File: in.Name, Value: content})
}

// unreadable is the finding that an input could not be read.
func unreadable(err error) finding.Finding {
	f := finding.Finding{
		Rule: ruleUnreadable, Title: ownRules()[0].Title, Severity: ownRules()[0].Severity,
		Message: "not judged", Reason: strings.ToValidUTF8(err.Error(), "\ufffd"),
	}
	if problem, ok := errors.AsType[*configError](err); ok {
		f.Reason, f.Location = problem.text, problem.place
	}
	return f
}
