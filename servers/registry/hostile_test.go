package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// repeated compresses part by itself, and joins so many copies of that after head: gzip streams may be put one after another.
func repeated(t testing.TB, head, part []byte, copies int) []byte {
	t.Helper()
	pack := func(data []byte) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	return append(pack(head), bytes.Repeat(pack(part), copies)...)
}

func headers(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, header := range entries {
		if err := w.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// putLayers pushes an image whose layers are these blobs, as they are.
func (p place) putLayers(t testing.TB, repository, tag string, layers ...[]byte) {
	t.Helper()
	config := []byte(`{"os":"linux","architecture":"amd64","config":{"User":"1"},"rootfs":{"type":"layers","diff_ids":[]}}`)
	p.putBlob(t, repository, config)
	content := map[string]any{
		"schemaVersion": 2, "mediaType": manifestTypes()[1],
		"config": map[string]any{"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digestOf(config), "size": len(config)},
	}
	var list []any
	for _, layer := range layers {
		p.putBlob(t, repository, layer)
		list = append(list, map[string]any{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digestOf(layer), "size": len(layer)})
	}
	content["layers"] = list
	body, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	p.putManifest(t, repository, tag, body)
}

// Layers that unpack to more than anybody has, or to no archive at all: bounded, named, and the rest is judged.
func TestHostileLayers(t *testing.T) {
	p := serve(t, inProcess())
	s := serverFor(t, options{}, p)
	const entriesOfPart = 10_000
	many := make([]tar.Header, entriesOfPart)
	for i := range many {
		many[i] = tar.Header{Name: "d", Mode: 0o4755, Typeflag: tar.TypeReg}
	}
	good := repeated(t, headers(t, tar.Header{Name: "bin/su", Mode: 0o4755, Typeflag: tar.TypeReg}), make([]byte, 1024), 1)
	for name, tc := range map[string]struct {
		layer []byte
		want  string
	}{
		"bomb":                {repeated(t, headers(t, tar.Header{Name: "zeros", Size: 8 << 30, Typeflag: tar.TypeReg}), make([]byte, 16<<20), 256), "2048 MiB"},
		"ten million entries": {repeated(t, nil, headers(t, many...), 1000), "500000"},
		"long path":           {repeated(t, headers(t, tar.Header{Name: strings.Repeat("x/", 3000) + "x", Typeflag: tar.TypeReg}), make([]byte, 1024), 1), "4096 bytes"},
		"long link":           {repeated(t, headers(t, tar.Header{Name: "x", Linkname: strings.Repeat("x", 5000), Typeflag: tar.TypeSymlink}), make([]byte, 1024), 1), "4096 bytes"},
		"no archive":          {[]byte("this is no archive, and longer than the header of an entry" + strings.Repeat(".", 1000)), "no tar archive"},
		"cut":                 {good[:len(good)/3], "no tar archive"},
	} {
		p.putLayers(t, "evil/"+strings.ReplaceAll(name, " ", "-"), "v1", tc.layer, good)
		before := memory()
		out, err := ask[lintImageOut](t, s, "lint_image", map[string]any{"reference": p.host + "/evil/" + strings.ReplaceAll(name, " ", "-") + ":v1"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		unread := false
		for _, f := range out.Findings {
			unread = unread || f.Rule == ruleUnread && f.Verdict == finding.Unknown && strings.Contains(f.Reason, tc.want)
		}
		if !unread || out.Verdict != finding.Fail { // the second layer's setuid file, and no health check
			t.Errorf("%s: %+v", name, out)
		}
		if grown := memory() - before; grown > 64<<20 {
			t.Errorf("%s: %d MiB more are in use", name, grown>>20)
		}
	}
	// Links that climb are named, and lead nowhere: nothing is written and none is followed.
	p.putLayers(t, "evil/links", "v1", repeated(t, headers(t,
		tar.Header{Name: "etc", Linkname: "../../../etc", Typeflag: tar.TypeSymlink},
		tar.Header{Name: "etc/passwd", Typeflag: tar.TypeReg},
		tar.Header{Name: "hard", Linkname: "../../etc/shadow", Typeflag: tar.TypeLink},
		tar.Header{Name: "../../../../etc/cron.d/x", Typeflag: tar.TypeReg},
		tar.Header{Name: "/absolute", Mode: 0o4755, Typeflag: tar.TypeReg},
	), make([]byte, 1024), 1))
	out, err := ask[lintImageOut](t, s, "lint_image", map[string]any{"reference": p.host + "/evil/links:v1"})
	if err != nil || !strings.Contains(fmt.Sprint(out.Findings), "2 entries climb out of the root") || !strings.Contains(fmt.Sprint(out.Findings), "/absolute") {
		t.Errorf("links: %+v, %v", out, err)
	}
}

func memory() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapInuse)
}

// lying passes requests on, and lets change spoil the answers.
func lying(inner http.Handler, change func(r *http.Request, w http.ResponseWriter, code int, header http.Header, body []byte)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recorder := &recording{header: http.Header{}}
		inner.ServeHTTP(recorder, r)
		change(r, w, recorder.code, recorder.header, recorder.body.Bytes())
	})
}

type recording struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (r *recording) Header() http.Header         { return r.header }
func (r *recording) WriteHeader(code int)        { r.code = code }
func (r *recording) Write(p []byte) (int, error) { return r.body.Write(p) }

func say(w http.ResponseWriter, code int, header http.Header, body []byte) {
	for key, values := range header {
		if key != "Content-Length" {
			w.Header()[key] = values
		}
	}
	if code != 0 {
		w.WriteHeader(code)
	}
	_, _ = w.Write(body)
}

// A registry that lies about what it sends is found out, and the next call is answered.
func TestLyingRegistry(t *testing.T) {
	inner := inProcess()
	good := serve(t, inner)
	img := build(t, empty.Image, v1.Config{User: "1"}, step{layerOf(t, file{name: "app", content: strings.Repeat("x", 100)}), "COPY"})
	digest := good.put(t, "acme/api", "v1", img)
	config, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	is := func(r *http.Request, part string) bool {
		return strings.Contains(r.URL.Path, part) && r.Method == http.MethodGet
	}
	for name, tc := range map[string]struct {
		lie       func(r *http.Request, w http.ResponseWriter, code int, header http.Header, body []byte)
		reference string
		code      mcpserver.Code
		words     string
	}{
		"another manifest": {func(r *http.Request, w http.ResponseWriter, code int, header http.Header, body []byte) {
			if is(r, "/manifests/") {
				header.Del(digestHeader)
				body = append([]byte(" "), body...)
			}
			say(w, code, header, body)
		}, "@" + digest, mcpserver.CodeUnavailable, "another digest"},
		"a digest of another": {func(_ *http.Request, w http.ResponseWriter, code int, header http.Header, body []byte) {
			header.Set(digestHeader, "sha256:"+strings.Repeat("0", 64))
			say(w, code, header, body)
		}, ":v1", mcpserver.CodeUnavailable, "another digest"},
		"another configuration": {func(r *http.Request, w http.ResponseWriter, code int, header http.Header, body []byte) {
			if is(r, "/blobs/"+config.String()) {
				body = bytes.Replace(body, []byte(`"User":"1"`), []byte(`"User":"2"`), 1)
			}
			say(w, code, header, body)
		}, ":v1", mcpserver.CodeUnavailable, "another digest"},
		"a longer configuration": {func(r *http.Request, w http.ResponseWriter, code int, header http.Header, body []byte) {
			if is(r, "/blobs/"+config.String()) {
				body = append(body, ' ')
			}
			say(w, code, header, body)
		}, ":v1", mcpserver.CodeUnavailable, "another size"},
		"an endless manifest": {func(r *http.Request, w http.ResponseWriter, code int, header http.Header, body []byte) {
			if is(r, "/manifests/") {
				body = bytes.Repeat([]byte(" "), maxManifest+1)
			}
			say(w, code, header, body)
		}, ":v1", mcpserver.CodeTooLarge, "larger"},
		"no manifest": {func(_ *http.Request, w http.ResponseWriter, code int, header http.Header, _ []byte) {
			say(w, code, header, []byte(`{"schemaVersion":2,"config":{"digest":"../../etc"}}`))
		}, ":v1", mcpserver.CodeUnavailable, ""},
		"an index that is an image": {func(_ *http.Request, w http.ResponseWriter, code int, header http.Header, _ []byte) {
			header.Del(digestHeader)
			header.Set("Content-Type", manifestTypes()[0])
			say(w, code, header, []byte(`{"schemaVersion":2,"manifests":[],"layers":[{"digest":"x"}]}`))
		}, ":v1", mcpserver.CodeUnavailable, "makes no sense"},
		"sizes beyond all": {func(_ *http.Request, w http.ResponseWriter, code int, header http.Header, _ []byte) {
			header.Del(digestHeader)
			header.Set("Content-Type", manifestTypes()[1])
			say(w, code, header, fmt.Appendf(nil, `{"schemaVersion":2,"config":{"digest":%q,"size":9223372036854775807}}`, config))
		}, ":v1", mcpserver.CodeTooLarge, "9223372036854775807"},
		"a redirect to the cloud's metadata": {func(r *http.Request, w http.ResponseWriter, code int, header http.Header, body []byte) {
			if is(r, "/blobs/") {
				http.Redirect(w, r, "https://169.254.169.254/latest/meta-data", http.StatusTemporaryRedirect)
				return
			}
			say(w, code, header, body)
		}, ":v1", mcpserver.CodeDenied, "169.254.169.254"},
		"a redirect to a private address": {func(r *http.Request, w http.ResponseWriter, code int, header http.Header, body []byte) {
			if is(r, "/manifests/") {
				http.Redirect(w, r, "https://10.0.0.1/v2/", http.StatusFound)
				return
			}
			say(w, code, header, body)
		}, ":v1", mcpserver.CodeDenied, "10.0.0.1"},
		"redirects without end": {func(r *http.Request, w http.ResponseWriter, code int, header http.Header, body []byte) {
			if is(r, "/manifests/") {
				http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
				return
			}
			say(w, code, header, body)
		}, ":v1", mcpserver.CodeUnavailable, "redirects"},
		"a token service elsewhere": {func(_ *http.Request, w http.ResponseWriter, _ int, _ http.Header, _ []byte) {
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://192.168.1.1/token",service="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		}, ":v1", mcpserver.CodeUnavailable, "token"},
	} {
		p := serve(t, lying(inner, tc.lie))
		s := serverFor(t, options{}, p, good)
		_, err := ask[inspectImageOut](t, s, "inspect_image", map[string]any{"reference": p.host + "/acme/api" + tc.reference})
		wantCode(t, err, tc.code, tc.words)
		if _, err := ask[inspectImageOut](t, s, "inspect_image", map[string]any{"reference": good.host + "/acme/api" + tc.reference}); err != nil {
			t.Errorf("%s: the next call: %v", name, err)
		}
	}
}

// Lists that never end, and lists that go on elsewhere.
func TestHostileLists(t *testing.T) {
	elsewhere := 0
	stranger := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	for name, tc := range map[string]struct {
		link  func(page int) string
		tags  func(page int) []string
		code  mcpserver.Code
		total int
	}{
		"the same page for ever": {func(int) string { return "</v2/a/b/tags/list?last=x>; rel=next" }, func(int) []string { return []string{"v1"} }, mcpserver.CodeUnavailable, 0},
		"new pages for ever":     {func(page int) string { return fmt.Sprintf("</v2/a/b/tags/list?last=%d>; rel=\"next\"", page) }, func(page int) []string { return []string{fmt.Sprint("v", page)} }, "", maxPages},
		"elsewhere":              {func(int) string { return "<https://" + stranger.host + "/v2/a/b/tags/list?last=x>; rel=next" }, func(int) []string { return []string{"v1"} }, "", 1},
		"no tags":                {func(int) string { return "" }, func(int) []string { return []string{"../../x", "a b", "", strings.Repeat("x", 200), "ok"} }, "", 1},
		"too many on a page": {func(int) string { return "" }, func(int) []string {
			names := make([]string, maxNames+5)
			for i := range names {
				names[i] = fmt.Sprint("t", i)
			}
			return names
		}, "", maxNames},
	} {
		page := 0
		p := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v2/" {
				return
			}
			page++
			w.Header().Set("Link", tc.link(page))
			_ = json.NewEncoder(w).Encode(map[string]any{"name": "a/b", "tags": tc.tags(page)})
		}))
		s := serverFor(t, options{}, p, stranger)
		out, err := ask[listTagsOut](t, s, "list_tags", map[string]any{"repository": p.host + "/a/b"})
		if tc.code != "" {
			wantCode(t, err, tc.code, "end")
			continue
		}
		if err != nil || out.Total != tc.total || (tc.total > 1) != out.Truncated {
			t.Errorf("%s: %d tags, truncated %t, %v", name, out.Total, out.Truncated, err)
		}
	}
	if elsewhere != 0 {
		t.Errorf("a list went on at another host %d times", elsewhere)
	}
}

// A login goes to its registry and to no other host, and an answer that repeats it is dropped.
func TestLogins(t *testing.T) {
	const secret = "s3cret-Token-1234567890"
	leaked := ""
	blobs := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { leaked += r.Header.Get("Authorization") + r.URL.String() }))
	inner := inProcess()
	direct := serve(t, inner)
	direct.put(t, "acme/api", "v1", image(t, "x"))
	p := serve(t, withTokens(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/blobs/") {
			http.Redirect(w, r, "https://"+blobs.host+"/x", http.StatusTemporaryRedirect)
			return
		}
		inner.ServeHTTP(w, r)
	}), "user", secret))
	credentials := t.TempDir()
	s := serverFor(t, options{credentials: credentials}, p, blobs)
	_, err := ask[listTagsOut](t, s, "list_tags", map[string]any{"repository": p.host + "/acme/api"})
	wantCode(t, err, mcpserver.CodeForbidden, "401")

	write(t, credentials+"/"+p.host+".token", "user:"+secret+"\n")
	s = serverFor(t, options{credentials: credentials}, p, blobs)
	if out, err := ask[listTagsOut](t, s, "list_tags", map[string]any{"repository": p.host + "/acme/api"}); err != nil || out.Total != 1 {
		t.Errorf("with a login: %+v, %v", out, err)
	}
	_, err = ask[inspectImageOut](t, s, "inspect_image", map[string]any{"reference": p.host + "/acme/api:v1"})
	wantCode(t, err, mcpserver.CodeUnavailable)
	if leaked != "/x" {
		t.Errorf("another host was told %q", leaked)
	}

	echo := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			if r.Header.Get("Authorization") == "" {
				w.Header().Set("WWW-Authenticate", "Basic realm=x")
				w.WriteHeader(http.StatusUnauthorized)
			}
			return
		}
		_, password, _ := r.BasicAuth()
		_ = json.NewEncoder(w).Encode(map[string]any{"tags": []string{url.PathEscape(password)}})
	}))
	write(t, credentials+"/config.json", fmt.Sprintf(`{"auths": {%q: {"username": "user", "password": %q}}}`, "https://"+echo.host+"/v1/", secret))
	s = serverFor(t, options{credentials: credentials}, echo)
	_, err = ask[listTagsOut](t, s, "list_tags", map[string]any{"repository": echo.host + "/acme/api"})
	wantCode(t, err, mcpserver.CodeUnavailable, "repeats the login")
	if strings.Contains(fmt.Sprint(err), secret) {
		t.Error("the error holds the secret")
	}
}

func TestReadLogins(t *testing.T) {
	for name, tc := range map[string]struct{ file, content, want string }{
		"helper":       {"config.json", `{"credHelpers": {"ghcr.io": "gcloud"}}`, "name programs to run"},
		"store":        {"config.json", `{"credsStore": "desktop", "auths": {"ghcr.io": {}}}`, "name programs to run"},
		"empty login":  {"config.json", `{"auths": {"ghcr.io": {}}}`, "it is empty"},
		"no JSON":      {"config.json", `{"auths": hunter2}`, "not JSON"},
		"no login":     {"config.json", `{"auths": {"ghcr.io": {"auth": "aHVudGVyMg=="}}}`, "not a login"},
		"unknown file": {"notes.txt", "hunter2", "unknown file"},
		"two lines":    {"ghcr.io.token", "a\nhunter2", "one line"},
		"no user":      {"ghcr.io.token", ":hunter2", "one line"},
		"no host":      {"not a host.token", "user:hunter2", "no registry's host"},
	} {
		dir := t.TempDir()
		write(t, dir+"/"+tc.file, tc.content)
		_, err := openCredentials(dir, nil)
		if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), tc.file) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// A mirror is asked first; what it does not have, or will not tell, the registry itself does.
func TestMirrors(t *testing.T) {
	origin, mirror := &tally{Handler: inProcess()}, &tally{Handler: inProcess()}
	o, m := serve(t, origin), serve(t, mirror)
	o.put(t, "acme/api", "v1", image(t, "x"))
	o.put(t, "acme/web", "v1", image(t, "y"))
	m.put(t, "hub/acme/api", "v1", image(t, "x"))
	config := t.TempDir() + "/registries.yaml"
	write(t, config, fmt.Sprintf("version: 1\nregistries:\n  - host: %q\n    mirrors: [%q]\n", o.host, m.host+"/hub"))
	s := serverFor(t, options{config: config}, o, m)
	origin.counts, mirror.counts = nil, nil
	if out, err := ask[inspectImageOut](t, s, "inspect_image", map[string]any{"reference": o.host + "/acme/api:v1"}); err != nil || !strings.HasPrefix(out.Image, o.host) {
		t.Errorf("%+v, %v", out, err)
	}
	if origin.counts["GET manifests"] != 0 || mirror.counts["GET manifests"] == 0 {
		t.Errorf("origin %v, mirror %v", origin.counts, mirror.counts)
	}
	if _, err := ask[inspectImageOut](t, s, "inspect_image", map[string]any{"reference": o.host + "/acme/web:v1"}); err != nil {
		t.Error(err)
	}
}

func TestReadConfig(t *testing.T) {
	for content, want := range map[string]string{
		"registries: []\n":                                                  "version is 0",
		"version: 1\nregistry: []\n":                                        "unknown key",
		"version: 1\nregistries: [{host: 'a b'}]\n":                         "no registry's host",
		"version: 1\nregistries: [{host: a.b}, {host: a.b}]\n":              "listed twice",
		"version: 1\nregistries: [{host: a.b, mirrors: ['https://x']}]\n":   "mirror",
		"version: 1\nregistries: [{host: a.b, repositories: ['../x']}]\n":   "no repository",
		"version: 1\nsigners: [{issuer: https://a}]\n":                      "one of subject",
		"version: 1\nsigners: [{issuer: https://a, subject_regexp: '('}]\n": "subject_regexp",
	} {
		path := t.TempDir() + "/r.yaml"
		write(t, path, content)
		if _, err := readConfig(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", content, err, want)
		}
	}
}
