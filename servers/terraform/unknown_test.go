package main

import (
	"strings"
	"testing"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// TestUnknownIsNotGuessed takes the values of every fixture away, one by one and all together, by turning them into
// variables without a value. Where a fixture fails, some value makes the rule fail, so that it must not pass without;
// and the other way round.
func TestUnknownIsNotGuessed(t *testing.T) {
	for _, rule := range rules() {
		if isAboutLiterals(rule.ID) {
			continue // what is not known is not written down
		}
		book := newRuleBook([]Rule{rule})
		for _, f := range fixtures(t, rule) {
			for _, varied := range withoutDefaults(t, withVariables(t, f.text)) {
				worst := finding.Pass
				for _, found := range judgeTexts(t, book, map[string]string{"main.tf": varied}).findings {
					if found.Rule == rule.ID {
						worst = worst.Worse(found.Verdict)
					}
					if found.Verdict == finding.Unknown && found.Reason == "" {
						t.Errorf("%s, %s: an unknown without a reason: %+v", rule.ID, f.name, found)
					}
				}
				if f.want == finding.Fail && worst == finding.Pass || f.want == finding.Pass && worst == finding.Fail {
					t.Errorf("%s, %s: without its values it is %s:\n%s", rule.ID, f.name, worst, varied)
				}
			}
		}
	}
}

// isAboutLiterals says whether a rule looks for secrets in the code.
func isAboutLiterals(id string) bool {
	return strings.Contains(id, "secret") && !strings.HasPrefix(id, "aws/secret") && !strings.HasPrefix(id, "azure/secret") || id == "google/disk-plain-key" || id == "terraform/provider-credentials"
}

// withoutDefaults takes away each of the defaults that withVariables gave, and then all of them.
func withoutDefaults(t *testing.T, text string) []string {
	var edits []edit
	for _, b := range parse(t, text).Blocks {
		if b.Type == "variable" && strings.HasPrefix(b.Labels[0], "fixture_") {
			at := b.Body.Attributes["default"].SrcRange
			edits = append(edits, edit{at.Start.Byte, at.End.Byte, ""})
		}
	}
	var out []string
	for i := range edits {
		out = append(out, apply(text, edits[i:i+1]))
	}
	return append(out, apply(text, edits))
}
