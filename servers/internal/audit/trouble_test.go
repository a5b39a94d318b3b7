package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func openRAM(t *testing.T, folder *ram) *Log {
	t.Helper()
	signer, verifier := testKey(t)
	l, err := open(folder, nothing{}, Options{Signer: signer, Verifier: verifier, interval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// What a volume without room, or one that has become read-only, makes of a log: nothing is recorded, it is not healthy,
// and when the trouble is over it says how much it has missed.
func TestTroubleEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		begin, end func(*ram)
		is         error
	}{
		"full":      {func(r *ram) { r.room = 0 }, func(r *ram) { r.room = -1 }, syscall.ENOSPC},
		"read-only": {func(r *ram) { r.readOnly = true }, func(r *ram) { r.readOnly = false }, syscall.EROFS},
	} {
		t.Run(name, func(t *testing.T) {
			folder := newRAM()
			l := openRAM(t, folder)
			writeCalls(t, l, "before", 3)
			tc.begin(folder)
			var kept, lost []string
			for i := 0; len(lost) < 2 && i < 2*fillAhead/minLine; i++ { // there is room yet where zeros stand ahead
				id := fmt.Sprint("in trouble ", i)
				r, _ := call(id)
				switch err := l.Record(t.Context(), r, nil); {
				case err == nil:
					kept = append(kept, id)
				case errors.Is(err, tc.is):
					lost = append(lost, id)
				default:
					t.Fatal(err)
				}
			}
			if err := l.Healthy(); !errors.Is(err, tc.is) {
				t.Errorf("healthy: %v", err)
			}
			tc.end(folder)
			writeCalls(t, l, "after", 2)
			if err := l.Healthy(); err != nil {
				t.Error(err)
			}
			var resumed []Resumed
			calls := map[string]bool{}
			err := read(folder, Filter{}, func(r Record, _ []byte) error {
				calls[r.Call] = true
				if r.Resumed != nil {
					resumed = append(resumed, *r.Resumed)
				}
				return nil
			})
			if err != nil || len(resumed) != 1 || resumed[0].Refused != 2 || !calls["before2"] || !calls["after1"] {
				t.Errorf("%+v, %v, %v", resumed, calls, err)
			}
			for _, id := range kept {
				if !calls[id] {
					t.Errorf("%s is not there", id)
				}
			}
			for _, id := range lost {
				if calls[id] {
					t.Errorf("%s is there, and was refused", id)
				}
			}
		})
	}
}

// A file that is replaced beneath a running log, as an editor does it, or moved away, ends the log: what is written to the old
// one is lost when it is closed, or stands where nobody looks.
func TestReplacedFile(t *testing.T) {
	replaced := func(path string) error {
		data, err := os.ReadFile(path)
		return errors.Join(err, os.WriteFile(path+".new", data, 0o600), os.Rename(path+".new", path))
	}
	for how, change := range map[string]func(path string) error{
		"removed":  os.Remove,
		"replaced": replaced,
		"moved":    func(path string) error { return os.Rename(path, path+".old") },
		"replaced, and linked elsewhere": func(path string) error {
			return errors.Join(os.Link(path, path+".old"), replaced(path))
		},
	} {
		for _, name := range []string{segmentName(1, linesKind), segmentName(1, storedKind), segmentName(1, hashesKind), checkpointsName} {
			t.Run(how+"/"+name, func(t *testing.T) {
				dir := t.TempDir()
				signer, verifier := testKey(t)
				l, err := Open(dir, Options{Signer: signer, Verifier: verifier, interval: time.Hour})
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = l.Close() }()
				writeCalls(t, l, "before", 3)
				if err := change(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
				_ = l.checkpoint() // which comes every few seconds
				r, content := call("lost")
				if err := l.Record(t.Context(), r, content); !errors.Is(err, ErrBroken) {
					t.Errorf("recorded: %v", err)
				}
				if err := l.Healthy(); !errors.Is(err, ErrBroken) {
					t.Errorf("healthy: %v", err)
				}
			})
		}
	}
}

// After a sync that failed nobody knows what is on disk: the log refuses everything until it is opened again.
func TestFailedSyncIsFinal(t *testing.T) {
	folder := newRAM()
	l := openRAM(t, folder)
	folder.bad = linesKind
	r, content := call("lost")
	if err := l.Record(t.Context(), r, content); !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	folder.bad = ""
	if err := l.Record(t.Context(), r, content); err == nil || !strings.Contains(err.Error(), "failed earlier") {
		t.Error(err)
	}
	if err := l.Healthy(); !errors.Is(err, syscall.EIO) {
		t.Error(err)
	}
}
