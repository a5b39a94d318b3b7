package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// opening is one thing that a firewall rule lets in, whatever the provider calls it.
type opening struct {
	allows  []Result // conditions that fail where this does let something in: direction, action
	sources []Value  // addresses, or the provider's words for them
	ports   func(firewallPort) Result
}

// firewallPort is what must not be open to everybody.
type firewallPort struct {
	number int // anyPort for all ports at once
	udp    bool
	name   string
}

const (
	anyPort = -1    // stands for a rule that opens every port
	maxPort = 65535 // the highest there is
)

// The ports that rules look at.
func ssh() firewallPort { return firewallPort{number: 22, name: "SSH"} }
func rdp() firewallPort { return firewallPort{number: 3389, udp: true, name: "RDP"} }
func everyPort() firewallPort {
	return firewallPort{number: anyPort, udp: true, name: "every port"}
}

// databasePorts are those that databases and caches listen on.
func databasePorts() []firewallPort {
	return []firewallPort{
		{number: 1433, name: "SQL Server"}, {number: 1521, name: "Oracle"}, {number: 3306, name: "MySQL"}, {number: 5432, name: "PostgreSQL"},
		{number: 5984, name: "CouchDB"}, {number: 6379, name: "Redis"}, {number: 7000, name: "Cassandra"}, {number: 9042, name: "Cassandra"},
		{number: 9200, name: "Elasticsearch"}, {number: 11211, udp: true, name: "memcached"}, {number: 27017, name: "MongoDB"},
	}
}

// isWorld says whether an address range is everybody: all of IPv4 or IPv6, half of it (two such rules are a
// whole), or a provider's word for it.
func isWorld(source string) bool {
	switch strings.ToLower(source) {
	case "*", "any", "internet", "0.0.0.0", "/0":
		return true
	}
	prefix, err := netip.ParsePrefix(source)
	return err == nil && prefix.Bits() <= 1
}

// closedToWorld demands that no opening lets everybody reach one of some ports.
func closedToWorld(openings func(r *Resource) ([]opening, *Result), ports ...firewallPort) demand {
	return func(r *Resource) Result {
		found, hidden := openings(r)
		var results []Result
		for _, o := range found {
			for _, port := range ports {
				if result := o.exposes(port); result.Verdict != finding.Pass {
					results = append(results, result)
					break // one port is enough to name
				}
			}
		}
		if hidden != nil {
			results = append(results, *hidden)
		}
		return every(results...)
	}
}

// exposes fails if everybody can reach the port. All of the conditions must hold for that, and one that does
// not is enough to be sure, whatever else is not known.
func (o opening) exposes(port firewallPort) Result {
	sources := everyAddress(o.sources)
	result := both(append([]Result{sources, o.ports(port)}, o.allows...)...)
	if result.Verdict == finding.Fail {
		result.Message = sources.Message + ": everybody can reach " + port.String()
		result.At = sources.At
		result.more = nil
	}
	return result
}

func (p firewallPort) String() string {
	if p.number == anyPort {
		return p.name
	}
	return fmt.Sprintf("port %d (%s)", p.number, p.name)
}

// both fails if all of the results fail, passes if one passes, and else depends on what is not known.
func both(results ...Result) Result {
	out := results[0]
	for _, r := range results[1:] {
		if r.Verdict == finding.Pass || out.Verdict == finding.Fail && r.Verdict == finding.Unknown {
			out = r
		}
		if out.Verdict == finding.Pass {
			return out
		}
	}
	return out
}

// everyAddress fails for a source that is everybody. An address that is a resource's own is not.
func everyAddress(sources []Value) Result {
	var results []Result
	for _, v := range sources {
		switch text, ok := v.Text(); {
		case v.Unknown() && (v.fromResources() || v.cannotBe("0.0.0.0/0", "::/0", "*")):
		case v.Unknown():
			results = append(results, v.undecided())
		case ok && isWorld(text):
			results = append(results, v.fails("%s is %s", v.path, v.Show()))
		}
	}
	return every(results...)
}

// cannotBe says of a text that is not known whole whether what is known of its beginning excludes some texts.
func (v Value) cannotBe(texts ...string) bool {
	known := v.beginning()
	return known != "" && !slices.ContainsFunc(texts, func(text string) bool { return strings.HasPrefix(text, known) })
}

// beginning is what is known of the beginning of a text that is not known whole.
func (v Value) beginning() string {
	if v.value == cty.NilVal || v.value.IsKnown() || v.value.Type() != cty.String {
		return ""
	}
	return v.value.Range().StringPrefix()
}

// portWithin says whether a port number lies between two attributes. What is null is no bound.
func portWithin(from, to Value, port int) Result {
	low, lowKnown := from.Number()
	high, highKnown := to.Number()
	switch {
	case lowKnown && low > float64(port) && low >= 0, highKnown && high < float64(port) && high >= 0:
		return pass()
	case from.Unknown():
		return from.undecided()
	case to.Unknown():
		return to.undecided()
	default:
		return from.fails("%s is %s", from.path, from.Show())
	}
}

// rangeHolds says whether a port lies in a range as a text: "22", "20-30", "*", "0-65535".
func rangeHolds(v Value, port int) Result {
	if v.Unknown() {
		return v.undecided()
	}
	text, _ := v.Text()
	low, high, isRange := strings.Cut(strings.TrimSpace(text), "-")
	if !isRange {
		high = low
	}
	first, err := strconv.Atoi(strings.TrimSpace(low))
	last, err2 := strconv.Atoi(strings.TrimSpace(high))
	switch {
	case text == "*":
		return v.fails("%s is %s", v.path, v.Show())
	case err != nil || err2 != nil:
		return pass()
	case port == anyPort && first <= 1 && last == maxPort, port != anyPort && first <= port && port <= last:
		return v.fails("%s is %s", v.path, v.Show())
	default:
		return pass()
	}
}

// carries says whether a protocol, by name or number, is one that a port of TCP (or of UDP too) is reached by.
// It fails if so; all names those that are all protocols at once.
func carries(protocol Value, port firewallPort, all ...string) Result {
	text, ok := protocol.Text()
	switch {
	case protocol.Unknown():
		return protocol.undecided()
	case !ok:
		return pass()
	case isAmong(text, all), isAmong(text, []string{"tcp", "6"}), port.udp && isAmong(text, []string{"udp", "17"}):
		return protocol.fails("%s is %s", protocol.path, protocol.Show())
	default:
		return pass()
	}
}

// is fails if an attribute is the text: a condition of an opening, for both. Where it is not set, it
// is unset.
func (v Value) is(want, unset string) Result {
	text, ok := v.Text()
	switch {
	case v.Unknown():
		return v.undecided()
	case v.Null() && strings.EqualFold(unset, want), ok && strings.EqualFold(text, want):
		return v.fails("%s is %s", v.path, want)
	default:
		return pass()
	}
}

// awsOpening is one rule of a security group: from is its low port, to its high one.
func awsOpening(protocol, from, to Value, allows []Result, sources ...Value) opening {
	all := []string{"-1", "all"}
	return opening{allows: allows, sources: flat(sources), ports: func(port firewallPort) Result {
		anything := anyOfValues([]Value{protocol}, func(text string) bool { return isAmong(text, all) })
		if port.number == anyPort {
			// Terraform writes all ports as protocol -1, and as 0 to 65535 of a protocol.
			whole := both(carries(protocol, port), portWithin(from, to, 1), portWithin(from, to, maxPort))
			return every(anything, whole)
		}
		return every(anything, both(carries(protocol, port), portWithin(from, to, port.number)))
	}}
}

// flat are the elements of several attributes.
func flat(values []Value) []Value {
	var out []Value
	for _, v := range values {
		out = append(out, elements(v)...)
	}
	return out
}

// securityGroupIngress are the openings of a security group, which Terraform knows in three forms: blocks of
// aws_security_group, aws_security_group_rule, and aws_vpc_security_group_ingress_rule.
func securityGroupIngress(r *Resource) ([]opening, *Result) {
	switch r.Type {
	case "aws_security_group_rule":
		return []opening{awsOpening(r.Attr("protocol"), r.Attr("from_port"), r.Attr("to_port"),
			[]Result{r.Attr("type").is("ingress", "")}, r.Attr("cidr_blocks"), r.Attr("ipv6_cidr_blocks"))}, nil
	case "aws_vpc_security_group_ingress_rule":
		return []opening{awsOpening(r.Attr("ip_protocol"), r.Attr("from_port"), r.Attr("to_port"), nil, r.Attr("cidr_ipv4"), r.Attr("cidr_ipv6"))}, nil
	default:
		return r.openings("ingress", func(b Block) opening {
			return awsOpening(b.Attr("protocol"), b.Attr("from_port"), b.Attr("to_port"), nil, b.Attr("cidr_blocks"), b.Attr("ipv6_cidr_blocks"))
		})
	}
}

// openings are those of every block of a type, and why there may be others.
func (r *Resource) openings(name string, of func(Block) opening) ([]opening, *Result) {
	blocks := r.Blocks(name)
	var out []opening
	for _, b := range blocks.All {
		out = append(out, of(b))
	}
	if blocks.Unknown != "" {
		hidden := blocks.undecided()
		return out, &hidden
	}
	return out, nil
}

// networkACLIngress are the openings of a network ACL: blocks of aws_network_acl and aws_default_network_acl, or
// aws_network_acl_rule.
func networkACLIngress(r *Resource) ([]opening, *Result) {
	if r.Type == "aws_network_acl_rule" {
		return []opening{awsOpening(r.Attr("protocol"), r.Attr("from_port"), r.Attr("to_port"),
			[]Result{r.Attr("egress").is("false", "false"), r.Attr("rule_action").is("allow", "")}, r.Attr("cidr_block"), r.Attr("ipv6_cidr_block"))}, nil
	}
	return r.openings("ingress", func(b Block) opening {
		return awsOpening(b.Attr("protocol"), b.Attr("from_port"), b.Attr("to_port"), []Result{b.Attr("action").is("allow", "")}, b.Attr("cidr_block"), b.Attr("ipv6_cidr_block"))
	})
}

// googleFirewallIngress are the openings of google_compute_firewall: what each block allow names.
func googleFirewallIngress(r *Resource) ([]opening, *Result) {
	allows := []Result{r.Attr("direction").is("INGRESS", "INGRESS"), r.Attr("disabled").is("false", "false")}
	sources := elements(r.Attr("source_ranges"))
	return r.openings("allow", func(b Block) opening {
		protocol, ranges := b.Attr("protocol"), b.Attr("ports")
		return opening{allows: allows, sources: sources, ports: func(port firewallPort) Result {
			// Without ports every port of the protocol is open.
			open := ranges.fails("%s is not set", ranges.path)
			if !ranges.empty() {
				open = anyRange(elements(ranges), port.number)
			}
			return both(carries(protocol, port, "all"), open)
		}}
	})
}

func anyRange(ranges []Value, port int) Result {
	var results []Result
	for _, v := range ranges {
		results = append(results, rangeHolds(v, port))
	}
	return every(results...)
}

// azureIngress are the openings of a network security group: blocks security_rule, or azurerm_network_security_rule.
func azureIngress(r *Resource) ([]opening, *Result) {
	if r.Type == "azurerm_network_security_rule" {
		return []opening{azureOpening(r.Block)}, nil
	}
	return r.openings("security_rule", azureOpening)
}

func azureOpening(b Block) opening {
	protocol := b.Attr("protocol")
	ranges := flat([]Value{b.Attr("destination_port_range"), b.Attr("destination_port_ranges")})
	return opening{
		allows:  []Result{b.Attr("direction").is("Inbound", ""), b.Attr("access").is("Allow", "")},
		sources: flat([]Value{b.Attr("source_address_prefix"), b.Attr("source_address_prefixes")}),
		ports: func(port firewallPort) Result {
			return both(carries(protocol, port, "*"), anyRange(ranges, port.number))
		},
	}
}
