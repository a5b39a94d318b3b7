package egresspolicy

import (
	"fmt"
	"net/netip"
)

// network is a range of addresses and what it is, in words that complete "it is".
type network struct {
	prefix netip.Prefix
	name   string
}

// never lists what is not dialled whatever the policy says: addresses that mean the machine itself or its
// link, and the ones at which clouds hand out credentials.
func never() []network {
	return []network{
		{netip.MustParsePrefix("0.0.0.0/8"), "this host on this network (RFC 791)"},
		{netip.MustParsePrefix("169.254.0.0/16"), "link-local (RFC 3927), where clouds serve credentials"},
		{netip.MustParsePrefix("224.0.0.0/4"), "multicast (RFC 1112)"},
		{netip.MustParsePrefix("255.255.255.255/32"), "the broadcast address (RFC 919)"},
		{netip.MustParsePrefix("100.100.100.200/32"), "a cloud's metadata service"},
		{netip.MustParsePrefix("168.63.129.16/32"), "a cloud's metadata service"},
		{netip.MustParsePrefix("192.0.0.192/32"), "a cloud's metadata service"},
		{netip.MustParsePrefix("::/128"), "the unspecified address (RFC 4291)"},
		{netip.MustParsePrefix("fe80::/10"), "link-local (RFC 4291)"},
		{netip.MustParsePrefix("ff00::/8"), "multicast (RFC 4291)"},
		{netip.MustParsePrefix("fd00:ec2::254/128"), "a cloud's metadata service"},
		{netip.MustParsePrefix("fd20:ce::254/128"), "a cloud's metadata service"},
	}
}

// special lists what is not public beyond [never]: the IANA IPv4 and IPv6 special-purpose address
// registries (RFC 6890), also where a range is marked globally reachable, since no upstream lives there.
// What lies outside 2000::/3 is not global unicast and needs no entry; those that have one have it for its name.
func special() []network {
	return []network{
		{netip.MustParsePrefix("10.0.0.0/8"), "private (RFC 1918)"},
		{netip.MustParsePrefix("100.64.0.0/10"), "shared address space (RFC 6598)"},
		{netip.MustParsePrefix("127.0.0.0/8"), "loopback (RFC 1122)"},
		{netip.MustParsePrefix("172.16.0.0/12"), "private (RFC 1918)"},
		{netip.MustParsePrefix("192.0.0.0/24"), "IETF protocol assignments (RFC 6890)"},
		{netip.MustParsePrefix("192.0.2.0/24"), "documentation (RFC 5737)"},
		{netip.MustParsePrefix("192.31.196.0/24"), "AS112 (RFC 7535)"},
		{netip.MustParsePrefix("192.52.193.0/24"), "AMT (RFC 7450)"},
		{netip.MustParsePrefix("192.88.99.0/24"), "6to4 relay anycast (RFC 7526)"},
		{netip.MustParsePrefix("192.168.0.0/16"), "private (RFC 1918)"},
		{netip.MustParsePrefix("192.175.48.0/24"), "AS112 (RFC 7534)"},
		{netip.MustParsePrefix("198.18.0.0/15"), "benchmarking (RFC 2544)"},
		{netip.MustParsePrefix("198.51.100.0/24"), "documentation (RFC 5737)"},
		{netip.MustParsePrefix("203.0.113.0/24"), "documentation (RFC 5737)"},
		{netip.MustParsePrefix("240.0.0.0/4"), "reserved (RFC 1112)"},
		{netip.MustParsePrefix("::1/128"), "loopback (RFC 4291)"},
		{netip.MustParsePrefix("::ffff:0:0/96"), "IPv4-mapped (RFC 4291)"},
		{netip.MustParsePrefix("64:ff9b::/96"), "NAT64 (RFC 6052)"},
		{netip.MustParsePrefix("64:ff9b:1::/48"), "NAT64 (RFC 8215)"},
		{netip.MustParsePrefix("100::/64"), "discard-only (RFC 6666)"},
		{netip.MustParsePrefix("2001::/32"), "Teredo (RFC 4380)"},
		{netip.MustParsePrefix("2001::/23"), "IETF protocol assignments (RFC 2928)"},
		{netip.MustParsePrefix("2001:db8::/32"), "documentation (RFC 3849)"},
		{netip.MustParsePrefix("2002::/16"), "6to4 (RFC 3056)"},
		{netip.MustParsePrefix("2620:4f:8000::/48"), "AS112 (RFC 7534)"},
		{netip.MustParsePrefix("3fff::/20"), "documentation (RFC 9637)"},
		{netip.MustParsePrefix("5f00::/16"), "segment routing (RFC 9602)"},
		{netip.MustParsePrefix("fc00::/7"), "unique local (RFC 4193)"},
		{netip.MustParsePrefix("fec0::/10"), "site-local (RFC 3879)"},
	}
}

// neverDialled says why no policy may open addr, and "" if one may.
func neverDialled(addr netip.Addr) string {
	for _, n := range never() {
		if n.prefix.Contains(addr) {
			return "it is " + n.name
		}
	}
	return ""
}

// notPublic says why addr is not a public address, and "" if it is one.
func notPublic(addr netip.Addr) string {
	for _, n := range special() {
		if n.prefix.Contains(addr) {
			return "it is " + n.name
		}
	}
	if addr.Is6() && !netip.MustParsePrefix("2000::/3").Contains(addr) {
		return "it is not global unicast (RFC 4291)"
	}
	return ""
}

// refuseAddress says why the rule does not let addr be dialled, and "" if it does. An IPv4-mapped address
// is judged as what the kernel would dial, so callers pass it unmapped.
func (r Rule) refuseAddress(addr netip.Addr) string {
	if !addr.IsValid() || addr.Zone() != "" || addr.Is4In6() {
		return "it is not a plain IP address"
	}
	if reason := neverDialled(addr); reason != "" {
		return reason
	}
	if len(r.Addresses) == 0 {
		return notPublic(addr)
	}
	for _, p := range r.Addresses {
		if p.Contains(addr) {
			return ""
		}
	}
	return fmt.Sprintf("it is in none of the %d networks that the rule lists", len(r.Addresses))
}
