package main

import (
	"bytes"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/scrub"
)

// redactor redacts messages that follow each other. What one of them begins, such as a private key, goes on in the next
// one of the same stream.
type redactor struct {
	scrubber *scrub.Scrubber
}

func newRedactor() *redactor { return &redactor{scrub.New()} }

// redact redacts the records. Where midway, there are others before them that were not read.
func (r *redactor) redact(records []record, midway bool) {
	streams := map[string]*scrub.Stream{}
	var shown []byte
	for i := range records {
		rec := &records[i]
		s := streams[rec.stream]
		if s == nil {
			s = r.scrubber.Stream(midway)
			streams[rec.stream] = s
		}
		shown = shown[:0]
		if rec.torn {
			rec.text = scrub.Rest(rec.text)
		}
		for rest, more := []byte(rec.text), true; more; {
			var line []byte
			if line, rest, more = bytes.Cut(rest, []byte{'\n'}); !more && rec.cut {
				shown = s.Cut(shown, line)
				break
			}
			shown = s.Line(shown, line)
			if more {
				shown = append(shown, '\n')
			}
		}
		rec.text = string(shown)
	}
}
