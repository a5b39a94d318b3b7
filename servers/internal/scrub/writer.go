package scrub

import (
	"bytes"
	"io"
	"strings"
	"unicode/utf8"
)

const (
	maxWritten = 4 * maxPEM // bytes of a line that a Writer holds
	maxBehind  = 2 << 10    // bytes before a secret that tell it: a name, a URL's scheme
	maxHeld    = 4 << 10    // bytes of a terminal's sequence that has not ended
)

// A Writer scrubs what is written to it, and writes it on line by line. Of a line longer than maxWritten it writes
// what it can judge, so that it needs no more memory for a line that never ends.
type Writer struct {
	to       io.Writer
	stream   *Stream
	line     []byte // that has not ended
	out      []byte
	skipping bool // to the end of the line: a secret that is as long as what is held
}

// NewWriter returns a Writer that writes to w what the Stream leaves.
func NewWriter(w io.Writer, s *Stream) *Writer { return &Writer{to: w, stream: s} }

// Write returns len(p) unless the writer below fails.
func (w *Writer) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			i = len(p)
		}
		i = min(i, maxWritten-len(w.line))
		if !w.skipping {
			w.line = append(w.line, p[:i]...)
		}
		ends := i < len(p) && p[i] == '\n'
		p = p[i:]
		switch {
		case ends:
			p = p[1:]
			if !w.skipping {
				w.out = w.stream.Line(w.out, w.line)
			}
			w.out, w.line, w.skipping = append(w.out, '\n'), w.line[:0], false
		case len(w.line) == maxWritten:
			w.part()
		}
		if err := w.flush(); err != nil {
			return 0, err
		}
	}
	return written, nil
}

// Close writes the last line if it has no line break. It does not close the writer below.
func (w *Writer) Close() error {
	if len(w.line) > 0 {
		w.out, w.line = w.stream.Line(w.out, w.line), nil
	}
	return w.flush()
}

func (w *Writer) flush() error {
	if len(w.out) == 0 {
		return nil
	}
	_, err := w.to.Write(w.out)
	w.out = w.out[:0]
	return err
}

// part scrubs as much of a long line as what comes cannot change.
func (w *Writer) part() {
	held := max(0, len(w.line)-maxHeld)
	if i := bytes.LastIndexByte(w.line[held:], escape); i >= 0 {
		held += i
	} else {
		held = len(w.line)
		for back := 1; back < utf8.UTFMax; back++ {
			if r := w.line[held-back:]; utf8.RuneStart(r[0]) {
				if !utf8.FullRune(r) {
					held -= back
				}
				break
			}
		}
	}
	text := characters(string(w.line[:held]))
	shown, end, within, known := w.stream.scrubber.settled(text, w.stream.manifest)
	w.out = w.stream.Line(w.out, []byte(shown))
	w.stream.manifest = known
	if data := w.stream.data; data != nil {
		data.rest = data.own
	}
	w.line, w.skipping = append([]byte(text[end:]), w.line[held:]...), within
	if within {
		w.line = w.line[:0]
	}
}

// settled returns how much of a line's beginning is the same whatever follows it, that without its secrets, for what
// tells them can stand behind the end, and whether the end is within a secret that is as long as what is held. It goes on with what is known of a manifest.
func (s *Scrubber) settled(text string, begun manifest) (shown string, end int, within bool, known manifest) {
	var out strings.Builder
	limit := len(text) - maxPEM
	sc := scan{matcher: s.matcher, text: text, manifest: begun.resume(text)}
	for end <= limit && !within {
		h, ok := sc.next()
		cut := limit
		if ok {
			cut = min(limit, h.from-maxBehind)
		}
		if !ok || cut == limit || h.to == len(text) && cut > end {
			start := wordStart(text, end, cut)
			out.WriteString(text[end:start])
			if cut-start <= maxPEM {
				return out.String(), start, false, sc.manifest.after(text, start)
			}
			out.WriteString(marker(cutID)) // decoded in parts it would hide what it holds
			for end = cut; end < len(text) && isWrapping(text[end]); {
				end++
			}
			return out.String(), end, end == len(text), sc.manifest.after(text, end)
		}
		out.WriteString(text[end:h.from])
		out.WriteString(s.marker(h.format.id, text[h.from:h.to]))
		end, within = h.to, h.to == len(text)
	}
	return out.String(), end, within, sc.manifest.after(text, end)
}

// wordStart returns where the word begins that goes on at a place, for it could be encoded. If that is too far, it returns
// where the run of base64 begins that goes on there, however far.
func wordStart(text string, floor, at int) int {
	at = max(floor, at)
	near := max(floor, at-maxPEM)
	if i := strings.LastIndexAny(text[near:at], urlEnds); i >= 0 {
		return near + i + 1
	}
	for at > floor && isWrapping(text[at-1]) {
		at--
	}
	return at
}
