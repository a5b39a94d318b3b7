package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/rego"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/version"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/workspace"
)

// checker is the check subcommand.
type checker struct {
	book      *ruleBook
	plans     []string
	arguments map[string]string
}

func newChecker(policies *rego.Options) finding.Checker {
	c := &checker{book: newRuleBook(rules()), arguments: map[string]string{}}
	return withPolicies(finding.Checker{
		Tool:    "terraform",
		Version: version.String(),
		Rules:   allRules(),
		Judge:   c.judge,
		Check:   c.text,
		Flagged: c.judgePlans,
		Flags: func(fs *flag.FlagSet) {
			fs.Func("plan", "check a plan, too: a `FILE` with the output of terraform show -json (repeatable)", func(s string) error {
				if s == "-" {
					return errors.New("want a file: write the output of terraform show -json to one")
				}
				c.plans = append(c.plans, s)
				return nil
			})
			fs.Func("var", "a value of a root module's variable: `NAME=VALUE` (repeatable)", func(s string) error {
				name, value, ok := strings.Cut(s, "=")
				if !ok || name == "" {
					return errors.New("want NAME=VALUE")
				}
				c.arguments[name] = value
				return nil
			})
		},
	}, c, policies)
}

// allRules are the rules as the check subcommand's forms have them.
func allRules() []finding.Rule {
	out := ownRules()
	for _, rule := range rules() {
		out = append(out, finding.Rule{ID: rule.ID, Title: rule.Title, Severity: rule.Severity, Help: rule.Why + " " + rule.Fix})
	}
	return out
}

// judge checks the modules in and below a folder, or what a single file makes with those beside it.
func (c *checker) judge(ctx context.Context, name string) ([]finding.Finding, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	folder := name
	if !info.IsDir() {
		if !isSource(name) {
			return nil, fmt.Errorf("%s: neither a folder nor a .tf or .tf.json file (a plan is named by --plan)", name)
		}
		folder = filepath.Dir(name)
	}
	// A module is often called from beside the folder, so that what is below the current folder counts as the workspace.
	top, dir := folder, "."
	if filepath.IsLocal(folder) {
		top, dir = ".", filepath.ToSlash(filepath.Clean(folder))
	}
	if dir != "." {
		if target, err := filepath.EvalSymlinks(folder); err != nil || filepath.Clean(target) != filepath.Clean(folder) {
			top, dir = folder, "."
		}
	}
	root, err := workspace.Open(top)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	l := newLoader(workspaceFiles{root: root, most: finding.MaxInput})
	r := &report{passes: true}
	if _, err := l.judge(ctx, dir, c.arguments, c.book, r); err != nil {
		return nil, err
	}
	findings, problems := r.split()
	for i := range findings {
		findings[i].Location.File = filepath.Join(top, findings[i].Location.File)
	}
	if !info.IsDir() {
		findings = slices.DeleteFunc(findings, func(f finding.Finding) bool { return filepath.Clean(f.Location.File) != filepath.Clean(name) })
	}
	return findings, problems
}

// text checks a configuration of one file, from standard input.
func (c *checker) text(ctx context.Context, in finding.Input) ([]finding.Finding, error) {
	if bytes.HasPrefix(bytes.TrimSpace(in.Data), []byte("{")) {
		return nil, errors.New("standard input: JSON, where a configuration in HCL is wanted; write it to a file, whose name ends in .tf.json, " +
			"or which --plan names if it is a plan")
	}
	files := textFiles{}
	if err := files.add("stdin.tf", string(in.Data)); err != nil {
		return nil, err
	}
	l := newLoader(files)
	r := &report{passes: true}
	if _, err := l.judge(ctx, ".", c.arguments, c.book, r); err != nil {
		return nil, err
	}
	return r.split()
}

// split parts what could not be read from the findings: the check subcommand has an exit code of its own for that.
func (r *report) split() ([]finding.Finding, error) {
	var errs []error
	findings := slices.DeleteFunc(r.findings, func(f finding.Finding) bool {
		if f.Rule != ruleUnreadable {
			return false
		}
		errs = append(errs, &configError{place: f.Location, text: f.Reason})
		return true
	})
	return findings, errors.Join(errs...)
}

// judgePlans checks the plans that --plan names.
func (c *checker) judgePlans(ctx context.Context) (findings []finding.Finding, named bool, err error) {
	var errs []error
	for _, name := range c.plans {
		found, err := c.judgePlan(ctx, name)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
		findings = append(findings, found...)
	}
	return findings, len(c.plans) > 0, errors.Join(errs...)
}

func (c *checker) judgePlan(ctx context.Context, name string) ([]finding.Finding, error) {
	data, err := readPlan(name)
	if err != nil {
		return nil, err
	}
	r := &report{passes: true}
	if _, err := judgePlan(ctx, name, data, c.book, r); err != nil {
		return nil, err
	}
	return r.findings, nil
}

// readPlan reads a plan that --plan names.
func readPlan(name string) ([]byte, error) {
	target, err := filepath.EvalSymlinks(name)
	if err != nil {
		return nil, err
	}
	root, err := workspace.Open(filepath.Dir(target))
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	file, err := root.ReadFile(filepath.Base(target), maxCheckPlan)
	return file.Data, err
}
