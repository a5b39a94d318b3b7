package mcpserver

import (
	"encoding/json"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// canCut says whether results of that schema may be cut: they can say so, in their member "truncated", and are no pages:
// the call that goes on at a page's "next_cursor" would skip what was cut off.
func canCut(outputSchema json.RawMessage) (bool, error) {
	var schema struct {
		Properties map[string]jsontext.Value `json:"properties"`
	}
	err := jsonv2.Unmarshal(outputSchema, &schema)
	return schema.Properties["truncated"] != nil && schema.Properties["next_cursor"] == nil, err
}

// fit cuts value, an object that may be cut, to at most maxBytes, and says whether it had to. What is cut is the end of its
// longest list, at a record's boundary, and its member "truncated" becomes true. Where that is not enough, it returns nil.
func fit(value json.RawMessage, maxBytes int) (json.RawMessage, bool) {
	if len(value) <= maxBytes {
		return value, false
	}
	var members map[string]jsontext.Value
	if jsonv2.Unmarshal(value, &members) != nil {
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
	excess := len(value) + len(`,"truncated":true`) - maxBytes
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
