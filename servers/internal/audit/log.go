package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

const (
	// logName is the first segment; its name is the sequence number that it begins with.
	logName = "00000000000000000001.jsonl"
	// MaxLine is the longest line that a log holds, newline included.
	MaxLine = 64 << 10
)

// ErrBroken is wrapped by errors about a log that cannot be read as one.
var ErrBroken = errors.New("audit log broken")

// Log is a [Recorder] that appends to a file: one JSON record a line, each synced to disk before Record
// returns. One process writes a folder at a time.
type Log struct {
	mu     sync.Mutex
	file   *os.File
	seq    uint64
	failed error
}

// OpenLog opens the log in dir, creating it if the folder is empty. A half line at its end, the trace of a
// crash before the record was acknowledged, is dropped; anything else that is not a record is [ErrBroken].
func OpenLog(dir string) (*Log, error) {
	path := filepath.Join(dir, logName)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the operator's folder
	if err != nil {
		return nil, fmt.Errorf("opening the audit log: %w", err)
	}
	log := &Log{file: file}
	if err := log.recover(dir); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("opening the audit log %s: %w", path, err)
	}
	return log, nil
}

func (l *Log) recover(dir string) error {
	if err := lock(l.file); err != nil {
		return err
	}
	end, err := scan(l.file, func(r Record, _ []byte) error {
		l.seq = r.Seq
		return nil
	})
	if err != nil {
		return err
	}
	if err := l.file.Truncate(end); err != nil {
		return err
	}
	if _, err := l.file.Seek(end, io.SeekStart); err != nil {
		return err
	}
	if err := l.file.Sync(); err != nil {
		return err
	}
	// The file's name must survive a power cut as well as its content.
	return syncDir(dir)
}

// Record appends r under the next sequence number and syncs it. After a failed write the log refuses
// everything: what is on disk is then unknown until it is opened again.
func (l *Log) Record(_ context.Context, r Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil {
		return fmt.Errorf("the audit log failed earlier: %w", l.failed)
	}
	r.Version, r.Seq = Version, l.seq+1
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false) // six bytes for each "<" of a caller's
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("encoding an audit record: %w", err)
	}
	if line.Len() > MaxLine {
		return fmt.Errorf("encoding an audit record: %d bytes, more than %d", line.Len(), MaxLine)
	}
	if _, err := l.file.Write(line.Bytes()); err != nil {
		l.failed = err
		return fmt.Errorf("writing an audit record: %w", err)
	}
	if err := l.file.Sync(); err != nil {
		l.failed = err
		return fmt.Errorf("syncing an audit record: %w", err)
	}
	l.seq++
	return nil
}

// Healthy returns why the log refuses records, or nil.
func (l *Log) Healthy() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// Close closes the file.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = fs.ErrClosed
	}
	return l.file.Close()
}

// ReadLog calls f for each record of the log in dir, in order, with the line as it stands on disk. A half line
// at the end is left out. It may run beside a process that appends.
func ReadLog(dir string, f func(r Record, line []byte) error) error {
	file, err := os.Open(filepath.Join(dir, logName)) //nolint:gosec // the operator's folder
	if err != nil {
		return fmt.Errorf("reading the audit log: %w", err)
	}
	defer func() { _ = file.Close() }()
	if _, err := scan(file, f); err != nil {
		return fmt.Errorf("reading the audit log: %w", err)
	}
	return nil
}

// scan reads records from r and returns the offset after the last whole line.
func scan(r io.Reader, f func(Record, []byte) error) (end int64, err error) {
	lines := bufio.NewReaderSize(r, MaxLine)
	for seq := uint64(1); ; seq++ {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return end, nil
		case errors.Is(err, bufio.ErrBufferFull):
			return end, fmt.Errorf("%w: record %d is longer than %d bytes", ErrBroken, seq, MaxLine)
		case err != nil:
			return end, err
		}
		record, err := parse(line)
		if err != nil {
			return end, fmt.Errorf("%w: record %d: %w", ErrBroken, seq, err)
		}
		if record.Seq != seq {
			return end, fmt.Errorf("%w: record %d says that it is %d", ErrBroken, seq, record.Seq)
		}
		if err := f(record, bytes.TrimSuffix(line, []byte("\n"))); err != nil {
			return end, err
		}
		end += int64(len(line))
	}
}

func parse(line []byte) (Record, error) {
	var r Record
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return Record{}, err
	}
	if r.Version != Version {
		return Record{}, fmt.Errorf("version %d; this program reads version %d", r.Version, Version)
	}
	return r, nil
}

// lock keeps a second process from appending to the same file.
func lock(file *os.File) error {
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("another process has it open: %w", err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the operator's folder
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}
