package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
)

// maxPage bounds the page number in a cursor. With one tag a page it is a million tags, more than Docker
// Hub's largest repositories have.
const maxPage = 1_000_000

// cursorSumBytes is how much of the listing's hash a cursor carries: enough to tell a mistake.
const cursorSumBytes = 6

// cursor is a place in a listing: the API counts pages of one size. It holds nothing that a caller could
// not ask for, so it is neither signed nor secret; its numbers are bounded like any argument's.
type cursor struct {
	page, size int
	listing    string // hash of what is being listed
}

// listing identifies what a cursor belongs to, since page 3 of one filter is nothing in another.
func listing(repository, name, order string) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{repository, name, order}, "\x00")))
	return hex.EncodeToString(sum[:cursorSumBytes])
}

func (c cursor) String() string {
	text := strings.Join([]string{strconv.Itoa(c.page), strconv.Itoa(c.size), c.listing}, ".")
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

// Why a cursor was refused.
var (
	errCursor       = errors.New("it is damaged; pass next_cursor of an earlier answer unchanged, or none to start again")
	errOtherListing = errors.New("it belongs to a listing with another repository, name, order or limit; pass those again, or no cursor to start again")
)

// parseCursor accepts exactly what String writes.
func parseCursor(text string) (cursor, error) {
	data, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return cursor{}, errCursor
	}
	parts := strings.Split(string(data), ".")
	if len(parts) != 3 || len(parts[2]) != 2*cursorSumBytes {
		return cursor{}, errCursor
	}
	page, pageErr := strconv.Atoi(parts[0])
	size, sizeErr := strconv.Atoi(parts[1])
	c := cursor{page: page, size: size, listing: parts[2]}
	if pageErr != nil || sizeErr != nil || page < 1 || page > maxPage || size < 1 || size > maxPageSize || c.String() != text {
		return cursor{}, errCursor
	}
	return c, nil
}
