package mcpserver

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
	"github.com/mark3labs/mcp-go/mcp"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
)

// Definition is what a client sees of a tool. Its JSON form is MCP's Tool object (specification 2026-07-28,
// server/tools), with the annotations of a read-only tool: there is no other kind in Bulkhead, and a
// definition that says otherwise does not decode.
type Definition struct {
	Name        string // snake_case, unique in its server
	Title       string
	Description string
	OpenWorld   bool // whether the tool reaches systems outside the process

	// JSON Schemas (2020-12) of type object. Typed derives them.
	InputSchema, OutputSchema json.RawMessage
}

type wireDefinition struct {
	Name         string          `json:"name"`
	Title        string          `json:"title,omitempty"`
	Description  string          `json:"description,omitempty"`
	InputSchema  json.RawMessage `json:"inputSchema"`
	OutputSchema json.RawMessage `json:"outputSchema,omitempty"`
	Annotations  annotations     `json:"annotations"`
}

// annotations are pointers because an absent hint means "true" for two of the four.
type annotations struct {
	Title       string `json:"title,omitempty"`
	ReadOnly    *bool  `json:"readOnlyHint"`
	Destructive *bool  `json:"destructiveHint"`
	Idempotent  *bool  `json:"idempotentHint"`
	OpenWorld   *bool  `json:"openWorldHint"`
}

// MarshalJSON writes the Tool object.
func (d Definition) MarshalJSON() ([]byte, error) {
	yes, no := true, false
	return json.Marshal(wireDefinition{
		Name: d.Name, Title: d.Title, Description: d.Description,
		InputSchema: d.InputSchema, OutputSchema: d.OutputSchema,
		Annotations: annotations{ReadOnly: &yes, Destructive: &no, Idempotent: &yes, OpenWorld: &d.OpenWorld},
	})
}

// UnmarshalJSON reads a Tool object. A member that Bulkhead's tools do not have, and annotations of a tool
// that is not read-only, are errors.
func (d *Definition) UnmarshalJSON(data []byte) error {
	var w wireDefinition
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&w); err != nil {
		return fmt.Errorf("tool definition: %w", err)
	}
	a := w.Annotations
	if a.ReadOnly == nil || !*a.ReadOnly || a.Destructive == nil || *a.Destructive ||
		a.Idempotent == nil || !*a.Idempotent || a.OpenWorld == nil || a.Title != "" {
		return fmt.Errorf("tool definition: %q is not annotated as a read-only tool", w.Name)
	}
	*d = Definition{
		Name: w.Name, Title: w.Title, Description: w.Description, OpenWorld: *a.OpenWorld,
		InputSchema: w.InputSchema, OutputSchema: w.OutputSchema,
	}
	return nil
}

// CheckArguments holds args, a JSON object, against the input schema. Its error says which argument and what was wanted.
func (d Definition) CheckArguments(args json.RawMessage) error {
	schema, err := compile(d.InputSchema)
	if err != nil {
		return fmt.Errorf("tool %q: input schema: %w", d.Name, err)
	}
	return validate(schema, args)
}

// Canonical returns the definition in the JSON Canonicalization Scheme (RFC 8785).
func (d Definition) Canonical() ([]byte, error) {
	data, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	value := jsontext.Value(data)
	if err := value.Canonicalize(); err != nil {
		return nil, fmt.Errorf("tool %q: %w", d.Name, err)
	}
	return value, nil
}

// Digest returns the SHA-256 of the canonical form, in hexadecimal.
func (d Definition) Digest() (string, error) {
	canonical, err := d.Canonical()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(canonical)
	return hex.EncodeToString(sum[:]), nil
}

func (d Definition) mcpTool() mcp.Tool {
	yes, no := true, false
	return mcp.Tool{
		Name: d.Name, Title: d.Title, Description: d.Description,
		RawInputSchema: d.InputSchema, RawOutputSchema: d.OutputSchema,
		Annotations: mcp.ToolAnnotation{
			ReadOnlyHint: &yes, DestructiveHint: &no, IdempotentHint: &yes, OpenWorldHint: &d.OpenWorld,
		},
	}
}

var toolName = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

// Tool is one tool of a server. A typed tool and one that a gateway forwards look the same from here on.
type Tool struct {
	Definition Definition
	// Call runs the tool on arguments that the input schema has accepted. An error that holds an [*Error]
	// reaches the caller; any other becomes "internal error" and an id.
	Call func(ctx context.Context, args json.RawMessage) (Result, error)
	// Timeout bounds one call; zero is 30 seconds, and more than five minutes stops start-up.
	Timeout time.Duration
	// Server is who really runs the tool, for the record; empty is this process.
	Server string

	err     error    // why Typed could not make this tool; stops start-up
	schemas *schemas // nil before Check
}

// schemas are those of a tool's definition, compiled.
type schemas struct {
	input, output *validator.Schema
	canCut        bool // the results
}

// Check says why a server with this tool would not start: it could not be made, its name has not the form that all tools'
// names have, or it accepts an argument that it does not know. What it compiles for that is kept.
func (t *Tool) Check() error {
	if t.schemas != nil {
		return nil
	}
	name := t.Definition.Name
	switch {
	case t.err != nil:
		return t.err
	case !toolName.MatchString(name) || len(name) > maxName:
		return fmt.Errorf("tool %q: a name is lower-case words joined by _, at most %d bytes", name, maxName)
	case t.Timeout < 0 || t.Timeout > maxTimeout:
		return fmt.Errorf("tool %q: a timeout of %s; it may be at most %s", name, t.Timeout, maxTimeout)
	case t.Call == nil:
		return fmt.Errorf("tool %q: nothing to call", name)
	}
	input, err := compile(t.Definition.InputSchema)
	if err != nil {
		return fmt.Errorf("tool %q: input schema: %w", name, err)
	}
	output, err := compile(t.Definition.OutputSchema)
	if err != nil {
		return fmt.Errorf("tool %q: output schema: %w", name, err)
	}
	// A schema that compiles may still be an empty one, which accepts everything.
	if validate(input, json.RawMessage(`{"an argument that no tool has":0}`)) == nil {
		return fmt.Errorf("tool %q: its input schema accepts unknown arguments", name)
	}
	canCut, err := canCut(t.Definition.OutputSchema)
	if err != nil {
		return fmt.Errorf("tool %q: output schema: %w", name, err)
	}
	t.schemas = &schemas{input, output, canCut}
	return nil
}

func (t Tool) timeout() time.Duration { return cmp.Or(t.Timeout, callTimeout) }

// Result is what a tool answers: one JSON object that its output schema describes.
type Result struct {
	Structured json.RawMessage
}

// Typed makes a tool of a function. The schemas come from In and Out, whose fields say their bounds in struct
// tags named after JSON Schema's keywords (see schema.go); a type that leaves a string or a list unbounded
// makes a tool that stops start-up.
func Typed[In, Out any](d Definition, f func(context.Context, In) (Out, error)) Tool {
	input, err := inputSchema[In]()
	if err != nil {
		return Tool{Definition: d, err: fmt.Errorf("tool %q: input: %w", d.Name, err)}
	}
	output, err := outputSchema[Out]()
	if err != nil {
		return Tool{Definition: d, err: fmt.Errorf("tool %q: output: %w", d.Name, err)}
	}
	d.InputSchema, d.OutputSchema = input.raw, output.raw
	call := func(ctx context.Context, args json.RawMessage) (Result, error) {
		var in In
		for _, source := range []json.RawMessage{input.defaults, args} {
			if err := jsonv2.Unmarshal(source, &in); err != nil {
				return Result{}, fmt.Errorf("decoding arguments that the schema accepted: %w", err)
			}
		}
		out, err := f(ctx, in)
		if err != nil {
			return Result{}, err
		}
		structured, err := jsonv2.Marshal(out, jsonv1.OmitEmptyWithLegacySemantics(true), jsonv2.Deterministic(true))
		if err != nil {
			return Result{}, fmt.Errorf("encoding the result: %w", err)
		}
		return Result{Structured: structured}, nil
	}
	return Tool{Definition: d, Call: call}
}

// Code is the stable, machine-readable half of an [Error].
type Code string

// The codes that callers may see. They are part of the interface: add, never change.
const (
	CodeInvalidArguments Code = "invalid_arguments" // the input schema or the tool refused the arguments
	CodeNotFound         Code = "not_found"         // what the arguments name does not exist
	CodeDenied           Code = "denied"            // a policy of the operator refused it
	CodeForbidden        Code = "forbidden"         // the upstream refused the credentials
	CodeRateLimited      Code = "rate_limited"      // too many calls; the message says when to come back
	CodeUnavailable      Code = "unavailable"       // the upstream could not be reached or failed
	CodeTimeout          Code = "timeout"           // the call's deadline passed
	CodeTooLarge         Code = "too_large"         // an input or an answer passed a size bound
	CodeBusy             Code = "busy"              // too many calls at once
	CodeCancelled        Code = "cancelled"         // its caller cancelled the call, or went away
	CodeInternal         Code = "internal"          // a fault of ours; the message holds an id to look for in the log
)

// Known says whether c is one of the codes above.
func (c Code) Known() bool {
	switch c {
	case CodeInvalidArguments, CodeNotFound, CodeDenied, CodeForbidden, CodeRateLimited, CodeUnavailable, CodeTimeout,
		CodeTooLarge, CodeBusy, CodeCancelled, CodeInternal:
		return true
	default:
		return false
	}
}

// Error is an error that a caller may see. Its message says what was wrong, where, and what to do.
type Error struct {
	Code    Code
	Message string
	cause   error
}

// Errorf makes an [*Error]; the format may wrap a cause with %w, whose text is then part of the message.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), cause: errors.Unwrap(err)}
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Unwrap returns what Errorf wrapped.
func (e *Error) Unwrap() error { return e.cause }
