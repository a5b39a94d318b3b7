package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"time"
)

// checkpointsNew is where the checkpoints are written anew without the old ones.
const checkpointsNew = "checkpoints.new"

// expire removes the oldest segments as far as the options say so. First a record says which, and carries what a
// verifier needs to go on from there; a checkpoint covers that record before anything goes.
func (l *Log) expire(now time.Time) error {
	if l.options.Keep == 0 && l.options.MaxBytes == 0 {
		return nil
	}
	firsts, err := segments(l.folder)
	if err != nil {
		return fmt.Errorf("expiring audit records: %w", err)
	}
	n, err := l.expired(firsts, now)
	if err == nil && n > 0 {
		err = l.removeSegments(firsts, n)
	}
	if err != nil {
		return fmt.Errorf("expiring audit records: %w", err)
	}
	return nil
}

// expired says how many of the oldest segments may go.
func (l *Log) expired(firsts []uint64, now time.Time) (n int, err error) {
	excess := -l.options.MaxBytes
	if l.options.MaxBytes > 0 {
		for _, first := range firsts {
			size, err := l.segmentSize(first)
			if err != nil {
				return 0, err
			}
			excess += size
		}
	}
	for ; n < len(firsts)-1; n++ {
		old := false
		if l.options.Keep > 0 {
			if old, err = l.older(firsts[n], firsts[n+1], now.Add(-l.options.Keep)); err != nil {
				return 0, err
			}
		}
		if !old && (l.options.MaxBytes == 0 || excess <= 0) {
			break
		}
		size, err := l.segmentSize(firsts[n])
		if err != nil {
			return 0, err
		}
		excess -= size
	}
	return n, nil
}

// older says whether all records of the segment first, which ends before next, were written before that moment. What
// makes it so must be what was signed: who may edit times could else make the log remove what is not old.
func (l *Log) older(first, next uint64, moment time.Time) (bool, error) {
	written, _, err := firstRecord(l.folder, next)
	if err != nil || !written.Before(moment) {
		return false, err
	}
	start, err := readFrontier(l.folder, first)
	if err != nil {
		return false, err
	}
	found, err := readSegment(l.folder, start, nil, l.options.segment)
	if err != nil {
		return false, err
	}
	if found.tree.size != next-1 {
		return false, fmt.Errorf("%w: records %d to %d are missing", ErrBroken, found.tree.size+1, next-1)
	}
	if _, err := l.signedAt(found.tree); err != nil {
		return false, err
	}
	return found.written.Before(moment), nil
}

// removeSegments removes the first n segments.
func (l *Log) removeSegments(firsts []uint64, n int) error {
	before, err := readFrontier(l.folder, firsts[n])
	if err != nil {
		return err
	}
	// The frontier comes from a file that anybody with the volume may edit: only one that was signed when it was
	// written is vouched for.
	signed, err := l.signedAt(before)
	if err != nil {
		return err
	}
	event := Record{Time: time.Now(), Event: EventExpired, Expired: &Expired{
		From: firsts[0], To: before.size, Checkpoint: string(signed.note), Frontier: before.hashes,
	}}
	text, err := body(event)
	if err != nil {
		return err
	}
	l.writing.Lock()
	err = l.commit([]*entry{{body: text}})
	l.writing.Unlock()
	if err != nil {
		return err
	}
	if err := l.checkpoint(); err != nil {
		return err
	}
	// The lines first: what is left of a segment without them is no segment, and is found and removed the next time.
	for _, kind := range []string{linesKind, storedKind, hashesKind, treeKind} {
		if err := l.removeUpTo(before.size, kind); err != nil {
			return err
		}
	}
	return l.trim(before.size)
}

// removeUpTo removes the files of that kind of all segments that begin with the record last or earlier.
func (l *Log) removeUpTo(last uint64, kind string) error {
	firsts, err := numbered(l.folder, kind)
	if err != nil {
		return err
	}
	for _, first := range firsts {
		if first > last {
			break
		}
		if err := l.folder.remove(segmentName(first, kind)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// signedAt returns the checkpoint of a tree.
func (l *Log) signedAt(f frontier) (checkpoint, error) {
	l.signing.Lock()
	defer l.signing.Unlock()
	notes := newNoteReader(io.NewSectionReader(l.notes, 0, l.end))
	for {
		text, _, err := notes.next()
		if errors.Is(err, io.EOF) {
			return checkpoint{}, fmt.Errorf("%w: no checkpoint has the tree of %d records that %s is of; gateway audit verify says more",
				ErrBroken, f.size, segmentName(f.size+1, treeKind))
		} else if err != nil {
			return checkpoint{}, err
		}
		if size, ok := claimedSize(text); !ok || size != f.size {
			continue
		}
		if c, err := openCheckpoint(text, l.options.Verifier); err == nil && c.size == f.size && c.root == f.root() {
			return c, nil
		}
	}
}

// claimedSize is the size in a note, whether it is signed or not.
func claimedSize(signed []byte) (uint64, bool) {
	_, rest, _ := bytes.Cut(signed, []byte("\n"))
	line, _, ok := bytes.Cut(rest, []byte("\n"))
	size, err := strconv.ParseUint(string(line), 10, 64)
	return size, ok && err == nil
}

// trim removes checkpoints of trees smaller than size. What is no checkpoint stays: verify reports it.
func (l *Log) trim(size uint64) error {
	l.signing.Lock()
	defer l.signing.Unlock()
	kept, err := l.folder.create(checkpointsNew)
	if err != nil {
		return err
	}
	notes, end := newNoteReader(io.NewSectionReader(l.notes, 0, l.end)), int64(0)
	for {
		text, _, err := notes.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			if claimed, ok := claimedSize(text); ok && claimed < size {
				continue
			}
			text = append(text, '\n')
			err = writeAt(kept, text, end)
			end += int64(len(text))
		}
		if err != nil {
			return errors.Join(err, kept.Close(), l.folder.remove(checkpointsNew))
		}
	}
	if err := datasync(kept); err != nil {
		return errors.Join(err, kept.Close(), l.folder.remove(checkpointsNew))
	}
	if err := l.folder.rename(checkpointsNew, checkpointsName); err != nil {
		return errors.Join(err, kept.Close())
	}
	_ = l.notes.Close() // its name is another's now
	l.notes, l.end = kept, end
	if err := syncNames(l.folder); err != nil {
		l.fail(err)
		return err
	}
	return nil
}

// firstRecord says when the first record of a segment was written, and when its request came. A segment without one
// is as new as can be.
func firstRecord(folder files, first uint64) (written, came time.Time, err error) {
	f, err := folder.open(segmentName(first, linesKind))
	if err != nil {
		return time.Time{}, time.Time{}, err
	}
	defer func() { _ = f.Close() }()
	line, err := newLineReader(io.NewSectionReader(f, 0, MaxLine)).next()
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return time.Now(), time.Now(), nil
	} else if err != nil {
		return time.Time{}, time.Time{}, err
	}
	r, err := parse(line)
	if err != nil {
		return time.Time{}, time.Time{}, fmt.Errorf("%w: record %d: %w", ErrBroken, first, err)
	}
	return r.written(), r.Time, nil
}

// segmentSize is the bytes of all files of a segment, without the zeros that stand ahead. A file that is larger than it can be
// is an error: it would push others out.
func (l *Log) segmentSize(first uint64) (sum int64, err error) {
	l.mu.Lock()
	s := &l.segment
	present, ends := s.first, map[string]int64{linesKind: s.lines.end, storedKind: s.results.end, hashesKind: s.hashes.end}
	l.mu.Unlock()
	for kind, most := range map[string]int64{
		linesKind: l.options.segment + maxBatchText + fillAhead, storedKind: l.options.segment + maxBatchStored + fillAhead, hashesKind: maxHashes, treeKind: maxFrontier,
	} {
		f, err := l.folder.open(segmentName(first, kind))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return 0, err
		}
		size, err := f.size()
		if end, ok := ends[kind]; ok && first == present {
			size = min(size, end)
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return 0, err
		}
		if size > most {
			return 0, fmt.Errorf("%w: %s: %d bytes are more than a segment has", ErrBroken, segmentName(first, kind), size)
		}
		sum += size
	}
	return sum, nil
}
