package main

import (
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// yamlImages finds the images of a compose file, a Kubernetes manifest, Helm values or a GitHub workflow. Only nodes are
// read: an alias stands for itself, so that none can multiply.
func yamlImages(doc document, text string, kind source) found {
	w := yamlWalk{document: doc, kind: kind}
	// A value takes some hundred bytes while it is decoded, however few it has in the text.
	if values := strings.Count(text, "\n") + strings.Count(text, ",") + strings.Count(text, ":") + strings.Count(text, "- ") + strings.Count(text, "["); values > maxNodes {
		w.problems = append(w.problems, problem{file: doc.file, text: "more than " + strconv.Itoa(maxNodes) + " values; it is not read"})
		return w.found
	}
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for range maxDocuments {
		var root yaml.Node
		err := decoder.Decode(&root)
		if errors.Is(err, io.EOF) {
			return w.found
		}
		if err != nil {
			w.problems = append(w.problems, w.yamlProblem(err))
			return w.found
		}
		w.walk(&root, nil)
	}
	w.problems = append(w.problems, problem{file: doc.file, text: "more than " + strconv.Itoa(maxDocuments) + " documents; the rest is not read"})
	return w.found
}

var yamlLine = regexp.MustCompile(`line ([0-9]+)`)

// yamlProblem says where a text is no YAML. The library's words are not repeated: they may quote the text, which may be a
// Secret's.
func (d document) yamlProblem(err error) problem {
	p := problem{file: d.file, text: "this is no YAML that can be read; a Helm template must be rendered first (helm template)"}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		p.line, _ = strconv.Atoi(m[1])
	}
	return p
}

type yamlWalk struct {
	document
	found
	kind  source
	nodes int
}

// walk looks through a node at path.
func (w *yamlWalk) walk(n *yaml.Node, path []string) {
	if w.nodes++; w.nodes > maxNodes || len(path) > maxDepth || len(w.mentions) > maxMentions {
		w.cut = true
		return
	}
	switch n.Kind {
	case yaml.ScalarNode, yaml.AliasNode: // neither holds an image that its parent does not name
	case yaml.DocumentNode:
		for _, child := range n.Content {
			w.walk(child, path)
		}
	case yaml.SequenceNode:
		for i, child := range n.Content {
			w.walk(child, below(path, "["+strconv.Itoa(i)+"]"))
		}
	case yaml.MappingNode:
		if w.kind == sourceHelm && w.helmImage(n, path) {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i].Value, scalar(n.Content[i+1])
			at := below(path, clip(key, maxShown))
			switch {
			case value != nil && w.names(key, value, path):
				w.add(value, at)
			default:
				w.walk(n.Content[i+1], at)
			}
		}
	}
}

func below(path []string, name string) []string { return append(slices.Clip(path), name) }

// scalar returns the string that a node is, itself or by an alias; nil if it is none.
func scalar(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n == nil || n.Kind != yaml.ScalarNode || n.ShortTag() == "!!null" {
		return nil
	}
	return n
}

// names says whether the value of key, below path, is an image.
func (w *yamlWalk) names(key string, value *yaml.Node, path []string) bool {
	last := func(i int) string {
		if len(path) < i {
			return ""
		}
		return path[len(path)-i]
	}
	switch w.kind {
	case sourceWorkflow:
		switch key {
		case "image":
			return last(1) == "container" || last(2) == "services"
		case "container":
			return last(2) == "jobs"
		case "uses":
			return strings.HasPrefix(value.Value, dockerScheme)
		}
		return false
	case sourceCompose:
		return key == "image" && last(2) == "services"
	case sourceKubernetes:
		return key == "image" || key == "reference" && last(1) == "image"
	default:
		return key == "image"
	}
}

// dockerScheme is how a workflow's step names an image.
const dockerScheme = "docker://"

func (w *yamlWalk) add(n *yaml.Node, path []string) {
	text, start, ok := w.place(n)
	if rest, is := strings.CutPrefix(text, dockerScheme); is {
		text, start = rest, start+len(dockerScheme)
	}
	m := mention{file: w.file, line: n.Line, column: w.column(n.Line, start), field: field(path)}
	switch {
	case text == "":
		return
	case strings.Contains(text, "{{"):
		m.hidden = "it is an expression that only the program knows that reads it"
	case ok:
		m.pieces, m.hidden = expand(text, n.Line, start, nil)
	default: // written in some way that is not taken apart here: over lines, or with escapes
		m.column = n.Column
		m.pieces, m.hidden = expand(text, 0, 0, nil)
	}
	w.mentions = append(w.mentions, m)
}

// place finds the text of a scalar in its line. ok is false if it is not there as it is.
func (w *yamlWalk) place(n *yaml.Node) (text string, start int, ok bool) {
	if n.Line < 1 || n.Line > len(w.lines) {
		return n.Value, 0, false
	}
	line := w.lines[n.Line-1]
	for range n.Column - 1 {
		_, size := utf8.DecodeRuneInString(line[start:])
		start += size
	}
	if n.Anchor != "" || n.Style&(yaml.TaggedStyle) != 0 {
		if i := strings.Index(line[start:], n.Value); i >= 0 {
			start += i
		}
	} else if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
		start++
	}
	return n.Value, start, start <= len(line) && strings.HasPrefix(line[start:], n.Value)
}

// helmImage reads a mapping as charts have it: registry, repository, tag, digest.
func (w *yamlWalk) helmImage(n *yaml.Node, path []string) bool {
	parts := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if value := scalar(n.Content[i+1]); value != nil {
			parts[n.Content[i].Value] = value
		}
	}
	repository := parts["repository"]
	if repository == nil || parts["tag"] == nil && (len(path) == 0 || !strings.HasSuffix(strings.ToLower(path[len(path)-1]), "image")) {
		return false
	}
	if strings.Contains(repository.Value, "://") {
		return false // of charts, or of sources
	}
	m := mention{file: w.file, line: repository.Line, column: repository.Column, field: field(path)}
	part := func(name, before string) {
		value := parts[name]
		if value == nil || value.Value == "" {
			return
		}
		text, start, ok := w.place(value)
		p := piece{text: text}
		if ok {
			p.at = &span{line: value.Line, start: start, end: start + len(text)}
		}
		if before != "" {
			m.pieces = append(m.pieces, piece{text: before})
		}
		m.pieces = append(m.pieces, p)
		if name == "registry" {
			m.pieces = append(m.pieces, piece{text: "/"})
		}
		if name == "tag" {
			m.line, m.column = value.Line, value.Column
		}
	}
	part("registry", "")
	part("repository", "")
	part("tag", ":")
	part("digest", "@")
	if text := join(m.pieces); text == "" {
		return false
	} else if strings.ContainsAny(text, "{$") {
		m.pieces, m.hidden = nil, "it is an expression that only the program knows that reads it"
	}
	w.mentions = append(w.mentions, m)
	return true
}

// field writes a path as spec.containers[0].image.
func field(path []string) string {
	text := strings.ReplaceAll(strings.Join(path, "."), ".[", "[")
	return clip(text, maxField)
}
