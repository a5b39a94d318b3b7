package main

import (
	"encoding/base64"
	"errors"
	"testing"
)

func TestCursor(t *testing.T) {
	listing := sumOf("docker.io/library/nginx", "", "newest")
	small := cursor{kind: tagsCursor, listing: listing, at: 1, size: 1, limit: 1}
	big := cursor{kind: digestCursor, listing: listing, at: maxRows, size: maxPageSize, limit: maxPageSize, total: maxRows, last: -1 << 63, name: sumOf("x"), began: 1 << 62, changed: true}
	for _, want := range []cursor{small, big} {
		got, err := parseCursor(want.String(), want.kind, listing)
		if err != nil || got != want {
			t.Errorf("%+v came back as %+v, %v", want, got, err)
		}
		if len(want.String()) > 128 {
			t.Errorf("%s is longer than its argument may be", want)
		}
	}
	for name, c := range map[string]cursor{
		"before the beginning": {kind: tagsCursor, listing: listing, size: 1, limit: 1},
		"no page":              {kind: tagsCursor, listing: listing, at: 1, limit: 1},
		"too large a page":     {kind: tagsCursor, listing: listing, at: 1, size: maxPageSize + 1, limit: 1},
		"no rows":              {kind: tagsCursor, listing: listing, at: 1, size: 1},
		"too many rows":        {kind: tagsCursor, listing: listing, at: 1, size: 1, limit: maxPageSize + 1},
		"too far":              {kind: tagsCursor, listing: listing, at: maxRows + 1, size: 1, limit: 1},
		"too many":             {kind: tagsCursor, listing: listing, at: 1, size: 1, limit: 1, total: maxRows + 1},
	} {
		if got, err := parseCursor(c.String(), tagsCursor, listing); !errors.Is(err, errCursor) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	// A place in another list is none in this one.
	if _, err := parseCursor(small.String(), tagsCursor, sumOf("another")); !errors.Is(err, errOtherListing) {
		t.Errorf("another list: %v", err)
	}
	if _, err := parseCursor(small.String(), digestCursor, listing); !errors.Is(err, errOtherListing) {
		t.Errorf("another tool: %v", err)
	}
	// Whatever byte is changed, cut off or added, it is noticed.
	whole, err := base64.RawURLEncoding.DecodeString(big.String())
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		changed := append([]byte(nil), whole...)
		changed[i] ^= 1
		for _, data := range [][]byte{changed, whole[:i]} {
			if c, err := parseCursor(base64.RawURLEncoding.EncodeToString(data), big.kind, listing); err == nil {
				t.Errorf("byte %d: became %+v", i, c)
			}
		}
	}
	for _, text := range []string{"", "no cursor!", big.String() + "A", big.String() + "=", "Mi4yNQ"} {
		if _, err := parseCursor(text, big.kind, listing); !errors.Is(err, errCursor) {
			t.Errorf("%q: %v", text, err)
		}
	}
	// The parts are kept apart: ("a", "b") is another listing than ("ab", "").
	if sumOf("r", "a", "b") == sumOf("r", "ab", "") {
		t.Error("two listings have one name")
	}
}

// FuzzCursor: a cursor that is accepted is one that String writes, and within the bounds.
func FuzzCursor(f *testing.F) {
	listing := sumOf("docker.io/library/nginx", "alpine", "oldest")
	f.Add(cursor{kind: tagsCursor, listing: listing, at: 25, size: 25, limit: 25, total: 230, last: 1, name: sumOf("1.27"), began: 1, changed: true}.String())
	f.Add("Mi4yNQ")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCursor(text, tagsCursor, listing)
		if err != nil {
			return
		}
		if c.String() != text {
			t.Errorf("%q is read as %+v, which is written %q", text, c, c)
		}
		if c.at < 1 || c.at > maxRows || c.size < 1 || c.size > maxPageSize || c.limit < 1 || c.limit > maxPageSize || c.total < 0 || c.total > maxRows {
			t.Errorf("%q leaves the bounds: %+v", text, c)
		}
	})
}
