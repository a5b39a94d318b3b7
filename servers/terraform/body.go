package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// bodyContent is the content of a block in a configuration. An attribute is evaluated when it is first asked for.
type bodyContent struct {
	scope  *scope
	body   *hclsyntax.Body
	mode   Mode // of the outermost block; "" for a nested one
	values map[string]*memo
	blocks map[string]blocks
}

// blocks are the nested blocks of one type.
type blocks struct {
	all     []nested
	unknown string
}

func (c *bodyContent) attribute(name string) (cty.Value, finding.Location) {
	attribute := c.body.Attributes[name]
	if attribute == nil {
		return cty.NilVal, place(c.body.SrcRange)
	}
	at := place(attribute.SrcRange)
	if c.named(name) {
		return cty.StringVal(written(attribute.Expr)), at
	}
	m := c.values[name]
	if m == nil {
		if c.values == nil {
			c.values = map[string]*memo{}
		}
		m = &memo{value: unknown("a cycle of references")}
		c.values[name] = m
		m.value = c.scope.evaluate(c.scope.module.compiled(c.scope.check.budget, attribute))
		m.done = true
	}
	if !m.done {
		c.scope.check.problems.add(&configError{place: at, text: "a cycle: " + clip(name) + " refers to itself, maybe through others"})
	}
	return m.value, at
}

// named says whether an attribute holds names of other things instead of values.
func (c *bodyContent) named(name string) bool {
	switch c.mode {
	case Managed, Data:
		return name == "provider" || name == "depends_on"
	case Variable:
		return name == "type"
	case Call:
		return name == "providers" || name == "depends_on"
	case Output:
		return name == "depends_on"
	case Settings, Provider:
		return false
	default:
		return name == "ignore_changes" || name == "replace_triggered_by"
	}
}

// written is an expression of names as it is written, as far as it is one name.
func written(e hclsyntax.Expression) string {
	traversal, diags := hcl.AbsTraversalForExpr(e)
	if diags.HasErrors() {
		return "…"
	}
	names := []string{traversal.RootName()}
	for _, step := range traversal[1:] {
		if attribute, ok := step.(hcl.TraverseAttr); ok {
			names = append(names, attribute.Name)
		}
	}
	return strings.Join(names, ".")
}

func (c *bodyContent) nested(name string) ([]nested, string) {
	found, ok := c.blocks[name]
	if !ok {
		if c.blocks == nil {
			c.blocks = map[string]blocks{}
		}
		found = c.expand(name)
		c.blocks[name] = found
	}
	return found.all, found.unknown
}

// expand works the dynamic blocks of a type out.
func (c *bodyContent) expand(name string) blocks {
	var out blocks
	for _, b := range c.body.Blocks {
		switch {
		case b.Type == name:
			out.all = append(out.all, nested{content: c.labelled(b), place: place(b.TypeRange)})
		case b.Type == "dynamic" && len(b.Labels) == 1 && b.Labels[0] == name:
			c.dynamic(b, &out)
		}
	}
	return out
}

// labelled is the content of a nested block. A label, which only backends have, counts as an attribute "type".
func (c *bodyContent) labelled(b *hclsyntax.Block) content {
	in := &bodyContent{scope: c.scope, body: b.Body}
	if len(b.Labels) == 0 {
		return in
	}
	return labelContent{bodyContent: in, label: b.Labels[0]}
}

type labelContent struct {
	*bodyContent
	label string
}

func (c labelContent) attribute(name string) (cty.Value, finding.Location) {
	if name == "type" {
		return cty.StringVal(c.label), place(c.body.SrcRange)
	}
	return c.bodyContent.attribute(name)
}

// dynamic adds the blocks that a dynamic block makes.
func (c *bodyContent) dynamic(b *hclsyntax.Block, out *blocks) {
	each := b.Body.Attributes["for_each"]
	var content *hclsyntax.Body
	for _, inner := range b.Body.Blocks {
		if inner.Type == "content" {
			content = inner.Body
		}
	}
	if each == nil || content == nil {
		c.scope.check.problems.add(&configError{place: place(b.TypeRange), text: "a dynamic block has a for_each and a content block"})
		out.unknown = "a dynamic block without for_each or content"
		return
	}
	iterator := b.Labels[0]
	if attribute := b.Body.Attributes["iterator"]; attribute != nil {
		iterator = written(attribute.Expr)
	}
	over := newValue(c.scope.evaluate(c.scope.module.compiled(c.scope.check.budget, each)), "", place(each.SrcRange))
	switch {
	case over.Unknown():
		out.unknown = over.Reason()
		return
	case over.Null() || !over.value.CanIterateElements():
		c.scope.check.problems.add(&configError{place: place(each.SrcRange), text: "for_each of a dynamic block takes a list, a set or a map"})
		out.unknown = "the for_each of a dynamic block"
		return
	}
	for it := over.value.ElementIterator(); it.Next(); {
		if !c.scope.check.budget.iterate(dynamicSize) {
			out.unknown = c.scope.check.budget.spent
			return
		}
		key, value := it.Element()
		if over.value.Type().IsSetType() {
			key = value
		}
		within := *c.scope
		within.iterators = maps.Clone(within.iterators)
		if within.iterators == nil {
			within.iterators = map[string]cty.Value{}
		}
		within.iterators[iterator] = cty.ObjectVal(map[string]cty.Value{"key": key, "value": value})
		out.all = append(out.all, nested{content: &bodyContent{scope: &within, body: content}, place: place(b.TypeRange)})
	}
}

func (c *bodyContent) names() []string {
	seen := map[string]bool{}
	for name := range c.body.Attributes {
		if v, _ := c.attribute(name); v != cty.NilVal {
			if bare, _ := v.Unmark(); !bare.IsNull() {
				seen[name] = true
			}
		}
	}
	for _, b := range c.body.Blocks {
		switch {
		case b.Type == "dynamic" && len(b.Labels) == 1:
			seen[b.Labels[0]] = true
		default:
			seen[b.Type] = true
		}
	}
	return slices.DeleteFunc(sortedKeys(seen), func(name string) bool {
		return c.mode != "" && slices.Contains([]string{"count", "for_each", "provider", "depends_on", "lifecycle", "provisioner", "connection"}, name)
	})
}
