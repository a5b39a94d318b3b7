package main

import (
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	operator "k8s.io/apimachinery/pkg/selection"
)

// inventory is what a run knows of all its objects: what others refer to, and nothing else, since there may be many.
//
// An object without a namespace goes wherever kubectl or Helm put it, so it may be in the namespace of any other.
type inventory struct {
	first   map[ref]*subject             // the first object of a name
	spread  map[ref]int                  // of a kind and name, without the namespace: in how many namespaces it is
	kinds   map[ref]int                  // of a kind and namespace: how many there are
	keys    map[ref]map[string]bool      // of ConfigMaps and Secrets
	ports   map[ref]map[servicePort]bool // of Services
	claims  map[ref]bool                 // of PersistentVolumeClaims that one node at a time can use
	tokens  map[ref]bool                 // of ServiceAccounts that say automountServiceAccountToken: false
	bound   map[ref]bool                 // ServiceAccounts that some binding gives rights
	scaled  map[ref][]*subject           // workloads, with what scales them
	counted map[ref]bool                 // workloads that state how many replicas they have
	owner   map[*subject]int             // index of an object's pods
	routes  map[route]*subject           // of Ingresses
	pods    []podFacts
	labeled map[string]map[string][]int             // by namespace ("" for all) and label: indices of pods
	closed  map[string]bool                         // namespaces where a NetworkPolicy is for every pod
	guards  []selector                              // NetworkPolicies
	budgets []selector                              // PodDisruptionBudgets
	decided bool                                    // whether the pods know what selects them
	limits  map[string]map[corev1.ResourceName]bool // by namespace: which limits and requests a LimitRange defaults
	opaque  map[string]bool                         // namespaces with custom resources, whose controllers may make anything

	matched  map[string][]int           // what was selected, by namespace and selector
	named    map[string]map[string]bool // names of the ports of what was selected, in the same way
	compared int                        // labels, of maxCompared
}

// ref names an object.
type ref struct{ kind, namespace, name string }

// route is what an Ingress serves.
type route struct{ namespace, class, host, path string }

// servicePort is a port of a Service, by its name or its number.
type servicePort struct {
	name   string
	number int32
}

// selector is what an object selects, and the object.
type selector struct {
	labels.Selector
	namespace string
	subject   *subject
}

// podFacts is what is known of the pods of a workload.
type podFacts struct {
	subject         *subject
	kind, namespace string
	name            string
	labels          labels.Set
	replicas        int32
	ports           []string                     // names
	requests        map[corev1.ResourceName]bool // that every container makes

	isolated bool       // some NetworkPolicy selects them
	budgets  []*subject // the PodDisruptionBudgets that select them
	unsure   bool       // not all that could select them was compared
}

func newInventory() *inventory {
	return &inventory{
		first: map[ref]*subject{}, spread: map[ref]int{}, kinds: map[ref]int{}, keys: map[ref]map[string]bool{}, ports: map[ref]map[servicePort]bool{},
		claims: map[ref]bool{}, tokens: map[ref]bool{}, bound: map[ref]bool{}, scaled: map[ref][]*subject{}, counted: map[ref]bool{}, owner: map[*subject]int{}, routes: map[route]*subject{},
		labeled: map[string]map[string][]int{}, matched: map[string][]int{}, named: map[string]map[string]bool{}, limits: map[string]map[corev1.ResourceName]bool{}, opaque: map[string]bool{}, closed: map[string]bool{},
	}
}

// custom says whether a kind is none of Kubernetes' own.
func (o object) custom() bool {
	g := group(o.apiVersion)
	return strings.Contains(g, ".") && !strings.HasSuffix(g, ".k8s.io")
}

// kindOf names a kind among all: one that is known here by its own name, others with their group.
func kindOf(apiVersion, kind string) string {
	if g := group(apiVersion); g != "" && !slices.ContainsFunc(servedIn(kind), func(home string) bool { return group(home) == g }) {
		return kind + "." + g
	}
	return kind
}

// add takes what others may refer to.
func (i *inventory) add(m *manifest) {
	if m.custom() {
		i.opaque[m.namespace] = true
	}
	kind := kindOf(m.apiVersion, m.kind)
	own := ref{kind, m.namespace, m.bare}
	if own.name != "" && i.first[own] == nil {
		i.first[own] = m.subject
		i.spread[ref{kind: kind, name: own.name}]++
	}
	i.kinds[ref{kind: kind, namespace: m.namespace}]++
	switch typed := m.typed.(type) {
	case *corev1.ConfigMap:
		i.keys[own] = keysOf(typed.Data, typed.BinaryData)
	case *secret:
		i.keys[own] = keysOf(typed.Data, typed.StringData)
	case *corev1.Service:
		ports := map[servicePort]bool{}
		for _, p := range typed.Spec.Ports {
			ports[servicePort{name: p.Name}], ports[servicePort{number: p.Port}] = true, true
		}
		i.ports[own] = ports
	case *corev1.PersistentVolumeClaim:
		i.claims[own] = len(typed.Spec.AccessModes) > 0 && !slices.ContainsFunc(typed.Spec.AccessModes, func(m corev1.PersistentVolumeAccessMode) bool {
			return m == corev1.ReadWriteMany || m == corev1.ReadOnlyMany
		})
	case *corev1.ServiceAccount:
		i.tokens[own] = typed.AutomountServiceAccountToken != nil && !*typed.AutomountServiceAccountToken
	case *corev1.LimitRange:
		i.addLimits(m.namespace, typed)
	case *appsv1.Deployment:
		i.counted[own] = typed.Spec.Replicas != nil
	case *appsv1.StatefulSet:
		i.counted[own] = typed.Spec.Replicas != nil
	case *networkingv1.NetworkPolicy:
		if s := typed.Spec.PodSelector; len(s.MatchLabels)+len(s.MatchExpressions) == 0 {
			i.closed[m.namespace] = true
		}
		if s, ok := asSelector(&typed.Spec.PodSelector); ok {
			i.guards = append(i.guards, selector{s, m.namespace, m.subject})
		}
	case *policyv1.PodDisruptionBudget:
		if s, ok := asSelector(typed.Spec.Selector); ok {
			i.budgets = append(i.budgets, selector{s, m.namespace, m.subject})
		}
	case *rbacv1.RoleBinding:
		i.addSubjects(typed.Subjects)
	case *rbacv1.ClusterRoleBinding:
		i.addSubjects(typed.Subjects)
	}
	if g, ok := m.typed.(*networkingv1.Ingress); ok {
		i.addRoutes(m, g)
	}
	if s, ok := scalerOf(m.typed); ok {
		target := ref{s.target.Kind, m.namespace, s.target.Name}
		i.scaled[target] = append(i.scaled[target], m.subject)
	}
	if m.pod != nil {
		i.addPods(m)
	}
}

// addRoutes notes which paths an Ingress takes, where no other has taken them.
func (i *inventory) addRoutes(m *manifest, g *networkingv1.Ingress) {
	if sharesPaths(g) {
		return
	}
	for _, rule := range g.Spec.Rules {
		if rule.HTTP == nil {
			continue
		}
		for _, p := range rule.HTTP.Paths {
			if at := routeOf(g, m.namespace, rule.Host, p.Path); i.routes[at] == nil {
				i.routes[at] = m.subject
			}
		}
	}
}

// addSubjects notes who is given rights. A pod that states no namespace may be in any.
func (i *inventory) addSubjects(subjects []rbacv1.Subject) {
	for _, s := range subjects {
		if s.Kind == rbacv1.ServiceAccountKind {
			i.bound[ref{s.Kind, s.Namespace, s.Name}] = true
			i.bound[ref{s.Kind, "", s.Name}] = true
		}
	}
}

// addLimits notes which limits and requests containers have by default.
func (i *inventory) addLimits(namespace string, l *corev1.LimitRange) {
	known := i.limits[namespace]
	if known == nil {
		known = map[corev1.ResourceName]bool{}
		i.limits[namespace] = known
	}
	for _, item := range l.Spec.Limits {
		if item.Type != corev1.LimitTypeContainer {
			continue
		}
		for name := range item.Default { // a request is as large as its limit where it is not set
			known["limits."+name], known["requests."+name] = true, true
		}
		for name := range item.DefaultRequest {
			known["requests."+name] = true
		}
		for name := range item.Max {
			known["limits."+name], known["requests."+name] = true, true
		}
	}
}

// addPods notes the pods that a workload makes.
func (i *inventory) addPods(m *manifest) {
	w := m.pod
	facts := podFacts{
		subject: m.subject, kind: m.kind, namespace: m.namespace, name: m.bare, labels: w.meta.Labels, replicas: replicas(m.typed),
		requests: map[corev1.ResourceName]bool{corev1.ResourceCPU: true, corev1.ResourceMemory: true},
	}
	for _, c := range w.containers {
		for _, p := range c.Ports {
			if p.Name != "" {
				facts.ports = append(facts.ports, p.Name)
			}
		}
		if c.lasting() {
			for name := range facts.requests {
				facts.requests[name] = facts.requests[name] && requested(c.Resources, name)
			}
		}
	}
	n := len(i.pods)
	i.owner[m.subject] = n
	i.pods = append(i.pods, facts)
	for _, namespace := range slices.Compact([]string{"*", m.namespace}) {
		byLabel := i.labeled[namespace]
		if byLabel == nil {
			byLabel = map[string][]int{}
			i.labeled[namespace] = byLabel
		}
		byLabel[""] = append(byLabel[""], n)
		for key, text := range w.meta.Labels {
			byLabel[key+"="+text] = append(byLabel[key+"="+text], n)
		}
	}
}

// presence is what is known of an object that something refers to.
type presence struct {
	here      bool // it is in the inputs, or may be
	elsewhere bool // it is, but in other namespaces alone
	others    int  // objects of its kind in the namespace
}

// find looks for what an object in a namespace refers to.
func (i *inventory) find(kind, namespace, name string) presence {
	p := presence{others: i.kinds[ref{kind: kind, namespace: namespace}]}
	if namespace != "" {
		p.others += i.kinds[ref{kind: kind}]
	}
	anywhere := i.spread[ref{kind: kind, name: name}] > 0
	switch {
	case i.first[ref{kind, namespace, name}] != nil, i.first[ref{kind, "", name}] != nil, namespace == "" && anywhere:
		p.here = true
	default:
		p.elsewhere = anywhere
	}
	return p
}

// closest returns the object that find has found.
func (i *inventory) closest(kind, namespace, name string) (ref, bool) {
	for _, r := range []ref{{kind, namespace, name}, {kind, "", name}} {
		if i.first[r] != nil {
			return r, true
		}
	}
	return ref{}, false
}

// missing is the answer to whether what is referred to by name exists. Inputs that hold some objects of a kind are
// taken for the whole only where one rarely comes without the other: complete says so.
func (i *inventory) missing(kind, namespace, name string, complete bool) answer {
	p := i.find(kind, namespace, name)
	if !identifier(strings.ReplaceAll(kind, ".", "")) {
		kind = "object"
	}
	kind = shorten(kind)
	switch {
	case p.here:
		return answer{}
	case p.elsewhere && complete:
		return failed("there is %s %s, but in another namespace", kind, value(name))
	case p.elsewhere:
		return unknown("it may be in the cluster; the one in the inputs is in another namespace", "%s %s is not in the namespace", kind, value(name))
	case complete && p.others > 0 && !i.opaque[namespace]:
		return failed("there is no %s %s, but %s", kind, value(name), plural(p.others, "other"))
	default:
		return unknown("it may be in the cluster", "%s %s is not in the inputs", kind, value(name))
	}
}

// lacks is the answer to whether a key of a ConfigMap or Secret exists, which does.
func (i *inventory) lacks(kind, namespace, name, key string) answer {
	r, ok := i.closest(kind, namespace, name)
	if !ok || i.keys[r][key] {
		return answer{}
	}
	return failed("%s %s has no key %s", kind, value(name), value(key))
}

// selected returns the pods in a namespace that a selector selects, as indices, and whether all could be looked at.
func (i *inventory) selected(namespace string, s labels.Selector) (found []int, whole bool) {
	requirements, selectable := s.Requirements()
	if !selectable {
		return nil, true
	}
	key := namespace + " " + s.String()
	if found, ok := i.matched[key]; ok {
		i.compared += 1 + len(found) // which are gone through
		return found, i.compared <= maxCompared
	}
	for _, space := range spaces(namespace) {
		byLabel := i.labeled[space]
		candidates := byLabel[""]
		for _, r := range requirements { // the label that fewest pods have
			if texts := r.ValuesUnsorted(); len(texts) == 1 && (r.Operator() == operator.In || r.Operator() == operator.Equals) {
				if with := byLabel[r.Key()+"="+texts[0]]; len(with) < len(candidates) {
					candidates = with
				}
			}
		}
		for _, n := range candidates {
			if i.compared += 1 + len(requirements); i.compared > maxCompared {
				return found, false
			}
			if s.Matches(i.pods[n].labels) {
				found = append(found, n)
			}
		}
	}
	i.matched[key] = found
	return found, true
}

// portsOf returns the names of the ports of the pods that a selector selects; nil if it selects none.
func (i *inventory) portsOf(namespace string, s labels.Selector) (ports map[string]bool, whole bool) {
	key := namespace + " " + s.String()
	if ports, ok := i.named[key]; ok {
		return ports, true
	}
	found, whole := i.selected(namespace, s)
	for _, n := range found {
		if ports == nil {
			ports = map[string]bool{}
		}
		for _, name := range i.pods[n].ports {
			ports[name] = true
		}
	}
	i.named[key] = ports
	return ports, whole
}

// decide tells the pods what selects them.
func (i *inventory) decide() {
	if i.decided {
		return
	}
	i.decided = true
	for _, g := range i.guards {
		found, whole := i.selected(g.namespace, g)
		for _, n := range found {
			i.pods[n].isolated = true
		}
		i.doubt(whole)
	}
	for _, b := range i.budgets {
		found, whole := i.selected(b.namespace, b)
		for _, n := range found {
			p := &i.pods[n]
			if len(p.budgets) == 0 || len(p.budgets) == 1 && p.budgets[0].name != b.subject.name {
				p.budgets = append(p.budgets, b.subject)
			}
		}
		i.doubt(whole)
	}
}

// doubt notes that what selects the pods is not known.
func (i *inventory) doubt(whole bool) {
	if !whole && len(i.pods) > 0 && !i.pods[0].unsure {
		for n := range i.pods {
			i.pods[n].unsure = true
		}
	}
}

// podsOf returns the pods of a workload, which know what selects them.
func (i *inventory) podsOf(s *subject) *podFacts {
	i.decide()
	if n, ok := i.owner[s]; ok {
		return &i.pods[n]
	}
	return nil
}

// tight is the answer to whether so many of the pods that a budget selects must be there that none may go.
func (i *inventory) tight(namespace string, s labels.Selector, need int32) answer {
	found, whole := i.selected(namespace, s)
	if !whole {
		return answer{}
	}
	total := int32(0)
	for _, n := range found {
		p := i.pods[n]
		if p.kind == "DaemonSet" || len(i.scaled[ref{p.kind, p.namespace, p.name}]) > 0 {
			return answer{} // nobody knows how many
		}
		total += p.replicas
	}
	if len(found) > 0 && total > 0 && need >= total {
		return failed("%d pods must be there of the %d that there are, so none may be evicted", need, total)
	}
	return answer{}
}

// spaces returns the keys of labeled that pods in reach of a namespace are below.
func spaces(namespace string) []string {
	if namespace == "" {
		return []string{"*"}
	}
	return []string{namespace, ""}
}

// selectsNothing is the answer to whether a selector selects pods. Inputs with pods in the namespace are taken to have
// all of them, unless a controller may make more.
func (i *inventory) selectsNothing(namespace string, s labels.Selector) answer {
	found, whole := i.selected(namespace, s)
	pods := 0
	for _, space := range spaces(namespace) {
		pods += len(i.labeled[space][""])
	}
	switch {
	case len(found) > 0:
		return answer{}
	case !whole:
		return unknown("there are too many pods and selectors to compare", "not judged")
	case i.opaque[namespace] || i.opaque[""]:
		return unknown("a custom resource's controller may make some", "it selects no pods of the inputs")
	case pods == 0:
		return unknown("there are none in the inputs", "it selects no pods of the inputs")
	default:
		return failed("it selects none of the pods in the inputs")
	}
}

// asSelector reads a label selector; one that is invalid selects nothing that could be judged.
func asSelector(s *metav1.LabelSelector) (labels.Selector, bool) {
	parsed, err := metav1.LabelSelectorAsSelector(s)
	return parsed, err == nil
}

// keysOf returns the keys of two mappings.
func keysOf[A, B any](a map[string]A, b map[string]B) map[string]bool {
	all := map[string]bool{}
	for key := range a {
		all[key] = true
	}
	for key := range b {
		all[key] = true
	}
	return all
}

// plural counts things.
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// exactly returns the selector of a Service, which selects by whole labels.
func exactly(of map[string]string) labels.Selector { return labels.SelectorFromSet(of) }
