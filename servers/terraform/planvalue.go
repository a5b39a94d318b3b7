package main

import (
	"encoding/json"
	"fmt"
	"math/big"

	tfjson "github.com/hashicorp/terraform-json"
	"github.com/zclconf/go-cty/cty"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// planResource is one resource of a plan: its content is what it is after the change.
type planResource struct {
	*Resource
	world              *planned
	config             *tfjson.ConfigResource
	index              any
	after              map[string]any
	unknown, sensitive any
	values             map[string]cty.Value
}

func (r *planResource) attribute(name string) (cty.Value, finding.Location) {
	v, ok := r.values[name]
	if !ok {
		v = r.value(name)
		if r.values == nil {
			r.values = map[string]cty.Value{}
		}
		r.values[name] = v
	}
	return v, r.Location
}

func (r *planResource) value(name string) cty.Value {
	if name == "provisioner" {
		return r.provisioners()
	}
	value, there := r.after[name]
	mark := below(r.unknown, name)
	if all, _ := mark.(bool); !there && !all {
		return cty.NilVal
	}
	var expression *tfjson.Expression
	if r.config != nil {
		expression = r.config.Expressions[name]
	}
	return r.part(value, mark, below(r.sensitive, name), expression, r.Address+"."+name)
}

// leftOpen says whether an attribute is unknown just because the configuration does not set it, and the provider
// fills it in. It is then as one that is not set. (Blocks are not asked for here: a dynamic block that makes them is
// not in the plan's configuration either.)
func (r *planResource) leftOpen(name string) bool {
	all, _ := below(r.unknown, name).(bool)
	return all && r.config != nil && r.config.Expressions[name] == nil
}

// provisioners are what the configuration in the plan has of them, as blocks: they are no attributes of the resource.
func (r *planResource) provisioners() cty.Value {
	if r.config == nil || len(r.config.Provisioners) == 0 {
		return cty.NilVal
	}
	var blocks []cty.Value
	for _, p := range r.config.Provisioners {
		if p == nil {
			continue
		}
		values := map[string]cty.Value{}
		for name, e := range p.Expressions {
			values[name] = expressionValue(e, 0)
		}
		values["type"] = cty.StringVal(p.Type)
		blocks = append(blocks, cty.ObjectVal(values))
	}
	return cty.TupleVal(blocks)
}

// part makes a value of a part of the resource, marked with what the expression behind it refers to.
func (r *planResource) part(value, unknownMark, sensitiveMark any, e *tfjson.Expression, name string) cty.Value {
	if list, ok := value.([]any); ok && e != nil && e.ExpressionData != nil && len(e.NestedBlocks) > 0 {
		// Blocks: each attribute has an expression of its own. What a dynamic block makes has that of the first.
		blocks := make([]cty.Value, len(list))
		for i, element := range list {
			values := map[string]cty.Value{}
			object, _ := element.(map[string]any)
			for _, key := range keysOf(object, at(unknownMark, i)) {
				values[key] = r.part(object[key], below(at(unknownMark, i), key), below(at(sensitiveMark, i), key),
					e.NestedBlocks[min(i, len(e.NestedBlocks)-1)][key], fmt.Sprintf("%s[%d].%s", name, i, key))
			}
			blocks[i] = cty.ObjectVal(values)
		}
		return cty.TupleVal(blocks)
	}
	origins := r.world.origins(r, e)
	v := toValue(value, unknownMark, sensitiveMark, func() cty.Value {
		if len(origins) > 0 {
			return cty.DynamicVal
		}
		return cty.DynamicVal.Mark(origin{name: name})
	}, 0)
	marks := cty.ValueMarks{}
	for _, o := range origins {
		o.known = v.IsWhollyKnown()
		marks[o] = struct{}{}
	}
	return v.WithMarks(marks)
}

// keysOf are the keys of an object, and those that are only marked as unknown.
func keysOf(object map[string]any, unknownMark any) []string {
	seen := map[string]bool{}
	for key := range object {
		seen[key] = true
	}
	if marks, ok := unknownMark.(map[string]any); ok {
		for key := range marks {
			seen[key] = true
		}
	}
	return sortedKeys(seen)
}

func (*planResource) nested(string) ([]nested, string) { return nil, "" }

func (r *planResource) names() []string {
	seen := map[string]bool{}
	for name := range r.after {
		if v, _ := r.attribute(name); v != cty.NilVal {
			if bare, _ := v.Unmark(); !bare.IsNull() {
				seen[name] = true
			}
		}
	}
	if unknown, ok := r.unknown.(map[string]any); ok {
		for name := range unknown {
			seen[name] = true
		}
	}
	return sortedKeys(seen)
}

// toValue makes a value of what a plan has: unknown where the plan says so, and marked where it is sensitive.
func toValue(v, unknownMark, sensitiveMark any, unknown func() cty.Value, depth int) cty.Value {
	var out cty.Value
	all, _ := unknownMark.(bool)
	switch v := v.(type) {
	case map[string]any:
		if all {
			out = unknown()
			break
		}
		values := map[string]cty.Value{}
		for key, element := range v {
			values[key] = toValue(element, below(unknownMark, key), below(sensitiveMark, key), unknown, depth+1)
		}
		if marks, ok := unknownMark.(map[string]any); ok {
			for key, mark := range marks {
				if _, there := values[key]; !there {
					values[key] = toValue(nil, mark, below(sensitiveMark, key), unknown, depth+1)
				}
			}
		}
		out = cty.ObjectVal(values)
	case []any:
		if all {
			out = unknown()
			break
		}
		values := make([]cty.Value, len(v))
		for i, element := range v {
			values[i] = toValue(element, at(unknownMark, i), at(sensitiveMark, i), unknown, depth+1)
		}
		out = cty.TupleVal(values)
	case string:
		out = cty.StringVal(v)
	case bool:
		out = cty.BoolVal(v)
	case json.Number:
		out = numberOf(v)
	case float64:
		out = cty.NumberFloatVal(v)
	default:
		out = cty.NullVal(cty.DynamicPseudoType)
	}
	if all {
		out = unknown()
	}
	if secret, _ := sensitiveMark.(bool); secret {
		out = out.Mark(sensitive{})
	}
	return out
}

// numberOf reads a number, which JSON does not bound.
func numberOf(n json.Number) cty.Value {
	f, _, err := big.ParseFloat(n.String(), 10, numberPrecision, big.ToNearestEven)
	if err != nil {
		return cty.DynamicVal
	}
	v := cty.NumberVal(f)
	if tooPrecise(v) {
		return cty.DynamicVal
	}
	return v
}

// expressionContent is the content of a block of which a plan has expressions only.
type expressionContent struct {
	world       *planned
	expressions map[string]*tfjson.Expression
	plain       map[string]string
}

func (c expressionContent) attribute(name string) (cty.Value, finding.Location) {
	at := finding.Location{File: c.world.file}
	if text, ok := c.plain[name]; ok {
		if text == "" {
			return cty.NilVal, at
		}
		return cty.StringVal(text), at
	}
	e := c.expressions[name]
	if e == nil {
		return cty.NilVal, at
	}
	return expressionValue(e, 0), at
}

func expressionValue(e *tfjson.Expression, depth int) cty.Value {
	switch {
	case e == nil || e.ExpressionData == nil || depth > maxPlanNesting:
		return cty.NullVal(cty.DynamicPseudoType)
	case len(e.NestedBlocks) > 0:
		var blocks []cty.Value
		for _, block := range e.NestedBlocks {
			values := map[string]cty.Value{}
			for name, in := range block {
				values[name] = expressionValue(in, depth+1)
			}
			blocks = append(blocks, cty.ObjectVal(values))
		}
		return cty.TupleVal(blocks)
	case len(e.References) > 0:
		return cty.DynamicVal.Mark(origin{name: e.References[0]})
	default:
		return toValue(e.ConstantValue, nil, nil, func() cty.Value { return cty.DynamicVal }, 0)
	}
}

func (expressionContent) nested(string) ([]nested, string) { return nil, "" }

func (c expressionContent) names() []string {
	seen := map[string]bool{}
	for name := range c.expressions {
		seen[name] = true
	}
	for name, text := range c.plain {
		if text != "" {
			seen[name] = true
		}
	}
	return sortedKeys(seen)
}

// fixedContent is content that is known.
type fixedContent map[string]cty.Value

func (c fixedContent) attribute(name string) (cty.Value, finding.Location) {
	v, ok := c[name]
	if !ok {
		return cty.NilVal, finding.Location{}
	}
	return v, finding.Location{}
}

func (fixedContent) nested(string) ([]nested, string) { return nil, "" }

func (c fixedContent) names() []string { return sortedKeys(c) }
