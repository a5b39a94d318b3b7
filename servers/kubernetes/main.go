// Command kubernetes serves Kubernetes policy over MCP, before anything is deployed: manifests against the
// Pod Security Standards and the rules of its lint. The same binary is a gate for pipelines, as `kubernetes check`.
package main

import (
	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/rego"
)

func main() {
	var policies rego.Options
	mcpserver.Main(mcpserver.Program{
		Name:    "kubernetes",
		Title:   "Kubernetes policy",
		Summary: "Checks Kubernetes manifests before they are deployed: Pod Security as the API server judges it, more than a hundred other rules, and the operator's own policies. Nothing is contacted or changed.",
		Flags:   policies.Flag,
		Tools: func(env mcpserver.Env) ([]mcpserver.Tool, error) {
			p, err := policies.Load()
			if err != nil {
				return nil, err
			}
			return tools(env, p)
		},
		Check: func(mcpserver.Env) finding.Checker { return withPolicies(newChecker(), &policies) },
	})
}
