package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/confine"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/egresspolicy"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/egresstest"
)

// forbidding is an egress whose policy lists hub.example and the names of the corpus, as an operator would.
func forbidding(t *testing.T, log io.Writer, cases []egresstest.Case, port uint16) (*server, egresspolicy.Client) {
	t.Helper()
	rules := append(egresstest.Rules(cases, port), egresspolicy.Rule{Host: "hub.example", Port: 443, TLS: egresspolicy.SNI})
	client := egresspolicy.Client{Name: "a", Rules: rules}
	s := newServer(&egresspolicy.Policy{Clients: []egresspolicy.Client{client}}, slog.New(slog.NewJSONHandler(log, nil)), confine.Sandbox{})
	s.resolver = egresstest.Resolver(t, cases)
	return s, client
}

// say sends one request to an egress, and returns what it answers and what it records.
func say(t *testing.T, s *server, client egresspolicy.Client, log *bytes.Buffer, request string) (answer string, e entry) {
	t.Helper()
	log.Reset()
	near, far := socketPair(t)
	defer far.Close()
	go func() {
		_, _ = io.WriteString(far, request)
		_ = far.CloseWrite()
	}()
	answers := make(chan []byte, 1)
	go func() {
		all, _ := io.ReadAll(far)
		answers <- all
	}()
	s.newExchange(near, client).serve(t.Context())
	got := <-answers
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if err := json.Unmarshal([]byte(lines[0]), &e); err != nil || len(lines) != 1 {
		t.Fatalf("%q: not one record: %v in %q", request, err, log)
	}
	return string(got), e
}

// Whichever way a forbidden destination is written, egress does not connect to it, and says no.
func TestForbidden(t *testing.T) {
	spy := egresstest.NewSpy(t)
	cases := egresstest.Cases(t, spy.Port)
	egresstest.Count(t, cases)
	var log bytes.Buffer
	s, client := forbidding(t, &log, cases, spy.Port)
	hello := string(helloFor(t, &tls.Config{ServerName: "hub.example"}))
	tried := 0
	check := func(c egresstest.Case, request string) {
		t.Helper()
		tried++
		before := spy.Reached()
		answer, e := say(t, s, client, &log, request)
		// The second answer of a name that is rebound must never be asked for: the first led nowhere.
		refused := e.Decision == "deny" && e.Address == "" || c.Rebinds() && strings.Contains(e.Reason, "127.9.9.9")
		if strings.HasPrefix(answer, "HTTP/1.1 2") || !refused || spy.Reached() != before {
			t.Errorf("%s %q: answer %.60q, the spy was reached %d times, %+v", c.Kind, c.Text, answer, spy.Reached()-before, e)
		}
	}
	for _, c := range cases {
		switch c.Kind {
		case egresstest.Target:
			check(c, "CONNECT "+c.Text+" HTTP/1.1\r\nHost: hub.example\r\n\r\n"+hello)
			check(c, "GET http://"+c.Text+"/ HTTP/1.1\r\nHost: hub.example\r\n\r\n")
		case egresstest.Name, egresstest.Near:
			check(c, fmt.Sprintf("CONNECT %s:%d HTTP/1.1\r\n\r\n%s", c.Text, spy.Port, hello))
		case egresstest.Redirect: // the client's part: TestForbiddenRedirects of package outbound
			check(c, "GET "+c.Text+" HTTP/1.1\r\nHost: hub.example\r\n\r\n")
		}
	}
	t.Logf("%d requests for %d destinations, and the spy was reached %d times", tried, len(cases), spy.Reached())
}

// The spy can be reached: without this, nothing above would show anything.
func TestForbiddenControl(t *testing.T) {
	spy := egresstest.NewSpy(t)
	var log bytes.Buffer
	s, client := forbidding(t, &log, nil, spy.Port)
	client.Rules = append(client.Rules, egresspolicy.Rule{
		Host: "127.0.0.1", Port: spy.Port, TLS: egresspolicy.NoneForIP, Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	})
	answer, e := say(t, s, client, &log, fmt.Sprintf("CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n", spy.Port))
	if response, err := http.ReadResponse(bufio.NewReader(strings.NewReader(answer)), nil); err != nil || response.StatusCode != http.StatusOK || spy.Reached() != 1 {
		t.Errorf("answer %q, the spy was reached %d times, %+v", answer, spy.Reached(), e)
	}
}
