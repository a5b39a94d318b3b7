package scrub

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	wantLines    = 100_000
	maxMachine   = 64 << 20 // bytes of one file
	maxLineBytes = 4 << 20
)

// TestMachine: in what this machine, its package manager and its compiler have written, with no secrets in mind, next
// to nothing is redacted: one line in 100,000. The lines are read where the test runs, and none is kept. npm's logs are
// not among them: they hold command lines, and whoever gave one a token finds it there.
func TestMachine(t *testing.T) {
	if testing.Short() {
		t.Skip("reads and makes more than 100,000 lines")
	}
	lines, found := 0, map[string]int{}
	read := func(source string, r io.Reader) {
		stream := New().Stream(false)
		scanner := bufio.NewScanner(r)
		scanner.Buffer(nil, maxLineBytes)
		for ; scanner.Scan(); lines++ {
			want := characters(scanner.Text())
			got := string(stream.Line(nil, scanner.Bytes()))
			if got == want {
				continue
			}
			for _, rest := range strings.Split(got, markerStart)[1:] {
				id, _, _ := strings.Cut(rest[:strings.IndexByte(rest, markerEnd)], "#")
				found[id]++
				t.Logf("%s: %s in a line of %d bytes", source, id, len(want))
			}
		}
	}
	for _, root := range []string{"/var/log", "/var/lib/dpkg/status"} {
		_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return nil // what may not be read is not read
			}
			file, err := os.Open(path)
			if err != nil {
				return nil // the same
			}
			defer file.Close()
			r := io.LimitReader(file, maxMachine)
			switch filepath.Ext(path) {
			case ".gz":
				if r, err = gzip.NewReader(r); err != nil {
					return nil // no text
				}
				r = io.LimitReader(r, maxMachine)
			case ".xz", ".journal":
				return nil
			}
			read(path, r)
			return nil
		})
	}
	for _, command := range [][]string{
		{"go", "build", "-n", "-a", "std", "cmd"}, {"go", "list", "-deps", "-json", "../../..."}, {"go", "test", "-json", "-run", "Characters|Places", "."},
		{"git", "log", "--stat"}, {"dmesg"}, {"mount"},
	} {
		var out bytes.Buffer
		cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
		cmd.Stdout, cmd.Stderr = &out, &out
		_ = cmd.Run() // what there is of it
		read(strings.Join(command, " "), &out)
	}
	total := 0
	for _, n := range found {
		total += n
	}
	t.Logf("%d lines, %d redacted: %v", lines, total, found)
	if lines < wantLines {
		t.Errorf("%d lines, want %d", lines, wantLines)
	}
	if total*wantLines > lines {
		t.Errorf("%d of %d lines, want at most one in %d: %v", total, lines, wantLines, found)
	}
}
