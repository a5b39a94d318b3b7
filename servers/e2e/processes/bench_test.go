// Package processes starts the binaries of the bundle as plain processes, without an engine, to see how fast they
// start and how much memory they take: make bench.
package processes

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/audit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/listen"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpclient"
)

const (
	root     = "../../.."
	starts   = 21                     // of each binary; the median counts
	patience = 20 * time.Second       // for a first answer
	retry    = 200 * time.Microsecond // between two attempts at one
	idleFor  = 3 * time.Second        // before memory is read
	uid      = 65532                  // of the images: no process serves as root, should root run this
	token    = "a-token-of-this-benchmark"
)

const policy = `version: 1
agents:
  bench:
    identity: {token: bench}
    allow: [{tool: "dockerhub_*"}, {tool: "registry_*"}, {tool: "kubernetes_*"}, {tool: "logs_*"}, {tool: "terraform_*"}]
`

// part is one binary of the bundle, and what it has answered when it has started.
type part struct {
	name string
	args string
	ask  func(context.Context) error
}

// bundle is every part, in the order of who needs whom. DIR is a folder whose paths are short enough for door.
func bundle(dir string) []part {
	unix := func(name string) listen.Address {
		return listen.Address{Network: listen.Unix, Path: filepath.Join(dir, name)}
	}
	health := func(name string) func(context.Context) error {
		return func(ctx context.Context) error { return listen.CheckHealth(ctx, unix(name)) }
	}
	return []part{
		{"egress", "--policy DIR/egress.yaml --sockets DIR/c --health unix://DIR/e", health("e")},
		{"dockerhub", "--listen unix://DIR/d --egress unix://DIR/c/dockerhub/s", listsTools(unix("d"), "get_tag")},
		{"registry", "--listen unix://DIR/r --egress unix://DIR/c/registry/s --workspace DIR/workspace", listsTools(unix("r"), "check_updates")},
		{"kubernetes", "--listen unix://DIR/k --workspace DIR/workspace", listsTools(unix("k"), "check_pod_security")},
		{"terraform", "--listen unix://DIR/t --workspace DIR/workspace", listsTools(unix("t"), "check_config")},
		{"logs", "--listen unix://DIR/l", listsTools(unix("l"), "fetch_logs")},
		{"gateway", "--listen unix://DIR/g --tokens DIR/tokens --policy DIR/policy.yaml --lock DIR/lock.json --audit DIR/audit --audit-key DIR/keys/" + audit.SignerFile + " " +
			"--upstream dockerhub=unix://DIR/d --upstream registry=unix://DIR/r --upstream kubernetes=unix://DIR/k --upstream logs=unix://DIR/l --upstream terraform=unix://DIR/t",
			listsTools(unix("g"), "dockerhub_get_tag", "registry_check_updates", "kubernetes_check_pod_security", "logs_fetch_logs", "terraform_check_config")},
		{"door", "--listen tcp://127.0.0.1:0 --to unix://DIR/g --health unix://DIR/h", health("h")},
	}
}

// listsTools asks for the tools, once, and is satisfied if those named are among them.
func listsTools(at listen.Address, names ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return listen.Dial(ctx, at) }}
		defer transport.CloseIdleConnections()
		client := mcpclient.Client{HTTP: &http.Client{Transport: transport}, URL: "http://localhost/mcp", Token: token}
		tools, err := client.ListTools(ctx)
		if err != nil {
			return err
		}
		for _, name := range names {
			if !slices.ContainsFunc(tools, func(tool json.RawMessage) bool { return bytes.Contains(tool, []byte(`"`+name+`"`)) }) {
				return fmt.Errorf("%s lists no tool %s", at, name)
			}
		}
		return nil
	}
}

// BenchmarkProcesses prints for every binary the time from its start to its first answer (to tools/list, where it has
// tools), and the resident memory of all at rest.
func BenchmarkProcesses(b *testing.B) {
	dir := prepare(b)
	var all float64
	for _, p := range bundle(dir) {
		binary := filepath.Join(dir, "bin", p.name)
		var times []time.Duration
		var process *os.Process
		for i := range starts {
			if i > 0 {
				stop(b, process)
			}
			var took time.Duration
			process, took = start(b, binary, strings.Fields(strings.ReplaceAll(p.args, "DIR", dir)), p.ask)
			times = append(times, took)
		}
		b.Cleanup(func() { stop(b, process) })
		time.Sleep(idleFor)
		memory := resident(b, process.Pid)
		all += memory
		slices.Sort(times)
		b.Logf("%-10s %5.1f ms from start to first answer (median of %d; slowest %5.1f); %5.1f MB resident at rest",
			p.name, ms(times[starts/2]), starts, ms(times[starts-1]), memory/1e6)
	}
	b.Logf("%-10s %5.1f MB resident at rest, counting what binaries and kernel pages share each time", "all", all/1e6)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// prepare builds the binaries as the images have them, and the files that they need.
func prepare(b *testing.B) string {
	b.Helper()
	dir := folder(b, "c/dockerhub", "c/registry", "c/agent", "workspace", "tokens", "audit", "keys", "bin")
	must(b, audit.GenerateKey(filepath.Join(dir, "keys"), "example.com/bench"))
	hash := sha256.Sum256([]byte(token))
	files := map[string][]byte{"policy.yaml": []byte(policy), "tokens/bench.sha256": []byte(hex.EncodeToString(hash[:]) + "\n")}
	for name, from := range map[string]string{"lock.json": "agents/tools.lock.json", "egress.yaml": "servers/egress/policy.yaml"} {
		content, err := os.ReadFile(filepath.Join(root, from))
		must(b, err)
		files[name] = content
	}
	for name, content := range files {
		must(b, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	for _, p := range bundle(dir) {
		build(b, dir, p.name)
	}
	handOver(b, dir)
	return dir
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// folder makes a folder with a short path, and folders in it.
func folder(b *testing.B, within ...string) string {
	b.Helper()
	dir := fmt.Sprintf("/tmp/b%04d", rand.IntN(10000))
	must(b, os.Mkdir(dir, 0o700))
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	for _, name := range within {
		must(b, os.MkdirAll(filepath.Join(dir, name), 0o700))
	}
	return dir
}

// build puts a binary into the folder bin of dir, as its image has it.
func build(b *testing.B, dir, name string) {
	b.Helper()
	build := exec.CommandContext(b.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(dir, "bin", name), "./servers/"+name)
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
}

// handOver gives dir to the uid of the images.
func handOver(b *testing.B, dir string) {
	b.Helper()
	if os.Getuid() != 0 {
		return
	}
	must(b, filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, uid, uid)
	}))
}

// command is a process that outlives the benchmark's context, as the uid of the images should root run this.
func command(b *testing.B, binary string, args ...string) *exec.Cmd {
	b.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(b.Context()), binary, args...)
	// One bundle of certificate authorities, as in the images, and no folder with each of them again.
	cmd.Env = append(os.Environ(), "SSL_CERT_DIR=/nonexistent")
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	}
	return cmd
}

// start runs binary until ask has its answer, and returns how long that took.
func start(b *testing.B, binary string, args []string, ask func(context.Context) error) (*os.Process, time.Duration) {
	b.Helper()
	var log bytes.Buffer
	cmd := command(b, binary, args...)
	cmd.Stderr = &log
	began := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	for {
		err := ask(b.Context())
		took := time.Since(began)
		if err == nil {
			return cmd.Process, took
		}
		if took > patience {
			stop(b, cmd.Process)
			b.Fatalf("%s does not answer: %v\n%s", filepath.Base(binary), err, &log)
		}
		time.Sleep(retry)
	}
}

func stop(b *testing.B, process *os.Process) {
	b.Helper()
	_ = process.Signal(syscall.SIGTERM)
	if _, err := process.Wait(); err != nil {
		b.Error(err)
	}
}

// resident is the memory of a process, in bytes: VmRSS of proc_pid_status(5).
func resident(b *testing.B, pid int) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	var kib float64
	if _, err := fmt.Sscanf(rest, "%f kB", &kib); err != nil {
		b.Fatal(err)
	}
	return kib * 1024
}
