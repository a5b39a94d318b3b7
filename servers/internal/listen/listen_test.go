package listen

import (
	"context"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		spec string
		want Address // zero: refused
	}{
		{"unix:///s/s", Address{Unix, "/s/s"}},
		{"unix:///a b", Address{Unix, "/a b"}},
		{"unix:///" + strings.Repeat("a", maxPath-1), Address{Unix, "/" + strings.Repeat("a", maxPath-1)}},
		{"tcp://0.0.0.0:4000", Address{TCP, "0.0.0.0:4000"}},
		{"tcp://[::]:4000", Address{TCP, "[::]:4000"}},
		{"tcp://127.0.0.1:0", Address{TCP, "127.0.0.1:0"}},
		{"", Address{}},
		{"/s/s", Address{}},
		{"unix:/s/s", Address{}},
		{"unix://s/s", Address{}},
		{"unix://", Address{}},
		{"unix:///", Address{}},
		{"unix:///s/", Address{}},
		{"unix:///s//s", Address{}},
		{"unix:///s/../s", Address{}},
		{"unix:///s\x00", Address{}},
		{"unix://@s", Address{}},
		{"unix:///" + strings.Repeat("a", maxPath), Address{}},
		{"tcp://", Address{}},
		{"tcp://:4000", Address{}},
		{"tcp://localhost:4000", Address{}},
		{"tcp://127.0.0.1", Address{}},
		{"tcp://127.1:4000", Address{}},
		{"tcp://127.0.0.1:65536", Address{}},
		{"tcp://127.0.0.1:+1", Address{}},
		{"tcp://127.0.0.1:0080", Address{}},
		{"tcp://127.0.0.1:http", Address{}},
		{"udp://127.0.0.1:53", Address{}},
		{"TCP://127.0.0.1:53", Address{}},
	} {
		got, err := Parse(tc.spec)
		if got != tc.want || (err != nil) != (tc.want == Address{}) {
			t.Errorf("Parse(%q) = %v, %v, want %v", tc.spec, got, err, tc.want)
		}
		if err == nil && got.String() != tc.spec {
			t.Errorf("Parse(%q).String() = %q", tc.spec, got)
		}
	}
}

func unixAddress(t *testing.T) Address {
	t.Helper()
	return Address{Network: Unix, Path: filepath.Join(t.TempDir(), "s")}
}

func TestListenUnix(t *testing.T) {
	a := unixAddress(t)
	// A crash leaves the socket behind; the next start must not care.
	left, err := net.ListenUnix(Unix, &net.UnixAddr{Name: a.Path, Net: Unix})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	if err := left.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	info, err := os.Lstat(a.Path)
	if err != nil {
		t.Fatal(err)
	}
	if want := fs.ModeSocket | 0o660; info.Mode() != want {
		t.Errorf("mode %v, want %v", info.Mode(), want)
	}
	go func() {
		if conn, err := l.Accept(); err == nil {
			conn.Close()
		}
	}()
	conn, err := Dial(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestListenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), link); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, path, want string }{
		{"a file", file, "is not a socket"},
		{"a symbolic link", link, "is not a socket"},
		{"a folder", dir, "is not a socket"},
		{"no folder", filepath.Join(dir, "missing", "s"), "there is no folder " + filepath.Join(dir, "missing")},
		{"a file for a folder", filepath.Join(file, "s"), "there is no folder"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, err := Listen(t.Context(), Address{Unix, tc.path})
			if err == nil {
				l.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %q does not say %q", err, tc.want)
			}
		})
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "precious" {
		t.Errorf("the file now holds %q, %v", data, err)
	}
}

// Two listeners opened at once must not leave the process with the sockets' umask.
func TestListenRestoresUmask(t *testing.T) {
	before := syscall.Umask(0)
	syscall.Umask(before)
	var wg sync.WaitGroup
	for range 8 {
		a := unixAddress(t)
		for range 8 {
			wg.Go(func() {
				if l, err := Listen(t.Context(), a); err == nil {
					l.Close()
				}
			})
		}
	}
	wg.Wait()
	after := syscall.Umask(before)
	if after != before {
		t.Errorf("umask %04o, was %04o", after, before)
	}
}

func TestListenTCP(t *testing.T) {
	l, err := Listen(t.Context(), Address{TCP, "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := Dial(t.Context(), Address{TCP, l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestHealth(t *testing.T) {
	a := unixAddress(t)
	if err := CheckHealth(t.Context(), a); err == nil {
		t.Error("healthy before anything listens")
	}
	l, err := Listen(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { ServeHealth(ctx, l); close(done) }()
	for range 3 {
		if err := CheckHealth(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	<-done
	if err := CheckHealth(t.Context(), a); err == nil {
		t.Error("healthy after the end")
	}
}

func TestHealthOfSomethingElse(t *testing.T) {
	for _, answer := range []string{"", "HTTP/1.1 400 Bad Request\r\n\r\n", strings.Repeat("ok\n", 1000)} {
		a := unixAddress(t)
		l, err := Listen(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte(answer))
			conn.Close()
		}()
		if err := CheckHealth(t.Context(), a); err == nil {
			t.Errorf("%.20q counts as healthy", answer)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"unix:///s/s", "tcp://0.0.0.0:4000", "tcp://[::1]:1", "unix:///../s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		a, err := Parse(spec)
		if err != nil {
			if a != (Address{}) {
				t.Errorf("an error and %v", a)
			}
			return
		}
		if a.String() != spec {
			t.Errorf("%q becomes %q", spec, a)
		}
		if a.Network == Unix && (!filepath.IsAbs(a.Path) || filepath.Clean(a.Path) != a.Path) {
			t.Errorf("unclean path %q", a.Path)
		}
	})
}

// Two processes at one path: the second is told, and the first goes on.
func TestListenTaken(t *testing.T) {
	a := Address{Network: Unix, Path: filepath.Join(t.TempDir(), "s")}
	first, err := Listen(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if second, err := Listen(t.Context(), a); err == nil || !strings.Contains(err.Error(), "already in use") {
		t.Errorf("%v, %v", second, err)
	}
	conn, err := Dial(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}
