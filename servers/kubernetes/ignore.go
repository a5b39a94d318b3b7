package main

import (
	"bytes"
	"encoding/json"
	"strings"

	kjson "sigs.k8s.io/json"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// ignoreAnnotation sets findings about its object aside: RULE REASON, one a line. It counts only where the operator
// says so, since whoever writes a manifest could else open the gate for it.
const ignoreAnnotation = "bulkhead.dev/ignore"

// annotations returns the object's annotations, as far as they are strings.
func (o object) annotations() map[string]string {
	if !bytes.Contains(o.metadata, []byte(`"annotations"`)) {
		return nil
	}
	var metadata struct {
		Annotations map[string]json.RawMessage `json:"annotations"`
	}
	_ = kjson.UnmarshalCaseSensitivePreserveInts(o.metadata, &metadata)
	all := map[string]string{}
	for key, raw := range metadata.Annotations {
		var s string
		if text(raw, &s) {
			all[key] = s
		}
	}
	return all
}

// ignored reads the object's annotation.
func (o object) ignored(rules map[string]bool, note func(finding.Finding)) map[string]string {
	list := o.annotations()[ignoreAnnotation]
	if list == "" {
		return nil
	}
	set, lines := map[string]string{}, 0
	for line := range strings.Lines(list) {
		if lines++; lines > maxIgnored {
			break
		}
		rule, reason, _ := strings.Cut(strings.TrimSpace(line), " ")
		if rule == "" {
			continue
		}
		problem := ""
		if !rules[rule] || strings.HasPrefix(rule, inputRulePrefix) {
			problem = "it names no rule that can be set aside"
		} else if reason = strings.TrimSpace(reason); reason == "" {
			problem = "it says no reason"
		}
		if problem == "" {
			set[rule] = shorten(reason)
			continue
		}
		note(o.unknown(ruleIgnore, fieldPath{"metadata", "annotations", ignoreAnnotation},
			"a line of "+ignoreAnnotation+" sets nothing aside", problem, "write RULE REASON, one a line"))
	}
	return set
}
