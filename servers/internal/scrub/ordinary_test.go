package scrub

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestOrdinary: nothing is taken out of texts that were written without secrets.
func TestOrdinary(t *testing.T) {
	files, err := filepath.Glob("testdata/ordinary/*")
	if err != nil || len(files) < 5 {
		t.Fatalf("the corpus is not there: %v %v", files, err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Split(Text(string(text)), "\n")
			for i, want := range strings.Split(string(text), "\n") {
				if i >= len(got) || got[i] != want {
					t.Fatalf("line %d: %q became %q", i+1, want, got[min(i, len(got)-1)])
				}
				if alone := Text(want); alone != want {
					t.Errorf("line %d alone: %q became %q", i+1, want, alone)
				}
			}
		})
	}
}

// TestIdentifiers: digests, cursors and ids stay as they are, wherever they stand.
func TestIdentifiers(t *testing.T) {
	const each = 20_000
	places := []string{
		"%s", `"%s"`, `{"next_cursor":"%s"}`, "id: %s", "cursor=%s", "https://example.com/v2/?page=2&cursor=%s", "call=%s done", "x@%s", "%s,%s", "/blobs/%s", "[%s]", "pod/%s created",
	}
	for name, make := range map[string]func(r *rand.Rand) string{
		"digest": func(r *rand.Rand) string { return "sha256:" + random(r, lowerHex, 64) },
		"hex":    func(r *rand.Rand) string { return random(r, lowerHex, 64) },
		"commit": func(r *rand.Rand) string { return random(r, lowerHex, 40) },
		"trace":  func(r *rand.Rand) string { return random(r, lowerHex, 32) },
		"cursor": func(r *rand.Rand) string { return random(r, base64URL, 20+r.IntN(45)) },
		"ULID":   func(r *rand.Rand) string { return "01J" + random(r, "0-9A-HJKMNP-TV-Z", 23) },
		"call":   func(r *rand.Rand) string { return random(r, base32Upper, 26) },
		"UUID":   func(r *rand.Rand) string { return newUUID(r) },
		"time": func(r *rand.Rand) string {
			return time.Unix(r.Int64N(4e9), r.Int64N(1e9)).UTC().Format(time.RFC3339Nano)
		},
		"version": func(r *rand.Rand) string {
			return fmt.Sprintf("v%d.%d.%d-rc.%d+build.%s", r.IntN(9), r.IntN(99), r.IntN(99), r.IntN(9), random(r, lowerHex, 7))
		},
		"image": func(r *rand.Rand) string {
			return "registry.example:5000/shop/api:1.4." + random(r, digits, 2) + "@sha256:" + random(r, lowerHex, 64)
		},
		"pod": func(r *rand.Rand) string {
			return "shop-api-" + random(r, "0-9bcdf-hj-np-tv-z", 10) + "-" + random(r, "0-9bcdf-hj-np-tv-z", 5)
		},
		"checksum": func(r *rand.Rand) string { return "sha512-" + random(r, alphanumeric+"+/", 86) + "==" },
		"module":   func(r *rand.Rand) string { return "h1:" + random(r, alphanumeric+"+/", 43) + "=" },
	} {
		t.Run(name, func(t *testing.T) {
			s, r := New(), rand.New(rand.NewPCG(3, uint64(len(name))))
			for i := range each {
				text := strings.ReplaceAll(places[i%len(places)], "%s", make(r))
				if got := s.Text(text); got != text {
					t.Errorf("%q became %q", text, got)
				}
			}
		})
	}
}
