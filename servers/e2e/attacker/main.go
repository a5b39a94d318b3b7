//go:build linux && (amd64 || arm64)

// Command attacker stands in a server's place and tries what a server must not manage, for `make prove`. It is never released.
//
//	attacker attack ORDER        the order as JSON; the results on standard output, as JSON
//	attacker victim ADDRESS…     listen on each IP:PORT, over TCP and UDP, and greet whoever comes
//	attacker dial ADDRESS        connect to HOST:PORT over TCP, and fail if that fails
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/e2e/attack"
)

const dialTimeout = 2 * time.Second

func main() {
	if os.Getenv(attack.Nothing) != "" {
		return // an attack runs this program, to see whether it can
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "attacker: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 2 && args[0] == "attack":
		return carryOut([]byte(args[1]), os.Stdout)
	case len(args) > 1 && args[0] == "victim":
		return attack.Greet(ctx, args[1:])
	case len(args) == 2 && args[0] == "dial":
		conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", args[1])
		if err != nil {
			return err
		}
		return conn.Close()
	}
	return errors.New("usage: attacker attack ORDER | attacker victim ADDRESS… | attacker dial ADDRESS")
}
