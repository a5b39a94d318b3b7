package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// place is where in a source a call ended.
type place struct {
	stream string // its name's sum
	part   string
	mark   string // within the part; empty: all of it is to come
}

// cursorSumBytes is how much of a hash a cursor carries: enough to tell a mistake.
const cursorSumBytes = 6

// sum identifies what a cursor belongs to.
func sum(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:cursorSumBytes])
}

var (
	errCursor = errors.New("it is not next_cursor of an answer to the same arguments; pass those again, or no cursor to start again")
	errShrunk = errors.New("the file has become shorter since: it was emptied or replaced; start again without a cursor")
	errMoved  = errors.New("what it points into is gone: the file was removed or packed since, or the pod has ended; start again without a cursor, and with since or until")
)

// cursor writes a place. It holds nothing that a caller could not ask for, so it is neither signed nor secret.
func (p place) cursor(listing string) string {
	return strings.Join([]string{p.stream, p.part, p.mark, listing}, "-")
}

// readCursor is the inverse of cursor. An empty one is no place.
func readCursor(text, listing string) (*place, error) {
	if text == "" {
		return nil, nil
	}
	fields := strings.Split(text, "-")
	if len(fields) != 4 || fields[3] != listing {
		return nil, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "cursor: %w", errCursor)
	}
	return &place{fields[0], fields[1], fields[2]}, nil
}
