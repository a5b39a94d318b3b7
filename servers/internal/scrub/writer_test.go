package scrub

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// written is what a Writer makes of a text.
func written(t *testing.T, text string) string {
	t.Helper()
	var out strings.Builder
	w := NewWriter(&out, New().Stream(false))
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestWriterLongWord: of a word that is longer than what is held nothing is shown, wherever in it a secret stands.
func TestWriterLongWord(t *testing.T) {
	for shift := range 3 {
		plain := strings.Repeat("lorem ipsum ", 40_000) + "password=hunter2hunter2hunter2" + strings.Repeat(" lorem ipsum", 3000)
		for _, encoded := range []string{base64.StdEncoding.EncodeToString([]byte(plain)), hex.EncodeToString([]byte(plain))} {
			in := strings.Repeat("x", shift) + " state=" + encoded + " end\n"
			for _, secret := range []string{base64.StdEncoding.EncodeToString([]byte("hunter2hunter2"))[4:12], base64.StdEncoding.EncodeToString([]byte("unter2hunter2h"))[4:12], base64.StdEncoding.EncodeToString([]byte("nter2hunter2hu"))[4:12], hex.EncodeToString([]byte("hunter2"))} {
				if got := written(t, in); strings.Contains(got, secret) {
					t.Errorf("%d: %.20s: %q is shown", shift, encoded, secret)
				}
			}
		}
	}
}

// TestWriterManifest: the data of a Secret is redacted though what says that it is one, or where its data begins, was
// written long before.
func TestWriterManifest(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 21))
	for _, note := range []int{1, 50, 2000} {
		var list strings.Builder
		var secrets []string
		for list.Len() < 3*maxWritten {
			fmt.Fprintf(&list, `{"kind":"Secret","metadata":{"note":"%s"},"data":{`, strings.Repeat("word ", note))
			for i := range 40 {
				secret := base64.StdEncoding.EncodeToString([]byte("pw " + random(r, alphanumeric, 4) + strings.Repeat(" lorem", i)))
				secrets = append(secrets, secret)
				fmt.Fprintf(&list, `"k%d":"%s",`, i, secret)
			}
			list.WriteString(`"z":"aGFsbG8gaGFsbG8="}},`)
		}
		got, shown := written(t, list.String()), 0
		for _, secret := range secrets {
			if strings.Contains(got, secret) {
				shown++
			}
		}
		if shown > 0 {
			t.Errorf("note of %d: %d of %d are shown", note, shown, len(secrets))
		}
	}
}
