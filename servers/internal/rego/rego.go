// Package rego judges documents by an operator's policies, as conftest does: rules deny, violation and warn with
// their suffixes, exceptions, results that are strings or objects with a msg, data files and namespaces, in Rego v1
// and through OPA. Policies are the operator's and are compiled once; documents are whoever's, and so the time,
// the steps, the memory and the results that they lead to are bounded. A policy has no network, no clock, no
// environment and no chance: what it says follows from the document and the data.
package rego

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// resultVar is the variable that a rule's query binds to the rule's value.
const resultVar = "result"

// ruleBounds is the rule of the finding that a bound was passed, which is no rule of a policy.
const ruleBounds = "policy/bounds"

// NoFile is the path of a text without a file, as conftest calls it.
const NoFile = "-"

// Document is one thing to be judged.
type Document struct {
	Path   string // the file as data.conftest.file has it, slash-separated; NoFile for a text without one
	File   string // the file as findings have it
	Line   int    // where the document begins in the file; 0 if that is not known
	Object string // what it is, as findings have it
	Value  any    // as encoding/json decodes into an any
}

// Finding is a finding, and what else the policy says of it.
type Finding struct {
	finding.Finding
	Metadata map[string]any `json:"metadata,omitempty"` // what the policy says beside its message
}

// Counts is how often rules gave what, each rule for each document. The words are conftest's.
type Counts struct {
	Failures   int `json:"failures"`   // messages of deny and violation rules
	Warnings   int `json:"warnings"`   // messages of warn rules
	Exceptions int `json:"exceptions"` // rules that an exception names, whose messages do not count
	Unknown    int `json:"unknown"`    // rules that could not be judged, in whole or in part
	Passed     int `json:"passed"`     // rules without a message
}

// Report is what the policies say of all documents.
type Report struct {
	// fail if a deny or violation rule has a message (warnings alone do not fail), else unknown if a rule could not be judged,
	// else pass
	Verdict    finding.Verdict `json:"verdict" enum:"pass,fail,unknown"`
	Namespaces []string        `json:"namespaces"` // the packages that were judged
	Documents  int             `json:"documents"`  // how many documents were judged
	Counts     Counts          `json:"counts"`
	// messages, exceptions and what is unknown; warnings have severity low, exceptions verdict pass
	Findings  []Finding `json:"findings"`
	Truncated bool      `json:"truncated,omitempty"` // findings, messages or metadata were cut; counts and verdict are of everything
}

// Evaluation is one use of policies, with its bounds. It is not for several goroutines.
type Evaluation struct {
	policies   *Policies
	namespaces []*namespace
	limits     Limits
	deadline   time.Time
	meter      *meter
	report     Report
	dropped    bool       // findings were dropped, so that what is kept does not say all that fails
	unjudged   []unjudged // rules that an input kept from being judged, each once, though not all of the reasons
	err        error      // of the bound that was passed; nothing is judged after it
}

// unjudged is why a rule was not judged. What a policy itself makes undefined, as a number that a text is not, is no reason.
type unjudged struct {
	rule   *rule
	reason string
}

// NamespaceError is a namespace, or a pattern, that no policy is in.
type NamespaceError struct {
	Pattern string
	Have    []string
}

// errNoRules is that there is nothing to judge by, which must not look like nothing that was found.
var errNoRules = errors.New("no rule deny, violation or warn in any of them, with or without a suffix, and so nothing to judge by")

func (e *NamespaceError) Error() string {
	return fmt.Sprintf("no policy in namespace %q; there are %s", shorten(e.Pattern, maxPattern), strings.Join(e.Have, ", "))
}

// Start begins an evaluation of the rules in these namespaces; *, ? and […] match as [path.Match] has them, so
// that "*" is every namespace. One that no policy is in is a [NamespaceError], and none with a rule an error, too.
func (p *Policies) Start(patterns []string, limits Limits) (*Evaluation, error) {
	e := &Evaluation{
		policies: p, limits: limits, deadline: time.Now().Add(limits.Time), meter: newMeter(limits),
		report: Report{Namespaces: []string{}, Findings: []Finding{}},
	}
	if len(patterns) > maxNamespaces {
		return nil, fmt.Errorf("too large: more than %d namespaces", maxNamespaces)
	}
	wanted := map[*namespace]bool{}
	for _, pattern := range patterns {
		found := false
		for _, n := range p.namespaces {
			if matched, err := path.Match(pattern, n.name); n.name == pattern || err == nil && matched {
				wanted[n], found = true, true
			}
		}
		if !found {
			return nil, &NamespaceError{Pattern: pattern, Have: p.Namespaces()}
		}
	}
	for _, n := range p.namespaces {
		if wanted[n] {
			e.namespaces = append(e.namespaces, n)
			e.report.Namespaces = append(e.report.Namespaces, n.name)
		}
	}
	if !slices.ContainsFunc(e.namespaces, func(n *namespace) bool { return len(n.rules) > 0 }) {
		return nil, fmt.Errorf("%s: %w", shorten(strings.Join(e.report.Namespaces, ", "), maxMessage), errNoRules)
	}
	return e, nil
}

// Judge judges one document by every rule, and adds what they say to the report. Its error is that a bound was
// passed, or that ctx ended; the report says so too. After one, nothing more is judged.
func (e *Evaluation) Judge(ctx context.Context, d Document) error {
	if e.err != nil {
		return e.err
	}
	ctx, cancel := context.WithDeadline(ctx, e.deadline)
	defer cancel()
	if err := e.judge(ctx, d); err != nil {
		e.err = err
		e.unknown(d, ruleBounds, finding.Finding{
			Title: "Policies judge the input within their bounds", Severity: finding.High, Message: "not judged", Reason: err.Error(),
		})
		return err
	}
	e.report.Documents++
	return nil
}

func (e *Evaluation) judge(ctx context.Context, d Document) error {
	size := measure(d.Value, maxDepth, e.limits.Values)
	if size.values > e.limits.Values {
		return fmt.Errorf("too large: more than %d values, or more than %d in each other", e.limits.Values, maxDepth)
	}
	value, err := ast.InterfaceToValue(d.Value)
	if err != nil {
		return fmt.Errorf("the document cannot be judged: %w", err)
	}
	store := e.policies.store
	// What is written is for this document, and is never committed.
	txn, err := store.NewTransaction(ctx, storage.WriteParams)
	if err != nil {
		return err
	}
	defer store.Abort(ctx, txn)
	if err := describe(ctx, store, txn, d.Path); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, e.meter.Cancel)()
	e.meter.expect(size)
	q := query{evaluation: e, txn: txn, input: ast.NewTerm(value), document: d}
	for _, n := range e.namespaces {
		for _, r := range n.rules {
			if err := q.rule(ctx, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// describe lets policies see the document's file, as conftest does.
func describe(ctx context.Context, store storage.Store, txn storage.Transaction, file string) error {
	at := storage.Path{"conftest"}
	if err := storage.MakeDir(ctx, store, txn, at); err != nil {
		return fmt.Errorf("data.conftest: %w", err)
	}
	about := map[string]any{"name": path.Base(file), "dir": path.Dir(file)}
	return store.Write(ctx, txn, storage.AddOp, append(at, "file"), about)
}

// query is the evaluation of one document.
type query struct {
	evaluation *Evaluation
	txn        storage.Transaction
	input      *ast.Term
	document   Document
	builtins   int // failed calls of built-in functions that were told
}

// rule judges the document by one rule.
func (q *query) rule(ctx context.Context, r *rule) error {
	e := q.evaluation
	exceptions, err := q.run(ctx, r, r.excepted)
	if err != nil {
		return err
	}
	before := e.report.Counts.Unknown
	results, err := q.run(ctx, r, r.judge)
	if err != nil {
		return err
	}
	excepted := len(exceptions) > 0
	if excepted {
		e.report.Counts.Exceptions++
	}
	told := 0
	for _, result := range results {
		for value := range elements(result[resultVar].Value) {
			if told++; told > maxRuleResults {
				e.report.Truncated, e.dropped = true, true
			}
			if ctx.Err() != nil { // results may be large, and looking at them is no step
				return e.late(r)
			}
			if err := q.tell(r, value, excepted, told <= maxRuleResults); err != nil {
				q.problem(r, err.Error())
			}
		}
		if what, ok := silent(result[resultVar].Value); ok {
			q.problem(r, fmt.Sprintf("the rule is %s, and so has no message; write %s contains msg if …", what, r.name))
		}
	}
	switch {
	case excepted && told == 0:
		e.add(e.finding(q.document, r.id(), finding.Finding{
			Title: r.title, Verdict: finding.Pass, Message: "no message", Reason: exceptionReason(r),
		}, nil))
	case !excepted && told == 0 && e.report.Counts.Unknown == before:
		e.report.Counts.Passed++
	}
	return nil
}

// silent says what a rule's value is that has something to say, and no messages to say it with.
func silent(v ast.Value) (what string, ok bool) {
	switch v := v.(type) {
	case ast.Boolean:
		return "true", bool(v)
	case ast.String:
		return "a string", v != ""
	case ast.Object:
		return "an object", v.Len() > 0
	case ast.Number:
		return "a number", true
	default:
		return "", false
	}
}

func exceptionReason(r *rule) string {
	return fmt.Sprintf("excepted: data.%s.exception names %q", r.namespace, exceptionName(r.name))
}

// run evaluates one query. What keeps the rule from being judged it reports; its error is that a bound was passed.
func (q *query) run(ctx context.Context, r *rule, body ast.Body) (topdown.QueryResultSet, error) {
	e := q.evaluation
	var failed []topdown.Error
	e.meter.refused = nil
	results, err := topdown.NewQuery(body).
		WithCompiler(e.policies.compiler).
		WithStore(e.policies.store).
		WithTransaction(q.txn).
		WithInput(q.input).
		WithCancel(e.meter).
		WithBuiltinErrorList(&failed).
		Run(ctx)
	switch {
	case e.meter.stopped != nil:
		return nil, fmt.Errorf("%s: %w", r.id(), e.meter.stopped)
	case ctx.Err() != nil:
		return nil, e.late(r)
	case err != nil:
		q.problem(r, e.policies.explain(err))
		return nil, nil
	}
	if e.meter.refused != nil {
		e.notJudged(r, e.meter.refused.Error())
	}
	for _, f := range failed {
		if q.builtins++; q.builtins > maxBuiltinErrors {
			e.report.Truncated = true
			e.report.Counts.Unknown++ // of all that are left of this rule, so that it is none that passed
			break
		}
		q.unknown(r, finding.Medium, "a part of the rule is undefined, since a built-in function failed", e.policies.explain(&f))
	}
	return results, nil
}

func (e *Evaluation) late(r *rule) error {
	return fmt.Errorf("%s: too much time: more than %s, or the caller left", r.id(), e.limits.Time)
}

// explain says what went wrong in a policy, with its file and line.
func (p *Policies) explain(err error) string {
	e, ok := errors.AsType[*topdown.Error](err)
	if !ok {
		return err.Error()
	}
	message := strings.Join(strings.Fields(e.Message), " ")
	if e.Location == nil || e.Location.File == "" {
		return message
	}
	return fmt.Sprintf("%s:%d: %s", path.Join(p.dir, e.Location.File), e.Location.Row, message)
}

// elements yields the elements of a set or an array, which are what a rule has to say; anything else is silent.
func elements(v ast.Value) func(yield func(*ast.Term) bool) {
	return func(yield func(*ast.Term) bool) {
		switch v := v.(type) {
		case ast.Set:
			for _, element := range v.Slice() {
				if !yield(element) {
					return
				}
			}
		case *ast.Array:
			for i := range v.Len() {
				if !yield(v.Elem(i)) {
					return
				}
			}
		}
	}
}

// tell counts one result of a rule, and makes a finding of it if it is to be kept.
func (q *query) tell(r *rule, value *ast.Term, excepted, keep bool) error {
	e := q.evaluation
	f := finding.Finding{Title: r.title, Severity: r.severity(), Verdict: finding.Fail}
	var metadata map[string]any
	switch v := value.Value.(type) {
	case ast.String:
		f.Message = string(v)
	case ast.Object:
		msg := v.Get(ast.StringTerm("msg"))
		if msg == nil || !isText(msg) {
			return errors.New(`a result is an object without a "msg" that is a string`)
		}
		f.Message = textOf(msg)
		if keep {
			metadata = e.describe(&f, v, r.warning)
		}
	default:
		return fmt.Errorf("a result is neither a string nor an object with a msg, but a %s", ast.ValueName(v))
	}
	if f.Message == "" { // which is how conftest, too, has a rule say that nothing is wrong
		return nil
	}
	switch {
	case excepted:
		f.Verdict, f.Severity, f.Reason = finding.Pass, "", exceptionReason(r)
	case r.warning:
		e.report.Counts.Warnings++
	default:
		e.report.Counts.Failures++
	}
	if keep {
		e.add(e.finding(q.document, r.id(), f, metadata))
	}
	return nil
}

// describe takes from a result what findings have a place for, and returns the rest. The severity of a warning
// stays low, so that a gate tells warnings from failures.
func (e *Evaluation) describe(f *finding.Finding, result ast.Object, warning bool) map[string]any {
	if severity, err := finding.ParseSeverity(strings.ToLower(textIn(result, "severity"))); err == nil && !warning {
		f.Severity = severity
	}
	if at, ok := valueIn(result, "_loc").(ast.Object); ok {
		f.Location.File = textIn(at, "file")
		if line, ok := valueIn(at, "line").(ast.Number); ok {
			if n, ok := line.Int(); ok && n > 0 && n < 1<<31 {
				f.Location.Line = n
			}
		}
	}
	f.Fix = shorten(textIn(result, "fix"), maxMessage)
	if size, _ := extentOf(ast.NewTerm(result), maxResult); size.values > maxResult || size.bytes > maxResult {
		e.report.Truncated = true
		return nil
	}
	decoded, err := ast.JSON(result)
	metadata, ok := decoded.(map[string]any)
	if err != nil || !ok {
		e.report.Truncated = true
		return nil
	}
	delete(metadata, "msg")
	delete(metadata, "_loc")
	if len(metadata) == 0 {
		return nil
	}
	if text, err := json.Marshal(metadata); err != nil || len(text) > maxMetadata {
		e.report.Truncated = true
		return nil
	}
	return metadata
}

// valueIn is the value of an object's key, or nil.
func valueIn(object ast.Object, key string) ast.Value {
	if term := object.Get(ast.StringTerm(key)); term != nil {
		return term.Value
	}
	return nil
}

// textIn is the string at an object's key, or "".
func textIn(object ast.Object, key string) string {
	s, _ := valueIn(object, key).(ast.String)
	return string(s)
}

// problem reports that a rule could not be judged.
func (q *query) problem(r *rule, reason string) {
	q.evaluation.notJudged(r, reason)
	q.unknown(r, finding.High, "the rule could not be judged", reason)
}

func (e *Evaluation) notJudged(r *rule, reason string) {
	if !slices.ContainsFunc(e.unjudged, func(u unjudged) bool { return u.rule == r }) {
		e.unjudged = append(e.unjudged, unjudged{r, shorten(reason, maxReason)})
	}
}

func (q *query) unknown(r *rule, severity finding.Severity, message, reason string) {
	q.evaluation.unknown(q.document, r.id(), finding.Finding{Title: r.title, Severity: severity, Message: message, Reason: reason})
}

func (e *Evaluation) unknown(d Document, rule string, f finding.Finding) {
	e.report.Counts.Unknown++
	f.Verdict, f.Reason = finding.Unknown, shorten(f.Reason, maxReason)
	e.add(e.finding(d, rule, f, nil))
}

// finding completes a finding about a document.
func (e *Evaluation) finding(d Document, rule string, f finding.Finding, metadata map[string]any) Finding {
	f.Rule, f.Object = rule, d.Object
	if f.Location == (finding.Location{}) {
		f.Location.Line = d.Line
	}
	if f.Location.File == "" {
		f.Location.File = d.File
	}
	if len(f.Message) > maxMessage || len(f.Location.File) > maxMessage {
		e.report.Truncated = true
	}
	f.Message, f.Location.File = shorten(f.Message, maxMessage), shorten(f.Location.File, maxMessage)
	return Finding{Finding: f, Metadata: metadata}
}

// add keeps a finding, and drops the least grave ones when there are twice too many.
func (e *Evaluation) add(f Finding) {
	e.report.Findings = append(e.report.Findings, f)
	if len(e.report.Findings) >= 2*e.limits.Findings {
		e.trim()
	}
}

// trim cuts the findings, if there are too many: failures stay before what is unknown, that before exceptions,
// and the gravest first.
func (e *Evaluation) trim() {
	if len(e.report.Findings) <= e.limits.Findings {
		return
	}
	rank := func(f Finding) int {
		switch f.Verdict {
		case finding.Fail:
			return 2*finding.Critical.Rank() + f.Severity.Rank()
		case finding.Unknown:
			return finding.Critical.Rank() + f.Severity.Rank()
		default:
			return 0
		}
	}
	slices.SortStableFunc(e.report.Findings, func(a, b Finding) int { return rank(b) - rank(a) })
	e.report.Findings = slices.Clone(e.report.Findings[:e.limits.Findings])
	e.report.Truncated, e.dropped = true, true
}

// Report is what the policies said so far.
func (e *Evaluation) Report() Report {
	e.trim()
	r := e.report
	switch {
	case r.Counts.Failures > 0:
		r.Verdict = finding.Fail
	case r.Counts.Unknown > 0:
		r.Verdict = finding.Unknown
	default:
		r.Verdict = finding.Pass
	}
	return r
}

// Unreadable adds to the report that an input could not be read, so that the rest is judged all the same.
func (e *Evaluation) Unreadable(f finding.Finding) {
	f.Verdict = finding.Unknown
	e.report.Counts.Unknown++
	e.add(Finding{Finding: f})
}

// shorten bounds a text of a policy or of a document that is repeated in the output.
func shorten(s string, most int) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
