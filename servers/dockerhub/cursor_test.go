package main

import (
	"encoding/base64"
	"testing"
)

func TestCursor(t *testing.T) {
	sum := listing("docker.io/library/nginx", "", "newest")
	for _, want := range []cursor{{1, 1, sum}, {2, 25, sum}, {maxPage, maxPageSize, sum}} {
		got, err := parseCursor(want.String())
		if err != nil || got != want {
			t.Errorf("%+v came back as %+v, %v", want, got, err)
		}
		if len(want.String()) > 64 {
			t.Errorf("%s is longer than its argument may be", want)
		}
	}
	for _, text := range []string{
		"", "2.25", "2.25.abc", "0.25." + sum, "-1.25." + sum, "2.0." + sum, "2.101." + sum, "1000001.25." + sum,
		"02.25." + sum, "+2.25." + sum, "2.25." + sum + ".1", "99999999999999999999.25." + sum,
	} {
		if c, err := parseCursor(base64.RawURLEncoding.EncodeToString([]byte(text))); err == nil {
			t.Errorf("%q became %+v", text, c)
		}
	}
	if _, err := parseCursor("no cursor!"); err == nil {
		t.Error("what is not base64 became a cursor")
	}
	// The parts are kept apart: ("a", "b") is another listing than ("ab", "").
	if listing("r", "a", "b") == listing("r", "ab", "") {
		t.Error("two listings have one name")
	}
}

// FuzzCursor: a cursor that is accepted is one that String writes, and within the bounds.
func FuzzCursor(f *testing.F) {
	f.Add(cursor{2, 25, listing("docker.io/library/nginx", "alpine", "oldest")}.String())
	f.Add("Mi4yNQ")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCursor(text)
		if err != nil {
			return
		}
		if c.String() != text {
			t.Errorf("%q is read as %+v, which is written %q", text, c, c)
		}
		if c.page < 1 || c.page > maxPage || c.size < 1 || c.size > maxPageSize {
			t.Errorf("%q leaves the bounds: %+v", text, c)
		}
	})
}
