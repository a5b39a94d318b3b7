package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// object is a part of the rendered compose file, as compose prints it.
type object = map[string]any

// renderShipped is compose.yaml alone, as a user runs it, without what the tests add.
func renderShipped(t *testing.T) object {
	t.Helper()
	b := theBundle
	c := exec.CommandContext(t.Context(), "docker", "compose", "--file", filepath.Join(b.root, "compose.yaml"), "--profile", "*", "config", "--format", "json")
	c.Dir, c.Env = b.root, append(slices.Clone(b.env), "COMPOSE_FILE=")
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	var config object
	if err := json.Unmarshal(out, &config); err != nil {
		t.Fatal(err)
	}
	return config
}

// profileOf is the engine's profile that each service must have; all others have the first.
func profileOf(service string) string {
	switch {
	case isDoor(service):
		return "./images/seccomp-door.json"
	case service == "egress":
		return "./images/seccomp-egress.json"
	case service == "agent":
		return "./images/seccomp-agent.json"
	}
	return "./images/seccomp.json"
}

// isDoor says whether a service is a way in: the one that is always there, the operator's to the metrics, and an agent's.
func isDoor(service string) bool { return publishes(service) || service == "agent-door" }

// publishes says whether a service has a port of the host, and a bridge for it.
func publishes(service string) bool { return service == "door" || service == "metrics-door" }

func part(o object, key string) object {
	p, _ := o[key].(object)
	return p
}

func texts(v any) []string {
	all, _ := v.([]any)
	var out []string
	for _, one := range all {
		out = append(out, fmt.Sprint(one))
	}
	return out
}

var (
	immutable = regexp.MustCompile(`^(sha256:|.+@sha256:)[0-9a-f]{64}$`)
	engine    = regexp.MustCompile(`(docker|containerd|podman|crio|buildkitd|cri-dockerd)\.sock|/run/(docker|containerd|podman)`)
)

// flaws says what is wrong with one service of a rendered compose file.
func flaws(name string, s object) []string {
	var found []string
	flaw := func(is bool, format string, args ...any) {
		if is {
			found = append(found, fmt.Sprintf(format, args...))
		}
	}
	flaw(s["read_only"] != true, "its root is not read-only")
	flaw(!slices.Equal(texts(s["cap_drop"]), []string{"ALL"}) || len(texts(s["cap_add"])) > 0, "capabilities: drop %v, add %v", s["cap_drop"], s["cap_add"])
	options := texts(s["security_opt"])
	slices.Sort(options)
	want := []string{"no-new-privileges:true", "seccomp=" + profileOf(name)}
	flaw(!slices.Equal(options, want), "security_opt is %q, not %q", options, want)
	user := fmt.Sprint(s["user"])
	flaw(user != "65532:65532", "it runs as user %s", user)
	for _, key := range []string{"privileged", "use_api_socket", "pid", "uts", "userns_mode", "cgroup", "cgroup_parent", "devices", "device_cgroup_rules",
		"gpus", "group_add", "extra_hosts", "sysctls", "volumes_from", "external_links", "links", "runtime", "credential_spec", "oom_kill_disable", "init", "build"} {
		flaw(s[key] != nil && s[key] != false, "it has %s: %v", key, s[key])
	}
	flaw(s["ipc"] != "none", "ipc is %v, not none", s["ipc"])
	for _, key := range []string{"pids_limit", "mem_limit", "memswap_limit", "cpus"} {
		flaw(s[key] == nil || fmt.Sprint(s[key]) == "0" || fmt.Sprint(s[key]) == "-1", "it has no %s", key)
	}
	flaw(fmt.Sprint(s["mem_limit"]) != fmt.Sprint(s["memswap_limit"]), "it may swap")
	flaw(part(s, "ulimits")["nofile"] == nil, "it has no limit of descriptors")
	flaw(part(part(s, "logging"), "options")["max-size"] == nil, "its log has no bound")
	flaw(!immutable.MatchString(fmt.Sprint(s["image"])), "its image is named %v, which can come to mean another", s["image"])
	ports, _ := s["ports"].([]any)
	flaw(len(ports) > 0 && !publishes(name), "it publishes %v", ports)
	for _, p := range ports {
		port, _ := p.(object)
		flaw(port["host_ip"] != "127.0.0.1", "it publishes on %v", port["host_ip"])
	}
	bridged := publishes(name) || name == "egress"
	mode := fmt.Sprint(s["network_mode"])
	flaw(bridged != (len(part(s, "networks")) == 1) || bridged == (s["network_mode"] != nil), "networks %v, network_mode %v", s["networks"], s["network_mode"])
	flaw(!bridged && mode != "none" && !strings.HasPrefix(mode, "service:"), "network_mode is %s", mode)
	volumes, _ := s["volumes"].([]any)
	for _, v := range volumes {
		m, _ := v.(object)
		source := fmt.Sprint(m["source"])
		flaw(engine.MatchString(source), "it mounts %s", source)
		flaw(m["type"] == "bind" && m["read_only"] != true, "it may write to %s", source)
		flaw(m["type"] != "bind" && m["type"] != "volume", "it mounts a %v", m["type"])
	}
	for _, spec := range texts(s["tmpfs"]) {
		for _, option := range []string{"size=", "noexec", "nosuid", "nodev"} {
			flaw(!strings.Contains(spec, option), "the tmpfs %s lacks %s", spec, option)
		}
	}
	return found
}

// Every service of the shipped compose file is held to the same, before it is started: a new one is by itself.
func TestRenderedCompose(t *testing.T) {
	config := renderShipped(t)
	services := part(config, "services")
	if len(services) < 5 {
		t.Fatalf("%d services", len(services))
	}
	owners := map[string]string{} // who writes to a volume
	for name := range services {
		s := part(services, name)
		for _, flaw := range flaws(name, s) {
			t.Errorf("%s: %s", name, flaw)
		}
		volumes, _ := s["volumes"].([]any)
		for _, v := range volumes {
			m, _ := v.(object)
			source := fmt.Sprint(m["source"])
			if m["type"] != "volume" || m["read_only"] == true {
				continue
			}
			if other := owners[source]; other != "" {
				t.Errorf("%s and %s both may write to the volume %s", name, other, source)
			}
			owners[source] = name
		}
	}
	for name := range part(config, "networks") {
		if options := part(part(part(config, "networks"), name), "driver_opts"); options["com.docker.network.bridge.enable_icc"] != "false" {
			t.Errorf("on the network %s containers reach each other", name)
		}
	}
	if len(part(config, "secrets")) > 0 && !noneFromEnvironment(part(config, "secrets")) {
		t.Error("a secret comes from the environment")
	}
	for _, name := range []string{"seccomp.json", "seccomp-door.json", "seccomp-egress.json", "seccomp-agent.json"} {
		if _, err := os.Stat(filepath.Join(theBundle.root, "images", name)); err != nil {
			t.Error(err)
		}
	}
}

func noneFromEnvironment(secrets object) bool {
	for name := range secrets {
		if part(secrets, name)["environment"] != nil {
			return false
		}
	}
	return true
}

// Each property that is looked at shows when it is broken.
func TestRenderedComposeFlaws(t *testing.T) {
	good := part(part(renderShipped(t), "services"), "kubernetes")
	for key, broken := range map[string]any{
		"read_only": false, "cap_drop": []any{"NET_RAW"}, "cap_add": []any{"SYS_ADMIN"}, "security_opt": []any{"no-new-privileges:true"},
		"user": "0:0", "privileged": true, "use_api_socket": true, "pid": "host", "uts": "host", "userns_mode": "host", "ipc": "host", "cgroup": "host",
		"devices": []any{"/dev/kvm"}, "group_add": []any{"docker"}, "pids_limit": -1.0, "mem_limit": nil, "memswap_limit": "-1", "cpus": 0.0,
		"ulimits": nil, "logging": nil, "image": "kubernetes:latest", "ports": []any{object{"host_ip": "127.0.0.1"}}, "network_mode": "host",
		"networks": object{"front": nil}, "volumes": []any{object{"type": "bind", "source": "/var/run/docker.sock", "read_only": true}},
		"tmpfs": []any{"/tmp"}, "runtime": "other", "volumes_from": []any{"gateway"}, "sysctls": object{"net.ipv4.ip_forward": "1"},
	} {
		bad := maps.Clone(good)
		bad[key] = broken
		if len(flaws("kubernetes", bad)) == 0 {
			t.Errorf("%s: %v shows as no flaw", key, broken)
		}
	}
	door := maps.Clone(part(part(renderShipped(t), "services"), "door"))
	door["ports"] = []any{object{"host_ip": "0.0.0.0"}}
	if len(flaws("door", door)) == 0 {
		t.Error("a port on every address shows as no flaw")
	}
}
