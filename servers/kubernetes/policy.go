package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"path"
	"slices"
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
		in := finding.Input{Name: f.Path, Data: f.Data}
		j, err := judgeManifests(ctx, e, in, at, maxServedValues)
		problems := slices.Concat(j.unread, j.unjudged)
		for _, problem := range problems {
			e.Unreadable(unreadable(problem))
		}
		if err != nil {
			break // the report says it
		}
		if j.judged+len(problems) == 0 {
			e.Unreadable(emptyInput(f.Path))
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
		judged := 0
		findings, problem := o.Findings(ctx, inputs, func(ctx context.Context, e *rego.Evaluation, in finding.Input) error {
			n, err := judgePolicies(ctx, e, in)
			judged += n
			return err
		})
		if judged > 0 && errors.Is(err, errNothing) {
			err = nil // what is no object of Kubernetes may be what the policies are about
		}
		report.Findings = append(report.Findings, findings...)
		return report, errors.Join(err, problem)
	}
	return c
}

// judgePolicies is judgeManifests for the check subcommand, which itself says what cannot be read.
func judgePolicies(ctx context.Context, e *rego.Evaluation, in finding.Input) (judged int, err error) {
	at, err := rego.PathOf(in)
	if err != nil {
		return 0, err
	}
	j, err := judgeManifests(ctx, e, in, at, maxCheckValues)
	return j.judged, errors.Join(append(j.unjudged, err)...)
}

// policyJudgement is what the policies came to for one input, beside what the evaluation reports.
type policyJudgement struct {
	evaluation *rego.Evaluation
	document   rego.Document // at hand
	judged     int
	unread     []error // documents that could not be read
	unjudged   []error // what was read, and not judged
}

// judgeManifests judges every document of an input as conftest does, and the items of those that are lists. Its error is
// why it could not go on, which the evaluation reports.
func judgeManifests(ctx context.Context, e *rego.Evaluation, in finding.Input, at string, values int) (policyJudgement, error) {
	j := policyJudgement{evaluation: e}
	var fault error
	j.unread = readDocuments(in.Name, in.Data, values, func(doc *document) bool {
		var content any
		if err := json.Unmarshal(doc.json, &content); err != nil { // into float64, as conftest does
			j.unjudged = append(j.unjudged, &inputError{file: doc.file, line: doc.first, text: "its JSON cannot be read"})
			return true
		}
		hideSecrets(content, "", true)
		j.document = rego.Document{Path: at, File: doc.file, Line: doc.first}
		fault = j.judge(ctx, content, maxListDepth)
		return fault == nil
	})
	return j, fault
}

// judge judges a document or an item of a list, and what is listed in it: as kubectl has it, the items of whatever has
// items, and as conftest has it, those of a document that is itself a list.
func (j *policyJudgement) judge(ctx context.Context, content any, lists int) error {
	j.document.Object, j.document.Value = nameOf(content), content
	if err := j.evaluation.Judge(ctx, j.document); err != nil {
		return err
	}
	j.judged++
	items, _ := content.([]any)
	if list, ok := content.(map[string]any); ok {
		items = itemsOf(list)
	}
	if len(items) > 0 && lists == 0 {
		j.unjudged = append(j.unjudged, &inputError{
			file: j.document.File, line: j.document.Line, text: fmt.Sprintf("too large: lists nested more than %d levels deep", maxListDepth),
		})
		return nil
	}
	for _, item := range items {
		if err := j.judge(ctx, item, lists-1); err != nil {
			return err
		}
	}
	return nil
}

// itemsOf returns the items of a list that are objects. Those of a list of their own kind (PodList) that say nothing of
// themselves are given kind and apiVersion of the list, as kubectl does (decodeToList of apimachinery's unstructured scheme).
func itemsOf(list map[string]any) []any {
	all, _ := list["items"].([]any)
	kind, _ := list["kind"].(string)
	var items []any
	for _, item := range all {
		object, ok := item.(map[string]any)
		if !ok {
			continue
		}
		own, _ := object["kind"].(string)
		version, _ := object["apiVersion"].(string)
		if itemKind := strings.TrimSuffix(kind, "List"); itemKind != "" && own == "" && version == "" {
			object["kind"], object["apiVersion"] = itemKind, list["apiVersion"]
		}
		items = append(items, object)
	}
	return items
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

// hideSecrets takes out of every Secret in content what it holds. Of an object, which is a document or an item of a list,
// that is everything but its type and metadata, and of these the annotation in which kubectl keeps a copy of the whole: a
// field that is misspelled is hidden as well. What only looks like a Secret inside of another object loses its data alone,
// since whoever writes "kind: Secret" into a pod must not hide the pod from a policy. kind is what the list says of its items.
func hideSecrets(content any, kind string, object bool) {
	switch v := content.(type) {
	case map[string]any:
		if own, _ := v["kind"].(string); own != "" {
			kind = own
		}
		if kind == "Secret" {
			hideSecret(v, object)
		}
		for field, value := range v {
			if items, ok := value.([]any); ok && field == "items" {
				hideSecrets(items, strings.TrimSuffix(kind, "List"), object)
				continue
			}
			hideSecrets(value, "", false)
		}
	case []any:
		for _, item := range v {
			hideSecrets(item, kind, object)
		}
	}
}

func hideSecret(secret map[string]any, object bool) {
	for field, value := range secret {
		items, isList := value.([]any)
		switch {
		case field == "metadata":
			metadata, _ := value.(map[string]any)
			if annotations, ok := metadata["annotations"].(map[string]any); ok && annotations[lastApplied] != nil {
				annotations[lastApplied] = hiddenText
			}
		case field == "data":
			secret[field] = hide(value, hiddenData)
		case strings.EqualFold(field, "data"), strings.EqualFold(field, "stringData"):
			secret[field] = hide(value, hiddenText)
		case !object, slices.Contains([]string{"apiVersion", "kind", "type", "immutable"}, field):
		case field == "items" && isList: // kubectl takes each that is an object for one of its own
			for i, item := range items {
				if _, ok := item.(map[string]any); !ok {
					items[i] = hide(item, hiddenText)
				}
			}
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
