package main

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// podLog is a part of a container's log in memory: its beginning, or its end. Its lines have times, and since their order
// is the same in every answer while offsets are not, a place in it is a time and a number of lines.
type podLog struct {
	tail  bool
	asked int  // lines of the end that were asked for
	whole bool // all of the log was, since that many lines are more than it has

	data   []byte
	behind bool // nothing that was sent is as old as was wanted
	lines  []podLine
	more   bool   // there is more behind it; before it, if it is an end
	note   string // why it is not all that was asked for
}

// podLine is where a line begins, and its time, or that of the line before.
type podLine struct {
	start int64
	time  time.Time
}

// fill reads lines up to one that is later than until. Of a beginning it keeps the first ones, of an end the last ones.
func (l *podLog) fill(r io.Reader, until time.Time) {
	in := bufio.NewReaderSize(&io.LimitedReader{R: r, N: maxPodRead}, 64<<10)
	read, received := 0, 0
	var last time.Time
	for {
		line, n, err := readLine(in)
		read += n
		if len(line) > 0 {
			if decoded := decodePod(line); !decoded.time.IsZero() {
				last = decoded.time
			}
			received++
			switch {
			case !until.IsZero() && last.After(until):
				l.behind = l.tail && !l.whole && len(l.lines) == 0
				l.more = l.more || l.tail && !l.whole && len(l.lines) > 0
				return
			case !l.tail && l.full(line):
				l.more = true
				return
			}
			l.keep(line, last)
		}
		switch {
		case err == nil:
			continue
		case read >= maxPodRead:
			l.more = !l.tail
			l.note = "it is longer than is read in one call; narrow it with since and until"
		case errors.Is(err, io.EOF):
			if l.tail && received < l.asked {
				l.whole = true
			}
			l.more = l.more || l.tail && !l.whole && len(l.lines) > 0
		default:
			l.note = "the API server's answer broke off, or did not end in time; what came before that is here"
			l.more = l.more || l.tail && len(l.lines) > 0
		}
		return
	}
}

// full says that there is no room for a line.
func (l *podLog) full(line []byte) bool {
	return len(l.data)+len(line) > maxPodLog || len(l.lines) == maxPodLines
}

// keep adds a line. Of an end it lets go of the oldest when there is no room.
func (l *podLog) keep(line []byte, at time.Time) {
	if l.tail && l.full(line) {
		drop := len(l.lines) / 2
		from := l.lines[drop].start
		l.data = append(l.data[:0], l.data[from:]...)
		l.lines = append(l.lines[:0], l.lines[drop:]...)
		for i := range l.lines {
			l.lines[i].start -= from
		}
		l.more = true
	}
	l.lines = append(l.lines, podLine{int64(len(l.data)), at})
	l.data = append(l.data, line...)
}

// readLine reads a line with its end. Of a long one it returns the beginning, and an end.
func readLine(in *bufio.Reader) (line []byte, read int, err error) {
	for {
		piece, err := in.ReadSlice('\n')
		read += len(piece)
		if room := maxLine - len(line); len(piece) <= room {
			line = append(line, piece...)
		} else if room > 0 {
			line = append(append(line, piece[:room-1]...), '\n')
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, read, err
		}
	}
}

// ReadAt implements [io.ReaderAt].
func (l *podLog) ReadAt(p []byte, offset int64) (int, error) {
	n := copy(p, l.data[min(offset, int64(len(l.data))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (l *podLog) size() int64 { return int64(len(l.data)) }

// podMark is a place in a container's log.
type podMark struct {
	time  time.Time
	lines int // of that very time: before it; where a log is read from its end, behind it
	asked int
	whole bool
}

// mark implements [content].
func (l *podLog) mark(offset int64) string {
	i, _ := slices.BinarySearchFunc(l.lines, offset, func(line podLine, offset int64) int { return int(line.start - offset) })
	m := podMark{asked: l.asked, whole: l.whole}
	switch {
	case len(l.lines) == 0:
		return ""
	case i < len(l.lines):
		m.time = l.lines[i].time
	default:
		m.time = l.lines[len(l.lines)-1].time
	}
	if l.tail { // the beginning of what has this time may not be here
		for j := i; j < len(l.lines) && l.lines[j].time.Equal(m.time); j++ {
			m.lines++
		}
	} else {
		for j := i - 1; j >= 0 && l.lines[j].time.Equal(m.time); j-- {
			m.lines++
		}
	}
	whole := "0"
	if m.whole {
		whole = "1"
	}
	asked := 0
	if l.tail {
		asked = m.asked
		if i == 0 {
			asked = min(2*asked, maxTailLines) // all of that was seen
		}
	}
	return strings.Join([]string{strconv.FormatInt(max(0, m.time.UnixNano()), 36), strconv.Itoa(m.lines), strconv.Itoa(asked), whole}, ".")
}

// place implements [content].
func (l *podLog) place(text string) (int64, error) {
	m, err := readPodMark(text)
	if err != nil {
		return 0, err
	}
	i := 0
	for i < len(l.lines) && (l.lines[i].time.Before(m.time) || l.tail && l.lines[i].time.Equal(m.time)) {
		i++
	}
	for n := m.lines; n > 0; n-- {
		if l.tail && i > 0 && l.lines[i-1].time.Equal(m.time) {
			i--
		} else if !l.tail && i < len(l.lines) && l.lines[i].time.Equal(m.time) {
			i++
		}
	}
	if i == len(l.lines) {
		return l.size(), nil
	}
	return l.lines[i].start, nil
}

func readPodMark(text string) (podMark, error) {
	if text == "" {
		return podMark{}, nil
	}
	fields := strings.Split(text, ".")
	if len(fields) != 4 {
		return podMark{}, errCursor
	}
	nanos, err1 := strconv.ParseInt(fields[0], 36, 64)
	lines, err2 := strconv.Atoi(fields[1])
	asked, err3 := strconv.Atoi(fields[2])
	if err := errors.Join(err1, err2, err3); err != nil || nanos < 0 || lines < 0 || asked < 0 || lines > maxPodRead || asked > maxTailLines {
		return podMark{}, errCursor
	}
	return podMark{time.Unix(0, nanos).UTC(), lines, asked, fields[3] == "1"}, nil
}
