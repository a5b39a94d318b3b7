package main

import (
	"fmt"
	"slices"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// selection says which rules count: their ids, or THEME/* for all of a theme. The zero value lets all count.
type selection struct{ only, skip []string }

// has says whether a rule counts. What says that a module was not judged is left out only by its whole id, so that
// nobody takes a part that was not looked at for one that is fine.
func (s selection) has(rule string) bool {
	if rule == ruleModule {
		return !slices.Contains(s.skip, rule)
	}
	return !finding.Named(s.skip, rule) && (len(s.only) == 0 || finding.Named(s.only, rule))
}

// of returns the findings that count.
func (s selection) of(findings []finding.Finding) []finding.Finding {
	return slices.DeleteFunc(findings, func(f finding.Finding) bool { return !s.has(f.Rule) })
}

// empty says whether no rule counts of those that hold something against a configuration.
func (s selection) empty() bool {
	return !slices.ContainsFunc(rules(), func(r Rule) bool { return s.has(r.ID) })
}

// parseRules reads patterns, separated by commas, of rules that can be chosen.
func parseRules(list string) ([]string, error) {
	var ids finding.IDs
	for _, e := range catalog() {
		ids = append(ids, e.ID)
	}
	patterns, err := ids.Parse(list)
	if slices.Contains(patterns, ruleUnreadable) {
		return nil, fmt.Errorf("%s can be neither chosen nor left out: what cannot be read makes the exit code 2", ruleUnreadable)
	}
	return patterns, err
}
