package main

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var updatePage = flag.Bool("update", false, "write RULES.md anew")

func TestRulesPage(t *testing.T) {
	want := rulesPage()
	if *updatePage {
		if err := os.WriteFile("RULES.md", []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("RULES.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("RULES.md is not what the table says (run with -update):\n%s", diff)
	}
}

func TestExplainCheck(t *testing.T) {
	explain := func(id string) []explained {
		t.Helper()
		out, err := server{}.explainCheck(t.Context(), explainCheckIn{ID: id})
		if err != nil {
			t.Fatal(err)
		}
		return out.Rules
	}
	all := explain("")
	if len(all) != len(rules())+len(ownRules()) || all[0].Why != "" || all[0].References != nil {
		t.Errorf("without an id: %d rules, the first %+v", len(all), all[0])
	}
	one := explain("aws/sg-ssh-open")
	if len(one) != 1 || one[0].Why == "" || one[0].Fix == "" || len(one[0].About) != 4 || len(one[0].References) == 0 {
		t.Errorf("got %+v", one)
	}
	for _, r := range explain("azure/aks-*") {
		if !strings.HasPrefix(r.ID, "azure/aks-") {
			t.Errorf("%s is none of azure/aks-*", r.ID)
		}
	}
	if out, err := (server{}).explainCheck(t.Context(), explainCheckIn{ID: "aws/no-such-rule"}); err == nil || len(out.Rules) > 0 {
		t.Errorf("got %+v, %v", out, err)
	}
}

// TestReferences holds the references to the forms that people know, so that a slip of the pen shows.
func TestReferences(t *testing.T) {
	form := regexp.MustCompile(`^(CKV_(AWS|GCP|AZURE|TF)_\d+|CKV2_AWS_\d+|(AWS|GCP|AZU|GIT)-\d{4}|CIS (AWS 3\.0\.0|Google Cloud 2\.0\.0) \d+(\.\d+)+|[A-Za-z0-9]+\.\d+( and [A-Za-z0-9]+\.\d+)? of AWS Security Hub|https://[a-z.]+/\S+)$`)
	id := regexp.MustCompile(`^(aws|google|azure|terraform)/[a-z0-9]+(-[a-z0-9]+)*$`)
	for _, r := range rules() {
		if !id.MatchString(r.ID) {
			t.Errorf("%s: want PROVIDER/a-few-words", r.ID)
		}
		if strings.HasSuffix(r.Title, ".") || r.Title != strings.TrimSpace(r.Title) || strings.HasSuffix(r.Fix, ".") || !strings.HasSuffix(strings.TrimSuffix(r.Why, ")"), ".") {
			t.Errorf("%s: a title and a fix are no sentences, and a why is one", r.ID)
		}
		for _, reference := range r.References {
			if !form.MatchString(reference) {
				t.Errorf("%s: reference %q has no form that is known", r.ID, reference)
			}
		}
	}
}
