package rego

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/workspace"
)

// mainNamespace is the package that is judged where none is named, as with conftest.
const mainNamespace = "main"

// Options are the flags of a server, and of its check subcommand, that are about policies.
type Options struct {
	dir        string
	policies   *Policies // of check, once they are loaded
	broken     bool      // they could not be loaded, which was said once
	namespaces []string  // of check; empty is mainNamespace
}

// Flag declares --policies.
func (o *Options) Flag(set *flag.FlagSet) {
	set.StringVar(&o.dir, "policies", "", "`folder` of conftest policies (.rego, Rego v1) and, below its folder data, their data; read once, at start")
}

// Load reads the policies of --policies; without the flag there are none, and that is no error.
func (o *Options) Load() (*Policies, error) {
	if o.dir == "" {
		return nil, nil //nolint:nilnil // nil policies are none, and tools say so with ErrNone
	}
	return Load(o.dir)
}

// Given says whether there is a --policies.
func (o *Options) Given() bool { return o.dir != "" }

// ErrNone is what a tool says where there are no policies.
var ErrNone = errors.New("this server was started without --policies, and so has no policies to judge by")

// CheckFlags declares --policies and --namespace.
func (o *Options) CheckFlags(set *flag.FlagSet) {
	o.Flag(set)
	set.Func("namespace", "`package` of the policies to judge by, or a pattern: '*' is every one (repeatable; default "+mainNamespace+")", func(s string) error {
		o.namespaces = append(o.namespaces, strings.Split(s, ",")...)
		return nil
	})
}

// Findings judges inputs of a check subcommand by the policies, if there are any, each with limits of its own. judge
// hands the documents of one input to the evaluation.
func (o *Options) Findings(ctx context.Context, inputs []finding.Input, judge func(ctx context.Context, e *Evaluation, in finding.Input) error) ([]finding.Finding, error) {
	if o.dir == "" {
		if len(o.namespaces) > 0 {
			return nil, errors.New("--namespace goes with --policies")
		}
		return nil, nil
	}
	if o.broken {
		return nil, nil
	}
	if o.policies == nil {
		var err error
		if o.policies, err = o.Load(); err != nil {
			o.broken = true
			return nil, err
		}
	}
	namespaces := o.namespaces
	if len(namespaces) == 0 {
		namespaces = []string{mainNamespace}
	}
	var findings []finding.Finding
	var problems []error
	for _, in := range inputs {
		e, err := o.policies.Start(namespaces, Gate())
		if err != nil {
			return findings, fmt.Errorf("--policies %s: %w", o.dir, err)
		}
		for _, err := range workspace.Problems(judge(ctx, e, in)) {
			problems = append(problems, fmt.Errorf("%s: not judged by the policies: %w", in.Name, err))
		}
		for _, u := range e.unjudged { // which must not let an input through that makes it so
			problems = append(problems, fmt.Errorf("%s: %s: not judged: %s", in.Name, u.rule.id(), u.reason))
		}
		report := e.Report()
		if e.dropped { // and with them, perhaps, what is grave enough to fail
			problems = append(problems, fmt.Errorf("%s: too large: more than %d findings of policies, or than %d of one rule about a document; split the input",
				in.Name, Gate().Findings, maxRuleResults))
		}
		for _, f := range report.Findings {
			findings = append(findings, f.Finding)
		}
	}
	return findings, errors.Join(problems...)
}

// PathOf is the path of a check's input as policies see it: absolute, and conftest's name for standard input.
func PathOf(in finding.Input) (string, error) {
	if in.Name == finding.Stdin {
		return filepath.Abs(NoFile)
	}
	return filepath.Abs(in.Name)
}
