// Package listen opens the sockets that the parts of the bundle meet on: it reads an address as it is
// written on a command line, listens on it, and dials it.
//
// An address is "unix:///PATH" or "tcp://IP:PORT". A Unix socket lives on a volume that just its two ends
// share; whoever may open it is who the other end takes them for, so its mode is set with care.
package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// maxPath is the longest path that fits into sockaddr_un with the byte that ends it.
	maxPath = 107
	// socketMode lets the owner and the group connect, and nobody else: the two ends of a socket are two uids in one group.
	socketMode = 0o660
	// socketUmask is what makes a socket come into the world with at most socketMode, before the chmod.
	socketUmask = 0o117
	// liveTimeout is how long a socket that is there may take to show that somebody listens.
	liveTimeout = time.Second
	// acceptRetry keeps a broken listener from spinning.
	acceptRetry = 100 * time.Millisecond
)

// Networks that an [Address] can have, in the words of package net.
const (
	Unix = "unix"
	TCP  = "tcp"
)

// Address is where a process listens or dials.
type Address struct {
	Network string // Unix or TCP
	Path    string // the absolute path of a Unix socket, or IP:PORT
}

// Parse reads "unix:///PATH" or "tcp://IP:PORT". The path is absolute and has nothing to clean; the host
// is an IP address, because a name would have to be resolved. Port 0 lets the system choose.
func Parse(spec string) (Address, error) {
	if path, ok := strings.CutPrefix(spec, "unix://"); ok {
		if err := checkPath(path); err != nil {
			return Address{}, fmt.Errorf("address %q: %w", spec, err)
		}
		return Address{Network: Unix, Path: path}, nil
	}
	if hostPort, ok := strings.CutPrefix(spec, "tcp://"); ok {
		if err := checkHostPort(hostPort); err != nil {
			return Address{}, fmt.Errorf("address %q: %w", spec, err)
		}
		return Address{Network: TCP, Path: hostPort}, nil
	}
	return Address{}, fmt.Errorf("address %q: write unix:///PATH or tcp://IP:PORT", spec)
}

func checkPath(path string) error {
	switch {
	case !strings.HasPrefix(path, "/"):
		return errors.New("the path must be absolute, with three slashes: unix:///PATH")
	case path == "/" || path != filepath.Clean(path):
		return fmt.Errorf("the path must be written plainly, as in unix://%s", filepath.Join(filepath.Clean(path), "s"))
	case strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("the path holds a control character")
	case len(path) > maxPath:
		return fmt.Errorf("the path is %d characters long; a Unix socket's is at most %d", len(path), maxPath)
	}
	return nil
}

func checkHostPort(hostPort string) error {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return errors.New("write tcp://IP:PORT, as in tcp://127.0.0.1:4000")
	}
	if _, err := netip.ParseAddr(host); err != nil {
		return fmt.Errorf("%q is not an IP address; write 127.0.0.1 for this machine alone, 0.0.0.0 for all addresses", host)
	}
	// ParseUint takes "007"; what is written must be what is meant.
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return fmt.Errorf("%q is not a port; write a number from 0 to 65535", port)
	}
	return nil
}

// String gives the address back as [Parse] reads it.
func (a Address) String() string { return a.Network + "://" + a.Path }

// Listen opens a. A socket that an earlier run left behind is removed; anything else at that path is an
// error. The socket's folder is a mounted volume and must be there.
//
// The umask belongs to the whole process, so Listen is for start-up, before others create files.
func Listen(ctx context.Context, a Address) (net.Listener, error) {
	var config net.ListenConfig
	// Multipath TCP is a protocol of its own to socket(2), which the seccomp profile refuses.
	config.SetMultipathTCP(false)
	if a.Network != Unix {
		l, err := config.Listen(ctx, a.Network, a.Path)
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", a, err)
		}
		return l, nil
	}
	l, err := listenUnix(ctx, &config, a.Path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", a, err)
	}
	return l, nil
}

func listenUnix(ctx context.Context, config *net.ListenConfig, path string) (net.Listener, error) {
	folder := filepath.Dir(path)
	if info, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return nil, fmt.Errorf("there is no folder %s: mount the volume of this socket there", folder)
	}
	// Lstat and not Stat: a symbolic link is something that somebody else put there.
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s exists and is not a socket: remove it", path)
	default:
		if conn, err := (&net.Dialer{Timeout: liveTimeout}).DialContext(ctx, Unix, path); err == nil {
			_ = conn.Close()
			return nil, fmt.Errorf("address already in use: another process answers at %s", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove the socket of an earlier run: %w", err)
		}
	}
	l, err := withUmask(func() (net.Listener, error) { return config.Listen(ctx, Unix, path) })
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, socketMode); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// umaskLock is global because the umask is: two listeners opened at once would restore each other's.
var umaskLock sync.Mutex //nolint:gochecknoglobals // guards a setting of the whole process

func withUmask(listen func() (net.Listener, error)) (net.Listener, error) {
	umaskLock.Lock()
	defer umaskLock.Unlock()
	old := syscall.Umask(socketUmask)
	defer syscall.Umask(old)
	return listen()
}

// Accept gives every connection to l to take, one after the other, until ctx ends, and then closes l. An error is
// reported and followed by a pause, so that it cannot spin.
func Accept(ctx context.Context, l net.Listener, report func(error), take func(net.Conn)) {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			take(conn)
			continue
		case errors.Is(err, net.ErrClosed):
			return
		}
		report(err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(acceptRetry):
		}
	}
}

// Dial connects to a.
func Dial(ctx context.Context, a Address) (net.Conn, error) {
	var dialer net.Dialer
	dialer.SetMultipathTCP(false)
	conn, err := dialer.DialContext(ctx, a.Network, a.Path)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", a, err)
	}
	return conn, nil
}
