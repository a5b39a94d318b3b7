package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
)

// tell starts the bundle, goes through the story, and removes the bundle.
func tell(ctx context.Context, t *teller, images string) (err error) {
	fmt.Fprintln(os.Stderr, "demo: starting a bundle of its own; this takes half a minute, and the first time somewhat longer")
	b, err := newBundle(ctx, images)
	if b != nil {
		defer func() {
			fmt.Fprintln(os.Stderr, "demo: removing the bundle")
			b.remove()
		}()
	}
	if err != nil {
		return err
	}
	for i, s := range story() {
		t.begin(i+1, s)
		if err := s.happens(ctx, b, t); err != nil {
			return fmt.Errorf("step %d, %s: %w", i+1, s.title, err)
		}
		t.end()
	}
	t.close()
	return nil
}

// step is one part of the story: what is shown, why it matters, and what really happens.
type step struct {
	title, why string
	happens    func(ctx context.Context, b *bundle, t *teller) error
}

// teller writes the story down as it happens.
type teller struct {
	out   io.Writer
	Steps []told
}

type told struct {
	Title string   `json:"title"`
	Why   string   `json:"why"`
	Lines []string `json:"lines"`
	OK    bool     `json:"ok"`
}

func (t *teller) begin(number int, s step) {
	t.Steps = append(t.Steps, told{Title: s.title, Why: s.why, Lines: []string{}})
	fmt.Fprintf(t.out, "\n%d. %s\n   %s\n\n", number, s.title, strings.ReplaceAll(s.why, "\n", "\n   "))
}

// say adds one line of what happened.
func (t *teller) say(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	last := &t.Steps[len(t.Steps)-1]
	last.Lines = append(last.Lines, line)
	fmt.Fprintln(t.out, "   | "+line)
}

func (t *teller) end() { t.Steps[len(t.Steps)-1].OK = true }

func (t *teller) close() {
	fmt.Fprint(t.out, `
What to try next
   make up                                                  start a bundle that stays
   go run ./servers/gateway config claude-code --agent policy-gate     connect a client of yours
   make agent NAME=image-linter MESSAGE='nginx:1.25?'       an agent without a network (docs/agents.md)
   make prove                                               attack it all, from inside and from outside
`)
}
