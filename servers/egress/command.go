package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/confine"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/daemon"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/egresspolicy"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/listen"
)

func program() daemon.Program {
	return daemon.Program{
		Name: "egress",
		Usage: `usage:
  egress [serve] --policy FILE --sockets DIR [--health unix:///PATH] [--allow-unisolated]
  egress check-config --policy FILE
  egress health [--health unix:///PATH]
  egress version
`,
		Serve:    serve,
		Commands: map[string]func([]string, io.Writer) error{"check-config": checkConfig},
	}
}

func serve(ctx context.Context, args []string, stderr io.Writer, sandbox confine.Sandbox) error {
	var policyFile, sockets string
	var health listen.Address
	err := daemon.Parse("serve", args, func(f *flag.FlagSet) {
		f.StringVar(&policyFile, "policy", "", "the policy")
		f.StringVar(&sockets, "sockets", "", "the folder that holds a folder for each client")
		f.Func("health", "the health socket", daemon.Address(listen.Unix, &health))
		sandbox.Flag(f)
	})
	if err != nil {
		return err
	}
	if sockets == "" {
		return fmt.Errorf("%w: serve: --sockets is missing", daemon.ErrUsage)
	}
	policy, err := readPolicy(policyFile)
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewJSONHandler(stderr, nil))
	if err := sandbox.Check(ctx, logger); err != nil {
		return err
	}
	return newServer(policy, logger, sandbox).run(ctx, sockets, health)
}

func checkConfig(args []string, stdout io.Writer) error {
	var policyFile string
	err := daemon.Parse("check-config", args, func(f *flag.FlagSet) {
		f.StringVar(&policyFile, "policy", "", "the policy")
	})
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
	if file == "" {
		return nil, fmt.Errorf("%w: --policy is missing", daemon.ErrUsage)
	}
	f, err := os.Open(file) //nolint:gosec // the operator names the file on the command line
	if err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	defer func() { _ = f.Close() }()
	return egresspolicy.Parse(file, f)
}
