//go:build linux && (amd64 || arm64)

package attack

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// How much each flood takes: more than compose.yaml gives, and a small part of what a machine has.
const (
	floodProcesses   = 100
	floodThreads     = 100
	floodDescriptors = 5000
	floodMemory      = 300 << 20
	floodFile        = 256 << 10
	floodFiles       = 100
	floodLasts       = 300 * time.Millisecond
)

func floods() []Attack {
	return claim(Bounded, []Attack{
		{Name: "a flood of processes", By: filtered | Limits, Try: func(Scene) error { return forks(floodProcesses) }},
		{Name: "a flood of descriptors", By: Limits, Try: func(Scene) error { return descriptors(floodDescriptors) }},
		{Name: "a file larger than its volume", Writes: true, By: Filter | Landlock | Limits, Try: func(s Scene) error { return fill(s.Dir, max(floodFile, s.Volume+1)) }},
		{Name: "more files than the volume may have", Writes: true, By: Filter | Landlock | Limits, Try: func(s Scene) error { return litter(s.Dir, max(floodFiles, s.Files+1)) }},
		{Name: "a flood of threads", Mortal: true, By: Limits, Try: func(Scene) error { return threads(floodThreads) }},
		{Name: "a flood of memory", Mortal: true, By: Limits, Try: func(Scene) error { return memory(floodMemory) }},
	})
}

// forks makes n processes that wait, and ends them.
func forks(n int) error {
	var made []int
	var err error
	for range n {
		pid, _, number := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if number != 0 {
			err = number
			break
		}
		if pid == 0 {
			for {
				_, _, _ = unix.RawSyscall6(unix.SYS_PPOLL, 0, 0, 0, 0, 0, 0)
			}
		}
		made = append(made, int(pid))
	}
	for _, pid := range made {
		_ = unix.Kill(pid, unix.SIGKILL)
		_ = wait(pid, nil)
	}
	return err
}

func descriptors(n int) error {
	var open []int
	var err error
	for range n {
		var fd int
		if fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
			break
		}
		open = append(open, fd)
	}
	for _, fd := range open {
		_ = unix.Close(fd)
	}
	return err
}

// fill writes piece by piece: where an attack before has ended its own thread, the runtime does not survive collecting garbage.
func fill(dir string, size int) error {
	path := filepath.Join(dir, made)
	_ = unix.Unlink(path)
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	piece := make([]byte, floodFile)
	for ; size > 0 && err == nil; size -= len(piece) {
		_, err = file.Write(piece)
	}
	err = errors.Join(err, file.Close())
	_ = unix.Unlink(path)
	return err
}

func litter(dir string, n int) error {
	var err error
	last := 0
	for i := range n {
		last = i
		if err = Open(filepath.Join(dir, made+strconv.Itoa(i)), unix.O_WRONLY|unix.O_CREAT); err != nil {
			break
		}
	}
	for i := range last + 1 {
		_ = unix.Unlink(filepath.Join(dir, made+strconv.Itoa(i)))
	}
	return err
}

// threads has n threads at one time. Where that is too many, the Go runtime ends the process.
func threads(n int) error {
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
			_ = unix.Nanosleep(&unix.Timespec{Nsec: floodLasts.Nanoseconds()}, nil)
		})
	}
	all.Wait()
	return nil
}

// memory touches every page of a size. Where that is too much, the kernel ends the process.
func memory(size int) error {
	pages, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Munmap(pages) }()
	for i := 0; i < size; i += os.Getpagesize() {
		pages[i] = 1
	}
	return nil
}
