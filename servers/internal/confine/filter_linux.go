//go:build linux && (amd64 || arm64)

package confine

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// call is a system call that may be made.
type call struct {
	name string
	nr   uint32
	when []when // one of them must hold; none: whatever its arguments
}

// when is what the arguments of a call must be, all of it.
type when struct {
	means string // in words, for the report
	args  []arg
}

// arg is one argument: its lower 32 bits under mask are value. The kernel looks at no more of an int or a flag
// word. Of a pointer it looks at all, so wide wants the upper 32 bits to be 0.
type arg struct {
	index       uint32
	mask, value uint32
	wide        bool
}

func is(index, value uint32) arg           { return arg{index: index, mask: ^uint32(0), value: value} }
func masked(index, mask, value uint32) arg { return arg{index: index, mask: mask, value: value} }
func null(index uint32) arg                { return arg{index: index, mask: ^uint32(0), wide: true} }

// Where the parts of struct seccomp_data are, see seccomp(2). Both architectures are little-endian.
const (
	offsetNr   = 0
	offsetArch = 4
	offsetArgs = 16
	sizeofArg  = 8
	sizeofWord = 4
)

const (
	refuse = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	absent = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)

	// maxSkip is how far a conditional jump of BPF can go.
	maxSkip = 255
)

// program is the filter: the calls, in their order; the calls that are made to look as if the kernel did not have
// them; and a refusal of all others. Those with conditions come first, since the kernel remembers which calls
// pass whatever their arguments, and does not run the filter for them.
func program(calls, hidden []call) ([]bpf.Instruction, error) {
	out := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offsetArch, Size: sizeofWord},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS},
		bpf.LoadAbsolute{Off: offsetNr, Size: sizeofWord},
	}
	if foreignBit != 0 {
		out = append(out,
			bpf.JumpIf{Cond: bpf.JumpBitsNotSet, Val: foreignBit, SkipTrue: 1},
			bpf.RetConstant{Val: refuse})
	}
	for _, c := range calls {
		if len(c.when) == 0 {
			continue
		}
		var body []bpf.Instruction
		for _, w := range c.when {
			body = append(body, w.instructions()...)
		}
		body = append(body, bpf.RetConstant{Val: refuse})
		if len(body) > maxSkip {
			return nil, fmt.Errorf("the conditions of %s take %d instructions, more than %d", c.name, len(body), maxSkip)
		}
		out = append(out, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: c.nr, SkipTrue: uint8(len(body))}) //nolint:gosec // bounded above
		out = append(out, body...)
	}
	for _, c := range calls {
		if len(c.when) == 0 {
			out = append(out,
				bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: c.nr, SkipTrue: 1},
				bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW})
		}
	}
	for _, c := range hidden {
		out = append(out,
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: c.nr, SkipTrue: 1},
			bpf.RetConstant{Val: absent})
	}
	return append(out,
		bpf.JumpIf{Cond: bpf.JumpLessOrEqual, Val: newestCall, SkipTrue: 1},
		bpf.RetConstant{Val: absent},
		bpf.RetConstant{Val: refuse}), nil
}

// instructions allow the call if w holds, and go on behind themselves if not.
func (w when) instructions() []bpf.Instruction {
	var tests []bpf.Instruction
	var jumps []int
	for _, a := range w.args {
		low := offsetArgs + a.index*sizeofArg
		if a.wide {
			tests = append(tests, bpf.LoadAbsolute{Off: low + sizeofWord, Size: sizeofWord}, bpf.JumpIf{Cond: bpf.JumpNotEqual})
			jumps = append(jumps, len(tests)-1)
		}
		tests = append(tests, bpf.LoadAbsolute{Off: low, Size: sizeofWord})
		if a.mask != ^uint32(0) {
			tests = append(tests, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: a.mask})
		}
		tests = append(tests, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: a.value})
		jumps = append(jumps, len(tests)-1)
	}
	tests = append(tests, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW})
	for _, at := range jumps {
		jump, _ := tests[at].(bpf.JumpIf)
		jump.SkipTrue = uint8(len(tests) - at - 1) //nolint:gosec // a handful of arguments; program bounds the sum
		tests[at] = jump
	}
	return tests
}

// digest names a filter by its instructions.
func digest(raw []bpf.RawInstruction) string {
	hash := sha256.New()
	for _, i := range raw {
		_ = binary.Write(hash, binary.LittleEndian, i) // a hash takes everything
	}
	return "sha256:" + hex.EncodeToString(hash.Sum(nil))
}

// filter assembles the filter of p and describes it.
func (p plan) filter() ([]bpf.RawInstruction, Filter, error) {
	raw, err := p.assemble()
	if err != nil {
		return nil, Filter{}, err
	}
	// A process's number is in its filter, and would make the digest another with every start.
	nobody := p
	nobody.pid = 0
	named, err := nobody.assemble()
	if err != nil {
		return nil, Filter{}, err
	}
	described := Filter{Digest: digest(named), Limited: map[string][]string{}}
	for _, c := range p.calls() {
		if len(c.when) == 0 {
			described.Allowed = append(described.Allowed, c.name)
			continue
		}
		for _, w := range c.when {
			described.Limited[c.name] = append(described.Limited[c.name], w.means)
		}
	}
	for _, c := range hiddenCalls() {
		described.Absent = append(described.Absent, c.name)
	}
	return raw, described, nil
}

func (p plan) assemble() ([]bpf.RawInstruction, error) {
	instructions, err := program(p.calls(), hiddenCalls())
	if err != nil {
		return nil, err
	}
	return bpf.Assemble(instructions)
}

// applyFilter puts every thread under the filter, and those that they start.
func (p plan) applyFilter() (Filter, error) {
	raw, described, err := p.filter()
	if err != nil {
		return Filter{}, fmt.Errorf("build the seccomp filter: %w", err)
	}
	switch err := install(raw); {
	case err == nil:
		return described, nil
	case errors.Is(err, ErrNoFilter) && p.FilterOptional:
		return Filter{}, nil
	default:
		return Filter{}, fmt.Errorf("set the seccomp filter: %w", err)
	}
}

// install sets a filter on all threads. The calling thread must be locked to its goroutine and have
// no-new-privileges set: the kernel gives both to the others.
func install(raw []bpf.RawInstruction) error {
	if len(raw) == 0 || len(raw) > unix.BPF_MAXINSNS {
		return fmt.Errorf("%d instructions, not 1 to %d", len(raw), unix.BPF_MAXINSNS)
	}
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	program := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]} //nolint:gosec // bounded above
	stray, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(&program))) //nolint:gosec // how the kernel takes it
	runtime.KeepAlive(code)
	switch errno {
	case 0:
		if stray != 0 {
			return fmt.Errorf("thread %d has a filter of its own", stray)
		}
		return nil
	case unix.ENOSYS, unix.EINVAL, unix.EPERM, unix.EACCES:
		return fmt.Errorf("%w, or something around the process does not let it set one: seccomp: %w", ErrNoFilter, errno)
	default:
		return fmt.Errorf("seccomp: %w", errno)
	}
}
