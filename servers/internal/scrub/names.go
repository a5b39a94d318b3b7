package scrub

import (
	"slices"
	"strings"
)

const (
	maxName  = 64  // bytes of a name
	maxGap   = 32  // blanks between a name, a separator and a value
	maxApart = 256 // bytes between {"name": "DB_PASSWORD" and "value": …}
	blank    = " \t"
	breaks   = "nrt" // after a backslash: a line or a column ends

	nameMember  = "name"
	keyMember   = "key"
	valueMember = "value"
)

// name is what stands before a separator.
type name struct {
	raw string
	// Its letters and digits in lower case, without digits at the end. An array, for most names are read in vain.
	buffer [maxName]byte
	size   int
	// Bit i says that a word begins at letter i: the first or one after a blank; one after _-.; one that its case tells.
	words, joints, humps uint64

	from     int  // where it stands
	attached bool // right before its separator
	quote    byte // that stands right before an unquoted one, as in 'PASSWORD=x', or 0
	escaped  bool // a backslash stands before the quote
}

// pair finds the secret in name: value, name=value, "name": "value", <name>value and their like.
func (sc *scan) pair(_ anchor, at int) (hit, bool) {
	if !sc.separates(at) {
		return hit{}, false
	}
	var n name
	if !sc.nameBefore(&n, at) {
		return hit{}, false
	}
	if n.lastWordIs(nameMember) || n.lastWordIs(keyMember) { // {"name": "DB_PASSWORD", "value": …}
		sc.pending = nil
		if v, ok := sc.valueAfter(at, &n); ok {
			sc.pending, sc.pendingEnd = sc.named(newName(sc.text[v.from:v.to])), v.to
		}
		return hit{}, false
	}
	formats := sc.named(&n)
	if n.lastWordIs(valueMember) && at-sc.pendingEnd <= maxApart {
		formats, sc.pending = sc.pending, nil
	}
	if len(formats) == 0 && at < sc.manifest.end && sc.text[at] == ':' {
		formats = sc.manifest.formats
	}
	if len(formats) == 0 {
		return hit{}, false
	}
	v, ok := sc.valueAfter(at, &n)
	if !ok {
		if sc.lines && opensScalar(sc.text[at:]) {
			sc.block = &scalarBlock{formats: formats, name: n, indent: n.from - strings.LastIndexByte(sc.text[:n.from], '\n') - 1}
		}
		return hit{}, false
	}
	return sc.judge(formats, &n, v)
}

// separates says whether the byte at that place can stand between a name and a value, and is the first that does.
func (sc *scan) separates(at int) bool {
	text := sc.text
	if at == 0 || at+1 == len(text) {
		return false
	}
	before, after := text[at-1], text[at+1]
	switch text[at] {
	case ':': // a::b is a path of names, a:// a URL
		return before != ':' && after != ':' && !strings.HasPrefix(text[at+1:], "//")
	case '=':
		return before != ':' && before != '='
	default:
		return before != '='
	}
}

// flag finds the secret in --name value and in "--name", "value". With an equals sign it is a pair.
func (sc *scan) flag(_ anchor, at int) (hit, bool) {
	text, from := sc.text, at+2
	end := from
	for end < len(text) && end-from < maxName && isNameByte(text[end]) {
		end++
	}
	if end == from || at > 0 && (isAlphanumeric(text[at-1]) || text[at-1] == '-') {
		return hit{}, false
	}
	n := newName(text[from:end])
	formats := sc.named(n)
	if len(formats) == 0 {
		return hit{}, false
	}
	gap := end
	for gap < len(text) && gap-end < maxGap && strings.IndexByte(`"',`+blank, text[gap]) >= 0 {
		gap++
	}
	if gap == end || gap == len(text) || text[gap] == '-' {
		return hit{}, false
	}
	if text[gap-1] == '"' || text[gap-1] == '\'' { // of the value
		gap--
	}
	v, ok := sc.valueAt(gap, n, value{separator: ' ', spaced: true})
	if !ok {
		return hit{}, false
	}
	return sc.judge(formats, n, v)
}

// member finds the secret in what a JSON object's member holds.
func (m *matcher) member(called, text string) (hit, bool) {
	n := newName(called)
	formats := m.named(n)
	if len(formats) == 0 || text == "" {
		return hit{}, false
	}
	sc := scan{matcher: m, text: text}
	return sc.judge(formats, n, value{to: len(text), quoted: true, whole: true, spaced: true, separator: ':'})
}

// nameBefore reads the name that ends before the separator at that place.
func (sc *scan) nameBefore(n *name, at int) bool {
	text, floor := sc.text, max(sc.done, at-maxGap-maxName)
	end := at
	for end > floor && isBlank(text[end-1]) {
		end--
	}
	attached, quoted := end == at, false
	if end > floor && text[end-1] == '?' { // an optional one, in a type
		end--
	}
	switch {
	case end == floor:
		return false
	case text[end-1] == '"' || text[end-1] == '\'':
		quoted = true
		end--
		for end > floor && text[end-1] == '\\' {
			end--
		}
	case text[end-1] == ']': // user[password]
		end--
	}
	if !sc.endsLikeName(floor, end) && at >= sc.manifest.end {
		return false
	}
	from := end
	for from > floor && end-from < maxName {
		c := text[from-1]
		if !isNameByte(c) && (c != ' ' || quoted || text[from] == ' ') {
			break
		}
		from--
	}
	for from < end && (text[from] == ' ' || text[from] == '-') { // - password: x
		from++
	}
	if from > 0 && from < end && text[from-1] == '\\' && strings.IndexByte(breaks, text[from]) >= 0 {
		from++ // the n of \n
	}
	if text[at] == '>' && (from == 0 || text[from-1] != '<') || strings.HasSuffix(text[:from], "::") { // a tag's; a path's last
		return false
	}
	n.read(text[from:end])
	n.from, n.attached = from, attached
	if from > 0 && !quoted && isQuote(text[from-1]) {
		n.quote = text[from-1]
		n.escaped = from > 1 && text[from-2] == '\\'
	}
	return true
}

// endsLikeName tells most names that no format has from the last two letters, without reading them.
func (sc *scan) endsLikeName(floor, end int) bool {
	for end > floor && isDigit(sc.text[end-1]) {
		end--
	}
	if end > floor && (isJoint(sc.text[end-1]) || sc.text[end-1] == ' ') { // PASSWORD_2, Unseal Key 1
		end--
	}
	return end-2 >= floor && sc.endings.has(toLower(sc.text[end-2]), toLower(sc.text[end-1]))
}

func newName(raw string) *name {
	n := new(name)
	n.read(raw)
	return n
}

func (n *name) read(raw string) {
	n.raw = raw[max(0, len(raw)-maxName):]
	before := byte(' ')
	for i := range len(n.raw) {
		c := n.raw[i]
		if isAlphanumeric(c) {
			switch {
			case isJoint(before) && n.size > 0:
				n.joints |= 1 << n.size
			case isUpper(c) && isAlphanumeric(before) && !isUpper(before):
				n.humps |= 1 << n.size
			case !isAlphanumeric(before):
				n.words |= 1 << n.size
			}
			n.buffer[n.size] = toLower(c)
			n.size++
		}
		before = c
	}
	n.trimDigits()
}

// trimDigits shortens PASSWORD_2 to PASSWORD.
func (n *name) trimDigits() {
	size := n.size
	for size > 0 && isDigit(n.buffer[size-1]) {
		size--
	}
	if size > 0 {
		n.size = size
	}
}

func (n *name) hasSuffix(s string) bool {
	return n.size >= len(s) && string(n.buffer[n.size-len(s):n.size]) == s
}

func (n *name) equals(other *name) bool {
	return string(n.buffer[:n.size]) == string(other.buffer[:other.size])
}

// lastWordIs says whether s is what follows the last blank.
func (n *name) lastWordIs(s string) bool {
	return n.hasSuffix(s) && n.words>>(n.size-len(s)) == 1
}

// named returns the formats of a name, in the table's order. It shortens the name by its qualifiers.
func (m *matcher) named(n *name) []*format {
	for n.size >= 2 {
		bucket := &m.names[lastTwo(n.buffer[n.size-2], n.buffer[n.size-1])]
		var found []*format
		for _, e := range bucket.endings {
			if n.hasSuffix(e.letters) && n.begins(e) {
				found = append(found, e.format)
			}
		}
		if found != nil {
			if slices.ContainsFunc(m.innocent, n.hasSuffix) {
				return nil
			}
			return found
		}
		i := slices.IndexFunc(bucket.qualifiers, func(word string) bool {
			at := n.size - len(word)
			return at > 0 && n.hasSuffix(word) && (n.joints|n.humps|n.words)>>at&1 != 0
		})
		if i < 0 {
			return nil
		}
		n.size -= len(bucket.qualifiers[i])
		n.trimDigits()
	}
	return nil
}

// begins says whether a word begins where e does, as e asks for.
func (n *name) begins(e ending) bool {
	at := n.size - len(e.letters)
	switch e.anchor {
	case '_':
		// Two letters are also what base64 ends in, before its padding: …aPw=
		return n.joints>>at&1 != 0 || n.humps>>at&1 != 0 && len(e.letters) > 2
	case '^':
		return n.words>>at&1 != 0
	default:
		return true
	}
}

func isNameByte(c byte) bool { return isAlphanumeric(c) || isJoint(c) }

func isJoint(c byte) bool { return c == '_' || c == '-' || c == '.' }

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func isQuote(c byte) bool { return c == '"' || c == '\'' || c == '`' }

func isLetter(c byte) bool { return isAlphanumeric(c) && !isDigit(c) }

func toUpper(c byte) byte {
	if c >= 'a' && c <= 'z' {
		return c - 'a' + 'A'
	}
	return c
}

func toLower(c byte) byte {
	if isUpper(c) {
		return c + 'a' - 'A'
	}
	return c
}
