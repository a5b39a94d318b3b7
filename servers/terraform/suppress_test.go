package main

import (
	"strings"
	"testing"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// TestSuppressions holds comments to what they are about: one rule, one block, and what a module makes.
func TestSuppressions(t *testing.T) {
	fails := func(id string) Rule {
		return Rule{ID: id, Title: id, Severity: finding.High, Types: []string{"terraform_data"}, Check: func(r *Resource) Result { return r.Attr("input").fails("fails") }}
	}
	texts := map[string]string{
		"main.tf": `# bulkhead:ignore test/a above the block
resource "terraform_data" "above" {
  input = 1
}

resource "terraform_data" "inside" {
  input = 1 // bulkhead:ignore test/a at the end of a line
}

resource "terraform_data" "last" {
  input = 1
  /* bulkhead:ignore test/a as the last thing in it */
}

resource "terraform_data" "after" {
  input = "bulkhead:ignore test/a a text is no comment"
}

# bulkhead:ignore test/a for a whole module

module "m" {
  source = "./m"
}

# bulkhead:ignore test/none there is no such rule
# bulkhead:ignore test/a
# bulkhead:ignore test/a -
resource "terraform_data" "neither" {
  input = 1
}
`,
		"m/main.tf": "resource \"terraform_data\" \"x\" {\n  input = 1\n}\n",
	}
	r := judgeTexts(t, newRuleBook([]Rule{fails("test/a"), fails("test/b")}), texts)
	var aside, left []string
	for _, f := range r.findings {
		switch {
		case f.Rule == ruleSuppression:
			left = append(left, f.Message)
		case f.Verdict == finding.Pass:
			aside = append(aside, f.Rule+" "+f.Object+": "+f.Reason)
		case f.Rule == "test/a":
			left = append(left, f.Object)
		}
	}
	wantAside := "test/a module.m.terraform_data.x: for a whole module|test/a terraform_data.above: above the block|" +
		"test/a terraform_data.inside: at the end of a line|test/a terraform_data.last: as the last thing in it"
	if got := strings.Join(sortedCopy(aside), "|"); got != wantAside {
		t.Errorf("set aside:\n%s\nwant\n%s", strings.ReplaceAll(got, "|", "\n"), strings.ReplaceAll(wantAside, "|", "\n"))
	}
	wantLeft := `"test/none" is no rule|terraform_data.after|terraform_data.neither|the suppression of test/a gives no reason, and does not count`
	if got := strings.Join(sortedCopy(left), "|"); got != wantLeft {
		t.Errorf("left:\n%s\nwant\n%s", got, wantLeft)
	}
	if r.suppressed != 4 || r.counts.Fail != 2+6+3 {
		t.Errorf("%d suppressed, %+v", r.suppressed, r.counts)
	}
}

func sortedCopy(list []string) []string {
	seen := map[string]bool{}
	for _, s := range list {
		seen[s] = true
	}
	return sortedKeys(seen)
}
