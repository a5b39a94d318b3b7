package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/scrub"
)

// shape is an entry without what the numbers of marks depend on.
func shape(e entry) string {
	return fmt.Sprintf("%d %v %v %s %s %d %s %v", e.start, e.time, e.level, e.stream, scrub.Unnumbered(e.text), e.body, e.language, e.cut)
}

// inBlocks reads a content in stretches of size bytes.
func inBlocks(t testing.TB, c content, format string, size int64) []string {
	t.Helper()
	var out []string
	for from := int64(0); from < c.size(); from += size {
		b, err := reading(c, format).entries(from, min(from+size, c.size()))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range b.all[b.low:b.high] {
			out = append(out, shape(e))
		}
	}
	return out
}

// sample is a log with everything in it that goes on from line to line.
func sample(n int) string {
	var out strings.Builder
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range n {
		fmt.Fprintf(&out, "2026-01-02T03:%02d:%02dZ INFO request %d\r\n", i/60%60, i%60, i)
		switch r.IntN(8) {
		case 0:
			fmt.Fprintf(&out, "2026-01-02T03:%02d:%02dZ ERROR failed\njava.io.IOException: disk %d\n\tat a.B.c(B.java:3)\nCaused by: java.lang.Error: x\n\tat d.E.f(E.java:4)\n", i/60%60, i%60, i)
		case 1:
			out.WriteString("Traceback (most recent call last):\n  File \"a.py\", line 3, in f\n    g()\nValueError: bad\n")
		case 2:
			out.WriteString("panic: boom\n\ngoroutine 1 [running]:\nmain.f(0x1)\n\t/src/main.go:3 +0x1\nmain.main()\n\t/src/main.go:9 +0x2\nexit status 2\n")
		case 3:
			out.WriteString("TypeError: x is not a function\n    at f (/app/a.js:1:2)\n    at g (/app/a.js:3:4)\n")
		case 4:
			out.WriteString(key(r.IntN(30)) + "\n")
		case 5:
			out.WriteString("password=correct-horse-battery\n")
		case 6:
			out.WriteString(strings.Repeat("y", r.IntN(20_000)) + "\n")
		}
	}
	return out.String()
}

func asJSONFile(text string, piece int) string {
	var out bytes.Buffer
	for i, line := range strings.SplitAfter(text, "\n") {
		for len(line) > 0 {
			part := line[:min(len(line), piece)]
			line = line[len(part):]
			data, _ := json.Marshal(map[string]string{"log": part, "stream": []string{"stdout", "stderr"}[i/7%2], "time": fmt.Sprintf("2026-01-02T03:04:05.%09dZ", i)})
			out.Write(append(data, '\n'))
		}
	}
	return out.String()
}

func asCRI(text string, piece int) string {
	var out strings.Builder
	for i, line := range strings.Split(text, "\n") {
		for {
			part := line[:min(len(line), piece)]
			line = line[len(part):]
			tag := "F"
			if len(line) > 0 {
				tag = "P"
			}
			fmt.Fprintf(&out, "2026-01-02T03:04:05.%09dZ %s %s %s\n", i, []string{"stdout", "stderr"}[i/7%2], tag, part)
			if len(line) == 0 {
				break
			}
		}
	}
	return out.String()
}

// What an entry is does not depend on where the reading began, but for what goes on for longer than the window.
func TestBlocks(t *testing.T) {
	text := sample(250)
	for format, data := range map[string]string{formatPlain: text, formatJSONFile: asJSONFile(text, 1000), formatCRI: asCRI(text, 700)} {
		whole := inBlocks(t, inMemory(data), format, int64(len(data)))
		if len(whole) < 250 {
			t.Fatalf("%s: %d entries", format, len(whole))
		}
		for _, size := range []int64{4099, 65_537, 300_001} {
			if diff := cmp.Diff(whole, inBlocks(t, inMemory(data), format, size)); diff != "" {
				t.Errorf("%s in blocks of %d bytes:\n%s", format, size, diff)
			}
		}
	}
}

// A message in pieces is one message, and a secret that was cut is whole again.
func TestPieces(t *testing.T) {
	text := "before\n" + strings.Repeat("z ", 8190) + "password=correct-horse-battery-staple and more\nafter\n"
	for format, data := range map[string]string{formatJSONFile: asJSONFile(text, 16<<10), formatCRI: asCRI(text, 16<<10)} {
		b, err := reading(inMemory(data), format).entries(0, int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		if len(b.all) < 3 || len(b.all[1].text) < 16<<10 || !strings.HasSuffix(scrub.Unnumbered(b.all[1].text), "password=[redacted:password] and more") {
			t.Errorf("%s: %d entries; the second ends in %q", format, len(b.all), b.all[1].text[max(0, len(b.all[1].text)-60):])
		}
	}
}

// A read that begins inside a key does not show the rest of it.
func TestInsideKey(t *testing.T) {
	text := "before\n" + key(900) + "\nafter\n" // 58 KiB of key
	for from := int64(0); from < int64(len(text)); from += 997 {
		b, err := reading(inMemory(text), formatPlain).entries(from, int64(len(text)))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range b.all {
			if strings.Contains(e.text, "MIIE") {
				t.Fatalf("from %d: %q", from, e.text)
			}
		}
	}
	// Neither does one whose window begins inside the key: its neighbours are shown as context.
	text += strings.Repeat("an ordinary line\n", 20_000)
	b, err := reading(inMemory(text), formatPlain).entries(window+20_000, window+30_000)
	if err != nil || strings.Contains(fmt.Sprint(b.all), "MIIE") || redactedKey(fmt.Sprint(b.all)) < 500 {
		t.Errorf("%v, %d lines of a key: %.300q", err, redactedKey(fmt.Sprint(b.all)), fmt.Sprint(b.all))
	}
}

func TestFormats(t *testing.T) {
	for _, tc := range []struct {
		format, line string
		want         raw
	}{
		{formatJSONFile, `{"log":"hello\n","stream":"stderr","time":"2026-01-02T03:04:05.6Z"}`, raw{stream: "stderr", text: "hello"}},
		{formatJSONFile, `{"log":"hel","stream":"stdout","time":"2026-01-02T03:04:05.6Z"}`, raw{stream: "stdout", text: "hel", partial: true}},
		{formatJSONFile, `{"log":"a\r\n","stream":"other"}`, raw{text: "a"}},
		{formatJSONFile, `{"log":1}`, raw{text: `{"log":1}`}},
		{formatJSONFile, `{"lo`, raw{text: `{"lo`}},
		{formatCRI, "2026-01-02T03:04:05.6Z stdout F a b", raw{stream: "stdout", text: "a b"}},
		{formatCRI, "2026-01-02T03:04:05.6+01:00 stderr P:x a", raw{stream: "stderr", text: "a", partial: true}},
		{formatCRI, "2026-01-02T03:04:05.6Z stdout F", raw{stream: "stdout"}},
		{formatCRI, "2026-01-02T03:04:05.6Z nowhere F a", raw{text: "2026-01-02T03:04:05.6Z nowhere F a"}},
		{formatPod, "2026-01-02T03:04:05.6Z a", raw{text: "a"}},
		{formatPod, "unable to read", raw{text: "unable to read"}},
		{formatPlain, "a", raw{text: "a"}},
	} {
		got := decoder(tc.format)([]byte(tc.line))
		got.time = tc.want.time
		if got != tc.want {
			t.Errorf("%s %q: %+v", tc.format, tc.line, got)
		}
	}
	for head, want := range map[string]string{
		`{"log":"a\n","stream":"stdout","time":"2026-01-02T03:04:05Z"}` + "\nx": formatJSONFile,
		`{"log":"a","level":"info"}`:             formatPlain,
		"2026-01-02T03:04:05Z stdout F a\n":      formatCRI,
		"2026-01-02T03:04:05Z stdout is full\nx": formatPlain,
		"":                                       formatPlain,
	} {
		if got := sniff([]byte(head)); got != want {
			t.Errorf("%q: %s", head, got)
		}
	}
}

// A line that is longer than is looked at says so, and costs no memory.
func TestLongLine(t *testing.T) {
	text := "first\n" + strings.Repeat("q", 3<<20) + " password=correct-horse-battery\nlast\n"
	for _, size := range []int64{64 << 10, 1 << 20, 8 << 20} {
		c := inMemory(text)
		got := inBlocks(t, c, formatPlain, size)
		if len(got) != 3 || !strings.Contains(got[1], "true") || len(got[1]) > maxLine+100 || strings.Contains(strings.Join(got, ""), "horse") {
			t.Errorf("%d entries in blocks of %d", len(got), size)
		}
	}
}

// quiet is a gigabyte in one line, with a line before and one after it.
type quiet struct{ length int64 }

func (q quiet) ReadAt(p []byte, offset int64) (int, error) {
	n := int(max(0, min(int64(len(p)), q.length-offset)))
	for filled := copy(p[:n], "qqqqqqqq"); filled < n && filled > 0; filled *= 2 {
		copy(p[filled:n], p[:filled])
	}
	for text, at := range map[string]int64{"first\n": 0, "\nlast\n": q.length - 6} {
		for i := range text {
			if place := at + int64(i) - offset; place >= 0 && place < int64(n) {
				p[place] = text[i]
			}
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func TestLineOfAGigabyte(t *testing.T) {
	for _, args := range []map[string]any{{}, {"take": "head", "contains": "st"}} {
		s := servingOne(one{content: &memory{ReaderAt: quiet{1 << 30}, length: 1 << 30}, format: formatPlain})
		out := fetching(t, s, args)
		if got := texts(out); got[0] != "first" || got[len(got)-1] != "last" || len(got) > 3 || len(got) == 3 && !strings.HasSuffix(got[1], "[…more than is looked at]") {
			t.Errorf("%v: %d messages", args, len(got))
		}
	}
}

// most is a visitor that notes how many entries it saw at once, and how many in all.
type most struct{ atOnce, own int }

func (m *most) enter(string)                     {}
func (m *most) hold() visitor                    { return m }
func (m *most) give(visitor) (int64, bool, bool) { return 0, false, false }
func (m *most) visit(b block, _ int64) (int64, bool) {
	m.atOnce, m.own = max(m.atOnce, len(b.all)), m.own+b.high-b.low
	return 0, false
}

// A line takes many times its bytes, so lines without any are counted too.
func TestManyLines(t *testing.T) {
	for text, want := range map[string]int{
		strings.Repeat("\n", 600_000): 600_000, strings.Repeat("a\n", 300_000): 300_000, strings.Repeat("\n", 100) + "panic: x\n" + strings.Repeat("\n", 300_000): 101,
	} {
		for _, tail := range []bool{false, true} {
			c := inMemory(text)
			p := &pass{walk: &walk{deadline: time.Now().Add(time.Hour), now: time.Now}, reader: reading(c, formatPlain), size: maxBlock}
			seen, run := &most{}, p.forwards
			if tail {
				run = p.backwards
			}
			if _, _, err := run(t.Context(), 0, c.length, seen); err != nil {
				t.Fatal(err)
			}
			if seen.atOnce > 2*maxLines+maxBehind+2 || seen.own < want {
				t.Errorf("%.10q: %d entries at once, %d of %d in all", text, seen.atOnce, seen.own, want)
			}
		}
	}
}

// FuzzBlocks reads what others wrote, in any format, whole and in pieces. No secret that is planted on a line of its own
// is shown, and nothing depends on where the reading began.
func FuzzBlocks(f *testing.F) {
	f.Add([]byte(sample(5)[:2000]), uint16(300))
	f.Add([]byte(asJSONFile(sample(5)[:1000], 50)[:3000]), uint16(70))
	f.Add([]byte(asCRI(sample(5)[:1000], 50)), uint16(99))
	f.Add([]byte(asCRI(manifestYAML+manifestJSON, 50)), uint16(99))
	f.Add([]byte(manifestYAML+manifestJSON), uint16(99))
	f.Add([]byte("\x00\xff\n\n\r\n\x1b[31m"), uint16(2))
	f.Fuzz(func(t *testing.T, data []byte, size uint16) {
		if len(data) > 4<<10 {
			return
		}
		const planted = "dckr_pat_" + "Ab1Cd2Ef3Gh4Ij5Kl6Mn7Op8Qr9"
		data = append(append(data, "\n\n"+planted+"\n"...), data...)
		for _, format := range append(formatNames(), formatPod) {
			c := &memory{ReaderAt: bytes.NewReader(data), length: int64(len(data))}
			whole := inBlocks(t, c, format, c.length)
			if diff := cmp.Diff(whole, inBlocks(t, c, format, max(int64(size), c.length/6+1))); diff != "" {
				t.Errorf("%s in pieces of %d:\n%s", format, size, diff)
			}
			if strings.Contains(strings.Join(whole, "\n"), planted) {
				t.Errorf("%s shows the planted secret", format)
			}
		}
	})
}

// FuzzJoin: what joins lines loses none, and reads the same trace whatever stands before it.
func FuzzJoin(f *testing.F) {
	f.Add(sample(10))
	f.Add("Traceback (most recent call last):\n\n\nx\n}\n\tat \n")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > maxTrace || strings.Contains(text, "\r") {
			return
		}
		r := reading(inMemory(text), formatPlain)
		b, err := r.entries(0, int64(len(text)))
		if err != nil {
			t.Fatal(err)
		}
		joined := 0
		for _, e := range b.all {
			joined += 1 + strings.Count(e.text, "\n")
			if p := parseTrace(e); len(p.frames) > 0 && e.language == "" {
				t.Errorf("%q: frames without a language", e.text)
			}
		}
		if want := strings.Count(strings.TrimSuffix(text, "\n"), "\n") + 1; text != "" && joined != want {
			t.Errorf("%q: %d lines of %d", text, joined, want)
		}
	})
}

func FuzzGzip(f *testing.F) {
	f.Add([]byte(pack(f, sample(5))), int64(100))
	f.Fuzz(func(t *testing.T, data []byte, offset int64) {
		dir := t.TempDir()
		write(t, dir+"/a.log.gz", string(data))
		s, err := openFolder(sourceConfig{Folder: dir, Files: []string{"*"}, Format: formatAuto})
		if err != nil {
			t.Fatal(err)
		}
		streams, _, err := s.streams(t.Context())
		if err != nil || len(streams) != 1 {
			t.Fatalf("%v %v", streams, err)
		}
		opened, err := streams[0].parts[0].open(t.Context(), span{})
		if err != nil {
			return
		}
		defer opened.close()
		plain, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return
		}
		want, err := io.ReadAll(plain)
		if err != nil {
			return
		}
		offset = max(0, offset) % int64(len(want)+1)
		got := make([]byte, len(want)-int(offset))
		if n, err := opened.content.ReadAt(got, offset); err != nil || n != len(got) || !bytes.Equal(got, want[offset:]) {
			t.Errorf("%d bytes at %d: %v", n, offset, err)
		}
	})
}
