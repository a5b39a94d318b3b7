// Package finding is what a policy check says: the finding, its JSON, text and SARIF forms, and the frame of
// the `check` subcommand that every policy server has.
package finding

import (
	"fmt"
	"strings"
)

// Severity says how much a failing rule matters.
type Severity string

// The severities, from least to most.
const (
	Low      Severity = "low"
	Medium   Severity = "medium"
	High     Severity = "high"
	Critical Severity = "critical"
)

// ParseSeverity reads a severity by its name.
func ParseSeverity(s string) (Severity, error) {
	if severity := Severity(s); severity.Rank() > 0 {
		return severity, nil
	}
	return "", fmt.Errorf("severity %q: want low, medium, high or critical", s)
}

// Rank orders severities: low is 1, critical is 4, and what is no severity is 0.
func (s Severity) Rank() int {
	switch s {
	case Low:
		return 1
	case Medium:
		return 2
	case High:
		return 3
	case Critical:
		return 4
	default:
		return 0
	}
}

// Verdict is the outcome of one rule for one object. Pass with a Reason is a failure that the input's author set
// aside, where the operator lets authors do so: it is reported, and does not count.
type Verdict string

// The verdicts. Unknown means that the input does not say enough to tell; its finding has a Reason.
const (
	Pass    Verdict = "pass"
	Fail    Verdict = "fail"
	Unknown Verdict = "unknown"
)

// Worse returns the verdict that a whole has if two of its parts have v and w: fail before unknown before pass.
func (v Verdict) Worse(w Verdict) Verdict {
	for _, verdict := range []Verdict{Fail, Unknown} {
		if v == verdict || w == verdict {
			return verdict
		}
	}
	return Pass
}

// Location is the place in the input that a finding is about. Line and Column count from 1, Column in
// characters; 0 means that the place is not known. Field is the path of the field in the object, such as
// spec.containers[0].image.
type Location struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Field  string `json:"field,omitempty"` // path of the field in the object
}

// String returns file:line:column as far as they are known, as compilers write it.
func (l Location) String() string {
	s := l.File
	if l.Line > 0 {
		s = fmt.Sprintf("%s:%d", s, l.Line)
		if l.Column > 0 {
			s = fmt.Sprintf("%s:%d", s, l.Column)
		}
	}
	return s
}

// Finding is the outcome of one rule for one object, or for one field of it.
type Finding struct {
	Rule     string   `json:"rule"` // stable id of the rule
	Title    string   `json:"title,omitempty"`
	Severity Severity `json:"severity,omitempty" enum:"low,medium,high,critical"`
	Verdict  Verdict  `json:"verdict" enum:"pass,fail,unknown"`
	Reason   string   `json:"reason,omitempty"`  // why the verdict is unknown
	Message  string   `json:"message,omitempty"` // what was found
	Fix      string   `json:"fix,omitempty"`     // what would satisfy the rule
	Object   string   `json:"object,omitempty"`  // the object, as Kind/namespace/name
	Location Location `json:"location,omitzero"`
	Chain    []string `json:"chain,omitempty"` // how the object came to be, outermost first
}

// suppressed says whether the input's author set the finding aside: a pass needs no other reason.
func (f Finding) suppressed() bool { return f.Verdict == Pass && f.Reason != "" }

// text says in one line what was found.
func (f Finding) text() string {
	parts := []string{}
	for _, part := range []string{f.Message, f.Reason} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		parts = append(parts, f.Title)
	}
	return strings.Join(parts, ": ")
}

// Rule is one entry of a checker's rule table.
type Rule struct {
	ID       string
	Title    string // what it demands, in a few words
	Severity Severity
	Help     string // why, and what satisfies it; one paragraph
	URL      string // where it is defined; may be empty
}

// Counts is how many findings there are of each verdict.
type Counts struct {
	Pass    int `json:"pass"`
	Fail    int `json:"fail"`
	Unknown int `json:"unknown"`
}

// Count counts findings by verdict.
func Count(findings []Finding) Counts {
	var c Counts
	for _, f := range findings {
		c.Add(f.Verdict)
	}
	return c
}

// Add counts one more verdict.
func (c *Counts) Add(v Verdict) {
	switch v {
	case Pass:
		c.Pass++
	case Fail:
		c.Fail++
	case Unknown:
		c.Unknown++
	}
}
