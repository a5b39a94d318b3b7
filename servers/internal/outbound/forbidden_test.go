package outbound

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/egresspolicy"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/egresstest"
)

// forbidding is a client in direct mode that may reach hub.example, and the names of the corpus at public addresses.
func forbidding(t *testing.T, cases []egresstest.Case, spy *egresstest.Spy, hub uint16, caFile string) *Client {
	t.Helper()
	allow := append(egresstest.Rules(cases, spy.Port),
		egresspolicy.Rule{Host: "hub.example", Port: hub, TLS: egresspolicy.SNI, Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	client := newClient(t, Config{Egress: Direct, CAFile: caFile, Allow: allow})
	client.resolver = egresstest.Resolver(t, cases)
	return client
}

// Whichever way a forbidden destination is written, nothing connects to it in direct mode.
func TestForbidden(t *testing.T) {
	spy := egresstest.NewSpy(t)
	cases := egresstest.Cases(t, spy.Port)
	egresstest.Count(t, cases)
	hub, caFile := upstream(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "ok") })
	client := forbidding(t, cases, spy, hub, caFile)
	tried := 0
	check := func(c egresstest.Case, err error) {
		t.Helper()
		tried++
		var denied *DeniedError
		var unavailable *UnavailableError
		rebound := c.Rebinds() && errors.As(err, &unavailable) && strings.Contains(unavailable.Reason, "127.9.9.9")
		if !errors.As(err, &denied) && !rebound {
			t.Errorf("%s %q: %v", c.Kind, c.Text, err)
		}
		if spy.Reached() != 0 {
			t.Fatalf("%s %q reached the spy: %v", c.Kind, c.Text, err)
		}
	}
	for _, c := range cases {
		switch c.Kind {
		case egresstest.Target:
			_, err := client.DialContext(t.Context(), "tcp", c.Text)
			check(c, err)
			// As a URL it is net/url's to refuse, too.
			if _, err := do(t.Context(), client, "https://"+c.Text+"/"); err == nil || spy.Reached() != 0 {
				t.Errorf("https://%s/: %v; the spy was reached %d times", c.Text, err, spy.Reached())
			}
		case egresstest.Name, egresstest.Near:
			_, err := client.DialContext(t.Context(), "tcp", fmt.Sprintf("%s:%d", c.Text, spy.Port))
			check(c, err)
		case egresstest.Redirect: // below
		}
	}
	t.Logf("%d destinations dialled, and the spy was reached %d times", tried, spy.Reached())
}

// An upstream that is allowed sends its client where it may not go.
func TestForbiddenRedirects(t *testing.T) {
	spy := egresstest.NewSpy(t)
	cases := egresstest.Cases(t, spy.Port)
	var location string
	hub, caFile := upstream(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			_, _ = fmt.Fprint(w, "there")
			return
		}
		w.Header().Set("Location", location)
		w.WriteHeader(http.StatusFound)
	})
	client := &http.Client{Transport: forbidding(t, cases, spy, hub, caFile).Transport()}
	follow := func(to string) error {
		location = to
		response, err := client.Get(fmt.Sprintf("https://hub.example:%d/", hub))
		if err == nil {
			_ = response.Body.Close()
		}
		return err
	}
	if err := follow(fmt.Sprintf("https://hub.example:%d/there", hub)); err != nil {
		t.Fatalf("no redirect is followed at all: %v", err)
	}
	for _, c := range cases {
		if c.Kind != egresstest.Redirect {
			continue
		}
		if err := follow(c.Text); err == nil || spy.Reached() != 0 {
			t.Errorf("a redirect to %q: %v; the spy was reached %d times", c.Text, err, spy.Reached())
		}
	}
}

// The spy can be reached: without this, nothing above would show anything.
func TestForbiddenControl(t *testing.T) {
	spy := egresstest.NewSpy(t)
	rule, err := egresspolicy.ParseRule(fmt.Sprintf("127.0.0.1:%d", spy.Port))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := newClient(t, Config{Egress: Direct, Allow: []egresspolicy.Rule{rule}}).DialContext(t.Context(), "tcp", rule.Destination())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = conn.Read(make([]byte, 1)) // until the spy has hung up
	if spy.Reached() != 1 {
		t.Errorf("the spy was reached %d times", spy.Reached())
	}
}
