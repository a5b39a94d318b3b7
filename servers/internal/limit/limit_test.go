package limit

import (
	"errors"
	"strings"
	"testing"
)

func TestReadAll(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		max      int64
		tooLarge bool
	}{
		{"empty", "", 0, false},
		{"one below", "abc", 4, false},
		{"exactly full", "abcd", 4, false},
		{"one above", "abcde", 4, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := ReadAll(strings.NewReader(tc.in), tc.max)
			if errors.Is(err, ErrTooLarge) != tc.tooLarge {
				t.Fatalf("err = %v, want too large: %t", err, tc.tooLarge)
			}
			if !tc.tooLarge && string(got) != tc.in {
				t.Errorf("got %q, want %q", got, tc.in)
			}
		})
	}
}
