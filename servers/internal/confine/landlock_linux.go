//go:build linux && (amd64 || arm64)

package confine

import (
	"fmt"
	"slices"

	"github.com/landlock-lsm/go-landlock/landlock"
	rights "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

// The rights that a path is given. None executes, and none makes a device, a pipe, a socket or a link.
const (
	readFile   landlock.AccessFSSet = rights.AccessFSReadFile
	readFolder landlock.AccessFSSet = rights.AccessFSReadFile | rights.AccessFSReadDir
	writeBelow landlock.AccessFSSet = readFolder | rights.AccessFSWriteFile | rights.AccessFSTruncate |
		rights.AccessFSMakeReg | rights.AccessFSMakeDir | rights.AccessFSRemoveFile
	resolveUnix landlock.AccessFSSet = rights.AccessFSResolveUnix
)

// What the newest version that we know can restrict; the library takes from it what the kernel does not have.
const (
	allFS    landlock.AccessFSSet  = 1<<17 - 1
	allNet   landlock.AccessNetSet = 1<<4 - 1
	allScope landlock.ScopedSet    = rights.ScopeAbstractUnixSocket | rights.ScopeSignal
	// Where the network is the job, all that is left to refuse is a listener.
	listenerNet landlock.AccessNetSet = rights.AccessNetBindTCP
)

// erratumSignals is the bit of the erratum without whose mending threads of one process cannot signal each other
// under ABI 6, see landlock(7). The library falls back to ABI 5 then.
const (
	erratumSignals = 1 << 1
	maxABI         = 11
)

// landlockABI is the version that the library will apply.
func landlockABI() (int, error) {
	abi, err := rights.LandlockGetABIVersion()
	if err != nil {
		return 0, err
	}
	if abi >= abiScope {
		errata, _ := rights.LandlockGetErrata() // a kernel that cannot say has mended none
		if errata&erratumSignals == 0 {
			return abiScope - 1, nil
		}
	}
	return min(abi, maxABI), nil
}

func (p plan) applyLandlock() (Landlock, error) {
	abi, err := landlockABI()
	switch {
	case err != nil && p.LandlockOptional:
		return Landlock{}, nil
	case err != nil:
		return Landlock{}, fmt.Errorf("%w, or something around the process does not let it use that: landlock_create_ruleset: %w", ErrNoLandlock, err)
	}
	net := allNet
	if p.Network {
		net = listenerNet
	}
	config, err := landlock.NewConfig(allFS, net, allScope)
	if err != nil {
		return Landlock{}, fmt.Errorf("landlock: %w", err)
	}
	var rules []landlock.Rule
	for _, path := range p.Read {
		access := readFile
		if p.folders[path] {
			access = readFolder
		}
		rules = append(rules, landlock.PathAccess(access, path))
	}
	for _, path := range p.Write {
		rules = append(rules, landlock.PathAccess(writeBelow, path))
	}
	for _, folder := range p.sockets {
		// The folder, and not the socket: a server that starts again makes a new one.
		rules = append(rules, landlock.PathAccess(resolveUnix, folder))
	}
	if err := config.BestEffort().Restrict(rules...); err != nil {
		return Landlock{}, fmt.Errorf("landlock (ABI %d): %w", abi, err)
	}
	return Landlock{
		ABI: abi, Read: slices.Clone(p.Read), Write: slices.Clone(p.Write), Connect: slices.Clone(p.sockets),
	}, nil
}
