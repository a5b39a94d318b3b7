package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	tfjson "github.com/hashicorp/terraform-json"
)

// nameError is what is wrong with the names in a JSON text. It repeats none that a user or provider gave.
type nameError struct {
	offset int64
	text   string
}

func (e *nameError) Error() string { return e.text }

// checkNames refuses JSON that readers take each in their own way: a name twice in one object, and one that is a name of
// Terraform's but for case, which encoding/json (and so terraform-json) takes for it. Else a plan could show other
// changes here than to whoever else reads it. t is the type that the text is decoded into, or nil for any.
func checkNames(data []byte, t reflect.Type) *nameError {
	c := nameChecker{dec: jsontext.NewDecoder(bytes.NewReader(data)), known: map[reflect.Type]map[string]reflect.Type{}}
	err := c.value(t)
	if err == nil {
		return nil
	}
	if named, ok := errors.AsType[*nameError](err); ok {
		return named
	}
	e := &nameError{c.dec.InputOffset(), "not JSON that all readers take alike"}
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		e.offset = syntax.ByteOffset
	}
	if errors.Is(err, jsontext.ErrDuplicateName) {
		e.text = "a name is there twice in one object"
	}
	return e
}

// nameChecker goes through JSON beside the type that it is decoded into, whose fields are the names that Terraform
// gives. All other names are of users and providers, who may tell them apart by case.
type nameChecker struct {
	dec   *jsontext.Decoder
	known map[reflect.Type]map[string]reflect.Type
}

// value reads one value, and holds its names to a type; nil is a type without names of Terraform's.
func (c *nameChecker) value(t reflect.Type) error {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == reflect.TypeFor[tfjson.Expression]() {
		t = reflect.TypeFor[tfjson.ExpressionData]()
		if c.dec.PeekKind() == jsontext.KindBeginArray {
			t = reflect.TypeFor[[]map[string]*tfjson.Expression]()
		}
	}
	kind := c.dec.PeekKind()
	switch {
	case t == nil, t == reflect.TypeFor[json.RawMessage]():
		return c.dec.SkipValue()
	case kind == jsontext.KindBeginObject && t.Kind() == reflect.Struct:
		return c.object(func(name string) (reflect.Type, error) { return c.field(t, name) })
	case kind == jsontext.KindBeginObject && t.Kind() == reflect.Map:
		return c.object(func(string) (reflect.Type, error) { return t.Elem(), nil })
	case kind == jsontext.KindBeginArray && t.Kind() == reflect.Slice:
		return c.list(t.Elem())
	default:
		return c.dec.SkipValue()
	}
}

func (c *nameChecker) object(member func(name string) (reflect.Type, error)) error {
	if _, err := c.dec.ReadToken(); err != nil {
		return err
	}
	for c.dec.PeekKind() == jsontext.KindString {
		name, err := c.dec.ReadToken()
		if err != nil {
			return err
		}
		t, err := member(name.String())
		if err != nil {
			return err
		}
		if err := c.value(t); err != nil {
			return err
		}
	}
	_, err := c.dec.ReadToken()
	return err
}

func (c *nameChecker) list(element reflect.Type) error {
	if _, err := c.dec.ReadToken(); err != nil {
		return err
	}
	for kind := c.dec.PeekKind(); kind != jsontext.KindEndArray && kind != jsontext.KindInvalid; kind = c.dec.PeekKind() {
		if err := c.value(element); err != nil {
			return err
		}
	}
	_, err := c.dec.ReadToken()
	return err
}

// field returns the type of a struct's field by its name in JSON; nil for one that it does not have.
func (c *nameChecker) field(t reflect.Type, name string) (reflect.Type, error) {
	fields, ok := c.known[t]
	if !ok {
		fields = map[string]reflect.Type{}
		for f := range t.Fields() {
			if tag, _, _ := strings.Cut(f.Tag.Get("json"), ","); tag != "" && tag != "-" {
				fields[tag] = f.Type
			}
		}
		c.known[t] = fields
	}
	if field, ok := fields[name]; ok {
		return field, nil
	}
	for known := range fields {
		if strings.EqualFold(known, name) {
			return nil, &nameError{c.dec.InputOffset(), fmt.Sprintf("a name that is %q but for case, which Terraform does not write", known)}
		}
	}
	return nil, nil
}
