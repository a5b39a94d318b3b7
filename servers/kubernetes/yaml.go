package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	kjson "sigs.k8s.io/json"
	kyaml "sigs.k8s.io/yaml"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// inputError says that a part of an input could not be read. Its text never repeats what stands there, since
// that may be the value of a Secret.
type inputError struct {
	file   string
	line   int // 0 where it is about the whole input
	object string
	text   string
}

func (e *inputError) Error() string {
	where := finding.Location{File: e.file, Line: e.line}.String()
	if e.object != "" {
		where += ": " + e.object
	}
	return where + ": " + e.text
}

// document is one document of an input: its content as JSON, and the nodes that say where each field stands.
type document struct {
	file   string
	offset int // lines of the input before the document's first
	first  int // line that the document's content begins at
	json   json.RawMessage
	node   *yaml.Node // nil where valid JSON is not valid YAML; then only first is known
	err    error      // why the document cannot be used

	members map[*yaml.Node]map[string]member // of each mapping that was looked into
}

// chunk is the text of one document.
type chunk struct {
	text   []byte
	offset int // lines before it
}

// split divides YAML into documents as kubectl does (k8s.io/apimachinery/pkg/util/yaml, YAMLReader): at each
// line that begins with ---, with nothing but a comment after it.
func split(file string, data []byte) (chunks []chunk, errs []error) {
	start, offset, line := 0, 0, 0
	for pos := 0; pos < len(data); line++ {
		end := len(data)
		if i := bytes.IndexByte(data[pos:], '\n'); i >= 0 {
			end = pos + i + 1
		}
		if rest, ok := bytes.CutPrefix(data[pos:end], []byte("---")); ok {
			if rest = bytes.TrimSpace(rest); len(rest) > 0 && rest[0] != '#' {
				errs = append(errs, &inputError{file: file, line: line + 1,
					text: "text after the document separator ---; kubectl refuses it: begin a new line"})
			}
			chunks = append(chunks, chunk{data[start:pos], offset})
			start, offset = end, line+1
		}
		pos = end
	}
	return append(chunks, chunk{data[start:], offset}), errs
}

// readDocuments reads every document of an input, JSON or YAML. One that cannot be read is an error and does
// not hide the others.
func readDocuments(file string, data []byte, yield func(*document) bool) []error {
	if docs := readJSON(file, data); docs != nil {
		var errs []error
		for i, doc := range docs {
			switch {
			case i == maxDocuments:
				return append(errs, tooManyDocuments(file, doc.first))
			case doc.err != nil:
				errs = append(errs, doc.err)
			case !yield(doc):
				return errs
			}
		}
		return errs
	}
	chunks, errs := split(file, data)
	budget := growth{nodes: maxAliasedNodes, bytes: maxAliasedBytes}
	documents := 0
	for _, c := range chunks {
		doc, err := readYAML(file, c, &budget)
		switch {
		case err != nil:
			errs = append(errs, err)
		case doc == nil:
			continue
		case documents == maxDocuments:
			return append(errs, tooManyDocuments(file, doc.first))
		case !yield(doc):
			return errs
		}
		documents++
	}
	return errs
}

func tooManyDocuments(file string, line int) error {
	return &inputError{file: file, line: line, text: fmt.Sprintf("too large: more than %d documents; split the input", maxDocuments)}
}

// readJSON reads a stream of JSON objects. It returns nil for what is none, such as YAML in flow style.
func readJSON(file string, data []byte) []*document {
	if trimmed := bytes.TrimSpace(data); len(trimmed) == 0 || trimmed[0] != '{' {
		return nil
	}
	var docs []*document
	dec := json.NewDecoder(bytes.NewReader(data))
	offset, counted := 0, int64(0)
	for len(docs) <= maxDocuments {
		var raw json.RawMessage
		err := dec.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return docs
		}
		var content any
		if err == nil {
			err = kjson.UnmarshalCaseSensitivePreserveInts(raw, &content)
		}
		if err != nil {
			return nil
		}
		// As kubectl reads it: of a field that stands there twice the last counts, and counts alone.
		compact, err := json.Marshal(content)
		if err != nil {
			return nil
		}
		begin := dec.InputOffset() - int64(len(raw))
		offset += bytes.Count(data[counted:begin], []byte("\n"))
		counted = begin
		doc := &document{file: file, offset: offset, first: offset + 1, json: compact}
		if nested(content, 0) > maxNesting {
			doc.err = &inputError{file: file, line: doc.first, text: errTooDeep.Error()}
		} else if node, err := parse(raw); err == nil {
			doc.node = node
		}
		docs = append(docs, doc)
	}
	return docs
}

// readYAML reads one document. It returns nil, nil for one that is empty.
func readYAML(file string, c chunk, budget *growth) (*document, error) {
	node, err := parse(c.text)
	if errors.Is(err, io.EOF) {
		return nil, nil //nolint:nilnil // comments and white space are no document
	}
	if err != nil {
		line, text := explainYAML(err)
		if bytes.Contains(c.text, []byte("{{")) {
			text += " (if this is a template of Helm or the like, render it first: helm template CHART | kubernetes check -)"
		}
		return nil, &inputError{file: file, line: c.offset + line, text: text}
	}
	doc := &document{file: file, offset: c.offset, first: c.offset + node.Line, node: node}
	if err := budget.spend(node); err != nil {
		return nil, &inputError{file: file, line: doc.first, text: err.Error()}
	}
	// kubectl and the API server read YAML 1.1 by way of JSON; this is their function for it.
	doc.json, err = kyaml.YAMLToJSON(c.text)
	if err != nil {
		return nil, &inputError{file: file, line: doc.first,
			text: "not YAML that kubectl can read: a key, number, tag or merge (<<) that JSON has no form for"}
	}
	if string(doc.json) == "null" {
		return nil, nil //nolint:nilnil // kubectl skips it, too
	}
	return doc, nil
}

// errSecondDocument means that YAML sees a document where kubectl does not look for one, such as after "...".
var errSecondDocument = errors.New("yaml: a second document that does not begin with a line ---")

// parse returns the content node of the one document in text, or [io.EOF].
func parse(text []byte) (node *yaml.Node, err error) {
	// The parser panics with a plain string on comments in places that it did not foresee.
	defer func() {
		if recover() != nil {
			node, err = nil, errors.New("yaml: unknown problem")
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); err != nil {
		return nil, err
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, errSecondDocument
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, io.EOF
	}
	return doc.Content[0], nil
}

// explainYAML takes line and problem out of the parser's error. The parser's texts are constants but for one,
// which quotes the input.
func explainYAML(err error) (line int, text string) {
	line = 1
	text = strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		number, what, _ := strings.Cut(rest, ": ")
		if n, err := strconv.Atoi(number); err == nil {
			line, text = n, what
		}
	}
	if strings.HasPrefix(text, "unknown anchor") {
		text = "an alias (*) of an anchor that does not exist; quote a value that begins with *"
	}
	return line, "not valid YAML: " + text
}

// nested returns how deep values nest, at most one more than maxNesting.
func nested(v any, above int) int {
	deepest := above
	if above > maxNesting {
		return deepest
	}
	switch v := v.(type) {
	case map[string]any:
		for _, value := range v {
			deepest = max(deepest, nested(value, above+1))
		}
	case []any:
		for _, item := range v {
			deepest = max(deepest, nested(item, above+1))
		}
	}
	return deepest
}

// growth is how much all documents of an input may still grow by when aliases are replaced by what they stand
// for. A kilobyte of nested aliases can stand for gigabytes.
type growth struct {
	nodes, bytes int
}

// size is what a node amounts to: as written, and with its aliases expanded.
type size struct {
	written, expanded growth
	depth             int
}

func (g *growth) spend(n *yaml.Node) error {
	m := measuring{left: *g, known: map[*yaml.Node]size{}, open: map[*yaml.Node]bool{}}
	s, err := m.measure(n, 0)
	if err != nil {
		return err
	}
	g.nodes -= s.expanded.nodes - s.written.nodes
	g.bytes -= s.expanded.bytes - s.written.bytes
	return nil
}

// measuring adds up the nodes of one document: known are the sizes of its anchored nodes, open those that are
// being added up.
type measuring struct {
	left  growth
	known map[*yaml.Node]size
	open  map[*yaml.Node]bool
}

func (m *measuring) measure(n *yaml.Node, above int) (size, error) {
	if above > maxNesting {
		return size{}, errTooDeep
	}
	if n.Kind == yaml.AliasNode {
		if m.open[n.Alias] {
			return size{}, errors.New("not valid YAML: an anchor that contains itself")
		}
		s := m.known[n.Alias] // it stands before its aliases, so it was measured before
		s.written = growth{nodes: 1}
		return s, nil
	}
	if n.Anchor != "" {
		m.open[n] = true
		defer delete(m.open, n)
	}
	one := growth{nodes: 1, bytes: len(n.Value)}
	sum := size{written: one, expanded: one}
	for _, child := range n.Content {
		s, err := m.measure(child, above+1)
		if err != nil {
			return size{}, err
		}
		sum.written.add(s.written)
		sum.expanded.add(s.expanded)
		sum.depth = max(sum.depth, s.depth+1)
		switch {
		case sum.expanded.nodes-sum.written.nodes > m.left.nodes:
			return size{}, fmt.Errorf("too large: its aliases stand for more than %d values", maxAliasedNodes)
		case sum.expanded.bytes-sum.written.bytes > m.left.bytes:
			return size{}, fmt.Errorf("too large: its aliases stand for more than %d bytes", maxAliasedBytes)
		case above+sum.depth > maxNesting:
			return size{}, errTooDeep
		}
	}
	if n.Anchor != "" {
		m.known[n] = sum
	}
	return sum, nil
}

func (g *growth) add(other growth) {
	g.nodes += other.nodes
	g.bytes += other.bytes
}

var errTooDeep = fmt.Errorf("too large: nested more than %d levels deep", maxNesting)

// fieldPath is the way to a field: strings are keys, ints are indices.
type fieldPath []any

// String writes the path as Kubernetes does, with keys that are no identifiers in brackets and quotes.
func (p fieldPath) String() string {
	var b strings.Builder
	for _, step := range p {
		switch step := step.(type) {
		case int:
			fmt.Fprintf(&b, "[%d]", step)
		case string:
			switch {
			case !identifier(step):
				fmt.Fprintf(&b, "[%q]", step)
			case b.Len() > 0:
				b.WriteString("." + step)
			default:
				b.WriteString(step)
			}
		}
	}
	return b.String()
}

func identifier(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == ""
}

// parsePath reads the form that the JSON decoder reports fields in, a.b[0].c.
func parsePath(s string) fieldPath {
	var path fieldPath
	for part := range strings.SplitSeq(s, ".") {
		key, indices, _ := strings.Cut(part, "[")
		path = append(path, key)
		for index := range strings.SplitSeq(indices, "[") {
			if i, err := strconv.Atoi(strings.TrimSuffix(index, "]")); err == nil {
				path = append(path, i)
			}
		}
	}
	return path
}

// below returns a new path: p, and then what follows.
func (p fieldPath) below(steps ...any) fieldPath {
	return append(append(fieldPath{}, p...), steps...)
}

// member is one entry of a mapping.
type member struct {
	key, value *yaml.Node
}

// find follows path below node as far as it exists. It returns the node whose position stands for the last
// step that exists (a key, or an item of a list), that step's value, and whether the whole path exists.
func (d *document) find(node *yaml.Node, path fieldPath) (at, value *yaml.Node, whole bool) {
	at, value = node, resolve(node)
	for _, step := range path {
		if value == nil {
			return at, nil, false
		}
		switch step := step.(type) {
		case string:
			m, ok := d.membersOf(value)[step]
			if !ok {
				return at, value, false
			}
			at, value = m.key, resolve(m.value)
		case int:
			if value.Kind != yaml.SequenceNode || step >= len(value.Content) {
				return at, value, false
			}
			at = value.Content[step]
			value = resolve(at)
		}
	}
	return at, value, true
}

// location returns where the field at path below node stands in the input, or else the nearest that does.
func (d *document) location(node *yaml.Node, path fieldPath) finding.Location {
	at, _, _ := d.find(node, path)
	if at == nil {
		return finding.Location{File: d.file, Line: d.first}
	}
	return finding.Location{File: d.file, Line: d.offset + at.Line, Column: at.Column}
}

func resolve(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// membersOf returns the entries of a mapping, with merged ones (<<), by the rule of YAMLToJSON: in order of
// appearance, and the last counts.
func (d *document) membersOf(n *yaml.Node) map[string]member {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	if known, ok := d.members[n]; ok {
		return known
	}
	all := map[string]member{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if !isMerge(key) {
			all[key.Value] = member{key, value}
			continue
		}
		merged := []*yaml.Node{value}
		if target := resolve(value); target.Kind == yaml.SequenceNode {
			merged = target.Content
		}
		for j := len(merged) - 1; j >= 0; j-- { // of several merged at once the first counts
			for name, m := range d.membersOf(resolve(merged[j])) {
				all[name] = m
			}
		}
	}
	if d.members == nil {
		d.members = map[*yaml.Node]map[string]member{}
	}
	d.members[n] = all
	return all
}

func isMerge(key *yaml.Node) bool {
	return key.Kind == yaml.ScalarNode && key.Tag == "!!merge"
}

// doubled returns the keys that stand twice in the mapping n, at their second place.
func doubled(n *yaml.Node) []*yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	var again []*yaml.Node
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if key := resolve(n.Content[i]); !isMerge(key) {
			if seen[key.Value] {
				again = append(again, n.Content[i])
			}
			seen[key.Value] = true
		}
	}
	return again
}
