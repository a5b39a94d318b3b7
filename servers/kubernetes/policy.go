package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"path"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/rego"
)

// evaluatePolicyTool is the tool over the operator's policies; nil policies are none.
func evaluatePolicyTool(s server, policies *rego.Policies) mcpserver.Tool {
	return mcpserver.Typed(mcpserver.Definition{
		Name:  "evaluate_policy",
		Title: "Judge manifests by the operator's own policies",
		Description: "Judges each object of Kubernetes manifests by the Rego policies that this server's operator gave it, as conftest does: " +
			"rules deny and violation fail, warn warns, exceptions are listed. " +
			"Pass exactly one of text and path. What a Secret holds is hidden from the policies, and the items of a List are judged one by one, too.",
	}, policyJudge{s, policies}.evaluatePolicy)
}

type policyJudge struct {
	server
	policies *rego.Policies
}

type evaluatePolicyIn struct {
	Text       string   `json:"text,omitempty" jsonschema:"the manifests themselves: YAML or JSON, one or more documents" maxLength:"1048576"`
	Path       string   `json:"path,omitempty" jsonschema:"a file or folder of the workspace, relative and slash-separated; of a folder, every .yaml, .yml and .json below it" maxLength:"1024"`
	Namespaces []string `json:"namespaces,omitempty" jsonschema:"the packages of the policies to judge by, or patterns: * is every one" maxItems:"50" maxLength:"256" default:"[\"main\"]"`
}

func (p policyJudge) evaluatePolicy(ctx context.Context, in evaluatePolicyIn) (rego.Report, error) {
	if p.policies == nil {
		return rego.Report{}, mcpserver.Errorf(mcpserver.CodeUnavailable, "%w", rego.ErrNone)
	}
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return rego.Report{}, mcpserver.Errorf(mcpserver.CodeBusy, "other checks are running; try again")
	}
	files, problems, err := p.inputs(in.Text, in.Path)
	if err != nil {
		return rego.Report{}, err
	}
	e, err := p.policies.Start(in.Namespaces, rego.Served())
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
		errs, err := judgeManifests(ctx, e, finding.Input{Name: f.Path, Data: f.Data}, at, maxServedValues)
		for _, problem := range errs {
			e.Unreadable(unreadable(problem))
		}
		if err != nil {
			break // the report says it
		}
	}
	return e.Report(), nil
}

// withPolicies lets a check judge its inputs by policies, too.
func withPolicies(c finding.Checker, o *rego.Options) finding.Checker {
	flags, check := c.Flags, c.CheckAll
	c.Flags = func(set *flag.FlagSet) {
		flags(set)
		o.CheckFlags(set)
	}
	c.CheckAll = func(ctx context.Context, inputs []finding.Input) (finding.Report, error) {
		report, err := check(ctx, inputs)
		findings, problem := o.Findings(ctx, inputs, judgePolicies)
		report.Findings = append(report.Findings, findings...)
		return report, errors.Join(err, problem)
	}
	return c
}

// judgePolicies is judgeManifests for the check subcommand, which itself says what cannot be read.
func judgePolicies(ctx context.Context, e *rego.Evaluation, in finding.Input) error {
	at, err := rego.PathOf(in)
	if err != nil {
		return err
	}
	_, err = judgeManifests(ctx, e, in, at, maxCheckValues)
	return err
}

// judgeManifests judges every document of an input as conftest does, and the items of those that are lists. It
// returns what could not be read, and why it could not go on.
func judgeManifests(ctx context.Context, e *rego.Evaluation, in finding.Input, at string, values int) ([]error, error) {
	var fault error
	errs := readDocuments(in.Name, in.Data, values, func(doc *document) bool {
		var content any
		if fault = json.Unmarshal(doc.json, &content); fault != nil { // into float64, as conftest does
			return false
		}
		hideSecrets(content)
		d := rego.Document{Path: at, File: doc.file, Line: doc.first}
		fault = judgeValue(ctx, e, d, content, maxListDepth)
		return fault == nil
	})
	return errs, fault
}

func judgeValue(ctx context.Context, e *rego.Evaluation, d rego.Document, content any, lists int) error {
	d.Object, d.Value = nameOf(content), content
	if err := e.Judge(ctx, d); err != nil {
		return err
	}
	list, _ := content.(map[string]any)
	items, _ := list["items"].([]any)
	if kind, _ := list["kind"].(string); !strings.HasSuffix(kind, "List") || lists == 0 {
		return nil
	}
	for _, item := range items {
		if err := judgeValue(ctx, e, d, item, lists-1); err != nil {
			return err
		}
	}
	return nil
}

// nameOf names an object as findings do.
func nameOf(content any) string {
	fields, _ := content.(map[string]any)
	o := object{}
	o.kind, _ = fields["kind"].(string)
	if o.kind == "" {
		return ""
	}
	o.kind = shorten(o.kind)
	metadata, err := json.Marshal(fields["metadata"])
	if err != nil {
		return o.kind
	}
	o.setName(metadata)
	return o.String()
}

// What stands in place of a Secret's values: policies see which there are, and that they are not empty.
const (
	hiddenText = "redacted"
	hiddenData = "cmVkYWN0ZWQ=" // in base64
)

// hideSecrets takes out of every Secret in content what it holds: everything but its type and metadata, and of
// these the annotation in which kubectl keeps a copy of the whole. A field that is misspelled is hidden as well.
func hideSecrets(content any) {
	switch v := content.(type) {
	case map[string]any:
		switch v["kind"] {
		case "Secret":
			hideSecret(v)
		case "SecretList":
			items, _ := v["items"].([]any)
			for _, item := range items {
				if secret, ok := item.(map[string]any); ok {
					hideSecret(secret)
				}
			}
		}
		for _, value := range v {
			hideSecrets(value)
		}
	case []any:
		for _, item := range v {
			hideSecrets(item)
		}
	}
}

func hideSecret(secret map[string]any) {
	for field, value := range secret {
		switch field {
		case "apiVersion", "kind", "type", "immutable":
		case "metadata":
			metadata, _ := value.(map[string]any)
			if annotations, ok := metadata["annotations"].(map[string]any); ok && annotations[lastApplied] != nil {
				annotations[lastApplied] = hiddenText
			}
		case "data":
			secret[field] = hide(value, hiddenData)
		default:
			secret[field] = hide(value, hiddenText)
		}
	}
}

const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// hide replaces every value in v that is not empty, and leaves the keys.
func hide(v any, by string) any {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		if v == "" {
			return v
		}
		return by
	case map[string]any:
		for key, value := range v {
			v[key] = hide(value, by)
		}
		return v
	case []any:
		for i, item := range v {
			v[i] = hide(item, by)
		}
		return v
	default:
		return by
	}
}
