package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// demand is what a rule wants of a resource, or of one of its blocks. Most rules are one of the demands below.
// Whoever makes one knows what the provider does where the attribute is not set, and says so: unset is that default.
type demand = func(r *Resource) Result

// isOn demands that an attribute is true.
func isOn(path string, unset bool) demand { return isBool(path, true, unset) }

// isOff demands that an attribute is false.
func isOff(path string, unset bool) demand { return isBool(path, false, unset) }

func isBool(path string, want, unset bool) demand {
	return func(r *Resource) Result {
		v := r.Attr(path)
		value, ok := v.Bool()
		switch {
		case v.Unknown():
			return v.undecided()
		case v.Null() && unset == want, ok && value == want:
			return pass()
		case v.Null():
			return v.unset(strconv.FormatBool(unset))
		default:
			return v.fails("%s is %s", v.path, v.Show())
		}
	}
}

// unset fails because an attribute is not set and its default is not as demanded. An empty default is none.
func (v Value) unset(byDefault string) Result {
	if byDefault == "" {
		return v.fails("%s is not set", v.path)
	}
	return v.fails("%s is not set, and it is %s by default", v.path, byDefault)
}

// isSet demands that an attribute is there and not empty. What comes from another resource is not empty.
func isSet(path string) demand {
	return func(r *Resource) Result {
		switch v := r.Attr(path); {
		case v.Unknown() && v.fromResources():
			return pass()
		case v.Unknown():
			return v.undecided()
		case v.empty():
			return v.unset("")
		default:
			return pass()
		}
	}
}

// isUnset demands that an attribute is not there, or empty.
func isUnset(path string) demand {
	return func(r *Resource) Result {
		v := r.Attr(path)
		switch set := isSet(path)(r); set.Verdict {
		case finding.Unknown:
			return set
		case finding.Fail:
			return pass()
		default:
			return v.fails("%s is set", v.path)
		}
	}
}

// empty says whether a known value is null, an empty text or an empty list or map.
func (v Value) empty() bool {
	if text, ok := v.Text(); ok {
		return text == ""
	}
	return v.Null() || v.IsList() && len(v.Elements()) == 0 || v.IsMap() && len(v.Keys()) == 0
}

// fromResources says whether a value is unknown for no other reason than that resources do not exist yet.
func (v Value) fromResources() bool {
	for _, o := range v.origins {
		if !o.known && o.resource == nil {
			return false
		}
	}
	return v.Unknown() && len(v.origins) > 0
}

// isOneOf demands that an attribute is one of some texts, in any case of letters. unset is what it is where it
// is not set, or "".
func isOneOf(path, unset string, wanted ...string) demand {
	return isText(path, unset, func(text string) bool { return isAmong(text, wanted) }, "want "+strings.Join(wanted, " or "))
}

// isNoneOf demands that an attribute is none of some texts.
func isNoneOf(path, unset string, unwanted ...string) demand {
	return isText(path, unset, func(text string) bool { return !isAmong(text, unwanted) }, "")
}

func isAmong(text string, list []string) bool {
	return slices.ContainsFunc(list, func(other string) bool { return strings.EqualFold(text, other) })
}

// isText demands that an attribute is a text that suits. want, if not empty, says what would.
func isText(path, unset string, suits func(string) bool, want string) demand {
	return func(r *Resource) Result {
		v := r.Attr(path)
		text, ok := v.Text()
		switch {
		case v.Unknown():
			return v.undecided()
		case v.Null() && suits(unset), ok && suits(text):
			return pass()
		case v.Null():
			return v.unset(unset)
		case want != "":
			return v.fails("%s is %s; %s", v.path, v.Show(), want)
		default:
			return v.fails("%s is %s", v.path, v.Show())
		}
	}
}

// isAtLeast demands that an attribute is a number of at least least.
func isAtLeast(path string, unset, least float64) demand {
	return isNumber(path, unset, func(n float64) bool { return n >= least }, fmt.Sprintf("want %g or more", least))
}

// isNumber demands that an attribute is a number that suits.
func isNumber(path string, unset float64, suits func(float64) bool, want string) demand {
	return func(r *Resource) Result {
		v := r.Attr(path)
		number, ok := v.Number()
		switch {
		case v.Unknown():
			return v.undecided()
		case v.Null() && suits(unset), ok && suits(number):
			return pass()
		case v.Null():
			return v.unset(strconv.FormatFloat(unset, 'g', -1, 64))
		default:
			return v.fails("%s is %s; %s", v.path, v.Show(), want)
		}
	}
}

// holdsAll demands that a list has all of some texts in it, in any case of letters.
func holdsAll(path string, wanted ...string) demand {
	return func(r *Resource) Result {
		v := r.Attr(path)
		var missing []string
		for _, want := range wanted {
			if anyElement(v, func(text string) bool { return strings.EqualFold(text, want) }).Verdict != finding.Fail {
				missing = append(missing, want)
			}
		}
		hidden := slices.IndexFunc(elements(v), Value.Unknown)
		switch {
		case len(missing) == 0:
			return pass()
		case hidden >= 0:
			return elements(v)[hidden].undecided()
		case v.Null():
			return v.unset("")
		default:
			return v.fails("%s does not have %s", v.path, strings.Join(missing, ", "))
		}
	}
}

// holdsNone demands that no element of a list, or that a single value, is not as bad says.
func holdsNone(path string, bad func(string) bool) demand {
	return func(r *Resource) Result { return anyElement(r.Attr(path), bad) }
}

// elements are those of a list, a single value, or the unknown value that may be a list.
func elements(v Value) []Value {
	if v.Unknown() {
		return []Value{v}
	}
	return v.Elements()
}

// anyElement fails for each element that is as bad says.
func anyElement(v Value, bad func(string) bool) Result { return anyOfValues(elements(v), bad) }

func anyOfValues(values []Value, bad func(string) bool) Result {
	var results []Result
	for _, v := range values {
		switch text, ok := v.Text(); {
		case v.Unknown():
			results = append(results, v.undecided())
		case ok && bad(text):
			results = append(results, v.fails("%s is %s", v.path, v.Show()))
		}
	}
	return every(results...)
}

// hasBlock demands a nested block.
func hasBlock(path string) demand {
	return func(r *Resource) Result {
		outer, name := &r.Block, path
		if before, after, nested := cutLast(path); nested {
			block := r.blockAt(before)
			outer, name = &block, after
		}
		blocks := outer.Blocks(name)
		switch {
		case len(blocks.All) > 0:
			return pass()
		case blocks.Unknown != "":
			return blocks.undecided()
		default:
			return blocks.Value().fails("there is no %s", blocks.Path)
		}
	}
}

// lacksBlock demands that there is no nested block of a type.
func lacksBlock(path string) demand {
	return func(r *Resource) Result {
		switch has := hasBlock(path)(r); has.Verdict {
		case finding.Pass:
			v := r.blockAt(path).Value()
			return v.fails("there is a block %s", v.path)
		case finding.Fail:
			return pass()
		default:
			return has
		}
	}
}

// blockAt is the first block at a path whose steps are parted by dots.
func (b Block) blockAt(path string) Block {
	for name := range strings.SplitSeq(path, ".") {
		b = b.Blocks(name).First()
	}
	return b
}

func cutLast(path string) (before, after string, found bool) {
	i := strings.LastIndexByte(path, '.')
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}

// undecided says that the rule depends on whether there are more or other blocks.
func (b Blocks) undecided() Result {
	at := b.Place
	at.Field = b.Path
	return Result{Verdict: finding.Unknown, Message: "the blocks " + b.Path + " are not known", Reason: b.Unknown, At: at}
}

// inEach demands something of every nested block of a type; none need be there. A step before the last stands
// for every block of its type, too.
func inEach(path string, want demand) demand {
	name, rest, deeper := strings.Cut(path, ".")
	if deeper {
		want = inEach(rest, want)
	}
	return func(r *Resource) Result {
		blocks := r.Blocks(name)
		var results []Result
		for _, block := range blocks.All {
			results = append(results, want(r.within(block)))
		}
		if blocks.Unknown != "" {
			results = append(results, blocks.undecided())
		}
		return every(results...)
	}
}

// inSome demands something of at least one nested block of a type.
func inSome(name string, want demand) demand {
	return func(r *Resource) Result {
		blocks := r.Blocks(name)
		results := []Result{blocks.Value().fails("there is no %s that does", blocks.Path)}
		for _, block := range blocks.All {
			results = append(results, want(r.within(block)))
		}
		if blocks.Unknown != "" {
			results = append(results, blocks.undecided())
		}
		return best(results...)
	}
}

// within is the resource as a demand on one of its blocks sees it.
func (r *Resource) within(block Block) *Resource {
	inner := *r
	inner.Block = block
	return &inner
}

// allOf demands all of several things.
func allOf(wanted ...demand) demand {
	return func(r *Resource) Result {
		results := make([]Result, len(wanted))
		for i, want := range wanted {
			results[i] = want(r)
		}
		return every(results...)
	}
}

// anyOf demands one of several things. What it says where none holds is what the last says.
func anyOf(wanted ...demand) demand {
	return func(r *Resource) Result {
		results := make([]Result, len(wanted))
		for i, want := range wanted {
			results[i] = want(r)
		}
		return best(results...)
	}
}

// best is the outcome of several things of which one is enough.
func best(results ...Result) Result {
	out := results[0]
	for _, r := range results[1:] {
		switch {
		case out.Verdict == finding.Pass:
		case r.Verdict == finding.Pass, r.Verdict == out.Verdict, out.Verdict == finding.Fail:
			out = r
		}
	}
	return out
}

// when demands something only where a condition, which is a demand too, holds.
func when(condition, want demand) demand {
	return func(r *Resource) Result {
		result := want(r)
		if result.Verdict == finding.Pass {
			return result
		}
		switch holds := condition(r); holds.Verdict {
		case finding.Pass:
			return result
		case finding.Fail:
			return pass()
		default:
			return holds
		}
	}
}

// unless demands something only where a condition does not hold.
func unless(condition, want demand) demand { return anyOf(condition, want) }

// never holds: with [when], it demands that a condition does not hold.
func never(message string) demand {
	return func(r *Resource) Result { return r.Value().fails("%s", message) }
}

// says gives what a demand finds wrong the rule's own words.
func says(message string, want demand) demand {
	return func(r *Resource) Result {
		result := want(r)
		if result.Verdict == finding.Fail {
			result.Message, result.more = message, nil
		}
		return result
	}
}

// inReferrer demands something of a resource of another type that refers to the one in question by its attribute
// at path: of a bucket's aws_s3_bucket_versioning. One that is as demanded is enough.
func inReferrer(resourceType, path string, want demand) demand {
	return func(r *Resource) Result {
		related := r.Referrers(resourceType, path)
		results := []Result{r.Value().fails("there is no %s for it", resourceType)}
		for _, other := range related.All {
			results = append(results, want(other))
		}
		result := best(results...)
		if result.Verdict == finding.Fail && related.Unknown != "" {
			return Result{Verdict: finding.Unknown, Message: "whether there is an " + resourceType + " for it is not known", Reason: related.Unknown, At: r.Value().Location()}
		}
		return result
	}
}

// inOther demands that there is a resource of another type that is as demanded, wherever.
func inOther(resourceType string, want demand) demand {
	return func(r *Resource) Result {
		related := r.Others(Managed, resourceType)
		results := []Result{r.Value().fails("there is no %s", resourceType)}
		for _, other := range related.All {
			results = append(results, want(other))
		}
		return best(results...)
	}
}

// exists holds of every resource: it demands of a referrer just that it is there.
func exists(*Resource) Result { return pass() }

// inReferred demands something of the resource that an attribute refers to. Where it refers to none that is in
// the code, that is not so.
func inReferred(path string, want demand) demand {
	return func(r *Resource) Result {
		v := r.Attr(path)
		results := []Result{v.fails("%s refers to no resource here", v.path)}
		for _, other := range v.Resources() {
			if other.Mode == Managed {
				results = append(results, want(other))
			}
		}
		return best(results...)
	}
}

// ofType demands one thing of resources of a type, and another of those of any other.
func ofType(resourceType string, want, otherwise demand) demand {
	return func(r *Resource) Result {
		if r.Type == resourceType {
			return want(r)
		}
		return otherwise(r)
	}
}

// anyName demands something of an attribute that has had several names: of the one that is set, or else of the
// newest, which comes first.
func anyName(want func(path string) demand, names ...string) demand {
	return func(r *Resource) Result {
		for _, name := range names {
			if !r.Attr(name).Null() {
				return want(name)(r)
			}
		}
		return want(names[0])(r)
	}
}
