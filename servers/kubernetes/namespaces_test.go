package main

import (
	"testing"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// TestNamespaceInDisguise: a Namespace decides about its pods however its labels are written.
func TestNamespaceInDisguise(t *testing.T) {
	const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: shop}\nspec: {hostPID: true, containers: [{name: c, image: x}]}\n---\n"
	for _, namespace := range []string{
		"apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {pod-security.kubernetes.io/enforce: privileged}}\n",
		"apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {\"\\x70od-security.kubernetes.io/enforce\": privileged}}\n",
		"apiVersion: v1\nkind: \"N\\u0061mespace\"\nmetadata: {name: shop, labels: {\"pod-sec\u0075rity.kubernetes.io/enforce\": privileged}}\n",
	} {
		out := judged(t, podChecker(evaluatorFor(t), "", ""), "f.yaml", []byte(pod+namespace))
		if out.subjects[0].verdict != finding.Pass || len(out.errs) > 0 {
			t.Errorf("%v, %+v of\n%s", out.errs, out.own, namespace)
		}
	}
}

// TestNamespaceTwice: a second Namespace of the same name does not lower what the other enforces.
func TestNamespaceTwice(t *testing.T) {
	const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: shop}\nspec: {hostPID: true, containers: [{name: c, image: x}]}\n"
	at := func(level string) string {
		return "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {pod-security.kubernetes.io/enforce: " + level + "}}\n---\n"
	}
	for _, text := range []string{at("baseline") + at("privileged") + pod, at("privileged") + at("baseline") + pod} {
		out := judged(t, podChecker(evaluatorFor(t), "", ""), "f.yaml", []byte(text))
		if out.subjects[2].verdict != finding.Fail {
			t.Errorf("%s of\n%s", out.subjects[2].verdict, text)
		}
	}
}
