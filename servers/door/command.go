package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/confine"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/daemon"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/listen"
)

const (
	defaultPort = "0.0.0.0:4000"
	// maxTo is the longest path of a socket whose address is shorter than that of any TCP destination: two bytes
	// of family, the path, and the byte that ends it make 15, and a sockaddr_in has 16. The container's seccomp
	// profile and door's own filter let connect(2) through below 16, and so for nothing that leaves the machine.
	maxTo = 12
)

func program() daemon.Program {
	return daemon.Program{
		Name: "door",
		Usage: `usage:
  door [serve] --to unix:///PATH [--listen tcp://IP:PORT] [--health unix:///PATH] [--allow-unisolated]
  door health [--health unix:///PATH]
  door version
`,
		Serve: serve,
	}
}

func serve(ctx context.Context, args []string, stderr io.Writer, sandbox confine.Sandbox) error {
	at := addresses{listen: listen.Address{Network: listen.TCP, Path: defaultPort}}
	err := daemon.Parse("serve", args, func(f *flag.FlagSet) {
		f.Func("listen", "where clients connect", daemon.Address(listen.TCP, &at.listen))
		f.Func("to", "the gateway's socket", daemon.Address(listen.Unix, &at.to))
		f.Func("health", "the health socket", daemon.Address(listen.Unix, &at.health))
		sandbox.Flag(f)
	})
	if err == nil {
		err = checkTo(at.to)
	}
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewJSONHandler(stderr, nil))
	if err := sandbox.Check(ctx, logger); err != nil {
		return err
	}
	return newDoor(logger, sandbox).run(ctx, at)
}

func checkTo(to listen.Address) error {
	switch {
	case to == listen.Address{}:
		return fmt.Errorf("%w: --to is missing; it names the gateway's socket, such as unix:///g/s", daemon.ErrUsage)
	case len(to.Path) > maxTo:
		return fmt.Errorf("%w: --to: the path %s has %d characters, more than %d: "+
			"door may connect to nothing but short Unix paths, so that it cannot dial; mount the socket's volume at a short one, such as /g",
			daemon.ErrUsage, to.Path, len(to.Path), maxTo)
	}
	return nil
}
