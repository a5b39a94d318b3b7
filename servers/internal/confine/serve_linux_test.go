//go:build linux && (amd64 || arm64)

package confine

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// server is what a child serves with.
type server struct {
	Rules     Rules
	Unix      string // its own socket
	Workspace string
	Tokens    string
	Audit     string
	Peer      string // the socket of a TLS server
	PeerCA    []byte // its certificate
	DNS       string // the address of a name server
	Web       string // the URL of a server on the network
	Echo      string // the address of a TCP server that sends back what it gets

	root *os.Root
	peer *http.Client
}

// serveChild is a server as they all are: it opens its listeners, confines itself and serves until SIGTERM.
func serveChild(input []byte) error {
	var s server
	if err := json.Unmarshal(input, &s); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var err error
	if s.Workspace != "" {
		if s.root, err = os.OpenRoot(s.Workspace); err != nil {
			return err
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.PeerCA)
	s.peer = &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "example.com"},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", s.Peer)
		},
	}}
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	tcp, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	for name, work := range works() {
		mux.HandleFunc("/"+name, func(w http.ResponseWriter, r *http.Request) {
			if err := work(&s, r.Context(), w); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
			}
		})
	}
	web := &http.Server{Handler: mux, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	failed := make(chan error, 2)
	listeners := []net.Listener{tcp}
	if s.Unix != "" {
		own, err := net.Listen("unix", s.Unix)
		if err != nil {
			return err
		}
		listeners = append(listeners, own)
	}
	report, err := Apply(s.Rules)
	if err != nil {
		return err
	}
	for _, l := range listeners {
		go func() { failed <- web.Serve(l) }()
	}
	if err := say(map[string]any{"Address": tcp.Addr().String(), "Report": report}); err != nil {
		return err
	}
	go func() { // the test is gone
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	<-ctx.Done()
	down, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := web.Shutdown(down); err != nil {
		return err
	}
	for range listeners {
		if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
			return err
		}
	}
	return say("bye")
}

// works are what a server does, each on its own path. Some need the network.
func works() map[string]func(s *server, ctx context.Context, w http.ResponseWriter) error {
	return map[string]func(*server, context.Context, http.ResponseWriter) error{
		"read":    (*server).read,
		"tokens":  (*server).tokens,
		"outside": (*server).outside,
		"audit":   (*server).audit,
		"peer":    (*server).callPeer,
		"memory":  (*server).memory,
		"threads": (*server).threads,
		"timers":  (*server).timers,
		"signal":  (*server).signal,
		"file":    (*server).file,
		"panic":   func(*server, context.Context, http.ResponseWriter) error { panic("on purpose") },
		"exec":    (*server).exec,
		"dns":     (*server).dns,
		"web":     (*server).web,
		"relay":   (*server).relay,
	}
}

func (s *server) read(context.Context, http.ResponseWriter) error {
	file, err := s.root.Open("folder/file")
	if err != nil {
		return err
	}
	defer file.Close()
	if data, err := io.ReadAll(file); err != nil || string(data) != "content" {
		return fmt.Errorf("read %q: %w", data, err)
	}
	entries, err := fs.ReadDir(s.root.FS(), ".")
	if err != nil || len(entries) == 0 {
		return fmt.Errorf("%d entries: %w", len(entries), err)
	}
	if _, err := s.root.Stat("link"); err != nil {
		return err
	}
	if _, err := s.root.Readlink("link"); err != nil {
		return err
	}
	if _, err := s.root.Open("../x"); err == nil {
		return errors.New("the root was left")
	}
	return filepath.WalkDir(s.Workspace, func(_ string, _ fs.DirEntry, err error) error { return err })
}

func (s *server) tokens(_ context.Context, w http.ResponseWriter) error {
	entries, err := os.ReadDir(s.Tokens)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(s.Tokens, entry.Name()))
		if err != nil {
			return err
		}
		_, _ = w.Write(data)
	}
	return nil
}

// outside must fail: the server is confined.
func (s *server) outside(context.Context, http.ResponseWriter) error {
	for _, path := range []string{"/etc/passwd", "/proc/self/environ"} {
		if _, err := os.ReadFile(path); !errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("reading %s: %w", path, err)
		}
	}
	for _, path := range []string{filepath.Join(s.Workspace, "new"), filepath.Join(s.Tokens, "new"), inTmp} {
		if err := os.WriteFile(path, nil, 0o600); !errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("writing %s: %w", path, err)
		}
	}
	for _, path := range []string{filepath.Join(s.Workspace, "folder/file"), filepath.Join(s.Tokens, "a")} {
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		if !errors.Is(err, fs.ErrPermission) {
			_ = file.Close()
			return fmt.Errorf("opening %s to write: %w", path, err)
		}
	}
	if err := os.Rename(filepath.Join(s.Tokens, "a"), filepath.Join(s.Tokens, "b")); err == nil {
		return errors.New("a token was renamed")
	}
	if s.Audit == "" {
		return nil
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(s.Audit, "link")); err == nil {
		return errors.New("a link was made")
	}
	return nil
}

// audit does with files what an audit log does.
func (s *server) audit(context.Context, http.ResponseWriter) error {
	path := filepath.Join(s.Audit, "log")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	fd := int(file.Fd())
	_, writeErr := file.WriteString("a record\n")
	err = errors.Join(
		unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB), writeErr, file.Sync(), unix.Fdatasync(fd), file.Truncate(2))
	_, seekErr := file.Seek(0, io.SeekStart)
	data, readErr := io.ReadAll(file)
	if err := errors.Join(err, seekErr, readErr); err != nil || string(data) != "a " {
		return fmt.Errorf("%q: %w", data, err)
	}
	results := filepath.Join(s.Audit, "results")
	if err := os.MkdirAll(results, 0o700); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(results, "")
	if err != nil {
		return err
	}
	_, writeErr = temporary.WriteAt([]byte("x"), 5)
	err = errors.Join(writeErr, temporary.Sync(), temporary.Close(), os.Rename(temporary.Name(), filepath.Join(results, "0")))
	folder, openErr := os.Open(results)
	if err := errors.Join(err, openErr); err != nil {
		return err
	}
	defer folder.Close()
	names, err := folder.Readdirnames(-1)
	if err := errors.Join(err, folder.Sync(), os.Remove(filepath.Join(results, "0"))); err != nil || !slices.Equal(names, []string{"0"}) {
		return fmt.Errorf("%q: %w", names, err)
	}
	root, err := os.OpenRoot(s.Audit)
	if err != nil {
		return err
	}
	defer root.Close()
	return errors.Join(root.WriteFile("rooted", []byte("x"), 0o600), root.Rename("rooted", "renamed"), root.Remove("renamed"))
}

func (s *server) callPeer(ctx context.Context, w http.ResponseWriter) error {
	return get(ctx, s.peer, "https://example.com/", w)
}

func get(ctx context.Context, client *http.Client, url string, w io.Writer) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(w, response.Body)
	return err
}

// memory makes garbage on all processors and gives it back.
func (s *server) memory(context.Context, http.ResponseWriter) error {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(64 << 20))
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			var kept [][]byte
			for i := range 60 {
				kept = append(kept, bytes.Repeat([]byte{byte(i)}, 1<<20))
				if len(kept) > 4 {
					kept = kept[2:]
				}
			}
			runtime.KeepAlive(kept)
		})
	}
	group.Wait()
	runtime.GC()
	debug.FreeOSMemory()
	return nil
}

// threads starts many, keeps them waiting in the kernel, and ends some.
func (s *server) threads(context.Context, http.ResponseWriter) error {
	const count = 100
	var group sync.WaitGroup
	threads := make(chan int, count)
	for i := range count {
		group.Go(func() {
			runtime.LockOSThread()
			if i%2 == 0 {
				defer runtime.UnlockOSThread() // the others end
			}
			_ = unix.Nanosleep(&unix.Timespec{Nsec: 20e6}, nil)
			threads <- unix.Gettid()
		})
	}
	group.Wait()
	close(threads)
	seen := map[int]bool{}
	for thread := range threads {
		seen[thread] = true
	}
	if len(seen) < count/2 {
		return fmt.Errorf("just %d threads", len(seen))
	}
	return nil
}

func (s *server) timers(ctx context.Context, _ http.ResponseWriter) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Millisecond)
	defer cancel()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	<-ticker.C
	fired := make(chan bool)
	time.AfterFunc(time.Millisecond, func() { close(fired) })
	<-fired
	<-ctx.Done()
	time.Sleep(time.Millisecond)
	return nil
}

func (s *server) signal(context.Context, http.ResponseWriter) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	defer signal.Stop(signals)
	if err := syscall.Kill(os.Getpid(), syscall.SIGUSR1); err != nil {
		return err
	}
	<-signals
	return nil
}

var large = strings.Repeat("large", 1<<16)

// file would be sent by the kernel, if the process were not confined.
func (s *server) file(_ context.Context, w http.ResponseWriter) error {
	file, err := s.root.Open("large")
	if err != nil {
		return err
	}
	defer file.Close()
	w.Header().Set("Content-Length", strconv.Itoa(len(large))) // or it is sent in chunks, which the kernel cannot do
	n, err := io.Copy(w, file)
	if err == nil && n != int64(len(large)) {
		err = fmt.Errorf("%d bytes", n)
	}
	return err
}

func (s *server) exec(ctx context.Context, _ http.ResponseWriter) error {
	if err := exec.CommandContext(ctx, "/proc/self/exe").Run(); !errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("running a program: %w", err)
	}
	return nil
}

// dns asks the name server, over UDP and, since the answer is cut, over TCP.
func (s *server) dns(ctx context.Context, w http.ResponseWriter) error {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, s.DNS)
	}}
	addresses, err := resolver.LookupHost(ctx, "name.test")
	if err != nil {
		return err
	}
	if _, err := resolver.LookupHost(ctx, "localhost"); err != nil { // of /etc/hosts
		return err
	}
	if _, err := os.ReadFile("/etc/hosts"); err != nil {
		return err
	}
	_, err = io.WriteString(w, strings.Join(addresses, " "))
	return err
}

// web calls a server on the network, by a name whose addresses are tried in turn.
func (s *server) web(ctx context.Context, w http.ResponseWriter) error {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	return get(ctx, client, s.Web, w)
}

// relay copies between two TCP connections.
func (s *server) relay(ctx context.Context, w http.ResponseWriter) error {
	var dialer net.Dialer
	one, err := dialer.DialContext(ctx, "tcp", s.Echo)
	if err != nil {
		return err
	}
	defer one.Close()
	two, err := dialer.DialContext(ctx, "tcp", s.Echo)
	if err != nil {
		return err
	}
	defer two.Close()
	if _, err := io.WriteString(one, "carried"); err != nil {
		return err
	}
	if err := one.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	if n, err := io.Copy(two, one); err != nil || n != 7 {
		return fmt.Errorf("copied %d: %w", n, err)
	}
	if err := two.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	_, err = io.Copy(w, two)
	return err
}

// runServer starts a server and asks it for each of the paths, over each of its listeners.
func runServer(t *testing.T, s server, answers map[string]string) Report {
	t.Helper()
	d := start(t, "serve", s)
	var said struct {
		Address string
		Report  Report
	}
	d.line(t, &said)
	for network, address := range map[string]string{"tcp": said.Address, "unix": s.Unix} {
		if address == "" {
			continue
		}
		client := &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				var dialer net.Dialer
				return dialer.DialContext(ctx, network, address)
			},
		}}
		for path, want := range answers {
			response, err := client.Get("http://localhost/" + path)
			if path == "panic" {
				if err == nil {
					t.Errorf("%s over %s: a panic gave %s", path, network, response.Status)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s over %s: %v", path, network, err)
			}
			body, err := io.ReadAll(response.Body)
			_ = response.Body.Close()
			if err != nil || response.StatusCode != http.StatusOK || string(body) != want {
				t.Errorf("%s over %s: %s: %.200q, %v; want %.200q", path, network, response.Status, body, err, want)
			}
		}
		client.CloseIdleConnections()
	}
	if err := d.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	var bye string
	d.line(t, &bye)
	if err := d.Wait(); err != nil || bye != "bye" {
		t.Errorf("it said %q and ended with %v", bye, err)
	}
	// A confined process cannot remove its socket, and what opens it next time does.
	if err := os.Remove(s.Unix); s.Unix != "" && err != nil {
		t.Error(err)
	}
	return said.Report
}

func TestServer(t *testing.T) {
	needLandlock(t, 1)
	dir := shortDir(t)
	s := server{
		Unix: filepath.Join(dir, "own", "s"), Peer: shortSocket(t),
		Workspace: filepath.Join(dir, "workspace"), Tokens: filepath.Join(dir, "tokens"), Audit: filepath.Join(dir, "audit"),
	}
	for _, folder := range []string{"own", "workspace/folder", "tokens", "audit"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for path, content := range map[string]string{"workspace/folder/file": "content", "workspace/large": large, "tokens/a": "one", "tokens/b": "two"} {
		if err := os.WriteFile(filepath.Join(dir, path), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("folder/file", filepath.Join(s.Workspace, "link")); err != nil {
		t.Fatal(err)
	}
	peer := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "the peer's answer")
	}))
	l, err := net.Listen("unix", s.Peer)
	if err != nil {
		t.Fatal(err)
	}
	_ = peer.Listener.Close()
	peer.Listener = l
	peer.StartTLS()
	defer peer.Close()
	s.PeerCA = encodeCertificate(peer.Certificate())
	s.Rules = Rules{Read: []string{s.Workspace, s.Tokens}, Write: []string{s.Audit}, Connect: []string{s.Peer}}
	report := runServer(t, s, map[string]string{
		"read": "", "tokens": "onetwo", "outside": "", "audit": "", "peer": "the peer's answer", "memory": "", "threads": "",
		"timers": "", "signal": "", "file": large, "exec": "", "panic": "",
	})
	if report.Filter.Digest == "" || report.Landlock.ABI == 0 {
		t.Errorf("the report says that nothing is in force: %+v", report)
	}

	// One that writes nothing, and one that does not connect.
	s.Rules.Write, s.Audit = nil, ""
	runServer(t, s, map[string]string{"read": "", "tokens": "onetwo", "outside": "", "peer": "the peer's answer", "memory": "", "threads": ""})
	s.Rules.Connect = nil
	runServer(t, s, map[string]string{"read": "", "outside": "", "memory": "", "threads": "", "timers": "", "file": large})
}

func TestServerOnTheNetwork(t *testing.T) {
	needLandlock(t, 1)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "from afar")
	}))
	defer web.Close()
	port := web.Listener.Addr().(*net.TCPAddr).Port
	s := server{DNS: nameServer(t), Web: fmt.Sprintf("http://localhost:%d/", port), Echo: echoServer(t)}
	answers := map[string]string{"dns": "192.0.2.1", "web": "from afar", "relay": "carried", "exec": "", "memory": ""}
	for _, splice := range []bool{true, false} {
		s.Rules = Rules{Network: true, Splice: splice}
		report := runServer(t, s, answers)
		if !slices.Contains(report.Landlock.Read, "/etc/hosts") {
			t.Errorf("the report does not say that names are read: %q", report.Landlock.Read)
		}
	}
}

func encodeCertificate(certificate *x509.Certificate) []byte {
	return pemEncode("CERTIFICATE", certificate.Raw)
}

func echoServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			}()
		}
	}()
	return l.Addr().String()
}

// nameServer answers every question for an address, over UDP with a cut answer, and over TCP with a whole one.
func nameServer(t *testing.T) string {
	t.Helper()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", udp.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = udp.Close(), tcp.Close() })
	go func() {
		buffer := make([]byte, 512)
		for {
			n, from, err := udp.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = udp.WriteTo(dnsAnswer(buffer[:n], true), from)
		}
	}()
	go func() {
		for {
			conn, err := tcp.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for {
					var length [2]byte
					if _, err := io.ReadFull(conn, length[:]); err != nil {
						return
					}
					question := make([]byte, int(length[0])<<8|int(length[1]))
					if _, err := io.ReadFull(conn, question); err != nil {
						return
					}
					answer := dnsAnswer(question, false)
					_, _ = conn.Write(append([]byte{byte(len(answer) >> 8), byte(len(answer))}, answer...))
				}
			}()
		}
	}()
	return udp.LocalAddr().String()
}

func dnsAnswer(question []byte, cut bool) []byte {
	var message dnsmessage.Message
	if message.Unpack(question) != nil || len(message.Questions) != 1 {
		return nil
	}
	message.Response, message.Truncated, message.Additionals = true, cut, nil
	if asked := message.Questions[0]; !cut && asked.Type == dnsmessage.TypeA {
		message.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: asked.Name, Class: asked.Class, TTL: 60},
			Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}},
		}}
	}
	packed, err := message.Pack()
	if err != nil {
		return nil
	}
	return packed
}

// crashChild dies of what its input names.
func crashChild(input []byte) error {
	if _, err := Apply(Rules{}); err != nil {
		return err
	}
	switch string(input) {
	case `"panic"`:
		go func() { panic("on purpose") }()
	case `"fault"`:
		go func() {
			var p *int
			*p = 1
		}()
	}
	time.Sleep(time.Minute)
	return nil
}

// A confined process dies of its faults as any other does, instead of hanging.
func TestCrash(t *testing.T) {
	needLandlock(t, 1)
	for _, of := range []string{"panic", "fault"} {
		cmd := self("crash", of)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		err := cmd.Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(stderr.String(), "goroutine ") {
			t.Errorf("%s: ended with %v and said %.500s", of, err, stderr.String())
		}
	}
}
