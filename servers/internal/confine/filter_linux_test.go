//go:build linux && (amd64 || arm64)

package confine

import (
	"encoding/binary"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "write the golden files")

const testPid = 4242

// machine runs the filter of a program, as the kernel would.
func machine(t *testing.T, rules Rules) *bpf.VM {
	t.Helper()
	raw, _, err := plan{Rules: rules, pid: testPid}.filter()
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > unix.BPF_MAXINSNS {
		t.Fatalf("%d instructions, more than the kernel takes", len(raw))
	}
	instructions, whole := bpf.Disassemble(raw)
	if !whole {
		t.Fatal("not all of the filter can be read back")
	}
	vm, err := bpf.NewVM(instructions)
	if err != nil {
		t.Fatal(err)
	}
	return vm
}

// verdict is what the filter says of one call, in words.
func verdict(t *testing.T, vm *bpf.VM, arch, nr uint32, args ...uint64) string {
	t.Helper()
	// The virtual machine reads words in the order of the network, and the kernel in its own.
	data := make([]byte, offsetArgs+6*sizeofArg)
	binary.BigEndian.PutUint32(data[offsetNr:], nr)
	binary.BigEndian.PutUint32(data[offsetArch:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[offsetArgs+i*sizeofArg:], uint32(a))
		binary.BigEndian.PutUint32(data[offsetArgs+i*sizeofArg+sizeofWord:], uint32(a>>32))
	}
	out, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	switch uint32(out) {
	case unix.SECCOMP_RET_ALLOW:
		return "allow"
	case refuse:
		return "EPERM"
	case absent:
		return "ENOSYS"
	case unix.SECCOMP_RET_KILL_PROCESS:
		return "kill"
	}
	return fmt.Sprintf("%#x", out)
}

// programs are the rules of those that there are, about.
func programs() map[string]Rules {
	return map[string]Rules{
		"zero":    {},
		"checker": {Read: []string{"/workspace"}},
		"client":  {Connect: []string{"/e/s"}},
		"gateway": {Read: []string{"/tokens"}, Write: []string{"/audit"}, Connect: []string{"/u/dockerhub/s", "/u/kubernetes/s"}},
		"door":    {Connect: []string{"/g/s"}, Splice: true},
		"egress":  {Network: true, Splice: true},
	}
}

func TestFilterVerdicts(t *testing.T) {
	const mapAnonymous = unix.MAP_PRIVATE | unix.MAP_ANON
	const upper = 1 << 32 // the kernel does not look at it in an int
	atCwd := int64(unix.AT_FDCWD)
	cwd := uint64(atCwd)
	for _, tc := range []struct {
		program string
		nr      uint32
		args    []uint64
		want    string
	}{
		{"zero", unix.SYS_READ, nil, "allow"},
		{"zero", unix.SYS_ACCEPT4, nil, "allow"},
		{"zero", unix.SYS_CLONE, []uint64{threadFlags}, "allow"},
		{"zero", unix.SYS_CLONE, []uint64{threadFlags | cLibraryFlags}, "allow"},
		{"zero", unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}, "EPERM"},
		{"zero", unix.SYS_CLONE, []uint64{unix.CLONE_VM | unix.CLONE_VFORK | uint64(unix.SIGCHLD)}, "EPERM"},
		{"zero", unix.SYS_CLONE, []uint64{threadFlags | unix.CLONE_NEWUSER}, "EPERM"},
		{"zero", unix.SYS_CLONE, []uint64{threadFlags | unix.CLONE_NEWNET}, "EPERM"},
		{"zero", unix.SYS_CLONE, []uint64{threadFlags | unix.CLONE_PTRACE}, "EPERM"},
		{"zero", unix.SYS_CLONE, []uint64{threadFlags | unix.CLONE_NEWTIME}, "EPERM"},
		{"zero", unix.SYS_CLONE3, nil, "ENOSYS"},
		{"zero", unix.SYS_MMAP, []uint64{0, 4096, unix.PROT_READ | unix.PROT_WRITE, mapAnonymous}, "allow"},
		{"zero", unix.SYS_MMAP, []uint64{0, 4096, unix.PROT_EXEC, mapAnonymous}, "EPERM"},
		{"zero", unix.SYS_MMAP, []uint64{0, 4096, upper | unix.PROT_READ | unix.PROT_EXEC, mapAnonymous}, "EPERM"},
		{"zero", unix.SYS_MPROTECT, []uint64{0, 4096, unix.PROT_READ}, "allow"},
		{"zero", unix.SYS_MPROTECT, []uint64{0, 4096, unix.PROT_READ | unix.PROT_EXEC}, "EPERM"},
		{"zero", unix.SYS_TGKILL, []uint64{testPid, 1, uint64(unix.SIGURG)}, "allow"},
		{"zero", unix.SYS_TGKILL, []uint64{1, 1, uint64(unix.SIGKILL)}, "EPERM"},
		{"zero", unix.SYS_KILL, []uint64{testPid, 1}, "allow"},
		{"zero", unix.SYS_KILL, []uint64{0, 1}, "EPERM"},
		{"zero", unix.SYS_KILL, []uint64{^uint64(0), 1}, "EPERM"},
		{"zero", unix.SYS_PRCTL, []uint64{unix.PR_SET_VMA, unix.PR_SET_VMA_ANON_NAME}, "allow"},
		{"zero", unix.SYS_PRCTL, []uint64{unix.PR_SET_DUMPABLE, 1}, "EPERM"},
		{"zero", unix.SYS_PRCTL, []uint64{unix.PR_SET_VMA, 1}, "EPERM"},
		{"zero", unix.SYS_PRLIMIT64, []uint64{0, unix.RLIMIT_NOFILE, 0, 0xdeadbeef}, "allow"},
		{"zero", unix.SYS_PRLIMIT64, []uint64{0, unix.RLIMIT_NOFILE, 0xdeadbeef, 0}, "EPERM"},
		{"zero", unix.SYS_PRLIMIT64, []uint64{0, unix.RLIMIT_NOFILE, upper, 0}, "EPERM"}, // a pointer above 4 GiB
		{"zero", unix.SYS_PRLIMIT64, []uint64{1, unix.RLIMIT_NOFILE, 0, 0xdeadbeef}, "EPERM"},
		{"zero", unix.SYS_OPENAT, []uint64{cwd, 0, unix.O_RDONLY | unix.O_CLOEXEC | unix.O_DIRECTORY | unix.O_NOFOLLOW}, "allow"},
		{"zero", unix.SYS_OPENAT, []uint64{cwd, 0, unix.O_WRONLY}, "EPERM"},
		{"zero", unix.SYS_OPENAT, []uint64{cwd, 0, unix.O_RDWR}, "EPERM"},
		{"zero", unix.SYS_OPENAT, []uint64{cwd, 0, unix.O_ACCMODE}, "EPERM"},
		{"zero", unix.SYS_OPENAT, []uint64{cwd, 0, unix.O_CREAT}, "EPERM"},
		{"zero", unix.SYS_OPENAT, []uint64{cwd, 0, unix.O_TRUNC}, "EPERM"},
		{"zero", unix.SYS_OPENAT, []uint64{cwd, 0, unix.O_TMPFILE}, "EPERM"},
		{"gateway", unix.SYS_OPENAT, []uint64{cwd, 0, unix.O_RDWR | unix.O_CREAT}, "allow"},
		{"gateway", unix.SYS_FSYNC, nil, "allow"},
		{"client", unix.SYS_FSYNC, nil, "EPERM"},
		{"zero", unix.SYS_OPENAT2, nil, "ENOSYS"},
		{"zero", unix.SYS_FCNTL, []uint64{3, unix.F_DUPFD_CLOEXEC}, "allow"},
		{"zero", unix.SYS_FCNTL, []uint64{3, unix.F_SETOWN}, "EPERM"},
		{"zero", unix.SYS_FCNTL, []uint64{3, unix.F_SETPIPE_SZ}, "EPERM"},
		{"egress", unix.SYS_FCNTL, []uint64{3, unix.F_SETPIPE_SZ}, "allow"},
		{"zero", unix.SYS_SPLICE, nil, "EPERM"},
		{"door", unix.SYS_SPLICE, nil, "allow"},
		{"door", unix.SYS_VMSPLICE, nil, "EPERM"},
		{"zero", unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_TCP, unix.TCP_NODELAY}, "allow"},
		{"zero", unix.SYS_SETSOCKOPT, []uint64{3, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER}, "EPERM"},
		{"zero", unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_TCP, unix.TCP_ULP}, "EPERM"},
		{"zero", unix.SYS_SETSOCKOPT, []uint64{3, unix.SOL_NETLINK, unix.TCP_NODELAY}, "EPERM"},
		{"zero", unix.SYS_SOCKET, []uint64{unix.AF_UNIX, unix.SOCK_STREAM, 0}, "EPERM"},
		{"client", unix.SYS_SOCKET, []uint64{unix.AF_UNIX, unix.SOCK_STREAM | unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK, 0}, "allow"},
		{"client", unix.SYS_SOCKET, []uint64{unix.AF_UNIX, unix.SOCK_DGRAM, 0}, "EPERM"},
		{"client", unix.SYS_SOCKET, []uint64{unix.AF_UNIX, unix.SOCK_SEQPACKET, 0}, "EPERM"},
		{"client", unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM, 0}, "EPERM"},
		{"client", unix.SYS_SOCKET, []uint64{unix.AF_VSOCK, unix.SOCK_STREAM, 0}, "EPERM"},
		{"client", unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, 0}, "EPERM"},
		{"client", unix.SYS_SOCKETPAIR, []uint64{unix.AF_UNIX, unix.SOCK_STREAM, 0}, "EPERM"},
		{"egress", unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM, 0}, "allow"},
		{"egress", unix.SYS_SOCKET, []uint64{unix.AF_INET6, unix.SOCK_DGRAM | unix.SOCK_NONBLOCK, 0}, "allow"},
		{"egress", unix.SYS_SOCKET, []uint64{unix.AF_UNIX, unix.SOCK_STREAM, 0}, "EPERM"},
		{"egress", unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP}, "EPERM"},
		{"egress", unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP}, "EPERM"},
		{"egress", unix.SYS_SOCKET, []uint64{unix.AF_INET, unix.SOCK_RAW, 0}, "EPERM"},
		{"egress", unix.SYS_SOCKET, []uint64{unix.AF_VSOCK, unix.SOCK_STREAM, 0}, "EPERM"},
		{"egress", unix.SYS_SOCKET, []uint64{unix.AF_NETLINK, unix.SOCK_RAW, 0}, "EPERM"},
		{"egress", unix.SYS_CONNECT, []uint64{3, 0, 28}, "allow"},
		{"zero", unix.SYS_CONNECT, []uint64{3, 0, 7}, "EPERM"},
		{"client", unix.SYS_CONNECT, []uint64{3, 0, 7}, "allow"}, // two bytes, "/e/s", and the byte at the end
		{"client", unix.SYS_CONNECT, []uint64{3, 0, 16}, "EPERM"},
		{"client", unix.SYS_CONNECT, []uint64{3, 0, 110}, "EPERM"},
		{"gateway", unix.SYS_CONNECT, []uint64{3, 0, 17}, "allow"},
		{"gateway", unix.SYS_CONNECT, []uint64{3, 0, 18}, "allow"},
		{"gateway", unix.SYS_CONNECT, []uint64{3, 0, 16}, "EPERM"},
		{"egress", unix.SYS_BIND, nil, "EPERM"},
		{"egress", unix.SYS_LISTEN, nil, "EPERM"},
		{"egress", unix.SYS_SENDTO, nil, "EPERM"},
		{"egress", unix.SYS_SENDMSG, nil, "EPERM"},
		{"egress", unix.SYS_SENDMMSG, nil, "EPERM"},
		{"egress", unix.SYS_RECVMSG, nil, "EPERM"},
		{"zero", newestCall + 1, nil, "ENOSYS"},
	} {
		t.Run(fmt.Sprintf("%s %d %x", tc.program, tc.nr, tc.args), func(t *testing.T) {
			if got := verdict(t, machine(t, programs()[tc.program]), auditArch, tc.nr, tc.args...); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}

// What no program may ever call, whatever its rules and the arguments. The filter names none of them.
func TestFilterRefusesAlways(t *testing.T) {
	refused := slices.Concat([]uint32{
		unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_MEMFD_CREATE, unix.SYS_MEMFD_SECRET, unix.SYS_PTRACE,
		unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
		unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PROCESS_MADVISE, unix.SYS_KCMP,
		unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_GETFD, unix.SYS_PIDFD_SEND_SIGNAL, unix.SYS_TKILL, unix.SYS_RT_SIGQUEUEINFO, unix.SYS_RT_TGSIGQUEUEINFO,
		unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
		unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK,
		unix.SYS_MOUNT_SETATTR, unix.SYS_OPEN_TREE_ATTR, unix.SYS_STATMOUNT, unix.SYS_LISTMOUNT, unix.SYS_LISTNS,
		unix.SYS_SETNS, unix.SYS_UNSHARE, unix.SYS_CLONE3, unix.SYS_CHROOT, unix.SYS_PIVOT_ROOT,
		unix.SYS_KEXEC_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE, unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_REBOOT,
		unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_ADJTIMEX, unix.SYS_CLOCK_ADJTIME, unix.SYS_SYSLOG, unix.SYS_SETHOSTNAME,
		unix.SYS_MKNODAT, unix.SYS_LINKAT, unix.SYS_SYMLINKAT, unix.SYS_FCHMODAT, unix.SYS_FCHOWNAT, unix.SYS_SETXATTR,
		unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_FANOTIFY_INIT, unix.SYS_QUOTACTL, unix.SYS_QUOTACTL_FD, unix.SYS_ACCT,
		unix.SYS_PERSONALITY, unix.SYS_VMSPLICE, unix.SYS_TEE, unix.SYS_REMAP_FILE_PAGES, unix.SYS_PKEY_MPROTECT, unix.SYS_MREMAP,
		unix.SYS_SHMGET, unix.SYS_SHMAT, unix.SYS_SEMGET, unix.SYS_MSGGET, unix.SYS_MSGSND, unix.SYS_MQ_OPEN, unix.SYS_MQ_UNLINK,
		unix.SYS_SETUID, unix.SYS_SETRESUID, unix.SYS_SETGID, unix.SYS_SETGROUPS, unix.SYS_CAPSET, unix.SYS_SECCOMP,
		unix.SYS_IOCTL, unix.SYS_BIND, unix.SYS_LISTEN, unix.SYS_SOCKETPAIR, unix.SYS_SENDTO, unix.SYS_SENDMSG, unix.SYS_MOVE_PAGES, unix.SYS_MBIND,
		unix.SYS_LANDLOCK_CREATE_RULESET, unix.SYS_LANDLOCK_RESTRICT_SELF, unix.SYS_SCHED_SETSCHEDULER, unix.SYS_SETPRIORITY,
	}, archRefused())
	for name, rules := range programs() {
		vm := machine(t, rules)
		for _, nr := range refused {
			for _, arg := range []uint64{0, 1, testPid, unix.CLONE_THREAD, ^uint64(0)} {
				if got := verdict(t, vm, auditArch, nr, arg, arg, arg, arg, arg, arg); got != "EPERM" && got != "ENOSYS" {
					t.Errorf("%s: call %d with %#x: %s", name, nr, arg, got)
				}
			}
		}
	}
}

// Whatever the filter lets through stands in the report.
func TestReportIsWhole(t *testing.T) {
	for name, rules := range programs() {
		p := plan{Rules: rules, pid: testPid}
		_, filter, err := p.filter()
		if err != nil {
			t.Fatal(err)
		}
		named := map[uint32]string{}
		for _, c := range p.calls() {
			if other := named[c.nr]; other != "" {
				t.Errorf("%s: %s and %s are the same call", name, c.name, other)
			}
			named[c.nr] = c.name
			if !slices.Contains(filter.Allowed, c.name) && filter.Limited[c.name] == nil {
				t.Errorf("%s: %s is not in the report", name, c.name)
			}
		}
		vm := machine(t, rules)
		for nr := range uint32(newestCall + 100) {
			passes := verdict(t, vm, auditArch, nr) == "allow"
			if passes && named[nr] == "" {
				t.Errorf("%s: call %d passes, and the report does not know it", name, nr)
			}
			if !passes && slices.Contains(filter.Allowed, named[nr]) {
				t.Errorf("%s: %s does not pass, and the report says it does", name, named[nr])
			}
		}
	}
}

func TestForeignArchitecture(t *testing.T) {
	vm := machine(t, Rules{})
	for _, arch := range []uint32{0, unix.AUDIT_ARCH_I386, unix.AUDIT_ARCH_ARM, unix.AUDIT_ARCH_RISCV64, ^uint32(0)} {
		if got := verdict(t, vm, arch, unix.SYS_READ); got != "kill" {
			t.Errorf("architecture %#x: %s", arch, got)
		}
	}
	// x32 on amd64, and no call at all on arm64.
	for _, nr := range []uint32{0x40000000 | unix.SYS_READ, ^uint32(0)} {
		if got := verdict(t, vm, auditArch, nr); got == "allow" {
			t.Errorf("call %#x is allowed", nr)
		}
	}
}

func TestConditionsThatAreTooLong(t *testing.T) {
	long := call{name: "long", nr: 1}
	for range maxSkip {
		long.when = append(long.when, when{args: []arg{is(0, 1)}})
	}
	if _, err := program([]call{long}, nil); err == nil || !strings.Contains(err.Error(), "the conditions of long") {
		t.Errorf("err = %v", err)
	}
}

// What each kind of program could still do: a change here is a change of what is possible, and to be looked at.
func TestCallsGolden(t *testing.T) {
	var got strings.Builder
	all := programs()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		_, filter, err := plan{Rules: all[name], pid: testPid}.filter()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range archCalls() { // the file is the same for all architectures
			delete(filter.Limited, c.name)
		}
		slices.Sort(filter.Allowed)
		fmt.Fprintf(&got, "%s\n  %s\n", name, strings.Join(filter.Allowed, " "))
		for _, call := range slices.Sorted(maps.Keys(filter.Limited)) {
			fmt.Fprintf(&got, "  %s: %s\n", call, strings.Join(filter.Limited[call], ", "))
		}
	}
	const golden = "testdata/calls.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("run go test -update, and look at the difference:\n%s", diff)
	}
}
