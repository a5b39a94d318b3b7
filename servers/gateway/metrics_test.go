package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/audit"
)

func (b *bundle) scrape() string { return b.operator("/metrics") }

// operator asks at the operator's socket.
func (b *bundle) operator(path string) string {
	b.t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", b.socket("metrics"))
	}}
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Get("http://localhost" + path)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		b.t.Fatal(response.Status, err)
	}
	return string(text)
}

func wantSeries(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, line := range want {
		if !strings.Contains(text, "\nbulkhead_gateway_"+line+"\n") {
			t.Errorf("no %s in\n%s", line, text)
		}
	}
}

// The newest checkpoint is served beside the metrics, for who keeps it elsewhere, and is the one on disk.
func TestCheckpointIsServed(t *testing.T) {
	b := newBundle(t)
	b.start("gateway", program(), append(b.gatewayArgs(), "--metrics", "unix://"+b.socket("metrics"))...)
	served := b.operator("/checkpoint")
	if kept, code := b.audit("checkpoint", "--key", b.key()); code != 0 || served != kept || !strings.HasPrefix(served, "example.com/test\n1\n") {
		t.Errorf("%q is served, %q is on disk (%d)", served, kept, code)
	}
}

// What was decided, how long it took, and how the servers are, can be read from a socket; what callers say cannot.
func TestMetrics(t *testing.T) {
	b := newBundle(t)
	b.write("policy.yaml", `version: 1
agents:
  reader:
    identity: {token: reader}
    allow:
      - {tool: alpha_ask, when: args.text != "no", limits: {calls_per_minute: 3}}
      - {tool: beta_ask}
`)
	b.start("alpha", serverProgram("alpha", "Answers"))
	b.start("gateway", program(), append(b.gatewayArgs(), "--metrics", "unix://"+b.socket("metrics"))...)
	client := b.client("reader-token")
	const secret = "s3cret-of-a-caller"
	for _, call := range []struct{ tool, text string }{
		{"alpha_ask", "yes"}, {"alpha_ask", "no"}, {"alpha_ask", "missing"}, {"alpha_ask", strings.Repeat("x", 65)}, {"alpha_ask", "yes"}, {"alpha_ask", "yes"},
		{"alpha_other", "yes"}, {"beta_ask", "yes"}, {secret, secret}, {"alpha_" + secret, secret},
	} {
		_, _ = ask(t, client, call.tool, call.text)
	}
	text := b.scrape()
	wantSeries(t, text,
		`requests_total{decision="allow",outcome="ok",server="alpha",tool="alpha_ask"} 2`,
		`requests_total{decision="allow",outcome="not_found",server="alpha",tool="alpha_ask"} 1`,
		`requests_total{decision="error",outcome="invalid_arguments",server="alpha",tool="alpha_ask"} 1`,
		`requests_total{decision="deny",outcome="condition",server="alpha",tool="alpha_ask"} 1`,
		`requests_total{decision="deny",outcome="over_budget",server="alpha",tool="alpha_ask"} 1`,
		`requests_total{decision="deny",outcome="not_granted",server="alpha",tool="alpha_other"} 1`,
		`requests_total{decision="error",outcome="other",server="",tool=""} 2`,
		`agent_requests_total{agent="reader",decision="error"} 3`,
		`call_duration_seconds_count{server="alpha",tool="alpha_ask"} 3`,
		`audit_lag_seconds_count 10`,
		`audit_failures_total 0`,
		`audit_healthy 1`,
		`upstream_state{server="alpha",state="serving"} 1`,
		`upstream_state{server="alpha",state="lost"} 0`,
	)
	eventually(t, "a server that is not there shows", func() bool {
		return strings.Contains(b.scrape(), `upstream_state{server="beta",state="lost"} 1`)
	})
	if strings.Contains(text, secret) {
		t.Error("a caller's words are in the metrics")
	}
	b.start("beta", serverProgram("beta", "Answers!"))
	eventually(t, "a quarantined server shows", func() bool {
		return strings.Contains(b.scrape(), `upstream_state{server="beta",state="quarantined"} 1`)
	})
	b.servers["gateway"]()
	if _, err := os.Stat(b.socket("metrics")); err == nil {
		t.Error("the socket outlives the gateway")
	}
}

// However many names callers try, the number of series stays what policy, lock and this program make of it.
func TestMetricsAreBounded(t *testing.T) {
	up := &upstream{name: "alpha"}
	g := &gateway{byTool: map[string]*upstream{"alpha_ask": up}, upstreams: []*upstream{up}, log: new(audit.Log), policy: &policy{}}
	m := newMetrics(g)
	for _, word := range []string{"a", "b\xff", "c\n", strings.Repeat("d", 1<<16), `e"`} {
		for _, decision := range []audit.Decision{audit.Allow, audit.Deny, audit.Error} {
			m.observe(audit.Record{Principal: word, Server: word, Tool: word, Method: word, Transport: word, Era: word, Entry: word, Reason: word, Decision: decision})
			m.observe(audit.Record{Principal: word, Server: word, Tool: "alpha_ask", Reason: reasonCondition + word, Decision: decision})
		}
	}
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := 0
	for _, family := range families {
		series += len(family.GetMetric())
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if !regexp.MustCompile(`^[a-z_]{0,20}$`).MatchString(label.GetValue()) {
					t.Errorf("%s has the label %.40q", family.GetName(), label.GetValue())
				}
			}
		}
	}
	if series > 20 {
		t.Errorf("%d series", series)
	}
}

func TestMetricsFlag(t *testing.T) {
	b := newBundle(t)
	for spec, want := range map[string]string{
		"tcp://127.0.0.1:9090": "metrics are served on a Unix socket",
		"x":                    "write unix:///PATH",
		"unix://" + filepath.Join(b.dir, "no/folder"): "--metrics: listen on",
	} {
		var out lockedBuffer
		args := append([]string{"--listen", "unix://" + b.socket("gateway"), "--metrics", spec}, b.gatewayArgs()...)
		if code := program().Run(t.Context(), args, os.Stdin, &out, &out); code == 0 || !strings.Contains(out.String(), want) {
			t.Errorf("%s: exit code %d, want %q in %s", spec, code, want, &out)
		}
	}
}
