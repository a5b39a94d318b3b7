package main

import (
	"context"
	"testing"
)

// judgeTexts judges a configuration whose root module is in the folder ".".
func judgeTexts(t testing.TB, book *ruleBook, texts map[string]string) *report {
	t.Helper()
	files := textFiles{}
	for name, text := range texts {
		if err := files.add(name, text); err != nil {
			t.Fatal(err)
		}
	}
	l := newLoader(files)
	r := &report{passes: true}
	if err := l.checkRoot(context.Background(), ".", nil, book, r); err != nil {
		t.Fatal(err)
	}
	l.suppressions(book, r)
	r.unreadable(l.problems)
	r.sort()
	return r
}
