package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/scrub"
)

// scrubCommand is `logs scrub`: standard input, redacted, as it comes.
func scrubCommand(args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	set := flag.NewFlagSet("logs scrub", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.Usage = func() {
		_, _ = fmt.Fprintln(stderr, "usage: logs scrub <INPUT\nwrites standard input to standard output with secrets redacted; it has no flags, and nothing in the input switches it off")
	}
	if err := set.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return &mcpserver.ExitError{Code: 2, Err: err}
	}
	if set.NArg() > 0 {
		return &mcpserver.ExitError{Code: 2, Err: fmt.Errorf("unexpected argument %q; scrub reads standard input", set.Arg(0))}
	}
	out := bufio.NewWriter(stdout)
	writer := scrub.NewWriter(out, scrub.New().Stream(false))
	_, err := io.Copy(writer, stdin)
	return errors.Join(err, writer.Close(), out.Flush())
}
