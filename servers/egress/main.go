// Command egress is the one way out of the bundle: it dials what its policy lists for the client that asks,
// and carries bytes. It holds no secret and no data; README.md is its manual.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr) //nolint:forbidigo // for version and check-config; there is no protocol on it
	stop()
	os.Exit(code)
}
