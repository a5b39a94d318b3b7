//go:build linux && (amd64 || arm64)

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/e2e/attack"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/confine"
)

// object is a part of the rendered compose file. It is kept as it was rendered: whatever a service has, the attacker in
// its place has too, whether this program has heard of it or not.
type object = map[string]any

// place is where an attacker can stand: a service of the rendered compose file.
type place struct {
	name     string
	networks []string // those that it is on; none: network_mode none, or another service's
	joins    string   // the service whose network it has, if any
	rules    json.RawMessage
	parsed   confine.Rules
	filter   string // the digest of the service's own filter; "": it confines itself by nothing
	mounts   []mount
}

// mount is a volume, a folder of the host or a tmpfs in a service.
type mount struct {
	kind, source, target string
	readOnly             bool
	size, files          int // of a tmpfs
}

// imageFolder is where the gateway's audit log is mounted. Every image has the folder, and it is empty there.
const imageFolder = "/var/lib/bulkhead"

// surroundings are all places, and what they share.
type surroundings struct {
	*bundle
	rendered  []byte // the whole compose file, as JSON
	places    []place
	addresses addresses
	hostPort  uint16
	runs      int
}

// survey reads the rendered compose file, and from each service's log how it has confined itself.
func survey(ctx context.Context, b *bundle) (*surroundings, error) {
	out, err := b.docker(ctx, "compose", "config", "--format", "json")
	if err != nil {
		return nil, err
	}
	s := &surroundings{bundle: b, rendered: []byte(out)}
	config, err := s.config()
	if err != nil {
		return nil, err
	}
	services := child(config, "services")
	for _, name := range sortedKeys(services) {
		if name == "victim" {
			continue
		}
		p := place{name: name, mounts: mountsOf(child(services, name))}
		p.networks = sortedKeys(child(child(services, name), "networks"))
		if other, ok := strings.CutPrefix(text(child(services, name), "network_mode"), "service:"); ok {
			p.joins = other
		}
		if err := p.readLog(ctx, b); err != nil {
			return nil, err
		}
		s.places = append(s.places, p)
	}
	return s, nil
}

// readLog finds the line in which the service says how it is confined.
func (p *place) readLog(ctx context.Context, b *bundle) error {
	log, err := b.docker(ctx, "compose", "logs", "--no-log-prefix", "--no-color", p.name)
	if err != nil {
		return err
	}
	p.rules = json.RawMessage("{}")
	for line := range strings.Lines(log) {
		var said struct {
			Msg     string
			Rules   json.RawMessage
			Confine struct{ Filter string }
		}
		if json.Unmarshal([]byte(line), &said) == nil && said.Msg == "confined" {
			p.rules, p.filter = said.Rules, said.Confine.Filter
		}
	}
	return json.Unmarshal(p.rules, &p.parsed)
}

func mountsOf(service object) []mount {
	var all []mount
	for _, v := range list(service, "volumes") {
		m, _ := v.(object)
		readOnly, _ := m["read_only"].(bool)
		all = append(all, mount{kind: text(m, "type"), source: text(m, "source"), target: text(m, "target"), readOnly: readOnly})
	}
	for _, v := range list(service, "tmpfs") {
		spec, _ := v.(string)
		target, options, _ := strings.Cut(spec, ":")
		m := mount{kind: "tmpfs", target: target}
		for option := range strings.SplitSeq(options, ",") {
			switch name, value, _ := strings.Cut(option, "="); name {
			case "size":
				m.size = amount(value)
			case "nr_inodes":
				m.files = amount(value)
			}
		}
		all = append(all, m)
	}
	return all
}

// amount reads a number as mount(8) does, with k or m at its end.
func amount(text string) int {
	digits := strings.TrimRight(text, "km")
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	switch text[len(digits):] {
	case "k":
		n <<= 10
	case "m":
		n <<= 20
	}
	return n
}

// try runs attacks in a place, with these layers. died is set where the attacker did not live to tell.
func (s *surroundings) try(ctx context.Context, p place, layers attack.Layers, attacks []attack.Attack) (results map[string]string, died string, err error) {
	config, err := s.config()
	if err != nil {
		return nil, "", err
	}
	order := attack.Order{Rules: p.rules, Layers: layers, Scene: s.scene(p, layers)}
	for _, a := range attacks {
		order.Attacks = append(order.Attacks, a.Name)
	}
	if p.filter == "" {
		order.Layers &^= attack.Filter | attack.Landlock
	}
	if err := s.replace(config, p, layers, order); err != nil {
		return nil, "", err
	}
	s.runs++
	file := s.path(fmt.Sprintf("attack-%d.json", s.runs))
	data, err := json.Marshal(config)
	if err != nil {
		return nil, "", err
	}
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return nil, "", err
	}
	out, err := s.docker(ctx, "compose", "--project-directory", s.root, "--file", file, "run", "--rm", "--no-TTY", "--no-deps", "--quiet-pull", p.name)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && strings.TrimSpace(out) == "" && mortal(attacks) {
		return nil, fmt.Sprintf("it ended with %d", exit.ExitCode()), nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("attacker in the place of %s, with %s: %w", p.name, layers, err)
	}
	var outcome attack.Outcome
	if err := json.Unmarshal([]byte(out), &outcome); err != nil {
		return nil, "", fmt.Errorf("attacker in the place of %s, with %s: %w in %q", p.name, layers, err, out)
	}
	if order.Layers&attack.Filter != 0 && outcome.Filter != p.filter {
		return nil, "", fmt.Errorf("attacker in the place of %s: its filter is %s, and the server's %s", p.name, outcome.Filter, p.filter)
	}
	results = map[string]string{}
	for _, r := range outcome.Results {
		results[r.Name] = r.Error
	}
	return results, "", nil
}

func mortal(attacks []attack.Attack) bool {
	return len(attacks) == 1 && attacks[0].Mortal
}

// scene is what there is to attack from a place.
func (s *surroundings) scene(p place, layers attack.Layers) attack.Scene {
	scene := attack.Scene{Marker: "victim", Metadata: netip.AddrPortFrom(netip.MustParseAddr(metadata), victimPort).String()}
	network := "prove"
	if len(p.networks) > 0 && layers&attack.Network != 0 {
		network = p.networks[0]
	}
	scene.Host = netip.AddrPortFrom(s.addresses.gateway[network], s.hostPort).String()
	victim, there := s.addresses.victim[network]
	if !there {
		victim = s.addresses.victim["prove"]
	}
	scene.Control = netip.AddrPortFrom(s.addresses.gateway["out"], s.hostPort).String()
	scene.Victim = netip.AddrPortFrom(victim, victimPort).String()
	for _, m := range p.mounts {
		switch {
		case m.readOnly:
			scene.Fixed = append(scene.Fixed, m.target)
		case !slices.Contains(p.parsed.Write, m.target):
			scene.Own = append(scene.Own, m.target)
		}
		if strings.HasPrefix(m.source, "egress-") && m.readOnly {
			scene.Egress = m.target + "/s"
		}
		if m.kind == "tmpfs" && !m.readOnly {
			scene.Volume, scene.Files = max(scene.Volume, m.size), max(scene.Files, m.files)
		}
	}
	if p.joins != "" {
		scene.Gateway, scene.Egress = s.waysOf(p.joins)
	}
	for i, m := range s.foreign(p) {
		scene.Foreign = append(scene.Foreign, foreignTarget(i))
		if m.target != imageFolder && !slices.ContainsFunc(p.mounts, func(own mount) bool { return own.target == m.target }) {
			scene.Foreign = append(scene.Foreign, m.target)
		}
	}
	return scene
}

// waysOf are the addresses of a door in its own namespace that lead to the gateway and to egress.
func (s *surroundings) waysOf(door string) (gateway, egress string) {
	config, err := s.config()
	if err != nil {
		return "", ""
	}
	service := child(child(config, "services"), door)
	var listens string
	for i, argument := range list(service, "command") {
		next := fmt.Sprint(append(list(service, "command"), "")[i+1])
		switch argument {
		case "--listen":
			listens = strings.TrimPrefix(next, "tcp://")
		case "--to":
			for _, m := range mountsOf(service) {
				if m.target != path.Dir(strings.TrimPrefix(next, "unix://")) {
					continue
				}
				if strings.HasPrefix(m.source, "egress-") {
					egress = listens
				} else {
					gateway = listens
				}
			}
		}
	}
	return gateway, egress
}

// foreign are the mounts of the other services that this one does not have.
func (s *surroundings) foreign(p place) []mount {
	var all []mount
	for _, other := range s.places {
		for _, m := range other.mounts {
			same := func(n mount) bool { return n.source == m.source }
			if m.source != "" && !slices.ContainsFunc(p.mounts, same) && !slices.ContainsFunc(all, same) {
				all = append(all, m)
			}
		}
	}
	return all
}

func foreignTarget(i int) string { return fmt.Sprintf("/o/%d", i) }

// config is the rendered compose file, to be changed. Compose renders a limit of 0 as none, and does not read that again.
func (s *surroundings) config() (object, error) {
	var config object
	decoder := json.NewDecoder(bytes.NewReader(s.rendered))
	decoder.UseNumber()
	if err := decoder.Decode(&config); err != nil {
		return nil, err
	}
	services := child(config, "services")
	for name := range services {
		ulimits := child(child(services, name), "ulimits")
		for limit, value := range ulimits {
			if o, ok := value.(object); ok && len(o) == 0 {
				ulimits[limit] = 0
			}
		}
	}
	return config, nil
}

// absolute is the path of a profile, which a compose file names from the folder that it is in.
func (s *surroundings) absolute(profile string) string {
	if filepath.IsAbs(profile) {
		return profile
	}
	return filepath.Join(s.root, profile)
}
