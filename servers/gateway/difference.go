package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpclient"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/scrub"
)

// The bounds of what is said about a difference: a server may have written every byte of it.
const (
	maxChanges   = 16  // of a server; the others are counted
	maxShown     = 120 // bytes of a value, around the place where it differs
	maxShownName = 256 // bytes of a tool's name and of a member's path
	shownBefore  = 24  // of maxShown, those before the first difference
)

const absent = "nothing" // what stands for a value that is not there

// change is one member of a tool's definition that is not as it was locked.
type change struct {
	Tool   string `json:"tool"`
	Member string `json:"member"` // JSON Pointer (RFC 6901) in the definition; empty is all of it
	From   string `json:"from"`   // locked, as JSON, around the place where it differs
	To     string `json:"to"`
}

func (c change) String() string {
	if c.Member == "" {
		return fmt.Sprintf("%s: %s, was %s", c.Tool, c.To, c.From)
	}
	return fmt.Sprintf("%s: %s: %s, was %s", c.Tool, c.Member, c.To, c.From)
}

// difference is how the definitions that a server gives differ from the locked ones.
type difference struct {
	changes []change
	more    int // beyond maxChanges
}

func (d *difference) empty() bool { return len(d.changes) == 0 }

// quarantine is why a server with other definitions than the locked ones is not called.
type quarantine struct{ *difference }

func (q quarantine) Error() string { return "its definitions are not the locked ones: " + q.String() }

// add keeps c, or counts it. The texts are bounded and made safe here, wherever they come from.
func (d *difference) add(c change) {
	if len(d.changes) == maxChanges {
		d.more++
		return
	}
	c.Tool, c.Member = scrub.Text(head(c.Tool, maxShownName)), scrub.Text(head(c.Member, maxShownName))
	c.From, c.To = scrub.Text(c.From), scrub.Text(c.To)
	d.changes = append(d.changes, c)
}

func (d *difference) String() string {
	var lines []string
	for _, c := range d.changes {
		lines = append(lines, c.String())
	}
	if d.more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", d.more))
	}
	return strings.Join(lines, "\n")
}

// compare holds the definitions that a server gives against the locked ones. What decides is the digest; the members
// that differ are for people.
func compare(locked map[string]lockedTool, given []json.RawMessage) *difference {
	d := &difference{}
	if len(given) > mcpclient.MaxTools {
		d.add(change{Tool: "all tools", From: fmt.Sprintf("%d tools", len(locked)), To: fmt.Sprintf("more than the %d tools that a server may have", mcpclient.MaxTools)})
		return d
	}
	seen := map[string]bool{}
	for _, data := range given {
		var definition mcpserver.Definition
		decodeErr := json.Unmarshal(data, &definition)
		name := definition.Name
		if decodeErr != nil {
			name = nameOf(data)
		}
		want, known := locked[name]
		switch digest, err := definition.Digest(); {
		case seen[name]:
			d.add(change{Tool: name, From: "there once", To: "there twice"})
		case !known:
			d.add(change{Tool: name, From: absent, To: "a tool that is not in the lock"})
		case decodeErr == nil && err == nil && digest == want.SHA256:
		default:
			d.members(name, want.Definition, data)
		}
		seen[name] = true
	}
	for _, name := range sortedKeys(locked) {
		if !seen[name] {
			d.add(change{Tool: name, From: "in the lock", To: "gone"})
		}
	}
	return d
}

// nameOf is the name in a definition that is none of ours.
func nameOf(data json.RawMessage) string {
	var named struct {
		Name string `json:"name"`
	}
	if json.Unmarshal(data, &named) != nil {
		return ""
	}
	return named.Name
}

// members adds what differs between a locked definition and the one that a server gives in its place.
func (d *difference) members(tool string, locked mcpserver.Definition, given json.RawMessage) {
	before := len(d.changes) + d.more
	canonical, err := locked.Canonical()
	value := jsontext.Value(slices.Clone(given))
	if err == nil {
		err = value.Canonicalize()
	}
	if err != nil {
		d.add(change{Tool: tool, From: "the locked definition", To: "no JSON: " + head(err.Error(), maxShown)})
		return
	}
	d.walk(tool, "", canonical, value)
	if before == len(d.changes)+d.more {
		d.add(change{Tool: tool, From: "the locked definition", To: "another, whose members are the same once JSON has read them"})
	}
}

// walk compares two canonical JSON values; a member that one of them lacks is nil there.
func (d *difference) walk(tool, path string, from, to jsontext.Value) {
	if string(from) == string(to) {
		return
	}
	if len(d.changes) == maxChanges {
		d.more++ // without a look at how many there are below
		return
	}
	if from != nil && to != nil && from.Kind() == to.Kind() {
		switch from.Kind() {
		case jsontext.KindBeginObject:
			a, b := objectOf(from), objectOf(to)
			names := sortedKeys(a)
			for _, name := range sortedKeys(b) {
				if _, both := a[name]; !both {
					names = append(names, name)
				}
			}
			for _, name := range names {
				d.walk(tool, path+"/"+pointerToken(name), a[name], b[name])
			}
			return
		case jsontext.KindBeginArray:
			a, b := listOf(from), listOf(to)
			for i := range min(max(len(a), len(b)), len(a)+maxChanges) { // a list that is longer is so by its first items
				d.walk(tool, fmt.Sprintf("%s/%d", path, i), at(a, i), at(b, i))
			}
			return
		default:
		}
	}
	c := change{Tool: tool, Member: path}
	c.From, c.To = shown(from, to)
	d.add(c)
}

// objectOf and listOf decode values whose kind and syntax are known.
func objectOf(value jsontext.Value) map[string]jsontext.Value {
	var members map[string]jsontext.Value
	_ = json.Unmarshal(value, &members)
	return members
}

func listOf(value jsontext.Value) []jsontext.Value {
	var items []jsontext.Value
	_ = json.Unmarshal(value, &items)
	return items
}

func at(items []jsontext.Value, i int) jsontext.Value {
	if i < len(items) {
		return items[i]
	}
	return nil
}

func pointerToken(name string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(name) }

// shown cuts two values to the part that differs, with a little of what stands before it.
func shown(from, to jsontext.Value) (string, string) {
	same := 0
	for same < min(len(from), len(to)) && from[same] == to[same] {
		same++
	}
	start := max(0, same-shownBefore)
	for start > 0 && start < len(from) && !utf8.RuneStart(from[start]) {
		start--
	}
	return excerpt(from, start), excerpt(to, start)
}

func excerpt(value jsontext.Value, start int) string {
	if value == nil {
		return absent
	}
	text := string(value[min(start, len(value)):])
	if start > 0 {
		text = "…" + text
	}
	return head(text, maxShown)
}

// head is text, cut to its first maxBytes at the border of a character, and marked where it was.
func head(text string, maxBytes int) string {
	if len(text) <= maxBytes {
		return text
	}
	return strings.ToValidUTF8(text[:maxBytes], "") + "…"
}
