package scrub

import (
	"strconv"
	"strings"
)

// Lines scrubs lines that follow each other as one text, so that a secret which spans several of them is found, and
// returns one text for each. Of a secret that spans several lines the first shows the mark and what else stands in the
// last one, and each of the others the mark alone. A line may hold newlines.
func (s *Scrubber) Lines(lines []string) []string {
	text := characters(strings.Join(lines, "\n")) // takes out no newline
	if text == "" {
		return make([]string, len(lines))
	}
	ends := make([]int, len(lines)) // where each line ends in text; that of a swallowed end is where its secret begins
	swallowed := make([]string, len(lines))
	for i, at := 0, 0; i < len(lines); i++ {
		for range strings.Count(lines[i], "\n") {
			at += strings.IndexByte(text[at:], '\n') + 1
		}
		end := strings.IndexByte(text[at:], '\n')
		if end < 0 {
			end = len(text) - at
		}
		ends[i] = at + end
		at = ends[i] + 1
	}
	settled := false
	for range maxPasses {
		next, changed := s.passLines(text, ends, swallowed)
		if text = next; !changed {
			settled = true
			break
		}
	}
	out := make([]string, len(lines))
	from := 0
	for i := range out {
		switch {
		case !settled:
			out[i] = markerStart + unsettled + string(markerEnd)
		case i > 0 && swallowed[i-1] != "":
			out[i] = swallowed[i-1]
		default:
			last := i
			for swallowed[last] != "" {
				last++ // the end of the last line is the end of the text, and never swallowed
			}
			out[i] = text[from:ends[last]]
			from = ends[last] + 1
		}
	}
	return out
}

// passLines is pass with the ends of lines kept up to date.
func (s *Scrubber) passLines(text string, ends []int, swallowed []string) (string, bool) {
	var out strings.Builder
	sc := scan{matcher: s.matcher, text: text}
	line := 0
	for {
		done := sc.done
		h, ok := sc.next()
		if !ok {
			break
		}
		for ; line < len(ends) && ends[line] < h.from; line++ {
			ends[line] += out.Len() - done
		}
		out.WriteString(text[done:h.from])
		marker := s.marker(h.format.id, text[h.from:h.to])
		for ; line < len(ends) && ends[line] < h.to; line++ {
			ends[line] = out.Len()
			if swallowed[line] == "" {
				swallowed[line] = marker
			}
		}
		out.WriteString(marker)
	}
	if sc.done == 0 {
		return text, false
	}
	for ; line < len(ends); line++ {
		ends[line] += out.Len() - sc.done
	}
	out.WriteString(text[sc.done:])
	return out.String(), true
}

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
