package confine

import (
	"errors"
	"os/exec"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// foreignCall makes the system call getpid of a 32-bit program.
func foreignCall() func() {
	code := []byte{
		0xb8, 20, 0, 0, 0, // mov eax, 20
		0xcd, 0x80, // int 0x80
		0xc3, // ret
	}
	memory, err := unix.Mmap(-1, 0, len(code), unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		panic(err)
	}
	copy(memory, code)
	// A function value is a pointer to a pointer to code.
	start := unsafe.Pointer(&memory[0])
	value := &start
	return *(*func())(unsafe.Pointer(&value))
}

// A program can call the kernel as another architecture would, with other numbers for the same calls.
func TestForeignCallEndsTheProcess(t *testing.T) {
	if err := self("foreign", true).Run(); err != nil {
		t.Logf("shows nothing here: this kernel runs no 32-bit programs: %v", err)
	}
	err := self("foreign", false).Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		t.Fatalf("the process ended with %v", err)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); !ok || status.Signal() != unix.SIGSYS {
		t.Errorf("the process ended with %v, not by SIGSYS", err)
	}
}

func archRefused() []uint32 {
	return []uint32{
		unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_OPEN, unix.SYS_CREAT, unix.SYS_UNLINK, unix.SYS_RENAME, unix.SYS_MKNOD, unix.SYS_LINK, unix.SYS_SYMLINK,
		unix.SYS_CHMOD, unix.SYS_CHOWN, unix.SYS_IOPL, unix.SYS_IOPERM, unix.SYS_MODIFY_LDT, unix.SYS_USELIB, unix.SYS_SYSFS, unix.SYS_KEXEC_FILE_LOAD,
		unix.SYS_SENDFILE, unix.SYS_PIPE, unix.SYS_ACCEPT, unix.SYS_DUP2, unix.SYS_EPOLL_WAIT,
	}
}
