package main

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

func serviceRules() []lintRule {
	return []lintRule{
		{
			ID: "service/load-balancer", Title: "Load balancers are open to those who need them", Severity: finding.Medium, Kinds: "Service",
			References: []string{"kube-linter exposed-services"},
			Why:        "A Service of the type LoadBalancer is on the internet with most providers, past the Ingress and what guards it.",
			Fix:        "set loadBalancerSourceRanges, make it internal by the provider's annotation, or use a ClusterIP behind an Ingress",
			Check: on(func(s *corev1.Service, r reporter) {
				if s.Spec.Type == corev1.ServiceTypeLoadBalancer && !internal(s) && (len(s.Spec.LoadBalancerSourceRanges) == 0 || slices.ContainsFunc(s.Spec.LoadBalancerSourceRanges, everyone)) {
					r.fail(fieldPath{"spec", "type"}, "the Service is exposed by a load balancer, to everyone")
				}
			}),
		},
		{
			ID: "service/node-port", Title: "Services open no ports of the nodes", Severity: finding.Low, Kinds: "Service",
			References: []string{"kube-linter exposed-services"},
			Why:        "The port is open on every node, to whoever reaches one, past the Ingress and what guards it.",
			Fix:        "use a ClusterIP behind an Ingress",
			Check: on(func(s *corev1.Service, r reporter) {
				if s.Spec.Type == corev1.ServiceTypeNodePort {
					r.fail(fieldPath{"spec", "type"}, "the Service opens a port of every node")
				}
			}),
		},
		{
			ID: "service/external-ips", Title: "Services claim no external addresses", Severity: finding.High, Kinds: "Service",
			References: []string{"CVE-2020-8554"},
			Why:        "The nodes send what goes to these addresses to the Service, whoever they belong to.",
			Fix:        "remove externalIPs, and use a load balancer",
			Check: on(func(s *corev1.Service, r reporter) {
				if len(s.Spec.ExternalIPs) > 0 {
					r.fail(fieldPath{"spec", "externalIPs"}, "the Service claims external addresses")
				}
			}),
		},
		{
			ID: "service/ssh-port", Title: "Services serve no SSH", Severity: finding.Medium, Kinds: "Service",
			Why: "A shell by SSH goes around the API server: nobody sees who was there, and its keys are nobody's.",
			Fix: "remove the port, and use kubectl exec or kubectl debug",
			Check: on(func(s *corev1.Service, r reporter) {
				for i, p := range s.Spec.Ports {
					if p.Protocol != corev1.ProtocolUDP && (p.Port == sshPort || p.TargetPort.IntVal == sshPort) {
						r.fail(fieldPath{"spec", "ports", i}, "the Service serves the port of SSH, %d", sshPort)
					}
				}
			}),
		},
		{
			ID: "service/selects", Title: "Services select pods", Severity: finding.Medium, Kinds: "Service",
			References: []string{"kube-linter dangling-service"},
			Why:        "A Service that selects nothing answers nobody.",
			Fix:        "select labels that the pods have",
			Check: on(func(s *corev1.Service, r reporter) {
				if len(s.Spec.Selector) > 0 && s.Spec.Type != corev1.ServiceTypeExternalName {
					namespace, chosen := r.m.namespace, exactly(s.Spec.Selector)
					r.later(fieldPath{"spec", "selector"}, func(known *inventory) answer { return known.selectsNothing(namespace, chosen) })
				}
			}),
		},
		{
			ID: "service/target-port", Title: "Services send to ports that the pods name", Severity: finding.High, Kinds: "Service",
			Why: "A pod without a port of that name gets nothing of the Service.",
			Fix: "name one of the pods' ports, or give the number",
			Check: on(func(s *corev1.Service, r reporter) {
				if len(s.Spec.Selector) == 0 {
					return
				}
				namespace, chosen := r.m.namespace, exactly(s.Spec.Selector)
				for i, p := range s.Spec.Ports {
					if p.TargetPort.Type != intstr.String {
						continue
					}
					name := p.TargetPort.StrVal
					r.later(fieldPath{"spec", "ports", i, "targetPort"}, func(known *inventory) answer {
						ports, whole := known.portsOf(namespace, chosen)
						if !whole || ports == nil || ports[name] {
							return answer{}
						}
						return failed("none of the selected pods has a port %s", value(name))
					})
				}
			}),
		},
	}
}

// internal says whether a provider's annotation keeps the load balancer inside.
func internal(s *corev1.Service) bool {
	for key, text := range s.Annotations {
		switch key {
		case "service.beta.kubernetes.io/azure-load-balancer-internal", "service.beta.kubernetes.io/aws-load-balancer-internal":
			if text == "true" || text == "0.0.0.0/0" {
				return true
			}
		case "service.beta.kubernetes.io/aws-load-balancer-scheme":
			if text == "internal" {
				return true
			}
		case "networking.gke.io/load-balancer-type", "cloud.google.com/load-balancer-type":
			if strings.EqualFold(text, "Internal") {
				return true
			}
		case "service.beta.kubernetes.io/oci-load-balancer-internal", "service.beta.kubernetes.io/openstack-internal-load-balancer":
			if text == "true" {
				return true
			}
		}
	}
	return false
}

// everyone says whether a block of addresses is all there are.
func everyone(block string) bool {
	p, err := netip.ParsePrefix(strings.TrimSpace(block))
	return err == nil && p.Bits() == 0
}

func ingressRules() []lintRule {
	return []lintRule{
		{
			ID: "ingress/tls", Title: "Ingresses use TLS for every host", Severity: finding.Medium, Kinds: "Ingress",
			Why: "Without TLS, whoever is on the way reads and changes what goes to and fro.",
			Fix: "name the host in spec.tls, with the Secret of its certificate",
			Check: on(func(g *networkingv1.Ingress, r reporter) {
				if !behindController(g) {
					return
				}
				if len(g.Spec.TLS) == 0 {
					r.fail(fieldPath{"spec"}, "the Ingress has no TLS")
					return
				}
				certified := map[string]bool{}
				for _, t := range g.Spec.TLS {
					certified["*"] = certified["*"] || len(t.Hosts) == 0
					for _, host := range t.Hosts {
						certified[host] = true
					}
				}
				for i, rule := range g.Spec.Rules {
					_, domain, _ := strings.Cut(rule.Host, ".")
					if rule.Host != "" && !certified["*"] && !certified[rule.Host] && !certified["*."+domain] {
						r.fail(fieldPath{"spec", "rules", i, "host"}, "no TLS is for the host %s", value(rule.Host))
					}
				}
			}),
		},
		{
			ID: "ingress/wildcard-host", Title: "Ingresses name their hosts", Severity: finding.Low, Kinds: "Ingress",
			Why: "A rule for any host, or a wildcard, takes requests that are meant for others.",
			Fix: "name the host",
			Check: on(func(g *networkingv1.Ingress, r reporter) {
				for i, rule := range g.Spec.Rules {
					if rule.Host == "" || strings.HasPrefix(rule.Host, "*") {
						r.fail(fieldPath{"spec", "rules", i, "host"}, "the rule is for %s", map[bool]string{true: "any host", false: "every host of a domain"}[rule.Host == ""])
					}
				}
			}),
		},
		{
			ID: "ingress/class", Title: "Ingresses name their class in its field", Severity: finding.Low, Kinds: "Ingress",
			Why: "The annotation is deprecated; without a class it depends on the cluster whether any controller takes the Ingress, or several do.",
			Fix: "set spec.ingressClassName",
			Check: on(func(g *networkingv1.Ingress, r reporter) {
				_, old := g.Annotations["kubernetes.io/ingress.class"]
				switch {
				case g.Spec.IngressClassName != nil:
				case old:
					r.fail(fieldPath{"metadata", "annotations", "kubernetes.io/ingress.class"}, "the class is named by a deprecated annotation")
				default:
					r.fail(fieldPath{"spec", "ingressClassName"}, "the Ingress names no class")
				}
			}),
		},
		{
			ID: "ingress/snippet", Title: "Ingresses carry no configuration of the proxy", Severity: finding.High, Kinds: "Ingress",
			References: []string{"CVE-2021-25742"},
			Why:        "A snippet goes into the proxy's configuration as it is, and can read the controller's token and so every Secret.",
			Fix:        "remove the annotation; use what the controller has annotations of its own for",
			Check: on(func(g *networkingv1.Ingress, r reporter) {
				for key := range g.Annotations {
					if name, ok := strings.CutPrefix(key, "nginx.ingress.kubernetes.io/"); ok && strings.HasSuffix(name, "-snippet") {
						r.fail(fieldPath{"metadata", "annotations", key}, "the annotation %s is configuration of the proxy", value(key))
					}
				}
			}),
		},
		{
			ID: "ingress/conflict", Title: "A path of a host has one Ingress", Severity: finding.Medium, Kinds: "Ingress",
			Why: "Which of two gets the requests is for the controller to choose, and changes.",
			Fix: "remove one of them, or change its path",
			Check: on(func(g *networkingv1.Ingress, r reporter) {
				if sharesPaths(g) {
					return
				}
				own := r.m.subject
				for i, rule := range g.Spec.Rules {
					if rule.HTTP == nil {
						continue
					}
					for j, p := range rule.HTTP.Paths {
						at := routeOf(g, r.m.namespace, rule.Host, p.Path)
						r.later(fieldPath{"spec", "rules", i, "http", "paths", j}, func(known *inventory) answer {
							if first := known.routes[at]; first != nil && first.name != own.name {
								return failed("%s has the path, too", first.name)
							}
							return answer{}
						})
					}
				}
			}),
		},
		{
			ID: "ingress/backend", Title: "Ingresses lead to Services that exist", Severity: finding.Medium, Kinds: "Ingress",
			References: []string{"kube-linter dangling-ingress"},
			Why:        "A request for a Service or port that does not exist ends with an error.",
			Fix:        "name a Service of the namespace, and one of its ports",
			Check: on(func(g *networkingv1.Ingress, r reporter) {
				backend := func(b *networkingv1.IngressServiceBackend, at fieldPath) {
					if b == nil || b.Port.Name == "use-annotation" { // a controller's action, which is no Service
						return
					}
					namespace, name, port := r.m.namespace, b.Name, b.Port
					r.later(at, func(known *inventory) answer {
						if a := known.missing("Service", namespace, name, true); a.verdict != "" {
							return a
						}
						own, ok := known.closest("Service", namespace, name)
						switch {
						case !ok, known.ports[own][servicePort{port.Name, port.Number}]:
							return answer{}
						case port.Name != "":
							return failed("the Service %s has no port %s", value(name), value(port.Name))
						case port.Number != 0:
							return failed("the Service %s has no port %d", value(name), port.Number)
						default:
							return answer{}
						}
					})
				}
				if b := g.Spec.DefaultBackend; b != nil {
					backend(b.Service, fieldPath{"spec", "defaultBackend", "service"})
				}
				for i, rule := range g.Spec.Rules {
					if rule.HTTP == nil {
						continue
					}
					for j, p := range rule.HTTP.Paths {
						backend(p.Backend.Service, fieldPath{"spec", "rules", i, "http", "paths", j, "backend", "service"})
					}
				}
			}),
		},
	}
}

// behindController says whether the Ingress itself says whether it uses TLS: with AWS's and Google's controllers
// annotations may.
func behindController(g *networkingv1.Ingress) bool {
	for _, key := range []string{"alb.ingress.kubernetes.io/certificate-arn", "ingress.gcp.kubernetes.io/pre-shared-cert", "networking.gke.io/managed-certificates"} {
		if g.Annotations[key] != "" {
			return false
		}
	}
	return true
}

// sharesPaths says whether the Ingress is to share the paths of another.
func sharesPaths(g *networkingv1.Ingress) bool {
	return g.Annotations["nginx.ingress.kubernetes.io/canary"] == "true"
}

// routeOf names what a path of an Ingress is.
func routeOf(g *networkingv1.Ingress, namespace, host, path string) route {
	class := g.Annotations["kubernetes.io/ingress.class"]
	if g.Spec.IngressClassName != nil {
		class = *g.Spec.IngressClassName
	}
	if path == "" {
		path = "/"
	}
	if host == "" {
		return route{namespace, class, host, path} // many are for any host, each for a cluster of its own
	}
	return route{"", class, host, path}
}

func networkRules() []lintRule {
	// open reports a rule of a policy that is for every peer and port.
	open := func(at fieldPath, field string, peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort, r reporter) {
		if len(ports) > 0 {
			return
		}
		if len(peers) == 0 {
			r.fail(at, "the policy is open %s every peer, at every port", field)
		}
		if i := slices.IndexFunc(peers, openBlock); i >= 0 {
			r.fail(at.below(field, i, "ipBlock", "cidr"), "the policy is open %s every address, at every port", field)
		}
	}
	return []lintRule{
		{
			ID: "network/isolated", Title: "Network policies are for every pod", Severity: finding.Low, Kinds: kindPods,
			References: []string{"kube-linter non-isolated-pod", "CIS 5.3.2", "NSA Network policies"},
			Why:        "A pod that no policy selects is reached by every other pod, and reaches everything.",
			Fix:        "add a NetworkPolicy that selects the pods, and allows what they need",
			Check: eachPod(func(w *workload, r reporter) {
				if w.spec.HostNetwork {
					return // policies do not apply to it
				}
				s, namespace := r.m.subject, r.m.namespace
				r.later(fieldPath{"metadata", "labels"}, func(known *inventory) answer {
					p := known.podsOf(s)
					switch {
					case p == nil || p.isolated:
						return answer{}
					case p.unsure:
						return unknown("there are too many pods and selectors to compare", "not judged")
					case known.kinds[ref{kind: "NetworkPolicy", namespace: namespace}] > 0:
						return failed("no NetworkPolicy of the inputs selects the pods")
					default:
						return unknown("it may be in the cluster", "no NetworkPolicy of the inputs selects the pods")
					}
				})
			}),
		},
		{
			ID: "network/default-deny", Title: "Namespaces deny traffic by default", Severity: finding.Low, Kinds: "Namespace",
			References: []string{"CIS 5.3.2", "NSA Network policies"},
			Why:        "Where nothing is denied by default, a new pod is open until somebody thinks of a policy for it.",
			Fix:        "add a NetworkPolicy with podSelector: {} and no rules",
			Check: on(func(n *corev1.Namespace, r reporter) {
				name := n.Name
				if system(name) {
					return
				}
				r.later(nil, func(known *inventory) answer {
					if known.closed[name] || known.closed[""] {
						return answer{}
					}
					if known.kinds[ref{kind: "NetworkPolicy", namespace: name}] > 0 {
						return failed("no NetworkPolicy of the inputs is for all pods of the namespace")
					}
					return unknown("it may be in the cluster", "no NetworkPolicy of the inputs is for all pods of the namespace")
				})
			}),
		},
		{
			ID: "network/selects", Title: "Network policies select pods", Severity: finding.Medium, Kinds: "NetworkPolicy",
			References: []string{"kube-linter dangling-networkpolicy"},
			Why:        "A policy that selects nothing guards nothing.",
			Fix:        "select labels that the pods have",
			Check: on(func(p *networkingv1.NetworkPolicy, r reporter) {
				s, ok := asSelector(&p.Spec.PodSelector)
				if !ok || s.Empty() {
					return
				}
				namespace := r.m.namespace
				r.later(fieldPath{"spec", "podSelector"}, func(known *inventory) answer { return known.selectsNothing(namespace, s) })
			}),
		},
		{
			ID: "network/peer-selects", Title: "Network policies name peers that exist", Severity: finding.Low, Kinds: "NetworkPolicy",
			References: []string{"kube-linter dangling-networkpolicypeer-podselector"},
			Why:        "A peer that selects nothing allows nothing: what should talk cannot.",
			Fix:        "select labels that the peer's pods have; pods of other namespaces need a namespaceSelector, too",
			Check: on(func(p *networkingv1.NetworkPolicy, r reporter) {
				namespace := r.m.namespace
				eachPeer(p, func(at fieldPath, peer networkingv1.NetworkPolicyPeer, _ bool) {
					if peer.PodSelector == nil || peer.NamespaceSelector != nil {
						return
					}
					if s, ok := asSelector(peer.PodSelector); ok && !s.Empty() {
						r.later(at.below("podSelector"), func(known *inventory) answer { return known.selectsNothing(namespace, s) })
					}
				})
			}),
		},
		{
			ID: "network/open-ingress", Title: "Network policies let in whom they name", Severity: finding.Medium, Kinds: "NetworkPolicy",
			References: []string{"NSA Network policies"},
			Why:        "A rule without peers and ports lets in everyone, as if there were no policy.",
			Fix:        "name the peers in from, and the ports",
			Check: on(func(p *networkingv1.NetworkPolicy, r reporter) {
				for i, rule := range p.Spec.Ingress {
					open(fieldPath{"spec", "ingress", i}, "from", rule.From, rule.Ports, r)
				}
			}),
		},
		{
			ID: "network/open-egress", Title: "Network policies let out to whom they name", Severity: finding.Low, Kinds: "NetworkPolicy",
			References: []string{"NSA Network policies"},
			Why:        "Who breaks into the pod can send what it finds anywhere, and fetch tools from anywhere.",
			Fix:        "name the peers in to, and the ports",
			Check: on(func(p *networkingv1.NetworkPolicy, r reporter) {
				for i, rule := range p.Spec.Egress {
					open(fieldPath{"spec", "egress", i}, "to", rule.To, rule.Ports, r)
				}
			}),
		},
		{
			ID: "network/policy-types", Title: "Network policies have the types of their rules", Severity: finding.High, Kinds: "NetworkPolicy",
			Why: "Rules of a type that policyTypes does not name do nothing: the traffic is open.",
			Fix: "add the type to policyTypes",
			Check: on(func(p *networkingv1.NetworkPolicy, r reporter) {
				types := p.Spec.PolicyTypes
				if len(types) == 0 {
					return
				}
				if len(p.Spec.Egress) > 0 && !slices.Contains(types, networkingv1.PolicyTypeEgress) {
					r.fail(fieldPath{"spec", "policyTypes"}, "the policy has rules of egress, and not the type")
				}
				if len(p.Spec.Ingress) > 0 && !slices.Contains(types, networkingv1.PolicyTypeIngress) {
					r.fail(fieldPath{"spec", "policyTypes"}, "the policy has rules of ingress, and not the type")
				}
			}),
		},
		{
			ID: "network/metadata-address", Title: "Egress to everywhere leaves out the cloud's metadata", Severity: finding.Medium, Kinds: "NetworkPolicy",
			References: []string{"NSA Protecting sensitive cloud infrastructure"},
			Why:        "At 169.254.169.254 a pod finds the node's credentials with its cloud provider.",
			Fix:        "add except: [169.254.169.254/32] to the block",
			Check: on(func(p *networkingv1.NetworkPolicy, r reporter) {
				eachPeer(p, func(at fieldPath, peer networkingv1.NetworkPolicyPeer, out bool) {
					if !out || peer.IPBlock == nil || !contains(peer.IPBlock.CIDR, metadataAddress) {
						return
					}
					if !slices.ContainsFunc(peer.IPBlock.Except, func(b string) bool { return contains(b, metadataAddress) }) {
						r.fail(at.below("ipBlock"), "the block %s has the address of the cloud's metadata", value(peer.IPBlock.CIDR))
					}
				})
			}),
		},
	}
}

const metadataAddress = "169.254.169.254"

func openBlock(p networkingv1.NetworkPolicyPeer) bool {
	return p.IPBlock != nil && everyone(p.IPBlock.CIDR) && len(p.IPBlock.Except) == 0
}

// contains says whether a block of addresses has one.
func contains(block, address string) bool {
	p, err := netip.ParsePrefix(strings.TrimSpace(block))
	return err == nil && p.Contains(netip.MustParseAddr(address))
}

// eachPeer yields the peers of a policy; out says whether they are of egress.
func eachPeer(p *networkingv1.NetworkPolicy, yield func(at fieldPath, peer networkingv1.NetworkPolicyPeer, out bool)) {
	for i, rule := range p.Spec.Ingress {
		for j, peer := range rule.From {
			yield(fieldPath{"spec", "ingress", i, "from", j}, peer, false)
		}
	}
	for i, rule := range p.Spec.Egress {
		for j, peer := range rule.To {
			yield(fieldPath{"spec", "egress", i, "to", j}, peer, true)
		}
	}
}
