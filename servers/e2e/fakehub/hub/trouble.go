package hub

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/e2e/canary"
)

// Repositories that answer as their names say, at every path below them.
const (
	Forbidden    = "trouble/forbidden"    // 403, as with an access token that lacks a right
	Unauthorized = "trouble/unauthorized" // 401
	Limited      = "trouble/limited"      // 429 with X-Retry-After a minute ahead
	LimitedOnce  = "trouble/limitedonce"  // 429 with X-Retry-After a second ahead, every other time; then as Nginx
	Unavailable  = "trouble/unavailable"  // 503 with an HTML body
	Maintenance  = "trouble/maintenance"  // 503 with Retry-After: 1, every other time; then as Nginx
	Broken       = "trouble/broken"       // 500
	Elsewhere    = "trouble/elsewhere"    // tags whose next page is at ElsewhereHost
	Redirects    = "trouble/redirects"    // 302 to ElsewhereHost
	Silent       = "trouble/silent"       // no answer until the client gives up
	Slow         = "trouble/slow"         // a body that comes by the byte, and never ends
	Endless      = "trouble/endless"      // a body without an end
	Truncated    = "trouble/truncated"    // a body shorter than it says
	Garbage      = "trouble/garbage"      // 200 and JSON of the wrong types
	Nulls        = "trouble/nulls"        // 200 and null for every value
	Loop         = "trouble/loop"         // every page is the first, and has a next one
	Miscounted   = "trouble/miscounted"   // a count of fewer tags than the page has
	Echo         = "trouble/echo"         // repeats the request's Authorization in every text that it has
	LeakyError   = "trouble/leakyerror"   // 500 with secrets in its message
	EchoError    = "trouble/echoerror"    // the same, as a 403
)

// What the troubles are made of.
const (
	ElsewhereHost = "hub.docker.com.example.net"
	RetryAfter    = time.Minute // how far ahead X-Retry-After points
	loopPage      = 10          // tags on every page of Loop, whatever the query says
	slowEvery     = 10 * time.Millisecond
)

func (h *Hub) trouble(w http.ResponseWriter, r *http.Request, name string, otherwise http.HandlerFunc) {
	switch name {
	case Forbidden:
		answer(w, http.StatusForbidden, patForbidden)
	case Unauthorized:
		answer(w, http.StatusUnauthorized, `{"detail":"unauthorized","message":"unauthorized"}`)
	case Limited:
		limited(w, RetryAfter)
	case LimitedOnce:
		if h.turn(name)%2 == 0 {
			limited(w, time.Second)
			return
		}
		otherwise(w, r)
	case Unavailable:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, "<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>")
	case Maintenance:
		if h.turn(name)%2 == 0 {
			w.Header().Set("Retry-After", "1")
			answer(w, http.StatusServiceUnavailable, `{"message":"maintenance"}`)
			return
		}
		otherwise(w, r)
	case Broken:
		answer(w, http.StatusInternalServerError, `{"message":"internal error","errinfo":{}}`)
	case Elsewhere:
		answerJSON(w, page[tag]{Count: NginxTags, Next: pageURL(r, ElsewhereHost, 2, DefaultPage), Results: nginxTags()[:1]})
	case Redirects:
		w.Header().Set("Location", "https://"+ElsewhereHost+"/")
		w.WriteHeader(http.StatusFound)
	case Silent:
		<-r.Context().Done()
	default:
		lie(w, r, name)
	}
}

// lie answers with a body that is not what it should be.
func lie(w http.ResponseWriter, r *http.Request, name string) {
	echo := strings.ReplaceAll(r.Header.Get("Authorization"), `"`, "")
	switch name {
	case Slow:
		dribble(w, r)
	case Endless:
		endless(w, r)
	case Truncated:
		w.Header().Set("Content-Length", "1000")
		answer(w, http.StatusOK, `{"count":1,"next":null,"results":[{"name":"v1"`)
	case Garbage:
		answer(w, http.StatusOK, `{"count":"many","next":7,"results":{"name":[]},"name":1,"images":"none","star_count":"some"}`)
	case Nulls:
		answer(w, http.StatusOK, `{"count":null,"next":null,"previous":null,"results":null,"name":null,"images":null,"description":null,`+
			`"full_description":null,"star_count":null,"pull_count":null,"last_updated":null,"categories":null,"immutable_tags_settings":null,"digest":null,"full_size":null}`)
	case Loop:
		answerJSON(w, page[tag]{Count: 3 * NginxTags, Next: pageURL(r, r.Host, 2, loopPage), Results: nginxTags()[:loopPage]})
	case Miscounted:
		answerJSON(w, page[tag]{Count: 3, Results: nginxTags()[:loopPage]})
	case Echo:
		answerJSON(w, map[string]any{"name": "v1", "description": echo, "full_description": "you sent " + echo, "categories": []category{{Name: echo}}, "count": 0, "results": []tag{}})
	case LeakyError:
		answerStatus(w, http.StatusInternalServerError, map[string]string{"message": canary.Text(canary.UpstreamError)})
	case EchoError:
		answerStatus(w, http.StatusForbidden, map[string]string{"message": "forbidden for " + echo})
	default:
		answer(w, http.StatusNotFound, notFound)
	}
}

func limited(w http.ResponseWriter, ahead time.Duration) {
	w.Header().Set("X-RateLimit-Remaining", "0")
	w.Header().Set("X-Retry-After", strconv.FormatInt(time.Now().Add(ahead).Unix(), 10))
	answer(w, http.StatusTooManyRequests, `{"detail":"Rate limit exceeded","error":false}`)
}

// turn counts the requests for a repository.
func (h *Hub) turn(name string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.turns[name]++
	return h.turns[name] - 1
}

// dribble writes a list by the byte, until the client has had enough.
func dribble(w http.ResponseWriter, r *http.Request) {
	flusher, _ := w.(http.Flusher)
	_, err := io.WriteString(w, `{"count":1,"next":null,"results":[`)
	for err == nil {
		if flusher != nil {
			flusher.Flush()
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(slowEvery):
			_, err = io.WriteString(w, " ")
		}
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
