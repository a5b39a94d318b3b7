package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// Mode says what kind of block a [Resource] is.
type Mode string

// The modes. Managed and Data are as Terraform has them; the others are what else rules look at.
const (
	Managed  Mode = "managed"
	Data     Mode = "data"
	Provider Mode = "provider"  // a provider block; its type is the provider's local name
	Call     Mode = "module"    // a module block, with attributes source, version and the arguments
	Settings Mode = "terraform" // a terraform block: required_version, required_providers, backend, cloud
	Variable Mode = "variable"
	Output   Mode = "output"
)

// Resource is one instance of a resource or data source, or another block that rules look at, in a
// configuration or in a plan. What it says is asked through the [Block] in it.
type Resource struct {
	Block
	Address  string   // as Terraform writes it: module.net["a"].aws_subnet.private[0]
	Module   string   // the address of its module instance, "" for the root module
	Mode     Mode     //
	Type     string   // aws_s3_bucket; of other modes as said there, or ""
	Name     string   // as declared
	Provider string   // local name of its provider: aws
	Planned  bool     // of a plan: defaults of the provider are filled in, and what is null is really unset
	Chain    []string // the module calls that led to it, outermost first
	Location finding.Location
	// Uncertain says why it is not known whether there is such an instance: its count is not known, for example. It
	// then stands for those that there may be, and what would fail is unknown instead.
	Uncertain string

	world  world
	source hcl.Range // of its block, in a configuration
}

// world is what a resource knows of the others.
type world interface {
	// referrers are the resources of a type whose attribute at path refers to r.
	referrers(r *Resource, resourceType, path string) Related
	// ofType are all resources of a type, with why there may be more.
	ofType(mode Mode, resourceType string) Related
}

// Related are resources that have to do with another one.
type Related struct {
	All     []*Resource
	Unknown string // what is not known, where there may be more of them or these may be others; else ""
}

// Referrers returns the resources of a type that refer to r with their attribute at path (which is as for
// [Block.Attr]): Referrers("aws_s3_bucket_public_access_block", "bucket") of a bucket.
func (r *Resource) Referrers(resourceType, path string) Related {
	return r.world.referrers(r, resourceType, path)
}

// Others returns all resources of a type and mode, in every module.
func (r *Resource) Others(mode Mode, resourceType string) Related {
	return r.world.ofType(mode, resourceType)
}

// Block is the content of a resource or of a block nested in it. Blocks and attributes that hold objects look
// the same, because neither plans nor JSON syntax tell them apart.
type Block struct {
	content content
	path    string // of the block in the resource: ingress[0]
	place   finding.Location
	reason  string // why it is not known whether there is such a block, and what it says; else ""
}

// content is what a block is made of.
type content interface {
	// attribute returns an attribute's value, maybe marked, and where it stands; cty.NilVal where there is none.
	attribute(name string) (cty.Value, finding.Location)
	// nested returns the blocks of a type, and why there may be others; nil where there are none.
	nested(name string) ([]nested, string)
	// names are those of the attributes and block types that are there.
	names() []string
}

// nested is one nested block and where it stands.
type nested struct {
	content content
	place   finding.Location
}

// Blocks are the nested blocks of one type.
type Blocks struct {
	All     []Block
	Unknown string // what is not known, where there may be more or other ones; else ""
	Path    string
	Place   finding.Location // of the block around them
}

// Path is where the block is in its resource: "" or ingress[0].
func (b Block) Path() string { return b.path }

// Exists says whether there is such a block.
func (b Block) Exists() bool { return b.content != nil }

// Names are the attributes and types of nested blocks that are set, sorted.
func (b Block) Names() []string {
	if b.content == nil {
		return nil
	}
	return b.content.names()
}

// Value returns the block as the place of a finding, as if it were an attribute: null where it is not there.
func (b Block) Value() Value {
	return Value{path: b.path, place: b.place, reason: b.reason, value: cty.NullVal(cty.DynamicPseudoType)}
}

// Attr returns the attribute at path, whose steps are parted by dots: "versioning.enabled" is the attribute
// enabled of the first block versioning. A step into what is absent is null; a step into what is not known is
// unknown.
func (b Block) Attr(path string) Value {
	name, rest, deeper := strings.Cut(path, ".")
	if b.content == nil {
		return Value{path: join(b.path, path), place: b.place, reason: b.reason, value: cty.NullVal(cty.DynamicPseudoType)}
	}
	value, place := b.content.attribute(name)
	if value != cty.NilVal && !deeper {
		if p, ok := b.content.(interface{ leftOpen(string) bool }); ok && p.leftOpen(name) {
			value = cty.NullVal(cty.DynamicPseudoType)
		}
		return newValue(value, join(b.path, name), place)
	}
	if !deeper {
		// A nested block where an attribute is asked for: there, or not known, but with no value of its own.
		blocks, reason := b.content.nested(name)
		if len(blocks) > 0 {
			place = blocks[0].place
			value = cty.DynamicVal
			reason = "a block"
		} else {
			place = b.place
		}
		return Value{path: join(b.path, name), place: place, reason: reason, value: value}
	}
	if value != cty.NilVal && !blockish(value) {
		return newValue(value, join(b.path, name), place).Key(rest)
	}
	return b.Blocks(name).First().Attr(rest)
}

// blockish says whether a value is a list of objects, as a nested block is in a plan.
func blockish(v cty.Value) bool {
	t := v.Type()
	return t.IsTupleType() || t.IsListType() || t.IsSetType()
}

// Blocks returns the nested blocks of a type. An attribute that holds an object or objects counts as blocks.
func (b Block) Blocks(name string) Blocks {
	out := Blocks{Path: join(b.path, name), Place: b.place, Unknown: b.reason}
	if b.content == nil {
		return out
	}
	if value, place := b.content.attribute(name); value != cty.NilVal {
		v := newValue(value, out.Path, place)
		out.Place = place
		switch t := v.value.Type(); {
		case v.Unknown():
			out.Unknown = v.Reason()
		case v.Null():
		case t.IsObjectType() || t.IsMapType():
			out.All = append(out.All, v.block())
		default:
			for _, element := range v.Elements() {
				out.All = append(out.All, element.block())
			}
		}
		return out
	}
	blocks, reason := b.content.nested(name)
	out.Unknown = reason
	for i, n := range blocks {
		out.All = append(out.All, Block{content: n.content, path: fmt.Sprintf("%s[%d]", out.Path, i), place: n.place})
	}
	return out
}

// First returns the first of the blocks; where there is none, an empty block, which remembers whether there
// may be one.
func (b Blocks) First() Block {
	if len(b.All) > 0 {
		return b.All[0]
	}
	return Block{path: b.Path, place: b.Place, reason: b.Unknown}
}

// Value returns the blocks as the place of a finding: null where there are none, unknown where there may be some.
func (b Blocks) Value() Value { return b.First().Value() }

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// Value is what is known of an attribute, in three ways: its value is known, or it is null (which is also
// what an absent one is), or it is unknown, and then Reason names what was not known.
type Value struct {
	value     cty.Value // not marked on the outside; cty.NilVal for an absent one
	path      string
	place     finding.Location
	reason    string
	origins   []origin
	document  cty.Value // what jsonencode was given, where some of it is not known
	sensitive bool
	anyCase   bool // whether it is of a JSON text, whose readers mostly do not tell the case of names apart
}

// origin is a mark on values: what they came from.
type origin struct {
	resource *Resource // nil for what is no resource
	name     string    // var.region, aws_kms_key.main.arn
	known    bool      // whether it was known there, so that it is not to blame for an unknown
}

// sensitive is the mark on what is not to be shown.
type sensitive struct{}

// document is the mark on a JSON text that is not known whole, with what is known of it.
type document struct{ value *cty.Value }

// newValue takes the marks off a value and keeps what they say.
func newValue(marked cty.Value, path string, place finding.Location) Value {
	v := Value{path: path, place: place}
	var marks cty.ValueMarks
	v.value, marks = marked.Unmark()
	for mark := range marks {
		switch mark := mark.(type) {
		case origin:
			v.origins = append(v.origins, mark)
		case sensitive:
			v.sensitive = true
		case document:
			v.document = *mark.value
		}
	}
	slices.SortFunc(v.origins, func(a, b origin) int { return strings.Compare(a.name, b.name) })
	if !v.value.IsKnown() {
		v.reason = blame(v.origins)
	}
	return v
}

// blame names what made a value unknown.
func blame(origins []origin) string {
	var names []string
	for _, o := range origins {
		if o.known {
			continue
		}
		if len(names) == maxBlamed {
			names = append(names, "…")
			break
		}
		names = append(names, o.name)
	}
	if len(names) == 0 {
		return "a value that is known after apply"
	}
	return strings.Join(names, ", ")
}

// Null says that the attribute is absent or null, and that this is known.
func (v Value) Null() bool { return v.reason == "" && (v.value == cty.NilVal || v.value.IsNull()) }

// Unknown says that the attribute's value is not known.
func (v Value) Unknown() bool { return v.reason != "" }

// Known says that there is a value and that it is known. Values in it may still be unknown.
func (v Value) Known() bool { return !v.Unknown() && !v.Null() }

// Reason names what was not known: var.region, aws_kms_key.main.arn.
func (v Value) Reason() string { return v.reason }

// Path is where the attribute is in its resource: ingress[0].cidr_blocks.
func (v Value) Path() string { return v.path }

// Location is where the attribute stands, or where the block stands that does not have it.
func (v Value) Location() finding.Location {
	l := v.place
	l.Field = v.path
	return l
}

// Bool returns a known boolean; "true" and "false" are booleans, as for Terraform.
func (v Value) Bool() (value, ok bool) {
	converted, ok := v.as(cty.Bool)
	return ok && converted.True(), ok
}

// Text returns a known string, number or boolean as a string.
func (v Value) Text() (value string, ok bool) {
	converted, ok := v.as(cty.String)
	if !ok {
		return "", false
	}
	return converted.AsString(), true
}

// Number returns a known number; a string of digits is one.
func (v Value) Number() (value float64, ok bool) {
	converted, ok := v.as(cty.Number)
	if !ok {
		return 0, false
	}
	value, _ = converted.AsBigFloat().Float64()
	return value, true
}

func (v Value) as(t cty.Type) (cty.Value, bool) {
	if !v.Known() || !v.value.Type().IsPrimitiveType() {
		return cty.NilVal, false
	}
	converted, err := convert.Convert(v.value, t)
	if err != nil || !converted.IsKnown() || converted.IsNull() {
		return cty.NilVal, false
	}
	return converted, true
}

// IsMap says whether it is a known map or object, IsList whether a known list, set or tuple.
func (v Value) IsMap() bool {
	return v.Known() && (v.value.Type().IsObjectType() || v.value.Type().IsMapType())
}

// IsList says whether it is a known list, set or tuple.
func (v Value) IsList() bool { return v.Known() && blockish(v.value) }

// Elements returns the elements of a known list, set or tuple. Of anything else that is known it is the value
// itself, alone, since a provider takes one string where a list of one is meant and the other way round.
func (v Value) Elements() []Value {
	switch {
	case !v.Known():
		return nil
	case !v.IsList():
		return []Value{v}
	}
	var elements []Value
	for it := v.value.ElementIterator(); it.Next(); {
		_, element := it.Element()
		elements = append(elements, v.inner(element, fmt.Sprintf("%s[%d]", v.path, len(elements))))
	}
	return elements
}

// Key returns what a map or object has under a key, whose parts may be parted by dots. What is not there is null.
func (v Value) Key(key string) Value {
	name, rest, deeper := strings.Cut(key, ".")
	next := v.named(name)
	if deeper {
		return next.Key(rest)
	}
	return next
}

// named is key for a name that a rule asks for, which a JSON text may have in another case.
func (v Value) named(name string) Value {
	if !v.anyCase || !v.IsMap() {
		return v.key(name)
	}
	found := ""
	for it := v.value.ElementIterator(); it.Next(); {
		key, _ := it.Element()
		switch other := key.AsString(); {
		case !strings.EqualFold(other, name):
		case found != "":
			v.path = join(v.path, name)
			return v.hidden("its JSON: " + name + " is there twice in one object, but for case")
		default:
			found = other
		}
	}
	return v.key(cmp.Or(found, name))
}

func (v Value) key(name string) Value {
	path := join(v.path, name)
	switch {
	case v.Unknown() || v.Null():
		v.path = path
		return v
	case v.value.Type().IsObjectType() && v.value.Type().HasAttribute(name):
		return v.inner(v.value.GetAttr(name), path)
	case v.value.Type().IsMapType():
		for it := v.value.ElementIterator(); it.Next(); {
			if key, element := it.Element(); key.AsString() == name {
				return v.inner(element, path)
			}
		}
	}
	return Value{value: cty.NullVal(cty.DynamicPseudoType), path: path, place: v.place}
}

// Keys are the keys of a known map or object, sorted.
func (v Value) Keys() []string {
	if !v.IsMap() {
		return nil
	}
	var keys []string
	for it := v.value.ElementIterator(); it.Next(); {
		key, _ := it.Element()
		keys = append(keys, key.AsString())
	}
	slices.Sort(keys)
	return keys
}

// inner is a value inside v: what v came from, it came from too.
func (v Value) inner(element cty.Value, path string) Value {
	in := newValue(element, path, v.place)
	in.sensitive, in.anyCase = in.sensitive || v.sensitive, v.anyCase
	if len(v.origins) > 0 {
		in.origins = append(in.origins, v.origins...)
		if in.Unknown() {
			in.reason = blame(in.origins)
		}
	}
	return in
}

// JSON returns what a JSON text says: of an IAM policy, for example. Where jsonencode was given values that
// are not known, the others are known all the same. An unknown text is an unknown value, and so is one that providers may
// read in more than one way or that nests too deep; ok is false for a known one that is no JSON.
func (v Value) JSON() (value Value, ok bool) {
	if v.Unknown() {
		if v.document == cty.NilVal {
			return v, true
		}
		in := newValue(v.document, v.path, v.place)
		in.anyCase = true
		return in, true
	}
	text, ok := v.Text()
	switch {
	case !ok:
		return Value{}, false
	case deeperThan([]byte(text), maxPlanNesting) > 0:
		return v.hidden(fmt.Sprintf("its JSON: more than %d lists and objects inside one another", maxPlanNesting)), true
	case !json.Valid([]byte(text)):
		return Value{}, false
	}
	if e := checkNames([]byte(text), nil); e != nil {
		return v.hidden("its JSON: " + e.text), true
	}
	t, err := ctyjson.ImpliedType([]byte(text))
	if err != nil {
		return Value{}, false
	}
	parsed, err := ctyjson.Unmarshal([]byte(text), t)
	if err != nil {
		return Value{}, false
	}
	v.anyCase = true
	return v.inner(parsed, v.path), true
}

// hidden is the value, not known for a reason.
func (v Value) hidden(reason string) Value {
	v.value, v.reason = cty.DynamicVal, reason
	return v
}

// Resources returns the resources and data sources that the value, or something in it, came from: of policy =
// data.aws_iam_policy_document.x.json, that data source.
func (v Value) Resources() []*Resource {
	var out []*Resource
	add := func(o origin) {
		if o.resource != nil && !slices.Contains(out, o.resource) {
			out = append(out, o.resource)
		}
	}
	for _, o := range v.origins {
		add(o)
	}
	if v.value != cty.NilVal {
		_, deep := v.value.UnmarkDeep()
		for mark := range deep {
			if o, ok := mark.(origin); ok {
				add(o)
			}
		}
	}
	slices.SortFunc(out, func(a, b *Resource) int { return strings.Compare(a.Address, b.Address) })
	return out
}

// block makes a block of an object.
func (v Value) block() Block {
	return Block{content: valueContent{v}, path: v.path, place: v.place, reason: v.reason}
}

// valueContent is the content of a block that is an object: in a plan, in JSON syntax, and of an attribute.
type valueContent struct{ value Value }

func (c valueContent) attribute(name string) (cty.Value, finding.Location) {
	v := c.value.key(name)
	if v.Null() {
		return cty.NilVal, c.value.place
	}
	return v.marked(), v.place
}

func (valueContent) nested(string) ([]nested, string) { return nil, "" }

func (c valueContent) names() []string {
	return slices.DeleteFunc(c.value.Keys(), func(name string) bool { return c.value.key(name).Null() })
}

// marked puts the marks back on.
func (v Value) marked() cty.Value {
	marks := cty.ValueMarks{}
	for _, o := range v.origins {
		marks[o] = struct{}{}
	}
	if v.sensitive {
		marks[sensitive{}] = struct{}{}
	}
	value := v.value
	if v.Unknown() && value.IsKnown() {
		value = cty.DynamicVal
	}
	return value.WithMarks(marks)
}

// Show returns the value for a message: "0.0.0.0/0", true, or (sensitive), (unknown).
func (v Value) Show() string {
	text, ok := v.Text()
	switch {
	case v.sensitive:
		return "(sensitive)"
	case v.Unknown():
		return "(unknown)"
	case v.Null():
		return "null"
	case !ok && v.IsMap():
		return "a map"
	case !ok:
		return "a list"
	case v.value.Type() == cty.String:
		return fmt.Sprintf("%q", clip(text))
	default:
		return clip(text)
	}
}

// clip bounds a text of the input that is repeated in the output.
func clip(s string) string {
	if len(s) <= maxShown {
		return s
	}
	return strings.ToValidUTF8(s[:maxShown], "") + "…"
}
