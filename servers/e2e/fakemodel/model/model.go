// Package model is a language model that plays a script: an HTTP handler that speaks OpenAI's chat completions, streamed or
// not, and says turn by turn what the script has. What it is asked is held against the script too, so that an agent which
// tells it something else fails, and says why.
package model

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	maxScript  = 1 << 20  // bytes
	maxRequest = 16 << 20 // bytes: a conversation with its tool results
	pieceSize  = 24       // bytes of text or arguments in one event of a stream, so that whoever reads it must put them together
)

// Script is what the model says. Which turn it is, the conversation itself tells: as many as the model has had in it. So any
// number of conversations are played at once.
type Script struct {
	Model string `yaml:"model"` // the only one that there is
	Key   string `yaml:"key"`   // the bearer token that is wanted; "" wants none
	Turns []Turn `yaml:"turns"`
}

// Turn is one answer of the model, and what it wants to have been told before.
type Turn struct {
	Tools []string `yaml:"tools"` // the names of all tools that are offered, sorted; none: whichever
	Heard []string `yaml:"heard"` // what stands in the last message
	Never []string `yaml:"never"` // what stands in no message at all
	Say   string   `yaml:"say"`
	Call  []Call   `yaml:"call"`
}

// Call is one use of a tool.
type Call struct {
	Tool string         `yaml:"tool"`
	Args map[string]any `yaml:"args"`
}

// ReadScript reads a script in YAML.
func ReadScript(r io.Reader) (Script, error) {
	var s Script
	decoder := yaml.NewDecoder(io.LimitReader(r, maxScript))
	decoder.KnownFields(true)
	if err := decoder.Decode(&s); err != nil {
		return Script{}, fmt.Errorf("the script: %w", err)
	}
	if s.Model == "" || len(s.Turns) == 0 {
		return Script{}, fmt.Errorf("the script: model and turns are needed")
	}
	return s, nil
}

// request is as much of a request for a completion as is looked at.
type request struct {
	Model    string    `json:"model"`
	Stream   bool      `json:"stream"`
	Messages []message `json:"messages"`
	Tools    []struct {
		Type     string `json:"type"`
		Function struct {
			Name       string          `json:"name"`
			Parameters json.RawMessage `json:"parameters"`
		} `json:"function"`
	} `json:"tools"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

type message struct {
	Role       string          `json:"role"`
	Content    json.RawMessage `json:"content"`
	ToolCallID string          `json:"tool_call_id"`
}

// text is a message's: a string, or the texts of its parts.
func (m message) text() string {
	var s string
	if json.Unmarshal(m.Content, &s) == nil {
		return s
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(m.Content, &parts) != nil {
		return ""
	}
	for _, part := range parts {
		s += part.Text
	}
	return s
}

type server struct {
	script Script
	logger *slog.Logger
}

// New returns the model. It logs every request for a completion: what it was offered and asked, and which turn it played.
func New(script Script, logger *slog.Logger) http.Handler {
	s := &server{script, logger}
	mux := http.NewServeMux()
	// Docker Model Runner has them below /engines.
	for _, prefix := range []string{"/v1", "/engines/v1"} {
		mux.HandleFunc("POST "+prefix+"/chat/completions", s.complete)
		mux.HandleFunc("GET "+prefix+"/models", s.list)
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, http.StatusNotFound, "not_found", "no such endpoint: "+r.Method+" "+r.URL.Path)
	})
	return mux
}

func (s *server) list(w http.ResponseWriter, r *http.Request) {
	if s.admits(w, r) {
		answer(w, object{"object": "list", "data": []object{{"id": s.script.Model, "object": "model", "owned_by": "bulkhead"}}})
	}
}

func (s *server) admits(w http.ResponseWriter, r *http.Request) bool {
	if s.script.Key != "" && r.Header.Get("Authorization") != "Bearer "+s.script.Key {
		refuse(w, http.StatusUnauthorized, "invalid_api_key", "the key is not the script's")
		return false
	}
	return true
}

func (s *server) complete(w http.ResponseWriter, r *http.Request) {
	if !s.admits(w, r) {
		return
	}
	var asked request
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&asked); err != nil {
		refuse(w, http.StatusBadRequest, "invalid_request_error", err.Error())
		return
	}
	number, problem := s.turn(asked)
	s.logger.LogAttrs(r.Context(), slog.LevelInfo, "completion", slog.Int("turn", number), slog.String("problem", problem),
		slog.Int("messages", len(asked.Messages)), slog.Any("tools", asked.names()), slog.Bool("stream", asked.Stream))
	if problem != "" {
		refuse(w, http.StatusBadRequest, "invalid_request_error", problem)
		return
	}
	s.play(w, asked, number)
}

func (r request) names() []string {
	var names []string
	for _, tool := range r.Tools {
		names = append(names, tool.Function.Name)
	}
	slices.Sort(names)
	return names
}

// turn finds whose turn of the script it is, and what is wrong with what was asked.
func (s *server) turn(asked request) (number int, problem string) {
	for _, m := range asked.Messages {
		if m.Role == "assistant" {
			number++
		}
	}
	switch {
	case asked.Model != s.script.Model:
		return number, fmt.Sprintf("there is no model %q", asked.Model)
	case len(asked.Messages) == 0:
		return number, "no messages"
	case number >= len(s.script.Turns):
		return number, fmt.Sprintf("the script has %d turns, and this is one more", len(s.script.Turns))
	}
	for _, tool := range asked.Tools {
		if tool.Type != "function" || !json.Valid(tool.Function.Parameters) {
			return number, fmt.Sprintf("a tool of type %q, with parameters %s", tool.Type, tool.Function.Parameters)
		}
	}
	turn := s.script.Turns[number]
	if names := asked.names(); turn.Tools != nil && !slices.Equal(names, turn.Tools) {
		return number, fmt.Sprintf("turn %d: the tools are %q, not %q", number, names, turn.Tools)
	}
	last := asked.Messages[len(asked.Messages)-1].text()
	for _, want := range turn.Heard {
		if !strings.Contains(last, want) {
			return number, fmt.Sprintf("turn %d: %q is not in the last message: %s", number, want, last)
		}
	}
	for _, m := range asked.Messages {
		for _, secret := range turn.Never {
			if strings.Contains(m.text(), secret) {
				return number, fmt.Sprintf("turn %d: %q is in a message of %s", number, secret, m.Role)
			}
		}
	}
	return number, ""
}

type object = map[string]any

// play says the turn: at once, or in pieces.
func (s *server) play(w http.ResponseWriter, asked request, number int) {
	turn := s.script.Turns[number]
	finish := "stop"
	var calls []object
	for i, call := range turn.Call {
		arguments, err := json.Marshal(call.Args)
		if err != nil || call.Args == nil {
			arguments = []byte("{}")
		}
		finish = "tool_calls"
		calls = append(calls, object{"id": fmt.Sprintf("call_%d_%d", number, i), "type": "function",
			"function": object{"name": call.Tool, "arguments": string(arguments)}})
	}
	usage := object{"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
	head := object{"id": fmt.Sprintf("chatcmpl-%d", number), "created": 0, "model": s.script.Model}
	if !asked.Stream {
		head["object"], head["usage"] = "chat.completion", usage
		said := object{"role": "assistant", "content": turn.Say}
		if calls != nil {
			said["tool_calls"] = calls
		}
		head["choices"] = []object{{"index": 0, "message": said, "finish_reason": finish}}
		answer(w, head)
		return
	}
	head["object"] = "chat.completion.chunk"
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	event := func(choices []object, more object) {
		chunk := object{"choices": choices}
		for _, part := range []object{head, more} {
			maps.Copy(chunk, part)
		}
		data, _ := json.Marshal(chunk) // of strings and numbers
		_, _ = fmt.Fprintf(w, "data: %s\n\n", data)
		_ = http.NewResponseController(w).Flush()
	}
	delta := func(d object, finish any) {
		event([]object{{"index": 0, "delta": d, "finish_reason": finish}}, nil)
	}
	delta(object{"role": "assistant", "content": ""}, nil)
	for piece := range pieces(turn.Say) {
		delta(object{"content": piece}, nil)
	}
	for i, call := range calls {
		function, _ := call["function"].(object)
		arguments, _ := function["arguments"].(string)
		delta(object{"tool_calls": []object{{"index": i, "id": call["id"], "type": "function", "function": object{"name": function["name"], "arguments": ""}}}}, nil)
		for piece := range pieces(arguments) {
			delta(object{"tool_calls": []object{{"index": i, "function": object{"arguments": piece}}}}, nil)
		}
	}
	delta(object{}, finish)
	if asked.StreamOptions.IncludeUsage {
		event([]object{}, object{"usage": usage})
	}
	_, _ = io.WriteString(w, "data: [DONE]\n\n")
}

// pieces cuts text anywhere but within a character.
func pieces(text string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		var piece strings.Builder
		for _, r := range text {
			piece.WriteRune(r)
			if piece.Len() >= pieceSize {
				if !yield(piece.String()) {
					return
				}
				piece.Reset()
			}
		}
		if piece.Len() > 0 {
			yield(piece.String())
		}
	}
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(value)
}

// refuse answers with an error in OpenAI's form.
func refuse(w http.ResponseWriter, status int, code, why string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(object{"error": object{"message": why, "type": "invalid_request_error", "code": code, "param": nil}})
}
