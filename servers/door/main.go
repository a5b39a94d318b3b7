// Command door is the one way into the bundle: it carries bytes between a published port and the gateway's
// socket. It holds nothing and understands nothing; README.md is its manual.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr) //nolint:forbidigo // for version; there is no protocol on it
	stop()
	os.Exit(code)
}
