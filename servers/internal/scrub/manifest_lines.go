package scrub

import (
	"encoding/base64"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	lineCost   = 96  // bytes that a log may put around a line, so that what is remembered of it stood within LookBack
	maxPrefix  = 256 // words or marks before a line
	minEncoded = 8   // bytes of base64 that need not hold text

	indentation = blank + "-+" // before a name: blanks, the dash of a list, the signs of a difference
	attached    = `"|]>`       // what a log may put right before a line

	kindMember    = "kind"
	versionMember = "apiVersion"
	dataMember    = "data"
	stringsMember = "stringData"
)

// said is what the lines so far have said of the manifest that they are of.
type said struct {
	secret bool // kind: Secret
	core   bool // apiVersion: v1, as a Secret has it: its data may come before its kind
	indent int  // of the one of these that was said last
	ago    int  // lines since
	size   int  // bytes since the first of them, with lineCost for each line; 0 where nothing was said
}

// noted is what one line says of a manifest.
type noted struct {
	member string // kind, apiVersion, data or stringData
	value  string // of kind and apiVersion
	prefix string // what stands before the line's indentation
	indent int
	braces bool // data begins with one
}

// dataBlock is the data of a Secret whose members stand on the lines that follow.
type dataBlock struct {
	words  int    // that a log puts before each line
	marks  string // or quotes and their like, which the line follows at once; a quote begins a string that the line stands in
	indent int    // of its name
	braces bool   // it is JSON: its end is a brace
	member int    // indentation of its first member; what stands further to the right goes on with one
	sure   bool   // it is a Secret's; else it may be a ConfigMap's, and only what could be base64 is redacted
	among  int    // lines of others since the last of its own
	size   int    // as said.size
	own    bool   // the last line was its own
	rest   bool   // what comes next is of the same line
}

// noteMember notes what a line of a Stream says of a manifest.
func (sc *scan) noteMember(a anchor, at int) (hit, bool) {
	text, end := sc.text, at+len(a.literal)
	if !sc.lines || end == len(text) {
		return hit{}, false
	}
	start := at
	if at > 0 && isQuote(text[at-1]) && (isQuote(text[end]) || text[end] == '\\') { // its own quotes
		for start = at - 1; start > 0 && text[start-1] == '\\'; {
			start--
		}
	}
	from := len(strings.TrimRight(text[:start], indentation))
	value, ok := strings.CutPrefix(strings.TrimLeft(text[end:min(len(text), end+maxName)], `\"'`+blank), ":")
	if !ok || from == start && from > 0 && strings.IndexByte(attached, text[from-1]) < 0 { // else it is the end of a word
		return hit{}, false
	}
	braces := false
	if a.literal == dataMember || a.literal == stringsMember {
		var rest string
		rest, braces = strings.CutPrefix(strings.TrimLeft(value, blank), "{")
		if rest = afterBreaks(strings.TrimLeft(rest, blank+"\r")); rest != "" && strings.IndexByte(`"#&!`, rest[0]) < 0 { // a comment, an anchor, a tag
			return hit{}, false // it goes on here: a scalar, or members that are found like any others
		}
	}
	value = strings.TrimLeft(value, `\"'`+blank)
	word := before(value, `\"',`+blank+"\r")
	if a.literal == kindMember && !namesSecret(word) || a.literal == versionMember { // else it is a line of another program, which only says so too
		if !strings.HasSuffix(text[:from], `"`) && strings.Trim(value[len(word):], `\"',`+blank+"\r") != "" {
			return hit{}, false
		}
	}
	sc.noted = noted{member: a.literal, value: word, prefix: text[:from], indent: start - from, braces: braces}
	return hit{}, false
}

// hear takes in what a line says.
func (st *Stream) hear(line string, n noted) {
	s := &st.said
	if s.size > 0 {
		s.ago++
		if s.size += len(line) + lineCost; separator(line) {
			*s = said{}
		}
	}
	nested := s.size > 0 && n.indent > s.indent
	switch n.member {
	case kindMember:
		switch {
		case namesSecret(n.value):
			*s = said{secret: true, indent: n.indent, size: 1}
		case !nested:
			*s = said{}
		}
	case versionMember:
		if nested || s.secret && s.ago == 1 {
			return
		}
		*s = said{}
		if n.value == "v1" {
			*s = said{core: true, indent: n.indent, size: 1}
		}
	case dataMember, stringsMember:
		if !s.secret && !s.core && n.member == dataMember {
			return
		}
		st.data = &dataBlock{indent: n.indent, braces: n.braces, sure: s.secret || n.member == stringsMember, size: s.size}
		last := n.prefix[max(0, len(n.prefix)-1):]
		if last != "" && strings.Contains(attached, last) {
			st.data.marks = strings.Repeat(last, strings.Count(n.prefix, last))
		} else {
			st.data.words = len(strings.Fields(n.prefix))
		}
		if max(st.data.words, len(st.data.marks)) > maxPrefix {
			st.data = nil
		}
	}
}

// dataLine redacts what a line holds of the data that has begun.
func (st *Stream) dataLine(text string) string {
	b := st.data
	from, indent := b.content(text)
	rest := b.rest
	if rest {
		from, indent = 0, b.member+1
	}
	b.own, b.rest = false, false
	far := b.size > maxDocument && !rest
	b.size += len(text) + lineCost
	to := b.end(text, from)
	content := text[from:to]
	switch {
	case far, b.among == maxAmong, content == "" && separator(text), indent <= b.indent && b.endedBy(content):
		st.data = nil
		return text
	case content == "":
		return text
	case indent <= b.indent && (!b.braces || !isQuote(content[0])):
		b.among++
		return text
	case b.member == 0:
		b.member = indent
	}
	b.own, b.among = true, 0
	if indent <= b.member {
		from += memberName(content)
	}
	for from < to && strings.IndexByte(`\"' `+"\t", text[from]) >= 0 {
		from++
	}
	for to > from && strings.IndexByte(`\"', `+"\t", text[to-1]) >= 0 {
		to--
	}
	value := text[from:to]
	switch {
	case value == "", opensScalar(": " + value), standsForValue(value), st.scrubber.matcher.markerLen(value) == len(value):
		return text
	case !b.sure && !couldBeData(value):
		return text
	}
	sc := scan{matcher: st.scrubber.matcher, text: text}
	h := sc.specific(hit{from: from, to: to, format: st.scrubber.matcher.data})
	return text[:from] + st.scrubber.marker(h.format.id, value) + text[to:]
}

// content returns where a line begins behind what a log puts before it, and how far to the right that is.
func (b *dataBlock) content(text string) (from, indent int) {
	at := 0
	for i := range len(b.marks) {
		i = strings.IndexByte(text[at:], b.marks[i])
		if i < 0 {
			return len(text), 0
		}
		at += i + 1
	}
	for range b.words {
		rest := strings.TrimLeft(text[at:], blank)
		at = len(text) - len(rest) + len(before(rest, blank))
	}
	from = len(text) - len(strings.TrimLeft(text[at:], indentation))
	return from, from - at
}

// end returns where the line ends that begins at a place: with the string that it stands in.
func (b *dataBlock) end(text string, from int) int {
	if !strings.HasPrefix(b.marks, `"`) {
		return max(from, len(strings.TrimRight(text, blank+"\r")))
	}
	end := from
	for end < len(text) && text[end] != '"' {
		if text[end] == '\\' {
			end++
		}
		end++
	}
	line := text[from:min(end, len(text))]
	for {
		rest := strings.TrimRight(line, blank)
		for _, c := range breaks {
			rest = strings.TrimSuffix(rest, `\`+string(c))
		}
		if rest == line {
			return from + len(line)
		}
		line = rest
	}
}

// separator says whether a line ends as one that separates documents does: behind what a log puts before it.
func separator(line string) bool {
	line = strings.TrimRight(line, blank+"\r")
	return strings.HasSuffix(line, "---") && !strings.HasSuffix(line, "----")
}

// endedBy says whether a line that stands no further to the right than data: goes on with the manifest, or ends it.
func (b *dataBlock) endedBy(content string) bool {
	if b.braces {
		return strings.HasPrefix(content, "}")
	}
	name := strings.TrimLeft(content, `\"'`)
	switch before(name, `\"': `) {
	case versionMember, kindMember, "metadata", "type", "immutable", dataMember, stringsMember, "binaryData", "items", "status", "spec", "...":
		return true
	}
	return false
}

// memberName returns the length of the name that a line of data begins with, and its colon.
func memberName(content string) int {
	rest := strings.TrimLeft(content, `\"'`)
	end := 0
	for end < len(rest) && isNameByte(rest[end]) {
		end++
	}
	after := strings.TrimLeft(rest[end:], `\"'`+blank)
	if end == 0 || !strings.HasPrefix(after, ":") || len(after) > 1 && strings.IndexByte(`\"'{[`+blank, after[1]) < 0 {
		return 0
	}
	return len(content) - len(after) + 1
}

// standsForValue says whether a template's engine, or a shell, puts a value in the place of s.
func standsForValue(s string) bool {
	return strings.HasPrefix(s, "{{") && strings.HasSuffix(s, "}}") || strings.HasPrefix(s, "${") && strings.HasSuffix(s, "}")
}

// couldBeData says whether s could be a value of a Secret's data: base64, and no word or number.
func couldBeData(s string) bool {
	plain, err := base64.StdEncoding.DecodeString(s)
	if err != nil || s == "" {
		return false
	}
	if strings.HasSuffix(s, "=") || utf8.Valid(plain) && !slices.ContainsFunc(plain, func(c byte) bool { return c < utf8.RuneSelf && !isText(c) }) {
		return true
	}
	return len(s) >= minEncoded && !isWord(s)
}

// isWord says whether s is a number, or a word in lower case, in upper case, or with a capital.
func isWord(s string) bool {
	oneCase := strings.ToUpper(s) == s || strings.ToLower(s[1:]) == s[1:]
	letters := strings.IndexFunc(s, func(r rune) bool { return !unicode.IsLetter(r) }) < 0
	return strings.Trim(s, digits09) == "" || oneCase && letters
}
