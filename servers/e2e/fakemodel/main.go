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
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/e2e/fakemodel/model"
)

const (
	defaultListen = ":12434" // Docker Model Runner's
	headerTimeout = 10 * time.Second
	healthTimeout = 3 * time.Second
)

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
		return health(ctx, *listen)
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
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", *listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	server := &http.Server{Handler: model.New(played, logger), ReadHeaderTimeout: headerTimeout}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// health asks the model on this machine whether it listens.
func health(ctx context.Context, listen string) error {
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	at := url.URL{Scheme: "http", Host: net.JoinHostPort("127.0.0.1", port), Path: "/healthz"}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return err
	}
	response, err := (&http.Client{Timeout: healthTimeout}).Do(request)
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", at.String(), response.Status)
	}
	return nil
}
