package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	kyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/pod-security-admission/api"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// outcome is what a run over one input comes to.
type outcome struct {
	*run
	own, late []finding.Finding // of objects by themselves, and of what one says about another
	errs      []error
}

// judged holds one input to a checker.
func judged(t testing.TB, c checker, file string, data []byte) outcome {
	t.Helper()
	in := finding.Input{Name: file, Data: data}
	r, err := c.start([]finding.Input{in})
	if err != nil {
		t.Fatal(err)
	}
	findings, errs, err := r.read(context.Background(), in)
	if err != nil {
		t.Fatalf("%v\n%q", err, data)
	}
	return outcome{run: r, own: findings, late: r.finish(), errs: errs}
}

// podChecker holds pods to a level and version alone.
func podChecker(e *evaluator, level api.Level, version string) checker {
	return checker{evaluator: e, pods: true, level: level, version: version, values: maxCheckValues, kept: maxKept}
}

// annotatedChecker has everything on, and lets annotations count.
func annotatedChecker() checker {
	c := fullChecker()
	c.ignores = true
	return c
}

// everything returns all that one input brings out, as one string: findings, names, errors.
func everything(t testing.TB, c checker, file string, data []byte) string {
	t.Helper()
	report, err := c.checkAll(context.Background(), []finding.Input{{Name: file, Data: data}})
	text, fault := json.Marshal(report)
	if fault != nil {
		t.Fatal(fault)
	}
	o := judged(t, c, file, data)
	return fmt.Sprintf("%s\n%v\n%v", text, err, o.skipped)
}

// canary is a Secret's value; in the manifest it stands in clear and as base64.
const (
	canary       = "hunter2hunter2"
	canaryBase64 = "aHVudGVyMmh1bnRlcjI="
)

const secretManifest = `apiVersion: v1
kind: Secret
metadata:
  name: login
  namespace: shop
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: |
      {"apiVersion":"v1","kind":"Secret","stringData":{"password":"` + canary + `"}}
    plain: ` + canary + `
type: Opaque
data:
  password: ` + canaryBase64 + `
  "quoted": "` + canaryBase64 + `"
stringData:
  password: ` + canary + `
  block: |
    ` + canary + `
  flow: {a: [` + canary + `]}
`

// TestSecretsStayIn damages a Secret at every place in every way that is likely to end up in an error, and
// looks for its values in all that comes out.
func TestSecretsStayIn(t *testing.T) {
	c := annotatedChecker()
	damages := []string{
		"", "\t", "*", "&x ", "\"", "'", "{", "[", "}", ",", ": ", ":", "\n", "\n---\n", "\n--- ", "!!int ", "!!binary ", "!!float ", "!!timestamp ", "? ", "- ",
		"%", "|", "#", "\x00", "\xff", "<<: ", "\n<<: ", "\nitems: ", "\nkind: List\nitems: ", "{{", "@", "`", "0x", "\ndata: ", "\nmetadata: ", "\napiVersion: ",
	}
	for at := range len(secretManifest) + 1 {
		for _, damage := range damages {
			manifest := secretManifest[:at] + damage + secretManifest[at:]
			got := everything(t, c, "f.yaml", []byte(manifest))
			for _, secret := range []string{canary, canaryBase64} {
				if strings.Contains(got, secret) {
					t.Fatalf("offset %d, %q: %s\nin:\n%s", at, damage, got, manifest)
				}
			}
		}
	}
}

// TestSecretInPod: what a pod carries in clear stays in as well, when its field has the wrong type.
func TestSecretInPod(t *testing.T) {
	c := annotatedChecker()
	for _, spec := range []string{
		`containers: [{name: c, env: [{name: P, value: %s}]}]`,
		`containers: [{name: c, env: [{name: P, value: [%s]}]}]`,
		`containers: [{name: c, env: {name: %s}}]`,
		`containers: [{name: c, ports: [{containerPort: %s}]}]`,
		`containers: [{name: c, resources: {limits: {cpu: %s}}}]`,
		`containers: [{name: c, resources: {limits: {cpu: {a: %s}}}}]`,
		`containers: [{name: c, livenessProbe: {httpGet: {port: [%s]}}}]`,
		`containers: [{name: c, envv: %s}]`,
		`containers: [{name: c, env: [{name: P, value: *%s}]}]`,
		`terminationGracePeriodSeconds: %s`,
		`priority: 1.%s`,
		`activeDeadlineSeconds: !!int %s`,
		`? [%s]`,
		"hostPID: true\nmetadata: {creationTimestamp: %s}",
	} {
		for _, value := range []string{canary, `"` + canary + `"`, "271828182845904"} {
			manifest := "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  " + fmt.Sprintf(spec, value) + "\n"
			got := everything(t, c, "f.yaml", []byte(manifest))
			if strings.Contains(got, strings.Trim(value, `"`)) {
				t.Errorf("%s\n%s", manifest, got)
			}
		}
	}
}

func podYAML(name string) string {
	return "apiVersion: v1\nkind: Pod\nmetadata: {name: " + name + "}\nspec: {containers: [{name: c}]}\n"
}

// TestBounds: each bound refuses what is past it and leaves what is at it.
func TestBounds(t *testing.T) {
	e := evaluatorFor(t)
	bomb := func(levels, width int) string {
		var b strings.Builder
		b.WriteString("a0: &a0 [x, x]\n")
		for i := 1; i < levels; i++ {
			fmt.Fprintf(&b, "a%d: &a%d [%s*a%d]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d, ", i-1), width-1), i-1)
		}
		return b.String()
	}
	merges := func(levels int) string {
		var b strings.Builder
		b.WriteString("a0: &a0 {k: v}\n")
		for i := 1; i < levels; i++ {
			fmt.Fprintf(&b, "a%d: &a%d {<<: [*a%d, *a%d]}\n", i, i, i-1, i-1)
		}
		return b.String()
	}
	long := strings.Repeat("x", 100_000)
	for _, tc := range []struct {
		name, in string
		objects  int
		err      string // "" for none
	}{
		{"documents, full", strings.Repeat(podYAML("p")+"---\n", maxDocuments), maxDocuments, ""},
		{"documents, over", strings.Repeat(podYAML("p")+"---\n", maxDocuments+1), maxDocuments, "more than 1000 documents"},
		{"JSON documents, full", strings.Repeat(`{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{}]}}`, maxDocuments), maxDocuments, ""},
		{"JSON documents, over", strings.Repeat(`{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{}]}}`, maxDocuments+1), maxDocuments, "more than 1000 documents"},
		{"empty documents do not count", strings.Repeat("---\n# nothing\n", maxDocuments*3) + "---\n" + podYAML("p"), 1, ""},
		{"objects, full", "apiVersion: v1\nkind: PodList\nitems: [" + strings.Repeat("{spec: {containers: [{name: c}]}},", maxObjects) + "]", maxObjects, ""},
		{"objects, over", "apiVersion: v1\nkind: PodList\nitems: [" + strings.Repeat("{spec: {containers: [{name: c}]}},", maxObjects+1) + "]\n---\n" + podYAML("p"), maxObjects, "more than 5000 objects"},
		{"billion laughs", bomb(30, 10), 0, "aliases stand for more than 65536 values"},
		{"merged laughs", merges(60), 0, "aliases stand for more than 65536 values"},
		{"long laughs", "a: &a " + long + "\nb: [" + strings.Repeat("*a, ", 100) + "]\n", 0, "aliases stand for more than 4194304 bytes"},
		{"laughs in many documents", strings.Repeat("a: &a "+long+"\nb: [*a, *a]\nkind: K\napiVersion: v\n---\n", 42), 0, "aliases stand for more than 4194304 bytes"},
		{"broken documents count", podYAML("p") + strings.Repeat("---\na: [\n", maxDocuments), 1, "more than 1000 documents"},
		{"broken separators count", podYAML("p") + strings.Repeat("--- x\n", maxDocuments+1), 1, "more than 1000 documents"},
		{"modest aliases", "x: &x {name: c}\napiVersion: v1\nkind: Pod\nspec: {containers: [" + strings.Repeat("*x, ", 50) + "]}", 1, ""},
		{"an anchor in itself", "a: &a [*a]\n", 0, "an anchor that contains itself"},
		{"an anchor in itself, below", "a: &a {b: {c: [*a]}}\n", 0, "an anchor that contains itself"},
		{"nesting in YAML", "a: " + strings.Repeat("[", maxNesting+2) + strings.Repeat("]", maxNesting+2), 0, "nested more than 200 levels"},
		{"nesting in blocks", "a:\n" + strings.Repeat(" ", 1) + strings.Repeat("- ", maxNesting+2) + "x", 0, "nested more than 200 levels"},
		{"nesting by aliases", "a: &a " + strings.Repeat("[", 150) + strings.Repeat("]", 150) + "\nb: " + strings.Repeat("[", 100) + "*a" + strings.Repeat("]", 100), 0, "nested more than 200 levels"},
		{"nesting in JSON", `{"a": ` + strings.Repeat("[", maxNesting+2) + strings.Repeat("]", maxNesting+2) + "}", 0, "nested more than 200 levels"},
		{"nesting far too deep", strings.Repeat("[", 500_000), 0, "not valid YAML"},
		{"nesting far too deep in JSON", `{"a":` + strings.Repeat("[", 500_000), 0, "not valid YAML"},
		{"many findings", "apiVersion: v1\nkind: Pod\nspec: {containers: [" + strings.Repeat("{securityContext: {privileged: true}}, ", maxKept+1) + "]}\n---\n" + strings.Replace(podYAML("p"), "spec: {", "spec: {hostPID: true, ", 1), 2, "too large: 50000 findings"},
		{"many doubled keys", podYAML("p") + strings.Repeat("spec: {containers: [{name: c}]}\n", 1000), 1, ""},
		{"many tags", strings.Repeat("!!a ", 100_000), 0, "not valid YAML"},
		{"many anchors", strings.Repeat("&a ", 100_000), 0, "not valid YAML"},
		{"many keys", strings.Repeat("? ", 5_000), 0, ""},
		{"many comments", strings.Repeat("# x\n", 100_000) + podYAML("p"), 1, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := podChecker(e, api.LevelBaseline, "latest")
			out := judged(t, c, "f.yaml", []byte(tc.in))
			if counts := out.counts(); counts.Pass+counts.Fail+counts.Unknown != tc.objects {
				t.Errorf("%+v, want %d objects", counts, tc.objects)
			}
			for _, s := range out.subjects {
				if tc.name == "many findings" && s.verdict != finding.Fail {
					t.Errorf("%s is %s", s.name, s.verdict)
				}
			}
			if kept := len(out.own); kept > maxKept || tc.name == "many doubled keys" && kept > maxStrict {
				t.Errorf("%d findings", kept)
			}
			if tc.name == "many findings" {
				_, err := c.checkAll(context.Background(), []finding.Input{{Name: "f.yaml", Data: []byte(tc.in)}})
				out.errs = append(out.errs, err)
			}
			text := fmt.Sprint(errors.Join(out.errs...))
			if (tc.err == "") != (len(out.errs) == 0) && tc.name != "many keys" || !strings.Contains(text, tc.err) {
				t.Errorf("errors %s, want %q", text, tc.err)
			}
		})
	}
}

// TestSplit holds the division into documents to kubectl's own.
func TestSplit(t *testing.T) {
	for _, in := range []string{
		"", "a", "a\n", "---\na\n---\nb", "a\n---\n---\nb\n---\n", "--- # c\na\n---\t\nb\n", "a\r\n---\r\nb\r\n", " ---\na\n", "a\n----\nb\n", "a: |\n  ---\n---\nb",
	} {
		checkSplit(t, []byte(in))
	}
}

func checkSplit(t *testing.T, in []byte) {
	t.Helper()
	var got []string
	var errs []error
	for _, c := range split("f", in) {
		if c.err != nil {
			errs = append(errs, c.err)
		}
		// kubectl normalizes line ends, ends the last line, and skips what is empty.
		text := strings.ReplaceAll(string(c.text), "\r\n", "\n")
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		if text = strings.TrimPrefix(text, "---\n"); strings.TrimSpace(text) != "" {
			got = append(got, text)
		}
	}
	var want []string
	reader := kyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(in)))
	for {
		chunk, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			if len(errs) == 0 {
				t.Errorf("kubectl refuses %q (%v), and we do not", in, err)
			}
			return
		}
		if text := afterSeparator(string(chunk)); strings.TrimSpace(text) != "" {
			want = append(want, text)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || len(errs) > 0 {
		t.Errorf("%q: %v (-kubectl +here):\n%s", in, errs, diff)
	}
}

// afterSeparator drops the separators that kubectl leaves at the head of a first document.
func afterSeparator(text string) string {
	for strings.HasPrefix(text, "---") {
		_, text, _ = strings.Cut(text, "\n")
	}
	return text
}

// checkPositions holds find to the content: each value of the JSON is found among the nodes, and the scalar
// that is found there is that value.
func checkPositions(t *testing.T, doc *document) {
	t.Helper()
	var content any
	if err := json.Unmarshal(doc.json, &content); err != nil {
		t.Fatal(err)
	}
	var visit func(path fieldPath, v any)
	visit = func(path fieldPath, v any) {
		at, node, whole := doc.find(doc.node, path)
		if !whole || at == nil || node == nil {
			t.Errorf("%s is not found in\n%s", path, doc.json)
			return
		}
		switch v := v.(type) {
		case map[string]any:
			for key, value := range v {
				if notString(key) {
					continue // may be written in another way, such as yes or 0x10, and even twice
				}
				visit(path.below(key), value)
			}
		case []any:
			for i, item := range v {
				visit(path.below(i), item)
			}
		case string:
			if node.Kind == yaml.ScalarNode && node.Tag == "!!str" && node.Style&yaml.TaggedStyle == 0 && node.Value != v {
				t.Errorf("%s is %q, but the node is %q", path, v, node.Value)
			}
		}
	}
	visit(nil, content)
}

// notString says whether a key may be the JSON form of a boolean or a number.
func notString(key string) bool {
	var v any
	return strings.Trim(key, ".infa-+eE0123456789N") == "" || json.Unmarshal([]byte(key), &v) == nil
}

func TestPositions(t *testing.T) {
	for _, in := range []string{
		"a: 1\nb: {c: [x, y, {d: e}]}\n",
		"a: x\na: y\n",
		"x: &x {a: one, b: two}\nu: {<<: *x, a: own}\nz: {a: own, <<: *x}\n",
		"x: &x {a: one}\nu: &y {a: two, b: three}\nz: {<<: [*x, *y]}\nw: {<<: [*y, *x], b: own}\n",
		"x: &x {a: one}\nu: &y {<<: *x, b: two}\nz: {<<: *y}\nl: [*x, *y]\n",
		`{"a": {"b": [1, "x"]}}`,
	} {
		errs := readDocuments("f", []byte(in), maxCheckValues, func(doc *document) bool {
			checkPositions(t, doc)
			return true
		})
		if len(errs) > 0 {
			t.Errorf("%q: %v", in, errs)
		}
	}
}

func TestFieldPath(t *testing.T) {
	for _, tc := range []struct {
		path fieldPath
		want string
	}{
		{fieldPath{"spec", "containers", 0, "name"}, "spec.containers[0].name"},
		{fieldPath{"metadata", "annotations", "a.b/c"}, `metadata.annotations["a.b/c"]`},
		{fieldPath{0, 1, "x"}, "[0][1].x"},
		{nil, ""},
	} {
		if got := tc.path.String(); got != tc.want {
			t.Errorf("%#v: %s, want %s", tc.path, got, tc.want)
		}
	}
	if got := parsePath("spec.a[1][2].b"); !cmp.Equal(got, fieldPath{"spec", "a", 1, 2, "b"}) {
		t.Errorf("parsePath: %#v", got)
	}
}

// TestPathAt: for each value of a document, the offset at its end leads back to it.
func TestPathAt(t *testing.T) {
	raw := json.RawMessage(`{"a":[1,{"b":"x"},[]],"c":{"d":{"e":true}},"f":null}`)
	for _, tc := range []struct{ end, want string }{
		{`{"a":[1`, "a[0]"},
		{`{"a":[1,{"b":"x"`, "a[1].b"},
		{`{"a":[1,{"b":"x"},[`, "a[2]"},
		{`{"a":[1,{"b":"x"},[]],"c":{`, "c"},
		{`{"a":[1,{"b":"x"},[]],"c":{"d":{"e":true`, "c.d.e"},
		{`{"a":[1,{"b":"x"},[]],"c":{"d":{"e":true}},"f":null`, "f"},
	} {
		if got := pathAt(raw, int64(len(tc.end))).String(); got != tc.want {
			t.Errorf("after %s: %s, want %s", tc.end, got, tc.want)
		}
	}
}

// FuzzManifests feeds anything to the decoder, with a Secret before and after it. Nothing panics, what comes
// out is bounded and never holds the Secret's values, documents are divided as kubectl does, and every value
// has its position.
func FuzzManifests(f *testing.F) {
	for _, seed := range []string{
		podYAML("p"), secretManifest, "a: &a [*a]\n", "a: &a {b: c}\nd: {<<: *a}\n", "{}{}", `{"kind":"List","apiVersion":"v1","items":[{}]}`,
		"apiVersion: v1\nkind: List\nitems:\n- {apiVersion: apps/v1, kind: Deployment, spec: {template: {spec: {hostNetwork: true, containers: [{name: c, ports: [{containerPort: 1}]}]}}}}\n",
		"? a\n: b\n", "--- x\n", "...\n", "%YAML 1.1\n---\na: b\n", "# c\n\n a:\n  # d\n- b\n", "\ufeffkind: Pod\n", "a: !!binary x\n", "{{ x }}", "kind: [", "a: |\n ---\n", "yes: no\n",
	} {
		f.Add([]byte(seed))
	}
	c := annotatedChecker()
	const most = 1 << 20
	f.Fuzz(func(t *testing.T, data []byte) {
		in := bytes.Join([][]byte{[]byte(secretManifest), data, []byte(secretManifest)}, []byte("\n---\n"))
		if strings.Contains(string(data), canary) || strings.Contains(string(data), canaryBase64) {
			return // then it may be a name
		}
		got := everything(t, c, "f.yaml", in)
		for _, secret := range []string{canary, canaryBase64} {
			if strings.Contains(got, secret) {
				t.Errorf("a Secret's value came out: %s", got)
			}
		}
		if len(got) > most {
			t.Errorf("%d bytes came out", len(got))
		}
		if readJSON("f", data, maxCheckValues) == nil {
			checkSplit(t, data)
		}
		readDocuments("f", data, maxCheckValues, func(doc *document) bool {
			if !json.Valid(doc.json) {
				t.Errorf("not JSON: %q", doc.json)
			}
			if doc.node != nil && !bytes.Contains(doc.json, []byte(`\ufffd`)) {
				checkPositions(t, doc)
			}
			return true
		})
	})
}
