package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
)

// cursorSumBytes is how much of the listing's hash a cursor carries: enough to tell a mistake.
const cursorSumBytes = 6

// listing identifies what a cursor belongs to.
func listing(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:cursorSumBytes])
}

var errCursor = errors.New("it is not next_cursor of an answer to the same arguments; pass those again, or no cursor to start again")

// cursorAt writes the place offset of a listing. It holds nothing that a caller could not ask for, so it is neither
// signed nor secret.
func cursorAt(offset int, listing string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(offset) + "." + listing))
}

// startAt reads a cursor; an empty one is the beginning.
func startAt(cursor, listing string) (int, error) {
	if cursor == "" {
		return 0, nil
	}
	data, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return 0, errCursor
	}
	number, belongs, _ := strings.Cut(string(data), ".")
	offset, err := strconv.Atoi(number)
	if err != nil || offset < 0 || belongs != listing || cursorAt(offset, listing) != cursor {
		return 0, errCursor
	}
	return offset, nil
}

// page returns the part of all that begins at offset, and the cursor of the next.
func page[T any](all []T, offset, size int, listing string) (part []T, next string) {
	offset = min(offset, len(all))
	end := min(offset+size, len(all))
	if end < len(all) {
		next = cursorAt(end, listing)
	}
	return all[offset:end], next
}
