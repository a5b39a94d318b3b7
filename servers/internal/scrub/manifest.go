package scrub

import "strings"

const maxDocument = 64 << 10 // bytes of a YAML document before and after a place in it

// manifest is what a scan knows of the manifest of a Kubernetes Secret: everything in its data is secret, whatever it
// is called.
type manifest struct {
	formats []*format
	begin   int      // of the data that the scan is in
	end     int      // of it
	line    document // the last line that was looked at
	yaml    document // and the last YAML document

	// Of a line that is judged in parts: what was before this one.
	secret bool // that it says that it is a Secret
	within bool // that the data begins which this part begins in
}

// after returns what a scan of what follows the first end bytes of a text must know.
func (m manifest) after(text string, end int) manifest {
	secret := m.secret && end < maxDocument || isSecret(text[max(0, end-maxDocument):end])
	return manifest{formats: m.formats, secret: secret, within: m.begin < end && end < m.end}
}

// resume begins a scan with what is known of what was before its text.
func (m manifest) resume(text string) manifest {
	if m.within {
		m.end = len(before(text, "}"))
	}
	return m
}

// document is a part of a text.
type document struct {
	to     int
	secret bool // it says that it is a Secret
}

// memberGap holds what stands between a member's name and its value, in JSON in however many strings, and in YAML.
var memberGap = newByteSet(`\"': ` + "\t") //nolint:gochecknoglobals // an alphabet, never changed

// enterData looks whether data: begins the data of a Secret. The pairs in it are found like any others.
func (sc *scan) enterData(a anchor, at int) (hit, bool) {
	text, m := sc.text, &sc.manifest
	if at < m.end {
		return hit{}, false
	}
	open := runOf(memberGap, text, at+len(a.literal), maxGap)
	start := strings.LastIndexByte(text[max(0, at-maxGap):at], '\n') + 1 + max(0, at-maxGap)
	switch {
	case open == len(text):
	case text[open] == '{', escapedLineEnd(text[open-1:]) && strings.Contains(text[at:open], ":") && (at == 0 || !isNameByte(text[at-1]) || escapedLineEnd(text[max(0, at-2):at])):
		if end := sc.lineEnd(at); at >= m.line.to {
			m.line = document{end, m.secret || isSecret(text[max(at-maxDocument, strings.LastIndexByte(text[:at], '\n')+1):end])}
		}
		switch {
		case !m.line.secret:
		case text[open] == '{': // JSON: as far as its brace
			m.end = open + len(before(text[open:m.line.to], "}"))
		default: // YAML in a string
			m.end = indentedInString(text[:m.line.to], open-1, at-len(strings.TrimRight(text[:at], "- ")))
		}
	case (text[open] == '\n' || text[open] == '\r') && strings.Trim(text[start:at], " ") == "": // YAML: as far as lines stand further to the right
		if at >= m.yaml.to {
			from, to := max(0, at-maxDocument), min(len(text), at+maxDocument)
			from += max(0, strings.LastIndex(text[from:at], "\n---"))
			if i := strings.Index(text[at:to], "\n---"); i >= 0 {
				to = at + i
			}
			m.yaml = document{to, isSecret(text[from:to])}
		}
		if m.yaml.secret {
			m.end = indented(text, open, at-start)
		}
	}
	if m.end > at {
		m.begin = at
		if m.formats == nil {
			m.formats = []*format{a.format}
		}
	}
	return hit{}, false
}

// isSecret says whether a document says that it is one.
func isSecret(document string) bool {
	for {
		_, after, ok := strings.Cut(document, "kind")
		if !ok {
			return false
		}
		document = after
		if namesSecret(strings.TrimLeft(after, `\"':`+blank)) {
			return true
		}
	}
}

// namesSecret says whether the value of a kind is a Secret, or a list of Secrets, which do not say it again.
func namesSecret(kind string) bool {
	rest, ok := strings.CutPrefix(kind, "Secret")
	rest = strings.TrimPrefix(rest, "List")
	return ok && (rest == "" || !isAlphanumeric(rest[0]))
}

// indented returns where the lines after a place end that stand further to the right than this.
func indented(text string, at, indent int) int {
	for {
		next := strings.IndexByte(text[at:], '\n')
		if next < 0 {
			return len(text)
		}
		at += next + 1
		content := strings.TrimLeft(text[at:], " ")
		if content != "" && content[0] != '\n' && content[0] != '\r' && len(text)-at-len(content) <= indent {
			return at
		}
	}
}

// escapedLineEnd says whether s begins with the end of a line as strings have it.
func escapedLineEnd(s string) bool { return strings.HasPrefix(s, `\n`) || strings.HasPrefix(s, `\r\n`) }

// indentedInString is indented for lines in a string, which ends them too.
func indentedInString(text string, at, indent int) int {
	for {
		next := strings.Index(text[at:], `\n`)
		if next < 0 {
			next = len(text) - at
		}
		for i := at; i < at+next; i++ {
			if text[i] == '"' && (i == 0 || text[i-1] != '\\') {
				return i
			}
		}
		if at += next + len(`\n`); at >= len(text) {
			return len(text)
		}
		content := strings.TrimLeft(text[at:], " ")
		if content != "" && content[0] != '\\' && len(text)-at-len(content) <= indent {
			return at
		}
	}
}
