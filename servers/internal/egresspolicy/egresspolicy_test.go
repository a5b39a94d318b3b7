package egresspolicy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParse(t *testing.T) {
	const in = `version: 1
clients:
  registry: {presets: [ghcr.io]}
  kubernetes:
    hosts:
      - {host: 10.0.0.1, port: 6443, tls: none-for-ip, addresses: [10.0.0.0/8, "fd00::/8"]}
      - {host: API.example.com}
      - {host: api.example.com, port: 8443, tls: sni, addresses: public}
      - {host: model-runner, port: 12434, tls: plain, addresses: [172.16.0.0/12]}
`
	got, err := Parse("policy.yaml", strings.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	want := &Policy{Clients: []Client{
		{Name: "kubernetes", Rules: []Rule{
			{"10.0.0.1", 6443, NoneForIP, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}},
			{"api.example.com", 443, SNI, nil},
			{"api.example.com", 8443, SNI, nil},
			{"model-runner", 12434, Plain, []netip.Prefix{netip.MustParsePrefix("172.16.0.0/12")}},
		}},
		{Name: "registry", Rules: []Rule{
			{"ghcr.io", 443, SNI, nil},
			{"pkg-containers.githubusercontent.com", 443, SNI, nil},
		}},
	}}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Error(diff)
	}
}

func TestParseRefuses(t *testing.T) {
	client := func(body string) string { return "version: 1\nclients:\n  a:\n" + body }
	host := func(body string) string { return client("    hosts:\n      - " + body + "\n") }
	for _, tc := range []struct{ name, in, want string }{
		{"empty", "", "p: the file is empty"},
		{"no version", "clients: {a: {presets: [ghcr.io]}}", "p: version is missing"},
		{"other version", "version: 2\nclients: {a: {presets: [ghcr.io]}}", `p:1: version is "2"`},
		{"no clients", "version: 1\n", "p: clients is missing"},
		{"empty clients", "version: 1\nclients: {}\n", "p: clients is missing"},
		{"unknown key", "version: 1\nclient: {}\n", "p:2: unknown key client"},
		{"unknown client key", client("    preset: [ghcr.io]\n"), "p:4: unknown key preset"},
		{"unknown host key", host("{host: a.example, sni: true}"), "p:5: unknown key sni"},
		{"double client", client("    presets: [ghcr.io]\n") + "  a: {presets: [quay.io]}\n", "p:5: "},
		{"double key", client("    presets: [ghcr.io]\n    presets: [quay.io]\n"), "p:5: "},
		{"second document", "version: 1\nclients: {a: {presets: [ghcr.io]}}\n---\nversion: 1\n", "p:3: a second document"},
		{"no value for client", "version: 1\nclients:\n  a:\n", "p:3: a value is missing"},
		{"nothing for client", "version: 1\nclients:\n  a: {}\n", "p:3: client a lists neither"},
		{"client name upper", "version: 1\nclients:\n  Abc: {presets: [ghcr.io]}\n", `p:3: client "Abc"`},
		{"client name path", "version: 1\nclients:\n  ../a: {presets: [ghcr.io]}\n", `p:3: client "../a"`},
		{"client name star", "version: 1\nclients:\n  '*': {presets: [ghcr.io]}\n", `p:3: client "*"`},
		{"client name long", "version: 1\nclients:\n  " + strings.Repeat("a", 33) + ": {presets: [ghcr.io]}\n", `p:3: client "aaa`},
		{"unknown preset", client("    presets:\n      - ghcr.io\n      - gcr.io\n"), `p:6: client a: unknown preset "gcr.io"; the presets are docker.io, docker.io-api, ghcr.io, quay.io`},
		{"preset twice", client("    presets: [ghcr.io, ghcr.io]\n"), "p:4: client a: ghcr.io:443 is already listed on line 4"},
		{"presets a scalar", client("    presets: ghcr.io\n"), "p:4: "},
		{"preset a map", client("    presets: [{a: b}]\n"), "p:4: a single value is needed"},
		{"no host", host("{port: 443}"), "p:5: client a: hosts, entry 1: host is missing"},
		{"empty entry", host("{}"), "p:3: client a: hosts, entry 1: host is missing"},
		{"wildcard", host("{host: '*.docker.io'}"), "p:5: client a: hosts, entry 1: host \"*.docker.io\": wildcards"},
		{"star", host("{host: '*'}"), "p:5: client a: hosts, entry 1: host \"*\": wildcards"},
		{"trailing dot", host("{host: docker.io.}"), "p:5: client a: hosts, entry 1: host \"docker.io.\": write the name without"},
		{"host twice", host("{host: a.example}") + "      - {host: A.EXAMPLE, port: 443}\n", "p:6: client a: a.example:443 is already listed on line 5"},
		{"port 0", host("{host: a.example, port: 0}"), "p:5: client a: hosts, entry 1: \"0\" is not a port"},
		{"port large", host("{host: a.example, port: 65536}"), "p:5: "},
		{"port octal", host("{host: a.example, port: 0443}"), "p:5: "},
		{"port name", host("{host: a.example, port: https}"), "p:5: "},
		{"port list", host("{host: a.example, port: [443]}"), "p:5: a single value"},
		{"port null", host("{host: a.example, port: }"), "p:5: a value is missing"},
		{"tls unknown", host("{host: a.example, tls: none}"), "p:5: client a: hosts, entry 1: tls: \"none\" is unknown; the modes are sni, none-for-ip and plain"},
		{"tls off", host("{host: a.example, tls: false}"), "p:5: client a: hosts, entry 1: tls: \"false\" is unknown"},
		{"name without sni", host("{host: a.example, tls: none-for-ip}"), "p:5: client a: hosts, entry 1: tls: none-for-ip is for IP addresses"},
		{"address with sni", host("{host: 192.0.2.1}"), "p:5: client a: hosts, entry 1: 192.0.2.1 is an IP address, which has no server name"},
		{"inward address", host("{host: 10.0.0.1, tls: none-for-ip}"), "p:5: client a: hosts, entry 1: 10.0.0.1 is outside of addresses: it is private"},
		{"address elsewhere", host("{host: 10.0.0.1, tls: none-for-ip, addresses: [172.16.0.0/12]}"), "p:5: client a: hosts, entry 1: 10.0.0.1 is outside of addresses: it is in none"},
		{"addresses null", host("{host: a.example, addresses: }"), "p:5: a value is missing"},
		{"addresses empty", host("{host: a.example, addresses: []}"), "p:5: addresses is either public"},
		{"addresses word", host("{host: a.example, addresses: private}"), "p:5: addresses is either public"},
		{"addresses mixed", host("{host: a.example, addresses: [public]}"), `p:5: client a: hosts, entry 1: addresses: "public" is not a CIDR`},
		{"bare address", host("{host: a.example, addresses: [10.0.0.1]}"), "p:5: "},
		{"bits beyond", host("{host: a.example, addresses: [10.0.0.1/8]}"), `p:5: client a: hosts, entry 1: addresses: "10.0.0.1/8" has bits beyond its length: write 10.0.0.0/8`},
		{"everything", host("{host: a.example, addresses: [0.0.0.0/0]}"), "p:5: "},
		{"everything 6", host("{host: a.example, addresses: ['::/0']}"), "p:5: "},
		{"mapped", host("{host: a.example, addresses: ['::ffff:10.0.0.0/104']}"), "p:5: "},
		{"metadata", host("{host: a.example, addresses: [169.254.169.254/32]}"), `p:5: client a: hosts, entry 1: addresses: "169.254.169.254/32" is never dialled`},
		{"metadata host", host("{host: 169.254.169.254, port: 80, tls: plain, addresses: [168.0.0.0/7]}"), "p:5: client a: hosts, entry 1: 169.254.169.254 is outside of addresses: it is link-local"},
		{"all errors", host("{host: '*'}") + "      - {port: 1}\n", "p:6: client a: hosts, entry 2: host is missing"},
		{"deep alias bomb", "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\n", "p:1: unknown key a"},
		{"too large", "version: 1 #" + strings.Repeat("x", maxPolicy), "p: too large"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse("p", strings.NewReader(tc.in))
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains("\n"+err.Error(), "\n"+tc.want) {
				t.Errorf("error:\n%v\nhas no line that begins with:\n%s", err, tc.want)
			}
		})
	}
}

func TestParseBounds(t *testing.T) {
	var clients strings.Builder
	for i := range maxClients + 1 {
		clients.WriteString("  c" + strings.Repeat("x", i%30) + strings.Repeat("y", i/30) + ": {presets: [ghcr.io]}\n")
	}
	if _, err := Parse("p", strings.NewReader("version: 1\nclients:\n"+clients.String())); err == nil {
		t.Error("too many clients pass")
	}
	var hosts strings.Builder
	for i := range maxRules + 1 {
		hosts.WriteString("      - {host: a.example, port: " + string(rune('1'+i%9)) + strings.Repeat("0", i/9%4) + "}\n")
	}
	if _, err := Parse("p", strings.NewReader("version: 1\nclients:\n  a:\n    hosts:\n"+hosts.String())); err == nil {
		t.Error("too many hosts pass")
	}
	prefixes := strings.Repeat("10.0.0.0/8, ", maxPrefixes+1)
	if _, err := Parse("p", strings.NewReader("version: 1\nclients:\n  a: {hosts: [{host: a.example, addresses: ["+prefixes+"]}]}\n")); err == nil {
		t.Error("too many networks pass")
	}
}

// Every preset must pass the checks that an operator's own hosts do.
func TestPresets(t *testing.T) {
	for name := range presets() {
		rules, err := Preset(name)
		if err != nil || len(rules) == 0 {
			t.Errorf("%s: %v, %v", name, rules, err)
		}
		for _, r := range rules {
			if host, err := ParseHost(r.Host); err != nil || host != r.Host {
				t.Errorf("%s: %s: %v", name, r.Host, err)
			}
			if err := r.check(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if r.Port != 443 || r.TLS != SNI || r.Addresses != nil {
				t.Errorf("%s: %v", name, r)
			}
		}
	}
}

func TestParseHost(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"hub.docker.com", "hub.docker.com"},
		{"HUB.Docker.COM", "hub.docker.com"},
		{"localhost", "localhost"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example"},
		{"1password.com", "1password.com"},
		{"3com", "3com"},
		{"0xcafe.example", "0xcafe.example"},
		{"127.0.0.1.example", "127.0.0.1.example"},
		{"10.0.0.1", "10.0.0.1"},
		{"::1", "::1"},
		{"2001:DB8::1", "2001:db8::1"},
		{strings.Repeat("a.", 126) + "a", strings.Repeat("a.", 126) + "a"},
		{strings.Repeat("a", 63) + ".example", strings.Repeat("a", 63) + ".example"},

		{"", ""},
		{".", ""},
		{"hub.docker.com.", ""},
		{".hub.docker.com", ""},
		{"hub..docker.com", ""},
		{"-a.example", ""},
		{"a-.example", ""},
		{strings.Repeat("a", 64) + ".example", ""},
		{strings.Repeat("a.", 126) + "ab", ""},
		{"*", ""},
		{"*.docker.com", ""},
		{"user@hub.docker.com", ""},
		{"user:pw@hub.docker.com", ""},
		{"hub.docker.com:443", ""},
		{"hub.docker.com/x", ""},
		{"hub.docker.com#", ""},
		{"hub.docker.com?x", ""},
		{"hub.docker.com\\x", ""},
		{"hub_docker.com", ""},
		{"hub%2edocker.com", ""},
		{"hub docker.com", ""},
		{"hub.docker.com\r\nX: y", ""},
		{"hub.docker.com\x00.evil.example", ""},
		{"bücher.example", ""},
		{"ⓗub.docker.com", ""},
		{"hub。docker.com", ""},
		{"doc\u212aer.com", ""}, // the Kelvin sign, which Unicode lower-cases to k
		{"127.1", ""},
		{"127.0.1", ""},
		{"2130706433", ""},
		{"0177.0.0.1", ""},
		{"0x7f000001", ""},
		{"0x7f.0.0.1", ""},
		{"127.0.0.0x1", ""},
		{"0X7F.1", ""},
		{"0x", ""},
		{"010.0.0.1", ""},
		{"256.0.0.1", ""},
		{"1.2.3.4.5", ""},
		{"10.0.0.1.", ""},
		{"１２７.0.0.1", ""},
		{"::ffff:127.0.0.1", ""},
		{"::ffff:7f00:1", ""},
		{"0:0:0:0:0:0:0:1", ""},
		{"::0001", ""},
		{"fe80::1%eth0", ""},
		{"[::1]", ""},
		{"::127.0.0.1", ""},
	} {
		got, err := ParseHost(tc.in)
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("ParseHost(%q) = %q, %v, want %q", tc.in, got, err, tc.want)
		}
	}
}

func TestParseTarget(t *testing.T) {
	for _, tc := range []struct {
		in, host string
		port     uint16
	}{
		{"hub.docker.com:443", "hub.docker.com", 443},
		{"10.0.0.1:6443", "10.0.0.1", 6443},
		{"[fd00::1]:6443", "fd00::1", 6443},
		{"hub.docker.com", "", 0},
		{"hub.docker.com:", "", 0},
		{"hub.docker.com:0", "", 0},
		{"hub.docker.com:65536", "", 0},
		{"hub.docker.com:0443", "", 0},
		{"hub.docker.com:+443", "", 0},
		{"hub.docker.com:443 ", "", 0},
		{"hub.docker.com:https", "", 0},
		{"hub.docker.com:443:443", "", 0},
		{"[hub.docker.com]:443", "", 0},
		{"[10.0.0.1]:443", "", 0},
		{"fd00::1:443", "", 0},
		{"[fd00::1%eth0]:443", "", 0},
		{"[::ffff:10.0.0.1]:443", "", 0},
		{":443", "", 0},
		{"a@hub.docker.com:443", "", 0},
		{"http://hub.docker.com:443", "", 0},
		{"", "", 0},
	} {
		host, port, err := ParseTarget(tc.in)
		if host != tc.host || port != tc.port || (err == nil) != (tc.host != "") {
			t.Errorf("ParseTarget(%q) = %q, %d, %v", tc.in, host, port, err)
		}
	}
}

func TestParseRule(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"hub.docker.com", "hub.docker.com:443 (tls: sni, addresses: public)"},
		{"Registry.example.com:5000", "registry.example.com:5000 (tls: sni, addresses: public)"},
		{"10.0.0.1", "10.0.0.1:443 (tls: none-for-ip, addresses: 10.0.0.1/32)"},
		{"10.0.0.1:6443", "10.0.0.1:6443 (tls: none-for-ip, addresses: 10.0.0.1/32)"},
		{"fd00::1", "[fd00::1]:443 (tls: none-for-ip, addresses: fd00::1/128)"},
		{"[fd00::1]:6443", "[fd00::1]:6443 (tls: none-for-ip, addresses: fd00::1/128)"},
		{"registry.corp=10.0.0.0/8", "registry.corp:443 (tls: sni, addresses: 10.0.0.0/8)"},
		{"registry.corp:5000=10.0.0.0/8,fd00::/8", "registry.corp:5000 (tls: sni, addresses: 10.0.0.0/8, fd00::/8)"},
		{"registry.corp=", ""},
		{"registry.corp=public", ""},
		{"registry.corp=10.0.0.0/8,", ""},
		{"registry.corp=0.0.0.0/0", ""},
		{"registry.corp=169.254.0.0/16", ""},
		{"10.0.0.1=10.0.0.0/8", ""},
		{"", ""},
		{"*", ""},
		{"*.docker.com", ""},
		{"https://hub.docker.com", ""},
		{"hub.docker.com:443/path", ""},
		{"hub.docker.com:", ""},
		{"169.254.169.254", ""},
		{"169.254.169.254:80", ""},
		{"[::ffff:10.0.0.1]:443", ""},
		{"0.0.0.0:443", ""},
	} {
		rule, err := ParseRule(tc.in)
		if err != nil {
			if tc.want != "" {
				t.Errorf("ParseRule(%q): %v", tc.in, err)
			}
			continue
		}
		if rule.String() != tc.want {
			t.Errorf("ParseRule(%q) = %v, want %q", tc.in, rule, tc.want)
		}
		if err := rule.check(); err != nil {
			t.Errorf("ParseRule(%q): %v", tc.in, err)
		}
	}
}

func TestFind(t *testing.T) {
	rules := []Rule{{Host: "a.example", Port: 443}, {Host: "a.example", Port: 8443}, {Host: "b.example", Port: 443}}
	if r, err := Find(rules, "a.example", 8443); err != nil || r.Port != 8443 {
		t.Errorf("%v, %v", r, err)
	}
	for _, tc := range []struct {
		host string
		port uint16
		want string
	}{
		{"a.example", 80, "not with port 80"},
		{"c.example", 443, "not listed"},
		{"sub.a.example", 443, "not listed"},
		{"example", 443, "not listed"},
		{"", 443, "not listed"},
	} {
		_, err := Find(rules, tc.host, tc.port)
		var denied *DeniedError
		if !errors.As(err, &denied) || !strings.Contains(denied.Reason, tc.want) || denied.Host != tc.host {
			t.Errorf("%s:%d: %v", tc.host, tc.port, err)
		}
	}
}

func TestRefuseAddress(t *testing.T) {
	prefixes := func(all ...string) Rule {
		var r Rule
		for _, s := range all {
			r.Addresses = append(r.Addresses, netip.MustParsePrefix(s))
		}
		return r
	}
	public := Rule{}
	for _, tc := range []struct {
		rule  Rule
		allow bool
		addrs string
	}{
		{public, true, "1.1.1.1 8.8.8.8 44.1.2.3 100.63.255.255 100.128.0.0 172.15.255.255 172.32.0.0 192.167.1.1 198.17.1.1 198.20.0.1 223.255.255.255 2606:4700::1111 2a00:1450::1 2620:4f:7fff::1 2001:200::1"},
		{public, false, "0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.127.255.255 100.100.100.200 127.0.0.1 127.255.255.255 169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.192 192.0.2.1 192.31.196.1 192.52.193.1 192.88.99.1 192.168.1.1 192.175.48.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 168.63.129.16"},
		{public, false, ":: ::1 ::2 ::7f00:1 64:ff9b::a00:1 64:ff9b:1::1 100::1 2001::1 2001:2::1 2001:10::1 2001:20::1 2001:db8::1 2002:a00:1::1 2620:4f:8000::1 3fff::1 4000::1 5f00::1 fc00::1 fd00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1 ::ffff:8.8.8.8 ::ffff:10.0.0.1 fe80::1%eth0 2606:4700::1%eth0"},
		{prefixes("10.0.0.0/8", "fd00::/8"), true, "10.0.0.0 10.255.255.255 fd12::1"},
		{prefixes("10.0.0.0/8", "fd00::/8"), false, "11.0.0.0 9.255.255.255 8.8.8.8 fc00::1 fd00:ec2::254 fd20:ce::254 ::ffff:10.0.0.1"},
		{prefixes("127.0.0.0/8"), true, "127.0.0.1"},
		// No network that is wide enough to hold them opens the addresses where clouds hand out credentials.
		{prefixes("128.0.0.0/1", "0.0.0.0/1", "fe00::/7"), false, "169.254.169.254 168.63.129.16 100.100.100.200 0.0.0.0 224.0.0.1 255.255.255.255 fe80::1 ff02::1"},
	} {
		for s := range strings.FieldsSeq(tc.addrs) {
			if reason := tc.rule.refuseAddress(netip.MustParseAddr(s)); (reason == "") != tc.allow {
				t.Errorf("%v: %s: %q, want allowed: %t", tc.rule, s, reason, tc.allow)
			}
		}
	}
	if public.refuseAddress(netip.Addr{}) == "" {
		t.Error("the zero address passes")
	}
}

// names is a resolver that gives its answers in turn, as an attacker's does, and counts the questions.
type names struct {
	answers [][]string
	err     error
	asked   []string
}

func (n *names) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	n.asked = append(n.asked, network+" "+host)
	if n.err != nil {
		return nil, n.err
	}
	var addrs []netip.Addr
	for _, s := range n.answers[min(len(n.asked), len(n.answers))-1] {
		addrs = append(addrs, netip.MustParseAddr(s))
	}
	return addrs, nil
}

func loopback(t *testing.T) (net.Listener, Rule) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	port := netip.MustParseAddrPort(l.Addr().String()).Port()
	return l, Rule{Host: "a.example", Port: port, TLS: SNI, Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
}

func TestDial(t *testing.T) {
	l, rule := loopback(t)
	// The second answer would be allowed too; what counts is that it is never asked for.
	n := &names{answers: [][]string{{"::ffff:127.0.0.1"}, {"127.0.0.2"}}}
	conn, addr, err := Dial(t.Context(), n, rule)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if addr.String() != l.Addr().String() || conn.RemoteAddr().String() != l.Addr().String() {
		t.Errorf("dialled %s and %s, want %s", addr, conn.RemoteAddr(), l.Addr())
	}
	if diff := cmp.Diff([]string{"ip a.example."}, n.asked); diff != "" {
		t.Error(diff)
	}
}

func TestDialTriesTheNextAddress(t *testing.T) {
	_, rule := loopback(t)
	// Nothing listens on 127.0.0.9.
	conn, addr, err := Dial(t.Context(), &names{answers: [][]string{{"127.0.0.9", "127.0.0.1"}}}, rule)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if addr.Addr().String() != "127.0.0.1" {
		t.Errorf("dialled %s", addr)
	}
}

func TestDialDenied(t *testing.T) {
	l, rule := loopback(t)
	accepted := make(chan struct{})
	go func() {
		if conn, err := l.Accept(); err == nil {
			conn.Close()
			close(accepted)
		}
	}()
	many := make([]string, maxAnswers+1)
	for i := range many {
		many[i] = "127.0.0.1"
	}
	public := rule
	public.Addresses = nil
	for _, tc := range []struct {
		name    string
		rule    Rule
		answers []string
		want    string
	}{
		{"inward", public, []string{"127.0.0.1"}, "127.0.0.1 is not allowed: it is loopback"},
		{"mapped", public, []string{"::ffff:127.0.0.1"}, "127.0.0.1 is not allowed"},
		{"one inward among public ones", public, []string{"8.8.8.8", "127.0.0.1"}, "127.0.0.1 is not allowed"},
		{"outside of the networks", rule, []string{"127.0.0.1", "8.8.8.8"}, "8.8.8.8 is not allowed: it is in none"},
		{"a zone", rule, []string{"fe80::1%lo"}, "not a plain IP address"},
		{"metadata", Rule{Host: "a.example", Port: 80, Addresses: []netip.Prefix{netip.MustParsePrefix("128.0.0.0/1")}}, []string{"169.254.169.254"}, "credentials"},
		{"too many", rule, many, "at most 32"},
		{"a literal", Rule{Host: "127.0.0.1", Port: rule.Port, TLS: NoneForIP}, nil, "it is loopback"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conn, _, err := Dial(t.Context(), &names{answers: [][]string{tc.answers}}, tc.rule)
			if err == nil {
				conn.Close()
			}
			var denied *DeniedError
			if !errors.As(err, &denied) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one that says %q", err, tc.want)
			}
		})
	}
	select {
	case <-accepted:
		t.Error("something was dialled")
	default:
	}
}

func TestDialFails(t *testing.T) {
	l, rule := loopback(t)
	l.Close()
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tc := range []struct {
		name     string
		ctx      context.Context
		resolver *names
		want     string
		timeout  bool
	}{
		{"nothing listens", t.Context(), &names{answers: [][]string{{"127.0.0.1"}}}, "connection refused", false},
		{"no such name", t.Context(), &names{err: &net.DNSError{Err: "no such host", Name: "a.example.", Server: "10.9.8.7:53", IsNotFound: true}}, "lookup a.example: no such host", false},
		{"slow resolver", t.Context(), &names{err: &net.DNSError{Err: "i/o timeout", IsTimeout: true}}, "i/o timeout", true},
		{"other resolver error", t.Context(), &names{err: errors.New("broken")}, "resolve a.example: broken", false},
		{"no addresses", t.Context(), &names{answers: [][]string{nil}}, "no addresses", false},
		{"canceled", canceled, &names{answers: [][]string{{"127.0.0.1", "127.0.0.2"}}}, "canceled", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := Dial(tc.ctx, tc.resolver, rule)
			var denied *DeniedError
			if err == nil || errors.As(err, &denied) || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "10.9.8.7") {
				t.Fatalf("error %v, want %q", err, tc.want)
			}
			if IsTimeout(err) != tc.timeout {
				t.Errorf("timeout: %t", !tc.timeout)
			}
		})
	}
}

func TestValidCall(t *testing.T) {
	for id, want := range map[string]bool{
		"a": true, "A-z_09": true, strings.Repeat("x", 64): true,
		"": false, strings.Repeat("x", 65): false, "a b": false, "a\r\nb": false, "ä": false, "a.b": false, "a/b": false, `"`: false,
	} {
		if ValidCall(id) != want {
			t.Errorf("%q: %t", id, !want)
		}
	}
}
