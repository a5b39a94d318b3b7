package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

const dockerfile125 = `# syntax=docker/dockerfile:1
ARG VERSION=1.25.3
FROM HOST/library/nginx:${VERSION}-alpine AS web
FROM HOST/library/nginx:1.25.3 AS plain
COPY --from=web /a /b
COPY --from=HOST/tools/helper:v1 /h /h
`

// What is pushed to a real registry is found, with the lines to change.
func TestCheckUpdates(t *testing.T) {
	p := distributionRegistry(t)
	digests := map[string]string{}
	for _, tag := range []string{"1.25.3", "1.25.3-alpine", "1.27.0-alpine", "1.27.3", "1.27.3-alpine", "1.28.0-rc1", "latest", "1.25.3-alpine3.18", "1.27.3-alpine3.20"} {
		digests[tag] = p.put(t, "library/nginx", tag, image(t, tag))
	}
	helper := p.put(t, "tools/helper", "v1", image(t, "helper"))
	s := serverFor(t, options{}, p)
	out, err := ask[checkUpdatesOut](t, s, "check_updates", map[string]any{"text": strings.ReplaceAll(dockerfile125, "HOST", p.host)})
	if err != nil {
		t.Fatal(err)
	}
	lines := map[string]updateLine{}
	for _, line := range out.Images {
		lines[strings.TrimPrefix(line.Image, p.host+"/")] = line
	}
	alpine := lines["library/nginx:1.25.3-alpine"]
	if alpine.Class != classMinor || alpine.Update != "1.27.3-alpine@"+digests["1.27.3-alpine"] {
		t.Errorf("%+v", alpine)
	}
	// The digest comes after the suffix, so that no value of VERSION alone can pin it: the line says nothing then.
	plain := lines["library/nginx:1.25.3"]
	want := fmt.Sprintf("FROM %s/library/nginx:1.27.3@%s AS plain", p.host, digests["1.27.3"])
	if plain.Class != classMinor || len(plain.Mentions) != 1 || len(plain.Mentions[0].Changes) != 1 || plain.Mentions[0].Changes[0].New != want || plain.Mentions[0].Line != 4 {
		t.Errorf("%+v, want the line %q", plain, want)
	}
	if plain.Evidence == nil || plain.Evidence.Tags != 9 || !strings.Contains(fmt.Sprint(plain.Evidence.PassedBy), "prerelease") {
		t.Errorf("evidence %+v", plain.Evidence)
	}
	if line := lines["tools/helper:v1"]; line.Class != classNone || line.Evidence.Digest != helper {
		t.Errorf("%+v", line)
	}
	// The syntax image is on Docker Hub, which this server may not reach: the others are answered all the same.
	if line := lines["docker.io/docker/dockerfile:1"]; line.Error == nil || line.Error.Code != string(mcpserver.CodeDenied) {
		t.Errorf("%+v", line)
	}

	at := func(text string) string { return p.host + "/library/nginx:" + text }
	other := "sha256:" + strings.Repeat("0", 64)
	for reference, want := range map[string]struct {
		class  class
		update string
	}{
		at("1.27.3"):                                   {classNone, ""},
		at("1.27.3@" + digests["1.27.3"]):              {classNone, ""},
		at("1.27.3@" + other):                          {classRebuild, "1.27.3@" + digests["1.27.3"]},
		at("1.25.3@" + digests["1.27.3"]):              {classNone, ""}, // never the same digest
		at("1.25.3@" + digests["1.25.3"]):              {classMinor, "1.27.3@" + digests["1.27.3"]},
		at("1.25.3-alpine3.18"):                        {classNone, ""},
		p.host + "/library/nginx":                      {classNone, ""},
		p.host + "/library/nginx@" + digests["1.25.3"]: {classUnknown, ""},
		p.host + "/library/none:1":                     {classUnknown, ""},
		"not a reference":                              {classUnknown, ""},
	} {
		out, err := ask[checkUpdatesOut](t, s, "check_updates", map[string]any{"references": []string{reference}})
		if err != nil || len(out.Images) != 1 || out.Images[0].Class != want.class || out.Images[0].Update != want.update {
			t.Errorf("%s: %+v, %v; want %+v", reference, out.Images, err, want)
		}
		if (want.class == classUnknown) != (len(out.Images) == 1 && out.Images[0].Error != nil) {
			t.Errorf("%s: %+v", reference, out.Images)
		}
		if strings.HasSuffix(reference, "alpine3.18") {
			if d := out.Images[0].Distribution; d == nil || d.From != "3.18" || d.To != "3.20" || d.Tag != "1.27.3-alpine3.20" {
				t.Errorf("distribution %+v", d)
			}
		}
	}
}

// A folder is read as a whole: what cannot be read is named and hides nothing, and more than an answer holds is paged.
func TestCheckPinningOfAWorkspace(t *testing.T) {
	p := serve(t, inProcess())
	p.put(t, "acme/api", "1.2.3", image(t, "x"))
	s := serverFor(t, options{}, p)
	files := map[string]string{"Dockerfile": "FROM " + p.host + "/acme/api:1.2.3\n", "broken.yaml": "a: [\n", "notes.txt": "FROM x\n", "deploy/many.yaml": "kind: Pod\nspec:\n  containers:\n"}
	for i := range 120 {
		files["deploy/many.yaml"] += fmt.Sprintf("  - image: %s/acme/none:v%d\n", p.host, i)
	}
	withWorkspace(t, s, files)
	out, err := ask[checkPinningOut](t, s, "check_pinning", map[string]any{"path": "."})
	if err != nil || out.Total != 121 || len(out.Images) != maxImages || !out.Truncated || len(out.Problems) != 1 || !strings.HasPrefix(out.Problems[0], "broken.yaml:") {
		t.Fatalf("%d of %d, %v, %v", len(out.Images), out.Total, out.Problems, err)
	}
	if first := out.Images[0]; first.State != pinTag || first.Mentions[0].File != "Dockerfile" || len(first.Mentions[0].Changes) != 1 {
		t.Errorf("%+v", first)
	}
	rest, err := ask[checkPinningOut](t, s, "check_pinning", map[string]any{"path": ".", "cursor": out.NextCursor})
	if err != nil || len(rest.Images) != 21 || rest.Truncated || rest.Images[0].Error == nil || rest.Images[0].State != pinFloating {
		t.Errorf("%d images, %v", len(rest.Images), err)
	}
	for path, code := range map[string]mcpserver.Code{"../x": mcpserver.CodeDenied, "/etc": mcpserver.CodeDenied, "none": mcpserver.CodeNotFound} {
		_, err := ask[checkPinningOut](t, s, "check_pinning", map[string]any{"path": path})
		wantCode(t, err, code, "path")
	}
	_, err = ask[checkPinningOut](t, s, "check_pinning", map[string]any{"path": ".", "text": "FROM x"})
	wantCode(t, err, mcpserver.CodeInvalidArguments, "exactly one")
}

// hundredImages pushes a hundred images of twenty repositories, in three versions each, and returns references to the
// oldest of them at host.
func hundredImages(t *testing.T, direct place, host string) (references []string) {
	for repository := range 20 {
		for variant := range 5 {
			img := image(t, fmt.Sprint(repository, variant))
			for _, version := range []string{"1.0.0", "1.0.1", "1.2.0"} {
				direct.put(t, fmt.Sprintf("team/app%d", repository), fmt.Sprintf("%s-v%c", version, 'a'+variant), img)
			}
			references = append(references, fmt.Sprintf("%s/team/app%d:1.0.0-v%c", host, repository, 'a'+variant))
		}
	}
	return references
}

// wantNoMore holds the answer and the requests for it against what a hundred images of twenty repositories take.
func wantNoMore(t *testing.T, out checkUpdatesOut, counts map[string]int) {
	t.Helper()
	if len(out.Images) != 100 {
		t.Fatalf("%d images", len(out.Images))
	}
	for _, line := range out.Images {
		if line.Class != classMinor || line.Error != nil {
			t.Fatalf("%+v", line)
		}
	}
	all := 0
	for kind, most := range map[string]int{"GET ping": 1, "GET token": 20, "GET tags/list": 20, "HEAD manifests": 100} {
		if all += counts[kind]; counts[kind] > most {
			t.Errorf("%s: %d requests, more than %d", kind, counts[kind], most)
		}
	}
	if all != sum(counts) {
		t.Errorf("other requests: %v", counts)
	}
	t.Logf("%v", counts)
}

// One question how to log in, one token and one walk a repository, one HEAD an image: over TLS and outbound's connections.
func TestCheckUpdatesRequests(t *testing.T) {
	inner := inProcess()
	c := &tally{Handler: withTokens(inner, "", "")}
	p := serve(t, c)
	s := serverFor(t, options{}, p)
	out, err := ask[checkUpdatesOut](t, s, "check_updates", map[string]any{"references": hundredImages(t, serve(t, inner), p.host)})
	if err != nil {
		t.Fatal(err)
	}
	wantNoMore(t, out, c.counts)
}

// The same against a registry that takes 50 ms an answer, by a clock that goes only while everybody waits. The protocol
// forces four answers in a row: how to log in, a token, the tags, a digest.
func TestCheckUpdatesAnswersInARow(t *testing.T) {
	const forced, delay = 4, 50 * time.Millisecond
	inner := inProcess()
	direct := serve(t, inner)
	references := hundredImages(t, direct, "registry.example")
	s := serverFor(t, options{}, direct)
	synctest.Test(t, func(t *testing.T) {
		c := &tally{Handler: withTokens(inner, "", ""), delay: delay}
		s.client.outbound = func() (http.RoundTripper, error) {
			return inMemory{handler: c, connections: make(chan struct{}, maxLanes*8)}, nil
		}
		s.turn = make(chan struct{}, 1)
		began := time.Now()
		out, err := ask[checkUpdatesOut](t, s, "check_updates", map[string]any{"references": references})
		if err != nil {
			t.Fatal(err)
		}
		inARow := int(time.Since(began) / delay)
		wantNoMore(t, out, c.counts)
		if t.Logf("%d answers in a row", inARow); inARow > 3*forced {
			t.Errorf("%d answers in a row, more than three times %d", inARow, forced)
		}
	})
}

// inMemory is a transport without a network, over as many connections as outbound gives a call.
type inMemory struct {
	handler     http.Handler
	connections chan struct{}
}

func (m inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	m.connections <- struct{}{}
	defer func() { <-m.connections }()
	recorder := httptest.NewRecorder()
	r = r.Clone(r.Context())
	r.Host = r.URL.Host
	m.handler.ServeHTTP(recorder, r)
	response := recorder.Result()
	response.Request = r
	return response, nil
}

func sum(counts map[string]int) (n int) {
	for _, count := range counts {
		n += count
	}
	return n
}

func TestCheckPinning(t *testing.T) {
	p := serve(t, inProcess())
	old := p.put(t, "acme/api", "1.2.3", image(t, "old"))
	now := p.put(t, "acme/api", "1.2.3", image(t, "new"))
	p.put(t, "acme/api", "latest", image(t, "new"))
	p.put(t, "acme/api", "1.2", image(t, "new"))
	s := serverFor(t, options{}, p)
	gone := "sha256:" + strings.Repeat("1", 64)
	for suffix, want := range map[string]pinState{
		"": pinNone, ":latest": pinLatest, ":1.2": pinFloating, ":1.2.3": pinTag, ":1.2.3@" + now: pinDigest, ":1.2.3@" + old: pinMoved,
		"@" + now: pinDigest, "@" + gone: pinGone,
	} {
		out, err := ask[checkPinningOut](t, s, "check_pinning", map[string]any{"references": []string{p.host + "/acme/api" + suffix}})
		if err != nil || len(out.Images) != 1 || out.Images[0].State != want || out.Images[0].Error != nil {
			t.Errorf("%q: %+v, %v; want %s", suffix, out.Images, err, want)
			continue
		}
		if line := out.Images[0]; want != pinDigest && want != pinGone && (line.Digest != now || !strings.HasSuffix(line.Reference, "@"+now)) {
			t.Errorf("%q: %+v", suffix, line)
		}
	}
}

func TestListTags(t *testing.T) {
	p := distributionRegistry(t)
	for i := range 7 {
		p.put(t, "acme/api", fmt.Sprintf("v%d", i), image(t, "x"))
		p.put(t, fmt.Sprintf("acme/other%d", i), "v1", image(t, "x"))
	}
	s := serverFor(t, options{}, p)
	var all []string
	cursor := ""
	for range 4 {
		arguments := map[string]any{"repository": p.host + "/acme/api", "limit": 3}
		if cursor != "" {
			arguments["cursor"] = cursor
		}
		out, err := ask[listTagsOut](t, s, "list_tags", arguments)
		if err != nil || out.Total != 7 || out.Truncated != (out.NextCursor != "") {
			t.Fatalf("%+v, %v", out, err)
		}
		all = append(all, out.Tags...)
		if cursor = out.NextCursor; cursor == "" {
			break
		}
	}
	if len(all) != 7 || strings.Join(all, " ") != "v0 v1 v2 v3 v4 v5 v6" {
		t.Errorf("%q", all)
	}
	_, err := ask[listTagsOut](t, s, "list_tags", map[string]any{"repository": p.host + "/acme/other0", "limit": 3, "cursor": cursorAt(3, listing("tags"))})
	wantCode(t, err, mcpserver.CodeInvalidArguments, "cursor")
	_, err = ask[listTagsOut](t, s, "list_tags", map[string]any{"repository": p.host + "/acme/none"})
	wantCode(t, err, mcpserver.CodeNotFound, "acme/none")
	_, err = ask[listTagsOut](t, s, "list_tags", map[string]any{"repository": "ghcr.io/acme/api"})
	wantCode(t, err, mcpserver.CodeDenied, "ghcr.io", "--allow-host")

	repositories, err := ask[listRepositoriesOut](t, s, "list_repositories", map[string]any{"registry": p.host, "contains": "other"})
	if err != nil || repositories.Source != "catalogue" || repositories.Total != 7 {
		t.Errorf("%+v, %v", repositories, err)
	}
}

// A registry without a catalogue: the operator's list stands in for it.
func TestListRepositoriesOfTheOperator(t *testing.T) {
	p := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	_, err := ask[listRepositoriesOut](t, serverFor(t, options{}, p), "list_repositories", map[string]any{"registry": p.host})
	wantCode(t, err, mcpserver.CodeNotFound, "operator")
	file := t.TempDir() + "/registries.yaml"
	write(t, file, fmt.Sprintf("version: 1\nregistries:\n  - host: %q\n    repositories: [team/b, team/a]\n", p.host))
	out, err := ask[listRepositoriesOut](t, serverFor(t, options{config: file}, p), "list_repositories", map[string]any{"registry": p.host})
	if err != nil || out.Source != "operator" || strings.Join(out.Repositories, " ") != "team/a team/b" {
		t.Errorf("%+v, %v", out, err)
	}
}
