package mcpserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/scrub"
)

// scrubJSON returns value, one JSON value, with every string made safe to show, names of members included. A secret has
// the same mark wherever in value it stands.
func scrubJSON(value json.RawMessage) (json.RawMessage, error) {
	dec := jsontext.NewDecoder(bytes.NewReader(value))
	var out bytes.Buffer
	out.Grow(len(value))
	enc := jsontext.NewEncoder(&out)
	scrubber := scrub.New()
	member := "" // the name of the member whose value comes
	for values := 0; ; values++ {
		token, err := dec.ReadToken()
		if errors.Is(err, io.EOF) {
			return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
		}
		if err != nil {
			return nil, err
		}
		if values > maxResultValues {
			return nil, fmt.Errorf("more than %d JSON values", maxResultValues)
		}
		if enc.StackDepth() == 0 && enc.OutputOffset() > 0 {
			return nil, errors.New("more than one JSON value")
		}
		if token.Kind() == '0' && !plainNumber(token.String()) {
			return nil, errors.New("a number that no 64-bit float holds")
		}
		if token.Kind() == '"' {
			text := token.String()
			kind, length := dec.StackIndex(dec.StackDepth())
			switch {
			case kind == '{' && length%2 == 1:
				member = text
				token = jsontext.String(scrubber.Text(text))
			case kind == '{':
				token = jsontext.String(scrubber.Member(member, text))
			default:
				token = jsontext.String(scrubber.Text(text))
			}
		}
		if err := enc.WriteToken(token); err != nil {
			return nil, err
		}
	}
}

// fit cuts value, an object, to at most maxBytes, and says whether it had to. What is cut is the end of its longest
// list, at a record's boundary, and its member "truncated" becomes true. A value without these two cannot be cut:
// fit returns nil.
func fit(value json.RawMessage, maxBytes int) (json.RawMessage, bool) {
	if len(value) <= maxBytes {
		return value, false
	}
	var members map[string]jsontext.Value
	if err := jsonv2.Unmarshal(value, &members); err != nil || members["truncated"] == nil {
		return nil, true
	}
	longest := ""
	for name, member := range members {
		if member.Kind() == '[' && (longest == "" || len(member) > len(members[longest])) {
			longest = name
		}
	}
	var records []jsontext.Value
	if longest == "" || jsonv2.Unmarshal(members[longest], &records) != nil {
		return nil, true
	}
	members["truncated"] = jsontext.Value("true")
	excess := len(value) + len("true") - maxBytes
	for len(records) > 0 && excess > 0 {
		excess -= len(records[len(records)-1]) + len(",")
		records = records[:len(records)-1]
	}
	var err error
	if members[longest], err = jsonv2.Marshal(records); err != nil {
		return nil, true
	}
	out, err := jsonv2.Marshal(members, jsonv2.Deterministic(true))
	if err != nil || len(out) > maxBytes {
		return nil, true
	}
	return json.RawMessage(out), true
}
