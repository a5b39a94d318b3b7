package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/audit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/dockeragent"
)

// modelScript is what the model of the bundle's agent says: it has a manifest checked, tries a tool that it was never offered,
// and answers with what it was told.
const modelScript = `model: scripted
turns:
  - heard: [may kubernetes/shop-web.yaml be deployed]
    call:
      - {tool: kubernetes_check_pod_security, args: {path: kubernetes/shop-web.yaml, level: restricted}}
      - {tool: dockerhub_list_tags, args: {repository: nginx}}
  - heard: ["there is no tool dockerhub_list_tags"]
    say: '{"verdict": "fail", "findings": [{"rule": "pod-security/privileged", "object": "Deployment shop/web"}], "unknown": []}'
`

// named are the tools that an agent's file names, sorted: what it is granted, and so what it sees.
func (b *bundle) named(t *testing.T, agent string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(b.root, "agents", agent+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	file, err := dockeragent.Parse(agent, data)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(slices.Sorted(slices.Values(file.Agents[dockeragent.Root].Toolsets[0].Tools)), " ")
}

// namedBut are those of them that are not of a server.
func (b *bundle) namedBut(t *testing.T, agent, server string) string {
	t.Helper()
	tools := strings.Fields(b.named(t, agent))
	return strings.Join(slices.DeleteFunc(tools, func(tool string) bool { return strings.HasPrefix(tool, server+"_") }), " ")
}

// agentTurn runs scripts/agent as an operator does.
func (b *bundle) agentTurn(t *testing.T, name, message string, env ...string) (out string, err error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "scripts/agent", name, message)
	var stderr strings.Builder
	c.Dir, c.Env, c.Stderr = b.root, append(slices.Clone(b.env), env...), &stderr
	answer, err := c.Output()
	t.Log(stderr.String())
	return string(answer) + stderr.String(), err
}

// An agent in the bundle has no network: it reaches its model through egress and the gateway through its door, with the token
// that is a file, and answers on its standard output.
func TestAgentInTheBundle(t *testing.T) {
	b := theBundle
	defer b.docker(t, "compose", "--profile", "agents", "rm", "--stop", "--force", "agent-door")
	out, err := b.agentTurn(t, "policy-gate", "may kubernetes/shop-web.yaml be deployed?", "MODEL=dmr/scripted")
	if err != nil || !strings.Contains(out, `"verdict": "fail"`) {
		t.Fatalf("%v: %s", err, out)
	}
	lines := b.docker(t, "compose", "exec", "-T", "gateway", "/ko-app/gateway", "audit", "tail", "--limit", "1", "--agent", "policy-gate", "--tool", podSecurity)
	var r audit.Record
	if err := json.Unmarshal([]byte(lines), &r); err != nil || r.Decision != audit.Allow || !strings.Contains(string(r.Args), "shop-web.yaml") {
		t.Errorf("%v: record %s", err, lines)
	}
	if log := b.logs(t, "egress"); !strings.Contains(log, `"client":"agent","host":"model-runner.docker.internal"`) {
		t.Error("egress has no record of the agent's model")
	}
	if log := b.logs(t, "fakemodel"); !strings.Contains(log, `"turn":1,"problem":""`) {
		t.Errorf("the model: %s", log)
	}

	// A model elsewhere than egress's policy lists is not reached, by the same file and another address of the same model.
	out, err = b.agentTurn(t, "policy-gate", "may kubernetes/shop-web.yaml be deployed?", "MODEL=scripted", "MODEL_URL=http://models.example:12434/v1")
	if err == nil || !strings.Contains(out, "403") || !strings.Contains(out, "the host is not listed") {
		t.Errorf("a model that egress does not list: %v: %s", err, out)
	}
	if out, err = b.agentTurn(t, "policy-gate", "--model=other"); err == nil || !strings.Contains(out, "would be read as an option") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err = b.agentTurn(t, "nobody", "hello"); err == nil || !strings.Contains(out, "the agents are devsecops-chatbot image-linter policy-gate registry-auditor") {
		t.Errorf("%v: %s", err, out)
	}
}
