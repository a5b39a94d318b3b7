//go:build linux && (amd64 || arm64)

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpclient"
)

const (
	outsideClaim = "from outside: one port, on 127.0.0.1 alone, that wants a token"
	stillAlive   = "every service is healthy, none was started again, and a call is answered"
	outTimeout   = 2 * time.Second
)

// fromOutside attacks the published port, and looks for others.
func (s *surroundings) fromOutside(ctx context.Context, r *report) error {
	row := &row{Claim: outsideClaim, From: "outside"}
	r.Rows = append(r.Rows, row)
	own, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	for _, a := range own {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil || prefix.Addr().IsLoopback() || prefix.Addr().Is6() {
			continue
		}
		err = dial(ctx, netip.AddrPortFrom(prefix.Addr(), uint16(s.port)).String()) //nolint:gosec // a port
		row.add("the port at this machine's address "+prefix.Addr().String(), said(err), err == nil)
	}
	// From a container that is on door's bridge, and from one on another. That each gets anywhere is seen first.
	for _, network := range []string{"front", "prove"} {
		host := netip.AddrPortFrom(s.addresses.gateway[network], s.hostPort).String()
		if err := s.fromContainer(ctx, network, host); err != nil {
			return fmt.Errorf("a container on the network %s does not even reach the listener on this machine, so that its refusals show nothing: %w", network, err)
		}
		for name, target := range map[string]string{
			"door's port":            "door:4000",
			"the published port":     netip.AddrPortFrom(s.addresses.gateway[network], uint16(s.port)).String(), //nolint:gosec // a port
			"egress, by its address": "egress:4000",
		} {
			err := s.fromContainer(ctx, network, target)
			row.add(name+" from a container on the network "+network, said(err), err == nil)
		}
	}
	url := "http://127.0.0.1:" + strconv.Itoa(s.port) + "/mcp"
	for name, token := range map[string]string{"no token": "", "a wrong token": "Bearer " + strings.Repeat("0", 64), "a token in another scheme": "Basic eDp4"} {
		status, err := post(ctx, url, token)
		if err != nil {
			return fmt.Errorf("the bundle does not answer at all, so that its refusals show nothing: %w", err)
		}
		row.add("a call with "+name, strconv.Itoa(status), status != http.StatusUnauthorized)
	}
	alive := s.alive(ctx)
	row.add("the bundle goes on", alive, alive != stillAlive)
	return nil
}

func said(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func dial(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, outTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

// fromContainer dials from a new container without any layer but the engine's own on a network of the project.
func (s *surroundings) fromContainer(ctx context.Context, network, address string) error {
	config, err := s.config()
	if err != nil {
		return err
	}
	image := text(child(child(config, "services"), "victim"), "image")
	_, err = s.docker(ctx, "run", "--rm", "--network", s.project+"_"+network, image, "dial", address)
	return err
}

func post(ctx context.Context, url, authorization string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json, text/event-stream")
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	response, err := (&http.Client{Timeout: outTimeout}).Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<16))
	return response.StatusCode, nil
}

// alive looks whether the bundle still does its work: every service is healthy and was never started again, and an
// agent's call is answered.
func (s *surroundings) alive(ctx context.Context) string {
	for _, p := range s.places {
		if p.name == agentService {
			continue
		}
		id, err := s.docker(ctx, "compose", "ps", "--quiet", p.name)
		if err != nil {
			return err.Error()
		}
		state, err := s.docker(ctx, "inspect", "--format", "{{.State.Health.Status}} {{.RestartCount}}", strings.TrimSpace(id))
		if err != nil {
			return err.Error()
		}
		if got := strings.TrimSpace(state); got != "healthy 0" {
			return fmt.Sprintf("%s: %s", p.name, got)
		}
	}
	token, err := os.ReadFile(s.path("secrets/agents/policy-gate/MCP_GATEWAY_TOKEN"))
	if err != nil {
		return err.Error()
	}
	client := mcpclient.Client{HTTP: &http.Client{Timeout: outTimeout}, URL: "http://127.0.0.1:" + strconv.Itoa(s.port) + "/mcp", Token: string(token)}
	// The gateway looks for a server that was not there every few seconds.
	const tries, pause = 20, time.Second
	for range tries {
		if err = call(ctx, client); err == nil {
			return stillAlive
		}
		time.Sleep(pause)
	}
	return fmt.Sprintf("no call is answered: %v", err)
}

func call(ctx context.Context, client mcpclient.Client) error {
	result, err := client.CallTool(ctx, "kubernetes_check_pod_security", map[string]any{"path": "kubernetes/shop-web.yaml"}, nil)
	if err != nil {
		return err
	}
	if result.IsError {
		return errors.New(result.Text)
	}
	return nil
}
