package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/egresspolicy"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/outbound"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/version"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/workspace"
)

// The rules of `registry check`.
const (
	ruleReference    = "image/reference"
	ruleNoTag        = "image/no-tag"
	ruleLatest       = "image/latest"
	ruleFloating     = "image/floating-tag"
	ruleUnpinned     = "image/no-digest"
	ruleMoved        = "image/moved-tag"
	ruleOutdated     = "image/outdated"
	ruleDistribution = "image/old-distribution"
)

// imageRules are the rules about references.
func imageRules() []finding.Rule {
	const url = "https://docs.docker.com/build/building/best-practices/#pin-base-image-versions"
	return []finding.Rule{
		{ID: ruleReference, Title: "name an image that can be known from the file", Severity: finding.Medium, Help: "What is named by an expression or is no reference cannot be judged."},
		{ID: ruleNoTag, Title: "name a tag and a digest", Severity: finding.High, Help: "Without a tag, latest is taken, whatever it is by then.", URL: url},
		{ID: ruleLatest, Title: "name a version and not latest", Severity: finding.High, Help: "latest is another image tomorrow.", URL: url},
		{ID: ruleFloating, Title: "pin a floating tag to a digest", Severity: finding.Medium, Help: "A floating tag such as 1.25 or bookworm is moved with every build.", URL: url},
		{ID: ruleUnpinned, Title: "pin a tag to a digest", Severity: finding.Low, Help: "A tag that names one version may be moved nevertheless; a digest may not.", URL: url},
		{ID: ruleMoved, Title: "use what the tag stands for now", Severity: finding.Medium, Help: "The tag was built again since it was pinned, most often to take security updates in.", URL: url},
		{ID: ruleOutdated, Title: "use the newest version", Severity: finding.Medium, Help: "There is a newer tag of the same variant and precision.", URL: url},
		{ID: ruleDistribution, Title: "use a newer release of the distribution", Severity: finding.Low, Help: "The tag names a release of a distribution that has a newer one.", URL: url},
	}
}

// newChecker makes the check subcommand. Without --egress it judges what the files say and asks no registry.
func newChecker(env mcpserver.Env) finding.Checker {
	c := checker{env: env, rules: map[string]finding.Rule{}}
	for _, rule := range imageRules() {
		c.rules[rule.ID] = rule
	}
	return finding.Checker{
		Tool: "registry", Version: version.String(), Rules: imageRules(), Match: isSource, Check: c.check,
		Flags: func(set *flag.FlagSet) {
			c.own.askingFlags(set)
			set.StringVar(&c.egress, "egress", "", "the way out, to look for updates and moved tags: unix:///PATH of an egress socket, or direct; without it no registry is asked")
			set.Func("allow-host", "with --egress direct: `HOST[:PORT][=CIDR,…]`, or a preset (docker.io, ghcr.io, quay.io), that may be reached (repeatable)", c.allow)
			set.StringVar(&c.caFile, "ca-file", "", "PEM file of certificate authorities to trust beside the system's")
			set.Func("kind", "what the inputs are: auto, dockerfile, compose, kubernetes, helm or workflow (default auto)", c.setKind)
		},
	}
}

// checker judges inputs. What it asks for it keeps for the next input.
type checker struct {
	env    mcpserver.Env
	rules  map[string]finding.Rule
	own    options
	egress string
	hosts  []egresspolicy.Rule
	caFile string
	kind   source
	asked  *session // nil where no registry is asked
}

func (c *checker) allow(text string) error {
	if rules, err := egresspolicy.Preset(text); err == nil {
		c.hosts = append(c.hosts, rules...)
		return nil
	}
	rule, err := egresspolicy.ParseRule(text)
	c.hosts = append(c.hosts, rule)
	return err
}

func (c *checker) setKind(text string) error {
	switch kind := source(text); kind {
	case sourceAuto, sourceDockerfile, sourceCompose, sourceKubernetes, sourceHelm, sourceWorkflow:
		c.kind = kind
		return nil
	}
	return errors.New("want auto, dockerfile, compose, kubernetes, helm or workflow")
}

// open makes what asks registries, when the flags are known.
func (c *checker) open(ctx context.Context) error {
	if c.asked != nil || c.egress == "" {
		return nil
	}
	way, err := outbound.New(outbound.Config{Egress: c.egress, CAFile: c.caFile, Allow: c.hosts})
	if err != nil {
		return fmt.Errorf("--egress: %w", err)
	}
	env := c.env
	env.Outbound = func() (*outbound.Client, error) { return way, nil }
	asking, err := newClient(c.own, env)
	if err != nil {
		return err
	}
	c.asked, err = asking.session(outbound.WithCall(ctx, ""))
	return err
}

// check judges every image that an input names.
func (c *checker) check(ctx context.Context, in finding.Input) ([]finding.Finding, error) {
	if err := c.open(ctx); err != nil {
		return nil, err
	}
	var t targets
	t.read(workspace.File{Path: in.Name, Data: in.Data}, c.kind)
	var findings []finding.Finding
	note := func(image target, f finding.Finding) {
		rule := c.rules[f.Rule]
		f.Title, f.Severity, f.Object = rule.Title, rule.Severity, image.written
		for _, m := range image.mentions {
			f.Location = finding.Location{File: m.file, Line: m.line, Column: m.column, Field: m.field}
			findings = append(findings, f)
		}
	}
	verdicts := make([][]finding.Finding, len(t.images))
	faults := make([]error, len(t.images))
	each(len(t.images), atOnce, func(i int) { verdicts[i], faults[i] = c.judge(ctx, t.images[i], t.documents) })
	for i, image := range t.images {
		for _, f := range verdicts[i] {
			note(image, f)
		}
	}
	return findings, errors.Join(append(faults, t.problems...)...)
}

// judge holds one image against the rules.
func (c *checker) judge(ctx context.Context, t target, documents map[string]document) ([]finding.Finding, error) {
	if bad := t.fault(); bad != nil {
		return []finding.Finding{{Rule: ruleReference, Verdict: finding.Unknown, Message: "the image is not known", Reason: bad.Message}}, nil
	}
	state := stateOf(t.ref)
	if c.asked == nil {
		return pinFindings(state, ""), nil
	}
	pinned, err := c.asked.pin(ctx, t, documents)
	if err != nil {
		return nil, err
	}
	fix := ""
	if pinned.Reference != "" {
		fix = "write " + pinned.Reference
	}
	findings := pinFindings(pinned.State, fix)
	updated, err := c.asked.update(ctx, t, documents)
	if err != nil {
		return nil, err
	}
	switch updated.Class {
	case classPatch, classMinor, classMajor:
		findings = append(findings, finding.Finding{
			Rule: ruleOutdated, Verdict: finding.Fail, Fix: "write " + updated.Reference,
			Message: fmt.Sprintf("there is a newer %s version, %s", updated.Class, strings.SplitN(updated.Update, "@", 2)[0]),
		})
	case classNone, classRebuild: // check_pinning's finding says that the tag has moved on
	case classUnknown:
		findings = append(findings, finding.Finding{
			Rule: ruleOutdated, Verdict: finding.Unknown, Message: "whether it is up to date is not known", Reason: updated.Error.Message,
		})
	}
	if d := updated.Distribution; d != nil {
		findings = append(findings, finding.Finding{
			Rule: ruleDistribution, Verdict: finding.Fail, Fix: "try the tag " + d.Tag,
			Message: fmt.Sprintf("it is for %s, and there is %s", d.From, d.To),
		})
	}
	return findings, nil
}

// pinFindings says what a state comes to.
func pinFindings(state pinState, fix string) []finding.Finding {
	rule, message := "", ""
	switch state {
	case pinNone:
		rule, message = ruleNoTag, "it has neither tag nor digest"
	case pinLatest:
		rule, message = ruleLatest, "it is whatever latest is"
	case pinFloating:
		rule, message = ruleFloating, "its tag is moved by its publisher"
	case pinTag:
		rule, message = ruleUnpinned, "its tag is not pinned to a digest"
	case pinMoved:
		rule, message = ruleMoved, "its tag has moved on from the digest"
	case pinGone:
		rule, message = ruleMoved, "the registry has the digest no longer"
	case pinDigest, pinUnknown:
		return nil
	}
	return []finding.Finding{{Rule: rule, Verdict: finding.Fail, Message: message, Fix: fix}}
}
