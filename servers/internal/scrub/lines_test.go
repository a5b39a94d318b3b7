package scrub

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// keyInLines is a private key as a log shows it, and what its lines become.
func keyInLines() (lines, want []string) {
	armor := strings.Repeat("MIIEvQIBADANBgkqhkiG9w0BAQEF", 2)
	return []string{
			"before", dashes + "BEGIN " + privateKeyLabel + dashes, armor, armor + "==", dashes + "END " + privateKeyLabel + dashes + " rest",
			"password=correct-horse-battery", "two\nlines", "after",
		}, []string{
			"before", "[redacted:private-key#1] rest", "[redacted:private-key#1]", "[redacted:private-key#1]", "[redacted:private-key#1]",
			"password=[redacted:password#1]", "two\nlines", "after",
		}
}

func TestLines(t *testing.T) {
	lines, want := keyInLines()
	if diff := cmp.Diff(want, New().Lines(lines)); diff != "" {
		t.Error(diff)
	}
	for _, lines := range [][]string{nil, {""}, {"", ""}, {"a\n"}, {"\x1b[31mred\x1b[0m", "\x00\n\x00"}} {
		got := New().Lines(lines)
		if len(got) != len(lines) {
			t.Errorf("%q: %q", lines, got)
		}
		for i := range got {
			if want := Text(lines[i]); got[i] != want {
				t.Errorf("%q: %q, want %q", lines, got[i], want)
			}
		}
	}
}

func FuzzLines(f *testing.F) {
	lines, _ := keyInLines()
	f.Add(strings.Join(lines, "\n"), 3)
	f.Fuzz(func(t *testing.T, text string, every int) {
		lines := strings.Split(text, "\n")
		if every > 0 && every < len(lines) { // one of them holds newlines
			lines = append([]string{strings.Join(lines[:every], "\n")}, lines[every:]...)
		}
		got := New().Lines(lines)
		if len(got) != len(lines) {
			t.Fatalf("%d lines of %d", len(got), len(lines))
		}
		whole := Text(text)
		joined := strings.Join(got, "\n")
		if !strings.Contains(joined, markerStart) && joined != whole || strings.Contains(joined, markerStart) != strings.Contains(whole, markerStart) {
			t.Errorf("%q: %q is %q as lines", text, whole, joined)
		}
	})
}

func TestMarks(t *testing.T) {
	for literal, want := range map[string]bool{
		"redact": true, "aws-acc": true, ":aws": true, "[": true, "x]": true, "timeout": false, "ERROR": false, "500": false, "key of": false,
	} {
		if got := Marks(literal); got != want {
			t.Errorf("%q: %v", literal, got)
		}
	}
}

func TestRenumbered(t *testing.T) {
	r := NewRenumberer()
	text := "a [redacted:password#7] b [redacted:password#3] [redacted:x#1] [redacted:password] [redacted:password#7]"
	if got, want := r.Text(text), "a [redacted:password#1] b [redacted:password#2] [redacted:x#1] [redacted:password] [redacted:password#1]"; got != want {
		t.Error(got)
	}
	if got, want := Unnumbered(text), "a [redacted:password] b [redacted:password] [redacted:x#1] [redacted:password] [redacted:password]"; got != want {
		t.Error(got)
	}
}
