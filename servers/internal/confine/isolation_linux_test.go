//go:build linux && (amd64 || arm64)

package confine

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// proc makes a folder like /proc/self, with a thread for each status, and these mounts.
func proc(t *testing.T, mounts string, statuses ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mountinfo"), []byte(mounts), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, status := range statuses {
		thread := filepath.Join(dir, "task", fmt.Sprint(100+i))
		if err := os.MkdirAll(thread, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(thread, "status"), []byte(status), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func status(uids, inheritable, permitted, effective, ambient string) string {
	return fmt.Sprintf("Name:\tserver\nUid:\t%s\nCapInh:\t%s\nCapPrm:\t%s\nCapEff:\t%s\nCapBnd:\t00000000a80425fb\nCapAmb:\t%s\n",
		uids, inheritable, permitted, effective, ambient)
}

func TestUnisolated(t *testing.T) {
	const user, none = "65532\t65532\t65532\t65532", "0000000000000000"
	clean := status(user, none, none, none, none)
	for _, tc := range []struct {
		name     string
		statuses []string
		want     []string // in each reason, in order
	}{
		{"plain docker run as a user of its own", []string{clean, clean}, nil},
		{"uid 0", []string{status("0\t0\t0\t0", none, none, none, none)}, []string{"uid 0"}},
		{"uid 0 to come back to", []string{status("65532\t65532\t0\t65532", none, none, none, none)}, []string{"uid 0"}},
		{"effective", []string{status(user, none, none, "0000000000000400", none)}, []string{"effective set has the capabilities NET_BIND_SERVICE:"}},
		{"permitted", []string{status(user, none, "0000000000200000", none, none)}, []string{"permitted set has the capabilities SYS_ADMIN:"}},
		{"inheritable", []string{status(user, "0000010000000001", none, none, none)}, []string{"inheritable set has the capabilities CHOWN, CHECKPOINT_RESTORE:"}},
		{"ambient", []string{status(user, none, none, none, "000001ffffffffff")}, []string{"ambient set has the capabilities CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH and 38 more:"}},
		{"one of later", []string{status(user, none, none, none, "8000000000000000")}, []string{"capabilities 63:"}},
		{"another thread", []string{clean, status(user, none, none, "0000000000000001", none)}, []string{"effective set has the capabilities CHOWN:"}},
		{"on all threads", []string{status("0\t0\t0\t0", none, none, none, none), status("0\t0\t0\t0", none, none, none, none)}, []string{"uid 0"}},
		{"nothing to be read", []string{"Name:\tx\n"}, []string{"cannot be seen"}},
		{"no number", []string{strings.Replace(clean, "CapEff:\t"+none, "CapEff:\t-", 1)}, []string{"CapEff"}},
		{"no threads", nil, []string{"cannot be seen"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wantReasons(t, host{proc: proc(t, "", tc.statuses...)}.unisolated(), tc.want...)
		})
	}
}

func wantReasons(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d reasons, want %d: %q", len(got), len(want), got)
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("%q does not say %q", got[i], want[i])
		}
		if !strings.Contains(got[i], "cannot be seen") && !strings.Contains(got[i], ": run it") && !strings.Contains(got[i], ": do not mount it") {
			t.Errorf("%q does not say what to do", got[i])
		}
	}
}

func TestEngineSockets(t *testing.T) {
	dir := shortDir(t)
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"docker.sock", "elsewhere.sock", "with space"} {
		l, err := net.Listen("unix", path(name))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	if err := os.Symlink("docker.sock", path("again.sock")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path("file.sock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path("folder.sock"), 0o700); err != nil {
		t.Fatal(err)
	}
	sockets := []string{path("no.sock"), path("file.sock"), path("folder.sock"), path("docker.sock"), path("again.sock")}
	wantReasons(t, host{proc: proc(t, ""), sockets: sockets}.engines(), path("docker.sock"))

	// Mounted to where nobody would look.
	mounts := "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" +
		"30 22 0:21 /docker.sock " + path("elsewhere.sock") + " rw - tmpfs tmpfs rw\n" +
		"31 22 0:21 /deep/docker.sock " + strings.ReplaceAll(path("with space"), " ", `\040`) + " rw - tmpfs tmpfs rw\n" +
		"32 22 0:21 /other.sock " + path("docker.sock") + " rw - tmpfs tmpfs rw\nshort line\n"
	wantReasons(t, host{proc: proc(t, mounts), sockets: []string{"/nonexistent/docker.sock"}}.engines(), path("elsewhere.sock"), path("with space"))
}

// reasonsChild says why it must not serve, if these are the engines' sockets.
func reasonsChild(input []byte) error {
	var sockets []string
	if err := json.Unmarshal(input, &sockets); err != nil {
		return err
	}
	return say(host{proc: "/proc/self", sockets: sockets}.unisolated())
}

func TestUnisolatedHere(t *testing.T) {
	if got := strings.Join(Unisolated(), "\n"); strings.Contains(got, "uid 0") != (os.Geteuid() == 0) {
		t.Errorf("uid %d: %q", os.Geteuid(), got)
	}
	// The tests may run as anybody; the child is nobody special.
	dir := shortDir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var sockets []string
	for name, mode := range map[string]os.FileMode{"open.sock": 0o666, "shut.sock": 0} {
		path := filepath.Join(dir, name)
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		sockets = append(sockets, path)
	}
	user := self("reasons", sockets)
	if os.Geteuid() == 0 {
		user.Path = readableSelf(t)
		user.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
	}
	out, err := user.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	wantReasons(t, got, filepath.Join(dir, "open.sock"))
}
