package audit

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// While a segment is written, zeros stand ahead of it: nobody who reads beside the writer sees them, and none stay.
func TestZerosAhead(t *testing.T) {
	dir := t.TempDir()
	signer, verifier := testKey(t)
	l, err := Open(dir, Options{Signer: signer, Verifier: verifier})
	if err != nil {
		t.Fatal(err)
	}
	writeCalls(t, l, "c", 5)
	zeros := func(kind string) int {
		text, err := os.ReadFile(dir + "/" + segmentName(1, kind))
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Count(text, make([]byte, 1<<10))
	}
	if zeros(linesKind) == 0 || zeros(storedKind) == 0 || zeros(hashesKind) == 0 {
		t.Error("no zeros stand ahead: each sync writes the size of the file too")
	}
	look := func() {
		t.Helper()
		var ids []string
		results := OpenResults(dir)
		err := Read(dir, Filter{Principal: "agent"}, func(r Record, _ []byte) error {
			ids = append(ids, r.Call)
			_, want := call(r.Call)
			got, err := results.Read(r)
			if string(got) != string(want) {
				t.Errorf("%s: result %q", r.Call, got)
			}
			return err
		})
		if err != nil || strings.Join(ids, " ") != "c0 c1 c2 c3 c4" {
			t.Errorf("read %v, %v", ids, err)
		}
		if report, err := Verify(dir, verifier, nil); err != nil || len(report.Findings) > 0 || report.Records != 6 {
			t.Errorf("verified %+v, %v", report, err)
		}
	}
	look()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if zeros(linesKind)+zeros(storedKind)+zeros(hashesKind) > 0 {
		t.Error("zeros stand behind the end of a closed log")
	}
	look()
}

// Whoever writes zeros over a record that a checkpoint covers has not made it look like what a crash leaves.
func TestZeroedRecord(t *testing.T) {
	for name, zero := range map[string]func(line []byte){
		"a byte":   func(line []byte) { line[20] = 0 },
		"a start":  func(line []byte) { line[0] = 0 },
		"a line":   func(line []byte) { clear(line) },
		"its text": func(line []byte) { clear(line[:len(line)-1]) },
	} {
		for segment := range 2 {
			t.Run(name, func(t *testing.T) {
				x := newTampering(t)
				first := x.firsts[0]
				if segment == 1 {
					first = x.firsts[len(x.firsts)-1]
				}
				x.edit(segmentName(first, linesKind), func(text []byte) []byte {
					zero(bytes.SplitAfter(text, []byte("\n"))[1])
					return text
				})
				report := x.verify(nil)
				if len(report.Findings) == 0 || report.Findings[0].From > first+1 || report.Findings[0].To < first+1 || report.Findings[0].To > first+2 {
					t.Errorf("record %d was changed, and found was: %v", first+1, report.Findings)
				}
				if _, err := Open(x.dir, x.options()); segment == 1 && err == nil {
					t.Error("the log opens")
				}
			})
		}
	}
	t.Run("behind a segment", func(t *testing.T) {
		x := newTampering(t)
		x.edit(segmentName(x.firsts[0], linesKind), func(text []byte) []byte { return append(text, make([]byte, 100)...) })
		if report := x.verify(nil); len(report.Findings) == 0 {
			t.Error("zeros behind a segment that has ended are not found")
		}
	})
}

// A hole is told of where the oldest records have expired, too: there the event that says so is looked for among all lines.
func TestZeroedRecordAfterExpiry(t *testing.T) {
	x := newTampering(t)
	options := x.options()
	options.MaxBytes = 20_000
	l, err := Open(x.dir, options)
	if err != nil {
		t.Fatal(err)
	}
	writeCalls(t, l, "more", 30)
	if err := errors.Join(l.expire(time.Now()), l.Close()); err != nil {
		t.Fatal(err)
	}
	x.look()
	first := x.firsts[len(x.firsts)-1]
	x.edit(segmentName(first, linesKind), func(text []byte) []byte {
		text[20] = 0
		return text
	})
	if report := x.verify(nil); x.firsts[0] == 1 || len(report.Findings) == 0 || report.Findings[0].From > first || report.Findings[0].To < first {
		t.Errorf("record %d of %v was changed, and found was: %v", first, x.firsts, report.Findings)
	}
}
