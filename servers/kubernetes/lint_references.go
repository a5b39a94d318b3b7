package main

import (
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/pod-security-admission/api"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// mention is a place where a pod names a ConfigMap or Secret, and maybe a key of it.
type mention struct {
	at        fieldPath
	name, key string
}

// mentions lists where a pod names objects of a kind, ConfigMap or Secret, that must be there for it to start.
func (w *workload) mentions(kind string) []mention {
	var all []mention
	add := func(at fieldPath, name, key string, optional *bool) {
		if name != "" && (optional == nil || !*optional) {
			all = append(all, mention{at, name, key})
		}
	}
	items := func(at fieldPath, name string, keys []corev1.KeyToPath, optional *bool) {
		add(at, name, "", optional)
		for i, item := range keys {
			add(at.below("items", i, "key"), name, item.Key, optional)
		}
	}
	for _, c := range w.containers {
		for i, e := range c.Env {
			switch from := e.ValueFrom; {
			case from == nil:
			case kind == "ConfigMap" && from.ConfigMapKeyRef != nil:
				add(c.at("env", i, "valueFrom", "configMapKeyRef"), from.ConfigMapKeyRef.Name, from.ConfigMapKeyRef.Key, from.ConfigMapKeyRef.Optional)
			case kind == "Secret" && from.SecretKeyRef != nil:
				add(c.at("env", i, "valueFrom", "secretKeyRef"), from.SecretKeyRef.Name, from.SecretKeyRef.Key, from.SecretKeyRef.Optional)
			}
		}
		for i, e := range c.EnvFrom {
			if kind == "ConfigMap" && e.ConfigMapRef != nil {
				add(c.at("envFrom", i, "configMapRef"), e.ConfigMapRef.Name, "", e.ConfigMapRef.Optional)
			}
			if kind == "Secret" && e.SecretRef != nil {
				add(c.at("envFrom", i, "secretRef"), e.SecretRef.Name, "", e.SecretRef.Optional)
			}
		}
	}
	for i, v := range w.spec.Volumes {
		at := fieldPath{"spec", "volumes", i}
		if kind == "ConfigMap" && v.ConfigMap != nil {
			items(at.below("configMap"), v.ConfigMap.Name, v.ConfigMap.Items, v.ConfigMap.Optional)
		}
		if kind == "Secret" && v.Secret != nil {
			items(at.below("secret"), v.Secret.SecretName, v.Secret.Items, v.Secret.Optional)
		}
		if v.Projected == nil {
			continue
		}
		for j, source := range v.Projected.Sources {
			at := at.below("projected", "sources", j)
			if kind == "ConfigMap" && source.ConfigMap != nil {
				items(at.below("configMap"), source.ConfigMap.Name, source.ConfigMap.Items, source.ConfigMap.Optional)
			}
			if kind == "Secret" && source.Secret != nil {
				items(at.below("secret"), source.Secret.Name, source.Secret.Items, source.Secret.Optional)
			}
		}
	}
	return all
}

// needs makes a check that the ConfigMaps or Secrets that a pod names exist, with their keys. What is not in the
// inputs is told once for a pod.
func needs(kind string) func(*manifest, reporter) {
	return eachPod(func(w *workload, r reporter) {
		namespace := r.m.namespace
		told := map[string]bool{}
		for _, m := range w.mentions(kind) {
			if m.key != "" {
				r.later(m.at, func(known *inventory) answer { return known.lacks(kind, namespace, m.name, m.key) })
			}
			if !told[m.name] && m.name != "kube-root-ca.crt" {
				told[m.name] = true
				r.later(m.at, func(known *inventory) answer { return known.missing(kind, namespace, m.name, false) })
			}
		}
	})
}

// claimed returns the volumes that a StatefulSet makes claims for, which stand in place of others of their names.
func claimed(m *manifest) map[string]bool {
	volumes := map[string]bool{}
	if set, ok := m.typed.(*appsv1.StatefulSet); ok {
		for _, claim := range set.Spec.VolumeClaimTemplates {
			volumes[claim.Name] = true
		}
	}
	return volumes
}

func referenceRules() []lintRule {
	return []lintRule{
		{
			ID: "references/config-map", Title: "Pods name ConfigMaps and keys that exist", Severity: finding.Medium, Kinds: kindPods,
			Why:   "A container whose ConfigMap or key does not exist does not start.",
			Fix:   "correct the name or key, add the ConfigMap, or set optional: true",
			Check: needs("ConfigMap"),
		},
		{
			ID: "references/secret", Title: "Pods name Secrets and keys that exist", Severity: finding.Medium, Kinds: kindPods,
			Why:   "A container whose Secret or key does not exist does not start.",
			Fix:   "correct the name or key, add the Secret, or set optional: true",
			Check: needs("Secret"),
		},
		{
			ID: "references/service-account", Title: "Pods name service accounts that exist", Severity: finding.Medium, Kinds: kindPods,
			References: []string{"kube-linter non-existent-service-account"},
			Why:        "No pod is made while its service account does not exist.",
			Fix:        "correct the name, or add the ServiceAccount",
			Check: eachPod(func(w *workload, r reporter) {
				if name, namespace := w.account(), r.m.namespace; name != "default" {
					r.later(fieldPath{"spec", "serviceAccountName"}, func(known *inventory) answer {
						return known.missing("ServiceAccount", namespace, name, false)
					})
				}
			}),
		},
		{
			ID: "references/claim", Title: "Pods name volume claims that exist", Severity: finding.Medium, Kinds: kindPods,
			Why: "A pod whose claim does not exist is not scheduled.",
			Fix: "correct the name, or add the PersistentVolumeClaim",
			Check: eachPod(func(w *workload, r reporter) {
				namespace, made := r.m.namespace, claimed(r.m)
				for i, v := range w.spec.Volumes {
					if v.PersistentVolumeClaim != nil && !made[v.Name] {
						name := v.PersistentVolumeClaim.ClaimName
						r.later(fieldPath{"spec", "volumes", i, "persistentVolumeClaim"}, func(known *inventory) answer {
							return known.missing("PersistentVolumeClaim", namespace, name, false)
						})
					}
				}
			}),
		},
		{
			ID: "references/volume", Title: "Mounts name volumes of the pod", Severity: finding.High, Kinds: kindContainers,
			Why: "The API server refuses a pod that mounts what it does not have.",
			Fix: "correct the name, or add the volume",
			Check: eachPod(func(w *workload, r reporter) {
				volumes := claimed(r.m)
				for _, v := range w.spec.Volumes {
					volumes[v.Name] = true
				}
				for _, c := range w.containers {
					for i, m := range c.VolumeMounts {
						if !volumes[m.Name] {
							r.fail(c.at("volumeMounts", i, "name"), "%s mounts %s, which is no volume of the pod", c, value(m.Name))
						}
					}
				}
			}),
		},
		{
			ID: "references/unused-volume", Title: "Volumes are mounted", Severity: finding.Low, Kinds: kindPods,
			Why: "A volume that nothing mounts is most often one that was to be mounted; a Secret in it is on the node for nothing.",
			Fix: "mount it, or remove it",
			Check: eachPod(func(w *workload, r reporter) {
				used := map[string]bool{}
				for _, c := range w.containers {
					for _, m := range c.VolumeMounts {
						used[m.Name] = true
					}
					for _, d := range c.VolumeDevices {
						used[d.Name] = true
					}
				}
				for i, v := range w.spec.Volumes {
					if !used[v.Name] && !live(w.meta) {
						r.fail(fieldPath{"spec", "volumes", i}, "nothing mounts the volume %s", value(v.Name))
					}
				}
			}),
		},
		{
			ID: "references/stateful-service", Title: "StatefulSets name Services that exist", Severity: finding.Medium, Kinds: "StatefulSet",
			Why: "Without its Service, the pods of a StatefulSet have no names in DNS.",
			Fix: "correct serviceName, or add the headless Service",
			Check: on(func(s *appsv1.StatefulSet, r reporter) {
				if namespace, name := r.m.namespace, s.Spec.ServiceName; name != "" {
					r.later(fieldPath{"spec", "serviceName"}, func(known *inventory) answer { return known.missing("Service", namespace, name, true) })
				}
			}),
		},
		{
			ID: "references/scale-target", Title: "Autoscalers scale what exists", Severity: finding.Medium, Kinds: "HorizontalPodAutoscaler",
			References: []string{"kube-linter dangling-horizontalpodautoscaler"},
			Why:        "An autoscaler of something that does not exist scales nothing.",
			Fix:        "correct the kind or name in scaleTargetRef",
			Check: onScaler(func(s scaler, r reporter) {
				namespace, kind, name := r.m.namespace, kindOf(s.target.APIVersion, s.target.Kind), s.target.Name
				if s.target.APIVersion == "" {
					kind = s.target.Kind
				}
				r.later(fieldPath{"spec", "scaleTargetRef"}, func(known *inventory) answer { return known.missing(kind, namespace, name, true) })
			}),
		},
		{
			ID: "references/certificate", Title: "Ingresses name Secrets of certificates that exist", Severity: finding.Low, Kinds: "Ingress",
			Why: "Without its Secret an Ingress serves a certificate that nobody trusts.",
			Fix: "correct the name, or add the Secret",
			Check: on(func(g *networkingv1.Ingress, r reporter) {
				for key := range g.Annotations {
					if strings.HasPrefix(key, "cert-manager.io/") || key == "kubernetes.io/tls-acme" {
						return // the Secret is made for it
					}
				}
				for i, t := range g.Spec.TLS {
					if namespace, name := r.m.namespace, t.SecretName; name != "" {
						r.later(fieldPath{"spec", "tls", i, "secretName"}, func(known *inventory) answer { return known.missing("Secret", namespace, name, false) })
					}
				}
			}),
		},
	}
}

func metadataRules() []lintRule {
	return []lintRule{
		{
			ID: "metadata/default-namespace", Title: "Objects are not put into the namespace default", Severity: finding.Low, Kinds: "namespaced objects",
			References: []string{"kube-linter use-namespace", "CIS 5.7.4", "NSA Namespaces"},
			Why:        "Rights, policies and quotas are for namespaces: what shares one shares all of these.",
			Fix:        "name a namespace of the application's own",
			Check: func(m *manifest, r reporter) {
				if m.namespace == "default" {
					r.fail(fieldPath{"metadata", "namespace"}, "the object is in the namespace default")
				}
			},
		},
		{
			ID: "metadata/system-namespace", Title: "Workloads stay out of Kubernetes' own namespaces", Severity: finding.Medium, Kinds: kindPods,
			References: []string{"CIS 5.7.1", "NSA Namespaces"},
			Why:        "Policies often leave these namespaces out, and their Secrets are those of the cluster.",
			Fix:        "name a namespace of the application's own",
			Check: eachPod(func(w *workload, r reporter) {
				if system(w.namespace) && w.kind != "DaemonSet" && !strings.HasPrefix(w.spec.PriorityClassName, "system-") {
					r.base = nil
					r.fail(fieldPath{"metadata", "namespace"}, "the pods are in %s", w.namespace)
				}
			}),
		},
		{
			ID: "metadata/name-label", Title: "Workloads are labelled with their application", Severity: finding.Low, Kinds: "workloads",
			Why: "Without a label that names the application nobody selects its objects, or tells whose they are.",
			Fix: "set the label app.kubernetes.io/name",
			Check: func(m *manifest, r reporter) {
				if m.pod == nil {
					return
				}
				labels := m.pod.meta.Labels
				if !slices.ContainsFunc([]string{"app.kubernetes.io/name", "app.kubernetes.io/instance", "app", "k8s-app", "name", "job-name"}, func(l string) bool { return labels[l] != "" }) && m.kind != "Job" && m.kind != "CronJob" {
					r.fail(m.pod.at.below("metadata", "labels"), "no label of the pods names an application")
				}
			},
		},
		{
			ID: "metadata/duplicate", Title: "An object is described once", Severity: finding.Medium, Kinds: "all objects",
			Why: "The one that is applied last counts, whichever that is.",
			Fix: "remove one of them, or change its name",
			Check: func(m *manifest, r reporter) {
				if m.bare == "" || m.apiVersion == "" {
					return
				}
				own := ref{kindOf(m.apiVersion, m.kind), m.namespace, m.bare}
				s, file := m.subject, m.doc.file
				if first := r.run.known.first[own]; first != nil && first != s {
					r.later(fieldPath{"metadata", "name"}, func(*inventory) answer {
						if first.file != file {
							return unknown("they may be for different clusters", "%s is in %s, too", first.name, shorten(first.file))
						}
						return failed("the object stands in line %d, too", first.at.Line)
					})
				}
			},
		},
		{
			ID: "metadata/pod-security", Title: "Namespaces enforce a level of Pod Security", Severity: finding.Medium, Kinds: "Namespace",
			References: []string{"CIS 5.2.1", "NSA Pod security enforcement"},
			Why:        "Without the label most clusters enforce nothing: a pod may be root on its node.",
			Fix:        "label it pod-security.kubernetes.io/enforce: restricted, or baseline",
			Check: on(func(n *corev1.Namespace, r reporter) {
				switch level := n.Labels[api.EnforceLevelLabel]; {
				case system(n.Name):
				case level == "":
					r.fail(fieldPath{"metadata", "labels"}, "the Namespace enforces no level")
				case level == string(api.LevelPrivileged):
					r.fail(fieldPath{"metadata", "labels", api.EnforceLevelLabel}, "the Namespace enforces the level privileged, which is none")
				}
			}),
		},
		{
			ID: "metadata/credential", Title: "Annotations and labels hold no secrets", Severity: finding.High, Kinds: "objects of known kinds",
			Why: "Annotations are shown to everyone who may see the object, and copied by many tools.",
			Fix: "move the value to a Secret, and change it, since it is known now",
			Check: func(m *manifest, r reporter) {
				annotations := m.annotations()
				for _, key := range slices.Sorted(maps.Keys(annotations)) {
					if key != corev1.LastAppliedConfigAnnotation && holdsSecret(key[strings.LastIndex(key, "/")+1:], annotations[key]) {
						r.fail(fieldPath{"metadata", "annotations", key}, "the annotation %s holds what looks like a secret", value(key))
					}
				}
			},
		},
	}
}
