package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// segmentCheck is the verification of one segment.
type segmentCheck struct {
	*verification
	name    string
	first   uint64
	last    uint64
	next    uint64          // the record that should come
	junk    int             // lines since the last record that are none
	hashes  []byte          // the list of leaf hashes
	results map[digest]bool // stored results, and whether their content is right
}

func (s *segmentCheck) readHashes() error {
	var err error
	s.hashes, err = content(s.folder, segmentName(s.first, hashesKind), maxHashes)
	if errors.Is(err, fs.ErrNotExist) {
		s.find(0, 0, segmentName(s.first, hashesKind), "there is no such file: changes are named less exactly")
		return nil
	} else if errors.Is(err, errSize) {
		s.find(0, 0, segmentName(s.first, hashesKind), "not the hashes of a segment: %v", err)
		return nil
	}
	ends := len(bytes.TrimRight(s.hashes, "\x00")) // perhaps within the last hash
	s.hashes = s.hashes[:min(len(s.hashes), (ends+tlog.HashSize-1)/tlog.HashSize*tlog.HashSize)]
	return err
}

// leaf is the listed hash of a record. Zeros are none: they stand where a power cut left a hole.
func (s *segmentCheck) leaf(seq uint64) (tlog.Hash, bool) {
	i := seq - s.first
	if seq < s.first || i >= uint64(len(s.hashes)/tlog.HashSize) {
		return tlog.Hash{}, false
	}
	leaf := tlog.Hash(s.hashes[i*tlog.HashSize:][:tlog.HashSize])
	return leaf, leaf != tlog.Hash{}
}

// plausible says whether a line out of its place is really the record that it says. Where there is no list, any
// record of this segment may be.
func (s *segmentCheck) plausible(seq uint64, hash tlog.Hash) bool {
	if leaf, ok := s.leaf(seq); ok {
		return leaf == hash
	}
	return len(s.hashes) == 0 && seq >= s.first && seq < s.first+maxSegmentRecords && (s.last == 0 || seq <= s.last)
}

func (s *segmentCheck) readResults() error {
	s.results = map[digest]bool{}
	name := segmentName(s.first, storedKind)
	in, err := s.folder.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		s.find(0, 0, name, "there is no such file")
		return nil
	} else if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	size, err := in.size()
	if err != nil {
		return err
	}
	if size > maxResults {
		s.find(0, 0, name, "%d bytes are more than a segment stores; the rest is not read", size)
		size = maxResults
	}
	entries := newEntryReader(io.NewSectionReader(in, 0, size))
	for {
		sum, compressed, err := entries.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errChecksum):
			compressed = nil // its record is named, if it has one
		case errors.Is(err, errEntry):
			if s.last != 0 { // in the last segment a crash may have left half an entry
				s.find(0, 0, name, "byte %d: %v", entries.end, err)
			}
			return nil
		case err != nil:
			return err
		}
		// Changed, unless it stands there rightly too.
		_, err = expand(sum, compressed) // of nothing it fails
		s.results[sum] = s.results[sum] || err == nil
		if len(s.results) > maxStoredResults {
			s.find(0, 0, name, "more than %d results; the rest is not read", maxStoredResults)
			return nil
		}
	}
}

func (s *segmentCheck) readLines(in io.Reader, size int64) error {
	if size > maxSegment+maxBatchText {
		s.find(0, 0, s.name, "%d bytes are more than a segment has; the rest is not read", size)
		in = io.LimitReader(in, maxSegment+maxBatchText)
	}
	reader := newLineReader(in)
	for {
		line, err := reader.next()
		switch {
		case errors.Is(err, io.EOF):
			return s.end(0)
		case errors.Is(err, io.ErrUnexpectedEOF):
			return s.end(reader.half)
		case errors.Is(err, errHole) && s.last == 0:
			torn, err := s.torn(reader)
			if torn || err != nil {
				return errors.Join(err, s.end(reader.half))
			}
			s.noRecord(errHole)
			continue
		case errors.Is(err, errLong) || errors.Is(err, errHole):
			s.noRecord(err)
			continue
		case err != nil:
			return err
		}
		if err := s.line(line); err != nil {
			return err
		}
	}
}

// torn says whether a hole in the last segment can be what the power left: not where a checkpoint covers what should stand
// there. The lines end with it then.
func (s *segmentCheck) torn(lines *lineReader) (bool, error) {
	c, err := s.peek()
	if err != nil || c != nil && c.size >= s.next {
		return false, err
	}
	return true, lines.stop()
}

func (s *segmentCheck) noRecord(why error) {
	s.junk++
	s.find(s.next, s.next, s.name, "what stands in its place is no record: %v", why)
}

// line takes one line, which may stand in a wrong place.
func (s *segmentCheck) line(line []byte) error {
	r, err := parse(line)
	if err != nil {
		s.noRecord(err)
		return nil
	}
	hash := tlog.RecordHash(line)
	switch {
	case r.Seq == s.next:
	case r.Seq > s.next && s.plausible(r.Seq, hash):
		if err := s.skipTo(r.Seq); err != nil {
			return err
		}
	case r.Seq < s.next && s.plausible(r.Seq, hash):
		s.find(r.Seq, r.Seq, s.name, "it stands out of its place, after record %d", s.next-1)
		return nil
	default:
		s.noRecord(fmt.Errorf("it says that it is record %d", r.Seq))
		return nil
	}
	s.junk = 0
	return s.take(hash, &r)
}

// skipTo goes on at seq; the records before it are missing.
func (s *segmentCheck) skipTo(seq uint64) error {
	// Lines that are no records took the place of some, and have been named.
	if from := s.next + uint64(s.junk); from < seq { //nolint:gosec // a count
		s.find(from, seq-1, s.name, "missing: removed, or moved behind record %d", seq)
	}
	for s.next < seq {
		leaf, ok := s.leaf(s.next)
		if !ok && s.lost == 0 {
			s.lost = s.next
		}
		if err := s.take(leaf, nil); err != nil {
			return err
		}
	}
	return nil
}

// take adds the next record to the trees. r is nil if it is missing.
func (s *segmentCheck) take(hash tlog.Hash, r *Record) error {
	seq := s.next
	s.next++
	leaf, ok := s.leaf(seq)
	if !ok {
		leaf = hash
	} else if leaf != hash {
		if len(s.doubts) < maxFindings {
			s.doubts = append(s.doubts, seq)
		} else {
			s.report.More++
		}
	}
	s.lines.append(hash)
	s.listed.append(leaf)
	if r != nil {
		s.expirySeen = s.expirySeen || hash == s.expiryLine
		s.report.Records++
		s.report.Last = seq
		s.result(r)
		s.event(r)
	}
	return s.check()
}

// result holds the stored result of a record against its hash.
func (s *segmentCheck) result(r *Record) {
	if r.Result == nil || !r.Result.Stored {
		return
	}
	s.report.Results++
	name := segmentName(s.first, storedKind)
	sum, err := parseDigest(r.Result.SHA256)
	if err != nil {
		s.find(r.Seq, r.Seq, s.name, "%v", err)
		return
	}
	what := "its stored result is missing, or was changed"
	right, found := s.results[sum]
	if found {
		what = "its stored result was changed"
	}
	switch {
	case right:
	case len(s.missing) < maxFindings:
		// Not yet a finding: the next process may say that a crash took it.
		s.missing = append(s.missing, Finding{r.Seq, r.Seq, name, what})
	default:
		s.report.More++
	}
}

// event holds what the log says of itself against what has been read.
func (s *segmentCheck) event(r *Record) {
	if r.Event != EventOpened || r.Opened == nil {
		return
	}
	o := r.Opened
	if o.Covered > s.newest && o.Covered >= s.report.First {
		s.find(0, 0, checkpointsName, "there is no checkpoint of %d records, though record %d names one", o.Covered, r.Seq)
	}
	if o.Covered+o.Uncovered != r.Seq-1 {
		s.find(r.Seq, r.Seq, s.name, "it counts %d records before it", o.Covered+o.Uncovered)
	}
	if o.Uncovered > 0 {
		s.starts++
		s.unproved += o.Uncovered
	}
	before := r.Seq - 1
	s.missing = slices.DeleteFunc(s.missing, func(f Finding) bool {
		lost := f.From > s.newest && slices.Contains(o.MissingResults, f.From) && f.From+o.Uncovered > before && f.From+maxBatch > before
		if lost && len(s.report.Lost) < maxFindings {
			s.report.Lost = append(s.report.Lost, f.From)
		}
		return lost
	})
	if e := s.expiry; e != nil && e.Seq <= before && e.Seq+o.Uncovered > before {
		s.find(e.Seq, e.Seq, s.name, "it says that records have expired, but stood in the log before any checkpoint covered it")
	}
}

// end closes a segment that has half a line of so many bytes at its end.
func (s *segmentCheck) end(half int64) error {
	if half > 0 && s.last != 0 {
		s.noRecord(fmt.Errorf("half a line of %d bytes", half))
	} else if half > 0 {
		s.report.Unseen = append(s.report.Unseen, fmt.Sprintf(
			"The log ends with half a line of %d bytes. That is what a crash leaves of a record that nobody was answered for; the next start drops it.", half))
	}
	switch {
	case s.last == 0 || s.next == s.last+1:
		return nil
	case s.next > s.last+1:
		s.find(s.last+1, s.next-1, s.name, "the next segment should begin with them")
		return nil
	case s.last-s.next >= maxSegmentRecords: // by its name, the next segment is far away: it reports what is missing
		return nil
	default:
		return s.skipTo(s.last + 1)
	}
}
