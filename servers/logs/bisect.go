package main

import (
	"bytes"
	"errors"
	"io"
	"time"
)

// bisect returns a place before which every line is earlier than at (or, with after, a place behind which every line is
// later), as far as lines are in the order of their times but for what disorder allows. It reads some places of the
// log. Where no times are found it returns a place that is surely not too far in.
func (r *reader) bisect(at time.Time, after bool) (int64, error) {
	slack := -disorder
	if after {
		slack = disorder
	}
	at = at.Add(slack)
	low, high := int64(0), r.content.size()
	for high-low > minBlock {
		middle := low + (high-low)/2
		start, found, err := r.firstTime(middle, high)
		switch {
		case err != nil:
			return 0, err
		case found.IsZero() && after:
			low = middle
		case found.IsZero():
			high = middle
		case found.Before(at) || after && found.Equal(at):
			low = start
		default:
			high = middle
		}
	}
	if after {
		return high, nil
	}
	return low, nil
}

// firstTime returns the first line that begins in [from, to) and has a time.
func (r *reader) firstTime(from, to int64) (int64, time.Time, error) {
	for size := int64(probe); ; size *= 4 {
		size = min(size, to-from)
		data := make([]byte, size)
		n, err := r.content.ReadAt(data, from)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, time.Time{}, err
		}
		rest := data[:n]
		for at := from; ; {
			i := bytes.IndexByte(rest, '\n') // the line that the middle is in, and then each that has no time
			if i < 0 {
				break
			}
			at, rest = at+int64(i)+1, rest[i+1:]
			line, _, ended := bytes.Cut(rest, []byte{'\n'})
			if !ended {
				break
			}
			found := []record{{raw: r.decode(line[:min(len(line), maxLine)])}}
			if !found[0].time.IsZero() {
				return at, found[0].time, nil
			}
			r.redact.redact(found, true) // what stands in a secret is no time
			if stamp, ok := r.clock.read(found[0].text); ok {
				return at, stamp.time, nil
			}
		}
		if size == to-from || size >= maxProbe {
			return 0, time.Time{}, nil
		}
	}
}
