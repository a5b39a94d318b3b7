package docs

import (
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// pages are those that a user reads: the first ones, and the manuals.
func pages(t *testing.T) []string {
	t.Helper()
	found := []string{"README.md", "CONTRIBUTING.md", "SECURITY.md"}
	for _, pattern := range []string{"docs/*.md", "images/README.md", "servers/*/README.md", "servers/e2e/*/README.md"} {
		more, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(more) == 0 {
			t.Fatalf("no pages %s: %v", pattern, err)
		}
		for _, page := range more {
			page, err := filepath.Rel(root, page)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, filepath.ToSlash(page))
		}
	}
	return found
}

// block is a piece of a page that is no prose.
type block struct {
	page string
	line int
	info string // what stands behind the fence; "yaml" for an indented block of that, "" for any other indented one
	text string
}

// blocks are the fenced and the indented ones of a page.
func blocks(page, text string) []block {
	var all []block
	var open *block
	fenced := false
	flush := func() {
		if open != nil {
			if open.info == "" && yamlPattern.MatchString(open.text) {
				open.info = "yaml"
			}
			all = append(all, *open)
		}
		open = nil
	}
	for number, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			if fenced {
				flush()
			} else {
				flush()
				open = &block{page: page, line: number + 1, info: strings.TrimPrefix(line, "```")}
				if open.info == "" {
					open.info = "picture"
				}
			}
			fenced = !fenced
		case fenced:
			open.text += line + "\n"
		case strings.HasPrefix(line, "    "):
			if open == nil {
				open = &block{page: page, line: number + 1}
			}
			open.text += strings.TrimPrefix(line, "    ") + "\n"
		case line != "":
			flush()
		}
	}
	flush()
	return all
}

var (
	yamlPattern    = regexp.MustCompile(`^(#.*\n)*[a-z]+:[ \n]`)
	outputPattern  = regexp.MustCompile(`^(FOUND |\{|\d)`)
	linkPattern    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	inlinePattern  = regexp.MustCompile("`([^`]+)`")
	headingPattern = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notInAnchor    = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// links are those of a page that lead to files.
func links(text string) []string {
	var all []string
	for _, found := range linkPattern.FindAllStringSubmatch(text, -1) {
		if !strings.Contains(found[1], "://") {
			all = append(all, found[1])
		}
	}
	return all
}

// headings are a page's, as links name them.
func headings(text string) []string {
	var all []string
	for _, found := range headingPattern.FindAllStringSubmatch(text, -1) {
		anchor := notInAnchor.ReplaceAllString(strings.ToLower(found[1]), "")
		all = append(all, strings.ReplaceAll(anchor, " ", "-"))
	}
	return all
}

// lineOf is where a block begins.
func lineOf(b block) string { return strconv.Itoa(b.line) }

// isOutput says whether an indented block is what a program printed, rather than what somebody types.
func isOutput(b block) bool { return outputPattern.MatchString(b.text) }
