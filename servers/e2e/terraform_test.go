package e2e

import (
	"strings"
	"testing"
)

// The gate reaches the terraform server, which has no way out at all: what is in the workspace is judged, what is outside is not
// read, and what it cannot fetch is unknown.
func TestTerraformThroughTheBundle(t *testing.T) {
	b := theBundle
	client := b.as(t, "policy-gate")
	result, err := client.CallTool(t.Context(), "terraform_check_config", map[string]any{"path": "terraform"}, nil)
	if err != nil || result.IsError {
		t.Fatalf("%+v, %v", result, err)
	}
	for _, part := range []string{`"verdict":"fail"`, `"rule":"aws/rds-encryption"`, `"file":"terraform/main.tf"`, "var.subnets"} {
		if !strings.Contains(string(result.Structured), part) {
			t.Errorf("nothing says %q: %s", part, result.Structured)
		}
	}
	text := "module \"far\" {\n  source = \"git::https://example.com/m.git\"\n}\nresource \"aws_ebs_volume\" \"x\" {\n  encrypted = file(\"/etc/passwd\") == module.far.x\n}\n"
	result, err = client.CallTool(t.Context(), "terraform_check_config", map[string]any{"texts": []any{map[string]any{"name": "main.tf", "text": text}}}, nil)
	if err != nil || result.IsError || !strings.Contains(string(result.Structured), "not in the workspace") || strings.Contains(string(result.Structured), "root:") {
		t.Errorf("%+v, %v", result, err)
	}
	result, err = client.CallTool(t.Context(), "terraform_check_config", map[string]any{"path": "../tokens"}, nil)
	if err != nil || result.Code != "denied" {
		t.Errorf("%+v, %v", result, err)
	}
	plan := `{"format_version":"1.2","resource_changes":[{"address":"aws_db_instance.x","mode":"managed","type":"aws_db_instance","name":"x",` +
		`"change":{"actions":["delete","create"],"after":{"password":"hunter2-the-password"},"after_sensitive":{"password":true},"replace_paths":[["engine"]]}}]}`
	result, err = client.CallTool(t.Context(), "terraform_check_plan", map[string]any{"text": plan}, nil)
	if err != nil || result.IsError || !strings.Contains(string(result.Structured), `"forced_by":["engine"]`) || strings.Contains(string(result.Structured), "hunter2") {
		t.Errorf("%+v, %v", result, err)
	}
}
