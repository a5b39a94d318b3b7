// Package egresstest holds ways to write a destination that no policy allows, for the tests of egress and of outbound's
// direct mode: the corpus itself, a spy that whoever is fooled connects to, and a name server that answers as an attacker
// would. All of it is on the loopback interface.
package egresstest

import (
	"bytes"
	"context"
	_ "embed" // the corpus
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/egresspolicy"
)

//go:embed forbidden.txt
var corpus string

// Kind says where a destination is written.
type Kind string

// The kinds of a [Case].
const (
	Target   Kind = "target"   // HOST:PORT that a client asks for
	Name     Kind = "name"     // a name that the policy lists for public addresses, and what its name server answers
	Near     Kind = "near"     // the same for addresses of [Rebound]
	Redirect Kind = "redirect" // where an upstream that is allowed sends a client
)

// Case is one way to write a forbidden destination.
type Case struct {
	Kind Kind
	Text string // the target, the name, or the URL
	// Answers are what the name server says, one lookup after the other; the last one stays.
	Answers []string
}

// Rebound is the network that names of the kind [Near] may be in. Nobody listens there: an answer from it passes, and leads
// nowhere, where a public address would lead out of the machine.
const Rebound = "127.9.9.0/24"

// Rules are those of a policy that lists the names of the cases, each with port and SNI.
func Rules(cases []Case, port uint16) []egresspolicy.Rule {
	var rules []egresspolicy.Rule
	for _, c := range cases {
		rule := egresspolicy.Rule{Host: c.Text, Port: port, TLS: egresspolicy.SNI}
		switch c.Kind {
		case Near:
			rule.Addresses = []netip.Prefix{netip.MustParsePrefix(Rebound)}
		case Name:
		default:
			continue
		}
		rules = append(rules, rule)
	}
	return rules
}

// Rebinds says that the first answer is a good one, so that it is dialled; what is forbidden is to ask again.
func (c Case) Rebinds() bool { return len(c.Answers) > 1 }

// Cases reads the corpus. Its PORT is the spy's.
func Cases(t testing.TB, port uint16) []Case {
	t.Helper()
	var cases []Case
	for line := range strings.Lines(strings.ReplaceAll(corpus, "PORT", strconv.Itoa(int(port)))) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		kind, quoted, ok := strings.Cut(line, " ")
		text, answers, _ := strings.Cut(quoted, " -> ")
		// Backslashes are Go's, for what no editor shows.
		unquoted, err := strconv.Unquote(`"` + strings.ReplaceAll(text, `"`, `\"`) + `"`)
		if !ok || err != nil {
			t.Fatalf("forbidden.txt: %q: %v", line, err)
		}
		c := Case{Kind: Kind(kind), Text: unquoted}
		if answers != "" {
			c.Answers = strings.Split(answers, " then ")
		}
		named := c.Kind == Name || c.Kind == Near
		if named == (len(c.Answers) == 0) || !named && c.Kind != Target && c.Kind != Redirect {
			t.Fatalf("forbidden.txt: %q is none of: target HOST:PORT, name NAME -> ANSWERS, near NAME -> ANSWERS, redirect URL", line)
		}
		cases = append(cases, c)
	}
	return cases
}

// Spy is a listener that nobody may reach, on IPv4 and, where there is one, on IPv6.
type Spy struct {
	Port    uint16
	reached atomic.Int64
}

// NewSpy starts a spy.
func NewSpy(t testing.TB) *Spy {
	t.Helper()
	s := &Spy{}
	first := s.listen(t, "127.0.0.1:0")
	s.Port = netip.MustParseAddrPort(first.String()).Port()
	s.listen(t, net.JoinHostPort("::1", strconv.Itoa(int(s.Port))))
	return s
}

func (s *Spy) listen(t testing.TB, address string) net.Addr {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	if err != nil {
		if strings.HasPrefix(address, "[::1]") {
			t.Logf("no spy on IPv6: %v", err)
			return nil
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.reached.Add(1)
			_ = conn.Close()
		}
	}()
	return l.Addr()
}

// Reached is how often somebody connected.
func (s *Spy) Reached() int64 { return s.reached.Load() }

// Resolver asks a name server that knows the names of the cases, and "hub.example" for 127.0.0.1.
func Resolver(t testing.TB, cases []Case) *net.Resolver {
	t.Helper()
	server := &nameServer{answers: map[string][]string{"hub.example.": {"127.0.0.1"}}}
	for _, c := range cases {
		if len(c.Answers) > 0 {
			server.answers[c.Text+"."] = c.Answers
		}
	}
	conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go server.serve(conn)
	resolver := &net.Resolver{PreferGo: true}
	resolver.Dial = dialTo(conn.LocalAddr().String())
	return resolver
}

// nameServer answers for the zone. An answer is a list of addresses, and of names that lead to the next.
type nameServer struct {
	mu      sync.Mutex
	answers map[string][]string
}

func (n *nameServer) serve(conn net.PacketConn) {
	buffer := make([]byte, 512)
	for {
		size, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		if answer := n.answer(bytes.Clone(buffer[:size])); answer != nil {
			_, _ = conn.WriteTo(answer, from)
		}
	}
}

func (n *nameServer) answer(question []byte) []byte {
	var message dnsmessage.Message
	if message.Unpack(question) != nil || len(message.Questions) != 1 {
		return nil
	}
	asked := message.Questions[0]
	message.Response, message.Authoritative, message.Additionals = true, true, nil
	name := asked.Name
	for part := range strings.FieldsSeq(n.next(strings.ToLower(name.String()), asked.Type)) {
		header := dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET}
		addr, err := netip.ParseAddr(part)
		var body dnsmessage.ResourceBody
		switch {
		case err != nil:
			alias, err := dnsmessage.NewName(part)
			if err != nil {
				return nil
			}
			body, name = &dnsmessage.CNAMEResource{CNAME: alias}, alias
		case addr.Is4() && asked.Type == dnsmessage.TypeA:
			body = &dnsmessage.AResource{A: addr.As4()}
		case addr.Is6() && asked.Type == dnsmessage.TypeAAAA:
			body = &dnsmessage.AAAAResource{AAAA: addr.As16()}
		default:
			continue
		}
		message.Answers = append(message.Answers, dnsmessage.Resource{Header: header, Body: body})
	}
	packed, err := message.Pack()
	if err != nil {
		return nil
	}
	return packed
}

// next is what a name means this time. A lookup asks for both kinds of address: the one for IPv4 counts.
func (n *nameServer) next(name string, kind dnsmessage.Type) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := n.answers[name]
	if len(all) == 0 {
		return ""
	}
	if kind == dnsmessage.TypeA && len(all) > 1 {
		n.answers[name] = all[1:]
	}
	return all[0]
}

// Count fails a test whose corpus has shrunk below what is promised.
func Count(t testing.TB, cases []Case) {
	t.Helper()
	const promised = 150
	seen := map[string]bool{}
	for _, c := range cases {
		seen[fmt.Sprint(c.Kind, c.Text)] = true
	}
	if len(seen) < promised {
		t.Errorf("the corpus has %d different cases, fewer than %d", len(seen), promised)
	}
}

func dialTo(server string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", server)
	}
}
