package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strings"
)

// cursorKind says which tool's list a cursor is a place in.
type cursorKind byte

const (
	tagsCursor cursorKind = iota + 1
	digestCursor
	searchCursor
	namespacesCursor
)

const (
	cursorVersion = 1
	sumBytes      = 4 // of a hash in a cursor: enough to tell a mistake
)

// sum is the beginning of a hash.
type sum [sumBytes]byte

func sumOf(parts ...string) sum {
	hash := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return sum(hash[:sumBytes])
}

// cursor is a place in a list. It holds nothing that a caller could not ask for, so it is neither signed nor
// secret: who makes one up gets another place in the list that it names itself. Its numbers are bounded like any
// argument's.
type cursor struct {
	kind    cursorKind
	listing sum // of what is being listed, since place 30 of one filter is nothing in another
	at      int // rows that are behind it, as Docker Hub counted them
	size    int // rows a page of Docker Hub's
	limit   int // rows an answer of ours

	// What tells whether the list changed meanwhile; of lists of tags only.
	total     int
	last      int64 // when the row behind it was pushed, in Unix microseconds
	name      sum   // of that row
	began     int64 // when the list was asked for first, in Unix seconds
	changed   bool
	recounted bool // its length has changed
}

// The flags of a cursor.
const (
	flagChanged = 1 << iota
	flagRecounted
)

func (c cursor) String() string {
	data := []byte{cursorVersion, byte(c.kind)}
	data = append(data, c.listing[:]...)
	data = binary.AppendUvarint(data, uint64(c.at))    //nolint:gosec // never negative
	data = binary.AppendUvarint(data, uint64(c.size))  //nolint:gosec // never negative
	data = binary.AppendUvarint(data, uint64(c.limit)) //nolint:gosec // never negative
	data = binary.AppendUvarint(data, uint64(c.total)) //nolint:gosec // never negative
	data = binary.AppendVarint(data, c.last)
	data = append(data, c.name[:]...)
	data = binary.AppendVarint(data, c.began)
	var flags byte
	if c.changed {
		flags |= flagChanged
	}
	if c.recounted {
		flags |= flagRecounted
	}
	data = append(data, flags)
	check := sumOf(string(data))
	return base64.RawURLEncoding.EncodeToString(append(data, check[:]...))
}

// Why a cursor was refused.
var (
	errCursor       = errors.New("it is damaged; pass next_cursor of an earlier answer unchanged, or none to start again")
	errOtherListing = errors.New("it belongs to another list; pass it with the arguments of the call that returned it, or no cursor to start again")
)

// parseCursor accepts exactly what String writes, for a list of that kind.
func parseCursor(text string, kind cursorKind, listing sum) (cursor, error) {
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(data) > maxCursorBytes || len(data) < 2+sumBytes || data[0] != cursorVersion {
		return cursor{}, errCursor
	}
	r := bytes.NewReader(data[2:])
	c := cursor{kind: cursorKind(data[1])}
	_, listingErr := r.Read(c.listing[:])
	at, atErr := binary.ReadUvarint(r)
	size, sizeErr := binary.ReadUvarint(r)
	limit, limitErr := binary.ReadUvarint(r)
	total, totalErr := binary.ReadUvarint(r)
	last, lastErr := binary.ReadVarint(r)
	_, nameErr := r.Read(c.name[:])
	began, beganErr := binary.ReadVarint(r)
	flags, flagsErr := r.ReadByte()
	if errors.Join(listingErr, atErr, sizeErr, limitErr, totalErr, lastErr, nameErr, beganErr, flagsErr) != nil ||
		at < 1 || at > maxRows || size < 1 || size > maxPageSize || limit < 1 || limit > maxPageSize || total > maxRows {
		return cursor{}, errCursor
	}
	c.at, c.size, c.limit, c.total, c.last, c.began = int(at), int(size), int(limit), int(total), last, began
	c.changed, c.recounted = flags&flagChanged != 0, flags&flagRecounted != 0
	if c.String() != text {
		return cursor{}, errCursor
	}
	if c.kind != kind || c.listing != listing {
		return cursor{}, errOtherListing
	}
	return c, nil
}

// resume goes to the place that a caller's cursor names, if it has one. Without a limit, that of the answer before
// holds.
func (c *cursor) resume(text string, limit int) error {
	if text != "" {
		place, err := parseCursor(text, c.kind, c.listing)
		if err != nil {
			return invalid("cursor", err)
		}
		*c = place
	}
	c.limit = cmp.Or(limit, c.limit, defaultLimit)
	return nil
}
