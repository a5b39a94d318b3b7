// Command fakehub serves a fake Docker Hub behind TLS, for tests of the running bundle. It is never released.
//
//	fakehub --cert cert.pem --key key.pem [--listen :443]
//	fakehub certs --dir DIR --host NAME…
//	fakehub health --cert cert.pem [--listen :443]
package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	err := run(ctx, logger, os.Args[1:])
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		logger.LogAttrs(ctx, slog.LevelError, "fakehub stops", slog.String("error", err.Error()))
		os.Exit(1)
	}
}

// run picks the subcommand; serving is the default.
func run(ctx context.Context, logger *slog.Logger, args []string) error {
	if len(args) > 0 {
		switch args[0] {
		case "certs":
			return certs(args[1:])
		case "health":
			return health(ctx, args[1:])
		}
	}
	return serve(ctx, logger, args)
}
