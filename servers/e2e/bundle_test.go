package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/bulkhead-mcp/bulkhead/servers/e2e/canary"
	"github.com/bulkhead-mcp/bulkhead/servers/e2e/fakehub/hub"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/audit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpclient"
)

const (
	project       = "bulkhead-e2e"
	startPatience = 10 * time.Minute // images are built from a cold cache
)

// theBundle is the bundle that all tests share; TestMain starts it.
var theBundle *bundle

// bundle is a running compose project.
type bundle struct {
	root    string // of the repository
	dir     string // of this run: tokens, certificates, workspace, policies
	port    string
	metrics string // the port of metrics-door, when it runs
	env     []string
}

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), startPatience)
	defer cancel()
	b, err := start(ctx)
	if b != nil {
		defer b.stop()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "e2e: the bundle does not start: %v\n", err)
		return 1
	}
	theBundle = b
	code := m.Run()
	if err := b.searchForTokens(); err != nil {
		fmt.Fprintf(os.Stderr, "e2e: %v\n", err)
		return 1
	}
	return code
}

func start(ctx context.Context) (*bundle, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "bulkhead-e2e-")
	if err != nil {
		return nil, err
	}
	port, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	metrics, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	b := &bundle{root: root, dir: dir, port: port, metrics: metrics}
	b.env = append(os.Environ(),
		"COMPOSE_PROJECT_NAME="+project, "COMPOSE_ENV_FILES="+b.path("env"),
		"COMPOSE_FILE="+filepath.Join(root, "compose.yaml")+":"+filepath.Join(root, "servers/e2e/compose.yaml"),
		"BULKHEAD_PORT="+port, "BULKHEAD_SECRETS="+b.path("secrets"), "BULKHEAD_WORKSPACE="+b.path("workspace"),
		"BULKHEAD_LOGS="+b.path("workspace/logs"), "BULKHEAD_LOG_SOURCES="+filepath.Join(root, "servers/logs/sources.yaml"),
		"EGRESS_POLICY="+b.path("egress.yaml"), "BULKHEAD_POLICY="+b.path("policy.yaml"), "E2E_DIR="+dir,
		"BULKHEAD_LOCK="+b.path("tools.lock.json"), "BULKHEAD_METRICS_PORT="+metrics,
	)
	steps := []func() error{
		func() error { return os.Chmod(dir, 0o755) },
		b.writeFiles,
		func() error { return b.command(ctx, root, "scripts/secrets") },
		func() error {
			return b.command(ctx, root, "go", "run", "./servers/e2e/fakehub", "certs", "--dir", b.path("certs"),
				"--host", "hub.docker.com", "--host", "auth.docker.io", "--host", "registry-1.docker.io", "--host", canary.Host)
		},
		func() error {
			return b.command(ctx, filepath.Join(root, "images"), "go", "run", ".", "load", "--test", "--env", b.path("env"))
		},
		func() error {
			return b.command(ctx, root, "docker", "compose", "--profile", "*", "down", "--volumes", "--timeout", "5")
		},
		func() error { return b.up(ctx) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return b, err
		}
	}
	return b, nil
}

func (b *bundle) path(name string) string { return filepath.Join(b.dir, name) }

// egressPolicy lets dockerhub reach the fake Docker Hub, on whatever private network the engine has put it.
const egressPolicy = `version: 1
clients:
  dockerhub:
    hosts:
      - {host: hub.docker.com, addresses: [10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16]}
      - {host: auth.docker.io, addresses: [10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16]}
      - {host: registry-1.docker.io, addresses: [10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16]}
  registry:
    hosts:
      - {host: canary.example, addresses: [10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16]}
  agent:
    hosts:
      - {host: model-runner.docker.internal, port: 12434, tls: plain, addresses: [10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16]}
`

var callsPerMinute = regexp.MustCompile(`calls_per_minute: \d+`)

// inAHurry makes of the policy that comes with the bundle one for these tests, which call more in a minute than agents do,
// and have agents of their own.
func inAHurry(policy string) string {
	policy = callsPerMinute.ReplaceAllLiteralString(policy, "calls_per_minute: 10000")
	return strings.Replace(policy, "\nagents:\n", "\nagents:"+gatewayAgents, 1)
}

func (b *bundle) writeFiles() error {
	policy, err := os.ReadFile(filepath.Join(b.root, "agents/policy.yaml"))
	if err != nil {
		return err
	}
	if err := os.CopyFS(b.path("workspace"), os.DirFS(filepath.Join(b.root, "agents/workspace"))); err != nil {
		return err
	}
	lock, err := os.ReadFile(filepath.Join(b.root, "agents/tools.lock.json"))
	if err != nil {
		return err
	}
	for name, content := range map[string]string{
		"policy.yaml":                 inAHurry(string(policy)),
		"tools.lock.json":             string(lock),
		"egress.yaml":                 egressPolicy,
		"workspace/broken.yaml":       "apiVersion: v1\nkind: Pod\nmetadata:\n  name: [\n",
		"workspace/large.yaml":        "# " + strings.Repeat("x", 2<<20),
		"certs/.keep":                 "",
		"workspace/" + canaryManifest: manifestWithCanaries(), "workspace/" + canaryModule: moduleWithCanaries(), "workspace/" + canaryPlan: planWithCanaries(), "workspace/logs/" + canaryLog: logWithCanaries(),
		"model/script.yaml": modelScript,
		// A token that may write, so that the log has something to warn about.
		"secrets/dockerhub/identifier": hub.Robot,
		"secrets/dockerhub/secret":     hub.WriteToken,
	} {
		path := b.path(name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			return err
		}
	}
	return os.Symlink("/etc/passwd", b.path("workspace/outside.yaml"))
}

func (b *bundle) up(ctx context.Context) error {
	err := b.command(ctx, b.root, "docker", "compose", "up", "--detach", "--wait", "--wait-timeout", "90")
	if err != nil {
		_ = b.command(context.WithoutCancel(ctx), b.root, "docker", "compose", "ps", "--all")
		_ = b.command(context.WithoutCancel(ctx), b.root, "docker", "compose", "logs", "--tail", "10")
	}
	return err
}

func (b *bundle) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_ = b.command(ctx, b.root, "docker", "compose", "--profile", "*", "down", "--volumes", "--timeout", "5")
	_ = os.RemoveAll(b.dir)
}

// command runs a program of start-up; what it says goes to stderr.
func (b *bundle) command(ctx context.Context, dir string, args ...string) error {
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Dir, c.Env, c.Stdout, c.Stderr = dir, b.env, os.Stderr, os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// docker runs the docker CLI and returns what it prints on stdout.
func (b *bundle) docker(t *testing.T, args ...string) string {
	t.Helper()
	c := exec.CommandContext(t.Context(), "docker", args...)
	var stdout, stderr bytes.Buffer
	c.Dir, c.Env, c.Stdout, c.Stderr = b.root, b.env, &stdout, &stderr
	if err := c.Run(); err != nil {
		t.Fatalf("docker %s: %v: %s", strings.Join(args, " "), err, &stderr)
	}
	return stdout.String()
}

func freePort(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}

func (b *bundle) url() string { return "http://127.0.0.1:" + b.port + "/mcp" }

func (b *bundle) token(t *testing.T, agent string) string {
	t.Helper()
	token, err := os.ReadFile(b.path("secrets/agents/" + agent + "/MCP_GATEWAY_TOKEN"))
	if err != nil {
		t.Fatal(err)
	}
	return string(token)
}

// as is a plain client that shows what came back.
func (b *bundle) as(t *testing.T, agent string) *mcpclient.Client {
	t.Helper()
	return &mcpclient.Client{HTTP: &http.Client{Transport: kept{http.DefaultTransport}}, URL: b.url(), Token: b.token(t, agent)}
}

// connect is the official SDK's client.
func connect(t *testing.T, transport sdk.Transport) *sdk.ClientSession {
	t.Helper()
	client := sdk.NewClient(&sdk.Implementation{Name: "e2e", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), transport, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = session.Close() })
	return session
}

func overHTTP(url, token string) sdk.Transport {
	return &sdk.StreamableClientTransport{Endpoint: url, HTTPClient: &http.Client{Transport: bearer(token)}}
}

type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+string(b))
	return kept{http.DefaultTransport}.RoundTrip(r)
}

func toolNames(t *testing.T, session *sdk.ClientSession) string {
	t.Helper()
	list, err := session.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
	}
	return strings.Join(names, " ")
}

// structured decodes the result of a call that must have gone well.
func structured(t *testing.T, result *sdk.CallToolResult, err error, out any) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(result.StructuredContent)
	if err != nil {
		t.Fatal(err)
	}
	if result.IsError {
		text, _ := json.Marshal(result.Content)
		t.Fatalf("an error: %s", text)
	}
	if err := json.Unmarshal(data, out); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
}

// record is the gateway's evidence of one call.
func (b *bundle) record(t *testing.T, call string) audit.Record {
	t.Helper()
	line := b.docker(t, "compose", "exec", "-T", "gateway", "/ko-app/gateway", "audit", "show", call)
	var r audit.Record
	if err := json.Unmarshal([]byte(line), &r); err != nil {
		t.Fatalf("%v in %s", err, line)
	}
	return r
}

// logs is what a service wrote to stderr.
func (b *bundle) logs(t *testing.T, service string) string {
	t.Helper()
	return b.docker(t, "compose", "logs", "--no-log-prefix", "--no-color", service)
}

// awaitLog returns the line in which a service mentions a call. Egress writes its record when the connection ends,
// which is after the answer.
func (b *bundle) awaitLog(t *testing.T, service, call string) string {
	t.Helper()
	for range 100 {
		for line := range strings.Lines(b.logs(t, service)) {
			if strings.Contains(line, call) {
				return line
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("%s has no record of call %s", service, call)
	return ""
}

func (b *bundle) image(t *testing.T, name string) string {
	t.Helper()
	env, err := os.ReadFile(b.path("env"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(env)) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "BULKHEAD_"+strings.ToUpper(name)+"_IMAGE="); ok {
			return id
		}
	}
	t.Fatalf("no image of %s in %s", name, env)
	return ""
}

// over makes one plain HTTP request to the bundle.
func (b *bundle) over(t *testing.T, method, path, body string, header map[string]string) (status int, answer string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, "http://127.0.0.1:"+b.port+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(data)
}
