package audit

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// Open opens the log in dir, creating it if the folder has none, and appends a record of the event. It reads the
// last segment only. What a crash left is dropped: a half line at the end, which nobody was answered for, and the
// results of such lines. Anything else that is no record, and records that are not those of the newest
// checkpoint, are an error that wraps [ErrBroken], and the folder stays as it is.
func Open(dir string, options Options) (*Log, error) {
	folder := disk{dir: dir, access: os.O_RDWR}
	lock, err := folder.lock()
	if err != nil {
		return nil, fmt.Errorf("opening the audit log in %s: %w", dir, err)
	}
	l, err := open(folder, lock, options)
	if err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("opening the audit log in %s: %w", dir, err)
	}
	return l, nil
}

func open(folder files, lock io.Closer, options Options) (*Log, error) {
	if (options.Signer == nil) != (options.Verifier == nil) {
		return nil, errors.New("a signer needs its verifier, and a verifier its signer")
	}
	if options.Signer == nil && (options.Keep != 0 || options.MaxBytes != 0) {
		return nil, errors.New("records can expire only where checkpoints are signed: give a signing key, or keep all")
	}
	if options.Keep < 0 || options.MaxBytes < 0 {
		return nil, errors.New("how long and how much to keep cannot be negative")
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	options.segment = cmp.Or(options.segment, maxSegment)
	options.records = cmp.Or(options.records, checkpointRecords)
	options.interval = cmp.Or(options.interval, checkpointInterval)
	l := &Log{
		folder: folder, options: options, lock: lock,
		wake: make(chan struct{}, 1), sealed: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	opened, err := l.recover()
	if err == nil {
		err = l.begin(opened)
	}
	if err != nil {
		l.segment.close()
		if l.notes != nil {
			_ = l.notes.Close()
		}
		return nil, err
	}
	l.stopped.Add(1)
	go l.work()
	return l, nil
}

// begin appends the first record of this process and signs what it found.
func (l *Log) begin(opened Opened) error {
	opened.Configuration = l.options.Configuration
	text, err := body(Record{Time: time.Now(), Event: EventOpened, Opened: &opened})
	if err != nil {
		return err
	}
	// Not through commit, which signs a segment that is full: nothing is signed before this record says what
	// no checkpoint covered and which results are missing.
	if err := l.write([]*entry{{body: text}}); err != nil {
		return err
	}
	return l.checkpoint()
}

// recover finds the end of the log and holds its last segment against the checkpoints.
func (l *Log) recover() (Opened, error) {
	signed, err := l.openNotes()
	if err != nil {
		return Opened{}, err
	}
	firsts, err := segments(l.folder)
	if err != nil {
		return Opened{}, err
	}
	if last := len(firsts) - 1; l.options.Verifier != nil && last >= 0 && l.newest.size < firsts[last]-1 {
		return Opened{}, fmt.Errorf("%w: no checkpoint covers the records up to %d, though a segment ends there", ErrBroken, firsts[last]-1)
	}
	if len(firsts) == 0 {
		if l.newest.size > 0 {
			return Opened{}, fmt.Errorf("%w: records 1 to %d are missing: a checkpoint covers them", ErrBroken, l.newest.size)
		}
		l.segment, err = createSegment(l.folder, frontier{})
		return Opened{}, err
	}
	first := firsts[len(firsts)-1]

	start, err := readFrontier(l.folder, first)
	rebuilt := err != nil
	if rebuilt {
		if start, err = l.rebuild(firsts, err); err != nil {
			return Opened{}, err
		}
	}
	found, err := readSegment(l.folder, start, signed, l.options.segment)
	if errors.Is(err, errRoot) && !rebuilt && first > 1 {
		// Either the records are not those that were signed, or just the derived frontier is wrong.
		if again, rebuildErr := l.rebuild(firsts, err); rebuildErr == nil && !again.equal(start) {
			start, rebuilt = again, true
			found, err = readSegment(l.folder, start, signed, l.options.segment)
		}
	}
	if err != nil {
		return Opened{}, err
	}
	if uncovered := found.tree.size - min(l.newest.size, found.tree.size); l.options.Verifier != nil && uncovered > l.mostUncovered()+maxBatch {
		return Opened{}, fmt.Errorf("%w: no checkpoint covers its last %d records, and a crash leaves at most %d so: the checkpoints are gone, or it was written without a key; move the folder away and begin a new log",
			ErrBroken, uncovered, l.mostUncovered()+maxBatch)
	}
	if l.newest.size > found.tree.size {
		return Opened{}, fmt.Errorf("%w: records %d to %d are missing: a checkpoint covers them",
			ErrBroken, found.tree.size+1, l.newest.size)
	}
	if rebuilt {
		if err := l.rewrite(segmentName(first, treeKind), start.encode()); err != nil {
			return Opened{}, err
		}
	}
	l.tree = found.tree
	opened := Opened{Covered: l.newest.size, Uncovered: found.tree.size - l.newest.size, DroppedBytes: found.half}
	opened.MissingResults, err = l.continueSegment(first, found)
	return opened, err
}

// openNotes opens the checkpoints, cuts off half a note at their end, and returns the last ones in order.
func (l *Log) openNotes() ([]checkpoint, error) {
	notes, err := l.folder.open(checkpointsName)
	if errors.Is(err, fs.ErrNotExist) {
		if notes, err = l.folder.create(checkpointsName); err == nil {
			err = syncNames(l.folder)
		}
	}
	if err != nil {
		return nil, err
	}
	l.notes = notes
	if l.options.Verifier == nil {
		return nil, nil
	}
	signed, end, err := newest(notes, l.options.Verifier)
	if err == nil {
		err = ordered(notes, end)
	}
	if err != nil {
		return nil, err
	}
	switch {
	case len(signed) > 0:
		l.newest = signed[len(signed)-1]
	case end > 0:
		return nil, fmt.Errorf("%w: none of its checkpoints is signed by the key %s: give the key that it was begun with, or move the folder away and begin a new log",
			ErrBroken, l.options.Verifier.Name())
	}
	l.end = end
	return signed, notes.truncate(end)
}

// readFrontier returns the frontier before the record first.
func readFrontier(folder files, first uint64) (frontier, error) {
	if first == 1 {
		return frontier{}, nil
	}
	name := segmentName(first, treeKind)
	text, err := content(folder, name, maxFrontier)
	if err != nil {
		return frontier{}, err
	}
	f, err := parseFrontier(text)
	if err == nil && f.size != first-1 {
		err = fmt.Errorf("the frontier of %d records, not of %d", f.size, first-1)
	}
	if err != nil {
		return frontier{}, fmt.Errorf("%w: %s: %w", ErrBroken, name, err)
	}
	return f, nil
}

// rebuild computes the frontier of the last segment from all records before it. It is slow, and needed only
// after the derived file was damaged.
func (l *Log) rebuild(firsts []uint64, cause error) (frontier, error) {
	l.options.Logger.LogAttrs(context.Background(), slog.LevelWarn, "rebuilding the audit log's frontier", slog.String("error", cause.Error()))
	f, err := readFrontier(l.folder, firsts[0])
	if err != nil {
		return frontier{}, errors.Join(cause, err)
	}
	for _, first := range firsts[:len(firsts)-1] {
		if first != f.size+1 {
			return frontier{}, fmt.Errorf("%w: records %d to %d are missing", ErrBroken, f.size+1, first-1)
		}
		found, err := readSegment(l.folder, f, nil, l.options.segment)
		if err != nil {
			return frontier{}, err
		}
		f = found.tree
	}
	if last := firsts[len(firsts)-1]; f.size+1 != last {
		return frontier{}, fmt.Errorf("%w: records %d to %d are missing", ErrBroken, f.size+1, last-1)
	}
	return f, nil
}

// errRoot says that records are not those that were signed.
var errRoot = errors.New("not the records that were signed")

// found is what readSegment learned of a segment.
type found struct {
	tree    frontier          // after its last whole line
	end     int64             // of that line
	half    int64             // bytes after it
	leaves  []byte            // leaf hashes of its records
	stored  map[uint64]digest // results that its records have
	written time.Time         // of the newest of its records
}

// readSegment reads the lines of the segment that begins after start, and holds them against checkpoints.
func readSegment(folder files, start frontier, signed []checkpoint, limit int64) (found, error) {
	name := segmentName(start.size+1, linesKind)
	f, err := folder.open(name)
	if err != nil {
		return found{}, err
	}
	defer func() { _ = f.Close() }()
	size, err := contentSize(f)
	if err != nil {
		return found{}, err
	}
	if size > limit+maxBatchText {
		return found{}, fmt.Errorf("%w: %s: %d bytes are more than a segment has", ErrBroken, name, size)
	}
	// The roots are compared at once when the tree has the right size; checked is how far they were right.
	result := found{tree: start.clone(), stored: map[uint64]digest{}}
	var checked uint64
	check := func() error {
		for len(signed) > 0 && signed[0].size <= result.tree.size {
			if signed[0].size == result.tree.size && signed[0].root != result.tree.root() {
				return fmt.Errorf("%w: %w: one or more of the records %d to %d, or a segment before them", ErrBroken, errRoot,
					max(checked, start.size)+1, signed[0].size)
			}
			checked = signed[0].size
			signed = signed[1:]
		}
		return nil
	}
	if err := check(); err != nil {
		return found{}, err
	}
	result.end, result.half, err = scan(io.NewSectionReader(f, 0, size), start.size+1, func(r Record, line []byte) error {
		leaf := tlog.RecordHash(line)
		result.tree.append(leaf)
		result.leaves = append(result.leaves, leaf[:]...)
		if r.Result != nil && r.Result.Stored {
			sum, err := parseDigest(r.Result.SHA256)
			if err != nil {
				return fmt.Errorf("%w: record %d: %w", ErrBroken, r.Seq, err)
			}
			result.stored[r.Seq] = sum
		}
		if r.Opened != nil {
			for _, lost := range r.Opened.MissingResults {
				if lost > checked { // nobody can have lost what was signed by then
					delete(result.stored, lost)
				}
			}
		}
		if at := r.written(); at.After(result.written) {
			result.written = at
		}
		return check()
	})
	if err == nil && result.half > maxBatchText {
		err = fmt.Errorf("%w: record %d is none, and a crash leaves at most %d bytes so; gateway audit verify names the records", ErrBroken, result.tree.size+1, maxBatchText)
	}
	return result, err
}

// continueSegment makes the last segment ready to be appended to. It returns the records whose result a crash took.
func (l *Log) continueSegment(first uint64, found found) (missing []uint64, err error) {
	s := &l.segment
	s.first, s.lines.end, s.hashes.end = first, found.end, int64(len(found.leaves))
	if s.lines.file, err = l.folder.open(segmentName(first, linesKind)); err != nil {
		return nil, err
	}
	if s.results.file, err = l.openOrCreate(segmentName(first, storedKind)); err != nil {
		return nil, err
	}
	if s.hashes.file, err = l.openOrCreate(segmentName(first, hashesKind)); err != nil {
		return nil, err
	}
	if err := s.readStored(l.options.segment); err != nil {
		return nil, err
	}
	for _, seq := range slices.Sorted(maps.Keys(found.stored)) {
		switch {
		case has(s.stored, found.stored[seq]):
		case seq <= l.newest.size || seq+maxBatch <= l.tree.size: // a crash takes no more than a batch that nobody was answered for
			return nil, fmt.Errorf("%w: the result of record %d is missing or was changed; gateway audit verify says more", ErrBroken, seq)
		default:
			missing = append(missing, seq)
		}
	}
	old, err := content(l.folder, segmentName(first, hashesKind), s.hashes.end+maxBatch*tlog.HashSize+fillAhead)
	if err != nil || !bytes.HasPrefix(old, found.leaves) {
		if err := writeAt(s.hashes, found.leaves, 0); err != nil {
			return nil, err
		}
	}
	// All is synced before the first record, which says what was found: the process before may have died between
	// a write and its sync.
	err = s.trim()
	for _, f := range []file{s.lines, s.results, s.hashes, l.notes} {
		if err == nil {
			err = datasync(f)
		}
	}
	if err == nil {
		err = syncNames(l.folder)
	}
	return missing, err
}

// readStored reads which results the segment has, and where the last whole one ends. More than one batch behind
// it cannot be what a crash left, and is not touched.
func (s *segment) readStored(limit int64) error {
	s.stored = map[digest]struct{}{}
	size, err := s.results.size()
	if err != nil {
		return err
	}
	name := segmentName(s.first, storedKind)
	if size > limit+maxBatchStored+fillAhead {
		return fmt.Errorf("%w: %s: %d bytes are more than a segment has", ErrBroken, name, size)
	}
	entries := newEntryReader(io.NewSectionReader(s.results, 0, size))
	for {
		sum, _, err := entries.next()
		s.results.end = entries.end
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errChecksum): // its record, if it has one, misses it
			continue
		case errors.Is(err, errEntry) && size-entries.end > maxBatchStored+fillAhead:
			return fmt.Errorf("%w: %s: byte %d: %w; gateway audit verify names the records", ErrBroken, name, entries.end, err)
		case errors.Is(err, errEntry):
			return nil
		case err != nil:
			return err
		}
		if s.stored[sum] = struct{}{}; len(s.stored) > maxStoredResults {
			return fmt.Errorf("%w: %s: more than %d results", ErrBroken, name, maxStoredResults)
		}
	}
}

func (l *Log) openOrCreate(name string) (file, error) {
	f, err := l.folder.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return l.folder.create(name)
	}
	return f, err
}

// rewrite replaces a derived file.
func (l *Log) rewrite(name string, data []byte) error {
	f, err := l.folder.create(name)
	if err != nil {
		return err
	}
	err = writeAt(f, data, 0)
	if err == nil {
		err = datasync(f)
	}
	return errors.Join(err, f.Close())
}
