//go:build linux && (amd64 || arm64)

package attack

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// neighbours are what other containers of the bundle have.
func neighbours() []Attack {
	return claim(NoNeighbour, []Attack{
		{Name: "list another's volume", By: Namespaces | Landlock, Try: func(s Scene) error {
			return anyOf(s.Foreign, func(path string) error { return Open(path, unix.O_RDONLY|unix.O_DIRECTORY) })
		}},
		{Name: "read another's secret or policy", By: Namespaces | Landlock, Try: func(s Scene) error {
			return anyOf(s.Foreign, func(path string) error { return Open(path, unix.O_RDONLY) })
		}},
		// Sockets of others have longer paths here than the one that the rules name, where they name one.
		{Name: "connect to another's socket", By: Namespaces | Filter, Try: func(s Scene) error {
			return anyOf(s.Foreign, func(path string) error { return dialUnix(filepath.Join(path, "s")) })
		}},
		{Name: "signal another's process", By: Namespaces | filtered | Landlock, Try: func(s Scene) error {
			return onProcess(s.Marker, func(pid int) error { return unix.Kill(pid, 0) })
		}},
		{Name: "read another process's environment", By: Namespaces | Landlock, Try: func(s Scene) error {
			return onProcess(s.Marker, func(pid int) error { return Open(fmt.Sprintf("/proc/%d/environ", pid), unix.O_RDONLY) })
		}},
		{Name: "look at another process's root", By: Namespaces | Landlock, Try: func(s Scene) error {
			return onProcess(s.Marker, func(pid int) error { return Open(fmt.Sprintf("/proc/%d/root/", pid), unix.O_RDONLY|unix.O_DIRECTORY) })
		}},
	})
}

func dialUnix(path string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return unix.Connect(fd, &unix.SockaddrUnix{Name: path})
}

// onProcess does something to the process that has marker in its command line, if there is one but this.
func onProcess(marker string, do func(pid int) error) error {
	folder, err := os.Open("/proc")
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }()
	names, err := folder.Readdirnames(-1)
	if err != nil {
		return err
	}
	var last error = unix.ESRCH
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == os.Getpid() {
			continue
		}
		line, err := os.ReadFile(filepath.Join("/proc", name, "cmdline"))
		if err != nil {
			last = err
			continue
		}
		if marker != "" && bytes.Contains(line, []byte(marker)) {
			return do(pid)
		}
	}
	if errors.Is(last, unix.ENOENT) {
		last = unix.ESRCH
	}
	return last
}
