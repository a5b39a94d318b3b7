package scrub

import (
	"strings"
	"sync"
)

const (
	maxMarker = 64 // bytes of a marker after its start
	maxEscape = 12 // bytes that leftEdge looks back

	digits09 = "0123456789"
)

// matcher is the table made fast: what a byte and the one after it can begin, and what a name can end in.
type matcher struct {
	formats []format
	starts  pairSet             // the first two bytes of every anchor
	short   [256][]anchor       // those of less than four bytes by their first one, in the table's order
	grams   gramSet             // the first four bytes of the others, in lower case
	long    map[uint32][]anchor // the others by these
	endings pairSet             // the last two letters of every name, qualifier and member of note
	names   [pairs]bucket       // by the last two letters
	ids     map[string]bool
	data    *format // of a Secret's data

	innocent, elsewhere, variables []string
	placeholders                   map[string]bool
}

// anchor is a literal that something may begin at.
type anchor struct {
	literal string
	fold    bool // in upper and lower case
	format  *format
	find    func(sc *scan, a anchor, at int) (hit, bool)
}

// bucket holds what names can end in.
type bucket struct {
	endings    []ending
	qualifiers []string
}

// ending is one of a format's names.
type ending struct {
	letters string
	anchor  byte // 0, '_' or '^'
	format  *format
}

// pairs is how many pairs of letters there are, and one more for all others.
const pairs = 26*26 + 1

func lastTwo(a, b byte) int {
	if a < 'a' || a > 'z' || b < 'a' || b > 'z' {
		return pairs - 1
	}
	return int(a-'a')*26 + int(b-'a')
}

// hit is a secret found. Without a format it is none, and only says how far to go on.
type hit struct {
	from, to int
	format   *format
	partly   bool // the rest stands on the next lines
}

// compiled is made from the table by the first Scrubber.
var compiled = sync.OnceValue(compile) //nolint:gochecknoglobals // made once from a table, never changed

func compile() *matcher {
	m := &matcher{
		formats:      formats(),
		ids:          map[string]bool{unsettled: true, cutID: true, keyID: true},
		innocent:     innocent(),
		elsewhere:    elsewhere(),
		variables:    variables(),
		placeholders: map[string]bool{},
		long:         map[uint32][]anchor{},
	}
	for _, word := range placeholders() {
		m.placeholders[word] = true
	}
	for _, literal := range []string{":", "=", ">"} {
		m.anchor(literal, nil, (*scan).pair)
	}
	m.anchor("--", nil, (*scan).flag)
	for _, c := range commands() {
		m.anchor(c.word, nil, func(sc *scan, _ anchor, at int) (hit, bool) {
			sc.command, sc.commandAt = c, at+1
			return hit{}, false
		})
	}
	m.anchor(markerStart, nil, (*scan).skipMarker)
	for _, member := range []string{kindMember, versionMember, dataMember, stringsMember} {
		m.anchor(member, nil, (*scan).noteMember)
	}
	for i := range m.formats {
		f := &m.formats[i]
		f.set = newByteSet(f.alphabet)
		m.ids[f.id] = true
		for _, prefix := range f.prefixes {
			find := (*scan).token
			switch {
			case f.find != nil:
				find = (*scan).structure
			case f.within != nil:
				find, m.data = f.within, f
			}
			m.anchor(prefix, f, find)
		}
		for _, word := range f.services {
			m.anchor(word, f, (*scan).service)
		}
		for _, name := range f.names {
			e := ending{letters: strings.TrimLeft(name, "_^"), format: f}
			if len(e.letters) < len(name) {
				e.anchor = name[0]
			}
			b := m.bucket(e.letters)
			b.endings = append(b.endings, e)
		}
	}
	for _, word := range qualifiers() {
		b := m.bucket(word)
		b.qualifiers = append(b.qualifiers, word)
	}
	for _, word := range []string{nameMember, keyMember, valueMember} {
		m.bucket(word)
	}
	return m
}

// anchor adds one. Those that are the same in upper and lower case have four bytes at least.
func (m *matcher) anchor(literal string, f *format, find func(*scan, anchor, int) (hit, bool)) {
	a := anchor{literal: literal, fold: f != nil && (f.fold || f.services != nil), format: f, find: find}
	if len(literal) < gramBytes && !a.fold {
		m.short[literal[0]] = append(m.short[literal[0]], a)
	} else {
		gram := gramOf(literal)
		m.grams.add(gram)
		m.long[gram] = append(m.long[gram], a)
	}
	if len(literal) == 1 {
		for second := range 256 {
			m.starts.add(literal[0], byte(second))
		}
		return
	}
	m.starts.add(literal[0], literal[1])
	if a.fold {
		for _, pair := range [][2]byte{{toLower(literal[0]), toUpper(literal[1])}, {toUpper(literal[0]), toLower(literal[1])}, {toUpper(literal[0]), toUpper(literal[1])}, {toLower(literal[0]), toLower(literal[1])}} {
			m.starts.add(pair[0], pair[1])
		}
	}
}

// anchorsAt returns the anchors that can begin at a place, those that are short first.
func (m *matcher) anchorsAt(text string, at int) (short, long []anchor) {
	short = m.short[text[at]]
	if at+gramBytes <= len(text) {
		if gram := gramOf(text[at:]); m.grams.has(gram) {
			long = m.long[gram]
		}
	}
	return short, long
}

// begins says whether a begins at that place.
func (a *anchor) begins(text string, at int) bool {
	end := at + len(a.literal)
	switch {
	case len(a.literal) == 1: // anchors are kept by their first byte
		return true
	case end > len(text) || !a.fold && text[at+1] != a.literal[1]:
		return false
	}
	return text[at:end] == a.literal || a.fold && strings.EqualFold(text[at:end], a.literal)
}

// bucket returns the one of names that end as word does.
func (m *matcher) bucket(word string) *bucket {
	a, b := word[len(word)-2], word[len(word)-1]
	m.endings.add(a, b)
	return &m.names[lastTwo(a, b)]
}

// pairSet is a set of pairs of bytes: 8 KiB, so that the loop over a text stays in the nearest cache.
type pairSet [1 << 16 / 64]uint64

func (p *pairSet) add(a, b byte) { p[uint(a)<<2|uint(b)>>6] |= 1 << (b & 63) }

func (p *pairSet) has(a, b byte) bool { return p[uint(a)<<2|uint(b)>>6]>>(b&63)&1 != 0 }

// gramBytes is how many bytes of a literal are looked at together.
const gramBytes = 4

// gramOf returns the first bytes of s, letters in lower case.
func gramOf(s string) uint32 {
	return (uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24) | 0x20202020
}

// gramSet is a set of these, and of some more that share a hash.
type gramSet [1 << 16 / 64]uint64

func gramHash(gram uint32) uint32 { return gram * 0x9e3779b1 >> 16 }

func (g *gramSet) add(gram uint32) { g[gramHash(gram)/64] |= 1 << (gramHash(gram) % 64) }

func (g *gramSet) has(gram uint32) bool { return g[gramHash(gram)/64]>>(gramHash(gram)%64)&1 != 0 }

// byteSet is an alphabet.
type byteSet [256]bool

// newByteSet reads ranges, as in "0-9a-f_-".
func newByteSet(ranges string) *byteSet {
	set := new(byteSet)
	for i := 0; i < len(ranges); i++ {
		first, last := ranges[i], ranges[i]
		if i+2 < len(ranges) && ranges[i+1] == '-' {
			last = ranges[i+2]
			i += 2
		}
		for c := int(first); c <= int(last); c++ {
			set[c] = true
		}
	}
	return set
}

// scan is one pass over a text. Until it has found a secret it looks a bounded way back and ahead (maxName, maxChecked,
// maxUserinfo, maxPEM and their like; the quotes of a value as far as the line), so that a text takes linear time and
// could be read in pieces; the end of a secret that was found may be any way off.
type scan struct {
	*matcher
	text string
	at   int // where to look next
	done int // the end of the last secret: nothing before it is looked at again
	line int // the end of the last line that was looked for

	// What a member called "name" was worth, for the one called "value" that follows it.
	pending    []*format
	pendingEnd int

	manifest manifest

	naming bool // a secret is being named by its looks

	command   command // the last one, whose flags come
	commandAt int     // where to look for its end

	// Of a text that is one of several lines: what it leaves open for the next.
	lines bool
	key   *keyBlock
	block *scalarBlock
	noted noted
}

// next returns the next secret of the text.
func (sc *scan) next() (hit, bool) {
	text, starts := sc.text, &sc.starts
	for at := sc.at; at+1 < len(text); at++ {
		if !starts.has(text[at], text[at+1]) {
			continue
		}
		short, long := sc.anchorsAt(text, at)
		h, ok := sc.find(short, at)
		if !ok {
			h, ok = sc.find(long, at)
		}
		if !ok {
			continue
		}
		if h.format == nil {
			at = h.to - 1
			continue
		}
		sc.at, sc.done = h.to, h.to
		return h, true
	}
	sc.at = len(text)
	return hit{}, false
}

// find returns what the first of the anchors finds that finds something at that place.
func (sc *scan) find(anchors []anchor, at int) (hit, bool) {
	for i := range anchors {
		if a := &anchors[i]; a.begins(sc.text, at) {
			if h, ok := a.find(sc, *a, at); ok {
				return h, true
			}
		}
	}
	return hit{}, false
}

// skipMarker steps over what a pass before this one, or another program, has redacted.
func (sc *scan) skipMarker(_ anchor, at int) (hit, bool) {
	n := sc.markerLen(sc.text[at:])
	return hit{from: at, to: at + n}, n > 0
}

// markerLen returns the length of the marker that s begins with, or 0.
func (m *matcher) markerLen(s string) int {
	rest, ok := strings.CutPrefix(s, markerStart)
	if !ok {
		return 0
	}
	body, _, ok := strings.Cut(rest[:min(len(rest), maxMarker)], string(markerEnd))
	if !ok {
		return 0
	}
	id, number, numbered := strings.Cut(body, "#")
	if !m.ids[id] || numbered && (number == "" || strings.Trim(number, digits09) != "") {
		return 0
	}
	return len(markerStart) + len(body) + 1
}

// token finds what a prefix and an alphabet describe.
func (sc *scan) token(a anchor, at int) (hit, bool) {
	f, text := a.format, sc.text
	from, body := at-f.lead, at+len(a.literal)
	if from < sc.done {
		return hit{}, false
	}
	for i := from; i < at; i++ {
		if !f.set[text[i]] {
			return hit{}, false
		}
	}
	most := f.max
	if most == 0 { // judged by its beginning; the rest is read once it is one
		if isAlphanumeric(text[at-f.lead]) && !leftEdge(text, at-f.lead) {
			return hit{}, false
		}
		most = max(f.min, maxChecked)
	}
	limit := min(len(text), body+most)
	end := f.run(text, body, limit)
	if f.keep {
		from = body
	}
	if f.proof != nil && end-body >= f.min && f.proof(text[body:body+f.min]) {
		return hit{from: from, to: body + f.min, format: f}, true
	}
	if (f.max > 0 || end < limit) && end < len(text) && isAlphanumeric(text[end]) || isAlphanumeric(text[at-f.lead]) && !leftEdge(text, at-f.lead) {
		return hit{}, false
	}
	end = max(body+len(strings.TrimRight(text[body:end], ".")), min(end, body+f.min)) // the end of a sentence
	checked := text[body:end]
	if f.lead > 0 {
		checked = text[from:end]
	}
	if end-body < f.min || f.check != nil && !f.check(checked) {
		return hit{}, false
	}
	if f.max == 0 {
		end = body + len(strings.TrimRight(text[body:f.run(text, end, len(text))], "."))
	}
	return hit{from: from, to: end, format: f}, true
}

// run returns where the run of f's alphabet that begins at from ends, or limit.
func (f *format) run(text string, from, limit int) int {
	for from < limit && f.set[text[from]] {
		from++
	}
	return from
}

// structure finds what only a function describes.
func (sc *scan) structure(a anchor, at int) (hit, bool) {
	from, to, ok := a.format.find(sc, at)
	h := hit{from: from, to: to, format: a.format, partly: sc.key != nil && sc.key.from == at}
	if ok && from > at {
		h = sc.specific(h)
	}
	return h, ok
}

// leftEdge says whether something can begin at that place: not inside a word. What stands before it can be the end of
// an escape (\n, \u003d, \x1b, %3D) or of a terminal's colours ([31m) that lost its first byte.
func leftEdge(text string, at int) bool {
	if at == 0 || !isAlphanumeric(text[at-1]) {
		return true
	}
	before := text[max(0, at-maxEscape):at]
	for _, e := range []struct {
		start  string
		digits int
	}{{"%", 2}, {`\x`, 2}, {`\u`, 4}} {
		if i := len(before) - len(e.start) - e.digits; i >= 0 && strings.HasPrefix(before[i:], e.start) && isHex(before[i+len(e.start):]) {
			return true
		}
	}
	if i := len(before) - 2; i >= 0 && before[i] == '\\' {
		return strings.IndexByte("abfnrtv0", before[i+1]) >= 0
	}
	if i := strings.LastIndexByte(before, '['); i >= 0 && before[len(before)-1] == 'm' {
		return strings.Trim(before[i+1:len(before)-1], digits09+";") == ""
	}
	return false
}

func isAlphanumeric(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

func isHex(s string) bool {
	return strings.Trim(s, "0123456789abcdefABCDEF") == ""
}
