package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/e2e/fakehub/hub"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/audit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpclient"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// gatewayAgents stand in the policy of the tests beside the agents that are shipped.
const gatewayAgents = `
  conditioned:
    identity: {token: conditioned}
    allow:
      - tool: dockerhub_list_tags
        when: args.repository == "nginx" && args.limit <= 3
  limited:
    identity: {token: limited}
    limits: {calls_per_minute: 2}
    allow: [{tool: kubernetes_check_pod_security}]
  limited-tool:
    identity: {token: limited-tool}
    allow:
      - {tool: dockerhub_get_tag, limits: {calls_per_minute: 1}}
      - {tool: dockerhub_list_tags, limits: {concurrent: 1, result_bytes: 1024}}
      - {tool: kubernetes_lint_manifests, limits: {result_bytes: 1024}}
  canary:
    identity: {token: canary}
    allow: [{tool: "dockerhub_*"}, {tool: "kubernetes_*"}, {tool: "logs_*"}, {tool: "registry_*"}, {tool: "terraform_*"}]
  incessant:
    identity: {token: incessant}
    allow: [{tool: kubernetes_check_pod_security}]
  ungranted:
    identity: {token: ungranted}
`

// refusal is what a call's caller is told and what is recorded of it.
func (b *bundle) refusal(t *testing.T, client *mcpclient.Client, tool string, args any) (mcpclient.CallResult, audit.Record) {
	t.Helper()
	result, err := client.CallTool(t.Context(), tool, args, nil)
	if err != nil {
		t.Fatal(err)
	}
	return result, b.record(t, result.Call)
}

// inGateway runs a command of the gateway's in its container, with standard input.
func (b *bundle) inGateway(t *testing.T, stdin string, args ...string) (code int, out string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "docker", append([]string{"compose", "exec", "-T", "gateway", "/ko-app/gateway"}, args...)...)
	var all bytes.Buffer
	c.Dir, c.Env, c.Stdin, c.Stdout, c.Stderr = b.root, b.env, strings.NewReader(stdin), &all, &all
	if err := c.Run(); err != nil && c.ProcessState == nil {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), all.String()
}

// restartGateway makes a new container of the gateway, which reads its configuration anew.
func (b *bundle) restartGateway(t *testing.T) {
	t.Helper()
	b.docker(t, "compose", "up", "--detach", "--force-recreate", "--no-deps", "--wait", "gateway")
}

func isUnknown(err error) bool {
	fault, ok := errors.AsType[*mcpclient.RPCError](err)
	return ok && strings.Contains(fault.Message, "unknown tool")
}

// A condition decides by the arguments; what it does not let through is refused, with the entry in the record.
func TestConditions(t *testing.T) {
	b := theBundle
	client := b.as(t, "conditioned")
	result, record := b.refusal(t, client, "dockerhub_list_tags", map[string]any{"repository": "nginx", "limit": 3})
	if result.IsError || record.Decision != audit.Allow || !regexp.MustCompile(`^policy\.yaml:\d+$`).MatchString(record.Entry) {
		t.Errorf("within the condition: %+v, %+v", result, record)
	}
	for _, tc := range []struct {
		args   map[string]any
		reason string
	}{
		{map[string]any{"repository": "nginx", "limit": 4}, "does not hold"},
		{map[string]any{"repository": hub.Limited, "limit": 1}, "does not hold"},
		{map[string]any{"repository": "nginx"}, "failed: no such key: limit"}, // an evaluation that fails denies
	} {
		result, record := b.refusal(t, client, "dockerhub_list_tags", tc.args)
		if result.Code != "denied" || record.Decision != audit.Deny || !strings.HasSuffix(record.Reason, tc.reason) || record.Server != "dockerhub" {
			t.Errorf("%v: %+v, %+v", tc.args, result, record)
		}
	}
}

// The policy can be tried out in the container, and a mistake in one is told with its line.
func TestConfigurationCommands(t *testing.T) {
	b := theBundle
	in := []string{"--policy=/policy.yaml", "--lock=/tools.lock.json"}
	const right = "version: 1\ndecisions:\n" +
		"  - {agent: conditioned, tool: dockerhub_list_tags, args: {repository: nginx, limit: 1}, expect: allow}\n" +
		"  - {agent: conditioned, tool: dockerhub_list_tags, args: {repository: redis, limit: 1}, expect: deny}\n"
	code, out := b.inGateway(t, right, slices.Concat([]string{"policy", "test"}, in, []string{"/dev/stdin"})...)
	if code != 0 || !regexp.MustCompile(`ok   /dev/stdin:3: conditioned dockerhub_list_tags: allow \(policy\.yaml:\d+\)`).MatchString(out) {
		t.Errorf("exit code %d: %s", code, out)
	}
	code, out = b.inGateway(t, strings.Replace(right, "deny", "allow", 1), slices.Concat([]string{"policy", "test"}, in, []string{"/dev/stdin"})...)
	if code != 1 || !strings.Contains(out, "FAIL /dev/stdin:4: ") {
		t.Errorf("another expectation: exit code %d: %s", code, out)
	}
	code, out = b.inGateway(t, right, slices.Concat([]string{"check-config", "--tokens=/tokens"}, in, []string{"/dev/stdin"})...)
	if code != 0 {
		t.Errorf("check-config: exit code %d: %s", code, out)
	}
	const misspelled = "version: 1\nagents:\n  a:\n    identity: {token: nobody}\n    allow:\n      - tool: dockerhub_list_tags\n        when: args.repo == 'x'\n"
	code, out = b.inGateway(t, misspelled, "check-config", "--policy=/dev/stdin", "--lock=/tools.lock.json", "--tokens=/tokens")
	if code != 1 || !strings.Contains(out, "/dev/stdin:7: agent a: when: for dockerhub_list_tags: column 5: undefined field 'repo'") || !strings.Contains(out, "nobody has no token") {
		t.Errorf("a misspelled argument: exit code %d: %s", code, out)
	}
}

// An agent without grants sees no tool, and each is unknown to it.
func TestWithoutGrants(t *testing.T) {
	client := theBundle.as(t, "ungranted")
	if tools, err := client.ListTools(t.Context()); err != nil || len(tools) != 0 {
		t.Errorf("%d tools, %v", len(tools), err)
	}
	for _, tool := range []string{podSecurity, "dockerhub_list_tags", "no_such_tool"} {
		if _, err := client.CallTool(t.Context(), tool, map[string]any{}, nil); !isUnknown(err) {
			t.Errorf("%s: %v", tool, err)
		}
	}
}

// Limits of an agent and of an entry refuse with the time to come back, and a restart gives nobody a second budget.
func TestLimits(t *testing.T) {
	b := theBundle
	args := map[string]any{"path": "kubernetes/shop-api.yaml"}
	for range 2 {
		if result, err := b.as(t, "limited").CallTool(t.Context(), podSecurity, args, nil); err != nil || result.IsError {
			t.Fatalf("%+v, %v", result, err)
		}
	}
	comeBack := regexp.MustCompile(`2 calls a minute are allowed; come back in [1-9]\d? s$`)
	for _, when := range []string{"before a restart", "after it"} {
		result, record := b.refusal(t, b.as(t, "limited"), podSecurity, args)
		if result.Code != "rate_limited" || !comeBack.MatchString(result.Text) || record.Decision != audit.Deny || record.Reason != "over budget: limited" {
			t.Errorf("%s: %+v, %+v", when, result, record)
		}
		if when == "before a restart" {
			b.restartGateway(t)
		}
	}

	client := b.as(t, "limited-tool")
	if result, err := client.CallTool(t.Context(), "dockerhub_get_tag", map[string]any{"repository": "nginx"}, nil); err != nil || result.IsError {
		t.Errorf("%+v, %v", result, err)
	}
	result, record := b.refusal(t, client, "dockerhub_get_tag", map[string]any{"repository": "nginx"})
	if result.Code != "rate_limited" || !strings.Contains(record.Reason, "over budget: policy.yaml:") {
		t.Errorf("an entry's own limit: %+v, %+v", result, record)
	}
	// Another entry of the same agent has its own, of bytes: a page that does not fit is refused, since the next one would
	// skip what was cut off; anything else is cut, and says so.
	result, record = b.refusal(t, client, "dockerhub_list_tags", map[string]any{"repository": "nginx", "limit": 50})
	if result.Code != "too_large" || !strings.Contains(result.Text, "1024 bytes") || !strings.Contains(result.Text, "a smaller limit") {
		t.Errorf("result bytes of a page: %+v, %+v", result, record)
	}
	result, record = b.refusal(t, client, "kubernetes_lint_manifests", map[string]any{"path": "kubernetes/shop-web.yaml"})
	if result.IsError || len(result.Structured) > 1024 || !bytes.Contains(result.Structured, []byte(`"truncated":true`)) || !record.Result.Cut {
		t.Errorf("result bytes: %d bytes, %+v, %+v", len(result.Structured), result, record)
	}
	// One of two calls at once is refused, whichever comes second.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	silent := make(chan string, 1)
	go func() {
		result, _ := client.CallTool(ctx, "dockerhub_list_tags", map[string]any{"repository": hub.Silent}, nil)
		silent <- result.Code
	}()
	b.eventually(t, "one of two calls at once is refused", func() bool {
		select {
		case code := <-silent:
			return code == "busy"
		default:
		}
		result, err := client.CallTool(t.Context(), "dockerhub_list_tags", map[string]any{"repository": "nginx", "limit": 1}, nil)
		return err == nil && result.Code == "busy"
	})
}

// What agents see, annotations too, is what was locked.
func TestDefinitionsAreTheLocked(t *testing.T) {
	b := theBundle
	tools, err := b.as(t, "image-linter").ListTools(t.Context())
	if err != nil || len(tools) < 3 {
		t.Fatal(len(tools), err)
	}
	servers := b.locked(t)
	for _, raw := range tools {
		var seen mcpserver.Definition
		if err := json.Unmarshal(raw, &seen); err != nil {
			t.Fatal(err)
		}
		server, name, _ := strings.Cut(seen.Name, "_")
		seen.Name = name
		digest, err := seen.Digest()
		if want := servers[server][seen.Name].SHA256; err != nil || digest != want {
			t.Errorf("%s is %s, %v; want %s", seen.Name, digest, err, want)
		}
	}
}

type lockedTool struct {
	SHA256     string               `json:"sha256"`
	Definition mcpserver.Definition `json:"definition"`
}

func (b *bundle) locked(t *testing.T) map[string]map[string]lockedTool {
	t.Helper()
	data, err := os.ReadFile(b.path("tools.lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	var lock struct {
		Servers map[string]map[string]lockedTool
	}
	if err := json.Unmarshal(data, &lock); err != nil {
		t.Fatal(err)
	}
	return lock.Servers
}

// lock writes the lock anew of what servers say of themselves, each a list of definitions, and restarts the gateway.
func (b *bundle) lock(t *testing.T, definitions map[string]string) {
	t.Helper()
	args := []string{"run", "./servers/gateway", "lock"}
	for server, text := range definitions {
		path := filepath.Join(t.TempDir(), server+".json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	c := exec.CommandContext(t.Context(), "go", args...)
	c.Dir = b.root
	lock, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.path("tools.lock.json"), lock, 0o644); err != nil {
		t.Fatal(err)
	}
	b.restartGateway(t)
}

// A server whose definition is not the locked one, by one character, loses its tools; the log has the difference, the
// others work; after gateway lock and a restart they are back.
func TestQuarantineUntilLocked(t *testing.T) {
	b := theBundle
	printed := map[string]string{}
	for server := range b.locked(t) {
		printed[server] = b.docker(t, "compose", "exec", "-T", server, "/ko-app/"+server, "tools")
	}
	before := b.locked(t)["kubernetes"]["check_pod_security"].Definition.Title
	other := "X" + before[1:]
	changed := strings.Replace(printed["kubernetes"], `"title": "`+before+`"`, `"title": "`+other+`"`, 1)
	if changed == printed["kubernetes"] {
		t.Fatalf("no title %q in %s", before, changed)
	}
	edited := maps.Clone(printed)
	edited["kubernetes"] = changed
	b.lock(t, edited)
	defer func() {
		if t.Failed() {
			b.lock(t, printed)
		}
	}()

	gate, linter := b.as(t, "policy-gate"), b.as(t, "image-linter")
	b.await(t, "policy-gate", b.namedBut(t, "policy-gate", "kubernetes"))
	if _, err := gate.CallTool(t.Context(), podSecurity, map[string]any{"path": "kubernetes/shop-api.yaml"}, nil); !isUnknown(err) {
		t.Errorf("a quarantined tool: %v", err)
	}
	if result, err := linter.CallTool(t.Context(), "dockerhub_get_tag", map[string]any{"repository": "nginx"}, nil); err != nil || result.IsError {
		t.Errorf("the other server: %+v, %v", result, err)
	}
	quoted, _ := json.Marshal(`"` + before)
	if log := b.logs(t, "gateway"); !strings.Contains(log, `"difference":[{"tool":"check_pod_security","member":"/title",`) || !strings.Contains(log, string(quoted[:len(quoted)-1])) {
		t.Errorf("no difference in the log: %s", log)
	}
	code, out := b.inGateway(t, "", "diff", "--lock=/tools.lock.json", "--upstream=dockerhub=unix:///u/dockerhub/s", "--upstream=kubernetes=unix:///u/kubernetes/s")
	if code != 1 || !strings.Contains(out, `kubernetes: check_pod_security: /title: "`+before) || !strings.Contains(out, "dockerhub: as locked") {
		t.Errorf("gateway diff: exit code %d: %s", code, out)
	}

	b.lock(t, printed)
	if result, err := gate.CallTool(t.Context(), podSecurity, map[string]any{"path": "kubernetes/shop-api.yaml"}, nil); err != nil || result.IsError {
		t.Errorf("after gateway lock and a restart: %+v, %v", result, err)
	}
	if code, out := b.inGateway(t, "", "diff", "--lock=/tools.lock.json", "--upstream=kubernetes=unix:///u/kubernetes/s"); code != 0 {
		t.Errorf("gateway diff: exit code %d: %s", code, out)
	}
}

func (b *bundle) eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 200 {
		if holds() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

// A dead server costs its own tools and no one else's, and has them again when it is back.
func TestDeadServer(t *testing.T) {
	b := theBundle
	gate, linter := b.as(t, "policy-gate"), b.as(t, "image-linter")
	args := map[string]any{"path": "kubernetes/shop-api.yaml"}
	start := func() { b.docker(t, "compose", "up", "--detach", "--no-deps", "--wait", "kubernetes") }
	b.docker(t, "compose", "kill", "kubernetes")
	defer start()
	result, record := b.refusal(t, gate, podSecurity, args)
	if result.Code != "unavailable" || !strings.Contains(result.Text, "tried again every 5s") || record.Reason != "unavailable" {
		t.Errorf("%+v, %+v", result, record)
	}
	if result, err := linter.CallTool(t.Context(), "dockerhub_get_tag", map[string]any{"repository": "nginx"}, nil); err != nil || result.IsError {
		t.Errorf("the other server: %+v, %v", result, err)
	}
	start()
	b.eventually(t, "the server has its tools again", func() bool {
		result, err := gate.CallTool(t.Context(), podSecurity, args, nil)
		return err == nil && !result.IsError
	})
}

// The gateway's metrics are not published; a door that the operator asks for forwards their socket.
func TestMetrics(t *testing.T) {
	b := theBundle
	client := b.as(t, "conditioned")
	_, _ = client.CallTool(t.Context(), "dockerhub_list_tags", map[string]any{"repository": "nginx", "limit": 1}, nil)
	_, _ = client.CallTool(t.Context(), "dockerhub_list_tags", map[string]any{"repository": "redis", "limit": 1}, nil)
	address := "http://127.0.0.1:" + b.metrics + "/metrics"
	get := func() (*http.Response, error) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		return http.DefaultClient.Do(request)
	}
	if response, err := get(); err == nil {
		response.Body.Close()
		t.Error("metrics are published though nobody asked")
	}
	defer b.docker(t, "compose", "--profile", "metrics", "rm", "--stop", "--force", "metrics-door")
	b.docker(t, "compose", "--profile", "metrics", "up", "--detach", "--no-deps", "--wait", "metrics-door")
	response, err := get()
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(response.Body); err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(response.Status, err)
	}
	for _, want := range []string{
		`requests_total{decision="allow",outcome="ok",server="dockerhub",tool="dockerhub_list_tags"} [1-9]`,
		`requests_total{decision="deny",outcome="condition",server="dockerhub",tool="dockerhub_list_tags"} [1-9]`,
		`agent_requests_total{agent="conditioned",decision="deny"} [1-9]`,
		`call_duration_seconds_count{server="dockerhub",tool="dockerhub_list_tags"} [1-9]`,
		`audit_lag_seconds_count [1-9]`,
		`upstream_state{server="kubernetes",state="serving"} 1`,
	} {
		if !regexp.MustCompile(`(?m)^bulkhead_gateway_` + want).Match(text.Bytes()) {
			t.Errorf("no %s in\n%s", want, &text)
		}
	}
	if strings.Contains(text.String(), b.token(t, "conditioned")) || strings.Contains(text.String(), "redis") {
		t.Error("a token or an argument is in the metrics")
	}
}
