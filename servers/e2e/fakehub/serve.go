package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/e2e/canary"
	"github.com/bulkhead-mcp/bulkhead/servers/e2e/fakehub/hub"
)

const (
	headerTimeout = 10 * time.Second
	stopTimeout   = 2 * time.Second // requests in flight have this long after SIGTERM
	healthTimeout = 3 * time.Second
)

// serve answers as Docker Hub until ctx is done.
func serve(ctx context.Context, logger *slog.Logger, args []string) error {
	flags := flag.NewFlagSet("fakehub", flag.ContinueOnError)
	listen := flags.String("listen", ":443", "`address` to listen on")
	cert := flags.String("cert", "", "server certificate, a PEM `file`")
	key := flags.String("key", "", "its key, a PEM `file`")
	if err := parse(flags, args); err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(*cert, *key)
	if err != nil {
		return fmt.Errorf("--cert and --key: %w", err)
	}
	leaky, err := leakyRegistry()
	if err != nil {
		return err
	}
	dockerHub := hub.New()
	var listenConfig net.ListenConfig
	listener, err := listenConfig.Listen(ctx, "tcp", *listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Host == canary.Host {
				leaky.ServeHTTP(w, r)
				return
			}
			dockerHub.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: headerTimeout,
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}},
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
		// The repository that never answers must not hold up the end.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	logger.LogAttrs(ctx, slog.LevelInfo, "fakehub listens", slog.String("address", listener.Addr().String()))
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		final, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		stopped <- server.Shutdown(final)
	}()
	if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}

// health asks the server on this machine for a repository, as a client that trusts its certificate.
func health(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("fakehub health", flag.ContinueOnError)
	listen := flags.String("listen", ":443", "`address` that the server listens on")
	cert := flags.String("cert", "", "its certificate, a PEM `file`")
	if err := parse(flags, args); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(*listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	if address := net.ParseIP(host); host == "" || address.IsUnspecified() {
		host = "127.0.0.1"
	}
	leaf, err := readCertificate(*cert)
	if err != nil {
		return fmt.Errorf("--cert: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf) // exactly this certificate will do, whoever signed it
	client := &http.Client{Timeout: healthTimeout, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: serverName(leaf)},
	}}
	u := url.URL{Scheme: "https", Host: net.JoinHostPort(host, port), Path: "/v2/namespaces/library/repositories/alpine"}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	if err := response.Body.Close(); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", u.String(), response.Status)
	}
	return nil
}

// serverName is a name that the certificate is good for.
func serverName(leaf *x509.Certificate) string {
	if len(leaf.DNSNames) > 0 {
		return leaf.DNSNames[0]
	}
	if len(leaf.IPAddresses) > 0 {
		return leaf.IPAddresses[0].String()
	}
	return ""
}

func readCertificate(file string) (*x509.Certificate, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s: no PEM block", file)
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return leaf, nil
}

// parse parses flags that take no arguments after them.
func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%s: unexpected argument %q", flags.Name(), flags.Arg(0))
	}
	return nil
}
