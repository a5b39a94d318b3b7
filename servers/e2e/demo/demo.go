package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpclient"
)

type demo struct {
	out     io.Writer
	url     string
	secrets string
	compose []string
	calls   []string // ids of the calls made, for the audit log
}

func (d *demo) run(ctx context.Context) error {
	gate, err := d.as("policy-gate")
	if err != nil {
		return err
	}
	linter, err := d.as("image-linter")
	if err != nil {
		return err
	}
	d.say("1. As policy-gate: may kubernetes/shop-web.yaml be deployed, at the level restricted?")
	if err := d.check(ctx, gate, "kubernetes/shop-web.yaml", "fail"); err != nil {
		return err
	}
	d.say("\n2. And kubernetes/shop-api.yaml?")
	if err := d.check(ctx, gate, "kubernetes/shop-api.yaml", "pass"); err != nil {
		return err
	}
	d.say("\n3. As image-linter: call the same tool, which agents/policy.yaml does not grant it.")
	_, err = linter.CallTool(ctx, "kubernetes_check_pod_security", map[string]any{"path": "kubernetes/shop-web.yaml"}, nil)
	var refused *mcpclient.RPCError
	if !errors.As(err, &refused) {
		return fmt.Errorf("the call should have been refused; it ended with %w", err)
	}
	d.calls = append(d.calls, refused.Data[mcpclient.MetaCall])
	d.say("   refused: " + refused.Message)

	d.say("\n4. The evidence: what the gateway's audit log has of these three calls.")
	return d.audit(ctx)
}

func (d *demo) say(text string) { _, _ = fmt.Fprintln(d.out, text) }

// as returns a client that holds the agent's token.
func (d *demo) as(agent string) (*mcpclient.Client, error) {
	token, err := os.ReadFile(filepath.Join(d.secrets, "agents", agent, "MCP_GATEWAY_TOKEN"))
	if err != nil {
		return nil, fmt.Errorf("%w: make up makes it", err)
	}
	return &mcpclient.Client{HTTP: &http.Client{}, URL: d.url, Token: string(token)}, nil
}

func (d *demo) check(ctx context.Context, client *mcpclient.Client, path, want string) error {
	result, err := client.CallTool(ctx, "kubernetes_check_pod_security", map[string]any{"path": path, "level": "restricted"}, nil)
	if err != nil {
		return fmt.Errorf("%w (is the bundle up? make up starts it)", err)
	}
	d.calls = append(d.calls, result.Call)
	if result.IsError {
		return errors.New(result.Text)
	}
	var out struct {
		Verdict  string `json:"verdict"`
		Findings []struct {
			Rule     string `json:"rule"`
			Object   string `json:"object"`
			Fix      string `json:"fix"`
			Location struct {
				Line  int    `json:"line"`
				Field string `json:"field"`
			} `json:"location"`
		} `json:"findings"`
	}
	if err := json.Unmarshal(result.Structured, &out); err != nil {
		return err
	}
	d.say("   verdict: " + out.Verdict)
	for _, f := range out.Findings {
		d.say(fmt.Sprintf("   line %d, %s: %s", f.Location.Line, f.Object, f.Rule))
		d.say(fmt.Sprintf("      %s: %s", f.Location.Field, f.Fix))
	}
	if out.Verdict != want {
		return fmt.Errorf("%s: the verdict is %s, not %s", path, out.Verdict, want)
	}
	return nil
}

// audit prints the records of the demo's own calls, out of the gateway's container.
func (d *demo) audit(ctx context.Context) error {
	args := append(append([]string{}, d.compose[1:]...), "exec", "-T", "gateway", "/ko-app/gateway", "audit", "show")
	var stderr bytes.Buffer
	command := exec.CommandContext(ctx, d.compose[0], append(args, d.calls...)...)
	command.Stderr = &stderr
	lines, err := command.Output()
	if err != nil {
		return fmt.Errorf("reading the audit log: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	for line := range strings.Lines(string(lines)) {
		d.say("   " + strings.TrimSpace(line))
	}
	if got := strings.Count(string(lines), "\n"); got != len(d.calls) {
		return fmt.Errorf("the audit log has %d records of %d calls", got, len(d.calls))
	}
	return nil
}
