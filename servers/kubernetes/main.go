// Command kubernetes serves Kubernetes policy over MCP, before anything is deployed: manifests against the schemas
// of a release, the Pod Security Standards, the rules of its lint, and policies of one's own. The same binary is a gate for pipelines, as `kubernetes check`.
package main

import (
	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

func main() {
	var own options
	mcpserver.Main(mcpserver.Program{
		Name:    "kubernetes",
		Title:   "Kubernetes policy",
		Summary: "Checks Kubernetes manifests before they are deployed: Pod Security as the API server judges it, more than a hundred other rules, and the operator's own policies. Nothing is contacted or changed.",
		Flags:   own.flags,
		Tools:   func(env mcpserver.Env) ([]mcpserver.Tool, error) { return tools(env, &own) },
		Check:   func(mcpserver.Env) finding.Checker { return withPolicies(newChecker(), &own.policies) },
	})
}
