// Command fakeagent stands in for docker-agent where that cannot be had: it takes the same command line for one turn without a
// terminal, the same agent files and the same secrets, and speaks to its model and to the gateway by the same ways. It is never
// released.
//
//	fakeagent run --exec [--model root=MODEL] FILE MESSAGE
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// secrets is the folder in which docker-agent looks for what its environment lacks.
const secrets = "/run/secrets"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "fakeagent: %v\n", err)
		os.Exit(1)
	}
}
