package scrub

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// What `kubectl get secret shop -o yaml` and `-o json` print, a list of both kinds, and what people write. In the last one only
// a line of metadata tells that it is no ConfigMap.
const (
	secretYAML = `apiVersion: v1
data:
  config.ini: W2RiXQp1c2VyPW1l
  password: c2VjcmV0
  user: bWU=
kind: Secret
metadata:
  creationTimestamp: "2026-01-02T03:04:05Z"
  name: shop-database
  namespace: shop
  resourceVersion: "1234567"
  uid: 0b1c2d3e-4f50-4172-8394-a5b6c7d8e9f0
type: Opaque`
	secretJSON = `{
    "apiVersion": "v1",
    "data": {
        "config.ini": "W2RiXQp1c2VyPW1l",
        "password": "c2VjcmV0",
        "user": "bWU="
    },
    "kind": "Secret",
    "metadata": {
        "creationTimestamp": "2026-01-02T03:04:05Z",
        "name": "shop-database",
        "namespace": "shop"
    },
    "type": "Opaque"
}`
	secretWritten = `apiVersion: v1
kind: Secret
metadata:
  name: shop-database
  ownerReferences:
  - apiVersion: apps/v1
    kind: Deployment
    name: shop
type: Opaque
stringData:
  config.ini: |
    [db]
    user: me

    pass = W2RiXQp1c2VyPW1l and words
  user: "bWU= or not"
  note: correct horse c2VjcmV0
data:
  "password": c2VjcmV0
immutable: true
---
apiVersion: v1
kind: ConfigMap
data:
  mode: plain`
	secretList = `apiVersion: v1
items:
- apiVersion: v1
  data:
    mode: plain
    size: "8080"
    level: info
    text: |
      more words
  kind: ConfigMap
  metadata:
    name: shop-settings
- apiVersion: v1
  data:
    config.ini: W2RiXQp1c2VyPW1l
    user: bWU=
  kind: Secret
  metadata:
    name: shop-database
- apiVersion: v1
  data:
    mode: plain
  kind: ConfigMap
kind: List`
)

// kept are words of these manifests that are no secrets, and leaked what must not be shown, or a part of it.
var (
	kept   = regexp.MustCompile(`shop-database|shop-settings|plain|8080|info|more words|Opaque|ConfigMap|config\.ini|ownerReferences|Deployment`)
	leaked = []string{"W2Ri", "XQp1", "c2Vj", "cmV0", "bWU", "[db]", "pass =", "correct", "horse", "and words", "or not"}
)

// logged are forms in which a program's lines come to a log, and how that says one of them.
func logged() map[string]func(i int, line string) string {
	return map[string]func(i int, line string) string{
		"bare": func(_ int, line string) string { return line },
		"first alone": func(i int, line string) string {
			return map[bool]string{true: "2026/01/02 03:04:05 got "}[i == 0] + line
		},
		"time": func(i int, line string) string { return fmt.Sprintf("2026-01-02T03:04:05.%dZ %s", 1+i*i*i, line) },
		"CRI": func(i int, line string) string {
			return fmt.Sprintf("2026-01-02T03:04:05.%dZ stdout F %s", 1+i*i*i, line)
		},
		"klog": func(i int, line string) string {
			return fmt.Sprintf("I0102 03:04:05.%06d       1 apply.go:%d] %s", i, i, line)
		},
		"compose": func(_ int, line string) string { return "web-1  | " + line },
		"Docker": func(i int, line string) string {
			return `{"log":` + quoted(line+"\n") + fmt.Sprintf(`,"stream":"stdout","time":"2026-01-02T03:04:05.%dZ"}`, 1+i*i)
		},
		"zap": func(i int, line string) string {
			return fmt.Sprintf(`{"level":"info","ts":%d.5,"msg":`, i*i) + quoted(line) + `,"n":1}`
		},
		"logrus": func(_ int, line string) string { return `time="2026-01-02T03:04:05Z" level=info msg=` + quoted(line) },
	}
}

func quoted(line string) string {
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// TestSecretLines: of a Secret that was written over several lines, no value is shown, and all else is.
func TestSecretLines(t *testing.T) {
	for name, manifest := range map[string]string{"YAML": secretYAML, "JSON": secretJSON, "written": secretWritten, "list": secretList} {
		for form, log := range logged() {
			t.Run(name+"/"+form, func(t *testing.T) {
				var in []string
				for i, line := range strings.Split(manifest, "\n") {
					in = append(in, log(i, line))
				}
				text := log(99, "before: it") + "\n" + strings.Join(in, "\n") + "\n" + log(99, "after: W2RiXQp1") + "\n"
				got := lines(text, false)
				for _, secret := range leaked {
					if strings.Contains(strings.Split(got, "after: ")[0], secret) {
						t.Errorf("%q is shown:\n%s", secret, got)
					}
				}
				for i, line := range strings.Split(text, "\n") {
					if want := strings.Join(kept.FindAllString(line, -1), " "); strings.Join(kept.FindAllString(strings.Split(got, "\n")[i], -1), " ") != want {
						t.Errorf("%q became %q", line, strings.Split(got, "\n")[i])
					}
				}
				if !strings.Contains(got, "after: W2RiXQp1") || !strings.Contains(got, "before: it") {
					t.Errorf("what stands around it is not as it was:\n%s", got)
				}
				if again := lines(got, false); again != got {
					t.Errorf("scrubbing twice: %s\nthen %s", got, again)
				}
				if shown := written(t, text); shown != got {
					t.Errorf("written: %s", shown)
				}
			})
		}
	}
}

// TestSecretLinesPlaces: other lines may stand among those of a Secret, what is far away is another's, and values may be long.
func TestSecretLinesPlaces(t *testing.T) {
	const shown = "[redacted:kubernetes-secret"
	long := strings.Repeat("W2RiXQp1c2VyPW1l word ", 3*maxWritten/20)
	for name, tc := range map[string]struct {
		in       string
		redacted int
	}{
		"among others":           {"kind: Secret\ndata:\nGET /a 200\n  a.b: aGVsbG8gd29ybGQ=\nGET /b 200\n  c.d: aGVsbG8gd29ybGE=\nkind: x", 2},
		"too many others":        {"kind: Secret\ndata:\n" + strings.Repeat("GET /a 200\n", maxAmong+1) + "  a.b: aGVsbG8gd29ybGQ=", 0},
		"data far behind":        {"kind: Secret\n" + strings.Repeat("GET /a 200\n", maxDocument/lineCost) + "data:\n  a.b: aGVsbG8gd29ybGQ=", 0},
		"many values":            {"kind: Secret\ndata:\n" + strings.Repeat("  a.b: aGVsbG8gd29ybGQ=\n", maxDocument/2/lineCost), maxDocument / 2 / lineCost},
		"a long value, and more": {"kind: Secret\nstringData:\n  a.b: " + long + "\nkind: x", 1},
		"of another kind":        {"kind: Secret\n---\nkind: ConfigMap\ndata:\n  a.b: aGVsbG8gd29ybGQ=", 0},
		"kinds after each other": {"kind: Secret\nkind: ConfigMap\ndata:\n  a.b: aGVsbG8gd29ybGQ=", 0},
		"of another version":     {"apiVersion: v1\napiVersion: apps/v1\ndata:\n  a.b: aGVsbG8gd29ybGQ=", 0},
		"of nobody":              {"data:\n  a.b: aGVsbG8gd29ybGQ=\n  c: hello", 0},
		"stringData":             {"stringData:\n  a.b: hello", 1},
		"templates and nothing":  {"kind: Secret\ndata:\n  a: {{ .Values.a }}\n  b: \"\"\n  c:\n", 0},
		"list of Secrets":        {"kind: SecretList\nitems:\n- metadata:\n    name: x\n  data:\n    a.b: aGVsbG8gd29ybGQ=", 1},
		"kind first":             {"{\n  \"kind\": \"Secret\",\n  \"apiVersion\": \"v1\",\n  \"metadata\": {\n    \"name\": \"x\"\n  },\n  \"data\": {\n    \"a.b\": \"aGVsbG8gd29ybGQ=\"\n  }\n}", 1},
		"binary":                 {"apiVersion: v1\ndata:\n  a.b: q83vASNFZ4mr\n  c: abc+/A==\nkind: Secret", 2},
		"ConfigMap":              {"apiVersion: v1\ndata:\n  a: true\n  b: debug\n  c: \"8080\"\n  d: postgres\n  e: INFO\n  f: 16Gi\n  g: shop.example:80/a\n  h: PRODUCTION\nkind: ConfigMap", 0},
		"without indentation":    {"{\n\"kind\": \"Secret\",\n\"data\": {\n\"type\": \"aGVsbG8gd29ybGQ=\",\n\"a.b\": \"aGVsbG8gd29ybGQ=\"\n},\n\"type\": \"Opaque\"\n}", 2},
		"difference":             {" apiVersion: v1\n data:\n-  a.b: aGVsbG8gd29ybGQ=\n+  a.b: aGVsbG8gd29ybGE=\n   c: aGVsbG8=\n kind: Secret\n", 3},
		"a certificate":          {"kind: Secret\nstringData:\n  a: |\n    -----BEGIN CERTIFICATE-----\n    aGVsbG8gd29ybGQ=\n    -----END CERTIFICATE-----\n  b: aGVsbG8=\n", 4},
		"after a document":       {"kind: Secret\ndata:\n---\n  a: aGVsbG8gd29ybGQ=", 0},
		"of another document":    {"kind: Secret\n---\ndata:\n  a.b: aGVsbG8gd29ybGQ=", 0},
		"version behind kind":    {"kind: Secret\napiVersion: v1\ndata:\n  a.b: hello", 1},
		"names of owners":        {"kind: Secret\nmetadata:\n  ownerReferences:\n  - apiVersion: apps/v1\n    kind: Deployment\ndata:\n  a.b: hello", 1},
		"names in values":        {"kind: Secret\nstringData:\n  a.b: |\n    aGVs: hello", 1},
		"rulers":                 {"kind: Secret\n----------\ndata:\n----------\n  a.b: aGVsbG8gd29ybGQ=", 1},
		"kinds of others":        {"kind: Secret\nINFO kind: Pod was seen\n{\"n\": 1, \"kind\": \"Pod\"}\nINFO apiVersion: apps/v1 is served\ndata:\n  a.b: hello", 1},
		"short, not in ASCII":    {"apiVersion: v1\ndata:\n  a.b: w6kh\nkind: Secret", 1},
		"added":                  {"+apiVersion: v1\n+data:\n+  a.b: aGVsbG8gd29ybGQ=\n+kind: Secret\n", 1},
		"comments and anchors":   {"kind: Secret # it is\ndata: # of it\n  a.b: aGVsbG8gd29ybGQ=\n---\nkind: Secret\ndata: &all\n  a.b: aGVsbG8gd29ybGQ=\n", 2},
		"names of the manifest":  {"kind: Secret\ndata:\n  type: aGVsbG8=\n  kind: aGVsbG8=\n  data: aGVsbG8=\n  metadata: aGVsbG8=\n", 4},
		"a mark before the line": {"[web]kind: Secret\n[web]data:\n[web]  a.b: aGVsbG8gd29ybGQ=\n", 1},
		"as Node prints it":      {"{\n  apiVersion: 'v1',\n  kind: 'Secret',\n  data: {\n    'a.b': 'aGVsbG8gd29ybGQ=',\n    c: 'aGVsbG8='\n  },\n  type: 'Opaque'\n}", 2},
	} {
		t.Run(name, func(t *testing.T) {
			for how, got := range map[string]string{"lines": lines(tc.in, false), "written": written(t, tc.in)} {
				if n := strings.Count(got, shown); n < tc.redacted || n > tc.redacted && !strings.Contains(name, "long") {
					t.Errorf("%s: %d are redacted, want %d: %.500q", how, n, tc.redacted, got)
				}
				if tc.redacted == 0 && got != tc.in || tc.redacted > 0 && (strings.Contains(got, "aGVs") || strings.Contains(got, "W2Ri")) {
					t.Errorf("%s: %.500q", how, got)
				}
			}
		})
	}
}
