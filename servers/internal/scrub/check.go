package scrub

import (
	"encoding/base64"
	"hash/crc32"
	"math"
	"strings"
)

// maxChecked bounds the bytes of a value that a check looks at. What is longer is judged by its beginning, so that a
// text of names that are refused again and again takes linear time.
const maxChecked = 256

// minEntropy is what xxxx, 0000 and abab do not have, in bits a byte. Of 16 bytes drawn from 16 hardly any have less.
const minEntropy = 2

// varied refuses what was put where a secret would stand.
func varied(s string) bool { return shannon(s[:min(len(s), maxChecked)]) >= minEntropy }

func shannon(s string) float64 {
	var counts [256]int
	for i := range len(s) {
		counts[s[i]]++
	}
	sum := 0.0
	for _, n := range counts {
		if n > 0 {
			sum += float64(n) * math.Log2(float64(n))
		}
	}
	return math.Log2(float64(len(s))) - sum/float64(len(s))
}

// base62 is the alphabet of GitHub's and npm's checksums.
const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// checksumDigits is the length of a checksum: enough for 32 bits.
const checksumDigits = 6

// checksum returns the CRC-32 of s in base 62, as the last bytes of GitHub's and npm's tokens are.
func checksum(s string) string {
	var sum [checksumDigits]byte
	n := crc32.ChecksumIEEE([]byte(s))
	for i := range sum {
		sum[len(sum)-1-i] = base62[n%62]
		n /= 62
	}
	return string(sum[:])
}

// checksummed says whether s ends with the checksum of the rest.
func checksummed(s string) bool {
	at := len(s) - checksumDigits
	return checksum(s[:at]) == s[at:]
}

// entraSecret wants a digit after three bytes.
func entraSecret(s string) bool {
	return s[3] >= '0' && s[3] <= '9' && varied(s)
}

// withDigit wants one.
func withDigit(s string) bool { return strings.ContainsAny(s, digits09) && varied(s) }

// drawnMix wants letters and digits, or letters in no word's order, and no digest.
func drawnMix(s string) bool {
	var letter, digit, plain, cases int
	for i := range len(s) {
		switch c := s[i]; {
		case isDigit(c):
			digit++
		case isAlphanumeric(c):
			letter++
		}
		if strings.IndexByte(lowerHexDigits, s[i]) >= 0 {
			plain++
		}
		if i > 0 && isUpper(s[i]) != isUpper(s[i-1]) {
			cases++
		}
	}
	mixed := letter > 1 && (digit > 0 || len(s) >= minMixed && cases*3 >= len(s))
	return mixed && varied(s) && (plain < len(s) || len(s) != 40 && len(s) != 64)
}

// groups wants parts of these lengths between separators.
func groups(separator string, lengths ...int) func(string) bool {
	return func(s string) bool {
		parts := strings.Split(s, separator)
		for i, part := range parts {
			if len(parts) != len(lengths) || len(part) != lengths[i] {
				return false
			}
		}
		return varied(s)
	}
}

// begins wants one of these beginnings.
func begins(with ...string) func(string) bool {
	return func(s string) bool {
		for _, start := range with {
			if len(s) > len(start) && strings.EqualFold(s[:len(start)], start) {
				return varied(s[len(start):])
			}
		}
		return false
	}
}

// onePassword wants groups of 6, 11 and three times 5, where the 11 may be two groups.
func onePassword(s string) bool {
	return groups("-", 6, 11, 5, 5, 5)(s) || groups("-", 6, 6, 5, 5, 5, 5)(s)
}

// iamToken wants a signature behind its dot.
func iamToken(s string) bool {
	return len(strings.TrimRight(s[strings.LastIndexByte(s, '.')+1:], "=")) == 86 && varied(s)
}

// authress wants an account's id among its parts.
func authress(s string) bool {
	return (strings.Contains(s, ".acc_") || strings.Contains(s, ".acc-")) && drawnMix(s)
}

// mailchimp wants the number of a data centre.
func mailchimp(s string) bool {
	key, place, ok := strings.Cut(strings.ToLower(s), "-us")
	return ok && len(key) == 32 && place != "" && strings.Trim(place, digits09) == "" && drawnMix(s)
}

// telegramToken wants a number, a colon and 35 bytes of which the first is an A.
func telegramToken(s string) bool {
	number, secret, ok := strings.Cut(s, ":")
	return ok && strings.Trim(number, digits09) == "" && len(secret) == 35 && secret[0] == 'A' && varied(secret)
}

// twitterToken wants a user's number before its dash.
func twitterToken(s string) bool {
	number, secret, ok := strings.Cut(s, "-")
	return ok && len(number) >= 15 && strings.Trim(number, digits09) == "" && len(secret) >= 20 && varied(secret)
}

// encodedJWT wants what follows "eyJ" in base64 to be the beginning of a JSON object in base64.
func encodedJWT(s string) bool {
	inner, err := base64.StdEncoding.DecodeString("ZXlK" + s[:8])
	if err != nil {
		return false
	}
	plain, err := base64.RawURLEncoding.DecodeString(string(inner[:8]))
	return err == nil && plain[1] == '"' && isLetter(plain[2]) && varied(s)
}

// openAI wants the letters that stand in the middle of every key without a longer prefix.
func openAI(s string) bool { return s[20:28] == "T3BlbkFJ" }

// uuid wants five groups.
func uuid(s string) bool {
	return len(s) == 36 && s[8] == '-' && s[13] == '-' && s[18] == '-' && s[23] == '-' && varied(s)
}

// encodedPrivateKey wants what follows "-----BEGIN" in base64 to be a private key's label.
func encodedPrivateKey(s string) bool {
	// "LS0tLS1CRUdJTi" is ten and a half bytes: two characters of the third group of four are missing here.
	head, err := base64.StdEncoding.DecodeString("LS0tLS1CRUdJTi" + s[:50])
	return err == nil && strings.Contains(string(head), privateKeyLabel)
}

// encodedUserinfo wants what Docker writes for a registry: a user, a colon and a password.
func encodedUserinfo(s string) bool {
	plain, err := base64.StdEncoding.DecodeString(s[:len(s)/4*4])
	return err == nil && strings.Contains(string(plain), ":") && strings.IndexFunc(string(plain), func(r rune) bool { return r < ' ' || r == '\ufffd' }) < 0
}

const (
	minDrawn     = 8  // bytes of a value that looks random
	minDrawnPart = 11 // bytes of one part of it, where it has several and they use two kinds of characters
	minDrawnWord = 20 // letters without a digit
	minMixed     = 12 // and of a value whose length is known
	joints       = "-_./:@,+~#=|"
	drawnSymbols = "!$^&*%"
)

// looksRandom says whether s looks drawn rather than chosen: not made of words, versions, dates and the short hashes
// that names end in.
func looksRandom(s string) bool {
	s = s[:min(len(s), maxChecked)]
	if len(s) < minDrawn || strings.ContainsAny(s, " \t\n") {
		return false
	}
	several := strings.ContainsAny(strings.Trim(s, "="), joints)
	for part := range strings.FieldsFuncSeq(s, func(r rune) bool { return strings.ContainsRune(joints, r) }) {
		if drawnPart(part, several) {
			return true
		}
	}
	return false
}

func drawnPart(part string, several bool) bool {
	var lower, upper, digit, symbol, cases, kinds int // cases and kinds count changes: aB, a1
	for i := range len(part) {
		c := part[i]
		switch {
		case c >= 'a' && c <= 'z':
			lower++
		case c >= 'A' && c <= 'Z':
			upper++
		case c >= '0' && c <= '9':
			digit++
		case strings.IndexByte(drawnSymbols, c) >= 0:
			symbol++
		default:
			return false // brackets, quotes, letters of other scripts: an expression or a sentence
		}
		if i > 0 {
			before := part[i-1]
			if isDigit(c) != isDigit(before) {
				kinds++
			} else if isUpper(c) != isUpper(before) {
				cases++
			}
		}
	}
	letters := lower + upper
	switch {
	case letters == 0 || len(part) < minDrawn:
		return false
	case digit == 0 && symbol == 0: // camelCase changes case twice a word
		return len(part) >= minDrawnWord && lower > 0 && upper > 0 && cases*5 >= len(part)*2
	case symbol > 0:
		return digit > 0
	case lower > 0 && upper > 0:
		return kinds >= 2 || len(part) >= minDrawnWord && cases*4 >= len(part)
	case several:
		return kinds >= 2 && len(part) >= minDrawnPart
	default:
		return kinds >= 2
	}
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }
