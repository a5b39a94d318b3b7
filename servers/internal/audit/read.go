package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"
)

// timeSlack is how far the time of a record may lie before that of an earlier one: a record is written when its
// call has ended, and clocks are set back. Filters read that much more than they must.
const timeSlack = time.Hour

// ErrNoResult says that a record has no stored result: it was too large, or there was none.
var ErrNoResult = errors.New("no stored result")

// Filter chooses records. What is empty chooses all; records of events have no call, principal, tool and decision.
type Filter struct {
	Calls     []string // any of these
	Principal string
	Tool      string
	Decision  Decision
	Since     time.Time // the first instant
	Until     time.Time // the first instant that is too late
}

func (f Filter) match(r Record) bool {
	return (len(f.Calls) == 0 || slices.Contains(f.Calls, r.Call)) &&
		(f.Principal == "" || f.Principal == r.Principal) &&
		(f.Tool == "" || f.Tool == r.Tool) &&
		(f.Decision == "" || f.Decision == r.Decision) &&
		(f.Since.IsZero() || !r.Time.Before(f.Since)) &&
		(f.Until.IsZero() || r.Time.Before(f.Until))
}

// Read calls f for each record of the log in dir that filter chooses, in order, with its line as it stands on
// disk, valid until f returns. A half line at the end is left out. It may run beside a process that appends, and
// proves nothing: [Verify] does. What is no log is an error that wraps [ErrBroken]; f has had what stands before.
func Read(dir string, filter Filter, f func(r Record, line []byte) error) error {
	if err := read(disk{dir: dir}, filter, f); err != nil {
		return fmt.Errorf("reading the audit log in %s: %w", dir, err)
	}
	return nil
}

func read(folder files, filter Filter, f func(Record, []byte) error) error {
	firsts, err := written(folder)
	if err != nil {
		return err
	}
	return readSegments(folder, firsts, filter, f)
}

func readSegments(folder files, firsts []uint64, filter Filter, f func(Record, []byte) error) error {
	for i, first := range firsts {
		if filter.skips(folder, firsts, i) {
			continue
		}
		next, err := readRecords(folder, first, filter, f)
		if gone(folder, first, err) {
			continue
		}
		if err != nil {
			return err
		}
		if i+1 < len(firsts) && next != firsts[i+1] {
			return fmt.Errorf("%w: a segment ends before record %d, and the next begins with record %d", ErrBroken, next, firsts[i+1])
		}
	}
	return nil
}

// gone says whether err is that the segment has expired since the segments were listed.
func gone(folder files, first uint64, err error) bool {
	if !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	firsts, err := segments(folder)
	return err == nil && !slices.Contains(firsts, first)
}

// Tail calls f as [Read] does for the last n records that filter chooses, and reads no more segments than it must.
func Tail(dir string, filter Filter, n int, f func(r Record, line []byte) error) error {
	if err := tail(disk{dir: dir}, filter, n, f); err != nil {
		return fmt.Errorf("reading the audit log in %s: %w", dir, err)
	}
	return nil
}

// tail counts first, from the newest segment back, and then reads again what it needs, so that it holds no records.
func tail(folder files, filter Filter, n int, f func(Record, []byte) error) error {
	firsts, err := written(folder)
	if err != nil {
		return err
	}
	begin, chosen := len(firsts), 0
	for begin > 0 && chosen < n {
		begin--
		if filter.skips(folder, firsts, begin) {
			continue
		}
		_, err := readRecords(folder, firsts[begin], filter, func(Record, []byte) error {
			chosen++
			return nil
		})
		if err != nil && !gone(folder, firsts[begin], err) {
			return err
		}
	}
	skip := max(0, chosen-n)
	return readSegments(folder, firsts[begin:], filter, func(r Record, line []byte) error {
		if skip > 0 {
			skip--
			return nil
		}
		if n--; n < 0 { // it came while the others were counted
			return nil
		}
		return f(r, line)
	})
}

// written are the first records of the segments of a log that there is.
func written(folder files) ([]uint64, error) {
	firsts, err := segments(folder)
	if err == nil && len(firsts) == 0 {
		err = fmt.Errorf("there is none: %w", fs.ErrNotExist)
	}
	return firsts, err
}

// skips says whether no record of segment i can have a time that the filter chooses.
func (f Filter) skips(folder files, firsts []uint64, i int) bool {
	if i+1 < len(firsts) && !f.Since.IsZero() {
		// All of this segment was written before the first record of the next.
		written, _, err := firstRecord(folder, firsts[i+1])
		if err == nil && written.Add(timeSlack).Before(f.Since) {
			return true
		}
	}
	if !f.Until.IsZero() {
		_, came, err := firstRecord(folder, firsts[i])
		if err == nil && came.Add(-timeSlack).After(f.Until) {
			return true
		}
	}
	return false
}

// readRecords reads one segment and returns the number of the record that would follow.
func readRecords(folder files, first uint64, filter Filter, f func(Record, []byte) error) (next uint64, err error) {
	in, err := folder.open(segmentName(first, linesKind))
	if err != nil {
		return 0, err
	}
	defer func() { _ = in.Close() }()
	size, err := contentSize(in)
	if err == nil && size > maxSegment+maxBatchText {
		err = fmt.Errorf("%w: %s: %d bytes are more than a segment has", ErrBroken, segmentName(first, linesKind), size)
	}
	if err != nil {
		return 0, err
	}
	next = first
	_, _, err = scan(io.NewSectionReader(in, 0, size), first, func(r Record, line []byte) error {
		next++
		if !filter.match(r) {
			return nil
		}
		return f(r, line)
	})
	return next, err
}
