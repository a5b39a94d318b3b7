package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/outbound"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/secretdir"
)

// tokenFile is the file of a credentials folder: a bearer token, as Kubernetes mounts a service account's.
const tokenFile = "token"

// api is a Kubernetes API server. It is asked with plain GETs, and with the POSTs of review.
type api struct {
	base   *url.URL
	client *http.Client
	dir    secretdir.Dir
	logger *slog.Logger

	mu      sync.Mutex
	checked time.Time
	state   string
	token   string
}

func newAPI(c podsConfig, env mcpserver.Env) (*api, error) {
	way, err := env.Outbound()
	if err != nil {
		return nil, err
	}
	base, err := url.Parse(c.Server)
	if err != nil {
		return nil, err
	}
	a := &api{
		base: base, dir: secretdir.Dir{Path: c.Credentials}, logger: env.Logger,
		client: &http.Client{Transport: way.Transport(), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	if a.state, err = a.dir.State(); err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	if a.token, err = a.readToken(); err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	a.checked = time.Now()
	return a, nil
}

func (a *api) readToken() (string, error) {
	data, err := a.dir.Read(tokenFile, maxToken)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(data))
	if token == "" || strings.IndexFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) >= 0 {
		return "", fmt.Errorf("%s/%s holds no token", a.dir.Path, tokenFile)
	}
	return token, nil
}

// bearer returns the token of now. A folder that cannot be read leaves the old one in force.
func (a *api) bearer(ctx context.Context) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.checked) < secretdir.LookEvery {
		return a.token
	}
	a.checked = time.Now()
	state, err := a.dir.State()
	if err == nil && state == a.state {
		return a.token
	}
	var token string
	if err == nil {
		token, err = a.readToken()
	}
	if err != nil {
		a.logger.LogAttrs(ctx, slog.LevelError, "the token changed and cannot be read; the old one stays in force", slog.String("error", err.Error()))
		return a.token
	}
	a.token, a.state = token, state
	a.logger.LogAttrs(ctx, slog.LevelInfo, "token read again", slog.String("folder", a.dir.Path))
	return a.token
}

// do sends one request; what names it in errors. The body must be closed.
func (a *api) do(ctx context.Context, what, method string, query url.Values, body []byte, path ...string) (*http.Response, error) {
	target := a.base.JoinPath(path...)
	target.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+a.bearer(ctx))
	request.Header.Set("Accept", "application/json, */*")
	if len(body) > 0 {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := a.client.Do(request)
	if err != nil {
		return nil, explain(what, err)
	}
	if response.StatusCode/100 != 2 {
		defer func() { _ = response.Body.Close() }()
		return nil, explainStatus(what, response)
	}
	return response, nil
}

// open asks for something that is read as it comes.
func (a *api) open(ctx context.Context, what string, query url.Values, path ...string) (io.ReadCloser, error) {
	response, err := a.do(ctx, what, http.MethodGet, query, nil, path...)
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

// get asks for something that is read whole.
func (a *api) get(ctx context.Context, what string, query url.Values, most int64, path ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	body, err := a.open(ctx, what, query, path...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	data, err := limit.ReadAll(body, most)
	if err != nil {
		return nil, explain(what, err)
	}
	return data, nil
}

// explain turns an error of the way to the API server into one that a caller may see.
func explain(what string, err error) error {
	var denied *outbound.DeniedError
	var unreached *outbound.UnavailableError
	switch {
	case errors.As(err, &denied):
		return mcpserver.Errorf(mcpserver.CodeDenied, "%s: this server may not reach %s: %s", what, denied.Host, denied.Reason)
	case errors.Is(err, context.DeadlineExceeded):
		return mcpserver.Errorf(mcpserver.CodeTimeout, "%s: the API server did not answer in time; try again, or ask for less", what)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", what, err)
	case errors.As(err, &unreached):
		return mcpserver.Errorf(mcpserver.CodeUnavailable, "%s: the API server cannot be reached: %s", what, unreached.Reason)
	case errors.Is(err, limit.ErrTooLarge):
		return mcpserver.Errorf(mcpserver.CodeTooLarge, "%s: the API server's answer is larger than is taken; name fewer namespaces, or narrower labels, in --sources", what)
	}
	if wrapper, ok := errors.AsType[*url.Error](err); ok {
		err = wrapper.Err
	}
	return mcpserver.Errorf(mcpserver.CodeUnavailable, "%s: the connection to the API server failed: %s", what, clip(strings.ToValidUTF8(err.Error(), "\ufffd"), maxProblem))
}

// explainStatus reads the API server's own error. Of what it says, only the reason for a bad request helps a caller: that
// a container has not started, or had no run before this one.
func explainStatus(what string, response *http.Response) error {
	var status metav1.Status
	body, err := limit.ReadAll(response.Body, maxStatus)
	if err != nil || json.Unmarshal(body, &status) != nil {
		status = metav1.Status{}
	}
	switch code := response.StatusCode; code {
	case http.StatusUnauthorized:
		return mcpserver.Errorf(mcpserver.CodeForbidden, "%s: the API server does not know this server's token (401); its operator must renew it", what)
	case http.StatusForbidden:
		return mcpserver.Errorf(mcpserver.CodeForbidden, "%s: this server's credentials may not read that (403); it takes get and list of pods and get of pods/log there", what)
	case http.StatusNotFound:
		return mcpserver.Errorf(mcpserver.CodeNotFound, "%s: there is no such thing any more; list_sources lists what there is", what)
	case http.StatusBadRequest:
		return mcpserver.Errorf(mcpserver.CodeUnavailable, "%s: the API server says: %s", what, clip(strings.ToValidUTF8(status.Message, "\ufffd"), maxProblem))
	case http.StatusTooManyRequests:
		return mcpserver.Errorf(mcpserver.CodeRateLimited, "%s: too many requests to the API server; try again in a few seconds", what)
	default:
		return mcpserver.Errorf(mcpserver.CodeUnavailable, "%s: the API server answers with status %d; try again later", what, code)
	}
}
