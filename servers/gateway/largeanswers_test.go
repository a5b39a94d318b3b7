package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpclient"
)

type endless struct{}

func (endless) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(strings.Repeat(" ", mcpclient.MaxResponse)))}, nil
}

// Of one server, so many large answers are read at once, and no more; who waits for a slot waits as long as its call.
func TestLargeAnswers(t *testing.T) {
	way := largeAnswers{endless{}, make(chan struct{}, maxLargeAnswers)}
	get := func(ctx context.Context) io.ReadCloser {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := way.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		return response.Body
	}
	var open []io.Closer
	for range maxLargeAnswers {
		body := get(t.Context())
		if n, err := io.Copy(io.Discard, body); n != mcpclient.MaxResponse || err != nil {
			t.Fatal(n, err)
		}
		open = append(open, body)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	body := get(ctx)
	defer body.Close()
	if n, err := io.Copy(io.Discard, body); n < largeAnswer || n >= mcpclient.MaxResponse || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a slot, %d bytes were read: %v", n, err)
	}
	if n, err := io.CopyN(io.Discard, get(t.Context()), largeAnswer); n != largeAnswer || err != nil {
		t.Errorf("a small answer: %d bytes, %v", n, err)
	}
	if err := errors.Join(open[0].Close(), open[0].Close()); err != nil {
		t.Error(err)
	}
	if n, err := io.Copy(io.Discard, get(t.Context())); n != mcpclient.MaxResponse || err != nil {
		t.Errorf("after one is closed: %d bytes, %v", n, err)
	}
}
