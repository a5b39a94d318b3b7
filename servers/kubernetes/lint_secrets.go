package main

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/scrub"
)

// holdsSecret says whether text, called name, is or holds what looks like a secret. What it is nobody is told.
func holdsSecret(name, text string) bool {
	if text == "" || reference(text) {
		return false
	}
	return strings.Contains(scrub.New().Member(name, text), redactedMark) && !strings.Contains(text, redactedMark)
}

// redactedMark begins what scrub puts in a secret's place.
const redactedMark = "[redacted:"

// reference says whether text only names where a value comes from: $(VAR), ${VAR}, $VAR, or a file.
func reference(text string) bool {
	return strings.HasPrefix(text, "$") || strings.HasPrefix(text, "/") && !strings.ContainsAny(text, " \n") || strings.HasPrefix(text, "{{") || strings.HasPrefix(text, "vault:")
}

func secretRules() []lintRule {
	return []lintRule{
		{
			ID: "secrets/plain-env", Title: "Environment variables hold no secrets", Severity: finding.High, Kinds: kindContainers,
			References: []string{"kube-linter env-var-secret", "NSA Secrets"},
			Why:        "Whoever may read the pod, the manifest or its history reads the secret.",
			Fix:        "put the value in a Secret, best mounted as a file, and change it, since it is known now",
			Check: eachContainer(func(c container, r reporter) {
				for i, e := range c.Env {
					if holdsSecret(e.Name, e.Value) {
						r.fail(c.at("env", i, "value"), "%s has what looks like a secret in %s", c, value(e.Name))
					}
				}
			}),
		},
		{
			ID: "secrets/plain-argument", Title: "Arguments hold no secrets", Severity: finding.High, Kinds: kindContainers,
			References: []string{"NSA Secrets"},
			Why:        "Arguments are seen by whoever may read the pod, and by every process of the node.",
			Fix:        "put the value in a Secret, mounted as a file, and change it, since it is known now",
			Check: eachContainer(func(c container, r reporter) {
				for field, list := range map[string][]string{"command": c.Command, "args": c.Args} {
					for i, argument := range list {
						name := ""
						if i > 0 && strings.HasPrefix(list[i-1], "-") && !strings.Contains(list[i-1], "=") && !strings.HasPrefix(argument, "-") {
							name = strings.TrimLeft(list[i-1], "-")
						}
						if holdsSecret(name, argument) {
							r.fail(c.at(field, i), "%s has what looks like a secret in its %s", c, field)
						}
					}
				}
			}),
		},
		{
			ID: "secrets/config-map", Title: "ConfigMaps hold no secrets", Severity: finding.High, Kinds: "ConfigMap",
			References: []string{"NSA Secrets"},
			Why:        "ConfigMaps are read by many, are not encrypted at rest where Secrets are, and show in logs and backups.",
			Fix:        "move the value to a Secret, and change it, since it is known now",
			Check: on(func(m *corev1.ConfigMap, r reporter) {
				for _, key := range slices.Sorted(maps.Keys(m.Data)) {
					if holdsSecret(key, m.Data[key]) {
						r.fail(fieldPath{"data", key}, "the key %s holds what looks like a secret", value(key))
					}
				}
			}),
		},
		{
			ID: "secrets/last-applied", Title: "Secrets carry no copy of themselves", Severity: finding.High, Kinds: "Secret",
			Why: "The annotation last-applied-configuration holds all of the Secret, as it was last applied: who may see annotations sees it.",
			Fix: "remove the annotation, and use kubectl apply --server-side or create for Secrets",
			Check: on(func(s *secret, r reporter) {
				if _, ok := s.Annotations[corev1.LastAppliedConfigAnnotation]; ok {
					r.fail(fieldPath{"metadata", "annotations", corev1.LastAppliedConfigAnnotation}, "an annotation holds the Secret a second time")
				}
			}),
		},
		{
			ID: "secrets/from-env", Title: "Secrets are files, not environment variables", Severity: finding.Low, Kinds: kindContainers,
			References: []string{"kube-linter read-secret-from-env-var", "CIS 5.4.1"},
			Why:        "An environment is inherited by every child process, ends in crash reports, and does not change with the Secret.",
			Fix:        "mount the Secret as a volume",
			Check: eachContainer(func(c container, r reporter) {
				for i, e := range c.Env {
					if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
						r.fail(c.at("env", i, "valueFrom", "secretKeyRef"), "%s has %s from a Secret", c, value(e.Name))
					}
				}
				for i, e := range c.EnvFrom {
					if e.SecretRef != nil {
						r.fail(c.at("envFrom", i, "secretRef"), "%s has all of a Secret in its environment", c)
					}
				}
			}),
		},
		{
			ID: "secrets/duplicate-env", Title: "Environment variables are set once", Severity: finding.Medium, Kinds: kindContainers,
			References: []string{"kube-linter duplicate-env-var"},
			Why:        "The last one counts, and a server-side apply refuses the object or loses one.",
			Fix:        "keep one of them",
			Check: eachContainer(func(c container, r reporter) {
				seen := map[string]bool{}
				for i, e := range c.Env {
					if seen[e.Name] {
						r.fail(c.at("env", i, "name"), "%s sets %s again", c, value(e.Name))
					}
					seen[e.Name] = true
				}
			}),
		},
		{
			ID: "secrets/env-order", Title: "Environment variables refer to earlier ones", Severity: finding.Medium, Kinds: kindContainers,
			Why: "$(NAME) is replaced only by what stands before it; by what stands behind it is left as it is.",
			Fix: "move the variable that is referred to up",
			Check: eachContainer(func(c container, r reporter) {
				last := map[string]int{}
				for i, e := range c.Env {
					last[e.Name] = i
				}
				seen := map[string]bool{}
				for i, e := range c.Env {
					for _, name := range mentioned(e.Value) {
						if at, ok := last[name]; ok && at > i && !seen[name] {
							r.fail(c.at("env", i, "value"), "%s: %s refers to %s, which is set behind it", c, value(e.Name), value(name))
						}
					}
					seen[e.Name] = true
				}
			}),
		},
		{
			ID: "secrets/token-secret", Title: "Service account tokens expire", Severity: finding.Medium, Kinds: "Secret",
			References: []string{"NSA Protecting Pod service account tokens"},
			Why:        "The token in a Secret of this type is valid as long as the Secret is there, and for nobody in particular.",
			Fix:        "remove the Secret, and use kubectl create token, or a projected volume",
			Check: on(func(s *secret, r reporter) {
				if s.Type == corev1.SecretTypeServiceAccountToken {
					r.fail(fieldPath{"type"}, "the Secret is a service account's token that never expires")
				}
			}),
		},
	}
}

// mentioned returns the names that stand in text as $(NAME); $$(NAME) is none.
func mentioned(text string) []string {
	var all []string
	text = strings.ReplaceAll(text, "$$", "")
	for {
		_, rest, ok := strings.Cut(text, "$(")
		if !ok {
			return all
		}
		name, after, ok := strings.Cut(rest, ")")
		if !ok {
			return all
		}
		all, text = append(all, name), after
	}
}

// account returns the name of the service account that a pod runs as.
func (w *workload) account() string {
	for _, name := range []string{w.spec.ServiceAccountName, w.spec.DeprecatedServiceAccount} {
		if name != "" {
			return name
		}
	}
	return "default"
}

func accountRules() []lintRule {
	return []lintRule{
		{
			ID: "accounts/token", Title: "Pods that need no API mount no token", Severity: finding.Low, Kinds: kindPods,
			References: []string{"CIS 5.1.6", "NSA Protecting Pod service account tokens"},
			Why:        "Whoever breaks into the pod speaks to the API server with its token, whether the program needs one or not.",
			Fix:        "set automountServiceAccountToken: false, for the pod or its ServiceAccount",
			Check: eachPod(func(w *workload, r reporter) {
				if w.spec.AutomountServiceAccountToken != nil {
					if *w.spec.AutomountServiceAccountToken && w.account() == "default" {
						r.fail(fieldPath{"spec", "automountServiceAccountToken"}, "the pod mounts the token of the default service account")
					}
					return // whoever sets it for an account of the pod's own has thought of it
				}
				namespace, name := r.m.namespace, w.account()
				r.later(fieldPath{"spec"}, func(known *inventory) answer {
					own, ok := known.closest("ServiceAccount", namespace, name)
					switch {
					case ok && known.tokens[own], known.bound[ref{"ServiceAccount", namespace, name}]:
						return answer{}
					case !ok && name != "default":
						return unknown("its ServiceAccount is not in the inputs, and may say automountServiceAccountToken: false", "the pod does not say whether it mounts a token")
					default:
						return failed("the pod mounts a token of the service account %s, to which nothing in the inputs gives rights", value(name))
					}
				})
			}),
		},
		{
			ID: "accounts/default", Title: "Pods with a token have an account of their own", Severity: finding.Medium, Kinds: kindPods,
			References: []string{"kube-linter default-service-account", "CIS 5.1.5"},
			Why:        "Rights that are given to the default account for one pod are those of every other pod of the namespace.",
			Fix:        "set serviceAccountName, or automountServiceAccountToken: false",
			Check: eachPod(func(w *workload, r reporter) {
				if w.account() != "default" || w.spec.AutomountServiceAccountToken != nil && !*w.spec.AutomountServiceAccountToken {
					return
				}
				namespace := r.m.namespace
				r.later(fieldPath{"spec", "serviceAccountName"}, func(known *inventory) answer {
					if own, ok := known.closest("ServiceAccount", namespace, "default"); ok && known.tokens[own] {
						return answer{}
					}
					return failed("the pod runs as the default service account, with its token")
				})
			}),
		},
		{
			ID: "accounts/deprecated-field", Title: "Accounts are named by serviceAccountName", Severity: finding.Low, Kinds: kindPods,
			References: []string{"kube-linter deprecated-service-account-field"},
			Why:        "serviceAccount is deprecated, and overlooked by tools that read serviceAccountName.",
			Fix:        "write serviceAccountName",
			Check: eachPod(func(w *workload, r reporter) {
				if old := w.spec.DeprecatedServiceAccount; old != "" && old != w.spec.ServiceAccountName {
					r.fail(fieldPath{"spec", "serviceAccount"}, "the account is named by the deprecated serviceAccount")
				}
			}),
		},
	}
}
