package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// collection is what all releases come to.
type collection struct {
	sources    []string
	minors     []int
	types      map[string]map[fact][]int // name of a type, to what some releases say of it, to those releases
	kinds      map[kind][]int
	lifecycles map[gvk]lifecycle
}

// fact is one field of a type: its name, what it holds, and whether the schema requires it. The fact without a name is that the
// type exists: some have no fields.
type fact struct {
	field, holds string
	required     bool
}

type gvk struct{ Group, Version, Kind string }

func (k gvk) apiVersion() string {
	if k.Group == "" {
		return k.Version
	}
	return k.Group + "/" + k.Version
}

func (k gvk) String() string { return k.apiVersion() + " " + k.Kind }

type kind struct {
	gvk
	typeName string
}

func newCollection() *collection {
	return &collection{types: map[string]map[fact][]int{}, kinds: map[kind][]int{}, lifecycles: map[gvk]lifecycle{}}
}

func (c *collection) source(path, version, sum string) {
	c.sources = append(c.sources, path+" "+version+" "+sum)
}

// schema is what swagger.json says of a type, as far as it is about structure.
type schema struct {
	Ref                  string             `json:"$ref"`
	Type                 string             `json:"type"`
	Format               string             `json:"format"`
	Properties           map[string]*schema `json:"properties"`
	Required             []string           `json:"required"`
	Items                *schema            `json:"items"`
	AdditionalProperties *schema            `json:"additionalProperties"`
	Kinds                []gvk              `json:"x-kubernetes-group-version-kind"`
}

func (c *collection) addRelease(minor int, swagger []byte) error {
	var document struct{ Definitions map[string]*schema }
	if err := json.Unmarshal(swagger, &document); err != nil {
		return err
	}
	c.minors = append(c.minors, minor)
	full := map[string]string{}
	for name, s := range document.Definitions {
		short := shorten(name)
		if full[short] != "" {
			return fmt.Errorf("%s and %s are both %s", name, full[short], short)
		}
		full[short] = name
		if special(name) != "" {
			continue
		}
		if s.Type != "object" {
			return fmt.Errorf("%s is a %s; say in special how it is decoded", name, s.Type)
		}
		if err := c.addType(minor, short, s); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		// What can be sent to the API server has the metadata of an object; a list has those of a list, options have none.
		meta := s.Properties["metadata"]
		if meta == nil || shorten(meta.Ref) != "meta.v1.ObjectMeta" {
			continue
		}
		for _, k := range s.Kinds {
			c.kinds[kind{k, short}] = append(c.kinds[kind{k, short}], minor)
		}
	}
	return nil
}

func (c *collection) addType(minor int, name string, s *schema) error {
	facts := c.types[name]
	if facts == nil {
		facts = map[fact][]int{}
		c.types[name] = facts
	}
	facts[fact{}] = append(facts[fact{}], minor)
	for field, of := range s.Properties {
		holds, err := describe(of)
		if err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
		f := fact{field, holds, slices.Contains(s.Required, field)}
		facts[f] = append(facts[f], minor)
	}
	return nil
}

// describe says what a field holds: a scalar, [] or {} before what a list or a map holds, or the name of a type.
func describe(s *schema) (string, error) {
	switch {
	case s.Ref != "":
		if t := special(s.Ref); t != "" {
			return t, nil
		}
		return shorten(s.Ref), nil
	case s.Type == "array" && s.Items != nil:
		item, err := describe(s.Items)
		return "[]" + item, err
	case s.Type == "object" && s.AdditionalProperties != nil:
		value, err := describe(s.AdditionalProperties)
		return "{}" + value, err
	}
	switch s.Type + " " + s.Format {
	case "string ":
		return "string", nil
	case "string byte":
		return "bytes", nil
	case "boolean ":
		return "boolean", nil
	case "integer int32":
		return "int32", nil
	case "integer int64":
		return "int64", nil
	case "number double":
		return "double", nil
	}
	return "", fmt.Errorf("type %q, format %q: say how it is decoded", s.Type, s.Format)
}

// special names the types that decode themselves, in Go, other than their schema tells.
func special(name string) string {
	switch shorten(name) {
	case "resource.Quantity":
		return "quantity"
	case "meta.v1.Time":
		return "time"
	case "meta.v1.MicroTime":
		return "microtime"
	case "intstr.IntOrString":
		return "intorstring"
	case "meta.v1.FieldsV1", "runtime.RawExtension", "apiextensions.v1.JSON", "meta.v1.Patch":
		return "any"
	case "apiextensions.v1.JSONSchemaPropsOrArray":
		return "schemaorarray"
	case "apiextensions.v1.JSONSchemaPropsOrBool":
		return "schemaorbool"
	case "apiextensions.v1.JSONSchemaPropsOrStringArray":
		return "schemaorstrings"
	}
	return ""
}

// shorten turns io.k8s.api.core.v1.Pod, or a reference to it, into core.v1.Pod.
func shorten(name string) string {
	parts := strings.Split(strings.TrimPrefix(name, "#/definitions/"), ".")
	keep := 2 // package and name
	if len(parts) > 2 && isVersion(parts[len(parts)-2]) {
		keep = 3
	}
	return strings.Join(parts[max(0, len(parts)-keep):], ".")
}

func isVersion(s string) bool {
	return len(s) > 1 && s[0] == 'v' && s[1] >= '0' && s[1] <= '9'
}

func (c *collection) text() []byte {
	var b bytes.Buffer
	b.WriteString("# The structure of the kinds of Kubernetes, written by scripts/schemas; the loader in schemas.go says how to read it.\n")
	for _, source := range c.sources {
		fmt.Fprintf(&b, "# from %s\n", source)
	}
	fmt.Fprintf(&b, "releases %d-%d\n", c.minors[0], c.minors[len(c.minors)-1])
	kinds := slices.SortedFunc(maps.Keys(c.kinds), func(a, b kind) int { return strings.Compare(a.String(), b.String()) })
	for _, k := range kinds {
		fmt.Fprintf(&b, "kind %s %s%s\n", k, k.typeName, c.span(c.kinds[k], c.minors))
	}
	for _, k := range slices.SortedFunc(maps.Keys(c.lifecycles), func(a, b gvk) int { return strings.Compare(a.String(), b.String()) }) {
		fmt.Fprintf(&b, "lifecycle %s%s\n", k, c.lifecycles[k])
	}
	for _, name := range slices.Sorted(maps.Keys(c.types)) {
		facts := c.types[name]
		exists := facts[fact{}]
		fmt.Fprintf(&b, "type %s\n", name)
		var lines []string
		for f, minors := range facts {
			if f.field == "" {
				continue
			}
			required := ""
			if f.required {
				required = " required"
			}
			// A type that a release does not have needs no field there.
			lines = append(lines, fmt.Sprintf("\t%s %s%s%s\n", f.field, f.holds, required, c.span(minors, exists)))
		}
		slices.Sort(lines)
		b.WriteString(strings.Join(lines, ""))
	}
	return b.Bytes()
}

// span writes the releases of something, if those are not all that it could be in: 33-36, 33- up to the newest, -36 from the oldest.
// A gap makes two spans.
func (c *collection) span(minors, all []int) string {
	if slices.Equal(minors, all) {
		return ""
	}
	var spans []string
	for i := 0; i < len(minors); {
		j := i
		for j+1 < len(minors) && minors[j+1] == minors[j]+1 {
			j++
		}
		from, to := fmt.Sprint(minors[i]), fmt.Sprint(minors[j])
		if minors[i] == c.minors[0] {
			from = ""
		}
		if minors[j] == c.minors[len(c.minors)-1] {
			to = ""
		}
		spans = append(spans, from+"-"+to)
		i = j + 1
	}
	return " " + strings.Join(spans, ",")
}
