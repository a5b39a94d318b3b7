package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// maxAgo is how far back a time can be told by how long ago it is.
const maxAgo = 20 * 365 * 24 * time.Hour

// when reads a time, or how long before now it is; empty is the zero time.
func when(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	ago, err := duration(text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%q is neither a time, such as 2026-01-02T15:04:05Z, nor how long ago, such as 15m, 2h or 7d", text)
	}
	return now.Add(-ago), nil
}

// duration is time.ParseDuration with days.
func duration(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d < 0 || d > maxAgo {
		return 0, fmt.Errorf("%q is no duration", text)
	}
	return d, nil
}
