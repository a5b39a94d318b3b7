package mcpserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/audit"
)

// newPipeline checks every tool. One that fails, or shares its name, stops start-up.
func newPipeline(p Program, version string, tools []Tool, gate Gate, logger *slog.Logger) (*pipeline, error) {
	line := &pipeline{
		name: p.Name, tools: make(map[string]*Tool, len(tools)),
		gate: gate, recorder: audit.Stream{Logger: logger}, slots: slots{by: map[string]int{}}, logger: logger,
		large: make(chan struct{}, maxLargeResults),
	}
	var errs []error
	for _, tool := range tools {
		if err := tool.Check(); err != nil {
			errs = append(errs, err)
			continue
		}
		if line.tools[tool.Definition.Name] != nil {
			errs = append(errs, fmt.Errorf("tool %q: defined twice", tool.Definition.Name))
		}
		line.tools[tool.Definition.Name] = &tool
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	line.protocol = newProtocol(line, version, p.Title, p.Summary, tools)
	var err error
	if line.identity, err = json.Marshal(mcp.Implementation{Name: p.Name, Version: version, Title: p.Title}); err != nil {
		return nil, err
	}
	if gate.Open != nil {
		var err error
		if line.recorder, err = gate.Open(); err != nil {
			return nil, err
		}
	}
	return line, nil
}

// visible is the tool filter of the protocol library: what the caller may list is what it may call.
func (p *pipeline) visible(ctx context.Context, tools []mcp.Tool) []mcp.Tool {
	r, ok := ctx.Value(requestKey{}).(*request)
	if !ok {
		return nil
	}
	var shown []mcp.Tool
	for _, tool := range tools {
		if p.gate.refusal(r.principal, tool.Name) == "" {
			shown = append(shown, tool)
		}
	}
	return shown
}
