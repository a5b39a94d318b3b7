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
  door [serve] [--listen tcp://IP:PORT] --to unix:///PATH [--listen tcp://IP:PORT --to unix:///PATH]… [--health unix:///PATH] [--allow-unisolated]
  door health [--health unix:///PATH]
  door version
`,
		Serve: serve,
	}
}

func serve(ctx context.Context, args []string, stderr io.Writer, sandbox confine.Sandbox) error {
	var at addresses
	var from, to []listen.Address
	err := daemon.Parse("serve", args, func(f *flag.FlagSet) {
		f.Func("listen", "where clients connect", each(listen.TCP, &from))
		f.Func("to", "the socket that this leads to", each(listen.Unix, &to))
		f.Func("health", "the health socket", daemon.Address(listen.Unix, &at.health))
		sandbox.Flag(f)
	})
	if err == nil {
		at.ways, err = pair(from, to)
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

// each returns what a flag that may be given several times is set with.
func each(network string, all *[]listen.Address) func(spec string) error {
	return func(spec string) error {
		var one listen.Address
		if err := daemon.Address(network, &one)(spec); err != nil {
			return err
		}
		*all = append(*all, one)
		return nil
	}
}

// pair makes ways of addresses, each of which leads to the socket in its place. Where there is one socket and no address, the
// address is the port's.
func pair(from, to []listen.Address) ([]way, error) {
	if len(to) == 1 && len(from) == 0 {
		from = []listen.Address{{Network: listen.TCP, Path: defaultPort}}
	}
	switch {
	case len(to) == 0:
		return nil, fmt.Errorf("%w: --to is missing; it names the gateway's socket, such as unix:///g/s", daemon.ErrUsage)
	case len(from) != len(to):
		return nil, fmt.Errorf("%w: %d times --listen and %d times --to: each address leads to one socket", daemon.ErrUsage, len(from), len(to))
	}
	var ways []way
	for i := range to {
		if len(to[i].Path) > maxTo {
			return nil, fmt.Errorf("%w: --to: the path %s has %d characters, more than %d: "+
				"door may connect to nothing but short Unix paths, so that it cannot dial; mount the socket's volume at a short one, such as /g",
				daemon.ErrUsage, to[i].Path, len(to[i].Path), maxTo)
		}
		ways = append(ways, way{from[i], to[i]})
	}
	return ways, nil
}
