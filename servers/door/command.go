package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/listen"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/version"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

const (
	defaultListen = "tcp://0.0.0.0:4000"
	defaultHealth = "unix:///h/s"
	// maxTo is the longest path of a socket whose address is shorter than that of any TCP destination: two bytes
	// of family, the path, and the byte that ends it make 15, and a sockaddr_in has 16. The container's seccomp
	// profile lets connect(2) through below 16, and so for nothing that leaves the machine.
	maxTo = 12
)

const usage = `usage:
  door [serve] --to unix:///PATH [--listen tcp://IP:PORT] [--health unix:///PATH]
  door health [--health unix:///PATH]
  door version
`

// errUsage marks a command line that cannot be understood.
var errUsage = errors.New("usage")

// run is the process: it reads the command line, runs a subcommand, and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	command := "serve"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	var err error
	switch command {
	case "serve":
		err = serve(ctx, args, stderr)
	case "health":
		err = health(ctx, args)
	case "version":
		err = printVersion(args, stdout)
	default:
		err = fmt.Errorf("%w: unknown command %q", errUsage, command)
	}
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(stderr, usage)
		return exitOK
	case errors.Is(err, errUsage):
		_, _ = fmt.Fprintf(stderr, "door: %v\n%s", err, usage)
		return exitUsage
	}
	_, _ = fmt.Fprintf(stderr, "door: %v\n", err)
	return exitFailed
}

// parse reads flags, and nothing but flags.
func parse(command string, args []string, define func(*flag.FlagSet)) error {
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	define(flags)
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return fmt.Errorf("%w: %s: %w", errUsage, command, err)
	case flags.NArg() > 0:
		return fmt.Errorf("%w: %s: unexpected argument %q", errUsage, command, flags.Arg(0))
	}
	return nil
}

func serve(ctx context.Context, args []string, stderr io.Writer) error {
	var listenSpec, toSpec, healthSpec string
	err := parse("serve", args, func(f *flag.FlagSet) {
		f.StringVar(&listenSpec, "listen", defaultListen, "where clients connect")
		f.StringVar(&toSpec, "to", "", "the gateway's socket")
		f.StringVar(&healthSpec, "health", "", "the health socket")
	})
	if err != nil {
		return err
	}
	var at addresses
	if at.listen, err = address("listen", listenSpec, listen.TCP); err != nil {
		return err
	}
	if at.to, err = parseTo(toSpec); err != nil {
		return err
	}
	if healthSpec != "" {
		a, err := address("health", healthSpec, listen.Unix)
		if err != nil {
			return err
		}
		at.health = &a
	}
	return newDoor(slog.New(slog.NewJSONHandler(stderr, nil))).run(ctx, at)
}

// address reads a flag's address, which must be of the network that the flag is for.
func address(name, spec, network string) (listen.Address, error) {
	a, err := listen.Parse(spec)
	if err != nil {
		return listen.Address{}, fmt.Errorf("%w: --%s: %w", errUsage, name, err)
	}
	if a.Network != network {
		return listen.Address{}, fmt.Errorf("%w: --%s: %s is not %s", errUsage, name, a,
			map[string]string{listen.TCP: "tcp://IP:PORT", listen.Unix: "unix:///PATH"}[network])
	}
	return a, nil
}

func parseTo(spec string) (listen.Address, error) {
	if spec == "" {
		return listen.Address{}, fmt.Errorf("%w: --to is missing; it names the gateway's socket, such as unix:///g/s", errUsage)
	}
	to, err := address("to", spec, listen.Unix)
	if err != nil {
		return listen.Address{}, err
	}
	if len(to.Path) > maxTo {
		return listen.Address{}, fmt.Errorf("%w: --to: the path %s has %d characters, more than %d: "+
			"door's seccomp profile lets it connect to nothing but short Unix paths, so that it cannot dial; mount the socket's volume at a short one, such as /g",
			errUsage, to.Path, len(to.Path), maxTo)
	}
	return to, nil
}

func health(ctx context.Context, args []string) error {
	var spec string
	err := parse("health", args, func(f *flag.FlagSet) {
		f.StringVar(&spec, "health", defaultHealth, "the health socket")
	})
	if err != nil {
		return err
	}
	a, err := address("health", spec, listen.Unix)
	if err != nil {
		return err
	}
	return listen.CheckHealth(ctx, a)
}

func printVersion(args []string, stdout io.Writer) error {
	if err := parse("version", args, func(*flag.FlagSet) {}); err != nil {
		return err
	}
	_, err := io.WriteString(stdout, "door "+version.String()+"\n")
	return err
}
