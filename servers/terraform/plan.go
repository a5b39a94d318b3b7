package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"reflect"
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
	Errored       bool                            `json:"errored"` // planning failed, and what is there is a part
	Values        json.RawMessage                 `json:"values"`  // only a state has them
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
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, &errPlan{"empty, where the output of `terraform show -json PLANFILE` is wanted: look whether that command failed"}
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
	if e := checkNames(data, reflect.TypeFor[plan]()); e != nil {
		return nil, &errPlan{fmt.Sprintf("byte %d: %s: take the output of `terraform show -json PLANFILE` as it is", e.offset, e.text)}
	}
	if p.Values != nil {
		return nil, &errPlan{"a state, and no plan: name the plan file, `terraform show -json PLANFILE`"}
	}
	if err := (&tfjson.Plan{FormatVersion: p.FormatVersion}).Validate(); err != nil {
		return nil, &errPlan{"no plan in JSON of a format that is known (format_version 0.1 to 1.x): use `terraform show -json PLANFILE`"}
	}
	switch {
	case p.Errored:
		return nil, &errPlan{"a part of a plan: `terraform plan` failed; mend what it says, and plan again"}
	case len(p.Changes)+len(p.Deferred) == 0 && (p.Config == nil || p.Config.RootModule == nil):
		return nil, &errPlan{"nothing to check: it has neither resource_changes nor a configuration: take the output of `terraform show -json PLANFILE` as it is"}
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
