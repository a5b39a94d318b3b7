package mcpclient

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
)

// answers is a server that always says the same.
type answers []byte

func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(a))}, nil
}

func clientOf(answer string) *Client {
	return &Client{HTTP: &http.Client{Transport: answers(answer)}, URL: "http://localhost/mcp"}
}

func TestCallTool(t *testing.T) {
	result := func(members string) string { return `{"jsonrpc":"2.0","id":1,"result":{` + members + `}}` }
	for name, tc := range map[string]struct {
		answer string
		want   CallResult
		err    string
	}{
		"success":             {result(`"structuredContent":{"a":1},"content":[{"type":"text","text":"{\"a\":1}"}],"_meta":{"dev.bulkhead/call":"X","other":[1]}`), CallResult{Structured: []byte(`{"a":1}`), Call: "X"}, ""},
		"text alone":          {result(`"content":[{"text":"a"},{"type":"image"},{"text":"b"}]`), CallResult{Text: "a\n\nb"}, ""},
		"error":               {result(`"isError":true,"structuredContent":{},"content":[{"text":"denied: no"}],"_meta":{"dev.bulkhead/code":"denied"}`), CallResult{Structured: []byte(`{}`), IsError: true, Text: "denied: no", Code: "denied"}, ""},
		"odd members":         {result(`"isError":true,"content":{"text":"a"},"_meta":{"dev.bulkhead/code":[1],"dev.bulkhead/call":null}`), CallResult{IsError: true}, ""},
		"many texts":          {result(`"isError":true,"content":[` + strings.Repeat(`{"text":"a"},`, 100) + `{}]`), CallResult{IsError: true, Text: strings.Repeat("a\n", maxContent-1) + "a"}, ""},
		"a text that is none": {result(`"isError":true,"content":[{"text":1},{"text":"a"}]`), CallResult{IsError: true, Text: "\na"}, ""},
		"fault":               {`{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"unknown tool"}}`, CallResult{}, "unknown tool (JSON-RPC error -32602)"},
		"fault with data":     {`{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m","data":{"supported":["2025-11-25"]}}}`, CallResult{}, "m (JSON-RPC error 1)"},
		"edge":                {`{"error":"a valid token is missing"}`, CallResult{}, "HTTP 200: a valid token is missing"},
		"no JSON":             {`<html>`, CallResult{}, "HTTP 200: OK"},
		"nothing":             {`{"jsonrpc":"2.0","id":1}`, CallResult{}, "an answer has neither result nor error"},
		"another result":      {`{"jsonrpc":"2.0","id":1,"result":[]}`, CallResult{}, "decoding an answer: "},
		"the same before":     {`{"id":1,"result":[],"jsonrpc":"2.0"}`, CallResult{}, "decoding an answer: "},
		"one name twice":      {result(`"isError":false,"isError":true`), CallResult{IsError: true}, ""},
		"too much":            {strings.Repeat(" ", MaxResponse+1), CallResult{}, "reading an answer: too large"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := clientOf(tc.answer).CallTool(t.Context(), "x", nil, nil)
			if tc.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), tc.err) {
					t.Errorf("%v, want %s", err, tc.err)
				}
				return
			}
			if err != nil || string(got.Structured) != string(tc.want.Structured) || got.IsError != tc.want.IsError ||
				got.Text != tc.want.Text || got.Code != tc.want.Code || got.Call != tc.want.Call {
				t.Errorf("%+v, %v; want %+v", got, err, tc.want)
			}
		})
	}
}

// An answer takes a few times its bytes, whatever is in it: a server cannot choose members that become many times larger
// in memory.
func TestAnswersDoNotGrow(t *testing.T) {
	const most = 8 * MaxResponse
	fill := func(before, each, after string) string {
		return before + strings.Repeat(each, (MaxResponse-len(before)-len(after))/len(each)) + after
	}
	var members strings.Builder
	for i := range MaxResponse / 16 {
		fmt.Fprintf(&members, `"%d":"",`, i)
	}
	for name, answer := range map[string]string{
		"meta":       fill(`{"jsonrpc":"2.0","result":{"_meta":{"a":[`, "[],", `[]]}}}`),
		"code":       fill(`{"jsonrpc":"2.0","result":{"_meta":{"dev.bulkhead/code":[`, "[],", `[]]}}}`),
		"content":    fill(`{"jsonrpc":"2.0","result":{"isError":true,"content":[`, "{},", `{}]}}`),
		"members":    `{"jsonrpc":"2.0","result":{"structuredContent":{` + members.String() + `"a":""}}}`,
		"structured": fill(`{"jsonrpc":"2.0","result":{"structuredContent":{"a":[`, "0,", `0]}}}`),
		"error":      fill(`{"jsonrpc":"2.0","error":{"data":{"a":"`, "x", `"}}}`),
		"data":       `{"jsonrpc":"2.0","error":{"data":{` + members.String() + `"a":""}}}`,
		"tools":      fill(`{"jsonrpc":"2.0","result":{"tools":[`, "0,", `0]}}`),
		"unknown":    fill(`{"jsonrpc":"2.0","x":[`, "{},", `{}]}`),
	} {
		client := clientOf(answer)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _ = client.CallTool(t.Context(), "x", nil, nil)
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > most {
			t.Errorf("%s: %d bytes became %d", name, len(answer), grown)
		}
		_, _ = client.ListTools(t.Context())
		runtime.ReadMemStats(&before)
		if grown := before.TotalAlloc - after.TotalAlloc; grown > most {
			t.Errorf("%s of a list: %d bytes became %d", name, len(answer), grown)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"result":{"isError":true,"content":[{"text":"a"}],"_meta":{"dev.bulkhead/code":"denied"}}}`))
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m","data":{"a":"b"}}}`))
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"result":{"tools":[{}],"nextCursor":"x"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		client := clientOf(string(body))
		result, err := client.CallTool(t.Context(), "x", nil, nil)
		if err != nil && (result.Structured != nil || result.Text != "" || result.IsError) {
			t.Errorf("%q: a result and an error: %+v, %v", body, result, err)
		}
		if fault, ok := errors.AsType[*StatusError](err); ok && fault.Reason == "" && fault.Status != http.StatusOK {
			t.Errorf("%q: no reason", body)
		}
		if tools, err := client.ListTools(t.Context()); err != nil && tools != nil {
			t.Errorf("%q: tools and an error: %v", body, err)
		}
	})
}
