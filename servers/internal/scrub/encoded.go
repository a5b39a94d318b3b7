package scrub

import (
	"cmp"
	"slices"
	"strings"
)

const (
	maxDepth   = 3  // encodings inside each other
	minWrapped = 24 // bytes of base64 that could hold a secret with its name
	minText    = 16 // of them that must hold text if the others do
)

// covert is a secret that stands in an encoded part of a text. Of percent-encoding it takes its own bytes, of base64 all.
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
	found := append(m.percentEncoded(text, depth), m.wrapped(text, depth)...)
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
	var found []covert
	for at := 0; ; {
		i := strings.IndexByte(text[at:], '%')
		if i < 0 {
			return found
		}
		i += at
		if i+2 >= len(text) || !isHex(text[i+1:i+3]) {
			at = i + 1
			continue
		}
		from := strings.LastIndexAny(text[at:i], urlEnds) + 1 + at
		to := i + len(before(text[i:], urlEnds))
		plain, places := unpercent(text[from:to])
		for _, c := range m.decoded(plain, depth) {
			found = append(found, covert{from + places[c.from], from + places[c.to], c.id, c.secret})
		}
		at = to
	}
}

// unpercent decodes s, and says where each byte, and the end, stood in it.
func unpercent(s string) (plain string, places []int) {
	var b strings.Builder
	b.Grow(len(s))
	places = make([]int, 0, len(s)+1)
	for i := 0; i < len(s); i++ {
		places = append(places, i)
		if s[i] == '%' && i+2 < len(s) && isHex(s[i+1:i+3]) {
			b.WriteByte(hexDigit(s[i+1])<<4 | hexDigit(s[i+2]))
			i += 2
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String(), append(places, len(s))
}

func hexDigit(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return toLower(c) - 'a' + 10
}

// wrapped finds runs of base64, of either alphabet, that hold text with secrets in it.
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
		if to-from < minWrapped || !wrapsText(text[from:from+minText]) {
			continue
		}
		inner := m.decoded(unwrap(text[from:to]), depth)
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

func isText(c byte) bool { return c >= ' ' && c <= '~' || c == '\n' || c == '\r' || c == '\t' }
