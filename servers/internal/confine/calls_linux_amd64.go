package confine

import "golang.org/x/sys/unix"

const (
	auditArch = unix.AUDIT_ARCH_X86_64
	// foreignBit marks the calls of x32, which are other numbers for the same things.
	foreignBit = 0x40000000
	archSetFS  = 0x1002
)

// archCalls are what amd64 alone needs: a thread of Go sets its base of thread-local storage by itself.
func archCalls() []call {
	return []call{{"arch_prctl", unix.SYS_ARCH_PRCTL, []when{{"ARCH_SET_FS", []arg{is(0, archSetFS)}}}}}
}
