package scrub

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"plain", "a line\n\tand ünïcödé 日本\r\n", "a line\n\tand ünïcödé 日本\r\n"},
		{"colours", "\x1b[31mred\x1b[0m", "red"},
		{"title", "\x1b]0;pwned\x07x\x1b]8;;http://e\x1b\\link", "xlink"},
		{"unfinished escape", "a\x1b[31", "a31"},
		{"control", "a\x00b\x08c\x7fd\u0085e", "abcde"},
		{"bidirectional", "user\u202enimda\u2066x\u2069", "usernimdax"},
		{"zero width", "pass\u200bword\ufeff\u2060", "password"},
		{"tags", "hi\U000E0041\U000E0042", "hi"},
		{"selectors", "x\ufe0f\U000E0100", "x"},
		{"private use", "\ue000\U000F0000\U00100000x", "x"},
		{"invalid", "a\xffb", "a\ufffdb"},
		{"sequence made by removal", "\x1b\u200b[31mx", "[31mx"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := Text(tc.in); got != tc.want {
				t.Errorf("Text(%q) = %q, want %q", tc.in, got, tc.want)
			}
		})
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"", "plain", "\x1b[31mred\x1b[0m", "\x1b]0;t\x07", "\x1b\x1b[[", "a\u202eb\xff", "\x1b]\x1b\\"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Text(s)
		if again := Text(got); again != got {
			t.Errorf("scrubbing twice: %q, then %q", got, again)
		}
		if !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return unicode.Is(removed, r) }) {
			t.Errorf("%q holds what must go", got)
		}
		if clean(s) && got != s {
			t.Errorf("clean text changed: %q to %q", s, got)
		}
	})
}
