// Package clustertest starts a real Kubernetes control plane for tests: an API server over an etcd of its own, on the loopback
// interface, with the credentials that a test needs. There are no nodes and no controllers, so nothing runs in it and nothing
// changes by itself: a namespace has no service account until a test makes one.
//
// The binaries are those that the environment names, as `scripts/cluster go test PACKAGE…` sets it.
package clustertest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
)

const (
	patience  = 90 * time.Second       // for the control plane to be ready
	farewell  = 10 * time.Second       // for a process to end when asked to
	retry     = 100 * time.Millisecond // between two looks
	maxAnswer = 16 << 20               // bytes of an answer of the API server
	logTail   = 2 << 10                // bytes of a log that are shown when a process fails
)

// Admin may do everything in the cluster.
const Admin = "admin"

// The environment that names the binaries, and what makes their absence a failure.
const (
	apiServerEnv = "KUBE_APISERVER"
	etcdEnv      = "ETCD"
	requireEnv   = "REQUIRE_ENGINE"
)

// Options are what one test wants otherwise than another.
type Options struct {
	// Users are who has a token beside [Admin]. RBAC lets them do nothing until the test grants it.
	Users []string
	// Flags are further flags of the API server; the last of two that say the same counts.
	Flags []string
}

// Cluster is a control plane that answers.
type Cluster struct {
	URL string // of the API server, such as https://127.0.0.1:34567
	CA  []byte // the certificates, as PEM, by which a client knows the API server

	authority authority
	tokens    map[string]string
}

// Start starts a control plane, and ends it with the test. It skips the test where the binaries are not given, or fails it if
// the environment says that they must be.
func Start(t testing.TB, options Options) *Cluster {
	t.Helper()
	apiServer, etcd := os.Getenv(apiServerEnv), os.Getenv(etcdEnv)
	if apiServer == "" || etcd == "" {
		complain := t.Skip
		if os.Getenv(requireEnv) != "" {
			complain = t.Fatal
		}
		complain("NOT TESTED against a real API server: none is given. Run: scripts/cluster go test PACKAGE…")
	}
	dir := t.TempDir()
	c := &Cluster{authority: newAuthority(t), tokens: map[string]string{Admin: rand.Text()}}
	c.CA = c.authority.pem
	for _, user := range options.Users {
		c.tokens[user] = rand.Text()
	}
	c.authority.write(t, dir)

	store, peer := freeAddress(t), freeAddress(t)
	run(t, dir, etcd,
		"--data-dir="+filepath.Join(dir, "etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls=https://"+store, "--advertise-client-urls=https://"+store,
		"--listen-peer-urls=http://"+peer, "--initial-advertise-peer-urls=http://"+peer, "--initial-cluster=default=http://"+peer,
		"--client-cert-auth", "--trusted-ca-file="+filepath.Join(dir, authorityFile),
		"--cert-file="+filepath.Join(dir, certificateFile), "--key-file="+filepath.Join(dir, keyFile))

	var tokens strings.Builder
	for user, token := range c.tokens {
		group := ""
		if user == Admin {
			group = ",system:masters"
		}
		fmt.Fprintf(&tokens, "%s,%s,%s%s\n", token, user, user, group)
	}
	write(t, filepath.Join(dir, "tokens.csv"), []byte(tokens.String()))
	address := freeAddress(t)
	c.URL = "https://" + address
	_, port, _ := net.SplitHostPort(address)
	exited := run(t, dir, apiServer, append([]string{
		"--bind-address=127.0.0.1", "--secure-port=" + port, "--endpoint-reconciler-type=none",
		"--etcd-servers=https://" + store, "--etcd-cafile=" + filepath.Join(dir, authorityFile),
		"--etcd-certfile=" + filepath.Join(dir, certificateFile), "--etcd-keyfile=" + filepath.Join(dir, keyFile),
		"--tls-cert-file=" + filepath.Join(dir, certificateFile), "--tls-private-key-file=" + filepath.Join(dir, keyFile),
		"--token-auth-file=" + filepath.Join(dir, "tokens.csv"), "--authorization-mode=RBAC", "--anonymous-auth=false",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + filepath.Join(dir, keyFile), "--service-account-signing-key-file=" + filepath.Join(dir, keyFile),
		"--service-cluster-ip-range=10.0.0.0/16", "--allow-privileged", "--disable-admission-plugins=ServiceAccount",
		"--kubelet-certificate-authority=" + filepath.Join(dir, authorityFile), "--kubelet-preferred-address-types=InternalIP",
		"--kubelet-client-certificate=" + filepath.Join(dir, certificateFile), "--kubelet-client-key=" + filepath.Join(dir, keyFile),
	}, options.Flags...)...)
	c.await(t, exited)
	return c
}

// await returns when the API server says that it is ready, and has made the namespace default.
func (c *Cluster) await(t testing.TB, exited <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for _, path := range []string{"/readyz", "/api/v1/namespaces/default"} {
		for {
			status, answer, err := c.Do(ctx, Admin, http.MethodGet, path, "", nil)
			if err == nil && status == http.StatusOK {
				break
			}
			select {
			case <-exited:
				t.Fatal("the API server ended")
			case <-ctx.Done():
				t.Fatalf("the control plane was not ready within %s: %s: %d %s %v", patience, path, status, answer, err)
			case <-time.After(retry):
			}
		}
	}
}

// Token is the bearer token of Admin or of one of the users.
func (c *Cluster) Token(user string) string { return c.tokens[user] }

// Client is an HTTP client that knows the API server, and sends the token of a user with every request.
func (c *Cluster) Client(user string) *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.CA)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 16}
	return &http.Client{Transport: bearer{c.tokens[user], transport}}
}

type bearer struct {
	token string
	next  http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}

// Do sends one request as a user and returns the status and what was answered. path begins with a slash, and may have a query.
func (c *Cluster) Do(ctx context.Context, user, method, path, contentType string, body []byte) (status int, answer []byte, err error) {
	client := c.Client(user)
	defer client.CloseIdleConnections()
	return Send(ctx, client, method, c.URL+path, contentType, body)
}

// Send is Do for who sends much, over one client and its connections.
func Send(ctx context.Context, client *http.Client, method, url, contentType string, body []byte) (status int, answer []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err = limit.ReadAll(response.Body, maxAnswer)
	return response.StatusCode, answer, err
}

// run starts a program and ends it with the test. The channel is closed when it has ended.
func run(t testing.TB, dir, program string, args ...string) <-chan struct{} {
	t.Helper()
	name := filepath.Join(dir, filepath.Base(program)+".log")
	log, err := os.Create(name) //nolint:gosec // in the test's own folder
	must(t, err)
	cmd := exec.Command(program, args...) //nolint:gosec,noctx // what the environment names; it is ended below, by asking first
	cmd.Stdout, cmd.Stderr = log, log
	// A group of its own, so that an interrupt of the terminal leaves the ending to the test; and none that outlives the test.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started, exited := make(chan error), make(chan struct{})
	go func() {
		// The signal comes with the end of the thread, not of the process, that started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		started <- cmd.Start()
		_ = cmd.Wait() // it is killed in the end; what goes wrong is in its log
		close(exited)
	}()
	must(t, <-started)
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(farewell):
			_ = cmd.Process.Kill()
			<-exited
		}
		_ = log.Close()
		if t.Failed() {
			t.Logf("the end of %s:\n%s", name, tail(name))
		}
	})
	return exited
}

func tail(name string) string {
	file, err := os.Open(name) //nolint:gosec // in the test's own folder
	if err != nil {
		return err.Error()
	}
	defer func() { _ = file.Close() }()
	if info, err := file.Stat(); err == nil {
		_, _ = file.Seek(max(0, info.Size()-logTail), io.SeekStart)
	}
	text, _ := limit.ReadAll(file, logTail)
	return string(text)
}

// freeAddress is one that nobody listens on now. Somebody else could take it before it is used; the start then fails.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func write(t testing.TB, name string, content []byte) {
	t.Helper()
	must(t, os.WriteFile(name, content, 0o600))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
