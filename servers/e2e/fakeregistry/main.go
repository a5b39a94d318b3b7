// Command fakeregistry is an empty registry in memory, for the demonstration: go-containerregistry's, over plain HTTP. It is
// never released.
//
//	fakeregistry [health]
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/bulkhead-mcp/bulkhead/servers/e2e/fakehttp"
)

const listen = ":5000"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "fakeregistry: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 0:
		quiet := slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
		return fakehttp.Serve(ctx, listen, registry.New(registry.WithReferrersSupport(true), registry.Logger(quiet)))
	case len(args) == 1 && args[0] == "health":
		return fakehttp.Healthy(ctx, listen, "/v2/")
	}
	return errors.New("usage: fakeregistry [health]")
}
