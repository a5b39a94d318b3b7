package mcpserver

import (
	"encoding/json"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// hasCursor says whether results of that schema are pages: the next call goes on at their member next_cursor.
func hasCursor(outputSchema json.RawMessage) (bool, error) {
	var schema struct {
		Properties map[string]jsontext.Value `json:"properties"`
	}
	err := jsonv2.Unmarshal(outputSchema, &schema)
	return schema.Properties["next_cursor"] != nil, err
}

// fit cuts value, an object, to at most maxBytes, and says whether it had to. What is cut is the end of its longest
// list, at a record's boundary, and its member "truncated" becomes true. A value without these two cannot be cut, and
// neither can a page: the next one would begin behind what was cut off. Then fit returns nil.
func fit(value json.RawMessage, maxBytes int, page bool) (json.RawMessage, bool) {
	if len(value) <= maxBytes {
		return value, false
	}
	if page {
		return nil, true
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
