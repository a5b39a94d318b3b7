package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	// maxSegment is after how many bytes of lines, or of results, a new segment begins.
	maxSegment = 64 << 20
	// maxBatch and maxBatchBytes bound what is written under one sync, and so what a crash can cut.
	maxBatch      = 128
	maxBatchBytes = 4 << 20
	// What a batch of maxBatchBytes may come to: each line gets a number, and its first entry may be large.
	maxBatchText   = maxBatchBytes + maxBatch*64 + MaxLine
	maxBatchStored = maxBatchBytes + maxBatch*maxEntry
	// fillAhead is how many zeros stand behind the content of each file of the segment that is written, at most. Where no
	// file need grow, a sync has no more to do than the bytes: it writes no inode, of this file or of one beside it, and
	// waits for no journal.
	fillAhead = 256 << 10
	// What the files of a segment may come to.
	maxLines   = maxSegment + maxBatchText + fillAhead
	maxResults = maxSegment + maxBatchStored + fillAhead
	// The least that a line takes, and one with a stored result: {"v":1,"seq":1,"time":"2026-11-25T22:05:38Z" and, for the
	// latter, a hash and more. They bound how many records and results a segment can have.
	minLine           = 44
	minStoredLine     = 150
	maxSegmentRecords = (maxSegment + maxBatchText) / minLine
	maxStoredResults  = (maxSegment + maxBatchText) / minStoredLine
	maxHashes         = maxSegmentRecords*tlog.HashSize + fillAhead
	// A checkpoint is due after so many records, and after so long if there are any.
	checkpointRecords  = 1000
	checkpointInterval = 10 * time.Second
	// However busy the log is, no more than so many times checkpointRecords are without a checkpoint.
	checkpointsBehind = 2
	// expireInterval is how often the age of segments is looked at; their size is at each new one.
	expireInterval = time.Hour
)

// Options say how a log is kept.
type Options struct {
	// Signer signs checkpoints, and Verifier knows its signatures. Without them the log has no checkpoints, and
	// nothing proves that it is unchanged.
	Signer   note.Signer
	Verifier note.Verifier
	// Logger gets each checkpoint, so that there is a copy outside the folder, and what goes wrong in the
	// background. nil discards both.
	Logger *slog.Logger
	// Configuration is what the process was started with, as digests by name; it stands in the record of the opening.
	Configuration map[string]string
	// Keep is the age after which records may go, 0 for never. They go in whole segments.
	Keep time.Duration
	// MaxBytes is how much the folder may hold before its oldest segments go, 0 for any amount. The segment that
	// is being written always stays.
	MaxBytes int64

	segment  int64         // in place of maxSegment
	records  uint64        // in place of checkpointRecords
	interval time.Duration // in place of checkpointInterval
}

// Log is a [Recorder] that appends to segments in a folder. When Record returns nil, the record and its result
// are on disk. One process writes a folder at a time.
type Log struct {
	folder  files
	options Options
	lock    io.Closer

	compressor compressor

	// writing is held by who appends: the leader of a batch, and Close.
	writing sync.Mutex
	segment segment
	dirty   bool // what follows the ends of the segment's files could not be cut off yet

	// signing is held by who appends to the checkpoints. It is taken after writing.
	signing sync.Mutex
	notes   file
	end     int64 // of the last note

	// mu guards what follows. It is taken last, and never held over a write.
	mu      sync.Mutex
	next    *batch     // the batch that gathers entries; nil if none does
	tree    frontier   // of the acknowledged records
	newest  checkpoint // what is on disk and signed
	failed  error      // refuses everything until the log is opened again
	trouble error      // refused the last batch; the next may succeed
	refused uint64     // records since trouble began

	wake    chan struct{} // asks for a checkpoint
	sealed  chan struct{} // says that a segment has ended
	stop    chan struct{}
	stopped sync.WaitGroup
	closing sync.Once
}

// segment is where records go at present.
type segment struct {
	first                  uint64
	lines, results, hashes filling
	stored                 map[digest]struct{} // what results holds; guarded by Log.mu too where it changes
}

// filling is a file with zeros ahead of its end.
type filling struct {
	file
	end  int64 // of the content; guarded by Log.mu too where it changes
	full int64 // of the content and the zeros
}

// append writes data at the end, and zeros behind it when there are none left and the volume has room for them. The end stays.
func (f *filling) append(data []byte) error {
	end := f.end + int64(len(data))
	if end <= f.full {
		return writeAt(f.file, data, f.end)
	}
	filled := append(slices.Clip(data), make([]byte, fillAhead)...)
	err := writeAt(f.file, filled, f.end)
	if err == nil {
		f.full = end + fillAhead
		return nil
	}
	if !full(err) {
		return err
	}
	if err := f.trim(); err != nil {
		return err
	}
	return writeAt(f.file, data, f.end)
}

// trim cuts off everything behind the end.
func (f *filling) trim() error {
	if err := f.truncate(f.end); err != nil {
		return err
	}
	f.full = f.end
	return nil
}

// entry is a record on its way to disk.
type entry struct {
	body       []byte
	keep       bool // store the result
	sum        digest
	result     []byte
	compressed []byte // nil if the result was stored already
}

// batch is a number of entries that share their writes and syncs. Who puts in the first is its leader and
// commits it; meanwhile the batch before is written, and others join.
type batch struct {
	entries []*entry
	bytes   int
	done    chan struct{} // closed when err is known
	err     error
}

// Record appends r under the next sequence number, and result if it is at most [MaxStored] bytes. It returns
// when both are on disk, or an error if they are not.
func (l *Log) Record(_ context.Context, r Record, result []byte) error {
	e, err := l.entry(r, result)
	if err != nil {
		return err
	}
	b, leads := l.join(e)
	if !leads {
		<-b.done
		return b.err
	}
	l.writing.Lock()
	l.leave(b)
	b.err = l.commit(b.entries)
	l.writing.Unlock()
	close(b.done)
	return b.err
}

func (l *Log) entry(r Record, result []byte) (*entry, error) {
	e := &entry{}
	if result != nil && r.Result != nil {
		e.sum = sha256.Sum256(result)
		if r.Result.SHA256 != hex.EncodeToString(e.sum[:]) {
			return nil, errors.New("an audit record gives another hash than its result has")
		}
		if e.keep = len(result) <= MaxStored; e.keep {
			e.result = result
			kept := *r.Result
			kept.Stored = true
			r.Result = &kept
		}
	}
	var err error
	if e.body, err = body(r); err != nil {
		return nil, err
	}
	l.mu.Lock()
	_, known := l.segment.stored[e.sum]
	l.mu.Unlock()
	if e.keep && !known {
		e.compressed, err = l.compressor.compress(result) // here, where other callers need not wait for it
	}
	return e, err
}

// join puts e into the batch that gathers, and says whether the caller leads it.
func (l *Log) join(e *entry) (b *batch, leads bool) {
	size := len(e.body) + len(e.compressed)
	l.mu.Lock()
	defer l.mu.Unlock()
	if b = l.next; b == nil || len(b.entries) == maxBatch || b.bytes+size > maxBatchBytes {
		b = &batch{done: make(chan struct{})}
		l.next = b
	}
	b.entries = append(b.entries, e)
	b.bytes += size
	return b, len(b.entries) == 1
}

// leave ends the gathering.
func (l *Log) leave(b *batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next == b {
		l.next = nil
	}
}

// commit makes entries durable, or returns why it did not. The caller holds writing.
func (l *Log) commit(entries []*entry) error {
	l.mu.Lock()
	failed, refused, trouble := l.failed, l.refused, l.trouble
	l.mu.Unlock()
	if failed != nil {
		return fmt.Errorf("the audit log failed earlier: %w", failed)
	}
	if refused > 0 {
		text, err := body(Record{Time: time.Now(), Event: EventResumed, Resumed: &Resumed{refused, trouble.Error()}})
		if err != nil {
			return err
		}
		entries = append([]*entry{{body: text}}, entries...)
	}
	err := l.segment.present()
	if err == nil {
		err = l.rewind()
	}
	if err == nil {
		err = l.roll()
	}
	if err == nil && l.uncovered() > l.mostUncovered() {
		err = l.checkpoint()
	}
	if err == nil {
		err = l.write(entries)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.trouble, l.refused = nil, 0
	case full(err):
		if l.trouble == nil {
			l.trouble = err
		}
		l.refused += uint64(len(entries))
		if refused > 0 {
			l.refused-- // the event is no record that anybody waits for
		}
	case l.failed == nil:
		l.failed = err
	}
	return err
}

// uncovered is how many records are without a checkpoint.
func (l *Log) uncovered() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tree.size - l.newest.size
}

// mostUncovered is how many records may be without a checkpoint before the next is written.
func (l *Log) mostUncovered() uint64 { return checkpointsBehind * l.options.records }

// full says whether a write may succeed later: there was no room, or the volume was read-only.
func full(err error) bool {
	var unsynced syncError
	return !errors.As(err, &unsynced) &&
		(errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS))
}

// syncError is an error of a sync. The kernel reports it once and may have dropped what it could not write, so
// that a later sync which succeeds says nothing.
type syncError struct{ error }

func (e syncError) Unwrap() error { return e.error }

func datasync(f file) error {
	if err := f.datasync(); err != nil {
		return syncError{fmt.Errorf("syncing the audit log: %w", err)}
	}
	return nil
}

func syncNames(folder files) error {
	if err := folder.sync(); err != nil {
		return syncError{fmt.Errorf("syncing the audit log's folder: %w", err)}
	}
	return nil
}

// write appends entries to the segment. What was written before an error is cut off again.
func (l *Log) write(entries []*entry) error {
	var text, results, leaves []byte
	grown, fresh := l.tree.clone(), map[digest]struct{}{} // only who holds writing changes l.tree
	s := &l.segment
	for _, e := range entries {
		start := len(text)
		text = appendLine(text, e.body, grown.size+1)
		leaf := tlog.RecordHash(text[start : len(text)-1])
		grown.append(leaf)
		leaves = append(leaves, leaf[:]...)
		if !e.keep || has(s.stored, e.sum) || has(fresh, e.sum) {
			continue
		}
		if e.compressed == nil { // it stood in the segment that has ended meanwhile
			var err error
			if e.compressed, err = l.compressor.compress(e.result); err != nil {
				return err
			}
		}
		results = appendEntry(results, e.sum, e.compressed)
		fresh[e.sum] = struct{}{}
	}

	// The lines last: who reads beside us finds the result of every line that it sees.
	var err error
	if len(results) > 0 {
		err = s.results.append(results)
	}
	if err == nil {
		err = s.hashes.append(leaves)
	}
	if err == nil {
		err = s.lines.append(text)
	}
	if err != nil {
		l.dirty = true
		return errors.Join(err, l.rewind())
	}
	if err := s.sync(len(results) > 0); err != nil {
		return err
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	s.lines.end += int64(len(text))
	s.results.end += int64(len(results))
	s.hashes.end += int64(len(leaves))
	for sum := range fresh {
		s.stored[sum] = struct{}{}
	}
	l.tree = grown
	if grown.size-l.newest.size >= l.options.records {
		signal(l.wake)
	}
	return nil
}

func has(set map[digest]struct{}, sum digest) bool { _, ok := set[sum]; return ok }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is signalled already
	}
}

func writeAt(f file, data []byte, offset int64) error {
	if len(data) == 0 {
		return nil
	}
	if _, err := f.WriteAt(data, offset); err != nil {
		return fmt.Errorf("writing the audit log: %w", err)
	}
	return nil
}

// sync makes the records durable, and at the same time their results if there are new ones.
func (s *segment) sync(results bool) error {
	if !results {
		return datasync(s.lines)
	}
	second := make(chan error, 1)
	go func() { second <- datasync(s.results) }()
	first := datasync(s.lines)
	return errors.Join(first, <-second)
}

// present fails if one of the segment's files has lost its name.
func (s *segment) present() error {
	return errors.Join(present(s.lines, segmentName(s.first, linesKind)), present(s.results, segmentName(s.first, storedKind)), present(s.hashes, segmentName(s.first, hashesKind)))
}

// present fails if f has lost its name: somebody has removed or moved it, or put another in its place, as editors do. What is
// written to it then is nowhere once it is closed, or where nobody looks.
func present(f file, name string) error {
	named, err := f.named(name)
	if err == nil && !named {
		err = fmt.Errorf("%w: its file %s was removed or replaced while it was written", ErrBroken, name)
	}
	return err
}

// rewind cuts off what a failed write left behind the acknowledged records.
func (l *Log) rewind() error {
	if !l.dirty {
		return nil
	}
	if err := l.segment.trim(); err != nil {
		return fmt.Errorf("cutting off what a failed write left: %w", err)
	}
	l.dirty = false
	return nil
}

// trim cuts off everything behind the ends of the segment's files.
func (s *segment) trim() error { return errors.Join(s.lines.trim(), s.results.trim(), s.hashes.trim()) }

// roll begins a new segment if the present one is full. The old one ends with a checkpoint, so that the tree
// which the new one begins with is a signed one.
func (l *Log) roll() error {
	s := &l.segment
	if s.lines.end < l.options.segment && s.results.end < l.options.segment || s.lines.end == 0 {
		return nil
	}
	if err := l.checkpoint(); err != nil {
		return err
	}
	if err := s.seal(); err != nil {
		return err
	}
	next, err := createSegment(l.folder, l.tree)
	if err != nil {
		return fmt.Errorf("beginning a segment of the audit log: %w", err)
	}
	s.close()
	l.mu.Lock()
	l.segment = next
	l.mu.Unlock()
	signal(l.sealed)
	return nil
}

// seal ends the segment: its files hold their content and nothing else.
func (s *segment) seal() error {
	if err := s.trim(); err != nil {
		return fmt.Errorf("ending a segment of the audit log: %w", err)
	}
	return errors.Join(datasync(s.lines), datasync(s.results), datasync(s.hashes))
}

// createSegment makes the files of a segment that continues the tree before. What an earlier attempt left is
// overwritten: nothing in it was acknowledged.
func createSegment(folder files, before frontier) (s segment, err error) {
	s = segment{first: before.size + 1, stored: map[digest]struct{}{}}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	start, err := folder.create(segmentName(s.first, treeKind))
	if err != nil {
		return s, err
	}
	err = writeAt(start, before.encode(), 0)
	if err == nil {
		err = datasync(start)
	}
	if err := errors.Join(err, start.Close()); err != nil {
		return s, err
	}
	if s.results.file, err = folder.create(segmentName(s.first, storedKind)); err != nil {
		return s, err
	}
	if s.hashes.file, err = folder.create(segmentName(s.first, hashesKind)); err != nil {
		return s, err
	}
	// The lines make it a segment; by then the rest must be there, whatever a crash leaves.
	if err = syncNames(folder); err != nil {
		return s, err
	}
	if s.lines.file, err = folder.create(segmentName(s.first, linesKind)); err != nil {
		return s, err
	}
	return s, syncNames(folder)
}

func (s *segment) close() {
	for _, f := range []file{s.lines.file, s.results.file, s.hashes.file} {
		if f != nil {
			_ = f.Close() // all that was acknowledged is synced
		}
	}
}

// checkpoint signs the tree of the acknowledged records, if it has grown since the last time.
func (l *Log) checkpoint() error {
	if l.options.Signer == nil {
		return nil
	}
	l.signing.Lock()
	defer l.signing.Unlock()
	l.mu.Lock()
	grown, newest, failed := l.tree.clone(), l.newest, l.failed
	l.mu.Unlock()
	if failed != nil {
		return fmt.Errorf("the audit log failed earlier: %w", failed)
	}
	if grown.size == newest.size {
		return nil
	}
	if err := present(l.notes, checkpointsName); err != nil {
		l.fail(err)
		return err
	}
	signed, err := sign(l.options.Signer, grown.size, grown.root())
	if err != nil {
		return fmt.Errorf("signing a checkpoint: %w", err)
	}
	text := append(signed.note, '\n')
	if err := writeAt(l.notes, text, l.end); err != nil {
		return errors.Join(err, l.notes.truncate(l.end)) // the next is written over it if it cannot be cut off
	}
	if err := datasync(l.notes); err != nil {
		l.fail(err)
		return err
	}
	l.end += int64(len(text))
	signed.note = text[:len(text)-1]
	l.mu.Lock()
	l.newest = signed
	l.mu.Unlock()
	l.options.Logger.LogAttrs(context.Background(), slog.LevelInfo, "audit checkpoint",
		slog.Uint64("size", signed.size), slog.String("note", string(signed.note)))
	return nil
}

func (l *Log) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = err
	}
}

// Checkpoint returns the newest checkpoint (C2SP tlog-checkpoint), a signed note; nil if there is none. Kept
// elsewhere, it lets [Verify] see that the log was rolled back.
func (l *Log) Checkpoint() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.newest.note
}

// Healthy returns why the log refuses records, or nil.
func (l *Log) Healthy() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil {
		return l.failed
	}
	return l.trouble
}

// work does in the background what no caller should wait for, until stop is closed.
func (l *Log) work() {
	defer l.stopped.Done()
	checkpoints, ages := time.NewTicker(l.options.interval), time.NewTicker(expireInterval)
	defer checkpoints.Stop()
	defer ages.Stop()
	signal(l.sealed) // segments may have grown old while no process was there
	for {
		var err error
		select {
		case <-l.stop:
			return
		case <-checkpoints.C:
			l.resume()
			err = l.checkpoint()
		case <-l.wake:
			err = l.checkpoint()
		case <-l.sealed:
			err = l.expire(time.Now())
		case <-ages.C:
			err = l.expire(time.Now())
		}
		if err != nil {
			l.options.Logger.LogAttrs(context.Background(), slog.LevelError, "audit log", slog.String("error", err.Error()))
		}
	}
}

// resume tries to write again. While a log is unhealthy its callers may stay away.
func (l *Log) resume() {
	l.writing.Lock()
	defer l.writing.Unlock()
	if err := l.Healthy(); full(err) {
		_ = l.commit(nil) // Healthy says so if it failed
	}
}

// Close signs what no checkpoint covers yet and closes the log.
func (l *Log) Close() error {
	var err error
	l.closing.Do(func() {
		close(l.stop)
		l.stopped.Wait()
		l.writing.Lock()
		defer l.writing.Unlock()
		if l.Healthy() == nil {
			err = errors.Join(l.checkpoint(), l.segment.seal())
		}
		l.fail(fs.ErrClosed)
		l.segment.close()
		err = errors.Join(err, l.notes.Close(), l.lock.Close())
	})
	return err
}
