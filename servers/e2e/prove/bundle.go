//go:build linux && (amd64 || arm64)

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/e2e/attack"
)

// bundle is the compose project under attack: compose.yaml with a victim beside it.
type bundle struct {
	root, dir string // of the repository, and of this run
	project   string
	port      int
	env       []string
	progress  io.Writer
}

// agentService runs when somebody asks it something, and is not up with the others.
const agentService = "agent"

// The listener of the victim, and where clouds serve credentials.
const (
	victimPort = 7000
	metadata   = "169.254.169.254"
)

// newBundle prepares a bundle of its own beside any that runs: its name, port, secrets, policies and workspace.
func newBundle(ctx context.Context, progress io.Writer) (*bundle, error) {
	root, err := repository()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "bulkhead-prove-")
	if err != nil {
		return nil, err
	}
	b := &bundle{root: root, dir: dir, project: "bulkhead-prove", progress: progress}
	if name := os.Getenv("COMPOSE_PROJECT_NAME"); name != "" {
		b.project = name + "-prove"
	}
	if b.port, err = freePort(ctx); err != nil {
		return b, err
	}
	b.env = append(os.Environ(),
		"COMPOSE_PROFILES=agents", "COMPOSE_PROJECT_NAME="+b.project, "COMPOSE_ENV_FILES="+b.path("env"),
		"COMPOSE_FILE="+filepath.Join(root, "compose.yaml")+":"+filepath.Join(root, "servers/e2e/prove/compose.yaml"),
		"BULKHEAD_PORT="+strconv.Itoa(b.port), "BULKHEAD_SECRETS="+b.path("secrets"), "BULKHEAD_WORKSPACE="+b.path("workspace"), "BULKHEAD_LOGS="+b.path("workspace/logs"),
		"EGRESS_POLICY="+b.path("egress.yaml"), "BULKHEAD_POLICY="+b.path("policy.yaml"), "BULKHEAD_LOCK="+b.path("lock.json"),
	)
	return b, b.writeFiles()
}

func (b *bundle) path(name string) string { return filepath.Join(b.dir, name) }

// repository is the folder of the module, upwards from here.
func repository() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output() //nolint:noctx // it reads one file
	if err != nil {
		return "", fmt.Errorf("this is no checkout: go list -m: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// writeFiles copies what the bundle mounts from the repository: attackers shall have nothing of it, should they get
// through.
func (b *bundle) writeFiles() error {
	err := errors.Join(os.Chmod(b.dir, 0o755), os.CopyFS(b.path("workspace"), os.DirFS(filepath.Join(b.root, "agents/workspace")))) //nolint:gosec // the containers' uid reads it
	for to, from := range map[string]string{
		"policy.yaml": "agents/policy.yaml", "lock.json": "agents/tools.lock.json", "egress.yaml": "servers/egress/policy.yaml",
	} {
		content, readErr := os.ReadFile(filepath.Join(b.root, from))
		err = errors.Join(err, readErr, os.WriteFile(b.path(to), content, 0o644)) //nolint:gosec // the containers' uid reads it
	}
	return err
}

// build makes the images and the secrets.
func (b *bundle) build(ctx context.Context) error {
	if err := b.run(ctx, b.root, "scripts/secrets"); err != nil {
		return err
	}
	return b.run(ctx, filepath.Join(b.root, "images"), "go", "run", ".", "load", "--test", "--env", b.path("env"))
}

// create makes networks and containers, and starts nothing: egress's policy will name an address on one of the networks, the
// host's, which is what egress is to reach to show that it reaches anything.
func (b *bundle) create(ctx context.Context) error {
	if err := b.run(ctx, b.root, "docker", "compose", "down", "--volumes", "--timeout", "2"); err != nil {
		return err
	}
	return b.run(ctx, b.root, "docker", "compose", "create", "--quiet-pull")
}

func (b *bundle) start(ctx context.Context) error {
	services, err := b.docker(ctx, "compose", "config", "--services")
	if err != nil {
		return err
	}
	up := []string{"docker", "compose", "up", "--detach", "--wait", "--wait-timeout", "90"}
	for name := range strings.FieldsSeq(services) {
		if name != agentService {
			up = append(up, name)
		}
	}
	err = b.run(ctx, b.root, up...)
	if err != nil {
		_ = b.run(context.WithoutCancel(ctx), b.root, "docker", "compose", "logs", "--tail", "10")
	}
	return err
}

func (b *bundle) stop() {
	ctx := context.Background()
	if err := b.run(ctx, b.root, "docker", "compose", "down", "--volumes", "--remove-orphans", "--timeout", "2"); err != nil {
		fmt.Fprintf(b.progress, "prove: %v\n", err)
	}
	_ = os.RemoveAll(b.dir)
}

// run runs a program of start-up; what it says is shown if it fails.
func (b *bundle) run(ctx context.Context, dir string, args ...string) error {
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	var said bytes.Buffer
	c.Dir, c.Env, c.Stdout, c.Stderr = dir, b.env, &said, &said
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, &said)
	}
	return nil
}

// docker returns what the docker CLI prints on stdout.
func (b *bundle) docker(ctx context.Context, args ...string) (string, error) {
	c := exec.CommandContext(ctx, "docker", args...)
	var stdout, stderr bytes.Buffer
	c.Dir, c.Env, c.Stdout, c.Stderr = b.root, b.env, &stdout, &stderr
	if err := c.Run(); err != nil {
		return stdout.String(), fmt.Errorf("docker %s: %w: %s", strings.Join(args[:min(len(args), 3)], " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// addresses are where the victim and the host are on each network of the project.
type addresses struct {
	gateway, victim map[string]netip.Addr
}

func (b *bundle) addresses(ctx context.Context) (addresses, error) {
	a := addresses{map[string]netip.Addr{}, map[string]netip.Addr{}}
	out, err := b.docker(ctx, "network", "ls", "--quiet", "--filter", "label=com.docker.compose.project="+b.project)
	if err != nil {
		return a, err
	}
	out, err = b.docker(ctx, append([]string{"network", "inspect"}, strings.Fields(out)...)...)
	if err != nil {
		return a, err
	}
	var networks []struct {
		Labels map[string]string
		IPAM   struct {
			Config []struct{ Gateway netip.Addr }
		}
		Containers map[string]struct{ Name, IPv4Address string }
	}
	if err := json.Unmarshal([]byte(out), &networks); err != nil {
		return a, fmt.Errorf("docker network inspect: %w", err)
	}
	for _, n := range networks {
		name := n.Labels["com.docker.compose.network"]
		for _, c := range n.IPAM.Config {
			a.gateway[name] = c.Gateway
		}
		for _, c := range n.Containers {
			if prefix, err := netip.ParsePrefix(c.IPv4Address); err == nil && strings.Contains(c.Name, "victim") {
				a.victim[name] = prefix.Addr()
			}
		}
	}
	return a, nil
}

// listen greets whoever reaches the host by the bridges of the project, on one port at each of their addresses.
func (b *bundle) listen(ctx context.Context, a addresses) (port uint16, err error) {
	free, err := freePort(ctx)
	if err != nil {
		return 0, err
	}
	port = uint16(free) //nolint:gosec // a port
	var all []string
	for _, gateway := range a.gateway {
		all = append(all, netip.AddrPortFrom(gateway, port).String())
	}
	failed := make(chan error, 1)
	go func() { failed <- attack.Greet(ctx, all) }()
	return port, untilListening(ctx, all, failed)
}
