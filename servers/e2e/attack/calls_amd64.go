package attack

import "golang.org/x/sys/unix"

// foreignBit marks the calls of x32, which are other numbers for the same things.
const foreignBit = 0x40000000

func archCalls() []Attack {
	return claim(NoPrivilege, []Attack{
		{Name: "a call of x32", By: filtered, Confined: "EPERM", Reached: "ENOSYS", Try: call(foreignBit | unix.SYS_GETPID)},
		{Name: "iopl", By: filtered | Capabilities, Elsewhere: true, Try: call(unix.SYS_IOPL, 3)},
		{Name: "modify_ldt", By: filtered, Elsewhere: true, Try: call(unix.SYS_MODIFY_LDT, 0, 0, 0)},
	})
}
