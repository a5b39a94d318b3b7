package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/listen"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpclient"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// The exit codes of gateway diff, as diff(1) has them; 0 is no difference.
const (
	exitDiffers = 1
	exitTrouble = 2 // something could not be read or reached, so that nobody knows
)

// diffCommand tells how servers differ from the lock: those whose definitions are in files, as their tools command
// printed them, and those that answer on sockets.
func diffCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	set := flag.NewFlagSet("gateway diff", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.Usage = func() {
		_, _ = fmt.Fprintln(stderr, "usage: gateway diff [--lock FILE] [--upstream NAME=unix:///PATH]… [SERVER.json…]\n"+
			"tells how the definitions that SERVER tools printed into SERVER.json, or that a running server gives, differ from the lock;\n"+
			"exit code 0: they do not, 1: they do, 2: one could not be had")
		set.PrintDefaults()
	}
	lockPath := set.String("lock", "agents/tools.lock.json", "the lock")
	var running upstreamFlag
	set.Var(&running, "upstream", "NAME=unix:///PATH of a running server (repeatable)")
	if err := set.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return &mcpserver.ExitError{Code: exitTrouble, Err: err}
	}
	if set.NArg()+len(running) == 0 {
		set.Usage()
		return &mcpserver.ExitError{Code: exitTrouble, Err: errors.New("no files and no servers named")}
	}
	lock, err := readLock(*lockPath)
	if err != nil {
		return &mcpserver.ExitError{Code: exitTrouble, Err: err}
	}
	differ := 0
	var trouble []error
	tell := func(server string, definitions []json.RawMessage, err error) {
		if err != nil {
			trouble = append(trouble, err)
			return
		}
		d := compare(lock.Servers[server], definitions)
		if d.empty() {
			_, _ = fmt.Fprintf(stdout, "%s: as locked, %d tools\n", server, len(definitions))
			return
		}
		differ++
		for _, c := range d.changes {
			_, _ = fmt.Fprintf(stdout, "%s: %s\n", server, c)
		}
		if d.more > 0 {
			_, _ = fmt.Fprintf(stdout, "%s: and %d more\n", server, d.more)
		}
	}
	for _, path := range set.Args() {
		server, definitions, err := readDefinitions(path)
		tell(server, definitions, err)
	}
	for _, up := range running {
		definitions, err := askDefinitions(ctx, up.address)
		if err != nil {
			err = fmt.Errorf("%s: %w", up.name, err)
		}
		tell(up.name, definitions, err)
	}
	switch {
	case len(trouble) > 0:
		return &mcpserver.ExitError{Code: exitTrouble, Err: errors.Join(trouble...)}
	case differ > 0:
		return &mcpserver.ExitError{Code: exitDiffers, Err: fmt.Errorf(
			"%d servers are not as locked: review what changed, then write the lock anew with gateway lock, and restart the gateway", differ)}
	}
	return nil
}

// askDefinitions asks a running server for its definitions.
func askDefinitions(ctx context.Context, address listen.Address) ([]json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, verifyTimeout)
	defer cancel()
	transport := &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return listen.Dial(ctx, address) },
		MaxResponseHeaderBytes: maxHeader,
	}
	defer transport.CloseIdleConnections()
	client := mcpclient.Client{HTTP: &http.Client{Transport: transport}, URL: upstreamURL}
	return client.ListTools(ctx)
}
