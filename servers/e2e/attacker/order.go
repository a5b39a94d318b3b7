//go:build linux && (amd64 || arm64)

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bulkhead-mcp/bulkhead/servers/e2e/attack"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/confine"
)

// patience is how long one attack may take; it is looked at in between.
const (
	patience = time.Minute
	pause    = 20 * time.Millisecond
)

// carryOut confines this process as the order says, tries its attacks, and says what came of them.
func carryOut(order []byte, out io.Writer) error {
	var o attack.Order
	decoder := json.NewDecoder(strings.NewReader(string(order)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&o); err != nil {
		return fmt.Errorf("the order: %w", err)
	}
	var rules confine.Rules
	if err := json.Unmarshal(o.Rules, &rules); err != nil {
		return fmt.Errorf("the rules in the order: %w", err)
	}
	scene, err := prepare(o)
	if err != nil {
		return err
	}
	var parts confine.Part
	if o.Layers&attack.Filter != 0 {
		parts |= confine.Filtering
	}
	if o.Layers&attack.Landlock != 0 {
		parts |= confine.Landlocking
	}
	var outcome attack.Outcome
	if parts != 0 {
		report, err := confine.ApplyPart(rules, parts)
		if err != nil {
			return err
		}
		outcome.Filter, outcome.Landlock = report.Filter.Digest, report.Landlock.ABI
	}
	for _, a := range attack.Find(o.Attacks) {
		outcome.Results = append(outcome.Results, attack.Result{Name: a.Name, Error: try(a, scene)})
	}
	return json.NewEncoder(out).Encode(outcome)
}

// prepare takes what an attack needs and a confined process cannot get any more. Where something around the process does
// not let it have that, the attack goes without.
func prepare(o attack.Order) (attack.Scene, error) {
	s := o.Scene
	s.Program, s.Listener = -1, -1
	for _, dir := range s.Own {
		if attack.Prepare(dir) == nil {
			s.Dir = dir
			break
		}
	}
	if s.Dir == "" {
		return s, errors.New("no folder to attack: this uid can write nowhere")
	}
	if program, err := attack.ProgramInMemory(); err == nil {
		s.Program = program
	}
	if fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err == nil {
		if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{}), unix.Listen(fd, 1)); err != nil {
			return s, fmt.Errorf("a listener: %w", err)
		}
		s.Listener = fd
	}
	return s, nil
}

// try makes one attack, on a thread of its own: some change the thread that they are made on, and some end it.
func try(a attack.Attack, scene attack.Scene) string {
	done, thread := make(chan string, 1), make(chan int, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		thread <- unix.Gettid()
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Sprint(p)
			}
		}()
		done <- attack.Errno(a.Try(scene))
	}()
	task := fmt.Sprintf("/proc/self/task/%d", <-thread)
	for range int(patience / pause) {
		select {
		case errno := <-done:
			return errno
		case <-time.After(pause):
		}
		if _, err := os.Stat(task); errors.Is(err, os.ErrNotExist) {
			select {
			case errno := <-done: // it has ended in between
				return errno
			default:
				return "the kernel ended its thread"
			}
		}
	}
	return "it did not end in " + patience.String()
}
