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

// encoded is how many bytes a text takes in JSON.
func encoded(text string) int {
	n := len(text)
	for i := range len(text) {
		if c := text[i]; c < ' ' || c == '"' || c == '\\' {
			n++ // scrub leaves no control characters but those that JSON has two bytes for
		}
	}
	return n
}

// fold returns a message with what differs from one to the next of its kind taken out: numbers, identifiers, addresses.
func fold(text string) string {
	text, _, _ = strings.Cut(text, "\n")
	var out strings.Builder
	for len(text) > 0 && out.Len() < maxKey {
		n := wordEnd(text)
		word := text[:max(n, 1)]
		text = text[len(word):]
		if n > 0 {
			word = foldWord(word)
		}
		if so := out.String(); word == "#" && len(so) > 1 && so[len(so)-2] == '#' && strings.IndexByte("-.:", so[len(so)-1]) >= 0 {
			out.Reset()
			word = so[:len(so)-1] // one number in parts
		}
		out.WriteString(word)
	}
	return strings.ToValidUTF8(clip(out.String(), maxKey), "\ufffd")
}

// foldWord makes # of a number, decimal or hexadecimal, and of each run of digits in a word.
func foldWord(word string) string {
	if strings.ContainsAny(word, "0123456789") && strings.Trim(strings.TrimPrefix(word, "0x"), "0123456789abcdefABCDEF") == "" {
		return "#"
	}
	return foldDigits(word)
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
