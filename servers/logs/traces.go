package main

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/scrub"
)

// traces is the visitor that groups stack traces.
type traces struct {
	query  query
	before int
	stream string // that is visited

	groups map[string]*traceGroup
	found  int
	rest   int // that belong to groups beyond maxTraces
}

// traceGroup is one error, wherever and however often it was thrown from the same place.
type traceGroup struct {
	Language string `json:"language" enum:"go,java,python,node"` // what wrote the trace
	// the error's type, where the language tells one, and its message; the innermost cause of a chain
	Error      string   `json:"error"`
	Count      int      `json:"count"`
	First      string   `json:"first,omitempty"`  // when the first was written
	Last       string   `json:"last,omitempty"`   // when the last was written
	Containers []string `json:"containers"`       // the logs that it stands in
	Frames     []string `json:"frames"`           // the innermost calls, those first where the error arose
	Trace      string   `json:"trace"`            // the beginning of the first one, as it was written
	Before     []string `json:"before,omitempty"` // the messages before the first one

	group group
}

// enter implements [visitor].
func (t *traces) enter(stream string) { t.stream = stream }

// visit implements [visitor].
func (t *traces) visit(b block, _ int64) (int64, bool) {
	for i := b.low; i < b.high; i++ {
		e := b.all[i]
		if e.language == "" || !t.query.fits(e) {
			continue
		}
		parsed := parseTrace(e)
		if len(parsed.frames) == 0 {
			continue // a line that only looks as if a trace began
		}
		t.found++
		key := parsed.key()
		g := t.groups[key]
		if g == nil {
			if len(t.groups) == maxTraces {
				t.rest++
				continue
			}
			g = &traceGroup{Language: string(e.language), Error: parsed.err, Frames: parsed.frames[:min(len(parsed.frames), maxFrames)], Trace: clip(e.text[e.body:], maxTraceText)}
			for _, neighbour := range b.all[max(0, i-t.before):i] {
				g.Before = append(g.Before, clip(neighbour.text, maxKey))
			}
			t.groups[key] = g
		}
		g.Count++
		g.group.span(e.time)
		if !slices.Contains(g.Containers, t.stream) && len(g.Containers) < maxProblems {
			g.Containers = append(g.Containers, t.stream)
		}
	}
	return 0, false
}

// hold implements [visitor]: groups have no direction.
func (t *traces) hold() visitor { return t }

// give implements [visitor].
func (t *traces) give(visitor) (int64, bool, bool) { return 0, false, false }

// top returns the groups with the most traces, as many as an answer has room for.
func (t *traces) top(limit int) (groups []traceGroup, truncated bool) {
	groups = []traceGroup{}
	for _, g := range t.groups {
		groups = append(groups, *g)
	}
	slices.SortFunc(groups, func(a, b traceGroup) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Error, b.Error), cmp.Compare(strings.Join(a.Frames, "\n"), strings.Join(b.Frames, "\n")))
	})
	truncated = t.rest > 0
	marks := scrub.NewRenumberer()
	room := maxAnswer
	for i := range groups {
		g := &groups[i]
		texts := []*string{&g.Error, &g.Trace}
		for _, list := range [][]string{g.Frames, g.Before} {
			for j := range list {
				texts = append(texts, &list[j])
			}
		}
		for _, text := range texts {
			*text = marks.Text(*text)
			room -= encoded(*text) + lineOverhead
		}
		g.First, g.Last = shownTime(g.group.first), shownTime(g.group.last)
		if i == limit || i > 0 && room < 0 {
			return groups[:i], true
		}
	}
	return groups, truncated
}

// parsed is a stack trace taken apart.
type parsed struct {
	language language
	err      string
	frames   []string
}

// key is by what traces are told apart: numbers and lines do not count.
func (p parsed) key() string {
	frames := p.frames[:min(len(p.frames), groupFrames)]
	return string(p.language) + "\n" + fold(scrub.Unnumbered(clip(p.err, traceHeadBytes))) + "\n" + foldDigits(strings.Join(frames, "\n"))
}

// parseTrace takes an entry's trace apart.
func parseTrace(e entry) parsed {
	lines := strings.Split(e.text[e.body:], "\n")
	p := parsed{language: e.language}
	switch e.language {
	case golang:
		p.goTrace(lines)
	case python:
		p.pythonTrace(lines)
	case java, node:
		p.atTrace(lines)
	}
	p.err = clip(p.err, traceHeadBytes)
	for i := range p.frames {
		p.frames[i] = clip(p.frames[i], maxKey)
	}
	return p
}

var (
	goArguments = regexp.MustCompile(`\((?:0x[0-9a-f]+|[0-9{}x?,. _…])*\)$`)
	javaThread  = regexp.MustCompile(`^Exception in thread "[^"]*" `)
	goOffset    = regexp.MustCompile(` \+0x[0-9a-f]+$`)
)

// goTrace reads the first goroutine of a panic: calls, each with its place on the next line.
func (p *parsed) goTrace(lines []string) {
	p.err = lines[0]
	for i, line := range lines[1:] {
		call, isCall := strings.CutPrefix(line, goCreated)
		switch {
		case strings.HasPrefix(line, goRoutine) && len(p.frames) > 0:
			return
		case strings.HasPrefix(line, goRoutine) && strings.HasPrefix(p.err, goRoutine), line == "", strings.HasPrefix(line, "\t"):
			continue
		case !isCall && !goCall(line):
			continue
		}
		frame := goArguments.ReplaceAllString(call, "")
		if frame == "panic" || strings.HasPrefix(frame, "runtime.") {
			continue // how Go got there
		}
		if i+2 < len(lines) {
			frame += " " + goOffset.ReplaceAllString(strings.TrimSpace(lines[i+2]), "")
		}
		p.frames = append(p.frames, strings.TrimSpace(frame))
	}
}

// pythonTrace reads the last of the traces that follow each other: its last frame is where the error arose.
func (p *parsed) pythonTrace(lines []string) {
	for _, line := range lines {
		switch {
		case strings.HasSuffix(line, pythonHead):
			p.frames = nil
		case strings.HasPrefix(line, `  File "`):
			p.frames = append(p.frames, strings.TrimSpace(line))
		case line == "" || strings.HasPrefix(line, " ") || hasAny(line, pythonDuring, pythonCause):
		case len(p.frames) > 0:
			p.err = line
		}
	}
	slices.Reverse(p.frames)
}

// atTrace reads Java's and Node's: the error, its frames, and for Java its causes, the innermost last.
func (p *parsed) atTrace(lines []string) {
	head := ""
	for _, line := range lines {
		bare := strings.TrimLeft(line, " \t")
		frame, isFrame := strings.CutPrefix(bare, framePrefix)
		cause, isCause := strings.CutPrefix(line, javaCause)
		switch {
		case isCause:
			head, p.frames = cause, nil
		case isFrame && bare != line:
			p.frames = append(p.frames, strings.TrimSuffix(frame, " {"))
		case len(p.frames) == 0 && line != "" && line != "}" && (head == "" || !strings.HasPrefix(head, bare)):
			head = line // the last line before the frames names the error
		}
	}
	p.err = javaThread.ReplaceAllString(head, "")
}
