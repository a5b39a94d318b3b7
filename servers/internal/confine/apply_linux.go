//go:build linux && (amd64 || arm64)

package confine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// maxSocketPath is the longest path of a Unix socket: sun_path of unix(7), with the byte that ends it.
const maxSocketPath = 107

// The lengths of addresses, as connect(2) gets them: two bytes of family, the path and the byte that ends it,
// against sizeof(struct sockaddr_in), the shortest address that leads to a network.
const (
	unixAddressExtra = 3
	sizeofSockaddrIn = 16
)

// Landlock's versions from which on it has a right, see landlock(7).
const (
	abiTCP         = 4
	abiScope       = 6
	abiResolveUnix = 9
)

// plan is Rules, checked against the machine.
type plan struct {
	Rules

	pid     int
	folders map[string]bool // of Read and Write: is it a folder?
	sockets []string        // the folders of Connect
	inet    inet            // which network sockets are open already
}

// Apply confines the whole process, for good, and says what it could still do. Call it once, when the listeners
// are open and before anything that a stranger sent is read. What is needed later and loaded lazily by a library
// must have been loaded: crypto/x509's roots, for one.
//
// After an error the process may be confined in part, and must not go on.
func Apply(rules Rules) (Report, error) { return ApplyPart(rules, Filtering|Landlocking) }

// Part is a half of the sandbox.
type Part int

// The parts of the sandbox.
const (
	Filtering Part = 1 << iota
	Landlocking
)

// ApplyPart is [Apply] with some of the parts. It is for tests that must see what each of them refuses by itself; a
// program that serves has no business with it.
func ApplyPart(rules Rules, parts Part) (Report, error) {
	p, err := rules.plan()
	if err != nil {
		return Report{}, fmt.Errorf("confine: %w", err)
	}
	// The time package reads its zone when it first shows a local time.
	_, _ = time.Now().Zone()

	// The filter's calls are about the thread that makes them, and spread from it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return Report{}, fmt.Errorf("confine: give up gaining privileges: %w", err)
	}
	var report Report
	if parts&Landlocking != 0 {
		if report.Landlock, err = p.applyLandlock(); err != nil {
			return Report{}, fmt.Errorf("confine: %w", err)
		}
	}
	if err := p.checkConnect(report.Landlock.ABI); err != nil {
		return Report{}, fmt.Errorf("confine: %w", err)
	}
	// Nobody else of this user may attach to the process or read its memory, and there is no core dump of it.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return Report{}, fmt.Errorf("confine: close the process to others: %w", err)
	}
	if parts&Filtering != 0 {
		if report.Filter, err = p.applyFilter(); err != nil {
			return Report{}, fmt.Errorf("confine: %w", err)
		}
	}
	if err := p.verify(report); err != nil {
		return Report{}, fmt.Errorf("confine: %w", err)
	}
	report.Gaps = p.gaps(report)
	return report, nil
}

// plan checks that everything that the rules name is there and usable, so that a mistake shows at start-up, and
// in the same words on every kernel.
func (r Rules) plan() (plan, error) {
	p := plan{Rules: r, pid: os.Getpid(), folders: map[string]bool{}}
	for _, path := range r.Read {
		folder, err := readable(path)
		if err != nil {
			return plan{}, err
		}
		p.folders[path] = folder
	}
	if r.Network {
		p.Read = slices.Concat(r.Read, resolverFiles(p.folders))
	}
	for _, path := range r.Write {
		folder, err := readable(path)
		if err != nil {
			return plan{}, err
		}
		if !folder {
			return plan{}, fmt.Errorf("%s is not a folder: what is written to is named by its folder", path)
		}
		if err := unix.Faccessat(unix.AT_FDCWD, path, unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
			return plan{}, fmt.Errorf("uid %d cannot write to %s: %w; give it the folder", os.Geteuid(), path, err)
		}
		p.folders[path] = true
	}
	for _, path := range r.Connect {
		if err := checkSocketPath(path); err != nil {
			return plan{}, err
		}
		folder := filepath.Dir(path)
		if info, err := os.Stat(folder); err != nil || !info.IsDir() {
			return plan{}, fmt.Errorf("there is no folder %s for the socket %s: mount or make it", folder, path)
		}
		if !slices.Contains(p.sockets, folder) {
			p.sockets = append(p.sockets, folder)
		}
	}
	p.inet = openInet()
	return p, nil
}

// readable opens path once, as it will be opened later, and says whether it is a folder.
func readable(path string) (folder bool, err error) {
	// Not blocking, in case it is a pipe.
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) //nolint:gosec // the operator names the paths
	if err != nil {
		if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
			err = pathErr.Err // the path stands in the message anyway
		}
		return false, fmt.Errorf("uid %d cannot read %s: %w; mount or make it, and make it readable for that uid", os.Geteuid(), path, err)
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return false, err
	}
	return info.IsDir(), nil
}

func checkSocketPath(path string) error {
	switch {
	case !strings.HasPrefix(path, "/"):
		return fmt.Errorf("the socket %q has no absolute path", path)
	case len(path) > maxSocketPath:
		return fmt.Errorf("the path of the socket %s has %d characters, more than %d", path, len(path), maxSocketPath)
	}
	return nil
}

// resolverFiles are what Go's resolver reads, as far as it is there. A file that is later replaced by another of
// the same name is not read any more: that takes a restart.
func resolverFiles(folders map[string]bool) []string {
	var files []string
	for _, path := range []string{"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"} {
		if folder, err := readable(path); err == nil && !folder {
			folders[path] = false
			files = append(files, path)
		}
	}
	return files
}

// connectLengths are the lengths of the addresses that connect(2) may get.
func (p plan) connectLengths() []uint32 {
	var lengths []uint32
	for _, path := range p.Connect {
		lengths = append(lengths, uint32(len(path))+unixAddressExtra) //nolint:gosec // bounded by maxSocketPath
	}
	slices.Sort(lengths)
	return slices.Compact(lengths)
}

// checkConnect sees to the one way by which a program without the network could still dial: an accepted TCP
// connection can be disconnected, and connected to somewhere else. The filter sees the length of the address,
// but not the address. One below sizeofSockaddrIn leads nowhere but to a Unix socket; for a longer one Landlock
// must stand in, which knows plain TCP alone.
func (p plan) checkConnect(abi int) error {
	if p.Network || p.inet == inetNone || p.inet == inetTCP && abi >= abiTCP || p.LandlockOptional {
		return nil
	}
	for _, path := range p.Connect {
		if len(path)+unixAddressExtra >= sizeofSockaddrIn {
			return fmt.Errorf("the path of the socket %s has %d characters, more than %d: next to an open network socket, "+
				"this kernel (Landlock ABI %d) cannot tell connecting to it from connecting to the network; use a shorter path",
				path, len(path), sizeofSockaddrIn-unixAddressExtra-1, abi)
		}
	}
	return nil
}

// inet is which network sockets a process holds.
type inet int

const (
	inetNone  inet = iota
	inetTCP        // plain TCP, which Landlock knows
	inetOther      // something else besides, or it could not be found out
)

// openInet looks at every open descriptor. Standard input may be a socket, too.
func openInet() inet {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return inetOther
	}
	found := inetNone
	for _, entry := range entries {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
		if err != nil || domain == unix.AF_UNIX {
			continue // no socket, or one that leads nowhere
		}
		protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
		if err != nil || protocol != unix.IPPROTO_TCP {
			return inetOther
		}
		found = inetTCP
	}
	return found
}

// verify tries two things that were just forbidden: a kernel, or what stands in for one, may have taken the
// rules without applying them.
func (p plan) verify(report Report) error {
	if report.Filter.Digest != "" {
		if _, err := unix.Getpgid(0); !errors.Is(err, unix.EPERM) {
			return fmt.Errorf("%w that holds: getpgid gives %w, not EPERM", ErrNoFilter, orNone(err))
		}
	}
	if report.Landlock.ABI > 0 && !slices.ContainsFunc(slices.Concat(p.Read, p.Write), isRoot) {
		fd, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err == nil {
			_ = unix.Close(fd)
		}
		if !errors.Is(err, unix.EACCES) {
			return fmt.Errorf("%w that holds: opening / gives %w, not EACCES", ErrNoLandlock, orNone(err))
		}
	}
	return nil
}

func isRoot(path string) bool {
	absolute, err := filepath.Abs(path)
	return err == nil && absolute == "/"
}

func orNone(err error) error {
	if err == nil {
		return errors.New("no error")
	}
	return err
}

// gaps says what is open that the rules do not mean to be.
func (p plan) gaps(report Report) []string {
	var gaps []string
	abi, filtered := report.Landlock.ABI, report.Filter.Digest != ""
	gap := func(is bool, text string) {
		if is {
			gaps = append(gaps, text)
		}
	}
	gap(abi == 0, "no Landlock: every file that this uid may read can be read")
	gap(!filtered, "no seccomp filter: programs can be run, and sockets of any kind be made")
	gap(abi == 0 && (!filtered || len(p.Write) > 0), "no Landlock: every file that this uid may write can be written")
	connects := !filtered || len(p.Connect) > 0
	gap(connects && abi < abiScope, "Landlock below ABI 6: abstract Unix sockets can be connected to")
	gap(connects && abi < abiResolveUnix && filtered, "Landlock below ABI 9: other Unix sockets can be connected to, if their paths are as long as those named")
	gap(connects && abi < abiResolveUnix && !filtered, "Landlock below ABI 9: other Unix sockets can be connected to")
	gap(!p.Network && p.inet != inetNone && (!filtered || p.longConnect()) && (abi < abiTCP || p.inet != inetTCP),
		"an accepted connection can be turned into one to the network")
	return gaps
}

func (p plan) longConnect() bool {
	return slices.ContainsFunc(p.connectLengths(), func(n uint32) bool { return n >= sizeofSockaddrIn })
}
