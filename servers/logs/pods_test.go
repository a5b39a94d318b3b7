package main

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/clustertest"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/egresspolicy"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/outbound"
)

// podSource starts a server with one source, the pods of an API server.
func podSource(t testing.TB, url, caFile, token string, namespaces ...string) (*server, error) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "k", "token"), token+"\n")
	write(t, filepath.Join(dir, "sources.yaml"), fmt.Sprintf(
		"version: 1\nsources:\n  - name: s\n    pods: {server: %q, credentials: %s, namespaces: [%s], labels: \"app=shop\"}\n", url, filepath.Join(dir, "k"), strings.Join(namespaces, ", ")))
	host, port, err := net.SplitHostPort(strings.TrimPrefix(url, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	client, err := outbound.New(outbound.Config{Egress: outbound.Direct, CAFile: caFile, Allow: []egresspolicy.Rule{{
		Host: host, Port: uint16(number), TLS: egresspolicy.NoneForIP, Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return newServer(filepath.Join(dir, "sources.yaml"), mcpserver.Env{
		Logger: slog.New(slog.DiscardHandler), Outbound: func() (*outbound.Client, error) { return client, nil },
	})
}

// kubelet answers for the logs of containers as a node's does.
type kubelet struct{ asked atomic.Int64 }

func (k *kubelet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.asked.Add(1)
	container := r.PathValue("container")
	lines := strings.SplitAfter(kubeletLog(container, r.URL.Query().Get("previous") == "true"), "\n")
	lines = lines[:len(lines)-1]
	if since, err := time.Parse(time.RFC3339, r.URL.Query().Get("sinceTime")); err == nil {
		lines = slices.DeleteFunc(lines, func(line string) bool { return decodePod([]byte(line)).time.Before(since) })
	}
	if n, err := strconv.Atoi(r.URL.Query().Get("tailLines")); err == nil {
		lines = lines[max(0, len(lines)-n):]
	}
	switch container {
	case "endless":
		for at := beginning(); ; at = at.Add(time.Second) {
			if _, err := fmt.Fprintf(w, "%s INFO %s\n", at.Format(time.RFC3339Nano), strings.Repeat("e", 1000)); err != nil {
				return
			}
		}
	case "cut":
		w.Header().Set("Content-Length", "100000")
		_, _ = io.WriteString(w, strings.Join(lines, ""))
		_ = http.NewResponseController(w).Flush()
		time.Sleep(100 * time.Millisecond) // the API server has passed it on
		panic(http.ErrAbortHandler)
	}
	_, _ = io.WriteString(w, strings.Join(lines, ""))
}

// kubeletLog is what a container has written.
func kubeletLog(container string, previous bool) string {
	if previous {
		return "2020-01-01T00:00:00.1Z INFO first run\n2020-01-01T00:00:01.1Z panic: boom\n2020-01-01T00:00:01.2Z \n2020-01-01T00:00:01.3Z goroutine 1 [running]:\n" +
			"2020-01-01T00:00:01.4Z main.main()\n2020-01-01T00:00:01.5Z \t/src/main.go:3 +0x1\n"
	}
	var out strings.Builder
	lines := 20
	if container == "many" {
		lines = 12_000
	}
	for i := range lines {
		fmt.Fprintf(&out, "%s INFO %s %d password=correct-horse-battery\n", beginning().Add(time.Duration(i/3)*time.Second).Format(time.RFC3339Nano), container, i)
	}
	return out.String()
}

// inCluster starts an API server with a kubelet for its one node, a pod in two namespaces, and readers.
func inCluster(t *testing.T) (*clustertest.Cluster, string, *kubelet) {
	t.Helper()
	c := clustertest.Start(t, clustertest.Options{Users: []string{"reader", "writer", "secretive", "executor"}})
	k := &kubelet{}
	mux := http.NewServeMux()
	mux.Handle("GET /containerLogs/{namespace}/{pod}/{container}", k)
	node := httptest.NewUnstartedServer(mux)
	node.TLS = &tls.Config{Certificates: []tls.Certificate{c.Certificate(t, "kubelet")}, MinVersion: tls.VersionTLS12}
	node.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	node.StartTLS()
	t.Cleanup(node.CloseClientConnections)
	t.Cleanup(node.Close)
	_, port, _ := net.SplitHostPort(node.Listener.Addr().String())
	send := func(method, path, contentType, body string) {
		t.Helper()
		status, answer, err := c.Do(t.Context(), clustertest.Admin, method, path, contentType, []byte(body))
		if err != nil || status/100 != 2 {
			t.Fatalf("%s %s: %d %s %v", method, path, status, answer, err)
		}
	}
	const json, merge = "application/json", "application/merge-patch+json"
	send(http.MethodPost, "/api/v1/nodes", json, `{"metadata":{"name":"n"}}`)
	send(http.MethodPatch, "/api/v1/nodes/n/status", merge, `{"status":{"addresses":[{"type":"InternalIP","address":"127.0.0.1"}],"daemonEndpoints":{"kubeletEndpoint":{"Port":`+port+`}}}}`)
	names := []string{"app", "side", "many", "endless", "cut", "waiting"}
	for _, namespace := range []string{"shop", "vault"} {
		send(http.MethodPost, "/api/v1/namespaces", json, `{"metadata":{"name":"`+namespace+`"}}`)
		var containers, statuses []string
		for _, name := range names {
			containers = append(containers, `{"name":"`+name+`","image":"x"}`)
			status := `{"name":"` + name + `","image":"x","imageID":"","ready":true,"restartCount":0,"state":{"running":{"startedAt":"2020-01-01T00:00:00Z"}}}`
			switch name {
			case "app":
				status = strings.Replace(strings.TrimSuffix(status, "}"), `Count":0`, `Count":2`, 1) + `,"lastState":{"terminated":{"exitCode":2,"reason":"Error"}}}`
			case "waiting":
				status = `{"name":"waiting","image":"x","imageID":"","ready":false,"restartCount":0,"state":{"waiting":{"reason":"ImagePullBackOff"}}}`
			}
			statuses = append(statuses, status)
		}
		send(http.MethodPost, "/api/v1/namespaces/"+namespace+"/pods", json,
			`{"metadata":{"name":"web-1","labels":{"app":"shop"}},"spec":{"nodeName":"n","automountServiceAccountToken":false,"containers":[`+strings.Join(containers, ",")+`]}}`)
		send(http.MethodPatch, "/api/v1/namespaces/"+namespace+"/pods/web-1/status", merge, `{"status":{"phase":"Running","containerStatuses":[`+strings.Join(statuses, ",")+`]}}`)
	}
	send(http.MethodPost, "/api/v1/namespaces/shop/pods", json, `{"metadata":{"name":"other","labels":{"app":"other"}},"spec":{"nodeName":"n","containers":[{"name":"app","image":"x"}]}}`)
	grant := func(user, namespace, rules string) {
		t.Helper()
		name := user + "-" + strconv.Itoa(len(rules))
		send(http.MethodPost, "/apis/rbac.authorization.k8s.io/v1/namespaces/"+namespace+"/roles", json, `{"metadata":{"name":"`+name+`"},"rules":[`+rules+`]}`)
		send(http.MethodPost, "/apis/rbac.authorization.k8s.io/v1/namespaces/"+namespace+"/rolebindings", json, `{"metadata":{"name":"`+name+`"},`+
			`"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"`+name+`"},"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"User","name":"`+user+`"}]}`)
	}
	for user, more := range map[string]string{
		"reader": "", "writer": `,{"apiGroups":["apps"],"resources":["deployments"],"verbs":["patch"]}`,
		"secretive": `,{"apiGroups":[""],"resources":["secrets"],"verbs":["list"]}`, "executor": `,{"apiGroups":[""],"resources":["pods/exec"],"verbs":["create"]}`,
	} {
		grant(user, "shop", `{"apiGroups":[""],"resources":["pods"],"verbs":["list"]},{"apiGroups":[""],"resources":["pods/log"],"verbs":["get"]}`+more)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	write(t, ca, string(c.CA))
	return c, ca, k
}

func TestPods(t *testing.T) {
	c, ca, k := inCluster(t)
	s, err := podSource(t, c.URL, ca, c.Token("reader"), "shop")
	if err != nil {
		t.Fatal(err)
	}
	listed, err := call[listSourcesOut](t, s, "list_sources", map[string]any{"source": "s"})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, l := range listed.Logs {
		got[l.Container] = l.State
	}
	const running = "running since 2020-01-01T00:00:00Z"
	if diff := cmp.Diff(map[string]string{
		"shop/web-1/app": running + ", restarted 2 times", "shop/web-1/app/previous": "ended with code 2, Error", "shop/web-1/side": running, "shop/web-1/many": running,
		"shop/web-1/endless": running, "shop/web-1/cut": running, "shop/web-1/waiting": "waiting: ImagePullBackOff",
	}, got); diff != "" {
		t.Error(diff)
	}

	t.Run("a container", func(t *testing.T) {
		out := fetching(t, s, map[string]any{"container": "app", "limit": 3})
		if want := []string{"INFO app 17 password=[redacted:password#1]", "INFO app 18 password=[redacted:password#1]", "INFO app 19 password=[redacted:password#1]"}; !slices.Equal(texts(out), want) ||
			out.Common.Container != "shop/web-1/app" || out.Lines[0].Time != "2020-01-01T00:00:05Z" || !out.Truncated {
			t.Errorf("%+v", out)
		}
	})
	t.Run("the run before", func(t *testing.T) {
		out, err := call[traceErrorsOut](t, s, "trace_errors", map[string]any{"source": "s", "container": "app/previous"})
		if err != nil || out.Traces != 1 || out.Groups[0].Error != "panic: boom" || !slices.Equal(out.Groups[0].Before, []string{"INFO first run"}) {
			t.Errorf("%+v %v", out, err)
		}
	})
	t.Run("several containers", func(t *testing.T) {
		out, err := call[countByOut](t, s, "count_by", map[string]any{"source": "s", "by": "source", "contains": "INFO", "until": "2020-01-01T00:01:00Z"})
		if err != nil {
			t.Fatal(err)
		}
		counts := map[string]int{}
		for _, g := range out.Groups {
			counts[g.Key] = g.Count
		}
		for key, want := range map[string]int{"s/shop/web-1/app": 20, "s/shop/web-1/side": 20, "s/shop/web-1/many": 183, "s/shop/web-1/endless": 61, "s/shop/web-1/cut": 20} {
			if counts[key] != want {
				t.Errorf("%s: %d of %d", key, counts[key], want)
			}
		}
	})
	t.Run("pages", func(t *testing.T) {
		for _, take := range []string{"head", "tail"} {
			var got []string
			cursor, calls := "", 0
			for ; calls < 100; calls++ {
				args := map[string]any{"container": "many", "take": take, "limit": 1000}
				if cursor != "" {
					args["cursor"] = cursor
				}
				out := fetching(t, s, args)
				if take == "head" {
					got = append(got, texts(out)...)
				} else {
					got = append(texts(out), got...)
				}
				if cursor = out.NextCursor; cursor == "" {
					break
				}
			}
			for i, text := range got {
				if !strings.HasPrefix(text, fmt.Sprintf("INFO many %d ", i)) {
					t.Fatalf("%s: message %d is %q", take, i, text)
				}
			}
			if len(got) != 12_000 {
				t.Errorf("%s: %d messages in %d calls", take, len(got), calls)
			}
		}
	})
	t.Run("a stream that never ends", func(t *testing.T) {
		for _, take := range []string{"head", "tail"} {
			out := fetching(t, s, map[string]any{"container": "endless", "take": take, "limit": 5})
			if out.Matched != 5 || !out.Truncated {
				t.Errorf("%s: %+v", take, out)
			}
		}
	})
	t.Run("a stream that breaks off", func(t *testing.T) {
		out := fetching(t, s, map[string]any{"container": "cut", "take": "head"})
		if out.Matched != 20 { // that there was more, the API server does not say
			t.Errorf("%+v", out)
		}
	})
	t.Run("no run before", func(t *testing.T) {
		out, err := call[fetchLogsOut](t, s, "fetch_logs", map[string]any{"source": "s", "container": "side/previous"})
		if code(err) != mcpserver.CodeNotFound {
			t.Errorf("%+v %v", out, err)
		}
	})
	t.Run("a forbidden namespace", func(t *testing.T) {
		s, err := podSource(t, c.URL, ca, c.Token("reader"), "shop", "vault")
		if err != nil {
			t.Fatal(err)
		}
		out := fetching(t, s, map[string]any{"container": "app"})
		if out.Matched != 20 || !strings.Contains(strings.Join(out.Problems, "\n"), "namespace vault: ") || !strings.Contains(strings.Join(out.Problems, "\n"), "403") {
			t.Errorf("%+v", out)
		}
		s, err = podSource(t, c.URL, ca, c.Token("reader"), "vault")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := call[fetchLogsOut](t, s, "fetch_logs", map[string]any{"source": "s"}); code(err) != mcpserver.CodeForbidden {
			t.Errorf("%v", err)
		}
	})
	t.Run("credentials that may do more", func(t *testing.T) {
		before := k.asked.Load()
		for user, want := range map[string]string{
			"writer": "they may patch deployments in namespace shop", "secretive": "they may list secrets in namespace shop", "executor": "they may create pods/exec in namespace shop",
			clustertest.Admin: "they may * * in all namespaces",
		} {
			if _, err := podSource(t, c.URL, ca, c.Token(user), "shop"); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", user, err)
			}
		}
		if _, err := podSource(t, c.URL, ca, "no-token", "shop"); err == nil || !strings.Contains(err.Error(), "401") {
			t.Errorf("%v", err)
		}
		if k.asked.Load() != before {
			t.Error("logs were read with credentials that may do more")
		}
	})
	t.Run("the token changes", func(t *testing.T) {
		pods := s.sources[0].source.(*pods)
		write(t, filepath.Join(pods.config.Credentials, "token"), "")
		pods.api.checked = time.Time{}
		if out := fetching(t, s, map[string]any{"container": "app"}); out.Matched != 20 {
			t.Errorf("an empty token file takes the old token away: %+v", out)
		}
		write(t, filepath.Join(pods.config.Credentials, "token"), "another-token\n")
		pods.api.checked = time.Time{}
		if _, err := call[fetchLogsOut](t, s, "fetch_logs", map[string]any{"source": "s"}); code(err) != mcpserver.CodeForbidden || !strings.Contains(err.Error(), "401") {
			t.Errorf("%v", err)
		}
	})
}

// fakeAPI answers as an API server that means harm, or is broken.
func fakeAPI(t *testing.T, handler http.HandlerFunc) (url, caFile string) {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	write(t, ca, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	return s.URL, ca
}

// One question without a clear no, and the server does not start.
func TestReview(t *testing.T) {
	const no = `{"kind":"SelfSubjectAccessReview","status":{"allowed":false}}`
	for answer, want := range map[string]string{
		no: "",
		`{"kind":"SelfSubjectAccessReview","status":{"allowed":true}}`:                                 "may do more",
		`{"kind":"SelfSubjectAccessReview","status":{"allowed":false,"evaluationError":"webhook: x"}}`: "could not evaluate",
		`{"kind":"SelfSubjectAccessReview","status":{}}`:                                               "is no SelfSubjectAccessReview",
		`{"kind":"SelfSubjectAccessReview"}`:                                                           "is no SelfSubjectAccessReview",
		`{"kind":"Status","status":{"allowed":false}}`:                                                 "is no SelfSubjectAccessReview",
		`{"kind":"SelfSubjectAccessReview","status":{"allowed":"no"}}`:                                 "is no SelfSubjectAccessReview",
		``:                                  "is no SelfSubjectAccessReview",
		strings.Repeat(" ", maxReview) + no: "too large",
		"500":                               "500",
		"403":                               "403",
	} {
		asked := 0
		url, ca := fakeAPI(t, func(w http.ResponseWriter, r *http.Request) {
			asked++
			if r.Method != http.MethodPost || r.URL.Path != "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" || r.Header.Get("Authorization") != "Bearer the-token" {
				t.Errorf("%s %s", r.Method, r.URL)
			}
			if status, err := strconv.Atoi(answer); err == nil {
				w.WriteHeader(status)
				return
			}
			if asked == 30 || want == "" || asked > 30 { // the others say no
				_, _ = io.WriteString(w, answer)
				return
			}
			_, _ = io.WriteString(w, no)
		})
		_, err := podSource(t, url, ca, "the-token", "shop")
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%.80q: %v", answer, err)
		}
		if want == "" && asked < 100 {
			t.Errorf("%d questions", asked)
		}
	}
	url, ca := fakeAPI(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	if _, err := podSource(t, url, ca, "the-token", "shop"); err == nil {
		t.Error("it follows a redirect")
	}
}

// What an API server says that means harm ends in an error, and shows nothing of the token.
func TestHostileAPI(t *testing.T) {
	const pod = `{"metadata":{"name":"web-1","namespace":"shop"},"status":{"containerStatuses":[{"name":"app","state":{"running":{}}}]}}`
	for name, tc := range map[string]struct {
		pods, log string
		want      string
	}{
		"not JSON":           {"<html>", "", "no list of pods"},
		"too large":          {strings.Repeat(" ", maxPodPage+1), "", "larger than is taken"},
		"other namespace":    {`{"items":[` + strings.Replace(pod, `"shop"`, `"vault"`, 1) + `]}`, "", ""},
		"a name that climbs": {`{"items":[` + strings.Replace(pod, "web-1", "../../secrets", 1) + `]}`, "", ""},
		"a container so":     {`{"items":[` + strings.Replace(pod, `"app"`, `"a/../b"`, 1) + `]}`, "", ""},
		"always more":        {`{"metadata":{"continue":"x"},"items":[]}`, "", ""},
		"echoes the token":   {`{"items":[` + pod + `]}`, "2020-01-01T00:00:00Z Authorization: Bearer the-token-that-is-secret-4711\n", ""},
		"no times":           {`{"items":[` + pod + `]}`, "hello\nworld\n", ""},
		"one long line":      {`{"items":[` + pod + `]}`, strings.Repeat("z", 6<<20), ""},
		"broken off":         {`{"items":[` + pod + `]}`, "2020-01-01T00:00:00Z hello\n", "broke off"},
		"a bad request":      {`{"items":[` + pod + `]}`, "400", "container \"app\" in pod is waiting to start"},
	} {
		t.Run(name, func(t *testing.T) {
			url, ca := fakeAPI(t, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Method == http.MethodPost:
					_, _ = io.WriteString(w, `{"kind":"SelfSubjectAccessReview","status":{"allowed":false}}`)
				case r.URL.Path == "/api/v1/namespaces/shop/pods":
					_, _ = io.WriteString(w, tc.pods)
				case r.URL.Path == "/api/v1/namespaces/shop/pods/web-1/log" && tc.log == "400":
					w.WriteHeader(http.StatusBadRequest)
					_, _ = io.WriteString(w, `{"kind":"Status","message":"container \"app\" in pod is waiting to start: password=correct-horse-battery"}`)
				case r.URL.Path == "/api/v1/namespaces/shop/pods/web-1/log":
					_, _ = io.WriteString(w, tc.log)
					if tc.want == "broke off" {
						_ = http.NewResponseController(w).Flush()
						panic(http.ErrAbortHandler)
					}
				default:
					t.Errorf("asked for %s", r.URL)
				}
			})
			s, err := podSource(t, url, ca, "the-token-that-is-secret-4711", "shop")
			if err != nil {
				t.Fatal(err)
			}
			out, err := call[fetchLogsOut](t, s, "fetch_logs", map[string]any{"source": "s"})
			said := fmt.Sprint(out, err)
			if !strings.Contains(said, tc.want) || strings.Contains(said, "4711") || len(said) > 2*maxShown {
				t.Errorf("%.500s", said)
			}
		})
	}
}
