package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/dockeragent"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpclient"
)

const (
	callTimeout  = time.Minute // of a tool, and of the model
	maxEventLine = 1 << 20     // bytes
	maxRefusal   = 4 << 10     // bytes of what the model says when it refuses
)

// model is where completions come from.
type model struct {
	name, baseURL, key string
}

// findModel looks named up: in the file's models, else as PROVIDER/MODEL.
func findModel(file dockeragent.File, named string) (model, error) {
	chosen, ok := file.Models[named]
	if !ok {
		provider, name, ok := strings.Cut(named, "/")
		if !ok {
			return model{}, fmt.Errorf("model %q: want PROVIDER/MODEL, or a name of the file's models", named)
		}
		chosen = dockeragent.Model{Provider: provider, Model: name}
	}
	if chosen.Provider == "dmr" {
		host, err := variable("MODEL_RUNNER_HOST")
		if err != nil {
			return model{}, err
		}
		return model{name: chosen.Model, baseURL: strings.TrimSuffix(host, "/") + "/engines/v1"}, nil
	}
	provider, ok := file.Providers[chosen.Provider]
	if !ok {
		return model{}, fmt.Errorf("provider %q: this stand-in has dmr, and those of the file that speak as OpenAI's does", chosen.Provider)
	}
	m := model{name: chosen.Model, baseURL: strings.TrimSuffix(provider.BaseURL, "/")}
	if provider.TokenKey == "" {
		return m, nil
	}
	var err error
	m.key, err = variable(provider.TokenKey)
	return m, err
}

// agent has one conversation.
type agent struct {
	body   dockeragent.Agent
	allow  []string
	model  model
	tools  mcpclient.Client
	http   *http.Client
	stderr io.Writer
}

var reference = regexp.MustCompile(`\$\{env\.([A-Za-z0-9_]+)\}`)

func newAgent(file dockeragent.File, m model, stderr io.Writer) (*agent, error) {
	body := file.Agents[dockeragent.Root]
	remote := body.Toolsets[0].Remote
	var missing error
	authorization := reference.ReplaceAllStringFunc(remote.Headers["Authorization"], func(match string) string {
		value, err := variable(reference.FindStringSubmatch(match)[1])
		missing = errors.Join(missing, err)
		return value
	})
	// The proxy of the environment, as docker-agent takes it: what listens on this machine is reached without.
	client := &http.Client{Timeout: callTimeout, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment}}
	return &agent{
		body: body, allow: file.Permissions.Allow, model: m, http: client, stderr: stderr,
		tools: mcpclient.Client{HTTP: client, URL: remote.URL, Token: strings.TrimPrefix(authorization, "Bearer ")},
	}, missing
}

// definition is as much of a tool as the model is told.
type definition struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	InputSchema json.RawMessage `json:"inputSchema"`
	Annotations struct {
		ReadOnly bool `json:"readOnlyHint"`
	} `json:"annotations"`
}

type object = map[string]any

// turn asks the model, and does what it asks for, until it only says something.
func (a *agent) turn(ctx context.Context, question string) (string, error) {
	raw, err := a.tools.ListTools(ctx)
	if err != nil {
		return "", fmt.Errorf("listing the tools: %w", err)
	}
	known := map[string]definition{}
	var offered []object
	for _, one := range raw {
		var d definition
		if err := json.Unmarshal(one, &d); err != nil {
			return "", fmt.Errorf("a tool's definition: %w", err)
		}
		if !slices.Contains(a.body.Toolsets[0].Tools, d.Name) {
			continue
		}
		known[d.Name] = d
		offered = append(offered, object{"type": "function", "function": object{"name": d.Name, "description": d.Description, "parameters": d.InputSchema}})
	}
	messages := []object{{"role": "system", "content": a.body.Instruction}, {"role": "user", "content": question}}
	for range a.body.MaxIterations {
		said, calls, err := a.complete(ctx, messages, offered)
		if err != nil {
			return "", err
		}
		if len(calls) == 0 {
			return said, nil
		}
		messages = append(messages, object{"role": "assistant", "content": said, "tool_calls": calls})
		for _, call := range calls {
			result := a.use(ctx, known, call)
			messages = append(messages, object{"role": "tool", "tool_call_id": call.ID, "content": result})
		}
	}
	return "", fmt.Errorf("no answer after %d iterations", a.body.MaxIterations)
}

// use calls a tool, if the agent has it and need not ask, and returns what the model is to read.
func (a *agent) use(ctx context.Context, known map[string]definition, call *toolCall) string {
	name := call.Function.Name
	d, ok := known[name]
	fmt.Fprintf(a.stderr, "tool %s %s\n", name, call.Function.Arguments)
	if !ok {
		return "error: there is no tool " + name
	}
	if !d.Annotations.ReadOnly && !slices.Contains(a.allow, name) {
		return "error: the use of " + name + " was not approved"
	}
	result, err := a.tools.CallTool(ctx, name, json.RawMessage(call.Function.Arguments), nil)
	switch {
	case err != nil:
		return "error: " + err.Error()
	case result.IsError:
		return "error: " + result.Text
	}
	return string(result.Structured)
}

// toolCall is what the model wants to be called; a stream brings it in pieces.
type toolCall struct {
	ID       string `json:"id"`
	Type     string `json:"type"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

// complete asks for a streamed completion, and puts it together.
func (a *agent) complete(ctx context.Context, messages, tools []object) (said string, calls []*toolCall, err error) {
	body, err := json.Marshal(object{"model": a.model.name, "messages": messages, "tools": tools, "stream": true})
	if err != nil {
		return "", nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.model.baseURL+"/chat/completions", bytes.NewReader(body))
	if err != nil {
		return "", nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	if a.model.key != "" {
		request.Header.Set("Authorization", "Bearer "+a.model.key)
	}
	response, err := a.http.Do(request)
	if err != nil {
		return "", nil, fmt.Errorf("the model: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(response.Body, maxRefusal))
		return "", nil, fmt.Errorf("the model: %s: %s", response.Status, strings.TrimSpace(string(why)))
	}
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxEventLine)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if data == "[DONE]" {
			return said, calls, nil
		}
		var chunk struct {
			Choices []struct {
				Delta struct {
					Content   string `json:"content"`
					ToolCalls []struct {
						Index int `json:"index"`
						toolCall
					} `json:"tool_calls"`
				} `json:"delta"`
			} `json:"choices"`
		}
		if err := json.Unmarshal([]byte(data), &chunk); err != nil {
			return "", nil, fmt.Errorf("the model: %w in %s", err, data)
		}
		for _, choice := range chunk.Choices {
			said += choice.Delta.Content
			for _, piece := range choice.Delta.ToolCalls {
				if piece.Index == len(calls) {
					calls = append(calls, &toolCall{ID: piece.ID, Type: piece.Type})
				}
				if piece.Index < 0 || piece.Index >= len(calls) {
					return "", nil, fmt.Errorf("the model: a piece of tool call %d, of %d", piece.Index, len(calls))
				}
				call := calls[piece.Index]
				call.Function.Name += piece.Function.Name
				call.Function.Arguments += piece.Function.Arguments
			}
		}
	}
	return "", nil, errors.Join(fmt.Errorf("the model: the stream ended early"), lines.Err())
}
