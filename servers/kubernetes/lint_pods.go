package main

import (
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

const (
	kindContainers = "containers"
	kindLasting    = "containers of pods that run until they are stopped"
	kindPods       = "pods"
)

func imageRules() []lintRule {
	return []lintRule{
		{
			ID: "image/missing", Title: "Containers have an image", Severity: finding.High, Kinds: kindContainers,
			Why: "The API server refuses a pod whose container has no image.",
			Fix: "name an image",
			Check: eachContainer(func(c container, r reporter) {
				if c.Image == "" {
					r.fail(c.at("image"), "%s has no image", c)
				}
			}),
		},
		{
			ID: "image/latest-tag", Title: "Images have a tag that names a version", Severity: finding.Medium, Kinds: kindContainers,
			References: []string{"kube-linter latest-tag"},
			Why:        "latest, which stands for no tag, too, is another image tomorrow, and on another node: nobody can say what runs, or go back to it.",
			Fix:        "name a version, and best its digest",
			Check: eachContainer(func(c container, r reporter) {
				if i := parseImage(c.Image); c.Image != "" && i.digest == "" && (i.tag == "" || i.tag == "latest") {
					r.fail(c.at("image"), "%s has the image %s, of no version", c, value(c.Image))
				}
			}),
		},
		{
			ID: "image/no-digest", Title: "Images are pinned to a digest", Severity: finding.Low, Kinds: kindContainers,
			Why: "A tag can be moved to other content, by mistake or by an attacker; a digest cannot.",
			Fix: "write the digest behind the tag: NAME:TAG@sha256:…",
			Check: eachContainer(func(c container, r reporter) {
				if i := parseImage(c.Image); i.digest == "" && i.tag != "" && i.tag != "latest" {
					r.fail(c.at("image"), "%s has the image %s, without a digest", c, value(c.Image))
				}
			}),
		},
		{
			ID: "image/short-name", Title: "Images name their registry", Severity: finding.Low, Kinds: kindContainers,
			Why: "Where a short name comes from is for each node's configuration to say: the wrong registry may answer first.",
			Fix: "write the registry: docker.io/library/NAME",
			Check: eachContainer(func(c container, r reporter) {
				if c.Image != "" && parseImage(c.Image).registry == "" {
					r.fail(c.at("image"), "%s has the image %s, of no stated registry", c, value(c.Image))
				}
			}),
		},
		{
			ID: "image/pull-policy", Title: "Images that may change are pulled", Severity: finding.Low, Kinds: kindContainers,
			Why: "Without a pull the node runs whatever it has under that name, and asks no registry whether this pod may have it.",
			Fix: "remove imagePullPolicy, or set it to Always",
			Check: eachContainer(func(c container, r reporter) {
				i := parseImage(c.Image)
				switch {
				case i.digest != "":
				case c.ImagePullPolicy == corev1.PullNever:
					r.fail(c.at("imagePullPolicy"), "%s never pulls its image", c)
				case c.ImagePullPolicy == corev1.PullIfNotPresent && (i.tag == "" || i.tag == "latest"):
					r.fail(c.at("imagePullPolicy"), "%s does not pull latest again", c)
				}
			}),
		},
	}
}

// image is a reference to an image, taken apart as container runtimes do (distribution's reference grammar).
type image struct{ registry, tag, digest string }

func parseImage(s string) image {
	var i image
	s, i.digest, _ = strings.Cut(s, "@")
	if slash := strings.LastIndex(s, "/"); strings.LastIndex(s, ":") > slash {
		i.tag = s[strings.LastIndex(s, ":")+1:]
	}
	if first, _, ok := strings.Cut(s, "/"); ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		i.registry = first
	}
	return i
}

func resourceRules() []lintRule {
	// demand reports containers without a limit or request, unless a LimitRange sets it.
	demand := func(of corev1.ResourceName, what string, has func(corev1.ResourceRequirements) bool) func(*manifest, reporter) {
		return eachContainer(func(c container, r reporter) {
			if c.ephemeral() || has(c.Resources) {
				return
			}
			namespace, who := r.m.namespace, c.String()
			r.later(c.at("resources"), func(known *inventory) answer {
				if known.limits[namespace][of] || known.limits[""][of] {
					return answer{}
				}
				return failed("%s has no %s", who, what)
			})
		})
	}
	return []lintRule{
		{
			ID: "resources/memory-limit", Title: "Containers have a memory limit", Severity: finding.Medium, Kinds: kindContainers,
			References: []string{"kube-linter unset-memory-requirements", "NSA Resource policies"},
			Why:        "Without one, a leak takes the node's memory, and the kernel ends whatever it likes.",
			Fix:        "set resources.limits.memory",
			Check: demand("limits.memory", "memory limit", func(r corev1.ResourceRequirements) bool {
				return has(r.Limits, corev1.ResourceMemory)
			}),
		},
		{
			ID: "resources/memory-request", Title: "Containers request memory", Severity: finding.Low, Kinds: kindContainers,
			References: []string{"kube-linter unset-memory-requirements", "NSA Resource policies"},
			Why:        "Without one, the scheduler counts the pod as nothing, and it is evicted first.",
			Fix:        "set resources.requests.memory",
			Check: demand("requests.memory", "memory request", func(r corev1.ResourceRequirements) bool {
				return requested(r, corev1.ResourceMemory)
			}),
		},
		{
			ID: "resources/cpu-request", Title: "Containers request CPU", Severity: finding.Low, Kinds: kindContainers,
			References: []string{"kube-linter unset-cpu-requirements", "NSA Resource policies"},
			Why:        "Without one, the scheduler counts the pod as nothing, and on a busy node it gets nothing.",
			Fix:        "set resources.requests.cpu",
			Check: demand("requests.cpu", "CPU request", func(r corev1.ResourceRequirements) bool {
				return requested(r, corev1.ResourceCPU)
			}),
		},
		{
			ID: "resources/request-over-limit", Title: "Requests are at most as large as limits", Severity: finding.High, Kinds: kindContainers,
			Why: "The API server refuses the pod.",
			Fix: "lower the request, or raise the limit",
			Check: eachContainer(func(c container, r reporter) {
				for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
					limit, limited := c.Resources.Limits[name]
					if request, ok := c.Resources.Requests[name]; ok && limited && request.Cmp(limit) > 0 {
						r.fail(c.at("resources", "requests", string(name)), "%s requests more %s than its limit", c, name)
					}
				}
			}),
		},
		{
			ID: "resources/memory-volume", Title: "Volumes in memory have a size limit", Severity: finding.Medium, Kinds: kindPods,
			Why: "What is written to a volume in memory counts as the container's memory: a full one ends the container.",
			Fix: "set emptyDir.sizeLimit below the memory limit",
			Check: eachPod(func(w *workload, r reporter) {
				for i, v := range w.spec.Volumes {
					if v.EmptyDir != nil && v.EmptyDir.Medium == corev1.StorageMediumMemory && v.EmptyDir.SizeLimit == nil {
						r.fail(fieldPath{"spec", "volumes", i, "emptyDir"}, "volume %s is in memory, without a size limit", value(v.Name))
					}
				}
			}),
		},
	}
}

func has(list corev1.ResourceList, name corev1.ResourceName) bool {
	_, ok := list[name]
	return ok
}

// requested says whether a request is made: a limit without a request is a request, too.
func requested(r corev1.ResourceRequirements, name corev1.ResourceName) bool {
	return has(r.Requests, name) || has(r.Limits, name)
}

// probeOf is one of a container's probes.
type probeOf struct {
	field string
	*corev1.Probe
}

func (c container) probes() []probeOf {
	var all []probeOf
	for _, p := range []probeOf{{"livenessProbe", c.LivenessProbe}, {"readinessProbe", c.ReadinessProbe}, {"startupProbe", c.StartupProbe}} {
		if p.Probe != nil {
			all = append(all, p)
		}
	}
	return all
}

// port returns the port that a probe asks, if it asks one.
func (p probeOf) port() (port intstr.IntOrString, at fieldPath, ok bool) {
	switch {
	case p.HTTPGet != nil:
		return p.HTTPGet.Port, fieldPath{p.field, "httpGet", "port"}, true
	case p.TCPSocket != nil:
		return p.TCPSocket.Port, fieldPath{p.field, "tcpSocket", "port"}, true
	default:
		return intstr.IntOrString{}, nil, false
	}
}

func probeRules() []lintRule {
	// demand reports the containers that serve something and lack a probe.
	demand := func(probe string, has func(container) bool) func(*manifest, reporter) {
		return eachContainer(func(c container, r reporter) {
			if c.lasting() && c.list == "containers" && c.pod.endless() && len(c.Ports) > 0 && !has(c) {
				r.fail(c.at(probe), "%s has ports, and no %s", c, probe)
			}
		})
	}
	return []lintRule{
		{
			ID: "probes/readiness", Title: "Containers with ports say when they are ready", Severity: finding.Medium, Kinds: kindLasting,
			References: []string{"kube-linter no-readiness-probe"},
			Why:        "Without a readiness probe a pod gets requests before it can answer them, and a bad rollout goes on to the end.",
			Fix:        "give it a readinessProbe",
			Check:      demand("readinessProbe", func(c container) bool { return c.ReadinessProbe != nil }),
		},
		{
			ID: "probes/liveness", Title: "Containers with ports say that they live", Severity: finding.Low, Kinds: kindLasting,
			References: []string{"kube-linter no-liveness-probe"},
			Why:        "Without a liveness probe a container that hangs stays as it is.",
			Fix:        "give it a livenessProbe that asks nothing of other systems",
			Check:      demand("livenessProbe", func(c container) bool { return c.LivenessProbe != nil }),
		},
		{
			ID: "probes/named-port", Title: "Probes ask ports that exist", Severity: finding.High, Kinds: kindContainers,
			References: []string{"kube-linter liveness-port", "kube-linter readiness-port", "kube-linter startup-port"},
			Why:        "A probe of a port name that the container does not have fails always: the container is restarted, or never ready.",
			Fix:        "name one of the container's ports, or give the number",
			Check: eachContainer(func(c container, r reporter) {
				for _, p := range c.probes() {
					port, at, ok := p.port()
					if ok && port.Type == intstr.String && !slices.ContainsFunc(c.Ports, func(own corev1.ContainerPort) bool { return own.Name == port.StrVal }) {
						if _, err := strconv.Atoi(port.StrVal); err != nil {
							r.fail(c.at(at...), "%s has no port %s", c, value(port.StrVal))
						}
					}
				}
			}),
		},
		{
			ID: "probes/same", Title: "Liveness asks less than readiness", Severity: finding.Low, Kinds: kindLasting,
			Why: "Where both ask the same, just as often, a pod that is busy is restarted instead of left alone for a while.",
			Fix: "have the livenessProbe ask something simpler, or fail later (failureThreshold)",
			Check: eachContainer(func(c container, r reporter) {
				if c.LivenessProbe != nil && c.ReadinessProbe != nil && reflect.DeepEqual(c.LivenessProbe, c.ReadinessProbe) {
					r.fail(c.at("livenessProbe"), "%s has equal probes for liveness and readiness", c)
				}
			}),
		},
		{
			ID: "probes/init-container", Title: "Init containers have no probes", Severity: finding.High, Kinds: "init containers",
			Why: "The API server refuses probes and lifecycle hooks of init containers, but for those that are restarted always.",
			Fix: "remove the probe, or set restartPolicy: Always if it is a sidecar",
			Check: eachContainer(func(c container, r reporter) {
				if c.list != "initContainers" || c.lasting() {
					return
				}
				for _, p := range c.probes() {
					r.fail(c.at(p.field), "init container %s has a %s", value(c.Name), p.field)
				}
			}),
		},
	}
}

func securityRules() []lintRule {
	return []lintRule{
		{
			ID: "security/read-only-root", Title: "Root file systems are read-only", Severity: finding.Medium, Kinds: kindContainers,
			References: []string{"kube-linter no-read-only-root-fs", "NSA Immutable container file systems"},
			Why:        "Who breaks in cannot put programs, or change those that are there, where nothing can be written.",
			Fix:        "set securityContext.readOnlyRootFilesystem: true, and mount an emptyDir where the program writes",
			Check: eachContainer(func(c container, r reporter) {
				if c.ephemeral() || c.pod.windows() {
					return
				}
				if only := c.security().ReadOnlyRootFilesystem; only == nil || !*only {
					r.fail(c.at("securityContext", "readOnlyRootFilesystem"), "%s can write to its root file system", c)
				}
			}),
		},
		{
			ID: "security/root-group", Title: "Processes are in no group of root", Severity: finding.Low, Kinds: kindPods,
			Why: "Much of an image belongs to group 0, and volumes that are shared with the node often let it write.",
			Fix: "set a group id other than 0",
			Check: eachPod(func(w *workload, r reporter) {
				sc := w.security()
				at := fieldPath{"spec", "securityContext"}
				if sc.RunAsGroup != nil && *sc.RunAsGroup == 0 {
					r.fail(at.below("runAsGroup"), "the pod runs in group 0")
				}
				if sc.FSGroup != nil && *sc.FSGroup == 0 {
					r.fail(at.below("fsGroup"), "the pod's volumes belong to group 0")
				}
				if i := slices.Index(sc.SupplementalGroups, 0); i >= 0 {
					r.fail(at.below("supplementalGroups", i), "the pod runs in group 0")
				}
				for _, c := range w.containers {
					if group := c.security().RunAsGroup; group != nil && *group == 0 {
						r.fail(c.at("securityContext", "runAsGroup"), "%s runs in group 0", c)
					}
				}
			}),
		},
		{
			ID: "security/system-user", Title: "User ids are above those of system accounts", Severity: finding.Low, Kinds: kindPods,
			Why: "A low id is likely an account of the node as well, with files of its own there.",
			Fix: "run as a user id of 1000 or more, or use user namespaces (hostUsers: false)",
			Check: eachPod(func(w *workload, r reporter) {
				if w.spec.HostUsers != nil && !*w.spec.HostUsers {
					return
				}
				low := func(id *int64) bool { return id != nil && *id > 0 && *id < firstUser }
				if id := w.security().RunAsUser; low(id) {
					r.fail(fieldPath{"spec", "securityContext", "runAsUser"}, "the pod runs as user %d", *id)
				}
				for _, c := range w.containers {
					if id := c.security().RunAsUser; low(id) {
						r.fail(c.at("securityContext", "runAsUser"), "%s runs as user %d", c, *id)
					}
				}
			}),
		},
		{
			ID: "security/shared-processes", Title: "Containers of a pod do not see each other's processes", Severity: finding.Low, Kinds: kindPods,
			Why: "In one process namespace each container sees the others' environment and memory, secrets included.",
			Fix: "remove shareProcessNamespace",
			Check: eachPod(func(w *workload, r reporter) {
				if s := w.spec.ShareProcessNamespace; s != nil && *s && len(w.spec.Containers) > 1 {
					r.fail(fieldPath{"spec", "shareProcessNamespace"}, "the pod's containers share their processes")
				}
			}),
		},
		{
			ID: "security/mount-propagation", Title: "Mounts do not spread to the node", Severity: finding.High, Kinds: kindContainers,
			Why: "With Bidirectional, what a container mounts appears on the node, and in every pod that mounts the same volume.",
			Fix: "remove mountPropagation, or use HostToContainer",
			Check: eachContainer(func(c container, r reporter) {
				for i, m := range c.VolumeMounts {
					if m.MountPropagation != nil && *m.MountPropagation == corev1.MountPropagationBidirectional {
						r.fail(c.at("volumeMounts", i, "mountPropagation"), "%s spreads its mounts in %s to the node", c, value(m.MountPath))
					}
				}
			}),
		},
		{
			ID: "security/ssh-port", Title: "Containers serve no SSH", Severity: finding.Medium, Kinds: kindContainers,
			References: []string{"kube-linter ssh-port"},
			Why:        "A shell by SSH goes around the API server: nobody sees who was there, and its keys are nobody's.",
			Fix:        "remove the port, and use kubectl exec or kubectl debug",
			Check: eachContainer(func(c container, r reporter) {
				for i, p := range c.Ports {
					if p.ContainerPort == sshPort && (p.Protocol == "" || p.Protocol == corev1.ProtocolTCP) {
						r.fail(c.at("ports", i, "containerPort"), "%s has the port of SSH, %d", c, sshPort)
					}
				}
			}),
		},
		{
			ID: "security/privileged-port", Title: "Containers serve ports that need no privilege", Severity: finding.Low, Kinds: kindContainers,
			References: []string{"kube-linter privileged-ports"},
			Why:        "A port below 1024 asks for NET_BIND_SERVICE, or a sysctl, where another number behind a Service would do.",
			Fix:        "listen on a port from 1024 on, and map it in the Service",
			Check: eachContainer(func(c container, r reporter) {
				if slices.ContainsFunc(c.pod.security().Sysctls, func(s corev1.Sysctl) bool { return s.Name == "net.ipv4.ip_unprivileged_port_start" }) {
					return
				}
				for i, p := range c.Ports {
					if p.ContainerPort > 0 && p.ContainerPort < firstPort && p.ContainerPort != sshPort {
						r.fail(c.at("ports", i, "containerPort"), "%s has port %d", c, p.ContainerPort)
					}
				}
			}),
		},
	}
}

const (
	sshPort   = 22
	firstPort = 1024 // that needs no privilege
	firstUser = 1000 // that is no system account
)

// hostVolumes yields the volumes that are paths of the node.
func (w *workload) hostVolumes(yield func(i int, name, path string)) {
	for i, v := range w.spec.Volumes {
		if v.HostPath != nil {
			yield(i, v.Name, path.Clean(v.HostPath.Path))
		}
	}
}

func hostRules() []lintRule {
	return []lintRule{
		{
			ID: "host/runtime-socket", Title: "No container sees the container runtime's socket", Severity: finding.Critical, Kinds: kindPods,
			References: []string{"kube-linter docker-sock"},
			Why:        "Who speaks to the runtime is root on the node: it starts whatever container it is told to.",
			Fix:        "remove the volume; build images without the engine, and ask the kubelet or the API server about pods",
			Check: eachPod(func(w *workload, r reporter) {
				w.hostVolumes(func(i int, name, p string) {
					if slices.Contains([]string{"docker.sock", "containerd.sock", "crio.sock", "dockershim.sock", "cri-dockerd.sock", "podman.sock", "buildkitd.sock"}, path.Base(p)) {
						r.fail(fieldPath{"spec", "volumes", i, "hostPath", "path"}, "volume %s is the runtime's socket %s", value(name), value(p))
					}
				})
			}),
		},
		{
			ID: "host/sensitive-path", Title: "No container sees the node's own files", Severity: finding.High, Kinds: kindPods,
			References: []string{"kube-linter sensitive-host-mounts"},
			Why:        "They hold the node's credentials and those of other pods, and the way to change the node itself.",
			Fix:        "remove the volume, or mount just the one folder that is needed, read-only",
			Check: eachPod(func(w *workload, r reporter) {
				w.hostVolumes(func(i int, name, p string) {
					if sensitive(p) {
						r.fail(fieldPath{"spec", "volumes", i, "hostPath", "path"}, "volume %s is %s of the node", value(name), value(p))
					}
				})
			}),
		},
		{
			ID: "host/writable-path", Title: "Paths of the node are mounted read-only", Severity: finding.Medium, Kinds: kindContainers,
			References: []string{"kube-linter writable-host-mount"},
			Why:        "Who can write to the node's files can wait for the node to run them.",
			Fix:        "set readOnly: true at the mount",
			Check: eachPod(func(w *workload, r reporter) {
				ofNode := map[string]bool{}
				w.hostVolumes(func(_ int, name, _ string) { ofNode[name] = true })
				for _, c := range w.containers {
					for i, m := range c.VolumeMounts {
						if !m.ReadOnly && ofNode[m.Name] {
							r.fail(c.at("volumeMounts", i), "%s can write to %s, which is a path of the node", c, value(m.MountPath))
						}
					}
				}
			}),
		},
		{
			ID: "host/persistent-volume", Title: "PersistentVolumes are no paths of the node", Severity: finding.Medium, Kinds: "PersistentVolume",
			Why: "Any pod that claims the volume gets the node's path, and Pod Security does not see that it is one.",
			Fix: "use a storage driver, or a local volume with node affinity",
			Check: on(func(v *corev1.PersistentVolume, r reporter) {
				if v.Spec.HostPath != nil {
					r.fail(fieldPath{"spec", "hostPath"}, "the volume is %s of the node", value(v.Spec.HostPath.Path))
				}
			}),
		},
	}
}

// sensitive says whether a path of the node is, or is above or below, what runs the node.
func sensitive(p string) bool {
	for _, whole := range []string{"/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/root", "/sbin", "/sys", "/usr", "/var/lib/kubelet", "/var/lib/docker", "/var/lib/containerd", "/var/lib/etcd", "/run/containerd"} {
		if p == whole || strings.HasPrefix(p, whole+"/") && !harmless(p) {
			return true
		}
	}
	return slices.Contains([]string{"/", "/var", "/var/lib", "/var/run", "/run", "/home"}, p)
}

// harmless says whether a path below a sensitive one is what many pods need, and tells little.
func harmless(p string) bool {
	for _, part := range []string{"/etc/localtime", "/etc/timezone", "/etc/machine-id", "/etc/os-release", "/etc/ssl/certs", "/etc/pki/ca-trust", "/usr/share/zoneinfo", "/usr/share/ca-certificates", "/dev/shm", "/dev/null", "/sys/fs/cgroup", "/lib/modules"} {
		if p == part || strings.HasPrefix(p, part+"/") {
			return true
		}
	}
	return false
}
