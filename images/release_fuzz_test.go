package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzParseRelease reads what could be a release. What it takes must be harmless in all that is made of it: paths below the
// folder, variables of compose, references that are what they were meant to be, arguments that are no flags.
func FuzzParseRelease(f *testing.F) {
	const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	f.Add([]byte(`{"version":"v1","source":"https://github.com/bulkhead-mcp/bulkhead","revision":"0123456789abcdef0123456789abcdef01234567","go":"go1.26.8",` +
		`"registry":"ghcr.io/bulkhead-mcp/bulkhead","images":[{"name":"door","digest":"` + digest + `","platforms":{"linux/arm64/v8":"` + digest + `"}}]}`))
	f.Add([]byte(`{"version":"v1","base":"gcr.io/distroless/static@` + digest + `","images":[{"name":"../door"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRelease(data)
		if err != nil {
			return
		}
		for _, text := range []string{r.Version, r.Revision, r.Go, r.Base} {
			if strings.HasPrefix(text, "-") || strings.ContainsAny(text, " \n\x00") {
				t.Errorf("%q could be more than an argument", text)
			}
		}
		for _, image := range r.Images {
			for part := range image.parts() {
				if path := sbomFile(image.Name, part); filepath.Dir(path) != attestFolder || !filepath.IsLocal(path) {
					t.Errorf("%s is elsewhere", path)
				}
			}
			if name := imageVariable(image.Name); strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
				t.Errorf("variable %q", name)
			}
			if r.Registry == "" {
				continue
			}
			reference, err := r.reference(image)
			if err != nil || reference.DigestStr() != image.Digest.String() || !strings.HasSuffix(reference.Context().RepositoryStr(), "/"+image.Name) && reference.Context().RepositoryStr() != image.Name {
				t.Errorf("%s, %v", reference, err)
			}
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := parseRelease(again); err != nil || cmp.Diff(r, back) != "" {
			t.Errorf("read, written and read again: %v\n%s", err, cmp.Diff(r, back))
		}
	})
}
