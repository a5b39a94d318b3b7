package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/compress/gzip"
)

// folder is a source of files. Nothing outside of it can be opened, by links neither.
type folder struct {
	config sourceConfig
	root   *os.Root
}

func openFolder(c sourceConfig) (*folder, error) {
	root, err := os.OpenRoot(c.Folder)
	if err != nil {
		return nil, err
	}
	return &folder{c, root}, nil
}

func (f *folder) kind() string { return "files" }

// errNotRegular says that a name is of no file: a pipe, a socket, a device or a folder. None of them is opened.
var errNotRegular = errors.New("not a regular file")

// openRegular opens a file. What may wait for ever, or do something by being opened, is refused before; whoever puts it
// there in between meets O_NONBLOCK, and a second look.
func (f *folder) openRegular(name string) (*os.File, fs.FileInfo, error) {
	if info, err := f.root.Stat(name); err != nil || !info.Mode().IsRegular() {
		return nil, nil, cmp.Or(err, errNotRegular)
	}
	file, err := f.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errNotRegular
	}
	if err != nil {
		_ = file.Close()
		return nil, nil, err
	}
	return file, info, nil
}

// listing is a look at a folder.
type listing struct {
	files    map[string][]rotated // by stem
	problems []string
	seen     int // files and folders
}

func (l *listing) problem(name string, err error) {
	l.problems = append(l.problems, shownName(name)+": "+reason(err))
}

// list looks at the folder dir, and those in it. A folder is read in pieces: it may hold more than there is memory for.
func (f *folder) list(ctx context.Context, dir string, depth int, l *listing) error {
	handle, err := f.root.OpenFile(dir, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_DIRECTORY, 0)
	if err != nil {
		l.problem(dir, err)
		return nil
	}
	defer func() { _ = handle.Close() }()
	for {
		entries, err := handle.ReadDir(dirPiece)
		for _, entry := range entries {
			name := path.Join(dir, entry.Name())
			switch l.seen++; {
			case ctx.Err() != nil:
				return ctx.Err()
			case l.seen > maxEntries:
				return nil
			case strings.HasPrefix(entry.Name(), "."):
			case entry.IsDir() && depth < maxDepth:
				if err := f.list(ctx, name, depth+1, l); err != nil {
					return err
				}
			case !entry.IsDir():
				f.add(name, l)
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			l.problem(dir, err)
			return nil
		}
	}
}

// add notes a file that one of the patterns fits.
func (f *folder) add(name string, l *listing) {
	r := rotation(name)
	if !f.wanted(r.stem) {
		return
	}
	info, err := f.root.Stat(name) // what a link leads to
	if err == nil && !info.Mode().IsRegular() {
		err = errNotRegular
	}
	if err != nil {
		l.problem(name, err)
		return
	}
	r.info = info
	l.files[r.stem] = append(l.files[r.stem], r)
}

// streams lists the folder's logs. Rotations belong to the file whose name they bear.
func (f *folder) streams(ctx context.Context) ([]stream, []string, error) {
	l := listing{files: map[string][]rotated{}}
	if err := f.list(ctx, ".", 0, &l); err != nil {
		return nil, nil, err
	}
	found, problems := l.files, l.problems
	if l.seen > maxEntries {
		problems = append(problems, fmt.Sprintf("more than %d files; the rest was not looked at", maxEntries))
	}
	streams := make([]stream, 0, len(found))
	for stem, files := range found {
		slices.SortFunc(files, rotated.compare)
		s := stream{name: strings.ToValidUTF8(stem, "\ufffd")}
		for _, r := range files[max(0, len(files)-maxParts):] {
			s.parts = append(s.parts, f.part(r))
		}
		streams = append(streams, s)
	}
	slices.SortFunc(streams, func(a, b stream) int { return cmp.Compare(a.name, b.name) })
	if len(streams) > maxStreams {
		problems = append(problems, fmt.Sprintf("more than %d logs; the rest was not looked at", maxStreams))
		streams = streams[:maxStreams]
	}
	return streams, problems, nil
}

// wanted says whether one of the patterns fits.
func (f *folder) wanted(stem string) bool {
	return slices.ContainsFunc(f.config.Files, func(pattern string) bool {
		subject := stem
		if !strings.Contains(pattern, "/") {
			subject = path.Base(stem)
		}
		fits, err := path.Match(pattern, subject)
		return fits && err == nil
	})
}

// rotated is a file and which one it is of those that bear its name.
type rotated struct {
	name, stem string
	number     int    // app.log.3: the higher, the older
	date       string // app.log-20240102, app-2024-01-02.log: the higher, the newer
	packed     bool
	info       fs.FileInfo
}

var (
	numbered = regexp.MustCompile(`^(.+)\.([0-9]{1,4})$`)
	dated    = regexp.MustCompile(`^(.+?)[-._]([0-9]{4}-?[0-9]{2}-?[0-9]{2}(?:[-T_]?[0-9]{2,10}(?:[-.:][0-9]{2,10})*)?)(\.log)?$`)
)

// rotation takes a file's name apart, as logrotate, log4j, lumberjack, Docker and the kubelet make it.
func rotation(name string) rotated {
	r := rotated{name: name}
	stem, packed := strings.CutSuffix(name, ".gz")
	r.packed = packed
	dir, base := path.Split(stem)
	if m := numbered.FindStringSubmatch(base); m != nil {
		base = m[1]
		r.number, _ = strconv.Atoi(m[2])
	}
	if m := dated.FindStringSubmatch(base); m != nil {
		base, r.date = m[1]+m[3], m[2]
	}
	r.stem = dir + base
	return r
}

// compare puts the oldest first. What bears neither number nor date is the one that is written now.
func (r rotated) compare(other rotated) int {
	live := func(r rotated) int {
		if r.number == 0 && r.date == "" {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(live(r), live(other)), cmp.Compare(r.date, other.date), cmp.Compare(other.number, r.number), cmp.Compare(r.name, other.name))
}

func (f *folder) part(r rotated) part {
	return part{
		id: identity(r.info), name: strings.ToValidUTF8(r.name, "\ufffd"), bytes: r.info.Size(), modified: r.info.ModTime(), compressed: r.packed,
		open: func(ctx context.Context, _ span) (opened, error) { return f.open(ctx, r) },
	}
}

// identity is what stays of a file when it is renamed.
func identity(info fs.FileInfo) string {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return strconv.FormatUint(s.Dev, 36) + "." + strconv.FormatUint(s.Ino, 36)
	}
	return "0"
}

func (f *folder) open(ctx context.Context, r rotated) (opened, error) {
	file, info, err := f.openRegular(r.name)
	if err != nil {
		return opened{}, err
	}
	if identity(info) != identity(r.info) {
		_ = file.Close()
		return opened{}, errors.New("it was replaced by another file just now; ask again")
	}
	out := opened{
		content: plainFile{file, info.Size()}, format: f.config.Format,
		clock: clock{zone: f.config.zone, near: info.ModTime()}, close: func() { _ = file.Close() },
	}
	if r.packed {
		out.content = &gzipFile{ctx: ctx, file: file}
	}
	if out.format == formatAuto {
		head := make([]byte, probe)
		n, err := out.content.ReadAt(head, 0)
		if err != nil && !errors.Is(err, io.EOF) {
			out.close()
			return opened{}, err
		}
		out.format = sniff(head[:n])
	}
	return out, nil
}

// plainFile is a file as it lies.
type plainFile struct {
	io.ReaderAt

	end int64
}

func (p plainFile) size() int64 { return p.end }

func (p plainFile) mark(offset int64) string { return markOffset(offset) }

func (p plainFile) place(mark string) (int64, error) { return placeOffset(mark, p.end) }

// gzipFile is what is packed in a file. It is read forwards, and a little of what was read is kept; a place before that
// takes reading again from the beginning.
type gzipFile struct {
	ctx  context.Context
	file *os.File

	unpack *gzip.Reader
	kept   []byte
	begin  int64 // of kept
	ended  bool
}

// size is where it ends, as soon as that is known.
func (g *gzipFile) size() int64 {
	if g.ended {
		return g.begin + int64(len(g.kept))
	}
	return unknownSize
}

// unknownSize is more than any file has, and leaves room to add to it.
const unknownSize = int64(1) << 60

func (g *gzipFile) mark(offset int64) string { return markOffset(offset) }

func (g *gzipFile) place(mark string) (int64, error) { return placeOffset(mark, unknownSize) }

// ReadAt implements [io.ReaderAt].
func (g *gzipFile) ReadAt(p []byte, offset int64) (int, error) {
	if g.unpack == nil || offset < g.begin {
		if err := g.rewind(); err != nil {
			return 0, err
		}
	}
	for !g.ended && g.begin+int64(len(g.kept)) < offset+int64(len(p)) {
		if err := g.more(offset); err != nil {
			return 0, err
		}
	}
	if offset >= g.begin+int64(len(g.kept)) {
		return 0, io.EOF
	}
	n := copy(p, g.kept[offset-g.begin:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (g *gzipFile) rewind() error {
	if _, err := g.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	unpack, err := gzip.NewReader(g.file)
	if err != nil {
		return fmt.Errorf("it is no gzip file: %w", err)
	}
	g.unpack, g.kept, g.begin, g.ended = unpack, nil, 0, false
	return nil
}

// more unpacks a piece, and lets go of what is well before needed.
func (g *gzipFile) more(needed int64) error {
	if err := g.ctx.Err(); err != nil {
		return err
	}
	if spare := needed - gzipBack - g.begin; spare > minBlock {
		spare = min(spare, int64(len(g.kept)))
		g.kept = append(g.kept[:0], g.kept[spare:]...)
		g.begin += spare
	}
	piece := make([]byte, minBlock)
	n, err := io.ReadFull(g.unpack, piece)
	g.kept = append(g.kept, piece[:n]...)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		g.ended = true // a file that is cut off ends where it was cut
		return nil
	}
	return err
}

func markOffset(offset int64) string { return strconv.FormatInt(offset, 36) }

func placeOffset(mark string, end int64) (int64, error) {
	offset, err := strconv.ParseInt(mark, 36, 64)
	if err != nil || offset < 0 {
		return 0, errCursor
	}
	if offset > end {
		return 0, errShrunk
	}
	return offset, nil
}

// reason says why a file cannot be read, without the path, which the caller knows.
func reason(err error) string {
	switch at, ok := errors.AsType[*fs.PathError](err); {
	case errors.Is(err, fs.ErrNotExist):
		return "it is gone, or a link that leads nowhere"
	case errors.Is(err, fs.ErrPermission):
		return "this server may not read it"
	case ok:
		return at.Err.Error()
	}
	return message(err)
}

// shownName is a file's name in a message.
func shownName(name string) string {
	return strings.ToValidUTF8(name[:min(len(name), maxProblem)], "\ufffd")
}

// lastWritten is the newest time of a stream's parts.
func lastWritten(s stream) time.Time {
	var newest time.Time
	for _, p := range s.parts {
		if p.modified.After(newest) {
			newest = p.modified
		}
	}
	return newest
}
