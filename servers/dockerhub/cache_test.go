package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	fakehub "github.com/bulkhead-mcp/bulkhead/servers/e2e/fakehub/hub"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

func TestFreshness(t *testing.T) {
	now := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	date := now.Format(http.TimeFormat)
	hour := now.Add(time.Hour).Format(http.TimeFormat)
	soon := now.Add(20 * time.Second).Format(http.TimeFormat)
	for _, tc := range []struct {
		name   string
		header map[string]string
		kept   bool
		fresh  time.Duration
	}{
		{"nothing", nil, false, 0},
		{"a tag", map[string]string{"ETag": `"a"`}, true, 0},
		{"a date", map[string]string{"Last-Modified": date}, true, 0},
		{"max-age", map[string]string{"Cache-Control": "private, Max-Age=30"}, true, 30 * time.Second},
		{"quoted", map[string]string{"Cache-Control": `max-age="30"`}, true, 30 * time.Second},
		{"max-age, some of it gone", map[string]string{"Cache-Control": "max-age=30", "Age": "10"}, true, 20 * time.Second},
		{"max-age, all of it gone", map[string]string{"Cache-Control": "max-age=30", "Age": "31"}, false, 0},
		{"max-age before expires", map[string]string{"Cache-Control": "max-age=0", "Expires": hour, "Date": date}, false, 0},
		{"expires", map[string]string{"Expires": soon, "Date": date}, true, 20 * time.Second},
		{"expires of old", map[string]string{"Expires": "0", "ETag": `"a"`}, true, 0},
		{"too long", map[string]string{"Cache-Control": "max-age=99999999"}, true, maxFresh},
		{"overflow", map[string]string{"Cache-Control": "max-age=99999999999999999999", "ETag": `"a"`}, true, 0},
		{"negative", map[string]string{"Cache-Control": "max-age=-1"}, false, 0},
		{"no-cache", map[string]string{"Cache-Control": "no-cache, max-age=30", "ETag": `"a"`}, true, 0},
		{"no-store", map[string]string{"Cache-Control": "max-age=30, no-store", "ETag": `"a"`}, false, 0},
		{"varies", map[string]string{"Cache-Control": "max-age=30", "Vary": "*"}, false, 0},
		{"varies by what is equal", map[string]string{"Cache-Control": "max-age=30", "Vary": "Authorization, Accept-Encoding"}, true, 30 * time.Second},
	} {
		header := http.Header{}
		for name, value := range tc.header {
			header.Set(name, value)
		}
		a, kept := newAnswer(nil, header, now)
		if fresh := max(0, a.freshUntil.Sub(now)); kept != tc.kept || kept && fresh != tc.fresh {
			t.Errorf("%s: kept %t, fresh for %s; want %t, %s", tc.name, kept, fresh, tc.kept, tc.fresh)
		}
	}
}

// The cache holds no more than it may, and drops first what was used longest ago.
func TestCacheIsBounded(t *testing.T) {
	const body = 1000
	cost := (&entry{key: "0", answer: answer{body: make([]byte, body)}}).cost()
	c := newCache(3 * cost)
	put := func(key string, bytes int) { c.put(key, answer{body: make([]byte, bytes)}) }
	has := func(want string) {
		t.Helper()
		got := ""
		for _, key := range []string{"0", "1", "2", "3", "4"} {
			if c.byKey[key] != nil {
				got += key
			}
		}
		total := 0
		for element := c.recent.Front(); element != nil; element = element.Next() {
			total += element.Value.(*entry).cost()
		}
		if got != want || total != c.bytes || c.bytes > c.maxBytes || c.recent.Len() != len(c.byKey) {
			t.Errorf("has %s in %d bytes, counted as %d; want %s", got, total, c.bytes, want)
		}
	}
	for i := range 3 {
		put(strconv.Itoa(i), body)
	}
	has("012")
	c.get("0")
	put("3", body)
	has("023")
	put("0", body/2) // another answer to the same
	has("023")
	put("4", 2*body)
	has("04")
	put("4", 5*body) // too large to be kept, and what was kept is out of date
	has("0")
}

// An answer that is fresh is not asked for again; one that is not is asked for only if it has changed.
func TestConditionalRequests(t *testing.T) {
	hub := fake()
	h := hubAt(t, hub)
	now := time.Now()
	h.now = func() time.Time { return now }
	see := func(asked, unchanged int) {
		t.Helper()
		out, err := h.listTags(t.Context(), listTagsIn{Repository: "alpine", Order: "newest"})
		if err != nil || len(out.Tags) != len(hub.Tags(fakehub.Alpine)) {
			t.Errorf("%+v, %v", out, err)
		}
		if len(hub.Requests()) != asked || hub.Unchanged() != unchanged {
			t.Errorf("%d requests and %d times unchanged; want %d and %d", len(hub.Requests()), hub.Unchanged(), asked, unchanged)
		}
	}
	see(1, 0)
	see(2, 1)
	hub.SetMaxAge(30 * time.Second)
	see(3, 2) // and says that it is fresh for a while
	see(3, 2)
	hub.Push(fakehub.Alpine, "new")
	now = now.Add(31 * time.Second)
	see(4, 2)
	see(4, 2)
}

// Equal questions at the same time are one.
func TestSingleFlight(t *testing.T) {
	hub := fake()
	arrived, open := make(chan bool, 100), make(chan bool)
	h := hubAt(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- true
		<-open
		hub.ServeHTTP(w, r)
	}))
	var calls sync.WaitGroup
	var looked atomic.Int32 // for a fresh answer, right before asking
	h.now = func() time.Time {
		looked.Add(1)
		return time.Now()
	}
	ask := func() {
		if out, err := h.getRepository(t.Context(), getRepositoryIn{Repository: "nginx"}); err != nil || out.Stars == nil {
			t.Errorf("%+v, %v", out, err)
		}
	}
	calls.Go(ask)
	<-arrived
	for range 9 {
		calls.Go(ask)
	}
	for looked.Load() < 10 {
		time.Sleep(time.Millisecond)
	}
	// One who goes away is not kept waiting, and takes nothing from the others.
	ctx, cancel := context.WithTimeout(t.Context(), shortTimeout)
	defer cancel()
	if _, err := h.getRepository(ctx, getRepositoryIn{Repository: "nginx"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an answer before there is one: %v", err)
	}
	close(open)
	calls.Wait()
	if n := len(hub.Requests()); n != 1 {
		t.Errorf("%d requests for one question", n)
	}
}

// A question waits where Docker Hub says until when, if there is time, and not otherwise.
func TestRetries(t *testing.T) {
	for _, repository := range []string{fakehub.LimitedOnce, fakehub.Maintenance} {
		hub := fake()
		h := hubAt(t, hub)
		waits := noSleep(h)
		out, err := h.listTags(t.Context(), listTagsIn{Repository: repository, Order: "newest"})
		if err != nil || out.Total != fakehub.NginxTags || len(hub.Requests()) != 2 {
			t.Errorf("%s: %d tags in %d requests, %v", repository, out.Total, len(hub.Requests()), err)
		}
		if len(*waits) != 1 || (*waits)[0] <= 0 || (*waits)[0] > time.Second+maxJitter {
			t.Errorf("%s: waited for %v", repository, *waits)
		}
	}
	asked := 0
	refuses := hubAt(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusInternalServerError)
	}))
	noSleep(refuses)
	_, err := refuses.getRepository(t.Context(), getRepositoryIn{Repository: "nginx"})
	wantError(t, err, mcpserver.CodeUnavailable, "status 500", "try again in 1s")
	if asked != 1 {
		t.Errorf("a failure was asked for %d times", asked)
	}
	for _, tc := range []struct {
		repository string
		requests   int
		timeout    time.Duration
	}{
		{fakehub.Limited, 1, requestTimeout}, // a minute is more than a call has
		{fakehub.Limited, 1 + maxRetries, time.Hour},
		{fakehub.Unavailable, 1, time.Hour}, // does not say until when
		{fakehub.Broken, 1, time.Hour},
	} {
		hub := fake()
		h := hubAt(t, hub)
		h.timeout = tc.timeout
		noSleep(h)
		_, err := h.getRepository(t.Context(), getRepositoryIn{Repository: tc.repository})
		if err == nil || len(hub.Requests()) != tc.requests {
			t.Errorf("%s within %s: %d requests, want %d: %v", tc.repository, tc.timeout, len(hub.Requests()), tc.requests, err)
		}
	}
}

// A page that cannot be had any more does not cost those that were read.
func TestPartOfAScan(t *testing.T) {
	hub := fake()
	h := hubAt(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("page") == "3" && len(hub.Requests()) < 4 {
			w.Header().Set("X-Retry-After", strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10))
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		hub.ServeHTTP(w, r)
	}))
	digest := fakehub.DigestOf(fakehub.Big, hub.Tags(fakehub.Big)[150])
	var out resolveDigestOut
	if err := call(t, h, "resolve_digest", fmt.Sprintf(`{"repository":%q,"digest":%q}`, fakehub.Big, digest), &out); err != nil {
		t.Fatal(err)
	}
	if len(out.Tags) != 1 || out.Scanned != 200 || !out.Truncated || out.NextCursor == "" {
		t.Errorf("%+v", out)
	}
	err := call(t, h, "resolve_digest", fmt.Sprintf(`{"repository":%q,"digest":%q,"cursor":%q}`, fakehub.Big, digest, out.NextCursor), &out)
	wantError(t, err, mcpserver.CodeRateLimited, "try again in")
}

func TestResolveDigest(t *testing.T) {
	hub := fake()
	h := hubAt(t, hub)
	for _, tc := range []struct{ repository, digest, want string }{
		{"alpine", fakehub.DigestOf(fakehub.Alpine, "latest"), "latest 3.22"},
		{"alpine", fakehub.DigestOf(fakehub.Alpine, "latest", "windows", "amd64", ""), "latest(windows/amd64) 3.22(windows/amd64)"},
		{"alpine", fakehub.DigestOf(fakehub.Alpine, "edge"), "edge"},
		{"alpine@" + fakehub.DigestOf(fakehub.Alpine, "edge"), "", "edge"},
		{"nginx", "sha256:" + strings.Repeat("0", 64), ""},
	} {
		args := fmt.Sprintf(`{"repository":%q}`, tc.repository)
		if tc.digest != "" {
			args = fmt.Sprintf(`{"repository":%q,"digest":%q}`, tc.repository, tc.digest)
		}
		var out resolveDigestOut
		if err := call(t, h, "resolve_digest", args, &out); err != nil {
			t.Errorf("%s: %v", args, err)
			continue
		}
		var got []string
		for _, tag := range out.Tags {
			text := tag.Tag
			if tag.Platform != "" {
				text += "(" + tag.Platform + ")"
			}
			got = append(got, text)
		}
		if strings.Join(got, " ") != tc.want || out.Truncated || out.Scanned != out.Total {
			t.Errorf("%s: %+v, want %s", args, out, tc.want)
		}
	}
	// The last of ten thousand takes ten calls of ten pages, and each goes on where the other stopped.
	names := hub.Tags(fakehub.Big)
	oldest := fakehub.DigestOf(fakehub.Big, names[len(names)-1])
	args, calls, found := fmt.Sprintf(`{"repository":%q,"digest":%q}`, fakehub.Big, oldest), 0, 0
	for {
		var out resolveDigestOut
		if err := call(t, h, "resolve_digest", args, &out); err != nil {
			t.Fatal(err)
		}
		calls++
		found += len(out.Tags)
		if !out.Truncated {
			break
		}
		args = fmt.Sprintf(`{"repository":%q,"digest":%q,"cursor":%q}`, fakehub.Big, oldest, out.NextCursor)
	}
	if calls != fakehub.BigTags/maxPageSize/maxScan || found != 1 {
		t.Errorf("found %d times in %d calls", found, calls)
	}
}
