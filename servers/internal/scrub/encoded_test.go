package scrub

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"
)

func TestEncoded(t *testing.T) {
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	raw := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	token := "glpat-" + random(rand.New(rand.NewPCG(16, 16)), alphanumeric, 20)
	const m = "[redacted:password#1]"
	for _, tc := range []struct{ name, in, want string }{
		{"percent, a pair", "GET /x?q=a%26password%3Dhunter2%26b%3Dc&d=e", "GET /x?q=a%26password%3D" + m + "%26b%3Dc&d=e"},
		{"percent, JSON", `state=%7B%22user%22%3A%22shop%22%2C%22password%22%3A%22hunter2%22%7D done`, `state=%7B%22user%22%3A%22shop%22%2C%22password%22%3A%22` + m + `%22%7D done`},
		{"percent, a URL", `{"to":"/go?u=postgres%3a%2f%2fshop%3ahunter2%40db%2fx"}`, `{"to":"/go?u=postgres%3a%2f%2fshop%3a[redacted:url-password#1]%40db%2fx"}`},
		{"percent, a header", "h=Authorization%3A%20Bearer%20abcdef x", "h=Authorization%3A%20Bearer%20[redacted:authorization#1] x"},
		{"percent, twice", "u=%2Flogin%253Fpassword%253Dhunter2%2526x%253D1", "u=%2Flogin%253Fpassword%253D" + m + "%2526x%253D1"},
		{"percent, after some that is none", "x%y%password%3Dhunter2 \\z password\\u003dhunter2", "x%y%password%3D" + m + " \\z password\\u003d" + m},
		{"percent, nothing", "50% of 100%25 in /a%20b/c%2", "50% of 100%25 in /a%20b/c%2"},
		{"JSON, more than it needs", `{"msg":"password\u003dhunter2\u0026user\u003dshop \u0027glpat\u002d` + token[6:] + `\u0027"}`, `{"msg":"password\u003d` + m + `\u0026user\u003dshop \u0027[redacted:gitlab-token#1]\u0027"}`},
		{"JSON in JSON, more than it needs", `{"log":"{\"url\":\"postgres:\\\/\\\/shop:hunter2@db\\\/x\"}"}`, `{"log":"{\"url\":\"postgres:\\\/\\\/shop:[redacted:url-password#1]@db\\\/x\"}"}`},
		{"Python", `b'password\x3dhunter2'`, `b'password\x3d` + m + `'`},
		{"HTML", `<code>{&quot;password&quot;: &quot;hunter2&quot;} &amp;</code>`, `<code>{&quot;password&quot;: &quot;` + m + `&quot;} &amp;</code>`},
		{"escapes, nothing", `a\u003db \u0026 c\/d &lt;e&gt; \ & \u00`, `a\u003db \u0026 c\/d &lt;e&gt; \ & \u00`},
		{"hexadecimal digits", fmt.Sprintf("0x%x", "POSTGRES_PASSWORD=hunter2"), "0x" + m},
		{"base64, a pair", "echo " + b64("POSTGRES_PASSWORD=hunter2\n") + " | base64 -d", "echo " + m + " | base64 -d"},
		{"base64, of the other alphabet", "state=" + raw(`{"user":"~~~???","password":"hunter2"}`) + "&x=1", "state=" + m + "&x=1"},
		{"base64, twice", b64(b64("the password=hunter2 of it")), m},
		{"base64 in percent", "c=" + url.QueryEscape(b64("the password=hunter22 of it?>")) + "&x=1", "c=" + m + "&x=1"},
		{"the same, encoded and not", "password=hunter2 " + b64("the password=hunter2 of it"), "password=" + m + " " + m},
		{"base64, of text", b64("there is nothing in it that one may not see"), b64("there is nothing in it that one may not see")},
		{"no base64", "/usr/lib/python3/dist-packages/requests/sessions " + strings.Repeat("aGVsbG8", 9), "/usr/lib/python3/dist-packages/requests/sessions " + strings.Repeat("aGVsbG8", 9)},
		{"Docker's configuration", ".dockerconfigjson: " + b64(`{"auths":{"hub":{"auth":"`+b64("shop:hunter2")+`"}}}`), ".dockerconfigjson: [redacted:docker-auth#1]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := Text(tc.in)
			if got != tc.want {
				t.Errorf("Text(%q)\n got %q\nwant %q", tc.in, got, tc.want)
			}
			if again := Text(got); again != got {
				t.Errorf("scrubbing twice: %q, then %q", got, again)
			}
		})
	}
}

// TestEncodedFormats: so it is for every row of the table.
func TestEncodedFormats(t *testing.T) {
	r := rand.New(rand.NewPCG(14, 14))
	for _, f := range compile().formats {
		for _, start := range starts(f) {
			text, _ := specimens[row(f)].make(r, f, start)
			text = "and " + text + " "
			for name, encoded := range map[string]string{
				"percent": url.PathEscape(text), "query": strings.ReplaceAll(url.QueryEscape(text), "+", "%20"), "base64": base64.StdEncoding.EncodeToString([]byte(text)), "base64url": base64.RawURLEncoding.EncodeToString([]byte(text)),
			} {
				in := fmt.Sprintf("GET /x?y=%s HTTP/1.1", encoded)
				if got := Text(in); got == in {
					t.Errorf("%s, %s: %q survives", row(f), name, in)
				}
			}
		}
	}
}
