package mcpserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/listen"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/version"
)

const healthTimeout = 5 * time.Second

// prepare makes the pipeline for a command that runs without a gate.
func (p Program) prepare(command string, args []string, stderr io.Writer, rest *[]string) (*pipeline, []Tool, error) {
	o, err := p.parse(command, args, stderr, rest)
	if err != nil {
		return nil, nil, err
	}
	env, err := p.env(o, stderr)
	if err != nil {
		return nil, nil, err
	}
	tools, err := p.Tools(env)
	if err != nil {
		return nil, nil, err
	}
	line, err := newPipeline(p, version.String(), tools, Gate{}, env.Logger)
	return line, tools, err
}

// health asks the server at --listen whether it can serve.
func (p Program) health(ctx context.Context, args []string, stderr io.Writer) error {
	o, err := p.parse("health", args, stderr, nil)
	if err != nil {
		return err
	}
	spec := o.listen
	if spec == "auto" || spec == stdio {
		spec = "tcp://127.0.0.1:" + tcpPort
	}
	address, err := listen.Parse(strings.Replace(spec, "tcp://0.0.0.0:", "tcp://127.0.0.1:", 1))
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return listen.Dial(ctx, address) },
	}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://localhost"+healthPath, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("not healthy: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := limit.ReadAll(response.Body, maxHeader)
	if err != nil {
		return fmt.Errorf("not healthy: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("not healthy: %s: %s", response.Status, bytes.TrimSpace(body))
	}
	return nil
}

// listTools prints the definitions, as a JSON list in the order of their names.
func (p Program) listTools(args []string, stdout, stderr io.Writer) error {
	_, tools, err := p.prepare("tools", args, stderr, nil)
	if err != nil {
		return err
	}
	definitions := make([]Definition, len(tools))
	for i, tool := range tools {
		definitions[i] = tool.Definition
	}
	slices.SortFunc(definitions, func(a, b Definition) int { return strings.Compare(a.Name, b.Name) })
	enc := json.NewEncoder(stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(definitions)
}

// callTool runs one tool through the pipeline and prints its result.
func (p Program) callTool(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) error {
	if p.Gate != nil {
		return errors.New("call would pass by the policy and the audit log; use a client with an agent's token")
	}
	var rest []string
	line, _, err := p.prepare("call", args, stderr, &rest)
	if err != nil {
		return err
	}
	if len(rest) != 2 {
		_, _ = fmt.Fprintf(stderr, "usage: %s call [FLAGS] TOOL JSON, where JSON is the object of arguments, or - to read it from standard input\n", p.Name)
		return errUsage
	}
	arguments := []byte(rest[1])
	if rest[1] == "-" {
		if arguments, err = limit.ReadAll(stdin, maxBody); err != nil {
			return fmt.Errorf("reading standard input: %w", err)
		}
	}
	if !json.Valid(arguments) {
		return fmt.Errorf("the arguments are not a JSON object, such as '{\"id\": \"x\"}': %s", echo(string(arguments)))
	}
	body, err := json.Marshal(map[string]any{
		"jsonrpc": "2.0", "id": 1, "method": "tools/call",
		"params": map[string]any{"name": rest[0], "arguments": json.RawMessage(arguments)},
	})
	if err != nil {
		return err
	}
	out := line.serve(ctx, inbound{transport: stdio, principal: "cli", body: body})
	var reply struct {
		Error *struct {
			Message string `json:"message"`
		} `json:"error"`
		Result struct {
			IsError           bool                    `json:"isError"`
			StructuredContent json.RawMessage         `json:"structuredContent"`
			Content           []struct{ Text string } `json:"content"`
		} `json:"result"`
	}
	if err := json.Unmarshal(out.body, &reply); err != nil {
		return err
	}
	switch {
	case reply.Error != nil:
		return errors.New(reply.Error.Message)
	case reply.Result.IsError && len(reply.Result.Content) > 0:
		return errors.New(reply.Result.Content[0].Text)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, reply.Result.StructuredContent, "", "  "); err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, pretty.String())
	return err
}
