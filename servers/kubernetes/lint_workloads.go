package main

import (
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// replicas returns how many pods a workload asks for; of a kind that does not say, one.
func replicas(typed any) int32 {
	var n *int32
	switch typed := typed.(type) {
	case *appsv1.Deployment:
		n = typed.Spec.Replicas
	case *appsv1.StatefulSet:
		n = typed.Spec.Replicas
	case *appsv1.ReplicaSet:
		n = typed.Spec.Replicas
	case *corev1.ReplicationController:
		n = typed.Spec.Replicas
	}
	if n == nil {
		return 1
	}
	return *n
}

// selectorOf returns what a workload's controller selects its pods by, if it does.
func selectorOf(typed any) (labels.Selector, bool) {
	var s *metav1.LabelSelector
	switch typed := typed.(type) {
	case *appsv1.Deployment:
		s = typed.Spec.Selector
	case *appsv1.StatefulSet:
		s = typed.Spec.Selector
	case *appsv1.ReplicaSet:
		s = typed.Spec.Selector
	case *appsv1.DaemonSet:
		s = typed.Spec.Selector
	case *corev1.ReplicationController:
		return labels.SelectorFromSet(typed.Spec.Selector), len(typed.Spec.Selector) > 0
	}
	if s == nil {
		return nil, false
	}
	return asSelector(s)
}

// system says whether a namespace is one that Kubernetes itself uses.
func system(namespace string) bool {
	return namespace == "kube-system" || namespace == "kube-public" || namespace == "kube-node-lease"
}

func workloadRules() []lintRule {
	return []lintRule{
		{
			ID: "workload/selector", Title: "Selectors select the template's pods", Severity: finding.High, Kinds: "Deployment, StatefulSet, DaemonSet, ReplicaSet, ReplicationController",
			References: []string{"kube-linter mismatching-selector"},
			Why:        "The API server refuses a controller that would not find its own pods.",
			Fix:        "give the template the labels that the selector names",
			Check: func(m *manifest, r reporter) {
				if m.pod == nil {
					return
				}
				if s, ok := selectorOf(m.typed); ok && !s.Matches(labels.Set(m.pod.meta.Labels)) {
					r.fail(fieldPath{"spec", "selector"}, "the selector does not select the pods of the template")
				}
			},
		},
		{
			ID: "workload/restart-policy", Title: "Restart policies fit the kind", Severity: finding.High, Kinds: "workloads",
			Why: "The API server refuses a Job that restarts always, and any other controller that does not.",
			Fix: "set restartPolicy to OnFailure or Never for a Job, and remove it elsewhere",
			Check: eachPod(func(w *workload, r reporter) {
				policy := w.spec.RestartPolicy
				always := policy == "" || policy == corev1.RestartPolicyAlways
				switch w.kind {
				case "Pod", "PodTemplate":
				case "Job", "CronJob":
					if always {
						r.fail(fieldPath{"spec", "restartPolicy"}, "the pods of a %s would be restarted always", w.kind)
					}
				default:
					if !always {
						r.fail(fieldPath{"spec", "restartPolicy"}, "the pods of a %s would not be restarted", w.kind)
					}
				}
			}),
		},
		{
			ID: "workload/bare-pod", Title: "Pods belong to a controller", Severity: finding.Low, Kinds: "Pod",
			Why: "Nothing makes a bare Pod anew when its node fails or is drained.",
			Fix: "use a Deployment, or a Job if it ends by itself",
			Check: on(func(p *corev1.Pod, r reporter) {
				if len(p.OwnerReferences) == 0 && p.Annotations[corev1.MirrorPodAnnotationKey] == "" {
					r.fail(nil, "no controller makes the Pod anew")
				}
			}),
		},
		{
			ID: "workload/bare-replica-set", Title: "Replicas belong to a Deployment", Severity: finding.Low, Kinds: "ReplicaSet, ReplicationController",
			Why: "A change of its template changes no running pod.",
			Fix: "use a Deployment",
			Check: func(m *manifest, r reporter) {
				var owners []metav1.OwnerReference
				switch typed := m.typed.(type) {
				case *appsv1.ReplicaSet:
					owners = typed.OwnerReferences
				case *corev1.ReplicationController:
					owners = typed.OwnerReferences
				default:
					return
				}
				if len(owners) == 0 {
					r.fail(nil, "no Deployment rolls out changes of the %s", m.kind)
				}
			},
		},
		{
			ID: "workload/node-name", Title: "The scheduler chooses the node", Severity: finding.Medium, Kinds: kindPods,
			Why: "A pod with a nodeName goes around the scheduler, and with it around taints and resources, and stays on a node that is gone.",
			Fix: "use nodeSelector or affinity",
			Check: eachPod(func(w *workload, r reporter) {
				if w.spec.NodeName != "" && (w.kind != "Pod" || !live(w.meta)) {
					r.fail(fieldPath{"spec", "nodeName"}, "the pod is put on the node %s", value(w.spec.NodeName))
				}
			}),
		},
		{
			ID: "workload/tolerates-all", Title: "Only DaemonSets tolerate every taint", Severity: finding.Medium, Kinds: "pods but those of DaemonSets",
			References: []string{"NSA Worker node segmentation"},
			Why:        "The pod may land on the control plane, and stays on nodes that fail.",
			Fix:        "name the key of each taint that it must tolerate",
			Check: eachPod(func(w *workload, r reporter) {
				for i, t := range w.spec.Tolerations {
					if w.kind != "DaemonSet" && !live(w.meta) && t.Key == "" && t.Operator == corev1.TolerationOpExists && t.Effect != corev1.TaintEffectPreferNoSchedule {
						r.fail(fieldPath{"spec", "tolerations", i}, "the pod tolerates every taint")
					}
				}
			}),
		},
		{
			ID: "workload/control-plane", Title: "Workloads stay off the control plane", Severity: finding.Medium, Kinds: "pods but those of DaemonSets and of kube-system",
			References: []string{"NSA Worker node segmentation"},
			Why:        "On a node of the control plane, who breaks out of the pod has the cluster's keys.",
			Fix:        "remove the toleration",
			Check: eachPod(func(w *workload, r reporter) {
				for i, t := range w.spec.Tolerations {
					if w.kind != "DaemonSet" && !system(w.namespace) && (t.Key == "node-role.kubernetes.io/control-plane" || t.Key == "node-role.kubernetes.io/master") {
						r.fail(fieldPath{"spec", "tolerations", i, "key"}, "the pod may run on nodes of the control plane")
					}
				}
			}),
		},
		{
			ID: "workload/system-priority", Title: "Priorities of the system are for the system", Severity: finding.Medium, Kinds: "pods but those of kube-system",
			Why: "A pod with such a priority evicts others, and is left alone when the node is full.",
			Fix: "make a PriorityClass of your own",
			Check: eachPod(func(w *workload, r reporter) {
				if strings.HasPrefix(w.spec.PriorityClassName, "system-") && w.namespace != "kube-system" {
					r.fail(fieldPath{"spec", "priorityClassName"}, "the pod has the priority %s", value(w.spec.PriorityClassName))
				}
			}),
		},
		{
			ID: "workload/host-network-dns", Title: "Pods in the node's network find Services", Severity: finding.Low, Kinds: "pods but those of kube-system",
			Why: "With hostNetwork and the default dnsPolicy a pod asks the node's resolver, which knows no Services.",
			Fix: "set dnsPolicy: ClusterFirstWithHostNet",
			Check: eachPod(func(w *workload, r reporter) {
				if w.spec.HostNetwork && !system(w.namespace) && (w.spec.DNSPolicy == "" || w.spec.DNSPolicy == corev1.DNSClusterFirst) {
					r.fail(fieldPath{"spec", "dnsPolicy"}, "the pod is in the node's network, and asks the node's resolver")
				}
			}),
		},
		{
			ID: "workload/no-grace", Title: "Pods get time to end", Severity: finding.Medium, Kinds: kindPods,
			Why: "With no time to end, requests are cut off, data stay unwritten, and a StatefulSet may have the same pod twice.",
			Fix: "set terminationGracePeriodSeconds to what a clean end takes",
			Check: eachPod(func(w *workload, r reporter) {
				if g := w.spec.TerminationGracePeriodSeconds; g != nil && *g == 0 {
					r.fail(fieldPath{"spec", "terminationGracePeriodSeconds"}, "the pod is killed without a warning")
				}
			}),
		},
		{
			ID: "workload/shared-claim", Title: "Replicas share only volumes that can be shared", Severity: finding.Medium, Kinds: "Deployment",
			Why: "A volume that one node can mount keeps the other replicas, and every rolling update, waiting.",
			Fix: "use a StatefulSet with volumeClaimTemplates, or a ReadWriteMany volume",
			Check: func(m *manifest, r reporter) {
				if m.kind != "Deployment" || m.pod == nil || replicas(m.typed) < 2 {
					return
				}
				namespace := m.namespace
				for i, v := range m.pod.spec.Volumes {
					if v.PersistentVolumeClaim == nil {
						continue
					}
					name := v.PersistentVolumeClaim.ClaimName
					r.later(m.pod.at.below("spec", "volumes", i, "persistentVolumeClaim"), func(known *inventory) answer {
						if own, ok := known.closest("PersistentVolumeClaim", namespace, name); ok && known.claims[own] {
							return failed("several replicas use the claim %s, which one node can mount", value(name))
						}
						return answer{}
					})
				}
			},
		},
	}
}

// live says whether the object was read from a cluster, where others have set some fields.
func live(m *metav1.ObjectMeta) bool { return m.UID != "" }

func availabilityRules() []lintRule {
	return []lintRule{
		{
			ID: "availability/replicas", Title: "Deployments have more than one replica", Severity: finding.Low, Kinds: "Deployment",
			References: []string{"kube-linter minimum-three-replicas"},
			Why:        "The only pod is gone whenever its node is drained or fails.",
			Fix:        "set replicas to 2 or more; set strategy.type: Recreate if there must never be two",
			Check: on(func(d *appsv1.Deployment, r reporter) {
				if replicas(d) != 1 || d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
					return
				}
				namespace, name := r.m.namespace, r.m.bare
				r.later(fieldPath{"spec", "replicas"}, func(known *inventory) answer {
					if len(known.scaled[ref{"Deployment", namespace, name}]) > 0 {
						return answer{}
					}
					return failed("the Deployment has one replica")
				})
			}),
		},
		{
			ID: "availability/spread", Title: "Replicas are spread over nodes", Severity: finding.Low, Kinds: "Deployment, StatefulSet",
			References: []string{"kube-linter no-anti-affinity"},
			Why:        "Replicas on one node go down together.",
			Fix:        "set topologySpreadConstraints or podAntiAffinity",
			Check: func(m *manifest, r reporter) {
				if m.pod == nil || m.kind != "Deployment" && m.kind != "StatefulSet" || replicas(m.typed) < 2 {
					return
				}
				spec := m.pod.spec
				if len(spec.TopologySpreadConstraints) == 0 && (spec.Affinity == nil || spec.Affinity.PodAntiAffinity == nil) {
					r.fail(m.pod.at.below("spec"), "nothing spreads the %d replicas over nodes", replicas(m.typed))
				}
			},
		},
		{
			ID: "availability/update-strategy", Title: "Updates roll out by themselves, pod after pod", Severity: finding.Low, Kinds: "Deployment, StatefulSet, DaemonSet",
			References: []string{"kube-linter no-rolling-update-strategy"},
			Why:        "Recreate ends all replicas before the first new one; OnDelete leaves the old ones, with their holes, until somebody deletes them.",
			Fix:        "use RollingUpdate, with some replicas always left",
			Check: func(m *manifest, r reporter) {
				at := fieldPath{"spec", "updateStrategy", "type"}
				switch typed := m.typed.(type) {
				case *appsv1.Deployment:
					all := typed.Spec.Strategy.RollingUpdate
					switch {
					case typed.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType && replicas(typed) > 1:
						r.fail(fieldPath{"spec", "strategy", "type"}, "an update ends all %d replicas at once", replicas(typed))
					case all != nil && all.MaxUnavailable != nil && all.MaxUnavailable.String() == "100%":
						r.fail(fieldPath{"spec", "strategy", "rollingUpdate", "maxUnavailable"}, "an update may end all replicas at once")
					}
				case *appsv1.StatefulSet:
					if typed.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType {
						r.fail(at, "an update waits until somebody deletes the pods")
					}
				case *appsv1.DaemonSet:
					if typed.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType {
						r.fail(at, "an update waits until somebody deletes the pods")
					}
				}
			},
		},
		{
			ID: "availability/budget", Title: "Replicas have a disruption budget", Severity: finding.Low, Kinds: "Deployment, StatefulSet",
			Why: "Without one, a drain of several nodes may end all replicas at once.",
			Fix: "add a PodDisruptionBudget with maxUnavailable: 1 that selects the pods",
			Check: func(m *manifest, r reporter) {
				if m.pod == nil || m.kind != "Deployment" && m.kind != "StatefulSet" || replicas(m.typed) < 2 {
					return
				}
				namespace, s := m.namespace, m.subject
				r.later(nil, func(known *inventory) answer {
					p := known.podsOf(s)
					switch {
					case p == nil || len(p.budgets) > 0:
						return answer{}
					case p.unsure:
						return unknown("there are too many pods and selectors to compare", "not judged")
					case len(known.budgets) > 0 && (known.kinds[ref{kind: "PodDisruptionBudget", namespace: namespace}] > 0):
						return failed("no PodDisruptionBudget of the inputs selects the pods")
					default:
						return unknown("it may be in the cluster", "no PodDisruptionBudget of the inputs selects the pods")
					}
				})
			},
		},
		{
			ID: "availability/budget-selects", Title: "Disruption budgets select pods", Severity: finding.Medium, Kinds: "PodDisruptionBudget",
			Why: "A budget that selects nothing guards nothing.",
			Fix: "select labels that the pods have",
			Check: onBudget(func(_ *policyv1.PodDisruptionBudget, s labels.Selector, r reporter) {
				namespace := r.m.namespace
				r.later(fieldPath{"spec", "selector"}, func(known *inventory) answer { return known.selectsNothing(namespace, s) })
			}),
		},
		{
			ID: "availability/budget-blocks", Title: "Disruption budgets let some pod go", Severity: finding.Medium, Kinds: "PodDisruptionBudget",
			References: []string{"kube-linter pdb-max-unavailable", "kube-linter pdb-min-available"},
			Why:        "A budget that no eviction fits into keeps every node with such a pod from being drained, and so from being patched.",
			Fix:        "use maxUnavailable: 1, and more than one replica",
			Check: onBudget(func(b *policyv1.PodDisruptionBudget, s labels.Selector, r reporter) {
				least, most := b.Spec.MinAvailable, b.Spec.MaxUnavailable
				switch {
				case most != nil && (most.String() == "0" || most.String() == "0%"):
					r.fail(fieldPath{"spec", "maxUnavailable"}, "no pod may ever be evicted")
				case least != nil && least.String() == "100%":
					r.fail(fieldPath{"spec", "minAvailable"}, "no pod may ever be evicted")
				case least != nil && least.Type == intstr.Int && least.IntVal > 0:
					namespace, need := r.m.namespace, least.IntVal
					r.later(fieldPath{"spec", "minAvailable"}, func(known *inventory) answer { return known.tight(namespace, s, need) })
				}
			}),
		},
		{
			ID: "availability/budget-unhealthy", Title: "Disruption budgets let pods go that are not ready", Severity: finding.Low, Kinds: "PodDisruptionBudget",
			References: []string{"kube-linter pdb-unhealthy-pod-eviction-policy"},
			Why:        "By default pods that never get ready count, and keep their node from being drained.",
			Fix:        "set unhealthyPodEvictionPolicy: AlwaysAllow",
			Check: onBudget(func(b *policyv1.PodDisruptionBudget, _ labels.Selector, r reporter) {
				if p := b.Spec.UnhealthyPodEvictionPolicy; p == nil || *p != policyv1.AlwaysAllow {
					r.fail(fieldPath{"spec", "unhealthyPodEvictionPolicy"}, "pods that are not ready may not be evicted")
				}
			}),
		},
		{
			ID: "availability/one-budget", Title: "Pods have one disruption budget", Severity: finding.Medium, Kinds: "pods",
			Why: "A pod with two budgets cannot be evicted at all.",
			Fix: "select disjoint pods, or join the budgets",
			Check: eachPod(func(_ *workload, r reporter) {
				s := r.m.subject
				r.later(fieldPath{"metadata", "labels"}, func(known *inventory) answer {
					if p := known.podsOf(s); p != nil && len(p.budgets) > 1 {
						return failed("both %s and %s select the pods", p.budgets[0].name, p.budgets[1].name)
					}
					return answer{}
				})
			}),
		},
		{
			ID: "availability/autoscaler-minimum", Title: "Autoscalers keep more than one replica", Severity: finding.Low, Kinds: "HorizontalPodAutoscaler",
			References: []string{"kube-linter hpa-minimum-three-replicas"},
			Why:        "The only pod is gone whenever its node is drained or fails.",
			Fix:        "set minReplicas to 2 or more",
			Check: onScaler(func(s scaler, r reporter) {
				if s.least < 2 {
					r.fail(fieldPath{"spec", "minReplicas"}, "the autoscaler goes down to %d", s.least)
				}
			}),
		},
		{
			ID: "availability/autoscaler-range", Title: "Autoscalers have room to scale", Severity: finding.Medium, Kinds: "HorizontalPodAutoscaler",
			Why: "With as many replicas at most as at least it scales nothing; with fewer, the API server refuses it.",
			Fix: "set maxReplicas above minReplicas",
			Check: onScaler(func(s scaler, r reporter) {
				if s.most <= s.least {
					r.fail(fieldPath{"spec", "maxReplicas"}, "the autoscaler scales from %d to %d", s.least, s.most)
				}
			}),
		},
		{
			ID: "availability/autoscaler-conflict", Title: "Replicas are set by one authority", Severity: finding.Medium, Kinds: "HorizontalPodAutoscaler",
			Why: "Each deployment resets the number that the autoscaler has found, and two autoscalers undo each other's.",
			Fix: "remove replicas from the workload, and keep one autoscaler",
			Check: onScaler(func(s scaler, r reporter) {
				namespace, own := r.m.namespace, r.m.subject
				target := ref{s.target.Kind, namespace, s.target.Name}
				r.later(fieldPath{"spec", "scaleTargetRef"}, func(known *inventory) answer {
					if all := known.scaled[target]; len(all) > 0 && all[0].name != own.name {
						return failed("%s scales the same already", all[0].name)
					}
					if known.counted[target] {
						return failed("the %s %s sets replicas itself", target.kind, value(target.name))
					}
					return answer{}
				})
			}),
		},
		{
			ID: "availability/autoscaler-request", Title: "Autoscaled containers request what is measured", Severity: finding.Medium, Kinds: "HorizontalPodAutoscaler",
			Why: "Utilization is a share of the request: without one, the autoscaler measures nothing.",
			Fix: "set the request in each container, or use an AverageValue",
			Check: onScaler(func(s scaler, r reporter) {
				namespace := r.m.namespace
				target := ref{s.target.Kind, namespace, s.target.Name}
				for _, name := range s.shares {
					r.later(fieldPath{"spec"}, func(known *inventory) answer {
						own, ok := known.closest(target.kind, namespace, target.name)
						if !ok {
							return answer{}
						}
						p := known.podsOf(known.first[own])
						if p == nil || p.requests[name] || known.limits[namespace]["requests."+name] {
							return answer{}
						}
						return failed("it scales by a share of %s, which not every container of %s requests", value(name), known.first[own].name)
					})
				}
			}),
		},
	}
}

func onBudget(check func(*policyv1.PodDisruptionBudget, labels.Selector, reporter)) func(*manifest, reporter) {
	return on(func(b *policyv1.PodDisruptionBudget, r reporter) {
		if s, ok := asSelector(b.Spec.Selector); ok {
			check(b, s, r)
		}
	})
}

// scaler is what there is to a HorizontalPodAutoscaler of either version.
type scaler struct {
	target      autoscalingv2.CrossVersionObjectReference
	least, most int32
	shares      []corev1.ResourceName // what it measures as a share of the request, of whole pods
}

func scalerOf(typed any) (scaler, bool) {
	least := func(n *int32) int32 {
		if n == nil {
			return 1
		}
		return *n
	}
	switch h := typed.(type) {
	case *autoscalingv1.HorizontalPodAutoscaler:
		s := scaler{target: autoscalingv2.CrossVersionObjectReference(h.Spec.ScaleTargetRef), least: least(h.Spec.MinReplicas), most: h.Spec.MaxReplicas}
		s.shares = []corev1.ResourceName{corev1.ResourceCPU}
		return s, true
	case *autoscalingv2.HorizontalPodAutoscaler:
		s := scaler{target: h.Spec.ScaleTargetRef, least: least(h.Spec.MinReplicas), most: h.Spec.MaxReplicas}
		if len(h.Spec.Metrics) == 0 {
			s.shares = []corev1.ResourceName{corev1.ResourceCPU}
		}
		for _, m := range h.Spec.Metrics {
			if m.Resource != nil && m.Resource.Target.Type == autoscalingv2.UtilizationMetricType && !slices.Contains(s.shares, m.Resource.Name) {
				s.shares = append(s.shares, m.Resource.Name)
			}
		}
		return s, true
	default:
		return scaler{}, false
	}
}

func onScaler(check func(scaler, reporter)) func(*manifest, reporter) {
	return func(m *manifest, r reporter) {
		if s, ok := scalerOf(m.typed); ok {
			check(s, r)
		}
	}
}

func jobRules() []lintRule {
	return []lintRule{
		{
			ID: "job/ttl", Title: "Finished Jobs go away", Severity: finding.Low, Kinds: "Job",
			References: []string{"kube-linter job-ttl-seconds-after-finished"},
			Why:        "A Job that nothing removes stays with its pods, and loads the API server, for ever.",
			Fix:        "set ttlSecondsAfterFinished",
			Check: on(func(j *batchv1.Job, r reporter) {
				if j.Spec.TTLSecondsAfterFinished == nil && len(j.OwnerReferences) == 0 && j.Annotations["helm.sh/hook-delete-policy"] == "" {
					r.fail(fieldPath{"spec", "ttlSecondsAfterFinished"}, "nothing removes the Job when it is finished")
				}
			}),
		},
		{
			ID: "job/overlap", Title: "CronJobs do not overlap", Severity: finding.Low, Kinds: "CronJob",
			Why: "A run that takes long meets the next one, and the one after, until the cluster is full of them.",
			Fix: "set concurrencyPolicy to Forbid or Replace",
			Check: on(func(c *batchv1.CronJob, r reporter) {
				if c.Spec.ConcurrencyPolicy == "" || c.Spec.ConcurrencyPolicy == batchv1.AllowConcurrent {
					r.fail(fieldPath{"spec", "concurrencyPolicy"}, "runs may overlap")
				}
			}),
		},
		{
			ID: "job/history", Title: "CronJobs keep what failed", Severity: finding.Low, Kinds: "CronJob",
			Why: "Without a failed Job nobody sees that, or why, it failed.",
			Fix: "remove failedJobsHistoryLimit, or set it to 1 or more",
			Check: on(func(c *batchv1.CronJob, r reporter) {
				if n := c.Spec.FailedJobsHistoryLimit; n != nil && *n == 0 {
					r.fail(fieldPath{"spec", "failedJobsHistoryLimit"}, "failed Jobs are removed at once")
				}
			}),
		},
		{
			ID: "job/time-zone", Title: "CronJobs state their time zone in its field", Severity: finding.Medium, Kinds: "CronJob",
			Why: "Kubernetes refuses TZ and CRON_TZ in a schedule.",
			Fix: "set spec.timeZone",
			Check: on(func(c *batchv1.CronJob, r reporter) {
				if strings.Contains(c.Spec.Schedule, "TZ=") {
					r.fail(fieldPath{"spec", "schedule"}, "the schedule names a time zone")
				}
			}),
		},
		{
			ID: "job/deadline", Title: "Jobs have a deadline", Severity: finding.Low, Kinds: "Job, CronJob",
			Why: "A Job that hangs keeps its resources, and with Forbid it keeps every later run from starting.",
			Fix: "set activeDeadlineSeconds",
			Check: func(m *manifest, r reporter) {
				at := fieldPath{"spec", "activeDeadlineSeconds"}
				var spec *batchv1.JobSpec
				switch typed := m.typed.(type) {
				case *batchv1.Job:
					spec = &typed.Spec
				case *batchv1.CronJob:
					spec, at = &typed.Spec.JobTemplate.Spec, fieldPath{"spec", "jobTemplate", "spec", "activeDeadlineSeconds"}
				default:
					return
				}
				if spec.ActiveDeadlineSeconds == nil && spec.Template.Spec.ActiveDeadlineSeconds == nil {
					r.fail(at, "nothing ends the Job when it hangs")
				}
			},
		},
	}
}
