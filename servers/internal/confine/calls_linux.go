//go:build linux && (amd64 || arm64)

package confine

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// newestCall is the newest system call that was considered here; its number is the same on both architectures.
const newestCall = unix.SYS_RSEQ_SLICE_YIELD

// threadFlags are clone(2)'s, when the Go runtime starts a thread; cLibraryFlags may come along where a C library
// does it.
const (
	threadFlags = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD

	cLibraryFlags = unix.CLONE_SETTLS | unix.CLONE_PARENT_SETTID | unix.CLONE_CHILD_CLEARTID
)

// oTmpfile is O_TMPFILE without the O_DIRECTORY in it, which differs between architectures.
const oTmpfile = 0o20000000

// calls are what a process with these rules may ask the kernel for.
func (p plan) calls() []call {
	return slices.Concat(runtimeCalls(p.pid), p.fileCalls(), p.socketCalls(), archCalls())
}

// hiddenCalls look as if the kernel did not have them. Go then does without: it starts threads with clone, opens
// with openat and copies by reading and writing.
func hiddenCalls() []call {
	return []call{
		{name: "clone3", nr: unix.SYS_CLONE3},
		{name: "copy_file_range", nr: unix.SYS_COPY_FILE_RANGE},
		{name: "faccessat2", nr: unix.SYS_FACCESSAT2},
		{name: "openat2", nr: unix.SYS_OPENAT2},
		{name: "sendfile", nr: unix.SYS_SENDFILE},
	}
}

// runtimeCalls are for memory, threads, time and signals.
func runtimeCalls(pid int) []call {
	self := uint32(pid) //nolint:gosec // a process's number is small and positive
	return []call{
		// With conditions.
		{"clone", unix.SYS_CLONE, []when{{"a thread of this process", []arg{masked(0, ^uint32(cLibraryFlags), threadFlags)}}}},
		{"kill", unix.SYS_KILL, []when{{"this process", []arg{is(0, self)}}}},
		{"mmap", unix.SYS_MMAP, []when{{"not executable", []arg{masked(2, unix.PROT_EXEC, 0)}}}},
		{"mprotect", unix.SYS_MPROTECT, []when{{"not executable", []arg{masked(2, unix.PROT_EXEC, 0)}}}},
		{"prctl", unix.SYS_PRCTL, []when{{"name memory", []arg{is(0, unix.PR_SET_VMA), is(1, unix.PR_SET_VMA_ANON_NAME)}}}},
		{"prlimit64", unix.SYS_PRLIMIT64, []when{{"read one's own", []arg{is(0, 0), null(2)}}}},
		{"tgkill", unix.SYS_TGKILL, []when{{"this process", []arg{is(0, self)}}}},

		// Without.
		{"brk", unix.SYS_BRK, nil},
		{"clock_gettime", unix.SYS_CLOCK_GETTIME, nil},
		{"clock_nanosleep", unix.SYS_CLOCK_NANOSLEEP, nil},
		{"exit", unix.SYS_EXIT, nil},
		{"exit_group", unix.SYS_EXIT_GROUP, nil},
		{"futex", unix.SYS_FUTEX, nil},
		{"getegid", unix.SYS_GETEGID, nil},
		{"geteuid", unix.SYS_GETEUID, nil},
		{"getgid", unix.SYS_GETGID, nil},
		{"getpid", unix.SYS_GETPID, nil},
		{"getppid", unix.SYS_GETPPID, nil},
		{"getrandom", unix.SYS_GETRANDOM, nil},
		{"gettid", unix.SYS_GETTID, nil},
		{"getuid", unix.SYS_GETUID, nil},
		{"madvise", unix.SYS_MADVISE, nil},
		{"mincore", unix.SYS_MINCORE, nil},
		{"munmap", unix.SYS_MUNMAP, nil},
		{"nanosleep", unix.SYS_NANOSLEEP, nil},
		{"restart_syscall", unix.SYS_RESTART_SYSCALL, nil},
		{"rt_sigaction", unix.SYS_RT_SIGACTION, nil},
		{"rt_sigprocmask", unix.SYS_RT_SIGPROCMASK, nil},
		{"rt_sigreturn", unix.SYS_RT_SIGRETURN, nil},
		{"sched_getaffinity", unix.SYS_SCHED_GETAFFINITY, nil},
		{"sched_yield", unix.SYS_SCHED_YIELD, nil},
		{"sigaltstack", unix.SYS_SIGALTSTACK, nil},
		{"uname", unix.SYS_UNAME, nil},

		// What the C library does in a new thread, for programs that were built with cgo, as by go run.
		{"rseq", unix.SYS_RSEQ, nil},
		{"set_robust_list", unix.SYS_SET_ROBUST_LIST, nil},
	}
}

// fileCalls are for files, and for what is read and written whatever it is.
func (p plan) fileCalls() []call {
	fcntl := []when{
		{"F_GETFD", []arg{is(1, unix.F_GETFD)}},
		{"F_SETFD", []arg{is(1, unix.F_SETFD)}},
		{"F_GETFL", []arg{is(1, unix.F_GETFL)}},
		{"F_SETFL", []arg{is(1, unix.F_SETFL)}},
		{"F_DUPFD_CLOEXEC", []arg{is(1, unix.F_DUPFD_CLOEXEC)}},
	}
	if p.Splice {
		fcntl = append(fcntl, when{"F_SETPIPE_SZ", []arg{is(1, unix.F_SETPIPE_SZ)}})
	}
	calls := []call{
		{"fcntl", unix.SYS_FCNTL, fcntl},

		{"close", unix.SYS_CLOSE, nil},
		{"epoll_create1", unix.SYS_EPOLL_CREATE1, nil},
		{"epoll_ctl", unix.SYS_EPOLL_CTL, nil},
		{"epoll_pwait", unix.SYS_EPOLL_PWAIT, nil},
		{"eventfd2", unix.SYS_EVENTFD2, nil},
		{"fstat", unix.SYS_FSTAT, nil},
		{"getcwd", unix.SYS_GETCWD, nil},
		{"getdents64", unix.SYS_GETDENTS64, nil},
		{"lseek", unix.SYS_LSEEK, nil},
		{"newfstatat", unix.SYS_NEWFSTATAT, nil},
		{"pread64", unix.SYS_PREAD64, nil},
		{"read", unix.SYS_READ, nil},
		{"readlinkat", unix.SYS_READLINKAT, nil},
		{"write", unix.SYS_WRITE, nil},
		{"writev", unix.SYS_WRITEV, nil},
	}
	if len(p.Write) == 0 {
		return append(calls, call{"openat", unix.SYS_OPENAT, []when{{"for reading, what is there", []arg{
			masked(2, unix.O_ACCMODE|unix.O_CREAT|unix.O_TRUNC|oTmpfile, unix.O_RDONLY)}}}})
	}
	return append(calls, []call{
		{"fdatasync", unix.SYS_FDATASYNC, nil},
		{"flock", unix.SYS_FLOCK, nil},
		{"fsync", unix.SYS_FSYNC, nil},
		{"ftruncate", unix.SYS_FTRUNCATE, nil},
		{"mkdirat", unix.SYS_MKDIRAT, nil},
		{"openat", unix.SYS_OPENAT, nil},
		{"pwrite64", unix.SYS_PWRITE64, nil},
		{"renameat", unix.SYS_RENAMEAT, nil},
		{"renameat2", unix.SYS_RENAMEAT2, nil},
		{"statx", unix.SYS_STATX, []when{
			{"for the inode of an open file", []arg{is(2, unix.AT_EMPTY_PATH), is(3, unix.STATX_INO)}},
			{"for the inode that a name stands for", []arg{is(2, unix.AT_SYMLINK_NOFOLLOW), is(3, unix.STATX_INO)}},
		}},
		{"unlinkat", unix.SYS_UNLINKAT, nil},
	}...)
}

// option is a socket option that may be set. Most others are harmless, too, but some load code into the kernel.
type option struct {
	means       string
	level, name uint32
}

func options() []option {
	return []option{
		{"SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR},
		{"SO_BROADCAST", unix.SOL_SOCKET, unix.SO_BROADCAST},
		{"SO_SNDBUF", unix.SOL_SOCKET, unix.SO_SNDBUF},
		{"SO_RCVBUF", unix.SOL_SOCKET, unix.SO_RCVBUF},
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE},
		{"SO_LINGER", unix.SOL_SOCKET, unix.SO_LINGER},
		{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY},
		{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE},
		{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL},
		{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT},
		{"IPV6_V6ONLY", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY},
	}
}

// socketCalls are for connections. There is no bind and no listen, and no send or receive but read and write:
// an address comes into the process through connect alone.
func (p plan) socketCalls() []call {
	var setsockopt []when
	for _, o := range options() {
		setsockopt = append(setsockopt, when{o.means, []arg{is(1, o.level), is(2, o.name)}})
	}
	calls := []call{
		{"setsockopt", unix.SYS_SETSOCKOPT, setsockopt},

		{"accept4", unix.SYS_ACCEPT4, nil},
		{"getpeername", unix.SYS_GETPEERNAME, nil},
		{"getsockname", unix.SYS_GETSOCKNAME, nil},
		{"getsockopt", unix.SYS_GETSOCKOPT, nil},
		{"shutdown", unix.SYS_SHUTDOWN, nil},
	}
	var socket []when
	if len(p.Connect) > 0 {
		socket = append(socket, newSocket("Unix stream", unix.AF_UNIX, unix.SOCK_STREAM))
	}
	if p.Network {
		socket = append(socket,
			newSocket("TCP over IPv4", unix.AF_INET, unix.SOCK_STREAM),
			newSocket("TCP over IPv6", unix.AF_INET6, unix.SOCK_STREAM),
			newSocket("UDP over IPv4", unix.AF_INET, unix.SOCK_DGRAM),
			newSocket("UDP over IPv6", unix.AF_INET6, unix.SOCK_DGRAM))
	}
	if len(socket) > 0 {
		calls = append(calls, call{"socket", unix.SYS_SOCKET, socket})
	}
	var connect []when
	for _, length := range p.connectLengths() {
		connect = append(connect, when{fmt.Sprintf("an address of %d bytes", length), []arg{is(2, length)}})
	}
	if p.Network {
		calls = append(calls, call{"connect", unix.SYS_CONNECT, nil})
	} else if len(connect) > 0 {
		calls = append(calls, call{"connect", unix.SYS_CONNECT, connect})
	}
	if p.Splice {
		calls = append(calls, call{"pipe2", unix.SYS_PIPE2, nil}, call{"splice", unix.SYS_SPLICE, nil})
	}
	return calls
}

// newSocket is a socket of a family's own protocol of that type.
func newSocket(means string, family, typ uint32) when {
	return when{means, []arg{is(0, family), masked(1, ^uint32(unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK), typ), is(2, 0)}}
}
