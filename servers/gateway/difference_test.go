package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpclient"
)

const lockedDefinition = `{"name":"ask","description":"Answers questions about images, politely",
	"inputSchema":{"type":"object","additionalProperties":false,"properties":{"text":{"type":"string","maxLength":64},"tags/all":{"type":"array","prefixItems":[{"enum":["a","b"]}]}}},
	"annotations":{"readOnlyHint":true,"destructiveHint":false,"idempotentHint":true,"openWorldHint":false}}`

func mustLock(t testing.TB, definitions ...string) map[string]lockedTool {
	t.Helper()
	var raw []json.RawMessage
	for _, d := range definitions {
		raw = append(raw, json.RawMessage(d))
	}
	locked, err := lockTools(raw)
	if err != nil {
		t.Fatal(err)
	}
	return locked
}

// Each change of a definition is told: which tool, which member, from what, to what.
func TestDifference(t *testing.T) {
	locked := mustLock(t, lockedDefinition)
	for name, tc := range map[string]struct {
		old, new string // replaced in the definition
		want     string
	}{
		"none":              {"ask", "ask", ""},
		"only its form":     {`"name":"ask",`, ` "name" : "ask",`, ""},
		"one character":     {"politely", "politelY", `ask: /description: …ns about images, politelY", was …ns about images, politely"`},
		"a bound":           {"64", "65", "ask: /inputSchema/properties/text/maxLength: 65, was 64"},
		"a new member":      {`"maxLength":64`, `"maxLength":64,"default":"x"`, `ask: /inputSchema/properties/text/default: "x", was nothing`},
		"a member less":     {`,"maxLength":64`, ``, "ask: /inputSchema/properties/text/maxLength: nothing, was 64"},
		"in a list":         {`"b"]`, `"c"]`, `ask: /inputSchema/properties/tags~1all/prefixItems/0/enum/1: "c", was "b"`},
		"a longer list":     {`"b"]`, `"b","c"]`, `ask: /inputSchema/properties/tags~1all/prefixItems/0/enum/2: "c", was nothing`},
		"another type":      {`"additionalProperties":false`, `"additionalProperties":{}`, "ask: /inputSchema/additionalProperties: {}, was false"},
		"not read-only":     {`"readOnlyHint":true`, `"readOnlyHint":false`, "ask: /annotations/readOnlyHint: false, was true"},
		"unknown member":    {`"name":"ask",`, `"name":"ask","icons":[],`, "ask: /icons: [], was nothing"},
		"doubled member":    {`"name":"ask",`, `"name":"ask","name":"ask","icons":[],`, "ask: no JSON: "},
		"another name":      {`"name":"ask"`, `"name":"asks"`, "asks: a tool that is not in the lock, was nothing\nask: gone, was in the lock"},
		"hidden characters": {"politely", "polite\u202ely", "ask: /description: …"},
	} {
		t.Run(name, func(t *testing.T) {
			given := strings.ReplaceAll(lockedDefinition, tc.old, tc.new)
			got := compare(locked, []json.RawMessage{json.RawMessage(given)}).String()
			if got != tc.want && (tc.want == "" || !strings.HasPrefix(got, tc.want)) {
				t.Errorf("%s\nwant %s", got, tc.want)
			}
			if strings.ContainsRune(got, '\u202e') {
				t.Error("a bidirectional character comes through")
			}
		})
	}
	if got := compare(locked, []json.RawMessage{[]byte(lockedDefinition), []byte(lockedDefinition)}).String(); got != "ask: there twice, was there once" {
		t.Error(got)
	}
}

// However much a server says, what is told of it stays small.
func TestDifferenceIsBounded(t *testing.T) {
	var many []json.RawMessage
	for range mcpclient.MaxTools {
		many = append(many, json.RawMessage(`{"name":"`+strings.Repeat("n", 10_000)+`"}`))
	}
	d := compare(mustLock(t, lockedDefinition), many)
	if len(d.changes) != maxChanges || d.more != mcpclient.MaxTools+1-maxChanges {
		t.Errorf("%d changes and %d more", len(d.changes), d.more)
	}
	list := strings.Replace(lockedDefinition, `"b"]`, `"b"`+strings.Repeat(`,"c"`, 10_000)+`]`, 1)
	if d := compare(mustLock(t, lockedDefinition), []json.RawMessage{json.RawMessage(list)}); len(d.changes)+d.more > 2*maxChanges {
		t.Errorf("%d changes and %d more of a long list", len(d.changes), d.more)
	}
	if got := compare(nil, append(many, many[0])).String(); got != "all tools: more than the 1000 tools that a server may have, was 0 tools" {
		t.Error(got)
	}
	if most := maxChanges * 2 * (maxShownName + maxShown); len(d.String()) > most {
		t.Errorf("%d bytes, more than %d", len(d.String()), most)
	}
}

func FuzzDifference(f *testing.F) {
	locked := mustLock(f, lockedDefinition)
	for _, seed := range []string{lockedDefinition, `{"name":"ask"}`, `[]`, `{`, strings.Replace(lockedDefinition, "politely", "p\u00e9ly", 1)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := compare(locked, []json.RawMessage{data})
		again, err := lockTools([]json.RawMessage{data})
		if same := err == nil && again["ask"].SHA256 == locked["ask"].SHA256; d.empty() != same {
			t.Errorf("%s: no difference: %t; the same digest: %t", data, d.empty(), same)
		}
		if text := d.String(); !utf8.ValidString(text) || len(text) > (maxChanges+1)*4*(maxShownName+maxShown) {
			t.Errorf("%d bytes: %q", len(text), text)
		}
	})
}

func TestDiffCommand(t *testing.T) {
	b := newBundle(t)
	b.start("alpha", serverProgram("alpha", "Answers"))
	b.start("beta", serverProgram("beta", "Answers!"))
	b.write("changed/beta.json", strings.Replace(b.read("beta.json"), "Answers", "Answers!", 1))
	b.write("new/gamma.json", b.read("beta.json"))
	b.write("broken/beta.json", "{")
	file := func(name string) string { return filepath.Join(b.dir, name) }
	const changed = "beta: ask: /description: \"Answers!\", was \"Answers\"\n"
	for name, tc := range map[string]struct {
		args []string
		code int
		want string
	}{
		"files as locked":   {[]string{file("alpha.json"), file("beta.json")}, 0, "alpha: as locked, 2 tools\nbeta: as locked, 2 tools\n"},
		"a changed file":    {[]string{file("alpha.json"), file("changed/beta.json")}, 1, "alpha: as locked, 2 tools\n" + changed + "gateway: 1 servers are not as locked"},
		"running servers":   {[]string{"--upstream", "alpha=unix://" + b.socket("alpha"), "--upstream", "beta=unix://" + b.socket("beta")}, 1, "alpha: as locked, 2 tools\n" + changed},
		"a server too many": {[]string{file("new/gamma.json")}, 1, "gamma: ask: a tool that is not in the lock, was nothing\n"},
		"nobody listens":    {[]string{file("changed/beta.json"), "--upstream", "x"}, 2, ""},
		"no server":         {[]string{"--upstream", "alpha=unix://" + b.socket("nobody"), file("changed/beta.json")}, 2, changed + "gateway: alpha: "},
		"a broken file":     {[]string{file("broken/beta.json")}, 2, "broken/beta.json: want the list of definitions that beta tools prints"},
		"no file":           {[]string{file("no.json")}, 2, "no such file"},
		"another name":      {[]string{file("lock.jsn")}, 2, "want SERVER.json"},
		"nothing named":     {nil, 2, "usage: gateway diff"},
		"unknown flag":      {[]string{"--lok", "x"}, 2, "lok"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			args := append([]string{"diff", "--lock", file("lock.json")}, tc.args...)
			if code := program().Run(t.Context(), args, os.Stdin, &out, &out); code != tc.code || !strings.Contains(out.String(), tc.want) {
				t.Errorf("exit code %d, want %d, and %q in\n%s", code, tc.code, tc.want, &out)
			}
		})
	}
}

// A definition changed by one character costs that server its tools, and no one else's, until somebody has reviewed it:
// after gateway lock and a restart they are back.
func TestQuarantineUntilLocked(t *testing.T) {
	b := newBundle(t)
	b.start("alpha", serverProgram("alpha", "Answerz"))
	b.start("beta", serverProgram("beta", "Answers"))
	b.start("gateway", program(), b.gatewayArgs()...)
	client := b.client("reader-token")
	eventually(t, "the changed server is found out", func() bool { return b.tools(client) == "beta_ask" })
	if result, err := ask(t, client, "alpha_ask", "hi"); err == nil {
		t.Errorf("a changed tool answers: %+v", result)
	}
	if result, err := ask(t, client, "beta_ask", "hi"); err != nil || result.IsError {
		t.Errorf("the other server: %+v, %v", result, err)
	}
	if want := `{"tool":"ask","member":"/description","from":"\"Answers\"","to":"\"Answerz\""}`; !strings.Contains(b.stderr.String(), want) {
		t.Errorf("the log lacks %s", want)
	}

	var printed, lock bytes.Buffer
	if code := serverProgram("alpha", "Answerz").Run(t.Context(), []string{"tools"}, os.Stdin, &printed, &b.stderr); code != 0 {
		t.Fatal(b.stderr.String())
	}
	b.write("alpha.json", printed.String())
	if code := program().Run(t.Context(), []string{"lock", filepath.Join(b.dir, "alpha.json"), filepath.Join(b.dir, "beta.json")}, os.Stdin, &lock, &b.stderr); code != 0 {
		t.Fatal(b.stderr.String())
	}
	b.write("lock.json", lock.String())
	b.servers["gateway"]()
	b.start("gateway", program(), b.gatewayArgs()...)
	client = b.client("reader-token")
	eventually(t, "the reviewed tools are there", func() bool { return b.tools(client) == "alpha_ask beta_ask" })
	if result, err := ask(t, client, "alpha_ask", "hi"); err != nil || result.IsError {
		t.Errorf("after it was locked: %+v, %v", result, err)
	}
}
