package main

import (
	"context"
	"fmt"
	"maps"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// pagesOf are the messages of all answers to a call and those with its cursors, in the order of the log, and how many calls
// it took. Each answer but the last says that time was up.
func pagesOf(t *testing.T, s *server, args map[string]any, between func()) (messages []string, calls int) {
	t.Helper()
	page := maps.Clone(args)
	for {
		between()
		out := fetching(t, s, page)
		calls++
		if args["take"] == "head" {
			messages = append(messages, texts(out)...)
		} else {
			messages = append(texts(out), messages...)
		}
		if out.NextCursor == "" {
			return messages, calls
		}
		if !out.TimeUp || !out.Truncated {
			t.Fatalf("call %d has a cursor, and neither time_up nor truncated; %d messages, %q", calls, out.Matched, out.Problems)
		}
		page["cursor"] = out.NextCursor
	}
}

// A costly expression ends a call when its time is up, wherever that is, and the next one goes on with the next message.
func TestCostlyExpression(t *testing.T) {
	const messages = 200
	const expression = "number (?:z{0,450}){0,2}" // its program is as large as may be; here it has little to do
	var log strings.Builder
	var want []string
	for i := range messages {
		text := fmt.Sprintf("number %d", i)
		want = append(want, text)
		log.WriteString(text + "\n" + strings.Repeat("a", i%7*1000) + "\n")
	}
	for _, args := range []map[string]any{{"take": "head"}, {"take": "tail"}} {
		s := servingOne(one{content: inMemory(log.String()), format: formatPlain})
		var clock time.Time
		s.now = func() time.Time { clock = clock.Add(time.Second); return clock }
		s.scan = 10 * time.Second // of a clock that is asked for each block, and after maxWork
		looks, most := time.Duration(0), time.Duration(0)
		begin := clock
		args["limit"], args["matches"] = 1000, expression
		got, calls := pagesOf(t, s, args, func() {
			looks, begin = clock.Sub(begin), clock
			most = max(most, looks)
		})
		if !slices.Equal(got, want) {
			t.Errorf("%v: %d messages of %d, or in another order", args, len(got), len(want))
		}
		if calls < 5 || most > s.scan+4*time.Second {
			t.Errorf("%v: %d calls, of which one took %s", args, calls, most)
		}
	}
}

// So it is with what groups: the counts of all answers together are of all messages.
func TestCostlyCounts(t *testing.T) {
	trace := "Traceback (most recent call last):\n  File \"a.py\", line 1, in <module>\n    f()\nValueError: number " + strings.Repeat("a", 5000) + "\n"
	log := strings.Repeat(trace+"2026-01-02T03:04:05Z INFO number 1\n", 100)
	for tool, field := range map[string]string{"count_by": "matched", "trace_errors": "traces"} {
		s := servingOne(one{content: inMemory(log), format: formatPlain})
		var clock time.Time
		s.now = func() time.Time { clock = clock.Add(time.Second); return clock }
		s.scan = 5 * time.Second
		args := map[string]any{"source": "s", "matches": "number (?:z{0,450}){0,2}"}
		if tool == "count_by" {
			args["by"] = "level"
		}
		total, calls := 0, 0
		for ; ; calls++ {
			out, err := call[map[string]any](t, s, tool, args)
			if err != nil {
				t.Fatal(err)
			}
			n, _ := out[field].(float64)
			total += int(n)
			if out["next_cursor"] == nil {
				break
			}
			if out["truncated"] != true {
				t.Fatalf("%s is cut and does not say so", tool)
			}
			args["cursor"] = out["next_cursor"]
		}
		want := map[string]int{"count_by": 200, "trace_errors": 100}[tool]
		if total != want || calls < 3 {
			t.Errorf("%s: %d of %d, in %d calls", tool, total, want, calls+1)
		}
	}
}

// slow is a content that takes a while for each read.
type slow struct {
	*memory

	takes func()
}

func (s slow) ReadAt(p []byte, offset int64) (int, error) {
	s.takes()
	return s.memory.ReadAt(p, offset)
}

// What takes long for other reasons ends a call too, between two blocks, and nothing is skipped.
func TestSlowBlocks(t *testing.T) {
	const each = 3 * time.Second
	for _, take := range []string{"head", "tail"} {
		var clock time.Time
		text := strings.Repeat(strings.Repeat("w", 99)+"\n", 30_000) + "needle\n"
		s := servingOne(one{content: slow{inMemory("needle\n" + text), func() { clock = clock.Add(each) }}, format: formatPlain})
		s.now = func() time.Time { return clock }
		s.scan = 2 * time.Second
		begin, most := clock, time.Duration(0)
		got, _ := pagesOf(t, s, map[string]any{"take": take, "matches": "needle"}, func() {
			most, begin = max(most, clock.Sub(begin)), clock
		})
		if len(got) != 2 || most > s.scan+graceTime+2*each {
			t.Errorf("%s: %q, after %s", take, got, most)
		}
	}
}

// opening is a source whose second log takes a while before it cannot be opened, once.
type opening struct {
	one

	takes func()
	fails *int
}

func (o opening) streams(ctx context.Context) ([]stream, []string, error) {
	first, _, _ := o.one.streams(ctx)
	second, _, _ := one{content: inMemory("needle two\n"), format: formatPlain}.streams(ctx)
	second[0].name = "b.log"
	open := second[0].parts[0].open
	second[0].parts[0].open = func(ctx context.Context, want span) (opened, error) {
		if *o.fails > 0 {
			*o.fails--
			o.takes()
			return opened{}, context.DeadlineExceeded
		}
		return open(ctx, want)
	}
	return append(first, second...), nil, nil
}

// A log that could not be opened in the rest of a call's time is not skipped, and the next call begins with it; but where that
// call could not open it either, it says so, and goes on.
func TestSlowOpening(t *testing.T) {
	for fails, want := range map[int][]string{0: {"needle one", "needle two"}, 1: {"needle one", "needle two"}, 2: {"needle one"}} {
		var clock time.Time
		s := servingOne(one{})
		s.sources[0].source = opening{one{content: inMemory("needle one\n"), format: formatPlain}, func() { clock = clock.Add(time.Hour) }, &fails}
		s.now = func() time.Time { return clock }
		s.scan = time.Minute
		if got, calls := pagesOf(t, s, map[string]any{"take": "head"}, func() {}); !slices.Equal(got, want) || calls > 2 {
			t.Errorf("%q after %d calls, want %q", got, calls, want)
		}
	}
}

func TestExpressionTooCostly(t *testing.T) {
	s, _ := serving(t, map[string]string{"a.log": "x\n"})
	for expression, fits := range map[string]bool{
		`(a{0,200}){0,5}x`: true, `(x+x+)+y`: true, `^.{40,}$`: true, `a{0,1000}`: true, strings.Repeat("0a1b2c3d4e5f|", 78): true, strings.Repeat("(a)", 341): true, strings.Repeat("()*", 340): true,
		`(a{0,400}){0,2}b{0,400}`: false, strings.Repeat("a{0,1000}", 110): false, `((\pL{10}){10}){10}x{1000}`: false,
	} {
		_, err := call[fetchLogsOut](t, s, "fetch_logs", map[string]any{"source": "s", "matches": expression})
		switch {
		case fits && err != nil:
			t.Errorf("%s: %v", expression, err)
		case !fits && (code(err) != mcpserver.CodeInvalidArguments || !strings.Contains(err.Error(), "matches: the expression is too costly")):
			t.Errorf("%s: %v", expression, err)
		}
	}
}

// Of a message that is longer than the expression sees, the answer says so.
func TestExpressionReach(t *testing.T) {
	const large = "needle|z{0,1000}q"
	s, _ := serving(t, map[string]string{"a.log": "a needle\n" + strings.Repeat("w ", 100_000) + "needle\n"})
	for expression, want := range map[string]int{"needle": 2, large: 1} {
		out := fetching(t, s, map[string]any{"matches": expression})
		told := strings.Contains(strings.Join(out.Problems, "\n"), "of 1 long messages, matches saw the first")
		if out.Matched != want || told != (want == 1) {
			t.Errorf("%s: %d messages, %q", expression, out.Matched, out.Problems)
		}
	}
}

// FuzzInstructions: a program has no more instructions than were counted.
func FuzzInstructions(f *testing.F) {
	for _, expression := range []string{
		"", "a", "abc", "a|b|", "(a)", "()*", "(|a)*", "(|a)+?", "a{2,}", "a{9,}", "a{0}", "(a?){3,5}", "(?i)straße[^a]", `\bx\B$^`, "[ab]|c|[d-f]", "(?:(?:a*)*)*", "(a{0,20}){0,5}x", "(^){9}", "(^*){3}", "[^\\x00-\\x{10FFFF}]{3}", "a{0,1000}b{1000}",
	} {
		f.Add(expression)
	}
	f.Fuzz(func(t *testing.T, expression string) {
		parsed, err := syntax.Parse(expression, syntax.Perl)
		if err != nil {
			return
		}
		count := instructions(parsed)
		if count > 20*maxProgram {
			return
		}
		program, err := syntax.Compile(parsed.Simplify())
		if err != nil {
			t.Fatal(err)
		}
		if n := len(program.Inst) - overhead; n > count {
			t.Errorf("%q: %d instructions, counted %d", expression, n, count)
		}
	})
}

// overhead is the instructions that every program has: it matches, and it fails.
const overhead = 2
