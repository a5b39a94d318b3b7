package main

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// check is the evaluation of one root module and of all that it calls.
type check struct {
	*loader
	root      string // the folder of the root module
	table     map[string]function.Function
	arguments map[string]cty.Value // of the root module's variables
	rendering bool                 // whether a template is being rendered
	depth     int                  // of references that are being followed
	accessed  []string             // attributes that are asked for anywhere; see whole
}

// instance is one instance of a module.
type instance struct {
	check    *check
	module   *module
	parent   *scope // where the call's arguments are evaluated; nil for the root module
	call     *block
	address  string // module.net["a"], "" for the root module
	chain    []string
	depth    int
	doubtful string // why it is not known whether there is such an instance; else ""

	values     map[string]*memo // of variables, locals and outputs
	children   map[string]*expansion[*instance]
	expansions map[string]*expansion[*Resource]
	referred   map[reference]cty.Value
	same       map[*expression]cty.Value // of what refers to neither each nor count
}

// memo is a value that is evaluated once.
type memo struct {
	value cty.Value
	done  bool
}

// scope is what an expression is evaluated in.
type scope struct {
	*instance
	key, value cty.Value            // each.key and each.value; cty.NilVal without for_each
	index      cty.Value            // count.index; cty.NilVal without count
	iterators  map[string]cty.Value // of the dynamic blocks around it
}

func newCheck(l *loader, root string) *check {
	c := &check{loader: l, root: root}
	c.table = c.functions()
	return c
}

func (c *check) instance(m *module, parent *scope, call *block, address string) *instance {
	i := &instance{
		check: c, module: m, parent: parent, call: call, address: address,
		values: map[string]*memo{}, children: map[string]*expansion[*instance]{}, expansions: map[string]*expansion[*Resource]{}, referred: map[reference]cty.Value{},
		same: map[*expression]cty.Value{},
	}
	if parent != nil {
		i.depth = parent.depth + 1
		i.chain = append(slices.Clone(parent.chain), fmt.Sprintf("%s (%s)", address, place(call.source)))
	}
	return i
}

// unknown is a value that is not known for the reason given.
func unknown(reason string) cty.Value { return cty.DynamicVal.Mark(origin{name: reason}) }

// evaluate returns the value of an expression. It cannot fail: what is wrong is noted, and the value is unknown.
func (s *scope) evaluate(e *expression) cty.Value {
	if e.literal != nil {
		return *e.literal
	}
	if repeated := s.key != cty.NilVal || s.index != cty.NilVal; !repeated || e.varies || len(s.iterators) > 0 {
		return s.evaluateHere(e)
	}
	// It is the same for all instances of the block.
	v, ok := s.same[e]
	if !ok {
		v = s.evaluateHere(e)
		s.same[e] = v
	}
	return v
}

func (s *scope) evaluateHere(e *expression) cty.Value {
	c := s.check
	if c.depth >= maxReferenceDepth {
		return unknown("references that lead to references without end")
	}
	c.depth++
	defer func() { c.depth-- }()
	c.budget.step(1)
	for _, name := range e.foreign {
		c.table[name] = unknownFunc(name)
	}
	variables := s.variables(e)
	v, diags := e.syntax.Value(&hcl.EvalContext{Variables: variables, Functions: c.table})
	if diags.HasErrors() {
		v = s.failed(e, diags)
	}
	if c.budget.spent != "" {
		v = unknown(c.budget.spent)
	}
	taken := measure(v, maxValueBytes)
	if !c.budget.step(taken.nodes/stepNodes) || taken.tooLarge {
		c.problems.add(&configError{place: place(e.source), text: fmt.Sprintf("too large: a value of more than %d values or %d bytes", maxValueNodes, maxValueBytes)})
		v = unknown("a value that is too large")
	}
	v = tidy(v, e, variables)
	if e.constant {
		e.literal = &v
	}
	return v
}

// failed notes what is wrong with an expression, and makes a value of it.
func (s *scope) failed(e *expression, diags hcl.Diagnostics) cty.Value {
	for _, problem := range diagnosed(diags) {
		s.check.problems.add(problem)
		return unknown("an error at " + cmp.Or(problem.place.String(), place(e.source).String()))
	}
	return cty.DynamicVal
}

// tidy keeps a value's marks few and true: an unknown value says what it comes from, and only what hands on a
// JSON text whole hands on what is in it.
func tidy(v cty.Value, e *expression, variables map[string]cty.Value) cty.Value {
	bare, marks := v.Unmark()
	changed := false
	blamed := 0
	for mark := range marks {
		switch mark := mark.(type) {
		case document:
			if !e.document {
				delete(marks, mark)
				changed = true
			}
		case origin:
			if !mark.known {
				blamed++
			}
		}
	}
	if marks == nil {
		marks = cty.ValueMarks{}
	}
	if !bare.IsKnown() && blamed == 0 {
		// The language drops the marks of some values that it cannot look into. What it was given is to blame.
		for _, name := range sortedKeys(variables) {
			_, deep := variables[name].UnmarkDeep()
			for mark := range deep {
				if o, ok := mark.(origin); ok && !o.known {
					marks[mark] = struct{}{}
					changed = true
				}
			}
		}
	}
	if len(marks) > maxOrigins {
		for mark := range marks {
			if _, ok := mark.(origin); ok {
				delete(marks, mark)
			}
		}
		marks[origin{name: "many values", known: bare.IsKnown()}] = struct{}{}
		changed = true
	}
	if changed {
		return bare.WithMarks(marks)
	}
	return v
}

// variables are the values that an expression refers to, as the language wants them: objects of objects.
func (s *scope) variables(e *expression) map[string]cty.Value {
	if len(e.references) == 0 {
		return nil
	}
	tree := map[string]map[string]cty.Value{}
	data := map[string]map[string]cty.Value{}
	out := map[string]cty.Value{}
	set := func(in map[string]map[string]cty.Value, root, name string, v cty.Value) {
		if in[root] == nil {
			in[root] = map[string]cty.Value{}
		}
		// The same thing may be referred to by several of its attributes.
		if before, ok := in[root][name]; ok {
			v = join2(before, v)
		}
		in[root][name] = v
	}
	for _, r := range e.references {
		if v, ok := s.iterators[r.root]; ok {
			out[r.root] = v
			continue
		}
		switch r.root {
		case "data":
			if r.kind != "" && r.name != "" {
				set(data, r.kind, r.name, s.refer(r))
			}
		case "self", "ephemeral":
			out[r.root] = unknown(r.root)
		default:
			if r.name == "" {
				out[r.root] = s.bare(r.root)
				continue
			}
			set(tree, r.root, r.name, s.refer(r))
		}
	}
	for root, values := range tree {
		out[root] = cty.ObjectVal(values)
	}
	if len(data) > 0 {
		kinds := map[string]cty.Value{}
		for kind, values := range data {
			kinds[kind] = cty.ObjectVal(values)
		}
		out["data"] = cty.ObjectVal(kinds)
	}
	return out
}

// join2 joins two views of one object, or of the same instances of it.
func join2(a, b cty.Value) cty.Value {
	bareA, marksA := a.Unmark()
	bareB, marksB := b.Unmark()
	switch {
	case !bareA.IsKnown() || !bareB.IsKnown():
		return a
	case bareA.Type().IsTupleType() && bareB.Type().IsTupleType() && bareA.LengthInt() == bareB.LengthInt():
		as, bs := bareA.AsValueSlice(), bareB.AsValueSlice()
		for i := range as {
			as[i] = join2(as[i], bs[i])
		}
		return cty.TupleVal(as).WithMarks(marksA, marksB)
	case bareA.Type().IsObjectType() && bareB.Type().IsObjectType():
		as := bareA.AsValueMap()
		if as == nil {
			as = map[string]cty.Value{}
		}
		for name, v := range bareB.AsValueMap() {
			if before, both := as[name]; both && !v.Type().Equals(before.Type()) {
				v = join2(before, v)
			}
			as[name] = v
		}
		return cty.ObjectVal(as).WithMarks(marksA, marksB)
	default:
		return a
	}
}

// bare is what a name stands for of which nothing is asked.
func (s *scope) bare(root string) cty.Value {
	switch root {
	case "each":
		if s.key != cty.NilVal {
			return cty.ObjectVal(map[string]cty.Value{"key": s.key, "value": s.value})
		}
	case "path":
		return cty.ObjectVal(map[string]cty.Value{"module": s.refer(reference{root: root, name: "module"}), "root": cty.StringVal("."), "cwd": unknown("path.cwd")})
	case "var":
		all := map[string]cty.Value{}
		for name := range s.module.variables {
			all[name] = s.variable(name)
		}
		return cty.ObjectVal(all)
	case "local":
		all := map[string]cty.Value{}
		for name := range s.module.locals {
			all[name] = s.local(name)
		}
		return cty.ObjectVal(all)
	}
	return unknown(root)
}

// refer returns what a reference stands for.
func (s *scope) refer(r reference) cty.Value {
	switch r.root {
	case "var":
		return s.variable(r.name)
	case "local":
		return s.local(r.name)
	case "each":
		switch {
		case s.key == cty.NilVal:
			return unknown("each." + r.name)
		case r.name == "key":
			return s.key
		default:
			return s.value
		}
	case "count":
		if s.index == cty.NilVal {
			return unknown("count." + r.name)
		}
		return s.index
	case "path":
		switch r.name {
		case "module":
			return cty.StringVal(relative(s.check.root, s.module.dir))
		case "root":
			return cty.StringVal(".")
		}
		return unknown("path." + r.name)
	case "terraform":
		return unknown("terraform." + r.name)
	}
	if v, ok := s.referred[r]; ok {
		return v
	}
	var v cty.Value
	if r.root == "module" {
		v = s.outputs(r)
	} else {
		v = s.resourceValue(r)
	}
	s.referred[r] = v
	return v
}

// relative returns the path from one folder to another, as Terraform has it in path.module.
func relative(from, to string) string {
	if from == to {
		return "."
	}
	if from == "." {
		return to
	}
	a, b := strings.Split(from, "/"), strings.Split(to, "/")
	if to == "." {
		b = nil
	}
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	return path.Join(append(slices.Repeat([]string{".."}, len(a)), b...)...)
}

// once evaluates what has a name in the module, once.
func (i *instance) once(name string, at func() hcl.Range, f func() cty.Value) cty.Value {
	m := i.values[name]
	if m == nil {
		m = &memo{value: unknown("a cycle of references")}
		i.values[name] = m
		m.value = f()
		m.done = true
	}
	if !m.done {
		i.check.problems.add(&configError{place: place(at()), text: "a cycle: " + clip(name) + " refers to itself, maybe through others"})
	}
	return m.value
}

func (i *instance) local(name string) cty.Value {
	attribute := i.module.locals[name]
	if attribute == nil {
		return i.undeclared("local." + name)
	}
	return i.once("local."+name, attribute.Expr.Range, func() cty.Value {
		return (&scope{instance: i}).evaluate(i.module.compiled(i.check.budget, attribute))
	})
}

// undeclared is the value of what is not declared.
func (i *instance) undeclared(name string) cty.Value {
	i.check.problems.add(&configError{place: finding.Location{File: i.module.dir}, text: clip(name) + " is not declared"})
	return unknown(clip(name) + ", which is not declared")
}

func (i *instance) variable(name string) cty.Value {
	v := i.module.variables[name]
	if v == nil {
		return i.undeclared("var." + name)
	}
	return i.once("var."+name, func() hcl.Range { return v.source }, func() cty.Value {
		value, where := i.argument(name)
		if value != cty.NilVal {
			if bare, _ := value.Unmark(); bare.IsNull() && !v.nullable {
				value = cty.NilVal
			}
		}
		if value == cty.NilVal {
			value, where = v.fallback, v.source
		}
		if value == cty.NilVal {
			value = cty.UnknownVal(v.kind).Mark(origin{name: i.prefix() + "var." + name})
		}
		if v.defaults != nil && !containsMark(value) {
			value = v.defaults.Apply(value)
		}
		converted, err := convert.Convert(value, v.kind)
		if err != nil {
			i.check.problems.add(&configError{place: place(where), text: "var." + clip(name) + ": " + clip(err.Error())})
			converted = unknown(i.prefix() + "var." + name + ", whose value has another type")
		}
		if v.sensitive {
			converted = converted.Mark(sensitive{})
		}
		return converted
	})
}

// containsMark says whether a value is marked on the outside, where defaults cannot be laid under it.
func containsMark(v cty.Value) bool { return v.IsMarked() || !v.IsKnown() || v.IsNull() }

// prefix is what names the instance before a name in it.
func (i *instance) prefix() string {
	if i.address == "" {
		return ""
	}
	return i.address + "."
}

// argument returns what a variable is given from outside the module.
func (i *instance) argument(name string) (cty.Value, hcl.Range) {
	if i.parent == nil {
		if v, ok := i.check.arguments[name]; ok {
			return v, i.module.variables[name].source
		}
		return cty.NilVal, hcl.Range{}
	}
	attribute := i.call.body.Attributes[name]
	if attribute == nil {
		return cty.NilVal, hcl.Range{}
	}
	return i.parent.evaluate(i.parent.module.compiled(i.check.budget, attribute)), attribute.Expr.Range()
}

func (i *instance) output(name string) cty.Value {
	b := i.module.outputs[name]
	if b == nil {
		return i.undeclared(i.prefix() + name)
	}
	attribute := b.body.Attributes["value"]
	if attribute == nil {
		return unknown(i.prefix() + name)
	}
	return i.once("output."+name, attribute.Expr.Range, func() cty.Value {
		v := (&scope{instance: i}).evaluate(i.module.compiled(i.check.budget, attribute))
		if flag := b.body.Attributes["sensitive"]; flag != nil && isTruth((&scope{instance: i}).evaluate(i.module.compiled(i.check.budget, flag))) {
			v = v.Mark(sensitive{})
		}
		return v
	})
}

// outputs is the value of a module call: its outputs, or the one that is asked for.
func (i *instance) outputs(r reference) cty.Value {
	call := i.module.calls[r.name]
	if call == nil {
		return i.undeclared("module." + r.name)
	}
	if why := i.module.missing[r.name]; why != "" {
		name := "module." + r.name
		if r.attribute != "" {
			name += "." + r.attribute
		}
		return unknown(fmt.Sprintf("%s%s (%s)", i.prefix(), name, why))
	}
	return collect(i.childrenOf(r.name), func(child *instance) cty.Value {
		if r.attribute != "" {
			return cty.ObjectVal(map[string]cty.Value{r.attribute: child.output(r.attribute)})
		}
		all := map[string]cty.Value{}
		for name := range child.module.outputs {
			all[name] = child.output(name)
		}
		return cty.ObjectVal(all)
	})
}

const tooMany = "there are too many instances to look at"

// origins are the marks that say what a value comes from.
func origins(marks cty.ValueMarks) cty.ValueMarks {
	out := cty.ValueMarks{}
	for mark := range marks {
		if _, ok := mark.(origin); ok {
			out[mark] = struct{}{}
		}
	}
	return out
}

// quote writes a key as Terraform does in addresses: with the language's escapes, and without templates.
func quote(s string) string {
	return `"` + strings.NewReplacer(`"`, `\"`, `\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "${", "$${", "%{", "%%{").Replace(s) + `"`
}

// resourceValue is what a reference to a resource stands for.
func (i *instance) resourceValue(r reference) cty.Value {
	key := r.root + "." + r.name
	if r.root == "data" {
		key = "data." + r.kind + "." + r.name
	}
	b := i.module.resources[key]
	if b == nil {
		return i.undeclared(i.prefix() + key)
	}
	return collect(i.instancesOf(b), func(one *Resource) cty.Value {
		if r.attribute != "" {
			return cty.ObjectVal(map[string]cty.Value{r.attribute: i.check.attributeOf(one, r.attribute)})
		}
		return i.check.whole(one)
	})
}

// attributeOf is an attribute of a resource, as seen from elsewhere.
func (c *check) attributeOf(r *Resource, name string) cty.Value {
	o := origin{resource: r, name: r.Address + "." + name}
	value, _ := r.content.attribute(name)
	if r.Type == "terraform_data" {
		switch {
		case name == "output" && value == cty.NilVal:
			// It is the input, once that is applied.
			if input, _ := r.content.attribute("input"); input == cty.NilVal {
				return cty.NullVal(cty.DynamicPseudoType)
			}
		case (name == "input" || name == "triggers_replace") && value == cty.NilVal:
			return cty.NullVal(cty.DynamicPseudoType)
		}
	}
	if value == cty.NilVal {
		return cty.DynamicVal.Mark(o)
	}
	bare, marks := value.Unmark()
	if bare.IsNull() && r.Type != "terraform_data" {
		// The provider may fill in what is not set.
		return cty.DynamicVal.Mark(o)
	}
	o.known = bare.IsWhollyKnown()
	if !o.known {
		for mark := range marks {
			if m, ok := mark.(origin); ok && m.resource == nil {
				o.known = true // what it came from is to blame, and stays marked
			}
		}
	}
	return value.Mark(o)
}

// whole is a resource as seen from elsewhere where it cannot be told what of it is asked for: what is set, and
// whatever is asked for anywhere, unknown.
func (c *check) whole(r *Resource) cty.Value {
	names := c.names()
	if !c.budget.step(wholeSteps * len(names)) {
		return unknown(c.budget.spent)
	}
	values := make(map[string]cty.Value, len(names))
	shared := cty.DynamicVal.Mark(origin{resource: r, name: r.Address})
	for _, name := range names {
		values[name] = shared
	}
	for _, name := range r.Names() {
		values[name] = c.attributeOf(r, name)
	}
	return cty.ObjectVal(values)
}

// names are the attributes that are asked for anywhere in the configuration.
func (c *check) names() []string {
	if c.accessed != nil {
		return c.accessed
	}
	seen := map[string]bool{"id": true}
	for _, dir := range sortedKeys(c.modules) {
		for _, body := range c.modules[dir].bodies() {
			_ = hclsyntax.VisitAll(body, func(n hclsyntax.Node) hcl.Diagnostics {
				var traversal hcl.Traversal
				switch n := n.(type) {
				case *hclsyntax.ScopeTraversalExpr:
					traversal = c.modules[dir].beyond(n.Traversal)
				case *hclsyntax.RelativeTraversalExpr:
					traversal = n.Traversal
				}
				for _, step := range traversal {
					if attribute, ok := step.(hcl.TraverseAttr); ok && len(seen) < maxAttributes {
						seen[attribute.Name] = true
					}
				}
				return nil
			})
		}
	}
	c.accessed = sortedKeys(seen)
	return c.accessed
}

// beyond is the part of a traversal that may ask something of a whole resource, which got there as a value.
func (m *module) beyond(t hcl.Traversal) hcl.Traversal {
	named := 1 // of an element in a for expression or a dynamic block
	switch root := t.RootName(); {
	case root == "var" || root == "local" || root == "each":
		named = 2
	case root == "module":
		named = 3
	case root == "data" || m.types[root]:
		named = len(t) // what is asked of it is known from the reference
	}
	return t[min(named, len(t)):]
}

// bodies are the bodies of all blocks of a module.
func (m *module) bodies() []*hclsyntax.Body {
	locals := &hclsyntax.Body{Attributes: hclsyntax.Attributes(m.locals)}
	out := []*hclsyntax.Body{locals}
	for _, blocks := range []map[string]*block{m.resources, m.calls, m.outputs} {
		for _, name := range sortedKeys(blocks) {
			out = append(out, blocks[name].body)
		}
	}
	return out
}
