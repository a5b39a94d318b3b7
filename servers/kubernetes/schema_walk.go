package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	kjson "sigs.k8s.io/json"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// fault is something in an object that its schema does not have so.
type fault struct {
	rule    ruleID
	verdict finding.Verdict
	path    fieldPath
	message string // without any value of the input
	reason  string // why the verdict is unknown
	fix     string

	endless bool // the value must not be decoded: that would take no end
}

// walk compares one object, as JSON, with its shape.
type walk struct {
	at     release
	meta   *shape // of the metadata of every object
	dec    *jsontext.Decoder
	path   fieldPath
	above  []*fieldSet // the objects around the value at path, the outermost first
	lax    bool        // below a field whose decoder drops what it does not know
	left   int         // faults that may still be told
	hints  *int        // work that may still go into guessing what is meant
	report func(fault)

	endless bool // report nothing but values that must not be decoded
}

// compare reports where raw, one JSON object, is not of a shape. It fails only on what is no JSON.
func (v *manifestValidator) compare(raw json.RawMessage, of *shape, report func(fault)) error {
	w := walk{
		at: v.at, meta: v.schemas.meta, left: maxFaults, hints: &v.hints, report: report,
		dec: newDecoder(raw),
	}
	return w.value(of)
}

func newDecoder(raw []byte) *jsontext.Decoder {
	return jsontext.NewDecoder(bytes.NewReader(raw), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

func (w *walk) fault(f fault) {
	if w.left == 0 || w.endless && !f.endless {
		return
	}
	w.left--
	if f.verdict == "" {
		f.verdict = finding.Fail
	}
	f.path = slices.Clone(w.path)
	w.report(f)
}

// value compares the next value.
func (w *walk) value(s *shape) error {
	next := w.dec.PeekKind()
	if next == 'n' && (!s.custom || s.nullable || s.form == formAny || s.form == formClosed) {
		return w.dec.SkipValue() // null decodes into everything, and changes nothing
	}
	switch s.form {
	case formAny:
		return w.dec.SkipValue()
	case formClosed:
		return w.closed()
	case formObject:
		if next == '{' {
			return w.object(s.object)
		}
		return w.mistyped(s)
	case formList:
		if next == '[' {
			return w.list(s.item)
		}
		return w.mistyped(s)
	case formString:
		if next == '"' {
			return w.dec.SkipValue()
		}
		return w.mistyped(s)
	case formBoolean:
		if next == 't' || next == 'f' {
			return w.dec.SkipValue()
		}
		return w.mistyped(s)
	case formSchemaOrArray, formSchemaOrBool, formSchemaOrStrings:
		return w.schemaOr(s)
	default:
		return w.scalar(s)
	}
}

func (w *walk) object(of *fieldSet) error {
	if _, err := w.dec.ReadToken(); err != nil {
		return err
	}
	w.above = append(w.above, of)
	defer func() { w.above = w.above[:len(w.above)-1] }()
	var seen []string // of those that are required
	for w.dec.PeekKind() == '"' {
		token, err := w.dec.ReadToken()
		if err != nil {
			return err
		}
		name := token.String()
		w.path = append(w.path, name)
		f, known := of.field(name, w.at)
		switch {
		case of.meta && name == "metadata":
			err = w.value(w.meta)
		case known:
			// A field that is null counts as one that is not there.
			null := w.dec.PeekKind() == 'n'
			if f.required && !null {
				seen = append(seen, name)
			}
			if null {
				err = w.dec.SkipValue()
			} else {
				err = w.value(f.shape)
			}
		case of.rest != nil:
			if of.rest.custom && w.dec.PeekKind() == 'n' {
				err = w.dec.SkipValue()
			} else {
				err = w.value(of.rest)
			}
		default:
			if !of.open {
				w.unknown(of, name)
			}
			err = w.dec.SkipValue()
		}
		if err != nil {
			return err
		}
		w.path = w.path[:len(w.path)-1]
	}
	_, err := w.dec.ReadToken()
	if err == nil {
		w.missing(of, seen)
	}
	return err
}

// missing reports what is required and was not seen.
func (w *walk) missing(of *fieldSet, seen []string) {
	if w.left == 0 {
		return
	}
	if len(seen) == len(of.required) {
		return
	}
	there := map[string]bool{}
	for _, name := range seen {
		there[name] = true
	}
	for _, name := range of.required {
		f, ok := of.field(name, w.at)
		if !ok || !f.required || there[name] {
			continue
		}
		w.fault(absent(of, name, f))
	}
}

func (w *walk) list(item *shape) error {
	if _, err := w.dec.ReadToken(); err != nil {
		return err
	}
	w.path = append(w.path, 0)
	for i := 0; w.dec.PeekKind() != ']'; i++ {
		w.path[len(w.path)-1] = i
		if err := w.value(item); err != nil {
			return err
		}
	}
	w.path = w.path[:len(w.path)-1]
	_, err := w.dec.ReadToken()
	return err
}

// closed is for a value without a schema in a custom resource: the API server keeps scalars and lists of them, and drops every
// field of an object.
func (w *walk) closed() error {
	switch w.dec.PeekKind() {
	case '{':
		return w.object(&fieldSet{})
	case '[':
		return w.list(&shape{form: formClosed, custom: true})
	default:
		return w.dec.SkipValue()
	}
}

// schemaOr is for the three fields of a CustomResourceDefinition that decode themselves, after apiextensions/v1/marshal.go. They
// drop fields that they do not know, and two of them drop what is no schema and no list at all.
func (w *walk) schemaOr(s *shape) error {
	next := w.dec.PeekKind()
	lax := w.lax
	defer func() { w.lax = lax }()
	w.lax = true
	switch {
	case next == '{':
		return w.object(s.object)
	case next == '[' && s.form == formSchemaOrArray:
		return w.list(&shape{form: formObject, object: s.object})
	case next == '[' && s.form == formSchemaOrStrings:
		return w.list(&shape{form: formString})
	case s.form == formSchemaOrBool && next != 't' && next != 'f':
		return w.mistyped(s)
	default:
		return w.dec.SkipValue()
	}
}

// scalar is for numbers, and for what decodes itself.
func (w *walk) scalar(s *shape) error {
	raw, err := w.dec.ReadValue()
	if err != nil {
		return err
	}
	if s.form == formQuantity && (raw.Kind() == '"' || raw.Kind() == '0') && mayBeEndless(raw) {
		w.fault(fault{
			rule: ruleType, verdict: finding.Unknown, endless: true, message: "a quantity of more digits than any has",
			reason: "it is not decoded, since that takes very long, also for the API server", fix: "write " + s.form.describe(),
		})
		return nil
	}
	if decodes(s, raw) {
		return nil
	}
	w.fault(mistypedFault(s, raw.Kind()))
	return nil
}

// mayBeEndless says whether a text holds a number of so many digits, or with an exponent so large, that to parse it as a quantity takes
// minutes, since that is done digit by digit. 1e-2147483648 is an example. In a whole object it may well be no quantity.
func mayBeEndless(text []byte) bool {
	digits, exponent := 0, false
	for i, c := range text {
		switch {
		case c >= '0' && c <= '9' || c == '.':
			if digits++; digits > maxDigits || exponent && digits > maxExponent {
				return true
			}
		case (c == 'e' || c == 'E') && i > 0 && (text[i-1] >= '0' && text[i-1] <= '9' || text[i-1] == '.'):
			digits, exponent = 0, true
		case (c == '-' || c == '+') && exponent && digits == 0:
		default:
			digits, exponent = 0, false
		}
	}
	return false
}

// endless returns the place of a value of a built-in kind that must not be decoded, if the object has one.
func (s *schemas) endless(o object) (at fieldPath, found bool) {
	of := s.kind(gvk{o.apiVersion, o.kind}, s.newest)
	if of == nil || !mayBeEndless(o.raw) {
		return nil, false
	}
	w := walk{
		at: s.newest, meta: s.meta, left: 1, endless: true, dec: newDecoder(o.raw),
		report: func(f fault) { at, found = f.path, true },
	}
	err := w.value(of)
	return at, found || err != nil
}

// decodes says whether a value decodes into a field of a form, by the code that the API server runs.
func decodes(s *shape, raw jsontext.Value) bool {
	var err error
	number := raw.Kind() == '0'
	switch s.form {
	case formInt32, formInt64:
		bits := 64
		if s.form == formInt32 {
			bits = 32
		}
		_, err = strconv.ParseInt(string(raw), 10, bits)
		return number && err == nil
	case formDouble:
		_, err = strconv.ParseFloat(string(raw), 64)
		return number && err == nil
	case formInteger:
		f, err := strconv.ParseFloat(string(raw), 64)
		return number && err == nil && f == float64(int64(f))
	case formNumber:
		return number
	case formIntOrString:
		if s.custom {
			return raw.Kind() == '"' || number && !bytes.ContainsAny(raw, ".eE")
		}
		var v intstr.IntOrString
		err = v.UnmarshalJSON(raw)
	case formBytes:
		var v []byte
		err = kjson.UnmarshalCaseSensitivePreserveInts(raw, &v)
	case formQuantity:
		var v resource.Quantity
		err = v.UnmarshalJSON(raw)
	case formTime:
		var v metav1.Time
		err = v.UnmarshalJSON(raw)
	case formMicroTime:
		var v metav1.MicroTime
		err = v.UnmarshalJSON(raw)
	default:
		return false
	}
	return err == nil
}

// mistyped reports the next value, which is of the wrong type, and skips it.
func (w *walk) mistyped(s *shape) error {
	w.fault(mistypedFault(s, w.dec.PeekKind()))
	return w.dec.SkipValue()
}

func mistypedFault(s *shape, got jsontext.Kind) fault {
	f := fault{rule: ruleType, message: fmt.Sprintf("want %s, got %s", s.form.describe(), describeKind(got)), fix: "write " + s.form.describe()}
	switch {
	case s.form == formString && (got == '0' || got == 't' || got == 'f'):
		f.fix = "put the value in quotes"
	case got == '"' && (s.form == formInt32 || s.form == formInt64 || s.form == formBoolean || s.form == formDouble || s.form == formInteger || s.form == formNumber):
		f.fix = "write the value without quotes"
	case got == describedKind(s.form):
		f.message = "a value that is not " + s.form.describe()
	}
	return f
}

// describedKind is the JSON kind of the forms that not every value of the kind has.
func describedKind(f form) jsontext.Kind {
	switch f {
	case formInt32, formInt64, formDouble, formInteger, formNumber:
		return '0'
	case formBytes, formQuantity, formTime, formMicroTime:
		return '"'
	default:
		return 0
	}
}

func (f form) describe() string {
	switch f {
	case formString:
		return "a string"
	case formBoolean:
		return "true or false"
	case formInt32:
		return "an integer of 32 bits"
	case formInt64:
		return "an integer of 64 bits"
	case formInteger:
		return "an integer"
	case formDouble, formNumber:
		return "a number"
	case formBytes:
		return "a string of base64"
	case formQuantity:
		return "a quantity, such as 500m or 128Mi"
	case formTime:
		return "a time as RFC 3339 has it, such as 2006-01-02T15:04:05Z"
	case formMicroTime:
		return "a time with microseconds, such as 2006-01-02T15:04:05.000000Z"
	case formIntOrString:
		return "an integer or a string"
	case formList:
		return "a list"
	case formObject:
		return "a mapping"
	case formSchemaOrBool:
		return "a schema, or true or false"
	default:
		return "another value"
	}
}

func describeKind(k jsontext.Kind) string {
	switch k {
	case 'n':
		return "null"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case 't', 'f':
		return "true or false"
	case '{':
		return "a mapping"
	case '[':
		return "a list"
	default:
		return "something else"
	}
}

// absent is the fault that a required field is not there.
func absent(of *fieldSet, name string, f field) fault {
	out := fault{rule: ruleRequired, message: fmt.Sprintf("required field %q is missing", name), fix: "add it: " + f.shape.form.describe()}
	if slices.Contains(takenWithout(), of.name+"."+name) {
		out.verdict, out.reason = finding.Unknown, "the schema requires it, and the API server is known to take objects without it"
	}
	return out
}

// takenWithout are the fields that the schema requires and the API server does not: their zero value is one that it allows. A
// schema does not tell; these are the ones that a real server was seen to take objects without (TestAgainstServer, which tries
// every required field of its samples, and that every other one is refused).
func takenWithout() []string {
	return []string{
		"batch.v1.PodFailurePolicy.rules",
		"core.v1.Event.involvedObject",
		"core.v1.HTTPHeader.value",
		"core.v1.ISCSIPersistentVolumeSource.lun",
		"core.v1.ISCSIVolumeSource.lun",
		"core.v1.LimitRangeSpec.limits",
		"core.v1.PreferredSchedulingTerm.preference",
		"core.v1.ScaleIOPersistentVolumeSource.secretRef",
		"core.v1.ScaleIOVolumeSource.secretRef",
		"core.v1.SleepAction.seconds",
		"core.v1.Sysctl.value",
		"discovery.v1.ForZone.name",
		"resource.v1.Counter.value",
		"resource.v1.DeviceCapacity.value",
		"resource.v1.ResourcePool.generation",
		"storage.v1.CSIDriver.spec",
		"storage.v1.CSINode.spec",
		"storage.v1.CSINodeSpec.drivers",
		"storage.v1.TokenRequest.audience",
	}
}

// unknown reports a field that its object does not have; its name is the last step of the path.
func (w *walk) unknown(of *fieldSet, name string) {
	if w.left == 0 || w.endless {
		return
	}
	f := fault{
		rule: ruleUnknownField, message: fmt.Sprintf("unknown field %q", shorten(w.path.String())),
		fix: "correct the field's name or place, or remove it",
	}
	if w.lax {
		f.verdict, f.reason = finding.Unknown, "the API server drops it without a word: inside a schema it is not strict"
	}
	if others := of.fields[name]; len(others) > 0 {
		f.message += fmt.Sprintf(": %s does not have it, %s", w.at, when(others))
		f.fix = "remove it, or check against the release of the cluster"
	} else if near := w.nearest(of, name); near != "" {
		f.fix = fmt.Sprintf("write %s", near)
		f.message += fmt.Sprintf("; is %q meant?", near)
	} else if place := w.otherPlace(of, name); place != "" {
		f.fix = "move it: " + place
	}
	w.fault(f)
}

// otherPlace says which object nearby has a field of this name: one around the one that it stands in, or one in that.
func (w *walk) otherPlace(of *fieldSet, name string) string {
	for i, steps := len(w.above)-1, len(w.path)-1; i > 0; i-- {
		// From an object out to the one that it is in leads a key, and an index for each list between them.
		for steps--; steps > 0; steps-- {
			if _, index := w.path[steps].(int); !index {
				break
			}
		}
		if _, ok := w.above[i-1].field(name, w.at); ok {
			return "it is a field of " + cmp.Or(shorten(w.path[:max(steps, 0)].String()), "the object itself")
		}
	}
	if *w.hints -= len(of.fields); *w.hints < 0 {
		return ""
	}
	for _, child := range slices.Sorted(maps.Keys(of.fields)) {
		f, ok := of.field(child, w.at)
		if !ok {
			continue
		}
		inner, suffix := f.shape, ""
		for inner != nil && inner.form == formList {
			inner, suffix = inner.item, suffix+"[]"
		}
		if inner == nil || inner.object == nil {
			continue
		}
		if _, ok := inner.object.field(name, w.at); ok {
			return "it is a field of " + shorten(w.path[:len(w.path)-1].below(child).String()) + suffix
		}
	}
	return ""
}

// when says which releases have a field.
func when(fields []field) string {
	var parts []string
	for _, f := range fields {
		for _, s := range f.spans {
			parts = append(parts, fmt.Sprintf("%s to %s", s.from, s.to))
		}
	}
	return "but " + strings.Join(parts, " and ") + " do"
}

// nearest returns the field that is most likely meant by a name.
func (w *walk) nearest(of *fieldSet, name string) string {
	if *w.hints -= len(of.fields); *w.hints < 0 {
		return ""
	}
	names := slices.Sorted(maps.Keys(of.fields))
	return nearest(name, slices.DeleteFunc(names, func(n string) bool {
		_, ok := of.field(n, w.at)
		return !ok
	}), w.hints)
}

// nearest returns the candidate that a name differs from in the least, if that is little; the first of several. It takes its work
// from what is left of it, and finds nothing when that is used up: names and candidates are the input's.
func nearest(name string, candidates []string, work *int) string {
	best, least := "", 1+min(maxTypos, len(name)/charactersPerTypo)
	for _, c := range candidates {
		if strings.EqualFold(c, name) {
			return c
		}
		if len(c)-len(name) >= least || len(name)-len(c) >= least {
			continue
		}
		if *work -= len(c) * len(name); *work < 0 {
			return ""
		}
		if d := distance(strings.ToLower(name), strings.ToLower(c)); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance counts the letters to add, remove, change or swap with their neighbour that make b of a.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
