package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	fakehub "github.com/bulkhead-mcp/bulkhead/servers/e2e/fakehub/hub"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// The two limits are told apart, each with its reset.
func TestRateLimitStatus(t *testing.T) {
	for _, secret := range []string{"", fakehub.ReadToken} {
		hub, account, by, pulls := fake(), anonymous(t), "address", 100
		if secret != "" {
			account, by, pulls = loginOf(t, fakehub.Robot, secret), "account", 200
		}
		h := hubAs(t, hub, account)
		var out rateLimitStatusOut
		if err := call(t, h, "rate_limit_status", `{}`, &out); err != nil || out.API == nil || out.Pull == nil {
			t.Fatalf("%+v, %v", out, err)
		}
		if out.API.Limit != 180 || out.API.Remaining >= 180 || out.API.CountedBy != by || out.API.ResetsAt == "" || out.API.WindowSeconds != 0 {
			t.Errorf("the API's: %+v", out.API)
		}
		if out.Pull.Limit != pulls || out.Pull.Remaining != 76 || out.Pull.WindowSeconds != 21600 || out.Pull.CountedBy != by || out.Pull.ResetsAt == "" {
			t.Errorf("the pulls': %+v", out.Pull)
		}
		// Looking is no pull: nothing but this is asked of the registry.
		for _, request := range hub.Requests() {
			if strings.Contains(request, "/manifests/") && request != "HEAD /v2/ratelimitpreview/test/manifests/latest" {
				t.Errorf("asked for %s", request)
			}
		}
	}
}

func TestHalfOfTheRateLimits(t *testing.T) {
	hub := fake()
	closed, status, header := "", http.StatusServiceUnavailable, http.Header{}
	h := hubAt(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if closed == "" || !strings.HasPrefix(r.URL.Path, closed) {
			hub.ServeHTTP(w, r)
			return
		}
		for name := range header {
			w.Header().Set(name, header.Get(name))
		}
		w.WriteHeader(status)
	}))
	see := func(path string, code int, headers map[string]string) (out rateLimitStatusOut) {
		t.Helper()
		closed, status, header = path, code, http.Header{}
		for name, value := range headers {
			header.Set(name, value)
		}
		if err := call(t, h, "rate_limit_status", `{}`, &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if out := see("/token", 503, nil); out.API == nil || out.Pull != nil || out.Unlimited || len(out.Problems) != 1 || !strings.HasPrefix(out.Problems[0], "pull: ") {
		t.Errorf("%+v", out)
	}
	if out := see("/v2/namespaces", 503, nil); out.API != nil || out.Pull == nil || len(out.Problems) != 1 || !strings.HasPrefix(out.Problems[0], "api: ") {
		t.Errorf("%+v", out)
	}
	if out := see("/v2/namespaces", 429, map[string]string{"X-RateLimit-Limit": "180", "X-RateLimit-Remaining": "0"}); out.API == nil || out.API.Remaining != 0 || out.API.ResetsAt != "" {
		t.Errorf("a limit that is used up: %+v", out)
	}
	if out := see("/v2/ratelimitpreview", 200, nil); out.Pull != nil || !out.Unlimited {
		t.Errorf("without a limit: %+v", out)
	}
	if out := see("/v2/ratelimitpreview", 429, map[string]string{"RateLimit-Limit": "100;w=21600", "RateLimit-Remaining": "0;w=21600", "RateLimit-Reset": "60"}); out.Pull == nil || out.Pull.Remaining != 0 {
		t.Errorf("pulls that are used up: %+v", out)
	}
	if out := see("/v2/ratelimitpreview", 200, map[string]string{"RateLimit-Limit": "many"}); out.Pull != nil || out.Unlimited || !strings.Contains(out.Problems[0], "100;w=21600") {
		t.Errorf("an odd limit: %+v", out)
	}
	closed = "/"
	wantError(t, call(t, h, "rate_limit_status", `{}`, nil), mcpserver.CodeUnavailable, "the API's limit")
}

func TestParseLimit(t *testing.T) {
	for text, want := range map[string]struct {
		n      int
		window time.Duration
		ok     bool
	}{
		"100;w=21600": {100, 6 * time.Hour, true}, "100": {100, 0, true}, " 7 ; x=1 ; w=60": {7, time.Minute, true},
		"": {}, "-1;w=1": {}, "x;w=1": {}, "99999999999999999999": {},
	} {
		n, window, err := parseLimit(text)
		if n != want.n || window != want.window || (err == nil) != want.ok {
			t.Errorf("%q: %d, %s, %v", text, n, window, err)
		}
	}
}

func TestSearch(t *testing.T) {
	hub := fake()
	h := hubAt(t, hub)
	var out searchRepositoriesOut
	names := func(args string) (all []string) {
		t.Helper()
		out = searchRepositoriesOut{}
		if err := call(t, h, "search_repositories", args, &out); err != nil {
			t.Fatal(err)
		}
		for _, found := range out.Repositories {
			all = append(all, found.Repository)
		}
		return all
	}
	if diff := cmp.Diff([]string{"docker.io/library/nginx"}, names(`{"query":"nginx","badge":"official"}`)); diff != "" || out.Truncated {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := names(`{"query":"proxy","badge":"official"}`); len(got) != 0 || out.Total != 0 {
		t.Errorf("%v", got)
	}
	if got := names(`{"query":"proxy","operating_system":"windows","architecture":"arm64"}`); len(got) != fakehub.SearchResults/10 || !out.Repositories[0].Archived {
		t.Errorf("%v", got)
	}
	if got := names(`{"query":"proxy","sort":"pull_count","limit":1}`); got[0] != "docker.io/user119/proxy" || out.Total != fakehub.SearchResults {
		t.Errorf("%v", got)
	}
	var all []string
	args := `{"query":"proxy","limit":50}`
	for answers := 1; ; answers++ {
		all = append(all, names(args)...)
		if !out.Truncated {
			if answers != 3 {
				t.Errorf("%d answers", answers)
			}
			break
		}
		args = `{"query":"proxy","cursor":"` + out.NextCursor + `"}`
	}
	if len(all) != fakehub.SearchResults || twice(all) != nil {
		t.Errorf("%d results, twice: %v", len(all), twice(all))
	}
	// What is no repository is left out, and what is odd counts as absent.
	odd := hubSaying(t, http.StatusOK, nil, `{"total":4,"results":[{"name":"a/b/c"},{"name":"nginx","type":"plugin"},{"name":"Ignore all"},
		{"name":"acme/api","badge":"none","pull_count":5,"star_count":null,"architectures":["amd64",{"name":"arm64"},7,"two words"],"operating_systems":null,"updated_at":null}]}`)
	out = searchRepositoriesOut{}
	if err := call(t, odd, "search_repositories", `{"query":"x"}`, &out); err != nil {
		t.Fatal(err)
	}
	want := []foundRepository{{Repository: "docker.io/acme/api", Pulls: "5", Architectures: []string{"amd64", "arm64"}}}
	if diff := cmp.Diff(want, out.Repositories); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// The search goes no further than it can be asked for.
	far := hubSaying(t, http.StatusOK, nil, `{"total":50000,"results":[{"name":"acme/api"}]}`)
	last := cursor{kind: searchCursor, listing: sumOf("x", "", "", "", sortRelevance), at: maxSearched - 1, size: 1, limit: 1}
	out = searchRepositoriesOut{}
	if err := call(t, far, "search_repositories", `{"query":"x","cursor":"`+last.String()+`"}`, &out); err != nil || !out.Truncated || out.NextCursor != "" {
		t.Errorf("%+v, %v", out, err)
	}
	last.at = maxSearched
	wantError(t, call(t, far, "search_repositories", `{"query":"x","cursor":"`+last.String()+`"}`, nil), mcpserver.CodeInvalidArguments, "cursor")
}
