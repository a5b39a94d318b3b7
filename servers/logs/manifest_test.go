package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
)

// What `kubectl get secret shop -o yaml` and `-o json` print.
const (
	manifestYAML = "apiVersion: v1\ndata:\n  config.ini: W2RiXQp1c2VyPW1l\n  other: aGVsbG8gd29ybGQ=\n  user: bWU=\nkind: Secret\nmetadata:\n  name: shop-database\n  namespace: shop\ntype: Opaque\n"
	manifestJSON = "{\n    \"apiVersion\": \"v1\",\n    \"data\": {\n        \"config.ini\": \"W2RiXQp1c2VyPW1l\",\n        \"other\": \"aGVsbG8gd29ybGQ=\",\n        \"user\": \"bWU=\"\n    },\n" +
		"    \"kind\": \"Secret\",\n    \"metadata\": {\n        \"name\": \"shop-database\",\n        \"namespace\": \"shop\"\n    },\n    \"type\": \"Opaque\"\n}\n"
)

// manifestValues are parts of the values.
func manifestValues() []string { return []string{"W2RiX", "c2VyPW1l", "aGVsbG8", "d29ybGQ", "bWU="} }

// manifestLogs are logs of messages in the forms in which a node, a container's engine and kubectl keep them.
func manifestLogs(text string) map[string]string {
	logs := map[string]string{"bare": text}
	for i, line := range strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n") {
		line = strings.TrimSuffix(line, "\n")
		stamp := fmt.Sprintf("2026-01-02T03:%02d:%02d.%dZ", i/60%60, i%60, 1+i*i%1000)
		quoted, _ := json.Marshal(line + "\n")
		logs["times"] += stamp + " " + line + "\n"
		logs["CRI"] += stamp + " stdout F " + line + "\n"
		logs["Docker"] += fmt.Sprintf(`{"log":%s,"stream":"stdout","time":"%s"}`, quoted, stamp) + "\n"
	}
	return logs
}

// TestSecretManifest: of a Secret that was written over several lines of a log, no tool shows a value, finds one or counts by one.
func TestSecretManifest(t *testing.T) {
	trace := "ERROR failed\nTraceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n    f()\nValueError: no\n"
	noise := strings.Repeat("INFO request done\n", 3000)
	for kind, manifest := range map[string]string{"YAML": manifestYAML, "JSON": manifestJSON} {
		cut, _, _ := strings.Cut(manifest, "kind")
		for form, log := range manifestLogs(noise + manifest + trace + noise + cut + trace + noise) {
			t.Run(kind+"/"+form, func(t *testing.T) {
				s, _ := serving(t, map[string]string{"a.log": log})
				answers := ""
				for _, args := range []map[string]any{
					{"contains": "config.ini", "context": 20, "take": "head"}, {"matches": "config.ini", "context": 20}, {"matches": "ERROR|other", "limit": 1, "context": 20}, {"contains": "Traceback", "context": 20}, {"matches": "user|data"},
				} {
					out := fetching(t, s, args)
					if out.Matched == 0 {
						t.Errorf("%v: nothing", args)
					}
					answers += strings.Join(texts(out), "\n")
				}
				for _, value := range manifestValues() {
					for _, args := range []map[string]any{{"contains": value}, {"matches": value}} {
						if out := fetching(t, s, args); out.Matched > 0 {
							t.Errorf("%v finds %q", args, texts(out))
						}
					}
				}
				for tool, args := range map[string]map[string]any{"count_by": {"by": "message", "limit": 500}, "trace_errors": {"before": 5}} {
					args["source"] = "s"
					out, err := call[map[string]any](t, s, tool, args)
					if err != nil {
						t.Fatal(err)
					}
					answers += fmt.Sprint(out)
				}
				var scrubbed bytes.Buffer
				if err := scrubCommand(nil, strings.NewReader(log), &scrubbed, io.Discard); err != nil {
					t.Fatal(err)
				}
				answers += scrubbed.String()
				for _, value := range manifestValues() {
					if i := strings.Index(answers, value); i >= 0 {
						t.Errorf("%q is shown: %.200q", value, answers[max(0, i-100):])
					}
				}
				for _, want := range []string{"shop-database", "Opaque", "[redacted:kubernetes-secret"} {
					if !strings.Contains(answers, want) {
						t.Errorf("%q is not shown", want)
					}
				}
			})
		}
	}
}

// Wherever a read begins or ends, the lines of a Secret's data are redacted.
func TestSecretManifestPlaces(t *testing.T) {
	manifest := "apiVersion: v1\ndata:\n" + strings.Repeat("  config.ini: W2RiXQp1c2VyPW1l\n", 300) + "kind: Secret\n"
	for form, log := range manifestLogs(strings.Repeat("INFO request done\n", 2000) + manifest + strings.Repeat("INFO request done\n", 2000)) {
		format := map[string]string{"CRI": formatCRI, "Docker": formatJSONFile}[form]
		for _, size := range []int64{4999, 20_011} {
			c := inMemory(log)
			for from := int64(0); from < c.length; from += size {
				b, err := reading(c, format).entries(from, min(from+size, c.length))
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range b.all[b.low:b.high] {
					if strings.Contains(e.text, "W2Ri") {
						t.Fatalf("%s, %d bytes at %d: %q", form, size, from, e.text)
					}
				}
			}
		}
	}
}
