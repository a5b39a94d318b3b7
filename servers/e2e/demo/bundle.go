package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpclient"
)

const (
	callTimeout   = 30 * time.Second
	removeTimeout = 2 * time.Minute
	project       = "bulkhead-demo"
)

// bundle is the compose project of the story.
type bundle struct {
	root, dir string // of the repository, and of this run
	port      string
	env       []string
	own       []string // images that are there for the story alone
}

// newBundle starts it. What it returns must be removed, though there be an error.
func newBundle(ctx context.Context, images string) (*bundle, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return nil, fmt.Errorf("this is no checkout: go list -m: %w", err)
	}
	dir, err := os.MkdirTemp("", project+"-")
	if err != nil {
		return nil, err
	}
	b := &bundle{root: strings.TrimSpace(string(out)), dir: dir}
	if b.port, err = freePort(ctx); err != nil {
		return b, err
	}
	b.env = append(os.Environ(),
		"COMPOSE_PROJECT_NAME="+project, "COMPOSE_PROFILES=", "COMPOSE_ENV_FILES="+b.path("env"),
		"COMPOSE_FILE="+filepath.Join(b.root, "compose.yaml")+":"+filepath.Join(b.root, "servers/e2e/demo/compose.yaml"),
		"BULKHEAD_PORT="+b.port, "BULKHEAD_SECRETS="+b.path("secrets"), "BULKHEAD_WORKSPACE="+b.path("workspace"), "BULKHEAD_LOGS="+b.path("logs"), "BULKHEAD_POLICIES="+filepath.Join(b.root, "agents/policies"), "BULKHEAD_LOG_SOURCES="+filepath.Join(b.root, "servers/logs/sources.yaml"),
		"DEMO_DIR="+dir,
		"BULKHEAD_POLICY="+filepath.Join(b.root, "agents/policy.yaml"), "BULKHEAD_LOCK="+filepath.Join(b.root, "agents/tools.lock.json"),
		"EGRESS_POLICY="+b.path("egress.yaml"), "GOFLAGS=-trimpath", "CGO_ENABLED=0",
	)
	if err := b.write(); err != nil {
		return b, err
	}
	steps := [][]string{
		{"scripts/secrets"},
		{"docker", "compose", "down", "--volumes", "--remove-orphans", "--timeout", "2"}, // of a story that was cut short
	}
	for _, step := range steps {
		if _, err := b.run(ctx, step...); err != nil {
			return b, err
		}
	}
	if err := b.loadImages(ctx, cmp.Or(images, filepath.Join(b.root, ".env"))); err != nil {
		return b, err
	}
	signer, err := newSigner(b.path("secrets/registry/keys/shop.pub"))
	if err != nil {
		return b, err
	}
	if _, err := b.run(ctx, "docker", "compose", "up", "--detach", "--wait", "--wait-timeout", "120"); err != nil {
		return b, err
	}
	at, err := b.run(ctx, "docker", "compose", "port", "fakeregistry", "5000")
	if err != nil {
		return b, err
	}
	return b, fillRegistry(ctx, strings.TrimSpace(at), signer)
}

func (b *bundle) path(name string) string { return filepath.Join(b.dir, name) }

// write makes what the containers mount.
func (b *bundle) write() error {
	if err := errors.Join(os.Chmod(b.dir, 0o755), os.CopyFS(b.path("workspace"), os.DirFS(filepath.Join(b.root, "agents/workspace")))); err != nil { //nolint:gosec // the containers' uid reads it
		return err
	}
	for name, content := range map[string]string{
		"registries.yaml":      "version: 1\nregistries:\n  - {host: \"" + registryHost + "\", plain_http: true}\n",
		"egress.yaml":          egressPolicy,
		"workspace/Dockerfile": dockerfile,
		"logs/shop-web.log":    shopLog,
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(b.path(name)), 0o755), os.WriteFile(b.path(name), []byte(content), 0o644)); err != nil { //nolint:gosec // the containers' uid reads it
			return err
		}
	}
	return nil
}

// loadImages takes the images that `make images` has named in a file, and builds the two that are the story's own.
func (b *bundle) loadImages(ctx context.Context, named string) error {
	env, err := os.ReadFile(named)
	if err != nil {
		return fmt.Errorf("%w: make images makes it", err)
	}
	var images []byte
	for line := range bytes.Lines(env) { // and none of the operator's settings
		if name, _, _ := bytes.Cut(line, []byte("=")); bytes.HasSuffix(name, []byte("_IMAGE")) {
			images = append(images, line...)
		}
	}
	if err := os.WriteFile(b.path("env"), images, 0o600); err != nil {
		return err
	}
	b.own = []string{"bulkhead.local/fakeregistry", "bulkhead.local/poisoned"}
	c := exec.CommandContext(ctx, "go", "run", ".", "load", "--env", b.path("env"), "fakeregistry", "poisoned")
	c.Dir, c.Env = filepath.Join(b.root, "images"), b.env
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("building the story's own images: %w: %s", err, out)
	}
	return nil
}

// remove leaves nothing behind, whatever ended the story.
func (b *bundle) remove() {
	ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
	defer cancel()
	_, err := b.run(ctx, "docker", "compose", "down", "--volumes", "--remove-orphans", "--timeout", "2")
	for _, image := range b.own {
		if _, inspectErr := b.run(ctx, "docker", "image", "inspect", image); inspectErr == nil {
			_, rmErr := b.run(ctx, "docker", "image", "rm", image)
			err = errors.Join(err, rmErr)
		}
	}
	if err = errors.Join(err, os.RemoveAll(b.dir)); err != nil {
		fmt.Fprintf(os.Stderr, "demo: something stays behind: %v\n", err)
	}
}

// run runs a program in the repository and returns its standard output; its error tells the rest.
func (b *bundle) run(ctx context.Context, args ...string) (string, error) {
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	var stdout, stderr bytes.Buffer
	c.Dir, c.Env, c.Stdout, c.Stderr = b.root, b.env, &stdout, &stderr
	if err := c.Run(); err != nil {
		return stdout.String(), fmt.Errorf("%s: %w: %s", strings.Join(args[:min(len(args), 4)], " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// as is a client with an agent's token.
func (b *bundle) as(agent string) (*mcpclient.Client, error) {
	token, err := os.ReadFile(b.path("secrets/agents/" + agent + "/MCP_GATEWAY_TOKEN"))
	if err != nil {
		return nil, err
	}
	return &mcpclient.Client{HTTP: &http.Client{Timeout: callTimeout}, URL: "http://127.0.0.1:" + b.port + "/mcp", Token: string(token)}, nil
}

// audit runs a command over the audit log in the gateway's container.
func (b *bundle) audit(ctx context.Context, args ...string) (string, error) {
	return b.run(ctx, append([]string{"docker", "compose", "exec", "--no-TTY", "gateway", "/ko-app/gateway", "audit"}, args...)...)
}

func freePort(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, errors.Join(err, l.Close())
}
