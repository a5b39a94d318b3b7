package main

import (
	"strings"
	"unicode/utf8"
)

// clip returns the first bytes of valid text, no half characters, and no half mark of scrub, which would be none.
func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	if i := strings.LastIndex(text[:most], "[redacted:"); i >= 0 && !strings.Contains(text[i:most], "]") {
		most = i
	}
	return text[:most]
}

// fold returns a message with what differs from one to the next of its kind taken out: numbers, identifiers, addresses,
// and the numbers of marks.
func fold(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	var out strings.Builder
	for i := 0; i < len(text) && out.Len() < maxKey; {
		n := 0
		digits, letters := false, false
		for i+n < len(text) && (isWord(text[i+n]) || digits && n > 0 && strings.IndexByte("-.:", text[i+n]) >= 0 && i+n+1 < len(text) && isWord(text[i+n+1])) {
			c := text[i+n]
			digits = digits || c >= '0' && c <= '9'
			letters = letters || c >= 'g' && c <= 'z' || c >= 'G' && c <= 'Z'
			n++
		}
		switch {
		case n == 0:
			out.WriteByte(text[i])
			n = 1
		case !digits:
			out.WriteString(text[i : i+n])
		case letters:
			out.WriteString(foldDigits(text[i : i+n]))
		default:
			out.WriteByte('#')
		}
		i += n
	}
	return strings.ToValidUTF8(clip(out.String(), maxKey), "\ufffd")
}

// foldDigits makes one # of each run of digits.
func foldDigits(word string) string {
	var out strings.Builder
	for i := range len(word) {
		if word[i] < '0' || word[i] > '9' {
			out.WriteByte(word[i])
		} else if i == 0 || word[i-1] < '0' || word[i-1] > '9' {
			out.WriteByte('#')
		}
	}
	return out.String()
}
