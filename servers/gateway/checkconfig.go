package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// checkConfigCommand reads all that serve reads at start, and the decision tables beside it, and says everything that is
// wrong with it, a problem a line.
func checkConfigCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	set := flag.NewFlagSet("gateway check-config", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.Usage = func() {
		_, _ = fmt.Fprintln(stderr, "usage: gateway check-config [--policy FILE] [--lock FILE] [--tokens DIR] [TABLE…]\n"+
			"says what is wrong with the policy, the lock, the tokens of the policy's agents, and decision tables")
		set.PrintDefaults()
	}
	policyPath, lockPath := configFlags(set)
	tokens := set.String("tokens", "", "folder of accepted tokens; without it nobody looks whether agents have one")
	if err := set.Parse(args); err != nil {
		return err
	}
	lock, err := readLock(*lockPath)
	if err != nil {
		return problemsFound(stderr, err) // all else is held against the lock
	}
	p, policyErr := readPolicy(*policyPath, lock)
	errs := []error{policyErr}
	if p != nil && *tokens != "" {
		errs = append(errs, mcpserver.CheckTokens(*tokens, p.holders()))
	}
	rows := 0
	for _, path := range set.Args() {
		table, err := readTable(path)
		errs = append(errs, err)
		rows += len(table.Rows)
		for _, row := range table.Rows {
			if policyErr != nil {
				break // it decides nothing
			}
			if _, _, err := row.decide(ctx, lock, p); err != nil {
				errs = append(errs, fmt.Errorf("%s:%d: %w", path, row.Tool.line, err))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return problemsFound(stderr, err)
	}
	_, err = fmt.Fprintf(stdout, "%d agents, %d locked tools, %d expected decisions\n", len(p.agents), len(lock.tools()), rows)
	return err
}

// problemsFound prints what err says, in the order of the lines of each file, and returns how much it is.
func problemsFound(stderr io.Writer, err error) error {
	problems := strings.Split(err.Error(), "\n")
	slices.SortStableFunc(problems, func(a, b string) int {
		pathA, lineA := placeOf(a)
		pathB, lineB := placeOf(b)
		return cmp.Or(cmp.Compare(pathA, pathB), cmp.Compare(lineA, lineB))
	})
	_, _ = fmt.Fprintln(stderr, strings.Join(problems, "\n"))
	return fmt.Errorf("%d problems", len(problems))
}

// placeOf is where a problem is that reads "path:line: what is wrong".
func placeOf(problem string) (path string, line int) {
	path, rest, _ := strings.Cut(problem, ":")
	number, _, _ := strings.Cut(rest, ":")
	line, _ = strconv.Atoi(number) // 0 where it has none
	return path, line
}
