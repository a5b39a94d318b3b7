//go:build linux && (amd64 || arm64)

// Command prove starts the bundle, attacks it from inside and from outside, and prints what it claims, what was tried and
// what happened. README.md is its manual.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

func main() {
	format := flag.String("format", "text", "text, markdown or json")
	flag.Parse()
	if flag.NArg() > 0 || !slices.Contains([]string{"text", "markdown", "json"}, *format) {
		fmt.Fprintln(os.Stderr, "usage: prove [-format text|markdown|json]")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	report, err := prove(ctx, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "prove: %v\n", err)
		os.Exit(1)
	}
	if err := report.print(os.Stdout, *format); err != nil {
		fmt.Fprintf(os.Stderr, "prove: %v\n", err)
		os.Exit(1)
	}
	if report.Failed() > 0 {
		os.Exit(1)
	}
}
