// Package dockeragent is docker-agent's agent file, version 7 of its schema, as far as the agents of this repository use
// it: one agent that has tools of one MCP server. What is not listed here is an error when such a file is read, so that
// nothing reaches an agent that nobody has thought about.
package dockeragent

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/strictyaml"
)

const (
	// SchemaVersion is pinned: without it, docker-agent takes the newest that it knows.
	SchemaVersion = "7"
	// Root is the agent that docker-agent starts with.
	Root = "root"
	// TokenVariable is the name under which docker-agent finds the gateway's token: in the environment, or as a file of that
	// name in /run/secrets, which it takes whole, so that no newline may end it.
	TokenVariable = "MCP_GATEWAY_TOKEN" //nolint:gosec // a name

	maxFile = 64 << 10 // bytes
	indent  = 2
)

// File is one agent file.
type File struct {
	Version     string              `yaml:"version"`
	Models      map[string]Model    `yaml:"models,omitempty"`
	Providers   map[string]Provider `yaml:"providers,omitempty"`
	Agents      map[string]Agent    `yaml:"agents"`
	Permissions Permissions         `yaml:"permissions"`
}

// Model names a model of a provider.
type Model struct {
	Provider string `yaml:"provider"`
	Model    string `yaml:"model"`
}

// Provider is an endpoint that speaks as OpenAI's does. TokenKey names the variable with its key.
type Provider struct {
	BaseURL  string `yaml:"base_url"`
	TokenKey string `yaml:"token_key,omitempty"`
	APIType  string `yaml:"api_type"`
}

// Agent is what a model is told, and which tools it has.
type Agent struct {
	Model         string    `yaml:"model"` // PROVIDER/MODEL, or a name of File.Models
	Description   string    `yaml:"description"`
	Instruction   string    `yaml:"instruction"`
	MaxIterations int       `yaml:"max_iterations"`
	Toolsets      []Toolset `yaml:"toolsets"`
}

// Toolset is an MCP server, and the names of its tools that the agent keeps.
type Toolset struct {
	Type   string   `yaml:"type"`
	Remote Remote   `yaml:"remote"`
	Tools  []string `yaml:"tools,flow"`
}

// Remote is an MCP server over HTTP. In the values of Headers, ${env.NAME} is a variable.
type Remote struct {
	URL           string            `yaml:"url"`
	TransportType string            `yaml:"transport_type"`
	Headers       map[string]string `yaml:"headers,flow"`
}

// Permissions are the tools that need no asking.
type Permissions struct {
	Allow []string `yaml:"allow,flow"`
}

// New is the file of an agent with tools of the MCP server at url; authorization is the value of that header.
func New(url, authorization string, agent Agent, tools []string) File {
	agent.Toolsets = []Toolset{{
		Type:   "mcp",
		Remote: Remote{URL: url, TransportType: "streamable", Headers: map[string]string{"Authorization": authorization}},
		Tools:  tools,
	}}
	return File{Version: SchemaVersion, Agents: map[string]Agent{Root: agent}, Permissions: Permissions{Allow: tools}}
}

// Encode writes the file as YAML.
func (f File) Encode() ([]byte, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(indent)
	err := encoder.Encode(f)
	return out.Bytes(), err
}

// Parse reads a file; name stands for it in errors, which read "name:line: what is wrong", or "name: …" where it is about the whole.
func Parse(name string, data []byte) (File, error) {
	var f File
	if err := strictyaml.Decode(name, bytes.NewReader(data), maxFile, &f); err != nil {
		return File{}, err
	}
	if err := errors.Join(f.problems()...); err != nil {
		return File{}, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

// problems are what docker-agent would accept, and would then not do as its author thinks.
func (f File) problems() []error {
	var errs []error
	problem := func(is bool, format string, args ...any) {
		if is {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	root := f.Agents[Root]
	problem(f.Version != SchemaVersion, "version is %q, not %q: without it docker-agent reads the file by the newest schema that it knows", f.Version, SchemaVersion)
	problem(len(f.Agents) != 1 || root.Model == "", "agents: want %s alone, with a model", Root)
	problem(root.MaxIterations <= 0, "max_iterations is not set: the agent may go on for ever")
	problem(len(root.Toolsets) != 1, "%d toolsets, want one", len(root.Toolsets))
	for _, set := range root.Toolsets {
		problem(set.Type != "mcp" || set.Remote.URL == "", "a toolset of type %q: want mcp with a remote; a server that is started over stdio inherits the agent's whole environment", set.Type)
		problem(set.Remote.TransportType != "streamable", "transport_type is %q, not streamable", set.Remote.TransportType)
		problem(len(set.Tools) == 0, "tools is empty: the agent would keep every tool that the gateway lists")
		for _, tool := range set.Tools {
			problem(strings.ContainsAny(tool, "*?"), "tools: %q: docker-agent knows no wildcards there", tool)
			problem(!slices.Contains(f.Permissions.Allow, tool), "permissions: %s is not allowed: without a terminal it may be refused", tool)
		}
		for _, tool := range f.Permissions.Allow {
			problem(!slices.Contains(set.Tools, tool), "permissions: %s is allowed, and no tool of the agent", tool)
		}
		authorization := set.Remote.Headers["Authorization"]
		problem(!strings.HasPrefix(authorization, "Bearer ") || len(set.Remote.Headers) != 1, "headers: want Authorization: Bearer … alone; a 401 starts an OAuth flow")
	}
	return errs
}
