//go:build linux && (amd64 || arm64)

package attack

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// privileges are attempts to get more than the process has. What they change they set to what it is.
func privileges() []Attack {
	privileged := filtered | Capabilities
	attacks := []Attack{
		{Name: "become root", By: privileged, Try: func(Scene) error { return Raw(unix.SYS_SETUID, 0) }},
		{Name: "join root's group", By: privileged, Try: func(Scene) error { return Raw(unix.SYS_SETGROUPS, 0, 0) }},
		{Name: "a user namespace", By: filtered | Landlock, Elsewhere: true, Try: func(Scene) error { return run("/proc/self/exe", unix.CLONE_NEWUSER) }},
		{Name: "a network namespace", By: privileged, Try: func(Scene) error { return Raw(unix.SYS_UNSHARE, unix.CLONE_NEWNET) }},
		{Name: "join a namespace", By: privileged, Try: func(Scene) error {
			fd, err := unix.Open("/proc/self/ns/uts", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return err
			}
			defer func() { _ = unix.Close(fd) }()
			return unix.Setns(fd, unix.CLONE_NEWUTS)
		}},
		{Name: "mount a file system", By: privileged | Landlock, Try: func(s Scene) error {
			if err := unix.Mount("attack", s.Dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=4k"); err != nil {
				return err
			}
			return unix.Unmount(s.Dir, unix.MNT_DETACH)
		}},
		{Name: "fsopen", By: privileged, Try: func(Scene) error {
			fd, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
			return opened(fd, err)
		}},
		{Name: "make the root writable", By: privileged | Landlock, Try: func(Scene) error { return remountRoot() }},
		{Name: "pivot_root", By: privileged, Reached: "ENOENT", Try: func(Scene) error { return unix.PivotRoot("/nonexistent", "/nonexistent") }},
		{Name: "open a file by its handle", By: filtered, Reached: "EBADF", Try: func(Scene) error {
			handle := unix.NewFileHandle(1, make([]byte, 8))
			return opened(unix.OpenByHandleAt(-1, handle, unix.O_RDONLY))
		}},
		{Name: "load a module", By: privileged, Reached: "ENOEXEC", Elsewhere: true, Try: func(Scene) error {
			image := make([]byte, 64)
			return unix.InitModule(image, "")
		}},
		{Name: "load another kernel", By: privileged, Reached: "EINVAL", Elsewhere: true, Try: call(unix.SYS_KEXEC_LOAD, 0, none, 0, none)},
		{Name: "reboot", By: privileged, Reached: "EINVAL", Try: call(unix.SYS_REBOOT, 1, 2, 3, 0)},
		{Name: "set the clock", By: privileged, Try: func(Scene) error {
			now := unix.Timex{}
			if _, err := unix.Adjtimex(&now); err != nil {
				return err
			}
			_, err := unix.Adjtimex(&unix.Timex{Modes: unix.ADJ_TICK, Tick: now.Tick})
			return err
		}},
		{Name: "name the host", By: privileged, Try: func(Scene) error {
			name, err := os.Hostname()
			if err != nil {
				return err
			}
			return unix.Sethostname([]byte(name))
		}},
		{Name: "read the kernel's log", By: privileged, Elsewhere: true, Try: func(Scene) error {
			const readAll = 3
			_, err := unix.Klogctl(readAll, make([]byte, 64))
			return err
		}},
		{Name: "swap to a file", By: privileged, Reached: "ENOENT", Elsewhere: true, Try: call(unix.SYS_SWAPON, cstring("/nonexistent"), 0)},
		{Name: "account processes", By: privileged, Reached: "ENOENT", Elsewhere: true, Try: call(unix.SYS_ACCT, cstring("/nonexistent"))},
		{Name: "watch every file", By: privileged, Elsewhere: true, Try: func(Scene) error { return opened(unix.FanotifyInit(unix.FAN_CLASS_CONTENT, 0)) }},
		{Name: "watch a file", By: filtered, Try: func(Scene) error { return opened(unix.InotifyInit1(unix.IN_CLOEXEC)) }},
		{Name: "count what the processor does", By: privileged, Elsewhere: true, Try: func(Scene) error {
			attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_CPU_CLOCK}
			attr.Size = uint32(unsafe.Sizeof(attr))
			return opened(unix.PerfEventOpen(&attr, -1, 0, -1, unix.PERF_FLAG_FD_CLOEXEC))
		}},
		{Name: "a program in the kernel", By: privileged, Elsewhere: true, Try: func(Scene) error {
			attr := struct{ kind, key, value, entries uint32 }{2, 4, 4, 1} // an array of one
			fd, _, number := unix.Syscall(unix.SYS_BPF, 0, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
			if number != 0 {
				return number
			}
			return unix.Close(int(fd))
		}},
		{Name: "handle page faults", By: privileged, Elsewhere: true, Try: func(Scene) error {
			fd, _, number := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC, 0, 0)
			if number != 0 {
				return number
			}
			return unix.Close(int(fd))
		}},
		{Name: "the session's keys", By: filtered, Elsewhere: true, Try: func(Scene) error {
			_, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true)
			return err
		}},
		{Name: "add a key", By: filtered, Elsewhere: true, Try: func(Scene) error {
			_, err := unix.AddKey("user", "attack", []byte("x"), unix.KEY_SPEC_PROCESS_KEYRING)
			return err
		}},
		{Name: "a higher priority", By: privileged, Try: func(Scene) error { return unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), -1) }},
		{Name: "a real-time thread", By: privileged, Elsewhere: true, Try: func(Scene) error {
			priority := int32(1)
			const fifo = 1
			return Raw(unix.SYS_SCHED_SETSCHEDULER, 0, fifo, uintptr(unsafe.Pointer(&priority)))
		}},
		{Name: "keep memory from being swapped", By: filtered, Elsewhere: true, Reached: "ENOMEM", Try: func(Scene) error {
			if err := unix.Mlockall(unix.MCL_CURRENT); err != nil {
				return err
			}
			return unix.Munlockall()
		}},
		{Name: "a higher limit of descriptors", By: privileged, Elsewhere: true, Try: func(Scene) error {
			var limit unix.Rlimit
			if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &limit); err != nil {
				return err
			}
			limit.Max++
			return unix.Prlimit(0, unix.RLIMIT_NOFILE, &limit, nil)
		}},
		{Name: "make a device", By: privileged | Landlock, Try: func(s Scene) error {
			const null = 1<<8 | 3
			path := filepath.Join(s.Dir, made)
			_ = unix.Unlink(path)
			return unix.Mknod(path, unix.S_IFCHR|0o600, null)
		}},
		{Name: "write to one's memory by its file", By: Landlock | Filter, Try: func(Scene) error { return Open("/proc/self/mem", unix.O_RDWR) }},
		{Name: "look at the host's memory map", By: Landlock, Try: func(Scene) error { return Open("/proc/iomem", unix.O_RDONLY) }},
		{Name: "what the host has mounted", By: Landlock, Try: func(Scene) error { return Open("/proc/self/mountinfo", unix.O_RDONLY) }},
		{Name: "a call that the profile refuses by name", By: filtered, Try: func(Scene) error { return refusedByName() }},
	}
	return claim(NoPrivilege, attacks)
}

// remountRoot makes the root writable, and leaves it as it was.
func remountRoot() error {
	var before unix.Statfs_t
	if err := unix.Statfs("/", &before); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND, ""); err != nil {
		return err
	}
	if before.Flags&unix.ST_RDONLY != 0 {
		return unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
	}
	return nil
}

// refusedByName makes every call of [Refused] with arguments that no call can do anything with.
func refusedByName() error {
	var through []string
	for _, c := range Refused() {
		err := Raw(c.Number, none, none, none, none, none, none)
		if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOSYS) {
			through = append(through, c.Name)
		}
	}
	if len(through) == 0 {
		return fmt.Errorf("all %d are refused: %w", len(Refused()), unix.EPERM)
	}
	return nil
}
