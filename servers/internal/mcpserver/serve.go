package mcpserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/confine"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/listen"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/outbound"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/version"
)

const (
	stdio   = "stdio" // the transport
	tcpPort = "4000"
)

func (p Program) serve(ctx context.Context, args []string, stdin *os.File, stdout, stderr io.Writer) error {
	o, err := p.parse("serve", args, stderr, nil)
	if err != nil {
		return err
	}
	env, err := p.env(o, stderr)
	if err != nil {
		return err
	}
	if err := o.sandbox.Check(ctx, env.Logger); err != nil {
		return err
	}
	spec := resolveListen(o.listen, stdin)
	if p.Gate != nil && (spec == stdio || o.tokens == "") {
		return errors.New("this server asks who is calling: it needs --tokens, and --listen tcp:// or unix://")
	}
	tools, err := p.Tools(env)
	if err != nil {
		return err
	}
	var gate Gate
	if p.Gate != nil {
		if gate, err = p.Gate(env); err != nil {
			return err
		}
	}
	if spec == stdio {
		line, err := newPipeline(p, version.String(), tools, gate, env.Logger)
		if err != nil {
			return err
		}
		if err := p.confine(ctx, o, env.Logger); err != nil {
			return err
		}
		env.Logger.LogAttrs(ctx, slog.LevelInfo, "serving", slog.String("listen", spec), slog.String("version", version.String()))
		defer p.started(ctx)()
		return (&stdioEdge{pipeline: line, out: stdout}).serve(ctx, stdin)
	}
	address, err := listen.Parse(spec)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	var accepted *tokens // nil on a Unix socket whose only client is the gateway
	var fresh string
	switch {
	case o.tokens != "":
		if accepted, err = openTokens(o.tokens, gate.Holders, env.Logger); err != nil {
			return err
		}
	case address.Network != listen.Unix:
		accepted, fresh = randomToken("token")
	}
	// The last two steps take what another process may hold: the audit log and the address.
	line, err := newPipeline(p, version.String(), tools, gate, env.Logger)
	if err != nil {
		return err
	}
	if gate.Close != nil {
		defer func() {
			if err := gate.Close(); err != nil {
				env.Logger.LogAttrs(ctx, slog.LevelError, "closing", slog.String("error", err.Error()))
			}
		}()
	}
	listener, err := listen.Listen(ctx, address)
	if err != nil {
		return err
	}
	if err := p.confine(ctx, o, env.Logger); err != nil {
		return err
	}
	if fresh != "" {
		printToken(stderr, p.Name, fresh, listener.Addr())
	}
	env.Logger.LogAttrs(ctx, slog.LevelInfo, "serving", slog.String("listen", address.Network+"://"+listener.Addr().String()), slog.String("version", version.String()))
	defer p.started(ctx)()
	return newHTTPEdge(line, address.Network, accepted, o.serverNames).serve(ctx, listener)
}

// confine gives up, for good, whatever serving does not need. It comes when everything is open.
func (p Program) confine(ctx context.Context, o options, logger *slog.Logger) error {
	var rules confine.Rules
	if p.Needs != nil {
		rules = p.Needs()
	}
	for _, path := range []string{o.workspace, o.tokens} {
		if path != "" {
			rules.Read = append(rules.Read, path)
		}
	}
	rules.Network = o.egress == outbound.Direct
	if address, err := listen.Parse(o.egress); err == nil && address.Network == listen.Unix {
		rules.Connect = append(rules.Connect, address.Path)
	}
	return o.sandbox.Enter(ctx, rules, logger)
}

// started runs what the program does beside serving, and returns what ends it.
func (p Program) started(ctx context.Context) (stop func()) {
	if p.Started == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { p.Started(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

// resolveListen says what auto stands for.
func resolveListen(spec string, stdin *os.File) string {
	if spec != "auto" {
		return spec
	}
	info, err := stdin.Stat()
	if err == nil && info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0 {
		return stdio
	}
	if inContainer() {
		return "tcp://0.0.0.0:" + tcpPort
	}
	return "tcp://127.0.0.1:" + tcpPort
}

// inContainer reads the variable by which container managers tell (systemd's container interface); our images
// set it.
func inContainer() bool { return os.Getenv("container") != "" }

func printToken(w io.Writer, name, token string, at net.Addr) {
	port := tcpPort
	if tcp, ok := at.(*net.TCPAddr); ok {
		port = strconv.Itoa(tcp.Port)
	}
	config, err := json.MarshalIndent(map[string]any{"mcpServers": map[string]any{name: map[string]any{
		"type": "http", "url": "http://localhost:" + port + mcpPath,
		"headers": map[string]string{"Authorization": "Bearer " + token},
	}}}, "", "  ")
	if err != nil {
		return // a map of strings marshals
	}
	_, _ = fmt.Fprintf(w, "%s: no --tokens, so this token was made for this run and is not shown again:\n\n  %s\n\nA configuration for a client on this machine (with the port that you published, if it is another):\n%s\n\n", name, token, config)
}
