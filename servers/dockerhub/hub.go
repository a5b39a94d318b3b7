package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// The hosts that this server asks: the API; and for the pull limit and what a token may do, who gives out the
// registry's tokens, and the registry.
const (
	hubHost      = "hub.docker.com"
	authHost     = "auth.docker.io"
	registryHost = "registry-1.docker.io"
)

// hub asks Docker Hub.
type hub struct {
	base, auth, registry *url.URL // those of the hosts above, but for tests
	transport            func() (http.RoundTripper, error)
	login                *login
	logger               *slog.Logger
	timeout              time.Duration
	now                  func() time.Time
	sleep                func(ctx context.Context, d time.Duration) error

	cache   *cache
	flights singleflight.Group
	reading chan struct{} // one for each answer that is being read
}

// newHub returns a client of Docker Hub. The way out is asked for on the first request and not before: a process
// that only describes its tools has none and needs none.
func newHub(env mcpserver.Env, account *login) *hub {
	at := func(host string) *url.URL { return &url.URL{Scheme: "https", Host: host} }
	return &hub{
		base: at(hubHost), auth: at(authHost), registry: at(registryHost),
		login: account, logger: env.Logger, timeout: requestTimeout, now: time.Now, sleep: sleep, cache: newCache(maxCache),
		reading: make(chan struct{}, maxReading),
		transport: func() (http.RoundTripper, error) {
			client, err := env.Outbound()
			if err != nil {
				return nil, err
			}
			return client.Transport(), nil
		},
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// tagList is a list of a repository's tags.
type tagList struct {
	ref    reference
	part   string // of the tags' names; empty for all
	oldest bool   // first
}

// tags returns one page of a list of tags, counted from 1, and whether another follows.
func (h *hub) tags(ctx context.Context, list tagList, number, size int) (p page[hubTag], more bool, err error) {
	u := h.repositoryURL(list.ref).JoinPath("tags")
	query := pageQuery(number, size)
	query.Set("ordering", "last_updated") // Docker Hub's sign is the other way round: this is newest first
	if list.oldest {
		query.Set("ordering", "-last_updated")
	}
	if list.part != "" {
		query.Set("name", list.part)
	}
	u.RawQuery = query.Encode()
	asked := aboutTags(list)
	data, err := h.get(ctx, u, asked)
	if err != nil {
		return page[hubTag]{}, false, err
	}
	if p, err = decodeTags(data, size); err != nil {
		return page[hubTag]{}, false, unreadable(asked, err)
	}
	more, err = h.follows(u, p.Next, asked)
	return p, more, err
}

func pageQuery(number, size int) url.Values {
	return url.Values{"page": {strconv.Itoa(number)}, "page_size": {strconv.Itoa(size)}}
}

// follows says whether a list has another page. Its address is ours to build; but an API that names another host is
// not the one that was asked, or wants its client elsewhere.
func (h *hub) follows(u *url.URL, next *string, asked subject) (bool, error) {
	if next == nil {
		return false, nil
	}
	if target, err := u.Parse(*next); err != nil || !sameOrigin(target, h.base) {
		return false, mcpserver.Errorf(mcpserver.CodeUnavailable,
			"Docker Hub says that %s go on at another address, %q; refused, because only %s may be asked", asked.what, cut(*next, maxUpstreamText), h.base)
	}
	return true, nil
}

// tag returns one tag.
func (h *hub) tag(ctx context.Context, ref reference, name string) (hubTag, error) {
	asked := aboutRepository(ref, fmt.Sprintf("tag %s of %s", name, ref))
	asked.check = "list_tags shows which tags there are; " + asked.check
	data, err := h.get(ctx, h.repositoryURL(ref).JoinPath("tags", url.PathEscape(name)), asked)
	if err != nil {
		return hubTag{}, err
	}
	tag, err := decodeTag(data, name)
	if err != nil {
		return hubTag{}, unreadable(asked, err)
	}
	return tag, nil
}

// repository returns what the API says about a repository.
func (h *hub) repository(ctx context.Context, ref reference) (hubRepository, error) {
	asked := aboutRepository(ref, "repository "+ref.String())
	data, err := h.get(ctx, h.repositoryURL(ref), asked)
	if err != nil {
		return hubRepository{}, err
	}
	repository, err := decodeRepository(data)
	if err != nil {
		return hubRepository{}, unreadable(asked, err)
	}
	return repository, nil
}

func (h *hub) repositoryURL(ref reference) *url.URL {
	return h.base.JoinPath("v2", "namespaces", url.PathEscape(ref.namespace), "repositories", url.PathEscape(ref.name))
}

// aboutRepository is the subject of a question about a repository.
func aboutRepository(ref reference, what string) subject {
	return subject{
		what: what,
		check: "check the spelling and the namespace (official images are in library/); " +
			"a private repository looks as if it did not exist to whoever may not see it",
		personal: fmt.Sprintf("the right to read private repositories (scope repo:read, which Public Repo Read-only lacks), or its account is no member of %s with access to this one", ref.namespace),
		shared:   fmt.Sprintf("this repository: its Image Pull permission must cover %s/%s", ref.namespace, ref.name),
	}
}

// searchQuery is a search, of which empty fields say nothing.
type searchQuery struct {
	text, badge, architecture, os, sort string
}

// search returns results from a place on. The catalogue is public, so it is asked without the token.
func (h *hub) search(ctx context.Context, q searchQuery, from, size int) (searchPage, error) {
	u := h.base.JoinPath("api", "search", "v4")
	query := url.Values{"query": {q.text}, "type": {"image"}, "from": {strconv.Itoa(from)}, "size": {strconv.Itoa(size)}}
	for name, value := range map[string]string{"badges": q.badge, "architectures": q.architecture, "operating_systems": q.os} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if q.sort != sortRelevance {
		query.Set("sort", q.sort)
		query.Set("order", "desc")
	}
	u.RawQuery = query.Encode()
	asked := subject{what: "a search", check: "the search may have moved; this server may be too old", public: true}
	data, err := h.get(ctx, u, asked)
	if err != nil {
		return searchPage{}, err
	}
	found, err := decodeSearch(data, size)
	if err != nil {
		return searchPage{}, unreadable(asked, err)
	}
	return found, nil
}

// organizations returns one page of the organizations that the login's user is a member of.
func (h *hub) organizations(ctx context.Context, number int) (p page[hubOrganization], more bool, err error) {
	u := h.base.JoinPath("v2", "user", "orgs")
	u.RawQuery = pageQuery(number, maxPageSize).Encode()
	asked := subject{
		what: "the organizations of this server's account", check: "start again without a cursor",
		personal: "the right to read its user's organizations", shared: "a user: only a personal access token has one",
	}
	data, err := h.get(ctx, u, asked)
	if err != nil {
		return page[hubOrganization]{}, false, err
	}
	if p, err = decodePage[hubOrganization](data, maxPageSize); err != nil {
		return page[hubOrganization]{}, false, unreadable(asked, err)
	}
	more, err = h.follows(u, p.Next, asked)
	return p, more, err
}
