// Package fakehttp is the frame of test-only servers that speak plain HTTP: it serves until it is told to stop, and asks
// such a server on this machine whether it is there.
package fakehttp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	headerTimeout = 10 * time.Second
	healthTimeout = 3 * time.Second
)

// Serve answers on the address listen until ctx ends.
func Serve(ctx context.Context, listen string, handler http.Handler) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: headerTimeout}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Healthy asks whoever listens on the port of listen for a path, and is satisfied with 200.
func Healthy(ctx context.Context, listen, path string) error {
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		return err
	}
	at := url.URL{Scheme: "http", Host: net.JoinHostPort("127.0.0.1", port), Path: path}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return err
	}
	response, err := (&http.Client{Timeout: healthTimeout}).Do(request)
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", at.String(), response.Status)
	}
	return nil
}
