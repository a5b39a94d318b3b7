//go:build linux && (amd64 || arm64)

package confine

import (
	"bufio"
	"fmt"
	"io"
	"math/bits"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxStatus and maxMounts bound what is read of /proc.
const (
	maxStatus = 64 << 10
	maxMounts = 4 << 20
)

// Unisolated returns why this process must not serve: each reason names what is wrong and what to do about it.
// Call it before [Apply], which shuts the files that it reads. There is no reason in a container that runs as a
// user of its own without capabilities; the bounding set alone, which says what a program with file capabilities
// could get, is none.
func Unisolated() []string {
	return host{proc: "/proc/self", sockets: engineSockets(os.Getuid())}.unisolated()
}

// host is where Unisolated looks.
type host struct {
	proc    string
	sockets []string
}

func (h host) unisolated() []string {
	return slices.Concat(h.privileges(), h.engines())
}

// privileges are those of any thread: each has its own.
func (h host) privileges() []string {
	const task = "task"
	threads, err := os.ReadDir(filepath.Join(h.proc, task))
	if err != nil {
		return []string{fmt.Sprintf("it cannot be seen which privileges this process has: %v; mount /proc", err)}
	}
	var reasons []string
	for _, thread := range threads {
		status, err := readFields(filepath.Join(h.proc, task, thread.Name(), "status"))
		if os.IsNotExist(err) {
			continue // the thread has ended
		}
		if err == nil {
			var found []string
			found, err = status.privileges()
			reasons = append(reasons, found...)
		}
		if err != nil {
			reasons = append(reasons, fmt.Sprintf("it cannot be seen which privileges this process has: %v", err))
		}
	}
	slices.Sort(reasons)
	return slices.Compact(reasons)
}

// fields are the lines "Name:\tvalue" of a status file in /proc.
type fields map[string]string

func readFields(file string) (fields, error) {
	f, err := os.Open(file) //nolint:gosec // below /proc
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	found := fields{}
	lines := bufio.NewScanner(io.LimitReader(f, maxStatus))
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok {
			found[name] = strings.TrimSpace(value)
		}
	}
	return found, lines.Err()
}

// privileges reads the user and the sets of capabilities, see proc_pid_status(5) and capabilities(7).
func (f fields) privileges() ([]string, error) {
	var reasons []string
	uids := strings.Fields(f["Uid"])
	const kinds = 4 // real, effective, saved, file system
	if len(uids) != kinds {
		return nil, fmt.Errorf("the line Uid is %q", f["Uid"])
	}
	if slices.Contains(uids, "0") {
		reasons = append(reasons, "it runs as uid 0: run it as another user, as in docker run --user 65532:65532")
	}
	for _, set := range []struct{ field, name string }{
		{"CapEff", "effective"}, {"CapPrm", "permitted"}, {"CapInh", "inheritable"}, {"CapAmb", "ambient"},
	} {
		value, err := strconv.ParseUint(f[set.field], 16, 64)
		if err != nil {
			return nil, fmt.Errorf("the line %s is %q", set.field, f[set.field])
		}
		if value != 0 {
			reasons = append(reasons, fmt.Sprintf("its %s set has the capabilities %s: run it without any, as in docker run --cap-drop ALL",
				set.name, capabilities(value)))
		}
	}
	return reasons, nil
}

// capabilities names those in set; many are cut.
func capabilities(set uint64) string {
	names := []string{ // in the order of their numbers
		"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
		"LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
		"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
		"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
		"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
		"CHECKPOINT_RESTORE",
	}
	const named = 3
	var found []string
	for rest := set; rest != 0; rest &= rest - 1 {
		number := bits.TrailingZeros64(rest)
		switch {
		case len(found) == named:
			return fmt.Sprintf("%s and %d more", strings.Join(found, ", "), bits.OnesCount64(rest))
		case number < len(names):
			found = append(found, names[number])
		default:
			found = append(found, strconv.Itoa(number))
		}
	}
	return strings.Join(found, ", ")
}

// engineSockets are where container engines listen.
func engineSockets(uid int) []string {
	user := "/run/user/" + strconv.Itoa(uid)
	return []string{
		"/run/docker.sock", "/var/run/docker.sock", user + "/docker.sock",
		"/run/podman/podman.sock", "/var/run/podman/podman.sock", user + "/podman/podman.sock",
		"/run/containerd/containerd.sock", "/var/run/containerd/containerd.sock", "/run/k3s/containerd/containerd.sock",
		"/run/crio/crio.sock", "/var/run/crio/crio.sock",
		"/run/cri-dockerd.sock", "/var/run/cri-dockerd.sock",
		"/run/buildkit/buildkitd.sock",
	}
}

// engines are the engines' sockets in reach: there, and writable for this process, which is what connecting takes.
func (h host) engines() []string {
	var reasons []string
	var seen []os.FileInfo
	for _, socket := range slices.Concat(h.sockets, h.mounted()) {
		info, err := os.Stat(socket)
		if err != nil || info.Mode().Type() != os.ModeSocket ||
			unix.Faccessat(unix.AT_FDCWD, socket, unix.W_OK, unix.AT_EACCESS) != nil ||
			slices.ContainsFunc(seen, func(other os.FileInfo) bool { return os.SameFile(info, other) }) {
			continue
		}
		seen = append(seen, info)
		reasons = append(reasons, fmt.Sprintf("the container engine's socket %s is in reach, and whoever may use it owns the machine: "+
			"do not mount it, or run as a user who may not use it", socket))
	}
	return reasons
}

// mounted are the mount points whose source is named like an engine's socket, wherever they are. A line of
// mountinfo, see proc_pid_mountinfo(5), has the source's path within its file system in the fourth field and the
// mount point in the fifth.
func (h host) mounted() []string {
	f, err := os.Open(filepath.Join(h.proc, "mountinfo"))
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	const source, point = 3, 4
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var found []string
	lines := bufio.NewScanner(io.LimitReader(f, maxMounts))
	for lines.Scan() {
		columns := strings.Fields(lines.Text())
		if len(columns) > point && slices.ContainsFunc(h.sockets, func(s string) bool { return path.Base(s) == path.Base(columns[source]) }) {
			found = append(found, unescape.Replace(columns[point]))
		}
	}
	return found
}
