package audit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// tampering is a log of thirty calls in three segments and more, and what somebody does to it who may write the
// folder and does not hold the key.
type tampering struct {
	t        *testing.T
	dir      string
	firsts   []uint64
	signer   note.Signer
	verifier note.Verifier
}

// writeCalls appends n calls, each with a result of its own, one after the other.
func writeCalls(t testing.TB, l *Log, prefix string, n int) {
	t.Helper()
	for i := range n {
		r, content := call(fmt.Sprintf("%s%d", prefix, i))
		if err := l.Record(t.Context(), r, content); err != nil {
			t.Fatal(err)
		}
	}
}

func newTampering(t *testing.T) *tampering {
	t.Helper()
	x := &tampering{t: t, dir: t.TempDir()}
	x.signer, x.verifier = testKey(t)
	x.write("c", 30)
	x.look()
	return x
}

func (x *tampering) options() Options {
	return Options{Signer: x.signer, Verifier: x.verifier, segment: 4000, records: 1 << 30, interval: time.Hour}
}

func (x *tampering) write(prefix string, n int) {
	x.t.Helper()
	l, err := Open(x.dir, x.options())
	if err != nil {
		x.t.Fatal(err)
	}
	for range 3 {
		writeCalls(x.t, l, prefix, n/3)
		if err := l.checkpoint(); err != nil {
			x.t.Fatal(err)
		}
		prefix += "x"
	}
	if err := l.Close(); err != nil {
		x.t.Fatal(err)
	}
}

func (x *tampering) look() {
	x.t.Helper()
	var err error
	if x.firsts, err = segments(disk{dir: x.dir}); err != nil || len(x.firsts) < 2 {
		x.t.Fatal(x.firsts, err)
	}
}

func (x *tampering) path(name string) string { return filepath.Join(x.dir, name) }

func (x *tampering) edit(name string, f func([]byte) []byte) {
	x.t.Helper()
	old, err := os.ReadFile(x.path(name))
	if err != nil {
		x.t.Fatal(err)
	}
	changed := f(bytes.Clone(old))
	if bytes.Equal(old, changed) {
		x.t.Fatal("nothing was changed")
	}
	if err := os.WriteFile(x.path(name), changed, 0o600); err != nil {
		x.t.Fatal(err)
	}
}

// lines edits the lines of the second segment.
func (x *tampering) lines(f func([][]byte) [][]byte) {
	x.t.Helper()
	x.edit(segmentName(x.firsts[1], linesKind), func(text []byte) []byte {
		lines := bytes.SplitAfter(text, []byte("\n"))
		return bytes.Join(f(lines[:len(lines)-1]), nil)
	})
}

func (x *tampering) remove(name string) {
	x.t.Helper()
	if err := os.Remove(x.path(name)); err != nil {
		x.t.Fatal(err)
	}
}

func (x *tampering) verify(trusted []byte) Report {
	x.t.Helper()
	report, err := Verify(x.dir, x.verifier, trusted)
	if err != nil {
		x.t.Fatal(err)
	}
	return report
}

// notes are the checkpoints on disk.
func (x *tampering) notes() []string {
	x.t.Helper()
	text, err := os.ReadFile(x.path(checkpointsName))
	if err != nil {
		x.t.Fatal(err)
	}
	notes := newNoteReader(bytes.NewReader(text))
	var all []string
	for {
		signed, _, err := notes.next()
		if err != nil {
			return all
		}
		all = append(all, string(signed))
	}
}

// other replaces a record by one that reads as well.
func other(line []byte) []byte {
	return bytes.Replace(line, []byte(`"duration_us":12`), []byte(`"duration_us":13`), 1)
}

// Each change is found, and named by the record or the file that was changed. In the second segment the record with
// the index i has the number firsts[1]+i.
func TestTampering(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(x *tampering)
		record int    // index in the second segment of the record that must be named; -1 for none
		file   string // the file that must be named
		words  string
	}{
		"a byte of a record": {func(x *tampering) {
			x.lines(func(l [][]byte) [][]byte { l[2] = other(l[2]); return l })
		}, 2, linesKind, "not what was written"},
		"a byte of a record and of the list": {func(x *tampering) {
			x.lines(func(l [][]byte) [][]byte { l[2] = other(l[2]); return l })
			x.edit(segmentName(x.firsts[1], hashesKind), func(h []byte) []byte { h[2*32+1]++; return h })
		}, 2, linesKind, "has another root"},
		"a byte of a record, without a list": {func(x *tampering) {
			x.lines(func(l [][]byte) [][]byte { l[2] = other(l[2]); return l })
			x.remove(segmentName(x.firsts[1], hashesKind))
		}, 2, linesKind, "has another root"},
		"a record that is no JSON any more": {func(x *tampering) {
			x.lines(func(l [][]byte) [][]byte { l[3][0] = '['; return l })
		}, 3, linesKind, "no record"},
		"a member twice": {func(x *tampering) {
			x.lines(func(l [][]byte) [][]byte {
				l[3] = bytes.Replace(l[3], []byte(`"decision":"allow"`), []byte(`"decision":"allow","decision":"allow"`), 1)
				return l
			})
		}, 3, linesKind, "no record"},
		"a member in capitals": {func(x *tampering) {
			x.lines(func(l [][]byte) [][]byte { l[3] = bytes.Replace(l[3], []byte(`"tool"`), []byte(`"Tool"`), 1); return l })
		}, 3, linesKind, "no record"},
		"another number": {func(x *tampering) {
			x.lines(func(l [][]byte) [][]byte {
				l[3] = bytes.Replace(l[3], fmt.Appendf(nil, `"seq":%d,`, x.firsts[1]+3), []byte(`"seq":9999999,`), 1)
				return l
			})
		}, 3, linesKind, "says that it is record 9999999"},
		"a line removed":         {func(x *tampering) { x.lines(func(l [][]byte) [][]byte { return slices.Delete(l, 4, 5) }) }, 4, linesKind, "missing"},
		"the first line removed": {func(x *tampering) { x.lines(func(l [][]byte) [][]byte { return l[1:] }) }, 0, linesKind, "missing"},
		"the last line removed":  {func(x *tampering) { x.lines(func(l [][]byte) [][]byte { return l[:len(l)-1] }) }, -1, linesKind, "missing"},
		"a line removed and renumbered": {func(x *tampering) {
			x.lines(func(l [][]byte) [][]byte {
				l[4] = bytes.Replace(l[5], fmt.Appendf(nil, `"seq":%d,`, x.firsts[1]+5), fmt.Appendf(nil, `"seq":%d,`, x.firsts[1]+4), 1)
				return slices.Delete(l, 5, 6)
			})
		}, 4, linesKind, "not what was written"},
		"lines swapped":    {func(x *tampering) { x.lines(func(l [][]byte) [][]byte { l[2], l[3] = l[3], l[2]; return l }) }, 2, linesKind, ""},
		"a line twice":     {func(x *tampering) { x.lines(func(l [][]byte) [][]byte { return slices.Insert(l, 3, l[2]) }) }, 2, linesKind, "out of its place"},
		"a line from afar": {func(x *tampering) { x.lines(func(l [][]byte) [][]byte { return slices.Insert(l, 3, l[0]) }) }, 0, linesKind, "out of its place"},
		"a line invented": {func(x *tampering) {
			x.lines(func(l [][]byte) [][]byte { return slices.Insert(l, 3, other(l[3])) })
		}, 3, linesKind, ""},
		"half a line in the middle": {func(x *tampering) {
			x.lines(func(l [][]byte) [][]byte { l[2] = append(l[2][:20], '\n'); return l })
		}, 2, linesKind, "no record"},
		"a segment removed": {func(x *tampering) {
			for _, kind := range []string{linesKind, storedKind, hashesKind, treeKind} {
				x.remove(segmentName(x.firsts[1], kind))
			}
		}, 0, linesKind, "missing"},
		"the first segment removed": {func(x *tampering) {
			for _, kind := range []string{linesKind, storedKind, hashesKind, treeKind} {
				x.remove(segmentName(1, kind))
			}
		}, -1, segmentName(1, linesKind), "no record says that they have expired"},
		"the last segment removed": {func(x *tampering) {
			for _, kind := range []string{linesKind, storedKind, hashesKind, treeKind} {
				x.remove(segmentName(x.firsts[len(x.firsts)-1], kind))
			}
		}, -1, linesKind, "missing: a checkpoint covers"},
		"a result changed": {func(x *tampering) {
			x.edit(segmentName(x.firsts[1], storedKind), func(b []byte) []byte { b[entryHead+2]++; return b })
		}, 0, storedKind, "result"},
		"a result replaced": {func(x *tampering) {
			x.edit(segmentName(x.firsts[1], storedKind), func(b []byte) []byte {
				compressed, err := new(compressor).compress([]byte("nothing to see"))
				if err != nil {
					x.t.Fatal(err)
				}
				end := entryHead + int(binary.BigEndian.Uint32(b)) + entryTail
				return append(appendEntry(nil, digest(b[4:entryHead]), compressed), b[end:]...)
			})
		}, 0, storedKind, "was changed"},
		"a result removed": {func(x *tampering) {
			x.edit(segmentName(x.firsts[1], storedKind), func(b []byte) []byte {
				return b[entryHead+int(binary.BigEndian.Uint32(b))+entryTail:]
			})
		}, 0, storedKind, "missing"},
		"all results removed":     {func(x *tampering) { x.remove(segmentName(x.firsts[1], storedKind)) }, 1, storedKind, "missing"},
		"the checkpoints removed": {func(x *tampering) { x.remove(checkpointsName) }, -1, checkpointsName, "no such file"},
		"the checkpoints emptied": {func(x *tampering) {
			x.edit(checkpointsName, func([]byte) []byte { return nil })
		}, -1, checkpointsName, "no checkpoint is signed by this key"},
		"a checkpoint edited": {func(x *tampering) {
			x.edit(checkpointsName, func(b []byte) []byte { b[len(x.notes()[0])+20] ^= 1; return b })
		}, -1, checkpointsName, "no checkpoints that this key has signed"},
		"the checkpoint of a segment's end removed": {func(x *tampering) {
			x.edit(checkpointsName, func(b []byte) []byte {
				for _, n := range x.notes() {
					if size, ok := claimedSize([]byte(n)); ok && size == x.firsts[2]-1 {
						return bytes.Replace(b, []byte(n+"\n"), nil, 1)
					}
				}
				return b
			})
		}, -1, checkpointsName, "though a segment ends there"},
		"checkpoints swapped": {func(x *tampering) {
			x.edit(checkpointsName, func([]byte) []byte {
				n := x.notes()
				n[0], n[1] = n[1], n[0]
				return []byte(strings.Join(n, "\n") + "\n")
			})
		}, -1, checkpointsName, "stands behind"},
		"a derived frontier edited": {func(x *tampering) {
			x.edit(segmentName(x.firsts[1], treeKind), func(b []byte) []byte {
				i := bytes.IndexByte(b, '\n') + 1 // the first hash
				b[i] = map[bool]byte{true: 'B', false: 'A'}[b[i] == 'A']
				return b
			})
		}, -1, treeKind, "derived"},
		"a derived frontier removed": {func(x *tampering) { x.remove(segmentName(x.firsts[1], treeKind)) }, -1, treeKind, "derived"},
		"a derived hash edited": {func(x *tampering) {
			x.edit(segmentName(x.firsts[1], hashesKind), func(h []byte) []byte { h[40]++; return h })
		}, 1, hashesKind, "derived"},
	} {
		t.Run(name, func(t *testing.T) {
			x := newTampering(t)
			if found := x.verify(nil).Findings; len(found) > 0 {
				t.Fatal("before the change:", found)
			}
			tc.change(x)
			report := x.verify(nil)
			named := false
			for _, f := range report.Findings {
				t.Log(f)
				record := tc.record < 0 || f.From <= x.firsts[1]+uint64(tc.record) && f.To >= x.firsts[1]+uint64(tc.record)
				named = named || record && strings.Contains(f.File, tc.file) && strings.Contains(f.Message, tc.words)
			}
			if !named {
				t.Error("not found")
			}
			if len(report.Findings) > 15 {
				t.Errorf("%d findings bury what was done", len(report.Findings))
			}
		})
	}
}

// What was changed behind the newest checkpoint is said to be out of sight, and a roll-back is seen only with a
// checkpoint from elsewhere.
func TestTrustedCheckpoint(t *testing.T) {
	x := newTampering(t)
	before := map[string][]byte{}
	for _, name := range names(t, x.dir) {
		data, err := os.ReadFile(x.path(name))
		if err != nil {
			t.Fatal(err)
		}
		before[name] = data
	}
	x.write("later", 9)
	notes := x.notes()
	trusted := []byte(notes[len(notes)-1])
	if found := x.verify(trusted).Findings; len(found) > 0 {
		t.Fatal(found)
	}
	if found := x.verify([]byte(notes[0])).Findings; len(found) > 0 {
		t.Fatal(found)
	}
	for _, name := range names(t, x.dir) {
		if _, ok := before[name]; !ok {
			x.remove(name)
		}
	}
	for name, data := range before {
		if err := os.WriteFile(x.path(name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	report := x.verify(nil)
	if len(report.Findings) > 0 || !strings.Contains(strings.Join(report.Unseen, " "), "rolled back") {
		t.Error("without the checkpoint:", report)
	}
	report = x.verify(trusted)
	if len(report.Findings) != 1 || !strings.Contains(report.Findings[0].String(), "trusted checkpoint") {
		t.Error("with it:", report.Findings)
	}
	// Another log of the same key, with another content.
	y := &tampering{t: t, dir: t.TempDir(), signer: x.signer, verifier: x.verifier}
	y.write("other", 60)
	report = y.verify(trusted)
	if len(report.Findings) != 2 || !strings.Contains(report.Findings[0].Message, "trusted checkpoint") {
		t.Error("another log:", report.Findings)
	}
	_, stranger := testKey(t)
	if _, err := Verify(x.dir, stranger, trusted); err == nil {
		t.Error("a checkpoint of another key was trusted")
	}
	if found := (&tampering{t: t, dir: x.dir, verifier: stranger}).verify(nil).Findings; len(found) == 0 {
		t.Error("the checkpoints of another key were believed")
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	names, err := disk{dir: dir}.names()
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// Opening refuses a log that is not the one of its newest checkpoint, names the records, and changes nothing.
func TestOpenRefusesTampering(t *testing.T) {
	last := func(x *tampering) uint64 { return x.firsts[len(x.firsts)-1] }
	for name, change := range map[string]func(x *tampering){
		"a byte of a record": func(x *tampering) { x.edit(segmentName(last(x), linesKind), other) },
		"the tail cut": func(x *tampering) {
			x.edit(segmentName(last(x), linesKind), func(b []byte) []byte { return b[:bytes.LastIndexByte(b[:len(b)-1], '\n')+1] })
		},
		"the last segment removed": func(x *tampering) { x.remove(segmentName(last(x), linesKind)) },
		"all segments removed": func(x *tampering) {
			for _, first := range x.firsts {
				x.remove(segmentName(first, linesKind))
			}
		},
		"a line removed": func(x *tampering) {
			x.edit(segmentName(last(x), linesKind), func(b []byte) []byte { return b[bytes.IndexByte(b, '\n')+1:] })
		},
	} {
		t.Run(name, func(t *testing.T) {
			x := newTampering(t)
			change(x)
			content := func() map[string]string {
				all := map[string]string{}
				for _, name := range names(t, x.dir) {
					data, err := os.ReadFile(x.path(name))
					if err != nil {
						t.Fatal(err)
					}
					all[name] = string(data)
				}
				return all
			}
			before := content()
			l, err := Open(x.dir, x.options())
			if !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), "record") {
				t.Errorf("opened %v: %v", l, err)
			}
			t.Log(err)
			if !maps.Equal(before, content()) {
				t.Error("the folder has changed")
			}
		})
	}
}

// The derived files are made again: a log is not lost with them.
func TestOpenRebuilds(t *testing.T) {
	for _, kind := range []string{treeKind, hashesKind} {
		for name, change := range map[string]func(x *tampering, name string){
			"edited": func(x *tampering, name string) {
				x.edit(name, func(b []byte) []byte { b[len(b)-10] ^= 1; return b })
			},
			"removed": func(x *tampering, name string) { x.remove(name) },
		} {
			t.Run(kind+name, func(t *testing.T) {
				x := newTampering(t)
				change(x, segmentName(x.firsts[len(x.firsts)-1], kind))
				x.write("more", 3)
				if found := x.verify(nil).Findings; len(found) > 0 {
					t.Error(found)
				}
			})
		}
	}
}

// Old segments go, and what is left verifies from where a signed record says.
func TestExpiry(t *testing.T) {
	x := newTampering(t)
	options := x.options()
	options.MaxBytes = 20_000
	l, err := Open(x.dir, options)
	if err != nil {
		t.Fatal(err)
	}
	writeCalls(t, l, "more", 30)
	if err := l.expire(time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	x.look()
	report := x.verify(nil)
	if len(report.Findings) > 0 || report.First == 1 || report.First != x.firsts[0] || report.Expired != report.First-1 {
		t.Fatalf("%+v", report)
	}
	if size, ok := claimedSize([]byte(x.notes()[0])); !ok || size < report.Expired {
		t.Error("old checkpoints are kept:", size)
	}

	options.MaxBytes, options.Keep = 0, time.Hour
	if l, err = Open(x.dir, options); err != nil {
		t.Fatal(err)
	}
	if err := l.expire(time.Now()); err != nil {
		t.Fatal(err)
	}
	if firsts, _ := segments(disk{dir: x.dir}); len(firsts) != len(x.firsts) {
		t.Error("young segments have gone")
	}
	if err := l.expire(time.Now().Add(2 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if firsts, _ := segments(disk{dir: x.dir}); len(firsts) > 2 {
		t.Error("old segments are left", firsts)
	}
	if found := x.verify(nil).Findings; len(found) > 0 {
		t.Error(found)
	}
}

// Somebody who removes segments himself cannot make it look as if they had expired.
func TestForgedExpiry(t *testing.T) {
	x := newTampering(t)
	before, err := readFrontier(disk{dir: x.dir}, x.firsts[1])
	if err != nil {
		t.Fatal(err)
	}
	var signed string
	for _, n := range x.notes() {
		if c, err := openCheckpoint([]byte(n), x.verifier); err == nil && c.size == before.size {
			signed = n
		}
	}
	forged, err := body(Record{Time: time.Now(), Event: EventExpired, Expired: &Expired{
		From: 1, To: before.size, Checkpoint: signed, Frontier: before.hashes,
	}})
	if err != nil {
		t.Fatal(err)
	}
	end := x.verify(nil).Last
	x.edit(segmentName(x.firsts[len(x.firsts)-1], linesKind), func(b []byte) []byte { return appendLine(b, forged, end+1) })
	for _, kind := range []string{linesKind, storedKind, hashesKind, treeKind} {
		x.remove(segmentName(1, kind))
	}
	says := func(words string) {
		t.Helper()
		for _, f := range x.verify(nil).Findings {
			if f.From == end+1 && strings.Contains(f.Message, words) {
				return
			}
		}
		t.Error("not seen:", words, x.verify(nil).Findings)
	}
	says("no checkpoint covers it")
	x.write("after", 3) // a gateway that starts signs it, and says that it stood there unsigned
	says("before any checkpoint covered it")
}
