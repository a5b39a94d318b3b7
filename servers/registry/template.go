package main

import (
	"regexp"
	"strings"
)

// variable is a value that a file gives a name.
type variable struct {
	value string
	at    *span
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*`)

// expand puts the values of variables into text, which stands in the line at from start on: $NAME, ${NAME} and
// ${NAME:-default}. It returns why it cannot, where it cannot.
func expand(text string, line, start int, variables map[string]variable) (pieces []piece, hidden string) {
	if !strings.ContainsAny(text, `$\`) {
		return []piece{{text: text, at: &span{line: line, start: start, end: start + len(text)}}}, ""
	}
	for i := 0; i < len(text); {
		// What is put together of long values, again and again, would be longer than any memory.
		if len(pieces) > maxPieces || len(join(pieces)) > maxReference {
			return nil, "it is longer than a reference may be"
		}
		if text[i] == '\\' {
			return nil, "it is written with escapes"
		}
		if text[i] != '$' {
			end := len(text)
			if n := strings.IndexAny(text[i:], `$\`); n >= 0 {
				end = i + n
			}
			pieces = append(pieces, piece{text: text[i:end]})
			i = end
			continue
		}
		rest := text[i+1:]
		braced := strings.HasPrefix(rest, "{")
		rest = strings.TrimPrefix(rest, "{")
		name := variableName.FindString(rest)
		if name == "" {
			return nil, "it is an expression that only the program knows that reads it"
		}
		known, ok := variables[name]
		i += 1 + len(name)
		if !braced {
			if !ok {
				return nil, "the value of " + clip(name, maxShown) + " is not in the file"
			}
			pieces = append(pieces, piece{text: known.value, at: known.at})
			continue
		}
		i++
		end := strings.IndexByte(text[i:], '}')
		if end < 0 {
			return nil, "a brace is not closed"
		}
		operation := text[i : i+end]
		fallback, colon := strings.CutPrefix(operation, ":-")
		plain := !colon
		if plain {
			fallback, plain = strings.CutPrefix(operation, "-")
		}
		switch {
		case operation != "" && !colon && !plain || strings.ContainsAny(fallback, "${"):
			return nil, "it is an expression that only the program knows that reads it"
		case ok && (known.value != "" || !colon):
			pieces = append(pieces, piece{text: known.value, at: known.at})
		case operation == "":
			return nil, "the value of " + clip(name, maxShown) + " is not in the file"
		default:
			from := start + i + len(operation) - len(fallback)
			pieces = append(pieces, piece{text: fallback, at: &span{line: line, start: from, end: from + len(fallback)}})
		}
		i += end + 1
	}
	return pieces, ""
}
