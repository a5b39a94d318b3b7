package main

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

var (
	update = flag.Bool("update", false, "rewrite the golden parts of testdata")
	pods   = flag.Uint64("pods", 1000, "random pods that are held to the library")
)

func evaluatorFor(t testing.TB) *evaluator {
	t.Helper()
	e, err := newEvaluator()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// levelVersions are all combinations that have checks.
func levelVersions(e *evaluator) []api.LevelVersion {
	var all []api.LevelVersion
	for minor := 0; minor <= e.newest.Minor(); minor++ {
		for _, level := range []api.Level{api.LevelBaseline, api.LevelRestricted} {
			all = append(all, api.LevelVersion{Level: level, Version: api.MajorMinorVersion(1, minor)})
		}
	}
	return all
}

// fixture is one version's part of testdata/checks/ID.txtar.
type fixture struct {
	since      api.Version
	fail, pass []byte
	want       *[]byte // in the archive
}

func fixtures(t *testing.T, id policy.CheckID) (*txtar.Archive, []fixture) {
	t.Helper()
	archive, err := txtar.ParseFile(filepath.Join("testdata", "checks", string(id)+".txtar"))
	if err != nil {
		t.Fatalf("the check %s needs fixtures: %v", id, err)
	}
	var all []fixture
	for i := range archive.Files {
		file := &archive.Files[i]
		version, part, _ := strings.Cut(file.Name, "/")
		since, err := api.ParseVersion(version)
		if err != nil {
			t.Fatalf("%s: %s: %v", id, file.Name, err)
		}
		if len(all) == 0 || all[len(all)-1].since != since {
			all = append(all, fixture{since: since})
		}
		switch f := &all[len(all)-1]; part {
		case "fail.yaml":
			f.fail = file.Data
		case "pass.yaml":
			f.pass = file.Data
		case "want":
			f.want = &file.Data
		default:
			t.Fatalf("%s: unknown part %s", id, file.Name)
		}
	}
	return archive, all
}

func current(all []fixture, version api.Version) *fixture {
	var found *fixture
	for i := range all {
		if !version.Older(all[i].since) {
			found = &all[i]
		}
	}
	return found
}

// found returns what one rule finds in a manifest, a line each.
func found(t *testing.T, e *evaluator, lv api.LevelVersion, id policy.CheckID, manifest []byte) string {
	t.Helper()
	out := judged(t, podChecker(e, lv.Level, lv.Version.String()), "f.yaml", manifest)
	if len(out.errs) > 0 || len(out.subjects) != 1 {
		t.Fatalf("%s at %s: %v, %d objects", id, lv, out.errs, len(out.subjects))
	}
	var b strings.Builder
	for _, f := range out.own {
		if f.Rule == podRulePrefix+string(id) {
			fmt.Fprintf(&b, "%d:%d %s %s: %s\n", f.Location.Line, f.Location.Column, f.Location.Field, f.Severity, f.Message)
		} else if !strings.HasPrefix(f.Rule, podRulePrefix) {
			t.Errorf("%s at %s: the fixture is wrong: %+v", id, lv, f)
		}
	}
	return b.String()
}

// TestFixtures holds every check of the library, at every level and version that has it, to a manifest that
// fails it, with the fields that the findings name, and one that passes.
func TestFixtures(t *testing.T) {
	e := evaluatorFor(t)
	ids := map[policy.CheckID]bool{}
	for _, check := range e.checks {
		ids[check.ID] = true
		t.Run(string(check.ID), func(t *testing.T) {
			r, ok := e.rules[check.ID]
			if !ok || r.locate == nil || r.title == "" || r.fix == "" || r.severity.Rank() == 0 {
				t.Fatalf("the check has no rule, or an incomplete one: %+v", r)
			}
			archive, all := fixtures(t, check.ID)
			used := map[*fixture]bool{}
			for _, lv := range levelVersions(e) {
				active := false
				for _, c := range e.active(lv) {
					active = active || c.id == check.ID
				}
				if !active {
					continue
				}
				f := current(all, lv.Version)
				if f == nil || f.want == nil {
					t.Fatalf("no fixture for %s", lv)
				}
				got := found(t, e, lv, check.ID, f.fail)
				if *update && !used[f] {
					*f.want = []byte(got)
				}
				used[f] = true
				if diff := cmp.Diff(string(*f.want), got); diff != "" || got == "" {
					t.Errorf("%s: %s fail.yaml (-want +got):\n%s", lv, f.since, diff)
				}
				if got := found(t, e, lv, check.ID, f.pass); got != "" {
					t.Errorf("%s: %s pass.yaml fails:\n%s", lv, f.since, got)
				}
			}
			if len(used) != len(all) {
				t.Errorf("%d of %d fixtures are for no version", len(all)-len(used), len(all))
			}
			if *update {
				if err := os.WriteFile(filepath.Join("testdata", "checks", string(check.ID)+".txtar"), txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	for id := range e.rules {
		if !ids[id] {
			t.Errorf("there is a rule for %s, which is no check of the library", id)
		}
	}
}

// TestLocateAgainstLibrary makes pods at random and holds two things to the library at every level and
// version: the ids that its results are given, and that a rule finds a field to blame exactly when the
// library refuses.
func TestLocateAgainstLibrary(t *testing.T) {
	e := evaluatorFor(t)
	changed := map[api.Version]bool{}
	for _, check := range e.checks {
		for _, v := range check.Versions {
			changed[v.MinimumVersion] = true
		}
	}
	refused, allowed := map[policy.CheckID]int{}, map[policy.CheckID]int{}
	for seed := range *pods {
		meta, spec := randomPod(rand.New(rand.NewPCG(seed, 1)))
		given := spec.DeepCopy()
		applyDefaults(spec)
		for _, lv := range levelVersions(e) {
			if seed > 10 && !changed[lv.Version] {
				continue // the same checks as in the version before
			}
			results := e.library.EvaluatePod(lv, meta, spec)
			checks := e.active(lv)
			if len(results) != len(checks) {
				t.Fatalf("%s: %d results for %d checks", lv, len(results), len(checks))
			}
			for i, c := range checks {
				if alone := c.run(meta, spec); alone != results[i] {
					t.Fatalf("seed %d, %s: result %d is %+v, but %s says %+v", seed, lv, i, results[i], c.id, alone)
				}
				p := pod{meta: meta, spec: spec, given: given, check: c.run, baseline: e.overridden(c, lv.Version)}
				violations := e.rules[c.id].locate(p)
				if (len(violations) == 0) != results[i].Allowed {
					t.Fatalf("seed %d, %s, %s: allowed %t (%s), but located %+v", seed, lv, c.id, results[i].Allowed, results[i].ForbiddenDetail, violations)
				}
				if results[i].Allowed {
					allowed[c.id]++
				} else {
					refused[c.id]++
				}
				for _, v := range violations {
					if v.message == "" || len(v.field) < 2 {
						t.Fatalf("seed %d, %s: violation %+v", seed, c.id, v)
					}
				}
			}
		}
	}
	for _, check := range e.checks {
		if refused[check.ID] < 100 || allowed[check.ID] < 100 {
			t.Errorf("%s: %d refused and %d allowed are too few to mean anything", check.ID, refused[check.ID], allowed[check.ID])
		}
	}
}

// pick returns one of the values; of a weighty zero there are more.
func pick[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }

func maybe[T any](r *rand.Rand, values ...T) *T {
	if r.IntN(3) > 0 {
		return nil
	}
	v := pick(r, values...)
	return &v
}

// randomPod makes a pod with few settings or many, each of which some check reads.
func randomPod(r *rand.Rand) (*metav1.ObjectMeta, *corev1.PodSpec) {
	meta := &metav1.ObjectMeta{}
	if r.IntN(3) == 0 {
		meta.Annotations = map[string]string{
			pick(r, "container.apparmor.security.beta.kubernetes.io/a", "container.apparmor.security.beta.kubernetes.io/zz",
				"seccomp.security.alpha.kubernetes.io/pod", "container.seccomp.security.alpha.kubernetes.io/b",
				"container.seccomp.security.alpha.kubernetes.io/zz"): pick(r, "", "unconfined", "runtime/default", "docker/default", "localhost/x", "localhost/"),
		}
	}
	spec := &corev1.PodSpec{
		HostNetwork: r.IntN(5) == 0,
		HostPID:     r.IntN(5) == 0,
		HostIPC:     r.IntN(5) == 0,
		HostUsers:   maybe(r, true, false),
	}
	if r.IntN(6) == 0 {
		spec.OS = &corev1.PodOS{Name: pick(r, corev1.Linux, corev1.Windows)}
	}
	if r.IntN(2) == 0 {
		spec.SecurityContext = &corev1.PodSecurityContext{
			RunAsNonRoot:    maybe(r, true, false),
			RunAsUser:       maybe(r, int64(0), 1),
			SeccompProfile:  maybe(r, corev1.SeccompProfile{Type: "RuntimeDefault"}, corev1.SeccompProfile{Type: "Unconfined"}, corev1.SeccompProfile{}),
			AppArmorProfile: maybe(r, corev1.AppArmorProfile{Type: "RuntimeDefault"}, corev1.AppArmorProfile{Type: "Unconfined"}, corev1.AppArmorProfile{}),
			SELinuxOptions:  maybe(r, seLinux(r)),
			WindowsOptions:  maybe(r, windows(r)),
		}
		for range r.IntN(3) {
			spec.SecurityContext.Sysctls = append(spec.SecurityContext.Sysctls, corev1.Sysctl{
				Name: pick(r, "kernel.shm_rmid_forced", "kernel.msgmax", "net.ipv4.tcp_rmem", "net.ipv4.tcp_notsent_lowat", "net.ipv4.tcp_fin_timeout", "net.ipv4.ip_local_reserved_ports", ""),
			})
		}
	}
	for range r.IntN(3) {
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: "v", VolumeSource: pick(r,
			corev1.VolumeSource{}, corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}},
			corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{}}, corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{}},
			corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{}}, corev1.VolumeSource{GitRepo: &corev1.GitRepoVolumeSource{}},
			corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{}, Secret: &corev1.SecretVolumeSource{}},
		)})
	}
	for _, name := range []string{"a", "b", "a"}[:r.IntN(4)] {
		spec.Containers = append(spec.Containers, randomContainer(r, name))
	}
	if r.IntN(3) == 0 {
		spec.InitContainers = append(spec.InitContainers, randomContainer(r, "i"))
	}
	if r.IntN(4) == 0 {
		spec.EphemeralContainers = append(spec.EphemeralContainers, corev1.EphemeralContainer{
			EphemeralContainerCommon: corev1.EphemeralContainerCommon(randomContainer(r, "e")),
		})
	}
	return meta, spec
}

func seLinux(r *rand.Rand) corev1.SELinuxOptions {
	return corev1.SELinuxOptions{
		Type: pick(r, "", "container_t", "container_engine_t", "spc_t"), User: pick(r, "", "", "u"), Role: pick(r, "", "", "r"), Level: pick(r, "", "s0"),
	}
}

func windows(r *rand.Rand) corev1.WindowsSecurityContextOptions {
	return corev1.WindowsSecurityContextOptions{HostProcess: maybe(r, true, false)}
}

func randomContainer(r *rand.Rand, name string) corev1.Container {
	c := corev1.Container{Name: name}
	for range r.IntN(3) {
		c.Ports = append(c.Ports, corev1.ContainerPort{ContainerPort: pick[int32](r, 0, 80), HostPort: pick[int32](r, 0, 0, 8080)})
	}
	get := &corev1.HTTPGetAction{Host: pick(r, "", "h")}
	tcp := &corev1.TCPSocketAction{Host: pick(r, "", "t")}
	probe := pick(r, nil, nil, &corev1.Probe{}, &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: get}}, &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: tcp}})
	switch r.IntN(6) {
	case 0:
		c.LivenessProbe = probe
	case 1:
		c.ReadinessProbe = probe
	case 2:
		c.StartupProbe = probe
	case 3:
		c.Lifecycle = &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{HTTPGet: get}}
	case 4:
		c.Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{TCPSocket: tcp}}
	}
	if r.IntN(4) == 0 {
		return c
	}
	c.SecurityContext = &corev1.SecurityContext{
		Privileged:               maybe(r, true, false),
		AllowPrivilegeEscalation: pick(r, nil, new(true), new(false), new(false)),
		RunAsNonRoot:             maybe(r, true, false),
		RunAsUser:                maybe(r, int64(0), 1),
		ProcMount:                maybe(r, corev1.DefaultProcMount, corev1.UnmaskedProcMount, ""),
		SeccompProfile:           maybe(r, corev1.SeccompProfile{Type: "Localhost"}, corev1.SeccompProfile{Type: "Unconfined"}, corev1.SeccompProfile{}),
		AppArmorProfile:          maybe(r, corev1.AppArmorProfile{Type: "Localhost"}, corev1.AppArmorProfile{Type: "Unconfined"}, corev1.AppArmorProfile{}),
		SELinuxOptions:           maybe(r, seLinux(r)),
		WindowsOptions:           maybe(r, windows(r)),
	}
	if r.IntN(2) == 0 {
		c.SecurityContext.Capabilities = &corev1.Capabilities{Drop: pick(r, nil, []corev1.Capability{"ALL"}, []corev1.Capability{"KILL", "ALL"}, []corev1.Capability{"all"})}
		for range r.IntN(3) {
			c.SecurityContext.Capabilities.Add = append(c.SecurityContext.Capabilities.Add, pick[corev1.Capability](r, "NET_BIND_SERVICE", "CHOWN", "SYS_ADMIN", ""))
		}
	}
	return c
}

// TestDefaults: one row for each thing that applyDefaults sets, and for what it must leave.
func TestDefaults(t *testing.T) {
	for _, tc := range []struct {
		name     string
		in, want corev1.PodSpec
	}{
		{"empty", corev1.PodSpec{}, corev1.PodSpec{}},
		{
			"volume without a source",
			corev1.PodSpec{Volumes: []corev1.Volume{{Name: "v"}, {Name: "h", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{}}}}},
			corev1.PodSpec{Volumes: []corev1.Volume{
				{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
				{Name: "h", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{}}},
			}},
		},
		{
			"ports with hostNetwork",
			corev1.PodSpec{
				HostNetwork:    true,
				Containers:     []corev1.Container{{Ports: []corev1.ContainerPort{{ContainerPort: 80}, {ContainerPort: 81, HostPort: 8081}, {}}}},
				InitContainers: []corev1.Container{{Ports: []corev1.ContainerPort{{ContainerPort: 82}}}},
				EphemeralContainers: []corev1.EphemeralContainer{{
					EphemeralContainerCommon: corev1.EphemeralContainerCommon{Ports: []corev1.ContainerPort{{ContainerPort: 83}}},
				}},
			},
			corev1.PodSpec{
				HostNetwork:    true,
				Containers:     []corev1.Container{{Ports: []corev1.ContainerPort{{ContainerPort: 80, HostPort: 80}, {ContainerPort: 81, HostPort: 8081}, {}}}},
				InitContainers: []corev1.Container{{Ports: []corev1.ContainerPort{{ContainerPort: 82, HostPort: 82}}}},
				EphemeralContainers: []corev1.EphemeralContainer{{
					EphemeralContainerCommon: corev1.EphemeralContainerCommon{Ports: []corev1.ContainerPort{{ContainerPort: 83}}},
				}},
			},
		},
		{
			"ports without hostNetwork",
			corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{ContainerPort: 80}}}}},
			corev1.PodSpec{Containers: []corev1.Container{{Ports: []corev1.ContainerPort{{ContainerPort: 80}}}}},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			applyDefaults(&tc.in)
			if diff := cmp.Diff(tc.want, tc.in); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestVersion(t *testing.T) {
	e := evaluatorFor(t)
	newest := e.newest.String()
	for _, tc := range []struct{ in, want, err string }{
		{"latest", newest, ""},
		{"v1.0", "v1.0", ""},
		{"v1.24", "v1.24", ""},
		{newest, newest, ""},
		{fmt.Sprintf("v1.%d", e.newest.Minor()+1), "", "newest that is known here, " + newest},
		{"v1.999", "", newest},
		{"1.24", "", "want latest or v1.N"},
		{"v2.0", "", "want latest or v1.N"},
		{"v1.024", "", "want latest or v1.N"},
		{"", "", "want latest or v1.N"},
	} {
		got, err := e.version(tc.in)
		if tc.err == "" && (err != nil || got.String() != tc.want) {
			t.Errorf("version(%q) = %s, %v, want %s", tc.in, got, err, tc.want)
		}
		if tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
			t.Errorf("version(%q): error %v, want %q in it", tc.in, err, tc.err)
		}
	}
}

// TestUnknownCheck: a check of a newer library without a rule fails the pod all the same.
func TestUnknownCheck(t *testing.T) {
	e := evaluatorFor(t)
	delete(e.rules, "privileged")
	out := judged(t, podChecker(e, api.LevelBaseline, "latest"), "f.yaml", []byte("apiVersion: v1\nkind: Pod\nspec:\n  containers: [{name: c, securityContext: {privileged: true}}]\n"))
	if len(out.own) != 1 || out.subjects[0].verdict != finding.Fail {
		t.Fatalf("%+v", out)
	}
	f := out.own[0]
	if f.Rule != "pod-security/privileged" || !strings.Contains(f.Message, `container "c" must not set securityContext.privileged=true`) {
		t.Errorf("%+v", f)
	}
}

func TestPrivilegedLevelAllowsAll(t *testing.T) {
	archive, err := txtar.ParseFile(filepath.Join("testdata", "checks", "privileged.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	out := judged(t, podChecker(evaluatorFor(t), api.LevelPrivileged, "latest"), "f.yaml", bytes.Clone(archive.Files[0].Data))
	if out.subjects[0].verdict != finding.Pass {
		t.Errorf("%+v", out)
	}
}
