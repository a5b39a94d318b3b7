package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// quota is a limit on requests, and how much of it is left.
type quota struct {
	limit, remaining int
	window           time.Duration // 0: not told
	resets           time.Time     // zero: not told
	account          bool          // counted by account, not by address
}

// apiQuota asks what is left of the API's own limit. It takes one request of it.
func (h *hub) apiQuota(ctx context.Context) (quota, error) {
	asked := subject{what: "the API's limit", check: "this server may be too old"}
	who := h.login.current(ctx)
	token, err := h.accessToken(ctx, who)
	if err != nil {
		return quota{}, err
	}
	u := h.base.JoinPath("v2", "namespaces", "library", "repositories", "hello-world")
	r, err := h.send(ctx, http.MethodHead, u, asked, func(header http.Header) { bearer(header, token) })
	if err != nil {
		return quota{}, err
	}
	// Every answer has these headers, a refusal too.
	q := quota{account: who != nil}
	var limitErr, remainingErr error
	q.limit, limitErr = strconv.Atoi(r.header.Get("X-RateLimit-Limit"))
	q.remaining, remainingErr = strconv.Atoi(r.header.Get("X-RateLimit-Remaining"))
	if limitErr != nil || remainingErr != nil || q.limit < 0 || q.remaining < 0 {
		if r.status >= http.StatusBadRequest && r.status != http.StatusNotFound {
			return quota{}, h.statusError(asked, who, r)
		}
		return quota{}, unreadable(asked, errors.New("it has no X-RateLimit headers"))
	}
	if at, ok := h.soon(r.header.Get("X-RateLimit-Reset")); ok {
		q.resets = at
	}
	return q, nil
}

// pullQuota asks the registry what is left of the limit on pulls; ok is false where there is none. A HEAD on this
// repository, which is there for that, counts as no pull (docs.docker.com, "Docker Hub pull usage and limits").
func (h *hub) pullQuota(ctx context.Context) (q quota, ok bool, err error) {
	asked := subject{what: "the pull limit", check: "this server may be too old"}
	who := h.login.current(ctx)
	token, err := h.registryToken(ctx, who, asked, "repository:ratelimitpreview/test:pull")
	if err != nil {
		return quota{}, false, err
	}
	u := h.registry.JoinPath("v2", "ratelimitpreview", "test", "manifests", "latest")
	r, err := h.send(ctx, http.MethodHead, u, asked, func(header http.Header) { bearer(header, token) })
	if err != nil {
		return quota{}, false, err
	}
	limit, remaining := r.header.Get("RateLimit-Limit"), r.header.Get("RateLimit-Remaining")
	switch {
	case limit == "" && r.status == http.StatusOK:
		return quota{}, false, nil
	case limit == "":
		return quota{}, false, h.statusError(asked, who, r)
	}
	var limitErr, remainingErr error
	q.limit, q.window, limitErr = parseLimit(limit)
	q.remaining, _, remainingErr = parseLimit(remaining)
	if err := errors.Join(limitErr, remainingErr); err != nil {
		return quota{}, false, unreadable(asked, err)
	}
	// The source is an address of the operator's or the account's id: which of them is all that a caller needs.
	_, err = netip.ParseAddr(r.header.Get("Docker-RateLimit-Source"))
	q.account = err != nil && who != nil
	// Each pull counts for the length of the window.
	if wait := cmp.Or(seconds(r.header.Get("RateLimit-Reset")), q.window); wait > 0 {
		q.resets = h.now().Add(wait).UTC()
	}
	return q, true, nil
}

var errLimitForm = errors.New(`a limit is not of the form "100;w=21600"`)

// parseLimit reads "100;w=21600": a number, and the seconds for which each counts.
func parseLimit(text string) (n int, window time.Duration, err error) {
	number, parameters, _ := strings.Cut(text, ";")
	if n, err = strconv.Atoi(strings.TrimSpace(number)); err != nil || n < 0 {
		return 0, 0, errLimitForm
	}
	for parameter := range strings.SplitSeq(parameters, ";") {
		if value, ok := strings.CutPrefix(strings.TrimSpace(parameter), "w="); ok {
			window = seconds(value)
		}
	}
	return n, window, nil
}

// registryToken asks for a token for the registry, with the rights of the account as far as it has them.
func (h *hub) registryToken(ctx context.Context, who *account, asked subject, scope string) (string, error) {
	u := h.auth.JoinPath("token")
	u.RawQuery = url.Values{"service": {"registry.docker.io"}, "scope": {scope}}.Encode()
	asked.personal, asked.shared = badToken, badToken
	r, err := h.send(ctx, http.MethodGet, u, asked, func(header http.Header) {
		if who != nil {
			basic := http.Request{Header: header}
			basic.SetBasicAuth(who.identifier, who.secret)
		}
	})
	if err != nil {
		return "", err
	}
	if r.status != http.StatusOK {
		return "", h.statusError(asked, who, r)
	}
	var form struct {
		Token string `json:"token"`
	}
	if decode(r.body, &form) != nil || !validToken(form.Token) {
		return "", unreadable(asked, errors.New("there is no token in it"))
	}
	h.login.noteToken(&h.login.registry, form.Token)
	return form.Token, nil
}

// watchRights says in the log of every new token whether it may do more than this server needs. Where that cannot be
// found out it says so once, and tries again, ever more seldom.
func (h *hub) watchRights(ctx context.Context) {
	if h.login.dir.Path == "" {
		return
	}
	judged, failing, failures := "", "", 0
	var next time.Time
	for {
		who := h.login.current(ctx)
		if who != nil && who.id != failing {
			failing, failures, next = who.id, 0, time.Time{}
		}
		if who != nil && who.id != judged && !h.now().Before(next) {
			err := h.judgeRights(ctx, who)
			if err == nil {
				judged = who.id
			} else if failures == 0 && ctx.Err() == nil {
				h.logger.LogAttrs(ctx, slog.LevelWarn, "it could not be found out what the Docker Hub token may do", slog.String("error", h.login.hide(err.Error())))
			}
			failures = min(failures+1, maxRightsDoublings)
			next = h.now().Add(rightsLook << failures)
		}
		if h.sleep(ctx, rightsLook) != nil {
			return
		}
	}
}

// judgeRights logs in, and asks for a registry's token that may push to the account's own namespace. Nothing is pushed:
// what is granted is the answer.
func (h *hub) judgeRights(ctx context.Context, who *account) error {
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	if _, err := h.accessToken(ctx, who); err != nil {
		return err
	}
	asked := subject{what: "what the token may do"}
	token, err := h.registryToken(ctx, who, asked, "repository:"+who.identifier+"/bulkhead:pull,push")
	if err != nil {
		return err
	}
	granted := readClaims(token)
	if granted.Expires == 0 {
		return unreadable(asked, errors.New("the registry's token does not say what it is good for"))
	}
	var may []string
	for _, access := range granted.Access {
		may = append(may, access.Actions...)
	}
	kind := slog.String("kind", "personal")
	if who.organization() {
		kind = slog.String("kind", "organization")
	}
	if slices.ContainsFunc(may, func(action string) bool { return action != "pull" }) {
		h.logger.LogAttrs(ctx, slog.LevelWarn, "the Docker Hub token may write, and this server only reads: replace it by one that is read-only",
			slog.String("identifier", who.identifier), kind)
		return nil
	}
	h.logger.LogAttrs(ctx, slog.LevelInfo, "the Docker Hub token is good, and may not push to its own namespace", slog.String("identifier", who.identifier), kind)
	return nil
}

// rateLimit is a quota in the form of an answer.
func (q quota) rateLimit() *rateLimit {
	r := &rateLimit{Limit: q.limit, Remaining: q.remaining, WindowSeconds: int64(q.window / time.Second), CountedBy: "address"}
	if q.account {
		r.CountedBy = "account"
	}
	if !q.resets.IsZero() {
		r.ResetsAt = q.resets.Format(time.RFC3339)
	}
	return r
}

// problem is what an answer says of the half that could not be found out.
func problem(half string, err error) string {
	if visible, ok := errors.AsType[*mcpserver.Error](err); ok {
		return half + ": " + visible.Message
	}
	return half + ": no answer"
}
