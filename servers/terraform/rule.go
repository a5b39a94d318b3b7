package main

import (
	"fmt"
	"slices"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// Rule is one thing that is demanded of resources. Rules are data: the fixtures in testdata/rules/ID.txtar are
// part of one, and a rule without them fails the tests.
type Rule struct {
	ID         string // stable, with the provider before the slash: aws/s3-public-access-block
	Title      string // what it demands, in a few words
	Severity   finding.Severity
	Mode       Mode     // of what it is about; the zero value is Managed
	Types      []string // of what it is about; none is every type
	References []string // as people know it: CIS AWS 2.1.5, CKV_AWS_53, AWS-0086
	Why, Fix   string   // a sentence or two each
	Check      func(r *Resource) Result
}

// Result is the outcome of a rule for one resource.
type Result struct {
	Verdict finding.Verdict
	Message string // what was found
	Reason  string // what was not known, if the verdict is unknown
	At      finding.Location
	more    []Result // further places with the same verdict
}

// pass says that a resource is as the rule demands.
func pass() Result { return Result{Verdict: finding.Pass} }

// fails says that the attribute is not as the rule demands.
func (v Value) fails(format string, args ...any) Result {
	return Result{Verdict: finding.Fail, Message: fmt.Sprintf(format, args...), At: v.Location()}
}

// undecided says that the rule depends on the attribute, which is not known.
func (v Value) undecided() Result {
	return Result{Verdict: finding.Unknown, Message: v.path + " is not known", Reason: v.Reason(), At: v.Location()}
}

// every joins the outcomes of several places, all of which must be as demanded: the worst of them, with every
// place that has it.
func every(results ...Result) Result {
	worst := pass()
	for _, r := range results {
		switch {
		case r.Verdict == finding.Pass:
		case r.Verdict == worst.Verdict:
			all := []Result{worst}
			for _, other := range slices.Concat(worst.more, []Result{r}, r.more) {
				if !slices.ContainsFunc(all, other.same) {
					all = append(all, other)
				}
			}
			worst.more = all[1:]
			for i := range worst.more {
				worst.more[i].more = nil
			}
		case worst.Verdict.Worse(r.Verdict) != worst.Verdict:
			worst = r
		}
	}
	return worst
}

// same says whether two results say the same of the same place.
func (r Result) same(other Result) bool { return r.Message == other.Message && r.At == other.At }
