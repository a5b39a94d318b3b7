package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// walk goes through the logs of a source once, from where it is told to.
type walk struct {
	source   namedSource
	query    query
	from     *place
	deadline time.Time
	now      func() time.Time
	redact   *redactor

	read     int64    // bytes of logs that were looked through, whether or not all was looked at
	problems []string // what could not be read
	late     bool     // it ended because of the time
	untimed  int      // messages that fit but for having no time
	beyond   int      // messages of which the expression saw a part
	work     int      // of the expression, since the time was looked at
}

// note counts what an entry that is going to be visited means for the answer.
func (w *walk) note(e entry) {
	steps, beyond := w.query.work(e)
	w.work += steps
	if beyond {
		w.beyond++
	}
	if w.query.untimed(e) {
		w.untimed++
	}
}

// timeUp says whether the call should have ended by now, or that much earlier.
func (w *walk) timeUp(grace time.Duration) bool {
	w.late = !w.now().Before(w.deadline.Add(grace))
	return w.late
}

// visitor takes what begins in the stretches of a log, in the direction of the walk.
type visitor interface {
	// enter says that what comes is of a part of this stream.
	enter(stream string)
	// visit takes a stretch, which ends at to. If it has enough, it says at which offset to go on.
	visit(b block, to int64) (at int64, enough bool)
	// hold makes a visitor that takes forwards what cannot be read backwards, and give takes over what that one kept. If it
	// has enough then, it says at which offset to go on, if not at the end.
	hold() visitor
	give(held visitor) (at int64, within, enough bool)
}

// run visits everything, and returns where to go on, or nil at the end.
func (w *walk) run(ctx context.Context, v visitor) (*place, error) {
	all, problems, err := w.source.streams(ctx)
	if err != nil {
		return nil, err
	}
	streams := chosen(all, w.query.container)
	if len(streams) == 0 && w.query.container != "" {
		return nil, mcpserver.Errorf(mcpserver.CodeNotFound, "container: nothing of source %s is called %q; list_sources lists what there is", w.source.name, w.query.container)
	}
	w.problems = problems
	if w.query.tail {
		slices.Reverse(streams)
	}
	if w.from != nil {
		i := slices.IndexFunc(streams, func(s stream) bool { return sum(s.name) == w.from.stream })
		if i < 0 {
			return nil, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "cursor: %w", errMoved)
		}
		streams = streams[i:]
	}
	var next *place
	for _, s := range streams {
		if next, err = w.stream(ctx, s, v); next != nil || err != nil {
			break
		}
	}
	if w.untimed > 0 {
		w.problems = append(w.problems, fmt.Sprintf("%d messages that fit have no time; since and until left them out", w.untimed))
	}
	if w.beyond > 0 {
		w.problems = append(w.problems, fmt.Sprintf("of %d long messages, matches saw the first %d bytes: an expression with fewer or smaller counted repetitions sees more", w.beyond, w.query.reach()))
	}
	return next, err
}

func (w *walk) stream(ctx context.Context, s stream, v visitor) (*place, error) {
	parts := slices.Clone(s.parts)
	if w.query.tail {
		slices.Reverse(parts)
	}
	mark := ""
	if from := w.from; from != nil {
		w.from = nil
		i := slices.IndexFunc(parts, func(p part) bool { return p.id == from.part })
		if i < 0 {
			return nil, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "cursor: %w", errMoved)
		}
		parts, mark = parts[i:], from.mark
	}
	for _, p := range parts {
		if !p.modified.IsZero() && !w.query.since.IsZero() && p.modified.Before(w.query.since.Add(-disorder)) {
			continue
		}
		at, err := w.part(ctx, s, p, mark, v)
		switch {
		case errors.Is(err, errCursor), errors.Is(err, errShrunk):
			return nil, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "cursor: %w", err)
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			if _, visible := errors.AsType[*mcpserver.Error](err); visible && len(s.parts) == 1 && w.query.container != "" {
				return nil, err // there is nothing else to tell
			}
			w.problems = append(w.problems, p.name+": "+reason(err))
		case at != nil:
			return &place{sum(s.name), p.id, *at}, nil
		}
		mark = ""
	}
	return nil, nil
}

// part visits one part from the place that mark names, and returns where to go on if that is within it.
func (w *walk) part(ctx context.Context, s stream, p part, mark string, v visitor) (*string, error) {
	if w.timeUp(0) {
		return &mark, nil
	}
	opening, cancel := context.WithTimeout(ctx, w.deadline.Sub(w.now())+graceTime)
	defer cancel()
	open, err := p.open(opening, span{w.query.since, w.query.until, w.query.tail, mark})
	switch {
	case err != nil && ctx.Err() == nil && w.read > 0 && w.timeUp(0):
		return &mark, nil // the next call has more time for it
	case err != nil:
		return nil, err
	}
	defer open.close()
	if open.note != "" {
		w.problems = append(w.problems, p.name+": "+open.note)
	}
	r := &reader{content: open.content, decode: decoder(open.format), clock: open.clock, join: w.source.join, redact: w.redact}
	begin, end, err := w.bounds(r, p, mark)
	if err != nil {
		return nil, err
	}
	pass := &pass{walk: w, stream: s.name, reader: r, skip: newSkipper(w.query.contains, open.format), size: minBlock}
	v.enter(s.name)
	var at int64
	var more bool
	switch {
	case w.query.tail && p.compressed:
		return w.packedTail(ctx, pass, p, begin, end, v)
	case w.query.tail:
		at, more, err = pass.backwards(ctx, begin, end, v)
	default:
		at, more, err = pass.forwards(ctx, begin, end, v)
	}
	switch {
	case err != nil || !more && !open.more:
		return nil, err
	case !more && w.query.tail:
		at = 0
	case !more:
		at = r.content.size()
	}
	next := r.content.mark(at)
	return &next, nil
}

// packedTail is part for what can only be read from its beginning, and is asked for from its end.
func (w *walk) packedTail(ctx context.Context, pass *pass, p part, begin, end int64, v visitor) (*string, error) {
	held := v.hold()
	held.enter(pass.stream)
	if _, late, err := pass.forwards(ctx, begin, end, held); err != nil || late {
		w.problems = append(w.problems, p.name+": it is compressed, and too large to be read from its end in one call; take head of it, or unpack it")
		return nil, err
	}
	at, within, enough := v.give(held)
	if !enough {
		return nil, nil
	}
	if !within {
		at = min(end, pass.reader.content.size())
	}
	next := pass.reader.content.mark(at)
	return &next, nil
}

// bounds are where in the part to read: behind or before the mark, and where the times that are asked for can be.
func (w *walk) bounds(r *reader, p part, mark string) (begin, end int64, err error) {
	end = r.content.size()
	if mark != "" {
		at, err := r.content.place(mark)
		if err != nil {
			return 0, 0, err
		}
		if w.query.tail {
			end = at
		} else {
			begin = at
		}
	}
	if p.compressed {
		return begin, end, nil
	}
	if !w.query.since.IsZero() {
		at, err := r.bisect(w.query.since, false)
		if err != nil {
			return 0, 0, err
		}
		begin = max(begin, at)
	}
	if !w.query.until.IsZero() {
		at, err := r.bisect(w.query.until, true)
		if err != nil {
			return 0, 0, err
		}
		end = min(end, at)
	}
	return begin, end, nil
}

// pass is a walk through one part, block by block, the first blocks small. Where blocks begin and end, and at which of these
// places the time is looked at, depends on nothing that stands in the part: else a caller could learn by it where a literal
// stands in a secret.
type pass struct {
	walk   *walk
	stream string
	reader *reader
	skip   *skipper
	size   int64 // of the next block
	back   bool  // from the end
}

// forwards visits [begin, end), and returns where to go on if that is within it.
func (p *pass) forwards(ctx context.Context, begin, end int64, v visitor) (int64, bool, error) {
	left := func(at int64) int64 { return max(0, min(end, p.reader.content.size())-at) }
	return p.run(ctx, begin, 1, left, v)
}

// backwards is forwards from the end.
func (p *pass) backwards(ctx context.Context, begin, end int64, v visitor) (int64, bool, error) {
	p.back = true
	return p.run(ctx, end, -1, func(at int64) int64 { return max(0, at-begin) }, v)
}

// run visits blocks from at on, in the direction of step, while some bytes are left there.
func (p *pass) run(ctx context.Context, at, step int64, left func(at int64) int64, v visitor) (int64, bool, error) {
	for left(at) > 0 {
		edges := p.stretch(at, step, left)
		last := edges[len(edges)-1]
		empty, err := p.empty(min(at, last), max(at, last))
		if err != nil {
			return 0, false, err
		}
		for i := 1; i < len(edges) && !empty; i++ {
			from, to := min(edges[i-1], edges[i]), max(edges[i-1], edges[i])
			if at, enough, err := p.visit(ctx, from, to, v); err != nil || enough {
				return at, enough, err
			}
		}
		at = last
		if left(at) > 0 && p.walk.timeUp(0) {
			return at, true, nil
		}
	}
	return 0, false, nil
}

// stretch returns the edges of the next blocks, which are looked through for a literal at once.
func (p *pass) stretch(at, step int64, left func(at int64) int64) []int64 {
	edges := []int64{at}
	for total := int64(0); total < skipBlock && left(at) > 0; {
		size := min(p.size, left(at))
		p.size = min(2*p.size, maxBlock)
		at += step * size
		total += size
		edges = append(edges, at)
	}
	return edges
}

// empty says that nothing that begins in [from, to) can be asked for.
func (p *pass) empty(from, to int64) (bool, error) {
	empty, err := p.skip.empty(p.reader.content, from, to)
	if empty {
		p.count(from, to)
	}
	return empty, err
}

// count notes what was looked through. How long a packed file is may be known only now.
func (p *pass) count(from, to int64) {
	p.walk.read += max(0, min(to, p.reader.content.size())-from)
}

func (p *pass) visit(ctx context.Context, from, to int64, v visitor) (int64, bool, error) {
	if err := ctx.Err(); err != nil {
		return 0, false, err
	}
	if p.walk.timeUp(graceTime) {
		return p.edge(from, to), true, nil
	}
	if empty, err := p.empty(from, to); empty || err != nil {
		return 0, false, err
	}
	b, err := p.reader.entries(from, to)
	if errors.Is(err, errMany) {
		return p.visitHalves(ctx, from, to, v)
	}
	if err != nil {
		return 0, false, err
	}
	at, enough := p.visitEntries(b, to, v)
	switch {
	case enough && p.back:
		from = at
	case enough:
		to = at
	}
	p.count(from, to)
	return at, enough, nil
}

// edge is where a call goes on that has not visited [from, to).
func (p *pass) edge(from, to int64) int64 {
	if p.back {
		return to
	}
	return from
}

// visitEntries lets v visit the entries of a block, as many at once as the expression that is looked for may take some time
// for; then the time is looked at. What decides about these places is what v sees too.
func (p *pass) visitEntries(b block, to int64, v visitor) (int64, bool) {
	w := p.walk
	for low, high := b.low, b.high; low < high; {
		if w.work >= maxWork {
			w.work = 0
			if w.timeUp(0) {
				return p.edge(b.all[low].start, to), true
			}
		}
		n := 0
		for ; n < high-low && w.work < maxWork; n++ {
			if p.back {
				w.note(b.all[high-1-n])
			} else {
				w.note(b.all[low+n])
			}
		}
		run := block{b.all, low, low + n}
		if p.back {
			run = block{b.all, high - n, high}
		}
		if at, enough := v.visit(run, to); enough {
			return at, true
		}
		if p.back {
			high, to = run.low, b.all[run.low].start
		} else {
			low = run.high
		}
	}
	return 0, false
}

// visitHalves visits a block that has too many lines, one half after the other.
func (p *pass) visitHalves(ctx context.Context, from, to int64, v visitor) (int64, bool, error) {
	middle := from + (to-from)/2
	halves := [][2]int64{{from, middle}, {middle, to}}
	if p.back {
		slices.Reverse(halves)
	}
	for _, half := range halves {
		if at, enough, err := p.visit(ctx, half[0], half[1], v); err != nil || enough {
			return at, enough, err
		}
	}
	return 0, false, nil
}
