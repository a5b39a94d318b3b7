// Package workspace gives read-only access to the files below one folder: bounded, never outside it, and
// never to a file that is likely to hold secrets, whatever a caller asks for and wherever a symbolic link
// points.
package workspace

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/limit"
)

// What one Read may take.
const (
	MaxFile    = 1 << 20  // bytes of one file
	MaxFiles   = 1000     // files of one Read
	MaxTotal   = 16 << 20 // bytes of all files of one Read
	MaxDepth   = 32       // folders below the folder that was asked for
	MaxEntries = 100_000  // directory entries looked at in one Read
	MaxPath    = 4096     // bytes of a path (PATH_MAX)

	maxLinks    = 32  // symbolic links followed for one path
	dirBatch    = 512 // directory entries read at a time
	maxProblems = 50  // problems of one Read that are spelled out
)

// What may be wrong with a path. Every error of Read wraps one of these, or [limit.ErrTooLarge].
var (
	ErrOutside    = errors.New("outside the workspace")
	ErrForbidden  = errors.New("never read")
	ErrNotFound   = errors.New("no such file or folder")
	ErrUnreadable = errors.New("cannot be read")
)

// Root is one folder and what is below it. It stays open as long as the process lives.
type Root struct {
	name string
	dir  *os.Root
}

// File is one file that was read. Path is relative to the root and slash-separated.
type File struct {
	Path string
	Data []byte
}

// Open opens the folder dir.
func Open(dir string) (*Root, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Root{name: dir, dir: root}, nil
}

// Close releases the folder.
func (r *Root) Close() error { return r.dir.Close() }

// Name returns the folder as the operator wrote it.
func (r *Root) Name() string { return r.name }

// Read returns the file at name, or every file below the folder at name for which match is true, sorted by
// path. name is relative and slash-separated; "." is the root itself. A file that is asked for by its own
// name is read whatever match says.
//
// One file that cannot be read does not hide the others: the files that could be read come back together
// with an error that names each one that could not, so a caller that drops the files or the error loses
// something. Folders that are symbolic links are not entered when a folder is walked.
func (r *Root) Read(name string, match func(path string) bool) ([]File, error) {
	clean, err := r.clean(name)
	if err != nil {
		return nil, err
	}
	w := &walk{root: r, match: match, most: MaxFile}
	w.top(clean)
	slices.SortFunc(w.files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return w.files, w.err()
}

// List returns the paths of the files in the folder at name, and with deep of those below it, sorted: not of what is never
// read, nor of what is no regular file. As with Read, what could be listed comes back together with the error.
func (r *Root) List(name string, deep bool) ([]string, error) {
	clean, err := r.clean(name)
	if err != nil {
		return nil, err
	}
	w := &walk{root: r, most: MaxFile, listing: true, shallow: !deep}
	w.top(clean)
	if len(w.files) == 1 && w.files[0].Path == clean {
		return nil, fmt.Errorf("%w: %s is a file and no folder", ErrNotFound, clean)
	}
	var paths []string
	for _, f := range w.files {
		paths = append(paths, f.Path)
	}
	slices.Sort(paths)
	return paths, w.err()
}

// ReadFile returns the one file at name, up to maxBytes of it: for a file that the operator named, who may
// know that it is larger than what a caller may ask for. Everything else is as with Read.
func (r *Root) ReadFile(name string, maxBytes int) (File, error) {
	clean, err := r.clean(name)
	if err != nil {
		return File{}, err
	}
	w := &walk{root: r, match: func(string) bool { return false }, most: maxBytes}
	w.top(clean)
	if err := w.err(); err != nil {
		return File{}, err
	}
	if len(w.files) != 1 {
		return File{}, fmt.Errorf("%w: %s: not a regular file", ErrUnreadable, name)
	}
	return w.files[0], nil
}

// clean checks a path as a caller wrote it and returns its shortest form.
func (r *Root) clean(name string) (string, error) {
	switch {
	case len(name) > MaxPath:
		return "", fmt.Errorf("path: %w: more than %d bytes", limit.ErrTooLarge, MaxPath)
	case strings.ContainsAny(name, "\x00\n\r"):
		return "", fmt.Errorf("%w: %q has a control character", ErrNotFound, name)
	case strings.HasPrefix(name, "/"):
		return "", fmt.Errorf("%w: %q is absolute; give a path relative to %s", ErrOutside, name, r.name)
	case slices.Contains(strings.Split(name, "/"), ".."):
		return "", fmt.Errorf("%w: %q has %q in it; give a path below %s", ErrOutside, name, "..", r.name)
	}
	return path.Clean(name), nil
}

// forbidden says whether a file or folder of this name is never opened: version control's, Terraform's cache
// and state, and environment files hold secrets too often, and no check needs them. Case does not matter,
// since it does not on every file system.
func forbidden(name string) bool {
	name = strings.ToLower(name)
	return name == ".git" || name == ".terraform" || name == ".env" || strings.HasPrefix(name, ".env.") ||
		strings.HasSuffix(name, ".tfstate") || strings.Contains(name, ".tfstate.")
}

// walk is one Read.
type walk struct {
	root  *Root
	match func(string) bool
	most  int // bytes of one file

	listing, shallow bool // whether only names are wanted, and only of the folder itself

	files          []File
	total, entries int
	problems       []error
	dropped        int  // problems past maxProblems
	full           bool // a bound of the whole Read was passed
}

func (w *walk) fail(format string, args ...any) {
	if len(w.problems) == maxProblems {
		w.dropped++
		return
	}
	w.problems = append(w.problems, fmt.Errorf(format, args...))
}

// Problems are the errors that the error of [Root.Read] is made of, one for each path that could not be read.
func Problems(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// stop ends the walk because a bound of the whole Read was passed.
func (w *walk) stop(format string, args ...any) {
	if !w.full {
		w.full = true
		w.problems = append(w.problems, fmt.Errorf(format, args...))
	}
}

func (w *walk) err() error {
	if w.dropped > 0 {
		w.problems = append(w.problems, fmt.Errorf("%w: %d more paths below %s", ErrUnreadable, w.dropped, w.root.name))
	}
	return errors.Join(w.problems...)
}

// top resolves the path that was asked for and reads what is there.
func (w *walk) top(name string) {
	at, err := w.resolve(name)
	if err != nil {
		w.fail("%w", err)
		return
	}
	defer at.close()
	if at.info.IsDir() {
		w.folder(at.dir, name, 0)
		return
	}
	w.file(at.dir, at.base, at.info, name)
}

// place is where a path leads once every link is followed: for a folder its own handle, for anything else
// the handle of the folder that holds it and its name there.
type place struct {
	dir  *os.Root
	base string
	info fs.FileInfo
}

func (p place) close() { _ = p.dir.Close() }

// resolve goes down name one component at a time, each looked up in the open folder above it. Links are
// followed by hand, because os.Root keeps them inside the root but would follow one to .env or .git.
func (w *walk) resolve(name string) (place, error) {
	rest := name
	for range maxLinks {
		at, next, err := w.descend(name, rest)
		if err != nil || next == "" {
			return at, err
		}
		rest = next
	}
	return place{}, fmt.Errorf("%w: %s: more than %d symbolic links", ErrUnreadable, name, maxLinks)
}

// descend follows rest until its end, or until a link, whose target it returns as the path to go on with.
func (w *walk) descend(name, rest string) (at place, next string, err error) {
	dir, err := w.root.dir.OpenRoot(".")
	if err != nil {
		return place{}, "", w.explain(name, err)
	}
	info, err := dir.Stat(".")
	at = place{dir: dir, base: ".", info: info}
	defer func() {
		if err != nil || next != "" {
			at.close()
		}
	}()
	if err != nil {
		return at, "", w.explain(name, err)
	}
	components := strings.Split(rest, "/")
	for i, component := range components {
		if component == "." {
			continue
		}
		if forbidden(component) {
			return at, "", w.refuse(name, rest, component)
		}
		info, err := at.dir.Lstat(component)
		if err != nil {
			return at, "", w.explain(name, err)
		}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := at.dir.Readlink(component)
			if err != nil {
				return at, "", w.explain(name, err)
			}
			above := path.Join(components[:i]...)
			next := path.Join(above, target, path.Join(components[i+1:]...))
			if path.IsAbs(target) || next == ".." || strings.HasPrefix(next, "../") {
				return at, "", fmt.Errorf("%w: %s: the symbolic link %s leaves %s", ErrOutside, name, path.Join(above, component), w.root.name)
			}
			return at, next, nil
		case info.IsDir():
			below, err := enter(at.dir, component, info)
			if err != nil {
				return at, "", w.explain(name, err)
			}
			at.close()
			at = place{dir: below, base: ".", info: info}
		case i < len(components)-1:
			return at, "", fmt.Errorf("%w: %s", ErrNotFound, name)
		default:
			at.base, at.info = component, info
		}
	}
	return at, "", nil
}

func (w *walk) refuse(name, resolved, component string) error {
	if name == resolved {
		return fmt.Errorf("%w: %s: files and folders named %s are never opened", ErrForbidden, name, component)
	}
	return fmt.Errorf("%w: %s: leads to %s, and files and folders named %s are never opened", ErrForbidden, name, resolved, component)
}

// errChanged means that what was opened is not what was looked at a moment before.
var errChanged = errors.New("it was replaced while it was being opened")

// enter opens the folder name of dir, which info says is no link. The second look makes sure that nobody
// put one there in between.
func enter(dir *os.Root, name string, info fs.FileInfo) (*os.Root, error) {
	below, err := dir.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	if now, err := below.Stat("."); err != nil || !os.SameFile(info, now) {
		return nil, errors.Join(errChanged, below.Close())
	}
	return below, nil
}

// folder reads what matches in and below dir. name is its path as it is reported.
func (w *walk) folder(dir *os.Root, name string, depth int) {
	if depth > MaxDepth {
		w.fail("%w: %s: more than %d folders deep", limit.ErrTooLarge, name, MaxDepth)
		return
	}
	names, err := w.list(dir, name)
	if err != nil {
		w.fail("%w", w.explain(name, err))
		return
	}
	for _, base := range names {
		if w.full {
			return
		}
		if !forbidden(base) {
			w.entry(dir, base, path.Join(name, base), depth)
		}
	}
}

// entry reads one entry of a folder, if it is a folder or matches.
func (w *walk) entry(dir *os.Root, base, name string, depth int) {
	info, err := dir.Lstat(base)
	if err != nil {
		w.fail("%w", w.explain(name, err))
		return
	}
	if info.IsDir() {
		if w.shallow {
			return
		}
		below, err := enter(dir, base, info)
		if err != nil {
			w.fail("%w", w.explain(name, err))
			return
		}
		w.folder(below, name, depth+1)
		_ = below.Close()
		return
	}
	if w.match != nil && !w.match(name) {
		return
	}
	if info.Mode()&fs.ModeSymlink == 0 {
		w.file(dir, base, info, name)
		return
	}
	at, err := w.resolve(name)
	if err != nil {
		w.fail("%w", err)
		return
	}
	defer at.close()
	if !at.info.IsDir() {
		w.file(at.dir, at.base, at.info, name)
	}
}

// list returns the names in dir, sorted, without trusting their number.
func (w *walk) list(dir *os.Root, name string) ([]string, error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var names []string
	for {
		batch, err := f.Readdirnames(dirBatch)
		names = append(names, batch...)
		w.entries += len(batch)
		if w.entries > MaxEntries {
			w.stop("%w: %s: more than %d files and folders; name a smaller folder", limit.ErrTooLarge, name, MaxEntries)
			return nil, nil
		}
		if errors.Is(err, io.EOF) {
			slices.Sort(names)
			return names, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// file reads the regular file base of dir.
func (w *walk) file(dir *os.Root, base string, info fs.FileInfo, name string) {
	switch {
	case w.listing:
		// The number of entries is bounded already.
		if info.Mode().IsRegular() {
			w.files = append(w.files, File{Path: name})
		}
		return
	case !info.Mode().IsRegular():
		// Opening a device or a pipe may block, or do something.
		w.fail("%w: %s: not a regular file", ErrUnreadable, name)
		return
	case len(w.files) == MaxFiles:
		w.stop("%w: more than %d files; name a smaller folder", limit.ErrTooLarge, MaxFiles)
		return
	}
	data, err := read(dir, base, info, w.most)
	switch {
	case errors.Is(err, limit.ErrTooLarge):
		w.fail("%s: %w", name, err)
	case err != nil:
		w.fail("%w", w.explain(name, err))
	case w.total+len(data) > max(MaxTotal, w.most): // one file may have more, where the operator named it
		w.stop("%w: more than %d bytes in all; name a smaller folder", limit.ErrTooLarge, MaxTotal)
	default:
		w.total += len(data)
		w.files = append(w.files, File{Path: name, Data: data})
	}
}

func read(dir *os.Root, base string, info fs.FileInfo, most int) ([]byte, error) {
	// Should the file have become a pipe since, O_NONBLOCK keeps open from waiting for a writer.
	f, err := dir.OpenFile(base, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if now, err := f.Stat(); err != nil || !os.SameFile(info, now) {
		return nil, errChanged
	}
	return limit.ReadAll(f, int64(most))
}

// explain says which file it was, and to whom it was closed: in a container the reader is uid 65532, and
// files of mode 0600 are its most common surprise.
func (w *walk) explain(name string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%w: %s, below %s", ErrNotFound, name, w.root.name)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %s: uid %d may not read it; give others the right to (chmod o+rX)", ErrUnreadable, name, os.Getuid())
	}
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathErr.Err // its path is that of an inner handle
	}
	return fmt.Errorf("%w: %s: %w", ErrUnreadable, name, err)
}
