// Package scrub makes text from outside safe to show: to a model, which obeys what it can read and a person
// cannot; to a terminal, which obeys escape sequences; and to whoever must not learn the secrets that stand in it.
//
// Characters go first (characters.go), so that a secret which was cut by invisible ones is whole when secrets are
// looked for. What counts as a secret is a table (secrets.go, services.go); one pass over the text finds them
// (matcher.go) by their looks, by the name that stands before them (names.go) or by their structure (structure.go,
// manifest.go, manifest_lines.go). What is encoded is looked at decoded (encoded.go). Texts are scrubbed whole, or line by line, with what
// one line begins and another ends in mind (stream.go), or as they are written, in lines of any length (writer.go).
//
// Nothing in a text switches any of it off, and what is found does not depend on who asks.
package scrub

import (
	"hash/maphash"
	"strconv"
	"strings"
)

const (
	// maxPasses bounds the passes over one text. One finds everything in ordinary text and a second confirms it;
	// secrets that touch each other can need another one.
	maxPasses = 5
	// maxNumbered bounds the secrets of one answer that are told apart. Those beyond are redacted without a number.
	maxNumbered = 4096
	// maxReserved bounds the numbers of marks in a text that are believed to be numbers.
	maxReserved = 1 << 20

	markerStart = "[redacted:"
	markerEnd   = ']'
	// unsettled is the id of a text that still changed in the last pass: nothing of it is shown.
	unsettled = "unsettled"
)

// A Scrubber scrubs the texts of one answer. A secret becomes [redacted:ID#N], the same one wherever it stands in
// the answer, so that a reader sees that two places hold the same secret and not which. It remembers hashes under a
// key of its own, no secrets. It may not be used by two goroutines at once.
type Scrubber struct {
	matcher *matcher
	seed    maphash.Seed
	markers map[uint64]string // of a secret's hash
	counts  map[string]int    // of secrets seen, by id
}

// New returns a Scrubber for one answer.
func New() *Scrubber {
	return &Scrubber{matcher: compiled(), seed: maphash.MakeSeed(), markers: map[uint64]string{}, counts: map[string]int{}}
}

// Text returns s as one Scrubber of its own would: for a text that is a whole answer.
func Text(s string) string { return New().Text(s) }

// Text returns text without characters that must not be shown and with its secrets redacted. What it returns is
// valid UTF-8 in which it finds nothing: scrubbing twice changes nothing.
func (s *Scrubber) Text(text string) string {
	text = characters(text)
	s.Reserve(text)
	for range maxPasses {
		next, changed := s.pass(text)
		if !changed {
			return text
		}
		text = next
	}
	return marker(unsettled)
}

// Reserve keeps the numbers of the marks that text holds already, so that no other secret gets the mark of one of
// these. Text and Line do so by themselves, each for its own text.
func (s *Scrubber) Reserve(text string) {
	for {
		i := strings.Index(text, markerStart)
		if i < 0 {
			return
		}
		text = text[i:]
		n := s.matcher.markerLen(text)
		id, number, _ := strings.Cut(strings.TrimPrefix(text[:max(n-1, len(markerStart))], markerStart), "#")
		if count, err := strconv.Atoi(number); err == nil && n > 0 && count <= maxReserved {
			s.counts[id] = max(s.counts[id], count)
		}
		text = text[max(n, len(markerStart)):]
	}
}

// Member returns value as Text does, and redacts it also if it is what a JSON object calls name and the name says
// that it is a secret.
func (s *Scrubber) Member(name, value string) string {
	value = characters(value)
	s.Reserve(value)
	if h, ok := s.matcher.member(name, value); ok {
		value = value[:h.from] + s.marker(h.format.id, value[h.from:h.to]) + value[h.to:]
	}
	return s.Text(value)
}

// pass redacts what one pass over the text finds.
func (s *Scrubber) pass(text string) (string, bool) {
	return s.redact(&scan{matcher: s.matcher, text: text})
}

// redact returns the text of a pass without the secrets that it finds, and whether there are any.
func (s *Scrubber) redact(sc *scan) (string, bool) {
	var out strings.Builder
	text := sc.text
	for {
		done := sc.done
		h, ok := sc.next()
		if !ok {
			break
		}
		if out.Len() == 0 {
			out.Grow(len(text))
		}
		out.WriteString(text[done:h.from])
		if h.partly {
			out.WriteString(marker(h.format.id))
		} else {
			out.WriteString(s.marker(h.format.id, text[h.from:h.to]))
		}
	}
	if sc.done == 0 {
		return s.reveal(text)
	}
	out.WriteString(text[sc.done:])
	return out.String(), true
}

// reveal redacts what encoded parts of a text hold.
func (s *Scrubber) reveal(text string) (string, bool) {
	found := s.matcher.coverts(text, 0)
	if len(found) == 0 {
		return text, false
	}
	var out strings.Builder
	done := 0
	for _, c := range found {
		out.WriteString(text[done:c.from])
		out.WriteString(s.marker(c.id, c.secret))
		done = c.to
	}
	out.WriteString(text[done:])
	return out.String(), true
}

// marker returns what is shown for a secret.
func (s *Scrubber) marker(id, secret string) string {
	return s.numbered(id, maphash.String(s.seed, secret))
}

// numbered returns what is shown for the secret of a hash.
func (s *Scrubber) numbered(id string, hash uint64) string {
	if marker, ok := s.markers[hash]; ok {
		return marker
	}
	if len(s.markers) == maxNumbered {
		return marker(id)
	}
	s.counts[id]++
	marker := markerStart + id + "#" + strconv.Itoa(s.counts[id]) + string(markerEnd)
	s.markers[hash] = marker
	return marker
}
