package scrub

import "testing"

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
