package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/audit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpclient"
)

const (
	gatewayBinary = "/ko-app/gateway"
	kills         = 5  // of the running gateway; servers/internal/audit kills fifty times what only writes the log
	callers       = 8  // that call meanwhile
	fullVolume    = 96 // KiB of a volume that is soon full
	roomyVolume   = 4096
)

// audit runs gateway audit in the gateway's container.
func (b *bundle) audit(t *testing.T, args ...string) string {
	t.Helper()
	return b.docker(t, append([]string{"compose", "exec", "-T", "gateway", gatewayBinary, "audit"}, args...)...)
}

func (b *bundle) container(t *testing.T, service string) string {
	t.Helper()
	return strings.TrimSpace(b.docker(t, "compose", "ps", "--all", "--quiet", service))
}

func (b *bundle) pid(t *testing.T, container string) string {
	t.Helper()
	return strings.TrimSpace(b.docker(t, "inspect", "--format", "{{.State.Pid}}", container))
}

// checkPods calls the tool that needs no network.
func checkPods(ctx context.Context, client *mcpclient.Client) (mcpclient.CallResult, error) {
	return client.CallTool(ctx, "kubernetes_check_pod_security", json.RawMessage(`{"path":"deployment.yaml"}`), nil)
}

// A gateway that is killed while it is called has lost no record of a call that it answered, and a checkpoint that was
// kept outside before still holds.
func TestGatewayKilled(t *testing.T) {
	b := theBundle
	client := b.as(t, "incessant")
	if _, err := checkPods(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var answered []string
	for range kills {
		ctx, stop := context.WithCancel(t.Context())
		var group sync.WaitGroup
		for range callers {
			group.Go(func() {
				for ctx.Err() == nil {
					result, err := checkPods(ctx, client)
					if err != nil {
						return // it was killed
					}
					mu.Lock()
					answered = append(answered, result.Call)
					mu.Unlock()
				}
			})
		}
		time.Sleep(300 * time.Millisecond)
		b.docker(t, "kill", "--signal", "KILL", b.container(t, "gateway"))
		stop()
		group.Wait()
		b.docker(t, "compose", "up", "--detach", "--wait", "--wait-timeout", "60", "--no-recreate")
	}
	if len(answered) < kills*callers {
		t.Fatalf("%d calls were answered: too few to show anything", len(answered))
	}
	b.audit(t, append([]string{"show"}, answered...)...) // it fails if one is missing
	if out := b.audit(t, "verify"); !strings.Contains(out, "Nothing was changed") {
		t.Error(out)
	}
	t.Logf("killed %d times, %d calls answered, none lost", kills, len(answered))
}

// Who edits the volume is found out, and the record is named.
func TestAuditTampered(t *testing.T) {
	b := theBundle
	result, err := checkPods(t.Context(), b.as(t, "policy-gate"))
	if err != nil {
		t.Fatal(err)
	}
	record := b.record(t, result.Call)
	b.docker(t, "compose", "stop", "gateway") // what is left is signed
	dir, keys := b.auditFolders(t)
	verify := func() (audit.Report, string) {
		var report audit.Report
		c := exec.CommandContext(t.Context(), "docker", "run", "--rm", "--network", "none", "--volume", dir+":"+"/var/lib/bulkhead:ro", "--volume", keys+":/keys:ro",
			b.image(t, "gateway"), "audit", "verify", "--format", "json")
		var stderr bytes.Buffer
		c.Stderr = &stderr
		out, _ := c.Output() // it fails where something is found
		if err := json.Unmarshal(out, &report); err != nil {
			t.Fatalf("%v in %s%s", err, out, &stderr)
		}
		return report, stderr.String()
	}
	if report, text := verify(); len(report.Findings) > 0 || report.Uncovered > 0 || report.Last < record.Seq {
		t.Errorf("%+v %s", report, text)
	}
	segments, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil || len(segments) == 0 {
		t.Fatal(segments, err)
	}
	path := segments[len(segments)-1]
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(whole, []byte(result.Call))
	at += bytes.Index(whole[at:], []byte(`"principal":"policy-gate"`)) + len(`"principal":"`)
	edited := bytes.Clone(whole)
	edited[at] = 'b'
	if err := os.WriteFile(path, edited, 0o600); err != nil {
		t.Fatal(err)
	}
	if report, text := verify(); len(report.Findings) != 1 || report.Findings[0].From != record.Seq {
		t.Errorf("%+v %s", report, text)
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	b.docker(t, "compose", "up", "--detach", "--wait", "--wait-timeout", "60", "--no-recreate")
}

// auditFolders are the volume of the log and the folder of its keys, as the engine's machine sees them.
func (b *bundle) auditFolders(t *testing.T) (dir, keys string) {
	t.Helper()
	var found []inspected
	if err := json.Unmarshal([]byte(b.docker(t, "inspect", b.container(t, "gateway"))), &found); err != nil {
		t.Fatal(err)
	}
	for _, mount := range found[0].Mounts {
		switch mount.Destination {
		case "/var/lib/bulkhead":
			dir = mount.Source
		case "/keys":
			keys = mount.Source
		}
	}
	if dir == "" || keys == "" {
		t.Fatalf("mounts %+v", found[0].Mounts)
	}
	return dir, keys
}

// While its volume is full the gateway answers nobody and is unhealthy. When there is room again it goes on, and its
// log says how many calls failed without a record.
func TestAuditVolumeFull(t *testing.T) {
	b := theBundle
	if os.Geteuid() != 0 {
		unable(t, "root is needed to give a volume more room")
	}
	port, err := freePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	volume := strings.TrimSpace(b.docker(t, "volume", "create", "--opt", "type=tmpfs", "--opt", "device=tmpfs",
		"--opt", fmt.Sprintf("o=size=%dk,uid=65532,gid=65532,mode=0700", fullVolume)))
	t.Cleanup(func() {
		_ = exec.CommandContext(context.WithoutCancel(t.Context()), "docker", "volume", "rm", volume).Run()
	})
	id := strings.TrimSpace(b.docker(t, "run", "--detach", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
		"--volume", volume+":/var/lib/bulkhead", "--publish", "127.0.0.1:"+port+":4000",
		"--volume", b.path("secrets/tokens")+":/tokens:ro", "--volume", b.path("secrets/audit")+":/keys:ro",
		"--volume", b.path("policy.yaml")+":/policy.yaml:ro", "--volume", filepath.Join(b.root, "agents/tools.lock.json")+":/tools.lock.json:ro",
		b.image(t, "gateway"), "--tokens=/tokens", "--policy=/policy.yaml", "--lock=/tools.lock.json"))
	t.Cleanup(func() {
		_ = exec.CommandContext(context.WithoutCancel(t.Context()), "docker", "rm", "--force", id).Run()
	})
	client := *b.as(t, "incessant")
	client.URL = "http://127.0.0.1:" + port + "/mcp"
	healthy := func() bool {
		return exec.CommandContext(t.Context(), "docker", "exec", id, gatewayBinary, "health").Run() == nil
	}
	eventually(t, "it starts", healthy)

	var refusal error
	for range 2000 {
		if _, refusal = client.ListTools(t.Context()); refusal != nil {
			break
		}
	}
	if refusal == nil || !strings.Contains(refusal.Error(), "audit log cannot be written") {
		t.Fatalf("with a full volume: %v", refusal)
	}
	if healthy() {
		t.Error("healthy, and yet its volume is full")
	}
	mounted := strings.TrimSpace(b.docker(t, "volume", "inspect", "--format", "{{.Mountpoint}}", volume))
	if err := syscall.Mount("tmpfs", mounted, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%dk", roomyVolume)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it goes on", func() bool { _, err := client.ListTools(t.Context()); return err == nil })
	if !healthy() {
		t.Error("not healthy, and yet it goes on")
	}
	out := b.docker(t, "exec", id, gatewayBinary, "audit", "export")
	if !strings.Contains(out, `"event":"resumed"`) {
		t.Errorf("no record says that calls failed without one: %s", out)
	}
	if out := b.docker(t, "exec", id, gatewayBinary, "audit", "verify"); !strings.Contains(out, "Nothing was changed") {
		t.Error(out)
	}
}

// unable skips a test for want of something, unless everything is required.
func unable(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("REQUIRE_ENGINE") != "" {
		t.Fatal(why)
	}
	t.Skip("NOT TESTED: " + why)
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for range 300 {
		if holds() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("never: " + what)
}

// The sync of a call's record has returned before the first byte of its answer is written: strace watches the running
// gateway's system calls.
func TestSyncedBeforeAnswered(t *testing.T) {
	b := theBundle
	strace, err := exec.LookPath("strace")
	if err != nil {
		unable(t, "strace is needed to see that records are synced before answers leave")
	}
	trace := filepath.Join(t.TempDir(), "trace")
	watch := exec.CommandContext(t.Context(), strace, "-f", "-y", "-s", "4096", "-o", trace, "-e", "trace=write,writev,pwrite64,fsync,fdatasync",
		"-p", b.pid(t, b.container(t, "gateway")))
	said, err := watch.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	stop := sync.OnceFunc(func() {
		_ = watch.Process.Signal(syscall.SIGINT) // it detaches, and the gateway goes on
		_ = watch.Wait()
	})
	defer stop()
	// It says so when it watches all threads; before, it may miss the half of a call.
	if first, err := bufio.NewReader(said).ReadString('\n'); err != nil || !strings.Contains(first, " attached") {
		t.Fatalf("strace: %s, %v", first, err)
	}
	client := b.as(t, "incessant")
	var calls []string
	eventually(t, "strace sees a call", func() bool {
		result, err := checkPods(t.Context(), client)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(trace)
		if err != nil {
			return false
		}
		if bytes.Contains(text, []byte(result.Call)) {
			calls = append(calls, result.Call)
		}
		return len(calls) == 5
	})
	stop()
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	for _, call := range calls {
		if err := syncedBeforeAnswered(string(text), call); err != nil {
			t.Errorf("%s: %v", call, err)
		}
	}
}

// syncedBeforeAnswered reads a trace: the call's record is written to a segment, a sync of that descriptor begins and
// returns 0, and only then is anything with the call's id written to a socket.
func syncedBeforeAnswered(trace, call string) error {
	line := regexp.MustCompile(`^(\d+) +(?:<\.\.\. )?(\w+)(?: resumed>|\((\d+)<([^>]*)>)`)
	var descriptor string
	syncing := map[string]bool{} // by thread
	written, synced := false, false
	for l := range strings.Lines(trace) {
		m := line.FindStringSubmatch(l)
		if m == nil {
			continue
		}
		thread, name, number, path := m[1], m[2], m[3], m[4]
		switch {
		case name == "pwrite64" && strings.HasSuffix(path, ".jsonl") && strings.Contains(l, call):
			descriptor, written = number, true
		case name == "fdatasync" && number != "" && written && number == descriptor:
			syncing[thread] = true
			synced = synced || strings.HasSuffix(strings.TrimSpace(l), "= 0")
		case name == "fdatasync" && number == "" && syncing[thread]:
			synced = synced || strings.HasSuffix(strings.TrimSpace(l), "= 0")
		case name == "write" && number != "" && strings.HasPrefix(path, "socket:") && strings.Contains(l, `"HTTP/1.1 200`) && strings.Contains(l, call):
			if !synced {
				return fmt.Errorf("answered on descriptor %s before its record was synced (written: %s)", number, strconv.FormatBool(written))
			}
			return nil
		}
	}
	return fmt.Errorf("no answer in the trace")
}
