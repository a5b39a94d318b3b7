package main

import (
	"slices"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/scrub"
)

// fetched is an entry that an answer shows.
type fetched struct {
	entry

	from    string // the stream
	context bool   // it stands near one that was asked for
}

// fetch is the visitor that keeps entries, in the order in which it sees them.
type fetch struct {
	query   query
	limit   int  // entries that are asked for
	around  int  // entries before and after each
	rolling bool // keep the newest, though they come oldest first

	kept     []fetched
	rolled   bool // some were let go
	matched  int
	bytes    int
	stream   string
	last     int64 // where the entry begins that was kept last, of this stream
	any      bool  // one of this stream was
	trailing int   // entries behind one that was asked for which are still to come
}

// enter implements [visitor].
func (f *fetch) enter(stream string) {
	f.stream, f.any, f.trailing = stream, false, 0
}

// visit implements [visitor].
func (f *fetch) visit(b block, to int64) (int64, bool) {
	step, i, end := 1, b.low, b.high
	if f.backwards() {
		step, i, end = -1, b.high-1, b.low-1
	}
	for ; i != end; i += step {
		e := b.all[i]
		if !f.query.fits(e) {
			if f.trailing > 0 {
				f.trailing--
				f.keep(e, true)
			}
			continue
		}
		if !f.rolling && f.matched > 0 && (f.matched == f.limit || f.bytes+size(e) > maxAnswer) {
			switch {
			case !f.backwards():
				return e.start, true
			case i+1 < b.high:
				return b.all[i+1].start, true
			}
			return to, true
		}
		for n := f.around; n > 0; n-- {
			if j := i - n*step; j >= 0 && j < len(b.all) {
				f.keep(b.all[j], true)
			}
		}
		f.keep(e, false)
		f.matched++
		f.trailing = f.around
		f.roll()
	}
	return 0, false
}

// backwards says whether the entries come newest first. A log that cannot be read backwards comes forwards all the same.
func (f *fetch) backwards() bool { return f.query.tail && !f.rolling }

// keep adds an entry, unless it is there.
func (f *fetch) keep(e entry, context bool) {
	if f.any && (f.backwards() && e.start >= f.last || !f.backwards() && e.start <= f.last) {
		return
	}
	f.kept = append(f.kept, fetched{e, f.stream, context})
	f.bytes += size(e)
	f.last, f.any = e.start, true
}

// roll lets go of the oldest, where only the newest are wanted.
func (f *fetch) roll() {
	for f.rolling && f.matched > 0 && (f.matched > f.limit || f.bytes > maxAnswer && f.matched > 1) {
		i := slices.IndexFunc(f.kept, func(k fetched) bool { return !k.context })
		for _, k := range f.kept[:i+1] {
			f.bytes -= size(k.entry)
		}
		f.kept = f.kept[i+1:]
		f.matched--
		f.rolled = true
	}
}

// hold implements [visitor].
func (f *fetch) hold() visitor {
	return &fetch{query: f.query, limit: f.limit - f.matched, around: f.around, rolling: true, bytes: f.bytes}
}

// give implements [visitor].
func (f *fetch) give(held visitor) (at int64, within, enough bool) {
	other, ok := held.(*fetch)
	if !ok {
		return 0, false, false
	}
	if within = len(other.kept) > 0; within {
		at = other.kept[0].start
	}
	slices.Reverse(other.kept)
	f.kept = append(f.kept, other.kept...)
	f.matched += other.matched
	f.bytes = other.bytes
	return at, within, other.rolled
}

// size is about what an entry takes in an answer.
func size(e entry) int { return encoded(e.text[:min(len(e.text), maxShown)]) + lineOverhead }

// shownLine is one message of an answer.
type shownLine struct {
	Time      string `json:"time,omitempty"` // when it was written, in UTC; a folded one: the first
	Last      string `json:"last,omitempty"` // of a folded one: when the last was written
	Container string `json:"container,omitempty"`
	Stream    string `json:"stream,omitempty"` // stdout or stderr
	Level     string `json:"level,omitempty"`
	Text      string `json:"text"`              // redacted, without its time; a stack trace with its lines
	Count     int    `json:"count,omitempty"`   // of a folded one: how many equal messages followed each other
	Context   bool   `json:"context,omitempty"` // it was not asked for itself, and stands near one that was
}

// common is what all lines of an answer have in common.
type common struct {
	Container string `json:"container,omitempty"`
	Stream    string `json:"stream,omitempty"`
	Level     string `json:"level,omitempty"`
}

// timeForm is how times are shown: as exact as they are.
const timeForm = time.RFC3339Nano

func shownTime(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format(timeForm)
}

// lines are what was kept, the oldest first, equal ones that follow each other folded, and what they have in common.
func (f *fetch) lines() (common, []shownLine) {
	if f.query.tail {
		slices.Reverse(f.kept)
	}
	marks := scrub.NewRenumberer()
	out := []shownLine{}
	for _, k := range f.kept {
		l := shownLine{
			Container: k.from, Stream: k.stream, Context: k.context,
			Text: shownText(marks.Text(k.text[k.body:]), k.cut),
		}
		if k.level != unknown {
			l.Level = k.level.String()
		}
		if k.timed {
			l.Time = shownTime(k.time)
		}
		if n := len(out); n > 0 && folds(out[n-1], l) {
			out[n-1].Count = max(out[n-1].Count, 1) + 1
			out[n-1].Last = l.Time
			continue
		}
		out = append(out, l)
	}
	return hoist(out), out
}

// folds says whether b is one more of a.
func folds(a, b shownLine) bool {
	return a.Text == b.Text && a.Container == b.Container && a.Stream == b.Stream && a.Level == b.Level && a.Context == b.Context
}

// hoist takes out of the lines what they all have in common.
func hoist(lines []shownLine) common {
	if len(lines) == 0 {
		return common{}
	}
	all := common{lines[0].Container, lines[0].Stream, lines[0].Level}
	for _, l := range lines {
		if l.Container != all.Container {
			all.Container = ""
		}
		if l.Stream != all.Stream {
			all.Stream = ""
		}
		if l.Level != all.Level {
			all.Level = ""
		}
	}
	for i := range lines {
		l := &lines[i]
		for _, label := range []struct {
			common string
			own    *string
		}{{all.Container, &l.Container}, {all.Stream, &l.Stream}, {all.Level, &l.Level}} {
			if label.common != "" {
				*label.own = ""
			}
		}
	}
	return all
}

// shownText bounds a message, and says what is left out.
func shownText(text string, more bool) string {
	if len(text) <= maxShown && !more {
		return text
	}
	note := " […more than is looked at]"
	if !more {
		note = " […cut]"
	}
	return clip(text, maxShown) + note
}
