package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/outbound"
)

// client asks registries.
type client struct {
	outbound func() (http.RoundTripper, error)
	config   config
	logins   *credentials
	cache    *cache
	pages    chan struct{} // holds one for each page of a list that is read
	choosing chan struct{} // holds one while an update is chosen, which takes apart a whole list
	apart    takenApart    // for whoever holds choosing
	now      func() time.Time
}

// session is what the requests of one call share: each registry is asked once how it wants to be logged in to, each
// repository has one token, one walk of its tags, and one answer about each of them.
type session struct {
	*client
	left      atomic.Int64 // bytes of lists that the call may still read
	transport http.RoundTripper
	lanes     []context.Context //nolint:containedctx // a session is one call; each lane is a set of connections within it

	mu         sync.Mutex
	repository int // how many were seen, for their lanes
	challenges memo[*transport.Challenge]
	endpoints  memo[*endpoint]
	lists      memo[tagList]
	heads      memo[string]
}

// session begins a call.
func (c *client) session(ctx context.Context) (*session, error) {
	way, err := c.outbound()
	if err != nil {
		return nil, err
	}
	s := &session{client: c, transport: way}
	s.left.Store(maxAllLists)
	for range maxLanes {
		s.lanes = append(s.lanes, outbound.WithCall(ctx, outbound.Call(ctx)))
	}
	return s, nil
}

// endpoint is a repository at a registry that has let us in.
type endpoint struct {
	repository name.Repository
	login      login
	base       url.URL // of the registry
	http       *http.Client
	lane       context.Context //nolint:containedctx // its connections, see session
}

// endpoint finds out how a registry wants to be asked for a repository.
func (s *session) endpoint(ctx context.Context, repository name.Repository) (*endpoint, error) {
	return s.endpoints.do(ctx, repository.Name(), func() (*endpoint, error) {
		return s.open(ctx, repository, repository.Scope(transport.PullScope))
	})
}

func (s *session) open(ctx context.Context, repository name.Repository, scope string) (*endpoint, error) {
	s.mu.Lock()
	lane := s.lanes[s.repository%len(s.lanes)]
	s.repository++
	s.mu.Unlock()
	host := repository.RegistryStr()
	challenge, err := s.challenges.do(ctx, host, func() (*transport.Challenge, error) {
		return within(ctx, lane, func(ctx context.Context) (*transport.Challenge, error) {
			return transport.Ping(ctx, repository.Registry, s.transport)
		})
	})
	if err != nil {
		return nil, fmt.Errorf("asking the registry how to log in: %w", err)
	}
	e := &endpoint{repository: repository, login: s.logins.of(ctx, repository.Registry), lane: lane, base: url.URL{Scheme: "https", Host: host}}
	if challenge.Insecure {
		e.base.Scheme = "http"
	}
	trip, err := within(ctx, lane, func(ctx context.Context) (http.RoundTripper, error) {
		return authenticate(ctx, repository.Registry, e.login, s.transport, challenge, scope)
	})
	if err != nil {
		return nil, err
	}
	e.http = &http.Client{Transport: trip, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if len(via) > maxRedirects {
			return errRedirects
		}
		return nil
	}}
	return e, nil
}

var errRedirects = fmt.Errorf("more than %d redirects", maxRedirects)

// within runs f in a lane, which ends with ctx or after the time of one request.
func within[T any](ctx, lane context.Context, f func(context.Context) (T, error)) (T, error) {
	timed, cancel := context.WithTimeout(lane, requestTimeout)
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	return f(timed)
}

// authenticate returns a transport that is let in. The library sends a login to the host that it is for, and to where
// that host has its tokens made, and nowhere else.
func authenticate(ctx context.Context, registry name.Registry, who login, inner http.RoundTripper, challenge *transport.Challenge, scope string) (http.RoundTripper, error) {
	given := who.authenticator()
	var token *transport.Token
	switch {
	case who.config.RegistryToken != "":
		challenge = &transport.Challenge{Scheme: "basic", Insecure: challenge.Insecure} // for the library: send what you have
	case strings.EqualFold(challenge.Scheme, "bearer"):
		var err error
		token, err = transport.Exchange(ctx, registry, given, inner, []string{scope}, challenge)
		if err != nil {
			return nil, tokenError(err)
		}
		if token.Token == "" {
			token.Token = token.AccessToken
		}
	default:
		challenge = &transport.Challenge{Scheme: "basic", Insecure: challenge.Insecure}
	}
	if given == authn.Anonymous && token == nil {
		return inner, nil
	}
	return transport.FromToken(registry, given, inner, challenge, token)
}

// tokenError says that no token was to be had, without the library's words, which may quote the answer.
func tokenError(err error) error {
	if status, ok := errors.AsType[*transport.Error](err); ok {
		return &statusError{status: status.StatusCode, token: true}
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("asking for a token: %w", err)
	}
	return errToken
}

var errToken = errors.New("the registry's token service gives no token, or is not where a registry may have it")

// answer is a registry's answer that was read whole.
type answer struct {
	header http.Header
	body   []byte
	asked  *url.URL
}

// read asks for path below /v2/REPOSITORY/ and returns the answer, of at most maxBytes.
func (e *endpoint) read(ctx context.Context, method, path string, query url.Values, accept []string, maxBytes int64) (answer, error) {
	return within(ctx, e.lane, func(ctx context.Context) (answer, error) {
		header := http.Header{}
		if len(accept) > 0 {
			header.Set("Accept", strings.Join(accept, ", "))
		}
		response, err := e.do(ctx, method, path, query, header)
		if err != nil {
			return answer{}, err
		}
		defer response.Body.Close()
		body, err := limit.ReadAll(response.Body, maxBytes)
		if err != nil {
			return answer{}, err
		}
		if e.login.revealed(body) {
			return answer{}, errReveals
		}
		return answer{header: response.Header, body: body, asked: response.Request.URL}, nil
	})
}

var errReveals = errors.New("the registry's answer repeats the login that it was given; it is dropped")

// do asks, and returns the answer if it is a success.
func (e *endpoint) do(ctx context.Context, method, path string, query url.Values, header http.Header) (*http.Response, error) {
	u := *e.base.JoinPath("v2", e.repository.RepositoryStr(), path)
	u.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	maps.Copy(request.Header, header)
	request.Header.Set("User-Agent", "bulkhead-registry")
	response, err := e.http.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK && (response.StatusCode != http.StatusPartialContent || header.Get("Range") == "") {
		defer response.Body.Close()
		_, _ = io.CopyN(io.Discard, response.Body, maxErrorBody) // so that the connection can be used again
		return nil, &statusError{status: response.StatusCode, retryAfter: response.Header.Get("Retry-After")}
	}
	return response, nil
}

// firstOf asks the mirrors of a repository and then its own registry, and returns the first answer.
func firstOf[T any](ctx context.Context, s *session, repository name.Repository, ask func(*endpoint) (T, error)) (T, error) {
	var none T
	var last error
	for _, place := range s.config.endpoints(repository) {
		e, err := s.endpoint(ctx, place)
		if err == nil {
			var value T
			if value, err = ask(e); err == nil {
				return value, nil
			}
		}
		if ctx.Err() != nil {
			return none, ctx.Err()
		}
		last = err
	}
	return none, last
}

// tagList is a walk of a repository's tags.
type tagList struct {
	tags []string
	cut  bool // there are more than are walked
}

// tags walks a repository's tags, once in a session.
func (s *session) tags(ctx context.Context, repository name.Repository) (tagList, error) {
	return s.lists.do(ctx, repository.Name(), func() (tagList, error) {
		return firstOf(ctx, s, repository, func(e *endpoint) (tagList, error) {
			names, more, err := e.walk(ctx, s, "tags/list", "tags", tagName.MatchString)
			slices.Sort(names) // some registries answer in another order each time
			return tagList{names, more}, err
		})
	})
}

// keptTags is tags for who pages through them: what was walked is kept for a while.
func (s *session) keptTags(ctx context.Context, repository name.Repository) (tagList, error) {
	key := "tags " + repository.Name()
	if kept, ok := cached[tagList](s.cache, key); ok {
		return kept, nil
	}
	list, err := s.tags(ctx, repository)
	if err == nil {
		s.cache.put(key, list, list.bytes(), listLasts)
	}
	return list, err
}

func (l tagList) bytes() int {
	const perName = 16 // the header of a string
	total := 0
	for _, text := range l.tags {
		total += len(text) + perName
	}
	return total
}

// catalogue walks the names of a registry's repositories (distribution specification has none; Docker's registry and those
// that follow it do).
func (s *session) catalogue(ctx context.Context, registry name.Registry) (tagList, error) {
	key := "catalogue " + registry.Name()
	if kept, ok := cached[tagList](s.cache, key); ok {
		return kept, nil
	}
	root := s.config.schemed(registry.Repo(""))
	e, err := s.open(ctx, root, registry.Scope(""))
	if err != nil {
		return tagList{}, err
	}
	names, cut, err := e.walk(ctx, s, "_catalog", "repositories", func(text string) bool {
		_, err := parseRepository(registry.RegistryStr() + "/" + text)
		return err == nil && !strings.ContainsAny(text, ":@")
	})
	list := tagList{names, cut}
	if err == nil {
		s.cache.put(key, list, list.bytes(), listLasts)
	}
	return list, err
}

// walk follows a list of names from page to page (distribution specification, "listing tags").
func (e *endpoint) walk(ctx context.Context, s *session, path, member string, valid func(string) bool) (names []string, cut bool, err error) {
	query := url.Values{"n": {fmt.Sprint(pageSize)}}
	seen := map[string]bool{}
	bytesLeft := int64(maxListBytes)
	for range maxPages {
		page, listed, err := e.page(ctx, s, path, query, member, min(maxPage, bytesLeft))
		if err != nil {
			return nil, false, err
		}
		bytesLeft -= int64(len(page.body))
		fresh := false
		for _, text := range listed {
			if !valid(text) || seen[text] {
				continue
			}
			if len(names) == maxNames {
				return names, true, nil
			}
			seen[text], fresh = true, true
			names = append(names, text)
		}
		query = nextPage(page)
		switch {
		case query == nil:
			return names, false, nil
		case !fresh:
			return nil, false, errEndless
		case bytesLeft <= 0 || s.left.Load() <= 0:
			return names, true, nil
		}
	}
	return names, true, nil
}

// page reads one page of a list. Few are read at once, since any may be as large as is taken.
func (e *endpoint) page(ctx context.Context, s *session, path string, query url.Values, member string, maxBytes int64) (answer, []string, error) {
	select {
	case s.pages <- struct{}{}:
		defer func() { <-s.pages }()
	case <-ctx.Done():
		return answer{}, nil, ctx.Err()
	}
	if s.left.Load() <= 0 {
		return answer{}, nil, fmt.Errorf("%w: the lists of this call together", limit.ErrTooLarge)
	}
	said, err := e.read(ctx, http.MethodGet, path, query, nil, maxBytes)
	if err != nil {
		return answer{}, nil, err
	}
	s.left.Add(-int64(len(said.body)))
	names, err := decodeNames(said.body, member)
	return said, names, err
}

var errEndless = errors.New("the registry's list has a page with nothing new and says that it goes on; it would never end")

// nextPage returns the query of the next page (RFC 8288), or nil. Its address is ours to build: of the link only the query
// is taken, so that no list goes on at another host.
func nextPage(page answer) url.Values {
	for _, value := range page.header.Values("Link") {
		for link := range strings.SplitSeq(value, ",") {
			target, parameters, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(link), "<"), ">")
			if !ok || !strings.Contains(strings.ReplaceAll(parameters, `"`, ""), "rel=next") {
				continue
			}
			next, err := page.asked.Parse(target)
			if err != nil || next.Host != page.asked.Host || len(next.RawQuery) > maxQuery {
				return nil
			}
			return next.Query()
		}
	}
	return nil
}

// head returns the digest that a tag stands for now, asked for once in a session.
func (s *session) head(ctx context.Context, repository name.Repository, identifier string) (string, error) {
	return s.heads.do(ctx, repository.Name()+" "+identifier, func() (string, error) {
		return firstOf(ctx, s, repository, func(e *endpoint) (string, error) {
			said, err := e.read(ctx, http.MethodHead, "manifests/"+identifier, nil, manifestTypes(), maxManifest)
			if err != nil {
				return "", err
			}
			if digest := said.header.Get(digestHeader); digestName.MatchString(digest) {
				return digest, nil
			}
			// A registry may leave the digest out of the answer; then the manifest tells it.
			read, err := e.manifest(ctx, identifier)
			return read.digest, err
		})
	})
}

// manifest returns what a tag or digest names. What a digest names is kept.
func (s *session) manifest(ctx context.Context, repository name.Repository, identifier string) (manifest, error) {
	key := "manifest " + repository.Name() + " " + identifier
	if kept, ok := cached[manifest](s.cache, key); ok {
		return kept, nil
	}
	m, err := firstOf(ctx, s, repository, func(e *endpoint) (manifest, error) { return e.manifest(ctx, identifier) })
	if err == nil {
		s.cache.put("manifest "+repository.Name()+" "+m.digest, m, len(m.body), 0)
	}
	return m, err
}

func (e *endpoint) manifest(ctx context.Context, identifier string) (manifest, error) {
	said, err := e.read(ctx, http.MethodGet, "manifests/"+identifier, nil, manifestTypes(), maxManifest)
	if err != nil {
		return manifest{}, err
	}
	return newManifest(said, identifier)
}

// blob returns a small blob, whose digest and size are those of its descriptor.
func (s *session) blob(ctx context.Context, repository name.Repository, d descriptor, maxBytes int64) ([]byte, error) {
	key := "blob " + repository.Name() + " " + d.Digest
	if kept, ok := cached[[]byte](s.cache, key); ok {
		return kept, nil
	}
	if err := d.check(maxBytes); err != nil {
		return nil, err
	}
	body, err := firstOf(ctx, s, repository, func(e *endpoint) ([]byte, error) {
		said, err := e.read(ctx, http.MethodGet, "blobs/"+d.Digest, nil, nil, d.Size)
		if errors.Is(err, limit.ErrTooLarge) {
			return nil, errSize
		}
		if err != nil {
			return nil, err
		}
		return said.body, d.verify(said.body)
	})
	if err == nil {
		s.cache.put(key, body, len(body), 0)
	}
	return body, err
}

// layer streams a layer, in parts of a size that the outbound package lets through. What is read is held against the
// descriptor: the end of the stream is an error if it is not that.
func (s *session) layer(ctx context.Context, repository name.Repository, d descriptor) (io.ReadCloser, error) {
	if err := d.check(maxLayer); err != nil {
		return nil, err
	}
	return firstOf(ctx, s, repository, func(e *endpoint) (io.ReadCloser, error) {
		streaming, cancel := context.WithCancel(e.lane)
		stop := context.AfterFunc(ctx, cancel)
		parts := &inParts{size: d.Size, open: func(from, to int64) (io.ReadCloser, error) {
			return e.part(streaming, "blobs/"+d.Digest, from, to, d.Size)
		}}
		if err := parts.begin(); err != nil {
			stop()
			cancel()
			return nil, err
		}
		return &verified{body: parts, want: d, hash: newHash(), end: func() { stop(); cancel() }}, nil
	})
}

// part opens the bytes from one place to another of something with that size.
func (e *endpoint) part(ctx context.Context, path string, from, to, size int64) (io.ReadCloser, error) {
	var header http.Header
	if from > 0 || to < size {
		header = http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", from, to-1)}}
	}
	response, err := e.do(ctx, http.MethodGet, path, nil, header)
	if err != nil {
		return nil, err
	}
	// A registry that knows no ranges sends all of it each time.
	if from > 0 && response.StatusCode != http.StatusPartialContent {
		_ = response.Body.Close()
		return nil, errRange
	}
	return response.Body, nil
}

var errRange = fmt.Errorf("it has more than %d MiB, and the registry sends no parts of it", layerPart>>20)

// inParts reads something part by part.
type inParts struct {
	open func(from, to int64) (io.ReadCloser, error)
	size int64
	at   int64 // that was read
	end  int64 // of the part
	body io.ReadCloser
}

// begin opens the next part.
func (p *inParts) begin() (err error) {
	p.end = min(p.at+layerPart, p.size)
	p.body, err = p.open(p.at, p.end)
	return err
}

func (p *inParts) Read(b []byte) (int, error) {
	n, err := p.body.Read(b)
	p.at += int64(n)
	if !errors.Is(err, io.EOF) || p.at != p.end || p.at >= p.size {
		return n, err // verified sees whether too much or too little came
	}
	_ = p.body.Close()
	return n, p.begin()
}

// Close closes the part that is open.
func (p *inParts) Close() error {
	if p.body == nil {
		return nil
	}
	return p.body.Close()
}

// each runs f for every index below n, some at a time.
func each(n, atOnce int, f func(i int)) {
	var group sync.WaitGroup
	turn := make(chan struct{}, atOnce)
	for i := range n {
		turn <- struct{}{}
		group.Go(func() {
			defer func() { <-turn }()
			f(i)
		})
	}
	group.Wait()
}
