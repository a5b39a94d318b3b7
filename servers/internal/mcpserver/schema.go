package mcpserver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	textmessage "golang.org/x/text/message"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/scrub"
)

// derived is a schema made from a Go type.
type derived struct {
	raw      json.RawMessage
	defaults json.RawMessage // an object of the default tags, for fields that the caller leaves out
}

// inputSchema derives a tool's input schema from In, a struct. The bounds stand on the fields as struct tags
// named after the keywords of JSON Schema 2020-12, validation section 6:
//
//	Repository string   `json:"repository" jsonschema:"what it is" maxLength:"255" pattern:"^[a-z]+$"`
//	Level      string   `json:"level,omitempty" enum:"baseline,restricted" default:"restricted"`
//	Limit      int      `json:"limit,omitempty" minimum:"1" maximum:"100" default:"25"`
//	References []string `json:"references" maxItems:"50" maxLength:"512"`
//
// On a list, maxLength, minLength, pattern and enum bind its items. A string without maxLength or enum, a list
// without maxItems and a number without both bounds are errors: nobody forgets one.
func inputSchema[In any]() (derived, error) {
	schema, err := jsonschema.For[In](nil)
	if err != nil {
		return derived{}, err
	}
	defaults := map[string]json.RawMessage{}
	if err := bindStruct(schema, reflect.TypeFor[In](), "", true, defaults); err != nil {
		return derived{}, err
	}
	return render(schema, defaults)
}

// outputSchema derives a tool's output schema from Out, a struct; bounds are not required. It is for validation and has no
// descriptions: an agent's model is given every definition whole, and reads what a result means from the tool's description
// and the names in it.
func outputSchema[Out any]() (derived, error) {
	schema, err := jsonschema.For[Out](nil)
	if err != nil {
		return derived{}, err
	}
	if err := bindStruct(schema, reflect.TypeFor[Out](), "", false, nil); err != nil {
		return derived{}, err
	}
	return render(schema, nil)
}

func render(schema *jsonschema.Schema, defaults map[string]json.RawMessage) (derived, error) {
	if schema.Type != "object" {
		return derived{}, fmt.Errorf("the type is not a struct")
	}
	raw, err := json.Marshal(schema)
	if err != nil {
		return derived{}, err
	}
	object, err := json.Marshal(defaults)
	if err != nil {
		return derived{}, err
	}
	if defaults == nil {
		object = json.RawMessage("{}")
	}
	return derived{raw: raw, defaults: object}, nil
}

func bindStruct(schema *jsonschema.Schema, t reflect.Type, path string, bounded bool, defaults map[string]json.RawMessage) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || schema.Properties == nil {
		return nil
	}
	var errs []error
	for _, field := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		property := schema.Properties[name]
		if field.Anonymous || property == nil {
			continue
		}
		where := path + name
		if err := bindField(property, field.Type, field.Tag, where, bounded); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", where, err))
		}
		if text, ok := field.Tag.Lookup("default"); ok && defaults != nil {
			value, err := literal(property.Type, text)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: default: %w", where, err))
				continue
			}
			property.Default, defaults[name] = value, value
		}
	}
	return errors.Join(errs...)
}

func bindField(s *jsonschema.Schema, t reflect.Type, tag reflect.StructTag, path string, bounded bool) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if !bounded {
		s.Description = ""
	}
	// The library lets null stand for an absent pointer or list. Clients leave members out instead, and
	// results are encoded with empty lists.
	if len(s.Types) > 0 {
		s.Type, s.Types = s.Types[len(s.Types)-1], nil
	}
	var err error
	switch s.Type {
	case "array":
		s.MaxItems, err = intTag(tag, "maxItems")
		if err == nil && bounded && s.MaxItems == nil {
			err = errors.New("a list needs a maxItems tag")
		}
		if err == nil {
			err = bindField(s.Items, t.Elem(), tag, path+"[].", bounded)
		}
	case "string":
		s.MinLength, err = intTag(tag, "minLength")
		if err == nil {
			s.MaxLength, err = intTag(tag, "maxLength")
		}
		s.Pattern = tag.Get("pattern")
		if values, ok := tag.Lookup("enum"); ok {
			for value := range strings.SplitSeq(values, ",") {
				s.Enum = append(s.Enum, value)
			}
		}
		if err == nil && bounded && s.MaxLength == nil && s.Enum == nil {
			err = errors.New("a string needs a maxLength or an enum tag")
		}
	case "integer", "number":
		if s.Minimum, err = numberTag(tag, "minimum", s.Minimum); err == nil {
			s.Maximum, err = numberTag(tag, "maximum", s.Maximum)
		}
		if err == nil && bounded && (s.Minimum == nil || s.Maximum == nil) {
			err = errors.New("a number needs a minimum and a maximum tag")
		}
	case "boolean":
	case "object":
		if t.Kind() == reflect.Map && bounded {
			err = errors.New("a map has no bounds; use a list of structs")
		} else if t.Kind() == reflect.Struct {
			err = bindStruct(s, t, path+".", bounded, nil)
		}
	default:
		if bounded {
			err = fmt.Errorf("a %s takes anything", t)
		}
	}
	return err
}

func intTag(tag reflect.StructTag, key string) (*int, error) {
	text, ok := tag.Lookup(key)
	if !ok {
		return nil, nil //nolint:nilnil // no tag, no bound
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return nil, fmt.Errorf("%s tag: %w", key, err)
	}
	return &n, nil
}

func numberTag(tag reflect.StructTag, key string, otherwise *float64) (*float64, error) {
	text, ok := tag.Lookup(key)
	if !ok {
		return otherwise, nil
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, fmt.Errorf("%s tag: %w", key, err)
	}
	return &n, nil
}

// literal turns a default tag into JSON of the property's type.
func literal(typ, text string) (json.RawMessage, error) {
	if typ == "string" {
		return json.Marshal(text)
	}
	if !json.Valid([]byte(text)) {
		return nil, fmt.Errorf("%q is not JSON", text)
	}
	return json.RawMessage(text), nil
}

// compile compiles a tool's schema. Nothing is fetched: a $ref to anywhere but the schema itself fails.
func compile(raw json.RawMessage) (*validator.Schema, error) {
	doc, err := validator.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	const url = "mem:///schema.json"
	c := validator.NewCompiler()
	c.UseLoader(noLoader{})
	if err := c.AddResource(url, doc); err != nil {
		return nil, err
	}
	return c.Compile(url)
}

type noLoader struct{}

func (noLoader) Load(url string) (any, error) {
	return nil, fmt.Errorf("the schema refers to %s; it must stand alone", url)
}

// validate checks value, raw JSON, against schema and reports the first maxProblems violations.
func validate(schema *validator.Schema, value json.RawMessage) error {
	doc, err := validator.UnmarshalJSON(bytes.NewReader(value))
	if err != nil {
		return err
	}
	err = schema.Validate(doc)
	var invalid *validator.ValidationError
	if !errors.As(err, &invalid) {
		return err
	}
	var problems []string
	collect(invalid, &problems)
	if len(problems) > maxProblems {
		problems = append(problems[:maxProblems], "…")
	}
	return errors.New(strings.Join(problems, "; "))
}

// collect goes no further than one violation more than a message lists: each costs more than what it is of.
func collect(e *validator.ValidationError, problems *[]string) {
	for _, cause := range e.Causes {
		if len(*problems) > maxProblems {
			return
		}
		collect(cause, problems)
	}
	if len(e.Causes) > 0 {
		return
	}
	where := "arguments"
	if len(e.InstanceLocation) > 0 {
		where = strings.Join(e.InstanceLocation, ".")
	}
	*problems = append(*problems, echo(where)+": "+explain(e.ErrorKind))
}

// explain says what was wanted and, cut to maxEcho bytes, what came.
func explain(k validator.ErrorKind) string {
	switch k := k.(type) {
	case *kind.AdditionalProperties:
		names := make([]string, min(len(k.Properties), maxProblems))
		for i := range names {
			names[i] = strconv.Quote(echo(k.Properties[i]))
		}
		return "no such argument: " + strings.Join(names, ", ")
	case *kind.Required:
		return "missing: " + strings.Join(k.Missing, ", ")
	case *kind.Pattern:
		return fmt.Sprintf("%s does not match %s", quoted(k.Got), k.Want)
	case *kind.Enum:
		return fmt.Sprintf("%s is not one of %v", quoted(k.Got), k.Want)
	default:
		return echo(k.LocalizedString(textmessage.NewPrinter(language.English)))
	}
}

func quoted(v any) string {
	if s, ok := v.(string); ok {
		return strconv.Quote(echo(s))
	}
	return echo(fmt.Sprint(v))
}

// echo returns s scrubbed and then cut to maxEcho bytes: a message must not carry a caller's megabytes to the log or
// back, nor the half of a token that nobody recognises any more.
func echo(s string) string { return cut(scrub.Text(s), maxEcho) }

func cut(s string, maxBytes int) string {
	if len(s) <= maxBytes {
		return s
	}
	return strings.ToValidUTF8(s[:maxBytes], "") + "…"
}
