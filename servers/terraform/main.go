// Command terraform serves Terraform policy over MCP, before anything is deployed: configurations and plans
// against rules for AWS, Google Cloud and Azure. The same binary is a gate for pipelines, as `terraform check`.
package main

import (
	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/rego"
)

func main() {
	var policies rego.Options
	mcpserver.Main(mcpserver.Program{
		Name:    "terraform",
		Title:   "Terraform policy",
		Summary: "Checks Terraform configurations and plans against rules and the operator's own policies, without providers, state or network. Nothing is applied, contacted or changed.",
		Flags:   policies.Flag,
		Tools: func(env mcpserver.Env) ([]mcpserver.Tool, error) {
			p, err := policies.Load()
			if err != nil {
				return nil, err
			}
			return tools(env, p)
		},
		Check: func(mcpserver.Env) finding.Checker { return newChecker(&policies) },
	})
}
