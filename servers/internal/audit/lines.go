package audit

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// lineReader splits a segment into lines.
type lineReader struct {
	in   *bufio.Reader
	end  int64 // of the last whole line
	half int64 // bytes after it, once next has returned io.ErrUnexpectedEOF
}

// errLong says that a line is longer than [MaxLine].
var errLong = fmt.Errorf("longer than %d bytes", MaxLine)

func newLineReader(in io.Reader) *lineReader {
	return &lineReader{in: bufio.NewReaderSize(in, MaxLine)}
}

// next returns a line without its newline, valid until the next call. At the end it returns io.EOF, or
// io.ErrUnexpectedEOF if there is a half line. After errLong it goes on with the line behind the long one.
func (l *lineReader) next() ([]byte, error) {
	line, err := l.in.ReadSlice('\n')
	switch {
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
	return nil, errLong
}

// scan calls f for each record of a segment whose first record is first, with its line. It returns the offset
// after the last whole line, and how many bytes follow it.
func scan(in io.Reader, first uint64, f func(r Record, line []byte) error) (end, half int64, err error) {
	lines := newLineReader(in)
	for seq := first; ; seq++ {
		line, err := lines.next()
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return lines.end, lines.half, nil
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
