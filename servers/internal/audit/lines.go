package audit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// lineReader splits a segment into lines.
type lineReader struct {
	in    *bufio.Reader
	start int64 // of the last line
	end   int64 // of the last whole line
	half  int64 // bytes after it, once next has returned io.ErrUnexpectedEOF
}

// errLong says that a line is longer than [MaxLine], and errHole that there are zeros in it: JSON has none, and where the
// power went, they are what was not written of lines that nobody was answered for.
var (
	errLong = fmt.Errorf("longer than %d bytes", MaxLine)
	errHole = errors.New("full of zeros")
)

// contentSize is the size of a file of lines without the zeros at its end.
func contentSize(f file) (int64, error) {
	size, err := f.size()
	for tail := make([]byte, 32<<10); size > 0 && err == nil; {
		n := min(size, int64(len(tail)))
		if _, err = f.ReadAt(tail[:n], size-n); errors.Is(err, io.EOF) {
			err = nil // it has shrunk meanwhile
		}
		content := int64(len(bytes.TrimRight(tail[:n], "\x00")))
		if size -= n - content; content > 0 {
			break
		}
	}
	return size, err
}

func newLineReader(in io.Reader) *lineReader {
	return &lineReader{in: bufio.NewReaderSize(in, MaxLine)}
}

// next returns a line without its newline, valid until the next call. At the end it returns io.EOF, or
// io.ErrUnexpectedEOF if there is a half line. After errLong and errHole it goes on with the line behind.
func (l *lineReader) next() ([]byte, error) {
	l.start = l.end
	line, err := l.in.ReadSlice('\n')
	hole := bytes.IndexByte(line, 0) >= 0
	switch {
	case err == nil && hole:
		l.end += int64(len(line))
		return nil, errHole
	case err == nil:
		l.end += int64(len(line))
		return line[:len(line)-1], nil
	case errors.Is(err, io.EOF) && len(line) == 0:
		return nil, io.EOF
	case errors.Is(err, io.EOF):
		l.half = int64(len(line))
		return nil, io.ErrUnexpectedEOF
	case !errors.Is(err, bufio.ErrBufferFull):
		return nil, err
	}
	skipped := int64(len(line))
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = l.in.ReadSlice('\n')
		skipped += int64(len(line))
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	l.end += skipped
	if hole {
		return nil, errHole
	}
	return nil, errLong
}

// stop ends the reading at the line where a hole is: it and what follows count as a half line.
func (l *lineReader) stop() error {
	rest, err := io.Copy(io.Discard, l.in)
	l.half, l.end = l.end+rest-l.start, l.start
	return err
}

// scan calls f for each record of a segment whose first record is first, with its line. It returns the offset
// after the last whole line, and how many bytes follow it. A hole ends the lines.
func scan(in io.Reader, first uint64, f func(r Record, line []byte) error) (end, half int64, err error) {
	lines := newLineReader(in)
	for seq := first; ; seq++ {
		line, err := lines.next()
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return lines.end, lines.half, nil
		case errors.Is(err, errHole):
			err := lines.stop()
			return lines.end, lines.half, err
		case errors.Is(err, errLong):
			return lines.end, 0, fmt.Errorf("%w: record %d is %w", ErrBroken, seq, err)
		case err != nil:
			return lines.end, 0, err
		}
		record, err := parse(line)
		if err != nil {
			return lines.end, 0, fmt.Errorf("%w: record %d: %w", ErrBroken, seq, err)
		}
		if record.Seq != seq {
			return lines.end, 0, fmt.Errorf("%w: record %d says that it is %d", ErrBroken, seq, record.Seq)
		}
		if err := f(record, line); err != nil {
			return lines.end, 0, err
		}
	}
}
