package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/outbound"
)

// subject is what a question is about, for the words of an error.
type subject struct {
	what             string
	check            string // what to look at if there is no such thing
	personal, shared string // what a personal, an organization's access token lacks that is forbidden it
	public           bool   // asked without the token
}

func unreadable(asked subject, err error) error {
	return mcpserver.Errorf(mcpserver.CodeUnavailable, "Docker Hub's answer about %s cannot be understood: %w", asked.what, err)
}

// hasCode says whether err is for callers and has the code.
func hasCode(err error, code mcpserver.Code) bool {
	visible, ok := errors.AsType[*mcpserver.Error](err)
	return ok && visible.Code == code
}

// transportError says why there was no answer.
func (h *hub) transportError(asked subject, err error) error {
	var denied *outbound.DeniedError
	var unreached *outbound.UnavailableError
	switch {
	case errors.As(err, &denied):
		return mcpserver.Errorf(mcpserver.CodeDenied, "this server may not reach %s: %s", denied.Host, denied.Reason)
	case errors.Is(err, limit.ErrTooLarge):
		return mcpserver.Errorf(mcpserver.CodeTooLarge,
			"Docker Hub's answer about %s has more than %d bytes; for tags, ask for fewer with limit", asked.what, maxBody)
	case errors.Is(err, errElsewhere):
		return mcpserver.Errorf(mcpserver.CodeUnavailable,
			"Docker Hub redirected the request for %s to another address; refused, because only the address that was asked may answer", asked.what)
	case errors.As(err, &unreached):
		code := mcpserver.CodeUnavailable
		if errors.Is(err, context.DeadlineExceeded) {
			code = mcpserver.CodeTimeout
		}
		return mcpserver.Errorf(code, "Docker Hub cannot be reached for %s: %s", asked.what, unreached.Reason)
	case isTimeout(err):
		return mcpserver.Errorf(mcpserver.CodeTimeout,
			"Docker Hub did not answer about %s within %s; try again later, or for tags with a smaller limit", asked.what, h.timeout)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("asking for %s: %w", asked.what, err)
	default:
		if wrapper, ok := errors.AsType[*url.Error](err); ok {
			err = wrapper.Err
		}
		return mcpserver.Errorf(mcpserver.CodeUnavailable, "the connection to Docker Hub failed for %s: %w", asked.what, err)
	}
}

// isTimeout covers the context's end and the transport's own bounds, which have errors of their own.
func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// statusError translates an answer that is not a success.
func (h *hub) statusError(asked subject, who *account, r reply) error {
	words := upstreamWords(r.body)
	switch {
	case r.status == http.StatusNotFound:
		return mcpserver.Errorf(mcpserver.CodeNotFound, "Docker Hub does not know %s: %s", asked.what, asked.check)
	case r.status == http.StatusUnauthorized || r.status == http.StatusForbidden:
		return mcpserver.Errorf(mcpserver.CodeForbidden, "Docker Hub forbids %s%s: %s", asked.what, words, missingRight(asked, who))
	case r.status == http.StatusTooManyRequests:
		return mcpserver.Errorf(mcpserver.CodeRateLimited,
			"too many requests to Docker Hub's API from this address or account%s; %s. This is the API's own limit: pulling images is counted elsewhere",
			words, h.comeBack(r))
	case r.status >= http.StatusInternalServerError:
		return mcpserver.Errorf(mcpserver.CodeUnavailable,
			"Docker Hub cannot answer about %s now (status %d%s); %s", asked.what, r.status, words, h.comeBack(r))
	default:
		return mcpserver.Errorf(mcpserver.CodeUnavailable,
			"Docker Hub gave an answer about %s that makes no sense here (status %d%s)", asked.what, r.status, words)
	}
}

// missingRight says what it would take to be told.
func missingRight(asked subject, who *account) string {
	switch {
	case who == nil:
		return "this server asks anonymously, so only what is public can be seen; private repositories take a token with the right to read them (--login)"
	case who.organization():
		return "this server's organization access token lacks " + asked.shared
	default:
		return "this server's personal access token lacks " + asked.personal
	}
}

// upstreamWords returns the message of the API's error, quoted, or nothing. Its forms differ by age and by
// which part of Docker Hub answers.
func upstreamWords(body []byte) string {
	var form struct {
		Message string `json:"message"`
		Detail  string `json:"detail"`
		Details string `json:"details"`
	}
	if json.Unmarshal(body, &form) != nil {
		return ""
	}
	for _, text := range []string{form.Message, form.Detail, form.Details} {
		if text != "" {
			return fmt.Sprintf(" (it says %q)", cut(text, maxUpstreamText))
		}
	}
	return ""
}

// comeBackAt says when Docker Hub wants to be asked again. X-Retry-After is a Unix time; Retry-After (RFC 9110,
// 10.2.3) is a date or a number of seconds.
func (h *hub) comeBackAt(r reply) (at time.Time, ok bool) {
	if at, ok = h.soon(r.header.Get("X-Retry-After")); ok {
		return at, true
	}
	after := r.header.Get("Retry-After")
	if date, err := http.ParseTime(after); err == nil {
		after = strconv.FormatInt(int64(min(date.Sub(h.now()), maxReset).Seconds()), 10)
	}
	if wait := seconds(after); wait > 0 {
		return h.now().Add(wait), true
	}
	if r.status == http.StatusTooManyRequests {
		return h.soon(r.header.Get("X-RateLimit-Reset"))
	}
	return time.Time{}, false
}

// soon reads a Unix time that is ahead, and not absurdly far.
func (h *hub) soon(text string) (time.Time, bool) {
	unix, err := strconv.ParseInt(text, 10, 64)
	at := time.Unix(unix, 0).UTC()
	return at, err == nil && at.After(h.now()) && at.Before(h.now().Add(maxReset))
}

// comeBack is comeBackAt in words.
func (h *hub) comeBack(r reply) string {
	at, ok := h.comeBackAt(r)
	if !ok {
		return "it does not say until when: try again in a few minutes"
	}
	return fmt.Sprintf("try again in %s, at %s", at.Sub(h.now()).Round(time.Second), at.UTC().Format(time.RFC3339))
}

func sameOrigin(u, base *url.URL) bool {
	return u.Scheme == base.Scheme && strings.EqualFold(u.Hostname(), base.Hostname()) && port(u) == port(base) && u.User == nil
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return map[string]string{"http": "80", "https": "443"}[u.Scheme]
}
