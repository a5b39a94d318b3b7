package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/audit"
)

const (
	defaultTail = 20
	maxTail     = 100_000
)

// auditCommand reads the log: "tail" prints its newest records, "show" those of the calls that it is given. It
// may run beside the gateway that writes it.
func auditCommand(_ context.Context, args []string, stdout, stderr io.Writer) error {
	const usage = "usage: gateway audit tail [--limit N] [--audit DIR]\n       gateway audit show [--audit DIR] CALL…\nprints audit records as JSON, one a line"
	set := flag.NewFlagSet("gateway audit", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.Usage = func() { _, _ = fmt.Fprintln(stderr, usage) }
	dir := set.String("audit", "/var/lib/bulkhead", "folder of the audit log")
	limit := set.Int("limit", defaultTail, "records to print")
	if len(args) == 0 {
		return errors.New(usage)
	}
	verb := args[0]
	if err := set.Parse(args[1:]); err != nil {
		return err
	}
	switch {
	case verb == "tail" && set.NArg() == 0 && *limit > 0 && *limit <= maxTail:
		return tail(*dir, *limit, stdout)
	case verb == "show" && set.NArg() > 0:
		return show(*dir, set.Args(), stdout)
	default:
		return errors.New(usage)
	}
}

func tail(dir string, n int, stdout io.Writer) error {
	var lines [][]byte
	err := audit.Read(dir, audit.Filter{}, func(_ audit.Record, line []byte) error {
		if len(lines) == n {
			lines = lines[1:]
		}
		lines = append(lines, slices.Clone(line))
		return nil
	})
	for _, line := range lines {
		if _, err := fmt.Fprintf(stdout, "%s\n", line); err != nil {
			return err
		}
	}
	return err
}

func show(dir string, calls []string, stdout io.Writer) error {
	missing := slices.Clone(calls)
	err := audit.Read(dir, audit.Filter{}, func(r audit.Record, line []byte) error {
		if !slices.Contains(calls, r.Call) {
			return nil
		}
		missing = slices.DeleteFunc(missing, func(call string) bool { return call == r.Call })
		_, err := fmt.Fprintf(stdout, "%s\n", line)
		return err
	})
	if err == nil && len(missing) > 0 {
		return fmt.Errorf("no record of %q", missing)
	}
	return err
}
