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
# bulkhead:ignoretest/a there is no such word
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
	wantLeft := `"bulkhead:ignoretest/a" is no rule|"test/none" is no rule|terraform_data.after|terraform_data.neither|the suppression of test/a gives no reason, and does not count`
	if got := strings.Join(sortedCopy(left), "|"); got != wantLeft {
		t.Errorf("left:\n%s\nwant\n%s", got, wantLeft)
	}
	if r.suppressed != 4 || r.counts.Fail != 2+6+4 {
		t.Errorf("%d suppressed, %+v", r.suppressed, r.counts)
	}
}

// TestSuppressionsAreComments: what reads like a suppression and is no comment of the language sets nothing aside.
func TestSuppressionsAreComments(t *testing.T) {
	book := newRuleBook([]Rule{{
		ID: "test/a", Title: "a", Severity: finding.High, Types: []string{"terraform_data"}, Check: func(r *Resource) Result { return r.Attr("input").fails("fails") },
	}})
	const ignore = "bulkhead:ignore test/a a reason"
	resource := func(input string) map[string]string {
		return map[string]string{"main.tf": "resource \"terraform_data\" \"x\" {\n  input = " + input + "\n}\n"}
	}
	for name, tc := range map[string]struct {
		texts      map[string]string
		suppressed int
	}{
		"heredoc":                {resource("<<EOT\n# " + ignore + "\n// " + ignore + "\n/* " + ignore + " */\nEOT"), 0},
		"indented heredoc":       {resource("<<-EOT\n    # " + ignore + "\n    EOT"), 0},
		"heredoc in a call":      {resource("trimspace(<<EOT\n# " + ignore + "\nEOT\n  )"), 0},
		"what ends no heredoc":   {resource("<<EOT\nEOT x\n# " + ignore + "\nEOT"), 0},
		"string":                 {resource("\"# " + ignore + "\""), 0},
		"string with quotes":     {resource("\"\\\" # " + ignore + "\""), 0},
		"string in a template":   {resource("\"${\"# " + ignore + "\"}\""), 0},
		"template, escaped":      {resource("\"$${ /* " + ignore + " */ }\""), 0},
		"template in a heredoc":  {resource("<<EOT\n${\"# " + ignore + "\"}\n# " + ignore + "\nEOT"), 0},
		"heredoc above":          {map[string]string{"main.tf": "locals {\n  l = <<EOT\n# " + ignore + "\nEOT\n}\n" + resource("1")["main.tf"]}, 0},
		"JSON":                   {map[string]string{"main.tf.json": "{\"//\": \"# " + ignore + "\", \"resource\": {\"terraform_data\": {\"x\": {\"//\": \"" + ignore + "\", \"input\": 1}}}}"}, 0},
		"above, of another file": {map[string]string{"a.tf": "# " + ignore + "\n", "main.tf": resource("1")["main.tf"]}, 0},
		"above, behind a block":  {map[string]string{"main.tf": "locals {} /* of it */ # " + ignore + "\n" + resource("1")["main.tf"]}, 0},

		"prose":           {resource("1 # never write " + ignore), 0},
		"prose on a line": {resource("1 /* whoever writes\n    a " + ignore + "\n  */"), 0},

		"a line of a comment":    {resource("1 /* of it\n    " + ignore + "\n  */"), 1},
		"a line behind a star":   {resource("1 /**\n   * " + ignore + "\n   */"), 1},
		"two slashes, tabs":      {resource("1 //\tbulkhead:ignore\ttest/a\ta reason\r"), 1},
		"without a space":        {resource("1 /*" + ignore + "*/"), 1},
		"comment in a template":  {resource("\"${ /* " + ignore + " */ 1 }\""), 1},
		"comment behind another": {resource("1 /* of it */ # " + ignore), 1},
		"comment behind heredoc": {resource("<<EOT\nEOT\n  # " + ignore), 1},
		"comments above":         {map[string]string{"main.tf": "/* of it */ # " + ignore + "\n\n/* more */\n" + resource("1")["main.tf"]}, 1},
	} {
		r := judgeTexts(t, book, tc.texts)
		if r.suppressed != tc.suppressed || r.counts.Fail != 1-tc.suppressed || r.counts.Unknown != 0 {
			t.Errorf("%s: %d suppressed, %+v: %s", name, r.suppressed, r.counts, said(r))
		}
	}
}

func sortedCopy(list []string) []string {
	seen := map[string]bool{}
	for _, s := range list {
		seen[s] = true
	}
	return sortedKeys(seen)
}
