package egresspolicy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// ParseHost reads a host name or an IP address and returns the one spelling under which it is compared.
//
// A name is ASCII letters, digits and hyphens in labels, in any case, without the root's dot; an
// international name is written in punycode. An address is written as RFC 5952 writes it. Every other
// spelling that some resolver somewhere takes for an address (decimal, octal, hexadecimal, short,
// IPv4-mapped, with a zone) is refused, so that what is compared is what is dialled.
func ParseHost(s string) (string, error) {
	switch {
	case s == "":
		return "", errors.New("the host is empty")
	case len(s) > maxHost:
		return "", fmt.Errorf("the host is %d characters long; at most %d are allowed", len(s), maxHost)
	case strings.Contains(s, "*"):
		return "", fmt.Errorf("host %s: wildcards are not supported; list each host", quote(s))
	}
	host := lowerASCII(s)
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" || addr.Is4In6() || addr.String() != host {
			return "", fmt.Errorf("host %s: write the IP address as %s", quote(s), addr.WithZone("").Unmap())
		}
		return host, nil
	}
	if err := checkName(host); err != nil {
		return "", fmt.Errorf("host %s: %w", quote(s), err)
	}
	return host, nil
}

func checkName(host string) error {
	if strings.HasSuffix(host, ".") {
		return errors.New("write the name without the dot at its end")
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		switch {
		case label == "":
			return errors.New("an empty label")
		case len(label) > maxLabel:
			return fmt.Errorf("a label of %d characters; at most %d are allowed", len(label), maxLabel)
		case label[0] == '-' || label[len(label)-1] == '-':
			return errors.New("a label that begins or ends with a hyphen")
		}
		for i := range len(label) {
			c := label[i]
			if c >= 0x80 {
				return errors.New("write an international name in punycode (xn--…)")
			}
			if !isLDH(c) {
				return fmt.Errorf("the character %+q; a host name is letters, digits, hyphens and dots", c)
			}
		}
	}
	// The WHATWG URL standard, section 3.5 ("ends in a number"), and inet_aton(3) read such names as IPv4 addresses.
	if last := labels[len(labels)-1]; isNumber(last) {
		return errors.New("this is neither a name nor an IP address in its usual spelling")
	}
	return nil
}

func isLDH(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-'
}

// isNumber tells whether some parser takes the label for a number: decimal, octal, or hexadecimal.
func isNumber(label string) bool {
	digits := "0123456789"
	if rest, ok := strings.CutPrefix(label, "0x"); ok {
		label, digits = rest, "0123456789abcdef"
	}
	return strings.Trim(label, digits) == ""
}

// lowerASCII leaves everything else alone: strings.ToLower maps the Kelvin sign to k.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// ParseTarget reads HOST:PORT, as CONNECT has it (RFC 9110 section 9.3.6): an IPv6 address in brackets,
// and the port always there.
func ParseTarget(s string) (host string, port uint16, err error) {
	h, p, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, fmt.Errorf("%s is not HOST:PORT", quote(s))
	}
	host, err = ParseHost(h)
	if err != nil {
		return "", 0, err
	}
	if bracketed := strings.HasPrefix(s, "["); bracketed != strings.Contains(host, ":") {
		return "", 0, fmt.Errorf("%s: brackets are for IPv6 addresses, and for nothing else", quote(s))
	}
	port, err = parsePort(p)
	if err != nil {
		return "", 0, err
	}
	return host, port, nil
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	// ParseUint takes "0443"; others may read that as octal.
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != s {
		return 0, fmt.Errorf("%s is not a port; write a number from 1 to 65535", quote(s))
	}
	return uint16(n), nil
}

// ParseRule reads a destination as it stands on a command line: HOST or HOST:PORT, port 443 if there is
// none, and for a name perhaps =CIDR,CIDR… after it, the networks that its addresses must lie in. Without
// them a name may have public addresses only; an IP address stands for itself, public or not.
func ParseRule(s string) (Rule, error) {
	if strings.Contains(s, "://") {
		return Rule{}, fmt.Errorf("%s: write HOST or HOST:PORT, without a scheme", quote(s))
	}
	destination, networks, listed := strings.Cut(s, "=")
	rule := Rule{Port: defaultPort, TLS: SNI}
	var err error
	// A bare IPv6 address has colons too, and no port.
	if _, notIP := netip.ParseAddr(destination); notIP != nil && strings.Contains(destination, ":") {
		rule.Host, rule.Port, err = ParseTarget(destination)
	} else {
		rule.Host, err = ParseHost(destination)
	}
	if err != nil {
		return Rule{}, err
	}
	if addr, err := netip.ParseAddr(rule.Host); err == nil {
		if listed {
			return Rule{}, fmt.Errorf("%s: an IP address stands for itself; leave the networks out", quote(s))
		}
		if reason := neverDialled(addr); reason != "" {
			return Rule{}, fmt.Errorf("%s is never dialled: %s", rule.Host, reason)
		}
		rule.TLS = NoneForIP
		rule.Addresses = []netip.Prefix{netip.PrefixFrom(addr, addr.BitLen())}
	}
	if listed {
		for text := range strings.SplitSeq(networks, ",") {
			prefix, err := parsePrefix(text)
			if err != nil {
				return Rule{}, err
			}
			rule.Addresses = append(rule.Addresses, prefix)
		}
	}
	if len(rule.Addresses) > maxPrefixes {
		return Rule{}, fmt.Errorf("%d networks; at most %d are allowed", len(rule.Addresses), maxPrefixes)
	}
	return rule, nil
}

// quote repeats somebody's input in an error: ASCII only, escaped, and cut.
func quote(s string) string {
	if len(s) > maxQuoted {
		return strconv.QuoteToASCII(s[:maxQuoted]) + "…"
	}
	return strconv.QuoteToASCII(s)
}
