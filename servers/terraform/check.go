package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/rego"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/version"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/workspace"
)

// checker is the check subcommand.
type checker struct {
	book      *ruleBook
	stdin     *os.File
	plans     []string        // as --plan names them
	texts     []finding.Input // those that could be read: standard input is there once
	arguments map[string]string
	selection selection
}

// stdinPlan is what --plan names standard input by.
const stdinPlan = "-"

func newChecker(policies *rego.Options) finding.Checker {
	c := &checker{book: newRuleBook(rules()), stdin: os.Stdin, arguments: map[string]string{}}
	return withPolicies(finding.Checker{
		Tool:    "terraform",
		Version: version.String(),
		Rules:   allRules(),
		Judge:   c.judge,
		Check:   c.text,
		Flagged: c.judgePlans,
		Flags: func(fs *flag.FlagSet) {
			fs.Func("plan", "check a plan, too: a `FILE` with the output of terraform show -json, or - for standard input (repeatable)", func(s string) error {
				if s == stdinPlan && slices.Contains(c.plans, s) {
					return errReadOnce
				}
				c.plans = append(c.plans, s)
				return nil
			})
			choose := func(list *[]string) func(string) error {
				return func(s string) error {
					rules, err := parseRules(s)
					*list = append(*list, rules...)
					return err
				}
			}
			fs.Func("only", "hold the inputs to these `rules` alone: ids, or THEME/*, separated by commas (repeatable)", choose(&c.selection.only))
			fs.Func("skip", "leave out these `rules`, in the same form (repeatable)", choose(&c.selection.skip))
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
	folder, file := name, ""
	if !info.IsDir() {
		if !isSource(name) {
			return nil, fmt.Errorf("%s: neither a folder nor a .tf or .tf.json file (a plan is named by --plan)", name)
		}
		folder, file = filepath.Split(name)
		folder = filepath.Clean(folder)
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
		if none, ok := errors.AsType[*noModuleError](err); ok {
			none.dir = folder // as it is named, and not as it is seen from the top
		}
		return nil, err
	}
	if file != "" && !l.looked(path.Join(dir, file)) {
		return nil, fmt.Errorf("%s: nothing to check: it declares nothing", name)
	}
	findings, problems := r.split()
	findings = c.selection.of(findings)
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
	if slices.Contains(c.plans, stdinPlan) {
		return nil, errReadOnce
	}
	if bytes.HasPrefix(bytes.TrimSpace(in.Data), []byte("{")) {
		return nil, errors.New("standard input: JSON, where a configuration in HCL is wanted; write it to a file whose name ends in .tf.json, " +
			"or say --plan - if it is a plan")
	}
	files := textFiles{}
	if err := files.add("stdin.tf", string(in.Data)); err != nil {
		return nil, err
	}
	l := newLoader(files)
	r := &report{passes: true}
	if _, err := l.judge(ctx, ".", c.arguments, c.book, r); err != nil {
		if _, ok := errors.AsType[*noModuleError](err); ok {
			err = errors.New("standard input: nothing to check: it declares nothing")
		}
		return nil, err
	}
	findings, problems := r.split()
	return c.selection.of(findings), problems
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

// errReadOnce says that standard input is asked for twice.
var errReadOnce = errors.New("standard input (-) can be read once")

// judgePlans checks the plans that --plan names.
func (c *checker) judgePlans(ctx context.Context) (findings []finding.Finding, named bool, err error) {
	var errs []error
	for _, name := range c.plans {
		in, err := c.readPlan(name)
		if err == nil {
			c.texts = append(c.texts, in)
			r := &report{passes: true}
			if _, err = judgePlan(ctx, in.Name, in.Data, c.book, r); err == nil {
				findings = append(findings, c.selection.of(r.findings)...)
			}
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", in.Name, err))
		}
	}
	return findings, len(c.plans) > 0, errors.Join(errs...)
}

// readPlan reads a plan that --plan names.
func (c *checker) readPlan(name string) (in finding.Input, err error) {
	if name == stdinPlan {
		in.Name = finding.Stdin
		if info, err := c.stdin.Stat(); err == nil && info.Mode()&fs.ModeCharDevice != 0 {
			return in, errors.New("nothing is piped into it: pipe the output of `terraform show -json PLANFILE` into it")
		}
		in.Data, err = limit.ReadAll(c.stdin, maxCheckPlan)
		return in, err
	}
	in.Name = name
	target, err := filepath.EvalSymlinks(name)
	if err != nil {
		return in, err
	}
	root, err := workspace.Open(filepath.Dir(target))
	if err != nil {
		return in, err
	}
	defer func() { _ = root.Close() }()
	file, err := root.ReadFile(filepath.Base(target), maxCheckPlan)
	in.Data = file.Data
	return in, err
}
