package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime/debug"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
)

// get returns the body of a successful answer of the API: one that is kept and fresh, one that others are asking for
// right now, or a new one. Its errors are for the caller to see.
func (h *hub) get(ctx context.Context, u *url.URL, asked subject) ([]byte, error) {
	var who *account
	if !asked.public {
		who = h.login.current(ctx)
	}
	key := who.key() + " " + u.String()
	kept := h.cache.get(key)
	if h.now().Before(kept.freshUntil) {
		return kept.body, nil
	}
	return share(ctx, h, key, func(ctx context.Context) ([]byte, error) {
		return h.fetch(ctx, u, asked, who, key, kept)
	})
}

// share runs f once for all who ask for key at the same time. What one began ends by its own time, even if that one goes
// away: others may be waiting for it.
func share[T any](ctx context.Context, h *hub, key string, f func(context.Context) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	timeout := h.timeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = min(timeout, time.Until(deadline)-answerMargin)
	}
	results := h.flights.DoChan(key, func() (value any, err error) {
		// singleflight would end the process.
		defer func() {
			if cause := recover(); cause != nil {
				err = fmt.Errorf("panic: %v\n%s", cause, debug.Stack())
			}
		}()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
		defer cancel()
		return f(ctx)
	})
	select {
	case result := <-results:
		if value, ok := result.Val.(T); ok && result.Err == nil {
			return value, nil
		}
		return none, result.Err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// fetch asks the API, again where it says when or where the access token has ended early, and keeps the answer.
func (h *hub) fetch(ctx context.Context, u *url.URL, asked subject, who *account, key string, kept answer) ([]byte, error) {
	loggedInAgain := false
	for retries := 0; ; {
		token, err := h.accessToken(ctx, who)
		if err != nil {
			return nil, err
		}
		response, err := h.send(ctx, http.MethodGet, u, asked, func(header http.Header) {
			bearer(header, token)
			if kept.etag != "" {
				header.Set("If-None-Match", kept.etag)
			} else if kept.lastModified != "" {
				header.Set("If-Modified-Since", kept.lastModified)
			}
		})
		if err != nil {
			return nil, err
		}
		switch {
		case response.status == http.StatusOK:
			return h.keep(key, response.body, response.header), nil
		case response.status == http.StatusNotModified && kept.body != nil:
			if response.header.Get("ETag") == "" {
				response.header.Set("ETag", kept.etag)
			}
			return h.keep(key, kept.body, response.header), nil
		case response.status == http.StatusUnauthorized && token != "" && !loggedInAgain:
			loggedInAgain = true
			who.forget(token)
			continue
		}
		wait, ok := h.worthWaiting(ctx, response)
		if !ok || retries == maxRetries {
			return nil, h.statusError(asked, who, response)
		}
		retries++
		if err := h.sleep(ctx, wait); err != nil {
			return nil, h.transportError(asked, err)
		}
	}
}

func (h *hub) keep(key string, body []byte, header http.Header) []byte {
	if a, ok := newAnswer(body, header, h.now()); ok {
		h.cache.put(key, a)
	}
	return body
}

// worthWaiting says how long to wait before the same question may be asked again, where Docker Hub says so and there
// is time for it. The jitter keeps those who were refused together from coming back together.
func (h *hub) worthWaiting(ctx context.Context, r reply) (time.Duration, bool) {
	if r.status != http.StatusTooManyRequests && r.status != http.StatusServiceUnavailable {
		return 0, false
	}
	at, ok := h.comeBackAt(r)
	if !ok {
		return 0, false
	}
	wait := at.Sub(h.now()) + rand.N(maxJitter) //nolint:gosec // nobody gains by guessing it
	deadline, ok := ctx.Deadline()
	return wait, !ok || time.Until(deadline) > wait+minTry
}

// reply is an answer whose body was read.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// bearer sets the access token; anonymous callers have none.
func bearer(header http.Header, token string) {
	if token != "" {
		header.Set("Authorization", "Bearer "+token)
	}
}

// send makes one request without a body and reads the answer.
func (h *hub) send(ctx context.Context, method string, u *url.URL, asked subject, headers func(http.Header)) (reply, error) {
	request, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return reply{}, fmt.Errorf("asking for %s: %w", asked.what, err)
	}
	headers(request.Header)
	return h.exchange(request, asked)
}

// post sends a body, as JSON.
func (h *hub) post(ctx context.Context, u *url.URL, asked subject, body []byte) (reply, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return reply{}, fmt.Errorf("asking for %s: %w", asked.what, err)
	}
	request.Header.Set("Content-Type", "application/json")
	return h.exchange(request, asked)
}

// errElsewhere is why a redirect was not followed.
var errElsewhere = errors.New("redirected to another address")

func (h *hub) exchange(request *http.Request, asked subject) (reply, error) {
	transport, err := h.transport()
	if err != nil {
		return reply{}, fmt.Errorf("asking for %s: %w", asked.what, err)
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "bulkhead-dockerhub")
	client := &http.Client{Transport: transport, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		// What is posted is the token itself, and goes nowhere else.
		if !sameOrigin(next.URL, via[0].URL) || len(via) > maxRedirects || via[0].Method == http.MethodPost {
			return errElsewhere
		}
		return nil
	}}
	response, err := client.Do(request)
	if err != nil {
		return reply{}, h.transportError(asked, err)
	}
	defer response.Body.Close()
	select {
	case h.reading <- struct{}{}:
		defer func() { <-h.reading }()
	case <-request.Context().Done():
		return reply{}, h.transportError(asked, request.Context().Err())
	}
	data, err := limit.ReadAll(response.Body, maxBody)
	if response.StatusCode == http.StatusOK {
		if err == nil {
			// A server that notices the hang-up may still end its half body in good order.
			err = request.Context().Err()
		}
		if err != nil {
			return reply{}, h.transportError(asked, err)
		}
	}
	// Half a body is good enough for an error's words.
	return reply{status: response.StatusCode, header: response.Header, body: data}, nil
}
