// Package limit reads what others wrote without letting them decide how much memory it takes.
package limit

import (
	"errors"
	"fmt"
	"io"
)

// ErrTooLarge is wrapped by every error that says that a size bound was passed.
var ErrTooLarge = errors.New("too large")

// ReadAll reads r to its end. It fails with an error that wraps [ErrTooLarge] when r holds more than
// maxBytes bytes; what was read up to there is dropped.
func ReadAll(r io.Reader, maxBytes int64) ([]byte, error) {
	// One byte past the bound tells "exactly full" from "more".
	data, err := io.ReadAll(io.LimitReader(r, maxBytes+1)) //nolint:forbidigo // the one bounded place
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > maxBytes {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, maxBytes)
	}
	return data, nil
}
