package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

type explainCheckIn struct {
	ID string `json:"id,omitempty" jsonschema:"a rule's id, as findings have it; without it every rule is listed; with a * at its end (aws/s3-*) those that begin so" maxLength:"64" pattern:"^[a-z0-9/-]*[*]?$"`
}

type explainCheckOut struct {
	Rules []explained `json:"rules"` // one with all that there is to know, or several with id, title and severity
}

// explained is a rule as explain_check and RULES.md show it.
type explained struct {
	ID         string           `json:"id"`
	Title      string           `json:"title"` // what it demands
	Severity   finding.Severity `json:"severity" enum:"low,medium,high,critical"`
	About      []string         `json:"about,omitempty"`      // the types of resources that are judged, or what else is
	Why        string           `json:"why,omitempty"`        // what may happen where it is not so
	Fix        string           `json:"fix,omitempty"`        // how to mend it
	References []string         `json:"references,omitempty"` // as people know it: CIS, checkov's ids (CKV_), trivy's (AWS-, GCP-, AZU-)
}

// catalog is every rule, the evaluator's own ones first, by id.
func catalog() []explained {
	var out []explained
	for _, r := range ownRules() {
		out = append(out, explained{ID: r.ID, Title: r.Title, Severity: r.Severity, About: []string{"the configuration itself"}, Why: r.Help})
	}
	for _, r := range rules() {
		out = append(out, explained{ID: r.ID, Title: r.Title, Severity: r.Severity, About: r.about(), Why: r.Why, Fix: r.Fix, References: r.References})
	}
	slices.SortStableFunc(out, func(a, b explained) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// about says what a rule judges.
func (r Rule) about() []string {
	names := map[Mode]string{
		Managed: "resources of any type", Data: "data sources of any type", Provider: "provider blocks", Call: "module blocks", Settings: "terraform blocks",
		Variable: "variables", Output: "outputs",
	}
	if len(r.Types) == 0 {
		return []string{names[cmp.Or(r.Mode, Managed)]}
	}
	var out []string
	for _, t := range r.Types {
		if r.Mode == Data {
			t = "data." + t
		}
		out = append(out, t)
	}
	return out
}

func (s server) explainCheck(_ context.Context, in explainCheckIn) (explainCheckOut, error) {
	out := explainCheckOut{Rules: []explained{}}
	start, several := strings.CutSuffix(in.ID, "*")
	for _, r := range catalog() {
		switch {
		case r.ID == in.ID:
			return explainCheckOut{Rules: []explained{r}}, nil
		case in.ID == "" || several && strings.HasPrefix(r.ID, start):
			out.Rules = append(out.Rules, explained{ID: r.ID, Title: r.Title, Severity: r.Severity})
		}
	}
	if len(out.Rules) == 0 {
		return out, mcpserver.Errorf(mcpserver.CodeNotFound, "id: there is no rule %q; without an id every rule is listed", clip(in.ID))
	}
	return out, nil
}

// rulesPage is RULES.md: every rule with its references, and how one is written.
func rulesPage() string {
	var b strings.Builder
	b.WriteString(rulesIntroduction)
	group := ""
	for _, r := range catalog() {
		if of, _, _ := strings.Cut(r.ID, "/"); of != group {
			group = of
			fmt.Fprintf(&b, "\n## %s\n\n| rule | severity | what it demands | references |\n| --- | --- | --- | --- |\n", group)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.ID, r.Severity, r.Title, strings.Join(r.References, ", "))
	}
	return b.String()
}

const rulesIntroduction = `# The rules of terraform

Written by ` + "`go test ./servers/terraform -run TestRulesPage -update`" + `. ` + "`explain_check`" + ` says of each rule why it is there and how to mend what it finds.

Three verdicts: pass, fail, and unknown, which names the value that was not known. What is not set is what the provider makes of it: the newest major
version's default counts, and the rule's why says where an older one differs. What a resource of another kind settles (an
aws_s3_bucket_public_access_block for a bucket) is found through references, in all modules of the configuration.

References are CIS benchmarks with their version, controls of AWS Security Hub, checkov's ids (CKV_) and trivy's (AWS-, GCP-, AZU-, without AVD-); where a
rule is none of these, the provider's own page. A rule of ours may judge more or less than its namesake: more forms of the same thing, and less where the
provider's default is safe by now.

## Writing a rule

A rule is an entry in one of the tables in rules_PROVIDER_THEME.go: id, title (what is demanded, in the imperative), severity, types, references, why and
fix (a sentence or two each), and a check. Most checks are put together from the demands in rule_attributes.go:

` + "```go" + `
isOn("storage_encrypted", false)                        // true; false is what the provider makes of an absent one
isOneOf("min_tls_version", "TLS1_2", "TLS1_2")          // the second is the default
inEach("ebs_block_device", isOn("encrypted", false))    // every nested block of a type
inReferrer("aws_s3_bucket_versioning", "bucket", want)  // a resource that refers to this one
anyOf(a, b), allOf(a, b), when(condition, want)         // what says fail where none holds is the last of anyOf
` + "```" + `

rule_network.go has openings (what a firewall rule lets in), rule_policy.go the statements of IAM policies, rule_google.go the grants of Google Cloud,
rule_secrets.go what is a secret. A check never asks whether a value is known: the demands say unknown where it is not.

The fixtures are in testdata/rules/ID.txtar: at least one fail.tf and one pass.tf, also such as fail-ipv6.tf and unknown.tf. The tests judge each as it
is, in a module, with a count, and with its values behind variables; a rule without them fails the build.
`
