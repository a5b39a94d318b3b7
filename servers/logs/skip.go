package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/scrub"
)

// skipper tells of stretches of a log that no message can hold a literal in, without redacting them, which takes much
// longer. It never skips a message that holds it:
//
//   - What scrub leaves of a text is the text without some characters, and with marks in the place of secrets. Where
//     the text has no such character (all bytes are printable ASCII, tabs or ends of lines), and the literal cannot
//     overlap a mark, the literal stands in what scrub leaves only if it stands in the text.
//   - A message must stand in the log as it is, in one piece: so it is in plain files, in CRI's lines that are whole, and
//     in what an API server sends, but not in Docker's JSON.
//
// That a stretch was not skipped says nothing: it may hold the literal in a secret. So nothing that a caller sees may
// depend on it.
type skipper struct {
	literal []byte
	whole   bool // a message may stand in several lines, in CRI's form
	buffer  []byte
}

// newSkipper returns nil where nothing can be skipped.
func newSkipper(literal, format string) *skipper {
	if literal == "" || scrub.Marks(literal) || format == formatJSONFile {
		return nil
	}
	return &skipper{literal: []byte(literal), whole: format == formatCRI}
}

// empty says that no entry which begins in [from, to) holds the literal.
func (s *skipper) empty(c content, from, to int64) (bool, error) {
	if s == nil {
		return false, nil
	}
	size := int(max(0, min(to+maxAhead, c.size())-from))
	if len(s.buffer) < size {
		s.buffer = make([]byte, size)
	}
	n, err := c.ReadAt(s.buffer[:size], from)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	data := s.buffer[:n]
	if n < size || bytes.Contains(data, s.literal) || !printable(data) {
		return false, nil
	}
	return !s.whole || !bytes.Contains(data, []byte("stdout P")) && !bytes.Contains(data, []byte("stderr P")), nil
}

// printable says whether data is ASCII without control characters but tabs and ends of lines. It looks at eight bytes at
// once, each byte of a word by itself (Warren, Hacker's Delight, section 6-1).
func printable(data []byte) bool {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	for len(data) >= 8 {
		word := binary.LittleEndian.Uint64(data)
		control := (word - ones*' ') &^ word & highs
		del := word ^ ones*0x7f
		if word&highs != 0 || (del-ones)&^del&highs != 0 || control != 0 && !printableBytes(data[:8]) {
			return false
		}
		data = data[8:]
	}
	return printableBytes(data)
}

func printableBytes(data []byte) bool {
	for _, c := range data {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	return true
}
