package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/outbound"
)

// statusError is an answer that is no success. The registry's own words are not kept: they are a stranger's.
type statusError struct {
	status     int
	retryAfter string
	token      bool // of the token service
}

func (e *statusError) Error() string {
	if e.token {
		return fmt.Sprintf("the registry's token service answers with status %d", e.status)
	}
	return fmt.Sprintf("the registry answers with status %d", e.status)
}

// explain makes an error that a caller may see of what went wrong when what was asked for.
func explain(what string, err error) error {
	var visible *mcpserver.Error
	var denied *outbound.DeniedError
	var unreached *outbound.UnavailableError
	var status *statusError
	var library *transport.Error
	var size *sizeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &visible):
		return visible
	case errors.As(err, &denied):
		return mcpserver.Errorf(mcpserver.CodeDenied, "%s: this server may not reach %s: %s", what, denied.Host, denied.Reason)
	case errors.As(err, &unreached):
		code := mcpserver.CodeUnavailable
		if errors.Is(err, context.DeadlineExceeded) {
			code = mcpserver.CodeTimeout
		}
		return mcpserver.Errorf(code, "%s: the registry cannot be reached: %s", what, unreached.Reason)
	case errors.As(err, &status):
		return explainStatus(what, status)
	case errors.As(err, &library):
		return explainStatus(what, &statusError{status: library.StatusCode})
	case errors.As(err, &size):
		return mcpserver.Errorf(mcpserver.CodeTooLarge, "%s: %s", what, size)
	case errors.Is(err, limit.ErrTooLarge):
		return mcpserver.Errorf(mcpserver.CodeTooLarge, "%s: the registry's answer is larger than is taken", what)
	case isTimeout(err):
		return mcpserver.Errorf(mcpserver.CodeTimeout, "%s: the registry did not answer in time; try again, or ask for less", what)
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", what, err)
	}
	for _, own := range []error{errDigest, errSize, errDescriptor, errSchema, errList, errEndless, errReveals, errRedirects, errToken, errRange, errConfig} {
		if errors.Is(err, own) {
			return mcpserver.Errorf(mcpserver.CodeUnavailable, "%s: %w", what, own)
		}
	}
	if wrapper, ok := errors.AsType[*url.Error](err); ok {
		err = wrapper.Err
	}
	return mcpserver.Errorf(mcpserver.CodeUnavailable, "%s: the connection to the registry failed: %s", what, clip(err.Error(), maxUpstreamText))
}

// isTimeout covers the context's end and the transport's own bounds, which have errors of their own.
func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

func explainStatus(what string, e *statusError) error {
	switch {
	case e.status == http.StatusNotFound:
		return mcpserver.Errorf(mcpserver.CodeNotFound, "%s: the registry knows no such thing; check the name, or whether it is private", what)
	case e.status == http.StatusUnauthorized || e.status == http.StatusForbidden:
		return mcpserver.Errorf(mcpserver.CodeForbidden, "%s: %s; it does not exist, or reading it takes a login with the right to pull (--credentials)", what, e)
	case e.status == http.StatusTooManyRequests:
		wait := "try again in a few minutes"
		if seconds, err := strconv.ParseUint(e.retryAfter, 10, 20); err == nil {
			wait = "try again in " + (time.Duration(seconds) * time.Second).String()
		}
		return mcpserver.Errorf(mcpserver.CodeRateLimited, "%s: too many requests to the registry; %s", what, wait)
	case e.status >= http.StatusInternalServerError:
		return mcpserver.Errorf(mcpserver.CodeUnavailable, "%s: %s; try again later", what, e)
	}
	return mcpserver.Errorf(mcpserver.CodeUnavailable, "%s: %s, which makes no sense here", what, e)
}

// fault is an error about one of several things that were asked for.
type fault struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// faultOf is explain for a part of an answer. An error of ours, which no caller may see, is returned as it is.
func faultOf(what string, err error) (*fault, error) {
	explained := explain(what, err)
	var visible *mcpserver.Error
	if !errors.As(explained, &visible) {
		return nil, explained
	}
	return &fault{Code: string(visible.Code), Message: visible.Message}, nil
}
