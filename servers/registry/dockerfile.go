package main

import (
	"regexp"
	"strconv"
	"strings"
)

// token is a word of an instruction, and where it stands.
type token struct {
	text  string
	line  int // from 1
	start int // bytes from 0
}

var (
	directive = regexp.MustCompile(`^#\s*([A-Za-z]+)\s*=\s*(\S+)\s*$`)
	heredoc   = regexp.MustCompile(`<<-?\s*["']?([A-Za-z_][A-Za-z0-9_]*)["']?`)
)

// dockerfileImages finds the images of a Dockerfile: those of FROM, COPY --from, RUN --mount=from= and the syntax
// directive (https://docs.docker.com/reference/dockerfile/).
func dockerfileImages(doc document) found {
	d := dockerfile{document: doc, arguments: map[string]variable{}, stages: map[string]bool{}, escape: `\`}
	next := d.directives()
	for next < len(d.lines) {
		var words []token
		words, next = d.instruction(next)
		if len(words) > 0 {
			d.read(words)
		}
	}
	return d.found
}

type dockerfile struct {
	document
	found
	escape    string
	arguments map[string]variable // of the ARG before the first FROM
	stages    map[string]bool
	from      int // how many stages there were
}

// directives reads the comments at the head, and returns the line after them.
func (d *dockerfile) directives() int {
	for i, line := range d.lines {
		m := directive.FindStringSubmatchIndex(line)
		if m == nil {
			return i
		}
		switch key, value := strings.ToLower(line[m[2]:m[3]]), line[m[4]:m[5]]; {
		case key == "syntax":
			d.mention(token{text: value, line: i + 1, start: m[4]}, "syntax", nil)
		case key == "escape" && value == "`":
			d.escape = value
		}
	}
	return len(d.lines)
}

// instruction reads the words of the instruction at line index i, and returns the line after it and its here-documents.
func (d *dockerfile) instruction(i int) (words []token, next int) {
	var whole strings.Builder
	for ; i < len(d.lines); i++ {
		line := d.lines[i]
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "#") || trimmed == "" && len(words) > 0 {
			if len(words) == 0 {
				return nil, i + 1
			}
			continue // comments and empty lines do not end an instruction
		}
		content, continued := strings.CutSuffix(strings.TrimRight(line, " \t"), d.escape)
		whole.WriteString(content)
		for start := 0; start < len(content); {
			if content[start] == ' ' || content[start] == '\t' {
				start++
				continue
			}
			end := start
			for end < len(content) && content[end] != ' ' && content[end] != '\t' {
				end++
			}
			if len(words) < maxWords {
				words = append(words, token{text: content[start:end], line: i + 1, start: start})
			}
			start = end
		}
		if !continued {
			i++
			break
		}
	}
	if len(words) == 0 {
		return nil, i
	}
	switch strings.ToUpper(words[0].text) {
	case "RUN", "COPY", "ADD":
		for _, m := range heredoc.FindAllStringSubmatch(whole.String(), maxHeredocs) {
			for i < len(d.lines) && strings.TrimSpace(d.lines[i]) != m[1] {
				i++
			}
			i = min(i+1, len(d.lines))
		}
	}
	return words, i
}

// read takes what an instruction says of images.
func (d *dockerfile) read(words []token) {
	switch strings.ToUpper(words[0].text) {
	case "ARG":
		if d.from == 0 {
			d.readArguments(words[1:])
		}
	case "FROM":
		d.from++
		rest := words[1:]
		for len(rest) > 0 && strings.HasPrefix(rest[0].text, "--") {
			rest = rest[1:]
		}
		if len(rest) == 0 {
			d.problems = append(d.problems, problem{file: d.file, line: words[0].line, text: "FROM names no image"})
			return
		}
		d.mention(rest[0], "FROM", d.arguments)
		if len(rest) >= 3 && strings.EqualFold(rest[1].text, "AS") {
			d.stages[strings.ToLower(rest[2].text)] = true
		}
	case "COPY":
		for _, word := range words[1:] {
			if value, ok := strings.CutPrefix(word.text, "--from="); ok {
				d.mention(token{text: value, line: word.line, start: word.start + len("--from=")}, "COPY --from", nil)
			}
		}
	case "RUN":
		for _, word := range words[1:] {
			mount, ok := strings.CutPrefix(word.text, "--mount=")
			if !ok {
				continue
			}
			at := word.start + len("--mount=")
			for option := range strings.SplitSeq(mount, ",") {
				if value, ok := strings.CutPrefix(option, "from="); ok {
					d.mention(token{text: value, line: word.line, start: at + len("from=")}, "RUN --mount", nil)
				}
				at += len(option) + len(",")
			}
		}
	}
}

func (d *dockerfile) readArguments(words []token) {
	for _, word := range words {
		name, value, given := strings.Cut(word.text, "=")
		if !given || len(d.arguments) >= maxArguments {
			continue
		}
		start := word.start + len(name) + len("=")
		if len(value) >= 2 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0] {
			value, start = value[1:len(value)-1], start+1
		}
		// An argument may be made of others; then its value stands in more than one place.
		pieces, hidden := expand(value, word.line, start, d.arguments)
		if hidden != "" {
			continue
		}
		v := variable{value: join(pieces)}
		if len(pieces) == 1 {
			v.at = pieces[0].at
		}
		if len(v.value) <= maxReference {
			d.arguments[name] = v
		}
	}
}

// mention notes an image, unless the word names a stage of this file, or nothing.
func (d *dockerfile) mention(word token, field string, arguments map[string]variable) {
	if len(d.mentions) > maxMentions {
		return
	}
	pieces, hidden := expand(word.text, word.line, word.start, arguments)
	text := join(pieces)
	if _, err := strconv.Atoi(text); err == nil && field != "FROM" || text == "scratch" || d.stages[strings.ToLower(text)] {
		return
	}
	d.mentions = append(d.mentions, mention{
		file: d.file, line: word.line, column: d.column(word.line, word.start), field: field, pieces: pieces, hidden: hidden,
	})
}
