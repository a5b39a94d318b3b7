package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// sealed is a closed log of a few calls with its files as they were written; all its records are signed.
func sealed(f *testing.F) (signer note.Signer, verifier note.Verifier, content map[string][]byte) {
	f.Helper()
	signer, verifier = testKey(f)
	folder := newRAM()
	l, err := open(folder, nothing{}, Options{Signer: signer, Verifier: verifier, records: 3, interval: time.Hour})
	if err != nil {
		f.Fatal(err)
	}
	writeCalls(f, l, "c", 8)
	if err := l.Close(); err != nil {
		f.Fatal(err)
	}
	content = map[string][]byte{}
	for name, node := range folder.entries {
		content[name] = node.current
	}
	return signer, verifier, content
}

func folderOf(content map[string][]byte) *ram {
	folder := newRAM()
	for name, data := range content {
		node := &inode{current: bytes.Clone(data), durable: bytes.Clone(data)}
		folder.entries[name], folder.durable[name] = node, node
	}
	return folder
}

// Whatever stands in a log's files in place of what was written: verify finds that something was changed, opening it
// either refuses it or leaves a log that reads, and nothing panics.
func FuzzTampering(f *testing.F) {
	signer, verifier, content := sealed(f)
	names := []string{segmentName(1, linesKind), segmentName(1, storedKind), checkpointsName}
	for i, name := range names {
		f.Add(i, 0, 0, []byte{})
		f.Add(i, len(content[name])/2, 1, []byte("x"))
		f.Add(i, 0, len(content[name]), []byte{})
		f.Add(i, len(content[name]), 0, content[name])
	}
	lines := bytes.SplitAfter(content[names[0]], []byte("\n"))
	f.Add(0, len(lines[0]), len(lines[1]), lines[2])
	f.Fuzz(func(t *testing.T, which, at, drop int, insert []byte) {
		name := names[abs(which)%len(names)]
		old := content[name]
		at = abs(at) % (len(old) + 1)
		drop = abs(drop) % (len(old) - at + 1)
		edited := bytes.Join([][]byte{old[:at], insert, old[at+drop:]}, nil)
		changed := maps.Clone(content)
		changed[name] = edited
		folder := folderOf(changed)

		report, err := verify(folder, verifier, nil)
		if err != nil {
			t.Fatal(err)
		}
		behind := bytes.HasPrefix(edited, old) // a record that no checkpoint covers, or half of one
		if !bytes.Equal(old, edited) && !behind && name == names[0] && len(report.Findings) == 0 {
			t.Errorf("%s: %d bytes at %d replaced by %q, and nothing found", name, drop, at, insert)
		}
		if len(report.Findings) == 0 && !behind {
			intact(t, folder)
		}
		if bytes.Equal(old, edited) && len(report.Findings) > 0 {
			t.Errorf("found %v in what was written", report.Findings)
		}
		l, err := open(folder, nothing{}, Options{Signer: signer, Verifier: verifier, interval: time.Hour})
		if err != nil {
			return
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if err := read(folder, Filter{}, func(Record, []byte) error { return nil }); err != nil {
			t.Errorf("it was opened and does not read: %v", err)
		}
	})
}

// intact says that each record has its result, wherever else in the file of results something was put.
func intact(t *testing.T, folder files) {
	t.Helper()
	err := read(folder, Filter{}, func(r Record, _ []byte) error {
		if _, err := (&Results{folder: folder}).Read(r); err != nil && !errors.Is(err, ErrNoResult) {
			return err
		}
		return nil
	})
	if err != nil {
		t.Errorf("nothing was found, and yet %v", err)
	}
}

func abs(n int) int { return int(uint(n) >> 1) }

// A record that is accepted says the same when it is written again, and reads as encoding/json reads it.
func FuzzRecord(f *testing.F) {
	_, _, content := sealed(f)
	for line := range bytes.Lines(content[segmentName(1, linesKind)]) {
		f.Add(bytes.TrimSpace(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := parse(line)
		if err != nil {
			return
		}
		text, err := body(r)
		if err != nil {
			return // longer than a line may be, or a time that has no form
		}
		again, err := parse(bytes.TrimSuffix(appendLine(nil, text, r.Seq), []byte("\n")))
		if err != nil {
			t.Fatalf("%s becomes %s: %v", line, text, err)
		}
		first, err1 := json.Marshal(r)
		second, err2 := json.Marshal(again)
		if err := errors.Join(err1, err2); err == nil && !bytes.Equal(first, second) {
			t.Errorf("%s becomes %s", first, second)
		}
	})
}

// The readers of notes, entries and frontiers end on any input, and take what they accept for what it is.
func FuzzFiles(f *testing.F) {
	_, _, content := sealed(f)
	f.Add(content[checkpointsName])
	f.Add(content[segmentName(1, storedKind)])
	one := frontier{size: 1, hashes: make([]digest, 1)}
	f.Add(one.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		notes := newNoteReader(bytes.NewReader(data))
		for {
			if _, _, err := notes.next(); err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatal(err)
				}
				break
			}
		}
		entries := newEntryReader(bytes.NewReader(data))
		for {
			sum, compressed, err := entries.next()
			if err != nil {
				break
			}
			if content, err := expand(sum, compressed); err == nil && len(content) > MaxStored {
				t.Errorf("%d bytes of a result", len(content))
			}
		}
		if tree, err := parseFrontier(data); err == nil && !bytes.Equal(tree.encode(), data) {
			t.Errorf("%q is a frontier and reads back as %q", data, tree.encode())
		}
	})
}
