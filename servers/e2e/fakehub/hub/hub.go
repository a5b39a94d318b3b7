// Package hub answers as Docker Hub does, out of a small data set: its API with the shapes, the errors, the paging and
// the odd corners that a client has to live with, and as much of auth.docker.io and registry-1.docker.io as tells a
// caller its pull limit. It serves tests and is in no released image.
package hub

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	rateLimit  = 180 // requests a minute, as the headers say; they are counted, and never refused
	rateWindow = time.Minute
)

// page is the API's envelope of a list. Next and Previous are absolute, or null.
type page[T any] struct {
	Count    int     `json:"count"`
	Next     *string `json:"next"`
	Previous *string `json:"previous"`
	Results  []T     `json:"results"`
}

// The two forms of "not found": pages and tags still answer with the older one. And what a token without the right gets.
const (
	notFound     = `{"message":"object not found","errinfo":{}}`
	notFoundOld  = `{"message":"httperror 404: object not found","errinfo":{}}`
	patForbidden = `{"errinfo":{},"message":"access to the resource is forbidden with personal access token"}`
)

// Hub is one fake Docker Hub. It is safe for concurrent use.
type Hub struct {
	mux *http.ServeMux

	mu           sync.Mutex
	repositories map[string]*repository
	sessions     map[string]session // by access token
	revoked      map[string]bool    // secrets
	turns        map[string]int     // requests for repositories that answer by turns
	lifetime     time.Duration      // of access tokens
	maxAge       time.Duration      // how long answers are fresh; 0: they do not say
	requests     []string           // method and URL of every request so far
	unchanged    int                // how many of them were answered with 304
}

// New returns a Docker Hub with the data set.
func New() *Hub {
	h := &Hub{
		mux: http.NewServeMux(), repositories: dataSet(), lifetime: AccessTokenLifetime,
		sessions: map[string]session{}, revoked: map[string]bool{}, turns: map[string]int{},
	}
	// The second form is older and answers the same.
	for _, base := range []string{"/v2/namespaces/{namespace}/repositories/{name}", "/v2/repositories/{namespace}/{name}"} {
		h.mux.Handle("GET "+base, h.lookup(getRepository))
		h.mux.Handle("GET "+base+"/tags", h.lookup(listTags))
		h.mux.Handle("GET "+base+"/tags/{tag}", h.lookup(getTag))
	}
	h.mux.HandleFunc("POST /v2/auth/token", h.login)
	h.mux.HandleFunc("GET /v2/user/orgs", h.organizations)
	h.mux.HandleFunc("GET /api/search/v4", h.search)
	h.mux.HandleFunc("GET /token", h.registryToken)
	h.mux.HandleFunc("HEAD /v2/ratelimitpreview/test/manifests/latest", h.pullLimit)
	h.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusNotFound, notFound)
	})
	return h
}

// ServeHTTP adds the headers that every answer has, and answers with 304 where the client has the answer already.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.requests = append(h.requests, r.Method+" "+r.URL.String())
	remaining, maxAge := max(0, rateLimit-len(h.requests)), h.maxAge
	h.mu.Unlock()
	w.Header().Set("X-RateLimit-Limit", strconv.Itoa(rateLimit))
	w.Header().Set("X-RateLimit-Remaining", strconv.Itoa(remaining))
	w.Header().Set("X-RateLimit-Reset", strconv.FormatInt(time.Now().Add(rateWindow).Unix(), 10))
	if maxAge > 0 {
		w.Header().Set("Cache-Control", "private, max-age="+strconv.Itoa(int(maxAge/time.Second)))
	}
	h.mux.ServeHTTP(&conditional{ResponseWriter: w, hub: h, asked: r.Header.Get("If-None-Match")}, r)
}

// SetMaxAge says how long answers are fresh that are given from now on.
func (h *Hub) SetMaxAge(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.maxAge = d
}

// Requests returns the method and the URL of every request so far.
func (h *Hub) Requests() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.requests)
}

// Unchanged returns how many requests were answered with 304.
func (h *Hub) Unchanged() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.unchanged
}

// Push makes or moves a tag, as a push at this moment does.
func (h *Hub) Push(repository, name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	repo, now := h.repositories[repository], time.Now().UTC()
	tags := slices.DeleteFunc(slices.Clone(repo.tags), func(t tag) bool { return t.Name == name })
	repo.tags = slices.Insert(tags, 0, tag{
		Name: name, V2: true, Status: "active", ContentType: "image", FullSize: compressedSize,
		Digest: digest(repository, name, now.String()), LastUpdated: &now, LastPushed: &now,
		Images: []image{{Architecture: "amd64", OS: "linux", Status: "active", Size: compressedSize, LastPushed: &now}},
	})
}

// Delete removes tags.
func (h *Hub) Delete(repository string, names ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	repo := h.repositories[repository]
	repo.tags = slices.DeleteFunc(slices.Clone(repo.tags), func(t tag) bool { return slices.Contains(names, t.Name) })
}

// Tags returns the names of a repository's tags, newest first.
func (h *Hub) Tags(repository string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var names []string
	for _, t := range h.repositories[repository].tags {
		names = append(names, t.Name)
	}
	return names
}

// lookup finds the repository that the path names, if the caller may see it, or the trouble.
func (h *Hub) lookup(next func(http.ResponseWriter, *http.Request, repository)) http.Handler {
	serve := func(w http.ResponseWriter, r *http.Request, name string) {
		g, ok := h.bearer(r)
		if !ok {
			answer(w, http.StatusUnauthorized, `{"detail":"token is invalid or expired"}`)
			return
		}
		h.mu.Lock()
		repo := h.repositories[name]
		var found repository
		if repo != nil {
			found = *repo // its list of tags is replaced, never written to
		}
		h.mu.Unlock()
		switch {
		case repo == nil || !repo.visibleTo(g) && g.identifier == "":
			answer(w, http.StatusNotFound, notFound)
		case !repo.visibleTo(g):
			answer(w, http.StatusForbidden, patForbidden)
		default:
			next(w, r, found)
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("namespace") + "/" + r.PathValue("name")
		if strings.HasPrefix(name, "trouble/") {
			h.trouble(w, r, name, func(w http.ResponseWriter, r *http.Request) { serve(w, r, Nginx) })
			return
		}
		serve(w, r, name)
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
	servePage(w, r, tags)
}

// servePage answers with the page of all that the query asks for.
func servePage[T any](w http.ResponseWriter, r *http.Request, all []T) {
	query := r.URL.Query()
	number, size := positive(query.Get("page"), 1), min(positive(query.Get("page_size"), DefaultPage), MaximumPage)
	pages := 1
	if size > 0 {
		pages = max(1, (len(all)+size-1)/size)
	}
	if number == 0 || size == 0 || number > pages {
		answer(w, http.StatusNotFound, notFoundOld)
		return
	}
	p := page[T]{Count: len(all), Results: all[(number-1)*size : min(number*size, len(all))]}
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

func answerJSON(w http.ResponseWriter, v any) { answerStatus(w, http.StatusOK, v) }

func answerStatus(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if c, ok := w.(*conditional); ok && status == http.StatusOK && c.unchanged(data) {
		return
	}
	answer(w, status, string(data))
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// conditional knows what the client has already.
type conditional struct {
	http.ResponseWriter
	hub   *Hub
	asked string
}

// unchanged sets the answer's entity tag, and answers with 304 if it is the client's.
func (c *conditional) unchanged(body []byte) bool {
	sum := sha256.Sum256(body)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	c.Header().Set("Etag", tag)
	if c.asked != tag {
		return false
	}
	c.hub.mu.Lock()
	c.hub.unchanged++
	c.hub.mu.Unlock()
	c.WriteHeader(http.StatusNotModified)
	return true
}

// Flush lets a body come in pieces.
func (c *conditional) Flush() {
	if flusher, ok := c.ResponseWriter.(http.Flusher); ok {
		flusher.Flush()
	}
}
