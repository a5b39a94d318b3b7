// Command kubernetes serves Kubernetes policy over MCP, before anything is deployed: manifests against the
// Pod Security Standards. The same binary is a gate for pipelines, as `kubernetes check`.
package main

import (
	"flag"

	"k8s.io/pod-security-admission/api"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/rego"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/version"
)

func main() {
	var policies rego.Options
	mcpserver.Main(mcpserver.Program{
		Name:    "kubernetes",
		Title:   "Kubernetes policy",
		Summary: "Checks Kubernetes manifests against the Pod Security Standards, as the API server would, and against policies of the operator's own. Nothing is contacted or changed.",
		Flags:   policies.Flag,
		Tools: func(env mcpserver.Env) ([]mcpserver.Tool, error) {
			p, err := policies.Load()
			if err != nil {
				return nil, err
			}
			return tools(env, p)
		},
		Check: func(mcpserver.Env) finding.Checker { return policies.Extend(newChecker(), judgePolicies) },
	})
}

// newChecker makes the check subcommand.
func newChecker() finding.Checker {
	e, err := newEvaluator()
	c := checker{evaluator: e, err: err, level: api.LevelRestricted, version: "latest", values: maxCheckValues, kept: maxKept}
	return finding.Checker{
		Tool:    "kubernetes",
		Version: version.String(),
		Rules:   sarifRules(),
		Match:   isManifest,
		Check:   c.check,
		Flags: func(fs *flag.FlagSet) {
			fs.Func("level", "`level` of the standards: privileged, baseline or restricted (default restricted)", c.setLevel)
			fs.Func("pod-security-version", "`version` of the standards: latest or v1.N (default latest)", c.setVersion)
		},
	}
}
