package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

func TestParseReference(t *testing.T) {
	const zeros digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	pin := "@" + string(zeros)
	for text, want := range map[string]reference{
		"nginx":                                  {"library", "nginx", "", ""},
		"nginx:1.27":                             {"library", "nginx", "1.27", ""},
		"library/nginx":                          {"library", "nginx", "", ""},
		"docker.io/nginx":                        {"library", "nginx", "", ""},
		"docker.io/library/nginx:latest":         {"library", "nginx", "latest", ""},
		"index.docker.io/acme/api":               {"acme", "api", "", ""},
		"registry-1.docker.io/acme/api:V2":       {"acme", "api", "V2", ""},
		"acme/api" + pin:                         {"acme", "api", "", zeros},
		"acme/api:1.0" + pin:                     {"acme", "api", "1.0", zeros},
		"docker.io/acme/a__b.c-d--e:1.0_x" + pin: {"acme", "a__b.c-d--e", "1.0_x", zeros},
	} {
		if got, err := parseReference(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"ghcr.io/acme/api":                 "registry ghcr.io",
		"localhost/api":                    "registry localhost",
		"registry.example.net:5000/a/b:v1": "registry registry.example.net:5000",
		"docker.io.example.net/acme/api":   "registry docker.io.example.net",
		"hub.docker.com/r/acme/api":        "registry hub.docker.com",
		"https://hub.docker.com/_/nginx":   "no image reference",
		"registry-1.docker.io/nginx":       "NAMESPACE/NAME",
		"acme/team/api":                    "NAMESPACE/NAME",
		"acme/..":                          "NAMESPACE/NAME",
		"../nginx":                         "registry ..",
		"./nginx":                          "registry .",
		"docker.io/../nginx":               "NAMESPACE/NAME",
		"docker.io/acme/.":                 "NAMESPACE/NAME",
		"acme//api":                        "NAMESPACE/NAME",
		"acme/-api":                        "NAMESPACE/NAME",
		"acme/api/":                        "NAMESPACE/NAME",
		"/api":                             "NAMESPACE/NAME",
		"Acme/api":                         "no image reference",
		"acme/api?x=1":                     "no image reference",
		"acme/api%2f..":                    "no image reference",
		"acme/api:":                        "no image reference",
		"acme/api:.":                       "is no tag",
		"acme/api:..":                      "is no tag",
		"acme/api:-":                       "is no tag",
		"acme/api@sha256:0":                "no image reference",
		"acme/api" + pin + pin:             "no image reference",
		"":                                 "no image reference",
		":1":                               "no image reference",
		strings.Repeat("a", 300):           "no image reference",
	} {
		if got, err := parseReference(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %+v, %v; want %q", text, got, err, want)
		}
	}
}

func TestWantedTag(t *testing.T) {
	for _, tc := range []struct {
		ref         reference
		asked, want string // no want: an error
	}{
		{reference{}, "", "latest"},
		{reference{}, "v1", "v1"},
		{reference{tag: "v1"}, "", "v1"},
		{reference{tag: "v1"}, "v1", "v1"},
		{reference{tag: "v1"}, "v2", ""},
		{reference{digest: "sha256:0"}, "", ""},
		{reference{digest: "sha256:0"}, "v1", "v1"},
		{reference{tag: "v1", digest: "sha256:0"}, "", "v1"},
	} {
		got, err := tc.ref.wantedTag(tc.asked)
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%+v asked for %q: %q, %v", tc.ref, tc.asked, got, err)
		}
	}
}

func TestWantedDigest(t *testing.T) {
	a, b := "sha256:"+strings.Repeat("a", 64), "sha256:"+strings.Repeat("b", 64)
	for _, tc := range []struct{ pinned, asked, want string }{
		{"", a, a}, {a, "", a}, {a, a, a}, {a, b, ""}, {"", "", ""}, {"", a[:20], ""}, {"", "sha512:" + a[7:], ""},
	} {
		got, err := reference{digest: digest(tc.pinned)}.wantedDigest(tc.asked)
		if string(got) != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%+v: %q, %v", tc, got, err)
		}
	}
}

// FuzzReference: whatever is accepted asks for exactly one repository of Docker Hub and no other path.
func FuzzReference(f *testing.F) {
	for _, seed := range []string{"nginx", "docker.io/acme/api:1.0@sha256:" + strings.Repeat("0", 64), "acme/..", "a/b/c", "ghcr.io/a/b", "a:b/c", "a/b%2e", "a/b?c"} {
		f.Add(seed)
	}
	path := regexp.MustCompile(`^https://hub\.docker\.com/v2/namespaces/[a-z0-9._-]+/repositories/[a-z0-9._-]+$`)
	f.Fuzz(func(t *testing.T, text string) {
		ref, err := parseReference(text)
		if err != nil {
			return
		}
		if u := newHub(mcpserver.Env{}, nil).repositoryURL(ref).String(); !path.MatchString(u) || strings.Contains(u, "/..") || strings.Contains(u, "/./") {
			t.Errorf("%q asks for %s", text, u)
		}
		if again, err := parseReference(ref.String()); err != nil || again.namespace != ref.namespace || again.name != ref.name {
			t.Errorf("%q is %s, which is %+v, %v", text, ref, again, err)
		}
		if ref.tag != "" && !tagName.MatchString(ref.tag) {
			t.Errorf("%q has the tag %q", text, ref.tag)
		}
	})
}
