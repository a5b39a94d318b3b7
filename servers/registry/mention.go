package main

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// source is a kind of file that names images.
type source string

// The sources. auto finds out by name and content.
const (
	sourceAuto       source = "auto"
	sourceDockerfile source = "dockerfile"
	sourceCompose    source = "compose"
	sourceKubernetes source = "kubernetes"
	sourceHelm       source = "helm"
	sourceWorkflow   source = "workflow"
)

// mention is a place in a file that names an image.
type mention struct {
	file   string
	line   int // from 1
	column int // from 1, in characters
	field  string
	pieces []piece
	hidden string // why the image is not known from the file; pieces are then empty
}

// piece is a part of a reference. The parts together are the reference.
type piece struct {
	text string
	at   *span // where it stands, if it may be changed there
}

// span is a place within a line, in bytes from 0.
type span struct {
	line       int // from 1
	start, end int
}

// text is the reference that is named.
func (m mention) text() string {
	var b strings.Builder
	for _, p := range m.pieces {
		b.WriteString(p.text)
	}
	return b.String()
}

// change is a line of a file as it is and as it should be.
type change struct {
	Line int    `json:"line"`
	Old  string `json:"old"` // the line as it is
	New  string `json:"new"` // the line as it should be
}

// rewrite says which lines make the mention name another image; none if no change of lines can.
func (m mention) rewrite(lines []string, image string) []change {
	if c, ok := m.rewriteOne(lines, image); ok {
		return []change{c}
	}
	// A chart's values have tag and digest on lines of their own.
	name, digest, _ := strings.Cut(image, "@")
	for i, p := range m.pieces {
		if p.text != "@" {
			continue
		}
		first, ok := mention{pieces: m.pieces[:i]}.rewriteOne(lines, name)
		second, also := mention{pieces: m.pieces[i+1:]}.rewriteOne(lines, digest)
		if ok && also && first.Line != second.Line {
			return []change{first, second}
		}
	}
	return nil
}

// rewriteOne changes one part of the reference, the last that can be.
func (m mention) rewriteOne(lines []string, image string) (c change, ok bool) {
	for i, p := range slices.Backward(m.pieces) {
		if p.at == nil || p.at.line < 1 || p.at.line > len(lines) {
			continue
		}
		before, after := join(m.pieces[:i]), join(m.pieces[i+1:])
		if len(image) < len(before)+len(after) || !strings.HasPrefix(image, before) || !strings.HasSuffix(image, after) {
			continue
		}
		line := lines[p.at.line-1]
		if p.at.start < 0 || p.at.end > len(line) || p.at.start > p.at.end || line[p.at.start:p.at.end] != p.text || len(line) > maxLine {
			continue
		}
		value := image[len(before) : len(image)-len(after)]
		if value == "" {
			continue
		}
		return change{Line: p.at.line, Old: line, New: line[:p.at.start] + value + line[p.at.end:]}, true
	}
	return change{}, false
}

func join(pieces []piece) string { return mention{pieces: pieces}.text() }

// document is a file that was read, by lines.
type document struct {
	file  string
	lines []string
}

func newDocument(file, text string) document {
	return document{file: file, lines: strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")}
}

// column turns bytes from 0 into characters from 1.
func (d document) column(line, start int) int {
	if line < 1 || line > len(d.lines) || start > len(d.lines[line-1]) {
		return 0
	}
	return utf8.RuneCountInString(d.lines[line-1][:start]) + 1
}

// found is what a file names.
type found struct {
	mentions []mention
	problems []problem
	cut      bool // there is more than is shown
}

// problem is what of a file could not be read.
type problem struct {
	file string
	line int // 0 where it is about the whole
	text string
}

func (p problem) Error() string {
	if p.line > 0 {
		return fmt.Sprintf("%s:%d: %s", p.file, p.line, p.text)
	}
	return p.file + ": " + p.text
}

// extract finds the images that a text names.
func extract(file, text string, kind source) (found, document) {
	if strings.Count(text, "\n") > maxLines {
		return found{problems: []problem{{file: file, text: fmt.Sprintf("more than %d lines; it is not read", maxLines)}}}, document{}
	}
	if kind == sourceAuto || kind == "" {
		kind = sniff(file, text)
	}
	doc := newDocument(file, text)
	var out found
	if kind == sourceDockerfile {
		out = dockerfileImages(doc)
	} else {
		out = yamlImages(doc, text, kind)
	}
	if len(out.mentions) > maxMentions {
		out.mentions, out.cut = out.mentions[:maxMentions], true
	}
	return out, doc
}

// isSource says whether a file of a folder may name images: by the names that the programs go by which read them.
func isSource(file string) bool {
	base := strings.ToLower(path.Base(file))
	return isDockerfile(base) || strings.HasSuffix(base, ".yaml") || strings.HasSuffix(base, ".yml")
}

func isDockerfile(base string) bool {
	for _, word := range []string{"dockerfile", "containerfile"} {
		if base == word || strings.HasPrefix(base, word+".") || strings.HasSuffix(base, "."+word) {
			return true
		}
	}
	return false
}

// sniff tells what a file is, by its name or by what stands in it.
func sniff(file, text string) source {
	lower := strings.ToLower(file)
	base := path.Base(lower)
	switch {
	case isDockerfile(base):
		return sourceDockerfile
	case strings.Contains(lower, ".github/workflows/"):
		return sourceWorkflow
	case strings.HasPrefix(base, "compose.") || strings.HasPrefix(base, "docker-compose"):
		return sourceCompose
	case strings.HasPrefix(base, "values") && file != "":
		return sourceHelm
	}
	top := map[string]bool{}
	for line := range strings.Lines(text) {
		if key, _, ok := strings.Cut(strings.TrimPrefix(line, "{"), ":"); ok && !strings.HasPrefix(line, " ") {
			top[strings.Trim(key, `"' `)] = true
		}
		if word, _, _ := strings.Cut(strings.TrimSpace(line), " "); strings.EqualFold(word, "FROM") {
			return sourceDockerfile
		}
	}
	switch {
	case top["apiVersion"] || top["kind"]:
		return sourceKubernetes
	case top["services"]:
		return sourceCompose
	case top["jobs"] && (top["on"] || top["name"] || top["env"]):
		return sourceWorkflow
	}
	return sourceHelm
}
