package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strings"
	"time"

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
	auditKey   string
	auditKeep  audit.Options // how long and how much; the rest comes when the log is opened
	addresses  upstreamFlag

	metricsAddress listen.Address // zero: no metrics

	policy    *policy
	upstreams []*upstream
	byTool    map[string]*upstream // by the name of a tool, as agents know it
	log       *audit.Log
	logger    *slog.Logger
	unwatch   context.CancelFunc

	configuration map[string]string // SHA-256 of the policy and the lock, for the record of the start
	stopMetrics   func() error
}

func (g *gateway) flags(set *flag.FlagSet) {
	set.StringVar(&g.policyPath, "policy", "agents/policy.yaml", "the agents and what each may call")
	set.StringVar(&g.lockPath, "lock", "agents/tools.lock.json", "the tool definitions that were reviewed")
	set.StringVar(&g.auditDir, "audit", auditFolder, "folder of the audit log")
	set.StringVar(&g.auditKey, "audit-key", keyFolder+"/"+audit.SignerFile, "the key that signs its checkpoints; gateway audit keygen makes one")
	set.DurationVar(&g.auditKeep.Keep, "audit-keep", 0, "age after which audit records go, such as 2160h; 0 keeps them")
	set.Int64Var(&g.auditKeep.MaxBytes, "audit-max-bytes", 0, "bytes that the audit log may have before its oldest records go; 0 is any number")
	set.Var(&g.addresses, "upstream", "NAME=unix:///PATH of a server behind this gateway (repeatable)")
	set.Func("metrics", "unix:///PATH of a socket for the operator: Prometheus metrics and the newest checkpoint of the audit log; without it there are none", g.setMetricsAddress)
}

// tools makes a tool of every locked definition whose server is an upstream.
func (g *gateway) tools(env mcpserver.Env) ([]mcpserver.Tool, error) {
	lock, err := readLock(g.lockPath)
	if err != nil {
		return nil, err
	}
	g.byTool, g.logger = map[string]*upstream{}, env.Logger
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
	if g.policy, err = readPolicy(g.policyPath, lock); err != nil {
		return nil, err
	}
	g.warnUnreachable(lock)
	g.configuration, err = digests(map[string]string{"policy": g.policyPath, "lock": g.lockPath})
	return tools, err
}

// digests are the SHA-256 of files, in hexadecimal.
func digests(paths map[string]string) (map[string]string, error) {
	sums := map[string]string{}
	for name, path := range paths {
		data, err := readFile(path, max(maxPolicy, maxLock))
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(data)
		sums[name] = hex.EncodeToString(sum[:])
	}
	return sums, nil
}

// warnUnreachable tells of grants that come to nothing, since the server that has the tool is no upstream.
func (g *gateway) warnUnreachable(lock *lockFile) {
	for _, name := range sortedKeys(g.policy.agents) {
		for _, tool := range sortedKeys(lock.tools()) {
			if g.byTool[tool] == nil && g.policy.grants(name, tool) {
				g.logger.LogAttrs(context.Background(), slog.LevelWarn, "a tool is granted and its server is no --upstream: nobody sees it",
					slog.String("agent", name), slog.String("tool", tool))
			}
		}
	}
}

func (g *gateway) gate(mcpserver.Env) (mcpserver.Gate, error) {
	return mcpserver.Gate{
		Refusal:   g.refusal,
		Admit:     g.admit,
		Principal: g.policy.principal,
		Holders:   g.policy.holders(),
		Open:      g.open,
		Close:     g.close,
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
	options := g.auditKeep
	options.Logger, options.Configuration = g.logger, g.configuration
	var err error
	if options.Signer, options.Verifier, err = audit.ReadSigner(g.auditKey); err != nil {
		return nil, fmt.Errorf("--audit-key: %w; gateway audit keygen makes one", err)
	}
	log, err := audit.Open(g.auditDir, options)
	if err != nil {
		return nil, err
	}
	g.log = log
	if err := g.replay(time.Now()); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	var ctx context.Context
	ctx, g.unwatch = context.WithCancel(context.Background())
	recorder, stop, err := g.metered(ctx, log)
	if err != nil {
		return nil, errors.Join(err, log.Close())
	}
	g.stopMetrics = stop
	for _, up := range g.upstreams {
		go up.watch(ctx)
	}
	return recorder, nil
}

func (g *gateway) close() error {
	g.unwatch()
	return errors.Join(g.stopMetrics(), g.log.Close())
}

// refusal says why agent may not see tool.
func (g *gateway) refusal(agent, tool string) string {
	if !g.policy.grants(agent, tool) {
		return reasonNotGranted
	}
	up := g.byTool[tool]
	if up == nil {
		return ""
	}
	if d := up.quarantined(); d != nil {
		return reasonQuarantined + up.name + ": " + d.changes[0].String()
	}
	return ""
}

// admit counts the call, and decides it by the arguments if the tool's schema has accepted them.
func (g *gateway) admit(ctx context.Context, name, tool string, args json.RawMessage, valid bool) (mcpserver.Admission, error) {
	now := time.Now()
	agent := g.policy.agents[name]
	if err := agent.budget.count(now); err != nil {
		return mcpserver.Admission{Reason: reasonOverBudget + name}, err
	}
	if !valid {
		return mcpserver.Admission{}, nil
	}
	entry, reason := g.policy.decide(ctx, name, tool, args)
	if entry == nil {
		return mcpserver.Admission{Reason: reason}, mcpserver.Errorf(mcpserver.CodeDenied, "the operator's policy does not allow %s to be called with these arguments", tool)
	}
	admission := mcpserver.Admission{Entry: g.policy.entry(entry)}
	if err := entry.budget.count(now); err != nil {
		admission.Reason = reasonOverBudget + admission.Entry
		return admission, err
	}
	for i, b := range []*budget{agent.budget, entry.budget} {
		err := b.begin(now)
		if err == nil {
			continue
		}
		admission.Reason = reasonOverBudget + name
		if i > 0 {
			agent.budget.end(now, 0)
			admission.Reason = reasonOverBudget + admission.Entry
		}
		return admission, err
	}
	admission.MaxResult = smallest(agent.budget.limits.ResultBytes.value, entry.budget.limits.ResultBytes.value)
	admission.Leave = func(bytes int) {
		now := time.Now()
		agent.budget.end(now, bytes)
		entry.budget.end(now, bytes)
	}
	return admission, nil
}

// replay counts what earlier runs have let in, so that a restart gives nobody a second budget.
func (g *gateway) replay(now time.Time) error {
	return audit.Read(g.auditDir, audit.Filter{Since: g.policy.remembers(now)}, func(r audit.Record, _ []byte) error {
		agent := g.policy.agents[r.Principal]
		if agent == nil || !counted(r) {
			return nil
		}
		bytes := 0
		if r.Decision == audit.Allow && r.Result != nil {
			bytes = r.Result.Bytes
		}
		agent.budget.replay(r.Time, now, bytes)
		for _, entry := range g.policy.decided(agent, r) {
			entry.budget.replay(r.Time, now, bytes)
		}
		return nil
	})
}

// decided are the entries that a record counts against: the one that it names, or, since the policy may have been edited,
// each that covers its tool.
func (p *policy) decided(a *agent, r audit.Record) []*grant {
	var covering, named []*grant
	for _, entry := range a.allow {
		if !entry.covers(r.Tool) {
			continue
		}
		covering = append(covering, entry)
		if p.entry(entry) == r.Entry {
			named = append(named, entry)
		}
	}
	if len(named) > 0 {
		return named
	}
	return covering
}

// counted says whether r is of a call that its agent's budget has paid for.
func counted(r audit.Record) bool {
	return r.Method == "tools/call" &&
		(r.Decision == audit.Allow || strings.HasPrefix(r.Reason, reasonCondition) || r.Reason == string(mcpserver.CodeInvalidArguments))
}

// smallest returns the least of limits, of which zero is none.
func smallest(limits ...int64) int {
	least := int64(0)
	for _, limit := range limits {
		if limit > 0 && (least == 0 || limit < least) {
			least = limit
		}
	}
	return int(least)
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
	if name == "gateway" {
		return errors.New("no upstream may be called gateway: in the records that is this process")
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
