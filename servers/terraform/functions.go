package main

import (
	"crypto/md5"  //nolint:gosec // Terraform's function of that name
	"crypto/sha1" //nolint:gosec // Terraform's function of that name
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	ctycidr "github.com/hashicorp/go-cty-funcs/cidr"
	ctycollection "github.com/hashicorp/go-cty-funcs/collection"
	ctycrypto "github.com/hashicorp/go-cty-funcs/crypto"
	ctyencoding "github.com/hashicorp/go-cty-funcs/encoding"
	ctyuuid "github.com/hashicorp/go-cty-funcs/uuid"
	"github.com/hashicorp/hcl/v2/ext/customdecode"
	ctyyaml "github.com/zclconf/go-cty-yaml"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// functions makes the table of Terraform's functions for one check. They are bounded in what they take and
// return; those whose outcome this process cannot know return unknown values that say so.
func (c *check) functions() map[string]function.Function {
	table := map[string]function.Function{
		"abs": stdlib.AbsoluteFunc, "ceil": stdlib.CeilFunc, "floor": stdlib.FloorFunc, "log": stdlib.LogFunc,
		"max": stdlib.MaxFunc, "min": stdlib.MinFunc, "parseint": stdlib.ParseIntFunc, "pow": stdlib.PowFunc, "signum": stdlib.SignumFunc,

		"chomp": stdlib.ChompFunc, "format": stdlib.FormatFunc, "formatlist": stdlib.FormatListFunc, "indent": stdlib.IndentFunc,
		"join": stdlib.JoinFunc, "lower": stdlib.LowerFunc, "regex": stdlib.RegexFunc, "regexall": stdlib.RegexAllFunc,
		"replace": replaceFunc(), "split": stdlib.SplitFunc, "strrev": stdlib.ReverseFunc, "substr": stdlib.SubstrFunc,
		"title": stdlib.TitleFunc, "trim": stdlib.TrimFunc, "trimprefix": stdlib.TrimPrefixFunc, "trimspace": stdlib.TrimSpaceFunc,
		"trimsuffix": stdlib.TrimSuffixFunc, "upper": stdlib.UpperFunc,
		"startswith": textTest(strings.HasPrefix), "endswith": textTest(strings.HasSuffix), "strcontains": textTest(strings.Contains),

		"alltrue": truthFunc(true), "anytrue": truthFunc(false),
		"chunklist": stdlib.ChunklistFunc, "coalesce": ctycollection.CoalesceFunc, "coalescelist": stdlib.CoalesceListFunc,
		"compact": stdlib.CompactFunc, "concat": stdlib.ConcatFunc, "contains": stdlib.ContainsFunc, "distinct": stdlib.DistinctFunc,
		"element": stdlib.ElementFunc, "flatten": stdlib.FlattenFunc, "index": indexFunc(), "keys": stdlib.KeysFunc, "length": lengthFunc(),
		"lookup": lookupFunc(), "matchkeys": matchKeysFunc(), "merge": stdlib.MergeFunc, "one": oneFunc(), "range": stdlib.RangeFunc,
		"reverse": stdlib.ReverseListFunc, "setintersection": stdlib.SetIntersectionFunc, "setproduct": stdlib.SetProductFunc,
		"setsubtract": stdlib.SetSubtractFunc, "setunion": stdlib.SetUnionFunc, "slice": stdlib.SliceFunc, "sort": stdlib.SortFunc,
		"sum": sumFunc(), "transpose": transposeFunc(), "values": stdlib.ValuesFunc, "zipmap": stdlib.ZipmapFunc,

		"base64decode": ctyencoding.Base64DecodeFunc, "base64encode": ctyencoding.Base64EncodeFunc, "csvdecode": stdlib.CSVDecodeFunc,
		"jsondecode": stdlib.JSONDecodeFunc, "jsonencode": stdlib.JSONEncodeFunc, "urlencode": textFunc(url.QueryEscape),
		"yamldecode": ctyyaml.YAMLDecodeFunc, "yamlencode": ctyyaml.YAMLEncodeFunc,

		"basename": textFunc(path.Base), "dirname": textFunc(path.Dir),
		"file":       c.fileFunc(func(s string) string { return s }),
		"filebase64": c.fileFunc(func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }),
		"fileexists": c.fileExistsFunc(), "fileset": c.fileSetFunc(),
		"templatefile": c.templateFileFunc(), "templatestring": c.templateStringFunc(),

		"formatdate": stdlib.FormatDateFunc, "timeadd": stdlib.TimeAddFunc, "timecmp": timeCompareFunc(),

		"rsadecrypt": ctycrypto.RsaDecryptFunc, "uuidv5": ctyuuid.V5Func,

		"cidrhost": ctycidr.HostFunc, "cidrnetmask": ctycidr.NetmaskFunc, "cidrsubnet": ctycidr.SubnetFunc, "cidrsubnets": ctycidr.SubnetsFunc,

		"tobool": stdlib.MakeToFunc(cty.Bool), "tolist": stdlib.MakeToFunc(cty.List(cty.DynamicPseudoType)),
		"tomap": stdlib.MakeToFunc(cty.Map(cty.DynamicPseudoType)), "tonumber": stdlib.MakeToFunc(cty.Number),
		"toset": stdlib.MakeToFunc(cty.Set(cty.DynamicPseudoType)), "tostring": stdlib.MakeToFunc(cty.String),
		"sensitive": sensitiveFunc(true), "nonsensitive": sensitiveFunc(false), "issensitive": isSensitiveFunc(), "ephemeralasnull": ephemeralFunc(),
	}
	for name, hashed := range map[string]func() hash.Hash{"md5": md5.New, "sha1": sha1.New, "sha256": sha256.New, "sha512": sha512.New} {
		table[name] = textFunc(hashFunc(hashed, hex.EncodeToString))
		table["file"+name] = c.fileFunc(hashFunc(hashed, hex.EncodeToString))
		if strings.HasPrefix(name, "sha") && name != "sha1" {
			table["base64"+name] = textFunc(hashFunc(hashed, base64.StdEncoding.EncodeToString))
			table["filebase64"+name] = c.fileFunc(hashFunc(hashed, base64.StdEncoding.EncodeToString))
		}
	}
	for name, f := range table {
		table[name] = c.bounded(name, f)
	}
	for _, name := range lacking() {
		table[name] = unknownFunc(name)
	}
	table["jsonencode"] = documented(table["jsonencode"])
	table["try"], table["can"] = c.tryFunc(), c.canFunc()
	return table
}

// lacking are Terraform's functions that evaluate to unknown: their outcome depends on the machine or the
// moment, or no library that is linked here has them.
func lacking() []string {
	return []string{"abspath", "base64gzip", "bcrypt", "pathexpand", "plantimestamp", "textdecodebase64", "textencodebase64", "timestamp", "uuid"}
}

// unknownFunc is a function whose outcome is not known.
func unknownFunc(name string) function.Function {
	return function.New(&function.Spec{
		VarParam: &function.Parameter{Name: "args", Type: cty.DynamicPseudoType, AllowNull: true, AllowUnknown: true, AllowDynamicType: true, AllowMarked: true},
		Type:     function.StaticReturnType(cty.DynamicPseudoType),
		Impl: func([]cty.Value, cty.Type) (cty.Value, error) {
			return cty.DynamicVal.Mark(origin{name: "function " + name}), nil
		},
	})
}

var errTooLarge = errors.New("too large: more than this evaluation takes")

// documented lets jsonencode tell what it was given, where that is not known whole.
func documented(f function.Function) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "val", Type: cty.DynamicPseudoType, AllowUnknown: true, AllowDynamicType: true, AllowNull: true, AllowMarked: true}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			v, err := f.Call(args)
			if err == nil && !v.IsKnown() {
				v = v.Mark(document{value: &args[0]})
			}
			return v, err
		},
	})
}

// textFunc makes a function of text to text.
func textFunc(f func(string) string) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "str", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return cty.StringVal(f(args[0].AsString())), nil
		},
	})
}

func hashFunc(h func() hash.Hash, encode func([]byte) string) func(string) string {
	return func(s string) string {
		sum := h()
		sum.Write([]byte(s))
		return encode(sum.Sum(nil))
	}
}

func textTest(f func(s, part string) bool) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "str", Type: cty.String}, {Name: "part", Type: cty.String}},
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return cty.BoolVal(f(args[0].AsString(), args[1].AsString())), nil
		},
	})
}

// replaceFunc takes a pattern between slashes for a regular expression.
func replaceFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "str", Type: cty.String}, {Name: "substr", Type: cty.String}, {Name: "replace", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			text, part, with := args[0].AsString(), args[1].AsString(), args[2].AsString()
			if len(part) > 1 && strings.HasPrefix(part, "/") && strings.HasSuffix(part, "/") {
				re, err := regexp.Compile(part[1 : len(part)-1])
				if err != nil {
					return cty.NilVal, err
				}
				return cty.StringVal(re.ReplaceAllString(text, with)), nil
			}
			return cty.StringVal(strings.ReplaceAll(text, part, with)), nil
		},
	})
}

// truthFunc is alltrue and anytrue.
func truthFunc(all bool) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "list", Type: cty.List(cty.Bool)}},
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			unknown := false
			for it := args[0].ElementIterator(); it.Next(); {
				_, v := it.Element()
				switch {
				case !v.IsKnown():
					unknown = true
				case v.IsNull() && all:
					return cty.False, nil
				case v.IsNull():
				case v.True() != all:
					return cty.BoolVal(!all), nil
				}
			}
			if unknown {
				return cty.UnknownVal(cty.Bool), nil
			}
			return cty.BoolVal(all), nil
		},
	})
}

func lengthFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "value", Type: cty.DynamicPseudoType, AllowDynamicType: true, AllowUnknown: true}},
		Type: func(args []cty.Value) (cty.Type, error) {
			t := args[0].Type()
			if t == cty.String || t.IsTupleType() || t.IsObjectType() || t.IsCollectionType() || t == cty.DynamicPseudoType {
				return cty.Number, nil
			}
			return cty.NilType, errors.New("argument must be a string, a collection type, or a structural type")
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			v := args[0]
			switch t := v.Type(); {
			case t == cty.DynamicPseudoType:
				return cty.UnknownVal(cty.Number), nil
			case t.IsTupleType():
				return cty.NumberIntVal(int64(len(t.TupleElementTypes()))), nil
			case t.IsObjectType():
				return cty.NumberIntVal(int64(len(t.AttributeTypes()))), nil
			case t == cty.String:
				return stdlib.Strlen(v)
			default:
				return v.Length(), nil
			}
		},
	})
}

// indexFunc finds an element.
func indexFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "list", Type: cty.DynamicPseudoType}, {Name: "value", Type: cty.DynamicPseudoType}},
		Type:   function.StaticReturnType(cty.Number),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if t := args[0].Type(); !t.IsListType() && !t.IsTupleType() {
				return cty.NilVal, errors.New("argument must be a list or tuple")
			}
			if !args[0].IsWhollyKnown() {
				return cty.UnknownVal(cty.Number), nil
			}
			for it := args[0].ElementIterator(); it.Next(); {
				i, v := it.Element()
				equal, err := stdlib.Equal(v, args[1])
				if err != nil {
					return cty.NilVal, err
				}
				if !equal.IsKnown() {
					return cty.UnknownVal(cty.Number), nil
				}
				if equal.True() {
					return i, nil
				}
			}
			return cty.NilVal, errors.New("item not found")
		},
	})
}

// lookupFunc is stdlib's, whose default is not optional.
func lookupFunc() function.Function {
	return function.New(&function.Spec{
		Params:   stdlib.LookupFunc.Params()[:2],
		VarParam: &function.Parameter{Name: "default", Type: cty.DynamicPseudoType, AllowUnknown: true, AllowDynamicType: true, AllowNull: true, AllowMarked: true},
		Type: func(args []cty.Value) (cty.Type, error) {
			switch {
			case len(args) > 3:
				return cty.NilType, errors.New("lookup takes two or three arguments")
			case len(args) == 3:
				return stdlib.LookupFunc.ReturnTypeForValues(args)
			case args[0].Type().IsObjectType():
				key, _ := args[1].Unmark()
				if !key.IsKnown() {
					return cty.DynamicPseudoType, nil
				}
				if !args[0].Type().HasAttribute(key.AsString()) {
					return cty.NilType, fmt.Errorf("the given object has no attribute %q", clip(key.AsString()))
				}
				return args[0].Type().AttributeType(key.AsString()), nil
			case args[0].Type().IsMapType():
				return args[0].Type().ElementType(), nil
			default:
				return cty.NilType, errors.New("lookup() requires a map as the first argument")
			}
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if len(args) == 3 {
				return stdlib.LookupFunc.Call(args)
			}
			collection, marks := args[0].Unmark()
			key, keyMarks := args[1].Unmark()
			if collection.Type().IsObjectType() {
				return collection.GetAttr(key.AsString()).WithMarks(marks, keyMarks), nil
			}
			if has := collection.HasIndex(key); has.IsKnown() && has.False() {
				return cty.NilVal, fmt.Errorf("the given map has no key %q", clip(key.AsString()))
			}
			return collection.Index(key).WithMarks(marks, keyMarks), nil
		},
	})
}

func matchKeysFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{
			{Name: "values", Type: cty.List(cty.DynamicPseudoType)}, {Name: "keys", Type: cty.List(cty.DynamicPseudoType)},
			{Name: "searchset", Type: cty.List(cty.DynamicPseudoType)},
		},
		Type: func(args []cty.Value) (cty.Type, error) { return args[0].Type(), nil },
		Impl: func(args []cty.Value, t cty.Type) (cty.Value, error) {
			if !args[0].IsWhollyKnown() || !args[1].IsWhollyKnown() || !args[2].IsWhollyKnown() {
				return cty.UnknownVal(t), nil
			}
			values, keys, wanted := args[0].AsValueSlice(), args[1].AsValueSlice(), args[2].AsValueSlice()
			if len(values) != len(keys) {
				return cty.NilVal, errors.New("length of keys and values should be equal")
			}
			var out []cty.Value
			for i, key := range keys {
				if slices.ContainsFunc(wanted, func(w cty.Value) bool {
					equal, err := stdlib.Equal(key, w)
					return err == nil && equal.IsKnown() && equal.True()
				}) {
					out = append(out, values[i])
				}
			}
			if len(out) == 0 {
				return cty.ListValEmpty(t.ElementType()), nil
			}
			return cty.ListVal(out), nil
		},
	})
}

func oneFunc() function.Function {
	elements := func(v cty.Value) (cty.Type, bool) {
		switch t := v.Type(); {
		case t.IsListType() || t.IsSetType():
			return t.ElementType(), true
		case t.IsTupleType() && len(t.TupleElementTypes()) == 0:
			return cty.DynamicPseudoType, true
		case t.IsTupleType() && len(t.TupleElementTypes()) == 1:
			return t.TupleElementType(0), true
		default:
			return cty.NilType, t.IsTupleType()
		}
	}
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "list", Type: cty.DynamicPseudoType}},
		Type: func(args []cty.Value) (cty.Type, error) {
			t, list := elements(args[0])
			switch {
			case !list:
				return cty.NilType, errors.New("must be a list, set, or tuple value")
			case t == cty.NilType:
				return cty.NilType, errors.New("must be a list, set, or tuple value with either zero or one elements")
			}
			return t, nil
		},
		Impl: func(args []cty.Value, t cty.Type) (cty.Value, error) {
			length := args[0].Length()
			switch {
			case !length.IsKnown():
				return cty.UnknownVal(t), nil
			case length.RawEquals(cty.NumberIntVal(0)):
				return cty.NullVal(t), nil
			case length.RawEquals(cty.NumberIntVal(1)):
				return args[0].AsValueSlice()[0], nil
			}
			return cty.NilVal, errors.New("must be a list, set, or tuple value with either zero or one elements")
		},
	})
}

func sumFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "list", Type: cty.DynamicPseudoType}},
		Type:   function.StaticReturnType(cty.Number),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if !args[0].CanIterateElements() || args[0].Type().IsObjectType() || args[0].Type().IsMapType() || args[0].LengthInt() == 0 {
				return cty.NilVal, errors.New("cannot sum noniterable or an empty list")
			}
			total := cty.Zero
			for it := args[0].ElementIterator(); it.Next(); {
				_, v := it.Element()
				n, err := convert.Convert(v, cty.Number)
				if err != nil || n.IsNull() {
					return cty.NilVal, errors.New("argument must be list, set, or tuple of number values")
				}
				total = total.Add(n)
			}
			return total, nil
		},
	})
}

func transposeFunc() function.Function {
	t := cty.Map(cty.List(cty.String))
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "values", Type: t}},
		Type:   function.StaticReturnType(t),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if !args[0].IsWhollyKnown() {
				return cty.UnknownVal(t), nil
			}
			turned := map[string][]cty.Value{}
			for it := args[0].ElementIterator(); it.Next(); {
				key, list := it.Element()
				if list.IsNull() {
					return cty.NilVal, errors.New("a list in the map is null")
				}
				for in := list.ElementIterator(); in.Next(); {
					_, v := in.Element()
					if v.IsNull() {
						return cty.NilVal, errors.New("a string in the map is null")
					}
					turned[v.AsString()] = append(turned[v.AsString()], key)
				}
			}
			if len(turned) == 0 {
				return cty.MapValEmpty(cty.List(cty.String)), nil
			}
			out := map[string]cty.Value{}
			for key, list := range turned {
				out[key] = cty.ListVal(list)
			}
			return cty.MapVal(out), nil
		},
	})
}

func timeCompareFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "a", Type: cty.String}, {Name: "b", Type: cty.String}},
		Type:   function.StaticReturnType(cty.Number),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			var times [2]time.Time
			for i, arg := range args {
				t, err := time.Parse(time.RFC3339, arg.AsString())
				if err != nil {
					return cty.NilVal, errors.New("not a valid RFC3339 timestamp")
				}
				times[i] = t
			}
			return cty.NumberIntVal(int64(times[0].Compare(times[1]))), nil
		},
	})
}

// anything is a parameter that takes any value as it is.
func anything() []function.Parameter {
	return []function.Parameter{{
		Name: "value", Type: cty.DynamicPseudoType, AllowUnknown: true, AllowNull: true, AllowMarked: true, AllowDynamicType: true,
	}}
}

func sensitiveFunc(set bool) function.Function {
	return function.New(&function.Spec{
		Params: anything(),
		Type:   func(args []cty.Value) (cty.Type, error) { return args[0].Type(), nil },
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			v, marks := args[0].Unmark()
			delete(marks, sensitive{})
			v = v.WithMarks(marks)
			if set {
				v = v.Mark(sensitive{})
			}
			return v, nil
		},
	})
}

func isSensitiveFunc() function.Function {
	return function.New(&function.Spec{
		Params: anything(),
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if args[0].HasMark(sensitive{}) {
				return cty.True, nil
			}
			if !args[0].IsKnown() {
				return cty.UnknownVal(cty.Bool), nil
			}
			return cty.False, nil
		},
	})
}

// ephemeralFunc is ephemeralasnull. No value here is ephemeral.
func ephemeralFunc() function.Function {
	return function.New(&function.Spec{
		Params: anything(),
		Type:   func(args []cty.Value) (cty.Type, error) { return args[0].Type(), nil },
		Impl:   func(args []cty.Value, _ cty.Type) (cty.Value, error) { return args[0], nil },
	})
}

// tryFunc is try. The library's evaluates its arguments twice, which takes 2^n for n of them in one another.
func (c *check) tryFunc() function.Function {
	return function.New(&function.Spec{
		VarParam: &function.Parameter{Name: "expressions", Type: customdecode.ExpressionClosureType},
		Type:     function.StaticReturnType(cty.DynamicPseudoType),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			last := errors.New("at least one argument is required")
			for _, arg := range args {
				v, err := c.attempt(arg)
				if err != nil {
					last = err
					continue
				}
				if bare, marks := v.UnmarkDeep(); !bare.IsWhollyKnown() {
					// Once it is known it may turn out to be an error after all, and another argument the result.
					return cty.DynamicVal.WithMarks(marks), nil
				}
				return v, nil
			}
			return cty.NilVal, last
		},
	})
}

func (c *check) canFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "expression", Type: customdecode.ExpressionClosureType}},
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			v, err := c.attempt(args[0])
			if err != nil {
				return cty.False, nil //nolint:nilerr // that it fails is the answer
			}
			if bare, marks := v.UnmarkDeep(); !bare.IsWhollyKnown() {
				return cty.UnknownVal(cty.Bool).WithMarks(marks), nil
			}
			return cty.True, nil
		},
	})
}

// attempt evaluates an expression that may fail.
func (c *check) attempt(arg cty.Value) (cty.Value, error) {
	if !c.budget.step(1) {
		return cty.NilVal, errTooLarge
	}
	closure := customdecode.ExpressionClosureFromVal(arg)
	v, diags := closure.Value()
	if diags.HasErrors() {
		return cty.NilVal, diags.Errs()[0]
	}
	return v, nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
