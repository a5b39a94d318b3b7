package e2e

import (
	"slices"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/rego"
)

// The operator's policies judge what is in the workspace: the sample ones, which the bundle mounts unless told otherwise.
func TestOperatorsPolicies(t *testing.T) {
	gate := connect(t, overHTTP(theBundle.url(), theBundle.token(t, "policy-gate")))
	for _, tc := range []struct {
		tool, path string
		rules      []string
	}{
		{"kubernetes_evaluate_policy", "kubernetes/shop-web.yaml", []string{"main.deny_privileged", "main.deny_registry", "main.warn_image_digest"}},
		{"kubernetes_evaluate_policy", "kubernetes/batch.yaml", []string{"main.violation_memory_limit"}}, // set aside by data/exceptions.json
		{"terraform_evaluate_policy", "terraform", []string{"main.deny_database_encryption"}},
	} {
		result, err := gate.CallTool(t.Context(), &sdk.CallToolParams{Name: tc.tool, Arguments: map[string]any{"path": tc.path}})
		var r rego.Report
		structured(t, result, err, &r)
		for _, rule := range tc.rules {
			if !slices.ContainsFunc(r.Findings, func(f rego.Finding) bool { return f.Rule == rule }) {
				t.Errorf("%s of %s says nothing of %s: %+v", tc.tool, tc.path, rule, r)
			}
		}
	}
}
