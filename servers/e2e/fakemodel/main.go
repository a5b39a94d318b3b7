// Command fakemodel serves a language model that plays a script, for tests of agents. It is never released.
//
//	fakemodel --script FILE [--listen :12434]
//	fakemodel health [--listen :12434]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/bulkhead-mcp/bulkhead/servers/e2e/fakehttp"
	"github.com/bulkhead-mcp/bulkhead/servers/e2e/fakemodel/model"
)

const defaultListen = ":12434" // Docker Model Runner's

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintf(os.Stderr, "fakemodel: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	checking := len(args) > 0 && args[0] == "health"
	if checking {
		args = args[1:]
	}
	flags := flag.NewFlagSet("fakemodel", flag.ContinueOnError)
	listen := flags.String("listen", defaultListen, "`address` to listen on")
	script := flags.String("script", "", "what it says, a YAML `file`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if checking {
		return fakehttp.Healthy(ctx, *listen, "/healthz")
	}
	file, err := os.Open(*script)
	if err != nil {
		return fmt.Errorf("--script: %w", err)
	}
	played, err := model.ReadScript(file)
	_ = file.Close()
	if err != nil {
		return err
	}
	return fakehttp.Serve(ctx, *listen, model.New(played, slog.New(slog.NewJSONHandler(os.Stderr, nil))))
}
