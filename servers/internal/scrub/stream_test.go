package scrub

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// lines returns what a Stream makes of the lines of a text.
func lines(text string, midway bool) string {
	st := New().Stream(midway)
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		out = append(out, string(st.Line(nil, []byte(line))))
	}
	return strings.Join(out, "\n")
}

func TestStream(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	key := dashes + "BEGIN " + pem(privateKeyLabel, "\n")(r)
	short := dashes + "BEGIN " + privateKeyLabel + dashes + "\nMC4CAQAwBQYDK2VwBCIEIJ\n" + dashes + "END " + privateKeyLabel + dashes
	const one = "[redacted:private-key]"
	shown := strings.Repeat(one+"\n", 8) + "[redacted:private-key#1]"
	rest := strings.SplitAfterN(key, "\n", 3)[2]
	for _, tc := range []struct {
		name   string
		midway bool
		in     string
		want   string
	}{
		{"plain", false, "a\n\nb\tc\r", "a\n\nb\tc\r"},
		{"key", false, "a\n" + key + "\nb", "a\n" + shown + "\nb"},
		{"key twice, and another", false, key + "\n" + key + "\n" + short, shown + "\n" + shown + "\n" + one + "\n" + one + "\n[redacted:private-key#2]"},
		{"key behind a prefix", false, "12:00 | " + strings.ReplaceAll(key, "\n", "\n12:00 | ") + "\n12:01 | done", "12:00 | " + strings.ReplaceAll(shown, "\n", "\n12:00 | ") + "\n12:01 | done"},
		{"key in records", false, `{"log":"` + strings.ReplaceAll(key, "\n", `\n","n":1}`+"\n"+`{"log":"`) + `\n","n":1}`, `{"log":"` + strings.ReplaceAll(shown, "\n", `\n","n":1}`+"\n"+`{"log":"`) + `\n","n":1}`},
		{"key among others", false, strings.Replace(key, "\n", "\nGET /usr/share/ServiceAccount2/x 200\n", 1) + "\nb", strings.Replace(shown, "\n", "\nGET /usr/share/ServiceAccount2/x 200\n", 1) + "\nb"},
		{"key without an end", false, strings.Split(key, "\n")[0] + "\n" + strings.Split(key, "\n")[1] + "\nstarted at noon\nb", one + "\n" + one + "\nstarted at noon\nb"},
		{"key, and then many others", false, strings.SplitN(key, "\n", 2)[0] + strings.Repeat("\nat noon", maxAmong+1) + "\n" + strings.Split(key, "\n")[1], one + strings.Repeat("\nat noon", maxAmong+1) + "\n" + strings.Split(key, "\n")[1]},
		{"key without an end, then a word", false, strings.Join(strings.Split(key, "\n")[:7], "\n") + "\nMC4CAQAwBQ\nstarted\nb", strings.Repeat(one+"\n", 7) + "[redacted:private-key]\nstarted\nb"},
		{"key without an end, very long", false, strings.SplitN(key, "\n", 2)[0] + strings.Repeat("\n"+strings.Split(key, "\n")[1], maxKeyBytes/64+2), one + strings.Repeat("\n"+one, maxKeyBytes/64+1) + "\n" + strings.Split(key, "\n")[1]},
		{"PuTTY's", false, "Comment: x\nPrivate-Lines: 2\n" + strings.Repeat("aB3d", 16) + "\naB3daB3d\nPrivate-MAC: 0a1b", "Comment: x\n" + one + "\n" + one + "\n" + one + "\nPrivate-MAC: 0a1b"},
		{"key on one line", false, strings.ReplaceAll(key, "\n", `\n`) + "\nb", "[redacted:private-key#1]\nb"},
		{"no key", false, dashes + "BEGIN " + privateKeyLabel + dashes + " is how it begins\nb", dashes + "BEGIN " + privateKeyLabel + dashes + " is how it begins\nb"},
		{"rest of a key", true, rest + "\nb", strings.Repeat(one+"\n", 6) + "[redacted:private-key#1]\nb"},
		{"rest of a key without an end", true, strings.Join(strings.Split(rest, "\n")[:6], "\n") + "\nat noon\n" + rest, strings.Repeat(one+"\n", 6) + "at noon\n" + rest},
		{"rest of a key, at the beginning", false, rest, rest},
		{"rest of nothing", true, "a\nb", "a\nb"},
		{"rest of a certificate", true, dashes + "END CERTIFICATE" + dashes + "\nb", dashes + "END CERTIFICATE" + dashes + "\nb"},
		{"block", false, "db:\n  password: |\n    hunter2\n\n    more than that\n  user: shop", "db:\n  password: |\n    [redacted:password#1]\n\n    [redacted:password#2]\n  user: shop"},
		{"block of a name that needs more", false, "token: >-\n  see the manual\nb", "token: >-\n  see the manual\nb"},
		{"name and value", false, "- name: DB_PASSWORD\n  value: hunter2\n- name: USER\n  value: shop", "- name: DB_PASSWORD\n  value: [redacted:password#1]\n- name: USER\n  value: shop"},
		{"name and value, far apart", false, "- name: DB_PASSWORD\n" + strings.Repeat("#\n", 150) + "  value: hunter2", "- name: DB_PASSWORD\n" + strings.Repeat("#\n", 150) + "  value: hunter2"},
		{"numbers", false, "password=one1\npassword=two2\npassword=one1", "password=[redacted:password#1]\npassword=[redacted:password#2]\npassword=[redacted:password#1]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := lines(tc.in, tc.midway)
			if got != tc.want {
				t.Errorf("%q\n got %q\nwant %q", tc.in, got, tc.want)
			}
			if again := lines(got, tc.midway); again != got && !strings.Contains(tc.name, "without an end") {
				t.Errorf("scrubbing twice: %q, then %q", got, again)
			}
		})
	}
}

func TestCut(t *testing.T) {
	secret := "ghp_" + withChecksum(rand.New(rand.NewPCG(9, 9)))
	for _, line := range []string{
		"token " + secret, "https://user:" + secret, `{"password":"hunter2 and `, `{"a":"` + secret, "password=hun", "Authorization: Bearer abcdefgh", "pass hunter2", secret,
	} {
		for end := range len(line) + 1 {
			got := string(New().Stream(false).Cut(nil, []byte(line[:end])))
			for _, piece := range []string{"hun", secret[:6], "abc"} {
				if strings.Contains(got, piece) {
					t.Fatalf("%q: %q is shown in %q", line[:end], piece, got)
				}
			}
			if again := string(New().Stream(false).Cut(nil, []byte(got))); again != got {
				t.Errorf("cutting twice: %q, then %q", got, again)
			}
		}
	}
}

// TestWriter: what is written in whatever pieces is what the lines are, however long.
func TestWriter(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 10))
	var long strings.Builder
	for long.Len() < 4*maxWritten {
		fmt.Fprintf(&long, `{"n":%d,"text":"%s","password":"%s","at":"\u001b[31m%s"},`, r.IntN(1e6), strings.Repeat("word and ", r.IntN(4000)), random(r, alphanumeric, 10), "ghp_"+withChecksum(r))
		if r.IntN(4) == 0 {
			long.WriteString("state=" + base64.StdEncoding.EncodeToString([]byte("the password=hunter2 of "+random(r, alphanumeric, 3000))) + " ")
		}
		if r.IntN(4) == 0 {
			long.WriteString("ü\x1b[1m\x00" + "AKIA" + random(r, base32Upper, 8) + "\x1b[0m" + random(r, base32Upper, 8) + " ")
		}
	}
	text := "a\npassword=hunter2\n\n" + long.String() + "\nshort\n" + dashes + "BEGIN " + pem(privateKeyLabel, "\n")(r) + "\nlast"
	want := lines(text, false)
	for _, size := range []int{1, 7, 4096, maxWritten - 1, maxWritten, maxWritten + 1, len(text)} {
		var out bytes.Buffer
		w := NewWriter(&out, New().Stream(false))
		for rest := text; rest != ""; rest = rest[min(size, len(rest)):] {
			n := min(size, len(rest))
			if written, err := io.WriteString(w, rest[:n]); written != n || err != nil {
				t.Fatal(written, err)
			}
			if cap(w.line) > 3*maxWritten || cap(w.out) > 3*maxWritten {
				t.Fatalf("%d and %d bytes are held", cap(w.line), cap(w.out))
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != want {
			i := 0
			for got[i] == want[i] {
				i++
			}
			t.Fatalf("pieces of %d: from byte %d\n got %.200q\nwant %.200q", size, i, got[i:], want[i:])
		}
	}
}

// TestWriterPlaces: wherever in a long line a secret stands, what is held ends within it or not.
func TestWriterPlaces(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 17))
	for _, secret := range []string{
		"ghp_" + withChecksum(r), "password: hunter2", jsonText(dashes + "BEGIN " + pem(privateKeyLabel, "\n")(r)), "state=" + base64.StdEncoding.EncodeToString([]byte("the password=hunter2 of "+random(r, alphanumeric, 300))),
		"x=%22password%22%3A%22hunter2%22", "https://user:" + random(r, alphanumeric, 200) + "@host", "Cookie: a=" + random(r, alphanumeric, 300), makeJWT(r), "gl\x1b[1mpat-" + random(r, alphanumeric, 20),
	} {
		want := Text(secret)
		if want == secret {
			t.Fatalf("%q is no secret", secret)
		}
		for _, boundary := range []int{maxWritten - maxPEM, maxWritten} {
			for place := range 8 {
				before := strings.Repeat("a word ", maxWritten)[:boundary-len(secret)-6+place*(len(secret)+12)/7]
				var out bytes.Buffer
				w := NewWriter(&out, New().Stream(false))
				if _, err := io.WriteString(w, before+" "+secret+" "+strings.Repeat("x ", maxWritten)+"\n"); err != nil {
					t.Fatal(err)
				}
				if got := out.String()[len(before):]; !strings.HasPrefix(got, " "+want+" x x") {
					t.Fatalf("%.40q at %d of %d: %.300q, want %.300q", secret, len(before), boundary, got, want)
				}
			}
		}
	}
}

// TestWriterEndless: a secret that does not end is not held, and not shown.
func TestWriterEndless(t *testing.T) {
	var out bytes.Buffer
	w := NewWriter(&out, New().Stream(false))
	for i := range 100 {
		start := `{"password":"`
		if i > 0 {
			start = ""
		}
		if _, err := io.WriteString(w, start+strings.Repeat("correct horse", 10_000)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.WriteString(w, "\"}\nafter"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), `{"password":"[redacted:password#1]`+"\nafter"; got != want {
		t.Errorf("got %.200q, want %q", got, want)
	}
}

// FuzzStream: lines leave no more of a text than they may, and settle.
func FuzzStream(f *testing.F) {
	for _, s := range []string{"a\nb", "password: |\n  x1y2\n", "name: token\nvalue: x", "kind: Secret\ndata:\n  a: b1234567\n  c: |\n    x\n", "apiVersion: v1\ndata:\n  a: aGVsbG8=\n", "x\"kind\": \"Secret\n\"data\": {\n \"a\": \"b\"}\n", dashes + "BEGIN " + privateKeyLabel + dashes + "\nMC4CAQAwBQYDK2VwBCIEIJ\n" + dashes + "END " + privateKeyLabel + dashes} {
		f.Add(s, 3)
	}
	f.Fuzz(func(t *testing.T, text string, size int) {
		want := lines(text, false)
		for line := range strings.SplitSeq(want, "\n") {
			checkText(t, text, line)
		}
		var out bytes.Buffer
		w := NewWriter(&out, New().Stream(false))
		for rest := text; rest != ""; {
			n := min(len(rest), 1+abs(size)%64)
			if _, err := io.WriteString(w, rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if out.String() != want {
			t.Errorf("written %q, by lines %q", out.String(), want)
		}
	})
}
