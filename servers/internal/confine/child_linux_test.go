//go:build linux && (amd64 || arm64)

package confine

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"testing"

	shared "github.com/bulkhead-mcp/bulkhead/servers/e2e/attack"
)

// A process can be confined but once, so that each case is a child: the test binary runs itself.
const (
	childName  = "CONFINE_TEST_CHILD"
	childInput = "CONFINE_TEST_INPUT"
)

// The goroutine of TestMain stays on the main thread, since a child wants to see what holds there.
var _ = func() bool { runtime.LockOSThread(); return true }()

func TestMain(m *testing.M) {
	children := map[string]func(input []byte) error{
		"attack":  attackChild,
		"crash":   crashChild,
		"foreign": foreignChild,
		"long":    longChild,
		"apply":   applyChild,
		"serve":   serveChild,
		"snoop":   snoopChild,
		"turn":    turnChild,
		"wait":    waitChild,
		"shorn":   shornChild,
		"reasons": reasonsChild,
	}
	if os.Getenv(shared.Nothing) != "" {
		os.Exit(0) // an attack runs this program, to see whether it can
	}
	name := os.Getenv(childName)
	if name == "" {
		os.Exit(m.Run())
	}
	child := children[name]
	if child == nil {
		fmt.Fprintln(os.Stderr, "no child", name)
		os.Exit(2)
	}
	if err := child([]byte(os.Getenv(childInput))); err != nil {
		fmt.Fprintln(os.Stderr, name+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// self is the command that runs a child.
func self(name string, input any) *exec.Cmd {
	encoded, err := json.Marshal(input)
	if err != nil {
		panic(err)
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	cmd.Env = append(os.Environ(), childName+"="+name, childInput+"="+string(encoded))
	cmd.Stderr = os.Stderr
	return cmd
}

// child runs a child to its end and decodes what it printed.
func child(t *testing.T, name string, input, output any) {
	t.Helper()
	cmd := self(name, input)
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if output == nil {
		return
	}
	if err := json.Unmarshal(stdout.Bytes(), output); err != nil {
		t.Fatalf("%s printed %q: %v", name, stdout.Bytes(), err)
	}
}

// dialogue is a child that is spoken to by lines.
type dialogue struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func start(t *testing.T, name string, input any) *dialogue {
	t.Helper()
	d := &dialogue{Cmd: self(name, input)}
	stdin, err := d.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := d.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.in, d.out = stdin, bufio.NewReader(stdout)
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = d.in.Close()
		_ = d.Process.Kill()
		_ = d.Wait()
	})
	return d
}

// line reads one line of JSON.
func (d *dialogue) line(t *testing.T, output any) {
	t.Helper()
	line, err := d.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("the child said %q: %v", line, err)
	}
	if err := json.Unmarshal(line, output); err != nil {
		t.Fatalf("the child said %q: %v", line, err)
	}
}

func say(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }
