package mcpserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/audit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/outbound"
)

type echoIn struct {
	Text  string   `json:"text" jsonschema:"what to repeat" maxLength:"16" pattern:"^[a-z ]*$"`
	Level string   `json:"level,omitempty" enum:"low,high" default:"low"`
	Times int      `json:"times,omitempty" minimum:"1" maximum:"9" default:"2"`
	Tags  []string `json:"tags,omitempty" maxItems:"2" maxLength:"4"`
}

type echoOut struct {
	Text      string   `json:"text"`
	Level     string   `json:"level"`
	Times     int      `json:"times"`
	Tags      []string `json:"tags"`
	Principal string   `json:"principal"`
	Call      string   `json:"call"`
}

type nothing struct{}

func echoTool(ctx context.Context, in echoIn) (echoOut, error) {
	return echoOut{in.Text, in.Level, in.Times, in.Tags, Principal(ctx), outbound.Call(ctx)}, nil
}

// testTools has one tool for each way in which a call can end.
func testTools() []Tool {
	fails := func(name string, err error) Tool {
		return Typed(Definition{Name: name}, func(context.Context, nothing) (nothing, error) { return nothing{}, err })
	}
	broken := Typed(Definition{Name: "broken_result"}, func(context.Context, nothing) (echoOut, error) { return echoOut{}, nil })
	broken.Call = func(context.Context, json.RawMessage) (Result, error) {
		return Result{Structured: json.RawMessage(`{"text":1}`)}, nil
	}
	return []Tool{
		Typed(Definition{Name: "echo", Description: "Repeats"}, echoTool),
		fails("not_found", Errorf(CodeNotFound, "no such thing")),
		fails("denied", Errorf(CodeDenied, "not allowed")),
		fails("fault", errors.New("the password is hunter2")),
		fails("slow", context.DeadlineExceeded),
		Typed(Definition{Name: "panics"}, func(context.Context, nothing) (nothing, error) { panic("the password is hunter2") }),
		Typed(Definition{Name: "large"}, func(context.Context, nothing) (echoOut, error) {
			return echoOut{Text: strings.Repeat("x", MaxResult)}, nil
		}),
		Typed(Definition{Name: "dirty"}, func(context.Context, nothing) (echoOut, error) {
			return echoOut{Text: "a\x1b[31mb\u202ec\U000E0041d"}, nil
		}),
		broken,
		Typed(Definition{Name: "secret_tool"}, echoTool),
	}
}

// memory is a recorder that can be told to fail.
type memory struct {
	mu      sync.Mutex
	records []audit.Record
	results [][]byte
	fail    error
}

func (m *memory) Record(_ context.Context, r audit.Record, result []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records, m.results = append(m.records, r), append(m.results, result)
	return m.fail
}

func (m *memory) last(t testing.TB) audit.Record {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.records) == 0 {
		t.Fatal("no record")
	}
	return m.records[len(m.records)-1]
}

func testPipeline(t testing.TB) (*pipeline, *memory) {
	t.Helper()
	recorder := &memory{}
	line, err := newPipeline(Program{Name: "test", Title: "Test"}, "v0", testTools(), Gate{
		Open: func() (audit.Recorder, error) { return recorder, nil },
		Refusal: func(_, tool string) string {
			if tool == "secret_tool" {
				return "not granted"
			}
			return ""
		},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return line, recorder
}

const modernMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`

func callBody(tool, args string) string {
	return `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{` + modernMeta + `,"name":"` + tool + `","arguments":` + args + `}}`
}

type reply struct {
	ID    json.RawMessage `json:"id"`
	Error *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
	Result struct {
		Content           []struct{ Text string } `json:"content"`
		StructuredContent json.RawMessage         `json:"structuredContent"`
		IsError           bool                    `json:"isError"`
		ResultType        string                  `json:"resultType"`
		Meta              map[string]any          `json:"_meta"`
		Tools             []struct{ Name string } `json:"tools"`
	} `json:"result"`
}

func decodeReply(t *testing.T, body []byte) reply {
	t.Helper()
	var r reply
	if err := json.Unmarshal(body, &r); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return r
}

func TestCall(t *testing.T) {
	line, recorder := testPipeline(t)
	for _, tc := range []struct {
		name, tool, args string
		code             Code   // of a tool error
		text             string // part of the answer
		decision         audit.Decision
		reason           string
	}{
		{"good", "echo", `{"text":"hi","tags":["a"]}`, "", `"text":"hi","level":"low","times":2,"tags":["a"],"principal":"somebody"`, audit.Allow, "ok"},
		{"empty list", "echo", `{"text":"hi"}`, "", `"tags":[]`, audit.Allow, "ok"},
		{"unknown argument", "echo", `{"text":"hi","evil":1}`, CodeInvalidArguments, `no such argument: "evil"`, audit.Error, "invalid_arguments"},
		{"case variant", "echo", `{"Text":"hi"}`, CodeInvalidArguments, `no such argument: "Text"`, audit.Error, "invalid_arguments"},
		{"missing argument", "echo", `{}`, CodeInvalidArguments, "missing: text", audit.Error, "invalid_arguments"},
		{"too long", "echo", `{"text":"` + strings.Repeat("a", 17) + `"}`, CodeInvalidArguments, "text: maxLength: got 17, want 16", audit.Error, "invalid_arguments"},
		{"pattern", "echo", `{"text":"A"}`, CodeInvalidArguments, `text: "A" does not match ^[a-z ]*$`, audit.Error, "invalid_arguments"},
		{"enum", "echo", `{"text":"a","level":"mid"}`, CodeInvalidArguments, `level: "mid" is not one of [low high]`, audit.Error, "invalid_arguments"},
		{"range", "echo", `{"text":"a","times":10}`, CodeInvalidArguments, "times: maximum: got 10, want 9", audit.Error, "invalid_arguments"},
		{"items", "echo", `{"text":"a","tags":["a","b","c"]}`, CodeInvalidArguments, "tags: maxItems: got 3, want 2", audit.Error, "invalid_arguments"},
		{"item", "echo", `{"text":"a","tags":["abcde"]}`, CodeInvalidArguments, "tags.0: maxLength: got 5, want 4", audit.Error, "invalid_arguments"},
		{"wrong type", "echo", `{"text":1}`, CodeInvalidArguments, "text: got number, want string", audit.Error, "invalid_arguments"},
		{"no object", "echo", `[]`, CodeInvalidArguments, "got array, want object", audit.Error, "invalid_arguments"},
		{"tool's error", "not_found", `{}`, CodeNotFound, "not_found: no such thing", audit.Allow, "not_found"},
		{"denied", "denied", `{}`, CodeDenied, "denied: not allowed", audit.Deny, "denied"},
		{"fault", "fault", `{}`, CodeInternal, "internal error", audit.Allow, "internal"},
		{"panic", "panics", `{}`, CodeInternal, "internal error", audit.Allow, "internal"},
		{"deadline", "slow", `{}`, CodeTimeout, "no answer within", audit.Allow, "timeout"},
		{"too large", "large", `{}`, CodeTooLarge, "ask for less", audit.Allow, "too_large"},
		{"broken result", "broken_result", `{}`, CodeInternal, "internal error", audit.Allow, "internal"},
		{"dirty", "dirty", `{}`, "", `"text":"abcd"`, audit.Allow, "ok"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out := line.serve(t.Context(), inbound{transport: "unix", principal: "somebody", body: []byte(callBody(tc.tool, tc.args))})
			r := decodeReply(t, out.body)
			if r.Error != nil || len(r.Result.Content) != 1 {
				t.Fatalf("answer %s", out.body)
			}
			if text := r.Result.Content[0].Text; !strings.Contains(text, tc.text) {
				t.Errorf("text %q, want %q in it", text, tc.text)
			}
			if strings.Contains(string(out.body), "hunter2") {
				t.Errorf("a fault's text reached the caller: %s", out.body)
			}
			code, _ := r.Result.Meta["dev.bulkhead/code"].(string)
			if code != string(tc.code) || r.Result.IsError != (tc.code != "") {
				t.Errorf("code %q, isError %t; want %q", code, r.Result.IsError, tc.code)
			}
			if r.Result.ResultType != "complete" {
				t.Errorf("resultType %q", r.Result.ResultType)
			}
			rec := recorder.last(t)
			if rec.Decision != tc.decision || rec.Reason != tc.reason || rec.Tool != tc.tool || rec.Principal != "somebody" || rec.Result == nil {
				t.Errorf("record %+v", rec)
			}
			if r.Result.Meta["dev.bulkhead/call"] != rec.Call {
				t.Errorf("call id %v in the answer, %q in the record", r.Result.Meta["dev.bulkhead/call"], rec.Call)
			}
		})
	}
}

// Whatever is not a good tool call is refused by a protocol error, and has a record all the same.
func TestRefused(t *testing.T) {
	line, recorder := testPipeline(t)
	deep := strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1)
	for _, tc := range []struct {
		name, body string
		code       int
		text       string
		status     int
		decision   audit.Decision
	}{
		{"unknown tool", callBody("nope", "{}"), -32602, `unknown tool "nope"`, 400, audit.Error},
		{"tool not granted", callBody("secret_tool", "{}"), -32602, `unknown tool "secret_tool"`, 400, audit.Deny},
		{"unknown method", `{"jsonrpc":"2.0","id":1,"method":"resources/list"}`, -32601, "unknown method", 200, audit.Error},
		{"unknown method, modern", `{"jsonrpc":"2.0","id":1,"method":"resources/list","params":{` + modernMeta + `}}`, -32601, "unknown method", 404, audit.Error},
		{"not JSON", `{"jsonrpc":`, -32700, "not JSON", 400, audit.Error},
		{"empty", ``, -32600, "not a JSON-RPC request", 400, audit.Error},
		{"trailing", `{"jsonrpc":"2.0","id":1,"method":"ping"} x`, -32700, "not JSON", 400, audit.Error},
		{"two values", `{"jsonrpc":"2.0","id":1,"method":"ping"} {}`, -32600, "not a JSON-RPC request", 400, audit.Error},
		{"batch", `[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, -32600, "not a JSON-RPC request", 400, audit.Error},
		{"case variant", `{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/list"}`, -32600, "not a JSON-RPC request", 400, audit.Error},
		{"duplicate key", `{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/list"}`, -32700, "duplicate", 400, audit.Error},
		{"duplicate argument", callBody("echo", `{"text":"a","text":"b"}`), -32700, "duplicate", 400, audit.Error},
		{"invalid UTF-8", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"\xff\"}", -32700, "invalid UTF-8", 400, audit.Error},
		{"deep", callBody("echo", deep), -32600, "nested deeper", 400, audit.Error},
		{"many values", callBody("echo", "["+strings.Repeat("0,", maxValues)+"0]"), -32600, "JSON values", 400, audit.Error},
		{"huge exponent", callBody("echo", `{"times":1e999999}`), -32600, "64-bit float", 400, audit.Error},
		{"tiny exponent", callBody("echo", `{"times":1E-999999}`), -32600, "64-bit float", 400, audit.Error},
		{"long number", callBody("echo", `{"times":`+strings.Repeat("1", maxNumber+1)+`}`), -32600, "64-bit float", 400, audit.Error},
		{"null id", `{"jsonrpc":"2.0","id":null,"method":"ping"}`, -32600, `"id" must be`, 400, audit.Error},
		{"fractional id", `{"jsonrpc":"2.0","id":1.5,"method":"ping"}`, -32600, `"id" must be`, 400, audit.Error},
		{"object id", `{"jsonrpc":"2.0","id":{},"method":"ping"}`, -32600, `"id" must be`, 400, audit.Error},
		{"no version", `{"id":1,"method":"ping"}`, -32600, "jsonrpc", 400, audit.Error},
		{"no method", `{"jsonrpc":"2.0","id":1}`, -32600, "method", 400, audit.Error},
		{"a response", `{"jsonrpc":"2.0","id":1,"result":{}}`, -32600, "not a JSON-RPC request", 400, audit.Error},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out := line.serve(t.Context(), inbound{transport: "tcp", principal: "somebody", body: []byte(tc.body)})
			r := decodeReply(t, out.body)
			if r.Error == nil || r.Error.Code != tc.code || !strings.Contains(r.Error.Message, tc.text) || out.status != tc.status {
				t.Errorf("answer %d %s; want %d, code %d, %q", out.status, out.body, tc.status, tc.code, tc.text)
			}
			if rec := recorder.last(t); rec.Decision != tc.decision || rec.Reason == "" || rec.Principal != "somebody" {
				t.Errorf("record %+v", rec)
			}
		})
	}
}

// A client that waits for its id gets an answer to it, whatever is wrong with the rest.
func TestRefusalAnswersTheID(t *testing.T) {
	line, _ := testPipeline(t)
	for body, id := range map[string]string{
		`{"jsonrpc":"2.0","id":7,"method":"tools/list","params":[]}`: "7",
		`{"jsonrpc":"2.0","id":"x","method":"ping","more":1}`:        `"x"`,
		`{"jsonrpc":"1.0","id":7,"method":"ping"}`:                   "7",
		`{"jsonrpc":"2.0","id":1.5,"method":"ping"}`:                 "null",
		`{"jsonrpc":"2.0","id":7,"id":8,"method":"ping"}`:            "null",
	} {
		if r := decodeReply(t, line.serve(t.Context(), inbound{body: []byte(body)}).body); r.Error == nil || string(r.ID) != id {
			t.Errorf("%s: id %s, want %s", body, r.ID, id)
		}
	}
}

// An agent learns nothing from how it is refused.
func TestUnknownAndUngrantedLookTheSame(t *testing.T) {
	line, recorder := testPipeline(t)
	answer := func(tool string) string {
		out := line.serve(t.Context(), inbound{transport: "tcp", principal: "p", body: []byte(callBody(tool, "{}"))})
		return strings.NewReplacer(tool, "TOOL", recorder.last(t).Call, "CALL").Replace(string(out.body))
	}
	if diff := cmp.Diff(answer("nosuch_tool"), answer("secret_tool")); diff != "" {
		t.Error(diff)
	}
}

// The protocol library sees of a call what the pipeline has looked at, and nothing that it could take for more.
func TestCaseVariantsInParams(t *testing.T) {
	line, recorder := testPipeline(t)
	body := strings.Replace(callBody("echo", `{"text":"hi"}`), `"name":"echo"`, `"name":"echo","Name":"secret_tool","task":{}`, 1)
	out := line.serve(t.Context(), inbound{body: []byte(body)})
	if r := decodeReply(t, out.body); r.Error != nil || r.Result.IsError || recorder.last(t).Tool != "echo" {
		t.Errorf("%s", out.body)
	}
}

func TestErrorsAreBounded(t *testing.T) {
	line, _ := testPipeline(t)
	var unknown []string
	for i := range 10_000 {
		unknown = append(unknown, fmt.Sprintf(`"argument%d":0`, i))
	}
	out := line.serve(t.Context(), inbound{body: []byte(callBody("echo", "{"+strings.Join(unknown, ",")+"}"))})
	if len(out.body) > 2*maxMessage {
		t.Errorf("an error of %d bytes", len(out.body))
	}
}

func TestListShowsWhatMayBeCalled(t *testing.T) {
	line, _ := testPipeline(t)
	out := line.serve(t.Context(), inbound{body: []byte(`{"jsonrpc":"2.0","id":"x","method":"tools/list","params":{` + modernMeta + `}}`)})
	r := decodeReply(t, out.body)
	if string(r.ID) != `"x"` || len(r.Result.Tools) != len(testTools())-1 {
		t.Fatalf("answer %s", out.body)
	}
	for _, tool := range r.Result.Tools {
		if tool.Name == "secret_tool" {
			t.Error("a tool that is not granted is listed")
		}
	}
}

func TestNotificationsAreNotAnswered(t *testing.T) {
	line, recorder := testPipeline(t)
	for _, method := range []string{"notifications/initialized", "notifications/cancelled", "notifications/nonsense", "tools/call"} {
		out := line.serve(t.Context(), inbound{body: []byte(`{"jsonrpc":"2.0","method":"` + method + `","params":{"name":"echo"}}`)})
		if out.body != nil || out.status != http.StatusAccepted {
			t.Errorf("%s: %d %s", method, out.status, out.body)
		}
		if rec := recorder.last(t); rec.Method != method || method == "tools/call" && rec.Decision == audit.Allow {
			t.Errorf("%s: record %+v", method, rec)
		}
	}
}

// No answer without a record.
func TestRecorderFails(t *testing.T) {
	line, recorder := testPipeline(t)
	recorder.fail = errors.New("disk full")
	out := line.serve(t.Context(), inbound{body: []byte(callBody("echo", `{"text":"hi"}`))})
	if out.status != http.StatusServiceUnavailable || strings.Contains(string(out.body), `"hi"`) || decodeReply(t, out.body).Error == nil {
		t.Errorf("%d %s", out.status, out.body)
	}
}

// What a message says about principal and call is believed from a gateway only.
func TestBelieve(t *testing.T) {
	line, recorder := testPipeline(t)
	body := []byte(strings.Replace(callBody("echo", `{"text":"hi"}`), `"_meta":{`, `"_meta":{"dev.bulkhead/principal":"agent","dev.bulkhead/call":"CALL1",`, 1))
	for _, trusted := range []bool{false, true} {
		line.serve(t.Context(), inbound{principal: "edge", trusted: trusted, body: body})
		rec := recorder.last(t)
		if (rec.Principal == "agent") != trusted || (rec.Call == "CALL1") != trusted {
			t.Errorf("trusted %t: principal %q, call %q", trusted, rec.Principal, rec.Call)
		}
	}
}

// Secrets reach neither the caller nor the record, and digests stay as they are.
func TestSecrets(t *testing.T) {
	const digest = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	token := "ghp" + "_" + "16C7e42F292c6912E771" + "0c838347Ae178B4a" // the documentation's, in parts for those who scan for secrets
	scrubbed, err := scrubJSON(json.RawMessage(`{"a":"` + token + `","b":["x ` + token + `"],"password":"correct-horse-9","digest":"` + digest + `"}`))
	if err != nil || strings.Contains(string(scrubbed), token) || strings.Contains(string(scrubbed), "correct-horse") ||
		!strings.Contains(string(scrubbed), digest) || strings.Count(string(scrubbed), "#1]") != 3 {
		t.Errorf("%s, %v", scrubbed, err)
	}
	const marked = `{"password":"correct-horse-9","log":"password=[redacted:password#1]"}`
	if scrubbed, err := scrubJSON(json.RawMessage(marked)); err != nil || string(scrubbed) != `{"password":"[redacted:password#2]","log":"password=[redacted:password#1]"}` {
		t.Errorf("a mark that a tool made stands for something else: %s, %v", scrubbed, err)
	}
	line, recorder := testPipeline(t)
	line.serve(t.Context(), inbound{body: []byte(callBody("echo", `{"text":"`+token+`","password":"correct-horse-9"}`))})
	if args := string(recorder.last(t).Args); strings.Contains(args, token) || strings.Contains(args, "correct-horse") || !strings.Contains(args, "redacted") {
		t.Errorf("the record has %s", args)
	}
}

// What only the shape of the arguments tells to be a secret is kept out of the record.
func TestSecretsByShape(t *testing.T) {
	line, recorder := testPipeline(t)
	for _, args := range []string{
		`{"password":48151623}`,
		`{"env":[{"name":"DB_PASSWORD","value":"48151623"}]}`,
		`{"env":{"key":"api_token","value":"k3J48151623x"}}`,
		`{"password":["48151623"]}`,
		`{"password":[[48151623]]}`,
	} {
		line.serve(t.Context(), inbound{body: []byte(callBody("echo", args))})
		if kept := string(recorder.last(t).Args); strings.Contains(kept, "48151623") || !strings.Contains(kept, "[redacted:") {
			t.Errorf("%s: the record has %s", args, kept)
		}
	}
	// In a result a number stays what its schema says, and neighbours of a secret stay readable.
	const plain = `{"password":48151623,"list":[{"name":"REPLICAS","value":"48151623"}],"value":"48151623"}`
	if scrubbed, err := scrubJSON(json.RawMessage(plain)); err != nil || string(scrubbed) != plain {
		t.Errorf("%s, %v", scrubbed, err)
	}
}

// A token that a message repeats and cuts is recognised before it is cut.
func TestEchoedSecret(t *testing.T) {
	token := "ghp" + "_" + "16C7e42F292c6912E771" + "0c838347Ae178B4a"
	line, recorder := testPipeline(t)
	out := line.serve(t.Context(), inbound{body: []byte(callBody(strings.Repeat("x", maxEcho-20)+" "+token, `{}`))})
	if answer, tool := string(out.body), recorder.last(t).Tool; strings.Contains(answer, token[:12]) || strings.Contains(tool, token[:12]) {
		t.Errorf("%s; the record has %s", answer, tool)
	}
}

func TestArgumentsInTheRecordAreBounded(t *testing.T) {
	line, recorder := testPipeline(t)
	line.serve(t.Context(), inbound{body: []byte(callBody("echo", `{"text":"`+strings.Repeat("é", audit.MaxArgs)+`"}`))})
	rec := recorder.last(t)
	if !rec.ArgsCut || len(rec.Args) > 2*audit.MaxArgs || !json.Valid(rec.Args) {
		t.Errorf("args_cut %t, %d bytes", rec.ArgsCut, len(rec.Args))
	}
}

func TestToolsThatStopStartUp(t *testing.T) {
	type unboundedString struct {
		Text string `json:"text"`
	}
	type unboundedItems struct {
		Texts []string `json:"texts" maxItems:"2"`
	}
	type unboundedList struct {
		Texts []string `json:"texts" maxLength:"2"`
	}
	type unboundedNumber struct {
		N int `json:"n" minimum:"1"`
	}
	type anything struct {
		V any `json:"v"`
	}
	type aMap struct {
		M map[string]bool `json:"m"`
	}
	type badTag struct {
		Text string `json:"text" maxLength:"ten"`
	}
	type nested struct {
		Inner []unboundedString `json:"inner" maxItems:"1"`
	}
	type recursive struct {
		Next *recursive `json:"next,omitempty"`
	}
	type badPattern struct {
		Text string `json:"text" maxLength:"1" pattern:"("`
	}
	raw := func(schema string) Tool {
		return Tool{
			Definition: Definition{Name: "t", InputSchema: json.RawMessage(schema), OutputSchema: json.RawMessage(`{}`)},
			Call:       func(context.Context, json.RawMessage) (Result, error) { return Result{}, nil },
		}
	}
	for name, tc := range map[string]struct {
		tool Tool
		want string
	}{
		"string":     {typedNothing[unboundedString](), "text: a string needs a maxLength"},
		"items":      {typedNothing[unboundedItems](), "a string needs a maxLength"},
		"list":       {typedNothing[unboundedList](), "texts: a list needs a maxItems"},
		"number":     {typedNothing[unboundedNumber](), "n: a number needs a minimum and a maximum"},
		"any":        {typedNothing[anything](), "v: a interface {} takes anything"},
		"map":        {typedNothing[aMap](), "m: a map has no bounds"},
		"bad tag":    {typedNothing[badTag](), "text: maxLength tag"},
		"nested":     {typedNothing[nested](), "text: a string needs a maxLength"},
		"recursive":  {typedNothing[recursive](), "cycle"},
		"pattern":    {typedNothing[badPattern](), "input schema"},
		"not struct": {typedNothing[string](), "not a struct"},
		"permissive": {raw(`{"type":"object"}`), "accepts unknown arguments"},
		"empty":      {raw(`{}`), "accepts unknown arguments"},
		"invalid":    {raw(`{"type":12}`), "input schema"},
		"remote ref": {raw(`{"$ref":"https://example.com/x.json"}`), "input schema"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newPipeline(Program{Name: "test"}, "v0", []Tool{tc.tool}, Gate{}, slog.New(slog.DiscardHandler))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q in it", err, tc.want)
			}
		})
	}
	twice := []Tool{typedNothing[nothing](), typedNothing[nothing]()}
	if _, err := newPipeline(Program{Name: "test"}, "v0", twice, Gate{}, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("two tools of one name were taken")
	}
}

func typedNothing[In any]() Tool {
	return Typed(Definition{Name: "t"}, func(context.Context, In) (nothing, error) { return nothing{}, nil })
}

// A definition survives its JSON form, and only a read-only tool is one.
func TestDefinition(t *testing.T) {
	d := testTools()[0].Definition
	data, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var back Definition
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(d, back); diff != "" {
		t.Error(diff)
	}
	before, _ := d.Digest()
	back.Description += "."
	if after, _ := back.Digest(); after == before {
		t.Error("a changed description has the same digest")
	}
	for _, change := range [][2]string{
		{`"readOnlyHint":true`, `"readOnlyHint":false`},
		{`"destructiveHint":false`, `"destructiveHint":true`},
		{`"idempotentHint":true`, `"idempotentHint":false`},
		{`,"idempotentHint":true`, ``},
		{`"name":`, `"icons":[],"name":`},
	} {
		changed := strings.Replace(string(data), change[0], change[1], 1)
		if changed == string(data) {
			t.Fatalf("%q is not in %s", change[0], data)
		}
		if err := json.Unmarshal([]byte(changed), &back); err == nil {
			t.Errorf("accepted with %s", change[1])
		}
	}
}

// A type that is both taken and given keeps its descriptions where they are taken, and alone there.
func TestOutputSchemaHasNoDescriptions(t *testing.T) {
	type both struct {
		Words []echoIn `json:"words" jsonschema:"all of them" maxItems:"2"`
	}
	d := Typed(Definition{Name: "same"}, func(_ context.Context, in both) (both, error) { return in, nil }).Definition
	for _, description := range []string{"all of them", "what to repeat"} {
		if !strings.Contains(string(d.InputSchema), `"description":"`+description+`"`) {
			t.Errorf("the input schema does not say %q: %s", description, d.InputSchema)
		}
	}
	if strings.Contains(string(d.OutputSchema), "description") {
		t.Errorf("the output schema has descriptions: %s", d.OutputSchema)
	}
}
