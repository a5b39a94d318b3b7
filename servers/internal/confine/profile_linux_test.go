//go:build linux && (amd64 || arm64)

package confine

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	shared "github.com/bulkhead-mcp/bulkhead/servers/e2e/attack"
)

// The engine's profiles are written from the same table as the filters of the processes that run below them: what a
// filter of ours allows, and what a container and a process need until that is in force. A profile so can neither
// refuse what a server needs, nor be wider than the two together.
//
// A profile knows calls by name, and the engine leaves out those that an architecture does not have, so that one file
// serves amd64 and arm64. It was run on amd64.

// profile is an engine's seccomp profile: https://docs.docker.com/engine/security/seccomp/, as far as it is used here.
type profile struct {
	DefaultAction   string        `json:"defaultAction"`
	DefaultErrnoRet uint32        `json:"defaultErrnoRet"`
	ArchMap         []profileArch `json:"archMap"`
	Syscalls        []profileRule `json:"syscalls"`
}

type profileArch struct {
	Architecture     string   `json:"architecture"`
	SubArchitectures []string `json:"subArchitectures"`
}

type profileRule struct {
	Names    []string     `json:"names"`
	Action   string       `json:"action"`
	ErrnoRet *uint32      `json:"errnoRet,omitempty"`
	Args     []profileArg `json:"args,omitempty"`
	Comment  string       `json:"comment,omitempty"`
}

type profileArg struct {
	Index    uint32 `json:"index"`
	Value    uint64 `json:"value"`
	ValueTwo uint64 `json:"valueTwo,omitempty"`
	Op       string `json:"op"`
}

const (
	allowed = "SCMP_ACT_ALLOW"
	denied  = "SCMP_ACT_ERRNO"
)

// startNames are the calls that a container needs until its process has confined itself, whatever their arguments.
// execve is the engine's own: without it no container starts. What takes it away again is the process's filter.
func startNames() []string {
	return []string{
		"bind", "execve", "fchmodat", "fstatfs", "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self",
		"listen", "openat", "seccomp", "statx", "umask", "unlinkat",
	}
}

// startRules are the same with conditions.
func startRules() []profileRule {
	full := func(index uint32, value uint64) profileArg {
		return profileArg{Index: index, Value: 1<<32 - 1, ValueTwo: value, Op: "SCMP_CMP_MASKED_EQ"}
	}
	return []profileRule{
		{Names: []string{"prctl"}, Action: allowed, Args: []profileArg{full(0, unix.PR_SET_NO_NEW_PRIVS)}, Comment: "give up gaining privileges"},
		{Names: []string{"prctl"}, Action: allowed, Args: []profileArg{full(0, unix.PR_SET_DUMPABLE), full(1, 0)}, Comment: "close the process to others"},
		{Names: []string{"socket"}, Action: allowed, Args: []profileArg{full(0, unix.AF_UNIX), {Index: 1, Value: 15, ValueTwo: unix.SOCK_STREAM, Op: "SCMP_CMP_MASKED_EQ"}, full(2, 0)}, Comment: "Unix stream"},
	}
}

// unixConnect is enough where there are no sockets but Unix ones, and none can be handed in: recvmsg is not allowed.
func unixConnect() []profileRule { return []profileRule{{Names: []string{"connect"}, Action: allowed}} }

// shortConnect is for who opens a port, and does not dial.
func shortConnect() []profileRule {
	return []profileRule{{Names: []string{"connect"}, Action: allowed, Args: []profileArg{{Index: 2, Value: sizeofSockaddrIn, Op: "SCMP_CMP_LT"}},
		Comment: "an address too short to lead to a network: a Unix path of at most 12 characters"}}
}

// tcpSockets are those that a port takes, and a connection to one.
func tcpSockets() []profileRule {
	var rules []profileRule
	for _, family := range []uint64{unix.AF_INET, unix.AF_INET6} {
		rules = append(rules, profileRule{Names: []string{"socket"}, Action: allowed, Comment: "TCP", Args: []profileArg{
			{Index: 0, Value: 1<<32 - 1, ValueTwo: family, Op: "SCMP_CMP_MASKED_EQ"},
			{Index: 1, Value: 15, ValueTwo: unix.SOCK_STREAM, Op: "SCMP_CMP_MASKED_EQ"},
			{Index: 2, Value: 0, Op: "SCMP_CMP_EQ"},
		}})
	}
	return rules
}

// profiles are the files of images/ and what their programs' filters allow.
func profiles() map[string]profile {
	const socket = "/s/s"
	writer := Rules{Connect: []string{socket}, Write: []string{"/"}}
	return map[string]profile{
		"seccomp.json":        newProfile(writer, unixConnect()),
		"seccomp-door.json":   newProfile(Rules{Connect: []string{socket}, Splice: true}, slices.Concat(shortConnect(), tcpSockets())),
		"seccomp-egress.json": newProfile(Rules{Network: true, Splice: true}, nil),
		// An agent does not confine itself. Its network is one loopback interface, and it has a folder for its sessions.
		"seccomp-agent.json": newProfile(writer, slices.Concat(unixConnect(), tcpSockets())),
	}
}

func newProfile(rules Rules, more []profileRule) profile {
	p := profile{DefaultAction: denied, DefaultErrnoRet: uint32(unix.EPERM), ArchMap: []profileArch{
		{"SCMP_ARCH_X86_64", []string{}}, {"SCMP_ARCH_AARCH64", []string{}},
	}}
	names := startNames()
	var limited []profileRule
	for _, c := range slices.Concat(runtimeCalls(0), plan{Rules: rules}.fileCalls(), plan{Rules: rules}.socketCalls(), archCalls()) {
		switch {
		case slices.Contains(startNames(), c.name) || c.name == "kill":
			// The first are there anyway. Nobody signals but through tgkill, whose own process the profile cannot know.
		case c.name == "tgkill" || len(c.when) == 0:
			names = append(names, c.name)
		case c.name == "connect":
			// The health check runs beside the process, as another one with no filter of its own.
		default:
			for _, w := range c.when {
				limited = append(limited, profileRule{Names: []string{c.name}, Action: allowed, Args: profileArgs(w.args), Comment: w.means})
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	// One call cannot have both: a rule without arguments makes the others void.
	for _, r := range slices.Concat(limited, startRules(), more) {
		if len(r.Args) == 0 {
			names = append(names, r.Names...)
			slices.Sort(names)
		}
		if !slices.Contains(names, r.Names[0]) && !slices.ContainsFunc(p.Syscalls, func(other profileRule) bool {
			return cmp.Equal(other.Names, r.Names) && cmp.Equal(other.Args, r.Args)
		}) {
			p.Syscalls = append(p.Syscalls, r)
		}
	}
	slices.SortStableFunc(p.Syscalls, func(a, b profileRule) int { return strings.Compare(a.Names[0], b.Names[0]) })
	hidden := profileRule{Action: denied, ErrnoRet: new(uint32(unix.ENOSYS)), Comment: "as if the kernel did not have them: Go then does without"}
	for _, c := range hiddenCalls() {
		hidden.Names = append(hidden.Names, c.name)
	}
	p.Syscalls = slices.Concat([]profileRule{{Names: names, Action: allowed}}, p.Syscalls, []profileRule{hidden})
	return p
}

func profileArgs(args []arg) []profileArg {
	var out []profileArg
	for _, a := range args {
		if a.wide {
			out = append(out, profileArg{Index: a.index, Value: uint64(a.value), Op: "SCMP_CMP_EQ"})
			continue
		}
		out = append(out, profileArg{Index: a.index, Value: uint64(a.mask), ValueTwo: uint64(a.value), Op: "SCMP_CMP_MASKED_EQ"})
	}
	return out
}

const profileFolder = "../../../images"

// The files of images/ are what the table says. -update writes them.
func TestProfiles(t *testing.T) {
	for name, p := range profiles() {
		var got bytes.Buffer
		encoder := json.NewEncoder(&got)
		encoder.SetIndent("", " ")
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(p); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(profileFolder, name)
		if *update {
			if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// arm64 lacks what amd64 alone needs, and the files are written on amd64.
		if diff := cmp.Diff(string(want), got.String()); diff != "" && len(archCalls()) > 0 {
			t.Errorf("%s: run go test -update on amd64, and look at the difference:\n%s", name, diff)
		}
	}
}

// No file of images/ allows what the list refuses by name, whatever is written in this package.
func TestProfilesRefuseByName(t *testing.T) {
	for name := range profiles() {
		data, err := os.ReadFile(filepath.Join(profileFolder, name))
		if err != nil {
			t.Fatal(err)
		}
		var p profile
		if err := json.Unmarshal(data, &p); err != nil {
			t.Fatal(err)
		}
		if p.DefaultAction != denied {
			t.Errorf("%s: what it does not name it answers with %s", name, p.DefaultAction)
		}
		calls := map[string]bool{}
		for _, r := range p.Syscalls {
			if r.Action != allowed {
				continue
			}
			for _, call := range r.Names {
				calls[call] = true
			}
		}
		for _, c := range shared.Refused() {
			if calls[c.Name] {
				t.Errorf("%s allows %s", name, c.Name)
			}
		}
		t.Logf("%s: %d calls allowed, %d refused by name", name, len(calls), len(shared.Refused()))
	}
}
