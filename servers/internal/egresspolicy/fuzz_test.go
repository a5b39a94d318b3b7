package egresspolicy

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

func FuzzParse(f *testing.F) {
	f.Add("version: 1\nclients:\n  dockerhub: {presets: [docker.io-api]}\n")
	f.Add("version: 1\nclients:\n  k: {hosts: [{host: 10.0.0.1, port: 6443, tls: none-for-ip, addresses: [10.0.0.0/8]}]}\n")
	f.Add("version: 1\nclients:\n  k: {hosts: [{host: a.example, tls: plain, addresses: public}]}\n")
	f.Add("a: &a {b: *a}\n")
	f.Add("version: 1\nclients: {? [a] : {}}\n")
	f.Fuzz(func(t *testing.T, in string) {
		policy, err := Parse("p", strings.NewReader(in))
		if err != nil {
			if policy != nil {
				t.Error("an error and a policy")
			}
			if !strings.HasPrefix(err.Error(), "p:") {
				t.Errorf("an error without its file: %v", err)
			}
			return
		}
		seen := make(map[string]bool)
		for _, c := range policy.Clients {
			if seen[c.Name] || !validClient(c.Name) || len(c.Rules) == 0 {
				t.Errorf("client %q with %d rules", c.Name, len(c.Rules))
			}
			seen[c.Name] = true
			for _, r := range c.Rules {
				if host, err := ParseHost(r.Host); err != nil || host != r.Host {
					t.Errorf("host %q: %q, %v", r.Host, host, err)
				}
				if strings.Contains(r.Host, "*") || r.Port == 0 || r.check() != nil {
					t.Errorf("rule %v", r)
				}
				if found, err := Find(c.Rules, r.Host, r.Port); err != nil || found.String() != r.String() {
					t.Errorf("%v is found as %v, %v", r, found, err)
				}
				for _, a := range []string{"169.254.169.254", "0.0.0.0", "fe80::1", "ff02::1", "::ffff:127.0.0.1"} {
					if r.refuseAddress(netip.MustParseAddr(a)) == "" {
						t.Errorf("%v lets %s be dialled", r, a)
					}
				}
			}
		}
	})
}

func FuzzParseHost(f *testing.F) {
	for _, s := range []string{"hub.docker.com", "HUB.docker.com.", "127.1", "0x7f.1", "::ffff:1.2.3.4", "[::1]", "a@b", "bücher.example", "xn--a", "1.2.3.4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		host, err := ParseHost(in)
		if err != nil {
			if host != "" {
				t.Errorf("an error and %q", host)
			}
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
				t.Errorf("the error %q holds control characters", err)
			}
			return
		}
		if !strings.EqualFold(host, in) || len(host) != len(in) {
			t.Errorf("%q becomes %q", in, host)
		}
		if again, err := ParseHost(host); err != nil || again != host {
			t.Errorf("%q becomes %q, %v", host, again, err)
		}
		// What is taken for a name must be a name to everybody: no parser may see an address in it.
		if addr, err := netip.ParseAddr(host); err == nil {
			if addr.String() != host || addr.Is4In6() {
				t.Errorf("address %q", host)
			}
			return
		}
		last := host[strings.LastIndex(host, ".")+1:]
		hex, isHex := strings.CutPrefix(last, "0x")
		_, decimal := strconv.ParseUint(last, 10, 64)
		_, hexadecimal := strconv.ParseUint(hex, 16, 64)
		if decimal == nil || isHex && (hex == "" || hexadecimal == nil) {
			t.Errorf("%q ends in a number", host)
		}
		u, err := url.Parse("https://" + host + ":443/")
		if err != nil || u.Hostname() != host || u.User != nil {
			t.Errorf("as a URL: %v, %v", u, err)
		}
	})
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"hub.docker.com:443", "[::1]:443", "a:b:c", "[a]:1", "user@a:1", "a:0001"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		host, port, err := ParseTarget(in)
		if err != nil {
			return
		}
		if back := net.JoinHostPort(host, strconv.Itoa(int(port))); back != lowerASCII(in) || port == 0 {
			t.Errorf("%q becomes %q", in, back)
		}
	})
}

func FuzzParseRule(f *testing.F) {
	for _, s := range []string{"hub.docker.com", "10.0.0.1:6443", "[fd00::1]:6443", "fd00::1", "a.corp=10.0.0.0/8", "169.254.169.254"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		rule, err := ParseRule(in)
		if err != nil {
			return
		}
		if err := rule.check(); err != nil {
			t.Errorf("%q: %v", in, err)
		}
		if again, err := ParseRule(rule.Destination()); err != nil || again.Destination() != rule.Destination() {
			t.Errorf("%v becomes %v, %v", rule, again, err)
		}
	})
}
