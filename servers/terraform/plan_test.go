package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// planFixture reads a plan that the real thing made: testdata/plan/make.
func planFixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "plan", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestDelta(t *testing.T) {
	p, err := parsePlan(planFixture(t, "change.json"))
	if err != nil {
		t.Fatal(err)
	}
	const reason = "delete_because_no_module"
	want := delta{
		Destroyed: []change{
			{Address: "module.net[1].terraform_data.first[0]", Reason: reason}, {Address: "module.net[1].terraform_data.first[1]", Reason: reason},
			{Address: "module.net[1].terraform_data.second[0]", Reason: reason}, {Address: "module.net[1].terraform_data.second[1]", Reason: reason},
			{Address: "terraform_data.gone", Reason: "delete_because_no_resource_config"},
		},
		Replaced: []change{{Address: `terraform_data.kept["a"]`, ForcedBy: []string{"triggers_replace"}, Reason: "replace_because_cannot_update", First: "destroy"}},
		Update:   3, Unchanged: 2,
	}
	if diff := cmp.Diff(want, p.delta()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestPlanResources looks at what rules see of a plan.
func TestPlanResources(t *testing.T) {
	p, err := parsePlan(planFixture(t, "new.json"))
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]*Resource{}
	for _, r := range p.resources("plan.json") {
		by[r.Address] = r
	}
	kept := by[`terraform_data.kept["b\"c"]`]
	if kept == nil || !kept.Planned || kept.Mode != Managed || kept.Provider != "terraform" {
		t.Fatalf("%+v", kept)
	}
	if name, _ := kept.Attr("input.name").Text(); name != `b"c` {
		t.Errorf("name is %q", name)
	}
	if show := kept.Attr("input.secret").Show(); show != "(sensitive)" {
		t.Errorf("the secret shows as %s", show)
	}
	if v := kept.Attr("output"); !v.Null() {
		t.Errorf("output, which the provider makes and the configuration does not set: %+v", v)
	}
	first := by["module.net[1].terraform_data.first[0]"]
	if v := first.Attr("input"); !v.Unknown() || len(v.Resources()) != 1 || v.Resources()[0] != by[`terraform_data.kept["a"]`] {
		t.Errorf("input comes from %v: %s", v.Resources(), v.Reason())
	}
	if diff := cmp.Diff([]string{"module.net[1]"}, first.Chain); diff != "" {
		t.Error(diff)
	}
	// The index and the instance of the module are kept in following a reference.
	related := first.Referrers("terraform_data", "input")
	if len(related.All) != 1 || related.All[0] != by["module.net[1].terraform_data.second[0]"] {
		t.Errorf("%+v", related)
	}
	if source, _ := by["module.net"].Attr("source").Text(); source != "./net" {
		t.Errorf("source is %q", source)
	}
}

// TestSensitiveValuesStay runs a rule that shows whatever it sees, over whole plans and parts of them.
func TestSensitiveValuesStay(t *testing.T) {
	book := newRuleBook([]Rule{{
		ID: "test/blabber", Title: "a test", Severity: finding.Low,
		Check: func(r *Resource) Result {
			var all []Result
			for _, name := range r.Names() {
				v := r.Attr(name)
				text, _ := v.Text()
				all = append(all, v.fails("%s %s %s", name, v.Show(), text))
				for _, key := range v.Keys() {
					text, _ := v.Key(key).Text()
					all = append(all, v.Key(key).fails("%s is %s", key, text))
				}
			}
			return every(all...)
		},
	}})
	for _, name := range []string{"new.json", "change.json"} {
		data := planFixture(t, name)
		for _, text := range [][]byte{data, bytes.ReplaceAll(data, []byte(`"format_version":"1.2"`), []byte(`"format_version":"hunter2-the-password"`)), data[:len(data)-2]} {
			r := &report{}
			d, err := judgePlan(context.Background(), name, text, book, r)
			out, jsonErr := json.Marshal(struct {
				D   delta
				F   []finding.Finding
				Err string
			}{d, r.findings, errText(err)})
			if jsonErr != nil {
				t.Fatal(jsonErr)
			}
			if bytes.Contains(out, []byte("hunter2")) {
				t.Errorf("%s: a sensitive value is in %.500s", name, out)
			}
			if err == nil && !bytes.Contains(out, []byte("secret is (sensitive)")) {
				t.Errorf("%s: the rule did not see it", name)
			}
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestBadPlans(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"empty":           {"", "not a whole plan"},
		"no JSON":         {"PK\x03\x04", "byte 1: not JSON"},
		"binary":          {"PK\xff\xfe", "not UTF-8"},
		"another thing":   {`{"version": 4, "serial": 1}`, "no plan in JSON of a format that is known"},
		"another version": {`{"format_version": "2.0"}`, "no plan in JSON of a format that is known"},
		"wrong type":      {`{"format_version": "1.2", "resource_changes": "hunter2"}`, "a value of the wrong type"},
		"cut":             {`{"format_version": "1.2", "resource_changes": [`, "not a whole plan"},
		"deep":            {`{"format_version": "1.2", "configuration": ` + strings.Repeat("[", 100_000), "too large: more than 100 lists"},
		"long address":    {`{"format_version": "1.2", "resource_changes": [{"address": "` + strings.Repeat("module.", 10_000) + `"}]}`, "too large: an address"},
	} {
		_, err := parsePlan([]byte(tc.text))
		if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
	// What is there but makes no sense is no reason to fail.
	odd := `{"format_version": "1.2", "resource_changes": [null, {}, {"change": {}}, {"address": "a", "change": {"actions": ["create"], "after": [1]}},
		{"address": "module.x[", "module_address": "module.x[\"", "index": {"a": 1}, "type": "terraform_data", "change": {"actions": ["update"], "after": {"input": 1e999999999}, "after_unknown": [true]}}],
		"configuration": {"root_module": {"module_calls": {"m": null}, "resources": [null], "variables": {"v": null}}}}`
	r := &report{}
	if _, err := judgePlan(context.Background(), "", []byte(odd), plainBook(), r); err != nil {
		t.Error(err)
	}
}

// planForm makes of what a configuration evaluates to the plan that it would have, and false where there is none:
// where it is not known which instances there are.
func planForm(t *testing.T, text string) ([]byte, bool) {
	t.Helper()
	l := newLoader(textFiles{"main.tf": []byte(text)})
	m, err := l.load(".")
	if err != nil {
		t.Fatal(err)
	}
	type object = map[string]any
	type configResource struct {
		Address      string         `json:"address"`
		Mode         Mode           `json:"mode"`
		Type         string         `json:"type"`
		Name         string         `json:"name"`
		Expressions  map[string]any `json:"expressions"`
		Provisioners []object       `json:"provisioners,omitempty"`
	}
	var changes []object
	var configs []configResource
	for _, r := range newWorld(newCheck(l, "."), m).all {
		if r.Mode != Managed && r.Mode != Data {
			continue
		}
		if r.Uncertain != "" {
			return nil, false
		}
		after, unknown, sensitive := object{}, object{}, object{}
		config := configResource{Address: tfjsonAddress(r), Mode: r.Mode, Type: r.Type, Name: r.Name, Expressions: map[string]any{}}
		for _, name := range r.Names() {
			v, u, s, ok := planValue(r.Block, name)
			if !ok {
				return nil, false
			}
			after[name], unknown[name], sensitive[name] = v, u, s
		}
		content := r.content.(*bodyContent)
		config.Expressions = planExpressions(m, l.budget, content.body)
		for _, p := range r.Blocks("provisioner").All {
			kind, _ := p.Attr("type").Text()
			config.Provisioners = append(config.Provisioners, object{"type": kind})
		}
		configs = append(configs, config)
		changes = append(changes, object{
			"address": r.Address, "mode": r.Mode, "type": r.Type, "name": r.Name, "provider_name": "registry.terraform.io/hashicorp/" + r.Provider,
			"change": object{"actions": []string{"create"}, "after": after, "after_unknown": unknown, "after_sensitive": sensitive},
		})
	}
	data, err := json.Marshal(object{"format_version": "1.2", "resource_changes": changes, "configuration": object{"root_module": object{"resources": configs}}})
	if err != nil {
		t.Fatal(err)
	}
	return data, len(changes) > 0
}

// planExpressions are the expressions of a block, as the configuration in a plan has them.
func planExpressions(m *module, b *budget, body *hclsyntax.Body) map[string]any {
	out := map[string]any{}
	for name, attribute := range body.Attributes {
		var refs []string
		for _, ref := range m.compiled(b, attribute).references {
			base := ref.root + "." + ref.name
			if ref.root == "data" {
				base = "data." + ref.kind + "." + ref.name
			}
			if ref.attribute != "" {
				refs = append(refs, base+"."+ref.attribute)
			}
			refs = append(refs, base)
		}
		out[name] = map[string]any{"references": refs}
		if len(refs) == 0 {
			out[name] = map[string]any{}
		}
	}
	for _, inner := range body.Blocks {
		list, _ := out[inner.Type].([]any)
		out[inner.Type] = append(list, planExpressions(m, b, inner.Body))
	}
	return out
}

// planValue is an attribute, or blocks of one type, as a plan has them: the value, what of it is unknown, and what sensitive.
func planValue(b Block, name string) (value, unknown, secret any, ok bool) {
	if content, native := b.content.(*bodyContent); native && content.body.Attributes[name] == nil {
		blocks := b.Blocks(name)
		if blocks.Unknown != "" {
			return nil, nil, nil, false
		}
		values, unknowns, secrets := []any{}, []any{}, []any{}
		for _, block := range blocks.All {
			v, u, s := map[string]any{}, map[string]any{}, map[string]any{}
			for _, inner := range block.Names() {
				iv, iu, is, ok := planValue(block, inner)
				if !ok {
					return nil, nil, nil, false
				}
				v[inner], u[inner], s[inner] = iv, iu, is
			}
			values, unknowns, secrets = append(values, v), append(unknowns, u), append(secrets, s)
		}
		return values, unknowns, secrets, true
	}
	v, _ := b.content.attribute(name)
	value, unknown, secret = planParts(v)
	return value, unknown, secret, true
}

func planParts(v cty.Value) (value, unknown, secret any) {
	bare, marks := v.Unmark()
	if _, marked := marks[sensitive{}]; marked {
		secret = true
	}
	t := bare.Type()
	switch {
	case !bare.IsKnown():
		return nil, true, secret
	case bare.IsNull():
		return nil, false, secret
	case t.IsObjectType() || t.IsMapType():
		values, unknowns := map[string]any{}, map[string]any{}
		for it := bare.ElementIterator(); it.Next(); {
			key, element := it.Element()
			values[key.AsString()], unknowns[key.AsString()], _ = planParts(element)
		}
		return values, unknowns, secret
	case t.IsPrimitiveType():
		return plain(bare), false, secret
	default:
		values, unknowns := []any{}, []any{}
		for it := bare.ElementIterator(); it.Next(); {
			_, element := it.Element()
			v, u, _ := planParts(element)
			values, unknowns = append(values, v), append(unknowns, u)
		}
		return values, unknowns, secret
	}
}

// TestFixturesInPlans holds the rules to their fixtures in the form of plans.
func TestFixturesInPlans(t *testing.T) {
	decided, undecided := 0, 0
	for _, rule := range rules() {
		if rule.Mode != "" && rule.Mode != Managed && rule.Mode != Data {
			continue // a plan does not say what they are about
		}
		t.Run(rule.ID, func(t *testing.T) {
			for _, f := range fixtures(t, rule) {
				if rule.ID == "terraform/resource-secrets" && (f.name == "fail-default.tf" || f.name == "fail-connection.tf") {
					continue // a plan does not say what stands in the code
				}
				data, ok := planForm(t, f.text)
				if !ok {
					continue
				}
				t.Run(f.name, func(t *testing.T) {
					r := &report{passes: true}
					if _, err := judgePlan(context.Background(), "plan.json", data, newRuleBook([]Rule{rule}), r); err != nil {
						t.Fatal(err)
					}
					for i := range r.findings {
						r.findings[i].Location.Line = 1 // a plan has no lines
					}
					// A plan knows less: a text with one unknown value in it is unknown whole. But it never says the contrary.
					if want := f.want; worst(r, rule) == finding.Unknown {
						undecided++
					} else {
						checkFixture(t, rule, want, r)
						decided++
					}
				})
			}
		})
	}
	if undecided*10 > decided {
		t.Errorf("%d of %d fixtures are undecided in a plan", undecided, decided+undecided)
	}
	t.Logf("%d fixtures decided as configurations are, %d undecided", decided, undecided)
}

// worst is the worst verdict of a rule.
func worst(r *report, rule Rule) finding.Verdict {
	out := finding.Pass
	for _, f := range r.findings {
		if f.Rule == rule.ID {
			out = out.Worse(f.Verdict)
		}
	}
	return out
}
