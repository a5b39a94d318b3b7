package main

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// files is where a configuration is read from. Paths are slash-separated and relative to one root.
type files interface {
	read(name string) ([]byte, error)
	// folder returns the names of the files in a folder, below those of the files in and below it, and parts those that
	// belong to configurations in and below it, be they readable or not; all relative to it, and sorted. An error of below
	// or parts says what is missing from the names that come with it.
	folder(dir string) ([]string, error)
	below(dir string) ([]string, error)
	parts(dir string) ([]string, error)
}

// module is what one folder declares. It is parsed once, and shared by all its instances.
type module struct {
	dir       string // relative to the root of the files
	variables map[string]*variable
	locals    map[string]*hclsyntax.Attribute
	outputs   map[string]*block
	resources map[string]*block // by type.name, and data.type.name
	types     map[string]bool   // of the managed resources
	calls     map[string]*block
	providers []*block
	settings  []*block
	ignores   []ignore // comments that suppress findings

	expressions map[*hclsyntax.Attribute]*expression
	children    map[string]*module // by the name of the call; nil for what is not in the workspace
	missing     map[string]string  // why a call has no child
	made        bool               // whether there is an instance of it
}

// block is one block of a module.
type block struct {
	mode       Mode
	kind, name string // aws_s3_bucket, logs
	body       *hclsyntax.Body
	source     hcl.Range // from its first word to its closing brace
}

// String is what references call the block in its module.
func (b *block) String() string {
	switch b.mode {
	case Managed:
		return b.kind + "." + b.name
	case Data:
		return "data." + b.kind + "." + b.name
	case Provider:
		return "provider." + b.kind
	case Settings:
		return "terraform"
	case Variable:
		return "var." + b.name
	default:
		return string(b.mode) + "." + b.name
	}
}

// variable is a declared variable.
type variable struct {
	*block
	kind      cty.Type
	defaults  *typeexpr.Defaults
	fallback  cty.Value // its default; cty.NilVal for none
	nullable  bool
	sensitive bool
}

// loader reads and parses modules, each once.
type loader struct {
	files    files
	budget   *budget
	modules  map[string]*module
	declared map[string]bool // the files that declare something
	problems problems
}

func newLoader(f files) *loader {
	return &loader{files: f, budget: newBudget(), modules: map[string]*module{}, declared: map[string]bool{}}
}

// problems are what is wrong with a configuration, each once.
type problems struct {
	all     []*configError
	dropped int
}

func (p *problems) add(e *configError) {
	if len(e.text) > maxProblemText {
		e.text = strings.ToValidUTF8(e.text[:maxProblemText], "") + "…"
	}
	switch {
	case slices.ContainsFunc(p.all, func(o *configError) bool { return *o == *e }):
	case len(p.all) == maxProblems:
		p.dropped++
	default:
		p.all = append(p.all, e)
	}
}

// isSource says whether Terraform reads a file of this name as part of a module.
func isSource(name string) bool {
	base := path.Base(name)
	return (strings.HasSuffix(base, ".tf") || strings.HasSuffix(base, ".tf.json")) && !strings.HasPrefix(base, ".") && !strings.HasSuffix(base, "~")
}

// isPart says whether Terraform reads a file of this name unasked.
func isPart(name string) bool { return isSource(name) || isValues(path.Base(name)) }

// isOverride says whether the file's blocks are laid over those of the others.
func isOverride(name string) bool {
	base := strings.TrimSuffix(strings.TrimSuffix(path.Base(name), ".json"), ".tf")
	return base == "override" || strings.HasSuffix(base, "_override")
}

// load returns the module in a folder with all that it calls.
func (l *loader) load(dir string) (*module, error) {
	if m, ok := l.modules[dir]; ok {
		return m, nil
	}
	if len(l.modules) == maxModules {
		return nil, fmt.Errorf("too large: more than %d modules", maxModules)
	}
	names, err := l.files.folder(dir)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !isSource(name) })
	if len(names) == 0 {
		return nil, errors.New("no .tf or .tf.json file in it")
	}
	m := &module{
		dir: dir, variables: map[string]*variable{}, locals: map[string]*hclsyntax.Attribute{}, outputs: map[string]*block{},
		resources: map[string]*block{}, types: map[string]bool{}, calls: map[string]*block{}, expressions: map[*hclsyntax.Attribute]*expression{},
		children: map[string]*module{}, missing: map[string]string{},
	}
	l.modules[dir] = m
	// Override files come last, whatever their names.
	slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	for i, name := range names {
		if i == maxFolderFiles {
			l.problems.add(&configError{place: finding.Location{File: dir}, text: fmt.Sprintf("too large: more than %d files in one module", maxFolderFiles)})
			break
		}
		l.readSource(m, path.Join(dir, name))
	}
	for _, name := range sortedKeys(m.calls) {
		m.children[name], err = l.child(m, m.calls[name])
		if err != nil {
			m.missing[name] = err.Error()
		}
	}
	return m, nil
}

func rank(name string) int {
	if isOverride(name) {
		return 1
	}
	return 0
}

// readSource adds what a file declares.
func (l *loader) readSource(m *module, name string) {
	data, err := l.files.read(name)
	if err != nil {
		l.problems.add(&configError{place: finding.Location{File: name}, text: err.Error()})
		return
	}
	body, problems := parseFile(name, data)
	for _, e := range problems {
		l.problems.add(e)
	}
	if body == nil {
		return
	}
	m.ignores = append(m.ignores, findIgnores(name, data)...)
	for _, b := range body.Blocks {
		l.declare(m, b, isOverride(name))
	}
}

// looked says whether there was something to look at in a file: what it declares, or what is wrong with it.
func (l *loader) looked(name string) bool {
	return l.declared[name] || slices.ContainsFunc(l.problems.all, func(e *configError) bool { return e.place.File == name })
}

// declare adds one block of a file.
func (l *loader) declare(m *module, b *hclsyntax.Block, override bool) {
	if b.Type == "locals" {
		l.declared[b.TypeRange.Filename] = true
		for name, attribute := range b.Body.Attributes {
			if _, twice := m.locals[name]; twice && !override {
				l.problems.add(&configError{place: place(attribute.NameRange), text: "local." + clip(name) + " is declared twice"})
				continue
			}
			m.locals[name] = attribute
		}
		return
	}
	made := &block{body: b.Body, source: hcl.RangeBetween(b.TypeRange, b.CloseBraceRange)}
	var into map[string]*block
	labels := 1
	switch b.Type {
	case "terraform":
		made.mode, labels = Settings, 0
	case "provider":
		made.mode = Provider
	case "variable":
		made.mode = Variable
	case "output":
		made.mode, into = Output, m.outputs
	case "module":
		made.mode, into = Call, m.calls
	case "resource":
		made.mode, into, labels = Managed, m.resources, 2
	case "data":
		made.mode, into, labels = Data, m.resources, 2
	default: // moved, import, removed, check and what is to come declare nothing that is judged here
		return
	}
	l.declared[b.TypeRange.Filename] = true
	if len(b.Labels) != labels {
		l.problems.add(&configError{place: place(b.TypeRange), text: fmt.Sprintf("a %s block has %d labels, not %d", b.Type, labels, len(b.Labels))})
		return
	}
	switch labels {
	case 1:
		made.name = b.Labels[0]
	case 2:
		made.kind, made.name = b.Labels[0], b.Labels[1]
	}
	switch made.mode {
	case Settings:
		nameAliases(b.Body)
		m.settings = append(m.settings, made)
	case Provider:
		made.kind = made.name
		m.providers = append(m.providers, made)
	case Variable:
		l.declareVariable(m, made, override)
	default:
		key := made.name
		if made.mode == Managed || made.mode == Data {
			key = made.String()
		}
		before, twice := into[key]
		switch {
		case twice && override:
			lay(before.body, made.body)
		case twice:
			l.problems.add(&configError{place: place(b.TypeRange), text: clip(made.String()) + " is declared twice; first at " + place(before.source).String()})
		default:
			into[key] = made
			m.types[made.kind] = made.mode == Managed || m.types[made.kind]
		}
	}
}

// nameAliases makes a text of configuration_aliases, which are names of providers and refer to nothing.
func nameAliases(settings *hclsyntax.Body) {
	for _, b := range settings.Blocks {
		if b.Type != "required_providers" {
			continue
		}
		for _, attribute := range b.Body.Attributes {
			object, ok := attribute.Expr.(*hclsyntax.ObjectConsExpr)
			if !ok {
				continue
			}
			for i, item := range object.Items {
				if hcl.ExprAsKeyword(item.KeyExpr) == "configuration_aliases" {
					object.Items[i].ValueExpr = &hclsyntax.LiteralValueExpr{Val: cty.StringVal("…"), SrcRange: item.ValueExpr.Range()}
				}
			}
		}
	}
}

// lay lays an override file's body over another. Blocks take the place of those that are named alike, be they dynamic,
// or attributes as JSON has them.
func lay(under, over *hclsyntax.Body) {
	for name, attribute := range over.Attributes {
		named := func(o *hclsyntax.Block) bool { return madeType(o) == name }
		if slices.ContainsFunc(under.Blocks, named) && !writtenBlocks(attribute.Expr) {
			continue // none take the place of none: Terraform keeps the blocks
		}
		under.Blocks = slices.DeleteFunc(under.Blocks, named)
		under.Attributes[name] = attribute
	}
	for _, b := range over.Blocks {
		delete(under.Attributes, madeType(b))
		under.Blocks = slices.DeleteFunc(under.Blocks, func(o *hclsyntax.Block) bool { return madeType(o) == madeType(b) })
	}
	under.Blocks = append(under.Blocks, over.Blocks...)
}

// writtenBlocks says whether an attribute of JSON is one block or more.
func writtenBlocks(e hclsyntax.Expression) bool {
	list, ok := e.(*hclsyntax.TupleConsExpr)
	_, object := e.(*hclsyntax.ObjectConsExpr)
	return object || ok && len(list.Exprs) > 0
}

// madeType is the type of the blocks that a block is, or makes.
func madeType(b *hclsyntax.Block) string {
	if b.Type == "dynamic" && len(b.Labels) == 1 {
		return b.Labels[0]
	}
	return b.Type
}

func (l *loader) declareVariable(m *module, b *block, override bool) {
	if before, twice := m.variables[b.name]; twice {
		if !override {
			l.problems.add(&configError{place: place(b.source), text: clip(b.String()) + " is declared twice; first at " + place(before.source).String()})
			return
		}
		lay(before.body, b.body)
		b = before.block
	}
	v := &variable{block: b, kind: cty.DynamicPseudoType, nullable: true}
	m.variables[b.name] = v
	plain := func(name string) cty.Value {
		attribute := b.body.Attributes[name]
		if attribute == nil {
			return cty.NilVal
		}
		e := l.budget.compile(attribute.Expr)
		value, diags := e.syntax.Value(nil)
		for _, e := range diagnosed(diags) {
			l.problems.add(e)
		}
		if measure(value, maxValueBytes).tooLarge {
			return cty.DynamicVal
		}
		return value
	}
	if attribute := b.body.Attributes["type"]; attribute != nil {
		kind, defaults, diags := typeexpr.TypeConstraintWithDefaults(attribute.Expr)
		for _, e := range diagnosed(diags) {
			l.problems.add(e)
		}
		if !diags.HasErrors() {
			v.kind, v.defaults = kind, defaults
		}
	}
	v.fallback = plain("default")
	v.nullable = !isFalse(plain("nullable"))
	v.sensitive = isTruth(plain("sensitive"))
}

func isTruth(v cty.Value) bool {
	return v != cty.NilVal && v.Type() == cty.Bool && v.IsKnown() && !v.IsNull() && v.True()
}

func isFalse(v cty.Value) bool {
	return v != cty.NilVal && v.Type() == cty.Bool && v.IsKnown() && !v.IsNull() && v.False()
}

// child returns the module that a call calls. The error says why it is not there to be judged.
func (l *loader) child(m *module, call *block) (*module, error) {
	source, ok := plainText(call.body, "source")
	switch {
	case !ok:
		return nil, errors.New("its source is not written out")
	case !strings.HasPrefix(source, "./") && !strings.HasPrefix(source, "../"):
		return nil, fmt.Errorf("its source %q is not in the workspace", clip(source))
	case len(source) > maxPathLength:
		return nil, errors.New("its source is too long")
	}
	dir := path.Join(m.dir, source)
	if dir == ".." || strings.HasPrefix(dir, "../") {
		return nil, fmt.Errorf("its source %q is outside the workspace", clip(source))
	}
	child, err := l.load(dir)
	if err != nil {
		err = fmt.Errorf("its source %q cannot be read: %w", clip(source), err)
		l.problems.add(&configError{place: place(call.source), text: call.String() + ": " + err.Error()})
		return nil, err
	}
	return child, nil
}

// plainText returns an attribute that is a plain string.
func plainText(body *hclsyntax.Body, name string) (string, bool) {
	attribute := body.Attributes[name]
	if attribute == nil {
		return "", false
	}
	value, diags := attribute.Expr.Value(nil)
	if diags.HasErrors() || value.IsNull() || !value.IsKnown() || value.Type() != cty.String {
		return "", false
	}
	return value.AsString(), true
}

// compiled returns an attribute's expression, made ready.
func (m *module) compiled(b *budget, attribute *hclsyntax.Attribute) *expression {
	e, ok := m.expressions[attribute]
	if !ok {
		e = b.compile(attribute.Expr)
		m.expressions[attribute] = e
	}
	return e
}
