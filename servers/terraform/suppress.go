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
		_, after, found := strings.Cut(string(token.Bytes), ignoreWord)
		if !found {
			continue
		}
		after, _, _ = strings.Cut(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(after), "*/")), "\n")
		rule, reason, _ := strings.Cut(strings.TrimSpace(after), " ")
		if !strings.ContainsFunc(reason, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }) {
			reason = "" // nothing that can be read
		}
		out = append(out, ignore{
			rule: rule, reason: clip(strings.TrimSpace(reason)), file: name, line: codeLine(tokens, i), place: place(token.Range),
		})
	}
	return out
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
