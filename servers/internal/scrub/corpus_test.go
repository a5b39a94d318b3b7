package scrub

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// corpusFile is where TestCorpus writes what it has seen redacted, one JSON object a line, for the test that compares
// with gitleaks. It is no file of the repository, for it holds what looks like secrets.
var corpusFile = flag.String("corpus", "", "write the corpus to this file")

// planting is one line of the corpus.
type planting struct {
	ID     string `json:"id"`
	Kind   string `json:"kind"`
	Line   string `json:"line"`
	Secret string `json:"secret"` // as it stands in the line
	Want   string `json:"want"`
}

// A kind is a line as some program writes it, around what it was told: the bytes before, after, and how that is
// written between them.
type kind struct {
	name, before, after string
	write               func(string) string
}

func jsonText(s string) string {
	b, _ := json.Marshal(s)
	escaped := strings.NewReplacer(`\u0026`, "&", `\u003c`, "<", `\u003e`, ">").Replace(string(b))
	return escaped[1 : len(escaped)-1]
}

func twice(s string) string { return jsonText(jsonText(s)) }

func plain(s string) string { return s }

func shellText(s string) string { return strings.ReplaceAll(s, "'", `'\''`) }

func sqlText(s string) string { return strings.ReplaceAll(s, "'", "''") }

func kinds() []kind {
	return []kind{
		{"JSON", `{"time":"2026-03-01T10:00:00.123Z","level":"error","logger":"shop.http","msg":"upstream refused `, `","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","attempt":3}`, jsonText},
		{"JSON in Docker's", `{"log":"{\"level\":\"info\",\"msg\":\"got `, `\",\"digest\":\"sha256:08f805f27a7e6c15310e35e788cb1142fc0df90bc39fd7c6431f4695b4a35a9d\"}\n","stream":"stdout","time":"2026-03-01T10:00:00.123456789Z"}`, twice},
		{"logfmt", `time=2026-03-01T10:00:00Z level=warn caller=client.go:112 msg="retrying with `, `" attempt=3 took=1.25s request=01JNXK5Y8QW3F1T6ZJ4V7B2C9D`, jsonText},
		{"nginx", `10.0.3.7 - - [01/Mar/2026:10:00:00 +0000] "GET /v1/items?page=2&`, ` HTTP/1.1" 502 157 "-" "curl/8.5.0" rt=0.004`, plain},
		{"nginx error", `2026/03/01 10:00:00 [error] 29#29: *317 upstream sent `, ` while reading response header from upstream, client: 10.0.3.7, server: shop.example`, plain},
		{"Java", `Caused by: java.lang.IllegalStateException: cannot connect with `, ` at com.example.shop.Pool.open(Pool.java:118)`, plain},
		{"Java log", `2026-03-01 10:00:00,123 ERROR [http-nio-8080-exec-7] c.e.shop.PaymentClient - call failed: `, ``, plain},
		{"Go", `panic: dial tcp 10.0.3.9:5432: refused `, ` [recovered]`, plain},
		{"Go log", `2026/03/01 10:00:00 main.go:42: starting with `, ``, plain},
		{"Python", `requests.exceptions.HTTPError: 401 Client Error: Unauthorized for `, ``, plain},
		{"Python repr", `ValueError: bad configuration ("`, `", line 118)`, jsonText},
		{"Kubernetes event", `3m12s   Warning   Failed   pod/shop-api-7d9c5b6f4-x2x7k   Error: container "api" failed: `, ``, plain},
		{"klog", `E0301 10:00:00.123456       1 reconciler.go:214] "Reconcile failed" err="got `, `" controller="shop" object="default/shop-api" reconcileID="5b2f8c1e-7d43-4a0f-9c55-0d1e2f3a4b5c"`, jsonText},
		{"systemd", `Mar 01 10:00:00 node-1 shop[1234]: `, ``, plain},
		{"CI", `2026-03-01T10:00:00.1234567Z + export `, ``, plain},
		{"CI, quoted", `2026-03-01T10:00:00.1234567Z + ./deploy --image registry.example/shop/api:7f9c8d6b5aa1 '`, `' --wait`, shellText},
		{"SQL", `2026-03-01 10:00:00.123 UTC [87] LOG:  statement: INSERT INTO notes (id, body) VALUES (42, '`, `');`, sqlText},
		{"YAML", `    value: "`, `"`, jsonText},
		{"CRI", `2026-03-01T10:00:00.123456789Z stderr F config: `, ``, plain},
	}
}

// fits says whether a text can stand in such a line, and be told from what follows.
func (k kind) fits(f format, text string) bool {
	switch {
	case f.id == "gcp-private-key" && k.name == "JSON in Docker's":
		return false // found by the row of any private key there, which leaves its last break
	case strings.Contains(text, "\n") && k.write(text) == text:
		return false // it would be several lines
	case k.name == "nginx":
		return !strings.ContainsAny(text, " \"<>\\^`{|}#&")
	case k.name == "CI, quoted", k.name == "SQL":
		return !strings.Contains(text, "'")
	case k.name == "Python repr":
		return !strings.Contains(text, `"`)
	default:
		return true
	}
}

// TestCorpus: in every kind of line, every secret of every prefix, name and service of the table is redacted byte for
// byte, alone and in a stream, and nothing else is.
func TestCorpus(t *testing.T) {
	const each = 3
	var out *bufio.Writer
	if *corpusFile != "" {
		file, err := os.Create(*corpusFile)
		if err != nil {
			t.Fatal(err)
		}
		out = bufio.NewWriter(file)
		defer func() {
			if err := errors.Join(out.Flush(), file.Close()); err != nil {
				t.Error(err)
			}
		}()
	}
	r := rand.New(rand.NewPCG(11, 11))
	stream := New().Stream(false)
	lines, failed := 0, map[string]int{}
	for _, f := range compile().formats {
		for _, start := range starts(f) {
			for _, k := range kinds() {
				for range each {
					text, secret := specimens[row(f)].make(r, f, start)
					if !k.fits(f, text) {
						continue
					}
					lines++
					p := planting{ID: f.id, Kind: k.name, Line: k.before + k.write(text) + k.after, Secret: k.write(secret)}
					p.Want = strings.Replace(p.Line, p.Secret, "[redacted:"+f.id+"#1]", 1)
					if got := Text(p.Line); got != p.Want {
						if failed[row(f)]++; failed[row(f)] <= 3 {
							t.Errorf("%s, %s:\n     %q\n got %q\nwant %q", row(f), k.name, p.Line, got, p.Want)
						}
					}
					if again := Text(p.Want); again != p.Want {
						t.Errorf("%s, %s: scrubbing twice: %q, then %q", row(f), k.name, p.Want, again)
					}
					if got := string(stream.Line(nil, []byte(p.Line))); strings.Contains(got, p.Secret) {
						t.Errorf("%s, %s: survives in a stream: %q", row(f), k.name, got)
					}
					if out != nil {
						if err := json.NewEncoder(out).Encode(p); err != nil {
							t.Fatal(err)
						}
					}
				}
			}
		}
	}
	t.Logf("%d lines of %d kinds, %d rows", lines, len(kinds()), len(compile().formats))
}
