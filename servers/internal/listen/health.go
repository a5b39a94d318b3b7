package listen

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
)

const (
	// healthTimeout bounds one health exchange, on either side.
	healthTimeout = 2 * time.Second
	// maxHealthAnswer bounds what a check reads.
	maxHealthAnswer = 64
	healthy         = "ok\n"
)

// ServeHealth answers every connection to l with "ok" until ctx ends, and then closes l. Open l last: that
// it answers means that everything before it is open too.
func ServeHealth(ctx context.Context, l net.Listener) {
	Accept(ctx, l, func(error) {}, func(conn net.Conn) {
		_ = conn.SetDeadline(time.Now().Add(healthTimeout))
		// A check that hung up before it was answered is nobody's loss.
		_, _ = conn.Write([]byte(healthy))
		_ = conn.Close()
	})
}

// CheckHealth asks the health socket at a, which [ServeHealth] answers.
func CheckHealth(ctx context.Context, a Address) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	conn, err := Dial(ctx, a)
	if err != nil {
		return fmt.Errorf("health: %w", err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(healthTimeout))
	answer, err := limit.ReadAll(conn, maxHealthAnswer)
	if err != nil {
		return fmt.Errorf("health: read the answer of %s: %w", a, err)
	}
	if string(answer) != healthy {
		return fmt.Errorf("health: %s answers %q, not %q: something else listens there", a, answer, healthy)
	}
	return nil
}
