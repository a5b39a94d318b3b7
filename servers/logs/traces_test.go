package main

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the goldens from what is found; review the change")

// Each log of testdata/traces holds what its programs print, as they print it; the golden beside it is what trace_errors
// makes of it.
func TestTraces(t *testing.T) {
	logs, err := filepath.Glob("testdata/traces/*.log")
	if err != nil || len(logs) < 4 {
		t.Fatal(logs, err)
	}
	for _, name := range logs {
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			s, _ := serving(t, map[string]string{"a.log": string(text)})
			out, err := call[traceErrorsOut](t, s, "trace_errors", map[string]any{"source": "s", "before": 1})
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for _, g := range out.Groups {
				got.WriteString(g.Language + ": " + g.Error + "\n")
				got.WriteString("  " + strings.Repeat("*", g.Count) + " " + g.First + " " + g.Last + "\n")
				for _, before := range g.Before {
					got.WriteString("  before: " + strings.ReplaceAll(before, "\n", "\\n") + "\n")
				}
				for _, frame := range g.Frames {
					got.WriteString("  at " + frame + "\n")
				}
				if last := strings.TrimRight(g.Trace, "\n"); strings.Contains(last, "\n") {
					got.WriteString("  ends: " + strings.TrimSpace(last[strings.LastIndexByte(last, '\n')+1:]) + "\n")
				}
			}
			golden := strings.TrimSuffix(name, ".log") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got.String()), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
