package main

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// newestRelease is the minor version of Kubernetes 1 that k8s.io/pod-security-admission v0.N belongs to; its checks
// are known up to that release.
const newestRelease = 37

// evaluator runs the checks of the Pod Security Standards as the API server's admission plug-in runs them.
type evaluator struct {
	library policy.Evaluator
	checks  []policy.Check
	newest  api.Version // the release of Kubernetes whose library this is
	rules   map[policy.CheckID]rule
}

func newEvaluator() (*evaluator, error) {
	e := &evaluator{checks: policy.DefaultChecks(), newest: api.MajorMinorVersion(1, newestRelease), rules: map[policy.CheckID]rule{}}
	library, err := policy.NewEvaluator(e.checks, nil)
	if err != nil {
		return nil, fmt.Errorf("pod security: %w", err)
	}
	e.library = library
	for _, r := range podRules() {
		e.rules[r.id] = r
	}
	return e, nil
}

// version reads "latest" or "v1.N" and returns the version whose checks are run.
func (e *evaluator) version(s string) (api.Version, error) {
	v, err := api.ParseVersion(s)
	switch {
	case err != nil:
		return api.Version{}, fmt.Errorf("version %q: want latest or v1.N, such as %s", s, e.newest)
	case v.Latest():
		return e.newest, nil
	case e.newest.Older(v):
		return api.Version{}, fmt.Errorf("version %s: newer than the newest that is known here, %s; take that, or latest", v, e.newest)
	}
	return v, nil
}

// namedCheck is a check as one version has it.
type namedCheck struct {
	id        policy.CheckID
	run       policy.CheckPodFn
	overrides []policy.CheckID
}

// active returns the checks of a level and version in the order in which the library reports their results:
// it reports no ids. A restricted check replaces the baseline checks that it overrides.
func (e *evaluator) active(lv api.LevelVersion) []namedCheck {
	var baseline, restricted []namedCheck
	overridden := map[policy.CheckID]bool{}
	for _, check := range e.checks {
		current, ok := at(check, lv.Version)
		switch {
		case !ok:
		case check.Level == api.LevelBaseline:
			baseline = append(baseline, current)
		case lv.Level == api.LevelRestricted:
			restricted = append(restricted, current)
			for _, id := range current.overrides {
				overridden[id] = true
			}
		}
	}
	byID := func(a, b namedCheck) int {
		if a.id < b.id {
			return -1
		}
		return 1
	}
	slices.SortFunc(baseline, byID)
	slices.SortFunc(restricted, byID)
	baseline = slices.DeleteFunc(baseline, func(c namedCheck) bool { return overridden[c.id] })
	return append(baseline, restricted...)
}

// at returns a check as a version has it, if that version has it.
func at(check policy.Check, version api.Version) (namedCheck, bool) {
	current, found := namedCheck{id: check.ID}, false
	for _, v := range check.Versions {
		if !version.Older(v.MinimumVersion) {
			current.run, current.overrides, found = v.CheckPod, v.OverrideCheckIDs, true
		}
	}
	return current, found
}

// applyDefaults sets what the API server sets on every new Pod before admission looks at it, as far as a
// check reads it. Everything else that the server sets there (pkg/apis/core/v1/defaults.go of Kubernetes
// 1.37: pull policies, probe periods, an empty securityContext, DNS policy …) no check tells from unset.
//
//   - SetDefaults_Volume: a volume without a source is an emptyDir. Read by restrictedVolumes.
//   - SetDefaults_Pod, defaultHostNetworkPorts: with hostNetwork, the ports of containers and init containers
//     are host ports. Read by hostPorts. The server does this to Pods, not to templates; here a template is
//     judged by the Pods that are made of it.
//
// Left out on purpose: applyAppArmorVersionSkew (pkg/registry/core/pod/strategy.go) copies an AppArmor
// annotation into the container's field, but appArmorProfile refuses the annotation itself already, and
// with the same values.
func applyDefaults(spec *corev1.PodSpec) {
	for i := range spec.Volumes {
		if spec.Volumes[i].VolumeSource == (corev1.VolumeSource{}) {
			spec.Volumes[i].EmptyDir = &corev1.EmptyDirVolumeSource{}
		}
	}
	if !spec.HostNetwork {
		return
	}
	for _, containers := range [][]corev1.Container{spec.Containers, spec.InitContainers} {
		for _, c := range containers {
			for i := range c.Ports {
				if c.Ports[i].HostPort == 0 {
					c.Ports[i].HostPort = c.Ports[i].ContainerPort
				}
			}
		}
	}
}

// applyDefaults makes of the pod what the API server does. With hostNetwork, which ports are its own is worth telling.
func (w *workload) applyDefaults() {
	if w.spec.HostNetwork {
		w.given = w.spec.DeepCopy()
	}
	applyDefaults(w.spec)
}

// strictest returns the strictest level that allows the pod in a version.
func (e *evaluator) strictest(version api.Version, w *workload) api.Level {
	for _, level := range []api.Level{api.LevelRestricted, api.LevelBaseline} {
		refused := slices.ContainsFunc(e.library.EvaluatePod(api.LevelVersion{Level: level, Version: version}, w.meta, w.spec),
			func(result policy.CheckResult) bool { return !result.Allowed })
		if !refused {
			return level
		}
	}
	return api.LevelPrivileged
}

// evaluate returns what the level and version forbid of a pod, at most the first most findings; none means
// that it is allowed. The verdict is the library's alone; the rules only tell which field it is about.
func (e *evaluator) evaluate(lv api.LevelVersion, w *workload, most int) ([]finding.Finding, error) {
	if lv.Level == api.LevelPrivileged {
		return nil, nil
	}
	results := e.library.EvaluatePod(lv, w.meta, w.spec)
	checks := e.active(lv)
	if len(checks) != len(results) {
		return nil, fmt.Errorf("pod security: %d checks, but %d results", len(checks), len(results))
	}
	var findings []finding.Finding
	for i, result := range results {
		if result.Allowed {
			continue
		}
		r, ok := e.rules[checks[i].id]
		if !ok {
			// A newer library may have a check that has no rule here yet. The verdict counts all the same.
			r = rule{id: checks[i].id, title: result.ForbiddenReason, severity: finding.High}
		}
		p := pod{meta: w.meta, spec: w.spec, given: w.given, check: checks[i].run, baseline: e.overridden(checks[i], lv.Version)}
		var violations []violation
		if r.locate != nil {
			violations = r.locate(p)
		}
		if len(violations) == 0 {
			violations = []violation{{message: result.ForbiddenReason + ": " + result.ForbiddenDetail}}
		}
		for _, v := range violations {
			if len(findings) == most {
				return findings, nil
			}
			findings = append(findings, w.violation(r, v))
		}
	}
	return findings, nil
}

// overridden returns the baseline checks in whose place a restricted one is run.
func (e *evaluator) overridden(c namedCheck, version api.Version) []policy.CheckPodFn {
	var runs []policy.CheckPodFn
	for _, check := range e.checks {
		if slices.Contains(c.overrides, check.ID) {
			if baseline, ok := at(check, version); ok {
				runs = append(runs, baseline.run)
			}
		}
	}
	return runs
}

// violation makes the finding of a field that a check forbids.
func (w *workload) violation(r rule, v violation) finding.Finding {
	field := w.at.below(v.field...)
	fix := v.fix
	if fix == "" {
		fix = r.fix
	}
	severity := r.severity
	if v.baseline {
		severity = finding.High
	}
	return finding.Finding{
		Rule: podRulePrefix + string(r.id), Title: r.title, Severity: severity, Verdict: finding.Fail,
		Message: v.message, Fix: fix, Object: w.String(), Location: w.location(field),
	}
}
