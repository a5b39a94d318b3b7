// Package hub answers as Docker Hub's API does, out of a small data set: the shapes, the errors, the paging and
// the odd corners that a client has to live with. It serves tests and is in no released image.
package hub

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// page is the API's envelope of a list. Next and Previous are absolute, or null.
type page struct {
	Count    int     `json:"count"`
	Next     *string `json:"next"`
	Previous *string `json:"previous"`
	Results  []tag   `json:"results"`
}

// The two forms of "not found": pages and tags still answer with the older one.
const (
	notFound    = `{"message":"object not found","errinfo":{}}`
	notFoundOld = `{"message":"httperror 404: object not found","errinfo":{}}`
)

// Handler returns the API. It is safe for concurrent use and keeps no state.
func Handler() http.Handler {
	repositories := dataSet()
	mux := http.NewServeMux()
	// The second form is older and answers the same.
	for _, base := range []string{"/v2/namespaces/{namespace}/repositories/{name}", "/v2/repositories/{namespace}/{name}"} {
		mux.Handle("GET "+base, lookup(repositories, getRepository))
		mux.Handle("GET "+base+"/tags", lookup(repositories, listTags))
		mux.Handle("GET "+base+"/tags/{tag}", lookup(repositories, getTag))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusNotFound, notFound)
	})
	return limits(mux)
}

// limits adds the headers that every answer has.
func limits(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-RateLimit-Limit", strconv.Itoa(rateLimit))
		w.Header().Set("X-RateLimit-Remaining", strconv.Itoa(rateLimit-1))
		w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(time.Now().Add(RetryAfter).Unix(), 10))
		next.ServeHTTP(w, r)
	})
}

// lookup finds the repository that the path names, or the trouble.
func lookup(all map[string]repository, next func(http.ResponseWriter, *http.Request, repository)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("namespace") + "/" + r.PathValue("name")
		if strings.HasPrefix(name, "trouble/") {
			trouble(w, r, name)
			return
		}
		repo, ok := all[name]
		if !ok {
			answer(w, http.StatusNotFound, notFound)
			return
		}
		next(w, r, repo)
	})
}

func getRepository(w http.ResponseWriter, _ *http.Request, repo repository) {
	answerJSON(w, repo)
}

func getTag(w http.ResponseWriter, r *http.Request, repo repository) {
	for _, t := range repo.tags {
		if t.Name == r.PathValue("tag") {
			answerJSON(w, t)
			return
		}
	}
	answer(w, http.StatusNotFound, notFoundOld)
}

func listTags(w http.ResponseWriter, r *http.Request, repo repository) {
	query := r.URL.Query()
	tags := slices.DeleteFunc(slices.Clone(repo.tags), func(t tag) bool {
		return !strings.Contains(t.Name, query.Get("name"))
	})
	if query.Get("ordering") == "-last_updated" { // Hub's sign is the other way round than one expects
		slices.Reverse(tags)
	}
	number, size := positive(query.Get("page"), 1), min(positive(query.Get("page_size"), DefaultPage), MaximumPage)
	pages := max(1, (len(tags)+size-1)/size)
	if number == 0 || size == 0 || number > pages {
		answer(w, http.StatusNotFound, notFoundOld)
		return
	}
	p := page{Count: len(tags), Results: tags[(number-1)*size : min(number*size, len(tags))]}
	if number < pages {
		p.Next = pageURL(r, r.Host, number+1, size)
	}
	if number > 1 {
		p.Previous = pageURL(r, r.Host, number-1, size)
	}
	answerJSON(w, p)
}

// positive reads a positive number; the empty text means otherwise, anything else 0.
func positive(text string, otherwise int) int {
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return max(n, 0)
}

// pageURL is the absolute URL of another page of the same list.
func pageURL(r *http.Request, host string, number, size int) *string {
	query := r.URL.Query()
	query.Set("page", strconv.Itoa(number))
	query.Set("page_size", strconv.Itoa(size))
	u := url.URL{Scheme: "https", Host: host, Path: r.URL.Path, RawQuery: query.Encode()}
	return new(u.String())
}

func trouble(w http.ResponseWriter, r *http.Request, name string) {
	switch name {
	case Forbidden:
		answer(w, http.StatusForbidden, `{"errinfo":{},"message":"access to the resource is forbidden with personal access token"}`)
	case Unauthorized:
		answer(w, http.StatusUnauthorized, `{"detail":"unauthorized","message":"unauthorized"}`)
	case Limited:
		w.Header().Set("X-RateLimit-Remaining", "0")
		w.Header().Set("X-Retry-After", strconv.FormatInt(time.Now().Add(RetryAfter).Unix(), 10))
		answer(w, http.StatusTooManyRequests, `{"detail":"Rate limit exceeded","error":false}`)
	case Unavailable:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>")
	case Elsewhere:
		answerJSON(w, page{Count: NginxTags, Next: pageURL(r, ElsewhereHost, 2, DefaultPage), Results: nginxTags()[:1]})
	case Redirects:
		w.Header().Set("Location", "https://"+ElsewhereHost+"/")
		w.WriteHeader(http.StatusFound)
	case Silent:
		<-r.Context().Done()
	case Endless:
		endless(w, r)
	case Garbage:
		answer(w, http.StatusOK, `{"count":"many","next":7,"results":{"name":[]},"name":1,"images":"none","star_count":"some"}`)
	default:
		answer(w, http.StatusNotFound, notFound)
	}
}

// endless writes a list that never closes, until the client has had enough.
func endless(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	chunk := strings.Repeat(" ", 32<<10)
	_, err := io.WriteString(w, `{"count":1,"next":null,"previous":null,"results":[`)
	for err == nil && r.Context().Err() == nil {
		_, err = io.WriteString(w, chunk)
	}
}

func answerJSON(w http.ResponseWriter, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, http.StatusOK, string(data))
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}
