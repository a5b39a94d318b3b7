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

// TestCopiesOfSecrets: a sensitive value stays where it is copied to without a mark, quoted or cut, and wherever it was declared.
func TestCopiesOfSecrets(t *testing.T) {
	long := "hunter2-" + strings.Repeat("x", 2*maxShown)
	for name, tc := range map[string]struct{ secret, change, rest string }{
		"quoted":         {`hunter2 "quoted"`, `"after_sensitive": {"a": true}`, ""},
		"cut":            {long, `"after_sensitive": {"a": true}`, ""},
		"given":          {"hunter2-given", `"after_sensitive": {}`, `"variables": {"v": {"value": SECRET}}, "configuration": {"root_module": {"variables": {"v": {"sensitive": true}}}},`},
		"of a submodule": {"hunter2-below", `"after_sensitive": {}`, `"configuration": {"root_module": {"module_calls": {"m": {"module": {"variables": {"v": {"sensitive": true, "default": SECRET}}}}}}},`},
	} {
		secret, err := json.Marshal(tc.secret)
		if err != nil {
			t.Fatal(err)
		}
		text := `{"format_version": "1.2",` + tc.rest + `"resource_changes": [{"address": "terraform_data.x", "mode": "managed", "type": "terraform_data", "name": "x",
			"change": {"actions": ["create"], "after": {"a": SECRET, "input": SECRET},` + tc.change + `}}]}`
		r := &report{}
		if _, err := judgePlan(t.Context(), "", []byte(strings.ReplaceAll(text, "SECRET", string(secret))), plainBook(), r); err != nil {
			t.Fatal(err)
		}
		if len(r.findings) != 1 || strings.Contains(said(r), "hunter2") {
			t.Errorf("%s: %s", name, said(r))
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
		"empty":            {" \n", "empty, where the output of `terraform show -json PLANFILE` is wanted"},
		"bare":             {`{"format_version": "1.2"}`, "nothing to check"},
		"no configuration": {`{"format_version": "1.2", "resource_changes": [], "configuration": {}}`, "nothing to check"},
		"a part":           {`{"format_version": "1.2", "resource_changes": [{}], "errored": true}`, "a part of a plan: `terraform plan` failed"},
		"no JSON":          {"PK\x03\x04", "byte 1: not JSON"},
		"binary":           {"PK\xff\xfe", "not UTF-8"},
		"another thing":    {`{"version": 4, "serial": 1}`, "no plan in JSON of a format that is known"},
		"another version":  {`{"format_version": "2.0"}`, "no plan in JSON of a format that is known"},
		"wrong type":       {`{"format_version": "1.2", "resource_changes": "hunter2"}`, "a value of the wrong type"},
		"a state":          {`{"format_version": "1.0", "values": {"root_module": {}}}`, "a state, and no plan"},
		"two plans":        {`{"format_version": "1.2"} {"format_version": "1.2"}`, "one plan at a time"},
		"cut":              {`{"format_version": "1.2", "resource_changes": [`, "not a whole plan"},
		"deep":             {`{"format_version": "1.2", "configuration": ` + strings.Repeat("[", 100_000), "too large: more than 100 lists"},
		"long address":     {`{"format_version": "1.2", "resource_changes": [{"address": "` + strings.Repeat("module.", 10_000) + `"}]}`, "too large: an address"},
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

// TestDeferred judges what a plan leaves to a later one, and keeps its secrets; the plan itself does not make it.
func TestDeferred(t *testing.T) {
	r := &report{}
	d, err := judgePlan(t.Context(), "", []byte(`{"format_version": "1.2", "deferred_changes": [null, {}, {"reason": "provider_config_unknown", "resource_change":
		{"address": "terraform_data.x", "mode": "managed", "type": "terraform_data", "name": "x", "change": {"actions": ["create"], "after": {"input": "hunter2hunter2", "output": "hunter2hunter2"}, "after_sensitive": {"output": true}}}}]}`), plainBook(), r)
	if err != nil || r.verdict() != finding.Fail || d.Create != 0 {
		t.Errorf("%v, %s, %d created", err, r.verdict(), d.Create)
	}
	if strings.Contains(said(r), "hunter2") {
		t.Error(said(r))
	}
}

// TestProvisioners finds the provisioners of a planned resource in the configuration beside it.
func TestProvisioners(t *testing.T) {
	p, err := parsePlan([]byte(`{"format_version": "1.2",
		"resource_changes": [{"address": "x_y.z", "mode": "managed", "type": "x_y", "name": "z", "change": {"actions": ["create"], "after": {"a": 1}}}],
		"configuration": {"root_module": {"resources": [{"address": "x_y.z", "mode": "managed", "type": "x_y", "name": "z",
			"provisioners": [{"type": "local-exec", "expressions": {"command": {"constant_value": "true"}}}]}]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	blocks := p.resources("plan.json")[0].Blocks("provisioner")
	if len(blocks.All) != 1 || blocks.All[0].Attr("type").Show() != `"local-exec"` || blocks.All[0].Attr("command").Show() != `"true"` {
		t.Errorf("%+v", blocks)
	}
}
