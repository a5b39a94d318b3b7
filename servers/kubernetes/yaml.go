package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sort"
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

	repeated []duplicate // where node is nil: the keys that stand twice in a mapping

	members map[*yaml.Node]map[string]member // of each mapping that was looked into
}

// chunk is the text of one document.
type chunk struct {
	text   []byte
	offset int   // lines before it
	err    error // what is wrong with the separator after it
}

// split divides YAML into documents as kubectl does (k8s.io/apimachinery/pkg/util/yaml, YAMLReader): at each
// line that begins with ---, with nothing but a comment after it.
func split(file string, data []byte) []chunk {
	var chunks []chunk
	start, offset, line := 0, 0, 0
	for pos := 0; pos < len(data); line++ {
		end := len(data)
		if i := bytes.IndexByte(data[pos:], '\n'); i >= 0 {
			end = pos + i + 1
		}
		if rest, ok := bytes.CutPrefix(data[pos:end], []byte("---")); ok {
			c := chunk{text: data[start:pos], offset: offset}
			if rest = bytes.TrimSpace(rest); len(rest) > 0 && rest[0] != '#' {
				c.err = &inputError{file: file, line: line + 1,
					text: "text after the document separator ---; kubectl refuses it: begin a new line"}
			}
			if c.err != nil || len(bytes.TrimSpace(c.text)) > 0 {
				chunks = append(chunks, c)
			}
			start, offset = end, line+1
		}
		pos = end
	}
	return append(chunks, chunk{text: data[start:], offset: offset})
}

// readDocuments reads every document of an input, JSON or YAML, of at most so many values each. One that
// cannot be read is an error and does not hide the others.
func readDocuments(file string, data []byte, values int, yield func(*document) bool) []error {
	if docs := readJSON(file, data, values); docs != nil {
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
	var errs []error
	r := yamlReader{file: file, values: values, left: growth{nodes: maxAliasedNodes, bytes: maxAliasedBytes}}
	documents := 0
	for _, c := range split(file, data) {
		doc, err := r.read(c)
		if doc != nil || err != nil || c.err != nil {
			// Broken ones count, too: each costs an attempt.
			if documents++; documents > maxDocuments {
				return append(errs, tooManyDocuments(file, c.offset+1))
			}
		}
		if err != nil {
			errs = append(errs, err)
		}
		if c.err != nil {
			errs = append(errs, c.err)
		}
		if doc != nil && !yield(doc) {
			return errs
		}
	}
	return errs
}

func tooManyDocuments(file string, line int) error {
	return &inputError{file: file, line: line, text: fmt.Sprintf("too large: more than %d documents; split the input", maxDocuments)}
}

// readJSON reads a stream of JSON objects. It returns nil for what is none, such as YAML in flow style.
func readJSON(file string, data []byte, values int) []*document {
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
		begin := dec.InputOffset() - int64(len(raw))
		offset += bytes.Count(data[counted:max(begin, counted)], []byte("\n"))
		counted = max(begin, counted)
		doc := &document{file: file, offset: offset, first: offset + 1}
		if err == nil && structure(raw) > structurePerValue*values {
			doc.err = &inputError{file: file, line: doc.first, text: tooManyValues(values)}
			docs = append(docs, doc)
			continue
		}
		var content any
		var strict []error
		if err == nil {
			strict, err = kjson.UnmarshalStrict(raw, &content)
		}
		if err != nil {
			return nil
		}
		// As kubectl reads it: of a field that stands there twice the last counts, and counts alone.
		compact, err := json.Marshal(content)
		if err != nil {
			return nil
		}
		doc.json = compact
		switch n, depth := extent(content, 0); {
		case depth > maxNesting:
			doc.err = &inputError{file: file, line: doc.first, text: errTooDeep.Error()}
		case n > values:
			doc.err = &inputError{file: file, line: doc.first, text: tooManyValues(values)}
		default:
			if node, err := parse(raw); err == nil {
				doc.node = node
				break
			}
			for _, problem := range strict[:min(len(strict), maxFaults)] {
				if field, ok := problem.(kjson.FieldError); ok { //nolint:errorlint // the library's contract: each is a FieldError
					doc.repeated = append(doc.repeated, duplicate{name: field.FieldPath(), location: doc.location(nil, nil)})
				}
			}
		}
		docs = append(docs, doc)
	}
	return docs
}

// yamlReader reads the documents of one input.
type yamlReader struct {
	file   string
	values int    // that one document may have
	left   growth // for the aliases of all of them
}

// read reads one document. It returns nil, nil for one that is empty.
func (r *yamlReader) read(c chunk) (*document, error) {
	if structure(c.text) > structurePerValue*r.values {
		return nil, &inputError{file: r.file, line: c.offset + 1, text: tooManyValues(r.values)}
	}
	node, err := parse(c.text)
	if errors.Is(err, io.EOF) {
		return nil, nil //nolint:nilnil // comments and white space are no document
	}
	if err != nil {
		line, text := failingLine(c.text, err), explainYAML(err)
		if bytes.Contains(c.text, []byte("{{")) {
			text += " (if this is a template of Helm or the like, render it first: helm template CHART | kubernetes check -)"
		}
		return nil, &inputError{file: r.file, line: c.offset + line, text: text}
	}
	doc := &document{file: r.file, offset: c.offset, first: c.offset + node.Line, node: node}
	size, err := r.left.spend(node)
	if err == nil && size.written.nodes > r.values {
		err = errors.New(tooManyValues(r.values))
	}
	if err != nil {
		return nil, &inputError{file: r.file, line: doc.first, text: err.Error()}
	}
	if size.written.nodes > maxHeldValues {
		doc.node, node = nil, nil // parsing again is cheaper than having both forms of a large document at once
	}
	// kubectl and the API server read YAML 1.1 by way of JSON; this is their function for it.
	doc.json, err = kyaml.YAMLToJSON(c.text)
	if err != nil {
		return nil, &inputError{file: r.file, line: doc.first,
			text: "not YAML that kubectl can read: a key, number, tag or merge (<<) that JSON has no form for"}
	}
	if string(doc.json) == "null" {
		return nil, nil //nolint:nilnil // kubectl skips it, too
	}
	if doc.node == nil {
		doc.node, err = parse(c.text)
	}
	return doc, err
}

// structurePerValue is how many structural characters one value has in a dense but honest document, with
// those inside its strings.
const structurePerValue = 3

// structure counts the characters that begin or separate values. A document has at most three times as many
// values, so that a hopeless one is told before it takes memory.
func structure(text []byte) int {
	n := 0
	for _, c := range text {
		switch c {
		case ',', ':', '-', '?', '[', '{':
			n++
		}
	}
	return n
}

func tooManyValues(values int) string {
	return fmt.Sprintf("too large: more than %d values in a document; split it", values)
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

// explainYAML says what the parser stumbled over. The parser's texts are constants, but for one that quotes
// the input and for the line, which is that of some context before the place.
func explainYAML(err error) string {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if strings.HasPrefix(text, "line ") {
		_, text, _ = strings.Cut(text, ": ")
	}
	if strings.HasPrefix(text, "unknown anchor") {
		text = "an alias (*) of an anchor that does not exist; quote a value that begins with *"
	}
	return "not valid YAML: " + text
}

// failingLine returns the line that a document, which fails to parse with err, fails at: the first one that
// makes the lines up to it fail in the same way.
func failingLine(text []byte, err error) int {
	if line, ok := failingJSON(text); ok {
		return line
	}
	want := explainYAML(err)
	lines := bytes.SplitAfter(text, []byte("\n"))
	ends := make([]int, len(lines))
	for i, end := 0, 0; i < len(lines); i++ {
		end += len(lines[i])
		ends[i] = end
	}
	return 1 + sort.Search(len(lines)-1, func(i int) bool {
		_, err := parse(text[:ends[i]])
		return err != nil && !errors.Is(err, io.EOF) && explainYAML(err) == want
	})
}

// failingJSON returns the line of the syntax error in what looks like JSON rather than YAML.
func failingJSON(text []byte) (line int, ok bool) {
	open, ok := bytes.CutPrefix(bytes.TrimSpace(text), []byte("{"))
	if !ok || !bytes.HasPrefix(bytes.TrimSpace(open), []byte(`"`)) {
		return 0, false
	}
	var syntax *json.SyntaxError
	var content json.RawMessage
	if err := json.Unmarshal(text, &content); !errors.As(err, &syntax) {
		return 0, false
	}
	return 1 + bytes.Count(text[:syntax.Offset], []byte("\n")), true
}

// extent returns how many values v amounts to, keys included as in YAML, and how deep they nest, at most one
// level more than maxNesting.
func extent(v any, above int) (values, deepest int) {
	values, deepest = 1, above
	if above > maxNesting {
		return values, deepest
	}
	child := func(v any) {
		n, depth := extent(v, above+1)
		values += n
		deepest = max(deepest, depth)
	}
	switch v := v.(type) {
	case map[string]any:
		for _, value := range v {
			values++
			child(value)
		}
	case []any:
		for _, item := range v {
			child(item)
		}
	}
	return values, deepest
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

// spend takes what the aliases of a document stand for, and returns the document's size.
func (g *growth) spend(n *yaml.Node) (size, error) {
	m := measuring{left: *g, known: map[*yaml.Node]size{}, open: map[*yaml.Node]bool{}}
	s, err := m.measure(n, 0)
	if err != nil {
		return size{}, err
	}
	g.nodes -= s.expanded.nodes - s.written.nodes
	g.bytes -= s.expanded.bytes - s.written.bytes
	return s, nil
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
		for _, n := range slices.Backward(merged) { // of several merged at once the first counts
			maps.Copy(all, d.membersOf(resolve(n)))
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
