// Package daemon is the frame of the programs that carry bytes and speak no MCP, door and egress: their command
// line, their health socket and their sandbox.
package daemon

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/confine"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/listen"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/version"
)

// Exit codes.
const (
	ExitOK     = 0
	ExitFailed = 1
	ExitUsage  = 2
)

// ErrUsage is wrapped by errors about a command line that cannot be understood.
var ErrUsage = errors.New("usage")

// Program is one binary. It has the commands health and version, too.
type Program struct {
	Name  string
	Usage string // every command in a line of its own
	// Serve is the command that runs without being named. It serves until ctx ends. The sandbox is [confine.Sandbox]'s
	// zero value unless the process is the program's own.
	Serve func(ctx context.Context, args []string, stderr io.Writer, sandbox confine.Sandbox) error
	// Commands are the program's own besides.
	Commands map[string]func(args []string, stdout io.Writer) error
}

// Main is the whole life of the program's process.
func (p Program) Main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := p.run(ctx, os.Args[1:], os.Stdout, os.Stderr, confine.Sandbox{Enforced: true}) //nolint:forbidigo // for what commands print; there is no protocol on it
	stop()
	os.Exit(code)
}

// Run is Main without the process, which it neither confines nor judges. It returns the exit code.
func (p Program) Run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return p.run(ctx, args, stdout, stderr, confine.Sandbox{})
}

func (p Program) run(ctx context.Context, args []string, stdout, stderr io.Writer, sandbox confine.Sandbox) int {
	command := "serve"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	var err error
	switch own := p.Commands[command]; {
	case own != nil:
		err = own(args, stdout)
	case command == "serve":
		err = p.Serve(ctx, args, stderr, sandbox)
	case command == "health":
		err = health(ctx, args)
	case command == "version":
		if err = Parse(command, args, func(*flag.FlagSet) {}); err == nil {
			_, err = fmt.Fprintln(stdout, p.Name, version.String())
		}
	default:
		err = fmt.Errorf("%w: unknown command %q", ErrUsage, command)
	}
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, flag.ErrHelp):
		_, _ = io.WriteString(stderr, p.Usage)
		return ExitOK
	case errors.Is(err, ErrUsage):
		_, _ = fmt.Fprintf(stderr, "%s: %s\n%s", p.Name, strings.TrimPrefix(err.Error(), ErrUsage.Error()+": "), p.Usage)
		return ExitUsage
	}
	_, _ = fmt.Fprintf(stderr, "%s: %v\n", p.Name, err)
	return ExitFailed
}

// Parse reads the flags of a command, and nothing but flags. Its errors are flag.ErrHelp, or wrap [ErrUsage].
func Parse(command string, args []string, define func(*flag.FlagSet)) error {
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	define(flags)
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return fmt.Errorf("%w: %s: %w", ErrUsage, command, err)
	case flags.NArg() > 0:
		return fmt.Errorf("%w: %s: unexpected argument %q", ErrUsage, command, flags.Arg(0))
	}
	return nil
}

// Address returns what a flag's value is set with: it reads an address of package listen's network into a.
func Address(network string, a *listen.Address) func(spec string) error {
	return func(spec string) error {
		parsed, err := listen.Parse(spec)
		if err != nil {
			return err
		}
		if parsed.Network != network {
			return fmt.Errorf("%s is not %s", parsed, map[string]string{listen.TCP: "tcp://IP:PORT", listen.Unix: "unix:///PATH"}[network])
		}
		*a = parsed
		return nil
	}
}

func health(ctx context.Context, args []string) error {
	at := listen.Address{Network: listen.Unix, Path: "/h/s"}
	err := Parse("health", args, func(f *flag.FlagSet) {
		f.Func("health", "the health socket", Address(listen.Unix, &at))
	})
	if err != nil {
		return err
	}
	return listen.CheckHealth(ctx, at)
}
