package egresspolicy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/strictyaml"
)

// The shape of the file. Every scalar remembers its line, for the errors that YAML itself cannot find.
type (
	file struct {
		Version text                `yaml:"version"`
		Clients map[text]fileClient `yaml:"clients"`
	}
	fileClient struct {
		Presets []text     `yaml:"presets"`
		Hosts   []fileHost `yaml:"hosts"`
	}
	fileHost struct {
		Host      text      `yaml:"host"`
		Port      text      `yaml:"port"`
		TLS       text      `yaml:"tls"`
		Addresses addresses `yaml:"addresses"`
	}
	addresses struct {
		line     int
		public   bool
		prefixes []text
	}
	text struct {
		value string
		line  int
	}
)

func (t *text) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode {
		return atLine(n.Line, errors.New("a single value is needed here"))
	}
	*t = text{value: n.Value, line: n.Line}
	return nil
}

func (a *addresses) UnmarshalYAML(n *yaml.Node) error {
	a.line = n.Line
	switch {
	case n.Kind == yaml.ScalarNode && n.Value == "public":
		a.public = true
		return nil
	case n.Kind != yaml.SequenceNode || len(n.Content) == 0:
		return atLine(n.Line, errors.New("addresses is either public or a list of CIDRs, such as [10.0.0.0/8]"))
	}
	return n.Decode(&a.prefixes)
}

// atLine gives an error the form that strictyaml turns into "name:line: what".
func atLine(line int, err error) error { return fmt.Errorf("line %d: %w", line, err) }

// Parse reads a policy; name stands for the file in errors, which read "name:line: what is wrong".
func Parse(name string, r io.Reader) (*Policy, error) {
	data, err := limit.ReadAll(r, maxPolicy)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	var f file
	if err := strictyaml.Decode(name, bytes.NewReader(data), maxPolicy, &f); err != nil {
		return nil, err
	}
	p := parser{name: name}
	p.refuseNulls(data)
	policy := p.policy(f)
	if err := errors.Join(p.errs...); err != nil {
		return nil, err
	}
	return policy, nil
}

// refuseNulls finds keys without a value, which the YAML library skips: whoever comments out the list below
// "addresses:" must not be left with the default.
func (p *parser) refuseNulls(data []byte) {
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		p.errs = append(p.errs, fmt.Errorf("%s: %w", p.name, err))
		return
	}
	p.refuseNullsIn(&document)
}

func (p *parser) refuseNullsIn(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		p.errorf(n.Line, "a value is missing; write one, or leave the key out")
	}
	for _, child := range n.Content {
		p.refuseNullsIn(child)
	}
}

// parser collects everything that is wrong with a policy, so that it is mended in one go.
type parser struct {
	name string
	errs []error
}

func (p *parser) errorf(line int, format string, args ...any) {
	where := p.name
	if line > 0 {
		where += ":" + strconv.Itoa(line)
	}
	p.errs = append(p.errs, fmt.Errorf(where+": "+format, args...))
}

func (p *parser) policy(f file) *Policy {
	switch {
	case f.Version.line == 0:
		p.errorf(0, "version is missing; this program reads version: %d", policyVersion)
	case f.Version.value != strconv.Itoa(policyVersion):
		p.errorf(f.Version.line, "version is %s; this program reads version %d", quote(f.Version.value), policyVersion)
	}
	if len(f.Clients) == 0 {
		p.errorf(0, "clients is missing or empty: nobody could reach anything")
	}
	if len(f.Clients) > maxClients {
		p.errorf(0, "%d clients; at most %d are allowed", len(f.Clients), maxClients)
		return nil
	}
	names := make([]text, 0, len(f.Clients))
	for name := range f.Clients {
		names = append(names, name)
	}
	// By line, so that the errors come in the order of the file.
	slices.SortFunc(names, func(a, b text) int { return a.line - b.line })
	policy := new(Policy)
	for _, name := range names {
		if !validClient(name.value) {
			p.errorf(name.line, "client %s: a client's name is %s, at most %d characters", quote(name.value), clientNameShape, maxClientName)
			continue
		}
		policy.Clients = append(policy.Clients, p.client(name, f.Clients[name]))
	}
	slices.SortFunc(policy.Clients, func(a, b Client) int { return strings.Compare(a.Name, b.Name) })
	return policy
}

func validClient(name string) bool {
	if name == "" || len(name) > maxClientName || name[0] < 'a' || name[0] > 'z' {
		return false
	}
	for i := range len(name) {
		if !isLDH(name[i]) {
			return false
		}
	}
	return true
}

func (p *parser) client(name text, c fileClient) Client {
	if len(c.Presets) == 0 && len(c.Hosts) == 0 {
		p.errorf(name.line, "client %s lists neither presets nor hosts; remove it, or list what it may reach", name.value)
	}
	rules := ruleSet{parser: p, client: name.value, lines: make(map[string]int)}
	for _, preset := range c.Presets {
		listed, err := Preset(preset.value)
		if err != nil {
			p.errorf(preset.line, "client %s: %w", name.value, err)
		}
		for _, rule := range listed {
			rules.add(preset.line, rule)
		}
	}
	for i, h := range c.Hosts {
		line := firstLine(h.Host.line, h.Port.line, h.TLS.line, h.Addresses.line, name.line)
		rule, err := h.rule()
		if err != nil {
			p.errorf(line, "client %s: hosts, entry %d: %w", name.value, i+1, err)
			continue
		}
		rules.add(line, rule)
	}
	if len(rules.list) > maxRules {
		p.errorf(name.line, "client %s lists %d hosts; at most %d are allowed", name.value, len(rules.list), maxRules)
	}
	return Client{Name: name.value, Rules: rules.list}
}

func firstLine(lines ...int) int {
	for _, l := range lines {
		if l > 0 {
			return l
		}
	}
	return 0
}

// ruleSet keeps a destination from being listed twice: the second would say nothing, or contradict the first.
type ruleSet struct {
	*parser
	client string
	list   []Rule
	lines  map[string]int
}

func (s *ruleSet) add(line int, rule Rule) {
	destination := rule.Destination()
	if before, ok := s.lines[destination]; ok {
		s.errorf(line, "client %s: %s is already listed on line %d", s.client, destination, before)
		return
	}
	s.lines[destination] = line
	s.list = append(s.list, rule)
}

func (h fileHost) rule() (Rule, error) {
	if h.Host.line == 0 {
		return Rule{}, errors.New("host is missing")
	}
	host, err := ParseHost(h.Host.value)
	if err != nil {
		return Rule{}, err
	}
	rule := Rule{Host: host, Port: defaultPort, TLS: SNI}
	if h.Port.line > 0 {
		if rule.Port, err = parsePort(h.Port.value); err != nil {
			return Rule{}, err
		}
	}
	if h.TLS.line > 0 {
		rule.TLS = TLS(h.TLS.value)
	}
	for _, t := range h.Addresses.prefixes {
		prefix, err := parsePrefix(t.value)
		if err != nil {
			return Rule{}, fmt.Errorf("addresses: %w", err)
		}
		rule.Addresses = append(rule.Addresses, prefix)
	}
	if len(rule.Addresses) > maxPrefixes {
		return Rule{}, fmt.Errorf("%d addresses; at most %d are allowed", len(rule.Addresses), maxPrefixes)
	}
	return rule, rule.check()
}

// check finds contradictions within a rule, which would otherwise be found by the first call.
func (r Rule) check() error {
	addr, err := netip.ParseAddr(r.Host)
	isIP := err == nil
	switch r.TLS {
	case SNI:
		if isIP {
			return fmt.Errorf("%s is an IP address, which has no server name: write tls: %s", r.Host, NoneForIP)
		}
	case NoneForIP:
		if !isIP {
			return fmt.Errorf("tls: %s is for IP addresses; for %s leave tls out", NoneForIP, r.Host)
		}
	case Plain:
	default:
		return fmt.Errorf("tls: %s is unknown; the modes are %s, %s and %s", quote(string(r.TLS)), SNI, NoneForIP, Plain)
	}
	if isIP {
		if reason := r.refuseAddress(addr); reason != "" {
			return fmt.Errorf("%s is outside of addresses: %s", r.Host, reason)
		}
	}
	return nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%s is not a CIDR, such as 10.0.0.0/8 or 10.0.0.1/32", quote(s))
	case prefix.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%s: write the IPv4 network", quote(s))
	case prefix.Masked() != prefix:
		return netip.Prefix{}, fmt.Errorf("%s has bits beyond its length: write %s", quote(s), prefix.Masked())
	case prefix.String() != s:
		return netip.Prefix{}, fmt.Errorf("%s: write %s", quote(s), prefix)
	case prefix.Bits() == 0:
		return netip.Prefix{}, fmt.Errorf("%s is every address there is; leave addresses out for public ones, or list your networks", quote(s))
	}
	for _, n := range never() {
		if n.prefix.Bits() <= prefix.Bits() && n.prefix.Overlaps(prefix) {
			return netip.Prefix{}, fmt.Errorf("%s is never dialled: it is %s", quote(s), n.name)
		}
	}
	return prefix, nil
}
