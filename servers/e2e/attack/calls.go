//go:build linux && (amd64 || arm64)

package attack

import (
	"fmt"
	"os"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// nowhere is an address that is never mapped.
const nowhere uintptr = 1

// threadFlags are those with which the Go runtime starts a thread.
const threadFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD

// filtered are the two filters of system calls.
const filtered = Seccomp | Filter

// Nothing is an environment variable: a program that finds it set ends at once, well. It is how an attack runs a program.
const Nothing = "BULKHEAD_ATTACK_NOTHING"

// Calls are the attacks that take no more than a process: single system calls, most of them.
func Calls() []Attack {
	return slices.Concat(programs(), processes(), kernel(), sockets(), archCalls())
}

func programs() []Attack {
	missing, cwd := cstring("/nonexistent"), atCwd()
	page := uintptr(os.Getpagesize())
	return claim(NoProgram, []Attack{
		// The engine's profile must let execve through: no container starts without it.
		{Name: "execve", Try: call(unix.SYS_EXECVE, missing, 0, 0), By: Filter, Confined: "EPERM", Reached: "ENOENT"},
		{Name: "execveat", Try: call(unix.SYS_EXECVEAT, cwd, missing, 0, 0, 0), By: filtered, Confined: "EPERM", Reached: "ENOENT"},
		{Name: "run a program", By: filtered | Landlock, Confined: "EPERM", Try: func(Scene) error { return run("/proc/self/exe", 0) }},
		{Name: "fork", By: filtered, Confined: "EPERM", Try: func(Scene) error { return fork() }},
		{Name: "memfd_create", By: filtered, Confined: "EPERM", Try: func(Scene) error { return opened(unix.MemfdCreate("x", unix.MFD_CLOEXEC)) }},
		{Name: "run a memfd that is there", By: filtered, Confined: "EPERM", Try: func(s Scene) error {
			return run(fmt.Sprintf("/proc/self/fd/%d", s.Program), 0)
		}},
		{Name: "fexecve of it", By: filtered, Confined: "EPERM", Reached: "EFAULT", Try: func(s Scene) error {
			return Raw(unix.SYS_EXECVEAT, uintptr(s.Program), cstring(""), nowhere, 0, unix.AT_EMPTY_PATH)
		}},
		{Name: "executable memory", By: filtered, Confined: "EPERM", Try: func(Scene) error {
			return mapped(page, unix.PROT_READ|unix.PROT_EXEC)
		}},
		{Name: "writable and executable memory", By: filtered, Confined: "EPERM", Try: func(Scene) error {
			return mapped(page, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC)
		}},
		{Name: "memory made executable", By: filtered, Confined: "EPERM", Try: func(Scene) error {
			memory, err := unix.Mmap(-1, 0, int(page), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
			if err != nil {
				return err
			}
			defer func() { _ = unix.Munmap(memory) }()
			return unix.Mprotect(memory, unix.PROT_READ|unix.PROT_EXEC)
		}},
		{Name: "pkey_mprotect", Try: call(unix.SYS_PKEY_MPROTECT, 0, 0, unix.PROT_EXEC, none), By: filtered, Confined: "EPERM", Elsewhere: true},
		{Name: "personality", Try: call(unix.SYS_PERSONALITY, 0xffffffff), By: filtered, Confined: "EPERM"},
	})
}

func processes() []Attack {
	return claim(NoPrivilege, []Attack{
		{Name: "ptrace", Try: call(unix.SYS_PTRACE, unix.PTRACE_ATTACH, 1<<30), By: filtered, Confined: "EPERM", Reached: "ESRCH"},
		{Name: "process_vm_readv", By: filtered, Confined: "EPERM", Elsewhere: true, Try: func(Scene) error {
			var from, to [8]byte
			_, err := unix.ProcessVMReadv(os.Getpid(), []unix.Iovec{{Base: &to[0], Len: 8}},
				[]unix.RemoteIovec{{Base: uintptr(unsafe.Pointer(&from[0])), Len: 8}}, 0)
			return err
		}},
		{Name: "pidfd_open", By: filtered, Confined: "EPERM", Try: func(Scene) error { return opened(unix.PidfdOpen(os.Getpid(), 0)) }},
		{Name: "pidfd_getfd", Try: call(unix.SYS_PIDFD_GETFD, none, 0, 0), By: filtered, Confined: "EPERM", Reached: "EBADF", Elsewhere: true},
		{Name: "clone with namespaces", Try: call(unix.SYS_CLONE, unix.CLONE_NEWNS|unix.CLONE_FS), By: filtered, Confined: "EPERM", Reached: "EINVAL", Elsewhere: true},
		{Name: "clone of a thread with a namespace", Try: call(unix.SYS_CLONE, threadFlags|unix.CLONE_NEWUSER), By: filtered, Confined: "EPERM", Reached: "EINVAL", Elsewhere: true},
		{Name: "a child in a namespace", By: filtered | Capabilities | Landlock, Confined: "EPERM", Elsewhere: true, Try: func(Scene) error {
			return run("/proc/self/exe", unix.CLONE_NEWUTS)
		}},
		{Name: "clone3", Try: call(unix.SYS_CLONE3, 0, 0), By: filtered, Confined: "ENOSYS", Reached: "EINVAL", Elsewhere: true},
		{Name: "unshare", Try: call(unix.SYS_UNSHARE, unix.CLONE_NEWUTS), By: filtered | Capabilities, Confined: "EPERM", Elsewhere: true},
		{Name: "setns", Try: call(unix.SYS_SETNS, none, 0), By: filtered, Confined: "EPERM", Reached: "EBADF", Elsewhere: true},
	})
}

func kernel() []Attack {
	missing := cstring("/nonexistent")
	return claim(NoPrivilege, []Attack{
		{Name: "io_uring_setup", By: filtered, Confined: "EPERM", Elsewhere: true, Try: func(Scene) error {
			var params [120]byte
			fd, _, number := unix.RawSyscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0)
			if number != 0 {
				return number
			}
			return unix.Close(int(fd))
		}},
		{Name: "bpf", Try: call(unix.SYS_BPF, none, 0, 0), By: filtered, Confined: "EPERM", Reached: "EINVAL", Elsewhere: true},
		{Name: "perf_event_open", Try: call(unix.SYS_PERF_EVENT_OPEN, nowhere, 0, none, none, 0), By: filtered, Confined: "EPERM", Reached: "EFAULT", Elsewhere: true},
		{Name: "userfaultfd", Try: call(unix.SYS_USERFAULTFD, 1<<20), By: filtered | Capabilities, Confined: "EPERM", Reached: "EINVAL", Elsewhere: true},
		{Name: "keyctl", Try: call(unix.SYS_KEYCTL, 1<<20), By: filtered, Confined: "EPERM", Reached: "ENOTSUP", Elsewhere: true},
		{Name: "shmget", Try: call(unix.SYS_SHMGET, 0, 0, 0), By: filtered, Confined: "EPERM", Reached: "EINVAL"},
		{Name: "mq_open", Try: call(unix.SYS_MQ_OPEN, nowhere, 0), By: filtered, Confined: "EPERM", Reached: "EFAULT", Elsewhere: true},
		{Name: "memfd_secret", By: filtered, Confined: "EPERM", Elsewhere: true, Try: func(Scene) error { return opened(unix.MemfdSecret(0)) }},
		{Name: "vmsplice", Try: call(unix.SYS_VMSPLICE, none, 0, 0, 0), By: filtered, Confined: "EPERM", Reached: "EBADF"},
		{Name: "mount", Try: call(unix.SYS_MOUNT, missing, missing, 0, 0, 0), By: filtered, Confined: "EPERM", Reached: "ENOENT", Elsewhere: true},
		{Name: "chroot", Try: call(unix.SYS_CHROOT, missing), By: filtered, Confined: "EPERM", Reached: "ENOENT"},
		{Name: "ioctl", Try: call(unix.SYS_IOCTL, none, 0), By: filtered, Confined: "EPERM", Reached: "EBADF"},
		{Name: "change a limit", By: filtered, Confined: "EPERM", Try: func(Scene) error {
			var limit unix.Rlimit
			if err := unix.Prlimit(0, unix.RLIMIT_CORE, nil, &limit); err != nil {
				return err
			}
			return unix.Prlimit(0, unix.RLIMIT_CORE, &limit, nil)
		}},
		// A process must be able to set its own filter, until it has.
		{Name: "a filter of one's own", Try: call(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, nowhere), By: Filter, Confined: "EPERM", Reached: "EFAULT"},
		{Name: "open the process to others", Try: call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 1), By: filtered, Confined: "EPERM"},
	})
}

func sockets() []Attack {
	return claim(NoWayOut, []Attack{
		{Name: "TCP socket", By: filtered, Dials: true, Opens: true, Confined: "EPERM", Try: func(Scene) error { return socket(unix.AF_INET, unix.SOCK_STREAM, 0) }},
		{Name: "UDP socket", By: filtered, Dials: true, Confined: "EPERM", Try: func(Scene) error { return socket(unix.AF_INET, unix.SOCK_DGRAM, 0) }},
		{Name: "TCP socket over IPv6", By: filtered, Dials: true, Opens: true, Confined: "EPERM", Elsewhere: true, Try: func(Scene) error { return socket(unix.AF_INET6, unix.SOCK_STREAM, 0) }},
		{Name: "MPTCP socket", By: filtered, Confined: "EPERM", Elsewhere: true, Try: func(Scene) error { return socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP) }},
		{Name: "ping socket", By: filtered, Confined: "EPERM", Elsewhere: true, Try: func(Scene) error { return socket(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP) }},
		{Name: "raw socket", By: filtered | Capabilities, Confined: "EPERM", Elsewhere: true, Try: func(Scene) error { return socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP) }},
		{Name: "packet socket", By: filtered | Capabilities, Confined: "EPERM", Elsewhere: true, Try: func(Scene) error { return socket(unix.AF_PACKET, unix.SOCK_RAW, 0) }},
		{Name: "vsock", By: filtered, Confined: "EPERM", Elsewhere: true, Try: func(Scene) error { return socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0) }},
		{Name: "netlink socket", By: filtered, Confined: "EPERM", Try: func(Scene) error { return socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE) }},
		{Name: "Unix datagram socket", By: filtered, Confined: "EPERM", Try: func(Scene) error { return socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0) }},
		{Name: "socketpair", By: filtered, Confined: "EPERM", Try: func(Scene) error {
			pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			return opened(pair[0], err)
		}},
		// The profile must let a server open its socket.
		{Name: "bind", Try: call(unix.SYS_BIND, none, 0, 0), By: Filter, Confined: "EPERM", Reached: "EBADF"},
		{Name: "listen", Try: call(unix.SYS_LISTEN, none, 0), By: Filter, Confined: "EPERM", Reached: "EBADF"},
		{Name: "sendto", Try: call(unix.SYS_SENDTO, none, 0, 0, unix.MSG_FASTOPEN), By: filtered, Confined: "EPERM", Reached: "EBADF"},
		{Name: "sendmsg", Try: call(unix.SYS_SENDMSG, none, 0, 0), By: filtered, Confined: "EPERM", Reached: "EBADF"},
		{Name: "recvmsg", Try: call(unix.SYS_RECVMSG, none, 0, 0), By: filtered, Confined: "EPERM", Reached: "EBADF"},
		{Name: "a socket filter", Try: call(unix.SYS_SETSOCKOPT, none, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, 0, 0), By: filtered, Confined: "EPERM", Reached: "EBADF"},
	})
}

// claim sets the claim of each attack.
func claim(c Claim, attacks []Attack) []Attack {
	for i := range attacks {
		attacks[i].Claim = c
	}
	return attacks
}

// none is -1 as an argument: no descriptor, and no address.
const none = ^uintptr(0)

// Raw makes one system call.
func Raw(nr uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	_, _, number := unix.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5])
	if number != 0 {
		return number
	}
	return nil
}

func call(nr uintptr, args ...uintptr) func(Scene) error {
	return func(Scene) error { return Raw(nr, args...) }
}

func atCwd() uintptr {
	cwd := int64(unix.AT_FDCWD)
	return uintptr(cwd)
}

// cstring is the address of a string for the kernel. Nothing else holds it, so it is copied to where no collector looks.
func cstring(s string) uintptr {
	memory, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		panic(err) // no page is left
	}
	copy(memory, s)
	return uintptr(unsafe.Pointer(&memory[0]))
}

func opened(fd int, err error) error {
	if err == nil {
		_ = unix.Close(fd)
	}
	return err
}

// Open opens path and closes it again.
func Open(path string, flags int) error {
	return opened(unix.Open(path, flags|unix.O_CLOEXEC|unix.O_NONBLOCK, 0o600))
}

func socket(family, typ, protocol int) error {
	return opened(unix.Socket(family, typ|unix.SOCK_CLOEXEC, protocol))
}

func mapped(size uintptr, protection int) error {
	memory, err := unix.Mmap(-1, 0, int(size), protection, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err == nil {
		_ = unix.Munmap(memory)
	}
	return err
}

// run runs a copy of this program, which does nothing. It needs no file, pipe or socket for that.
func run(path string, cloneFlags uintptr) error {
	pid, err := syscall.ForkExec(path, []string{"nothing"}, &syscall.ProcAttr{
		Env: []string{Nothing + "=1"},
		Sys: &syscall.SysProcAttr{Cloneflags: cloneFlags},
	})
	return wait(pid, err)
}

// fork makes a process that ends at once.
func fork() error {
	pid, _, number := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if number != 0 {
		return number
	}
	if pid == 0 {
		for {
			_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	return wait(int(pid), nil)
}

// wait waits for the end of a process that was started without err. Whatever it ended with, it ran.
func wait(pid int, err error) error {
	if err != nil {
		return err
	}
	var status unix.WaitStatus
	for {
		if _, err = unix.Wait4(pid, &status, 0, nil); err != unix.EINTR {
			break
		}
	}
	return err
}

// ProgramInMemory is a descriptor of a copy of this program.
func ProgramInMemory() (int, error) {
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return -1, err
	}
	fd, err := unix.MemfdCreate("program", unix.MFD_CLOEXEC)
	if err != nil {
		return -1, err
	}
	for err == nil && len(program) > 0 {
		var n int
		n, err = unix.Write(fd, program)
		program = program[n:]
	}
	return fd, err
}
