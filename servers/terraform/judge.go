package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// The rules about what could not be judged, beside those of the table.
const (
	ruleUnreadable  = "terraform/unreadable"
	ruleModule      = "terraform/module-not-judged"
	ruleSuppression = "terraform/suppression"
)

// ownRules are the rules of the evaluator itself.
func ownRules() []finding.Rule {
	return []finding.Rule{
		{ID: ruleUnreadable, Title: "write what can be read and evaluated", Severity: finding.Medium, Help: "What cannot be parsed or evaluated is not judged. The finding says where, and what was expected."},
		{ID: ruleModule, Title: "let modules be judged", Severity: finding.Low, Help: "A module from a registry or repository is not fetched, so what it makes is not known. Check a copy of it, or the plan."},
		{ID: ruleSuppression, Title: "say why a finding is suppressed", Severity: finding.Low, Help: "A suppression names a rule that there is, and a reason: bulkhead:ignore RULE reason."},
	}
}

// ruleBook finds the rules for a resource.
type ruleBook struct {
	byID   map[string]Rule
	byType map[kind][]Rule
	any    map[Mode][]Rule
}

func newRuleBook(all []Rule) *ruleBook {
	book := &ruleBook{byID: map[string]Rule{}, byType: map[kind][]Rule{}, any: map[Mode][]Rule{}}
	for _, rule := range all {
		mode := cmp.Or(rule.Mode, Managed)
		book.byID[rule.ID] = rule
		if len(rule.Types) == 0 {
			book.any[mode] = append(book.any[mode], rule)
		}
		for _, t := range rule.Types {
			book.byType[kind{mode, t}] = append(book.byType[kind{mode, t}], rule)
		}
	}
	return book
}

// knows says whether there is a rule of this id.
func (b *ruleBook) knows(id string) bool {
	_, ok := b.byID[id]
	return ok || slices.ContainsFunc(ownRules(), func(r finding.Rule) bool { return r.ID == id })
}

// report is what a check comes to. Findings are what fails, what is unknown and, where they are asked for, what
// passes.
type report struct {
	findings   []finding.Finding
	counts     finding.Counts
	suppressed int // findings that a comment suppresses
	resources  int // instances of resources that were looked at
	passes     bool
}

// judge holds resources against the rules.
func (r *report) judge(ctx context.Context, book *ruleBook, resources []*Resource) error {
	for _, resource := range resources {
		if err := ctx.Err(); err != nil {
			return err
		}
		if resource.Mode == Managed {
			r.resources++
		}
		for _, rules := range [][]Rule{book.any[resource.Mode], book.byType[kind{resource.Mode, resource.Type}]} {
			for _, rule := range rules {
				r.note(rule, resource, rule.Check(resource))
			}
		}
	}
	return nil
}

// note turns the outcome of a rule into findings.
func (r *report) note(rule Rule, resource *Resource, result Result) {
	if result.Verdict == finding.Fail && resource.Uncertain != "" {
		result = Result{
			Verdict: finding.Unknown, At: result.At, Message: "if there is such an instance, it fails: " + result.Message, Reason: resource.Uncertain,
		}
	}
	if result.Verdict == finding.Pass {
		r.counts.Pass++
		if r.passes {
			r.findings = append(r.findings, finding.Finding{Rule: rule.ID, Verdict: finding.Pass, Object: resource.Address, Location: resource.Location})
		}
		return
	}
	for _, one := range append([]Result{result}, result.more...) {
		f := finding.Finding{
			Rule: rule.ID, Title: rule.Title, Severity: rule.Severity, Verdict: one.Verdict, Message: one.Message, Reason: one.Reason,
			Fix: rule.Fix, Object: resource.Address, Location: one.At, Chain: resource.Chain,
		}
		if f.Location.File == "" {
			f.Location = finding.Location{File: resource.Location.File, Line: resource.Location.Line, Column: resource.Location.Column, Field: f.Location.Field}
		}
		if why := resource.ignored(rule.ID); why != "" {
			f.Verdict, f.Reason, f.Fix = finding.Pass, why, ""
		}
		r.add(f)
	}
}

func (r *report) add(f finding.Finding) {
	if f.Verdict == finding.Pass {
		r.suppressed++ // nothing else is a pass that is told of
	} else {
		r.counts.Add(f.Verdict)
	}
	r.findings = append(r.findings, f)
}

// unreadable adds what could not be read or evaluated.
func (r *report) unreadable(problems problems) {
	for _, e := range problems.all {
		r.add(finding.Finding{
			Rule: ruleUnreadable, Title: ownRules()[0].Title, Severity: ownRules()[0].Severity, Verdict: finding.Unknown,
			Message: "not judged", Reason: e.text, Location: e.place,
		})
	}
	if problems.dropped > 0 {
		r.add(finding.Finding{
			Rule: ruleUnreadable, Title: ownRules()[0].Title, Severity: ownRules()[0].Severity, Verdict: finding.Unknown,
			Message: "not judged", Reason: fmt.Sprintf("%d more problems", problems.dropped),
		})
	}
}

// verdict is that of the whole.
func (r *report) verdict() finding.Verdict {
	switch {
	case r.counts.Fail > 0:
		return finding.Fail
	case r.counts.Unknown > 0:
		return finding.Unknown
	default:
		return finding.Pass
	}
}

// sort puts the findings in the order of their places.
func (r *report) sort() {
	slices.SortStableFunc(r.findings, func(a, b finding.Finding) int {
		return cmp.Or(
			strings.Compare(a.Location.File, b.Location.File), cmp.Compare(a.Location.Line, b.Location.Line),
			strings.Compare(a.Object, b.Object), strings.Compare(a.Rule, b.Rule), cmp.Compare(a.Location.Column, b.Location.Column),
		)
	})
}

// gravest cuts the findings: failures stay before what is unknown, and the gravest first.
func (r *report) gravest(most int) (cut bool) {
	if len(r.findings) <= most {
		return false
	}
	rank := func(f finding.Finding) int {
		switch f.Verdict {
		case finding.Fail:
			return f.Severity.Rank() + finding.Critical.Rank()
		case finding.Unknown:
			return f.Severity.Rank()
		default: // suppressed
			return 0
		}
	}
	slices.SortStableFunc(r.findings, func(a, b finding.Finding) int { return rank(b) - rank(a) })
	r.findings = slices.Clone(r.findings[:most])
	return true
}
