package main

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/scrub"
)

// filters are what several tools take to choose among messages.
type filters struct {
	Container string `json:"container,omitempty" jsonschema:"only this log: its name in list_sources, or a part of it; with /previous at its end, a container's run before this one" minLength:"1" maxLength:"512"`
	Since     string `json:"since,omitempty" jsonschema:"a time (RFC 3339), or how long ago: 15m, 2h, 7d" minLength:"2" maxLength:"40" pattern:"^[0-9][0-9A-Za-z:.+-]*$"`
	Until     string `json:"until,omitempty" jsonschema:"in the same forms" minLength:"2" maxLength:"40" pattern:"^[0-9][0-9A-Za-z:.+-]*$"`
	Level     string `json:"level,omitempty" jsonschema:"only messages that say that they are at least as grave" enum:"trace,debug,info,warn,error,fatal"`
	Contains  string `json:"contains,omitempty" jsonschema:"only messages with this text, in the same case" maxLength:"512" pattern:"^[^\\n\\r]+$"`
	Matches   string `json:"matches,omitempty" jsonschema:"only messages that match this (RE2); (?i) ignores case" minLength:"1" maxLength:"1024"`
}

// listing identifies what a cursor belongs to: the filters and what else decides about an answer.
func (f filters) listing(parts ...string) string {
	return sum(append(parts, f.Container, f.Since, f.Until, f.Level, f.Contains, f.Matches)...)
}

// query is what a call asks of the logs.
type query struct {
	container    string
	since, until time.Time
	level        level
	contains     string
	expression   *regexp.Regexp
	program      int // instructions of the expression, at most
	tail         bool
}

// query reads the filters. Times that are told by how long ago they are count from now.
func (f filters) query(now time.Time) (query, error) {
	q := query{container: f.Container, level: parseLevel(f.Level), contains: f.Contains}
	var err error
	if q.since, err = when(f.Since, now); err != nil {
		return query{}, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "since: %w", err)
	}
	if q.until, err = when(f.Until, now); err != nil {
		return query{}, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "until: %w", err)
	}
	if !q.since.IsZero() && !q.until.IsZero() && q.until.Before(q.since) {
		return query{}, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "until is before since")
	}
	if f.Matches != "" {
		if q.expression, q.program, err = compile(f.Matches); err != nil {
			return query{}, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "matches: %w", err)
		}
	}
	return q, nil
}

// compile compiles an expression, unless that would make a program that takes too long over a message. It says how many
// instructions the program has, at most.
func compile(expression string) (*regexp.Regexp, int, error) {
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return nil, 0, err
	}
	program := instructions(parsed)
	if program > maxProgram {
		return nil, 0, fmt.Errorf("the expression is too costly: it has %d instructions, and may have %d; a counted repetition has those of what it repeats as often as that: write x* instead of x{0,500}, or use contains", program, maxProgram)
	}
	compiled, err := regexp.Compile(expression)
	return compiled, program, err
}

// instructions bounds those that regexp/syntax makes of an expression. It makes none: they could take more memory than
// there is.
func instructions(expression *syntax.Regexp) int {
	n := 0
	for _, part := range expression.Sub {
		n += instructions(part)
	}
	switch expression.Op { //nolint:exhaustive // all others are one instruction
	case syntax.OpLiteral:
		return len(expression.Rune)
	case syntax.OpCapture, syntax.OpStar: // x* of what may be empty is (x+)?
		return n + 2
	case syntax.OpAlternate:
		return n + len(expression.Sub)
	case syntax.OpRepeat:
		if expression.Max < 0 {
			return max(expression.Min, 1)*n + 2
		}
		return max(1, expression.Max*n+expression.Max-expression.Min)
	}
	return n + 1
}

// fits says whether a message is one of those that are asked for. It is judged as it is shown: redacted, and without the
// numbers of its marks, which depend on what else was read.
func (q query) fits(e entry) bool {
	in := q.since.IsZero() || !e.time.Before(q.since)
	in = in && (q.until.IsZero() || !e.time.IsZero() && !e.time.After(q.until))
	return in && q.fitsAnyTime(e)
}

// untimed says whether a message would fit if one knew when it was written.
func (q query) untimed(e entry) bool {
	return e.time.IsZero() && (!q.since.IsZero() || !q.until.IsZero()) && q.fitsAnyTime(e)
}

// fitsAnyTime is fits without the times.
func (q query) fitsAnyTime(e entry) bool {
	text, ok := q.candidate(e)
	return ok && (q.expression == nil || q.expression.MatchString(clip(text, q.reach())))
}

// candidate says whether all but the expression and the times fits, and returns the text that the expression is about.
func (q query) candidate(e entry) (text string, ok bool) {
	if e.level < q.level {
		return "", false
	}
	if q.contains == "" && q.expression == nil {
		return "", true
	}
	text = scrub.Unnumbered(e.text)
	return text, strings.Contains(text, q.contains)
}

// reach is how many bytes of a message the expression sees.
func (q query) reach() int { return maxMatch / max(q.program, 1) }

// work bounds what the expression has to do for a message, and says whether the message is longer than it sees. It depends
// on what may be shown alone.
func (q query) work(e entry) (steps int, beyond bool) {
	if q.expression == nil {
		return 0, false
	}
	text, ok := q.candidate(e)
	if !ok {
		return 0, false
	}
	return q.program * min(len(text), q.reach()), len(text) > q.reach()
}
