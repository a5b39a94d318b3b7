//go:build linux && (amd64 || arm64)

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/bulkhead-mcp/bulkhead/servers/e2e/attack"
)

const (
	whole = 20 * time.Minute // of everything, images from a cold cache included
)

// prove starts a bundle, attacks it, and stops it.
func prove(ctx context.Context, progress io.Writer) (*report, error) {
	ctx, cancel := context.WithTimeout(ctx, whole)
	defer cancel()
	b, err := newBundle(ctx, progress)
	if b != nil {
		defer b.stop()
	}
	if err != nil {
		return nil, err
	}
	say := func(format string, args ...any) { fmt.Fprintf(progress, "prove: "+format+"\n", args...) }
	say("building the images")
	if err := b.build(ctx); err != nil {
		return nil, err
	}
	say("starting the bundle %s", b.project)
	if err := b.create(ctx); err != nil {
		return nil, err
	}
	found, err := b.addresses(ctx)
	if err != nil {
		return nil, err
	}
	hostPort, err := b.listen(ctx, found)
	if err != nil {
		return nil, err
	}
	control := netip.AddrPortFrom(found.gateway["out"], hostPort)
	if err := b.allowControl(control); err != nil {
		return nil, err
	}
	if err := b.start(ctx); err != nil {
		return nil, err
	}
	if found, err = b.addresses(ctx); err != nil {
		return nil, err
	}
	s, err := survey(ctx, b)
	if err != nil {
		return nil, err
	}
	s.addresses, s.hostPort = found, hostPort
	r := &report{}
	if r.Engine, err = b.docker(ctx, "version", "--format", "engine {{.Server.Version}}, kernel {{.Server.KernelVersion}}, {{.Server.Os}}/{{.Server.Arch}}"); err != nil {
		return nil, err
	}
	r.Engine = strings.TrimSpace(r.Engine)
	for _, p := range s.places {
		say("attacking from the place of %s", p.name)
		if err := s.attackFrom(ctx, p, r); err != nil {
			return nil, err
		}
	}
	say("attacking from outside")
	if err := s.fromOutside(ctx, r); err != nil {
		return nil, err
	}
	for _, of := range matrices() {
		i := slices.IndexFunc(s.places, func(p place) bool { return p.name == of.place })
		if i < 0 {
			return nil, fmt.Errorf("the matrix is of %s, and there is no such service", of.place)
		}
		say("taking layers away in the place of %s", of.place)
		if err := s.matrix(ctx, s.places[i], of.claims, r); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// stand is a service in whose place the layers are taken away one by one, and the claims that are looked at there.
type stand struct {
	place  string
	claims []attack.Claim
}

// matrices are of the server that reaches most, and of the one program that is on a bridge and must not dial: there it is
// other layers that see to that.
func matrices() []stand {
	return []stand{
		{"dockerhub", []attack.Claim{attack.NoWayOut, attack.NoWrite, attack.NoProgram, attack.NoPrivilege, attack.NoNeighbour, attack.Bounded}},
		{"door", []attack.Claim{attack.NoWayOut}},
	}
}

// allowControl lets every client of egress reach the listener on the host, besides what its policy lists: so a refusal of
// others is known to be the policy's.
func (b *bundle) allowControl(host netip.AddrPort) error {
	text, err := os.ReadFile(b.path("egress.yaml"))
	if err != nil {
		return err
	}
	var policy struct {
		Version int                       `yaml:"version"`
		Clients map[string]map[string]any `yaml:"clients"`
	}
	if err := yaml.Unmarshal(text, &policy); err != nil {
		return fmt.Errorf("servers/egress/policy.yaml: %w", err)
	}
	if len(policy.Clients) == 0 {
		return errors.New("servers/egress/policy.yaml has no clients")
	}
	for _, client := range policy.Clients {
		hosts, _ := client["hosts"].([]any) // there may be none
		client["hosts"] = append(hosts, map[string]any{
			"host": host.Addr().String(), "port": host.Port(), "tls": "none-for-ip", "addresses": []string{netip.PrefixFrom(host.Addr(), host.Addr().BitLen()).String()},
		})
	}
	if text, err = yaml.Marshal(policy); err != nil {
		return err
	}
	return os.WriteFile(b.path("egress.yaml"), text, 0o644) //nolint:gosec // the containers' uid reads it
}

// covering are the layers that refuse an attack in a place, each by itself; ok is false where the attack makes no sense.
func (p place) covering(a attack.Attack, scene attack.Scene) (by attack.Layers, ok bool) {
	by = a.By
	switch {
	case a.Dials && p.parsed.Network, a.Client && scene.Egress == "", a.Agent && scene.Gateway == "":
		return 0, false
	}
	if len(p.networks) > 0 && a.Bridged {
		by &^= attack.Network
	}
	if a.Opens && (len(p.networks) > 0 || p.joins != "") {
		by &^= attack.Seccomp
	}
	if len(p.parsed.Write) > 0 && a.Writes {
		by &^= attack.Filter
	}
	if p.filter == "" {
		by &^= attack.Filter | attack.Landlock
		if by == 0 && a.By != 0 {
			return 0, false // what only a process's own rules refuse is not claimed of one that has none
		}
	}
	return by, true
}

// claim is what is claimed of a place: where the network is its job, it has what that takes, and an agent has two ways.
func (p place) claim(c attack.Claim) string {
	if p.joins != "" && (c == attack.NoWayOut || c == attack.EgressPolicy) {
		return "an agent reaches the gateway and its model's host, and nothing else"
	}
	if c == attack.NoWayOut && p.parsed.Network {
		return "egress has TCP and UDP, and no other way out: no MPTCP, ICMP, raw, packet, vsock or netlink"
	}
	return string(c)
}

// attackFrom makes every attack in a place, with all layers on.
func (s *surroundings) attackFrom(ctx context.Context, p place, r *report) error {
	scene := s.scene(p, attack.All)
	var together, alone []attack.Attack
	for _, a := range attack.Table() {
		switch _, ok := p.covering(a, scene); {
		case !ok:
		case a.Mortal:
			alone = append(alone, a)
		default:
			together = append(together, a)
		}
	}
	results, _, err := s.try(ctx, p, attack.All, together)
	if err != nil {
		return err
	}
	for _, a := range alone {
		died, lived, err := s.alone(ctx, p, attack.All, a)
		if err != nil {
			return err
		}
		results[a.Name] = died + lived
	}
	rows := map[string]*row{}
	for _, a := range slices.Concat(together, alone) {
		if a.Name == attack.Control || a.Name == attack.ControlGateway {
			if results[a.Name] != "" {
				return fmt.Errorf("%s does not get where it should (%s): %s: refusals would show nothing", p.name, a.Name, results[a.Name])
			}
			continue
		}
		claim := p.claim(a.Claim)
		if rows[claim] == nil {
			rows[claim] = &row{Claim: claim, From: p.name}
			r.Rows = append(r.Rows, rows[claim])
		}
		rows[claim].add(a.Name, results[a.Name], a.Through(results[a.Name]))
	}
	// What the others do meanwhile.
	if row := rows[p.claim(attack.Bounded)]; row != nil {
		said := s.alive(ctx)
		row.add("the bundle goes on", said, said != stillAlive)
	}
	return nil
}

// alone makes one attack that the attacker may die of, and says of what it did, or how the attack ended.
func (s *surroundings) alone(ctx context.Context, p place, layers attack.Layers, a attack.Attack) (died, ended string, err error) {
	results, died, err := s.try(ctx, p, layers, []attack.Attack{a})
	return died, results[a.Name], err
}

// cell is one attack with some layers.
type cell struct {
	Layers  string `json:"layers"`
	Error   string `json:"error"`
	Refused bool   `json:"refused"`
	Want    bool   `json:"want_refused"`
}

// matrix takes layers away: each attack must be refused with all of them, with each alone that covers it, and by nothing
// else; and it must succeed once those that cover it are away, the others being there.
func (s *surroundings) matrix(ctx context.Context, p place, claims []attack.Claim, r *report) error {
	scene := s.scene(p, attack.All)
	lines := map[string]*line{}
	var all []attack.Attack
	groups := map[attack.Layers][]attack.Attack{} // by what covers them
	for _, a := range attack.Table() {
		by, ok := p.covering(a, scene)
		if !ok || !slices.Contains(claims, a.Claim) {
			continue
		}
		all = append(all, a)
		groups[by] = append(groups[by], a)
		lines[a.Name] = &line{Attack: a.Name, Claim: string(a.Claim), From: p.name, By: by.String()}
		r.Matrix = append(r.Matrix, lines[a.Name])
	}
	note := func(layers attack.Layers, some []attack.Attack) error {
		results, err := s.each(ctx, p, layers, some)
		for _, a := range some {
			by, _ := p.covering(a, scene)
			lines[a.Name].Cells = append(lines[a.Name].Cells, cell{
				Layers: layers.String(), Error: results[a.Name], Refused: !a.Through(results[a.Name]), Want: layers&by != 0,
			})
			lines[a.Name].Elsewhere = a.Elsewhere
		}
		return err
	}
	if err := note(attack.All, all); err != nil {
		return err
	}
	for _, layer := range attack.Each() {
		if err := note(layer, all); err != nil {
			return err
		}
	}
	if err := note(0, all); err != nil {
		return err
	}
	for _, by := range slices.Sorted(maps.Keys(groups)) {
		if err := note(attack.All&^by, groups[by]); err != nil {
			return err
		}
	}
	return nil
}

// each makes attacks with these layers; those that an attacker may die of have one each.
func (s *surroundings) each(ctx context.Context, p place, layers attack.Layers, attacks []attack.Attack) (map[string]string, error) {
	var together []attack.Attack
	results := map[string]string{}
	for _, a := range attacks {
		if !a.Mortal {
			together = append(together, a)
			continue
		}
		died, ended, err := s.alone(ctx, p, layers, a)
		if err != nil {
			return nil, err
		}
		results[a.Name] = died + ended
	}
	if len(together) == 0 {
		return results, nil
	}
	some, _, err := s.try(ctx, p, layers, together)
	maps.Copy(results, some)
	return results, err
}

func freePort(ctx context.Context) (int, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil //nolint:forcetypeassert // of a TCP listener
}

// untilListening waits until every address answers, or listening has failed.
func untilListening(ctx context.Context, addresses []string, failed <-chan error) error {
	const tries, pause = 50, 20 * time.Millisecond
	for _, address := range addresses {
		var err error
		for range tries {
			var conn net.Conn
			if conn, err = new(net.Dialer).DialContext(ctx, "tcp", address); err == nil {
				_ = conn.Close()
				break
			}
			select {
			case err := <-failed:
				return err
			case <-time.After(pause):
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
