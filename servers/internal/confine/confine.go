// Package confine is a process's own sandbox: once its listeners are open, [Apply] takes from it whatever
// serving does not need, in a container and on a bare host alike.
//
// Two mechanisms of the kernel do that, and each covers what the other cannot see. Landlock decides by path:
// the process opens nothing but what its [Rules] name. A seccomp filter decides by system call, on every
// thread there is and will be: nothing that starts a program or a process, makes code executable, creates a
// namespace, a mount or a listener, reaches another process, or opens a socket of a kind that the rules do
// not name. Besides, the process can gain no privileges any more, and others of its user cannot look into it.
//
// The filter is a list of what is allowed, and not of what is refused. A list of refusals is out of date with
// each kernel: io_uring, clone3, openat2 and memfd_secret were all unheard of once. A statically linked Go
// server needs some fifty system calls of more than three hundred, the runtime's do not change within a
// release of Go, and a call that is missing shows as an error in the tests of this package, which serve, dial,
// read, sync, collect garbage, start threads and shut down below it. What is refused fails with EPERM, as it
// would under a container engine's profile; ENOSYS instead, where Go then does the same thing in another way,
// and for calls that are newer than this list. A foreign calling convention ends the process: no part of it
// uses one.
//
// What both leave: looking whether a path exists, and reading links (Landlock has no right for that), and
// everything that is open already. [Report] says the rest.
package confine

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
)

// What [Apply] may find missing. Its errors wrap these.
var (
	ErrNoFilter   = errors.New("the kernel takes no seccomp filter")
	ErrNoLandlock = errors.New("the kernel has no Landlock")
)

// Rules say what a program still needs once it serves. The zero Rules are a program that accepts connections
// on the listeners that it has, and reads and writes what is open; it opens no file and no socket.
type Rules struct {
	// Read are files, and folders with all below them, that it opens for reading.
	Read []string `json:"read,omitempty"`
	// Write are folders in which it makes, reads, writes, renames and removes files. Without any, no file can be
	// opened for writing, whatever the kernel knows of Landlock.
	Write []string `json:"write,omitempty"`
	// Connect are the paths of the Unix sockets that it connects to, exactly as it dials them. They need not be
	// there yet, but their folders must. Without any, it cannot make a Unix socket.
	Connect []string `json:"connect,omitempty"`
	// Network says that its job is the network: it makes TCP and UDP sockets and connects them to anything, and
	// reads the files that say how names are resolved. Accepting from an open TCP listener does not need it.
	Network bool `json:"network,omitempty"`
	// Splice says that it carries bytes from connection to connection within the kernel.
	Splice bool `json:"splice,omitempty"`

	// LandlockOptional lets Apply carry on, and report it, where the kernel has no Landlock.
	LandlockOptional bool `json:"landlock_optional,omitempty"`
	// FilterOptional lets Apply carry on, and report it, where the kernel takes no filter.
	FilterOptional bool `json:"filter_optional,omitempty"`
}

// Report is what the process could still do.
type Report struct {
	Landlock Landlock `json:"landlock"`
	Filter   Filter   `json:"filter"`
	// Gaps are what the rules do not mean to allow and this kernel cannot refuse.
	Gaps []string `json:"gaps,omitempty"`
}

// Landlock is what the process may do with paths.
type Landlock struct {
	ABI int `json:"abi"` // the version that is in force; 0: none

	Read    []string `json:"read,omitempty"`
	Write   []string `json:"write,omitempty"`
	Connect []string `json:"connect,omitempty"` // folders of Unix sockets; in force from ABI 9 on
}

// Filter is which system calls the process may make.
type Filter struct {
	// Digest names the filter. Two processes have the same if they may do the same, on the same architecture.
	// It is empty if no filter is in force.
	Digest  string              `json:"digest"`
	Allowed []string            `json:"allowed,omitempty"` // whatever their arguments
	Limited map[string][]string `json:"limited,omitempty"` // and with which arguments, in words
	Absent  []string            `json:"absent,omitempty"`  // refused with ENOSYS; all others with EPERM
}

// LogValue is the report as a few attributes. The lists of calls are left out: the digest stands for them.
func (r Report) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Int("landlock_abi", r.Landlock.ABI),
		slog.Any("read", r.Landlock.Read),
		slog.Any("write", r.Landlock.Write),
		slog.Any("connect", r.Landlock.Connect),
		slog.String("filter", r.Filter.Digest),
		slog.String("calls", strconv.Itoa(len(r.Filter.Allowed))+" allowed, "+strconv.Itoa(len(r.Filter.Limited))+" limited"),
		slog.Any("gaps", r.Gaps),
	)
}

// Sandbox is whether a process keeps to this package. The zero Sandbox leaves it alone, for tests: what a process
// has given up, the next test lacks.
type Sandbox struct {
	Enforced bool
	// AllowUnisolated is the operator's word, by the flag that [Sandbox.Flag] declares: to serve in the open, too.
	AllowUnisolated bool
}

// Flag declares --allow-unisolated.
func (s *Sandbox) Flag(flags *flag.FlagSet) {
	flags.BoolVar(&s.AllowUnisolated, "allow-unisolated", false, "serve even as root, with capabilities, or with a container engine's socket in reach; logged")
}

// Check fails where the process has more than serving needs ([Unisolated]), unless the operator insists. It comes first.
func (s Sandbox) Check(ctx context.Context, logger *slog.Logger) error {
	if !s.Enforced {
		return nil
	}
	reasons := Unisolated()
	if len(reasons) == 0 {
		return nil
	}
	if !s.AllowUnisolated {
		return fmt.Errorf("refusing to serve: %s (--allow-unisolated serves all the same)", strings.Join(reasons, "; "))
	}
	logger.LogAttrs(ctx, slog.LevelWarn, "serving unisolated", slog.Any("reasons", reasons))
	return nil
}

// Enter is [Apply], with the rules and the report as one line of the log: a warning if the kernel leaves gaps. A kernel
// without Landlock is a gap; one without the filter is an error, unless the operator insists. Whoever wants to see what
// the process could do under other circumstances takes the rules from there.
func (s Sandbox) Enter(ctx context.Context, rules Rules, logger *slog.Logger) error {
	if !s.Enforced {
		return nil
	}
	rules.LandlockOptional, rules.FilterOptional = true, s.AllowUnisolated
	report, err := Apply(rules)
	if err != nil {
		return err
	}
	level := slog.LevelInfo
	if len(report.Gaps) > 0 {
		level = slog.LevelWarn
	}
	logger.LogAttrs(ctx, level, "confined", slog.Any("confine", report), slog.Any("rules", rules))
	return nil
}
