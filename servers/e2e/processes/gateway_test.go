package processes

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mark3labs/mcp-go/client"
	"github.com/mark3labs/mcp-go/client/transport"
	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/audit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/listen"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpclient"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

const (
	rounds    = 5 // of each contender, call and number of clients; they are interleaved, and the best counts
	roundTime = time.Second
	agents    = 8 // that clients speak for, since one may have 16 calls at once
	syncs     = 200
	allowance = 200 * time.Microsecond // beside the direct call, another hop and a sync

	roleVariable = "BULKHEAD_BENCH_ROLE" // makes a child of this test binary
	dirVariable  = "BULKHEAD_BENCH_DIR"
)

// workload is a call that all contenders make.
type workload struct {
	name   string
	server string
	tool   string
	args   any
	when   string // condition of the policy's entry
	answer string // stands in what comes back
}

// workloads are the least that a server can do, which leaves the cost of the way, and two calls of the bundle's own
// servers over its own examples.
var workloads = []workload{
	{"a tool that does nothing", "nothing", "ask", asked, `args.text.startsWith("hello") && args.tags.all(t, t in ["web", "errors", "slow"])`, "[redacted:"},
	{"kubernetes check_pod_security", "kubernetes", "check_pod_security", map[string]any{"path": "kubernetes/shop-web.yaml", "level": "restricted"}, "has(args.path)", `"verdict":"fail"`},
	{"logs fetch_logs", "logs", "fetch_logs", map[string]any{"source": "local", "contains": "database", "limit": 20}, `args.source == "local"`, "[redacted:"},
}

type askIn struct {
	Text string   `json:"text" maxLength:"256"`
	Tags []string `json:"tags,omitempty" maxItems:"8" maxLength:"32"`
}

type askOut struct {
	Answer string   `json:"answer"`
	Lines  []string `json:"lines"`
}

// asked is what the first workload sends, and logLines are what comes back but for the secret: a few lines of a log with one in it.
var (
	asked    = askIn{Text: "hello, what do the logs of web say?", Tags: []string{"web", "errors"}}
	logLines = []string{
		"2026-11-22T13:40:00Z GET /health 200 1ms", "2026-11-22T13:40:01Z GET /orders 500 31ms",
		"2026-11-22T13:40:01Z connecting with password=" + strings.Repeat("s3cret", 4), "2026-11-22T13:40:02Z retry in 5s",
	}
)

// askServer has the tool that does nothing.
func askServer() mcpserver.Program {
	return mcpserver.Program{Name: "nothing", Title: "nothing", Tools: func(mcpserver.Env) ([]mcpserver.Tool, error) {
		return []mcpserver.Tool{mcpserver.Typed(mcpserver.Definition{Name: "ask", Description: "Answers with the lines of a log."},
			func(_ context.Context, in askIn) (askOut, error) {
				return askOut{Answer: in.Text, Lines: logLines}, nil
			})}, nil
	}}
}

// TestRole is no test: it is a child of the benchmark.
func TestRole(t *testing.T) {
	dir := os.Getenv(dirVariable)
	switch os.Getenv(roleVariable) {
	case "server":
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, _ = io.Copy(io.Discard, os.Stdin); cancel() }()
		askServer().Run(ctx, []string{"serve", "--listen", "unix://" + dir + "/nothing", "--log-level", "warn"}, os.Stdin, os.Stderr, os.Stderr)
	case "proxy":
		serveHTTP(t, dir+"/proxy", bareProxy(t, dir))
	case "hop":
		answer := []byte(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"result":{"structuredContent":{"lines":%[1]q},"content":[{"type":"text","text":%[1]q}]}}`, strings.Join(logLines, "")))
		serveHTTP(t, dir+"/hop", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(answer)
		}))
	default:
		t.Skip("only as a child of BenchmarkGateway")
	}
}

func serveHTTP(t *testing.T, path string, handler http.Handler) {
	l, err := listen.Listen(t.Context(), listen.Address{Network: listen.Unix, Path: path})
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); _ = l.Close() }()
	_ = (&http.Server{Handler: handler}).Serve(l)
}

// bareProxy is what a gateway is with mcp-go alone: its client of each server behind its server, and nothing decided or
// recorded.
func bareProxy(t *testing.T, dir string) http.Handler {
	proxy := server.NewMCPServer("proxy", "1", server.WithToolCapabilities(false))
	for _, w := range workloads {
		way, err := transport.NewStreamableHTTP("http://localhost/mcp", transport.WithHTTPBasicClient(&http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, w.server))
			},
			MaxIdleConnsPerHost: 64, // as many as there are clients, rather than http's two
		}}))
		if err != nil {
			t.Fatal(err)
		}
		upstream := client.NewClient(way)
		var start mcp.InitializeRequest
		start.Params.ProtocolVersion = mcp.LATEST_PROTOCOL_VERSION
		start.Params.ClientInfo = mcp.Implementation{Name: "proxy", Version: "1"}
		if _, err := upstream.Initialize(t.Context(), start); err != nil {
			t.Fatal(err)
		}
		list, err := upstream.ListTools(t.Context(), mcp.ListToolsRequest{})
		if err != nil {
			t.Fatal(err)
		}
		for _, tool := range list.Tools {
			name := tool.Name
			tool.Name = w.server + "_" + name
			proxy.AddTool(tool, func(ctx context.Context, in mcp.CallToolRequest) (*mcp.CallToolResult, error) {
				var out mcp.CallToolRequest
				out.Params.Name, out.Params.Arguments = name, in.Params.Arguments
				out.Params.Meta = &mcp.Meta{AdditionalFields: map[string]any{}}
				if in.Params.Meta != nil { // who calls, since the server allows one caller 16 calls at once
					out.Params.Meta.AdditionalFields[mcpclient.MetaPrincipal] = in.Params.Meta.AdditionalFields[mcpclient.MetaPrincipal]
				}
				return upstream.CallTool(ctx, out)
			})
		}
	}
	return server.NewStreamableHTTPServer(proxy, server.WithStateLess(true), server.WithDisableStreaming(true))
}

// contender is one way to a tool.
type contender struct {
	name   string
	socket string
	tool   string
	pid    int
	tokens bool // it wants to know who calls; the others are told
	canned bool // it gives an answer of its own, with the secret
}

// pace is what a contender did with one number of clients.
type pace struct {
	rate float64 // calls a second
	p50  time.Duration
	cpu  time.Duration // of the contender's own process, for each call
}

const (
	hopName     = "one hop of net/http"
	directName  = "direct"
	proxyName   = "bare mcp-go proxy"
	gatewayName = "gateway"
)

// BenchmarkGateway prints, from one run, what a call through the gateway costs, with everything on (a condition,
// redaction, a synced audit log), beside the direct call to the same server and beside a bare proxy: make bench-gateway.
// Each is a process of its own.
func BenchmarkGateway(b *testing.B) {
	b.Setenv("GOGC", "400") // as compose.yaml gives the gateway, and here to everybody
	b.Setenv("GOMEMLIMIT", "192MiB")
	dir := folder(b, "tokens", "audit", "keys", "bin")
	must(b, audit.GenerateKey(filepath.Join(dir, "keys"), "example.com/bench"))
	for _, name := range []string{"gateway", "kubernetes", "logs"} {
		build(b, dir, name)
	}
	writeGatewayFiles(b, dir)
	self, err := os.ReadFile(os.Args[0])
	must(b, err)
	must(b, os.WriteFile(filepath.Join(dir, "bin/role"), self, 0o700)) // where another uid may run it
	handOver(b, dir)
	run := func(name, args string, ask func(context.Context) error) int {
		process, _ := start(b, filepath.Join(dir, "bin", name), strings.Fields(strings.ReplaceAll(args, "DIR", dir)), ask)
		b.Cleanup(func() { stop(b, process) })
		return process.Pid
	}
	served := map[string]int{
		"nothing":    startRole(b, dir, "server", "nothing"),
		"kubernetes": run("kubernetes", "--log-level warn --listen unix://DIR/kubernetes --workspace DIR/workspace", listsTools(unixAddress(dir, "kubernetes"), "check_pod_security")),
		"logs":       run("logs", "--log-level warn --listen unix://DIR/logs --sources DIR/sources.yaml", listsTools(unixAddress(dir, "logs"), "fetch_logs")),
	}
	hop, proxy := startRole(b, dir, "hop", "hop"), startRole(b, dir, "proxy", "proxy")
	gateway := run("gateway", "--listen unix://DIR/gateway --tokens DIR/tokens "+
		"--policy DIR/policy.yaml --lock DIR/lock.json --audit DIR/audit --audit-key DIR/keys/"+audit.SignerFile+" --metrics unix://DIR/metrics"+
		" --upstream nothing=unix://DIR/nothing --upstream kubernetes=unix://DIR/kubernetes --upstream logs=unix://DIR/logs",
		listsTools(unixAddress(dir, "gateway"), "nothing_ask", "kubernetes_check_pod_security", "logs_fetch_logs"))

	sync := medianSync(b, filepath.Join(dir, "audit"))
	for _, w := range workloads {
		contenders := []contender{
			{name: directName, socket: w.server, tool: w.tool, pid: served[w.server]},
			{name: proxyName, socket: "proxy", tool: w.server + "_" + w.tool, pid: proxy},
			{name: gatewayName, socket: "gateway", tool: w.server + "_" + w.tool, pid: gateway, tokens: true},
		}
		if w.server == "nothing" {
			contenders = append(contenders, contender{name: hopName, socket: "hop", tool: w.tool, pid: hop, canned: true})
		}
		for _, clients := range []int{1, 8, 64} {
			compare(b, dir, w, contenders, clients, sync)
		}
	}
}

// compare prints what the contenders do with a call and a number of clients.
func compare(b *testing.B, dir string, w workload, contenders []contender, clients int, sync time.Duration) {
	b.Helper()
	best := map[string]pace{}
	lagBefore, recordsBefore := auditLag(b, dir)
	for range rounds {
		for _, c := range contenders {
			p, so := drive(b, dir, w, c, clients), best[c.name]
			if so.rate > 0 {
				p = pace{max(p.rate, so.rate), min(p.p50, so.p50), min(p.cpu, so.cpu)}
			}
			best[c.name] = p
		}
	}
	straight, proxy, gateway := best[directName], best[proxyName], best[gatewayName]
	fmt.Printf("%s, %d clients\n", w.name, clients)
	for _, c := range contenders {
		p := best[c.name]
		fmt.Printf("    %-20s %6.0f calls/s, %4.2f of direct, %5.2f of the bare proxy; p50 %5.2f ms, %5.2f of direct; %4d µs of its CPU a call\n",
			c.name, p.rate, p.rate/straight.rate, p.rate/proxy.rate, millis(p.p50), float64(p.p50)/float64(straight.p50), p.cpu.Microseconds())
	}
	lag, records := auditLag(b, dir)
	fmt.Printf("    a record of the gateway's took %.2f ms to be durable, in the mean of %.0f\n", (lag-lagBefore)*1000/(records-recordsBefore), records-recordsBefore)
	if hop, ok := best[hopName]; ok && clients == 1 {
		fmt.Printf("    the gateway's p50 is %.2f ms; direct + one direct hop + one sync (%.2f ms) + %.2f ms is %.2f ms, and with a hop of bare net/http %.2f ms\n",
			millis(gateway.p50), millis(sync), millis(allowance), millis(2*straight.p50+sync+allowance), millis(straight.p50+hop.p50+sync+allowance))
	}
}

// auditLag is what the gateway's metrics say: the seconds that its records took to be durable, and how many they were.
func auditLag(b *testing.B, dir string) (seconds, records float64) {
	b.Helper()
	way := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return listen.Dial(ctx, unixAddress(dir, "metrics"))
	}}
	defer way.CloseIdleConnections()
	response, err := (&http.Client{Transport: way}).Get("http://localhost/metrics")
	must(b, err)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	must(b, err)
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch name {
		case "bulkhead_gateway_audit_lag_seconds_sum":
			seconds, err = strconv.ParseFloat(value, 64)
		case "bulkhead_gateway_audit_lag_seconds_count":
			records, err = strconv.ParseFloat(value, 64)
		}
		must(b, err)
	}
	return seconds, records
}

func millis(d time.Duration) float64 { return d.Seconds() * 1000 }

func unixAddress(dir, name string) listen.Address {
	return listen.Address{Network: listen.Unix, Path: filepath.Join(dir, name)}
}

func agentToken(i int) string { return token + strings.Repeat("+", i%agents) }

func writeGatewayFiles(b *testing.B, dir string) {
	b.Helper()
	write := func(name string, content []byte) {
		must(b, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	text := "version: 1\nagents:\n"
	for i := range agents {
		hash := sha256.Sum256([]byte(agentToken(i)))
		write(fmt.Sprintf("tokens/a%d.sha256", i), []byte(hex.EncodeToString(hash[:])))
		text += fmt.Sprintf("  a%d:\n    identity: {token: a%d}\n    allow:\n", i, i)
		for _, w := range workloads {
			text += fmt.Sprintf("      - tool: %s_%s\n        when: %s\n        limits: {concurrent: 16, result_bytes: 65536, result_bytes_per_day: 1099511627776}\n", w.server, w.tool, w.when)
		}
	}
	write("policy.yaml", []byte(text))
	must(b, os.CopyFS(filepath.Join(dir, "workspace"), os.DirFS(filepath.Join(root, "agents/workspace"))))
	write("sources.yaml", []byte("version: 1\nsources:\n  - {name: local, folder: "+dir+"/workspace/logs}\n"))
	var definitions bytes.Buffer
	if code := askServer().Run(b.Context(), []string{"tools"}, os.Stdin, &definitions, os.Stderr); code != 0 {
		b.Fatal("no definitions")
	}
	write("nothing.json", definitions.Bytes())
	handOver(b, dir) // what the servers and the gateway read, to write the lock of
	lockFiles := []string{"lock"}
	for _, w := range workloads {
		name := filepath.Join(dir, w.server+".json")
		if w.server != "nothing" {
			out, err := command(b, filepath.Join(dir, "bin", w.server), "tools").Output()
			must(b, err)
			must(b, os.WriteFile(name, out, 0o644))
		}
		lockFiles = append(lockFiles, name)
	}
	lock, err := command(b, filepath.Join(dir, "bin/gateway"), lockFiles...).Output()
	must(b, err)
	write("lock.json", lock)
}

// startRole runs a child of this binary until the benchmark ends, and returns its pid.
func startRole(b *testing.B, dir, role, socket string) int {
	b.Helper()
	child := command(b, filepath.Join(dir, "bin/role"), "-test.run=^TestRole$")
	child.Env = append(child.Env, roleVariable+"="+role, dirVariable+"="+dir)
	stdin, err := child.StdinPipe()
	must(b, err)
	must(b, child.Start())
	b.Cleanup(func() { _ = stdin.Close(); _ = child.Wait() })
	for deadline := time.Now().Add(patience); ; time.Sleep(retry) {
		conn, err := listen.Dial(b.Context(), unixAddress(dir, socket))
		if err == nil {
			_ = conn.Close()
			return child.Process.Pid
		}
		if time.Now().After(deadline) {
			b.Fatalf("%s: %v", role, err)
		}
	}
}

// medianSync is what a record's worth of bytes costs to write and sync, where the gateway's log is.
func medianSync(b *testing.B, dir string) time.Duration {
	b.Helper()
	file, err := os.Create(filepath.Join(dir, "sync"))
	must(b, err)
	defer func() { must(b, errors.Join(file.Close(), os.Remove(file.Name()))) }()
	record := bytes.Repeat([]byte("r"), 600)
	var times []time.Duration
	for range syncs {
		began := time.Now()
		_, err := file.Write(record)
		must(b, errors.Join(err, file.Sync()))
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	return times[syncs/2]
}

// drive calls the tool from so many clients for a while.
func drive(b *testing.B, dir string, w workload, c contender, clients int) pace {
	b.Helper()
	var all sync.WaitGroup
	times := make([][]time.Duration, clients)
	used := cpuOf(b, c.pid)
	start := time.Now()
	for i := range clients {
		all.Go(func() {
			way := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return listen.Dial(ctx, unixAddress(dir, c.socket))
			}}
			defer way.CloseIdleConnections()
			caller := mcpclient.Client{HTTP: &http.Client{Transport: way}, URL: "http://localhost/mcp"}
			behalf := &mcpclient.Caller{Principal: fmt.Sprintf("a%d", i%agents)}
			if c.tokens {
				caller.Token, behalf = agentToken(i), nil
			}
			for time.Since(start) < roundTime {
				began := time.Now()
				result, err := caller.CallTool(b.Context(), c.tool, w.args, behalf)
				if err != nil || result.IsError || bytes.Contains(result.Structured, []byte(w.answer)) == c.canned {
					b.Errorf("%s: %+v, %v", c.name, result, err)
					return
				}
				times[i] = append(times[i], time.Since(began))
			}
		})
	}
	all.Wait()
	took := time.Since(start)
	calls := slices.Concat(times...)
	if len(calls) == 0 {
		b.FailNow()
	}
	slices.Sort(calls)
	return pace{float64(len(calls)) / took.Seconds(), calls[len(calls)/2], (cpuOf(b, c.pid) - used) / time.Duration(len(calls))}
}

// cpuOf is what a process has used until now: utime and stime of proc_pid_stat(5), in hundredths of a second.
func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(b, err)
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // from the third field, state
	user, err := strconv.Atoi(fields[11])
	must(b, err)
	system, err := strconv.Atoi(fields[12])
	must(b, err)
	return time.Duration(user+system) * 10 * time.Millisecond
}
