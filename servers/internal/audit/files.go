package audit

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// files is the folder of a log, and file one of its files: just what a log does to them, so that a test can
// cut the power after each single operation.
type files interface {
	names() ([]string, error)
	open(name string) (file, error)   // an error that wraps fs.ErrNotExist if there is none
	create(name string) (file, error) // an old content is gone
	remove(name string) error
	rename(from, to string) error
	sync() error // makes names durable
}

type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	size() (int64, error)
	named(name string) (bool, error) // whether it is what that name in the folder stands for
	truncate(size int64) error
	datasync() error // makes content durable, and the size that is needed to read it
}

// disk is a folder of the operating system.
type disk struct {
	dir    string
	access int // os.O_RDONLY or os.O_RDWR
}

func (d disk) names() ([]string, error) {
	folder, err := os.Open(d.dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = folder.Close() }()
	return folder.Readdirnames(-1)
}

func (d disk) open(name string) (file, error) {
	return d.regular(name, d.access)
}

// regular opens a file of the folder itself. Who may write the folder may have put a link there that leads out of it, or
// a pipe that nobody writes to.
func (d disk) regular(name string, flags int) (file, error) {
	f, err := os.OpenFile(filepath.Join(d.dir, name), flags|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600) //nolint:gosec // names are the log's own
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s is no file", ErrBroken, name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return diskFile{f}, nil
}

func (d disk) create(name string) (file, error) {
	return d.regular(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
}

func (d disk) remove(name string) error { return os.Remove(filepath.Join(d.dir, name)) }
func (d disk) rename(from, to string) error {
	return os.Rename(filepath.Join(d.dir, from), filepath.Join(d.dir, to))
}

func (d disk) sync() error {
	folder, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer func() { _ = folder.Close() }()
	return folder.Sync()
}

// lock keeps a second process from writing to the same folder, until it is closed.
func (d disk) lock() (io.Closer, error) {
	folder, err := os.Open(d.dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = folder.Close()
		return nil, fmt.Errorf("another process has it open: %w", err)
	}
	return folder, nil
}

type diskFile struct{ *os.File }

func (f diskFile) truncate(size int64) error { return f.Truncate(size) }

func (f diskFile) size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// named asks for the inodes alone. Linux remembers who was told a file's times, and gives its next change a time of its own
// (multigrain timestamps, since 6.13): with fstat before each batch, some file systems write the inode too with each sync.
func (f diskFile) named(name string) (bool, error) {
	var own, other unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_INO, &own); err != nil {
		return false, err
	}
	err := unix.Statx(unix.AT_FDCWD, filepath.Join(filepath.Dir(f.Name()), name), unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO, &other)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return own.Ino == other.Ino && own.Dev_major == other.Dev_major && own.Dev_minor == other.Dev_minor, err
}

func (f diskFile) datasync() error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// The files of a segment are named by the number of its first record.
const (
	seqDigits  = 20
	linesKind  = ".jsonl"   // the records
	storedKind = ".results" // results of these records
	hashesKind = ".hashes"  // derived: the records' leaf hashes, 32 bytes each
	treeKind   = ".tree"    // derived: the frontier of the tree before the first record

	checkpointsName = "checkpoints"
)

func segmentName(first uint64, kind string) string {
	return fmt.Sprintf("%0*d%s", seqDigits, first, kind)
}

// segments are the first records of the segments in a folder, in order.
func segments(folder files) ([]uint64, error) { return numbered(folder, linesKind) }

// numbered are the first records of the segments that have a file of that kind, in order.
func numbered(folder files, kind string) ([]uint64, error) {
	names, err := folder.names()
	if err != nil {
		return nil, err
	}
	var firsts []uint64
	for _, name := range names {
		number, ok := strings.CutSuffix(name, kind)
		if !ok || len(number) != seqDigits {
			continue
		}
		if first, err := strconv.ParseUint(number, 10, 64); err == nil && first > 0 {
			firsts = append(firsts, first)
		}
	}
	slices.Sort(firsts)
	return firsts, nil
}

// errSize says that a file is larger than it can have become.
var errSize = errors.New("too large")

// content reads a file that is at most limit bytes long, else fails with errSize.
func content(folder files, name string, limit int64) ([]byte, error) {
	f, err := folder.open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	size, err := f.size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("%s: %w: %d bytes, more than %d", name, errSize, size, limit)
	}
	data := make([]byte, size)
	if _, err := f.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return data, nil
}
