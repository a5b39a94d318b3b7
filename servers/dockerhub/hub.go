package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/outbound"
)

// hubHost is the one host that this server asks.
const hubHost = "hub.docker.com"

// The bounds of one request to the API and of what is taken from its answer.
const (
	requestTimeout  = 20 * time.Second // less than a call has, so that the caller hears of it
	maxBody         = 4 << 20          // bytes of an answer; a page of 100 tags of 16 platforms has some 700 KiB
	maxRedirects    = 2                // within the same origin; there is none to another
	maxPageSize     = 100              // tags a page, as Docker Hub documents it
	defaultPageSize = 25
	maxPlatforms    = 30       // platforms of each tag in a list
	maxImages       = 200      // platforms of a tag that an answer shows
	maxDescription  = 1 << 10  // bytes of a short description
	maxLong         = 16 << 10 // bytes of a long one
	maxCategories   = 20
	maxCategory     = 100     // bytes of a category's name
	maxRules        = 4 << 10 // bytes of all immutable-tag rules
	maxUpstreamText = 200     // bytes of the API's own words that an error repeats
)

// hub asks Docker Hub's API, anonymously.
type hub struct {
	base      *url.URL // https://hub.docker.com, but for tests
	transport func() (http.RoundTripper, error)
	timeout   time.Duration
	now       func() time.Time
}

// newHub returns a client of the API. transport is asked for on the first request and not before: a process
// that only describes its tools has no way out and needs none.
func newHub(transport func() (http.RoundTripper, error)) *hub {
	return &hub{
		base:      &url.URL{Scheme: "https", Host: hubHost},
		transport: transport, timeout: requestTimeout, now: time.Now,
	}
}

// tagPage is the API's envelope of a list of tags.
type tagPage struct {
	Count   int      `json:"count"`
	Next    *string  `json:"next"`
	Results []hubTag `json:"results"`
}

// hubTag is the API's tag, what of it is used. On old tags the digest is absent, the size 0, the dates null.
type hubTag struct {
	Name        string     `json:"name"`
	Images      []hubImage `json:"images"`
	LastUpdated timestamp  `json:"last_updated"`
	Status      word       `json:"tag_status"`
	LastPulled  timestamp  `json:"tag_last_pulled"`
	LastPushed  timestamp  `json:"tag_last_pushed"`
	MediaType   word       `json:"media_type"`
	Digest      digest     `json:"digest"`
	FullSize    size       `json:"full_size"`
}

// hubImage is one platform of a tag.
type hubImage struct {
	OS           word      `json:"os"`
	Architecture word      `json:"architecture"`
	Variant      word      `json:"variant"`
	OSVersion    word      `json:"os_version"`
	Digest       digest    `json:"digest"`
	Size         size      `json:"size"`
	Status       word      `json:"status"`
	LastPulled   timestamp `json:"last_pulled"`
	LastPushed   timestamp `json:"last_pushed"`
}

// hubRepository is the API's repository, what of it is used.
type hubRepository struct {
	Description     string    `json:"description"`
	FullDescription string    `json:"full_description"`
	Status          word      `json:"status_description"`
	Private         bool      `json:"is_private"`
	Stars           int64     `json:"star_count"`
	Pulls           int64     `json:"pull_count"`
	LastUpdated     timestamp `json:"last_updated"`
	LastModified    timestamp `json:"last_modified"`
	DateRegistered  timestamp `json:"date_registered"`
	StorageSize     size      `json:"storage_size"`
	Categories      []struct {
		Name string `json:"name"`
	} `json:"categories"`
	ImmutableTags *struct {
		Enabled bool     `json:"enabled"`
		Rules   []string `json:"rules"`
	} `json:"immutable_tags_settings"`
}

// word is a short term that whoever pushed the image may have chosen: a platform, a status, a media type. One
// that is more than a term counts as absent, so that no sentence passes for a platform.
type word string

var wordForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+/-]{0,127}$`)

// UnmarshalJSON reads a string or null.
func (w *word) UnmarshalJSON(data []byte) error {
	text, err := optionalString(data)
	if err != nil {
		return err
	}
	*w = ""
	if wordForm.MatchString(text) {
		*w = word(text)
	}
	return nil
}

// digest is a digest of a registered algorithm (OCI image specification, "descriptors"), or empty.
type digest string

var digestForm = regexp.MustCompile(`^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$`)

// UnmarshalJSON reads a string or null. Anything that is no digest counts as absent: it could not be pulled.
func (d *digest) UnmarshalJSON(data []byte) error {
	text, err := optionalString(data)
	if err != nil {
		return err
	}
	*d = ""
	if digestForm.MatchString(text) {
		*d = digest(text)
	}
	return nil
}

// timestamp is a time in RFC 3339, UTC, to the second, or empty.
type timestamp string

// UnmarshalJSON reads a string in RFC 3339 or null. The zero time counts as absent.
func (t *timestamp) UnmarshalJSON(data []byte) error {
	text, err := optionalString(data)
	if err != nil {
		return err
	}
	*t = ""
	if text == "" {
		return nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return errors.New("a date is not in RFC 3339")
	}
	if !at.IsZero() {
		*t = timestamp(at.UTC().Format(time.RFC3339))
	}
	return nil
}

// size is a number of bytes; 0 is unknown.
type size int64

// UnmarshalJSON reads an integer or null.
func (s *size) UnmarshalJSON(data []byte) error {
	var n *int64
	if err := json.Unmarshal(data, &n); err != nil {
		return errors.New("a size is not an integer")
	}
	*s = 0
	if n != nil && *n > 0 {
		*s = size(*n)
	}
	return nil
}

func optionalString(data []byte) (string, error) {
	var text *string
	if err := json.Unmarshal(data, &text); err != nil {
		return "", errors.New("there is something else where a string belongs")
	}
	if text == nil {
		return "", nil
	}
	return *text, nil
}

// tags returns one page of a repository's tags and whether older (or newer, by order) ones follow.
func (h *hub) tags(ctx context.Context, ref reference, filter, ordering string, c cursor) (page tagPage, more bool, err error) {
	u := h.repositoryURL(ref).JoinPath("tags")
	query := url.Values{"page": {strconv.Itoa(c.page)}, "page_size": {strconv.Itoa(c.size)}, "ordering": {ordering}}
	if filter != "" {
		query.Set("name", filter)
	}
	u.RawQuery = query.Encode()
	asked := subject{what: "the tags of " + ref.String(), check: repositoryCheck}
	if c.page > 1 {
		asked.check = "tags may have been deleted since the cursor was made; start again without a cursor"
	}
	data, err := h.get(ctx, u, asked)
	if err != nil {
		return tagPage{}, false, err
	}
	page, err = decodePage(data, c.size)
	if err != nil {
		return tagPage{}, false, unreadable(asked, err)
	}
	if page.Next == nil {
		return page, false, nil
	}
	// The address of the next page is ours to build. But an API that names another host is not the one
	// that was asked, or wants its client elsewhere.
	if next, err := u.Parse(*page.Next); err != nil || !h.sameOrigin(next) {
		return tagPage{}, false, mcpserver.Errorf(mcpserver.CodeUnavailable,
			"Docker Hub says that %s go on at another address, %q; refused, because only %s may be asked", asked.what, cut(*page.Next, maxUpstreamText), h.base)
	}
	return page, true, nil
}

// tag returns one tag.
func (h *hub) tag(ctx context.Context, ref reference, name string) (hubTag, error) {
	asked := subject{
		what:  fmt.Sprintf("tag %s of %s", name, ref),
		check: "list_tags shows which tags there are; " + repositoryCheck,
	}
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
	asked := subject{what: "repository " + ref.String(), check: repositoryCheck}
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

// decodePage reads a list of at most size tags.
func decodePage(data []byte, size int) (tagPage, error) {
	var page tagPage
	if err := decode(data, &page); err != nil {
		return tagPage{}, err
	}
	if len(page.Results) > size {
		return tagPage{}, fmt.Errorf("%d tags where %d were asked for", len(page.Results), size)
	}
	if page.Count < len(page.Results) {
		return tagPage{}, fmt.Errorf("%d tags of a total of %d", len(page.Results), page.Count)
	}
	for _, tag := range page.Results {
		if !tagName.MatchString(tag.Name) {
			return tagPage{}, fmt.Errorf("%q is no tag", cut(tag.Name, maxUpstreamText))
		}
	}
	return page, nil
}

// decodeTag reads the tag of the given name.
func decodeTag(data []byte, name string) (hubTag, error) {
	var tag hubTag
	if err := decode(data, &tag); err != nil {
		return hubTag{}, err
	}
	if tag.Name != name {
		return hubTag{}, fmt.Errorf("it is about %q", cut(tag.Name, maxUpstreamText))
	}
	return tag, nil
}

func decodeRepository(data []byte) (hubRepository, error) {
	var repository hubRepository
	if err := decode(data, &repository); err != nil {
		return hubRepository{}, err
	}
	if repository.Stars < 0 || repository.Pulls < 0 {
		return hubRepository{}, errors.New("a negative count")
	}
	return repository, nil
}

// decode reads a JSON object. Fields that are not known are left alone: the API grows.
func decode(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	if wrongType, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("the field %q holds a %s", wrongType.Field, wrongType.Value)
	}
	if err == nil && strings.TrimSpace(string(data)) == "null" {
		return errors.New("null")
	}
	return err
}

// subject is what a request is about, for the words of an error.
type subject struct {
	what  string
	check string // what to look at if there is no such thing
}

const repositoryCheck = "check the spelling and the namespace (official images are in library/); " +
	"a private repository looks to an anonymous caller as if it did not exist"

func unreadable(asked subject, err error) error {
	return mcpserver.Errorf(mcpserver.CodeUnavailable, "Docker Hub's answer about %s cannot be understood: %w", asked.what, err)
}

// errElsewhere is why a redirect was not followed.
var errElsewhere = errors.New("redirected to another address")

// get returns the body of a successful answer. Its errors are for the caller to see.
func (h *hub) get(ctx context.Context, u *url.URL, asked subject) ([]byte, error) {
	transport, err := h.transport()
	if err != nil {
		return nil, fmt.Errorf("asking for %s: %w", asked.what, err)
	}
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("asking for %s: %w", asked.what, err)
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("User-Agent", "bulkhead-dockerhub")
	client := &http.Client{Transport: transport, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if !h.sameOrigin(next.URL) || len(via) > maxRedirects {
			return errElsewhere
		}
		return nil
	}}
	response, err := client.Do(request)
	if err != nil {
		return nil, h.transportError(asked, err)
	}
	defer response.Body.Close()
	data, err := limit.ReadAll(response.Body, maxBody)
	if response.StatusCode != http.StatusOK {
		// Half a body is good enough for an error's words.
		return nil, h.statusError(asked, response, data)
	}
	if err == nil {
		// A server that notices the hang-up may still end its half body in good order.
		err = ctx.Err()
	}
	if err != nil {
		return nil, h.transportError(asked, err)
	}
	return data, nil
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
			"Docker Hub redirected the request for %s to another address; refused, because only %s may be asked", asked.what, h.base)
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

// statusError translates an answer that is not 200.
func (h *hub) statusError(asked subject, response *http.Response, body []byte) error {
	words := upstreamWords(body)
	switch status := response.StatusCode; {
	case status == http.StatusNotFound:
		return mcpserver.Errorf(mcpserver.CodeNotFound, "Docker Hub does not know %s: %s", asked.what, asked.check)
	case status == http.StatusUnauthorized:
		return mcpserver.Errorf(mcpserver.CodeForbidden,
			"Docker Hub wants a login for %s%s; this server asks anonymously, so only public repositories can be seen", asked.what, words)
	case status == http.StatusForbidden:
		return mcpserver.Errorf(mcpserver.CodeForbidden,
			"Docker Hub forbids %s%s; the repository is private or restricted: reading it takes an account with the right to read it "+
				"(repository read, for a token), and this server asks anonymously", asked.what, words)
	case status == http.StatusTooManyRequests:
		return mcpserver.Errorf(mcpserver.CodeRateLimited,
			"too many requests to Docker Hub's API from this address%s; %s. This is the API's own limit: pulling images is counted elsewhere",
			words, h.comeBack(response.Header))
	case status >= http.StatusInternalServerError:
		return mcpserver.Errorf(mcpserver.CodeUnavailable,
			"Docker Hub cannot answer about %s now (status %d%s); try again later", asked.what, status, words)
	default:
		return mcpserver.Errorf(mcpserver.CodeUnavailable,
			"Docker Hub gave an answer about %s that makes no sense here (status %d%s)", asked.what, status, words)
	}
}

// upstreamWords returns the message of the API's error, quoted, or nothing. Its forms differ by age and by
// which part of Docker Hub answers.
func upstreamWords(body []byte) string {
	var form struct {
		Message string `json:"message"`
		Detail  string `json:"detail"`
	}
	if json.Unmarshal(body, &form) != nil {
		return ""
	}
	text := form.Message
	if text == "" {
		text = form.Detail
	}
	if text == "" {
		return ""
	}
	return fmt.Sprintf(" (it says %q)", cut(text, maxUpstreamText))
}

// comeBack says when the limit ends. X-Retry-After is a Unix time; Retry-After (RFC 9110, 10.2.3) is a date or
// a number of seconds.
func (h *hub) comeBack(header http.Header) string {
	now := h.now()
	var at time.Time
	if unix, err := strconv.ParseInt(header.Get("X-Retry-After"), 10, 64); err == nil {
		at = time.Unix(unix, 0)
	} else if seconds, err := strconv.ParseUint(header.Get("Retry-After"), 10, 32); err == nil {
		at = now.Add(time.Duration(seconds) * time.Second)
	} else if date, err := http.ParseTime(header.Get("Retry-After")); err == nil {
		at = date
	} else if unix, err := strconv.ParseInt(header.Get("X-RateLimit-Reset"), 10, 64); err == nil {
		at = time.Unix(unix, 0)
	}
	wait := at.Sub(now).Round(time.Second)
	if wait <= 0 {
		return "it does not say until when: try again in a few minutes"
	}
	return fmt.Sprintf("try again in %s, at %s", wait, at.UTC().Format(time.RFC3339))
}

func (h *hub) sameOrigin(u *url.URL) bool {
	return u.Scheme == h.base.Scheme && strings.EqualFold(u.Hostname(), h.base.Hostname()) && port(u) == port(h.base) && u.User == nil
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return map[string]string{"http": "80", "https": "443"}[u.Scheme]
}

// cut returns text, at most bytes long, cut between two characters.
func cut(text string, bytes int) string {
	if len(text) <= bytes {
		return text
	}
	return strings.ToValidUTF8(text[:bytes], "")
}
