package scrub

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	minLiteral = 4  // bytes of a password, of a credential and of a cookie
	minUnnamed = 6  // bytes of a value that must not look like a name
	maxLevel   = 64 // backslashes before a quote

	lowerHexDigits = "0123456789abcdef"
)

// value is what follows a name and a separator.
type value struct {
	from, to  int
	separator byte // : or = or >; a blank after a flag
	spaced    bool // a blank follows the separator
	quoted    bool
	open      bool // its closing quote is missing
	list      bool // it stands in brackets, as Go prints a header
	whole     bool // to is its end, and not only the end of what is checked
	more      bool // a word follows it on its line, as in a sentence; no matter after an equals sign
}

// valueAfter reads the value after the separator at that place.
func (sc *scan) valueAfter(at int, n *name) (value, bool) {
	text, from := sc.text, at+1
	if n.attached && strings.HasPrefix(text[at:], "==") { // the padding of base64
		return value{}, false
	}
	for text[at] != '>' && from < len(text) && from < at+3 && (text[from] == '=' || text[from] == '>') { // := => ==
		from++
	}
	v := value{separator: text[at]}
	if from > at+1 {
		v.separator = '='
	}
	if n.from >= 2 && text[n.from-2:n.from] == "${" { // ${NAME:-value}
		if from == len(text) || text[from] != '-' {
			return value{}, false
		}
		from++
	}
	start := from
	for from < len(text) && from-start < maxGap && isBlank(text[from]) {
		from++
	}
	v.spaced = from > start
	return sc.valueAt(from, n, v)
}

// valueAt reads the value that begins there.
func (sc *scan) valueAt(from int, n *name, v value) (value, bool) {
	text := sc.text
	if v.separator == '>' {
		v.from = from
		v.run(text, n, maxChecked)
		return v, v.to > v.from && (!v.whole || strings.HasPrefix(text[v.to:], "</"))
	}
	if from < len(text) && text[from] == '[' && sc.markerLen(text[from:]) == 0 {
		v.list = true
		from++
	}
	if from+1 < len(text) && strings.IndexByte("bBrRuUfFL@", text[from]) >= 0 && isQuote(text[from+1]) {
		from++ // b"…", r'…'
	}
	quote := from
	for quote < len(text) && quote-from < maxLevel && text[quote] == '\\' {
		quote++
	}
	v.from = from
	switch {
	case from >= len(text) || text[from] == '\n' || text[from] == '\r':
		return value{}, false
	case quote < len(text) && isQuote(text[quote]) && (text[quote] != n.quote || (quote > from) != n.escaped):
		v.quote(text, quote, sc.lineEnd(quote))
	case v.separator == ':' && (text[from] == '|' || text[from] == '>'):
		v.block(text, n)
	default:
		v.run(text, n, maxChecked)
		if v.spaced && n.attached && v.separator == '=' && startsPair(text[from:]) { // name= other=value
			return value{}, false
		}
	}
	return v, v.to > v.from
}

// quote sets v to what stands between the quote at that place, with the backslashes before it, and the one that
// closes it. A string in a string in a string has its quotes escaped once more at every level.
func (v *value) quote(text string, at, line int) {
	level, mark := at-v.from, text[at]
	v.from, v.quoted, v.whole = at+1, true, true
	for i := v.from; ; i++ {
		next := strings.IndexByte(text[i:line], mark)
		if next < 0 {
			break
		}
		i += next
		slashes := 0
		for i-slashes > v.from && text[i-slashes-1] == '\\' {
			slashes++
		}
		if slashes < level || slashes%(2*level+2) == level {
			v.to = i - min(slashes, level)
			return
		}
	}
	v.open, v.to = true, v.from+len(strings.TrimRight(text[v.from:line], blank+"\r"))
}

// block sets v to the lines of a YAML block scalar: those that stand further to the right than its key.
func (v *value) block(text string, n *name) {
	v.to = v.from
	head, _, ok := strings.Cut(text[v.from:min(len(text), v.from+maxGap)], "\n")
	if !ok || strings.Trim(head, "|>+-0123456789 \r") != "" {
		return
	}
	rest := text[v.from+len(head)+1:]
	indent := n.from - (strings.LastIndexByte(text[:n.from], '\n') + 1)
	v.from = len(text) - len(rest)
	v.to = v.from
	v.quoted, v.whole = true, true
	for first := true; rest != ""; {
		line, after, _ := strings.Cut(rest, "\n")
		content := strings.TrimLeft(line, " ")
		if content != "" && content != "\r" {
			if len(line)-len(content) <= indent {
				return
			}
			at := len(text) - len(rest)
			if first {
				v.from, first = at+len(line)-len(content), false
			}
			v.to = at + len(strings.TrimRight(line, " \r"))
		}
		rest = after
	}
}

// lineEnd returns where the line of that place ends. It looks once a line.
func (sc *scan) lineEnd(at int) int {
	if at >= sc.line {
		sc.line = len(sc.text)
		if i := strings.IndexByte(sc.text[at:], '\n'); i >= 0 {
			sc.line = at + i
		}
	}
	return sc.line
}

// run sets v to what goes on to a blank, a quote or a separator after which something else begins, at most limit
// bytes of it.
func (v *value) run(text string, n *name, limit int) {
	end := min(len(text), v.from+limit)
	v.whole = end == len(text)
	v.to = end
	for i := v.from; i < end; i++ {
		if enders[text[i]] && v.ends(text, i, n) {
			v.to, v.whole = i, true
			break
		}
	}
	if !v.whole {
		return
	}
	rest := strings.TrimLeft(text[v.to:min(len(text), v.to+maxGap)], blank)
	v.more = v.separator != '=' && rest != "" && (isLetter(rest[0]) || strings.HasPrefix(rest, markerStart)) && isBlank(text[v.to])
	v.to = v.from + len(trimClosers(text[v.from:v.to]))
}

// enders holds the bytes that an unquoted value can end before.
var enders = newByteSet(" \t\n\r\"'`\\<&,;|") //nolint:gochecknoglobals // an alphabet, never changed

// ends says whether an unquoted value ends before the byte at i.
func (v *value) ends(text string, i int, n *name) bool {
	rest := text[i+1:]
	if v.separator == '>' {
		return text[i] == '<' || text[i] == '\n'
	}
	switch c := text[i]; c {
	case ' ', '\t', '\n', '\r':
		return true
	case '"', '\'', '`':
		if n.quote != 0 {
			return c == n.quote && (n.escaped || i == 0 || text[i-1] != '\\')
		}
		return rest == "" || strings.IndexByte(" \t\r\n,;:)]}>\\", rest[0]) >= 0
	case '\\': // a break, or a quote, of the string that this stands in
		rest = strings.TrimLeft(rest[:min(len(rest), maxLevel)], `\`)
		return rest != "" && (isQuote(rest[0]) && (n.quote == 0 || n.escaped) || strings.IndexByte(breaks, rest[0]) >= 0)
	case '<':
		return strings.HasPrefix(rest, "/")
	case '&':
		return strings.HasPrefix(rest, "&") || strings.HasPrefix(rest, "amp;") || strings.HasPrefix(rest, "quot;") || startsPair(rest)
	case ',', ';':
		return rest == "" || strings.IndexByte(" \t\r\n\"'`\\)]}", rest[0]) >= 0 || startsPair(rest)
	case '|':
		return strings.HasPrefix(rest, "|")
	}
	return false
}

// startsPair says whether s begins with a name and an equals sign or a colon.
func startsPair(s string) bool {
	i := 0
	for i < len(s) && i < maxName && isNameByte(s[i]) {
		i++
	}
	return i > 0 && i < len(s) && (s[i] == '=' || s[i] == ':')
}

// trimClosers returns s without the brackets at its end that close what was opened before it, and without the
// punctuation among them.
func trimClosers(s string) string {
	const openers, closers = "([{<", ")]}>"
	var open [len(openers)]int
	for i := range len(s) {
		if k := strings.IndexByte(openers, s[i]); k >= 0 {
			open[k]++
		} else if k := strings.IndexByte(closers, s[i]); k >= 0 {
			open[k]--
		}
	}
	for s != "" {
		last := s[len(s)-1]
		if k := strings.IndexByte(closers, last); k >= 0 && open[k] < 0 {
			open[k]++
		} else if last != ',' && last != ';' {
			break
		}
		s = s[:len(s)-1]
	}
	return s
}

// header returns where the value of a header ends: with its line, or with the string or list that it stands in.
func (sc *scan) header(n *name, v value, limit int) (end int, whole bool) {
	if v.quoted {
		return v.to, true
	}
	text := sc.text
	stop := min(len(text), v.from+limit)
	inside := byte(0) // a parameter's quotes
	for i := v.from; i < stop; i++ {
		switch c := text[i]; {
		case inside != 0 && c != '\n' && c != '\r':
			if c == inside {
				inside = 0
			}
		case c == '[':
			i += max(sc.markerLen(text[i:])-1, 0)
		case c == '\n' || c == '\r' || c == ']' && v.list:
			return i, true
		case (isQuote(c) || c == '\\') && v.ends(text, i, n):
			return i, true
		case isQuote(c) && n.quote == 0:
			inside = c
		}
	}
	return stop, stop == len(text)
}

// judge returns the secret that v is, or holds, by the first of the formats that knows it.
func (sc *scan) judge(formats []*format, n *name, v value) (hit, bool) {
	for _, f := range formats {
		h, ok := sc.apply(f, n, v)
		if !ok || h.to == h.from || sc.markerLen(sc.text[h.from:h.to]) == h.to-h.from {
			continue
		}
		return sc.specific(h), true
	}
	return hit{}, false
}

// specific names the secret by its looks where it has any, so that it has one name wherever it stands.
func (sc *scan) specific(h hit) hit {
	if sc.naming { // what begins like itself again and again would go as deep as it is long
		return h
	}
	sc.naming = true
	defer func() { sc.naming = false }()
	short, long := sc.anchorsAt(sc.text, h.from)
	for _, anchors := range [][]anchor{short, long} {
		for _, a := range anchors {
			if a.format == nil || a.format.lead > 0 || a.format.services != nil || a.format.within != nil || !a.begins(sc.text, h.from) {
				continue
			}
			if own, ok := a.find(sc, a, h.from); ok && own.from == h.from && own.to == h.to {
				return own
			}
		}
	}
	return h
}

func (sc *scan) apply(f *format, n *name, v value) (hit, bool) {
	switch {
	case f.part != nil:
		end, whole := sc.header(n, v, maxChecked)
		from, to, ok := f.part(sc.text[v.from:end])
		if ok && !whole && v.from+to == end { // go on to its end, now that it is one
			end, _ = sc.header(n, v, len(sc.text))
			from, to, ok = f.part(sc.text[v.from:end])
		}
		return hit{from: v.from + from, to: v.from + to, format: f}, ok
	case f.alphabet != "":
		return sc.spelled(f, n, v)
	}
	if v.open && f.trust != literal { // then the quote says nothing about where the value ends
		v.run(sc.text, n, maxChecked)
	}
	if f.within != nil { // all is secret, whatever it looks like
		if template(sc.text[v.from:min(v.to, v.from+maxChecked)]) && !v.quoted || v.separator != ':' || !v.spaced && !v.quoted {
			return hit{}, false
		}
	} else if v.to == v.from || v.list && !v.quoted || sc.refers(n, v) || !sc.trusted(f.trust, n, v) {
		return hit{}, false
	}
	if !v.whole {
		v.run(sc.text, n, len(sc.text))
	}
	return hit{from: v.from, to: v.to, format: f}, true
}

// spelled applies a format with an alphabet and a length.
func (sc *scan) spelled(f *format, n *name, v value) (hit, bool) {
	for i := v.from; i < min(v.to, v.from+maxChecked); i++ {
		if f.set[sc.text[i]] || f.max == 0 {
			continue
		}
		if strings.IndexByte("&%;", sc.text[i]) < 0 {
			return hit{}, false
		}
		v.to, v.whole = i, true // the next parameter of a URL, or the end of an encoded one
	}
	if v.to-v.from < f.min && v.whole || !f.check(sc.text[v.from:min(v.to, v.from+maxChecked)]) {
		return hit{}, false
	}
	switch {
	case v.whole:
	case f.max > 0:
		v.run(sc.text, n, f.max+1)
	default:
		v.to = len(sc.text)
	}
	end := v.from
	for end < v.to && f.set[sc.text[end]] && (f.max == 0 || end-v.from <= f.max) {
		end++
	}
	if f.max > 0 && (end < v.to || end-v.from > f.max) || end-v.from < f.min {
		return hit{}, false
	}
	return hit{from: v.from, to: end, format: f}, true
}

// trusted says whether a value looks as it must after a name that is trusted so far.
func (sc *scan) trusted(t trust, n *name, v value) bool {
	s := sc.text[v.from:min(v.to, v.from+maxChecked)]
	random := looksRandom(s)
	if v.separator == ':' && !v.spaced && !v.quoted { // name:tag, name:8080, {Name:value}
		return !sc.tagged(n, s) && (random || t == literal && len(s) >= minLiteral && sc.printed(n, s))
	}
	if v.more && strings.IndexFunc(s, isNoProse) < 0 { // a sentence goes on
		return false
	}
	switch t {
	case drawn:
		return random
	case unnamed:
		return random || len(s) >= minUnnamed && !v.more && !strings.ContainsAny(s, joints+blank+"()")
	case assigned:
		return (v.quoted || v.separator == '=') && len(s) >= minLiteral && strings.Trim(s, digits09) != ""
	default:
		return len(s) >= minLiteral
	}
}

// tagged says whether name:s is an image with its tag, as builds write it: a version, a commit.
func (sc *scan) tagged(n *name, s string) bool {
	if n.from > 0 && sc.text[n.from-1] == '/' {
		return true
	}
	if strings.ToLower(n.raw) != n.raw {
		return false
	}
	if strings.Contains(n.raw, "-") {
		return strings.ToLower(s) == s
	}
	return strings.Trim(s, lowerHexDigits) == ""
}

// printed says whether a value without a blank before it is a member of a struct that was printed, or has digits and
// is no version and no port.
func (sc *scan) printed(n *name, s string) bool {
	before := byte(' ')
	if n.from > 0 {
		before = sc.text[n.from-1]
	}
	if strings.Trim(s, digits09) == "" {
		return false
	}
	if before == '{' || before == ',' || isUpper(n.raw[0]) {
		return true
	}
	version := strings.TrimPrefix(s, "v")
	return strings.ContainsAny(s, digits09) && !isDigit(version[0])
}

// isNoProse says that a rune stands in no ordinary word.
func isNoProse(r rune) bool {
	return r < utf8.RuneSelf && !unicode.IsLetter(r) && !strings.ContainsRune(".,;:'-()", r)
}

// afterBreaks returns s without the line breaks and tabs, escaped as in JSON however often, that it begins with.
func afterBreaks(s string) string {
	for {
		rest := strings.TrimLeft(s, `\`)
		if rest == s || rest == "" || strings.IndexByte("nrt", rest[0]) < 0 {
			return s
		}
		s = rest[1:]
	}
}

// refers says whether a value says where the secret is, or that there is none, and is none itself.
func (sc *scan) refers(n *name, v value) bool {
	s := sc.text[v.from:min(v.to, v.from+maxChecked)]
	line := afterBreaks(s)
	if line != s && strings.ContainsAny(strings.TrimRight(line, "="), "=:") {
		return true // the next line, which has a name of its own
	}
	word := strings.Trim(line, ".,;:!?()")
	if sc.placeholders[strings.ToLower(word)] || strings.Trim(s, "*xX•.-_#?…") == "" || strings.Contains(s, "***") {
		return true
	}
	for _, prefix := range sc.elsewhere {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	if template(s) || isPath(s) || n.from > 0 && sc.text[n.from-1] == '/' && strings.Trim(s, lowerHexDigits) == "" { // checksum/secret: 0a1b
		return true
	}
	if scheme, _, ok := strings.Cut(s, "://"); ok && scheme != "" && strings.IndexFunc(scheme, isNoProse) < 0 {
		return true // its own password, if there is one, is found there
	}
	return !v.quoted && sc.expression(n, v, s)
}

// template says whether s stands for something that is put in later.
func template(s string) bool {
	if len(s) < 2 {
		return false
	}
	first, last, inner := s[0], s[len(s)-1], strings.IndexFunc(s[1:], func(r rune) bool { return !isPlain(r) }) < 0
	switch first {
	case '$':
		upper := strings.ToUpper(s) == s
		return s[1] == '(' || s[1] == '{' || s[1] == '$' || inner && (upper && !isDigit(s[1]) || !strings.ContainsAny(s, digits09))
	case '%':
		return len(s) == 2 || s[1] == '(' || s[1] == '{' || last == '%'
	case '<':
		return strings.Contains(s, ">")
	case '{':
		return last == '}' || strings.HasPrefix(s, "{{")
	case '[':
		return last == ']' && strings.IndexFunc(s[1:len(s)-1], func(r rune) bool { return !isPlain(r) && r != ' ' }) < 0
	case '@', ':', '?':
		return inner && !strings.ContainsAny(s, digits09)
	}
	for _, pair := range [][2]string{{"${", "}"}, {"$(", ")"}, {"{{", "}}"}, {"<%", "%>"}} {
		if _, after, ok := strings.Cut(s, pair[0]); ok && strings.Contains(after, pair[1]) {
			return true
		}
	}
	return false
}

// isPlain says that a rune stands in names.
func isPlain(r rune) bool {
	return r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_-.", r))
}

// isPath says whether s is a file's path without a part that looks random.
func isPath(s string) bool {
	for _, start := range []string{"/", "./", "../", "~/", `C:\`, "C:/"} {
		if strings.HasPrefix(s, start) {
			return !looksRandom(s) && strings.IndexFunc(s, func(r rune) bool { return !isPlain(r) && !strings.ContainsRune(`/\~: `, r) }) < 0
		}
	}
	return false
}

// expression says whether an unquoted value is code, or markup, that stands for a value.
func (sc *scan) expression(n *name, v value, s string) bool {
	switch s[0] {
	case '(', '{':
		return true
	case '*', '&', '!': // YAML's aliases, anchors and tags, and a shell's pattern
		return s[0] == '*' && strings.HasPrefix(s[1:], `"`) || strings.IndexFunc(s[1:], func(r rune) bool { return !isPlain(r) }) < 0 && !strings.ContainsAny(s, digits09)
	}
	for _, start := range sc.variables {
		if strings.HasPrefix(s, start) {
			return true
		}
	}
	if called, args, ok := strings.Cut(s, "("); ok && called != "" && strings.IndexFunc(called, func(r rune) bool { return !isPlain(r) }) < 0 {
		if args == "" || isQuote(args[0]) || args[len(args)-1] == ')' || v.separator == '=' && v.spaced {
			return true
		}
	}
	same := newName(s)
	if same.equals(n) || strings.ContainsAny(s, ".>") && same.hasSuffix(string(n.buffer[:n.size])) { // password=password, password=user.password
		return true
	}
	resource, rest, ok := strings.Cut(s, ".") // random_password.db.result
	return ok && v.spaced && v.separator == '=' && strings.Contains(resource, "_") && strings.Contains(rest, ".") && !looksRandom(s)
}
