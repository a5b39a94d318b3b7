package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func sample(i int) Record {
	r := Record{
		Time: time.Date(2026, 11, 22, 12, 0, i, 0, time.UTC), Call: fmt.Sprintf("CALL%d", i), Principal: "policy-gate",
		Server: "kubernetes", Tool: "kubernetes_check_pod_security", Method: "tools/call", Transport: "unix",
		Era: "2026-07-28", Decision: Allow, Reason: "ok", DurationUS: 12, Result: &Result{Bytes: 2, SHA256: strings.Repeat("ab", 32)},
	}
	r.SetArgs(json.RawMessage(`{"path":"a.yaml"}`))
	return r
}

// readAll reads the records of calls.
func readAll(t *testing.T, dir string) []Record {
	t.Helper()
	var records []Record
	err := Read(dir, Filter{}, func(r Record, _ []byte) error {
		if r.Event == "" {
			records = append(records, r)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func openLog(t *testing.T, dir string) *Log {
	t.Helper()
	log, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func TestLog(t *testing.T) {
	dir := t.TempDir()
	var want []Record
	for round := range 3 { // opened again twice
		log := openLog(t, dir)
		for i := range 3 {
			r := sample(10*round + i)
			if err := log.Record(t.Context(), r, nil); err != nil {
				t.Fatal(err)
			}
			r.Version, r.Seq = Version, uint64(len(want)+round+2)
			want = append(want, r)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, readAll(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// A crash leaves at most a half line, which nobody was answered for.
func TestHalfLineIsDropped(t *testing.T) {
	dir := t.TempDir()
	log := openLog(t, dir)
	for i := range 3 {
		if err := log.Record(t.Context(), sample(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	_ = log.Close()
	path := filepath.Join(dir, segmentName(1, linesKind))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	for cut := last; cut < len(whole); cut++ {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		log := openLog(t, dir)
		if err := log.Record(t.Context(), sample(9), nil); err != nil {
			t.Fatal(err)
		}
		_ = log.Close()
		records := readAll(t, dir)
		if len(records) != 3 || records[2].Call != "CALL9" {
			t.Fatalf("cut at %d: %d records, the last %q", cut, len(records), records[len(records)-1].Call)
		}
	}
}

func TestBrokenLogStopsStartUp(t *testing.T) {
	dir := t.TempDir()
	log := openLog(t, dir)
	for i := range 3 {
		if err := log.Record(t.Context(), sample(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	_ = log.Close()
	path := filepath.Join(dir, segmentName(1, linesKind))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(whole), "\n")
	for name, content := range map[string]string{
		"a line removed":    lines[0] + lines[2],
		"lines swapped":     lines[1] + lines[0] + lines[2],
		"a line twice":      lines[0] + lines[0] + lines[1],
		"no JSON":           lines[0] + "nonsense\n" + lines[2],
		"unknown member":    strings.Replace(lines[0], `"seq"`, `"x":1,"seq"`, 1),
		"a later version":   strings.Replace(lines[0], `"v":1`, `"v":2`, 1),
		"an endless line":   lines[0] + strings.Repeat("x", MaxLine) + "\n",
		"an endless string": lines[0] + strings.Repeat("x", 2*MaxLine),
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if log, err := Open(dir, Options{}); !errors.Is(err, ErrBroken) {
			t.Errorf("%s: %v, %v", name, log, err)
		}
		after, err := os.ReadFile(path)
		if err != nil || string(after) != content {
			t.Errorf("%s: a log that was refused has changed", name)
		}
	}
}

func TestOneWriter(t *testing.T) {
	dir := t.TempDir()
	log := openLog(t, dir)
	if second, err := Open(dir, Options{}); err == nil {
		t.Error("two processes may write one log", second)
	}
	_ = log.Close()
	_ = openLog(t, dir).Close()
}

func TestLongRecordIsRefused(t *testing.T) {
	log := openLog(t, t.TempDir())
	r := sample(1)
	r.Reason = strings.Repeat("x", MaxLine)
	if err := log.Record(t.Context(), r, nil); err == nil {
		t.Error("a line that could not be read back was written")
	}
	if err := log.Record(t.Context(), sample(2), nil); err != nil {
		t.Errorf("the next record: %v", err)
	}
}

func TestSetArgs(t *testing.T) {
	for _, size := range []int{2, MaxArgs, MaxArgs + 1, 10 * MaxArgs} {
		args, err := json.Marshal(strings.Repeat("é", (size-2)/2))
		if err != nil {
			t.Fatal(err)
		}
		var r Record
		r.SetArgs(args)
		if !json.Valid(r.Args) || r.ArgsCut != (len(args) > MaxArgs) {
			t.Errorf("%d bytes: cut %t, valid %t", len(args), r.ArgsCut, json.Valid(r.Args))
		}
	}
}

func TestStream(t *testing.T) {
	var out bytes.Buffer
	stream := Stream{Logger: slog.New(slog.NewJSONHandler(&out, nil))}
	if err := stream.Record(t.Context(), sample(1), nil); err != nil {
		t.Fatal(err)
	}
	var line struct {
		Record Record `json:"record"`
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	want := sample(1)
	want.Version = Version
	if diff := cmp.Diff(want, line.Record); diff != "" || strings.Count(out.String(), "\n") != 1 {
		t.Error(diff, out.String())
	}
}
