package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// expansion is what count and for_each make of a block.
type expansion[T any] struct {
	keys    []cty.Value // null for a block without either
	all     []T
	unknown string // why the instances are not known; all then holds one that stands for them
	marks   cty.ValueMarks
	counted bool
	keyed   bool
}

// collect makes the value of an expansion: one, a list or a map.
func collect[T any](e *expansion[T], f func(T) cty.Value) cty.Value {
	switch {
	case e.unknown != "":
		return cty.DynamicVal.WithMarks(e.marks, cty.NewValueMarks(origin{name: e.unknown}))
	case e.counted:
		values := make([]cty.Value, len(e.all))
		for n, one := range e.all {
			values[n] = f(one)
		}
		return cty.TupleVal(values).WithMarks(e.marks)
	case e.keyed:
		values := make(map[string]cty.Value, len(e.all))
		for n, one := range e.all {
			values[e.keys[n].AsString()] = f(one)
		}
		return cty.ObjectVal(values).WithMarks(e.marks)
	case len(e.all) == 0:
		return cty.DynamicVal
	default:
		return f(e.all[0])
	}
}

// repetition is one instance of a block that count or for_each repeats.
type repetition struct {
	suffix     string // [0], ["a"], or ""
	key, value cty.Value
	index      cty.Value
	doubtful   string
}

// repeat works count and for_each of a block out.
func (s *scope) repeat(b *block, what string) (reps []repetition, e expansion[struct{}]) {
	count, each := b.body.Attributes["count"], b.body.Attributes["for_each"]
	left := s.check.budget.instances
	switch {
	case count != nil:
		return s.repeatCount(s.evaluate(s.module.compiled(s.check.budget, count)), count.Expr.Range(), left, what)
	case each != nil:
		return s.repeatEach(s.evaluate(s.module.compiled(s.check.budget, each)), each.Expr.Range(), left, what)
	case left < 1:
		s.check.problems.add(&configError{text: fmt.Sprintf("too large: more than %d instances of resources and modules; check a smaller folder", maxInstances)})
		e.unknown = tooMany
		return nil, e
	}
	return []repetition{{}}, e
}

func (s *scope) repeatCount(v cty.Value, at hcl.Range, left int, what string) (reps []repetition, e expansion[struct{}]) {
	e.counted = true
	bare, marks := v.Unmark()
	e.marks = origins(marks)
	stand := func(reason string) ([]repetition, expansion[struct{}]) {
		e.unknown = reason
		return []repetition{{suffix: "[*]", index: cty.UnknownVal(cty.Number).Mark(origin{name: "count.index"}), doubtful: reason}}, e
	}
	number, err := convert.Convert(bare, cty.Number)
	switch {
	case !bare.IsKnown():
		return stand("the count of " + what + " (" + newValue(v, "", finding.Location{}).Reason() + ")")
	case err != nil || number.IsNull():
		s.check.problems.add(&configError{place: place(at), text: "count is no number"})
		return stand("the count of " + what)
	}
	n, accuracy := number.AsBigFloat().Int64()
	switch {
	case accuracy != 0 || n < 0:
		s.check.problems.add(&configError{place: place(at), text: "count is no whole number from 0"})
		return stand("the count of " + what)
	case n > int64(left):
		s.check.problems.add(&configError{place: place(at), text: fmt.Sprintf("too large: a count of %d, where %d instances are looked at in all; check a smaller folder", n, maxInstances)})
		return stand(tooMany)
	}
	for i := range int(n) {
		reps = append(reps, repetition{suffix: fmt.Sprintf("[%d]", i), index: cty.NumberIntVal(int64(i))})
		e.keys = append(e.keys, cty.NumberIntVal(int64(i)))
	}
	return reps, e
}

func (s *scope) repeatEach(v cty.Value, at hcl.Range, left int, what string) (reps []repetition, e expansion[struct{}]) {
	e.keyed = true
	bare, marks := v.Unmark()
	e.marks = origins(marks)
	stand := func(reason string) ([]repetition, expansion[struct{}]) {
		e.unknown = reason
		return []repetition{{suffix: "[*]", key: cty.UnknownVal(cty.String).Mark(origin{name: "each.key"}), value: unknown("each.value"), doubtful: reason}}, e
	}
	t := bare.Type()
	if bare.IsKnown() && !bare.IsNull() && t.IsSetType() && !bare.IsWhollyKnown() {
		bare = cty.DynamicVal
	}
	switch {
	case !bare.IsKnown():
		reason := newValue(bare.WithMarks(marks), "", finding.Location{}).Reason()
		return stand("the for_each of " + what + " (" + reason + ")")
	case bare.IsNull() || !t.IsMapType() && !t.IsObjectType() && (!t.IsSetType() || t.ElementType() != cty.String && bare.LengthInt() > 0):
		s.check.problems.add(&configError{place: place(at), text: "for_each takes a map, or a set of strings"})
		return stand("the for_each of " + what)
	case bare.LengthInt() > left:
		s.check.problems.add(&configError{place: place(at), text: fmt.Sprintf("too large: for_each over %d elements, where %d instances are looked at in all; check a smaller folder", bare.LengthInt(), maxInstances)})
		return stand(tooMany)
	}
	for it := bare.ElementIterator(); it.Next(); {
		key, value := it.Element()
		if key, _ = key.Unmark(); key.IsNull() {
			continue
		}
		reps = append(reps, repetition{suffix: "[" + quote(key.AsString()) + "]", key: key, value: value})
		e.keys = append(e.keys, key)
	}
	return reps, e
}

// childrenOf returns the instances of the module that a call calls.
func (i *instance) childrenOf(name string) *expansion[*instance] {
	if e, ok := i.children[name]; ok {
		return e
	}
	call, m := i.module.calls[name], i.module.children[name]
	out := &expansion[*instance]{unknown: "a cycle of references"}
	i.children[name] = out
	address := i.prefix() + "module." + name
	if i.depth >= maxCallDepth || i.calls(m) {
		problem := &configError{place: place(call.source), text: fmt.Sprintf("%s: modules call one another without end", clip(address))}
		if !i.calls(m) {
			problem.text = fmt.Sprintf("too large: more than %d modules inside one another", maxCallDepth)
		}
		i.check.problems.add(problem)
		out.unknown = "modules that call one another"
		return out
	}
	at := &scope{instance: i}
	reps, e := at.repeat(call, address)
	made := expansion[*instance]{keys: e.keys, unknown: e.unknown, marks: e.marks, counted: e.counted, keyed: e.keyed}
	i.check.budget.instances -= len(reps)
	for _, rep := range reps {
		child := i.check.instance(m, &scope{instance: i, key: rep.key, value: rep.value, index: rep.index}, call, address+rep.suffix)
		child.doubtful = cmp.Or(i.doubtful, rep.doubtful)
		made.all = append(made.all, child)
	}
	*out = made
	return out
}

// calls says whether the module is among those that led to this instance.
func (i *instance) calls(m *module) bool {
	for at := i; ; at = at.parent.instance {
		if at.module == m {
			return true
		}
		if at.parent == nil {
			return false
		}
	}
}

// instancesOf returns the instances of a resource or data source.
func (i *instance) instancesOf(b *block) *expansion[*Resource] {
	key := b.String()
	if e, ok := i.expansions[key]; ok {
		if e.unknown == "a cycle of references" {
			i.check.problems.add(&configError{place: place(b.source), text: "a cycle: the instances of " + clip(key) + " depend on themselves"})
		}
		return e
	}
	out := &expansion[*Resource]{unknown: "a cycle of references"}
	i.expansions[key] = out
	at := &scope{instance: i}
	reps, e := at.repeat(b, i.prefix()+key)
	made := expansion[*Resource]{keys: e.keys, unknown: e.unknown, marks: e.marks, counted: e.counted, keyed: e.keyed}
	i.check.budget.instances -= len(reps)
	for _, rep := range reps {
		made.all = append(made.all, i.resource(b, rep))
	}
	*out = made
	return out
}

// resource makes one instance of a block.
func (i *instance) resource(b *block, rep repetition) *Resource {
	r := &Resource{
		Address: i.prefix() + b.String() + rep.suffix, Module: i.address, Mode: b.mode, Type: b.kind, Name: b.name, Chain: i.chain,
		source: b.source, Location: place(b.source), Uncertain: cmp.Or(i.doubtful, rep.doubtful), Provider: providerOf(b),
	}
	r.Block = Block{place: r.Location, content: &bodyContent{
		scope: &scope{instance: i, key: rep.key, value: rep.value, index: rep.index}, body: b.body, mode: b.mode,
	}}
	return r
}

// providerOf is the local name of a resource's provider: what it says, or the first word of its type.
func providerOf(b *block) string {
	if attribute := b.body.Attributes["provider"]; attribute != nil {
		if traversal, diags := hcl.AbsTraversalForExpr(attribute.Expr); !diags.HasErrors() {
			return traversal.RootName()
		}
	}
	name, _, _ := strings.Cut(b.kind, "_")
	return name
}
