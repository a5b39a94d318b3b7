package main

import (
	"bytes"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	classifier "github.com/google/licenseclassifier/v2"
	"github.com/google/licenseclassifier/v2/assets"
)

// allowedLicences are those that what we ship may come under: none asks more than that its text goes along, which it does,
// and MPL-2.0 that changes to its own files stay public, of which there are none.
var allowedLicences = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0", "Unicode-DFS-2016"}

// readLicences are the texts that the classifier does not know or takes for more than they ask, and that somebody has read instead. Their
// paths are without the version.
var readLicences = map[string]string{
	"github.com/cyberphone/json-canonicalization/LICENSE":   "Apache-2.0: its notice, which refers to the text",
	"github.com/in-toto/attestation/LICENSE":                "Apache-2.0: its notice, which refers to the text",
	"github.com/in-toto/in-toto-golang/LICENSE":             "Apache-2.0: its notice, which refers to the text",
	"github.com/opencontainers/go-digest/LICENSE.docs":      "CC-BY-SA-4.0 for its documents, which are not in the image",
	"kernel.org/pub/linux/libs/security/libcap/psx/License": "BSD-3-Clause or GPL-2.0-only, as one likes: BSD-3-Clause",
}

// patentGrant is the head of the one text called PATENTS that is known: Google's grant beside Go's licence, which takes
// nothing away.
const patentGrant = "Additional IP Rights Grant (Patents)\n"

// TestLicences classifies every licence text in the image of every server, and holds each to the list.
func TestLicences(t *testing.T) {
	classify, err := assets.DefaultClassifier()
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	all, err := findServers(root)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, s := range all {
		licences, err := findLicences(t.Context(), root, releasePlatforms(), s)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range licences {
			if strings.HasSuffix(f.path, "/") || seen[f.path] {
				continue
			}
			seen[f.path] = true
			checkLicence(t, classify, f)
		}
	}
	t.Logf("%d texts", len(seen))
	for path := range readLicences {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(seen)), func(text string) bool { return unversioned(text) == path }) {
			t.Errorf("%s is in no image any more", path)
		}
	}
}

// unversioned is the path of a licence text below licencesFolder, without the version of its module.
func unversioned(path string) string {
	return regexp.MustCompile(`@[^/]+/`).ReplaceAllString(strings.TrimPrefix(path, licencesFolder), "/")
}

func checkLicence(t *testing.T, classify *classifier.Classifier, f file) {
	t.Helper()
	switch _, known := readLicences[unversioned(f.path)]; {
	case known, bytes.HasPrefix(f.data, []byte(patentGrant)):
		return
	case strings.HasPrefix(filepath.Base(f.path), "NOTICE"): // says who made it, as Apache-2.0 asks; a licence stands beside it
		return
	}
	var names []string
	for _, match := range classify.Match(f.data).Matches {
		if match.MatchType == "License" && !slices.Contains(names, match.Name) {
			names = append(names, match.Name)
		}
	}
	if len(names) == 0 {
		t.Errorf("%s: no licence that the classifier knows: read it", f.path)
	}
	for _, name := range names {
		if !slices.Contains(allowedLicences, name) {
			t.Errorf("%s: %s is not on the list of allowed licences", f.path, name)
		}
	}
}
