package hub

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
)

const maxBody = 4 << 20

// fetch gets a path of the handler behind TLS.
func fetch(t *testing.T, server *httptest.Server, target string) (*http.Response, []byte) {
	t.Helper()
	if strings.HasPrefix(target, "/") {
		target = server.URL + target
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	// Without a client around it, no redirect is followed.
	response, err := server.Client().Transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := limit.ReadAll(response.Body, maxBody)
	if err != nil {
		t.Fatal(err)
	}
	return response, body
}

func serve(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewTLSServer(New())
	t.Cleanup(server.Close)
	return server
}

// Following `next` must show every tag once, newest first, with URLs that lead back here.
func TestPaging(t *testing.T) {
	server := serve(t)
	for _, tc := range []struct {
		name, query string
		pages       int
		first, last string
	}{
		{"default page", "", NginxTags / DefaultPage, NginxNewest, NginxOldest},
		{"hundred a page", "?page_size=100", 3, NginxNewest, NginxOldest},
		{"more than the maximum is cut", "?page_size=1000", 3, NginxNewest, NginxOldest},
		{"oldest first", "?page_size=100&ordering=-last_updated", 3, NginxOldest, NginxNewest},
		{"filter", "?page_size=100&name=alpine", 2, "alpine", "1.7.0-alpine"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var names []string
			pages, count := 0, 0
			for target := "/v2/namespaces/library/repositories/nginx/tags" + tc.query; target != ""; {
				response, body := fetch(t, server, target)
				if response.StatusCode != http.StatusOK {
					t.Fatalf("%s: %s: %s", target, response.Status, body)
				}
				var p page[tag]
				if err := json.Unmarshal(body, &p); err != nil {
					t.Fatal(err)
				}
				if (p.Previous == nil) != (pages == 0) {
					t.Errorf("page %d: previous is %v", pages+1, p.Previous)
				}
				target, count = "", p.Count
				if p.Next != nil {
					target = *p.Next
				}
				pages++
				for _, tag := range p.Results {
					names = append(names, tag.Name)
				}
			}
			if pages != tc.pages || len(names) != count || names[0] != tc.first || names[len(names)-1] != tc.last {
				t.Errorf("%d pages, %d of %d tags from %s to %s", pages, len(names), count, names[0], names[len(names)-1])
			}
			slices.Sort(names)
			if len(slices.Compact(names)) != count {
				t.Error("a tag came twice")
			}
		})
	}
}

func TestShapes(t *testing.T) {
	server := serve(t)
	object := func(path string) map[string]any {
		_, body := fetch(t, server, path)
		var o map[string]any
		if err := json.Unmarshal(body, &o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	oldest := object("/v2/namespaces/library/repositories/nginx/tags/" + NginxOldest)
	if _, ok := oldest["digest"]; ok || oldest["full_size"] != 0.0 || oldest["tag_last_pulled"] != nil {
		t.Errorf("the oldest tag has a digest, a size or a date of use: %v", oldest)
	}
	newest := object("/v2/namespaces/library/repositories/nginx/tags/" + NginxNewest)
	if digest, ok := newest["digest"].(string); !ok || !strings.HasPrefix(digest, "sha256:") {
		t.Errorf("the newest tag has no digest: %v", newest)
	}
	want := map[string]any{"enabled": true, "rules": []any{"v.*", ".*-RELEASE"}}
	if diff := cmp.Diff(want, object("/v2/namespaces/acme/repositories/api")["immutable_tags_settings"]); diff != "" {
		t.Errorf("immutable tags (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(object("/v2/namespaces/library/repositories/nginx"), object("/v2/repositories/library/nginx")); diff != "" {
		t.Errorf("the older path answers differently:\n%s", diff)
	}
}

func TestErrors(t *testing.T) {
	server := serve(t)
	for _, tc := range []struct {
		path   string
		status int
		body   string
	}{
		{"/v2/namespaces/library/repositories/nothing", 404, notFound},
		{"/v2/namespaces/library/repositories/nothing/tags", 404, notFound},
		{"/v2/namespaces/library/repositories/nginx/tags/nothing", 404, notFoundOld},
		{"/v2/namespaces/library/repositories/nginx/tags?page=24", 404, notFoundOld},
		{"/v2/namespaces/library/repositories/nginx/tags?page=0", 404, notFoundOld},
		{"/elsewhere", 404, notFound},
		{"/v2/namespaces/trouble/repositories/forbidden/tags", 403, "access to the resource is forbidden"},
		{"/v2/namespaces/trouble/repositories/unauthorized/tags", 401, "unauthorized"},
		{"/v2/namespaces/trouble/repositories/limited/tags", 429, `{"detail":"Rate limit exceeded","error":false}`},
		{"/v2/namespaces/trouble/repositories/unavailable/tags", 503, "<html>"},
		{"/v2/namespaces/trouble/repositories/redirects/tags", 302, ""},
		{"/v2/namespaces/trouble/repositories/elsewhere/tags", 200, "https://" + ElsewhereHost + "/"},
		{"/v2/namespaces/trouble/repositories/garbage/tags", 200, `"count":"many"`},
	} {
		t.Run(tc.path, func(t *testing.T) {
			response, body := fetch(t, server, tc.path)
			if response.StatusCode != tc.status || !strings.Contains(string(body), tc.body) {
				t.Errorf("%s: %s", response.Status, body)
			}
			if response.Header.Get("X-RateLimit-Limit") == "" {
				t.Error("no X-RateLimit-Limit")
			}
			retry, err := strconv.ParseInt(response.Header.Get("X-Retry-After"), 10, 64)
			if (tc.status == 429) != (err == nil && time.Unix(retry, 0).After(time.Now())) {
				t.Errorf("X-Retry-After is %q", response.Header.Get("X-Retry-After"))
			}
		})
	}
}

// The endless body and the silent repository must end with the client, or the server could not stop.
func TestWithoutEnd(t *testing.T) {
	server := serve(t)
	get := func(ctx context.Context, name string) (*http.Response, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/v2/namespaces/trouble/repositories/"+name, nil)
		if err != nil {
			t.Fatal(err)
		}
		return server.Client().Transport.RoundTrip(request)
	}

	response, err := get(t.Context(), "endless")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := limit.ReadAll(response.Body, maxBody); !errors.Is(err, limit.ErrTooLarge) {
		t.Errorf("the body ended: %v", err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if response, err := get(ctx, "silent"); err == nil {
		response.Body.Close()
		t.Error("the silent repository answered")
	}
}
