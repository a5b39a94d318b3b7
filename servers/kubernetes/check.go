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

// checker judges inputs at one level and version.
type checker struct {
	evaluator *evaluator
	err       error // why there is no evaluator
	level     api.Level
	version   string
	values    int // of one document
	kept      int // findings of one input
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

// verdict is the outcome for one object.
type verdict struct {
	object   object
	verdict  finding.Verdict
	findings []finding.Finding
}

// outcome is all that one input comes to.
type outcome struct {
	version  string            // of the standards
	verdicts []verdict         // of the objects that have pods, or seem to
	findings []finding.Finding // about what is no such object
	kept     int               // findings of the verdicts
	skipped  map[string]int    // objects without pods, counted by kind
	errs     []error           // what could not be read
}

// evaluate judges every object of an input.
func (c *checker) evaluate(ctx context.Context, file string, data []byte) (outcome, error) {
	out := outcome{skipped: map[string]int{}}
	if c.err != nil {
		return out, c.err
	}
	v, err := c.evaluator.version(c.version)
	if err != nil {
		return out, err
	}
	lv := api.LevelVersion{Level: c.level, Version: v}
	out.version = v.String()
	var fault error
	errs := readObjects(file, data, c.values, func(o object) {
		if fault == nil {
			fault = errors.Join(ctx.Err(), c.judge(lv, o, &out))
		}
	}, func(f finding.Finding) { out.findings = append(out.findings, f) })
	out.errs = append(out.errs, errs...)
	sortByLine(out.errs)
	return out, fault
}

// judge adds the verdict on one object to out.
func (c *checker) judge(lv api.LevelVersion, o object, out *outcome) error {
	v := verdict{object: o, verdict: finding.Pass}
	note := func(f finding.Finding) { v.findings = append(v.findings, f) }
	o.reportDoubled(note, o.node)
	home := builtin(o.kind)
	switch {
	case home == o.apiVersion && home != "":
		w, err := o.decode(note)
		if err != nil {
			out.errs = append(out.errs, err)
			out.findings = append(out.findings, v.findings...)
			return nil
		}
		// One at least, so that a refused pod never looks like one that passes.
		found, err := c.pod(lv, o, w, max(c.kept-out.kept, 1))
		if err != nil {
			return fmt.Errorf("%s: %w", o, err)
		}
		v.findings = append(v.findings, found...)
	case home != "" && slices.Contains([]string{"", "apps", "batch", "extensions"}, group(o.apiVersion)):
		note(wrongVersion(o, home))
	default:
		at, ok := fieldPath(nil), false
		if o.kind != "Secret" && o.kind != "ControllerRevision" { // data of any shape, none of which is run
			at, ok = podLike(o.raw)
		}
		if !ok {
			out.skipped[skippedKind(o)]++
			out.findings = append(out.findings, v.findings...)
			return nil
		}
		note(o.unknown(ruleCustom, at,
			fmt.Sprintf("%s of %s holds what looks like a pod template", o.kind, shorten(o.apiVersion)),
			"its controller, not Kubernetes, makes pods of it, and may change them",
			"check the pods that it makes: kubectl get pods -o yaml | kubernetes check -"))
	}
	for _, f := range v.findings {
		v.verdict = v.verdict.Worse(f.Verdict)
	}
	out.kept += len(v.findings)
	out.verdicts = append(out.verdicts, v)
	return nil
}

// pod judges the pod of a workload.
func (c *checker) pod(lv api.LevelVersion, o object, w *workload, most int) ([]finding.Finding, error) {
	if w == nil || len(w.spec.Containers) == 0 {
		at := fieldPath{"spec", "containers"}
		if w == nil {
			at = fieldPath{"spec", "template"}
		} else {
			at = w.at.below(at...)
		}
		return []finding.Finding{o.unknown(ruleNoContainers, at, "the pod has no containers", "the API server refuses it", "give it containers")}, nil
	}
	return c.evaluator.evaluate(lv, w, most)
}

func wrongVersion(o object, home string) finding.Finding {
	reason := fmt.Sprintf("Kubernetes has no %s in %s", o.kind, shorten(o.apiVersion))
	fix := fmt.Sprintf("write apiVersion: %s, and check again", home)
	if release := removedIn(o.apiVersion); release != "" {
		reason = fmt.Sprintf("Kubernetes %s and later do not serve %s", release, o.apiVersion)
		fix = fmt.Sprintf("write apiVersion: %s (kubectl convert changes the fields that differ), and check again", home)
	}
	return o.unknown(ruleAPIVersion, fieldPath{"apiVersion"}, "not judged", reason, fix)
}

// skippedKind names a kind that has no pods, with its group where it is not the core group.
func skippedKind(o object) string {
	if g := group(o.apiVersion); g != "" {
		return shorten(o.kind + "." + g)
	}
	return shorten(o.kind)
}

// check is the frame's Check: a finding for each thing that is wrong, and one for each object that passes.
func (c *checker) check(ctx context.Context, in finding.Input) ([]finding.Finding, error) {
	out, err := c.evaluate(ctx, in.Name, in.Data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", in.Name, err)
	}
	if out.kept >= c.kept {
		out.errs = append(out.errs, &inputError{file: in.Name, text: fmt.Sprintf("too large: %d findings, and maybe more; split the input", c.kept)})
	}
	findings := out.findings
	for _, v := range out.verdicts {
		findings = append(findings, v.findings...)
		if v.verdict == finding.Pass {
			findings = append(findings, c.passed(out.version, v.object))
		}
	}
	if len(findings) == 0 && len(out.skipped) == 0 && len(out.errs) == 0 {
		findings = append(findings, emptyInput(in.Name))
	}
	sortByPlace(findings)
	return findings, errors.Join(out.errs...)
}

func (c *checker) passed(version string, o object) finding.Finding {
	return finding.Finding{
		Rule: string(rulePass), Title: rulePass.title(), Verdict: finding.Pass,
		Message: fmt.Sprintf("allowed at level %s, version %s", c.level, version), Object: o.String(), Location: o.location(nil),
	}
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
