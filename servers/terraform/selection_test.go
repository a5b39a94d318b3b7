package main

import (
	"strings"
	"testing"
)

// TestSelection: a pattern is the id of a rule, or all of a theme, to the letter.
func TestSelection(t *testing.T) {
	for text, want := range map[string]string{
		"aws/*, terraform/provisioner": "", ruleModule: "", ruleSuppression: "",
		"": "is empty", "aws/*,": "is empty", "*": `there is no rule "*"`, "aws/": `there is no rule "aws/"`, "aws/ebs*": `there is no rule "aws/ebs*"`,
		"AWS/*": `there is no rule "AWS/*"`, "aws/ebs-keys": `there is no rule "aws/ebs-keys"`, ruleUnreadable: "can be neither chosen nor left out",
	} {
		_, err := parseRules(text)
		if (err == nil) != (want == "") || !strings.Contains(errText(err), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	all := []string{"aws/ebs-key", "terraform/provisioner", ruleSuppression, ruleModule}
	for _, tc := range []struct {
		selection
		want string
	}{
		{selection{}, strings.Join(all, " ")},
		{selection{only: []string{"aws/*"}}, "aws/ebs-key " + ruleModule},
		{selection{only: []string{"aws/ebs-key", "aws/s3-logging"}, skip: []string{"aws/s3-logging"}}, "aws/ebs-key " + ruleModule},
		{selection{only: []string{"aws/*"}, skip: []string{"aws/ebs-key"}}, ruleModule},
		{selection{skip: []string{"terraform/*"}}, "aws/ebs-key " + ruleModule},
		{selection{skip: []string{"terraform/*", "aws/*", ruleModule}}, ""},
	} {
		var got []string
		for _, rule := range all {
			if tc.has(rule) {
				got = append(got, rule)
			}
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%+v: %q, want %q", tc.selection, got, tc.want)
		}
	}
}
