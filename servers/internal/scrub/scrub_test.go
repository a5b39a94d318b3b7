package scrub

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestCharacters(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"plain", "a line\n\tand ünïcödé 日本\r\n", "a line\n\tand ünïcödé 日本\r\n"},
		{"colours", "\x1b[31mred\x1b[0m", "red"},
		{"title", "\x1b]0;pwned\x07x\x1b]8;;http://e\x1b\\link", "xlink"},
		{"unfinished escape", "a\x1b[31", "a31"},
		{"unfinished title", "a\x1b]0;x\x1b[0my\x07z", "a0;xyz"},
		{"control", "a\x00b\x08c\x7fd\u0085e", "abcde"},
		{"bidirectional", "user\u202enimda\u2066x\u2069", "usernimdax"},
		{"zero width", "pass\u200bword\ufeff\u2060", "password"},
		{"tags", "hi\U000E0041\U000E0042", "hi"},
		{"selectors", "x\ufe0f\U000E0100", "x"},
		{"private use", "\ue000\U000F0000\U00100000x", "x"},
		{"invalid", "a\xffb", "a\ufffdb"},
		{"replaced before", "a\ufffdb", "a\ufffdb"},
		{"sequence made by removal", "\x1b\u200b[31mx", "[31mx"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Text(tc.in); got != tc.want {
				t.Errorf("Text(%q) = %q, want %q", tc.in, got, tc.want)
			}
		})
	}
}

// TestPlaces: where a secret stands, and how it is written, does not matter; what stands around it stays.
func TestPlaces(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	token := "glpat-" + random(r, alphanumeric, 20)
	key := pem(privateKeyLabel, "\n")(r)
	const pw, m = "hunter2", "[redacted:password#1]"
	for _, tc := range []struct{ name, in, want string }{
		{"YAML", "db:\n  password: " + pw + " # do not tell\n  user: shop\n", "db:\n  password: " + m + " # do not tell\n  user: shop\n"},
		{"YAML, quoted", "password: '" + pw + "'\nuser: shop", "password: '" + m + "'\nuser: shop"},
		{"YAML, in a line", "{user: shop, password: " + pw + ", host: db}", "{user: shop, password: " + m + ", host: db}"},
		{"YAML, block", "- password: |\n    " + pw + "\n    more\n\n  user: shop\n", "- password: |\n    " + m + "\n\n  user: shop\n"},
		{"JSON", `{"user":"shop","password": "` + pw + `","host":"db"}`, `{"user":"shop","password": "` + m + `","host":"db"}`},
		{"JSON, quotes inside", `{"password":"hun\"ter\\","host":"db"}`, `{"password":"` + m + `","host":"db"}`},
		{"JSON in JSON", `{"log":"{\"password\":\"` + pw + `\",\"n\":1}\n"}`, `{"log":"{\"password\":\"` + m + `\",\"n\":1}\n"}`},
		{"JSON in JSON, quotes inside", `{"log":"{\"password\":\"hun\\\"ter\",\"n\":1}\n"}`, `{"log":"{\"password\":\"` + m + `\",\"n\":1}\n"}`},
		{"line in JSON", `{"log":"DB_PASSWORD=` + pw + `\n","stream":"stdout"}`, `{"log":"DB_PASSWORD=` + m + `\n","stream":"stdout"}`},
		{"later line in JSON", `{"log":"a\npwd=` + pw + `\n"}`, `{"log":"a\npwd=` + m + `\n"}`},
		{"quote in JSON, cut short", `{"log":"password=\"` + pw + `","x":"y"}`, `{"log":"password=\"` + m + `","x":"y"}`},
		{"name and value", "- name: DB_PASSWORD\n  value: " + pw + "\n- name: USER\n  value: shop", "- name: DB_PASSWORD\n  value: " + m + "\n- name: USER\n  value: shop"},
		{"name and value in JSON", `[{"name":"DB_PASSWORD","value":"` + pw + `"},{"name":"USER","value":"shop"}]`, `[{"name":"DB_PASSWORD","value":"` + m + `"},{"name":"USER","value":"shop"}]`},
		{"name and value, far apart", "name: DB_PASSWORD\n" + strings.Repeat("#\n", 150) + "value: shop1234", "name: DB_PASSWORD\n" + strings.Repeat("#\n", 150) + "value: shop1234"},
		{"name, none, and value", "- name: DB_PASSWORD\n- name:\n  value: shop1234", "- name: DB_PASSWORD\n- name:\n  value: shop1234"},
		{"name and reference", "- name: DB_PASSWORD\n  valueFrom: {secretKeyRef: {name: db, key: password}}\n- name: USER\n  value: shop1234", "- name: DB_PASSWORD\n  valueFrom: {secretKeyRef: {name: db, key: password}}\n- name: USER\n  value: shop1234"},
		{"environment", "POSTGRES_PASSWORD=" + pw + " POSTGRES_USER=shop", "POSTGRES_PASSWORD=" + m + " POSTGRES_USER=shop"},
		{"environment in a list", `"Env":["POSTGRES_PASSWORD=` + pw + `","PATH=/bin"]`, `"Env":["POSTGRES_PASSWORD=` + m + `","PATH=/bin"]`},
		{"symbols", "POSTGRES_PASSWORD=a,b;c&d'e|f}g", "POSTGRES_PASSWORD=" + m},
		{"quoted as a whole", `'POSTGRES_PASSWORD=ab"cd' -x`, "'POSTGRES_PASSWORD=" + m + "' -x"},
		{"default", "password: ${DB_PASSWORD:-" + pw + "}", "password: ${DB_PASSWORD:-" + m + "}"},
		{"shell", "X_PASSWORD:=" + pw + " and more", "X_PASSWORD:=" + m + " and more"},
		{"HCL", "  password   = \"" + pw + "\"\n", "  password   = \"" + m + "\"\n"},
		{"Go", `{User:shop Password:` + pw + ` Host:db}`, `{User:shop Password:` + m + ` Host:db}`},
		{"Java", `Config{user=shop, password=` + pw + `, host=db}`, `Config{user=shop, password=` + m + `, host=db}`},
		{"Python", `{'user': 'shop', 'password': b'` + pw + `'}`, `{'user': 'shop', 'password': b'` + m + `'}`},
		{"Ruby", `{:user=>"shop", :password=>"` + pw + `"}`, `{:user=>"shop", :password=>"` + m + `"}`},
		{"form", "user[name]=shop&user[password]=" + pw + "&x=1", "user[name]=shop&user[password]=" + m + "&x=1"},
		{"connection string", "Server=db;Uid=shop;Pwd=" + pw + ";Encrypt=true", "Server=db;Uid=shop;Pwd=" + m + ";Encrypt=true"},
		{"XML", "<password>" + pw + "</password>", "<password>" + m + "</password>"},
		{"XML, attributes", `<add key="Password" value="` + pw + `"/>`, `<add key="Password" value="` + m + `"/>`},
		{"flag", "mysql --password " + pw + " --host db", "mysql --password " + m + " --host db"},
		{"flag with =", "mysql --password=" + pw + " --host db", "mysql --password=" + m + " --host db"},
		{"flag of a command", "mysql -h db -ph0nter2 shop; sshpass -p '" + pw + "' ssh x; mkdir -p " + pw, "mysql -h db -p[redacted:password#1] shop; sshpass -p '[redacted:password#2]' ssh x; mkdir -p " + pw},
		{"SQL, cut short", "ALTER USER shop IDENTIFIED BY 'correct horse", "ALTER USER shop IDENTIFIED BY '" + m},
		{"flag in a list", `["mysql", "--password", "` + pw + `", "--host"]`, `["mysql", "--password", "` + m + `", "--host"]`},
		{"numbered name", "PASSWORD_2=" + pw, "PASSWORD_2=" + m},
		{"qualified name", "DB_PASSWORD_OLD=" + pw, "DB_PASSWORD_OLD=" + m},
		{"name of words", "Initial root password: " + pw, "Initial root password: " + m},
		{"in brackets", "(password=" + pw + ")", "(password=" + m + ")"},
		{"line cut short", `password="correct horse`, `password="` + m},
		{"line cut short, no password", `token="aB3dE6gH` + `9kLmNpQr and more`, `token="[redacted:token#1] and more`},
		{"letters only", "token: aBcDeFgHiJkLmNoPqRsTuV", "token: [redacted:token#1]"},
		{"logfmt", `level=info msg="logged in" password=` + pw + ` took=3ms`, `level=info msg="logged in" password=` + m + ` took=3ms`},
		{"URL", "postgres://shop:" + pw + "@db:5432/shop", "postgres://shop:[redacted:url-password#1]@db:5432/shop"},
		{"URL, careless", "redis://:a/b@c@db:6379 amqp://u:p@ss@mq", "redis://:[redacted:url-password#1]@c@db:6379 amqp://u:[redacted:url-password#2]@mq"},
		{"URL, one letter", "postgres://u:p@db", "postgres://u:[redacted:url-password#1]@db"},
		{"URL, token", "https://" + token + "@gitlab.example/x https://" + token + ":x-oauth-basic@gitlab.example", "https://[redacted:gitlab-token#1]@gitlab.example/x https://[redacted:gitlab-token#1]:x-oauth-basic@gitlab.example"},
		{"URL, user", "https://0a1b2c3d4e5f60718293a4b5c6d7e8f9@errors.example/1", "https://[redacted:url-password#1]@errors.example/1"},
		{"header", "> Authorization: Bearer abcdef\n> Accept: */*", "> Authorization: Bearer [redacted:authorization#1]\n> Accept: */*"},
		{"header on a command line", "curl -H 'Authorization: Basic dTpw' https://x", "curl -H 'Authorization: Basic [redacted:authorization#1]' https://x"},
		{"header with parameters", `Authorization: Digest username="u", response="0a1b"`, `Authorization: Digest [redacted:authorization#1]`},
		{"header with parameters, quoted", `-H "Authorization: Digest username=\"u\", response=\"0a1b\"" -v`, `-H "Authorization: Digest [redacted:authorization#1]" -v`},
		{"headers in JSON", `{"Authorization":["Bearer abcdef"],"Accept":["*/*"]}`, `{"Authorization":["Bearer [redacted:authorization#1]"],"Accept":["*/*"]}`},
		{"headers in Go", "map[Accept:[*/*] Authorization:[Bearer abcdef] Cookie:[a=bcde; c=d]]", "map[Accept:[*/*] Authorization:[Bearer [redacted:authorization#1]] Cookie:[[redacted:cookie#1]]]"},
		{"cookies", "Cookie: a=bcde; c=d\nHost: x", "Cookie: [redacted:cookie#1]\nHost: x"},
		{"set cookie", "Set-Cookie: sid=abcdef; Path=/; HttpOnly", "Set-Cookie: sid=[redacted:cookie#1]; Path=/; HttpOnly"},
		{"prefix in a sentence", "The token is " + token + ". Keep it.", "The token is [redacted:gitlab-token#1]. Keep it."},
		{"prefix after escapes", `a\n` + token + `%20` + token + `\u003d` + token, `a\n[redacted:gitlab-token#1]%20[redacted:gitlab-token#1]\u003d[redacted:gitlab-token#1]`},
		{"prefix after colours without escape", "[31m" + token + "[0m", "[31m[redacted:gitlab-token#1][0m"},
		{"coloured", "\x1b[31m" + token[:9] + "\x1b[0m" + token[9:] + " x", "[redacted:gitlab-token#1] x"},
		{"zero width", "password\u200b: hun\u200bter2", "password: " + m},
		{"by its looks, behind a name", "token: " + token, "token: [redacted:gitlab-token#1]"},
		{"PEM", "x: |\n" + dashes + "BEGIN " + key + "\nb: c", "x: |\n[redacted:private-key#1]\nb: c"},
		{"PEM, indented", "  x\n  " + strings.ReplaceAll(dashes+"BEGIN "+key, "\n", "\n  ") + "\n", "  x\n  [redacted:private-key#1]\n"},
		{"PEM in JSON", `{"k":"` + strings.ReplaceAll(dashes+"BEGIN "+key, "\n", `\n`) + `\n","l":1}`, `{"k":"[redacted:private-key#1]\n","l":1}`},
		{"PEM, cut", (dashes + "BEGIN " + key)[:300] + "\n2025-03-15 next line", "[redacted:private-key#1]\n2025-03-15 next line"},
		{"PEM, encrypted, cut", dashes + "BEGIN RSA " + privateKeyLabel + dashes + "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n" + strings.Repeat("aB3d", 16) + "\nx y", "[redacted:private-key#1]\nx y"},
		{"PEM, behind a log's prefix", "web-1  | " + strings.ReplaceAll(dashes+"BEGIN "+key, "\n", "\nweb-1  | ") + "\nweb-1  | started", "web-1  | [redacted:private-key#1]\nweb-1  | started"},
		{
			"Secret", "apiVersion: v1\ndata:\n  ca.crt: aGVsbG8gd29ybGQ=\n  user: \"c2hvcA==\"\n\n  conf: |\n    a=b12345\n    c\nkind: Secret\nmetadata:\n  name: shop-database\n---\nkind: ConfigMap\ndata:\n  mode: aGVsbG8gd29ybGQ=\n",
			"apiVersion: v1\ndata:\n  ca.crt: [redacted:kubernetes-secret#1]\n  user: \"[redacted:kubernetes-secret#2]\"\n\n  conf: |\n    [redacted:kubernetes-secret#3]\nkind: Secret\nmetadata:\n  name: shop-database\n---\nkind: ConfigMap\ndata:\n  mode: aGVsbG8gd29ybGQ=\n",
		},
		{"Secret in JSON in JSON", `{"last":"{\"data\":{\"user\":\"c2hvcHVzZXI=\",\"b\":\"aGVsbG8=\"},\"kind\":\"Secret\",\"metadata\":{\"name\":\"shop-db\"}}"}`, `{"last":"{\"data\":{\"user\":\"[redacted:kubernetes-secret#1]\",\"b\":\"[redacted:kubernetes-secret#2]\"},\"kind\":\"Secret\",\"metadata\":{\"name\":\"shop-db\"}}"}`},
		{
			"Secret's YAML in JSON", `{"msg":"kind: Secret\nmetadata:\n  note: aGVsbG8gd29ybGQ=\ndata:\n  ca.crt: aGVsbG8gd29ybGQ=\n\n  user: \"c2hvcA==\"\ntype: Opaque","to":"shop-database","at":"12:00"}`,
			`{"msg":"kind: Secret\nmetadata:\n  note: aGVsbG8gd29ybGQ=\ndata:\n  ca.crt: [redacted:kubernetes-secret#1]\n\n  user: \"[redacted:kubernetes-secret#2]\"\ntype: Opaque","to":"shop-database","at":"12:00"}`,
		},
		{
			"Secret's YAML in JSON, at its end", `{"msg":"- data:\r\n    ca.crt: aGVsbG8gd29ybGQ=\r\n  kind: Secret\nstringData:\n  a: hello","to":"shop-database","n":"abcd: efgh"}`,
			`{"msg":"- data:\r\n    ca.crt: [redacted:kubernetes-secret#1]\r\n  kind: Secret\nstringData:\n  a: [redacted:kubernetes-secret#2]","to":"shop-database","n":"abcd: efgh"}`,
		},
		{
			"Secret's strings", `{"kind":"Secret","stringData":{"a":"abc","b":"correct horse","c":"true","d":"/etc/path","e":"http://x","f":"","g":null},"to":"true"}`,
			`{"kind":"Secret","stringData":{"a":"[redacted:kubernetes-secret#1]","b":"[redacted:kubernetes-secret#2]","c":"[redacted:kubernetes-secret#3]","d":"[redacted:kubernetes-secret#4]","e":"[redacted:kubernetes-secret#5]","f":"","g":null},"to":"true"}`,
		},
		{"no data in a string", `kind: Secret, some data\n  a.b: hello and more`, `kind: Secret, some data\n  a.b: hello and more`},
		{"ConfigMap's YAML in JSON", `{"msg":"kind: ConfigMap\ndata:\n  ca.crt: aGVsbG8gd29ybGQ=\n"}`, `{"msg":"kind: ConfigMap\ndata:\n  ca.crt: aGVsbG8gd29ybGQ=\n"}`},
		{"JWT", "x-amzn: " + makeJWT(rand.New(rand.NewPCG(5, 5))) + ", next", "x-amzn: [redacted:jwt#1], next"},
		{"JWT, detached", "eyJhbGciOiJIUzI1NiJ9..c2lnbmF0dXJl x", "[redacted:jwt#1] x"},
		{"JWT, four parts", "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl.com x", "[redacted:jwt#1].com x"},
		{"JWE", "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..aXY.dGV4dA.dGFn x", "[redacted:jwt#1] x"},
		{"a word that a sentence follows", "password: hello " + token, "password: hello [redacted:gitlab-token#1]"},
		{"two that touch", "AKIA" + "2345672345ABCDEF" + "ghp_" + withChecksum(rand.New(rand.NewPCG(6, 6))), "[redacted:aws-access-key#1][redacted:github-token#1]"},
		{"a marker and more", "password=[redacted:jwt#1]abc", "password=" + m},
		{"a marker that is none", `password="[redacted:everything#1]" password="[redacted:jwt#1a]"`, `password="` + m + `" password="[redacted:password#2]"`},
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

// TestNumbers: one secret has one marker, wherever it stands and by whatever it is found first.
func TestNumbers(t *testing.T) {
	s := New()
	for _, tc := range []struct{ in, want string }{
		{"password=first1", "password=[redacted:password#1]"},
		{"password=second", "password=[redacted:password#2]"},
		{"client_secret=third33", "client_secret=[redacted:secret#1]"},
		{"http://u:second@h", "http://u:[redacted:password#2]@h"},
		{"password=first1 password=third33", "password=[redacted:password#1] password=[redacted:secret#1]"},
	} {
		if got := s.Text(tc.in); got != tc.want {
			t.Errorf("Text(%q) = %q, want %q", tc.in, got, tc.want)
		}
	}
	numbered := len(s.markers)
	for i := range maxNumbered {
		if strings.Contains(s.Text(fmt.Sprintf("password=number%d", i)), "#") {
			numbered++
		}
	}
	if numbered != maxNumbered {
		t.Errorf("%d secrets have a number, want %d", numbered, maxNumbered)
	}
	if got, want := s.Text("password=beyond"), "password=[redacted:password]"; got != want || Text(got) != got {
		t.Errorf("beyond what is numbered: %q, want %q", got, want)
	}
	if got, want := s.Text("password=second"), "password=[redacted:password#2]"; got != want {
		t.Errorf("numbered before: %q, want %q", got, want)
	}
}

// TestReserved: the mark that a text holds already stands for nothing else, whichever comes first.
func TestReserved(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"password=[redacted:password#1] password=other1", "password=[redacted:password#1] password=[redacted:password#2]"},
		{"password=other1 password=[redacted:password#7] token=[redacted:jwt#2]", "password=[redacted:password#8] password=[redacted:password#7] token=[redacted:jwt#2]"},
		{"password=other1 x=[redacted:password#99999999999999999999] y=[redacted:password#] [redacted:", "password=[redacted:password#1] x=[redacted:password#99999999999999999999] y=[redacted:password#] [redacted:"},
	} {
		if got := Text(tc.in); got != tc.want {
			t.Errorf("Text(%q)\n got %q\nwant %q", tc.in, got, tc.want)
		}
		if got := string(New().Stream(false).Line(nil, []byte(tc.in))); got != tc.want {
			t.Errorf("Line(%q)\n got %q\nwant %q", tc.in, got, tc.want)
		}
	}
}

func TestMember(t *testing.T) {
	for _, tc := range []struct{ name, value, want string }{
		{"password", "correct horse", "[redacted:password#1]"},
		{"password", "[redacted:password#1]", "[redacted:password#1]"},
		{"password", "", ""},
		{"db.password", "hun\u200bter2", "[redacted:password#1]"},
		{"next_token", "aB3dE6gH" + "9kLmNpQr", "aB3dE6gH" + "9kLmNpQr"},
		{"digest", "sha256:08f805f27a7e6c15310e35e788cb1142fc0df90bc39fd7c6431f4695b4a35a9d", "sha256:08f805f27a7e6c15310e35e788cb1142fc0df90bc39fd7c6431f4695b4a35a9d"},
		{"Authorization", "Bearer abcdef", "Bearer [redacted:authorization#1]"},
		{"description", "sets password=hunter2", "sets password=[redacted:password#1]"},
		{"secret", "shop-tls", "shop-tls"},
		{"password", "nu\u200bll", "null"},
	} {
		if got := New().Member(tc.name, tc.value); got != tc.want {
			t.Errorf("Member(%q, %q) = %q, want %q", tc.name, tc.value, got, tc.want)
		}
	}
}

// checkText fails if a text that was scrubbed could not be shown.
func checkText(t *testing.T, in, out string) {
	t.Helper()
	if !utf8.ValidString(out) || strings.ContainsFunc(out, func(r rune) bool { return unicode.Is(removed, r) }) {
		t.Errorf("%q holds what must go", out)
	}
	if again := Text(out); again != out {
		t.Errorf("scrubbing twice: %q became %q, then %q", in, out, again)
	}
	// Three bytes at most for one that is invalid; a marker at most for every secret, of which the shortest stands in ://:x@.
	if limit := 8*len(in) + 64; len(out) > limit {
		t.Errorf("%d bytes of %d", len(out), len(in))
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{
		"", "plain", "\x1b[31mred\x1b[0m", "\x1b]0;t\x07", "\x1b\x1b[[", "a\u202eb\xff", "\x1b]\x1b\\", "password=hunter2", `{"log":"{\"password\":\"hun\\\"ter2\"}\n"}`,
		"http://u:p@h", "http://[redacted:jwt#1]/x:y@z", "[redacted:password#1]", "password: |\n  x\n y", "Cookie:[a=bcde]", "token=${A:-b}", "--password x y", "a:::=>b=c", "name: pw\nvalue: x",
		dashes + "BEGIN " + privateKeyLabel + dashes + "\n" + strings.Repeat("x", 64), "Authorization: Digest a=b,c=d",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Text(s)
		checkText(t, s, got)
		if c := characters(s); clean(s) && c != s {
			t.Errorf("clean text changed: %q to %q", s, c)
		}
		if got == markerStart+unsettled+"]" && len(s) < 200 {
			t.Errorf("%q does not settle", s)
		}
		m := New().Member("password", s)
		checkText(t, s, m)
	})
}

// FuzzPlanted: no secret of any row of the table survives, whatever stands around it and however it is written.
func FuzzPlanted(f *testing.F) {
	m := compile()
	for i := range m.formats {
		for place := range places {
			f.Add(uint64(i*31+place), i, 0, place, "before", "after")
		}
	}
	f.Add(uint64(1), 1, 1, 2, "${", "}")
	f.Add(uint64(2), 8, 0, 1, `password="`, `"`)
	f.Fuzz(func(t *testing.T, seed uint64, index, start, place int, before, after string) {
		fm := m.formats[abs(index)%len(m.formats)]
		r := rand.New(rand.NewPCG(seed, seed))
		text, secret := specimens[row(fm)].make(r, fm, starts(fm)[abs(start)%len(starts(fm))])
		in, secret := planted(r, text, secret, before, after, abs(place))
		out := Text(in)
		checkText(t, in, out)
		if strings.Contains(out, secret) && !strings.Contains(before, secret) && !strings.Contains(after, secret) {
			t.Errorf("%q survives in %q, which was %q", secret, out, in)
		}
	})
}

// TestPlanted: so it is for every prefix and name, in every place.
func TestPlanted(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for _, f := range compile().formats {
		for _, start := range starts(f) {
			for place := range places * 4 {
				text, secret := specimens[row(f)].make(r, f, start)
				in, secret := planted(r, text, secret, `{"a": "b`, `c"}`, place)
				if out := Text(in); strings.Contains(out, secret) {
					t.Errorf("%q survives in %q, which was %q", secret, out, in)
				}
			}
		}
	}
}

// starts returns the prefixes and names of a format that a specimen can be made with.
func starts(f format) []string {
	return slices.DeleteFunc(slices.Concat(f.prefixes, f.names, f.services), func(s string) bool { return s == "ew" }) // a header that begins with a line break
}

func abs(n int) int { return int(uint(n) >> 1) }

// places is how many things a text can be part of.
const places = 10

// planted returns text between before and after, as one of these, and how its secret is written there.
func planted(r *rand.Rand, text, secret, before, after string, place int) (in, written string) {
	switch place % places {
	case 8: // percent-encoded
		encoded := url.PathEscape(text)
		return before + "\nGET /go?to=/x%3Fa%3Db%26" + encoded + "%26c HTTP/1.1\n" + after, encoded
	case 9: // base64
		encoded := base64.StdEncoding.EncodeToString([]byte("echo " + text + "\n"))
		return before + "\n" + encoded + "\n" + after, encoded
	}
	return plantedPlain(r, text, before, after, place), secret
}

func plantedPlain(r *rand.Rand, text, before, after string, place int) string {
	switch place % places {
	case 0: // lines
		return before + "\n" + text + "\n" + after
	case 1: // a JSON string, with what surrounds it
		b, _ := json.Marshal(before + "\n" + text + "\n" + after)
		return string(b)
	case 2: // JSON in JSON
		b, _ := json.Marshal(map[string]string{"before": before, "log": text, "then": after})
		b, _ = json.Marshal(string(b))
		return string(b)
	case 3: // a URL's query
		return before + "\nGET /x?a=b&" + text + "&c=d HTTP/1.1\n" + after
	case 4: // logfmt
		return before + "\nlevel=info " + text + " took=3ms\n" + after
	case 5: // punctuation
		return before + "\n(" + text + ")\n" + after
	case 6: // cut by what cannot be seen
		runes := []rune(text)
		at := r.IntN(len(runes))
		cut := []string{"\u200b", "\ufeff", "\x1b[1m", "\u202e", "\x00"}[r.IntN(5)]
		return before + "\n" + string(runes[:at]) + cut + string(runes[at:]) + "\n" + after
	default: // the end of the text
		return before + "\n" + text
	}
}
