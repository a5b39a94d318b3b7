package e2e

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/bulkhead-mcp/bulkhead/servers/e2e/fakehub/hub"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/audit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpclient"
)

const podSecurity = "kubernetes_check_pod_security"

// verdict is what a test looks at in a result of check_pod_security.
type verdict struct {
	Verdict  string `json:"verdict"`
	Findings []struct {
		Rule   string `json:"rule"`
		Object string `json:"object"`
		Fix    string `json:"fix"`
	} `json:"findings"`
}

const privilegedPod = `apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  containers:
  - name: c
    image: registry.example/c@sha256:0000000000000000000000000000000000000000000000000000000000000000
    securityContext: {privileged: true}
`

// The official SDK's client, through door, gateway and a server.
func TestThroughTheBundle(t *testing.T) {
	b := theBundle
	gate := connect(t, overHTTP(b.url(), b.token(t, "policy-gate")))
	if got, want := toolNames(t, gate), b.named(t, "policy-gate"); got != want {
		t.Errorf("policy-gate sees %q, want %q", got, want)
	}
	linter := connect(t, overHTTP(b.url(), b.token(t, "image-linter")))
	if got, want := toolNames(t, linter), b.named(t, "image-linter"); got != want {
		t.Errorf("image-linter sees %q, want %q", got, want)
	}
	for path, want := range map[string]string{"kubernetes/shop-web.yaml": "fail", "kubernetes/shop-api.yaml": "pass"} {
		var v verdict
		result, err := gate.CallTool(t.Context(), &sdk.CallToolParams{Name: podSecurity, Arguments: map[string]any{"path": path, "level": "restricted"}})
		structured(t, result, err, &v)
		if v.Verdict != want || (want == "fail") != (len(v.Findings) > 0) {
			t.Errorf("%s: %+v, want %s", path, v, want)
		}
	}
	var v verdict
	result, err := gate.CallTool(t.Context(), &sdk.CallToolParams{Name: podSecurity, Arguments: map[string]any{"text": privilegedPod, "level": "baseline"}})
	structured(t, result, err, &v)
	if v.Verdict != "fail" || len(v.Findings) == 0 || v.Findings[0].Rule != "pod-security/privileged" || v.Findings[0].Fix == "" {
		t.Errorf("a privileged pod: %+v", v)
	}
}

// A call travels door, gateway, dockerhub, egress and back, and leaves one record at each with the same id.
func TestDockerHubThroughEgress(t *testing.T) {
	b := theBundle
	client := b.as(t, "image-linter")
	result, err := client.CallTool(t.Context(), "dockerhub_list_tags", map[string]any{"repository": "nginx", "limit": 3}, nil)
	if err != nil || result.IsError || !strings.Contains(string(result.Structured), `"`+hub.NginxNewest+" sha256:") {
		t.Fatalf("%+v, %v", result, err)
	}
	if r := b.record(t, result.Call); r.Decision != audit.Allow || r.Server != "dockerhub" || r.Principal != "image-linter" || r.Reason != "ok" {
		t.Errorf("record %+v", r)
	}
	for _, service := range []string{"dockerhub", "egress"} {
		b.awaitLog(t, service, result.Call)
	}
	for repository, code := range map[string]string{
		"nothing/here": "not_found", hub.Forbidden: "forbidden", hub.Limited: "rate_limited", hub.Unavailable: "unavailable",
		hub.Endless: "too_large", hub.Silent: "timeout", "ghcr.io/a/b": "invalid_arguments",
	} {
		result, err := client.CallTool(t.Context(), "dockerhub_list_tags", map[string]any{"repository": repository}, nil)
		if err != nil || result.Code != code || result.Text == "" {
			t.Errorf("%s: %+v, %v; want %s", repository, result, err, code)
		}
	}
}

// The server is logged in: it sees what its account may see, tells the limits apart, and has warned that its token may write.
func TestDockerHubLogin(t *testing.T) {
	b := theBundle
	client := b.as(t, "image-linter")
	for tool, tc := range map[string]struct {
		args map[string]any
		want string
	}{
		"dockerhub_get_repository":      {map[string]any{"repository": hub.Private}, `"private":true`},
		"dockerhub_search_repositories": {map[string]any{"query": "nginx", "badge": "official"}, `"docker.io/library/nginx"`},
		"dockerhub_resolve_digest":      {map[string]any{"repository": "alpine@" + hub.DigestOf(hub.Alpine, "latest")}, `"tag":"3.22"`},
		"dockerhub_rate_limit_status":   {map[string]any{}, `"pull":{"limit":200,"remaining":76,"window_seconds":21600,`},
	} {
		result, err := client.CallTool(t.Context(), tool, tc.args, nil)
		if err != nil || result.IsError || !strings.Contains(string(result.Structured), tc.want) {
			t.Errorf("%s: %s %s, %v; want %s", tool, result.Structured, result.Text, err, tc.want)
		}
	}
	b.awaitLog(t, "dockerhub", "the Docker Hub token may write")
}

// What egress's policy does not list is not reached, and the refusal bears the call's id.
func TestEgressRefuses(t *testing.T) {
	b := theBundle
	policy := func(text string) {
		t.Helper()
		if err := os.WriteFile(b.path("egress.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		b.docker(t, "compose", "up", "--detach", "--force-recreate", "--no-deps", "--wait", "egress")
	}
	policy("version: 1\nclients:\n  dockerhub:\n    hosts:\n      - {host: somewhere.example}\n")
	defer policy(egressPolicy)
	result, err := b.as(t, "image-linter").CallTool(t.Context(), "dockerhub_get_tag", map[string]any{"repository": "nginx"}, nil)
	if err != nil || result.Code != "denied" || !strings.Contains(result.Text, "hub.docker.com") {
		t.Errorf("%+v, %v", result, err)
	}
	refusal := b.awaitLog(t, "egress", result.Call)
	if !strings.Contains(refusal, `"deny"`) || !strings.Contains(refusal, "hub.docker.com") {
		t.Errorf("egress's record of call %s: %q", result.Call, refusal)
	}
	if r := b.record(t, result.Call); r.Decision != audit.Allow || r.Reason != "denied" {
		t.Errorf("the gateway's record: %+v", r) // it allowed the call; who denied was egress
	}
}

// Bad input gets a clear error, and nothing else stops.
func TestBadInput(t *testing.T) {
	b := theBundle
	gate := b.as(t, "policy-gate")
	for name, tc := range map[string]struct {
		args       map[string]any
		code, text string
	}{
		"broken YAML":        {map[string]any{"path": "broken.yaml"}, "", `"file":"broken.yaml","line":4`},
		"too large a file":   {map[string]any{"path": "large.yaml"}, "too_large", "large.yaml"},
		"outside":            {map[string]any{"path": "../etc/passwd"}, "", "/workspace"},
		"absolute":           {map[string]any{"path": "/etc/passwd"}, "", "/workspace"},
		"a link out":         {map[string]any{"path": "outside.yaml"}, "", "outside.yaml"},
		"no such file":       {map[string]any{"path": "nope.yaml"}, "not_found", "nope.yaml"},
		"unknown argument":   {map[string]any{"path": "a.yaml", "evil": true}, "invalid_arguments", `no such argument: "evil"`},
		"unknown level":      {map[string]any{"path": "a.yaml", "level": "paranoid"}, "invalid_arguments", "level"},
		"neither nor":        {map[string]any{}, "invalid_arguments", "path"},
		"both":               {map[string]any{"path": "a.yaml", "text": "x"}, "invalid_arguments", "path"},
		"wrong type":         {map[string]any{"path": 1}, "invalid_arguments", "path"},
		"unknown version":    {map[string]any{"text": privilegedPod, "version": "v1.999"}, "invalid_arguments", "v1."},
		"a very long string": {map[string]any{"path": strings.Repeat("a", 1<<20)}, "invalid_arguments", "path"},
	} {
		t.Run(name, func(t *testing.T) {
			result, err := gate.CallTool(t.Context(), podSecurity, tc.args, nil)
			if err != nil {
				t.Fatal(err)
			}
			answer := result.Text + string(result.Structured)
			if !strings.Contains(answer, tc.text) || tc.code != "" && result.Code != tc.code || strings.Contains(answer, "root:x:0") {
				t.Errorf("%+v; want code %q and %q", result, tc.code, tc.text)
			}
			if len(answer) > 4096 {
				t.Errorf("the answer repeats %d bytes", len(answer))
			}
			b.record(t, result.Call)
		})
	}
	var rpc *mcpclient.RPCError
	if _, err := gate.CallTool(t.Context(), "kubernetes_nope", nil, nil); !errors.As(err, &rpc) || !strings.Contains(rpc.Message, "unknown tool") {
		t.Errorf("unknown tool: %v", err)
	}
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`
	good := map[string]string{"Authorization": "Bearer " + b.token(t, "policy-gate"), "Content-Type": "application/json"}
	for name, tc := range map[string]struct {
		header       map[string]string
		method, path string
		body         string
		status       int
	}{
		"good":          {good, "POST", "/mcp", body, 200},
		"missing token": {map[string]string{"Content-Type": "application/json"}, "POST", "/mcp", body, 401},
		"wrong token":   {map[string]string{"Content-Type": "application/json", "Authorization": "Bearer x"}, "POST", "/mcp", body, 401},
		"GET":           {good, "GET", "/mcp", "", 405},
		"another path":  {good, "POST", "/", body, 404},
		"too large":     {good, "POST", "/mcp", strings.Repeat("x", 3<<20), 413},
		"foreign page":  {map[string]string{"Origin": "https://evil.example", "Authorization": good["Authorization"], "Content-Type": "application/json"}, "POST", "/mcp", body, 403},
	} {
		if status, answer := b.over(t, tc.method, tc.path, tc.body, tc.header); status != tc.status {
			t.Errorf("%s: HTTP %d %s; want %d", name, status, answer, tc.status)
		}
	}
}

// Configuration that is wrong stops the start, and says where.
func TestConfigurationMistakes(t *testing.T) {
	b := theBundle
	policy, err := os.ReadFile(b.path("policy.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	lock, err := os.ReadFile(b.root + "/agents/tools.lock.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ policy, lock, egress, want string }{
		"unknown agent":  {policy: string(policy) + "  stranger:\n    identity: {token: stranger}\n    allow: []\n", want: "stranger has no token"},
		"unknown key":    {policy: "version: 1\nagnts: {}\n", want: "/policy.yaml:2: unknown key agnts"},
		"unknown tool":   {policy: string(policy) + "      - tool: kubernetes_delete_pod\n", want: "kubernetes_delete_pod"},
		"stale lock":     {lock: strings.Replace(string(lock), "List the tags", "List all the tags", 1), want: "run make lock"},
		"unknown preset": {egress: "version: 1\nclients:\n  dockerhub: {presets: [everything]}\n", want: "/policy.yaml:3"},
		"wildcard":       {egress: "version: 1\nclients:\n  dockerhub:\n    hosts: [{host: \"*.docker.com\"}]\n", want: "/policy.yaml:4"},
	} {
		t.Run(name, func(t *testing.T) {
			service, variable, content := "gateway", "BULKHEAD_POLICY", tc.policy
			if tc.lock != "" {
				variable, content = "BULKHEAD_LOCK", tc.lock
			}
			if tc.egress != "" {
				service, variable, content = "egress", "EGRESS_POLICY", tc.egress
			}
			file := b.path(strings.ReplaceAll(name, " ", "-"))
			if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
			c := exec.CommandContext(t.Context(), "docker", "compose", "run", "--rm", "--no-deps", "-T", service)
			c.Dir, c.Env = b.root, append(b.env, variable+"="+file)
			out, err := c.CombinedOutput()
			if err == nil || !strings.Contains(string(out), tc.want) {
				t.Errorf("%v, %s; want %q in it", err, out, tc.want)
			}
		})
	}
}

// Each image works alone, by the one command that README shows.
func TestSingleImages(t *testing.T) {
	b := theBundle
	t.Run("kubernetes over stdio", func(t *testing.T) {
		session := connect(t, &sdk.CommandTransport{Command: exec.CommandContext(t.Context(), "docker", "run", "-i", "--rm",
			"--read-only", "--network", "none", "--cap-drop", "ALL", b.image(t, "kubernetes"))})
		if got := strings.Fields(toolNames(t, session)); !slices.Contains(got, "check_pod_security") {
			t.Errorf("tools %q", got)
		}
		var v verdict
		result, err := session.CallTool(t.Context(), &sdk.CallToolParams{Name: "check_pod_security", Arguments: map[string]any{"text": privilegedPod, "level": "baseline"}})
		structured(t, result, err, &v)
		if v.Verdict != "fail" {
			t.Errorf("%+v", v)
		}
	})
	t.Run("kubernetes as a gate", func(t *testing.T) {
		c := exec.CommandContext(t.Context(), "docker", "run", "-i", "--rm", "--read-only", "--network", "none", "--cap-drop", "ALL",
			b.image(t, "kubernetes"), "check", "--fail-on", "medium", "-")
		c.Stdin = strings.NewReader(privilegedPod)
		out, err := c.CombinedOutput()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 || !strings.Contains(string(out), "pod-security/privileged") {
			t.Errorf("%v: %s", err, out)
		}
	})
	t.Run("dockerhub over stdio, direct", func(t *testing.T) {
		session := connect(t, &sdk.CommandTransport{Command: exec.CommandContext(t.Context(), "docker", "run", "-i", "--rm",
			"--read-only", "--network", project+"_hub", "--cap-drop", "ALL", "--volume", b.path("certs")+":/certs:ro",
			b.image(t, "dockerhub"), "--egress", "direct", "--ca-file", "/certs/ca.pem",
			"--allow-host", "hub.docker.com=10.0.0.0/8,172.16.0.0/12,192.168.0.0/16")})
		var out struct{ Total int }
		result, err := session.CallTool(t.Context(), &sdk.CallToolParams{Name: "list_tags", Arguments: map[string]any{"repository": "nginx"}})
		structured(t, result, err, &out)
		if out.Total != hub.NginxTags {
			t.Errorf("%d tags, want %d", out.Total, hub.NginxTags)
		}
	})
	t.Run("direct means public addresses", func(t *testing.T) {
		session := connect(t, &sdk.CommandTransport{Command: exec.CommandContext(t.Context(), "docker", "run", "-i", "--rm",
			"--read-only", "--network", project+"_hub", "--cap-drop", "ALL", b.image(t, "dockerhub"), "--egress", "direct")})
		result, err := session.CallTool(t.Context(), &sdk.CallToolParams{Name: "list_tags", Arguments: map[string]any{"repository": "nginx"}})
		if err != nil || !result.IsError || result.Meta["dev.bulkhead/code"] != "denied" {
			t.Errorf("a private address was dialled: %+v, %v", result, err)
		}
	})
	t.Run("over HTTP, with a printed token", func(t *testing.T) {
		port, err := freePort(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// The article's command: docker run --rm -p 4000:4000 IMAGE. Only the port is ours.
		name := project + "-single"
		c := exec.CommandContext(t.Context(), "docker", "run", "--rm", "--name", name, "-p", "127.0.0.1:"+port+":4000", b.image(t, "kubernetes"))
		stderr := &lines{}
		c.Stderr = stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { b.docker(t, "stop", name); _ = c.Wait() }()
		token := stderr.await(t, regexp.MustCompile(`"Authorization": "Bearer ([A-Z0-9]+)"`))
		url := "http://127.0.0.1:" + port + "/mcp"
		if got := strings.Fields(toolNames(t, connect(t, overHTTP(url, token)))); !slices.Contains(got, "check_pod_security") {
			t.Errorf("tools %q", got)
		}
		var status *mcpclient.StatusError
		if _, err := (&mcpclient.Client{HTTP: &http.Client{}, URL: url, Token: "x"}).ListTools(t.Context()); !errors.As(err, &status) || status.Status != 401 {
			t.Errorf("a wrong token: %v", err)
		}
	})
}

// The demonstration tells its whole story, in a bundle of its own, and leaves nothing of it.
func TestDemo(t *testing.T) {
	b := theBundle
	c := exec.CommandContext(t.Context(), "go", "run", "./servers/e2e/demo", "-json", "-images", b.path("env"))
	var stderr strings.Builder
	c.Dir, c.Env, c.Stderr = b.root, b.env, &stderr
	out, err := c.Output()
	var story struct {
		OK    bool
		Steps []struct {
			Title string
			OK    bool
			Lines []string
		}
	}
	if jsonErr := json.Unmarshal(out, &story); err != nil || jsonErr != nil || !story.OK || len(story.Steps) < 8 {
		t.Fatalf("%v, %v: %s\n%s", err, jsonErr, out, &stderr)
	}
	for _, step := range story.Steps {
		if !step.OK || len(step.Lines) == 0 {
			t.Errorf("%+v", step)
		}
	}
	for _, kind := range []string{"container", "volume", "network"} {
		list := []string{kind, "ls", "--quiet", "--filter", "label=com.docker.compose.project=bulkhead-demo"}
		if kind == "container" {
			list = append(list, "--all")
		}
		if left := b.docker(t, list...); left != "" {
			t.Errorf("it leaves a %s behind: %s", kind, left)
		}
	}
}

// A server whose definitions are not the locked ones is quarantined; the others go on.
func TestQuarantine(t *testing.T) {
	b := theBundle
	// An image whose tools are others takes kubernetes' place.
	override := b.path("quarantine.yaml")
	if err := os.WriteFile(override, []byte("services:\n  kubernetes:\n    image: "+b.image(t, "dockerhub")+"\n    command: !override [--listen=unix:///s/s]\n    healthcheck: {test: !override [CMD, /ko-app/dockerhub, health, \"--listen=unix:///s/s\"]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	compose := func(files string) {
		t.Helper()
		c := exec.CommandContext(t.Context(), "docker", "compose", "up", "--detach", "--no-deps", "--wait", "kubernetes")
		c.Dir, c.Env = b.root, append(b.env, "COMPOSE_FILE="+files)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	files := ""
	for _, v := range b.env {
		if f, ok := strings.CutPrefix(v, "COMPOSE_FILE="); ok {
			files = f
		}
	}
	compose(files + ":" + override)
	defer func() {
		compose(files)
		b.await(t, "policy-gate", b.named(t, "policy-gate"))
	}()
	b.await(t, "policy-gate", b.namedBut(t, "policy-gate", "kubernetes"))
	if _, err := b.as(t, "policy-gate").CallTool(t.Context(), podSecurity, map[string]any{"text": privilegedPod}, nil); err == nil {
		t.Error("a quarantined tool was called")
	}
	result, err := b.as(t, "image-linter").CallTool(t.Context(), "dockerhub_get_tag", map[string]any{"repository": "nginx"}, nil)
	if err != nil || result.IsError {
		t.Errorf("the other server: %+v, %v", result, err)
	}
	if !strings.Contains(b.logs(t, "gateway"), `{"tool":"check_pod_security","member":"","from":"in the lock","to":"gone"}`) {
		t.Error("the difference is not in the gateway's log")
	}
}

// await waits until an agent sees just these tools.
func (b *bundle) await(t *testing.T, agent, tools string) {
	t.Helper()
	got := "?"
	for range 100 {
		raw, err := b.as(t, agent).ListTools(t.Context())
		if err == nil {
			names := make([]string, len(raw))
			for i, data := range raw {
				names[i] = regexp.MustCompile(`"name":"([a-z_]+)"`).FindStringSubmatch(string(data))[1]
			}
			if got = strings.Join(names, " "); got == tools {
				return
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Fatalf("%s sees %q, and never %q", agent, got, tools)
}
