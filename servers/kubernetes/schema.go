package main

import (
	_ "embed" // the schemas
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// schemasText is written by scripts/schemas: what the API server decodes into, at several releases of Kubernetes.
//
//	releases 29-37
//	kind APIVERSION KIND TYPE [SPANS]
//	lifecycle APIVERSION KIND [deprecated MINOR] [removed MINOR] [use APIVERSION KIND]
//	type TYPE
//		FIELD HOLDS [required] [SPANS]
//
// HOLDS is a scalar, or the name of a type, after [] for each list and {} for each map around it. SPANS are the releases that a
// line is about, such as 33-36 or -30,34-; without, all.
//
// Why schemas, and not the Go types of k8s.io/api with the API server's own serializer, which is what the server runs? The types
// are those of one release, and stop at the first value of a wrong type; a manifest is written for the cluster that one has, and
// wants all its faults told. So the structure is data, over nine releases in 190 KB where the types of one are 10 MB, and only
// values that decode themselves (quantities, times, int-or-string, bytes) go through the same code as in the server. The
// generator's test holds the data to the Go types field by field, and the tests here hold the outcome to a real server.
//
//go:embed schemas.txt
var schemasText string

// gvk names a kind as a manifest does: apiVersion is GROUP/VERSION, or VERSION alone in the core group.
type gvk struct{ apiVersion, kind string }

func (k gvk) String() string { return stated(k.apiVersion) + " " + shorten(k.kind) }

// release is a minor release of Kubernetes 1.
type release int

func (r release) String() string { return "v1." + strconv.Itoa(int(r)) }

// schemas are the structures of all built-in kinds.
type schemas struct {
	oldest, newest release
	meta           *shape // ObjectMeta
	kinds          map[gvk][]kindEntry
	lifecycles     map[gvk]lifecycle
	groups         map[string]bool // that Kubernetes itself serves, or served
	byKind         map[string][]gvk
}

type kindEntry struct {
	shape *shape
	spans spans
}

// lifecycle is what the module of a kind's types tells. Releases are 0 where it tells none.
type lifecycle struct {
	deprecated, removed release
	replacement         gvk
}

// span is from one release to another, both included.
type span struct{ from, to release }

// spans are the releases that something is about; none means all.
type spans []span

func (s spans) has(r release) bool {
	return len(s) == 0 || slices.ContainsFunc(s, func(s span) bool { return s.from <= r && r <= s.to })
}

// form says how a value is decoded.
type form int

const (
	formAny form = iota
	formString
	formBoolean
	formInt32
	formInt64
	formDouble
	formBytes
	formQuantity
	formTime
	formMicroTime
	formIntOrString
	formList
	formObject

	// The fields of a CustomResourceDefinition that hold a schema or something else.
	formSchemaOrArray
	formSchemaOrBool
	formSchemaOrStrings

	// What only schemas of custom resources have.
	formInteger
	formNumber
	formClosed // any value, of which the API server keeps only what is no field of an object
)

// shape is what a value may be.
type shape struct {
	form   form
	item   *shape    // of formList; nil is any scalar
	object *fieldSet // of formObject

	custom   bool // from a CustomResourceDefinition: null is a value like others there, and not always taken
	nullable bool // of custom: null is taken
}

// fieldSet is an object: its fields, and what else it may hold.
type fieldSet struct {
	name     string
	required []string           // names of fields that some release requires
	fields   map[string][]field // by name; of several that have one name, each is about other releases
	rest     *shape             // what a key that is no field holds; nil where there may be none
	open     bool               // a key that is no field is kept, whatever it holds
	meta     bool               // metadata is that of every object
}

type field struct {
	shape    *shape
	required bool
	spans    spans
}

func (s *fieldSet) field(name string, at release) (field, bool) {
	for _, f := range s.fields[name] {
		if f.spans.has(at) {
			return f, true
		}
	}
	return field{}, false
}

func (s *fieldSet) add(name string, f field) {
	if f.required && !slices.ContainsFunc(s.fields[name], func(f field) bool { return f.required }) {
		s.required = append(s.required, name)
	}
	s.fields[name] = append(s.fields[name], f)
}

// loadSchemas reads the embedded schemas. It fails only if the binary was built of a broken file.
func loadSchemas() (*schemas, error) {
	l := schemaLoader{
		all:   &schemas{kinds: map[gvk][]kindEntry{}, lifecycles: map[gvk]lifecycle{}, groups: map[string]bool{}, byKind: map[string][]gvk{}},
		types: map[string]*fieldSet{}, shapes: map[string]*shape{},
	}
	l.all.meta = l.shape("meta.v1.ObjectMeta")
	number := 0
	for line := range strings.Lines(schemasText) {
		number++
		if err := l.read(strings.TrimSuffix(line, "\n")); err != nil {
			return nil, fmt.Errorf("schemas.txt:%d: %w", number, err)
		}
	}
	for name, t := range l.types {
		if t.fields == nil {
			return nil, fmt.Errorf("schemas.txt: type %s is used, and not there", name)
		}
	}
	return l.all, nil
}

type schemaLoader struct {
	all    *schemas
	types  map[string]*fieldSet
	shapes map[string]*shape
	last   *fieldSet
}

var errSchemaLine = errors.New("a line of no known form")

func (l *schemaLoader) read(line string) error {
	if line == "" || line[0] == '#' {
		return nil
	}
	words := strings.Fields(line)
	if line[0] == '\t' {
		return l.readField(words)
	}
	switch {
	case words[0] == "releases" && len(words) == 2:
		from, to, _ := strings.Cut(words[1], "-")
		var err error
		l.all.oldest, l.all.newest, err = bounds(from, to, 0, 0)
		return err
	case words[0] == "kind" && len(words) >= 4:
		k := gvk{words[1], words[2]}
		when, err := l.spans(words[4:])
		if len(l.all.kinds[k]) == 0 {
			l.all.byKind[k.kind] = append(l.all.byKind[k.kind], k)
		}
		l.all.kinds[k] = append(l.all.kinds[k], kindEntry{l.shape(words[3]), when})
		l.all.groups[group(k.apiVersion)] = true
		return err
	case words[0] == "lifecycle" && len(words) >= 3:
		return l.readLifecycle(gvk{words[1], words[2]}, words[3:])
	case words[0] == "type" && len(words) == 2:
		l.last = l.fieldSet(words[1])
		l.last.fields = map[string][]field{}
		return nil
	}
	return errSchemaLine
}

func (l *schemaLoader) readField(words []string) error {
	if len(words) < 2 || l.last == nil {
		return errSchemaLine
	}
	f := field{shape: l.shape(words[1])}
	rest := words[2:]
	if len(rest) > 0 && rest[0] == "required" {
		f.required, rest = true, rest[1:]
	}
	var err error
	f.spans, err = l.spans(rest)
	l.last.add(words[0], f)
	return err
}

func (l *schemaLoader) readLifecycle(k gvk, words []string) error {
	var c lifecycle
	for len(words) >= 2 {
		minor, err := strconv.Atoi(words[1])
		switch words[0] {
		case "deprecated":
			c.deprecated = release(minor)
		case "removed":
			c.removed = release(minor)
		case "use":
			if len(words) != 3 {
				return errSchemaLine
			}
			c.replacement, words, err = gvk{words[1], words[2]}, words[1:], nil
		default:
			return errSchemaLine
		}
		if err != nil {
			return err
		}
		words = words[2:]
	}
	l.all.lifecycles[k] = c
	l.all.groups[group(k.apiVersion)] = true
	return nil
}

func (l *schemaLoader) spans(words []string) (spans, error) {
	if len(words) == 0 {
		return nil, nil
	}
	if len(words) > 1 {
		return nil, errSchemaLine
	}
	var all spans
	for part := range strings.SplitSeq(words[0], ",") {
		from, to, _ := strings.Cut(part, "-")
		s := span{}
		var err error
		if s.from, s.to, err = bounds(from, to, l.all.oldest, l.all.newest); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// bounds reads both ends of a span, of which either may be left out.
func bounds(from, to string, oldest, newest release) (release, release, error) {
	read := func(s string, without release) (release, error) {
		if s == "" {
			return without, nil
		}
		n, err := strconv.Atoi(s)
		return release(n), err
	}
	first, err := read(from, oldest)
	if err != nil {
		return 0, 0, err
	}
	last, err := read(to, newest)
	return first, last, err
}

func (l *schemaLoader) fieldSet(name string) *fieldSet {
	if l.types[name] == nil {
		l.types[name] = &fieldSet{name: name}
	}
	return l.types[name]
}

func (l *schemaLoader) shape(holds string) *shape {
	if known := l.shapes[holds]; known != nil {
		return known
	}
	s := &shape{}
	l.shapes[holds] = s
	if item, ok := strings.CutPrefix(holds, "[]"); ok {
		s.form, s.item = formList, l.shape(item)
	} else if value, ok := strings.CutPrefix(holds, "{}"); ok {
		s.form, s.object = formObject, &fieldSet{fields: map[string][]field{}, rest: l.shape(value)}
	} else if scalar, ok := scalarForm(holds); ok {
		s.form = scalar
		if scalar >= formSchemaOrArray {
			s.object = l.fieldSet("apiextensions.v1.JSONSchemaProps")
		}
	} else {
		s.form, s.object = formObject, l.fieldSet(holds)
	}
	return s
}

func scalarForm(holds string) (form, bool) {
	switch holds {
	case "any":
		return formAny, true
	case "string":
		return formString, true
	case "boolean":
		return formBoolean, true
	case "int32":
		return formInt32, true
	case "int64":
		return formInt64, true
	case "double":
		return formDouble, true
	case "bytes":
		return formBytes, true
	case "quantity":
		return formQuantity, true
	case "time":
		return formTime, true
	case "microtime":
		return formMicroTime, true
	case "intorstring":
		return formIntOrString, true
	case "schemaorarray":
		return formSchemaOrArray, true
	case "schemaorbool":
		return formSchemaOrBool, true
	case "schemaorstrings":
		return formSchemaOrStrings, true
	default:
		return 0, false
	}
}

// kind returns the structure of a kind at a release, nil where that release does not have the kind.
func (s *schemas) kind(k gvk, at release) *shape {
	for _, e := range s.kinds[k] {
		if e.spans.has(at) {
			return e.shape
		}
	}
	return nil
}

// release reads latest or v1.N.
func (s *schemas) release(version string) (release, error) {
	if version == "latest" {
		return s.newest, nil
	}
	minor, ok := strings.CutPrefix(version, "v1.")
	n, err := strconv.Atoi(minor)
	if !ok || err != nil {
		return 0, fmt.Errorf("version %q: want latest or v1.N, such as %s", version, s.newest)
	}
	if r := release(n); r < s.oldest || r > s.newest {
		return 0, fmt.Errorf("version %s: known are %s to %s", r, s.oldest, s.newest)
	}
	return release(n), nil
}
