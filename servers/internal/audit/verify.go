package audit

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	// maxFindings bounds a report. More are counted.
	maxFindings = 1000
	// maxAttempts bounds how often a log is read that loses segments meanwhile.
	maxAttempts = 3
)

// Verify reads the whole log in dir and says what is not as it was written, by the checkpoints of verifier's key.
// trusted is a checkpoint that was kept elsewhere, a signed note, or nil: the log must extend it (RFC 6962,
// section 2.1.2). It may run beside a process that appends. An error means that the log could not be read, and
// says nothing about it.
func Verify(dir string, verifier note.Verifier, trusted []byte) (Report, error) {
	folder := disk{dir: dir}
	var report Report
	for range maxAttempts {
		before, listErr := segments(folder)
		var err error
		if report, err = verify(folder, verifier, trusted); err != nil && !errors.Is(err, fs.ErrNotExist) || listErr != nil {
			return report, fmt.Errorf("verifying the audit log in %s: %w", dir, errors.Join(err, listErr))
		}
		// What expires meanwhile looks as if somebody had removed it.
		after, listErr := segments(folder)
		if listErr == nil && err == nil && len(before) > 0 && slices.Contains(after, before[0]) || len(before) == 0 {
			return report, err
		}
	}
	return report, fmt.Errorf("verifying the audit log in %s: its segments expire faster than they can be read", dir)
}

func verify(folder files, verifier note.Verifier, trusted []byte) (Report, error) {
	v := &verification{folder: folder, verifier: verifier}
	if trusted != nil {
		c, err := openCheckpoint(trusted, verifier)
		if err != nil {
			return v.report, fmt.Errorf("the trusted checkpoint: %w", err)
		}
		v.trusted, v.given = &c, c.size
	}
	// The checkpoints before the records: what they cover is on disk by then.
	notes, err := folder.open(checkpointsName)
	if errors.Is(err, fs.ErrNotExist) {
		v.find(0, 0, checkpointsName, "there is no such file")
	} else if err != nil {
		return v.report, err
	} else {
		defer func() { _ = notes.Close() }()
		size, err := notes.size()
		if err != nil {
			return v.report, err
		}
		v.notes = newNoteReader(io.NewSectionReader(notes, 0, size))
	}
	if err := v.run(); err != nil {
		return v.report, err
	}
	return v.report, v.finish()
}

// verification walks the log once and keeps two trees: one of the lines, one of the list of leaf hashes beside
// them. The signed roots say which of the two is right; where they differ, that names the record. Its memory does
// not grow with the log.
type verification struct {
	folder   files
	verifier note.Verifier
	trusted  *checkpoint // nil when it has been compared
	notes    *noteReader // nil at its end
	current  *checkpoint // the next one of notes, if it has been read
	last     *checkpoint // the one of notes before
	report   Report

	lines, listed frontier
	doubts        []uint64  // records whose line and listed hash differ, since the last checkpoint
	lost          uint64    // the first record from which on the tree cannot be known; 0 if it can
	good          uint64    // up to where the tree was as signed
	at            uint64    // the first record of the present segment
	newest        uint64    // size of the newest checkpoint that has been compared, whether it was right or not
	ahead         uint64    // size of the newest one that has been read
	spoiled       int       // notes that are no checkpoints
	spoiledAt     int       // the line of the first of them
	expiry        *Record   // the event that lets the log begin later
	expiryLine    tlog.Hash // of that event
	expirySeen    bool      // that very line stands in the log that was walked
	missing       []Finding
	given         uint64 // size of the trusted checkpoint, 0 without one
	starts        int    // events that found records without a checkpoint
	unproved      uint64 // how many in all
}

func (v *verification) find(from, to uint64, file, format string, args ...any) {
	v.add(Finding{from, to, file, fmt.Sprintf(format, args...)})
}

func (v *verification) add(f Finding) {
	if len(v.report.Findings) == maxFindings {
		v.report.More++
		return
	}
	v.report.Findings = append(v.report.Findings, f)
}

func (v *verification) run() error {
	firsts, err := segments(v.folder)
	if err != nil {
		return err
	}
	if len(firsts) == 0 {
		v.find(0, 0, segmentName(1, linesKind), "there is no segment: the records are gone")
		return nil
	}
	if firsts, err = v.start(firsts); err != nil {
		return err
	}
	for i, first := range firsts {
		var last uint64 // unknown for the last segment
		if i+1 < len(firsts) {
			last = firsts[i+1] - 1
		}
		if err := v.segment(first, last); err != nil {
			return err
		}
	}
	return nil
}

// start finds where the log begins: at the first record, or behind those that a record says have expired. It
// returns the segments that are left to verify.
func (v *verification) start(firsts []uint64) ([]uint64, error) {
	v.report.First, v.at = firsts[0], firsts[0]
	if firsts[0] == 1 {
		return firsts, nil
	}
	// Events follow each other with growing ranges, so that the last one says all.
	for _, first := range slices.Backward(firsts) {
		if err := v.findExpiry(first); err != nil {
			return nil, err
		}
		if v.expiry != nil {
			break
		}
	}
	if v.expiry == nil {
		v.find(1, firsts[0]-1, segmentName(1, linesKind), "they are missing, and no record says that they have expired")
		return firsts, v.restart(firsts[0])
	}
	e := v.expiry.Expired
	v.lines = frontier{size: e.To, hashes: e.Frontier}
	// A process may have ended between the event and the removal.
	left := firsts
	for len(firsts) > 1 && firsts[1] <= e.To+1 {
		firsts = firsts[1:]
	}
	if err := v.leftOver(left[:len(left)-len(firsts)]); err != nil {
		return nil, err
	}
	v.listed = v.lines.clone()
	v.good, v.newest = e.To, e.To
	v.report.First, v.report.Expired = e.To+1, e.To
	return firsts, v.check()
}

// leftOver holds segments that should have been removed against the tree of what has expired: whoever reads the log reads
// them too.
func (v *verification) leftOver(firsts []uint64) error {
	if len(firsts) == 0 {
		return nil
	}
	tree, err := readFrontier(v.folder, firsts[0])
	for _, first := range firsts {
		if err == nil && first != tree.size+1 {
			err = fmt.Errorf("%w: records %d to %d are missing", ErrBroken, tree.size+1, first-1)
		}
		if err == nil {
			var found found
			found, err = readSegment(v.folder, tree, nil, maxSegment)
			tree = found.tree
		}
	}
	switch {
	case err != nil && !errors.Is(err, ErrBroken) && !errors.Is(err, fs.ErrNotExist):
		return err
	case err != nil:
		v.find(firsts[0], v.lines.size, segmentName(firsts[0], linesKind), "a record says that they have expired, and what stands there instead cannot be verified: %v", err)
	case !tree.equal(v.lines):
		v.find(firsts[0], v.lines.size, segmentName(firsts[0], linesKind), "a record says that they have expired, and what stands there is not what was written")
	}
	return nil
}

// findExpiry looks for the last event of that kind in a segment. Whether the event is one of the log, the walk shows.
func (v *verification) findExpiry(first uint64) error {
	in, err := v.folder.open(segmentName(first, linesKind))
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	size, err := contentSize(in)
	if err != nil {
		return err
	}
	mark := []byte(`"event":"` + string(EventExpired) + `"`)
	lines := newLineReader(io.NewSectionReader(in, 0, size))
	for {
		line, err := lines.next()
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case errors.Is(err, errLong), errors.Is(err, errHole):
			continue // reported when its turn comes, like all that is no record
		case err != nil:
			return err
		case !bytes.Contains(line, mark):
			continue
		}
		if r, err := parse(line); err == nil && r.Event == EventExpired && r.Expired != nil {
			v.considerExpiry(segmentName(first, linesKind), &r, tlog.RecordHash(line))
		}
	}
}

func (v *verification) considerExpiry(name string, r *Record, line tlog.Hash) {
	claimed := frontier{r.Expired.To, r.Expired.Frontier}
	f, err := parseFrontier(claimed.encode())
	if err != nil {
		v.find(r.Seq, r.Seq, name, "its frontier is not that of %d records", r.Expired.To)
		return
	}
	c, err := openCheckpoint([]byte(r.Expired.Checkpoint), v.verifier)
	if err != nil || c.size != f.size || c.root != f.root() {
		v.find(r.Seq, r.Seq, name, "the checkpoint of what has expired is not that of its frontier")
		return
	}
	v.expiry, v.expiryLine = r, line
}

// segment verifies one segment. last is the number of its last record by its successor's name, 0 if it has none.
func (v *verification) segment(first, last uint64) error {
	name := segmentName(first, linesKind)
	v.at = first
	var err error
	switch next := v.lines.size + 1; {
	case first > next:
		v.find(next, first-1, name, "they are missing: this segment begins after them")
		err = v.restart(first)
	case first < next:
		v.find(first, next-1, name, "this segment repeats records of the one before")
		err = v.restart(first)
	case v.lost != 0:
		err = v.restart(first)
	case first > 1:
		if before, err := readFrontier(v.folder, first); err != nil {
			v.find(0, 0, segmentName(first, treeKind), "the derived frontier cannot be read: %v", err)
		} else if !before.equal(v.lines) {
			v.find(0, 0, segmentName(first, treeKind), "the derived frontier is not that of the records before")
		}
		if v.newest < first-1 {
			v.find(0, 0, checkpointsName, "there is no checkpoint of %d records, though a segment ends there", first-1)
		}
	}
	if err != nil {
		return err
	}
	s := &segmentCheck{verification: v, name: name, first: first, last: last, next: first}
	if err := s.readHashes(); err != nil {
		return err
	}
	// The length of the lines is taken before the results are read, and results are written first: each line that
	// is read has its result on disk.
	in, err := v.folder.open(name)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	size, err := in.size()
	if err == nil && last == 0 {
		size, err = contentSize(in) // only where lines are still written, zeros stand ahead of them
	}
	if err != nil {
		return err
	}
	if err := s.readResults(); err != nil {
		return err
	}
	return s.readLines(io.NewSectionReader(in, 0, size), size)
}

// restart goes on at a segment whose beginning the records before do not prove: by its derived frontier. If that was
// signed, all from here on can be proved again.
func (v *verification) restart(first uint64) error {
	v.settle("no checkpoint says which is right")
	if v.lost != 0 && v.lost < first {
		v.find(v.lost, first-1, segmentName(first, treeKind), "they cannot be held against a signed tree, because of what is wrong before them")
	}
	// Checkpoints of what is missing can be held against nothing.
	c, err := v.peek()
	for ; err == nil && c != nil && c.size < first-1; c, err = v.peek() {
		v.drop(c)
	}
	if err != nil {
		return err
	}
	v.lost = 0
	before, err := readFrontier(v.folder, first)
	if err != nil {
		v.find(0, 0, segmentName(first, treeKind), "the derived frontier cannot be read: %v", err)
		before, v.lost = frontier{size: first - 1}, first
	} else if signed := func(c *checkpoint) bool { return c != nil && c.size == before.size && c.root == before.root() }; !signed(v.last) && !signed(c) {
		// It may be right all the same; the next checkpoint tells.
		v.find(0, 0, segmentName(first, treeKind), "no checkpoint vouches for this tree of %d records", first-1)
	}
	v.lines, v.listed = before, before.clone()
	v.good = first - 1
	return v.check()
}

// peek returns the next checkpoint, nil at the end.
func (v *verification) peek() (*checkpoint, error) {
	for v.current == nil && v.notes != nil {
		text, line, err := v.notes.next()
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) { // half a note is what a crash leaves
			v.notes = nil
			break
		} else if err != nil {
			return nil, err
		}
		c, err := openCheckpoint(text, v.verifier)
		if err != nil {
			if v.spoiled++; v.spoiled == 1 {
				v.spoiledAt = line
			}
			continue
		}
		if c.size < v.ahead {
			v.find(0, 0, checkpointsName, "line %d: a checkpoint of %d records stands behind one of %d", line, c.size, v.ahead)
			continue
		}
		v.ahead = c.size
		v.current = &c
	}
	if v.trusted != nil && (v.current == nil || v.trusted.size < v.current.size) {
		return v.trusted, nil
	}
	return v.current, nil
}

// drop is done with a checkpoint that peek returned.
func (v *verification) drop(c *checkpoint) {
	if c == v.trusted {
		v.trusted = nil
		return
	}
	v.newest, v.last, v.current = c.size, c, nil
}

// check compares the trees with the checkpoints of their size.
func (v *verification) check() error {
	for {
		c, err := v.peek()
		if err != nil || c == nil || c.size > v.lines.size {
			return err
		}
		if c.size == v.lines.size {
			v.compare(c)
		} else if c == v.trusted {
			v.report.Unseen = append(v.report.Unseen, fmt.Sprintf(
				"The trusted checkpoint is of %d records, and these have expired: it could not be compared.", c.size))
		}
		v.drop(c)
	}
}

func (v *verification) compare(c *checkpoint) {
	kind := "checkpoint"
	if c == v.trusted {
		kind = "trusted checkpoint"
	}
	switch {
	case v.lost != 0:
		return
	case c.root == v.lines.root():
		for _, seq := range v.doubts {
			v.find(seq, seq, segmentName(v.at, hashesKind), "its line is as signed, and the derived list has another hash for it")
		}
		v.listed = v.lines.clone()
	case c.root == v.listed.root():
		for _, seq := range v.doubts {
			v.find(seq, seq, segmentName(v.at, linesKind), "it is not what was written: the checkpoint of %d records covers another line", c.size)
		}
		v.lines = v.listed.clone()
	default:
		v.settle("the two and the checkpoint all differ")
		v.find(min(v.good+1, c.size), c.size, segmentName(v.at, linesKind), "one or more of them are not what was written: the %s of %d records has another root", kind, c.size)
		v.lost = c.size + 1
		return
	}
	v.doubts = nil
	v.good = c.size
	v.report.Covered, v.report.Checkpoint = c.size, string(c.note)
}

// settle reports the records whose line and listed hash differ when no checkpoint decides between them.
func (v *verification) settle(why string) {
	for _, seq := range v.doubts {
		v.find(seq, seq, segmentName(v.at, linesKind), "its line is not the one that the derived list of hashes has: %s", why)
	}
	v.doubts = nil
}

// finish says what the walk leaves open.
func (v *verification) finish() error {
	last := v.lines.size
	v.settle("no checkpoint covers it yet")
	if v.lost != 0 && v.lost <= last {
		v.find(v.lost, last, segmentName(v.at, linesKind), "they cannot be held against a signed tree, because of what is wrong before them")
	}
	missing, which := uint64(0), "checkpoint"
	for {
		c, err := v.peek()
		if err != nil {
			return err
		}
		if c == nil {
			break
		}
		if c.size > missing {
			missing = c.size
			if c == v.trusted {
				which = "trusted checkpoint"
			}
		}
		v.drop(c)
	}
	if missing > last {
		v.find(last+1, missing, segmentName(v.at, linesKind), "they are missing: a %s covers %d records", which, missing)
	}
	if v.spoiled > 0 {
		v.find(0, 0, checkpointsName, "%d notes are no checkpoints that this key has signed; the first stands at line %d", v.spoiled, v.spoiledAt)
	}
	if v.ahead == 0 {
		v.find(0, 0, checkpointsName, "no checkpoint is signed by this key, so nothing proves that any record is what was written")
	}
	if v.expiry != nil && v.expiry.Seq > v.report.Covered {
		v.find(v.expiry.Seq, v.expiry.Seq, segmentName(v.at, linesKind), "it says that records have expired, and no checkpoint covers it")
	}
	if v.expiry != nil && !v.expirySeen {
		v.find(1, v.expiry.Expired.To, segmentName(1, linesKind), "they are missing, and the record that says that they have expired does not stand in the log")
	}
	for _, f := range v.missing {
		v.add(f)
	}
	slices.SortStableFunc(v.report.Findings, func(a, b Finding) int { return cmp.Compare(a.From, b.From) })
	v.report.Uncovered = last - min(last, v.report.Covered)
	v.unseen()
	return nil
}
