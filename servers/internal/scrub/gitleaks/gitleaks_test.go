package gitleaks

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"github.com/zricethezav/gitleaks/v8/detect"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/scrub"
)

// detector returns gitleaks with its own rules: all of them, whatever a line says of itself, and what it decodes too.
func detector(t testing.TB) *detect.Detector {
	t.Helper()
	zerolog.SetGlobalLevel(zerolog.Disabled)
	d, err := detect.NewDetectorDefaultConfig()
	if err != nil {
		t.Fatal(err)
	}
	d.IgnoreGitleaksAllow = true
	d.MaxDecodeDepth = 5
	return d
}

var markers = regexp.MustCompile(`\[redacted:[a-z0-9-]+(#[0-9]+)?\]`)

// kept returns the spans of a text that scrub leaves.
func kept(text string) [][2]int {
	shown := scrub.Text(text)
	var spans [][2]int
	at, last := 0, 0
	for _, m := range append(markers.FindAllStringIndex(shown, -1), []int{len(shown), len(shown)}) {
		piece := shown[last:m[0]]
		last = m[1]
		i := strings.Index(text[at:], piece)
		if i < 0 {
			panic(fmt.Sprintf("%q is not in %q", piece, text[at:]))
		}
		if m[0] == len(shown) {
			i = len(text) - at - len(piece)
		}
		spans = append(spans, [2]int{at + i, at + i + len(piece)})
		at += i + len(piece)
	}
	return spans
}

// part is what can be a part of a secret: letters and digits in one word.
var part = regexp.MustCompile(`[0-9A-Za-z]{8,}`)

// survives returns what scrub leaves of a secret that stands in a text.
func survives(text, secret string) string {
	from := strings.Index(text, secret)
	if from < 0 {
		return "" // gitleaks has decoded it
	}
	var left []string
	for _, span := range kept(text) {
		piece := text[max(from, min(span[0], from+len(secret))):min(from+len(secret), max(span[1], from))]
		for _, word := range part.FindAllString(piece, -1) {
			if strings.ContainsAny(word, "0123456789") && strings.ContainsAny(strings.ToLower(word), "abcdefghijklmnopqrstuvwxyz") || word == secret {
				left = append(left, word)
			}
		}
	}
	return strings.Join(left, " ")
}

// TestCorpus: in the lines of scrub's own corpus, scrub finds whatever gitleaks finds.
func TestCorpus(t *testing.T) {
	file := filepath.Join(t.TempDir(), "corpus")
	// The table is scrub's own affair, and the corpus is made from it: so its test writes it.
	command := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-run", "^TestCorpus$", ".", "-corpus", file)
	command.Dir = ".."
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer lines.Close()
	d := detector(t)
	scanner := bufio.NewScanner(lines)
	scanner.Buffer(nil, 1<<20)
	count, found, rules := 0, 0, map[string]int{}
	for ; scanner.Scan(); count++ {
		var planting struct{ Line string }
		if err := json.Unmarshal(scanner.Bytes(), &planting); err != nil {
			t.Fatal(err)
		}
		for _, finding := range d.DetectString(planting.Line) {
			found++
			rules[finding.RuleID]++
			if left := survives(planting.Line, finding.Secret); left != "" {
				t.Errorf("%s finds %q in %q, and scrub leaves %q", finding.RuleID, finding.Secret, planting.Line, left)
			}
		}
	}
	if err := scanner.Err(); err != nil || count < 10_000 {
		t.Fatal(count, err)
	}
	t.Logf("%d lines, %d findings of %d rules", count, found, len(rules))
}

// apart names the rules that TestRules asks nothing of, and why.
var apart = map[string]string{
	"hashicorp-tf-password":  "it asks for a quoted password in a file of HCL, after whatever sign: TestGeneric has those of HCL",
	"pkcs12-file":            "it looks at a file's name alone",
	"generic-api-key":        "it takes any word with key in it; scrub asks for a name of its table: TestGeneric",
	"private-key":            "what its expression makes is no PEM: TestCorpus has real ones",
	"nuget-config-password":  "its expression makes what is no XML: TestGeneric has the line",
	"kubernetes-secret-yaml": "what its expression makes is no YAML: TestManifest",
	"jwt":                    "what its expression makes is no JWT: TestCorpus has real ones",
}

// few names the rules of which some matches are let through, and what those are.
var few = map[string]string{"curl-auth-header": "a header that is called Key, and no more", "curl-auth-user": "a user and a password in quotes of their own"}

// paths are the files that some rules look in alone.
var paths = map[string]string{"freemius-secret-key": "a.php", "hashicorp-tf-password": "a.tf", "kubernetes-secret-yaml": "a.yaml", "nuget-config-password": "nuget.config"}

// TestRules: of what each of gitleaks' rules can match, made at random from its expression, scrub finds what gitleaks finds.
func TestRules(t *testing.T) {
	const each, tries = 20, 400
	d := detector(t)
	d.MaxDecodeDepth = 0
	ids := slices.Sorted(func(yield func(string) bool) {
		for id := range d.Config.Rules {
			if !yield(id) {
				return
			}
		}
	})
	if len(ids) < 222 {
		t.Fatalf("%d rules", len(ids))
	}
	total, words := 0, 0
	for i, id := range ids {
		if apart[id] != "" {
			continue
		}
		rule := d.Config.Rules[id]
		tree, err := syntax.Parse(rule.Regex.String(), syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(12, uint64(i)))
		seen, missed := 0, 0
		for range tries {
			keyword := ""
			if len(rule.Keywords) > 0 && !strings.Contains(strings.ToLower(rule.Regex.String()), rule.Keywords[0]) {
				keyword = rule.Keywords[0] + " "
			}
			line := "2026-03-01T10:00:00Z INFO " + keyword + made(tree, r) + " \nGET /healthz"
			for _, finding := range d.Detect(detect.Fragment{Raw: line, FilePath: paths[id]}) { //nolint:staticcheck // there is no other way to name a file
				if finding.RuleID != id {
					continue
				}
				seen++
				if left := survives(line, finding.Secret); left != "" {
					if !strings.ContainsAny(finding.Secret, "0123456789") {
						words++ // one in a hundred is letters alone, and scrub takes it for a name
						continue
					}
					if missed++; missed <= 2 && few[id] == "" {
						t.Errorf("%s finds %q in %q, and scrub leaves %q", id, finding.Secret, line, left)
					}
				}
			}
			if seen >= each {
				break
			}
		}
		total += seen
		if seen == 0 {
			t.Errorf("%s: gitleaks finds nothing that its own expression makes", id)
		}
		if missed > 2 || missed > 0 && few[id] == "" {
			t.Errorf("%s: %d of %d missed", id, missed, seen)
		}
	}
	if words*100 > total {
		t.Errorf("%d of %d missed for want of a digit", words, total)
	}
	t.Logf("%d findings of %d rules, %d of them missed for want of a digit", total, len(ids)-len(apart), words)
}

// TestGeneric: what gitleaks' broadest rule finds behind names that people give secrets.
func TestGeneric(t *testing.T) {
	d := detector(t)
	r := rand.New(rand.NewPCG(13, 13))
	seen := 0
	for _, name := range []string{
		"api_key", "apiKey", "API-KEY", "X-Api-Key", "access_token", "accessToken", "auth_token", "AUTH_KEY", "client_secret", "clientSecret", "app_secret",
		"password", "db_password", "administrator_login_password", "PASSWD", "token", "secret", "SECRET_KEY", "secret_access_key", "credential", "encryption_key", "signing-key", "private_token", "access_key",
	} {
		for _, form := range []string{"%s=%s", "%s: %s", `"%s": "%s"`, `%s = "%s"`, "%s := '%s'", `%s => "%s"`, `<add key="%s" value="%s" />`} {
			for range 10 {
				line := "2026-03-01 INFO " + fmt.Sprintf(form, name, random(r, 32)) + " "
				for _, finding := range d.DetectString(line) {
					seen++
					if left := survives(line, finding.Secret); left != "" {
						t.Errorf("%s finds %q in %q, and scrub leaves %q", finding.RuleID, finding.Secret, line, left)
					}
				}
			}
		}
	}
	if seen < 500 {
		t.Errorf("%d findings", seen)
	}
}

// TestManifest: what gitleaks finds in a Secret's manifest, whether its kind stands before the data or after.
func TestManifest(t *testing.T) {
	d := detector(t)
	d.MaxDecodeDepth = 0
	r := rand.New(rand.NewPCG(15, 15))
	seen := 0
	for range 20 {
		value := base64.StdEncoding.EncodeToString([]byte(random(r, 10+r.IntN(20))))
		for _, form := range []string{
			"apiVersion: v1\nkind: Secret\nmetadata:\n  name: shop\ndata:\n  conf: %s\n", "apiVersion: v1\ndata:\n  conf: \"%s\"\nkind: Secret\nmetadata:\n  name: shop\n",
			"kind: \"Secret\"\ndata:\n    a.b: '%s'\n",
		} {
			text := fmt.Sprintf(form, value)
			for _, finding := range d.Detect(detect.Fragment{Raw: text, FilePath: "a.yaml"}) { //nolint:staticcheck // there is no other way to name a file
				seen++
				if left := survives(text, finding.Secret); left != "" {
					t.Errorf("%s finds %q in %q, and scrub leaves %q", finding.RuleID, finding.Secret, text, left)
				}
			}
		}
	}
	if seen < 50 {
		t.Errorf("%d findings", seen)
	}
}

const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func random(r *rand.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[r.IntN(len(letters))]
	}
	return string(b)
}

// made returns a text that an expression matches: repeated as little as it may be and some more, in printable letters.
func made(e *syntax.Regexp, r *rand.Rand) string {
	var b strings.Builder
	switch e.Op {
	case syntax.OpLiteral:
		text := string(e.Rune)
		if e.Flags&syntax.FoldCase != 0 && r.IntN(2) == 0 {
			text = strings.ToLower(text)
		}
		return text
	case syntax.OpCharClass:
		return string(one(e, r))
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL: // a dot that nobody escaped, or anything
		return "."
	case syntax.OpCapture, syntax.OpConcat:
		for _, sub := range e.Sub {
			b.WriteString(made(sub, r))
		}
		return b.String()
	case syntax.OpAlternate:
		if strings.Contains(e.String(), ":{1,3}=") && r.IntN(4) > 0 { // of all that can stand between a name and a value, what mostly does
			return []string{"=", ":", ":=", "=>"}[r.IntN(4)]
		}
		return made(e.Sub[r.IntN(len(e.Sub))], r)
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		low, high := 0, 8
		switch e.Op {
		case syntax.OpPlus:
			low = 1
		case syntax.OpQuest:
			high = 1
		case syntax.OpRepeat:
			if low, high = e.Min, e.Max; high < 0 {
				high = low + 8
			}
			if low == 0 { // what a rule allows around a secret, and people seldom write
				high = min(high, 1)
			}
		default:
		}
		for range low + r.IntN(high-low+1) {
			b.WriteString(made(e.Sub[0], r))
		}
		return b.String()
	default: // the empty match, and places in a text
		return ""
	}
}

// one returns a byte of a class that can stand in a line.
func one(e *syntax.Regexp, r *rand.Rand) byte {
	var fit []byte
	for c := byte(' '); c <= '~'; c++ {
		if c == '\\' {
			continue
		}
		for i := 0; i < len(e.Rune); i += 2 {
			if rune(c) >= e.Rune[i] && rune(c) <= e.Rune[i+1] {
				fit = append(fit, c)
			}
		}
	}
	if len(fit) > 80 { // all but a few: letters and digits do
		return letters[r.IntN(len(letters))]
	}
	if len(fit) == 0 {
		return ' '
	}
	return fit[r.IntN(len(fit))]
}
