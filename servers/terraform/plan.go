package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	tfjson "github.com/hashicorp/terraform-json"
	"github.com/zclconf/go-cty/cty"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// plan is what is read of a plan in JSON, the output of `terraform show -json`. State, drift and planned values
// are left out: the changes say all that is judged.
type plan struct {
	FormatVersion string                          `json:"format_version"`
	Variables     map[string]*tfjson.PlanVariable `json:"variables"`
	Changes       []*tfjson.ResourceChange        `json:"resource_changes"`
	Config        *tfjson.Config                  `json:"configuration"`
	Deferred      []*deferredChange               `json:"deferred_changes"`
	Values        json.RawMessage                 `json:"values"` // only a state has them
}

// deferredChange is a change that a later plan is to make.
type deferredChange struct {
	Change *tfjson.ResourceChange `json:"resource_change"`
}

// errPlan is what is wrong with a plan. It repeats nothing of it, since anything in it may be a secret.
type errPlan struct{ text string }

func (e *errPlan) Error() string { return e.text }

// parsePlan reads a plan.
func parsePlan(data []byte) (*plan, error) {
	if !utf8.Valid(data) {
		return nil, &errPlan{"not UTF-8: a plan in JSON is the output of `terraform show -json PLANFILE`; the plan file itself is another format"}
	}
	if line := deeperThan(data, maxPlanNesting); line > 0 {
		return nil, &errPlan{fmt.Sprintf("line %d: too large: more than %d lists and objects inside one another", line, maxPlanNesting)}
	}
	var p plan
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&p); err != nil {
		at := decoder.InputOffset()
		var syntax *json.SyntaxError
		var wrong *json.UnmarshalTypeError
		switch {
		case errors.As(err, &syntax):
			return nil, &errPlan{fmt.Sprintf("byte %d: not JSON: a plan in JSON is the output of `terraform show -json PLANFILE`", syntax.Offset)}
		case errors.As(err, &wrong):
			return nil, &errPlan{fmt.Sprintf("byte %d: no plan in JSON: a value of the wrong type in %s", at, clip(wrong.Struct))}
		}
		return nil, &errPlan{fmt.Sprintf("byte %d: not a whole plan in JSON", at)}
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, &errPlan{fmt.Sprintf("byte %d: something stands behind the plan: give one plan at a time", decoder.InputOffset())}
	}
	if p.Values != nil {
		return nil, &errPlan{"a state, and no plan: name the plan file, `terraform show -json PLANFILE`"}
	}
	if err := (&tfjson.Plan{FormatVersion: p.FormatVersion}).Validate(); err != nil {
		return nil, &errPlan{"no plan in JSON of a format that is known (format_version 0.1 to 1.x): use `terraform show -json PLANFILE`"}
	}
	if len(p.Changes)+len(p.Deferred) > maxInstances {
		return nil, &errPlan{fmt.Sprintf("too large: more than %d changes", maxInstances)}
	}
	for _, c := range p.judged() {
		if c != nil && max(len(c.Address), len(c.ModuleAddress), len(c.Type), len(c.Name)) > maxPathLength {
			return nil, &errPlan{fmt.Sprintf("too large: an address of more than %d bytes", maxPathLength)}
		}
	}
	return &p, nil
}

// judged are the changes that are judged: those that the plan makes, and those that it leaves to a later one.
func (p *plan) judged() []*tfjson.ResourceChange {
	all := slices.Clone(p.Changes)
	for _, d := range p.Deferred {
		if d != nil {
			all = append(all, d.Change)
		}
	}
	return all
}

// delta is what a plan would do, by how much it takes away.
type delta struct {
	Destroyed []change `json:"destroyed"` // what is gone afterwards
	Replaced  []change `json:"replaced"`  // what is destroyed and made anew
	Create    int      `json:"create"`
	Update    int      `json:"update"`
	Read      int      `json:"read"`
	Unchanged int      `json:"unchanged"`
	Forget    int      `json:"forget,omitempty"`    // what Terraform stops to manage without destroying it
	Truncated bool     `json:"truncated,omitempty"` // the lists were cut
}

// change is a resource that is destroyed or replaced.
type change struct {
	Address  string   `json:"address"`
	ForcedBy []string `json:"forced_by,omitempty"`                   // the attributes whose change forces the replacement
	Reason   string   `json:"reason,omitempty"`                      // Terraform's own word for why
	First    string   `json:"first,omitempty" enum:"destroy,create"` // what comes first: destroy or create
}

// delta works out what the plan would do.
func (p *plan) delta() delta {
	d := delta{Destroyed: []change{}, Replaced: []change{}}
	for _, c := range p.Changes {
		if c == nil || c.Change == nil {
			continue
		}
		actions := c.Change.Actions
		made := change{Address: clip(c.Address), Reason: clip(string(c.ActionReason))}
		switch {
		case actions.Replace():
			made.First = "destroy"
			if actions.CreateBeforeDestroy() {
				made.First = "create"
			}
			for _, path := range c.Change.ReplacePaths {
				if len(made.ForcedBy) < maxForced {
					made.ForcedBy = append(made.ForcedBy, clip(attributePath(path)))
				}
			}
			d.Replaced = append(d.Replaced, made)
		case actions.Delete():
			d.Destroyed = append(d.Destroyed, made)
		case actions.Create():
			d.Create++
		case actions.Update():
			d.Update++
		case actions.Read():
			d.Read++
		case actions.NoOp():
			d.Unchanged++
		default:
			d.Forget++
		}
	}
	for _, list := range []*[]change{&d.Destroyed, &d.Replaced} {
		slices.SortFunc(*list, func(a, b change) int { return strings.Compare(a.Address, b.Address) })
		if len(*list) > maxDelta {
			*list, d.Truncated = slices.Clone((*list)[:maxDelta]), true
		}
	}
	return d
}

// attributePath writes a path of replace_paths.
func attributePath(path any) string {
	steps, _ := path.([]any)
	var b strings.Builder
	for _, step := range steps {
		switch step := step.(type) {
		case string:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(step)
		case json.Number:
			fmt.Fprintf(&b, "[%s]", step)
		}
	}
	return b.String()
}

// secrets are the sensitive texts of a plan, to be taken out of whatever is said about it.
func (p *plan) secrets() []string {
	seen := map[string]bool{}
	var visit func(value, mark any)
	visit = func(value, mark any) {
		secret, _ := mark.(bool)
		switch value := value.(type) {
		case string:
			if secret && len(value) >= minHidden {
				for _, form := range shownForms(value) {
					seen[form] = true
				}
			}
		case json.Number:
			if secret && len(value) >= minHidden {
				seen[value.String()] = true
			}
		case map[string]any:
			for key, element := range value {
				visit(element, below(mark, key))
			}
		case []any:
			for i, element := range value {
				visit(element, at(mark, i))
			}
		}
	}
	for _, c := range p.judged() {
		if c == nil || c.Change == nil {
			continue
		}
		visit(c.Change.After, c.Change.AfterSensitive)
		visit(c.Change.Before, c.Change.BeforeSensitive)
	}
	if p.Config != nil {
		for name, v := range sensitiveVariables(p.Config.RootModule, 0) {
			visit(v.Default, true)
			// The given values are those of the root module. A module's variable of the same name hides one too many.
			if given := p.Variables[name]; given != nil {
				visit(given.Value, true)
			}
		}
	}
	// The longest first: one may be part of another.
	out := sortedKeys(seen)
	slices.SortStableFunc(out, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	return out
}

// shownForms are the forms that a text takes in what is said: whole or clipped, plain or quoted.
func shownForms(s string) []string {
	forms := []string{s, strings.TrimSuffix(clip(s), "…")}
	for _, form := range slices.Clone(forms) {
		quoted := strconv.Quote(form)
		forms = append(forms, quoted[1:len(quoted)-1])
	}
	return forms
}

// sensitiveVariables yields the variables that a module, or one that it calls, declares sensitive.
func sensitiveVariables(m *tfjson.ConfigModule, depth int) iter.Seq2[string, *tfjson.ConfigVariable] {
	return func(yield func(string, *tfjson.ConfigVariable) bool) {
		if m == nil || depth > maxCallDepth {
			return
		}
		for name, v := range m.Variables {
			if v != nil && v.Sensitive && !yield(name, v) {
				return
			}
		}
		for _, call := range m.ModuleCalls {
			if call == nil {
				continue
			}
			for name, v := range sensitiveVariables(call.Module, depth+1) {
				if !yield(name, v) {
					return
				}
			}
		}
	}
}

// below and at go down a tree of marks: true is for all that is below, and what is not there is false.
func below(mark any, key string) any {
	switch mark := mark.(type) {
	case bool:
		return mark
	case map[string]any:
		if in, ok := mark[key]; ok {
			return in
		}
	}
	return false
}

func at(mark any, i int) any {
	switch mark := mark.(type) {
	case bool:
		return mark
	case []any:
		if i < len(mark) {
			return mark[i]
		}
	}
	return false
}

// hide takes the plan's secrets out of findings and of the delta.
func (p *plan) hide(r *report, d *delta) {
	secrets := p.secrets()
	if len(secrets) == 0 {
		return
	}
	pairs := make([]string, 0, 2*len(secrets))
	for _, s := range secrets {
		pairs = append(pairs, s, "(sensitive)")
	}
	replacer := strings.NewReplacer(pairs...)
	clean := func(texts ...*string) {
		for _, text := range texts {
			*text = replacer.Replace(*text)
		}
	}
	for i := range r.findings {
		f := &r.findings[i]
		clean(&f.Message, &f.Reason, &f.Object, &f.Location.Field)
		for j := range f.Chain {
			clean(&f.Chain[j])
		}
	}
	for _, list := range [][]change{d.Destroyed, d.Replaced} {
		for i := range list {
			clean(&list[i].Address, &list[i].Reason)
			for j := range list[i].ForcedBy {
				clean(&list[i].ForcedBy[j])
			}
		}
	}
}

// resources are what there is once the plan is applied, with what its configuration says about providers,
// modules and variables.
func (p *plan) resources(file string) []*Resource {
	w := &planned{file: file, configs: map[string]*tfjson.ConfigResource{}, modules: map[string]*moduleCalls{}, byConfig: map[string][]*planResource{}}
	if p.Config != nil && p.Config.RootModule != nil {
		w.describe(p.Config.RootModule, "", 0)
		for _, name := range sortedKeys(p.Config.ProviderConfigs) {
			if c := p.Config.ProviderConfigs[name]; c != nil {
				w.add(&Resource{Address: "provider." + c.Name, Module: c.ModuleAddress, Mode: Provider, Type: c.Name, Name: cmp.Or(c.Alias, c.Name)},
					expressionContent{w, c.Expressions, map[string]string{"version": c.VersionConstraint}})
			}
		}
	}
	for _, c := range p.judged() {
		if c == nil || c.Change == nil || c.Change.Actions.Delete() || c.DeposedKey != "" {
			continue
		}
		after, ok := c.Change.After.(map[string]any)
		if !ok {
			after = map[string]any{}
		}
		made := &planResource{
			Resource: &Resource{
				Address: c.Address, Module: c.ModuleAddress, Mode: Mode(c.Mode), Type: c.Type, Name: c.Name, Planned: true,
				Provider: c.ProviderName[strings.LastIndexByte(c.ProviderName, '/')+1:], Chain: moduleChain(c.ModuleAddress),
			},
			world: w, index: c.Index, after: after, unknown: c.Change.AfterUnknown, sensitive: c.Change.AfterSensitive,
		}
		path := modulePath(c.ModuleAddress)
		made.config = w.configs[configKey(path, tfjsonAddress(made.Resource))]
		key := configKey(path, tfjsonAddress(made.Resource))
		w.byConfig[key] = append(w.byConfig[key], made)
		w.add(made.Resource, made)
	}
	relate(w.all, func(*Resource) string { return "" })
	return w.all
}

func tfjsonAddress(r *Resource) string {
	if r.Mode == Data {
		return "data." + r.Type + "." + r.Name
	}
	return r.Type + "." + r.Name
}

// planned is what is put together of a plan.
type planned struct {
	file     string
	all      []*Resource
	configs  map[string]*tfjson.ConfigResource // by module path and address in the module
	modules  map[string]*moduleCalls           // by module path
	byConfig map[string][]*planResource        // the instances of each
}

// moduleCalls is what is known of a module from outside: how it is called, and what it hands out.
type moduleCalls struct {
	call    *tfjson.ModuleCall
	outputs map[string]*tfjson.ConfigOutput
}

func (w *planned) add(r *Resource, c content) {
	r.Location = finding.Location{File: w.file}
	r.Block = Block{content: c, place: r.Location}
	w.all = append(w.all, r)
}

// describe reads the configuration in a plan.
func (w *planned) describe(m *tfjson.ConfigModule, path string, depth int) {
	if m == nil || depth > maxCallDepth {
		return
	}
	if w.modules[path] == nil {
		w.modules[path] = &moduleCalls{}
	}
	w.modules[path].outputs = m.Outputs
	for _, r := range m.Resources {
		if r != nil {
			w.configs[configKey(path, r.Address)] = r
		}
	}
	for _, name := range sortedKeys(m.Variables) {
		v := m.Variables[name]
		if v == nil {
			continue
		}
		value := toValue(v.Default, nil, nil, func() cty.Value { return cty.DynamicVal }, 0)
		if v.Sensitive {
			value = value.Mark(sensitive{})
		}
		w.add(&Resource{Address: prefixed(path, "var."+name), Module: path, Mode: Variable, Name: name}, fixedContent{
			"default": value, "description": cty.StringVal(v.Description), "sensitive": cty.BoolVal(v.Sensitive),
		})
	}
	for _, name := range sortedKeys(m.ModuleCalls) {
		call := m.ModuleCalls[name]
		if call == nil {
			continue
		}
		child := prefixed(path, "module."+name)
		w.add(&Resource{Address: child, Module: path, Mode: Call, Name: name},
			expressionContent{w, call.Expressions, map[string]string{"source": call.Source, "version": call.VersionConstraint}})
		w.modules[child] = &moduleCalls{call: call}
		w.describe(call.Module, child, depth+1)
	}
}

func prefixed(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func configKey(path, address string) string { return path + "|" + address }

// outsideKeys yields the offsets of an address that are not in a key: not between [ and ].
func outsideKeys(address string) iter.Seq[int] {
	return func(yield func(int) bool) {
		depth, quoted := 0, false
		for i := 0; i < len(address); i++ {
			switch c := address[i]; {
			case quoted && c == '\\':
				i++
			case c == '"' && depth > 0:
				quoted = !quoted
			case quoted:
			case c == '[':
				depth++
			case c == ']':
				depth--
			case depth == 0:
				if !yield(i) {
					return
				}
			}
		}
	}
}

// modulePath takes the keys out of a module's address: module.a["x"].module.b becomes module.a.module.b.
func modulePath(address string) string {
	var b strings.Builder
	for i := range outsideKeys(address) {
		b.WriteByte(address[i])
	}
	return b.String()
}

// moduleChain is the calls that led to a module instance, outermost first.
func moduleChain(address string) []string {
	if address == "" {
		return nil
	}
	var chain []string
	for i := range outsideKeys(address) {
		if i > 0 && strings.HasPrefix(address[i:], ".module.") {
			chain = append(chain, address[:i])
		}
	}
	return append(chain, address)
}

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

// origins are the resources that an attribute refers to, by the configuration in the plan, through variables and
// outputs of modules.
func (w *planned) origins(r *planResource, e *tfjson.Expression) []origin {
	left := maxPlanReferences
	var out []origin
	for _, o := range w.follow(r, modulePath(r.Module), references(e, 0), &left) {
		if !slices.Contains(out, o) && len(out) < maxOrigins {
			out = append(out, o)
		}
	}
	return out
}

// references are those of an expression and of all that is nested in it.
func references(e *tfjson.Expression, depth int) []string {
	if e == nil || e.ExpressionData == nil || depth > maxPlanNesting {
		return nil
	}
	out := e.References
	for _, block := range e.NestedBlocks {
		for _, name := range sortedKeys(block) {
			out = append(slices.Clone(out), references(block[name], depth+1)...)
		}
	}
	return out
}

// follow finds what references in the module at path lead to. left bounds how many are followed.
func (w *planned) follow(r *planResource, path string, refs []string, left *int) []origin {
	var out []origin
	for i, ref := range refs {
		if i > 0 && strings.HasPrefix(refs[i-1], ref+".") || i > 0 && strings.HasPrefix(refs[i-1], ref+"[") {
			continue // the same, less precise
		}
		if *left--; *left < 0 {
			return out
		}
		steps := strings.Split(modulePath(ref), ".")
		switch {
		case steps[0] == "each" && r.config != nil:
			out = append(out, w.follow(r, path, references(r.config.ForEachExpression, 0), left)...)
		case steps[0] == "var" && len(steps) > 1:
			m, parent := w.modules[path], parentPath(path)
			if path == "" || m == nil || m.call == nil {
				out = append(out, origin{name: prefixed(path, "var."+steps[1])})
				continue
			}
			out = append(out, w.follow(r, parent, references(m.call.Expressions[steps[1]], 0), left)...)
		case steps[0] == "module" && len(steps) > 2:
			child := prefixed(path, "module."+steps[1])
			m := w.modules[child]
			if m == nil || m.outputs[steps[2]] == nil {
				out = append(out, origin{name: prefixed(path, ref)})
				continue
			}
			out = append(out, w.follow(r, child, references(m.outputs[steps[2]].Expression, 0), left)...)
		case steps[0] == "local", steps[0] == "module":
			out = append(out, origin{name: prefixed(path, ref)})
		case steps[0] == "data" && len(steps) > 2:
			out = append(out, w.instances(r, path, strings.Join(steps[:3], "."), ref)...)
		case len(steps) > 1 && !slices.Contains([]string{"each", "count", "path", "terraform", "self"}, steps[0]):
			out = append(out, w.instances(r, path, strings.Join(steps[:2], "."), ref)...)
		}
	}
	return out
}

// parentPath is the path of the module that calls the one at path.
func parentPath(path string) string {
	i := strings.LastIndex(path, "module.")
	return strings.TrimSuffix(path[:max(i, 0)], ".")
}

// instances are those of a resource that a reference may mean: the one with the index that is written, else with
// the index of the resource that refers, else all, in the same instances of modules.
func (w *planned) instances(r *planResource, path, address, ref string) []origin {
	var out, same []origin
	candidates := w.byConfig[configKey(path, address)]
	if len(candidates) == 0 {
		return []origin{{name: prefixed(path, ref)}}
	}
	for _, other := range candidates {
		if !sameModules(r.Module, other.Module) {
			continue
		}
		o := origin{resource: other.Resource, name: other.Address}
		if suffix, ok := strings.CutPrefix(other.Address, prefixed(other.Module, address)); ok && suffix != "" && strings.Contains(ref, address+suffix) {
			return []origin{o}
		}
		out = append(out, o)
		if indexText(r.index) != "" && indexText(other.index) == indexText(r.index) {
			same = append(same, o)
		}
	}
	if len(same) > 0 {
		return same
	}
	return out
}

// indexText is the key of an instance: "" for a resource without count and for_each.
func indexText(index any) string {
	switch index := index.(type) {
	case string:
		return quote(index)
	case json.Number:
		return index.String()
	default:
		return ""
	}
}

// sameModules says whether two module addresses agree in the keys of the calls that they share.
func sameModules(a, b string) bool {
	as, bs := moduleChain(a), moduleChain(b)
	for i := range min(len(as), len(bs)) {
		if modulePath(as[i]) != modulePath(bs[i]) {
			return true
		}
		if as[i] != bs[i] {
			return false
		}
	}
	return true
}
