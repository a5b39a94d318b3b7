package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	resourcev1 "k8s.io/api/resource/v1"
	kjson "sigs.k8s.io/json"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/workspace"
)

// typed are the structs that the API server decodes some kinds into.
func typed() map[gvk]func() any {
	return map[gvk]func() any{
		{"v1", "Pod"}:                                 func() any { return new(corev1.Pod) },
		{"v1", "Secret"}:                              func() any { return new(corev1.Secret) },
		{"v1", "Service"}:                             func() any { return new(corev1.Service) },
		{"v1", "ConfigMap"}:                           func() any { return new(corev1.ConfigMap) },
		{"v1", "PersistentVolume"}:                    func() any { return new(corev1.PersistentVolume) },
		{"v1", "Event"}:                               func() any { return new(corev1.Event) },
		{"apps/v1", "Deployment"}:                     func() any { return new(appsv1.Deployment) },
		{"apps/v1", "ControllerRevision"}:             func() any { return new(appsv1.ControllerRevision) },
		{"batch/v1", "CronJob"}:                       func() any { return new(batchv1.CronJob) },
		{"autoscaling/v2", "HorizontalPodAutoscaler"}: func() any { return new(autoscalingv2.HorizontalPodAutoscaler) },
		{"coordination.k8s.io/v1", "Lease"}:           func() any { return new(coordinationv1.Lease) },
		{"networking.k8s.io/v1", "NetworkPolicy"}:     func() any { return new(networkingv1.NetworkPolicy) },
		{"resource.k8s.io/v1", "ResourceSlice"}:       func() any { return new(resourcev1.ResourceSlice) },
	}
}

// FuzzValidate holds the walk over a schema to the decoder and the structs of the API server, for the kinds above: it finds fault with
// what they refuse, and with nothing else. Duplicate keys are not part of it: they are gone when an object is JSON.
func FuzzValidate(f *testing.F) {
	for _, s := range sampleObjects(f) {
		f.Add(s.text)
	}
	f.Add([]byte("apiVersion: v1\nkind: Pod\nspec: {containers: [{resources: {limits: {cpu: 1e-2147483648}}, ports: [{containerPort: 1.0}]}], nodeName: 1, Spec: {}}\n"))
	structure := schemasFor(f)
	known := typed()
	f.Fuzz(func(t *testing.T, text []byte) {
		v := newManifestValidator(structure, structure.newest, customKinds{})
		readObjects("", text, maxServedValues, v.custom.add, func(finding.Finding) {})
		readObjects("", text, maxServedValues, func(o object) { decoded(t, v, known[gvk{o.apiVersion, o.kind}], o) }, func(finding.Finding) {})
	})
}

// decoded holds what the validator says of one object to what the API server's decoder does, if it has a struct for it. It returns
// whether they refuse the object.
func decoded(t *testing.T, v *manifestValidator, into func() any, o object) bool {
	t.Helper()
	var faults []string
	n := 0
	v.validate(o, func(f finding.Finding) {
		if n++; f.Verdict == finding.Fail && (f.Rule == string(ruleUnknownField) || f.Rule == string(ruleType)) {
			faults = append(faults, f.Location.Field+": "+f.Message)
		}
	})
	if n > 2*maxFaults+2 {
		t.Fatalf("%d findings", n)
	}
	_, custom := v.custom[gvk{o.apiVersion, o.kind}]
	if _, endless := v.schemas.endless(o); endless || into == nil || custom {
		return false
	}
	strict, err := kjson.UnmarshalStrict(o.raw, into())
	refused := err != nil || len(strict) > 0
	if refused != (len(faults) > 0) {
		t.Errorf("%s\nfound %q\nthe decoder says %v %v", o.raw, faults, strict, err)
	}
	return refused
}

// FuzzCustomKinds validates any objects by any CustomResourceDefinitions.
func FuzzCustomKinds(f *testing.F) {
	archive, err := os.ReadFile("testdata/validate/unknown-field.txtar")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(archive)
	for _, s := range sampleObjects(f) {
		if s.kind.kind == crdKind || s.kind.kind == "Widget" {
			f.Add(s.text)
		}
	}
	f.Add([]byte("apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nspec: {group: a, names: {kind: B}, versions: [{name: c, served: true, schema: {openAPIV3Schema: " +
		"&a {type: object, required: [x], properties: {x: {$ref: '#'}, y: {type: array}}, additionalProperties: true}}}]}\n---\napiVersion: a/c\nkind: B\ny: [{z: 1}]\n"))
	structure := schemasFor(f)
	f.Fuzz(func(t *testing.T, text []byte) {
		v := newManifestValidator(structure, structure.oldest, customKinds{})
		readObjects("", text, maxServedValues, v.custom.add, func(finding.Finding) {})
		if n := len(findings(v, text)); n > maxObjects*(2*maxFaults+2)+maxDocuments {
			t.Fatalf("%d findings", n)
		}
	})
}

// validateTool returns the tool over a workspace.
func validateTool(t *testing.T, dir string) mcpserver.Tool {
	t.Helper()
	var env mcpserver.Env
	if dir != "" {
		root, err := workspace.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = root.Close() })
		env.Workspace = root
	}
	return toolNamed(t, env, "validate_manifests")
}

func validated(tool mcpserver.Tool, args map[string]any) (out validateManifestsOut, err error) {
	raw, err := json.Marshal(args)
	if err != nil {
		return out, err
	}
	result, err := tool.Call(context.Background(), raw)
	if err != nil {
		return out, err
	}
	return out, json.Unmarshal(result.Structured, &out)
}

// crdOf is a CustomResourceDefinition of a kind C in c.example/v1, and an object of it.
func crdOf(schema, object string) string {
	return "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: cs.c.example}\nspec:\n" +
		"  group: c.example\n  scope: Namespaced\n  names: {plural: cs, kind: C}\n  versions:\n  - name: v1\n    served: true\n    storage: true\n    schema:\n      openAPIV3Schema: " +
		schema + "\n---\napiVersion: c.example/v1\nkind: C\nmetadata: {name: c}\n" + object
}

// TestBadInput: what is made to break a validator is answered with what is wrong, in time, and the next call works. A case without
// an answer of its own must still be answered.
func TestBadInput(t *testing.T) {
	dir := t.TempDir()
	big, err := os.Create(filepath.Join(dir, "big.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := big.Truncate(100 << 20); err != nil {
		t.Fatal(err)
	}
	if err := big.Close(); err != nil {
		t.Fatal(err)
	}
	bomb := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat("*"+string(c-1)+", ", 10), ", "))
	}
	var fields, names strings.Builder
	for i := range 12_000 {
		fmt.Fprintf(&fields, "field-%d-%s: {type: string}, ", i, strings.Repeat("x", 20))
		fmt.Fprintf(&names, "field-%d-%s, ", i, strings.Repeat("x", 20))
	}
	unknown := "spec:\n"
	for i := range 3000 {
		unknown += fmt.Sprintf("  fielb-%d-%s: 1\n", i, strings.Repeat("x", 20))
	}
	pod := "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers: [{name: a, resources: {limits: {cpu: %s}}}]\n"
	tool := validateTool(t, dir)
	for name, tc := range map[string]struct {
		text, path, want string
		verdict          finding.Verdict
	}{
		"bomb of aliases":          {text: bomb, want: "aliases stand for more than", verdict: finding.Unknown},
		"bomb of merges":           {text: strings.ReplaceAll(strings.ReplaceAll(bomb, "[x, ", "{<<: {x: 1}, y: [x, "), "x]\n", "x]}\n"), verdict: finding.Unknown},
		"anchor in itself":         {text: "apiVersion: v1\nkind: ConfigMap\ndata: &a {b: *a}\n", want: "an anchor that contains itself", verdict: finding.Unknown},
		"deep":                     {text: "apiVersion: v1\nkind: ConfigMap\ndata: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "\n", want: "nested more than", verdict: finding.Unknown},
		"deep JSON":                {text: `{"apiVersion":"v1","kind":"ConfigMap","data":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + "}", want: "nested more than", verdict: finding.Unknown},
		"a file of 100 MB":         {path: "big.yaml", want: "too large"},
		"many values":              {text: "apiVersion: v1\nkind: ConfigMap\ndata: {" + strings.Repeat("a: b, ", 100_000) + "}\n", want: "more than 80000 values", verdict: finding.Unknown},
		"tabs":                     {text: "apiVersion: v1\nkind: ConfigMap\ndata:\n\ta: b\n", want: "not valid YAML", verdict: finding.Unknown},
		"tabs in JSON":             {text: "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"ConfigMap\",\n\t\"data\": {\"a\": \"1\", \"a\": \"2\"}\n}\n", want: "duplicate field", verdict: finding.Fail},
		"JSON that is no YAML":     {text: "{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"data\": {\"a\":\"\\/\", \"a\":\"2\"}}", want: "duplicate field", verdict: finding.Fail},
		"duplicate keys":           {text: "apiVersion: v1\nkind: ConfigMap\ndata:\n" + strings.Repeat("  a: b\n", 10_000), want: `duplicate field "a"`, verdict: finding.Fail},
		"unknown kind":             {text: "apiVersion: v1\nkind: " + strings.Repeat("K", 200) + "\n", want: "Kubernetes has no", verdict: finding.Fail},
		"unknown kinds":            {text: strings.Repeat("{apiVersion: v1, kind: Podd}\n---\n", 900), want: "is Pod meant", verdict: finding.Fail},
		"a long kind":              {text: "apiVersion: v1\nkind: " + strings.Repeat("K", 2000) + "\n", want: "no identifier", verdict: finding.Unknown},
		"no object":                {text: "- a\n- b\n", want: "not a Kubernetes object", verdict: finding.Unknown},
		"nothing":                  {text: "# nothing\n", want: "nothing to judge", verdict: finding.Unknown},
		"binary":                   {text: "\x00\x01\x02", verdict: finding.Unknown},
		"schema that is an anchor": {text: crdOf("&a {type: object, properties: {spec: *a}}", "spec: {spec: {}}\n"), want: "an anchor that contains itself", verdict: finding.Unknown},
		"schema with a reference":  {text: crdOf("{type: object, properties: {spec: {$ref: '#/properties/spec'}}}", "spec: {spec: {}}\n"), want: "$ref", verdict: finding.Unknown},
		"schema that is deep":      {text: crdOf(strings.Repeat("{type: object, properties: {a: ", 90)+"{type: string}"+strings.Repeat("}}", 90), "a: {b: 1}\n"), want: "a.b", verdict: finding.Fail},
		"schema that is too deep":  {text: crdOf(strings.Repeat("{type: object, properties: {a: ", 900)+"{type: string}"+strings.Repeat("}}", 900), "a: {b: 1}\n"), want: "nested more than", verdict: finding.Unknown},
		"schema of another shape":  {text: crdOf("[1, 2]", "spec: 1\n"), want: "not one that can be read", verdict: finding.Fail},
		"schema that requires all": {text: crdOf("{type: object, required: ["+names.String()+"], properties: {"+fields.String()+"}}", ""), want: "required field", verdict: finding.Fail},
		"names to guess at":        {text: crdOf("{type: object, properties: {spec: {type: object, properties: {"+fields.String()+"}}}}", unknown), want: "unknown field", verdict: finding.Fail},
		"objects to guess at": {text: crdOf("{type: object, properties: {"+strings.Join(strings.SplitAfterN(fields.String(), ", ", 501)[:500], "")+"}}", "") +
			strings.Repeat("---\n{apiVersion: c.example/v1, kind: C, fielb-1-xxxxxxxxxxxxxxxxxxxx: 1}\n", 900), want: "unknown field", verdict: finding.Fail},
		"a quantity without end":         {text: fmt.Sprintf(pod, `"1e-2147483648"`), want: "a quantity of more digits than any has", verdict: finding.Unknown},
		"another":                        {text: fmt.Sprintf(pod, `"1E2147483648"`), want: "a quantity of more digits than any has", verdict: finding.Unknown},
		"a quantity of a million digits": {text: fmt.Sprintf(pod, `"`+strings.Repeat("9", 900_000)+`"`), want: "a quantity of more digits than any has", verdict: finding.Unknown},
		"numbers out of every range":     {text: fmt.Sprintf(pod, "1") + "  priority: 1e400\n  activeDeadlineSeconds: 99999999999999999999\n", want: "spec.activeDeadlineSeconds", verdict: finding.Fail},
	} {
		t.Run(name, func(t *testing.T) {
			args := map[string]any{"text": tc.text}
			if tc.path != "" {
				args = map[string]any{"path": tc.path}
			}
			began := time.Now()
			out, err := validated(tool, args)
			t.Logf("%v: %s, %d findings", time.Since(began).Round(time.Millisecond), out.Verdict, len(out.Findings))
			answer, jsonErr := json.Marshal(out)
			if jsonErr != nil {
				t.Fatal(jsonErr)
			}
			if err != nil {
				answer = []byte(err.Error())
			}
			answer = bytes.ReplaceAll(answer, []byte(`\"`), []byte(`"`))
			if !strings.Contains(string(answer), tc.want) || out.Verdict != tc.verdict {
				t.Errorf("want %q and verdict %q, got %.2000s", tc.want, tc.verdict, answer)
			}
			if len(answer) > 300_000 {
				t.Errorf("an answer of %d bytes", len(answer))
			}
			if next, err := validated(tool, map[string]any{"text": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"}); err != nil || next.Verdict != finding.Pass {
				t.Errorf("the next call: %+v, %v", next, err)
			}
		})
	}
}

// TestEndlessQuantity: what cannot be decoded in finite time is not decoded by the other tools either, and no label that looks like
// such a number keeps an object from being judged.
func TestEndlessQuantity(t *testing.T) {
	pod := "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {commit: \"12e4567\"}}\nspec:\n  containers: [{name: a, image: b, resources: {limits: {cpu: %q}}}]\n"
	tool := toolFor(t, nil)
	out, err := call(t, tool, map[string]any{"text": fmt.Sprintf(pod, "1e-2147483648")})
	if err != nil || out.Verdict != finding.Unknown || len(out.Findings) != 1 || !strings.Contains(out.Findings[0].Reason, "spec.containers[0].resources.limits.cpu") {
		t.Errorf("%+v, %v", out, err)
	}
	out, err = call(t, tool, map[string]any{"text": fmt.Sprintf(pod, "1e-3"), "level": "privileged"})
	if err != nil || out.Verdict != finding.Pass {
		t.Errorf("%+v, %v", out, err)
	}
}

// TestAgainstDecoder does what the test against a real server does for the kinds above, with the server's decoder alone: many more
// mutations, and on every machine.
func TestAgainstDecoder(t *testing.T) {
	v, samples := validatorOfSamples(t)
	known := typed()
	r := rand.New(rand.NewPCG(5, 6))
	refusals, sent := 0, 0
	for _, sample := range samples {
		into := known[sample.kind]
		if into == nil {
			continue
		}
		for range 100 {
			text, _ := mutate(t, r, sample.text)
			readObjects("", text, maxCheckValues, func(o object) {
				if sent++; decoded(t, v, into, o) {
					refusals++
				}
			}, func(finding.Finding) {})
		}
	}
	t.Logf("%d of %d mutations are refused", refusals, sent)
	if sent < 1000 || refusals < sent/4 {
		t.Error("too few: the comparison does not say much")
	}
}
