package scrub

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

const (
	maxHeaderPart = 8 << 10  // bytes of a JWT's header
	maxPEM        = 64 << 10 // bytes of a private key in PEM
	maxLabel      = 64       // bytes of a PEM label
	maxUserinfo   = 1 << 10  // bytes of a URL's userinfo
	minArmor      = 16       // bytes of a line that is part of a key
	maxHeaderLine = 256      // bytes of a header line in PEM, such as Proc-Type
	minURLToken   = 16       // bytes of a user that is a token
	minBotNumber  = 8        // digits of a Telegram bot
	maxBotNumber  = 16
	maxBotSecret  = 35
	minAppNumber  = 15 // digits of a Facebook application, and bytes of its secret
	maxAppNumber  = 16
	minAppSecret  = 27
	maxAppSecret  = 40
	maxCommand    = 1 << 10 // bytes between curl and its flag
	maxClause     = 128     // bytes of a clause of SQL, of a line of a .netrc

	privateKeyLabel = "PRIVATE KEY"
	dashes          = "-----"
)

// base64URLSet holds the bytes of a JWT's parts.
var base64URLSet = newByteSet(base64URL) //nolint:gochecknoglobals // an alphabet, never changed

// jwt finds three base64url parts (or five: RFC 7516) of which the first is a JSON object with an algorithm, a type or a
// key's id.
func (sc *scan) jwt(at int) (from, to int, ok bool) {
	text := sc.text
	if !leftEdge(text, at) || at > 0 && (text[at-1] == '-' || text[at-1] == '_') {
		return 0, 0, false // one look at a run of such bytes, however often it could begin
	}
	end := at
	var ends []int
	for len(ends) < 5 {
		for end < len(text) && base64URLSet[text[end]] {
			end++
		}
		ends = append(ends, end)
		if len(ends) == 1 && (end-at > maxHeaderPart || end == len(text) || text[end] != '.' || !joseHeader(text[at:end])) {
			return 0, 0, false
		}
		if end == len(text) || text[end] != '.' {
			break
		}
		end++
	}
	switch {
	case len(ends) < 3:
		return 0, 0, false
	case len(ends) < 5:
		return at, ends[2], true
	default:
		return at, ends[4], true
	}
}

// joseHeader says whether s is what a JWT begins with.
func joseHeader(s string) bool {
	plain, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return false
	}
	var header struct {
		Algorithm *string `json:"alg"`
		Type      *string `json:"typ"`
		Key       *string `json:"kid"`
	}
	return json.Unmarshal(plain, &header) == nil && (header.Algorithm != nil || header.Type != nil || header.Key != nil)
}

// privateKey finds a private key in PEM, on lines of its own or in a string with escaped breaks. Where the end is
// missing it takes the lines that look like a key's.
func (sc *scan) privateKey(at int) (from, to int, ok bool) {
	text := sc.text
	label, ok := pemLabel(text[at+len(dashes+"BEGIN "):])
	if !ok {
		return 0, 0, false
	}
	body := at + len(dashes+"BEGIN ") + len(label) + len(dashes)
	window := text[body:min(len(text), body+maxPEM)]
	if i := strings.Index(window, dashes); i >= 0 && strings.HasPrefix(window[i:], dashes+"END ") {
		end := body + i + len(dashes+"END ")
		for end < len(text) && (isUpper(text[end]) || isDigit(text[end]) || text[end] == ' ') {
			end++
		}
		for n := 0; n < len(dashes) && end < len(text) && text[end] == '-'; n++ {
			end++
		}
		return at, end, hasArmor(window[:i])
	}
	n := armorEnd(window)
	if sc.lines {
		if rest := afterBreaks(window[n:]); rest == "" || isQuote(rest[0]) {
			sc.key = &keyBlock{from: at, column: at - strings.LastIndexByte(text[:at], '\n') - 1, tail: len(rest), follows: true}
			return at, body + n, true
		}
	}
	return at, body + n, n > 0
}

// hasArmor says whether s holds a line of a key, whatever a log put before it.
func hasArmor(s string) bool {
	run := 0
	for i := range len(s) {
		if !isBase64(s[i]) {
			run = 0
		} else if run++; run == minArmor {
			return true
		}
	}
	return false
}

// pemLabel returns the label that s begins with, if it is a private key's.
func pemLabel(s string) (string, bool) {
	label, _, ok := strings.Cut(s[:min(len(s), maxLabel)], dashes)
	return label, ok && strings.Contains(label, privateKeyLabel)
}

// armorEnd returns where the lines at the beginning of s end that look like a key's, or 0.
func armorEnd(s string) int {
	end, i := 0, 0
	for i < len(s) {
		start := i
		for i < len(s) && isBase64(s[i]) {
			i++
		}
		switch word := s[start:i]; {
		case word != "" && i < len(s) && (s[i] == ':' || s[i] == '-') && end == 0: // Proc-Type: 4,ENCRYPTED
			line := min(len(s), start+maxHeaderLine)
			for i < line && s[i] != '\n' && s[i] != '\\' {
				i++
			}
			if i == line && line < len(s) {
				return end // no header is so long, and reading on for each "BEGIN" of a hostile text takes quadratic time
			}
		case len(word) >= minArmor:
			end = i
		case word != "":
			if end > 0 && (i == len(s) || strings.IndexByte("\r\n\\\"'", s[i]) >= 0) { // the last line
				end = i
			}
			return end
		case s[i] == '\\':
			for i < len(s) && s[i] == '\\' {
				i++
			}
			if i < len(s) && strings.IndexByte(breaks, s[i]) >= 0 {
				i++
			}
		case strings.IndexByte(" \t\r\n\"',|", s[i]) >= 0:
			i++
		default:
			return end
		}
	}
	return end
}

func isBase64(c byte) bool { return isAlphanumeric(c) || c == '+' || c == '/' || c == '=' }

// pemInString finds a private key in PEM that is all of a string, as Google's key files have it.
func pemInString(s string) (from, to int, ok bool) {
	label, ok := pemLabel(strings.TrimPrefix(s, dashes+"BEGIN "))
	return 0, len(s), ok && strings.HasPrefix(s, dashes+"BEGIN ") && strings.Contains(s[len(label):], dashes+"END ")
}

// userinfo finds the password in scheme://user:password@host, and a user that is a token.
func (sc *scan) userinfo(at int) (from, to int, ok bool) {
	if at == 0 || !isAlphanumeric(sc.text[at-1]) {
		return 0, 0, false
	}
	start := at + len("://")
	window := sc.text[start:min(len(sc.text), start+maxUserinfo)]
	if strings.IndexByte(window, '@') < 0 {
		return 0, 0, false
	}
	authority := before(window, urlEnds+"/?#")
	user, password, found := strings.Cut(authority, ":")
	if last := strings.LastIndexByte(authority, '@'); last >= 0 {
		if last > len(user) {
			password = authority[len(user)+1 : last]
		} else { // a user alone
			user, password = authority[:last], ""
		}
	} else { // a password with a slash in it; else a port or a path
		if !found || strings.Trim(password, digits09) == "" {
			return 0, 0, false
		}
		password, _, found = strings.Cut(before(window, urlEnds)[len(user)+1:], "@")
		if !found || strings.ContainsAny(password, ",[") {
			return 0, 0, false
		}
	}
	if strings.ContainsAny(user, "[,") {
		return 0, 0, false
	}
	if password == "" || password == oauthBasic {
		return start, start + len(user), len(user) >= minURLToken && looksRandom(user)
	}
	if sc.markerLen(password) > 0 || template(password) || strings.Trim(password, "*xX•.…") == "" {
		return 0, 0, false
	}
	from = start + len(user) + 1
	to = from + len(password)
	if looksRandom(user) || strings.Contains(strings.ToLower(authority), "@enterprise.contribsys.com") || strings.Contains(strings.ToLower(authority), "@gems.contribsys.com") { // two halves of one secret
		from = start
	}
	return from, to, true
}

// oauthBasic stands for a password where the user is the secret.
const oauthBasic = "x-oauth-basic"

// urlEnds holds bytes that stand in no URL, even in a careless one.
const urlEnds = " \t\r\n\"'`<>\\"

// before returns s as far as the first of the bytes.
func before(s, bytes string) string {
	if i := strings.IndexAny(s, bytes); i >= 0 {
		return s[:i]
	}
	return s
}

// authSchemes are those of the Authorization header whose credentials are one word; those whose credentials are a
// list of parameters end in "…".
var authSchemes = []string{ //nolint:gochecknoglobals // a table, never changed
	"Basic", "Bearer", "Token", "ApiKey", "Api-Key", "Api-Token", "ApiToken", "Key", "Negotiate", "NTLM", "Kerberos", "Splunk", "GenieKey", "SSWS", "PRIVATE-TOKEN", "JWT",
	"Digest…", "OAuth…", "Hawk…", "Signature…", "AWS4-HMAC-SHA256…", "SharedKey…", "HMAC…",
}

// credentials finds what follows the scheme in an Authorization header.
func credentials(s string) (from, to int, ok bool) {
	first, rest, several := strings.Cut(s, " ")
	if !several {
		return 0, len(first), looksRandom(first)
	}
	for _, scheme := range authSchemes {
		scheme, list := strings.CutSuffix(scheme, "…")
		if !strings.EqualFold(first, scheme) {
			continue
		}
		from = len(s) - len(strings.TrimLeft(rest, blank))
		to = len(s)
		if !list {
			if i := strings.IndexAny(s[from:], blank); i >= 0 {
				to = from + i
			}
		}
		word := s[from:to]
		prose := to < len(s) && strings.IndexFunc(word, isNoProse) < 0
		return from, to, len(word) >= minLiteral && !prose && !template(word) && strings.Trim(word, "*xX.…") != "" && !strings.EqualFold(word, "token")
	}
	return 0, len(first), looksRandom(first)
}

// cookies finds all of a Cookie header: name=value, more after semicolons.
func cookies(s string) (from, to int, ok bool) {
	for to < len(s) && (!isBlank(s[to]) || to > 0 && s[to-1] == ';') {
		to++
	}
	to = len(strings.TrimRight(s[:to], " ;,)}"))
	_, first, ok := strings.Cut(s[:to], "=")
	return 0, to, ok && len(first) >= minLiteral && !template(first)
}

// setCookie finds the value in a Set-Cookie header: attributes may be read.
func setCookie(s string) (from, to int, ok bool) {
	pair, _, _ := strings.Cut(s, ";")
	named, secret, ok := strings.Cut(pair, "=")
	if !ok || strings.ContainsAny(named, blank) {
		return 0, 0, false
	}
	secret, _, _ = strings.Cut(secret, " ")
	from = len(named) + 1
	return from, from + len(secret), len(secret) >= minLiteral && secret != "deleted" && !template(secret)
}

// telegram finds a bot's token: its number, a colon and 35 bytes of which the first is an A.
func (sc *scan) telegram(at int) (from, to int, ok bool) {
	from = sc.numberBefore(at, maxBotNumber)
	if at-from < minBotNumber || from > 0 && isAlphanumeric(sc.text[from-1]) && !strings.HasSuffix(sc.text[:from], "bot") {
		return 0, 0, false
	}
	to = runOf(base64URLSet, sc.text, at+1, maxBotSecret+1)
	return from, to, telegramToken(sc.text[from:to])
}

// facebookApp finds an application's number and its secret, between them a bar or its percent-encoded form.
func (sc *scan) facebookApp(at int) (from, to int, ok bool) {
	from = sc.numberBefore(at, maxAppNumber)
	if at-from < minAppNumber || from > 0 && isAlphanumeric(sc.text[from-1]) {
		return 0, 0, false
	}
	to = runOf(base64URLSet, sc.text, at+1, maxAppSecret+1)
	secret := sc.text[at+1 : to]
	return from, to, len(secret) >= minAppSecret && len(secret) <= maxAppSecret && varied(secret)
}

// numberBefore returns where the digits that end at a place begin, at most so many of them.
func (sc *scan) numberBefore(at, most int) int {
	from := at
	for from > sc.done && at-from < most && isDigit(sc.text[from-1]) {
		from--
	}
	return from
}

// runOf returns where the bytes of a set that begin at a place end, at most so many of them.
func runOf(set *byteSet, text string, at, most int) int {
	end := min(len(text), at+most)
	for at < end && set[text[at]] {
		at++
	}
	return at
}

// maxMind finds a licence key: 6 bytes, 29 and an ending.
func (sc *scan) maxMind(at int) (from, to int, ok bool) {
	from, to = at-36, at+len("_mmk")
	if from < sc.done || from > 0 && isAlphanumeric(sc.text[from-1]) || to < len(sc.text) && isAlphanumeric(sc.text[to]) {
		return 0, 0, false
	}
	for i := from; i < at; i++ {
		if isAlphanumeric(sc.text[i]) == (i == from+6) || i == from+6 && sc.text[i] != '_' {
			return 0, 0, false
		}
	}
	return from, to, varied(sc.text[from:at])
}

// oracle finds the password in jdbc:oracle:thin:user/password@host.
func (sc *scan) oracle(at int) (from, to int, ok bool) {
	start := at + len("jdbc:oracle:thin:")
	authority := before(sc.text[start:min(len(sc.text), start+maxUserinfo)], urlEnds)
	user, _, ok := strings.Cut(authority, "/")
	last := strings.LastIndexByte(authority, '@')
	if !ok || last <= len(user)+1 || template(authority[len(user)+1:last]) {
		return 0, 0, false
	}
	return start + len(user) + 1, start + last, sc.markerLen(authority[len(user)+1:last]) == 0
}

// flagOf says whether a place is among the arguments of a command that has this flag.
func (sc *scan) flagOf(at int, flag byte) bool {
	if sc.command.word == "" || at-sc.commandAt > maxCommand || strings.ContainsAny(sc.text[sc.commandAt:at], ";|") {
		sc.command = command{}
		return false
	}
	sc.commandAt = at // what stands before it was looked at
	return sc.command.flag == flag
}

// commandPassword finds the password in sshpass -p password and its like.
func (sc *scan) commandPassword(at int) (from, to int, ok bool) {
	text := sc.text
	from = at + len(" -p")
	if from == len(text) || !sc.flagOf(at, text[at+2]) || isBlank(text[from]) == sc.command.attached {
		return 0, 0, false
	}
	for i := 0; i < maxGap && from < len(text) && isBlank(text[from]); i++ {
		from++
	}
	v := value{from: from, separator: ' '}
	if from < len(text) && isQuote(text[from]) {
		v.quote(text, from, sc.lineEnd(from))
	} else {
		v.run(text, &name{}, maxChecked)
	}
	return v.from, v.to, v.to-v.from >= minLiteral && text[v.from] != '-' && sc.userPassword(v.from, v.to)
}

// curlUser finds the password in curl -u user:password, and a user that is a token.
func (sc *scan) curlUser(at int) (from, to int, ok bool) {
	text := sc.text
	if !sc.flagOf(at, 'u') {
		return 0, 0, false
	}
	from = at + len(" -u")
	if text[at+2] == '-' {
		from = at + len(" --user")
		if from == len(text) || strings.IndexByte("='\""+blank, text[from]) < 0 {
			return 0, 0, false
		}
	}
	for i := 0; i < maxGap && from < len(text) && strings.IndexByte("="+blank, text[from]) >= 0; i++ {
		from++
	}
	ends := " \t\r\n'\"`\\"
	if from < len(text) && isQuote(text[from]) {
		ends = text[from:from+1] + "\r\n"
		from++
	} else if i := strings.IndexByte(text[from:min(len(text), from+maxName)], ':'); i >= 0 && from+i+1 < len(text) && isQuote(text[from+i+1]) && !strings.ContainsAny(text[from:from+i], ends) { // user:"password"
		from += i + 2
		password := before(text[from:min(len(text), from+maxUserinfo)], text[from-1:from]+"\r\n")
		return from, from + len(password), sc.userPassword(from, from+len(password))
	}
	userinfo := before(text[from:min(len(text), from+maxUserinfo)], ends)
	user, password, ok := strings.Cut(userinfo, ":")
	if !ok || strings.Contains(user, "[") {
		return 0, 0, false
	}
	if password == "" {
		return from, from + len(user), looksRandom(user)
	}
	from += len(user) + 1
	to = from + len(password)
	if looksRandom(user) {
		return from - len(user) - 1, to, true
	}
	return from, to, sc.userPassword(from, to)
}

// userPassword says whether a command's password is one.
func (sc *scan) userPassword(from, to int) bool {
	return to > from && sc.markerLen(sc.text[from:to]) == 0 && !sc.refers(&name{}, value{from: from, to: to, quoted: true})
}

// sqlPassword finds what stands in quotes after IDENTIFIED BY and after PASSWORD.
func (sc *scan) sqlPassword(at int) (from, to int, ok bool) {
	text := sc.text
	if !leftEdge(text, at) {
		return 0, 0, false
	}
	rest := text[at:min(len(text), at+maxClause)]
	quote := strings.IndexAny(rest, "'\"")
	if quote < 0 {
		return 0, 0, false
	}
	between := strings.ToLower(rest[:quote])
	between = strings.TrimPrefix(strings.TrimSpace(strings.TrimPrefix(between, "identified by")), "password")
	if strings.TrimSpace(between) != "" {
		return 0, 0, false
	}
	v := value{from: at + quote}
	v.quote(text, at+quote, sc.lineEnd(at+quote))
	if v.open && toLower(rest[0]) == 'p' || v.to-v.from < minLiteral || sc.refers(&name{}, v) || sc.markerLen(text[v.from:v.to]) == v.to-v.from {
		return 0, 0, false
	}
	return v.from, v.to, true
}

// netrc finds the password in machine host login user password secret.
func (sc *scan) netrc(at int) (from, to int, ok bool) {
	text := sc.text
	if !strings.Contains(text[max(0, at-maxClause):at], "machine ") {
		return 0, 0, false
	}
	user := before(text[at+len("login "):min(len(text), at+maxClause)], blank+"\n")
	from = at + len("login ") + len(user) + 1
	if user == "" || from >= len(text) || !strings.HasPrefix(text[from:], "password ") {
		return 0, 0, false
	}
	from += len("password ")
	v := value{from: from, separator: ' '}
	v.run(text, &name{}, maxChecked)
	return from, v.to, v.to > from && sc.markerLen(text[from:v.to]) == 0 && !sc.refers(&name{}, v)
}
