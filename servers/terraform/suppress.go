package main

import (
	"bytes"
	"strings"
	"unicode"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// ignore is a comment that suppresses findings: bulkhead:ignore RULE reason.
type ignore struct {
	rule, reason string
	file         string
	line         int // of the code that it is about: its own, or the next one below it
	place        finding.Location
}

const ignoreWord = "bulkhead:ignore"

// findIgnores returns the suppressions in a file of the native syntax. JSON has no comments.
func findIgnores(name string, data []byte) []ignore {
	if !bytes.Contains(data, []byte(ignoreWord)) || strings.HasSuffix(name, ".json") {
		return nil
	}
	tokens, _ := hclsyntax.LexConfig(data, name, hcl.InitialPos)
	var out []ignore
	for i, token := range tokens {
		if token.Type != hclsyntax.TokenComment {
			continue
		}
		rule, reason, found := readIgnore(string(token.Bytes))
		if !found {
			continue
		}
		if !strings.ContainsFunc(reason, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
			reason = "" // nothing that can be read
		}
		out = append(out, ignore{
			rule: rule, reason: clip(reason), file: name, line: codeLine(tokens, i), place: place(token.Range),
		})
	}
	return out
}

// readIgnore reads the suppression that a comment, or a line of one, begins with. One that speaks of suppressions is none.
func readIgnore(comment string) (rule, reason string, found bool) {
	for line := range strings.Lines(strings.TrimSuffix(comment, "*/")) {
		word, rest := cutSpace(strings.TrimLeft(strings.TrimSpace(line), "#/* \t"))
		switch {
		case word == ignoreWord:
			rule, reason = cutSpace(rest)
			return rule, reason, true
		case strings.HasPrefix(word, ignoreWord):
			return word, rest, true // which is no rule
		}
	}
	return "", "", false
}

// cutSpace parts the first word of a text from the rest.
func cutSpace(s string) (word, rest string) {
	if i := strings.IndexFunc(s, unicode.IsSpace); i >= 0 {
		return s[:i], strings.TrimSpace(s[i:])
	}
	return s, ""
}

// codeLine is the line of the code that the comment at i is about.
func codeLine(tokens hclsyntax.Tokens, i int) int {
	line := tokens[i].Range.Start.Line
	before := i - 1
	for before >= 0 && tokens[before].Type == hclsyntax.TokenComment && !bytes.HasSuffix(tokens[before].Bytes, []byte("\n")) {
		before-- // another comment on the same line
	}
	if before >= 0 && tokens[before].Type != hclsyntax.TokenNewline && tokens[before].Type != hclsyntax.TokenComment {
		return line
	}
	for _, token := range tokens[i+1:] {
		if token.Type != hclsyntax.TokenNewline && token.Type != hclsyntax.TokenComment {
			return token.Range.Start.Line
		}
	}
	return line
}
