package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// selection says which rules count. The zero value lets all count.
type selection struct {
	only, skip []string         // ids, or THEME/* for all of a theme
	least      finding.Severity // of what is reported; "" is low
}

// has says whether a rule counts. What says that something could not be judged is left out only by name, so that
// nobody takes a part that was not looked at for one that is fine.
func (s selection) has(rule string, severity finding.Severity) bool {
	if slices.ContainsFunc(s.skip, func(pattern string) bool { return names(pattern, rule) }) {
		return false
	}
	if strings.HasPrefix(rule, inputRulePrefix) {
		return true
	}
	return severity.Rank() >= s.least.Rank() &&
		(len(s.only) == 0 || slices.ContainsFunc(s.only, func(pattern string) bool { return names(pattern, rule) }))
}

// names says whether a pattern stands for a rule.
func names(pattern, rule string) bool {
	if theme, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(rule, theme)
	}
	return pattern == rule
}

// parseRules reads rule ids, separated by commas. One that stands for no rule is an error, with what it may mean.
func parseRules(list string) ([]string, error) {
	var patterns []string
	for pattern := range strings.SplitSeq(list, ",") {
		pattern = strings.TrimSpace(pattern)
		if err := checkRule(pattern); err != nil {
			return nil, err
		}
		patterns = append(patterns, pattern)
	}
	return patterns, nil
}

// checkRule says why a pattern stands for no rule.
func checkRule(pattern string) error {
	if pattern == "" {
		return errors.New("a rule's id is empty")
	}
	theme, name, _ := strings.Cut(pattern, "/")
	var likely []string
	for _, e := range catalog() {
		ofTheme, ofRule, _ := strings.Cut(e.ID, "/")
		switch {
		case name == "*" && theme == ofTheme, pattern == e.ID:
			return nil
		case theme == ofTheme, theme == ofRule, name == ofRule:
			likely = append(likely, e.ID)
		}
	}
	if len(likely) == 0 || len(likely) > maxLikely {
		return fmt.Errorf("there is no rule %q; explain_check lists them, and so does RULES.md", shorten(pattern))
	}
	return fmt.Errorf("there is no rule %q; there are %s", shorten(pattern), strings.Join(likely, ", "))
}
