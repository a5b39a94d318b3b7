package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/e2e/canary"
	"github.com/bulkhead-mcp/bulkhead/servers/e2e/fakehub/hub"
)

const searchPatience = time.Minute

// answers is what the bundle answered to the clients of all tests.
var answers struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// kept keeps what comes back.
type kept struct{ next http.RoundTripper }

func (k kept) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := k.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body := response.Body
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.TeeReader(body, answersWriter{}), body}
	return response, nil
}

type answersWriter struct{}

func (answersWriter) Write(p []byte) (int, error) {
	answers.mu.Lock()
	defer answers.mu.Unlock()
	return answers.text.Write(p)
}

// secrets are dockerhub's token, in both forms in which it is sent, and all canaries.
func secrets() []string {
	all := []string{hub.WriteToken, base64.StdEncoding.EncodeToString([]byte(hub.Robot + ":" + hub.WriteToken))}
	for _, place := range canary.Places() {
		all = append(all, canary.Secrets(place)...)
	}
	return all
}

// searchForTokens looks for secrets in everything that the bundle let out
// while all tests ran: answers, the logs of every container, and the gateway's records, stored results and metrics.
func (b *bundle) searchForTokens() error {
	ctx, cancel := context.WithTimeout(context.Background(), searchPatience)
	defer cancel()
	sources := map[string]string{"answers": answers.text.String()}
	for name, args := range map[string][]string{
		"logs":    {"compose", "logs", "--no-color"},
		"records": {"compose", "exec", "-T", "gateway", "/ko-app/gateway", "audit", "export", "--results"},
	} {
		c := exec.CommandContext(ctx, "docker", args...)
		c.Dir, c.Env = b.root, b.env
		out, err := c.CombinedOutput()
		if err != nil {
			return fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, out)
		}
		sources[name] = string(out)
	}
	metrics, err := b.readMetrics(ctx)
	if err != nil {
		return err
	}
	sources["metrics"] = metrics
	var errs []error
	for name, text := range sources {
		fmt.Printf("looked for tokens in %d bytes of %s\n", len(text), name)
		if len(text) == 0 {
			errs = append(errs, fmt.Errorf("there are no %s to look for tokens in", name))
		}
		for _, token := range secrets() {
			if at := strings.Index(text, token); at >= 0 {
				errs = append(errs, fmt.Errorf("a token is in the %s: …%s…", name, text[max(0, at-200):at]))
			}
		}
	}
	return errors.Join(errs...)
}

// readMetrics opens the metrics' door, which is gone again with the bundle.
func (b *bundle) readMetrics(ctx context.Context) (string, error) {
	if err := b.command(ctx, b.root, "docker", "compose", "--profile", "metrics", "up", "--detach", "--no-deps", "--wait", "metrics-door"); err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:"+b.metrics+"/metrics", nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return string(text), err
}
