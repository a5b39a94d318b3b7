package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// These are ways past verify and past the start that once were open.

func (x *tampering) found(t *testing.T, what string) {
	t.Helper()
	report := x.verify(nil)
	if text := report.Text(); !strings.Contains(text, "FOUND ") || !strings.Contains(text, what) {
		t.Errorf("want a finding with %q:\n%s", what, text)
	}
}

func (x *tampering) refused(t *testing.T, why string) {
	t.Helper()
	l, err := Open(x.dir, x.options())
	if err == nil {
		_ = l.Close()
	}
	if !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), why) {
		t.Errorf("opened: %v; want %q", err, why)
	}
}

// noteOf is the checkpoint of so many records.
func (x *tampering) noteOf(size uint64) string {
	x.t.Helper()
	for _, n := range x.notes() {
		if claimed, _ := claimedSize([]byte(n)); claimed == size {
			return n
		}
	}
	x.t.Fatalf("no checkpoint of %d records", size)
	return ""
}

func (x *tampering) event(r Record, seq uint64) []byte {
	x.t.Helper()
	r.Time = time.Now()
	text, err := body(r)
	if err != nil {
		x.t.Fatal(err)
	}
	return appendLine(nil, text, seq)
}

// All but the last segment is removed, and one that says so stands in the log where nothing proves it.
func TestForgedExpiryThatDropsItself(t *testing.T) {
	for _, at := range []uint64{1, 2} {
		x := newTampering(t)
		last := x.firsts[len(x.firsts)-1]
		before, err := readFrontier(disk{dir: x.dir}, last)
		if err != nil {
			t.Fatal(err)
		}
		line := x.event(Record{Event: EventExpired, Expired: &Expired{From: 1, To: before.size, Checkpoint: x.noteOf(before.size), Frontier: before.hashes}}, at)
		for _, first := range x.firsts[:len(x.firsts)-1] {
			for _, kind := range []string{linesKind, storedKind, hashesKind, treeKind} {
				_ = os.Remove(x.path(segmentName(first, kind))) // the first has no frontier
			}
		}
		if err := os.WriteFile(x.path(segmentName(at, linesKind)), line, 0o600); err != nil {
			t.Fatal(err)
		}
		x.found(t, fmt.Sprintf("to %d", before.size))
	}
}

// Results are removed, and an event that nobody signed blames a crash.
func TestForgedCrash(t *testing.T) {
	x := newTampering(t)
	end, last := x.verify(nil).Last, x.firsts[len(x.firsts)-1]
	var missing []uint64
	for seq := last; seq <= end; seq++ {
		missing = append(missing, seq)
	}
	x.edit(segmentName(last, storedKind), func([]byte) []byte { return nil })
	x.edit(segmentName(last, linesKind), func(b []byte) []byte {
		return append(b, x.event(Record{Event: EventOpened, Opened: &Opened{Covered: 1, Uncovered: end - 1, MissingResults: missing}}, end+1)...)
	})
	x.found(t, "its stored result is missing")
	x.refused(t, "the result of record")
}

// Behind a genuine expiry somebody plants what has expired.
func TestPlantedSegments(t *testing.T) {
	for _, from := range []uint64{1, 5} {
		x := newTampering(t)
		options := x.options()
		options.MaxBytes = 100
		l, err := Open(x.dir, options)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.expire(time.Now()); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if report := x.verify(nil); len(report.Findings) > 0 {
			t.Fatal(report.Findings)
		}
		left, err := segments(disk{dir: x.dir})
		if err != nil || left[0] == 1 {
			t.Fatal(left, err)
		}
		var text []byte
		for seq := from; seq < left[0]; seq++ {
			text = append(text, x.event(Record{Call: "FORGED", Principal: "somebody", Decision: Allow}, seq)...)
		}
		if err := os.WriteFile(x.path(segmentName(from, linesKind)), text, 0o600); err != nil {
			t.Fatal(err)
		}
		x.found(t, "what")
	}
}

// Times are edited for as long as it takes to make the log expire what is not old.
func TestEarlyExpiry(t *testing.T) {
	x := newTampering(t)
	options := x.options()
	options.Keep = 90 * 24 * time.Hour
	l, err := Open(x.dir, options)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for _, first := range x.firsts {
		x.edit(segmentName(first, linesKind), func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(`"time":"20`), []byte(`"time":"19`)) })
	}
	if err := l.expire(time.Now()); !errors.Is(err, ErrBroken) {
		t.Errorf("expired: %v", err)
	}
	options.Keep, options.MaxBytes = 0, 1<<20
	l.options = options
	if err := os.Truncate(x.path(segmentName(x.firsts[1], storedKind)), 1<<30); err != nil {
		t.Fatal(err)
	}
	if err := l.expire(time.Now()); !errors.Is(err, ErrBroken) {
		t.Errorf("expired for a file's size: %v", err)
	}
	if left, err := segments(disk{dir: x.dir}); err != nil || !slices.Equal(left[:len(x.firsts)], x.firsts) {
		t.Errorf("%v are left of %v, %v", left, x.firsts, err)
	}
}

// Everything is edited consistently, and the checkpoints are gone: the next process must not sign that.
func TestCheckpointsGone(t *testing.T) {
	x := newTampering(t)
	var f frontier
	for _, first := range x.firsts {
		x.edit(segmentName(first, linesKind), func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"principal":"agent"`), []byte(`"principal":"other"`), 1)
		})
		text, err := os.ReadFile(x.path(segmentName(first, linesKind)))
		if err != nil {
			t.Fatal(err)
		}
		before := f.encode()
		var leaves []byte
		for line := range bytes.Lines(text) {
			leaf := tlog.RecordHash(bytes.TrimSuffix(line, []byte("\n")))
			f.append(leaf)
			leaves = append(leaves, leaf[:]...)
		}
		if err := errors.Join(os.WriteFile(x.path(segmentName(first, hashesKind)), leaves, 0o600), os.WriteFile(x.path(segmentName(first, treeKind)), before, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	x.remove(checkpointsName)
	x.refused(t, "though a segment ends there")
}

// The same in one segment: no more than a crash leaves may be without a checkpoint.
func TestCheckpointsCutBack(t *testing.T) {
	x := &tampering{t: t, dir: t.TempDir()}
	x.signer, x.verifier = testKey(t)
	options := x.options()
	options.records, options.segment = 100, maxSegment
	l, err := Open(x.dir, options)
	if err != nil {
		t.Fatal(err)
	}
	writeCalls(t, l, "c", 100*checkpointsBehind+maxBatch+10)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	x.edit(checkpointsName, func([]byte) []byte { return []byte(x.notes()[0] + "\n") })
	if l, err := Open(x.dir, options); !errors.Is(err, ErrBroken) {
		t.Errorf("opened: %v, %v", l, err)
	}
}

// The newest record is cut off, and an older checkpoint repeated behind the newest.
func TestOldCheckpointRepeated(t *testing.T) {
	x := newTampering(t)
	notes := x.notes()
	x.edit(checkpointsName, func(b []byte) []byte { return append(b, notes[len(notes)-2]+"\n"...) })
	x.edit(segmentName(x.firsts[len(x.firsts)-1], linesKind), func(b []byte) []byte { return b[:bytes.LastIndexByte(b[:len(b)-1], '\n')+1] })
	x.found(t, "stands behind")
	x.refused(t, "stands behind")
}

// A result that was changed stops the start, and takes none of the others with it.
func TestChangedResultIsKept(t *testing.T) {
	x := newTampering(t)
	name := segmentName(x.firsts[len(x.firsts)-1], storedKind)
	x.edit(name, func(b []byte) []byte { b[entryHead+2] ^= 1; return b })
	before, err := os.ReadFile(x.path(name))
	if err != nil {
		t.Fatal(err)
	}
	x.refused(t, "the result of record")
	if after, err := os.ReadFile(x.path(name)); err != nil || !bytes.Equal(before, after) {
		t.Errorf("%d bytes became %d, %v", len(before), len(after), err)
	}
}

// Something that is no result, or a false one, stands before the right ones: these are read all the same.
func TestJunkBeforeResults(t *testing.T) {
	x := newTampering(t)
	x.edit(segmentName(1, storedKind), func(b []byte) []byte {
		junk := appendEntry(nil, digest{1}, []byte("x"))
		junk[len(junk)-1]++
		compressed, err := new(compressor).compress([]byte("nothing"))
		if err != nil {
			t.Fatal(err)
		}
		return slices.Concat(junk, appendEntry(nil, digest(b[4:entryHead]), compressed), b)
	})
	intact(t, disk{dir: x.dir})
}

// A file far away by its name costs no time, and what is no file is not opened.
func TestStrangeFiles(t *testing.T) {
	x := newTampering(t)
	if err := os.WriteFile(x.path(segmentName(1e18, linesKind)), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	x.found(t, "missing")

	y := newTampering(t)
	y.remove(segmentName(y.firsts[1], linesKind))
	if err := syscall.Mkfifo(y.path(segmentName(y.firsts[1], linesKind)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(y.dir, y.verifier, nil); !errors.Is(err, ErrBroken) {
		t.Errorf("a pipe: %v", err)
	}
	if err := Read(y.dir, Filter{}, func(Record, []byte) error { return nil }); !errors.Is(err, ErrBroken) {
		t.Errorf("a pipe: %v", err)
	}

	z := newTampering(t)
	outside := t.TempDir() + "/outside"
	if err := errors.Join(os.WriteFile(outside, []byte("precious"), 0o600), os.Remove(z.path(checkpointsName)), os.Symlink(outside, z.path(checkpointsName))); err != nil {
		t.Fatal(err)
	}
	if l, err := Open(z.dir, z.options()); err == nil {
		t.Error("a link was followed", l.Close())
	}
	if data, err := os.ReadFile(outside); err != nil || string(data) != "precious" {
		t.Errorf("%q, %v", data, err)
	}
}
