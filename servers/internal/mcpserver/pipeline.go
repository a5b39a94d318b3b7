package mcpserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"

	"github.com/mark3labs/mcp-go/mcp"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/audit"
)

var toolName = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// newPipeline checks every tool and compiles its schemas. A tool that could not be made, has no name of the
// form that all tools have, shares its name, or accepts an argument that it does not know stops start-up.
func newPipeline(p Program, version string, tools []Tool, gate Gate, logger *slog.Logger) (*pipeline, error) {
	line := &pipeline{
		name: p.Name, tools: make(map[string]*servedTool, len(tools)),
		gate: gate, recorder: audit.Stream{Logger: logger}, slots: slots{by: map[string]int{}}, logger: logger,
		large: make(chan struct{}, maxLargeResults),
	}
	var errs []error
	for _, tool := range tools {
		served, err := prepare(tool)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if line.tools[tool.Definition.Name] != nil {
			errs = append(errs, fmt.Errorf("tool %q: defined twice", tool.Definition.Name))
		}
		line.tools[tool.Definition.Name] = served
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

func prepare(tool Tool) (*servedTool, error) {
	name := tool.Definition.Name
	switch {
	case tool.err != nil:
		return nil, tool.err
	case !toolName.MatchString(name) || len(name) > maxName:
		return nil, fmt.Errorf("tool %q: a name is lower-case words joined by _, at most %d bytes", name, maxName)
	case tool.Timeout < 0 || tool.Timeout > maxTimeout:
		return nil, fmt.Errorf("tool %q: a timeout of %s; it may be at most %s", name, tool.Timeout, maxTimeout)
	case tool.Call == nil:
		return nil, fmt.Errorf("tool %q: nothing to call", name)
	}
	input, err := compile(tool.Definition.InputSchema)
	if err != nil {
		return nil, fmt.Errorf("tool %q: input schema: %w", name, err)
	}
	output, err := compile(tool.Definition.OutputSchema)
	if err != nil {
		return nil, fmt.Errorf("tool %q: output schema: %w", name, err)
	}
	// A schema that compiles may still be an empty one, which accepts everything.
	if validate(input, json.RawMessage(`{"an argument that no tool has":0}`)) == nil {
		return nil, fmt.Errorf("tool %q: its input schema accepts unknown arguments", name)
	}
	pages, err := hasCursor(tool.Definition.OutputSchema)
	if err != nil {
		return nil, fmt.Errorf("tool %q: output schema: %w", name, err)
	}
	return &servedTool{Tool: tool, input: input, output: output, pages: pages}, nil
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
