package scrub

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// removed lists the runes that characters takes out, by what they could be used for. Newline, carriage return and
// tab stay.
//
//	control        C0 but \n \r \t, DEL, C1                     U+0000–001F, 007F–009F
//	bidirectional  marks, embeddings, overrides, isolates        U+061C, 200E–200F, 202A–202E, 2066–2069
//	invisible      zero-width, soft hyphen, fillers, joiners     U+00AD, 034F, 115F–1160, 17B4–17B5, 180B–180F,
//	               200B–200D, 2028–2029, 2060–2065, 206A–206F, 3164, FEFF, FFA0, FFF9–FFFB
//	selectors      variation selectors, which can carry bytes    U+FE00–FE0F, E0100–E01EF
//	tags           a second, invisible ASCII                     U+E0000–E007F
//	private        private use, which has no meaning here        U+E000–F8FF, F0000–FFFFD, 100000–10FFFD
//
// Taking out the joiners splits some emoji and changes the look of some scripts; what is left can be read by
// everybody.
var removed = &unicode.RangeTable{ //nolint:gochecknoglobals // a table, never changed
	R16: []unicode.Range16{
		{Lo: 0x0000, Hi: 0x0008, Stride: 1}, {Lo: 0x000b, Hi: 0x000c, Stride: 1}, {Lo: 0x000e, Hi: 0x001f, Stride: 1},
		{Lo: 0x007f, Hi: 0x009f, Stride: 1}, {Lo: 0x00ad, Hi: 0x00ad, Stride: 1}, {Lo: 0x034f, Hi: 0x034f, Stride: 1},
		{Lo: 0x061c, Hi: 0x061c, Stride: 1}, {Lo: 0x115f, Hi: 0x1160, Stride: 1}, {Lo: 0x17b4, Hi: 0x17b5, Stride: 1},
		{Lo: 0x180b, Hi: 0x180f, Stride: 1}, {Lo: 0x200b, Hi: 0x200f, Stride: 1}, {Lo: 0x2028, Hi: 0x202e, Stride: 1},
		{Lo: 0x2060, Hi: 0x206f, Stride: 1}, {Lo: 0x3164, Hi: 0x3164, Stride: 1}, {Lo: 0xe000, Hi: 0xf8ff, Stride: 1},
		{Lo: 0xfe00, Hi: 0xfe0f, Stride: 1}, {Lo: 0xfeff, Hi: 0xfeff, Stride: 1}, {Lo: 0xffa0, Hi: 0xffa0, Stride: 1},
		{Lo: 0xfff0, Hi: 0xfffb, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0xe0000, Hi: 0xe0fff, Stride: 1}, {Lo: 0xf0000, Hi: 0xffffd, Stride: 1}, {Lo: 0x100000, Hi: 0x10fffd, Stride: 1},
	},
	LatinOffset: 5,
}

// characters returns s without the runes of the table above and without terminal escape sequences (ECMA-48 CSI,
// OSC and the two-byte forms). Invalid UTF-8 becomes U+FFFD.
func characters(s string) string {
	if clean(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for len(s) > 0 {
		if n := escapeSequence(s); n > 0 {
			s = s[n:]
			continue
		}
		r, size := utf8.DecodeRuneInString(s)
		if !unicode.Is(removed, r) {
			b.WriteRune(r)
		}
		s = s[size:]
	}
	return b.String()
}

func clean(s string) bool {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf { // what most text is made of, without a look at the table
			if c < ' ' && c != '\n' && c != '\r' && c != '\t' || c == 0x7f {
				return false
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 || unicode.Is(removed, r) {
			return false
		}
		i += size
	}
	return true
}

const (
	escape = 0x1b
	bell   = 0x07
)

// escapeSequence returns the length of the sequence that s begins with, or 0. One that does not end keeps its
// text: only its introducer goes.
func escapeSequence(s string) int {
	if s[0] != escape || len(s) < 2 || s[1] <= escape || s[1] >= utf8.RuneSelf {
		return 0
	}
	switch s[1] {
	case '[': // CSI: parameters and intermediates 0x20–0x3f, a final byte 0x40–0x7e
		for i := 2; i < len(s); i++ {
			if s[i] >= 0x40 && s[i] <= 0x7e {
				return i + 1
			}
			if s[i] < 0x20 || s[i] > 0x3f {
				break
			}
		}
	case ']', 'P', '^', '_', 'X': // OSC and its like, ended by BEL or ST; any other escape gives it up
		for i := 2; i < len(s) && s[i] != '\n'; i++ {
			if s[i] == bell {
				return i + 1
			}
			if s[i] == escape {
				if i+1 < len(s) && s[i+1] == '\\' {
					return i + 2
				}
				break
			}
		}
	}
	return 2
}
