package e2e

import (
	"os"
	"strings"
	"testing"
)

// The auditor reaches the registry server, whose only way out is egress: what egress's policy does not list is refused there,
// image by image, and the files are judged all the same.
func TestRegistryThroughTheBundle(t *testing.T) {
	b := theBundle
	policy := func(text string) {
		t.Helper()
		if err := os.WriteFile(b.path("egress.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		b.docker(t, "compose", "up", "--detach", "--force-recreate", "--no-deps", "--wait", "egress")
	}
	policy("version: 1\nclients:\n  dockerhub: {presets: [docker.io-api]}\n  registry: {presets: [ghcr.io]}\n")
	defer policy(egressPolicy)
	session := connect(t, overHTTP(b.url(), b.token(t, "registry-auditor")))
	if got, want := toolNames(t, session), b.named(t, "registry-auditor"); got != want {
		t.Errorf("registry-auditor sees %q, want %q", got, want)
	}
	client := b.as(t, "registry-auditor")
	result, err := client.CallTool(t.Context(), "registry_check_pinning", map[string]any{"text": "FROM nginx:1.25\n"}, nil)
	if err != nil || result.IsError {
		t.Fatalf("%+v, %v", result, err)
	}
	for _, part := range []string{`"state":"floating"`, `"code":"denied"`, "index.docker.io"} {
		if !strings.Contains(string(result.Structured), part) {
			t.Errorf("nothing says %q: %s", part, result.Structured)
		}
	}
	if refusal := b.awaitLog(t, "egress", result.Call); !strings.Contains(refusal, `"deny"`) || !strings.Contains(refusal, "index.docker.io") {
		t.Errorf("egress's record of call %s: %q", result.Call, refusal)
	}
	result, err = client.CallTool(t.Context(), "registry_check_updates", map[string]any{"path": "kubernetes/shop-api.yaml"}, nil)
	if err != nil || result.IsError || !strings.Contains(string(result.Structured), `"file":"kubernetes/shop-api.yaml"`) {
		t.Errorf("%+v, %v", result, err)
	}
	result, err = client.CallTool(t.Context(), "registry_check_updates", map[string]any{"path": "../policy.yaml"}, nil)
	if err != nil || result.Code != "denied" {
		t.Errorf("%+v, %v", result, err)
	}
}
