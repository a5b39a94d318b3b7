package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

const (
	maxCondition     = 4 << 10 // bytes of an expression
	maxConditionCost = 100_000 // of one evaluation, in CEL's units: about as many steps, or ten characters compared each
	checkInterrupt   = 100     // steps of a comprehension between two looks at the deadline
)

// condition is a CEL expression (https://github.com/cel-expr/cel-spec) over the arguments of one tool.
type condition struct {
	schema  *argumentSchema
	program cel.Program
}

// newCondition checks expression against the tool's input schema: an argument that the tool does not have, or
// one compared with something of another type, is an error here and not at the first call.
func newCondition(expression, tool string, inputSchema json.RawMessage) (*condition, error) {
	if len(expression) > maxCondition {
		return nil, fmt.Errorf("the condition has %d bytes, more than %d", len(expression), maxCondition)
	}
	var schema argumentSchema
	if err := json.Unmarshal(inputSchema, &schema); err != nil {
		return nil, fmt.Errorf("the input schema of %s: %w", tool, err)
	}
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	provider := argumentTypes{Registry: registry, objects: map[string]map[string]*types.FieldType{}}
	env, err := cel.NewEnv(
		cel.CustomTypeProvider(provider),
		cel.CustomTypeAdapter(registry),
		cel.Variable("args", provider.declare("/args", &schema)),
		cel.Variable("agent", cel.StringType),
		cel.Variable("tool", cel.StringType),
	)
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(expression)
	if err := issues.Err(); err != nil {
		return nil, fmt.Errorf("for %s: %s", tool, celError(issues))
	}
	if ast.OutputType() != cel.BoolType {
		return nil, fmt.Errorf("for %s: it gives %s; a condition is true or false", tool, ast.OutputType())
	}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxConditionCost), cel.InterruptCheckFrequency(checkInterrupt))
	if err != nil {
		return nil, fmt.Errorf("for %s: %w", tool, err)
	}
	return &condition{&schema, program}, nil
}

// celError is the first problem that CEL found, in one line; column counts from 1.
func celError(issues *cel.Issues) string {
	first := issues.Errors()[0]
	return fmt.Sprintf("column %d: %s", first.Location.Column()+1, strings.ReplaceAll(first.Message, "\n", " "))
}

// holds evaluates the condition over arguments that the tool's schema has accepted. An error means that it does not
// hold.
func (c *condition) holds(ctx context.Context, agent, tool string, args json.RawMessage) (bool, error) {
	value, err := c.schema.value(args)
	if err != nil {
		return false, err
	}
	out, _, err := c.program.ContextEval(ctx, map[string]any{"args": value, "agent": agent, "tool": tool})
	if err != nil {
		return false, err
	}
	holds, ok := out.Value().(bool)
	if !ok {
		return false, fmt.Errorf("it gives %v, which is neither true nor false", out.Type())
	}
	return holds, nil
}

// argumentSchema is what conditions need of a JSON Schema: the types of what can be named.
type argumentSchema struct {
	Type       schemaType                 `json:"type"`
	Properties map[string]*argumentSchema `json:"properties"`
	Items      *argumentSchema            `json:"items"`
	Default    json.RawMessage            `json:"default"`
}

// schemaType is a type's name, empty where there is a list of them.
type schemaType struct{ one string }

// UnmarshalJSON reads a name, or a list of names.
func (t *schemaType) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, &t.one)
	}
	return nil
}

// kind is the schema's type, and empty where it allows several.
func (s *argumentSchema) kind() string {
	if s == nil {
		return ""
	}
	return s.Type.one
}

// value reads arguments as CEL sees them: integers as int64 where the schema says integer, other numbers as double,
// and arguments that were left out as their default, since that is what the tool will take.
func (s *argumentSchema) value(args json.RawMessage) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(args))
	dec.UseNumber()
	var decoded map[string]any
	if err := dec.Decode(&decoded); err != nil {
		return nil, fmt.Errorf("the arguments: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the arguments: more than one JSON value")
	}
	if decoded == nil {
		decoded = map[string]any{}
	}
	for name, property := range s.Properties {
		if _, given := decoded[name]; given || property.Default == nil {
			continue
		}
		dec := json.NewDecoder(bytes.NewReader(property.Default))
		dec.UseNumber()
		var value any
		if err := dec.Decode(&value); err != nil {
			return nil, fmt.Errorf("the default of %s: %w", name, err)
		}
		decoded[name] = value
	}
	converted, err := s.convert(decoded)
	if err != nil {
		return nil, err
	}
	object, ok := converted.(map[string]any)
	if !ok {
		return nil, errors.New("the arguments are no object")
	}
	return object, nil
}

// convert turns the numbers below value into what CEL calls them.
func (s *argumentSchema) convert(value any) (any, error) {
	var err error
	switch v := value.(type) {
	case json.Number:
		if s.kind() == "integer" {
			return v.Int64()
		}
		return v.Float64()
	case []any:
		var items *argumentSchema
		if s != nil {
			items = s.Items
		}
		for i, item := range v {
			if v[i], err = items.convert(item); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for name, member := range v {
			var property *argumentSchema
			if s != nil {
				property = s.Properties[name]
			}
			if v[name], err = property.convert(member); err != nil {
				return nil, err
			}
		}
	}
	return value, nil
}

// argumentTypes tells CEL's checker about the objects among the arguments. Evaluation works on plain maps: none of
// these types has a value of its own, and none can be made in an expression.
type argumentTypes struct {
	*types.Registry
	objects map[string]map[string]*types.FieldType // fields by the name of the type: the path to it, in a form that no expression can name
}

// declare returns the type of s, and makes those of the objects below it known.
func (t argumentTypes) declare(path string, s *argumentSchema) *types.Type {
	switch s.kind() {
	case "string":
		return types.StringType
	case "integer":
		return types.IntType
	case "number":
		return types.DoubleType
	case "boolean":
		return types.BoolType
	case "array":
		return types.NewListType(t.declare(path+"[]", s.Items))
	case "object":
		fields := map[string]*types.FieldType{}
		for name, property := range s.Properties {
			fields[name] = &types.FieldType{Type: t.declare(path+"/"+name, property)}
		}
		t.objects[path] = fields
		return types.NewObjectType(path)
	default:
		return types.DynType
	}
}

// FindStructType knows the objects by name.
func (t argumentTypes) FindStructType(name string) (*types.Type, bool) {
	if _, ok := t.objects[name]; ok {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return t.Registry.FindStructType(name)
}

// FindStructFieldNames lists the properties of an object.
func (t argumentTypes) FindStructFieldNames(name string) ([]string, bool) {
	if fields, ok := t.objects[name]; ok {
		return sortedKeys(fields), true
	}
	return t.Registry.FindStructFieldNames(name)
}

// FindStructFieldType gives the type of one property.
func (t argumentTypes) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	if fields, ok := t.objects[name]; ok {
		property, ok := fields[field]
		return property, ok
	}
	return t.Registry.FindStructFieldType(name, field)
}

// NewValue makes no objects of ours.
func (t argumentTypes) NewValue(name string, fields map[string]ref.Val) ref.Val {
	if _, ok := t.objects[name]; ok {
		return types.NewErr("a condition cannot make a value of type %s", name)
	}
	return t.Registry.NewValue(name, fields)
}
