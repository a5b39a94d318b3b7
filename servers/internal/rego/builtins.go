package rego

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/types"
)

// refused are the built-in functions that no policy has here, with the reason that a refused policy is told.
// A built-in function of OPA that stands neither here nor in allowed fails the tests: an upgrade is a decision.
func refused(name string) (reason string, ok bool) {
	const (
		network     = "a policy has no network"
		clock       = "a policy has no clock: the same input has the same answer tomorrow; put the date in the data"
		environment = "a policy does not see the process, its environment or its files"
		chance      = "a policy has no chance in it: the same input has the same answer"
		keys        = "tokens, keys and certificates are not what configurations are judged by, and their readers are not bounded"
		unbounded   = "its work is not bounded by its input"
	)
	switch name {
	case "http.send", "net.lookup_ip_addr":
		return network, true
	case "json.match_schema", "json.verify_schema":
		return "it follows a schema's references to hosts and files", true
	case "time.now_ns":
		return clock, true
	case "opa.runtime":
		return environment, true
	case "parse_config", "parse_config_file", "parse_combined_config_files":
		return "it is conftest's own, and reads files", true
	case "rand.intn", "uuid.rfc4122":
		return chance, true
	case "graph.reachable_paths", "regex.globs_match", "regex.template_match", "rego.parse_module", "strings.render_template":
		return unbounded, true
	}
	for _, prefix := range []string{"io.jwt.", "crypto.x509.", "crypto.parse_private_keys", "crypto.hmac.", "providers.aws."} {
		if strings.HasPrefix(name, prefix) {
			return keys, true
		}
	}
	if strings.HasPrefix(name, "graphql.") {
		return unbounded, true
	}
	return "", false
}

// allowed are the built-in functions that policies have: what they return follows from their arguments alone,
// and their work is bounded by them, or by a guard.
func allowed() []string {
	return strings.Fields(`
		eq assign equal neq gt gte lt lte internal.member_2 internal.member_3
		plus minus mul div rem ceil floor round abs bits.or bits.and bits.negate bits.xor bits.lsh bits.rsh
		and or union intersection set_diff
		count sum product max min any all sort
		array.concat array.flatten array.slice array.reverse
		to_number cast_object cast_null cast_boolean cast_string cast_set cast_array format_int
		is_number is_string is_boolean is_array is_set is_object is_null type_name
		regex.is_valid regex.match re_match regex.split regex.find_n regex.find_all_string_submatch_n regex.replace
		glob.match glob.quote_meta
		strings.any_prefix_match strings.any_suffix_match concat indexof indexof_n substring lower upper contains strings.count
		startswith endswith split strings.split_n replace strings.replace_n trim trim_left trim_prefix trim_right trim_suffix
		trim_space sprintf strings.reverse internal.template_string
		numbers.range numbers.range_step units.parse units.parse_bytes
		json.marshal json.marshal_with_options json.unmarshal json.is_valid json.filter json.remove json.patch
		yaml.marshal yaml.unmarshal yaml.is_valid
		base64.encode base64.decode base64.is_valid base64url.encode base64url.encode_no_pad base64url.decode
		urlquery.decode urlquery.encode urlquery.encode_object urlquery.decode_object uri.parse uri.is_valid hex.encode hex.decode
		object.union object.union_n object.remove object.filter object.get object.keys object.subset walk graph.reachable
		time.parse_ns time.parse_rfc3339_ns time.parse_duration_ns time.format time.date time.clock time.weekday time.add_date time.diff
		crypto.md5 crypto.sha1 crypto.sha256 uuid.parse semver.is_valid semver.compare
		net.cidr_overlap net.cidr_intersects net.cidr_contains net.cidr_contains_matches net.cidr_expand net.cidr_merge net.cidr_is_valid
		rego.metadata.chain rego.metadata.rule trace print internal.print internal.test_case`)
}

// capabilities are OPA's without what is not allowed, and without a host that a schema might be fetched from.
func capabilities() *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion()
	have := map[string]bool{}
	for _, name := range allowed() {
		have[name] = true
	}
	kept := make([]*ast.Builtin, 0, len(have))
	for _, builtin := range c.Builtins {
		if have[builtin.Name] {
			kept = append(kept, builtin)
		}
	}
	c.Builtins, c.AllowNet = kept, []string{}
	return c
}

// guardBuiltins puts guards before the functions whose work grows faster than their arguments and that do not
// look whether they were cancelled, and tells the meter what functions make. OPA keeps one table of built-in
// functions, which a query cannot override.
var guardBuiltins = sync.OnceFunc(func() { //nolint:gochecknoglobals // it guards OPA's one table, once
	guarded := guards()
	writers := []string{"json.marshal", "json.marshal_with_options", "yaml.marshal", "sprintf", "internal.template_string"}
	for _, name := range allowed() {
		call, guard := topdown.GetBuiltin(name), guarded[name]
		if call == nil || guard == nil && !makes(name) {
			continue
		}
		ast.BuiltinMap[name].CanSkipBctx = false // which has the meter
		if name == ast.ReachableBuiltin.Name {
			call = reachable(call)
		}
		topdown.RegisterBuiltinFunc(name, func(bctx topdown.BuiltinContext, args []*ast.Term, yield func(*ast.Term) error) error {
			m, ok := bctx.Cancel.(*meter)
			if !ok {
				return fmt.Errorf("%s: called without a meter", name)
			}
			var err error
			if slices.Contains(writers, name) {
				err = m.guardWriter(args)
			}
			if guard != nil && err == nil {
				err = guard(args)
			}
			if err != nil {
				m.refused = fmt.Errorf("%s: %w", name, err)
				return err
			}
			return call(bctx, args, func(made *ast.Term) error {
				m.make(made)
				if name == ast.WalkBuiltin.Name && m.Cancelled() { // where nothing fits what it yields, there is no other step
					return topdown.Halt{Err: &topdown.Error{Code: topdown.CancelErr, Message: "walk was cancelled"}}
				}
				return yield(made)
			})
		})
	}
})

// makes says whether what a function returns may be large.
func makes(name string) bool {
	result := ast.BuiltinMap[name].Decl.Result()
	return result != nil && types.Compare(result, types.B) != 0 && types.Compare(result, types.N) != 0
}

// reachable is graph.reachable, which in OPA looks again at a node for each way that leads there: ways multiply, so that
// a graph of some hundred edges never ends. Here it looks once. Arguments of other types are left to OPA's.
func reachable(call topdown.BuiltinFunc) topdown.BuiltinFunc {
	return func(bctx topdown.BuiltinContext, args []*ast.Term, yield func(*ast.Term) error) error {
		graph, ok := args[0].Value.(ast.Object)
		if !ok {
			return call(bctx, args, yield)
		}
		switch args[1].Value.(type) {
		case *ast.Array, ast.Set:
		default:
			return call(bctx, args, yield)
		}
		queue := slices.Collect(elements(args[1].Value))
		reached := ast.NewSet()
		for len(queue) > 0 {
			node := queue[0]
			queue = queue[1:]
			edges := graph.Get(node)
			if edges == nil || reached.Contains(node) {
				continue
			}
			reached.Add(node)
			queue = slices.AppendSeq(queue, elements(edges.Value))
		}
		return yield(ast.NewTerm(reached))
	}
}

// guards says of each such function which arguments are too large for it. An argument of another type than the
// function's own is left to the function.
func guards() map[string]func(args []*ast.Term) error {
	programs := programs{}
	regex := func(text, pattern int) func([]*ast.Term) error {
		return func(args []*ast.Term) error { return programs.guard(textOf(args[pattern]), textOf(args[text])) }
	}
	pieces := func(text, pattern int) func([]*ast.Term) error {
		return func(args []*ast.Term) error {
			return errors.Join(regex(text, pattern)(args), atMost("bytes of text", len(textOf(args[text])), maxPieces))
		}
	}
	parts := func(args []*ast.Term) error {
		return atMost("pieces", strings.Count(textOf(args[0]), textOf(args[1])), maxPieces)
	}
	trim := func(args []*ast.Term) error {
		return atMost("bytes of text times characters to trim", len(textOf(args[0]))*len(textOf(args[1])), maxTrim)
	}
	return map[string]func(args []*ast.Term) error{
		"bits.lsh":        func(args []*ast.Term) error { return atMost("bits", numberOf(args[1]), maxShift) },
		"product":         func(args []*ast.Term) error { return atMost("factors", sizeOf(args[0]), maxFactors) },
		"split":           parts,
		"strings.split_n": parts,
		"indexof_n":       parts,
		"regex.match":     regex(1, 0),
		"re_match":        regex(1, 0),
		"regex.split":     pieces(1, 0),
		"regex.find_n":    pieces(1, 0),
		"regex.find_all_string_submatch_n": func(args []*ast.Term) error {
			groups := 1 + strings.Count(textOf(args[0]), "(")
			return errors.Join(pieces(1, 0)(args), atMost("bytes of text times groups", len(textOf(args[1]))*groups, maxPieces))
		},
		"regex.is_valid": func(args []*ast.Term) error { return programs.guard(textOf(args[0]), "") },
		"regex.replace": func(args []*ast.Term) error {
			text, by := textOf(args[0]), textOf(args[2])
			return errors.Join(programs.guard(textOf(args[1]), text), atMost("bytes", (len(text)+1)*max(len(by), 1), maxMade))
		},
		"replace": func(args []*ast.Term) error {
			text, by := textOf(args[0]), textOf(args[2])
			return atMost("bytes", len(text)+strings.Count(text, textOf(args[1]))*len(by), maxMade)
		},
		"strings.replace_n": guardReplacements,
		"trim":              trim,
		"trim_left":         trim,
		"trim_right":        trim,
		"glob.match": func(args []*ast.Term) error {
			return errors.Join(atMost("bytes of text", len(textOf(args[2])), maxGlob), atMost("bytes of pattern", len(textOf(args[0])), maxGlob))
		},
		"units.parse":       guardUnits,
		"units.parse_bytes": guardUnits,
		"to_number":         func(args []*ast.Term) error { return guardDigits(textOf(args[0])) },
		"json.unmarshal":    guardJSON,
		"yaml.unmarshal":    guardYAML,
		"yaml.is_valid":     guardYAML,
		"yaml.marshal": func(args []*ast.Term) error {
			e, _ := extentOf(args[0], maxYAML)
			return atMost("values", e.values, maxYAML)
		},
		"json.marshal_with_options": func(args []*ast.Term) error {
			if err := atMost("bytes of options", len(args[1].Value.String()), maxOptions); err != nil {
				return err
			}
			indent := 1
			if options, ok := args[1].Value.(ast.Object); ok {
				options.Foreach(func(_, option *ast.Term) { indent += len(textOf(option)) })
			}
			e, depth := extentOf(args[0], maxMade)
			return atMost("bytes", e.values*depth*indent, maxMade)
		},
		"object.union_n": func(args []*ast.Term) error {
			keys := 0
			for object := range elements(args[0].Value) {
				keys += sizeOf(object)
			}
			return atMost("keys", keys, maxMerged)
		},
		"time.format":   guardZone,
		"time.date":     guardZone,
		"time.clock":    guardZone,
		"time.weekday":  guardZone,
		"time.add_date": guardZone,
		"time.diff":     guardZone,
		"net.cidr_contains_matches": func(args []*ast.Term) error {
			return atMost("pairs of networks", sizeOf(args[0])*sizeOf(args[1]), maxNetworks)
		},
		"net.cidr_merge": func(args []*ast.Term) error {
			return atMost("pairs of networks", sizeOf(args[0])*sizeOf(args[0]), maxPairs)
		},
		"object.subset": guardSubset,
		"json.patch": func(args []*ast.Term) error {
			if err := atMost("operations", sizeOf(args[1]), maxPatches); err != nil {
				return err
			}
			e, _ := extentOf(args[0], maxPatched)
			return atMost("operations times values", sizeOf(args[1])*e.values, maxPatched)
		},
		"concat":  guardConcat,
		"sprintf": guardFormat,
	}
}

func atMost(what string, n, most int) error {
	if n > most {
		return fmt.Errorf("too large: more than %d %s", most, what)
	}
	return nil
}

func isText(t *ast.Term) bool {
	_, ok := t.Value.(ast.String)
	return ok
}

func textOf(t *ast.Term) string {
	s, _ := t.Value.(ast.String)
	return string(s)
}

// numberOf returns a number, or one more than any bound if it is larger than an int.
func numberOf(t *ast.Term) int {
	number, ok := t.Value.(ast.Number)
	if !ok {
		return 0
	}
	if n, ok := number.Int(); ok {
		return n
	}
	return 1<<62 - 1
}

func sizeOf(t *ast.Term) int {
	switch v := t.Value.(type) {
	case *ast.Array:
		return v.Len()
	case ast.Set:
		return v.Len()
	case ast.Object:
		return v.Len()
	default:
		return 1
	}
}

// guardUnits bounds the digits of an amount, and of its exponent, which OPA writes out.
func guardUnits(args []*ast.Term) error {
	amount := textOf(args[0])
	_, exponent, _ := strings.Cut(strings.ToLower(amount), "e")
	digits := strings.TrimLeft(exponent, "+-0")
	return errors.Join(
		atMost("characters of an amount", len(amount), maxAmount),
		atMost("digits of an exponent", len(digits)-len(strings.TrimLeft(digits, "0123456789")), maxExponent),
	)
}

// programs are the sizes of regular expressions, as far as they were looked at.
type programs struct {
	mu    sync.Mutex
	sizes map[string]int
}

// guard bounds a regular expression's own size, which OPA keeps in a cache, and what matching a text takes.
func (p *programs) guard(expression, text string) error {
	if err := atMost("bytes of a regular expression", len(expression), maxExpression); err != nil {
		return err
	}
	p.mu.Lock()
	size, known := p.sizes[expression]
	if !known {
		size = programSize(expression)
		if p.sizes == nil || len(p.sizes) == maxPrograms {
			p.sizes = map[string]int{}
		}
		p.sizes[expression] = size
	}
	p.mu.Unlock()
	return errors.Join(
		atMost("instructions of a regular expression", size, maxProgram),
		atMost("bytes of text times instructions of a regular expression", size*len(text), maxRegex),
	)
}

// programSize is how many instructions a regular expression is compiled to, those with many characters counted for
// more. It is 0 where there is no such expression, which the function says.
func programSize(expression string) int {
	parsed, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return 0
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return 0
	}
	size := len(program.Inst)
	for _, instruction := range program.Inst {
		size += len(instruction.Rune) / runesPerInstruction
	}
	return size
}

// guardReplacements bounds what strings.replace_n makes, wherever its patterns match.
func guardReplacements(args []*ast.Term) error {
	longest := 1
	if patterns, ok := args[0].Value.(ast.Object); ok {
		patterns.Foreach(func(_, by *ast.Term) { longest = max(longest, len(textOf(by))) })
	}
	return atMost("bytes", (len(textOf(args[1]))+1)*longest, maxMade)
}

// guardDigits bounds the digits of a number, which take time that is quadratic in them.
func guardDigits(text string) error {
	run := 0
	for i := range len(text) {
		if run++; text[i] < '0' || text[i] > '9' {
			run = 0
		}
		if run > maxDigits {
			return fmt.Errorf("too large: a number of more than %d digits", maxDigits)
		}
	}
	return nil
}

// guardJSON bounds what a text stands for, by the characters that begin a value or a key.
func guardJSON(args []*ast.Term) error {
	text := textOf(args[0])
	return errors.Join(atMost("values", characters(text, ",:[{"), maxDecoded), guardDigits(text))
}

// guardYAML is guardJSON for YAML. An alias stands for as much as its anchor does, again and again, so it is refused.
func guardYAML(args []*ast.Term) error {
	text := textOf(args[0])
	anchors := map[string]bool{}
	for _, name := range anchorNames.FindAllStringSubmatch(text, -1) {
		anchors[name[1]] = true
	}
	for _, name := range aliasNames.FindAllStringSubmatch(text, -1) {
		if anchors[name[1]] {
			return fmt.Errorf("an alias (*%s) is refused: what it stands for is not bounded by the text", shorten(name[1], maxPattern))
		}
	}
	return errors.Join(atMost("values", characters(text, ",:[{-?"), maxYAML), guardDigits(text))
}

// What may be an anchor and an alias, by the names that the YAML library takes.
var (
	anchorNames = regexp.MustCompile(`&([0-9A-Za-z_-]+)`)
	aliasNames  = regexp.MustCompile(`\*([0-9A-Za-z_-]+)`)
)

func characters(text, of string) int {
	n := 0
	for i := range len(text) {
		if strings.IndexByte(of, text[i]) >= 0 {
			n++
		}
	}
	return n
}

// guardZone refuses the time zone that is the process's own.
func guardZone(args []*ast.Term) error {
	for _, arg := range args {
		if at, ok := arg.Value.(*ast.Array); ok && at.Len() > 1 && textOf(at.Elem(1)) == "Local" {
			return errors.New("the time zone Local is refused: it is the process's own; name one")
		}
	}
	return nil
}

// extentOf adds up a term, and how deep its values are in each other. A policy that puts its input into a list a thousand
// times has it in memory once, and here a thousand times. It ends where there are more values than most.
func extentOf(t *ast.Term, most int) (sum extent, depth int) {
	sum, depth = extent{values: 1, bytes: len(textOf(t))}, 1
	add := func(inner *ast.Term) bool {
		e, deep := extentOf(inner, most-sum.values)
		sum.values, sum.bytes, depth = sum.values+e.values, sum.bytes+e.bytes, max(depth, deep+1)
		return sum.values > most
	}
	switch v := t.Value.(type) {
	case *ast.Array:
		v.Until(add)
	case ast.Set:
		v.Until(add)
	case ast.Object:
		v.Until(func(key, value *ast.Term) bool {
			sum.bytes += len(textOf(key))
			return add(value)
		})
	}
	return sum, depth
}

// guardSubset bounds the arrays that object.subset looks for in each other, wherever they are in the objects.
func guardSubset(args []*ast.Term) error {
	a, _ := extentOf(args[0], maxPairs)
	b, _ := extentOf(args[1], maxPairs)
	return atMost("pairs", a.values*b.values, maxPairs)
}

// guardConcat bounds what concat makes, which it allocates at once.
func guardConcat(args []*ast.Term) error {
	bytes := len(textOf(args[0])) * sizeOf(args[1])
	for part := range elements(args[1].Value) {
		bytes += len(textOf(part))
	}
	return atMost("bytes", bytes, maxMade)
}

// guardFormat bounds what sprintf makes: each verb writes an argument, padded to a width.
func guardFormat(args []*ast.Term) error {
	format := textOf(args[0])
	if err := atMost("bytes of format", len(format), maxFormat); err != nil {
		return err
	}
	operands, _ := args[1].Value.(*ast.Array)
	if operands == nil {
		return nil
	}
	longest := 0
	for i := range operands.Len() {
		term := operands.Elem(i)
		if s, ok := term.Value.(ast.String); ok {
			longest = max(longest, len(s))
		} else if sizeOf(term) > 0 {
			longest = max(longest, len(term.Value.String()))
		}
	}
	bytes := len(format)
	for _, rest, found := strings.Cut(format, "%"); found; _, rest, found = strings.Cut(rest, "%") {
		verb := strings.TrimLeft(rest, "+-# 0123456789.[]*")
		flags := rest[:len(rest)-len(verb)]
		rest = verb[min(1, len(verb)):] // %% is a verb, too
		escaped := 1
		if verb != "" && strings.Contains("qxXU", verb[:1]) {
			escaped = maxEscaped
		}
		if strings.Contains(flags, "*") {
			return errors.New("a width or precision that is an argument (*) is refused")
		}
		for n := range strings.FieldsFuncSeq(flags, func(r rune) bool { return r < '0' || r > '9' }) {
			if width, err := strconv.Atoi(n); err != nil || width > maxWidth {
				return fmt.Errorf("too large: a width or precision of more than %d", maxWidth)
			}
		}
		bytes += longest*escaped + maxWidth
	}
	return atMost("bytes", bytes, maxMade)
}
