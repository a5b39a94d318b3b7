package main

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/pod-security-admission/api"
	kjson "sigs.k8s.io/json"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// labelPrefix begins the labels by which a Namespace says what its pods are held to.
const labelPrefix = "pod-security.kubernetes.io/"

// podPolicy is what a pod is held to.
type podPolicy struct {
	enforce api.LevelVersion
	from    string   // the Namespace that says so; "" if none does
	advice  []advice // what its Namespace warns of, or records, beside
}

// advice is a mode that refuses nothing.
type advice struct {
	api.LevelVersion
	verb string
}

// policy returns what pods in a namespace are held to: what the caller asked for, else what the Namespace in the
// inputs states, else the restricted level.
func (r *run) policy(namespace string) (podPolicy, error) {
	newest := api.MajorMinorVersion(1, newestRelease)
	asked, err := newest, error(nil)
	if r.version != "" {
		if asked, err = r.evaluator.version(r.version); err != nil {
			return podPolicy{}, err
		}
	}
	p := podPolicy{enforce: api.LevelVersion{Level: cmp.Or(r.level, api.LevelRestricted), Version: asked}}
	stated, ok := r.namespaces[namespace]
	if !ok || namespace == "" {
		return p, nil
	}
	known := func(lv api.LevelVersion) api.LevelVersion {
		if r.version != "" {
			lv.Version = asked
		} else if newest.Older(lv.Version) {
			lv.Version = newest // a later release has at least these checks
		}
		return lv
	}
	p.enforce, p.from = known(stated.Enforce), "Namespace "+shorten(namespace)
	for _, a := range []advice{{stated.Warn, "warns"}, {stated.Audit, "records it"}} {
		a.LevelVersion = known(a.LevelVersion)
		if a.Level != api.LevelPrivileged && !a.Equivalent(&p.enforce) && !slices.ContainsFunc(p.advice, func(b advice) bool { return a.Equivalent(&b.LevelVersion) }) {
			p.advice = append(p.advice, a)
		}
	}
	return p, nil
}

// readNamespaces looks for the Namespaces with labels that count, since they may stand behind the pods that they
// decide about. Of two of one name the stricter counts, since pods may come between them. Only documents that can have one are read; what is wrong with them the run tells.
func (c *checker) readNamespaces(inputs []finding.Input) map[string]api.Policy {
	policies := map[string]api.Policy{}
	yield := func(o object) {
		var ns corev1.Namespace
		if o.kind != "Namespace" || o.apiVersion != "v1" || kjson.UnmarshalCaseSensitivePreserveInts(o.raw, &ns) != nil || ns.Labels[api.EnforceLevelLabel] == "" {
			return
		}
		newest := api.LevelVersion{Level: api.LevelPrivileged, Version: api.LatestVersion()}
		policy, _ := api.PolicyToEvaluate(ns.Labels, api.Policy{Enforce: newest, Audit: newest, Warn: newest})
		if before, twice := policies[ns.Name]; !twice || api.CompareLevels(before.Enforce.Level, policy.Enforce.Level) <= 0 {
			policies[ns.Name] = policy
		}
	}
	for _, in := range inputs {
		var likely [][]byte
		for _, part := range split(in.Name, in.Data) {
			if mayLabel(part.text) {
				likely = append(likely, part.text)
			}
		}
		// Together, so that the bounds on documents and aliases are for all of them.
		readObjects(in.Name, bytes.Join(likely, []byte("\n---\n")), c.values, yield, func(finding.Finding) {})
	}
	return policies
}

// mayLabel says whether text can hold a Namespace with labels that count: it has the words, or escapes, or a wide
// encoding, that may stand for them.
func mayLabel(text []byte) bool {
	if bytes.Contains(text, []byte("Namespace")) && bytes.Contains(text, []byte(labelPrefix)) {
		return true
	}
	for _, escape := range []string{`\x`, `\u`, `\U`, "\\\n", "\\\r", "\x00"} {
		if bytes.Contains(text, []byte(escape)) {
			return true
		}
	}
	return false
}

// judgeNamespace reports labels that do not say what they seem to.
func (r *run) judgeNamespace(m *manifest) {
	ns, ok := m.typed.(*corev1.Namespace)
	if !ok {
		return
	}
	known := []string{api.EnforceLevelLabel, api.EnforceVersionLabel, api.AuditLevelLabel, api.AuditVersionLabel, api.WarnLevelLabel, api.WarnVersionLabel}
	for _, label := range slices.Sorted(maps.Keys(ns.Labels)) {
		if !strings.HasPrefix(label, labelPrefix) {
			continue
		}
		m.subject.judged = true
		text := ns.Labels[label]
		message := ""
		switch {
		case !slices.Contains(known, label):
			message = fmt.Sprintf("the label %s is none that counts", shorten(label))
		case strings.HasSuffix(label, "-version"):
			if _, err := api.ParseVersion(text); err != nil {
				message = fmt.Sprintf("the label %s is %s, which is no version", label, value(text))
			}
		default:
			if _, err := api.ParseLevel(text); err != nil {
				message = fmt.Sprintf("the label %s is %s, which is no level", label, value(text))
			}
		}
		if message != "" {
			r.note(m.subject, finding.Finding{
				Rule: string(ruleLabels), Title: ruleLabels.title(), Severity: ruleLabels.severity(), Verdict: finding.Fail, Message: message,
				Fix:    "enforce, audit and warn are privileged, baseline or restricted; with -version behind them, latest or v1.N",
				Object: m.subject.name, Location: m.location(fieldPath{"metadata", "labels", label}),
			})
		}
	}
}
