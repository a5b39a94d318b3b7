//go:build linux && (amd64 || arm64)

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/e2e/attack"
)

// replace puts an attacker with its order into a place, and takes away the layers that it shall not meet. What it takes
// away for each layer is in one function: everything else stays as it was rendered.
func (s *surroundings) replace(config object, p place, layers attack.Layers, order attack.Order) error {
	service := child(child(config, "services"), p.name)
	encoded, err := json.Marshal(order)
	if err != nil {
		return err
	}
	victim := child(child(config, "services"), "victim")
	service["image"] = victim["image"]
	service["entrypoint"] = []any{"/ko-app/attacker"}
	service["command"] = []any{"attack", string(encoded)}
	service["healthcheck"] = object{"disable": true}
	var options []any
	for _, o := range list(service, "security_opt") {
		option, _ := o.(string)
		if profile, ok := strings.CutPrefix(option, "seccomp="); ok {
			option = "seccomp=" + s.absolute(profile)
		}
		options = append(options, option)
	}
	service["security_opt"] = options

	without := map[attack.Layers]func(object, object, place){
		attack.Network: joinNetworks, attack.Seccomp: withoutProfile, attack.Capabilities: asRoot,
		attack.ReadOnly: allWritable, attack.Limits: unlimited, attack.Namespaces: s.besideOthers,
	}
	for _, layer := range attack.Each() {
		if strip := without[layer]; strip != nil && layers&layer == 0 {
			strip(config, service, p)
		}
	}
	return nil
}

func joinNetworks(_, service object, _ place) {
	delete(service, "network_mode")
	networks := object{}
	maps.Copy(networks, child(service, "networks"))
	networks["prove"], networks["metadata"] = nil, nil
	service["networks"] = networks
}

func withoutProfile(_, service object, _ place) {
	options := slices.DeleteFunc(list(service, "security_opt"), func(o any) bool { return strings.HasPrefix(fmt.Sprint(o), "seccomp=") })
	service["security_opt"] = append(options, "seccomp=unconfined")
}

// asRoot leaves no-new-privileges where there is a profile: without it the engine sets a profile before it has given up what
// the profile refuses, and no container starts.
func asRoot(_, service object, _ place) {
	service["user"] = "0:0"
	service["cap_drop"], service["cap_add"] = []any{"ALL"}, grantable()
	options := list(service, "security_opt")
	if slices.Contains(options, any("seccomp=unconfined")) {
		service["security_opt"] = slices.DeleteFunc(options, func(o any) bool { return strings.HasPrefix(fmt.Sprint(o), "no-new-privileges") })
	}
}

// grantable are the capabilities that attacks use, as far as this machine has them to give: an engine that runs in a
// container itself may lack some, and cannot start a container with ALL then.
func grantable() []any {
	bits := map[string]uint{ // of capabilities(7)
		"CHOWN": 0, "DAC_OVERRIDE": 1, "DAC_READ_SEARCH": 2, "FOWNER": 3, "KILL": 5, "SETGID": 6, "SETUID": 7, "NET_ADMIN": 12, "NET_RAW": 13,
		"IPC_LOCK": 14, "SYS_MODULE": 16, "SYS_RAWIO": 17, "SYS_CHROOT": 18, "SYS_PTRACE": 19, "SYS_PACCT": 20, "SYS_ADMIN": 21,
		"SYS_BOOT": 22, "SYS_NICE": 23, "SYS_RESOURCE": 24, "SYS_TIME": 25, "MKNOD": 27, "SYSLOG": 34,
	}
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "CapBnd:")
	bounding, _, _ := strings.Cut(strings.TrimSpace(rest), "\n")
	own, err := strconv.ParseUint(bounding, 16, 64)
	if err != nil {
		own = 0
	}
	var all []any
	for _, name := range slices.Sorted(maps.Keys(bits)) {
		if own&(1<<bits[name]) != 0 {
			all = append(all, name)
		}
	}
	return all
}

func allWritable(_, service object, _ place) {
	service["read_only"] = false
	for _, v := range list(service, "volumes") {
		if m, ok := v.(object); ok {
			delete(m, "read_only")
		}
	}
}

// unlimited gives room, too, instead of the small volumes that are a place's own.
func unlimited(config, service object, _ place) {
	for _, key := range []string{"pids_limit", "mem_limit", "memswap_limit", "cpus", "ulimits"} {
		delete(service, key)
	}
	const room = "size=4m,mode=0777"
	tmpfs, volumes := []any{}, []any{}
	for _, v := range list(service, "tmpfs") {
		spec, _ := v.(string)
		target, _, _ := strings.Cut(spec, ":")
		tmpfs = append(tmpfs, target+":"+room)
	}
	for _, v := range list(service, "volumes") {
		m, _ := v.(object)
		readOnly, _ := m["read_only"].(bool)
		volume := child(child(config, "volumes"), text(m, "source"))
		if strings.Contains(text(child(volume, "driver_opts"), "o"), "size=") && !readOnly && text(m, "type") == "volume" {
			tmpfs = append(tmpfs, text(m, "target")+":"+room)
			continue
		}
		volumes = append(volumes, v)
	}
	service["tmpfs"], service["volumes"] = tmpfs, volumes
}

func (s *surroundings) besideOthers(_, service object, p place) {
	service["pid"] = "host"
	volumes := list(service, "volumes")
	for i, m := range s.foreign(p) {
		volumes = append(volumes, object{"type": m.kind, "source": m.source, "target": foreignTarget(i), "read_only": true})
	}
	service["volumes"] = volumes
}

// child, list and text read a part of an object; what is not there is empty.
func child(o object, key string) object {
	c, _ := o[key].(object)
	return c
}

func list(o object, key string) []any {
	l, _ := o[key].([]any)
	return slices.Clone(l)
}

func text(o object, key string) string {
	if o[key] == nil {
		return ""
	}
	return fmt.Sprint(o[key])
}

func sortedKeys(o object) []string { return slices.Sorted(maps.Keys(o)) }
