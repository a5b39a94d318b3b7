package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// entry is what there is to know about a rule.
type entry struct {
	ID         string           `json:"id"`
	Title      string           `json:"title"`
	Severity   finding.Severity `json:"severity" enum:"low,medium,high,critical"`
	Kinds      string           `json:"kinds,omitempty"` // what it is about
	Why        string           `json:"why,omitempty"`
	Fix        string           `json:"fix,omitempty"`
	References []string         `json:"references,omitempty"`
}

// catalog lists every rule that a finding may name, the ones about pods and about inputs included.
func catalog() []entry {
	var all []entry
	for _, r := range podRules() {
		all = append(all, entry{
			ID: podRulePrefix + string(r.id), Title: r.title, Severity: r.severity, Kinds: "pods", Why: r.why, Fix: sentence(r.fix),
			References: []string{standardsURL},
		})
	}
	for _, r := range lintRules() {
		all = append(all, entry{r.ID, r.Title, r.Severity, r.Kinds, r.Why, sentence(r.Fix), r.References})
	}
	for _, r := range schemaRules() {
		r.Kinds = "all kinds"
		all = append(all, r)
	}
	for _, r := range inputRules() {
		why, how := r.why()
		all = append(all, entry{ID: string(r), Title: r.title(), Severity: r.severity(), Kinds: "inputs", Why: why, Fix: how})
	}
	slices.SortFunc(all, func(a, b entry) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// sentence makes a sentence of a fix.
func sentence(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:] + "."
}

// sarifRules is the rule table for reports.
func sarifRules() []finding.Rule {
	var table []finding.Rule
	for _, e := range catalog() {
		rule := finding.Rule{ID: e.ID, Title: e.Title, Severity: e.Severity, Help: strings.TrimSpace(e.Why + " " + e.Fix)}
		if i := slices.IndexFunc(e.References, func(s string) bool { return strings.HasPrefix(s, "https://") }); i >= 0 {
			rule.URL = e.References[i]
		}
		table = append(table, rule)
	}
	return table
}

type explainCheckIn struct {
	ID string `json:"id,omitempty" jsonschema:"a rule's id, as findings have it; without it every rule is listed; THEME/* lists a theme" maxLength:"64"`
}

type explainCheckOut struct {
	Rules []entry `json:"rules"` // one with all that there is to know, or several with id, title and severity
}

func (s server) explainCheck(_ context.Context, in explainCheckIn) (explainCheckOut, error) {
	out := explainCheckOut{Rules: []entry{}}
	if in.ID != "" {
		if err := ruleIDs().Check(in.ID); err != nil {
			return out, mcpserver.Errorf(mcpserver.CodeNotFound, "id: %w", err)
		}
	}
	for _, e := range catalog() {
		switch {
		case e.ID == in.ID:
			return explainCheckOut{Rules: []entry{e}}, nil
		case in.ID == "" || finding.Named([]string{in.ID}, e.ID):
			out.Rules = append(out.Rules, entry{ID: e.ID, Title: e.Title, Severity: e.Severity})
		}
	}
	return out, nil
}

// rulesPage is RULES.md.
func rulesPage() string {
	var b strings.Builder
	b.WriteString("# The rules of kubernetes\n\nWritten by `go test ./servers/kubernetes -run TestRulesPage -update`. `explain_check` says the same of one rule.\n")
	theme := ""
	for _, e := range catalog() {
		if of, _, _ := strings.Cut(e.ID, "/"); of != theme {
			theme = of
			fmt.Fprintf(&b, "\n## %s\n\n| rule | severity | about | what it demands, why, and how to mend it | references |\n| --- | --- | --- | --- | --- |\n", theme)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | **%s.** %s %s | %s |\n",
			e.ID, e.Severity, e.Kinds, e.Title, cell(e.Why), cell(e.Fix), cell(strings.Join(e.References, "; ")))
	}
	return b.String()
}

// cell makes text fit for a cell of a table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "<", `\<`, "*", `\*`).Replace(s)
}
