package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"k8s.io/pod-security-admission/api"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// checker says what inputs are held to.
type checker struct {
	evaluator *evaluator
	err       error // why there is no evaluator

	pods    bool       // hold pods to the Pod Security Standards
	level   api.Level  // "" is what the pod's Namespace enforces, else restricted
	version string     // "" is what the pod's Namespace states, else the newest
	lint    []lintRule // hold objects to these

	structure func() (*schemas, error) // the schemas, which are read when they are first needed; nil is loadSchemas
	schemas   *schemas                 // hold objects to those of the release; nil for no schemas
	release   release
	custom    customKinds // besides those in the inputs

	selection  selection
	ignores    bool // whether an object may set findings aside by its annotation
	allowEmpty bool // whether an input may have nothing in it
	values     int  // of one document
	kept       int  // findings of one input
}

func (c *checker) setLevel(s string) error {
	level, err := api.ParseLevel(s)
	if err != nil {
		return errors.New("want privileged, baseline or restricted")
	}
	c.level = level
	return nil
}

func (c *checker) setVersion(s string) error {
	if c.err != nil {
		return c.err
	}
	if _, err := c.evaluator.version(s); err != nil {
		return err
	}
	c.version = s
	return nil
}

// isManifest says whether a file of a folder is an input: by the names that kubectl goes by.
func isManifest(name string) bool {
	return slices.Contains([]string{".yaml", ".yml", ".json"}, strings.ToLower(path.Ext(name)))
}

// subject is an object of an input, as far as a run remembers it.
type subject struct {
	name, file string
	at         finding.Location
	verdict    finding.Verdict
	judged     bool // something is held to it, so it counts
	pod        podVerdict
	set        map[string]string // reasons to set findings aside, by rule
}

// podVerdict is what a pod was held to, and what it would meet. It is empty for an object without pods.
type podVerdict struct {
	applied   api.LevelVersion
	stated    bool // by the pod's Namespace
	strictest api.Level
}

// run judges the inputs of one call, or of one check command. What one object says about another is known when all
// were read.
type run struct {
	*checker
	pods       bool                  // whether a rule about them is selected
	lint       []lintRule            // that are selected
	rules      map[string]bool       // all that there are, where annotations count
	validator  *manifestValidator    // nil where no rule about schemas is selected
	namespaces map[string]api.Policy // of the Namespaces in the inputs with labels that count
	subjects   []*subject
	skipped    map[string]int // objects that nothing is held to, counted by kind
	known      *inventory
	questions  []question

	// Of the input at hand:
	findings []finding.Finding
	errs     []error
	cut      bool // there were more findings than are kept
}

// start begins a run over these inputs, each of which is then given to read, and finish ends it.
func (c *checker) start(inputs []finding.Input) (*run, error) {
	if c.err != nil {
		return nil, c.err
	}
	r := &run{checker: c, skipped: map[string]int{}, known: newInventory(), pods: c.pods && c.selectsPodRules()}
	for _, rule := range c.lint {
		if c.selection.has(rule.ID, rule.Severity) {
			r.lint = append(r.lint, rule)
		}
	}
	if c.ignores {
		r.rules = map[string]bool{}
		for _, e := range catalog() {
			r.rules[e.ID] = true
		}
	}
	if r.pods && c.level == "" {
		r.namespaces = c.readNamespaces(inputs)
	}
	if c.schemas != nil && slices.ContainsFunc(schemaRules(), func(e entry) bool { return c.selection.has(e.ID, e.Severity) }) {
		r.validator = c.newValidator(inputs)
	}
	return r, nil
}

// selectsPodRules says whether any rule of the Pod Security Standards counts.
func (c *checker) selectsPodRules() bool {
	return slices.ContainsFunc(podRules(), func(p rule) bool { return c.selection.has(podRulePrefix+string(p.id), p.severity) })
}

// read judges the objects of an input by themselves. It returns what it found in the order of the lines, what could
// not be read, and, if it could not go on, why.
func (r *run) read(ctx context.Context, in finding.Input) ([]finding.Finding, []error, error) {
	r.findings, r.errs, r.cut = nil, nil, false
	var fault error
	errs := readObjects(in.Name, in.Data, r.values, func(o object) {
		switch {
		case fault != nil:
		case len(r.subjects) == maxRunObjects:
			r.errs = append(r.errs, &inputError{file: in.Name, line: o.location(nil).Line, text: fmt.Sprintf("too large: more than %d objects in all inputs; split them", maxRunObjects)})
			fault = errTooManyObjects
		default:
			fault = errors.Join(ctx.Err(), r.judge(o))
		}
	}, func(f finding.Finding) { r.note(nil, f) })
	if errors.Is(fault, errTooManyObjects) {
		fault = nil
	}
	errs = append(r.errs, errs...)
	sortByLine(errs)
	sortByPlace(r.findings)
	return r.findings, errs, fault
}

var errTooManyObjects = errors.New("too many objects")

// finish answers the questions that needed every object, and returns what comes of it.
func (r *run) finish() []finding.Finding {
	r.findings, r.cut = nil, false
	for _, q := range r.questions {
		a := q.ask(r.known)
		if a.verdict == finding.Pass || a.verdict == "" {
			continue
		}
		f := q.rule.finding(a.verdict, a.message)
		f.Reason, f.Object, f.Location = a.reason, q.subject.name, q.at
		r.note(q.subject, f)
	}
	r.questions = nil
	sortByPlace(r.findings)
	return r.findings
}

// counts counts the objects by their verdicts.
func (r *run) counts() finding.Counts {
	var n finding.Counts
	for _, s := range r.subjects {
		if s.judged {
			n.Add(s.verdict)
		}
	}
	return n
}

// note keeps a finding, about an object or, where s is nil, about what is none.
func (r *run) note(s *subject, f finding.Finding) {
	if !r.selection.has(f.Rule, f.Severity) {
		return
	}
	if s != nil {
		s.judged = true
		if reason, ok := s.set[f.Rule]; ok {
			f.Verdict, f.Reason = finding.Pass, reason
		}
		s.verdict = s.verdict.Worse(f.Verdict)
	}
	r.keep(f)
}

// keep is note for a finding that leaves its object's verdict alone.
func (r *run) keep(f finding.Finding) {
	if len(r.findings) >= r.kept {
		r.cut = true
		return
	}
	r.findings = append(r.findings, f)
}

// judge holds one object to what the run is about.
func (r *run) judge(o object) error {
	s := &subject{name: o.String(), file: o.doc.file, at: o.location(nil), verdict: finding.Pass}
	r.subjects = append(r.subjects, s)
	note := func(f finding.Finding) { r.note(s, f) }
	if r.ignores {
		s.set = o.ignored(r.rules, note)
	}
	if r.validator != nil {
		s.judged = true
		r.validator.validate(o, note)
		if !r.pods && len(r.lint) == 0 {
			return nil
		}
		note = func(f finding.Finding) {
			if f.Rule != string(ruleStrict) && f.Rule != string(ruleAPIVersion) { // which the schemas have told
				r.note(s, f)
			}
		}
	}
	o.reportDoubled(note, o.node)
	m := &manifest{object: o, subject: s}
	home := servedIn(o.kind)
	if builtin(o.kind) == "" && len(r.lint) == 0 {
		home = nil // there is nothing to hold it to
	}
	switch {
	case slices.Contains(home, o.apiVersion):
		if err := r.decode(m, note); err != nil {
			r.undecoded(s, err)
			return nil
		}
		r.lintObject(m)
		if m.pod == nil && builtin(o.kind) == "" {
			if o.kind == "Namespace" && r.pods {
				r.judgeNamespace(m)
			}
			break
		}
		if r.pods {
			if err := r.judgePod(m); err != nil {
				return fmt.Errorf("%s: %w", o, err)
			}
		}
	case home != nil && retired(o.apiVersion):
		note(wrongVersion(o, home[0]))
	case o.kind == "Namespace" && o.apiVersion == "v1" && r.pods:
		if err := r.decode(m, note); err != nil {
			r.undecoded(s, err)
			return nil
		}
		r.judgeNamespace(m)
	default:
		r.judgeCustom(m)
	}
	if !s.judged {
		r.skipped[skippedKind(o)]++
	}
	return nil
}

// decode is manifest's, for an object that can be decoded in finite time.
func (r *run) decode(m *manifest, note func(finding.Finding)) error {
	if mayBeEndless(m.raw) {
		load := r.structure
		if load == nil {
			load = loadSchemas
		}
		structure, err := load()
		if err != nil {
			return err
		}
		if at, found := structure.endless(m.object); found {
			return &inputError{file: m.doc.file, line: m.location(at).Line, object: m.String(), text: at.String() + ": a quantity of more digits than any has"}
		}
	}
	return m.decode(note)
}

// undecoded tells that an object cannot be judged any further, unless the schemas have told why.
func (r *run) undecoded(s *subject, err error) {
	if r.validator == nil || s.verdict != finding.Fail {
		r.errs = append(r.errs, err)
	}
}

// judgeCustom looks at an object of a kind that is not known here.
func (r *run) judgeCustom(m *manifest) {
	r.lintObject(m)
	at, ok := fieldPath(nil), false
	if m.kind != "Secret" && m.kind != "ControllerRevision" { // data of any shape, none of which is run
		at, ok = podLike(m.raw)
	}
	if ok {
		r.note(m.subject, m.unknown(ruleCustom, at,
			fmt.Sprintf("%s of %s holds what looks like a pod template", m.kind, stated(m.apiVersion)),
			"its controller, not Kubernetes, makes pods of it, and may change them",
			"check the pods that it makes: kubectl get pods -o yaml | kubernetes check -"))
	}
}

// judgePod holds the pod of a workload to the Pod Security Standards.
func (r *run) judgePod(m *manifest) error {
	m.subject.judged = true
	if m.pod == nil || len(m.pod.spec.Containers) == 0 {
		at := fieldPath{"spec", "template"}
		if m.pod != nil {
			at = m.pod.at.below("spec", "containers")
		}
		r.note(m.subject, m.unknown(ruleNoContainers, at, "the pod has no containers", "the API server refuses it", "give it containers"))
		return nil
	}
	p, err := r.policy(m.namespace)
	if err != nil {
		return err
	}
	m.pod.applyDefaults()
	// One more than is kept, so that the cut is noticed.
	found, err := r.evaluator.evaluate(p.enforce, m.pod, r.kept-len(r.findings)+1)
	if err != nil {
		return err
	}
	for _, f := range found {
		if p.from != "" {
			f.Message += fmt.Sprintf(" (%s enforces %s)", p.from, p.enforce.Level)
		}
		r.note(m.subject, f)
	}
	for _, a := range p.advice {
		advised, err := r.evaluator.evaluate(a.LevelVersion, m.pod, r.kept-len(r.findings)+1)
		if err != nil {
			return err
		}
		for _, f := range advised {
			if r.selection.has(f.Rule, f.Severity) && !slices.ContainsFunc(found, func(g finding.Finding) bool { return f.Rule == g.Rule && f.Location == g.Location }) {
				f.Verdict, f.Reason = finding.Unknown, fmt.Sprintf("%s only %s, at level %s", p.from, a.verb, a.Level)
				r.keep(f)
				found = append(found, f)
			}
		}
	}
	m.subject.pod = podVerdict{applied: p.enforce, stated: p.from != "", strictest: r.evaluator.strictest(p.enforce.Version, m.pod)}
	return nil
}

func wrongVersion(o object, home string) finding.Finding {
	reason := fmt.Sprintf("Kubernetes has no %s in %s", o.kind, stated(o.apiVersion))
	fix := fmt.Sprintf("write apiVersion: %s, and check again", home)
	if release := removedIn(o.apiVersion, o.kind); release != "" {
		reason = fmt.Sprintf("Kubernetes %s and later do not serve %s", release, o.apiVersion)
		fix = fmt.Sprintf("write apiVersion: %s (kubectl convert changes the fields that differ), and check again", home)
	}
	return o.unknown(ruleAPIVersion, fieldPath{"apiVersion"}, "not judged", reason, fix)
}

// skippedKind names a kind that nothing is held to, with its group where it is not the core group.
func skippedKind(o object) string {
	if g := group(o.apiVersion); g != "" && stated(o.apiVersion) == o.apiVersion {
		return shorten(o.kind + "." + g)
	}
	return shorten(o.kind)
}

// checkAll is the frame's CheckAll: a finding for each thing that is wrong, and one for each object that passes.
func (c *checker) checkAll(ctx context.Context, inputs []finding.Input) (finding.Report, error) {
	r, err := c.start(inputs)
	if err != nil {
		return finding.Report{}, err
	}
	var report finding.Report
	var problems []error
	for _, in := range inputs {
		before := len(r.subjects)
		findings, errs, fault := r.read(ctx, in)
		if r.cut {
			errs = append(errs, &inputError{file: in.Name, text: fmt.Sprintf("too large: %d findings, and more; split the input", r.kept)})
		}
		if fault != nil {
			problems = append(problems, fmt.Errorf("%s: %w", in.Name, fault))
		}
		if len(findings)+len(errs) == 0 && len(r.subjects) == before && !c.allowEmpty {
			findings = append(findings, emptyInput(in.Name))
			if in.Name == finding.Stdin {
				errs = append(errs, errNoInput)
			}
		}
		report.Findings = append(report.Findings, findings...)
		problems = append(problems, errs...)
	}
	report.Findings = append(report.Findings, r.finish()...)
	if r.cut {
		problems = append(problems, fmt.Errorf("too large: %d findings between objects, and more; split the inputs", r.kept))
	}
	if len(r.subjects)+len(problems) == 0 && (!c.allowEmpty || len(report.Findings) > 0) {
		problems = append(problems, errNothing)
	}
	for _, s := range r.subjects {
		if s.judged && s.verdict == finding.Pass {
			report.Findings = append(report.Findings, c.passed(s))
		}
	}
	sortByFile(report.Findings, inputs)
	counts := r.counts()
	report.Objects = &counts
	return report, errors.Join(problems...)
}

// What a gate says that had nothing to look at, which must not look like one that found nothing.
var (
	errNoInput = errors.New("standard input: nothing to judge: no Kubernetes object is on it; see whether the command before the pipe failed " +
		"(set -o pipefail ends a pipeline with it), and if it may rightly print nothing, say --allow-empty")
	errNothing = errors.New("nothing to judge: there is no Kubernetes object in any input; see whether they are the right ones, and if they may rightly be empty, say --allow-empty")
)

func (c *checker) passed(s *subject) finding.Finding {
	f := finding.Finding{
		Rule: string(rulePass), Title: rulePass.title(), Verdict: finding.Pass, Message: "no rule fails",
		Object: s.name, Location: s.at,
	}
	if s.pod.strictest != "" {
		f.Message += fmt.Sprintf(", and pod security allows it at level %s, version %s", s.pod.applied.Level, s.pod.applied.Version.String())
	}
	return f
}

func emptyInput(name string) finding.Finding {
	return finding.Finding{
		Rule: string(ruleNoObject), Title: ruleNoObject.title(), Severity: ruleNoObject.severity(), Verdict: finding.Unknown,
		Message: "nothing to judge", Reason: "there is no Kubernetes object in the input", Location: finding.Location{File: name},
	}
}

// sortByLine puts the problems of one input in the order of its lines.
func sortByLine(errs []error) {
	line := func(err error) int {
		if input, ok := errors.AsType[*inputError](err); ok {
			return input.line
		}
		return 0
	}
	slices.SortStableFunc(errs, func(a, b error) int { return line(a) - line(b) })
}

// sortByPlace puts the findings of one input in the order of its lines.
func sortByPlace(findings []finding.Finding) {
	slices.SortStableFunc(findings, func(a, b finding.Finding) int { return a.Location.Line - b.Location.Line })
}

// sortByFile puts findings in the order of the inputs, and of the lines in each.
func sortByFile(findings []finding.Finding, inputs []finding.Input) {
	order := map[string]int{}
	for i, in := range inputs {
		order[in.Name] = i
	}
	slices.SortStableFunc(findings, func(a, b finding.Finding) int {
		if d := order[a.Location.File] - order[b.Location.File]; d != 0 {
			return d
		}
		return a.Location.Line - b.Location.Line
	})
}
