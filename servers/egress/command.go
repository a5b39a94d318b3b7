package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/egresspolicy"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/listen"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/version"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

const defaultHealth = "unix:///h/s"

const usage = `usage:
  egress [serve] --policy FILE --sockets DIR [--health unix:///PATH]
  egress check-config --policy FILE
  egress health [--health unix:///PATH]
  egress version
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
	case "check-config":
		err = checkConfig(args, stdout)
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
		_, _ = fmt.Fprintf(stderr, "egress: %v\n%s", err, usage)
		return exitUsage
	}
	_, _ = fmt.Fprintf(stderr, "egress: %v\n", err)
	return exitFailed
}

// parse reads flags, and nothing but flags. Those that have no default must be given.
func parse(command string, args []string, define func(*flag.FlagSet), required ...*string) error {
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
	for _, value := range required {
		if *value == "" {
			return fmt.Errorf("%w: %s: a flag is missing", errUsage, command)
		}
	}
	return nil
}

func serve(ctx context.Context, args []string, stderr io.Writer) error {
	var policyFile, sockets, healthSpec string
	err := parse("serve", args, func(f *flag.FlagSet) {
		f.StringVar(&policyFile, "policy", "", "the policy")
		f.StringVar(&sockets, "sockets", "", "the folder that holds a folder for each client")
		f.StringVar(&healthSpec, "health", "", "the health socket")
	}, &policyFile, &sockets)
	if err != nil {
		return err
	}
	policy, err := readPolicy(policyFile)
	if err != nil {
		return err
	}
	var healthAddress *listen.Address
	if healthSpec != "" {
		if healthAddress, err = parseHealth(healthSpec); err != nil {
			return err
		}
	}
	logger := slog.New(slog.NewJSONHandler(stderr, nil))
	return newServer(policy, logger).run(ctx, sockets, healthAddress)
}

func checkConfig(args []string, stdout io.Writer) error {
	var policyFile string
	err := parse("check-config", args, func(f *flag.FlagSet) {
		f.StringVar(&policyFile, "policy", "", "the policy")
	}, &policyFile)
	if err != nil {
		return err
	}
	policy, err := readPolicy(policyFile)
	if err != nil {
		return err
	}
	for _, client := range policy.Clients {
		for _, rule := range client.Rules {
			if _, err := fmt.Fprintf(stdout, "%s may reach %s\n", client.Name, rule); err != nil {
				return err
			}
		}
	}
	return nil
}

func readPolicy(file string) (*egresspolicy.Policy, error) {
	f, err := os.Open(file) //nolint:gosec // the operator names the file on the command line
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	defer func() { _ = f.Close() }()
	return egresspolicy.Parse(file, f)
}

func health(ctx context.Context, args []string) error {
	var spec string
	err := parse("health", args, func(f *flag.FlagSet) {
		f.StringVar(&spec, "health", defaultHealth, "the health socket")
	}, &spec)
	if err != nil {
		return err
	}
	address, err := parseHealth(spec)
	if err != nil {
		return err
	}
	return listen.CheckHealth(ctx, *address)
}

func parseHealth(spec string) (*listen.Address, error) {
	address, err := listen.Parse(spec)
	if err != nil {
		return nil, fmt.Errorf("%w: --health: %w", errUsage, err)
	}
	if address.Network != listen.Unix {
		return nil, fmt.Errorf("%w: --health: %s is not a Unix socket; write unix:///PATH", errUsage, address)
	}
	return &address, nil
}

func printVersion(args []string, stdout io.Writer) error {
	if err := parse("version", args, func(*flag.FlagSet) {}); err != nil {
		return err
	}
	_, err := io.WriteString(stdout, "egress "+version.String()+"\n")
	return err
}
