package audit

import (
	"bytes"
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
	for i, first := range firsts {
		if filter.skips(folder, firsts, i) {
			continue
		}
		next, err := readRecords(folder, first, filter, f)
		if err != nil {
			return err
		}
		if i+1 < len(firsts) && next != firsts[i+1] {
			return fmt.Errorf("%w: a segment ends before record %d, and the next begins with record %d", ErrBroken, next, firsts[i+1])
		}
	}
	return nil
}

// Tail calls f as [Read] does for the last n records that filter chooses, and reads no more segments than it must.
func Tail(dir string, filter Filter, n int, f func(r Record, line []byte) error) error {
	if err := tail(disk{dir: dir}, filter, n, f); err != nil {
		return fmt.Errorf("reading the audit log in %s: %w", dir, err)
	}
	return nil
}

func tail(folder files, filter Filter, n int, f func(Record, []byte) error) error {
	type chosen struct {
		record Record
		line   []byte
	}
	firsts, err := written(folder)
	if err != nil {
		return err
	}
	var newest []chosen
	for i, first := range slices.Backward(firsts) {
		if len(newest) >= n {
			break
		}
		if filter.skips(folder, firsts, i) {
			continue
		}
		var here []chosen
		_, err := readRecords(folder, first, filter, func(r Record, line []byte) error {
			if len(here) == n-len(newest) {
				here = here[1:]
			}
			here = append(here, chosen{r, bytes.Clone(line)})
			return nil
		})
		if err != nil {
			return err
		}
		newest = append(here, newest...)
	}
	for _, c := range newest {
		if err := f(c.record, c.line); err != nil {
			return err
		}
	}
	return nil
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
	size, err := in.size()
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

// ReadResult returns the stored result of a record of the log in dir, checked against the hash in the record.
// The error wraps [ErrNoResult] if the record says that none was stored, and [ErrBroken] if it is not there.
func ReadResult(dir string, r Record) ([]byte, error) {
	content, err := readResult(disk{dir: dir}, r)
	if err != nil {
		return nil, fmt.Errorf("reading the result of record %d: %w", r.Seq, err)
	}
	return content, nil
}

func readResult(folder files, r Record) ([]byte, error) {
	if r.Result == nil || !r.Result.Stored {
		return nil, ErrNoResult
	}
	sum, err := parseDigest(r.Result.SHA256)
	if err != nil {
		return nil, err
	}
	firsts, err := segments(folder)
	if err != nil {
		return nil, err
	}
	i, exact := slices.BinarySearch(firsts, r.Seq)
	if !exact {
		i--
	}
	if i < 0 {
		return nil, fmt.Errorf("its segment is gone: %w", fs.ErrNotExist)
	}
	name := segmentName(firsts[i], storedKind)
	in, err := folder.open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }()
	size, err := in.size()
	if err != nil {
		return nil, err
	}
	entries := newEntryReader(io.NewSectionReader(in, 0, size))
	for {
		found, compressed, err := entries.next()
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, errEntry):
			return nil, fmt.Errorf("%w: %s does not have it (byte %d: %w)", ErrBroken, name, entries.end, err)
		case err != nil:
			return nil, err
		case found == sum:
			content, err := expand(sum, compressed)
			if err != nil {
				return nil, fmt.Errorf("%w: %s: %w", ErrBroken, name, err)
			}
			return content, nil
		}
	}
}
