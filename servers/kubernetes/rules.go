package main

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/policy"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

const (
	podRulePrefix = "pod-security/"
	standardsURL  = "https://kubernetes.io/docs/concepts/security/pod-security-standards/"
)

// ruleID is a rule about the input itself rather than about a pod.
type ruleID string

// inputRulePrefix begins the rules that say what could not be judged.
const inputRulePrefix = "manifest/"

const (
	rulePass         ruleID = "manifest/passed"
	ruleNoObject     ruleID = "manifest/no-object"
	ruleStrict       ruleID = "manifest/strict-decoding"
	ruleAPIVersion   ruleID = "manifest/api-version"
	ruleCustom       ruleID = "manifest/custom-resource"
	ruleNoContainers ruleID = "manifest/no-containers"
	ruleUnreadable   ruleID = "manifest/unreadable"
	ruleIgnore       ruleID = "manifest/ignore"
	ruleLabels       ruleID = "pod-security/namespace-labels"
)

func inputRules() []ruleID {
	return []ruleID{rulePass, ruleNoObject, ruleStrict, ruleAPIVersion, ruleCustom, ruleNoContainers, ruleUnreadable, ruleIgnore, ruleLabels}
}

func (r ruleID) title() string {
	switch r {
	case rulePass:
		return "Objects that no rule fails"
	case ruleNoObject:
		return "Documents are Kubernetes objects"
	case ruleStrict:
		return "Fields are known and stand there once"
	case ruleAPIVersion:
		return "The API server serves the object's version"
	case ruleCustom:
		return "Pods of custom resources are made by their controllers"
	case ruleNoContainers:
		return "Pods have containers"
	case ruleUnreadable:
		return "Inputs can be read"
	case ruleIgnore:
		return "What is set aside is named, with a reason"
	case ruleLabels:
		return "Labels of Pod Security say what they mean"
	default:
		return string(r)
	}
}

// why says why the rule matters, and how is what to do about it.
func (r ruleID) why() (why, how string) {
	switch r {
	case rulePass:
		return "It is no demand, but what is said of an object in which nothing was found.", "Nothing is left to do."
	case ruleNoObject:
		return "What is no object cannot be judged, and kubectl refuses it.", "Leave the file out, or give the object its apiVersion and kind."
	case ruleStrict:
		return "A misspelled field does nothing, and one that stands there twice hides another: the object is not what its author thinks.", "Correct the field's name or place, or remove it."
	case ruleAPIVersion:
		return "An API server refuses versions that it does not serve, so the object was not judged.", "Write the version that the finding names."
	case ruleCustom:
		return "A controller makes the pods, and may change them, so a template says little.", "Check the pods themselves: kubectl get pods -o yaml | kubernetes check -"
	case ruleNoContainers:
		return "The API server refuses a pod without containers, so there is nothing to judge.", "Give it containers."
	case ruleUnreadable:
		return "What cannot be read was not judged; it must not look like something that passed.", "Correct what the finding names, or split what is too large."
	case ruleIgnore:
		return "An annotation that sets aside a rule which does not exist, or says no reason, sets nothing aside.", "Write bulkhead.dev/ignore: RULE REASON, one a line."
	case ruleLabels:
		return "Of a level that it cannot read the API server enforces restricted, of a label that it does not know nothing.", "Correct the label: enforce, audit and warn, each also with -version."
	default:
		return "", ""
	}
}

func (r ruleID) severity() finding.Severity {
	switch r {
	case ruleAPIVersion, ruleUnreadable, ruleLabels:
		return finding.High
	case ruleStrict, ruleIgnore, ruleCustom, ruleNoContainers:
		return finding.Medium
	default:
		return finding.Low
	}
}

// rule says of one check of the library how much it matters, what satisfies it, and which fields violate it.
type rule struct {
	id       policy.CheckID
	title    string
	severity finding.Severity
	why, fix string
	locate   func(pod) []violation
}

// violation is one field that a check refuses. field is its path from the pod.
type violation struct {
	field        fieldPath
	message, fix string // the rule's fix where there is none
	baseline     bool   // found by a restricted check, and the baseline level would refuse it, too: that is graver
}

// pod is a pod that one check refuses, and the check itself. To find out which field is to blame, the
// functions below show the check pods with that field alone; so they need no copy of what it allows, and
// hold for every version of it.
type pod struct {
	meta  *metav1.ObjectMeta
	spec  *corev1.PodSpec
	given *corev1.PodSpec // before defaulting

	check    policy.CheckPodFn
	baseline []policy.CheckPodFn // the baseline checks that it overrides
}

// podRules has one rule for each check of the library. The title is the control's name in the standards.
func podRules() []rule {
	return []rule{
		{"privileged", "Privileged containers", finding.Critical,
			"A privileged container is root on the node: it sees every device and may change the kernel.",
			"remove privileged, or set it to false", locatePrivileged},
		{"windowsHostProcess", "HostProcess", finding.Critical,
			"A HostProcess container is a process of the Windows node, with its rights.",
			"remove windowsOptions.hostProcess, or set it to false", locateHostProcess},
		{"hostNamespaces", "Host namespaces", finding.High,
			"In the node's namespaces a pod sees and reaches the processes, networks and shared memory of everything on it.",
			"remove the field, or set it to false", locateHostNamespaces},
		{"hostPathVolumes", "HostPath volumes", finding.High,
			"A folder of the node lets a pod read, and often change, what belongs to the node and to other pods.",
			"use a persistentVolumeClaim, configMap or emptyDir volume instead of hostPath", locateVolumes},
		{"capabilities_baseline", "Capabilities", finding.High,
			"Capabilities beyond the usual ones let a container do what only root on the node should.",
			"remove the capability", locateAddedCapabilities},
		{"capabilities_restricted", "Capabilities", finding.Medium,
			"A capability that nobody needs helps only whoever breaks in.",
			"set securityContext.capabilities.drop: [ALL], and add nothing but NET_BIND_SERVICE", locateCapabilities},
		{"allowPrivilegeEscalation", "Privilege escalation", finding.High,
			"With it, a setuid program or file capabilities give a process more rights than the one that started it.",
			"set securityContext.allowPrivilegeEscalation: false", locateEscalation},
		{"runAsNonRoot", "Running as non-root", finding.High,
			"A process that breaks out of a container as root is root on the node, unless user namespaces stop it.",
			"set securityContext.runAsNonRoot: true, for the pod or for each container", locateRunAsNonRoot},
		{"runAsUser", "Running as non-root user", finding.High,
			"User 0 is root, whatever else the pod says.",
			"remove runAsUser: 0, or set a user id other than 0", locateRunAsUser},
		{"hostPorts", "Host ports", finding.Medium,
			"A port of the node goes around network policies and Services, and only one pod of a node can have it.",
			"remove hostPort, and reach the pod through a Service", locateHostPorts},
		{"hostProbesAndHostLifecycle", "Host in probes and lifecycle hooks", finding.Medium,
			"The kubelet connects to the host that a probe names, and so reaches what the pod itself cannot.",
			"remove host; the probe then goes to the pod itself", locateProbeHosts},
		{"procMount", "/proc mount type", finding.High,
			"An unmasked /proc shows, and lets a container change, what the runtime hides of the node.",
			"remove procMount, or set it to Default", locateProcMount},
		{"procMount_restricted", "/proc mount type", finding.High,
			"An unmasked /proc shows, and lets a container change, what the runtime hides of the node.",
			"remove procMount, or set it to Default", locateProcMount},
		{"appArmorProfile", "AppArmor", finding.Medium,
			"Without the runtime's AppArmor profile a container may reach files and mounts that it should not.",
			"remove it, or use RuntimeDefault or Localhost (in annotations runtime/default or localhost/NAME)", locateAppArmor},
		{"seccompProfile_baseline", "Seccomp", finding.Medium,
			"Unconfined, a container may use every system call, and so every hole in one.",
			"remove it, or use RuntimeDefault or Localhost (in annotations runtime/default or localhost/NAME)", locateSeccomp},
		{"seccompProfile_restricted", "Seccomp", finding.Medium,
			"Without a profile, most clusters leave every system call open, and so every hole in one.",
			"set securityContext.seccompProfile.type: RuntimeDefault, for the pod or for each container", locateSeccompRequired},
		{"seLinuxOptions", "SELinux", finding.Medium,
			"A type, user or role of its own can take a container out of the confinement that others have.",
			"remove user and role, and use a container type such as container_t", locateSELinux},
		{"sysctls", "Sysctls", finding.Medium,
			"A sysctl that is not namespaced changes the node for every pod on it.",
			"remove the sysctl; only namespaced sysctls that the standard lists are safe", locateSysctls},
		{"restrictedVolumes", "Volume types", finding.Medium,
			"Other types of volume tie the pod to the node or to a storage system with its own ideas of access.",
			"use a configMap, csi, downwardAPI, emptyDir, ephemeral, image, persistentVolumeClaim, projected or secret volume", locateVolumes},
	}
}

// refuses shows the check a pod that has nothing but what set puts there, and the operating system and user
// namespace of the real one, which relax some checks.
func (p pod) refuses(set func(*metav1.ObjectMeta, *corev1.PodSpec)) bool {
	meta, spec := &metav1.ObjectMeta{}, &corev1.PodSpec{OS: p.spec.OS, HostUsers: p.spec.HostUsers}
	set(meta, spec)
	return !p.check(meta, spec).Allowed
}

// baselineRefuses says whether a pod with nothing but what set puts there fails the baseline level as well.
func (p pod) baselineRefuses(set func(*corev1.PodSpec)) bool {
	for _, check := range p.baseline {
		p.check = check
		if p.refusesSpec(set) {
			return true
		}
	}
	return false
}

// refusesSpec is refuses for a spec alone.
func (p pod) refusesSpec(set func(*corev1.PodSpec)) bool {
	return p.refuses(func(_ *metav1.ObjectMeta, s *corev1.PodSpec) { set(s) })
}

// refusesContainer shows the check a pod with one container, which has just this security context.
func (p pod) refusesContainer(sc *corev1.SecurityContext) bool {
	return p.refusesSpec(func(s *corev1.PodSpec) { s.Containers = []corev1.Container{{SecurityContext: sc}} })
}

// refusesPod shows the check a pod without containers that has just this security context.
func (p pod) refusesPod(sc *corev1.PodSecurityContext) bool {
	return p.refusesSpec(func(s *corev1.PodSpec) { s.SecurityContext = sc })
}

// containers yields the paths and containers of a pod: init containers, containers, ephemeral containers.
func (p pod) containers() iter.Seq2[fieldPath, *corev1.Container] {
	return func(yield func(fieldPath, *corev1.Container) bool) {
		for i := range p.spec.InitContainers {
			if !yield(fieldPath{"spec", "initContainers", i}, &p.spec.InitContainers[i]) {
				return
			}
		}
		for i := range p.spec.Containers {
			if !yield(fieldPath{"spec", "containers", i}, &p.spec.Containers[i]) {
				return
			}
		}
		for i := range p.spec.EphemeralContainers {
			c := corev1.Container(p.spec.EphemeralContainers[i].EphemeralContainerCommon)
			if !yield(fieldPath{"spec", "ephemeralContainers", i}, &c) {
				return
			}
		}
	}
}

// security returns the container's security context, never nil.
func security(c *corev1.Container) *corev1.SecurityContext {
	if c.SecurityContext == nil {
		return &corev1.SecurityContext{}
	}
	return c.SecurityContext
}

// podSecurity returns the pod's security context, never nil.
func (p pod) podSecurity() *corev1.PodSecurityContext {
	if p.spec.SecurityContext == nil {
		return &corev1.PodSecurityContext{}
	}
	return p.spec.SecurityContext
}

// named is how messages speak of a container.
func named(c *corev1.Container) string { return fmt.Sprintf("container %q", shorten(c.Name)) }

// value is how messages quote a value of the input.
func value[S ~string](s S) string { return strconv.Quote(shorten(string(s))) }

// eachContainer reports the containers whose security context, narrowed by narrow to what the check is
// about, the check refuses.
func (p pod) eachContainer(field fieldPath, narrow func(*corev1.SecurityContext) *corev1.SecurityContext,
	message func(*corev1.SecurityContext) string) []violation {
	var found []violation
	for path, c := range p.containers() {
		if sc := security(c); p.refusesContainer(narrow(sc)) {
			found = append(found, violation{
				field:   path.below("securityContext").below(field...),
				message: named(c) + " " + message(sc),
			})
		}
	}
	return found
}

func locatePrivileged(p pod) []violation {
	return p.eachContainer(fieldPath{"privileged"},
		func(sc *corev1.SecurityContext) *corev1.SecurityContext {
			return &corev1.SecurityContext{Privileged: sc.Privileged}
		},
		func(*corev1.SecurityContext) string { return "is privileged" })
}

func locateEscalation(p pod) []violation {
	return p.eachContainer(fieldPath{"allowPrivilegeEscalation"},
		func(sc *corev1.SecurityContext) *corev1.SecurityContext {
			return &corev1.SecurityContext{AllowPrivilegeEscalation: sc.AllowPrivilegeEscalation}
		},
		func(sc *corev1.SecurityContext) string {
			if sc.AllowPrivilegeEscalation == nil {
				return "does not set allowPrivilegeEscalation: false"
			}
			return "allows privilege escalation"
		})
}

func locateProcMount(p pod) []violation {
	return p.eachContainer(fieldPath{"procMount"},
		func(sc *corev1.SecurityContext) *corev1.SecurityContext {
			return &corev1.SecurityContext{ProcMount: sc.ProcMount}
		},
		func(sc *corev1.SecurityContext) string { return "sets procMount to " + value(*sc.ProcMount) })
}

func locateHostProcess(p pod) []violation {
	var found []violation
	if options := p.podSecurity().WindowsOptions; p.refusesPod(&corev1.PodSecurityContext{WindowsOptions: options}) {
		found = append(found, violation{
			field:   fieldPath{"spec", "securityContext", "windowsOptions", "hostProcess"},
			message: "the pod's containers are processes of the Windows host",
		})
	}
	return append(found, p.eachContainer(fieldPath{"windowsOptions", "hostProcess"},
		func(sc *corev1.SecurityContext) *corev1.SecurityContext {
			return &corev1.SecurityContext{WindowsOptions: sc.WindowsOptions}
		},
		func(*corev1.SecurityContext) string { return "is a process of the Windows host" })...)
}

func locateHostNamespaces(p pod) []violation {
	var found []violation
	for _, n := range []struct {
		field, message string
		set            func(*corev1.PodSpec)
	}{
		{"hostNetwork", "the pod shares the node's network", func(s *corev1.PodSpec) { s.HostNetwork = p.spec.HostNetwork }},
		{"hostPID", "the pod shares the node's processes", func(s *corev1.PodSpec) { s.HostPID = p.spec.HostPID }},
		{"hostIPC", "the pod shares the node's IPC", func(s *corev1.PodSpec) { s.HostIPC = p.spec.HostIPC }},
	} {
		if p.refusesSpec(n.set) {
			found = append(found, violation{field: fieldPath{"spec", n.field}, message: n.message})
		}
	}
	return found
}

// locateVolumes reports the volumes that the check refuses, at the field of their source.
func locateVolumes(p pod) []violation {
	var found []violation
	for i, v := range p.spec.Volumes {
		alone := func(s *corev1.PodSpec) { s.Volumes = []corev1.Volume{v} }
		if !p.refusesSpec(alone) {
			continue
		}
		field, source := fieldPath{"spec", "volumes", i}, volumeSource(v.VolumeSource)
		found = append(found, violation{
			field:    field.below(source),
			message:  fmt.Sprintf("volume %s is of the type %s", value(v.Name), source),
			baseline: p.baselineRefuses(alone),
		})
	}
	return found
}

// volumeSource returns the field name of the source that is set.
func volumeSource(s corev1.VolumeSource) string {
	var fields map[string]json.RawMessage
	if data, err := json.Marshal(s); err == nil && json.Unmarshal(data, &fields) == nil && len(fields) > 0 {
		return slices.Sorted(maps.Keys(fields))[0]
	}
	return "unknown"
}

func locateAddedCapabilities(p pod) []violation {
	var found []violation
	for path, c := range p.containers() {
		found = append(found, p.added(path, c, nil)...)
	}
	return found
}

// added reports the added capabilities that the check refuses of a container that drops these.
func (p pod) added(path fieldPath, c *corev1.Container, drop []corev1.Capability) []violation {
	capabilities := security(c).Capabilities
	if capabilities == nil {
		return nil
	}
	var found []violation
	for i, add := range capabilities.Add {
		alone := func(s *corev1.PodSpec) {
			s.Containers = []corev1.Container{{SecurityContext: &corev1.SecurityContext{
				Capabilities: &corev1.Capabilities{Add: []corev1.Capability{add}, Drop: drop},
			}}}
		}
		if p.refusesSpec(alone) {
			found = append(found, violation{
				field:    path.below("securityContext", "capabilities", "add", i),
				message:  fmt.Sprintf("%s adds the capability %s", named(c), value(add)),
				fix:      "remove the capability",
				baseline: p.baselineRefuses(alone),
			})
		}
	}
	return found
}

func locateCapabilities(p pod) []violation {
	var found []violation
	for path, c := range p.containers() {
		var drop []corev1.Capability
		if capabilities := security(c).Capabilities; capabilities != nil {
			drop = capabilities.Drop
		}
		if p.refusesContainer(&corev1.SecurityContext{Capabilities: &corev1.Capabilities{Drop: drop}}) {
			found = append(found, violation{
				field:   path.below("securityContext", "capabilities", "drop"),
				message: named(c) + " does not drop ALL capabilities",
				fix:     "set securityContext.capabilities.drop: [ALL]",
			})
		}
		found = append(found, p.added(path, c, []corev1.Capability{"ALL"})...)
	}
	return found
}

func locateHostPorts(p pod) []violation {
	var found []violation
	for path, c := range p.containers() {
		for i, port := range c.Ports {
			if !p.refusesSpec(func(s *corev1.PodSpec) {
				s.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{port}}}
			}) {
				continue
			}
			v := violation{
				field:   path.below("ports", i, "hostPort"),
				message: fmt.Sprintf("%s listens on port %d of the node", named(c), port.HostPort),
			}
			if p.spec.HostNetwork && p.portGiven(path, i) == 0 {
				v.message += ", since hostNetwork makes host ports of its ports"
				v.fix = "remove hostNetwork"
			}
			found = append(found, v)
		}
	}
	return found
}

// portGiven returns the hostPort that the manifest itself states.
func (p pod) portGiven(path fieldPath, port int) int32 {
	given := p
	given.spec = p.given
	for at, c := range given.containers() {
		if at.String() == path.String() {
			return c.Ports[port].HostPort
		}
	}
	return 0
}

func locateProbeHosts(p pod) []violation {
	var found []violation
	check := func(path fieldPath, c *corev1.Container, host string) {
		alone := corev1.Container{LivenessProbe: &corev1.Probe{
			ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Host: host}},
		}}
		if p.refusesSpec(func(s *corev1.PodSpec) { s.Containers = []corev1.Container{alone} }) {
			found = append(found, violation{
				field:   path.below("host"),
				message: fmt.Sprintf("%s has the node connect to the host %s", named(c), value(host)),
			})
		}
	}
	handlers := func(path fieldPath, c *corev1.Container, get *corev1.HTTPGetAction, tcp *corev1.TCPSocketAction) {
		if get != nil {
			check(path.below("httpGet"), c, get.Host)
		}
		if tcp != nil {
			check(path.below("tcpSocket"), c, tcp.Host)
		}
	}
	for path, c := range p.containers() {
		for _, probe := range []struct {
			name  string
			probe *corev1.Probe
		}{
			{"livenessProbe", c.LivenessProbe}, {"readinessProbe", c.ReadinessProbe}, {"startupProbe", c.StartupProbe},
		} {
			if probe.probe != nil {
				handlers(path.below(probe.name), c, probe.probe.HTTPGet, probe.probe.TCPSocket)
			}
		}
		if c.Lifecycle == nil {
			continue
		}
		for _, hook := range []struct {
			name    string
			handler *corev1.LifecycleHandler
		}{
			{"postStart", c.Lifecycle.PostStart}, {"preStop", c.Lifecycle.PreStop},
		} {
			if hook.handler != nil {
				handlers(path.below("lifecycle", hook.name), c, hook.handler.HTTPGet, hook.handler.TCPSocket)
			}
		}
	}
	return found
}

// eachAnnotation reports the annotations that begin with prefix and that the check refuses.
func (p pod) eachAnnotation(prefix string) []violation {
	var found []violation
	for _, key := range slices.Sorted(maps.Keys(p.meta.Annotations)) {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		if p.refuses(func(m *metav1.ObjectMeta, s *corev1.PodSpec) {
			m.Annotations = map[string]string{key: p.meta.Annotations[key]}
			for _, c := range p.containers() {
				s.Containers = append(s.Containers, corev1.Container{Name: c.Name}) // the annotation counts if its container exists
			}
		}) {
			found = append(found, violation{
				field:   fieldPath{"metadata", "annotations", key},
				message: fmt.Sprintf("the annotation %s is %s", shorten(key), value(p.meta.Annotations[key])),
			})
		}
	}
	return found
}

func locateAppArmor(p pod) []violation {
	var found []violation
	if profile := p.podSecurity().AppArmorProfile; p.refusesPod(&corev1.PodSecurityContext{AppArmorProfile: profile}) {
		found = append(found, violation{
			field:   fieldPath{"spec", "securityContext", "appArmorProfile", "type"},
			message: "the pod's AppArmor profile is " + value(profile.Type),
		})
	}
	found = append(found, p.eachContainer(fieldPath{"appArmorProfile", "type"},
		func(sc *corev1.SecurityContext) *corev1.SecurityContext {
			return &corev1.SecurityContext{AppArmorProfile: sc.AppArmorProfile}
		},
		func(sc *corev1.SecurityContext) string {
			return "has the AppArmor profile " + value(sc.AppArmorProfile.Type)
		})...)
	return append(found, p.eachAnnotation(corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix)...)
}

func locateSeccomp(p pod) []violation {
	return slices.Concat(p.podSeccomp(), p.containerSeccomp(nil), p.eachAnnotation("seccomp.security.alpha.kubernetes.io/pod"),
		p.eachAnnotation("container.seccomp.security.alpha.kubernetes.io/"))
}

func locateSeccompRequired(p pod) []violation {
	found := p.podSeccomp()
	profile := p.podSecurity().SeccompProfile
	if len(found) > 0 {
		// Once the pod's is corrected, the containers without one of their own are fine.
		profile = &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}
	}
	return append(found, p.containerSeccomp(profile)...)
}

func (p pod) podSeccomp() []violation {
	profile := p.podSecurity().SeccompProfile
	if !p.refusesPod(&corev1.PodSecurityContext{SeccompProfile: profile}) {
		return nil
	}
	return []violation{{
		field:   fieldPath{"spec", "securityContext", "seccompProfile", "type"},
		message: "the pod's seccomp profile is " + value(profile.Type),
	}}
}

// containerSeccomp reports the containers that the check refuses in a pod with this profile.
func (p pod) containerSeccomp(profile *corev1.SeccompProfile) []violation {
	var found []violation
	for path, c := range p.containers() {
		own := security(c).SeccompProfile
		if !p.refusesSpec(func(s *corev1.PodSpec) {
			s.SecurityContext = &corev1.PodSecurityContext{SeccompProfile: profile}
			s.Containers = []corev1.Container{{SecurityContext: &corev1.SecurityContext{SeccompProfile: own}}}
		}) {
			continue
		}
		message := "has no seccomp profile, and neither has the pod"
		if own != nil {
			message = "has the seccomp profile " + value(own.Type)
		}
		found = append(found, violation{
			field:   path.below("securityContext", "seccompProfile", "type"),
			message: named(c) + " " + message,
		})
	}
	return found
}

func locateRunAsNonRoot(p pod) []violation {
	var found []violation
	nonRoot := p.podSecurity().RunAsNonRoot
	if p.refusesPod(&corev1.PodSecurityContext{RunAsNonRoot: nonRoot}) {
		found = append(found, violation{
			field:   fieldPath{"spec", "securityContext", "runAsNonRoot"},
			message: "the pod sets runAsNonRoot: false",
		})
		// Once this is corrected, the containers without the field are fine.
		nonRoot = new(true)
	}
	for path, c := range p.containers() {
		own := security(c).RunAsNonRoot
		if !p.refusesSpec(func(s *corev1.PodSpec) {
			s.SecurityContext = &corev1.PodSecurityContext{RunAsNonRoot: nonRoot}
			s.Containers = []corev1.Container{{SecurityContext: &corev1.SecurityContext{RunAsNonRoot: own}}}
		}) {
			continue
		}
		message := "does not set runAsNonRoot: true, and neither does the pod"
		if own != nil {
			message = "sets runAsNonRoot: false"
		}
		found = append(found, violation{field: path.below("securityContext", "runAsNonRoot"), message: named(c) + " " + message})
	}
	return found
}

func locateRunAsUser(p pod) []violation {
	var found []violation
	if p.refusesPod(&corev1.PodSecurityContext{RunAsUser: p.podSecurity().RunAsUser}) {
		found = append(found, violation{field: fieldPath{"spec", "securityContext", "runAsUser"}, message: "the pod runs as user 0 (root)"})
	}
	return append(found, p.eachContainer(fieldPath{"runAsUser"},
		func(sc *corev1.SecurityContext) *corev1.SecurityContext {
			return &corev1.SecurityContext{RunAsUser: sc.RunAsUser}
		},
		func(*corev1.SecurityContext) string { return "runs as user 0 (root)" })...)
}

func locateSELinux(p pod) []violation {
	var found []violation
	check := func(path fieldPath, who string, options *corev1.SELinuxOptions) {
		if options == nil {
			return
		}
		for _, o := range []struct {
			field, value string
			alone        corev1.SELinuxOptions
		}{
			{"type", options.Type, corev1.SELinuxOptions{Type: options.Type}},
			{"user", options.User, corev1.SELinuxOptions{User: options.User}},
			{"role", options.Role, corev1.SELinuxOptions{Role: options.Role}},
		} {
			if p.refusesPod(&corev1.PodSecurityContext{SELinuxOptions: &o.alone}) {
				found = append(found, violation{
					field:   path.below("securityContext", "seLinuxOptions", o.field),
					message: fmt.Sprintf("%s sets the SELinux %s %s", who, o.field, value(o.value)),
				})
			}
		}
	}
	check(fieldPath{"spec"}, "the pod", p.podSecurity().SELinuxOptions)
	for path, c := range p.containers() {
		check(path, named(c), security(c).SELinuxOptions)
	}
	return found
}

func locateSysctls(p pod) []violation {
	var found []violation
	for i, sysctl := range p.podSecurity().Sysctls {
		if p.refusesPod(&corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{sysctl}}) {
			found = append(found, violation{
				field:   fieldPath{"spec", "securityContext", "sysctls", i, "name"},
				message: "the pod sets the sysctl " + value(sysctl.Name),
			})
		}
	}
	return found
}
