package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// sameTimePolicy has an agent with grants, one with others, and one without any.
const sameTimePolicy = `version: 1
agents:
  reader:
    identity: {token: reader}
    allow: [{tool: alpha_ask}, {tool: beta_ask}]
  other:
    identity: {token: other}
    allow: [{tool: "beta_*"}]
  nothing:
    identity: {token: nothing}
`

// sameTimeBundle serves that policy, with beta quarantined.
func sameTimeBundle(t testing.TB) *bundle {
	t.Helper()
	b := newBundle(t)
	b.write("policy.yaml", sameTimePolicy)
	for _, holder := range []string{"other", "nothing", "leftover"} { // the last is no agent's
		sum := sha256.Sum256([]byte(holder + "-token"))
		b.write("tokens/"+holder+".sha256", hex.EncodeToString(sum[:]))
	}
	b.start("alpha", serverProgram("alpha", "Answers"))
	b.start("beta", serverProgram("beta", "Answers!"))
	b.start("gateway", program(), b.gatewayArgs()...)
	eventually(t, "beta is quarantined", func() bool { return b.tools(b.client("reader-token")) == "alpha_ask" })
	return b
}

// raw sends one call and returns all of the answer but the date.
func (b *bundle) raw(client *http.Client, token, tool string) string {
	b.t.Helper()
	const form = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",` +
		`"io.modelcontextprotocol/clientCapabilities":{}},"name":%q,"arguments":{"text":"hi"}}}`
	request, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, "http://localhost/mcp", strings.NewReader(fmt.Sprintf(form, tool)))
	if err != nil {
		b.t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Authorization": "Bearer " + token,
		"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": tool,
	} {
		request.Header.Set(name, value)
	}
	response, err := client.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	response.Header.Del("Date")
	var all bytes.Buffer
	fmt.Fprintln(&all, response.Status)
	for _, name := range slices.Sorted(maps.Keys(response.Header)) {
		fmt.Fprintln(&all, name, response.Header[name])
	}
	all.Write(body)
	return all.String()
}

func (b *bundle) httpClient() *http.Client {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", b.socket("gateway"))
	}}
	b.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

var callID = regexp.MustCompile(`"dev.bulkhead/call":"[A-Z2-7]{26}"`)

// Tools that are unknown, not granted, granted to another, quarantined, or of a server that is not there answer the same,
// byte for byte but for the name that was asked for, whoever asks. So do tokens that nobody has, that were taken from
// the policy, and that are missing.
func TestRefusalsSayTheSame(t *testing.T) {
	b := sameTimeBundle(t)
	client := b.httpClient()
	want := ""
	for _, token := range []string{"reader-token", "other-token", "nothing-token"} {
		for _, tool := range []string{
			"alpha_other", "beta_other", "beta_ask", "alpha_nope", "gamma_ask", "alpha_ask2", "alpha_as", "alpha_*", "ask", "alpha_ASK", "gateway",
			"__proto__", "alpha_ask_alpha_ask", "dev.bulkhead",
		} {
			got := b.raw(client, token, tool)
			got = callID.ReplaceAllString(strings.ReplaceAll(got, `\"`+tool+`\"`, "TOOL"), "CALL")
			got = regexp.MustCompile(`Content-Length \[\d+\]`).ReplaceAllString(got, "") // the name's length is the caller's own
			if want == "" {
				want = got
			}
			if got != want {
				t.Errorf("%s asks for %s:\n%s\nwant\n%s", token, tool, got, want)
			}
		}
	}
	if !strings.Contains(want, "unknown tool TOOL") || !strings.Contains(want, "CALL") {
		t.Errorf("not what was to be compared: %s", want)
	}
	stranger := b.raw(client, "nobody's", "alpha_ask")
	for _, token := range []string{"leftover-token", "reader-toke", "reader-token2", "READER-TOKEN", "", "reader"} {
		if got := b.raw(client, token, "alpha_nope"); got != stranger {
			t.Errorf("%q:\n%s\nwant\n%s", token, got, stranger)
		}
	}
}

// Whatever the name, and whoever asks, a refusal looks at every entry of the agent and allocates nothing.
func TestRefusalsDoTheSame(t *testing.T) {
	g := &gateway{byTool: map[string]*upstream{"dockerhub_list_tags": {name: "dockerhub"}}, policy: mustPolicy(t, `version: 1
agents:
  reader:
    identity: {token: reader}
    allow: [{tool: dockerhub_get_tag}, {tool: "kubernetes_*"}]
`)}
	for _, tool := range []string{"dockerhub_list_tags", "dockerhub_no_such_tool", "x", "", strings.Repeat("x", 128)} {
		if reason := g.refusal("reader", tool); reason != reasonNotGranted {
			t.Errorf("%q: %q", tool, reason)
		}
		if allocated := testing.AllocsPerRun(10, func() { g.refusal("reader", tool) }); allocated != 0 {
			t.Errorf("%q: %v allocations", tool, allocated)
		}
	}
}

// BenchmarkRefusals prints how long the refusals of the test above take, through the gateway and its synced log, beside
// that of a tool that does not exist, and those of tokens beside that of one that nobody has.
func BenchmarkRefusals(b *testing.B) {
	const rounds = 300
	bundle := sameTimeBundle(b)
	client := bundle.httpClient()
	for _, group := range [][]struct{ what, token, tool string }{
		{
			{"unknown", "reader-token", "alpha_nope_"},
			{"not granted", "reader-token", "alpha_other"},
			{"quarantined, and granted", "reader-token", "beta_ask"},
			{"unknown, without grants", "nothing-token", "alpha_nope_"},
			{"another's, without grants", "nothing-token", "alpha_ask"},
		},
		{{"nobody's token", "nobodys-token", "alpha_ask"}, {"of no agent", "leftover-token", "alpha_ask"}, {"nearly one", "reader-tokem", "alpha_ask"}},
	} {
		times := make([][]time.Duration, len(group))
		for range rounds {
			for i, call := range group {
				began := time.Now()
				bundle.raw(client, call.token, call.tool)
				times[i] = append(times[i], time.Since(began))
			}
		}
		first := medianOf(times[0])
		for i, call := range group {
			b.Logf("%-26s %6.3f ms, %.2f of the first", call.what, medianOf(times[i]).Seconds()*1000, float64(medianOf(times[i]))/float64(first))
		}
	}
}

func medianOf(times []time.Duration) time.Duration {
	slices.Sort(times)
	return times[len(times)/2]
}
