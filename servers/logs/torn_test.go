package main

import (
	"fmt"
	"strings"
	"testing"
)

// TestTornMessage: of a message whose pieces are not all at hand, nothing is shown that may be a part of a secret.
func TestTornMessage(t *testing.T) {
	const head, tail = "glpat-Zx81kQw93LmPq7", "RtYv2bKs"
	stamp := func(i int) string { return fmt.Sprintf("2026-01-02T03:04:%02d.000000000Z", i) }
	noise := strings.Repeat(stamp(2)+" stderr F "+strings.Repeat("noise ", 200)+"\n", 10)
	docker := func(text, stream string) string {
		return `{"log":"` + text + `","stream":"` + stream + `","time":"` + stamp(1) + `"}` + "\n"
	}
	for name, file := range map[string]string{
		"far apart":             stamp(1) + " stdout P go " + head + "\n" + noise + stamp(3) + " stdout F " + tail + " end\n",
		"far apart, Docker":     docker("go "+head, "stdout") + strings.Repeat(docker(strings.Repeat("noise ", 200)+`\n`, "stderr"), 10) + docker(tail+` end\n`, "stdout"),
		"the rest is to come":   stamp(1) + " stdout F first\n" + stamp(1) + " stdout P go " + head + "\n",
		"far apart, in a third": stamp(1) + " stdout P go \n" + stamp(1) + " stdout P " + head + "\n" + noise + stamp(3) + " stdout P " + tail + "\n" + stamp(3) + " stdout F  end\n",
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := serving(t, map[string]string{"a.log": file})
			out := strings.Join(texts(fetching(t, s, map[string]any{})), "\n")
			if strings.Contains(out, head[6:]) || strings.Contains(out, tail) || !strings.Contains(out, "go [redacted:cut") {
				t.Errorf("got %q", out)
			}
		})
	}
}

// TestTornNeighbour: the message behind a block, whose last piece is beyond what is read ahead, is shown as context.
func TestTornNeighbour(t *testing.T) {
	const head, stamp = "glpat-Zx81kQw93LmPq7", "2026-01-02T03:04:05.000000000Z"
	for pad := range 20 {
		file := stamp + " stdout F begin\n" + stamp + " stdout F needle\n" + stamp + " stdout P go " + head + "\n" + stamp + " stdout P RtYv2b " + strings.Repeat("x", 20<<10) + "\n" + stamp + " stdout F end\n" +
			strings.Repeat(stamp+" stdout F "+strings.Repeat("y", 1000)+"\n", 43) + stamp + " stdout F " + strings.Repeat("z", pad*10) + "\n"
		s, _ := serving(t, map[string]string{"a.log": file})
		out := strings.Join(texts(fetching(t, s, map[string]any{"matches": "needle", "context": 2})), "\n")
		if !strings.Contains(out, "go ") || strings.Contains(out, head[6:]) {
			t.Errorf("%d: got %.200q", pad, out)
		}
	}
}

// TestUnfinishedLine: what has no end of a line yet, as where a program's buffer was full, may end within a secret.
func TestUnfinishedLine(t *testing.T) {
	const half = "glpat-Zx81kQw93LmPq7"
	for name, file := range map[string]string{"a.log": "first\ngo " + half, "a.log.1.gz": pack(t, "first\ngo "+half)} {
		s, _ := serving(t, map[string]string{name: file})
		if out := strings.Join(texts(fetching(t, s, map[string]any{})), "\n"); strings.Contains(out, half) || !strings.Contains(out, "go [redacted:cut") {
			t.Errorf("%s: got %q", name, out)
		}
	}
}
