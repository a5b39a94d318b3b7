package main

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// lintRule is one thing that is demanded of manifests, beyond the Pod Security Standards. Rules are data: the
// fixtures in testdata/lint/THEME.txtar are part of one, and a rule without them fails the tests.
type lintRule struct {
	ID         string // theme/name; stable
	Title      string // what it demands, in a few words
	Severity   finding.Severity
	Kinds      string   // what it is about, for readers
	References []string // as people know it: kube-linter latest-tag, CIS 5.1.3, NSA Network policies
	Why, Fix   string   // a sentence or two each
	Check      func(m *manifest, r reporter)
}

// finding makes a finding of the rule, without its place.
func (l *lintRule) finding(verdict finding.Verdict, message string) finding.Finding {
	return finding.Finding{Rule: l.ID, Title: l.Title, Severity: l.Severity, Verdict: verdict, Message: message, Fix: l.Fix}
}

// lintRules is the table of all rules, by theme.
func lintRules() []lintRule {
	return slices.Concat(imageRules(), resourceRules(), probeRules(), securityRules(), hostRules(), secretRules(), accountRules(), workloadRules(),
		availabilityRules(), jobRules(), serviceRules(), ingressRules(), networkRules(), rbacRules(), webhookRules(), referenceRules(), metadataRules())
}

// manifest is an object as the rules see it.
type manifest struct {
	object
	subject *subject
	typed   any       // a pointer to the type of its kind; nil for a kind that no rule knows
	pod     *workload // nil for a kind without pods
}

// reporter takes what a rule has to say of one object. Paths are relative to the pod where the rule is about pods.
type reporter struct {
	run  *run
	rule *lintRule
	m    *manifest
	base fieldPath
}

// fail says that the field is not as the rule demands.
func (r reporter) fail(at fieldPath, format string, args ...any) {
	f := r.rule.finding(finding.Fail, fmt.Sprintf(format, args...))
	f.Object, f.Location = r.m.subject.name, r.m.location(r.base.below(at...))
	r.run.note(r.m.subject, f)
}

// later asks a question when every object is known. The function is kept until then: it must hold on to no more of
// the object than it needs.
func (r reporter) later(at fieldPath, ask func(*inventory) answer) {
	r.run.questions = append(r.run.questions, question{
		rule: r.rule, subject: r.m.subject, at: r.m.location(r.base.below(at...)), ask: ask,
	})
}

// question is what a rule wants to know of all objects.
type question struct {
	rule    *lintRule
	subject *subject
	at      finding.Location
	ask     func(*inventory) answer
}

// answer is the outcome of a question. The zero value is a pass.
type answer struct {
	verdict         finding.Verdict
	message, reason string
}

func failed(format string, args ...any) answer {
	return answer{verdict: finding.Fail, message: fmt.Sprintf(format, args...)}
}

func unknown(reason, format string, args ...any) answer {
	return answer{verdict: finding.Unknown, message: fmt.Sprintf(format, args...), reason: reason}
}

// lintObject holds one object to the rules, and keeps of it what others may be asked about.
func (r *run) lintObject(m *manifest) {
	if len(r.lint) == 0 {
		return
	}
	if m.typed != nil {
		m.subject.judged = true
	}
	r.known.add(m)
	for i := range r.lint {
		rule := &r.lint[i]
		rule.Check(m, reporter{run: r, rule: rule, m: m})
	}
}

// on makes a check of objects of one type.
func on[T any](check func(*T, reporter)) func(*manifest, reporter) {
	return func(m *manifest, r reporter) {
		if typed, ok := m.typed.(*T); ok {
			check(typed, r)
		}
	}
}

// eachPod makes a check of pods, of whatever kind makes them.
func eachPod(check func(*workload, reporter)) func(*manifest, reporter) {
	return func(m *manifest, r reporter) {
		if m.pod != nil {
			r.base = m.pod.at
			check(m.pod, r)
		}
	}
}

// eachContainer makes a check of containers: those that run as long as the pod does, init containers, and, where a
// Pod has them, ephemeral containers.
func eachContainer(check func(container, reporter)) func(*manifest, reporter) {
	return eachPod(func(w *workload, r reporter) {
		for _, c := range w.containers {
			check(c, r)
		}
	})
}

// container is one container of a pod.
type container struct {
	*corev1.Container
	pod   *workload
	list  string // the field that lists it
	index int
}

// at returns the path of a field of the container, from the pod.
func (c container) at(steps ...any) fieldPath {
	return fieldPath{"spec", c.list, c.index}.below(steps...)
}

// String is how messages speak of the container.
func (c container) String() string { return named(c.Container) }

// ephemeral says whether it was added to a running Pod, which excludes most settings.
func (c container) ephemeral() bool { return c.list == "ephemeralContainers" }

// lasting says whether it runs as long as the pod does: an init container that is restarted always does, too.
func (c container) lasting() bool {
	return c.list == "containers" || c.list == "initContainers" && c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// security returns the container's security context, never nil.
func (c container) security() *corev1.SecurityContext { return security(c.Container) }

// listContainers makes the list of a pod's containers.
func (w *workload) listContainers() {
	list := func(field string, all []corev1.Container) {
		for i := range all {
			w.containers = append(w.containers, container{Container: &all[i], pod: w, list: field, index: i})
		}
	}
	list("initContainers", w.spec.InitContainers)
	list("containers", w.spec.Containers)
	for i := range w.spec.EphemeralContainers {
		c := corev1.Container(w.spec.EphemeralContainers[i].EphemeralContainerCommon)
		w.containers = append(w.containers, container{Container: &c, pod: w, list: "ephemeralContainers", index: i})
	}
}

// security returns the pod's security context, never nil.
func (w *workload) security() *corev1.PodSecurityContext {
	if w.spec.SecurityContext == nil {
		return &corev1.PodSecurityContext{}
	}
	return w.spec.SecurityContext
}

// windows says whether the pod is for Windows nodes, where much of a security context has no meaning.
func (w *workload) windows() bool {
	return w.spec.OS != nil && w.spec.OS.Name == corev1.Windows || w.spec.NodeSelector[corev1.LabelOSStable] == "windows"
}

// endless says whether the pod is meant to run until somebody stops it: a Job's ends by itself.
func (w *workload) endless() bool {
	switch w.kind {
	case "Job", "CronJob", "PodTemplate":
		return false
	case "Pod":
		return w.spec.RestartPolicy == "" || w.spec.RestartPolicy == corev1.RestartPolicyAlways
	default:
		return true
	}
}
