package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/json"
	"github.com/zclconf/go-cty/cty"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// configError is what is wrong with a configuration, and where.
type configError struct {
	place finding.Location
	text  string
}

func (e *configError) Error() string {
	if at := e.place.String(); at != "" {
		return at + ": " + e.text
	}
	return e.text
}

// place is where a range of a source file begins.
func place(r hcl.Range) finding.Location {
	return finding.Location{File: r.Filename, Line: r.Start.Line, Column: r.Start.Column}
}

// diagnosed makes errors of what the parser has to say. Its texts name what was expected, and never a value.
func diagnosed(diags hcl.Diagnostics) []*configError {
	var out []*configError
	for _, d := range diags {
		if d.Severity != hcl.DiagError {
			continue
		}
		e := &configError{text: strings.TrimSuffix(d.Summary, ".") + ": " + d.Detail}
		if d.Subject != nil {
			e.place = place(*d.Subject)
		}
		if len(e.text) > maxProblemText {
			e.text = strings.ToValidUTF8(e.text[:maxProblemText], "") + "…"
		}
		out = append(out, e)
	}
	return out
}

// parseFile parses one .tf or .tf.json file. What can be understood of a broken file comes back with the errors.
func parseFile(name string, data []byte) (*hclsyntax.Body, []*configError) {
	if at := firstInvalid(data); at >= 0 {
		return nil, []*configError{{
			place: finding.Location{File: name, Line: 1 + bytes.Count(data[:at], []byte("\n"))},
			text:  "not UTF-8: save the file as UTF-8",
		}}
	}
	if strings.HasSuffix(name, ".json") {
		return parseJSON(name, data)
	}
	if e := tooDeep(name, data); e != nil {
		return nil, []*configError{e}
	}
	file, diags := hclsyntax.ParseConfig(data, name, hcl.InitialPos)
	body, _ := file.Body.(*hclsyntax.Body)
	return body, diagnosed(diags)
}

// firstInvalid returns the offset of the first byte that is not UTF-8, or -1.
func firstInvalid(data []byte) int {
	if utf8.Valid(data) {
		return -1
	}
	at := 0
	for at < len(data) {
		r, size := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && size <= 1 {
			break
		}
		at += size
	}
	return at
}

// tooDeep says whether a source nests deeper than the parser, which calls itself, should be given. Operators
// count like brackets until the expression is over, since a chain of them is a deep tree, too.
func tooDeep(name string, data []byte) *configError {
	if len(data) <= maxNesting {
		return nil // a level takes a byte at least
	}
	tokens, _ := hclsyntax.LexConfig(data, name, hcl.InitialPos)
	return tooDeepTokens(tokens)
}

func tooDeepTokens(tokens hclsyntax.Tokens) *configError {
	type bracket struct {
		operators int  // so far, of the expression that it holds
		lines     bool // whether an expression in it ends with the line
	}
	open := []bracket{{lines: true}}
	depth := 0
	for i, token := range tokens {
		top := len(open) - 1
		switch token.Type {
		case hclsyntax.TokenOParen, hclsyntax.TokenOBrack, hclsyntax.TokenOBrace, hclsyntax.TokenTemplateInterp,
			hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc:
			open = append(open, bracket{lines: token.Type == hclsyntax.TokenOBrace})
			depth++
		case hclsyntax.TokenCParen, hclsyntax.TokenCBrack, hclsyntax.TokenCBrace, hclsyntax.TokenTemplateSeqEnd,
			hclsyntax.TokenCQuote, hclsyntax.TokenCHeredoc:
			if top > 0 {
				depth -= open[top].operators + 1
				open = open[:top]
			}
		case hclsyntax.TokenNewline, hclsyntax.TokenComma:
			if token.Type == hclsyntax.TokenComma || open[top].lines {
				depth -= open[top].operators
				open[top].operators = 0
			}
		case hclsyntax.TokenTemplateControl:
			// if and for nest until their end, wherever that is; the sequence is a bracket like others.
			nests := nesting(tokens[i:])
			open[top].operators += nests
			open = append(open, bracket{})
			depth += nests + 1
		case hclsyntax.TokenIdent, hclsyntax.TokenNumberLit, hclsyntax.TokenQuotedLit, hclsyntax.TokenStringLit,
			hclsyntax.TokenDot, hclsyntax.TokenComment, hclsyntax.TokenEOF:
		default:
			open[top].operators++
			depth++
		}
		if depth > maxNesting {
			return &configError{place: place(token.Range), text: fmt.Sprintf("too large: more than %d brackets or operators inside one another", maxNesting)}
		}
	}
	return nil
}

// nesting is how many levels a template directive opens: -1 for one that closes a level.
func nesting(tokens hclsyntax.Tokens) int {
	if len(tokens) < 2 {
		return 0
	}
	switch string(tokens[1].Bytes) {
	case "endif", "endfor":
		return -1
	case "else":
		return 0
	default:
		return 1
	}
}

// parseJSON parses a .tf.json file and gives it the form of the native syntax, so that there is one of each
// thing from here on.
func parseJSON(name string, data []byte) (*hclsyntax.Body, []*configError) {
	if e := tooDeepJSON(name, data); e != nil {
		return nil, []*configError{e}
	}
	file, diags := json.Parse(data, name)
	c := jsonConverter{problems: diagnosed(diags)}
	if file == nil || file.Body == nil || diags.HasErrors() {
		return nil, c.problems
	}
	content, _, diags := file.Body.PartialContent(rootSchema())
	c.problems = append(c.problems, diagnosed(diags)...)
	body := &hclsyntax.Body{Attributes: hclsyntax.Attributes{}}
	for _, block := range content.Blocks {
		body.Blocks = append(body.Blocks, &hclsyntax.Block{
			Type: block.Type, Labels: block.Labels, LabelRanges: block.LabelRanges, TypeRange: block.TypeRange,
			OpenBraceRange: block.DefRange, CloseBraceRange: block.DefRange,
			Body: c.body(block.Body, block.Type, block.DefRange),
		})
	}
	return body, c.problems
}

// tooDeepJSON says whether JSON nests too deep for a parser that calls itself.
func tooDeepJSON(name string, data []byte) *configError {
	line := deeperThan(data, maxNesting)
	if line == 0 {
		return nil
	}
	return &configError{
		place: finding.Location{File: name, Line: line},
		text:  fmt.Sprintf("too large: more than %d lists and objects inside one another", maxNesting),
	}
}

// deeperThan returns the line where JSON nests deeper than so many levels, and 0 where it does not.
func deeperThan(data []byte, most int) int {
	depth, line, quoted := 0, 1, false
	for i := 0; i < len(data); i++ {
		switch b := data[i]; {
		case b == '\n':
			line++
		case quoted && b == '\\':
			i++
		case b == '"':
			quoted = !quoted
		case quoted:
		case b == '{' || b == '[':
			depth++
		case b == '}' || b == ']':
			depth--
		}
		if depth > most {
			return line
		}
	}
	return 0
}

// rootSchema is what may stand in a file on its own.
func rootSchema() *hcl.BodySchema {
	return &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
		{Type: "terraform"},
		{Type: "locals"},
		{Type: "variable", LabelNames: []string{"name"}},
		{Type: "output", LabelNames: []string{"name"}},
		{Type: "module", LabelNames: []string{"name"}},
		{Type: "provider", LabelNames: []string{"name"}},
		{Type: "resource", LabelNames: []string{"type", "name"}},
		{Type: "data", LabelNames: []string{"type", "name"}},
	}}
}

type jsonConverter struct{ problems []*configError }

// body makes a native body of a JSON object that stands for a block of the given type.
func (c *jsonConverter) body(body hcl.Body, blockType string, at hcl.Range) *hclsyntax.Body {
	attributes, diags := body.JustAttributes()
	c.problems = append(c.problems, diagnosed(diags)...)
	out := &hclsyntax.Body{Attributes: hclsyntax.Attributes{}, SrcRange: at, EndRange: at}
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		attribute := attributes[name]
		switch {
		case name == "//": // a comment, by custom
		case name == "dynamic" && (blockType == "resource" || blockType == "data"), name == "backend" && blockType == "terraform":
			out.Blocks = append(out.Blocks, c.labelled(name, attribute.Expr, attribute.NameRange)...)
		case (blockType == "resource" || blockType == "data") && holdsDynamic(attribute.Expr):
			out.Blocks = append(out.Blocks, c.nested(name, attribute.Expr, attribute.NameRange)...)
		default:
			out.Attributes[name] = &hclsyntax.Attribute{
				Name: name, Expr: c.expression(attribute.Expr, blockType+"."+name), SrcRange: attribute.Range, NameRange: attribute.NameRange,
				EqualsRange: attribute.NameRange,
			}
		}
	}
	return out
}

// labelled makes blocks of an object whose keys are their labels.
func (c *jsonConverter) labelled(blockType string, value hcl.Expression, at hcl.Range) []*hclsyntax.Block {
	var out []*hclsyntax.Block
	for _, object := range jsonElements(value) {
		pairs, _ := hcl.ExprMap(object)
		for _, pair := range pairs {
			label, ok := literalText(pair.Key)
			if !ok {
				continue
			}
			for _, body := range jsonElements(pair.Value) {
				out = append(out, &hclsyntax.Block{
					Type: blockType, Labels: []string{label}, LabelRanges: []hcl.Range{pair.Key.Range()},
					TypeRange: at, OpenBraceRange: body.Range(), CloseBraceRange: body.Range(),
					Body: c.object(body, blockType),
				})
			}
		}
	}
	return out
}

// nested makes blocks of an object, or of each in a list.
func (c *jsonConverter) nested(blockType string, value hcl.Expression, at hcl.Range) []*hclsyntax.Block {
	var out []*hclsyntax.Block
	for _, body := range jsonElements(value) {
		out = append(out, &hclsyntax.Block{
			Type: blockType, TypeRange: at, OpenBraceRange: body.Range(), CloseBraceRange: body.Range(), Body: c.object(body, ""),
		})
	}
	return out
}

// jsonElements are those of a list; what is no list is its only element.
func jsonElements(e hcl.Expression) []hcl.Expression {
	if list, diags := hcl.ExprList(e); !diags.HasErrors() {
		return list
	}
	return []hcl.Expression{e}
}

// holdsDynamic says whether there is a dynamic block in an object, or in one of a list, however deep.
func holdsDynamic(e hcl.Expression) bool {
	for _, object := range jsonElements(e) {
		pairs, _ := hcl.ExprMap(object)
		for _, pair := range pairs {
			if name, _ := literalText(pair.Key); name == "dynamic" && isDynamic(pair.Value) || holdsDynamic(pair.Value) {
				return true
			}
		}
	}
	return false
}

// isDynamic says whether what is called dynamic has dynamic blocks by their labels, and is no attribute of that name.
func isDynamic(e hcl.Expression) bool {
	for _, object := range jsonElements(e) {
		labels, _ := hcl.ExprMap(object)
		for _, label := range labels {
			for _, body := range jsonElements(label.Value) {
				arguments, _ := hcl.ExprMap(body)
				for _, a := range arguments {
					if name, _ := literalText(a.Key); name == "for_each" {
						return true
					}
				}
			}
		}
	}
	return false
}

// object makes a native body of an object; the content of a dynamic block is a block of its own.
func (c *jsonConverter) object(object hcl.Expression, blockType string) *hclsyntax.Body {
	out := &hclsyntax.Body{Attributes: hclsyntax.Attributes{}, SrcRange: object.Range(), EndRange: object.Range()}
	pairs, _ := hcl.ExprMap(object)
	c.once(pairs)
	for _, pair := range pairs {
		name, ok := literalText(pair.Key)
		switch {
		case !ok:
		case name == "dynamic" && isDynamic(pair.Value):
			out.Blocks = append(out.Blocks, c.labelled(name, pair.Value, pair.Key.Range())...)
		case blockType == "" && holdsDynamic(pair.Value):
			out.Blocks = append(out.Blocks, c.nested(name, pair.Value, pair.Key.Range())...)
		case name == "content" && blockType == "dynamic":
			out.Blocks = append(out.Blocks, &hclsyntax.Block{
				Type: name, TypeRange: pair.Key.Range(), OpenBraceRange: pair.Value.Range(), CloseBraceRange: pair.Value.Range(),
				Body: c.object(pair.Value, ""),
			})
		default:
			out.Attributes[name] = &hclsyntax.Attribute{
				Name: name, Expr: c.expression(pair.Value, ""), SrcRange: pair.Value.Range(), NameRange: pair.Key.Range(), EqualsRange: pair.Key.Range(),
			}
		}
	}
	return out
}

// once demands that each name of an object is there once. Terraform takes one that is there twice for two blocks, or
// refuses it; which, the provider says.
func (c *jsonConverter) once(pairs []hcl.KeyValuePair) {
	seen := map[string]bool{}
	for _, pair := range pairs {
		name, ok := literalText(pair.Key)
		if ok && seen[name] && name != "//" {
			c.problems = append(c.problems, &configError{
				place: place(pair.Key.Range()), text: fmt.Sprintf("%q is there twice in one object: write blocks of one type as a list", clip(name)),
			})
		}
		seen[name] = true
	}
}

// literalText returns what a JSON string says, not taken for a template.
func literalText(e hcl.Expression) (string, bool) {
	v, diags := e.Value(nil)
	if diags.HasErrors() || !v.IsKnown() || v.IsNull() || v.Type() != cty.String {
		return "", false
	}
	return v.AsString(), true
}

// expression makes a native expression of a JSON value: strings are templates, but for where they are names,
// types and plain values.
func (c *jsonConverter) expression(e hcl.Expression, where string) hclsyntax.Expression {
	at := e.Range()
	if list, diags := hcl.ExprList(e); !diags.HasErrors() {
		out := &hclsyntax.TupleConsExpr{SrcRange: at, OpenRange: at}
		for _, element := range list {
			out.Exprs = append(out.Exprs, c.expression(element, where))
		}
		return out
	}
	if pairs, diags := hcl.ExprMap(e); !diags.HasErrors() {
		c.once(pairs)
		out := &hclsyntax.ObjectConsExpr{SrcRange: at, OpenRange: at}
		for _, pair := range pairs {
			out.Items = append(out.Items, hclsyntax.ObjectConsItem{
				KeyExpr:   &hclsyntax.ObjectConsKeyExpr{Wrapped: c.expression(pair.Key, where), ForceNonLiteral: true},
				ValueExpr: c.expression(pair.Value, where),
			})
		}
		return out
	}
	text, ok := literalText(e)
	if !ok {
		v, _ := e.Value(nil)
		return &hclsyntax.LiteralValueExpr{Val: v, SrcRange: at}
	}
	switch where {
	case "variable.type", "resource.provider", "data.provider", "resource.depends_on", "data.depends_on":
		return c.parse(text, at, expressions())
	case "variable.default":
		return &hclsyntax.LiteralValueExpr{Val: cty.StringVal(text), SrcRange: at}
	}
	if !strings.Contains(text, "${") && !strings.Contains(text, "%{") {
		return &hclsyntax.LiteralValueExpr{Val: cty.StringVal(text), SrcRange: at}
	}
	return c.parse(text, at, template())
}

func (c *jsonConverter) parse(text string, at hcl.Range, parse syntax) hclsyntax.Expression {
	start := at.Start
	start.Column++
	start.Byte++
	expression, problems := parse.text(text, at.Filename, start)
	c.problems = append(c.problems, problems...)
	return expression
}

// syntax is what a text is to be read as.
type syntax struct {
	lex   func([]byte, string, hcl.Pos) (hclsyntax.Tokens, hcl.Diagnostics)
	parse func([]byte, string, hcl.Pos) (hclsyntax.Expression, hcl.Diagnostics)
}

func template() syntax { return syntax{hclsyntax.LexTemplate, hclsyntax.ParseTemplate} }

func expressions() syntax { return syntax{hclsyntax.LexExpression, hclsyntax.ParseExpression} }

// text parses a template or expression that stands in something else.
func (s syntax) text(text, name string, start hcl.Pos) (hclsyntax.Expression, []*configError) {
	tokens, _ := s.lex([]byte(text), name, start)
	if e := tooDeepTokens(tokens); e != nil {
		return &hclsyntax.LiteralValueExpr{Val: cty.DynamicVal, SrcRange: hcl.Range{Filename: name, Start: start, End: start}}, []*configError{e}
	}
	expression, diags := s.parse([]byte(text), name, start)
	return expression, diagnosed(diags)
}
