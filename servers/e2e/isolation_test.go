package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// rendered is what compose makes of compose.yaml; only what is looked at.
type rendered struct {
	Services map[string]struct {
		NetworkMode string `json:"network_mode"`
		Ports       []struct {
			HostIP    string `json:"host_ip"`
			Published string `json:"published"`
			Target    int    `json:"target"`
		} `json:"ports"`
	} `json:"services"`
}

// inspected is what the engine says of a container; only what is looked at.
type inspected struct {
	State      struct{ Pid int }
	Image      string
	Config     struct{ Image string }
	HostConfig struct {
		Privileged                   bool
		PidMode, UTSMode, UsernsMode string
		IpcMode, NetworkMode         string
		CapAdd                       []string
		Devices                      []any
		PidsLimit, Memory, NanoCpus  int64
	}
	NetworkSettings struct {
		Ports map[string][]struct{ HostIp, HostPort string } //nolint:revive // the engine's spelling
	}
	Mounts []struct{ Source, Destination string }
}

// touchesNetwork are the two programs whose job it is, and the fakes that stand for the world outside.
func touchesNetwork(service string) bool {
	return isDoor(service) || service == "egress" || service == "fakehub" || service == "fakemodel"
}

// Every container of the rendered compose file is held to the same rules, so that a new one is by itself.
func TestIsolation(t *testing.T) {
	b := theBundle
	var config rendered
	if err := json.Unmarshal([]byte(b.docker(t, "compose", "config", "--format", "json")), &config); err != nil {
		t.Fatal(err)
	}
	if len(config.Services) < 6 {
		t.Fatalf("%d services in the rendered compose file", len(config.Services))
	}
	for name, service := range config.Services {
		t.Run(name, func(t *testing.T) {
			id := strings.TrimSpace(b.docker(t, "compose", "ps", "--quiet", name))
			var all []inspected
			if err := json.Unmarshal([]byte(b.docker(t, "inspect", id)), &all); err != nil || len(all) != 1 {
				t.Fatal(err, len(all))
			}
			c := all[0]
			checkProcess(t, c.State.Pid, touchesNetwork(name))
			checkContainer(t, c)
			if name != "door" && (len(service.Ports) > 0 || len(c.NetworkSettings.Ports) > 0 && published(c) > 0) {
				t.Errorf("ports are published: %v", c.NetworkSettings.Ports)
			}
			if name == "door" {
				for _, p := range service.Ports {
					if p.HostIP != "127.0.0.1" {
						t.Errorf("published on %s", p.HostIP)
					}
				}
				if published(c) != 1 {
					t.Errorf("ports: %v", c.NetworkSettings.Ports)
				}
			}
			if !touchesNetwork(name) && c.HostConfig.NetworkMode != "none" {
				t.Errorf("network mode %q", c.HostConfig.NetworkMode)
			}
		})
	}
}

func published(c inspected) int {
	n := 0
	for _, bindings := range c.NetworkSettings.Ports {
		n += len(bindings)
	}
	return n
}

// checkProcess looks at the container's first process as the kernel has it.
func checkProcess(t *testing.T, pid int, network bool) {
	t.Helper()
	status := proc(t, pid, "status")
	fields := map[string]string{}
	for line := range strings.Lines(status) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			fields[name] = strings.Join(strings.Fields(value), " ")
		}
	}
	const none = "0000000000000000"
	for name, want := range map[string]string{
		"Uid": "65532 65532 65532 65532", "Gid": "65532 65532 65532 65532", "NoNewPrivs": "1", "Seccomp": "2",
		"CapEff": none, "CapPrm": none, "CapInh": none, "CapAmb": none, "CapBnd": none,
	} {
		if fields[name] != want {
			t.Errorf("%s is %q, want %q", name, fields[name], want)
		}
	}
	var interfaces []string
	for line := range strings.Lines(proc(t, pid, "net/dev")) {
		if name, _, ok := strings.Cut(line, ":"); ok {
			interfaces = append(interfaces, strings.TrimSpace(name))
		}
	}
	onlyLo := len(interfaces) == 1 && interfaces[0] == "lo"
	if !network && !onlyLo {
		t.Errorf("network interfaces: %v", interfaces)
	}
	if network && onlyLo {
		t.Error("a program whose job is the network has none: is this looking at the right process?")
	}
	root := ""
	for line := range strings.Lines(proc(t, pid, "mountinfo")) {
		if f := strings.Fields(line); len(f) > 5 && f[4] == "/" {
			root = f[5]
		}
	}
	if !strings.HasPrefix(root+",", "ro,") {
		t.Errorf("the root file system is mounted %q", root)
	}
}

func proc(t *testing.T, pid int, name string) string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		t.Fatalf("looking at a container's process needs root, and the engine on this machine: %v", err)
	}
	return string(data)
}

func checkContainer(t *testing.T, c inspected) {
	t.Helper()
	h := c.HostConfig
	if h.Privileged || len(h.CapAdd) > 0 || len(h.Devices) > 0 || h.PidMode != "" || h.UTSMode != "" || h.UsernsMode != "" || h.IpcMode != "none" {
		t.Errorf("host configuration %+v", h)
	}
	if h.PidsLimit <= 0 || h.Memory <= 0 {
		t.Errorf("no limits: %+v", h)
	}
	if !strings.HasPrefix(c.Config.Image, "sha256:") && !strings.Contains(c.Config.Image, "@sha256:") {
		t.Errorf("the image is named %q, which can come to mean another", c.Config.Image)
	}
	for _, m := range c.Mounts {
		if info, err := os.Stat(m.Source); err == nil && info.Mode()&os.ModeSocket != 0 || strings.Contains(m.Source, "docker.sock") || strings.Contains(m.Source, "containerd") {
			t.Errorf("mounts %s at %s", m.Source, m.Destination)
		}
	}
}
