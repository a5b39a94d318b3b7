package main

import (
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// expression is an expression of the configuration, made ready to be evaluated many times: its references are
// known, and what could go on without end in it counts against the budget.
type expression struct {
	syntax     hclsyntax.Expression
	source     hcl.Range
	references []reference
	calls      bool       // whether it calls functions
	varies     bool       // whether it refers to each or count
	constant   bool       // whether its value is the same wherever it is evaluated
	literal    *cty.Value // that value, once it is known
	document   bool       // it hands on a JSON text whole: a call of jsonencode, or a plain reference
}

// reference is what an expression needs from around it.
type reference struct {
	root string // var, local, module, data, each, count, path, terraform, self, or a resource type
	kind string // of data: the type of the data source
	name string // of a variable, a module, a resource
	// attribute is the one attribute of a resource or module that is asked for; "" for the whole, which is also
	// where that cannot be told.
	attribute string
}

// compile makes an expression ready. The syntax tree is changed, so it is for the budget's check alone.
func (b *budget) compile(syntax hclsyntax.Expression) *expression {
	c := compiler{budget: b, out: &expression{source: syntax.Range(), document: handsOn(syntax)}}
	c.out.syntax = c.bind(syntax)
	c.out.varies = slices.ContainsFunc(c.out.references, func(r reference) bool { return r.root == "each" || r.root == "count" || r.root == "self" })
	c.out.constant = len(c.out.references) == 0 && !c.out.calls
	return c.out
}

// handsOn says whether an expression's value is that of a call of jsonencode or of one reference, unchanged.
func handsOn(e hclsyntax.Expression) bool {
	switch e := e.(type) {
	case *hclsyntax.ParenthesesExpr:
		return handsOn(e.Expression)
	case *hclsyntax.TemplateWrapExpr:
		return handsOn(e.Wrapped)
	case *hclsyntax.ConditionalExpr:
		return handsOn(e.TrueResult) && handsOn(e.FalseResult)
	case *hclsyntax.FunctionCallExpr:
		return e.Name == "jsonencode"
	case *hclsyntax.ScopeTraversalExpr, *hclsyntax.TemplateExpr:
		return true
	default:
		return false
	}
}

func parseReference(t hcl.Traversal) reference {
	r := reference{root: t.RootName()}
	rest := t[1:]
	step := func() string {
		if len(rest) == 0 {
			return ""
		}
		attribute, ok := rest[0].(hcl.TraverseAttr)
		if !ok {
			return ""
		}
		rest = rest[1:]
		return attribute.Name
	}
	switch r.root {
	case "each", "count", "path", "terraform", "self", "var", "local":
		r.name = step()
		return r
	case "data":
		r.kind = step()
		r.name = step()
	default:
		r.name = step()
	}
	if len(rest) > 0 {
		if _, indexed := rest[0].(hcl.TraverseIndex); indexed {
			rest = rest[1:]
		}
	}
	r.attribute = step()
	return r
}

// budget is what one check may take of time and memory. When it is used up, what is still evaluated becomes
// unknown at once, and the check says so.
type budget struct {
	steps, iterations, templateBytes, instances, fileBytes int

	spent string // what was used up first; "" while there is enough

	expired func() error // says whether nobody waits any more; may be nil
	asked   int          // steps until it is asked again
}

func newBudget() *budget {
	return &budget{steps: maxSteps, iterations: maxIterations, templateBytes: maxTemplateBytes, instances: maxInstances, fileBytes: maxFileTotal}
}

// step takes n steps and says whether they could be taken.
func (b *budget) step(n int) bool {
	b.steps -= n
	if b.steps < 0 && b.spent == "" {
		b.spent = "evaluating it takes too many steps"
	}
	if b.asked -= n; b.asked < 0 && b.expired != nil {
		b.asked = stepsBetweenLooks
		if b.spent == "" && b.expired() != nil {
			b.spent = "evaluating it takes too long"
		}
	}
	return b.spent == ""
}

// iterate takes n elements of what is made of many, and says whether they could be taken.
func (b *budget) iterate(n int) bool {
	b.iterations -= n
	if b.iterations < 0 && b.spent == "" {
		b.spent = "its for expressions and dynamic blocks make too many elements"
	}
	return b.step(n)
}

func (b *budget) template(n int) bool {
	b.templateBytes -= n
	if b.templateBytes < 0 && b.spent == "" {
		b.spent = "its templates put together too many bytes"
	}
	return b.spent == ""
}

// compiler goes through one expression: it collects what the expression refers to, and replaces the parts that
// may be evaluated many times, or make much of little, by ones that count.
type compiler struct {
	budget *budget
	locals []string // names that for expressions around here give to elements
	out    *expression
}

// refer notes a reference. after is what is asked of it where the traversal does not say so itself.
func (c *compiler) refer(t hcl.Traversal, after hcl.Traversal) {
	if slices.Contains(c.locals, t.RootName()) {
		return
	}
	if len(after) > 0 {
		t = append(slices.Clone(t), after[0])
	}
	if r := parseReference(t); !slices.Contains(c.out.references, r) {
		c.out.references = append(c.out.references, r)
	}
}

func (c *compiler) bind(e hclsyntax.Expression) hclsyntax.Expression {
	b := c.budget
	switch e := e.(type) {
	case nil:
		return nil
	case *hclsyntax.LiteralValueExpr:
		if e.Val.Type() == cty.Number && e.Val.IsKnown() && !e.Val.IsNull() && tooPrecise(e.Val) {
			e.Val = cty.UnknownVal(cty.Number).Mark(origin{name: "a number with too many digits"})
		}
	case *hclsyntax.ScopeTraversalExpr:
		c.refer(e.Traversal, nil)
	case *hclsyntax.ParenthesesExpr:
		e.Expression = c.bind(e.Expression)
	case *hclsyntax.TemplateWrapExpr:
		e.Wrapped = c.bind(e.Wrapped)
	case *hclsyntax.TemplateExpr:
		for i, part := range e.Parts {
			e.Parts[i] = c.bind(part)
			if len(e.Parts) > 1 {
				e.Parts[i] = templatePart{wrap(e.Parts[i]), b}
			}
		}
	case *hclsyntax.TemplateJoinExpr:
		e.Tuple = c.bind(e.Tuple)
	case *hclsyntax.RelativeTraversalExpr:
		e.Source = c.bindSource(e.Source, e.Traversal)
	case *hclsyntax.FunctionCallExpr:
		c.out.calls = true
		c.bindAll(e.Args)
	case *hclsyntax.ConditionalExpr:
		e.Condition, e.TrueResult, e.FalseResult = c.bind(e.Condition), c.bind(e.TrueResult), c.bind(e.FalseResult)
	case *hclsyntax.IndexExpr:
		e.Collection, e.Key = c.bind(e.Collection), c.bind(e.Key)
	case *hclsyntax.TupleConsExpr:
		c.bindAll(e.Exprs)
	case *hclsyntax.ObjectConsExpr:
		for i := range e.Items {
			e.Items[i].KeyExpr, e.Items[i].ValueExpr = c.bind(e.Items[i].KeyExpr), c.bind(e.Items[i].ValueExpr)
		}
	case *hclsyntax.ObjectConsKeyExpr:
		if hcl.ExprAsKeyword(e.Wrapped) == "" || e.ForceNonLiteral {
			e.Wrapped = c.bind(e.Wrapped)
		}
	case *hclsyntax.BinaryOpExpr:
		e.LHS, e.RHS = c.bind(e.LHS), c.bind(e.RHS)
		if e.Op == hclsyntax.OpEqual || e.Op == hclsyntax.OpNotEqual {
			e.LHS, e.RHS = operand{wrap(e.LHS), b}, operand{wrap(e.RHS), b}
		}
	case *hclsyntax.UnaryOpExpr:
		e.Val = c.bind(e.Val)
	case *hclsyntax.SplatExpr:
		var after hcl.Traversal
		if each, ok := e.Each.(*hclsyntax.RelativeTraversalExpr); ok && each.Source == hclsyntax.Expression(e.Item) {
			after = each.Traversal
		}
		e.Source, e.Each = c.bindSource(e.Source, after), c.bind(e.Each)
		e.Each = iteration{wrap(e.Each), b, cty.DynamicVal}
	case *hclsyntax.ForExpr:
		e.CollExpr = c.bind(e.CollExpr)
		outside := len(c.locals)
		c.locals = append(c.locals, e.ValVar)
		if e.KeyVar != "" {
			c.locals = append(c.locals, e.KeyVar)
		}
		e.KeyExpr = c.bind(e.KeyExpr)
		e.ValExpr = iteration{wrap(c.bind(e.ValExpr)), b, cty.DynamicVal}
		if e.CondExpr != nil {
			e.CondExpr = iteration{wrap(c.bind(e.CondExpr)), b, cty.False}
		}
		c.locals = c.locals[:outside]
	}
	return e
}

// bindSource binds what a traversal goes on from: aws_subnet.a[*] and aws_subnet.a[var.i] before .id.
func (c *compiler) bindSource(source hclsyntax.Expression, after hcl.Traversal) hclsyntax.Expression {
	switch source := source.(type) {
	case *hclsyntax.ScopeTraversalExpr:
		c.refer(source.Traversal, after)
		return source
	case *hclsyntax.IndexExpr:
		source.Collection, source.Key = c.bindSource(source.Collection, after), c.bind(source.Key)
		return source
	default:
		return c.bind(source)
	}
}

func (c *compiler) bindAll(all []hclsyntax.Expression) {
	for i, e := range all {
		all[i] = c.bind(e)
	}
}

// wrap lends an expression of ours the part of the library's interface that only its own types can have.
func wrap(e hclsyntax.Expression) *hclsyntax.ParenthesesExpr {
	return &hclsyntax.ParenthesesExpr{Expression: e, SrcRange: e.Range()}
}

// iteration is what a for expression evaluates for each element. The loop itself cannot be left, but its rest
// goes by quickly once the budget is used up.
type iteration struct {
	*hclsyntax.ParenthesesExpr
	budget *budget
	spent  cty.Value
}

func (e iteration) Value(ctx *hcl.EvalContext) (cty.Value, hcl.Diagnostics) {
	if !e.budget.iterate(1) {
		return e.spent, nil
	}
	return e.Expression.Value(ctx)
}

// templatePart is one part of a template of several.
type templatePart struct {
	*hclsyntax.ParenthesesExpr
	budget *budget
}

func (e templatePart) Value(ctx *hcl.EvalContext) (cty.Value, hcl.Diagnostics) {
	if !e.budget.template(0) {
		return cty.UnknownVal(cty.String), nil
	}
	v, diags := e.Expression.Value(ctx)
	if bare, _ := v.Unmark(); bare.Type() == cty.String && bare.IsKnown() && !bare.IsNull() && !e.budget.template(len(bare.AsString())) {
		return cty.UnknownVal(cty.String), diags
	}
	return v, diags
}

// operand is what is compared, part by part.
type operand struct {
	*hclsyntax.ParenthesesExpr
	budget *budget
}

func (e operand) Value(ctx *hcl.EvalContext) (cty.Value, hcl.Diagnostics) {
	v, diags := e.Expression.Value(ctx)
	if s := measure(v, maxFunctionBytes); s.tooLarge || !e.budget.step(s.nodes/stepNodes) {
		return cty.DynamicVal.Mark(origin{name: "a comparison of values that are too large"}), diags
	}
	return v, diags
}

// size is how much there is in a value, counting what is in it twice twice.
type size struct {
	nodes, bytes int
	tooLarge     bool
}

// measure counts up to the bounds. What shares memory counts each time that it is there: whoever walks
// through the value comes by it each time.
func measure(v cty.Value, maxBytes int) size {
	s := size{}
	s.add(v, maxBytes)
	return s
}

func (s *size) add(v cty.Value, maxBytes int) {
	if v == cty.NilVal || s.tooLarge {
		return
	}
	s.nodes++
	if v.IsMarked() {
		v, _ = v.Unmark()
	}
	if !v.IsKnown() || v.IsNull() {
		return
	}
	switch t := v.Type(); {
	case t == cty.String:
		s.bytes += len(v.AsString())
	case t == cty.Number:
		s.tooLarge = s.tooLarge || tooPrecise(v)
	case v.CanIterateElements():
		for it := v.ElementIterator(); it.Next() && !s.tooLarge; {
			key, element := it.Element()
			if key.Type() == cty.String && !key.IsMarked() && key.IsKnown() && !key.IsNull() {
				s.bytes += len(key.AsString())
			}
			s.add(element, maxBytes)
		}
	}
	s.tooLarge = s.tooLarge || s.nodes > maxValueNodes || s.bytes > maxBytes
}

// tooPrecise says whether writing a number out takes more digits than anybody needs.
func tooPrecise(v cty.Value) bool {
	number := v.AsBigFloat()
	if number.IsInf() {
		return false
	}
	exponent := number.MantExp(nil)
	return exponent > maxExponent || exponent < -maxExponent
}
