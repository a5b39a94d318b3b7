// Package egresspolicy decides what may be reached from inside the bundle: it reads the policy, parses
// hosts and ports strictly, resolves a name once, checks every address of the answer, and dials just what
// it checked.
//
// The same rules hold in the egress process and in a server that runs outside the bundle with its egress
// set to "direct". Nothing here is a pattern: a rule names one host and one port, and what no rule names is
// refused.
package egresspolicy

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The bounds of this package.
const (
	maxPolicy       = 256 << 10       // bytes in a policy file
	maxClients      = 64              // clients in a policy
	maxRules        = 256             // hosts of one client, presets included
	maxPrefixes     = 64              // CIDRs of one rule
	maxClientName   = 32              // characters; a client's name is a folder's
	maxHost         = 253             // characters of a host name, RFC 1035 section 2.3.4 without the root's dot
	maxLabel        = 63              // characters of one label
	maxQuoted       = 80              // bytes of somebody's input that an error repeats
	maxCall         = 64              // characters of a call id
	maxAnswers      = 32              // addresses that one name may have
	maxAttempts     = 4               // addresses that are tried
	resolveTimeout  = 5 * time.Second // for one name
	dialTimeout     = 5 * time.Second // for one address
	defaultPort     = 443
	policyVersion   = 1
	clientNameShape = "a small letter, then small letters, digits and hyphens"
)

// TLS says how a destination is spoken to, and so what can be checked of it.
type TLS string

// The modes of a [Rule].
const (
	// SNI: the first bytes are a ClientHello whose server name is the rule's host. The default for names.
	SNI TLS = "sni"
	// NoneForIP: the host is an IP address, which has no server name; the first bytes are a ClientHello.
	NoneForIP TLS = "none-for-ip"
	// Plain: HTTP without TLS, for a model runner on the same machine.
	Plain TLS = "plain"
)

// Rule is one destination that may be reached.
type Rule struct {
	Host string // as ParseHost returns it
	Port uint16
	TLS  TLS
	// Addresses are the networks that every address of Host must lie in; none means public ones.
	Addresses []netip.Prefix
}

// Destination is the rule's host and port in the form that a dial takes.
func (r Rule) Destination() string {
	return net.JoinHostPort(r.Host, strconv.Itoa(int(r.Port)))
}

// String is the rule for a person to read.
func (r Rule) String() string {
	addresses := "public"
	if len(r.Addresses) > 0 {
		all := make([]string, len(r.Addresses))
		for i, p := range r.Addresses {
			all[i] = p.String()
		}
		addresses = strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s (tls: %s, addresses: %s)", r.Destination(), r.TLS, addresses)
}

// Find returns the rule for host and port. host must come from [ParseHost].
func Find(rules []Rule, host string, port uint16) (Rule, error) {
	listed := false
	for _, r := range rules {
		if r.Host != host {
			continue
		}
		if r.Port == port {
			return r, nil
		}
		listed = true
	}
	reason := "the host is not listed"
	if listed {
		reason = fmt.Sprintf("the host is listed, but not with port %d", port)
	}
	return Rule{}, &DeniedError{Host: host, Reason: reason}
}

// DeniedError says that the policy does not let a destination be reached.
type DeniedError struct {
	Host   string // as far as it could be parsed; else as it was written, quoted
	Reason string
}

func (e *DeniedError) Error() string { return "egress to " + e.Host + " is denied: " + e.Reason }

// Policy is what the operator lets each client reach.
type Policy struct {
	Clients []Client // sorted by name
}

// Client is one container that has an egress socket of its own.
type Client struct {
	Name  string
	Rules []Rule
}

// presets lists the hosts that a service needs as its operator documents them: for a registry also where
// its tokens and its blobs come from.
func presets() map[string][]string {
	return map[string][]string{
		"docker.io-api": {"hub.docker.com"},
		"docker.io": {
			"registry-1.docker.io",
			"index.docker.io", // the name that go-containerregistry gives the same service
			"auth.docker.io",
			"production.cloudflare.docker.com",
			"docker-images-prod.6aa30f8b08e16409b46e0173d6de2f56.r2.cloudflarestorage.com",
		},
		"ghcr.io": {"ghcr.io", "pkg-containers.githubusercontent.com"},
		"quay.io": {
			"quay.io", "cdn.quay.io",
			"cdn01.quay.io", "cdn02.quay.io", "cdn03.quay.io", "cdn04.quay.io", "cdn05.quay.io", "cdn06.quay.io",
		},
	}
}

// Preset returns the rules of a named preset: each host on port 443, with SNI, at public addresses.
func Preset(name string) ([]Rule, error) {
	all := presets()
	hosts, ok := all[name]
	if !ok {
		known := make([]string, 0, len(all))
		for n := range all {
			known = append(known, n)
		}
		slices.Sort(known)
		return nil, fmt.Errorf("unknown preset %s; the presets are %s", quote(name), strings.Join(known, ", "))
	}
	rules := make([]Rule, len(hosts))
	for i, h := range hosts {
		rules[i] = Rule{Host: h, Port: defaultPort, TLS: SNI}
	}
	return rules, nil
}
