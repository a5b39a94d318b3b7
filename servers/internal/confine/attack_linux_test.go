//go:build linux && (amd64 || arm64)

package confine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	shared "github.com/bulkhead-mcp/bulkhead/servers/e2e/attack"
)

// scene is what the attacks of a child are made on.
type scene struct {
	Rules    Rules
	Off      bool // not confined, to see that the attacks would succeed
	Dir      string
	Helper   int // a process of the same user
	Abstract string
	Socket   string // the one that the rules name
	Other    string // with a path as long, in another folder

	program int // a memfd with a program in it, made before the process is confined
}

// attack is one thing that a confined process must not manage.
type attack struct {
	name string
	try  func(s scene) error
	on   string // how it fails in a confined process
	off  string // how it ends in one that is not; "" is success
	// elsewhere says that what stands around the tests may refuse it anyway: a missing privilege, the kernel's
	// configuration, a container's profile. Then the row shows nothing here, and says so.
	elsewhere bool
	abi       int // of Landlock, below which the attack succeeds and stands in the report as a gap
}

// inTmp is a file that attacks make.
const inTmp = "/tmp/confine-test"

func cstring(s string) uintptr {
	p, err := unix.BytePtrFromString(s)
	if err != nil {
		panic(err)
	}
	return uintptr(unsafe.Pointer(p))
}

func open(path string, flags int) error { return shared.Open(path, flags) }

// attacks are those of every process, and those on what is here: files, and other processes of the same user.
func attacks() []attack {
	var list []attack
	for _, a := range shared.Calls() {
		if a.Confined == "" {
			continue
		}
		list = append(list, attack{name: a.Name, on: a.Confined, off: a.Reached, elsewhere: a.Elsewhere,
			try: func(s scene) error { return a.Try(shared.Scene{Program: s.program}) }})
	}
	call := func(nr uintptr, args ...uintptr) func(scene) error {
		return func(scene) error { return shared.Raw(nr, args...) }
	}
	none := ^uintptr(0)
	missing := cstring("/nonexistent")
	atCwd := int64(unix.AT_FDCWD)
	cwd := uintptr(atCwd)
	return append(list, []attack{
		{name: "signal another process", on: "EPERM", try: func(s scene) error { return unix.Kill(s.Helper, 0) }},
		{name: "signal a thread of another process", on: "EPERM", try: func(s scene) error { return unix.Tgkill(s.Helper, s.Helper, 0) }},
		{name: "signal the group", on: "EPERM", try: func(scene) error { return unix.Kill(0, 0) }},
		{name: "tkill", on: "EPERM", try: func(s scene) error { return shared.Raw(unix.SYS_TKILL, uintptr(s.Helper), 0) }},
		{name: "splice", try: call(unix.SYS_SPLICE, none, 0, none, 0, 1, 0), on: "EPERM", off: "EBADF"},

		// Files.
		{name: "read /etc/shadow", on: "EACCES", elsewhere: true, try: func(scene) error { return open("/etc/shadow", unix.O_RDONLY) }},
		{name: "read /etc/passwd", on: "EACCES", try: func(scene) error { return open("/etc/passwd", unix.O_RDONLY) }},
		{name: "read one's environment", on: "EACCES", try: func(scene) error { return open("/proc/self/environ", unix.O_RDONLY) }},
		{name: "read another's environment", on: "EACCES", elsewhere: true, try: func(s scene) error {
			return open(fmt.Sprintf("/proc/%d/environ", s.Helper), unix.O_RDONLY)
		}},
		{name: "write to one's memory", on: "EPERM", try: func(scene) error { return open("/proc/self/mem", unix.O_RDWR) }},
		{name: "list /", on: "EACCES", try: func(scene) error { return open("/", unix.O_RDONLY|unix.O_DIRECTORY) }},
		{name: "make a file", on: "EPERM", try: func(s scene) error { return open(filepath.Join(s.Dir, "new"), unix.O_WRONLY|unix.O_CREAT) }},
		{name: "make a file without writing", on: "EPERM", try: func(s scene) error { return open(filepath.Join(s.Dir, "new"), unix.O_CREAT) }},
		{name: "make a file in /tmp", on: "EPERM", try: func(scene) error { return open(inTmp, unix.O_RDWR|unix.O_CREAT) }, elsewhere: true},
		{name: "make a file here", on: "EPERM", try: func(scene) error { return open("new", unix.O_RDWR|unix.O_CREAT) }},
		{name: "make a nameless file", on: "EPERM", try: func(s scene) error { return open(s.Dir, unix.O_RDWR|unix.O_TMPFILE) }, elsewhere: true},
		{name: "write to a file", on: "EPERM", try: func(s scene) error { return open(filepath.Join(s.Dir, "old"), unix.O_WRONLY) }},
		{name: "append to a file", on: "EPERM", try: func(s scene) error { return open(filepath.Join(s.Dir, "old"), unix.O_WRONLY|unix.O_APPEND) }},
		{name: "empty a file by opening it", on: "EPERM", try: func(s scene) error { return open(filepath.Join(s.Dir, "old"), unix.O_RDONLY|unix.O_TRUNC) }},
		{name: "truncate", on: "EPERM", try: func(s scene) error { return unix.Truncate(filepath.Join(s.Dir, "old"), 0) }},
		{name: "chmod", on: "EPERM", try: func(s scene) error { return os.Chmod(filepath.Join(s.Dir, "old"), 0o600) }},
		{name: "chown", on: "EPERM", try: func(s scene) error { return os.Chown(filepath.Join(s.Dir, "old"), -1, -1) }},
		{name: "utimensat", on: "EPERM", try: func(s scene) error {
			return unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(s.Dir, "old"), []unix.Timespec{{Sec: 1}, {Sec: 1}}, 0)
		}},
		{name: "mkdir", try: call(unix.SYS_MKDIRAT, cwd, cstring("/nonexistent/x"), 0o700), on: "EPERM", off: "ENOENT"},
		{name: "unlink", try: call(unix.SYS_UNLINKAT, cwd, missing, 0), on: "EPERM", off: "ENOENT"},
		{name: "rename", try: call(unix.SYS_RENAMEAT2, cwd, missing, cwd, missing, 0), on: "EPERM", off: "ENOENT"},
		{name: "link", try: call(unix.SYS_LINKAT, cwd, missing, cwd, missing, 0), on: "EPERM", off: "ENOENT"},
		{name: "symlink", try: call(unix.SYS_SYMLINKAT, missing, cwd, cstring("/nonexistent/x")), on: "EPERM", off: "ENOENT"},
		{name: "mknod", try: call(unix.SYS_MKNODAT, cwd, cstring("/nonexistent/x"), unix.S_IFIFO|0o600, 0), on: "EPERM", off: "ENOENT"},
		{name: "setxattr", try: call(unix.SYS_SETXATTR, missing, missing, 0, 0, 0), on: "EPERM", off: "ENOENT"},
	}...)
}

// connects are the attacks of a program that connects to a Unix socket.
func connects() []attack {
	dial := func(address string) error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Connect(fd, &unix.SockaddrUnix{Name: address})
	}
	return []attack{
		// The address of an abstract socket has no byte at its end: one longer is as long as the path's.
		{name: "connect to an abstract socket", on: "EPERM", abi: abiScope, try: func(s scene) error { return dial("@" + s.Abstract) }},
		{name: "connect to a socket elsewhere with a path as long", on: "EACCES", abi: abiResolveUnix, try: func(s scene) error { return dial(s.Other) }},
		{name: "connect to a socket with a longer path", on: "EPERM", try: func(s scene) error { return dial(s.Socket + "x") }},
		{name: "connect to a socket with a shorter path", on: "EPERM", try: func(s scene) error { return dial(s.Socket[:len(s.Socket)-1]) }},
	}
}

// outcome is how each attack ended, by its name, on each kind of thread.
type outcome map[string]map[string]string

// attackChild tries everything on the main thread, on one that was there before the process was confined, on one
// that was waiting in the kernel meanwhile, and on one that started afterwards.
func attackChild(input []byte) error {
	var s scene
	if err := json.Unmarshal(input, &s); err != nil {
		return err
	}
	if unix.Gettid() != os.Getpid() {
		return fmt.Errorf("this is thread %d and not the main thread", unix.Gettid())
	}
	var err error
	if s.program, err = shared.ProgramInMemory(); err != nil {
		return err
	}
	list := attacks()
	if len(s.Rules.Connect) > 0 {
		list = connects()
	}
	results := outcome{}
	run := func(thread string) {
		for _, a := range list {
			if results[a.name] == nil {
				results[a.name] = map[string]string{}
			}
			results[a.name][thread] = shared.Errno(a.try(s))
		}
	}
	onThread := func(thread string, wait func()) (ready <-chan struct{}, done <-chan struct{}) {
		r, d := make(chan struct{}), make(chan struct{})
		go func() {
			runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
			close(r)
			wait()
			run(thread)
			close(d)
		}()
		return r, d
	}
	confined := make(chan struct{})
	ready, early := onThread("early", func() { <-confined })
	<-ready
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	turn := make(chan struct{})
	ready, blocked := onThread("blocked", func() {
		var b [1]byte
		for {
			if n, _ := unix.Read(pipe[0], b[:]); n == 1 {
				break
			}
		}
		<-turn
	})
	<-ready

	if !s.Off {
		if _, err := Apply(s.Rules); err != nil {
			return err
		}
	}
	close(confined)
	<-early
	if _, err := unix.Write(pipe[1], []byte{1}); err != nil {
		return err
	}
	close(turn)
	<-blocked
	_, late := onThread("late", func() {})
	<-late
	run("main")
	if err := say(results); err != nil {
		return err
	}
	// The test looks at the threads meanwhile.
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// newScene makes what attacks are made on.
func newScene(t *testing.T) scene {
	t.Helper()
	s := scene{Dir: t.TempDir()}
	if err := os.WriteFile(filepath.Join(s.Dir, "old"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(inTmp) })
	helper := start(t, "wait", true)
	s.Helper = helper.Process.Pid
	return s
}

// try runs the attacks in a child.
func try(t *testing.T, s scene) (outcome, *dialogue) {
	t.Helper()
	t.Chdir(s.Dir)
	d := start(t, "attack", s)
	var got outcome
	d.line(t, &got)
	return got, d
}

// check holds the attacks against what came of them, confined and not.
func check(t *testing.T, list []attack, on, off outcome) {
	t.Helper()
	const threads = 4
	for _, a := range list {
		if len(on[a.name]) != threads || len(off[a.name]) != threads {
			t.Errorf("%s: tried on %d and %d threads, not %d", a.name, len(on[a.name]), len(off[a.name]), threads)
		}
		for thread, got := range on[a.name] {
			if got != a.on {
				t.Errorf("%s, confined, on the %s thread: %q, want %s", a.name, thread, got, a.on)
			}
		}
		for thread, got := range off[a.name] {
			switch {
			case got == a.off && got != a.on:
			case a.elsewhere:
				t.Logf("shows nothing here: %s, not confined, on the %s thread: %q", a.name, thread, got)
			default:
				t.Errorf("%s, not confined, on the %s thread: %q, want %q: the attack is not real", a.name, thread, got, a.off)
			}
		}
	}
}

// needLandlock skips a test where the kernel has no Landlock of that version, unless everything is required.
func needLandlock(t *testing.T, abi int) {
	t.Helper()
	got, err := landlockABI()
	switch {
	case got >= abi:
	case os.Getenv("REQUIRE_ENGINE") != "":
		t.Fatalf("needs a kernel with Landlock ABI %d; it has %d, %v", abi, got, err)
	default:
		t.Skipf("NOT TESTED: needs a kernel with Landlock ABI %d; it has %d, %v", abi, got, err)
	}
}

func TestAttacks(t *testing.T) {
	needLandlock(t, 1)
	s := newScene(t)
	on, confined := try(t, s)
	threads(t, confined.Process.Pid)
	s.Off = true
	off, _ := try(t, s)
	check(t, attacks(), on, off)
	if _, err := os.Stat(filepath.Join(s.Dir, "new")); err != nil {
		t.Errorf("the attacks that were let through left no trace: %v", err)
	}
}

func TestAttacksByConnecting(t *testing.T) {
	needLandlock(t, 1)
	abi, err := landlockABI()
	if err != nil {
		t.Fatal(err)
	}
	list := slices.DeleteFunc(connects(), func(a attack) bool {
		if a.abi > abi {
			t.Logf("not looked at: %s: to refuse it takes Landlock ABI %d, and this kernel has %d", a.name, a.abi, abi)
		}
		return a.abi > abi
	})
	s := newScene(t)
	dir, other := shortDir(t), shortDir(t)
	for len(other) != len(dir) { // their names are random numbers
		other = shortDir(t)
	}
	s.Socket = filepath.Join(dir, "sock")
	s.Other = filepath.Join(other, "sock")
	s.Abstract = strings.Repeat("a", len(s.Socket))
	for _, address := range []string{s.Other, s.Socket + "x", s.Socket[:len(s.Socket)-1], "@" + s.Abstract} {
		l, err := net.Listen("unix", address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	s.Rules.Connect = []string{s.Socket}
	on, _ := try(t, s)
	s.Off = true
	off, _ := try(t, s)
	check(t, list, on, off)
}

// shortDir is a folder for sockets, whose paths are bounded, and one that others may enter.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "") //nolint:usetesting // its path is too long, and others may not enter it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// threads looks at every thread of a confined process from outside.
func threads(t *testing.T, pid int) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(tasks) < 3 {
		t.Fatalf("%d threads, %v", len(tasks), err)
	}
	for _, task := range tasks {
		status, err := os.ReadFile(task)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(status), "\n")
		for _, want := range []string{"NoNewPrivs:\t1", "Seccomp:\t2"} {
			if !slices.Contains(lines, want) {
				t.Errorf("%s has no line %q", task, want)
			}
		}
	}
}

// turnChild takes a connection to its TCP listener, and turns it into one to elsewhere.
func turnChild(input []byte) error {
	var s struct {
		Rules Rules
		Off   bool
		Port  int
	}
	if err := json.Unmarshal(input, &s); err != nil {
		return err
	}
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return err
	}
	defer client.Close()
	if !s.Off {
		if _, err := Apply(s.Rules); err != nil {
			return err
		}
	}
	conn, err := l.Accept()
	if err != nil {
		return fmt.Errorf("accept while confined: %w", err)
	}
	file, err := conn.(*net.TCPConn).File()
	if err != nil {
		return err
	}
	fd := int(file.Fd())
	// Both addresses are as long as those that the rules let through, if the network's fits.
	length := sizeofSockaddrIn
	if len(s.Rules.Connect) > 0 {
		length = len(s.Rules.Connect[0]) + unixAddressExtra
	}
	connect := func(address []byte, length int) string {
		return shared.Errno(shared.Raw(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&address[0])), uintptr(length)))
	}
	address := make([]byte, 128) // all zero: AF_UNSPEC, which disconnects
	disconnected := connect(address, length)
	address[0] = unix.AF_INET
	address[2], address[3] = byte(s.Port>>8), byte(s.Port)
	copy(address[4:], []byte{127, 0, 0, 1})
	return say([]string{disconnected, connect(address, max(length, sizeofSockaddrIn))})
}

// A program with a TCP listener must not be able to dial, though it has TCP sockets.
func TestAcceptedConnectionsCannotBeTurned(t *testing.T) {
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	port := target.Addr().(*net.TCPAddr).Port
	short := shortSocket(t)
	long := filepath.Join(shortDir(t), "a-longer-name")
	for _, tc := range []struct {
		name  string
		rules Rules
		off   bool
		want  []string // of disconnecting and connecting
	}{
		{"not confined", Rules{}, true, []string{"", ""}},
		{"connects to nothing", Rules{}, false, []string{"EPERM", "EPERM"}},
		{"connects to a short path", Rules{Connect: []string{short}}, false, []string{"", "EPERM"}},
		// Here the filter cannot tell; it is Landlock that refuses.
		{"connects to a long path", Rules{Connect: []string{long}}, false, []string{"", "EACCES"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if slices.Contains(tc.rules.Connect, long) {
				needLandlock(t, abiTCP) // below, Apply refuses: see TestLongSocketPathBesideNetworkSocket
			}
			needLandlock(t, 1)
			var got []string
			child(t, "turn", map[string]any{"Rules": tc.rules, "Off": tc.off, "Port": port}, &got)
			if !slices.Equal(got, tc.want) {
				t.Errorf("disconnect and connect: %q, want %q", got, tc.want)
			}
		})
	}
}

// shortSocket is a path with an address shorter than any that leads to a network.
func shortSocket(t *testing.T) string {
	t.Helper()
	for i := range 1000 {
		dir := fmt.Sprintf("/tmp/c%d", i)
		if os.Mkdir(dir, 0o700) == nil {
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
			return dir + "/s"
		}
	}
	t.Fatal("no short folder is free in /tmp")
	return ""
}

// longChild has a TCP listener of another kind than Landlock knows, and wants to connect to a long path.
func longChild(input []byte) error {
	var rules Rules
	if err := json.Unmarshal(input, &rules); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	report, err := Apply(rules)
	if err != nil {
		return say([]string{err.Error()})
	}
	return say(append([]string{""}, report.Gaps...))
}

func TestLongSocketPathBesideNetworkSocket(t *testing.T) {
	long := filepath.Join(shortDir(t), "a-longer-name")
	var got []string
	child(t, "long", Rules{Connect: []string{long}}, &got)
	if !strings.Contains(got[0], long) || !strings.Contains(got[0], "use a shorter path") {
		t.Errorf("got %q, want an error about %s", got, long)
	}
	child(t, "long", Rules{Connect: []string{long}, LandlockOptional: true}, &got)
	if got[0] != "" || !slices.Contains(got, "an accepted connection can be turned into one to the network") {
		t.Errorf("got %q, want no error and the gap", got)
	}
	child(t, "long", Rules{Connect: []string{shortSocket(t)}}, &got)
	if got[0] != "" {
		t.Errorf("a short path: %q", got[0])
	}
}

// foreignChild leaves the architecture that the filter knows.
func foreignChild(input []byte) error {
	off := bytes.Equal(input, []byte("true"))
	attack := foreignCall()
	if !off {
		if _, err := Apply(Rules{}); err != nil {
			return err
		}
	}
	attack()
	return nil
}

// waitChild waits until its input ends.
func waitChild(input []byte) error {
	if !bytes.Equal(input, []byte("true")) {
		if _, err := Apply(Rules{}); err != nil {
			return err
		}
	}
	if err := say("ready"); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// Another process of the same user, such as one that an engine's exec starts in the container, cannot look into
// a confined one.
func TestOthersCannotLookInside(t *testing.T) {
	for _, off := range []bool{true, false} {
		victim := self("wait", off)
		snoop := exec.Command("/proc/self/exe", "-test.run=^$")
		if os.Geteuid() == 0 {
			// Root may look anywhere.
			nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
			victim.SysProcAttr, snoop.SysProcAttr = nobody, nobody
		}
		victim.Path = readableSelf(t)
		snoop.Path = victim.Path
		in, err := victim.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := victim.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := victim.Start(); err != nil {
			t.Fatal(err)
		}
		var ready [8]byte
		if _, err := io.ReadFull(out, ready[:]); err != nil {
			t.Fatal(err)
		}
		snoop.Env = append(os.Environ(), childName+"=snoop", fmt.Sprintf("%s=%d", childInput, victim.Process.Pid))
		snoop.Stderr = os.Stderr
		got, err := snoop.Output()
		if err != nil {
			t.Fatal(err)
		}
		_ = in.Close()
		_ = victim.Wait()
		if want := map[bool]string{true: "\"\"\n", false: "\"EACCES\"\n"}[off]; string(got) != want {
			t.Errorf("reading the memory of a process, confined: %t: %s, want %s", !off, got, want)
		}
	}
}

// readableSelf is a copy of this program where every user can run it.
func readableSelf(t *testing.T) string {
	t.Helper()
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	dir := shortDir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "program")
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// snoopChild opens the memory of the process whose number it gets.
func snoopChild(input []byte) error {
	return say(shared.Errno(open(fmt.Sprintf("/proc/%s/mem", input), unix.O_RDONLY)))
}
