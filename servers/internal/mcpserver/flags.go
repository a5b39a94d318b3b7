package mcpserver

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/confine"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/egresspolicy"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/outbound"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/workspace"
)

// options are the flags that every server has.
type options struct {
	listen      string
	tokens      string
	serverNames stringList
	egress      string
	allowHosts  stringList
	caFile      string
	workspace   string
	logLevel    slog.Level
	sandbox     confine.Sandbox
}

type stringList []string

func (l *stringList) String() string { return strings.Join(*l, ",") }

func (l *stringList) Set(value string) error {
	*l = append(*l, value)
	return nil
}

// parse reads the flags of a command. rest takes the arguments after them; nil refuses any.
func (p Program) parse(command string, args []string, stderr io.Writer, rest *[]string) (options, error) {
	o := options{sandbox: confine.Sandbox{Enforced: p.isolated}}
	set := flag.NewFlagSet(p.Name+" "+command, flag.ContinueOnError)
	set.SetOutput(stderr)
	set.StringVar(&o.listen, "listen", "auto", "where to serve: stdio, tcp://HOST:PORT, unix:///PATH, or auto: stdio where standard input is a pipe or socket, else tcp on port "+tcpPort)
	set.StringVar(&o.tokens, "tokens", "", "folder of accepted tokens: HOLDER.sha256, a hash a line; without it a random token is printed at start")
	set.Var(&o.serverNames, "server-name", "a name under which clients reach this server, beside localhost and "+p.Name+" (repeatable)")
	set.StringVar(&o.egress, "egress", "", "the way out: unix:///PATH of an egress socket, or direct")
	set.Var(&o.allowHosts, "allow-host", "with --egress direct: HOST[:PORT][=CIDR,…] that may be reached; without CIDRs at public addresses only (repeatable)")
	set.StringVar(&o.caFile, "ca-file", "", "PEM file of certificate authorities to trust instead of the built-in ones")
	set.StringVar(&o.workspace, "workspace", "", "folder that tools may read below")
	if command == "serve" {
		o.sandbox.Flag(set)
	}
	level := slog.LevelWarn
	if command == "serve" {
		level = slog.LevelInfo // the audit records of a server without a log of its own
	}
	set.TextVar(&o.logLevel, "log-level", level, "debug, info, warn or error")
	if p.Flags != nil {
		p.Flags(set)
	}
	if err := set.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return options{}, err
		}
		return options{}, errUsage
	}
	if rest != nil {
		*rest = set.Args()
	} else if set.NArg() > 0 {
		_, _ = fmt.Fprintf(stderr, "%s: unexpected argument %q\n", set.Name(), set.Arg(0))
		return options{}, errUsage
	}
	return o, nil
}

func newLogger(w io.Writer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
}

// env opens what the flags name.
func (p Program) env(o options, stderr io.Writer) (Env, error) {
	env := Env{Logger: newLogger(stderr, o.logLevel).With(slog.String("server", p.Name))}
	if o.workspace != "" {
		root, err := workspace.Open(o.workspace)
		if err != nil {
			return Env{}, fmt.Errorf("--workspace: %w", err)
		}
		env.Workspace = root
	}
	if o.egress == "" {
		env.Outbound = func() (*outbound.Client, error) {
			return nil, Errorf(CodeUnavailable, "%s has no way out; it needs --egress unix:///PATH, or --egress direct", p.Name)
		}
		return env, nil
	}
	config := outbound.Config{Egress: o.egress, CAFile: o.caFile}
	if o.egress == "direct" {
		for _, text := range o.allowHosts {
			rule, err := egresspolicy.ParseRule(text)
			if err != nil {
				return Env{}, fmt.Errorf("--allow-host: %w", err)
			}
			config.Allow = append(config.Allow, rule)
		}
		// After the operator's, which may say other addresses for the same host.
		config.Allow = append(config.Allow, p.Hosts...)
	} else if len(o.allowHosts) > 0 {
		return Env{}, errors.New("--allow-host goes with --egress direct; an egress socket has its own policy")
	}
	client, err := outbound.New(config)
	if err != nil {
		return Env{}, fmt.Errorf("--egress: %w", err)
	}
	env.Outbound = func() (*outbound.Client, error) { return client, nil }
	return env, nil
}
