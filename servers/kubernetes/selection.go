package main

import (
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
	if finding.Named(s.skip, rule) {
		return false
	}
	if strings.HasPrefix(rule, inputRulePrefix) {
		return true
	}
	return severity.Rank() >= s.least.Rank() && (len(s.only) == 0 || finding.Named(s.only, rule))
}

// ruleIDs are those of all rules.
func ruleIDs() finding.IDs {
	var ids finding.IDs
	for _, e := range catalog() {
		ids = append(ids, e.ID)
	}
	return ids
}
