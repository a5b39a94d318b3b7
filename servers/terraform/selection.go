package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

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
	named := func(pattern string) bool { return names(pattern, rule) }
	return !slices.ContainsFunc(s.skip, named) && (len(s.only) == 0 || slices.ContainsFunc(s.only, named))
}

// names says whether a pattern stands for a rule.
func names(pattern, rule string) bool {
	if theme, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(rule, theme)
	}
	return pattern == rule
}

// of returns the findings that count.
func (s selection) of(findings []finding.Finding) []finding.Finding {
	return slices.DeleteFunc(findings, func(f finding.Finding) bool { return !s.has(f.Rule) })
}

// empty says whether no rule counts of those that hold something against a configuration.
func (s selection) empty() bool {
	return !slices.ContainsFunc(rules(), func(r Rule) bool { return s.has(r.ID) })
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

// checkRule says why a pattern stands for no rule that can be chosen.
func checkRule(pattern string) error {
	switch pattern {
	case "":
		return errors.New("a rule's id is empty")
	case ruleUnreadable:
		return fmt.Errorf("%s can be neither chosen nor left out: what cannot be read makes the exit code 2", ruleUnreadable)
	}
	theme, name, _ := strings.Cut(pattern, "/")
	var likely []string
	for _, e := range catalog() {
		ofTheme, ofRule, _ := strings.Cut(e.ID, "/")
		switch {
		case name == "*" && theme == ofTheme, pattern == e.ID:
			return nil
		case theme == ofRule, name == ofRule, theme == ofTheme && name != "" && strings.HasPrefix(ofRule, name):
			likely = append(likely, e.ID)
		}
	}
	if len(likely) == 0 || len(likely) > maxLikely {
		return fmt.Errorf("there is no rule %q; explain_check lists them, and so does RULES.md", clip(pattern))
	}
	return fmt.Errorf("there is no rule %q; there are %s", clip(pattern), strings.Join(likely, ", "))
}
