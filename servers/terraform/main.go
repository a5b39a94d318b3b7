// Command terraform serves Terraform policy over MCP, before anything is deployed: configurations and plans
// against rules for AWS, Google Cloud and Azure. The same binary is a gate for pipelines, as `terraform check`.
package main

import (
	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

func main() {
	mcpserver.Main(mcpserver.Program{
		Name:    "terraform",
		Title:   "Terraform policy",
		Summary: "Checks Terraform configurations and plans against rules, without providers, state or network. Nothing is applied, contacted or changed.",
		Tools:   tools,
		Check:   func(mcpserver.Env) finding.Checker { return newChecker() },
	})
}
