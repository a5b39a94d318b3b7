package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/rego"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/workspace"
)

func tools(env mcpserver.Env, policies *rego.Policies) ([]mcpserver.Tool, error) {
	s := server{book: newRuleBook(rules()), workspace: env.Workspace, turn: make(chan struct{}, 1)}
	return []mcpserver.Tool{
		mcpserver.Typed(mcpserver.Definition{
			Name:  "summarize_module",
			Title: "Summarize a Terraform module",
			Description: "Shows what a module requires, calls, takes and returns: versions and how firmly they and module sources are pinned, variables without type, " +
				"description or validation, sensitive outputs, the backend. Pass exactly one of texts and path.",
		}, s.summarizeModule),
		mcpserver.Typed(mcpserver.Definition{
			Name:  "check_config",
			Title: "Check a Terraform configuration",
			Description: "Evaluates a configuration as Terraform would, without providers, state or network (variables, count, for_each, dynamic blocks, local modules), and holds every " +
				"resource against rules for AWS, Google Cloud and Azure and for secrets, pinning and state. Pass exactly one of texts and path. " +
				"Verdict unknown means that the configuration does not say enough, and names the value that was not known. Findings name the resource's address, file, line, attribute and module calls.",
		}, s.checkConfig),
		mcpserver.Typed(mcpserver.Definition{
			Name:  "check_plan",
			Title: "Check a Terraform plan",
			Description: "Says what a plan would do, first what it destroys and replaces and what forces each replacement, and holds the planned resources against the rules of check_config. " +
				"Takes the output of terraform show -json PLANFILE. Pass exactly one of text and path. Sensitive values are never shown.",
		}, s.checkPlan),
		mcpserver.Typed(mcpserver.Definition{
			Name:  "explain_check",
			Title: "Explain a rule",
			Description: "Says what a rule of check_config and check_plan demands, why, how to mend it, and which CIS recommendation and which checkov and trivy rules it is known by. " +
				"Without an id it lists the rules.",
		}, s.explainCheck),
		evaluatePolicyTool(s, policies),
	}, nil
}

type server struct {
	book      *ruleBook
	workspace *workspace.Root // nil without --workspace
	turn      chan struct{}   // holds one while a check runs: two at once need twice the memory
}

// begin waits for the turn; the caller calls end.
func (s server) begin(ctx context.Context) (end func(), err error) {
	select {
	case s.turn <- struct{}{}:
		return func() { <-s.turn }, nil
	case <-ctx.Done():
		return nil, mcpserver.Errorf(mcpserver.CodeBusy, "other checks are running; try again")
	}
}

// source is one file of a configuration.
type source struct {
	Name string `json:"name" jsonschema:"the file's name, with its folder where it is in one: main.tf, modules/net/main.tf" minLength:"1" maxLength:"1024"`
	Text string `json:"text" jsonschema:"what is in it" maxLength:"1048576"`
}

// moduleIn is where a configuration comes from.
type moduleIn struct {
	Texts []source `json:"texts,omitempty" jsonschema:"the files themselves, .tf, .tf.json, .tfvars and what they read" maxItems:"200"`
	Path  string   `json:"path,omitempty" jsonschema:"instead: a folder of the workspace, relative and slash-separated" maxLength:"1024"`
}

// loader opens the configuration that a call names, and returns the folder to begin at.
func (s server) loader(in moduleIn) (*loader, string, error) {
	switch {
	case (len(in.Texts) == 0) == (in.Path == ""):
		return nil, "", mcpserver.Errorf(mcpserver.CodeInvalidArguments, "pass exactly one of texts and path")
	case in.Path == "" && len(in.Texts) > maxTexts:
		return nil, "", mcpserver.Errorf(mcpserver.CodeTooLarge, "texts: more than %d", maxTexts)
	case in.Path == "":
		texts, total := textFiles{}, 0
		for _, t := range in.Texts {
			if total += len(t.Text); total > maxText {
				return nil, "", mcpserver.Errorf(mcpserver.CodeTooLarge, "texts: more than %d bytes in all", maxText)
			}
			if err := texts.add(t.Name, t.Text); err != nil {
				return nil, "", mcpserver.Errorf(mcpserver.CodeInvalidArguments, "texts: %w", err)
			}
		}
		return newLoader(texts), ".", nil
	case s.workspace == nil:
		return nil, "", mcpserver.Errorf(mcpserver.CodeInvalidArguments, "path: this server was started without --workspace; pass the files as texts")
	}
	if _, err := s.workspace.List(in.Path, false); err != nil {
		return nil, "", mcpserver.PathError(err)
	}
	return newLoader(workspaceFiles{root: s.workspace, most: maxFileContent}), path.Clean(in.Path), nil
}

type summarizeModuleIn struct{ moduleIn }

func (s server) summarizeModule(ctx context.Context, in summarizeModuleIn) (summarizeModuleOut, error) {
	end, err := s.begin(ctx)
	if err != nil {
		return summarizeModuleOut{}, err
	}
	defer end()
	l, dir, err := s.loader(in.moduleIn)
	if err != nil {
		return summarizeModuleOut{}, err
	}
	summary, err := l.summarize(dir)
	if err != nil {
		return summarizeModuleOut{}, mcpserver.Errorf(mcpserver.CodeNotFound, "%w", err)
	}
	out := summary.answer()
	for _, e := range l.problems.all {
		out.Problems = append(out.Problems, e.Error())
	}
	return out, nil
}

type checkConfigIn struct {
	moduleIn
	Variables []value `json:"variables,omitempty" jsonschema:"values of the root module's variables, over those of tfvars files" maxItems:"200"`
}

// value is the value of a variable.
type value struct {
	Name  string `json:"name" minLength:"1" maxLength:"256" pattern:"^[A-Za-z_][A-Za-z0-9_-]*$"`
	Value string `json:"value" jsonschema:"as for terraform's -var: the text of a string, an expression of any other type" maxLength:"65536"`
}

type checkConfigOut struct {
	Verdict    finding.Verdict `json:"verdict" enum:"pass,fail,unknown"` // fail if a rule fails, else unknown if something could not be judged, else pass
	Counts     finding.Counts  `json:"counts"`                           // outcomes of rules for resources
	Suppressed int             `json:"suppressed"`                       // findings that comments in the configuration set aside
	Resources  int             `json:"resources"`                        // instances of resources that were judged
	Roots      []string        `json:"roots"`                            // the folders of the root modules that were evaluated
	// what fails, what is unknown, and what is set aside (pass, with the reason), the gravest first where the list is cut
	Findings  []finding.Finding `json:"findings"`
	Truncated bool              `json:"truncated,omitempty"` // the lists were cut; counts and verdict are of everything
}

func (s server) checkConfig(ctx context.Context, in checkConfigIn) (checkConfigOut, error) {
	end, err := s.begin(ctx)
	if err != nil {
		return checkConfigOut{}, err
	}
	defer end()
	l, dir, err := s.loader(in.moduleIn)
	if err != nil {
		return checkConfigOut{}, err
	}
	arguments := map[string]string{}
	for _, v := range in.Variables {
		arguments[v.Name] = v.Value
	}
	r := &report{}
	roots, err := l.judge(ctx, dir, arguments, s.book, r)
	if err != nil {
		return checkConfigOut{}, callError(err)
	}
	out := checkConfigOut{
		Verdict: r.verdict(), Counts: r.counts, Suppressed: r.suppressed, Resources: r.resources, Roots: roots,
		Truncated: r.gravest(maxFindings) || cutTo(&roots),
	}
	out.Roots, out.Findings = roots, append([]finding.Finding{}, r.findings...)
	return out, nil
}

// callError gives an error of a whole check the code that callers go by.
func callError(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return err
	}
	if _, ok := errors.AsType[*noModuleError](err); ok {
		return mcpserver.Errorf(mcpserver.CodeNotFound, "%w", err)
	}
	return mcpserver.PathError(err)
}

// noModuleError says that there is no configuration in a folder: a gate that looks at nothing must not look like one that
// finds nothing.
type noModuleError struct {
	dir   string
	empty bool // there are files, and nothing in them
}

func (e *noModuleError) Error() string {
	if e.empty {
		return fmt.Sprintf("nothing to check: the .tf and .tf.json files in and below %q declare nothing; name the folder of a configuration", e.dir)
	}
	return fmt.Sprintf("nothing to check: no .tf or .tf.json file in or below %q; name the folder of a configuration", e.dir)
}

// judge checks every root module in and below a folder.
func (l *loader) judge(ctx context.Context, dir string, arguments map[string]string, book *ruleBook, r *report) ([]string, error) {
	l.budget.expired = ctx.Err
	roots, others, err := l.roots(dir)
	if err != nil {
		return nil, err
	}
	switch {
	case len(l.declared)+len(l.problems.all) > 0:
	case len(roots)+len(others) == 0:
		return nil, &noModuleError{dir: dir}
	default:
		return nil, &noModuleError{dir: dir, empty: true}
	}
	for _, root := range roots {
		if err := l.checkRoot(ctx, root, arguments, book, r); err != nil {
			return nil, err
		}
	}
	for root, ok := l.unmade(others); ok; root, ok = l.unmade(others) {
		roots = append(roots, root)
		if err := l.checkRoot(ctx, root, arguments, book, r); err != nil {
			return nil, err
		}
	}
	for _, name := range sortedKeys(arguments) {
		if !slices.ContainsFunc(roots, func(root string) bool { return l.modules[root].variables[name] != nil }) {
			l.problems.add(&configError{text: fmt.Sprintf("a value is given for var.%s, which no root module declares", clip(name))})
		}
	}
	slices.Sort(roots)
	l.suppressions(book, r)
	r.unreadable(l.problems)
	r.sort()
	return roots, ctx.Err()
}

type checkPlanIn struct {
	Text string `json:"text,omitempty" jsonschema:"the plan itself: the output of terraform show -json PLANFILE" maxLength:"1048576"`
	Path string `json:"path,omitempty" jsonschema:"instead: a file of the workspace, relative and slash-separated" maxLength:"1024"`
}

type checkPlanOut struct {
	Delta     delta             `json:"expected_delta"`                   // what applying the plan would do
	Verdict   finding.Verdict   `json:"verdict" enum:"pass,fail,unknown"` // fail if a rule fails, else unknown if something could not be judged, else pass
	Counts    finding.Counts    `json:"counts"`                           // outcomes of rules for resources
	Resources int               `json:"resources"`                        // instances of resources that were judged
	Findings  []finding.Finding `json:"findings"`                         // what fails and what is unknown, the gravest first where the list is cut
	Truncated bool              `json:"truncated,omitempty"`              // the list was cut; counts and verdict are of everything
}

func (s server) checkPlan(ctx context.Context, in checkPlanIn) (checkPlanOut, error) {
	end, err := s.begin(ctx)
	if err != nil {
		return checkPlanOut{}, err
	}
	defer end()
	data, name, err := s.planText(in)
	if err != nil {
		return checkPlanOut{}, err
	}
	r := &report{}
	d, err := judgePlan(ctx, name, data, s.book, r)
	if err != nil {
		if _, ok := errors.AsType[*errPlan](err); ok {
			return checkPlanOut{}, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "the plan: %w", err)
		}
		return checkPlanOut{}, err
	}
	out := checkPlanOut{Delta: d, Verdict: r.verdict(), Counts: r.counts, Resources: r.resources, Truncated: r.gravest(maxFindings)}
	out.Findings = append([]finding.Finding{}, r.findings...)
	return out, nil
}

func (s server) planText(in checkPlanIn) (data []byte, name string, err error) {
	switch {
	case (in.Text == "") == (in.Path == ""):
		return nil, "", mcpserver.Errorf(mcpserver.CodeInvalidArguments, "pass exactly one of text and path")
	case in.Text != "":
		return []byte(in.Text), "", nil
	case s.workspace == nil:
		return nil, "", mcpserver.Errorf(mcpserver.CodeInvalidArguments, "path: this server was started without --workspace; pass the plan as text")
	}
	file, err := s.workspace.ReadFile(in.Path, maxServedPlan)
	if err != nil {
		return nil, "", mcpserver.PathError(err)
	}
	return file.Data, strings.ToValidUTF8(file.Path, "\ufffd"), nil
}

// judgePlan checks a plan.
func judgePlan(ctx context.Context, name string, data []byte, book *ruleBook, r *report) (delta, error) {
	p, err := parsePlan(data)
	if err != nil {
		return delta{}, err
	}
	if err := r.judge(ctx, book, p.resources(name)); err != nil {
		return delta{}, err
	}
	d := p.delta()
	r.sort()
	p.hide(r, &d)
	return d, nil
}
