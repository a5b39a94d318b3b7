package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	fakehub "github.com/bulkhead-mcp/bulkhead/servers/e2e/fakehub/hub"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpclient"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// What the tools may weigh, in bytes: a model reads all of it.
const (
	maxDefinitions = 14_000 // of the seven tools, as tools/list returns them
	maxHundredTags = 12_000 // of list_tags' answer with a hundred tags
)

// overStdio runs the whole server over standard input and output, on a Docker Hub of its own, and returns its answers
// by the id of the request, as they are on the wire.
func overStdio(t *testing.T, secret string, requests ...string) map[string]string {
	t.Helper()
	noon := func() time.Time { return time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC) }
	upstream := fake()
	upstream.SetClock(noon)
	server := httptest.NewTLSServer(upstream)
	t.Cleanup(server.Close)
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	p := program(func(env mcpserver.Env, account *login) *hub {
		h := newHub(env, account)
		h.base, h.auth, h.registry = base, base, base
		h.transport = func() (http.RoundTripper, error) { return server.Client().Transport, nil }
		h.now = noon
		return h
	})
	p.Started = nil // its questions would count in the limits, now before the tools' and now after them
	args := []string{"serve", "--listen", "stdio", "--log-level", "debug"}
	if secret != "" {
		args = append(args, "--login", accountIn(t, t.TempDir(), fakehub.Robot, secret))
	}
	in, feed, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = io.WriteString(feed, strings.Join(requests, "\n")+"\n")
		_ = feed.Close()
	}()
	var stdout bytes.Buffer
	if code := p.Run(t.Context(), args, in, io.MultiWriter(&stdout, letOut{}), letOut{}); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	answers := map[string]string{}
	for line := range strings.Lines(stdout.String()) {
		var message struct{ ID json.RawMessage }
		if err := json.Unmarshal([]byte(line), &message); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		answers[string(message.ID)] = line
	}
	if len(answers) != len(requests) {
		t.Fatalf("%d answers to %d requests", len(answers), len(requests))
	}
	return answers
}

// message is a request of the revision 2026-07-28.
func message(id int, method string, params map[string]any) string {
	params["_meta"] = map[string]any{
		"io.modelcontextprotocol/protocolVersion": mcpclient.ProtocolVersion, "io.modelcontextprotocol/clientCapabilities": map[string]any{},
	}
	data, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "method": method, "params": params})
	if err != nil {
		panic(err) // maps of strings marshal
	}
	return string(data)
}

// variable is what differs from run to run: ids of calls.
var variable = regexp.MustCompile(`(dev\.bulkhead/call":")[A-Z0-9]+`)

// TestWire holds what the tools answer, byte by byte, against transcripts: of each file in testdata/wire the comment is
// who asks ("anonymous" or "with a token"), a file NAME.call is a tool and its arguments, and NAME.answer is the line
// that comes back, with the call's id as *.
func TestWire(t *testing.T) {
	files, err := filepath.Glob("testdata/wire/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			secret := map[string]string{"anonymous\n": "", "with a token\n": fakehub.ReadToken}[string(archive.Comment)]
			var requests, names, want []string
			golden := map[string]string{}
			for _, f := range archive.Files {
				if name, ok := strings.CutSuffix(f.Name, ".call"); ok {
					tool, args, _ := strings.Cut(strings.TrimSpace(string(f.Data)), " ")
					seen[tool] = true
					names = append(names, name)
					requests = append(requests, message(len(requests), "tools/call", map[string]any{"name": tool, "arguments": json.RawMessage(args)}))
					continue
				}
				golden[f.Name] = string(f.Data)
			}
			answers := overStdio(t, secret, requests...)
			written := txtar.Archive{Comment: archive.Comment}
			var got []string
			for i, name := range names {
				line := variable.ReplaceAllString(answers[fmt.Sprint(i)], "$1*")
				got, want = append(got, line), append(want, golden[name+".answer"])
				for _, f := range archive.Files {
					if f.Name == name+".call" {
						written.Files = append(written.Files, f, txtar.File{Name: name + ".answer", Data: []byte(line)})
					}
				}
			}
			if *update {
				if err := os.WriteFile(file, txtar.Format(&written), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	for _, tool := range hubAt(t, fake()).tools() {
		if !seen[tool.Definition.Name] {
			t.Errorf("no transcript of %s", tool.Definition.Name)
		}
	}
}

func TestDefinitionsAreSmall(t *testing.T) {
	line := overStdio(t, "", message(1, "tools/list", map[string]any{}))["1"]
	var reply struct {
		Result struct {
			Tools json.RawMessage `json:"tools"`
		} `json:"result"`
	}
	var tools []json.RawMessage
	if err := json.Unmarshal([]byte(line), &reply); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(reply.Result.Tools, &tools); err != nil || len(tools) != 7 {
		t.Fatalf("%d tools, %v", len(tools), err)
	}
	t.Logf("seven definitions: %d bytes; tools/list on the wire: %d bytes", len(reply.Result.Tools), len(line))
	if len(line) > maxDefinitions {
		t.Errorf("tools/list has %d bytes, more than %d", len(line), maxDefinitions)
	}
}

// A hundred tags, each with an image of its own, names of 19 characters, and all that Docker Hub knows.
func TestHundredTagsAreSmall(t *testing.T) {
	for _, repository := range []string{fakehub.Big, "nginx"} {
		var raw json.RawMessage
		if err := call(t, hubAt(t, fake()), "list_tags", fmt.Sprintf(`{"repository":%q,"limit":100}`, repository), &raw); err != nil {
			t.Fatal(err)
		}
		var out listTagsOut
		if err := json.Unmarshal(raw, &out); err != nil || len(out.Tags) != 100 {
			t.Fatalf("%d tags, %v", len(out.Tags), err)
		}
		digests := map[string]bool{}
		for _, row := range out.Tags {
			fields := strings.Fields(row)
			if len(fields) != len(strings.Fields(columns)) || !digestForm.MatchString(fields[1]) || fields[2] == "-" || fields[3] == "-" || fields[4] != "p1" {
				t.Errorf("row %q", row)
			}
			digests[fields[1]] = true
		}
		t.Logf("%s: a hundred tags in %d bytes, %d digests", repository, len(raw), len(digests))
		if len(raw) > maxHundredTags || len(digests) != 100 {
			t.Errorf("%s: %d bytes, %d digests", repository, len(raw), len(digests))
		}
	}
}
