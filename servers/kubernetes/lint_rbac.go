package main

import (
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

const (
	kindRoles    = "Role, ClusterRole"
	kindBindings = "RoleBinding, ClusterRoleBinding"
)

// grants says whether a rule gives one of the verbs on a resource of a group. A wildcard gives all, but is reported by
// rules of its own, so it counts only where there is no other of the three to say it.
func grants(p rbacv1.PolicyRule, group, resource string, verbs ...string) bool {
	has := func(list []string, want string) bool {
		return slices.Contains(list, want) || slices.Contains(list, "*")
	}
	if slices.Contains(p.Resources, "*") && slices.Contains(p.Verbs, "*") {
		return false // said by rbac/wildcard-verbs and rbac/wildcard-resources
	}
	if !has(p.APIGroups, group) || len(p.ResourceNames) > 0 {
		return false
	}
	names := []string{resource, "*"}
	if parent, sub, nested := strings.Cut(resource, "/"); nested {
		names = []string{resource, "*/" + sub, parent + "/*"}
	}
	if !slices.ContainsFunc(names, func(name string) bool { return slices.Contains(p.Resources, name) }) {
		return false
	}
	return slices.ContainsFunc(verbs, func(v string) bool { return has(p.Verbs, v) })
}

// eachRule makes a check of the rules of roles.
func eachRule(check func(p rbacv1.PolicyRule, at fieldPath, r reporter)) func(*manifest, reporter) {
	return func(m *manifest, r reporter) {
		var rules []rbacv1.PolicyRule
		switch typed := m.typed.(type) {
		case *rbacv1.Role:
			rules = typed.Rules
		case *rbacv1.ClusterRole:
			rules = typed.Rules
		}
		for i, p := range rules {
			check(p, fieldPath{"rules", i}, r)
		}
	}
}

// eachBinding makes a check of bindings.
func eachBinding(check func(role rbacv1.RoleRef, subjects []rbacv1.Subject, r reporter)) func(*manifest, reporter) {
	return func(m *manifest, r reporter) {
		switch typed := m.typed.(type) {
		case *rbacv1.RoleBinding:
			check(typed.RoleRef, typed.Subjects, r)
		case *rbacv1.ClusterRoleBinding:
			check(typed.RoleRef, typed.Subjects, r)
		}
	}
}

// eachSubject makes a check of those who are bound.
func eachSubject(check func(s rbacv1.Subject, at fieldPath, r reporter)) func(*manifest, reporter) {
	return eachBinding(func(_ rbacv1.RoleRef, subjects []rbacv1.Subject, r reporter) {
		for i, s := range subjects {
			check(s, fieldPath{"subjects", i}, r)
		}
	})
}

func rbacRules() []lintRule {
	// right makes a rule about a right that is worth more than it seems.
	right := func(id, title string, severity finding.Severity, references []string, why, what, group string, resources, verbs []string) lintRule {
		return lintRule{
			ID: "rbac/" + id, Title: title, Severity: severity, Kinds: kindRoles, References: references, Why: why,
			Fix: "remove the right, or name the objects in resourceNames where that is possible",
			Check: eachRule(func(p rbacv1.PolicyRule, at fieldPath, r reporter) {
				for _, resource := range resources {
					if grants(p, group, resource, verbs...) {
						r.fail(at, "the role may %s", what)
						return
					}
				}
			}),
		}
	}
	return []lintRule{
		{
			ID: "rbac/wildcard-verbs", Title: "Roles name their verbs", Severity: finding.High, Kinds: kindRoles,
			References: []string{"kube-linter wildcard-in-rules", "CIS 5.1.3"},
			Why:        "The wildcard gives verbs that nobody thought of, such as escalate, bind and impersonate.",
			Fix:        "name the verbs that are needed",
			Check: eachRule(func(p rbacv1.PolicyRule, at fieldPath, r reporter) {
				if i := slices.Index(p.Verbs, "*"); i >= 0 {
					r.fail(at.below("verbs", i), "the role has every verb")
				}
			}),
		},
		{
			ID: "rbac/wildcard-resources", Title: "Roles name their resources", Severity: finding.High, Kinds: kindRoles,
			References: []string{"kube-linter wildcard-in-rules", "CIS 5.1.3"},
			Why:        "The wildcard gives resources that nobody thought of, Secrets and those of later custom resources among them.",
			Fix:        "name the resources that are needed",
			Check: eachRule(func(p rbacv1.PolicyRule, at fieldPath, r reporter) {
				if i := slices.Index(p.Resources, "*"); i >= 0 {
					r.fail(at.below("resources", i), "the role has every resource")
				}
			}),
		},
		{
			ID: "rbac/wildcard-groups", Title: "Roles name their API groups", Severity: finding.Medium, Kinds: kindRoles,
			References: []string{"kube-linter wildcard-in-rules", "CIS 5.1.3"},
			Why:        "The wildcard gives resources of the same name in every group, those of later custom resources among them.",
			Fix:        "name the groups; the core group is \"\"",
			Check: eachRule(func(p rbacv1.PolicyRule, at fieldPath, r reporter) {
				if i := slices.Index(p.APIGroups, "*"); i >= 0 && !slices.Contains(p.Resources, "*") {
					r.fail(at.below("apiGroups", i), "the role is for every API group")
				}
			}),
		},
		right("secrets", "Roles read no Secrets", finding.High, []string{"kube-linter access-to-secrets", "CIS 5.1.2"},
			"Who may get, list or watch Secrets reads them all; list and watch show what they hold, too.",
			"read every Secret", "", []string{"secrets"}, []string{"get", "list", "watch"}),
		right("create-pods", "Roles create no pods", finding.Medium, []string{"kube-linter access-to-create-pods", "CIS 5.1.4"},
			"Who creates a pod runs it as any service account, and mounts any Secret, of the namespace.",
			"create pods", "", []string{"pods"}, []string{"create"}),
		right("pods-exec", "Roles enter no pods", finding.High, nil,
			"Who may exec, attach or add a container has all that the pod has: its token, its Secrets, its network.",
			"run commands in pods", "", []string{"pods/exec", "pods/attach", "pods/ephemeralcontainers"}, []string{"create", "get", "update", "patch"}),
		right("nodes-proxy", "Roles reach no kubelet", finding.High, []string{"CIS 5.1.10"},
			"Through nodes/proxy one runs commands in every pod of the node, and neither audit nor admission sees it.",
			"speak to kubelets through nodes/proxy", "", []string{"nodes/proxy"}, []string{"get", "create", "update", "patch", "delete"}),
		right("token-creation", "Roles make no tokens", finding.High, []string{"CIS 5.1.13"},
			"Who makes tokens becomes any service account that they may make them for.",
			"make tokens of every service account", "", []string{"serviceaccounts/token"}, []string{"create"}),
		right("persistent-volumes", "Roles create no PersistentVolumes", finding.Medium, []string{"CIS 5.1.9"},
			"A PersistentVolume may be a path of the node, and its pods see the node's files.",
			"create PersistentVolumes", "", []string{"persistentvolumes"}, []string{"create"}),
		right("certificate-approval", "Roles approve no certificates", finding.High, []string{"CIS 5.1.11"},
			"Who approves a certificate makes a user of any name, and of any group.",
			"approve certificates", "certificates.k8s.io", []string{"certificatesigningrequests/approval"}, []string{"update", "patch"}),
		right("webhooks", "Roles change no admission webhooks", finding.High, []string{"CIS 5.1.12"},
			"A webhook sees, and may change, every object that is written, Secrets included.",
			"change admission webhooks", "admissionregistration.k8s.io",
			[]string{"validatingwebhookconfigurations", "mutatingwebhookconfigurations"}, []string{"create", "update", "patch"}),
		{
			ID: "rbac/escalation", Title: "Roles do not escalate, bind or impersonate", Severity: finding.High, Kinds: kindRoles,
			References: []string{"CIS 5.1.8"},
			Why:        "escalate and bind give rights that one does not have; impersonate makes one somebody else.",
			Fix:        "remove the verb, or name the objects in resourceNames",
			Check: eachRule(func(p rbacv1.PolicyRule, at fieldPath, r reporter) {
				for i, verb := range p.Verbs {
					if slices.Contains([]string{"escalate", "bind", "impersonate"}, verb) && len(p.ResourceNames) == 0 {
						r.fail(at.below("verbs", i), "the role may %s", verb)
					}
				}
			}),
		},
		{
			ID: "rbac/cluster-admin", Title: "Nobody is bound to cluster-admin", Severity: finding.High, Kinds: kindBindings,
			References: []string{"kube-linter cluster-admin-role-binding", "CIS 5.1.1"},
			Why:        "cluster-admin may do everything, in a RoleBinding everything in the namespace.",
			Fix:        "bind a role that has just what is needed",
			Check: eachBinding(func(role rbacv1.RoleRef, _ []rbacv1.Subject, r reporter) {
				if role.Kind == "ClusterRole" && role.Name == "cluster-admin" {
					r.fail(fieldPath{"roleRef", "name"}, "the binding gives cluster-admin")
				}
			}),
		},
		{
			ID: "rbac/masters", Title: "Nothing relies on system:masters", Severity: finding.High, Kinds: kindBindings,
			References: []string{"CIS 5.1.7"},
			Why:        "Members of system:masters may do everything whatever RBAC says, and cannot be taken out of it before their certificate ends.",
			Fix:        "bind a group of your own",
			Check: eachSubject(func(s rbacv1.Subject, at fieldPath, r reporter) {
				if s.Kind == rbacv1.GroupKind && s.Name == "system:masters" {
					r.fail(at.below("name"), "the binding gives rights to system:masters")
				}
			}),
		},
		{
			ID: "rbac/everyone", Title: "Rights are given to those who are known", Severity: finding.Critical, Kinds: kindBindings,
			Why: "The subject is everyone who reaches the API server, or every account of the cluster.",
			Fix: "bind the users, groups or service accounts that need it",
			Check: eachBinding(func(role rbacv1.RoleRef, subjects []rbacv1.Subject, r reporter) {
				if slices.Contains([]string{"system:public-info-viewer", "system:discovery", "system:basic-user", "system:service-account-issuer-discovery"}, role.Name) {
					return // Kubernetes binds these itself
				}
				for i, s := range subjects {
					if slices.Contains([]string{"system:anonymous", "system:unauthenticated", "system:authenticated", "system:serviceaccounts"}, s.Name) && s.Kind != rbacv1.ServiceAccountKind {
						r.fail(fieldPath{"subjects", i, "name"}, "the binding gives rights to %s", value(s.Name))
					}
				}
			}),
		},
		{
			ID: "rbac/default-account", Title: "The default service account has no rights", Severity: finding.Medium, Kinds: kindBindings,
			References: []string{"CIS 5.1.5"},
			Why:        "Every pod of the namespace that names no account of its own gets the rights.",
			Fix:        "make a ServiceAccount for the pods that need them",
			Check: eachSubject(func(s rbacv1.Subject, at fieldPath, r reporter) {
				if s.Kind == rbacv1.ServiceAccountKind && s.Name == "default" {
					r.fail(at.below("name"), "the binding gives rights to the default service account")
				}
			}),
		},
		{
			ID: "rbac/subject", Title: "Bindings name service accounts that exist", Severity: finding.Medium, Kinds: kindBindings,
			Why: "Whoever later makes an account of that name gets the rights.",
			Fix: "correct the name or namespace, or remove the subject",
			Check: eachSubject(func(s rbacv1.Subject, at fieldPath, r reporter) {
				if s.Kind == rbacv1.ServiceAccountKind && s.Name != "default" {
					r.later(at, func(known *inventory) answer { return known.missing("ServiceAccount", s.Namespace, s.Name, false) })
				}
			}),
		},
		{
			ID: "rbac/role", Title: "Bindings name roles that exist", Severity: finding.Medium, Kinds: kindBindings,
			Why: "Whoever later makes a role of that name decides what the subjects may do.",
			Fix: "correct the name or kind of the role",
			Check: eachBinding(func(role rbacv1.RoleRef, _ []rbacv1.Subject, r reporter) {
				namespace, kind, name := r.m.namespace, role.Kind, role.Name
				if kind == "ClusterRole" {
					namespace = ""
					if strings.HasPrefix(name, "system:") || slices.Contains([]string{"cluster-admin", "admin", "edit", "view"}, name) {
						return
					}
				}
				if kind == "Role" && (strings.HasPrefix(name, "system:") || name == "extension-apiserver-authentication-reader") && system(namespace) {
					return
				}
				r.later(fieldPath{"roleRef"}, func(known *inventory) answer { return known.missing(kind, namespace, name, false) })
			}),
		},
	}
}

// webhook is what there is to a webhook of either kind.
type webhook struct {
	at         fieldPath
	validating bool
	policy     *admissionv1.FailurePolicyType
	timeout    *int32
	selects    bool // a namespace or object selector, or a match condition, narrows it down
	client     admissionv1.WebhookClientConfig
	rules      []admissionv1.RuleWithOperations
}

func eachWebhook(check func(webhook, reporter)) func(*manifest, reporter) {
	return func(m *manifest, r reporter) {
		switch typed := m.typed.(type) {
		case *admissionv1.ValidatingWebhookConfiguration:
			for i, w := range typed.Webhooks {
				check(webhook{
					fieldPath{"webhooks", i}, true, w.FailurePolicy, w.TimeoutSeconds,
					w.NamespaceSelector != nil || w.ObjectSelector != nil || len(w.MatchConditions) > 0, w.ClientConfig, w.Rules,
				}, r)
			}
		case *admissionv1.MutatingWebhookConfiguration:
			for i, w := range typed.Webhooks {
				check(webhook{
					fieldPath{"webhooks", i}, false, w.FailurePolicy, w.TimeoutSeconds,
					w.NamespaceSelector != nil || w.ObjectSelector != nil || len(w.MatchConditions) > 0, w.ClientConfig, w.Rules,
				}, r)
			}
		}
	}
}

// matches says whether the webhook is asked about a resource of a group.
func (w webhook) matches(group, resource string) bool {
	return slices.ContainsFunc(w.rules, func(rule admissionv1.RuleWithOperations) bool {
		return (slices.Contains(rule.APIGroups, group) || slices.Contains(rule.APIGroups, "*")) &&
			(slices.Contains(rule.Resources, resource) || slices.Contains(rule.Resources, "*") || slices.Contains(rule.Resources, "*/*"))
	})
}

func webhookRules() []lintRule {
	const kinds = "ValidatingWebhookConfiguration, MutatingWebhookConfiguration"
	return []lintRule{
		{
			ID: "webhook/fails-open", Title: "Validating webhooks fail closed", Severity: finding.Medium, Kinds: "ValidatingWebhookConfiguration",
			Why: "With Ignore, whoever makes the webhook slow or unreachable goes around it.",
			Fix: "set failurePolicy: Fail, and leave out what the webhook itself needs to run",
			Check: eachWebhook(func(w webhook, r reporter) {
				if w.validating && w.policy != nil && *w.policy == admissionv1.Ignore {
					r.fail(w.at.below("failurePolicy"), "what the webhook should refuse is let in when it does not answer")
				}
			}),
		},
		{
			ID: "webhook/deadlock", Title: "Webhooks do not keep themselves from starting", Severity: finding.Medium, Kinds: kinds,
			Why: "A webhook that must be asked about its own pods cannot start again once it is down, nor can the rest of the cluster.",
			Fix: "leave its namespace and kube-system out by a namespaceSelector",
			Check: eachWebhook(func(w webhook, r reporter) {
				if (w.policy == nil || *w.policy == admissionv1.Fail) && w.client.Service != nil && !w.selects && w.matches("", "pods") {
					r.fail(w.at, "the webhook must be asked about every pod, its own included")
				}
			}),
		},
		{
			ID: "webhook/timeout", Title: "Webhooks answer within ten seconds", Severity: finding.Low, Kinds: kinds,
			Why: "Every write waits for the webhook: a slow one makes the whole cluster slow.",
			Fix: "set timeoutSeconds to 10 or less",
			Check: eachWebhook(func(w webhook, r reporter) {
				if w.timeout != nil && *w.timeout > 10 {
					r.fail(w.at.below("timeoutSeconds"), "writes wait up to %d seconds for the webhook", *w.timeout)
				}
			}),
		},
		{
			ID: "webhook/everything", Title: "Webhooks are asked about what they judge", Severity: finding.Low, Kinds: kinds,
			Why: "A webhook for every resource sees Secrets, and slows down leases, events and nodes.",
			Fix: "name the groups and resources",
			Check: eachWebhook(func(w webhook, r reporter) {
				for i, rule := range w.rules {
					if slices.Contains(rule.APIGroups, "*") && (slices.Contains(rule.Resources, "*") || slices.Contains(rule.Resources, "*/*")) && !w.selects {
						r.fail(w.at.below("rules", i), "the webhook is asked about every resource")
					}
				}
			}),
		},
		{
			ID: "webhook/service", Title: "Webhooks have a Service that exists", Severity: finding.Medium, Kinds: kinds,
			Why: "With a Service that does not exist, every write that the webhook is asked about fails, or it is never asked.",
			Fix: "correct the name or namespace of the Service",
			Check: eachWebhook(func(w webhook, r reporter) {
				if s := w.client.Service; s != nil {
					namespace, name := s.Namespace, s.Name
					r.later(w.at.below("clientConfig", "service"), func(known *inventory) answer { return known.missing("Service", namespace, name, false) })
				}
			}),
		},
	}
}
