package mcpserver

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/confine"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/egresspolicy"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/outbound"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/version"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/workspace"
)

// Program is one server binary.
type Program struct {
	Name    string // of the binary, and the prefix of its tools at the gateway
	Title   string
	Summary string // what it is for, in a sentence; clients see it as the server's instructions

	// Flags declares the server's own flags; nil for none.
	Flags func(fs *flag.FlagSet)
	// Hosts are the hosts that --egress direct allows without --allow-host.
	Hosts []egresspolicy.Rule
	// Tools makes the tools. It is called once, after the flags are parsed, by every subcommand that needs them.
	Tools func(env Env) ([]Tool, error)
	// Gate says who may call what; nil is the zero Gate. It is called once, by serve, after Tools. A server with
	// a Gate insists on --tokens and does not serve standard input.
	Gate func(env Env) (Gate, error)
	// Check makes the frame of the check subcommand; nil where there is none.
	Check func(env Env) finding.Checker
	// Needs are the paths that serving needs beside those of the common flags: folders that it writes to, sockets that it
	// connects to. It is asked after Tools; nil is none.
	Needs func() confine.Rules
	// Started runs beside the serving, from when the process is confined until ctx ends; serve waits for it at the end.
	// nil is nothing.
	Started func(ctx context.Context)
	// Commands are subcommands of the server's own, by name. They get the arguments after it.
	Commands map[string]func(ctx context.Context, args []string, stdout, stderr io.Writer) error

	isolated bool // the process is ours: serve refuses to run with privileges, and gives up what it does not need
}

// Env is what a server gets to make its tools of.
type Env struct {
	Logger *slog.Logger
	// Outbound returns the one way out; without --egress its error says to set it.
	Outbound func() (*outbound.Client, error)
	// Workspace is the folder of --workspace, nil without.
	Workspace *workspace.Root
}

const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// errUsage is wrapped by errors that a look at the usage text would mend; flag has printed them already.
var errUsage = errors.New("usage")

// ExitError is an error of a command whose exit code tells more than that it failed.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string { return e.Err.Error() }

// Unwrap returns the error itself.
func (e *ExitError) Unwrap() error { return e.Err }

// Main is the whole life of a server's process.
func Main(p Program) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	p.isolated = true
	code := p.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr) //nolint:forbidigo // the one place that hands out standard output
	stop()
	os.Exit(code)
}

// Run is Main without the process, which it neither confines nor judges: it returns the exit code, 0 for done, 1 for a
// failure that stderr tells, 2 for a wrong command line, and what an [ExitError] says. It serves until ctx ends.
func (p Program) Run(ctx context.Context, args []string, stdin *os.File, stdout, stderr io.Writer) int {
	command := "serve"
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		command, args = args[0], args[1:]
	}
	if command == "serve" && len(args) == 1 && slices.Contains([]string{"-h", "-help", "--help"}, args[0]) {
		_, _ = fmt.Fprintf(stderr, "%s\n\n", p.usage())
	}
	var err error
	switch own := p.Commands[command]; {
	case own != nil:
		err = own(ctx, args, stdout, stderr)
	case command == "check" && p.Check != nil:
		return p.Check(Env{Logger: newLogger(stderr, slog.LevelWarn)}).Command(ctx, args, stdin, stdout, stderr)
	case command == "serve":
		err = p.serve(ctx, args, stdin, stdout, stderr)
	case command == "health":
		err = p.health(ctx, args, stderr)
	case command == "tools":
		err = p.listTools(args, stdout, stderr)
	case command == "call":
		err = p.callTool(ctx, args, stdin, stdout, stderr)
	case command == "version" && len(args) > 0:
		_, _ = fmt.Fprintf(stderr, "%s: version takes no arguments\n", p.Name)
		return exitUsage
	case command == "version":
		_, err = fmt.Fprintln(stdout, p.Name, version.String())
	case command == "help":
		_, err = fmt.Fprintln(stdout, p.usage())
	default:
		_, _ = fmt.Fprintf(stderr, "%s: unknown command %q\n%s\n", p.Name, command, p.usage())
		return exitUsage
	}
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.Is(err, errUsage):
		return exitUsage
	default:
		_, _ = fmt.Fprintf(stderr, "%s: %v\n", p.Name, err)
		if exit, ok := errors.AsType[*ExitError](err); ok {
			return exit.Code
		}
		return exitError
	}
}

func (p Program) usage() string {
	commands := []string{"serve (default)", "health", "tools", "version"}
	if p.Gate == nil { // else nobody passes by it
		commands = append(commands, "call TOOL JSON")
	}
	if p.Check != nil {
		commands = append(commands, "check PATH…|-")
	}
	commands = append(commands, slices.Sorted(maps.Keys(p.Commands))...)
	return fmt.Sprintf("usage: %s [COMMAND] [FLAGS]\n%s\ncommands: %s\n%s COMMAND -h lists the flags of a command",
		p.Name, p.Summary, strings.Join(commands, ", "), p.Name)
}
