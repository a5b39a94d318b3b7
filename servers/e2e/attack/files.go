//go:build linux && (amd64 || arm64)

package attack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// The files that [Prepare] makes in a scene's folder, and what attacks make.
const (
	old    = "old"    // to be written to
	doomed = "doomed" // to be removed
	moving = "moving" // to be renamed
	made   = "new"
)

// Prepare makes what attacks on files need, before the process is confined, and removes what earlier ones have left.
func Prepare(dir string) error {
	_ = os.Remove(filepath.Join(dir, made))
	for _, name := range []string{old, doomed, moving} {
		path := filepath.Join(dir, name)
		_ = os.Remove(path) // another uid's, perhaps
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// files are writes. Landlock knows what may be made and written; the filters know the calls.
func files() []Attack {
	in := func(name string) func(Scene) string {
		return func(s Scene) string { return filepath.Join(s.Dir, name) }
	}
	newFile := func(s Scene) string {
		path := filepath.Join(s.Dir, made)
		_ = unix.Unlink(path)
		return path
	}
	opening := func(path func(Scene) string, flags int) func(Scene) error {
		return func(s Scene) error { return Open(path(s), flags) }
	}
	own := Filter | Landlock
	root := own | ReadOnly | Capabilities
	return claim(NoWrite, []Attack{
		{Name: "make a file", Writes: true, By: own, Try: opening(newFile, unix.O_WRONLY|unix.O_CREAT)},
		{Name: "make a nameless file", Writes: true, By: own, Try: opening(in("."), unix.O_RDWR|unix.O_TMPFILE)},
		{Name: "write to a file", Writes: true, By: own, Try: opening(in(old), unix.O_WRONLY)},
		{Name: "append to a file", Writes: true, By: own, Try: opening(in(old), unix.O_WRONLY|unix.O_APPEND)},
		{Name: "empty a file by opening it", Writes: true, By: own, Try: opening(in(old), unix.O_RDONLY|unix.O_TRUNC)},
		{Name: "truncate a file", By: filtered | Landlock, Try: func(s Scene) error { return unix.Truncate(in(old)(s), 0) }},
		{Name: "change a file's mode", By: Filter, Try: func(s Scene) error { return unix.Chmod(in(old)(s), 0o666) }},
		{Name: "change a file's owner", By: filtered, Try: func(s Scene) error { return unix.Fchownat(unix.AT_FDCWD, in(old)(s), -1, -1, 0) }},
		{Name: "change a file's times", By: filtered, Try: func(s Scene) error {
			return unix.UtimesNanoAt(unix.AT_FDCWD, in(old)(s), []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_NOW}}, 0)
		}},
		{Name: "make a folder", Writes: true, By: own, Try: func(s Scene) error {
			path := newFile(s)
			_ = unix.Rmdir(path)
			if err := unix.Mkdir(path, 0o700); err != nil {
				return err
			}
			return unix.Rmdir(path)
		}},
		{Name: "remove a file", Writes: true, By: own, Try: func(s Scene) error { return unix.Unlink(in(doomed)(s)) }},
		{Name: "rename a file", Writes: true, By: own, Try: func(s Scene) error { return unix.Rename(in(moving)(s), newFile(s)) }},
		{Name: "link a file", By: filtered | Landlock, Try: func(s Scene) error { return unix.Link(in(old)(s), newFile(s)) }},
		{Name: "make a symbolic link", By: filtered | Landlock, Try: func(s Scene) error { return unix.Symlink("/etc/passwd", newFile(s)) }},
		{Name: "make a pipe", By: filtered | Landlock, Try: func(s Scene) error { return unix.Mkfifo(newFile(s), 0o600) }},
		{Name: "make a socket", By: filtered | Landlock, Try: func(s Scene) error { return unix.Mknod(newFile(s), unix.S_IFSOCK|0o600, 0) }},
		{Name: "set an attribute", By: filtered, Reached: "EOPNOTSUPP", Try: func(s Scene) error { return unix.Setxattr(in(old)(s), "user.attack", []byte("x"), 0) }},
		{Name: "write to a file of the image", By: root, Writes: true, Try: opening(func(Scene) string { return "/etc/passwd" }, unix.O_WRONLY)},
		{Name: "make a file in the root", By: root, Writes: true, Try: remake("/" + made)},
		{Name: "make a file in the user's folder", By: own | ReadOnly, Writes: true, Try: remake("/run/bulkhead/" + made)},
		{Name: "write to what is mounted read-only", By: own | ReadOnly, Writes: true, Try: func(s Scene) error { return anyOf(s.Fixed, writable) }},
		{Name: "change one's own standing with the memory killer", Writes: true, By: own, Try: func(Scene) error { return Open("/proc/self/oom_score_adj", unix.O_WRONLY) }},
		{Name: "make a terminal", Writes: true, By: own, Try: func(Scene) error { return Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY) }},
	})
}

// remake makes a file, and takes it away again.
func remake(path string) func(Scene) error {
	return func(Scene) error {
		err := Open(path, unix.O_WRONLY|unix.O_CREAT)
		_ = unix.Unlink(path)
		return err
	}
}

// writable opens a file for writing, or makes one in a folder.
func writable(path string) error {
	err := Open(path, unix.O_WRONLY)
	if errors.Is(err, unix.EISDIR) {
		return remake(filepath.Join(path, made))(Scene{})
	}
	return err
}

// anyOf succeeds if one of them does; else the last error stands for all.
func anyOf(paths []string, try func(string) error) error {
	var last error = unix.ENOENT
	for _, path := range paths {
		if err := try(path); err == nil {
			return nil
		} else if !errors.Is(err, unix.ENOENT) {
			last = fmt.Errorf("%s: %w", path, err)
		}
	}
	return last
}
