package main

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"slices"
	"strings"
	"time"
)

// content is a log's bytes. Places in it are offsets.
type content interface {
	io.ReaderAt
	// size is where it ended when it was opened; what is added later is not read.
	size() int64
	// mark writes a place so that a later call finds it again, and place reads what mark wrote.
	mark(offset int64) string
	place(mark string) (int64, error)
}

// entry is one message, with the lines of its stack trace.
type entry struct {
	start    int64     // of its first line
	time     time.Time // its own, else that of the entry before it
	timed    bool      // it has one of its own
	level    level
	stream   string // stdout, stderr or empty
	text     string // redacted, with its time
	body     int    // where in text the message begins, behind its time
	language language
	cut      bool // there is more than was looked at
}

// reader makes entries of a content.
type reader struct {
	content content
	decode  func([]byte) raw
	clock   clock
	join    bool
	redact  *redactor
}

// block is what was read of a content: the entries from low to high begin in the stretch that was asked for, the others
// are their neighbours.
type block struct {
	all       []entry
	low, high int
}

// errMany says that a block has too many lines to be taken at once.
var errMany = errors.New("too many lines")

// errGone is wrapped by errors of reading what has become shorter.
var errGone = errors.New("it has become shorter while it was read")

// entries returns the entries that begin in [from, to). What they are does not depend on from and to.
func (r *reader) entries(from, to int64) (block, error) {
	for ahead := int64(minAhead); ; ahead *= 4 {
		b, whole, err := r.try(from, to, min(ahead, maxAhead))
		if err != nil || whole || ahead >= maxAhead {
			return b, err
		}
	}
}

// line is one line of a content.
type line struct {
	start, end int64
	text       []byte
	cut        bool
	last       bool // there are more behind the block than are looked at
}

// try is entries with a bound on what is read behind to. It says whether the last entry was seen whole.
func (r *reader) try(from, to, ahead int64) (block, bool, error) {
	low := max(0, from-window)
	at := max(0, low-1) // whether a line begins at low is told by the byte before it
	data, err := r.read(at, to+ahead)
	if err != nil {
		return block{}, false, err
	}
	behind := at + int64(len(data))
	if behind == r.content.size() {
		behind = unknownSize
	}
	part := func(from, to int64) []byte { return data[min(from-at, int64(len(data))):min(to-at, int64(len(data)))] }
	if bytes.Count(part(from, to), []byte{'\n'}) > maxLines {
		return block{}, false, errMany
	}
	for bytes.Count(part(at, from), []byte{'\n'}) > maxLines {
		half := (from - at) / 2
		data, at = data[half:], at+half
	}
	lines, whole := lines(data, at, to, behind == unknownSize)
	if !whole || len(lines) == 0 {
		return block{}, whole, nil
	}
	if lines[len(lines)-1].last {
		behind = unknownSize
	}
	records := r.records(lines)
	r.redact.redact(records, at > 0)
	all, last := r.entriesOf(records)
	begins := func(e entry, offset int64) int { return cmp.Compare(e.start, offset) }
	b := block{all: all}
	b.low, _ = slices.BinarySearchFunc(all, from, begins)
	b.high, _ = slices.BinarySearchFunc(all, to, begins)
	for _, l := range last {
		if l.entry < b.high && l.end+maxApart > behind {
			return b, false, nil // what is not read yet may go on with it
		}
	}
	return b, true, nil
}

// read returns the bytes of [from, to), or up to the end.
func (r *reader) read(from, to int64) ([]byte, error) {
	data := make([]byte, max(0, min(to, r.content.size())-from))
	n, err := r.content.ReadAt(data, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if from+int64(n) < min(to, r.content.size()) {
		return nil, errGone
	}
	return data[:n], nil
}

// lines splits what stands at offset at into the lines that begin in it; but for the one that begins with the content, what
// stands before the first end of a line is none of them. Of the last one that begins before to it says whether it is whole.
func lines(data []byte, at, to int64, ends bool) ([]line, bool) {
	if at > 0 {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			return nil, true // the inside of one long line
		}
		data, at = data[i+1:], at+int64(i)+1
	}
	out := make([]line, 0, 1+len(data)/128)
	over := 0
	for len(data) > 0 {
		text, rest, ended := bytes.Cut(data, []byte{'\n'})
		l := line{start: at, end: at + int64(len(data)-len(rest)), text: text[:min(len(text), maxLine)], cut: len(text) > maxLine}
		if !ended && !ends {
			if at >= to {
				break
			}
			if len(text) < maxLine {
				return out, false
			}
			l.cut = true
		}
		l.cut = l.cut || !ended // it may still be written, or was torn off
		if at >= to {
			over++
			l.last = over == maxBehind
		}
		if out = append(out, l); l.last {
			break
		}
		at, data = l.end, rest
	}
	return out, true
}

// record is one message: a line, or the lines that a long message was split into.
type record struct {
	raw

	start, end int64
	newest     int64 // where its last line begins
	cut        bool
	torn       bool // what came before it is of the same message, and too far away
}

// records decodes lines and puts together what was split. A piece too far from the one before it is a message of its own:
// then neither is whole, and a secret may stand in both.
func (r *reader) records(lines []line) []record {
	out := make([]record, 0, len(lines))
	open := map[string]int{} // the record that goes on, by stream
	pieces := map[int]*strings.Builder{}
	for _, l := range lines {
		decoded := r.decode(bytes.TrimSuffix(l.text, []byte{'\r'}))
		i, begun := open[decoded.stream]
		goesOn := begun && l.start-out[i].end <= maxApart
		if !goesOn {
			torn := begun && l.start-out[i].newest <= window // what is further off is not seen by every read
			if begun {
				out[i].cut = true
			}
			i = len(out)
			out = append(out, record{raw: decoded, start: l.start, torn: torn})
		}
		out[i].end, out[i].newest, out[i].cut = l.end, l.start, out[i].cut || l.cut
		if decoded.partial && !goesOn {
			pieces[i] = new(strings.Builder)
			open[decoded.stream] = i
		}
		if piece := pieces[i]; piece != nil {
			text := decoded.text
			if room := maxLine - piece.Len(); len(text) > room {
				text, out[i].cut = text[:room], true
			}
			piece.WriteString(text)
		}
		if !decoded.partial {
			delete(open, decoded.stream)
		}
	}
	for _, i := range open {
		out[i].cut = true
	}
	for i, piece := range pieces {
		out[i].text = piece.String()
	}
	return out
}

// entriesOf joins the messages of a trace. Where a trace has grown long, it may be broken at an offset that is told by
// nothing but the bytes just before it, so that a read that begins elsewhere breaks it there too.
//
// It returns the newest entry of each stream too.
func (r *reader) entriesOf(records []record) ([]entry, map[string]newest) {
	out := make([]entry, 0, len(records))
	joiners := map[string]*joiner{}
	last := map[string]newest{}
	parts := map[int][]string{} // the lines of an entry that has several
	sizes := map[int]int{}
	for _, rec := range records {
		j := joiners[rec.stream]
		if j == nil {
			j = new(joiner)
			joiners[rec.stream] = j
		}
		at, timed := r.clock.read(rec.text)
		grade := detectLevel(rec.text)
		before, begun := last[rec.stream]
		i := before.entry
		last[rec.stream] = newest{i, rec.start, rec.end}
		if r.join {
			far := begun && rec.start-before.end > maxApart
			long := begun && rec.start-out[i].start > maxTrace && rec.start/traceEdge != before.start/traceEdge
			if far {
				*j = joiner{}
			}
			if j.continues(rec.text, grade, timed) && begun && !far && !long {
				if parts[i] == nil {
					parts[i], sizes[i] = []string{out[i].text}, len(out[i].text)
				}
				if sizes[i] += len("\n") + len(rec.text); sizes[i] <= maxLine {
					parts[i] = append(parts[i], rec.text)
				} else {
					out[i].cut = true
				}
				out[i].language = j.language
				continue
			}
		}
		e := entry{start: rec.start, time: rec.time, stream: rec.stream, text: rec.text, level: grade, cut: rec.cut, language: j.language}
		if e.time.IsZero() && timed {
			e.time = at.time
		}
		e.timed = !e.time.IsZero()
		if timed && at.from <= 1 {
			e.body = bodyAfter(rec.text, at.to)
		}
		last[rec.stream] = newest{len(out), rec.start, rec.end}
		out = append(out, e)
	}
	for i, part := range parts {
		out[i].text = strings.Join(part, "\n")
	}
	for i := range out {
		if out[i].level == unknown && out[i].language != "" {
			out[i].level = fault
		}
		if i > 0 && out[i].time.IsZero() {
			out[i].time = out[i-1].time // it was written after that, and before the next
		}
	}
	return out, last
}

// newest is the entry of a stream that its last line belongs to, and where that line begins and ends.
type newest struct {
	entry      int
	start, end int64
}

// bodyAfter returns where the message begins behind a time that ends at to.
func bodyAfter(text string, to int) int {
	for to < len(text) && strings.IndexByte("] \t:|-", text[to]) >= 0 {
		to++
	}
	return to
}
