package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestPlanNames refuses plans that readers could read in two ways, and lets names of users and providers be.
func TestPlanNames(t *testing.T) {
	const bad = `{"address": "aws_ebs_volume.x", "mode": "managed", "type": "aws_ebs_volume", "name": "x", "change": {"actions": ["create"], "after": {"encrypted": false}}}`
	plan := func(rest string) string { return `{"format_version": "1.2", ` + rest + `}` }
	change := func(rest string) string { return plan(`"resource_changes": [{"change": {` + rest + `}}]`) }
	root := func(rest string) string { return plan(`"configuration": {"root_module": {` + rest + `}}`) }
	twice := []string{"a name is there twice in one object", "`terraform show -json PLANFILE`"}
	variant := func(name string) []string { return []string{"a name that is " + name + " but for case", "byte "} }
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"instead":                 {plan(`"Resource_Changes": [` + bad + `]`), variant(`"resource_changes"`)},
		"beside":                  {plan(`"resource_changes": [` + bad + `], "Resource_Changes": []`), variant(`"resource_changes"`)},
		"a letter that folds":     {plan(`"re\u017fource_changes": []`), variant(`"resource_changes"`)},
		"twice":                   {plan(`"resource_changes": [` + bad + `], "resource_changes": []`), twice},
		"twice, escaped":          {plan(`"resource_changes": [` + bad + `], "resource\u005fchanges": []`), twice},
		"in a change":             {change(`"after": {"encrypted": false}, "After": {"encrypted": true}`), variant(`"after"`)},
		"actions":                 {change(`"actions": ["create"], "ACTIONS": ["delete"]`), variant(`"actions"`)},
		"twice in values":         {change(`"after": {"hunter2": false, "hunter2": true}`), twice},
		"twice in what is unread": {plan(`"planned_values": {"x": [{"a": 1, "a": 2}]}`), twice},
		"deferred":                {plan(`"deferred_changes": [{"Resource_change": {}}]`), variant(`"resource_change"`)},
		"variables":               {plan(`"variables": {"x": {"Value": 1}}`), variant(`"value"`)},
		"a submodule":             {root(`"module_calls": {"m": {"module": {"resources": [{"Address": "x"}]}}}`), variant(`"address"`)},
		"expressions":             {root(`"resources": [{"expressions": {"a": {"Constant_value": 1}}}]`), variant(`"constant_value"`)},
		"blocks":                  {root(`"resources": [{"expressions": {"a": [{"b": {"References": []}}]}}]`), variant(`"references"`)},
		"surrogates":              {change(`"after": {"a": "\ud800"}`), []string{"not JSON that all readers take alike"}},

		"free names": {plan(`"VARIABLE": 1, "variables": {"Value": {"value": 1}, "value": {}}, "resource_changes": [{"change": {"actions": ["create"], "after":
			{"Type": 1, "type": 2, "After": {"Address": 1}}, "after_unknown": {"Type": true}}}], "configuration": {"provider_config": {"Name": {}},
			"root_module": {"module_calls": {"Module": {"expressions": {"Source": {"constant_value": {"References": 1}}}}}, "variables": {"Default": {"default": {"Default": 1}}},
			"resources": [{"expressions": {"Type": {"constant_value": 1}, "b": [{"References": {"references": []}}]}}]}}`), nil},
	} {
		_, err := parsePlan([]byte(tc.text))
		if (err == nil) != (tc.want == nil) || strings.Contains(errText(err), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
		for _, want := range tc.want {
			if !strings.Contains(errText(err), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
}

// TestEveryPlanName changes the case of each name that is a plan's in plans that Terraform wrote: none may pass as it is
// and mean something else.
func TestEveryPlanName(t *testing.T) {
	data := planFixture(t, "new.json")
	for _, name := range []string{
		"format_version", "resource_changes", "change", "actions", "after", "after_unknown", "after_sensitive", "before", "address", "module_address",
		"mode", "type", "name", "index", "provider_name", "configuration", "root_module", "provider_config", "module_calls", "module", "source",
		"resources", "expressions", "references", "constant_value", "variables",
	} {
		quoted := []byte(`"` + name + `":`)
		if !bytes.Contains(data, quoted) {
			t.Errorf("%s is not in the plan", name)
			continue
		}
		if _, err := parsePlan(bytes.ReplaceAll(data, quoted, bytes.ToUpper(quoted))); err == nil {
			t.Errorf("%s in capitals is no error", name)
		}
	}
}
