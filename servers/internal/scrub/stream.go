package scrub

import (
	"hash/maphash"
	"strings"
)

// LookBack is how many bytes before the first line that is shown a reader of a file begins with its lines, so that
// the Stream knows of a key that began there. A key may be as long as that.
const LookBack = maxPEM

const (
	maxKeyBytes = maxPEM // of a key on lines of its own
	maxAmong    = 16     // lines of others among those of a key, as where a file has two writers
	minKeyLine  = 40     // bytes of a key's line where nothing but its looks tells it

	keyID = "private-key"
	cutID = "cut"
)

// A Stream scrubs lines one by one, and remembers from line to line what began in one and goes on in the next: a
// private key, a YAML block, a name whose value follows, the data of a Secret's manifest. It needs no memory but that. It
// shares the numbers of its Scrubber, and as that may not be used by two goroutines at once.
type Stream struct {
	scrubber *Scrubber
	hash     maphash.Hash // of the key's lines so far
	key      *keyBlock
	block    *scalarBlock
	pending  []*format // of a "name" whose "value" has not come
	ago      int       // bytes since
	scan     scan      // of the current line
	manifest manifest  // of the part of the line before this one, if it comes in parts
	said     said
	data     *dataBlock
}

// keyBlock is a private key in PEM that has begun.
type keyBlock struct {
	from         int  // in its first line
	column, tail int  // bytes before and after what the last line held of it
	width        int  // and how much that was
	follows      bool // the next line goes on
	among        int  // lines since
	size         int
	guessed      bool // nobody saw it begin
}

// scalarBlock is a YAML block scalar that has begun.
type scalarBlock struct {
	formats []*format
	name    name
	indent  int // of its key
}

// Stream returns a Stream for lines of this answer. If midway, the first line is not the first there is: until one
// comes that is none, lines that look like those of a key are taken for the rest of one that began before.
func (s *Scrubber) Stream(midway bool) *Stream {
	st := &Stream{scrubber: s}
	st.hash.SetSeed(s.seed)
	if midway {
		st.key = &keyBlock{column: -1, guessed: true}
	}
	return st
}

// Line appends to dst the line without what must not be shown. It comes without its line break; a line that its
// source cut in pieces comes whole.
//
// The lines of a private key become [redacted:private-key], the last one numbered.
func (st *Stream) Line(dst, line []byte) []byte {
	defer func() { st.manifest = manifest{} }()
	text := characters(string(line))
	st.scrubber.Reserve(text)
	if st.key != nil {
		text = st.keyLine(text)
	}
	own := false // a line of a Secret's data
	if st.data != nil {
		text = st.dataLine(text)
		own = st.data != nil && st.data.own
	}
	if st.block != nil {
		text = st.blockLine(text)
	}
	for range maxPasses {
		sc := &st.scan
		*sc = scan{matcher: st.scrubber.matcher, text: text, lines: true, pending: st.pending, pendingEnd: -st.ago, manifest: st.manifest.resume(text)}
		next, changed := st.scrubber.redact(sc)
		if sc.key != nil {
			st.key = sc.key
			st.hash.Reset()
		}
		if !changed {
			if st.block == nil {
				st.block = sc.block
			}
			if !own {
				st.hear(text, sc.noted)
			}
			st.pending, st.ago = sc.pending, len(text)+1-sc.pendingEnd
			if st.ago > maxApart {
				st.pending, st.ago = nil, 0
			}
			return append(dst, text...)
		}
		text = next
	}
	return append(dst, marker(unsettled)...)
}

// Cut is Line for the beginning of a line whose rest nobody will see. The last word is not shown, for it could be the
// beginning of a secret that cannot be told from it.
func (st *Stream) Cut(dst, line []byte) []byte {
	from := len(dst)
	dst = st.Line(dst, line)
	shown := strings.TrimRight(string(dst[from:]), blank)
	end := strings.LastIndexAny(shown, blank+`"'`) + 1
	if i := strings.LastIndex(shown, markerStart); i >= 0 && i+st.scrubber.matcher.markerLen(shown[i:]) == len(shown) {
		return dst[:from+len(shown)] // that is what the end was
	}
	return append(dst[:from+end], marker(cutID)...)
}

// Rest returns a line whose beginning nobody saw without its first word, which could be the end of a secret that cannot be
// told from it. The line is still to be scrubbed.
func Rest(line string) string {
	line = characters(line)
	end := len(line)
	if i := strings.IndexAny(line, blank+`"'`+"\n"); i >= 0 {
		end = i
	}
	return marker(cutID) + line[end:]
}

// keyLine redacts what a line holds of the key that has begun.
func (st *Stream) keyLine(text string) string {
	key := st.key
	if i := strings.Index(text, dashes+"END "); i >= 0 {
		label, ok := pemLabel(text[i+len(dashes+"END "):])
		if !ok && !key.guessed {
			return text
		}
		st.key = nil
		if !ok { // a certificate's, say
			return text
		}
		end := i + len(dashes+"END ") + len(label) + len(dashes)
		from, _ := key.find(text[:i])
		_, _ = st.hash.WriteString(text[from:i])
		return text[:from] + st.scrubber.numbered(keyID, st.hash.Sum64()) + text[end:]
	}
	from, to := key.find(text)
	key.follows = from < to
	if !key.follows {
		if key.among++; key.guessed || key.among > maxAmong {
			st.key = nil
		}
		return text
	}
	key.follows = to-from >= key.width // a shorter line is the last
	key.column, key.tail, key.width, key.among = from, len(text)-to, to-from, 0
	if key.size += to - from; key.size > maxKeyBytes {
		st.key = nil
	}
	_, _ = st.hash.WriteString(text[from:to])
	return text[:from] + marker(keyID) + text[to:]
}

// find returns where in a line the key goes on: a run of base64 that stands alone and is as long as a key's lines
// are, or stands where the last one did.
func (k *keyBlock) find(text string) (from, to int) {
	for at := 0; at < len(text); at++ {
		if !isBase64(text[at]) {
			continue
		}
		from, to = at, at
		var lower, upper bool
		for ; to < len(text) && isBase64(text[to]); to++ {
			lower = lower || text[to] >= 'a' && text[to] <= 'z'
			upper = upper || isUpper(text[to])
		}
		at = to
		if from > 0 && text[from-1] == '\\' && strings.IndexByte(breaks, text[from]) >= 0 {
			from++
		}
		alone := (from == 0 || strings.IndexByte(" \t\"'|>\\nrt", text[from-1]) >= 0) && (to == len(text) || strings.IndexByte(" \t\r\"'\\,<", text[to]) >= 0)
		if alone && (to-from >= minKeyLine && lower && upper || k.follows && from == k.column && len(text)-to <= k.tail) {
			return from, to
		}
	}
	return len(text), len(text)
}

// blockLine redacts what a line holds of the YAML block that has begun.
func (st *Stream) blockLine(text string) string {
	b := st.block
	content := strings.TrimLeft(text, " ")
	if strings.TrimRight(content, "\r") == "" {
		return text
	}
	from := len(text) - len(content)
	if from <= b.indent {
		st.block = nil
		return text
	}
	sc := scan{matcher: st.scrubber.matcher, text: text}
	h, ok := sc.judge(b.formats, &b.name, value{from: from, to: len(strings.TrimRight(text, " \r")), quoted: true, whole: true, spaced: true, separator: ':'})
	if !ok {
		return text
	}
	return text[:h.from] + st.scrubber.marker(h.format.id, text[h.from:h.to]) + text[h.to:]
}

// opensScalar says whether a line ends after a colon with what a YAML block scalar begins with.
func opensScalar(s string) bool {
	head := strings.TrimLeft(s[1:], blank)
	return s[0] == ':' && head != "" && (head[0] == '|' || head[0] == '>') && len(head) < maxGap && strings.Trim(head, "|>+-0123456789 \r") == ""
}

// marker returns what is shown for a secret without a number.
func marker(id string) string { return markerStart + id + string(markerEnd) }
