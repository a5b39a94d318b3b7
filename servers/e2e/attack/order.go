//go:build linux && (amd64 || arm64)

package attack

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
)

// Order is what an attacker in a server's place is told.
type Order struct {
	Rules   json.RawMessage `json:"rules"`  // confine.Rules, as the server has logged them
	Layers  Layers          `json:"layers"` // of those that are the process's own: Filter and Landlock
	Attacks []string        `json:"attacks"`
	Scene   Scene           `json:"scene"`
}

// Outcome is what it says.
type Outcome struct {
	Filter   string   `json:"filter"`   // the digest of the filter in force; "" without one
	Landlock int      `json:"landlock"` // the version of Landlock in force; 0 without it
	Results  []Result `json:"results"`
}

// Result is how one attack ended, in the words of [Errno].
type Result struct {
	Name  string `json:"name"`
	Error string `json:"error"`
}

// Greet listens on each address over TCP and UDP, and says [Greeting] to whoever comes, until ctx ends.
func Greet(ctx context.Context, addresses []string) error {
	var config net.ListenConfig
	for _, address := range addresses {
		stream, err := config.Listen(ctx, "tcp4", address)
		if err != nil {
			return fmt.Errorf("listen on %s: %w", address, err)
		}
		defer func() { _ = stream.Close() }()
		packets, err := config.ListenPacket(ctx, "udp4", stream.Addr().String())
		if err != nil {
			return fmt.Errorf("listen on %s: %w", address, err)
		}
		defer func() { _ = packets.Close() }()
		go func() {
			for {
				conn, err := stream.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(conn, Greeting)
				_ = conn.(*net.TCPConn).CloseWrite() //nolint:forcetypeassert // of a TCP listener
				go func() {
					_, _ = io.Copy(io.Discard, io.LimitReader(conn, 1<<10))
					_ = conn.Close()
				}()
			}
		}()
		go func() {
			buffer := make([]byte, 1<<10)
			for {
				_, from, err := packets.ReadFrom(buffer)
				if err != nil {
					return
				}
				_, _ = packets.WriteTo([]byte(Greeting), from)
			}
		}()
	}
	<-ctx.Done()
	return nil
}
