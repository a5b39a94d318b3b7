package finding

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	maxLikely  = 12 // rules that an unknown pattern's error names
	maxPattern = 64 // bytes of one that an error repeats
)

// IDs are those of all rules, each THEME/NAME. A pattern is one of them, or THEME/* for all of a theme.
type IDs []string

// Parse reads patterns, separated by commas. The error is that of Check.
func (ids IDs) Parse(list string) ([]string, error) {
	var patterns []string
	for pattern := range strings.SplitSeq(list, ",") {
		pattern = strings.TrimSpace(pattern)
		if err := ids.Check(pattern); err != nil {
			return nil, err
		}
		patterns = append(patterns, pattern)
	}
	return patterns, nil
}

// Check says that a pattern stands for no rule, and what it may mean.
func (ids IDs) Check(pattern string) error {
	if pattern == "" {
		return errors.New("a rule's id is empty")
	}
	theme, name, _ := strings.Cut(pattern, "/")
	var likely, likelier []string
	for _, id := range ids {
		ofTheme, ofRule, _ := strings.Cut(id, "/")
		switch {
		case name == "*" && theme == ofTheme, pattern == id:
			return nil
		case theme == ofRule, name == ofRule, theme == ofTheme:
			likely = append(likely, id)
			if theme != ofTheme || alike(name, ofRule) {
				likelier = append(likelier, id)
			}
		}
	}
	if len(likely) > maxLikely {
		likely = likelier
	}
	if len(pattern) > maxPattern {
		pattern = strings.ToValidUTF8(pattern[:maxPattern], "") + "…"
	}
	if len(likely) == 0 || len(likely) > maxLikely {
		return fmt.Errorf("there is no rule %q; explain_check lists them, and so does RULES.md", pattern)
	}
	return fmt.Errorf("there is no rule %q; there are %s", pattern, strings.Join(likely, ", "))
}

// alike says whether two names of rules begin with the same word.
func alike(a, b string) bool {
	first, _, _ := strings.Cut(a, "-")
	return first != "" && strings.HasPrefix(b, first)
}

// Named says whether one of patterns stands for a rule.
func Named(patterns []string, rule string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if theme, ok := strings.CutSuffix(pattern, "*"); ok {
			return strings.HasPrefix(rule, theme)
		}
		return pattern == rule
	})
}
