package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// TestFixturesAsPlans holds the rules about resources to their fixtures in the form of a plan, where blocks are
// lists of objects, and what is not known is marked beside them.
func TestFixturesAsPlans(t *testing.T) {
	for _, rule := range rules() {
		if rule.Mode != "" && rule.Mode != Managed || rule.ID == "terraform/resource-secrets" || rule.ID == "terraform/provisioner" {
			continue // a plan has no provisioners, and of values just whether they came through a variable
		}
		for _, f := range fixtures(t, rule) {
			text, partly := asPlan(t, f.text)
			p, err := parsePlan(text)
			if err != nil {
				t.Fatalf("%s, %s: %v", rule.ID, f.name, err)
			}
			r := &report{}
			if err := r.judge(t.Context(), newRuleBook([]Rule{rule}), p.resources("plan.json")); err != nil {
				t.Fatal(err)
			}
			worst := finding.Pass
			for _, found := range r.findings {
				worst = worst.Worse(found.Verdict)
			}
			// A block that Terraform would not know is not there at all in this form.
			if worst != f.want && f.want != finding.Unknown && !(partly && worst == finding.Unknown) {
				t.Errorf("%s, %s: %s", rule.ID, f.name, worst)
				for _, found := range r.findings {
					t.Logf("%s: %s: %s (%s)", found.Object, found.Verdict, found.Message, found.Reason)
				}
			}
		}
	}
}

// asPlan writes a configuration out as the plan that would create it all. partly says whether there is a JSON text
// of which a configuration says more: a plan has such a text whole or not at all.
func asPlan(t *testing.T, text string) (plan []byte, partly bool) {
	t.Helper()
	files := textFiles{}
	if err := files.add("main.tf", text); err != nil {
		t.Fatal(err)
	}
	l := newLoader(files)
	m, err := l.load(".")
	if err != nil {
		t.Fatal(err)
	}
	changes, configs := []any{}, []any{}
	for _, r := range newWorld(newCheck(l, "."), m).all {
		if r.Mode != Managed && r.Mode != Data {
			continue
		}
		object := blockInPlan(r.Block, &partly)
		action := "create"
		if r.Mode == Data {
			action = "read"
		}
		changes = append(changes, map[string]any{
			"address": r.Address, "mode": r.Mode, "type": r.Type, "name": r.Name,
			"change": map[string]any{"actions": []string{action}, "after": object.after, "after_unknown": object.unknown},
		})
		configs = append(configs, map[string]any{"address": r.Address, "mode": r.Mode, "type": r.Type, "name": r.Name, "expressions": object.expressions})
	}
	data, err := json.Marshal(map[string]any{
		"format_version": "1.2", "resource_changes": changes, "configuration": map[string]any{"root_module": map[string]any{"resources": configs}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return data, partly
}

// planObject is a block in the three forms that a plan has of it.
type planObject struct{ after, unknown, expressions map[string]any }

func blockInPlan(b Block, partly *bool) planObject {
	out := planObject{map[string]any{}, map[string]any{}, map[string]any{}}
	for _, name := range b.Names() {
		value, _ := b.content.attribute(name)
		if value == cty.NilVal {
			var after, unknown, expressions []any
			for _, inner := range b.Blocks(name).All {
				object := blockInPlan(inner, partly)
				after, unknown, expressions = append(after, object.after), append(unknown, object.unknown), append(expressions, object.expressions)
			}
			out.after[name], out.unknown[name], out.expressions[name] = after, unknown, expressions
			continue
		}
		v := newValue(value, name, b.place)
		*partly = *partly || v.Unknown() && v.document != cty.NilVal
		bare, _ := value.UnmarkDeep()
		out.after[name], out.unknown[name] = valueInPlan(bare)
		expression := map[string]any{}
		var references []string
		for _, o := range v.origins {
			references = append(references, o.name, o.name[:max(0, strings.LastIndexByte(o.name, '.'))])
		}
		for _, element := range v.Elements() {
			for _, o := range element.origins {
				references = append(references, o.name, o.name[:max(0, strings.LastIndexByte(o.name, '.'))])
			}
		}
		if references != nil {
			expression["references"] = references
		} else if bare.IsWhollyKnown() {
			expression["constant_value"] = out.after[name]
		}
		out.expressions[name] = expression
	}
	return out
}

// valueInPlan is a value, and what of it is unknown.
func valueInPlan(v cty.Value) (after, unknown any) {
	switch {
	case !v.IsKnown():
		return nil, true
	case v.IsWhollyKnown():
		data, err := ctyjson.Marshal(v, v.Type())
		if err != nil {
			return nil, false
		}
		return json.RawMessage(data), false
	case v.Type().IsObjectType() || v.Type().IsMapType():
		a, u := map[string]any{}, map[string]any{}
		for it := v.ElementIterator(); it.Next(); {
			key, element := it.Element()
			a[key.AsString()], u[key.AsString()] = valueInPlan(element)
		}
		return a, u
	default:
		var a, u []any
		for it := v.ElementIterator(); it.Next(); {
			_, element := it.Element()
			one, hidden := valueInPlan(element)
			a, u = append(a, one), append(u, hidden)
		}
		return a, u
	}
}
