package scrub

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	maxDepth   = 3  // encodings inside each other
	minWrapped = 24 // bytes of base64 that could hold a secret with its name
	minText    = 16 // of them that must hold text if the others do
)

// covert is a secret that stands in an encoded part of a text. Of escapes it takes its own bytes, of base64 and
// hexadecimal digits all.
type covert struct {
	from, to int
	id       string
	secret   string // decoded
}

// coverts returns the secrets of the encoded parts of a text, in their order.
func (m *matcher) coverts(text string, depth int) []covert {
	if depth == maxDepth {
		return nil
	}
	found := slices.Concat(m.percentEncoded(text, depth), m.escaped(text, depth), m.wrapped(text, depth))
	slices.SortFunc(found, func(a, b covert) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to)) })
	done := 0
	return slices.DeleteFunc(found, func(c covert) bool {
		if c.from < done {
			return true
		}
		done = c.to
		return false
	})
}

// decoded returns the secrets of a text that was encoded, and of what is encoded in it.
func (m *matcher) decoded(text string, depth int) []covert {
	var found []covert
	sc := scan{matcher: m, text: text}
	for {
		h, ok := sc.next()
		if !ok {
			break
		}
		found = append(found, covert{h.from, h.to, h.format.id, text[h.from:h.to]})
	}
	if found == nil {
		found = m.coverts(text, depth+1)
	}
	return found
}

// percentEncoded finds secrets in words with percent-encoded bytes (RFC 3986, section 2.1).
func (m *matcher) percentEncoded(text string, depth int) []covert {
	return m.escapes(text, depth, "%", urlEnds)
}

// escaped finds secrets in lines with escapes that some writers use for what could as well stand as it is: those of
// JSON and of other strings for = & < > ' " / and the references of HTML and XML.
func (m *matcher) escaped(text string, depth int) []covert {
	if strings.IndexByte(text, '\\') < 0 && strings.IndexByte(text, '&') < 0 { // two such looks are faster than one for either
		return nil
	}
	return m.escapes(text, depth, `\&`, "\n")
}

// escapes finds secrets in the parts of a text, between bytes that end one, that have escapes which begin with one of
// some others.
func (m *matcher) escapes(text string, depth int, starts, ends string) []covert {
	var found []covert
	for done, at := 0, 0; ; {
		i := strings.IndexAny(text[at:], starts)
		if i < 0 {
			return found
		}
		at += i
		if _, n := escapedByte(text[at:]); n == 0 {
			at++
			continue
		}
		from := strings.LastIndexAny(text[done:at], ends) + 1 + done
		at += len(before(text[at:], ends))
		found = append(found, m.unescaped(text, from, at, depth, starts)...)
		done = at
	}
}

// unescaped finds secrets in a part of a text whose escapes begin with these bytes.
func (m *matcher) unescaped(text string, from, to, depth int, starts string) []covert {
	part := text[from:to]
	var plain strings.Builder
	plain.Grow(len(part))
	places := make([]int, 0, len(part)+1) // where each byte, and the end, stood
	for i := 0; i < len(part); {
		c, n := part[i], 1
		if strings.IndexByte(starts, c) >= 0 {
			if b, length := escapedByte(part[i:]); length > 0 {
				c, n = b, length
			} else if strings.HasPrefix(part[i:], `\\`) { // of a string in a string
				n = 2
			}
		}
		plain.WriteByte(c)
		places = append(places, from+i)
		i += n
	}
	places = append(places, to)
	found := m.decoded(plain.String(), depth)
	for i := range found {
		found[i].from, found[i].to = places[found[i].from], places[found[i].to]
	}
	return found
}

// escapedByte returns the byte of ASCII that s begins with in an escaped form, and the length of that.
func escapedByte(s string) (c byte, length int) {
	code := func(start string) bool {
		length = len(start) + 2
		if len(s) < length || !strings.HasPrefix(s, start) || !isHex(s[len(start):length]) {
			return false
		}
		c = hexDigit(s[length-2])<<4 | hexDigit(s[length-1])
		return c < utf8.RuneSelf
	}
	switch {
	case code("%"), code(`\u00`), code(`\U000000`), code(`\x`):
		return c, length
	case strings.HasPrefix(s, `\/`):
		return '/', 2
	case code("&#x") && strings.HasPrefix(s[length:], ";"):
		return c, length + 1
	}
	for _, reference := range htmlReferences {
		if strings.HasPrefix(s, reference.text) {
			return reference.char, len(reference.text)
		}
	}
	return 0, 0
}

// htmlReferences are those that escaping text for HTML or XML leaves.
var htmlReferences = []struct { //nolint:gochecknoglobals // a table, never changed
	text string
	char byte
}{{"&amp;", '&'}, {"&quot;", '"'}, {"&#34;", '"'}, {"&apos;", '\''}, {"&#39;", '\''}, {"&#039;", '\''}, {"&lt;", '<'}, {"&gt;", '>'}, {"&#61;", '='}}

func hexDigit(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return toLower(c) - 'a' + 10
}

// wrapped finds runs of base64, of either alphabet, and of hexadecimal digits that hold text with secrets in it.
func (m *matcher) wrapped(text string, depth int) []covert {
	var found []covert
	for at := minWrapped - 1; at < len(text); at += minWrapped {
		if !isWrapping(text[at]) {
			continue
		}
		from, to := at, at+1
		for from > 0 && isWrapping(text[from-1]) {
			from--
		}
		for to < len(text) && isWrapping(text[to]) {
			to++
		}
		at = to // the next run has its byte there, or further on
		if from > 0 && text[from-1] == '\\' && strings.IndexByte(breaks, text[from]) >= 0 {
			from++
		}
		if strings.HasPrefix(text[from:to], "0x") {
			from += len("0x")
		}
		if to-from < minWrapped {
			continue
		}
		decode := unwrap
		if !wrapsText(text[from : from+minText]) {
			decode = unhex
		}
		inner := m.decoded(decode(text[from:to]), depth)
		for to < len(text) && text[to] == '=' {
			to++
		}
		if len(inner) > 0 {
			found = append(found, covert{from, to, inner[0].id, inner[0].secret})
		}
	}
	return found
}

// isWrapping says whether a byte is of an alphabet of base64.
func isWrapping(c byte) bool { return sextets[c] != noSextet }

const noSextet = 0xff

// sextets are the values of the bytes of base64, in both of its alphabets (RFC 4648, sections 4 and 5).
var sextets = func() (values [256]byte) { //nolint:gochecknoglobals // a table, never changed
	for i := range values {
		values[i] = noSextet
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") {
		values[c] = byte(i)
	}
	values['-'], values['_'] = values['+'], values['/']
	return values
}()

// unwrap decodes s without its padding.
func unwrap(s string) string {
	var b strings.Builder
	b.Grow(len(s)/4*3 + 2)
	for ; len(s) >= 4; s = s[4:] {
		three := group(s)
		b.Write(three[:])
	}
	if len(s) > 1 {
		three := group(s + "AA")
		b.Write(three[:len(s)-1])
	}
	return b.String()
}

// group decodes four bytes.
func group(s string) [3]byte {
	one, two, three, four := sextets[s[0]], sextets[s[1]], sextets[s[2]], sextets[s[3]]
	return [3]byte{one<<2 | two>>4, two<<4 | three>>2, three<<6 | four}
}

// wrapsText says whether s, groups of four bytes of base64, holds text in ASCII.
func wrapsText(s string) bool {
	for ; len(s) >= 4; s = s[4:] {
		for _, c := range group(s) {
			if !isText(c) {
				return false
			}
		}
	}
	return true
}

// unhex decodes hexadecimal digits that hold text in ASCII, and returns nothing if s is anything else.
func unhex(s string) string {
	var b strings.Builder
	for ; len(s) >= 2; s = s[2:] {
		if !isHex(s[:2]) {
			return ""
		}
		c := hexDigit(s[0])<<4 | hexDigit(s[1])
		if !isText(c) {
			return ""
		}
		b.WriteByte(c)
	}
	return b.String()
}

func isText(c byte) bool { return c >= ' ' && c <= '~' || c == '\n' || c == '\r' || c == '\t' }
