//go:build linux && (amd64 || arm64)

// Package attack is what a process of the bundle must not manage: each attack is a row with the claim that it puts to
// the test, the layers that refuse it, and a function that really tries it.
//
// It is for tests alone: `make prove` runs the rows in a server's place, in a container of its own, and the tests of
// package confine run those that are single system calls. An attack does no harm where it is let through: it takes what
// it needs to show that the way is open, and gives it back.
package attack

import (
	"errors"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Layers is a set of what stands between an attacker and the host.
type Layers uint16

// The layers, each of which can be taken away by itself.
const (
	Network      Layers = 1 << iota // network_mode: none, or a bridge without neighbours
	Seccomp                         // the engine's profile of images/
	Filter                          // the process's own seccomp filter
	Landlock                        // the process's own Landlock rules
	Capabilities                    // uid 65532, no capabilities, no-new-privileges
	ReadOnly                        // a read-only root, and read-only mounts
	Limits                          // of processes, memory, descriptors, and the sizes of volumes
	Namespaces                      // processes and volumes of its own alone

	All Layers = 1<<iota - 1
)

// Each returns the layers one by one, from the outside in.
func Each() []Layers {
	return []Layers{Network, Seccomp, Filter, Landlock, Capabilities, ReadOnly, Limits, Namespaces}
}

var layerNames = map[Layers]string{ //nolint:gochecknoglobals // a table
	Network: "no network", Seccomp: "engine's seccomp", Filter: "own filter", Landlock: "Landlock",
	Capabilities: "capabilities", ReadOnly: "read-only", Limits: "limits", Namespaces: "namespaces",
}

// String names the layers of the set.
func (l Layers) String() string {
	var names []string
	for _, one := range Each() {
		if l&one != 0 {
			names = append(names, layerNames[one])
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// Claim is one sentence about the bundle that attacks put to the test.
type Claim string

// The claims, in the order of the table.
const (
	NoWayOut     Claim = "no way out: no TCP, UDP, ICMP, raw, netlink or DNS; no host, metadata address or other container"
	NoWrite      Claim = "no write but where declared"
	NoProgram    Claim = "no program is executed, by any path"
	NoPrivilege  Claim = "no privileges, namespaces, mounts, ptrace, bpf, keys, perf, userfaultfd, modules, clock, devices"
	NoNeighbour  Claim = "no other container's socket, process, secret or volume"
	Bounded      Claim = "floods of processes, memory, descriptors and volumes end at their limit, and the others go on"
	EgressPolicy Claim = "through egress, only what its policy lists"
)

// Attack is one thing that must not succeed.
type Attack struct {
	Name  string
	Claim Claim
	// By are the layers of which each refuses it alone.
	By Layers
	// Reached is the error that shows that it was let through all the same, and failed for its arguments alone.
	Reached string
	Try     func(Scene) error

	// Confined is how package confine refuses it where the rules allow nothing; "" where that does not depend on the
	// filter alone.
	Confined string
	// Elsewhere says that a kernel may lack what is attacked. Then the row shows nothing there, and says so.
	Elsewhere bool
	// Dials says that it is the very job of a program whose rules have the network.
	Dials bool
	// Bridged says that the network layer refuses it only where there is no network at all.
	Bridged bool
	// Opens says that it is what a program with a port does at start, so that its profile lets it through.
	Opens bool
	// Mortal says that the process dies of it, so that it takes one of its own.
	Mortal bool
	// Writes says that the filter, and so the engine's, lets it through where the rules have a folder to write to.
	Writes bool
	// Client says that it takes an egress socket.
	Client bool
	// Agent says that it takes a way to the gateway.
	Agent bool
}

// Through tells whether an attack that ended with err was let through.
func (a Attack) Through(errno string) bool {
	return errno == "" || a.Reached != "" && errno == a.Reached
}

// Scene is what attacks are made on. What is not there is empty.
type Scene struct {
	Dir      string   `json:"dir"`      // a folder that this uid owns, in which [Prepare] has made files
	Own      []string `json:"own"`      // folders and files that are mounted, writable for the container
	Fixed    []string `json:"fixed"`    // those that are mounted read-only
	Foreign  []string `json:"foreign"`  // paths at which other containers have volumes, secrets and sockets
	Host     string   `json:"host"`     // IP:PORT of a listener on the host, TCP and UDP, at a bridge's address
	Victim   string   `json:"victim"`   // IP:PORT of a listener in another container, TCP and UDP
	Metadata string   `json:"metadata"` // IP:PORT of a listener where clouds serve credentials
	Egress   string   `json:"egress"`   // the path of the egress socket, for a client of it; or HOST:PORT that leads there
	Gateway  string   `json:"gateway"`  // HOST:PORT that leads to the gateway, for an agent
	Volume   int      `json:"volume"`   // bytes of the volume that Dir is on, if it is larger than a socket's
	Files    int      `json:"files"`    // how many files that may have
	Control  string   `json:"control"`  // IP:PORT that egress's policy lists
	Marker   string   `json:"marker"`   // what stands in the command line of another container's process

	Program  int `json:"-"` // a descriptor of a program in memory, made before; or -1
	Listener int `json:"-"` // a TCP listener, opened before; or -1
}

// Table returns every attack.
func Table() []Attack {
	return slices.Concat(Calls(), privileges(), network(), files(), neighbours(), egress(), floods())
}

// Find returns the attacks of these names, in the order of the table.
func Find(names []string) []Attack {
	return slices.DeleteFunc(Table(), func(a Attack) bool { return !slices.Contains(names, a.Name) })
}

// Errno names the error of an attack; "" is success.
func Errno(err error) string {
	var number unix.Errno
	switch {
	case err == nil:
		return ""
	case errors.As(err, &number):
		return unix.ErrnoName(number)
	}
	return err.Error()
}
