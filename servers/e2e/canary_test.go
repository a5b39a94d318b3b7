package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bulkhead-mcp/bulkhead/servers/e2e/canary"
	"github.com/bulkhead-mcp/bulkhead/servers/e2e/fakehub/hub"
)

// Where canaries are planted beside those of the fake upstreams.
const (
	canaryManifest = "canary/deployment.yaml"
	canaryModule   = "canary/module/main.tf"
	canaryPlan     = "canary/plan.json"
	canaryLog      = "canary.log"
)

// manifestWithCanaries has secrets where people leave them: a Secret, the environment, a command, an annotation, a comment; and
// a document that is broken after one, which a parser's error could quote.
func manifestWithCanaries() string {
	p := canary.Manifest
	return fmt.Sprintf(`# %[1]s
apiVersion: v1
kind: Secret
metadata: {name: db}
stringData: {password: %[2]s, token: %[3]s}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: leaky
  annotations: {notes: "%[1]s"}
spec:
  selector: {matchLabels: {app: leaky}}
  template:
    metadata: {labels: {app: leaky}}
    spec:
      containers:
      - name: app
        image: %[4]s:1.0
        command: [/app, --token, %[3]s]
        securityContext: {privileged: true}
        env:
        - {name: DB_PASSWORD, value: %[2]s}
        - {name: AWS_ACCESS_KEY_ID, value: %[5]s}
---
apiVersion: v1
kind: Pod
password: %[2]s: [
`, canary.Text(p), canary.Password(p), canary.Token(p), canary.Repository, canary.Key(p))
}

// moduleWithCanaries has them in a provider, a default, a resource, a comment, and in what cannot be parsed.
func moduleWithCanaries() string {
	p := canary.Plan
	return fmt.Sprintf(`# %[1]s
provider "aws" {
  access_key = "%[4]s"
}
variable "password" {
  default     = "%[2]s"
  description = "%[1]s"
}
resource "aws_db_instance" "db" {
  username            = "admin"
  password            = "%[2]s"
  publicly_accessible = true
  tags                = {notes = "%[1]s"}
}
resource "aws_instance" "web" {
  user_data = "export TOKEN=%[3]s"
}
output "broken" {
  value = upper("%[3]s", nothing(
`, canary.Text(p), canary.Password(p), canary.Token(p), canary.Key(p))
}

// planWithCanaries has them in values, sensitive or not, before and after.
func planWithCanaries() string {
	p := canary.Plan
	return fmt.Sprintf(`{"format_version": "1.2", "terraform_version": "1.9.5", "resource_changes": [{
  "address": "aws_db_instance.db", "mode": "managed", "type": "aws_db_instance", "name": "db", "provider_name": "registry.terraform.io/hashicorp/aws",
  "change": {"actions": ["update"], "after_unknown": {}, "before_sensitive": {"password": true}, "after_sensitive": {"password": true},
    "before": {"password": %[2]q, "publicly_accessible": false, "tags": {"notes": %[1]q}},
    "after": {"password": %[3]q, "publicly_accessible": true, "tags": {"notes": %[1]q, "key": %[4]q}}}}]}`,
		canary.Text(p), canary.Password(p), canary.Token(p), canary.Key(p))
}

// logWithCanaries has them in lines of several kinds, and in a stack trace.
func logWithCanaries() string {
	p := canary.Logs
	return fmt.Sprintf(`2026-01-02T03:04:05Z INFO %[1]s
{"time":"2026-01-02T03:04:06Z","level":"info","msg":"login","password":"%[2]s","authorization":"Bearer %[3]s"}
2026-01-02T03:04:07Z ERROR cannot log in with password=%[2]s
panic: no access with %[3]s

goroutine 1 [running]:
main.login(...)
	/src/main.go:12
2026-01-02T03:04:08Z INFO ANSI-cut AK%[5]s%[4]s
`, canary.Text(p), canary.Password(p), canary.Token(p), strings.TrimPrefix(canary.Key(p), "AK"), "\x1b[31m\x1b[0m")
}

// Secrets that are planted in everything that the servers read come out of no tool; that they come out of no log, record or
// metric either, and of no answer to any other test, searchForTokens sees in the end.
func TestCanaries(t *testing.T) {
	b := theBundle
	client := b.as(t, "canary")
	for _, tc := range []struct {
		place canary.Place // whose secrets the answer would show
		tool  string
		args  map[string]any
		shows bool // that they were there, as marks
	}{
		{canary.Logs, "logs_list_sources", map[string]any{"source": "local"}, false},
		{canary.Logs, "logs_fetch_logs", map[string]any{"source": "local", "container": canaryLog}, true},
		{canary.Logs, "logs_fetch_logs", map[string]any{"source": "local", "container": canaryLog, "take": "head", "limit": 1, "context": 3}, true},
		{canary.Logs, "logs_fetch_logs", map[string]any{"source": "local", "contains": "password="}, true},
		{canary.Logs, "logs_fetch_logs", map[string]any{"source": "local", "matches": "dckr_pat_[A-Za-z0-9]+"}, false},
		{canary.Logs, "logs_count_by", map[string]any{"source": "local", "container": canaryLog, "by": "message"}, true},
		{canary.Logs, "logs_trace_errors", map[string]any{"source": "local", "container": canaryLog, "before": 5}, true},
		{canary.Manifest, "kubernetes_check_pod_security", map[string]any{"path": canaryManifest}, false},
		{canary.Manifest, "kubernetes_check_pod_security", map[string]any{"text": manifestWithCanaries()}, false},
		{canary.Manifest, "registry_check_pinning", map[string]any{"path": canaryManifest}, false},
		{canary.Manifest, "registry_check_updates", map[string]any{"path": canaryManifest}, false},
		{canary.Manifest, "kubernetes_lint_manifests", map[string]any{"path": canaryManifest}, false},
		{canary.Manifest, "kubernetes_validate_manifests", map[string]any{"path": canaryManifest}, false},
		{canary.Manifest, "kubernetes_evaluate_policy", map[string]any{"path": canaryManifest}, false},
		{canary.Plan, "terraform_check_config", map[string]any{"path": "canary/module"}, false},
		{canary.Plan, "terraform_summarize_module", map[string]any{"path": "canary/module"}, false},
		{canary.Plan, "terraform_check_plan", map[string]any{"path": canaryPlan}, false},
		{canary.Plan, "terraform_evaluate_policy", map[string]any{"path": "canary/module"}, false},
		{canary.Plan, "terraform_evaluate_policy", map[string]any{"text": planWithCanaries()}, false},
		{canary.Description, "dockerhub_get_repository", map[string]any{"repository": hub.Leaky}, true},
		{canary.Environment, "registry_inspect_image", map[string]any{"reference": canary.Repository + ":1.0"}, true},
		{canary.Environment, "registry_lint_image", map[string]any{"reference": canary.Repository + ":1.0"}, false},
		{canary.Environment, "registry_find_base_image", map[string]any{"reference": canary.Repository + ":1.0"}, false},
		{canary.Environment, "registry_list_tags", map[string]any{"repository": canary.Repository}, false},
		{canary.UpstreamError, "dockerhub_get_repository", map[string]any{"repository": hub.LeakyError}, true},
		{canary.UpstreamError, "dockerhub_list_tags", map[string]any{"repository": hub.LeakyError}, true},
		{canary.UpstreamError, "registry_inspect_image", map[string]any{"reference": canary.Host + "/acme/broken:1"}, false},
		{canary.UpstreamError, "registry_check_updates", map[string]any{"references": []string{canary.Host + "/acme/broken:1"}}, false},
		{canary.Argument, "logs_fetch_logs", map[string]any{"source": "local", "contains": canary.Text(canary.Argument)}, false},
		{canary.Argument, "logs_fetch_logs", map[string]any{"source": "local", "container": canary.Token(canary.Argument)}, true},
		{canary.Argument, "kubernetes_check_pod_security", map[string]any{"text": "password: " + canary.Password(canary.Argument) + ": [\n"}, false},
	} {
		result, err := client.CallTool(t.Context(), tc.tool, tc.args, nil)
		if err != nil {
			t.Errorf("%s %v: %v", tc.tool, tc.args, err)
			continue
		}
		said := string(result.Structured) + result.Text
		for _, secret := range secrets() {
			if strings.Contains(said, secret) {
				t.Errorf("%s shows a secret of the %s: %s", tc.tool, tc.place, said)
			}
		}
		if tc.shows && !strings.Contains(said, "[redacted:") {
			t.Errorf("%s %v shows no mark: did it read what it should have? %s", tc.tool, tc.args, said)
		}
	}
}
