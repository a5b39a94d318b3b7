package scrub

import (
	"strconv"
	"strings"
)

// Marks says whether literal may stand in a mark without its number, or overlap one: where it does, a text can hold
// it after scrubbing that did not before.
func Marks(literal string) bool {
	if strings.ContainsAny(literal, string([]byte{markerStart[0], markerEnd})) {
		return true
	}
	for id := range compiled().ids {
		if strings.Contains(markerStart+id, literal) {
			return true
		}
	}
	return false
}

// Unnumbered returns text without the numbers of its marks, which depend on what else was scrubbed.
func Unnumbered(text string) string {
	return remark(text, func(_, id string) string { return markerStart + id + string(markerEnd) })
}

// A Renumberer numbers the marks of the texts of one answer anew, in the order in which it sees them: the numbers that
// are shown must not tell what else was scrubbed on the way.
type Renumberer struct {
	marks  map[string]string // new by old
	counts map[string]int    // by id
}

// NewRenumberer returns one for one answer.
func NewRenumberer() *Renumberer {
	return &Renumberer{marks: map[string]string{}, counts: map[string]int{}}
}

// Text returns text with its marks numbered.
func (r *Renumberer) Text(text string) string {
	return remark(text, func(mark, id string) string {
		if r.marks[mark] == "" {
			r.counts[id]++
			r.marks[mark] = markerStart + id + "#" + strconv.Itoa(r.counts[id]) + string(markerEnd)
		}
		return r.marks[mark]
	})
}

// remark gives each mark of text that has a number another form.
func remark(text string, form func(mark, id string) string) string {
	at := strings.Index(text, markerStart)
	if at < 0 {
		return text
	}
	var out strings.Builder
	for m := compiled(); at >= 0; {
		n := m.markerLen(text[at:])
		mark := text[at : at+max(n, len(markerStart))]
		out.WriteString(text[:at])
		if id, _, numbered := strings.Cut(strings.TrimPrefix(mark, markerStart), "#"); n > 0 && numbered {
			mark = form(mark, id)
		}
		out.WriteString(mark)
		text = text[at+max(n, len(markerStart)):]
		at = strings.Index(text, markerStart)
	}
	return out.String() + text
}
