package finding

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/workspace"
)

// MaxInput is how many bytes check reads of standard input, or of a file that is named on the command line.
const MaxInput = workspace.MaxTotal

// The exit codes of Command.
const (
	exitClean  = 0 // nothing at or above the threshold
	exitFail   = 1 // a violation at or above the threshold
	exitBroken = 2 // an input that could not be read, or wrong usage
)

// Stdin is the name of what came on standard input.
const Stdin = "stdin"

// Input is one file, or what came on standard input.
type Input struct {
	Name string // as it is to be reported
	Data []byte
}

// Checker is what a policy server gives the check subcommand.
type Checker struct {
	Tool, Version string
	Rules         []Rule
	Flags         func(fs *flag.FlagSet)                                 // the checker's own flags; may be nil
	Check         func(ctx context.Context, in Input) ([]Finding, error) // may return both; the error names file and line
	Match         func(path string) bool                                 // which files of a folder are inputs

	// CheckAll stands in place of Check where one input may say something about another. It may return both.
	CheckAll func(ctx context.Context, inputs []Input) (Report, error)
	// Judge takes the place of Check and Match where an input is more than a file: it checks what is at a path of the
	// command line. Standard input comes to Check even so.
	Judge func(ctx context.Context, path string) ([]Finding, error)
	// Flagged checks what the checker's own flags name, and says whether they name anything: then no path is needed.
	Flagged func(ctx context.Context) (findings []Finding, named bool, err error)
}

// Report is what the inputs of a run came to.
type Report struct {
	Findings []Finding
	Objects  *Counts // the objects that were judged, each counted once; nil where findings are all there is
}

type options struct {
	format string
	failOn Severity
	strict bool
	paths  []string
}

// report is all that one run has to say.
type report struct {
	Report
	errs []error
}

// Command runs `NAME check [options] PATH…|-` and returns the exit code: 2 if the usage is wrong or an input
// could not be read (the others are still checked, and their findings written), else 1 if a violation is at
// or above the threshold (with --strict an unknown verdict too), else 0.
func (c Checker) Command(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	opts, err := c.parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitClean
	case err != nil:
		return exitBroken
	}
	r, checked := c.run(ctx, opts.paths, stdin)
	if !checked {
		_, _ = fmt.Fprintf(stderr, "%s check: %v\n", c.Tool, errNoPath)
		return exitBroken
	}
	err = c.write(stdout, opts.format, r)
	for _, problem := range r.errs {
		_, _ = fmt.Fprintf(stderr, "%s check: %s\n", c.Tool, printable(problem.Error()))
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "%s check: writing the result: %v\n", c.Tool, err)
		return exitBroken
	}
	return r.exitCode(opts)
}

// run checks what is at the paths, and says whether there was anything to check.
func (c Checker) run(ctx context.Context, paths []string, stdin io.Reader) (r report, checked bool) {
	checked = len(paths) > 0
	if c.Flagged != nil {
		findings, named, err := c.Flagged(ctx)
		r.Findings = findings
		r.fail(err)
		checked = checked || named
	}
	var together []Input
	for _, path := range paths {
		if c.Judge != nil && path != "-" {
			findings, err := c.Judge(ctx, path)
			r.Findings = append(r.Findings, findings...)
			r.fail(err)
			continue
		}
		inputs, err := c.read(path, stdin)
		r.fail(err)
		if c.CheckAll != nil {
			together = append(together, inputs...)
			continue
		}
		for _, in := range inputs {
			if err := ctx.Err(); err != nil {
				r.fail(fmt.Errorf("%s: not checked: %w", in.Name, err))
				continue
			}
			findings, err := c.Check(ctx, in)
			r.Findings = append(r.Findings, findings...)
			r.fail(err)
		}
	}
	if len(together) > 0 {
		all, err := c.CheckAll(ctx, together)
		r.Report = all
		r.fail(err)
	}
	return r, checked
}

// fail keeps the problems that err joins, one by one.
func (r *report) fail(err error) {
	if err == nil {
		return
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range joined.Unwrap() {
			r.fail(err)
		}
		return
	}
	r.errs = append(r.errs, err)
}

func (r report) exitCode(opts options) int {
	if len(r.errs) > 0 {
		return exitBroken
	}
	for _, f := range r.Findings {
		if f.Verdict == Fail || opts.strict && f.Verdict == Unknown {
			// A finding without a severity is a fault of the checker, and must not open the gate.
			if f.Severity == "" || f.Severity.Rank() >= opts.failOn.Rank() {
				return exitFail
			}
		}
	}
	return exitClean
}

func (c Checker) parse(args []string, stderr io.Writer) (options, error) {
	opts := options{format: "text", failOn: Low}
	fs := flag.NewFlagSet(c.Tool+" check", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {} // for wrong usage a page of options would hide what is wrong
	help := func() {
		_, _ = fmt.Fprintf(stderr, "usage: %s check [options] PATH...|-\n\n"+
			"Checks files, every matching file below folders, or standard input (-). Options stand before\n"+
			"the paths. Exit code: 0 clean, 1 violations, 2 an input could not be read or wrong usage.\n\n", c.Tool)
		fs.PrintDefaults()
	}
	fs.Func("format", "output `format`: text, json or sarif (default text)", func(s string) error {
		if !slices.Contains([]string{"text", "json", "sarif"}, s) {
			return errors.New("want text, json or sarif")
		}
		opts.format = s
		return nil
	})
	fs.Func("fail-on", "least `severity` that makes the exit code 1: low, medium, high or critical (default low)", func(s string) (err error) {
		opts.failOn, err = ParseSeverity(s)
		return err
	})
	fs.BoolVar(&opts.strict, "strict", false, "an unknown verdict counts as a violation")
	if c.Flags != nil {
		c.Flags(fs)
	}
	hint := func() { _, _ = fmt.Fprintf(stderr, "%s check -h lists the options\n", c.Tool) }
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			help()
		} else {
			hint() // the flag set has said what is wrong
		}
		return options{}, err
	}
	opts.paths = fs.Args()
	if err := checkPaths(opts.paths, args, c.Flagged != nil); err != nil {
		_, _ = fmt.Fprintf(stderr, "%s check: %v\n", c.Tool, err)
		hint()
		return options{}, err
	}
	return opts, nil
}

var errNoPath = errors.New("name at least one file or folder, or - for standard input")

func checkPaths(paths, args []string, optional bool) error {
	if len(paths) == 0 && !optional {
		return errNoPath
	}
	stdin := 0
	for _, path := range paths {
		switch {
		case path == "-":
			stdin++
		case path == "":
			return errors.New("a path is empty")
		case strings.HasPrefix(path, "-") && !slices.Contains(args, "--"):
			return fmt.Errorf("%s stands after a path; options stand before the paths (after --, it would be a path)", path)
		}
	}
	if stdin > 1 {
		return errors.New("standard input (-) can be read once")
	}
	return nil
}

// read returns the inputs at path. Both results may be set: what could be read is checked even so.
func (c Checker) read(path string, stdin io.Reader) ([]Input, error) {
	if path == "-" {
		data, err := limit.ReadAll(stdin, MaxInput)
		if err != nil {
			return nil, fmt.Errorf("standard input: %w", err)
		}
		return []Input{{Name: Stdin, Data: data}}, nil
	}
	return c.Inputs(path)
}

// Inputs returns what is at a path of the command line: the file, or what in the folder matches. Both results may
// be set: what could be read is checked even so.
func (c Checker) Inputs(path string) ([]Input, error) {
	// The operator's own path may be absolute, contain .. and lead through links; what is below it may not.
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(target)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return readFile(path, target)
	}
	root, err := workspace.Open(target)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	files, err := root.Read(".", c.Match)
	if err == nil && len(files) == 0 {
		// A gate that checks nothing must not look like one that found nothing.
		err = fmt.Errorf("%s: nothing to check: no file in it is an input of %s check", path, c.Tool)
	}
	var inputs []Input
	for _, f := range files {
		inputs = append(inputs, Input{Name: filepath.Join(path, f.Path), Data: f.Data})
	}
	return inputs, err
}

func readFile(path, target string) ([]Input, error) {
	root, err := workspace.Open(filepath.Dir(target))
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	file, err := root.ReadFile(filepath.Base(target), MaxInput)
	if err != nil {
		return nil, err
	}
	return []Input{{Name: path, Data: file.Data}}, nil
}
