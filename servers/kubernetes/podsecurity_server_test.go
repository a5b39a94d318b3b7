package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/api"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/clustertest"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

const (
	judgedPods      = 300 // pods, and
	judgedWorkloads = 300 // workloads that are compared with the server
)

// testPodSecurity holds check_pod_security to the server in namespaces whose labels say what to enforce, in the whole message: to a
// refusal of a pod, and to the warning for a workload.
func testPodSecurity(t *testing.T, c *clustertest.Cluster) {
	s := podServer{served: newServed(t, c), evaluator: evaluatorFor(t), tool: toolFor(t, nil)}
	r := rand.New(rand.NewPCG(3, 4))
	lvs := s.namespaces(t)
	verdicts, invalid := map[string]int{}, 0
	for pods, workloads := 0, 0; pods < judgedPods || workloads < judgedWorkloads; {
		meta, spec := validPod(r)
		lv := lvs[r.IntN(len(lvs))]
		object := corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: *meta, Spec: *spec}
		object.Name = "sample"
		// The same pod in the namespace that takes all of them says whether it is valid, and what its defaults are.
		var defaulted corev1.Pod
		if answer := s.post(t, "privileged", object, &defaulted); answer.code != http.StatusCreated {
			if invalid++; invalid > 10*(judgedPods+judgedWorkloads) {
				t.Fatal("hardly any pod is valid: ", answer.Message)
			}
			continue
		}
		refusal := s.post(t, lv.name, object, nil)
		want := ""
		if refusal.code != http.StatusCreated {
			var found bool
			if _, want, found = strings.Cut(refusal.Message, "violates PodSecurity "); !found {
				t.Fatalf("%d %s", refusal.code, refusal.Message)
			}
		}
		rules := s.rules(t, object, lv)
		if got := s.message(lv, rules, &defaulted.ObjectMeta, &defaulted.Spec); got != want {
			t.Errorf("%s: the server says\n%s\nhere\n%s\n%s", lv, want, got, marshal(t, object))
		}
		pods++
		verdicts[fmt.Sprintf("pod refused: %t", want != "")]++

		for _, workload := range workloadsOf(r, meta, spec) {
			var made templated
			if answer := s.post(t, "privileged", workload, &made); answer.code != http.StatusCreated {
				invalid++
				continue
			}
			answer, template := s.post(t, lv.name, workload, nil), made.template()
			_, warning, _ := strings.Cut(answer.warning, "would violate PodSecurity ")
			rules := s.rules(t, workload, lv)
			// A template is judged here by the pods that are made of it. On the host's network their ports become host ports, but only
			// once they are made, so the server's warning does without them.
			if spec.HostNetwork && !strings.Contains(warning, "hostPort") {
				rules = slices.DeleteFunc(rules, func(id string) bool { return id == "hostPorts" })
			}
			if got := s.message(lv, rules, &template.ObjectMeta, &template.Spec); got != warning {
				t.Errorf("%s: the server warns\n%s\nhere\n%s\n%s", lv, warning, got, marshal(t, workload))
			}
			workloads++
			verdicts[fmt.Sprintf("workload warned of: %t", warning != "")]++
		}
	}
	t.Logf("%v, and %d objects that are not valid anyway", verdicts, invalid)
	for verdict, n := range verdicts {
		if n < 50 {
			t.Errorf("%s only %d times: the comparison does not say much", verdict, n)
		}
	}
}

// templated is any object with a template of pods.
type templated struct {
	Template *corev1.PodTemplateSpec
	Spec     struct {
		Template    *corev1.PodTemplateSpec
		JobTemplate struct {
			Spec struct{ Template *corev1.PodTemplateSpec }
		}
	}
}

func (o templated) template() *corev1.PodTemplateSpec {
	return cmp.Or(o.Template, o.Spec.Template, o.Spec.JobTemplate.Spec.Template)
}

type podServer struct {
	*served
	evaluator *evaluator
	tool      mcpserver.Tool
}

// labelled is a namespace, and what its labels say.
type labelled struct {
	name    string
	level   api.Level
	version string
}

func (l labelled) String() string { return fmt.Sprintf("%s:%s", l.level, l.version) }

// namespace is the manifest of the Namespace.
func (l labelled) namespace(t *testing.T) []byte {
	t.Helper()
	labels := map[string]string{}
	for _, mode := range []string{"enforce", "warn"} {
		labels["pod-security.kubernetes.io/"+mode] = string(l.level)
		labels["pod-security.kubernetes.io/"+mode+"-version"] = l.version
	}
	return marshal(t, corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: metav1.ObjectMeta{Name: l.name, Labels: labels}})
}

// namespaces makes one for every level and every version at which a check changes, and one that takes everything.
func (s podServer) namespaces(t *testing.T) []labelled {
	t.Helper()
	versions := map[string]bool{"latest": true, "v1.0": true}
	for _, check := range s.evaluator.checks {
		for _, v := range check.Versions {
			versions[v.MinimumVersion.String()] = true
		}
	}
	all := []labelled{{"privileged", api.LevelPrivileged, "latest"}}
	for version := range versions {
		for _, level := range []api.Level{api.LevelBaseline, api.LevelRestricted} {
			all = append(all, labelled{strings.ReplaceAll(string(level)+"-"+version, ".", "-"), level, version})
		}
	}
	slices.SortFunc(all, func(a, b labelled) int { return strings.Compare(a.name, b.name) })
	for _, l := range all {
		status, answer, err := clustertest.Send(t.Context(), s.client, http.MethodPost, s.url+"/api/v1/namespaces", "application/json", l.namespace(t))
		if err != nil || status != http.StatusCreated {
			t.Fatalf("%d %s %v", status, answer, err)
		}
	}
	return slices.DeleteFunc(all, func(l labelled) bool { return l.level == api.LevelPrivileged })
}

type podAnswer struct {
	code             int
	Message, warning string
}

// post sends an object to a namespace as a dry run. into gets what would be created.
func (s podServer) post(t *testing.T, namespace string, object, into any) podAnswer {
	t.Helper()
	body := marshal(t, object)
	var kind struct{ APIVersion, Kind string }
	if err := json.Unmarshal(body, &kind); err != nil {
		t.Fatal(err)
	}
	path := strings.Replace(s.paths[gvk{kind.APIVersion, kind.Kind}], "/namespaces/default/", "/namespaces/"+namespace+"/", 1)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+path+"?dryRun=All", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := s.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	answer := podAnswer{code: response.StatusCode}
	// Warnings are quoted strings (RFC 7234, section 5.5).
	for _, w := range response.Header.Values("Warning") {
		if w = strings.ReplaceAll(w, `\"`, `"`); strings.Contains(w, "PodSecurity") {
			answer.warning = strings.TrimSuffix(w, `"`)
		}
	}
	decoder := json.NewDecoder(response.Body)
	if answer.code != http.StatusCreated {
		err = decoder.Decode(&answer)
	} else if into != nil {
		err = decoder.Decode(into)
	}
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// rules are the ids of the checks that check_pod_security says an object fails, beside the Namespace that it is in.
func (s podServer) rules(t *testing.T, object any, l labelled) []string {
	t.Helper()
	var placed map[string]any
	if err := json.Unmarshal(marshal(t, object), &placed); err != nil {
		t.Fatal(err)
	}
	metadata, _ := placed["metadata"].(map[string]any)
	metadata["namespace"] = l.name
	out, err := call(t, s.tool, map[string]any{"text": fmt.Sprintf("%s\n%s", marshal(t, placed), l.namespace(t))})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, f := range out.Findings {
		id, ok := strings.CutPrefix(f.Rule, podRulePrefix)
		if !ok || f.Verdict != finding.Fail {
			t.Errorf("%s: %s %s: %s %s", f.Object, f.Rule, f.Verdict, f.Message, f.Reason)
			continue
		}
		ids = append(ids, id)
	}
	if failed := out.Verdict == finding.Fail; failed != (len(ids) > 0) {
		t.Errorf("the verdict is %s, with %d findings", out.Verdict, len(ids))
	}
	return ids
}

// message is what the server says of a pod that fails just the checks of these ids.
func (s podServer) message(l labelled, ids []string, meta *metav1.ObjectMeta, spec *corev1.PodSpec) string {
	version, err := s.evaluator.version(l.version)
	if err != nil || len(ids) == 0 {
		return ""
	}
	var details []string
	for _, check := range s.evaluator.active(api.LevelVersion{Level: l.level, Version: version}) {
		if !slices.Contains(ids, string(check.id)) {
			continue
		}
		result := check.run(meta, spec)
		detail := result.ForbiddenReason
		if result.ForbiddenDetail != "" {
			detail += " (" + result.ForbiddenDetail + ")"
		}
		details = append(details, detail)
	}
	return fmt.Sprintf("%q: %s", l.String(), strings.Join(details, ", "))
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// validPod is a random pod, mended where the server's validation would refuse it in most cases.
func validPod(r *rand.Rand) (*metav1.ObjectMeta, *corev1.PodSpec) {
	meta, spec := randomPod(r)
	if r.IntN(2) == 0 {
		tame(r, meta, spec)
	}
	spec.EphemeralContainers = nil // a pod is not created with them
	spec.OS = nil
	if len(spec.Containers) == 0 {
		spec.Containers = []corev1.Container{randomContainer(r, "a")}
	}
	for i := range spec.Volumes {
		v := &spec.Volumes[i]
		v.Name = fmt.Sprintf("v%d", i)
		switch {
		case v.HostPath != nil && v.Secret != nil:
			v.Secret = nil
			fallthrough
		case v.HostPath != nil:
			v.HostPath = &corev1.HostPathVolumeSource{Path: "/x"}
		case v.NFS != nil:
			v.NFS = &corev1.NFSVolumeSource{Server: "a", Path: "/"}
		case v.Secret != nil:
			v.Secret = &corev1.SecretVolumeSource{SecretName: "a"}
		case v.GitRepo != nil:
			v.GitRepo = &corev1.GitRepoVolumeSource{Repository: "a"}
		}
	}
	if c := spec.SecurityContext; c != nil {
		c.Sysctls = slices.DeleteFunc(c.Sysctls, func(s corev1.Sysctl) bool { return s.Name == "" })
		slices.SortFunc(c.Sysctls, func(a, b corev1.Sysctl) int { return strings.Compare(a.Name, b.Name) })
		c.Sysctls = slices.CompactFunc(c.Sysctls, func(a, b corev1.Sysctl) bool { return a.Name == b.Name })
		c.SeccompProfile, c.AppArmorProfile = mendSeccomp(c.SeccompProfile), mendAppArmor(c.AppArmorProfile)
	}
	for _, containers := range [][]corev1.Container{spec.Containers, spec.InitContainers} {
		for i := range containers {
			containers[i].Name = fmt.Sprintf("%s%d", containers[i].Name, i)
			mendContainer(&containers[i])
		}
	}
	return meta, spec
}

// tame makes most of a pod what the restricted level wants, and leaves each thing as it is now and then.
func tame(r *rand.Rand, meta *metav1.ObjectMeta, spec *corev1.PodSpec) {
	mostly := func() bool { return r.IntN(25) > 0 }
	if mostly() {
		meta.Annotations = nil
	}
	if mostly() {
		spec.HostNetwork, spec.HostPID, spec.HostIPC = false, false, false
	}
	if mostly() {
		spec.Volumes = nil
	}
	if mostly() {
		spec.SecurityContext = &corev1.PodSecurityContext{RunAsNonRoot: new(true), SeccompProfile: &corev1.SeccompProfile{Type: "RuntimeDefault"}}
	}
	for _, containers := range [][]corev1.Container{spec.Containers, spec.InitContainers} {
		for i := range containers {
			c := &containers[i]
			if mostly() {
				c.Ports, c.LivenessProbe, c.ReadinessProbe, c.StartupProbe, c.Lifecycle = nil, nil, nil, nil, nil
			}
			if mostly() {
				c.SecurityContext = &corev1.SecurityContext{AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}}
			}
		}
	}
}

func mendContainer(c *corev1.Container) {
	c.Image = "registry.example/a:1"
	if len(c.Ports) > 1 {
		c.Ports = c.Ports[:1]
	}
	for i := range c.Ports {
		c.Ports[i].ContainerPort = max(c.Ports[i].ContainerPort, 80)
	}
	mendHandler := func(get *corev1.HTTPGetAction, tcp *corev1.TCPSocketAction) bool {
		if get != nil {
			get.Port.IntVal = 80
		}
		if tcp != nil {
			tcp.Port.IntVal = 80
		}
		return get != nil || tcp != nil
	}
	for _, probe := range []**corev1.Probe{&c.LivenessProbe, &c.ReadinessProbe, &c.StartupProbe} {
		if p := *probe; p != nil && !mendHandler(p.HTTPGet, p.TCPSocket) {
			*probe = nil
		}
	}
	if l := c.Lifecycle; l != nil {
		for _, h := range []*corev1.LifecycleHandler{l.PostStart, l.PreStop} {
			if h != nil {
				mendHandler(h.HTTPGet, h.TCPSocket)
			}
		}
	}
	s := c.SecurityContext
	if s == nil {
		return
	}
	s.SeccompProfile, s.AppArmorProfile = mendSeccomp(s.SeccompProfile), mendAppArmor(s.AppArmorProfile)
	if s.ProcMount != nil && *s.ProcMount == "" {
		s.ProcMount = nil
	}
	if s.Capabilities != nil {
		s.Capabilities.Add = slices.DeleteFunc(s.Capabilities.Add, func(c corev1.Capability) bool { return c == "" })
		if slices.Contains(s.Capabilities.Add, "SYS_ADMIN") {
			s.AllowPrivilegeEscalation = nil
		}
	}
	if s.Privileged != nil && *s.Privileged {
		s.AllowPrivilegeEscalation = nil
	}
}

func mendSeccomp(p *corev1.SeccompProfile) *corev1.SeccompProfile {
	switch {
	case p == nil || p.Type == "":
		return nil
	case p.Type == corev1.SeccompProfileTypeLocalhost:
		return &corev1.SeccompProfile{Type: p.Type, LocalhostProfile: new("a")}
	}
	return p
}

func mendAppArmor(p *corev1.AppArmorProfile) *corev1.AppArmorProfile {
	switch {
	case p == nil || p.Type == "":
		return nil
	case p.Type == corev1.AppArmorProfileTypeLocalhost:
		return &corev1.AppArmorProfile{Type: p.Type, LocalhostProfile: new("a")}
	}
	return p
}

// workloadsOf are two workloads that make this pod.
func workloadsOf(r *rand.Rand, meta *metav1.ObjectMeta, spec *corev1.PodSpec) []any {
	labels := map[string]string{"app": "sample"}
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: meta.Annotations}, Spec: *spec.DeepCopy()}
	once := *template.DeepCopy()
	once.Spec.RestartPolicy = corev1.RestartPolicyNever
	selector := &metav1.LabelSelector{MatchLabels: labels}
	named := metav1.ObjectMeta{Name: "sample"}
	apps := func(kind string) metav1.TypeMeta { return metav1.TypeMeta{APIVersion: "apps/v1", Kind: kind} }
	all := []any{
		appsv1.Deployment{TypeMeta: apps("Deployment"), ObjectMeta: named, Spec: appsv1.DeploymentSpec{Selector: selector, Template: template}},
		appsv1.ReplicaSet{TypeMeta: apps("ReplicaSet"), ObjectMeta: named, Spec: appsv1.ReplicaSetSpec{Selector: selector, Template: template}},
		appsv1.DaemonSet{TypeMeta: apps("DaemonSet"), ObjectMeta: named, Spec: appsv1.DaemonSetSpec{Selector: selector, Template: template}},
		appsv1.StatefulSet{TypeMeta: apps("StatefulSet"), ObjectMeta: named, Spec: appsv1.StatefulSetSpec{Selector: selector, Template: template}},
		batchv1.Job{TypeMeta: metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"}, ObjectMeta: named, Spec: batchv1.JobSpec{Template: once}},
		batchv1.CronJob{TypeMeta: metav1.TypeMeta{APIVersion: "batch/v1", Kind: "CronJob"}, ObjectMeta: named,
			Spec: batchv1.CronJobSpec{Schedule: "* * * * *", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: once}}}},
		corev1.ReplicationController{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ReplicationController"}, ObjectMeta: named,
			Spec: corev1.ReplicationControllerSpec{Selector: labels, Template: &template}},
		corev1.PodTemplate{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodTemplate"}, ObjectMeta: named, Template: template},
	}
	r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:2]
}
