package main

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/audit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/confine"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/listen"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// gateway joins the policy, the lock and the upstreams.
type gateway struct {
	policyPath string
	lockPath   string
	auditDir   string
	addresses  upstreamFlag

	policy    *policy
	upstreams []*upstream
	byTool    map[string]*upstream // by the name of a tool, as agents know it
	log       *audit.Log
}

func (g *gateway) flags(set *flag.FlagSet) {
	set.StringVar(&g.policyPath, "policy", "agents/policy.yaml", "the agents and what each may call")
	set.StringVar(&g.lockPath, "lock", "agents/tools.lock.json", "the tool definitions that were reviewed")
	set.StringVar(&g.auditDir, "audit", "/var/lib/bulkhead", "folder of the audit log")
	set.Var(&g.addresses, "upstream", "NAME=unix:///PATH of a server behind this gateway (repeatable)")
}

// tools makes a tool of every locked definition whose server is an upstream.
func (g *gateway) tools(env mcpserver.Env) ([]mcpserver.Tool, error) {
	lock, err := readLock(g.lockPath)
	if err != nil {
		return nil, err
	}
	g.byTool = map[string]*upstream{}
	var tools []mcpserver.Tool
	for _, f := range g.addresses {
		locked, ok := lock.Servers[f.name]
		if !ok {
			return nil, fmt.Errorf("--upstream %s: %s has no server of that name; make lock writes it", f.name, g.lockPath)
		}
		up := newUpstream(f.name, f.address, locked, env.Logger)
		g.upstreams = append(g.upstreams, up)
		for name := range locked {
			tool := up.tool(name)
			g.byTool[tool.Definition.Name] = up
			tools = append(tools, tool)
		}
	}
	g.policy, err = readPolicy(g.policyPath, lock)
	return tools, err
}

func (g *gateway) gate(mcpserver.Env) (mcpserver.Gate, error) {
	return mcpserver.Gate{
		Refusal:   g.refusal,
		Principal: g.policy.principal,
		Holders:   g.policy.holders(),
		Open:      g.open,
		Healthy:   func() error { return g.log.Healthy() },
	}, nil
}

// needs are the audit log's folder and the sockets of the servers.
func (g *gateway) needs() confine.Rules {
	rules := confine.Rules{Write: []string{g.auditDir}}
	for _, up := range g.upstreams {
		rules.Connect = append(rules.Connect, up.address.Path)
	}
	return rules
}

// open opens the audit log and starts to watch the upstreams.
func (g *gateway) open() (audit.Recorder, error) {
	log, err := audit.Open(g.auditDir, audit.Options{})
	if err != nil {
		return nil, err
	}
	g.log = log
	for _, up := range g.upstreams {
		go up.watch(context.Background())
	}
	return log, nil
}

// refusal says why agent may not call tool.
func (g *gateway) refusal(agent, tool string) string {
	if !g.policy.grants(agent, tool) {
		return "not granted"
	}
	if up := g.byTool[tool]; up != nil && up.quarantined() {
		return "quarantined: the definitions of " + up.name + " are not the locked ones"
	}
	return ""
}

// upstreamFlag is a repeatable NAME=ADDRESS.
type upstreamFlag []struct {
	name    string
	address listen.Address
}

func (f *upstreamFlag) String() string { return "" }

func (f *upstreamFlag) Set(text string) error {
	name, spec, ok := strings.Cut(text, "=")
	if !ok || !serverName.MatchString(name) {
		return fmt.Errorf("want NAME=unix:///PATH")
	}
	for _, other := range *f {
		if other.name == name {
			return fmt.Errorf("%s is named twice", name)
		}
	}
	address, err := listen.Parse(spec)
	if err != nil {
		return err
	}
	if address.Network != listen.Unix {
		return fmt.Errorf("%s: servers behind a gateway listen on Unix sockets only", spec)
	}
	*f = append(*f, struct {
		name    string
		address listen.Address
	}{name, address})
	return nil
}
