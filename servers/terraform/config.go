package main

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/json"
	"github.com/zclconf/go-cty/cty"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/workspace"
)

// roots finds the root modules in and below a folder: the folders with sources that no other one calls, and those
// that are deployed by themselves, too. The folder itself is one if it has sources. The others are called.
func (l *loader) roots(dir string) (roots, others []string, err error) {
	names, err := l.files.parts(dir)
	if err != nil && len(names) == 0 {
		return nil, nil, err
	}
	for _, problem := range workspace.Problems(err) {
		l.problems.add(&configError{text: problem.Error()})
	}
	folders := map[string]bool{}
	for _, name := range names {
		if isSource(name) {
			folders[path.Join(dir, path.Dir(name))] = true
		}
	}
	called := map[string]bool{}
	for _, folder := range sortedKeys(folders) {
		m, err := l.load(folder)
		if err != nil {
			l.problems.add(&configError{place: finding.Location{File: folder}, text: err.Error()})
			delete(folders, folder)
			continue
		}
		for _, child := range m.children {
			if child != nil && child != m {
				called[child.dir] = true
			}
		}
	}
	for _, folder := range sortedKeys(folders) {
		if folder == path.Clean(dir) || !called[folder] || l.deployed(folder) {
			roots = append(roots, folder)
		} else {
			others = append(others, folder)
		}
	}
	return roots, others, nil
}

// unmade returns the first of some folders of which no call has made an instance: one with count = 0 must not hide what is
// deployed by itself. One that another of them calls comes after it, since that may make an instance of it.
func (l *loader) unmade(folders []string) (folder string, ok bool) {
	left := slices.DeleteFunc(slices.Clone(folders), func(folder string) bool { return l.modules[folder].made })
	called := map[string]bool{}
	for _, folder := range left {
		for _, child := range l.modules[folder].children {
			if child != nil {
				called[child.dir] = true
			}
		}
	}
	for _, folder := range left {
		if !called[folder] {
			return folder, true
		}
	}
	if len(left) == 0 {
		return "", false
	}
	return left[0], true // they all call one another: the evaluation says so
}

// deployed says whether a folder is a root module whoever else calls it: Terraform reads where the state is, and the
// values of variables, in root modules alone, and writes its lock file there.
func (l *loader) deployed(dir string) bool {
	for _, b := range l.modules[dir].settings {
		if slices.ContainsFunc(b.body.Blocks, func(b *hclsyntax.Block) bool { return b.Type == "backend" || b.Type == "cloud" }) {
			return true
		}
	}
	names, _ := l.files.folder(dir)
	return slices.ContainsFunc(names, func(name string) bool { return isValues(name) || name == ".terraform.lock.hcl" })
}

// isValues says whether Terraform reads values of variables from a file of this name unasked.
func isValues(name string) bool {
	name = strings.TrimSuffix(name, ".json")
	return name == "terraform.tfvars" || strings.HasSuffix(name, ".auto.tfvars")
}

// checkRoot judges one root module into the report. arguments are values of variables in the language, by name.
func (l *loader) checkRoot(ctx context.Context, dir string, arguments map[string]string, book *ruleBook, r *report) error {
	m, err := l.load(dir)
	if err != nil {
		return err
	}
	l.budget.expired = ctx.Err
	c := newCheck(l, dir)
	c.arguments = c.readArguments(m, arguments)
	world := newWorld(c, m)
	if err := r.judge(ctx, book, world.all); err != nil {
		return err
	}
	for _, call := range world.missing {
		r.note(Rule{ID: ruleModule, Title: ownRules()[1].Title, Severity: ownRules()[1].Severity}, call.resource, Result{
			Verdict: finding.Unknown, Message: call.resource.Address + " is not judged", Reason: call.why,
		})
	}
	if c.budget.spent != "" {
		l.problems.add(&configError{place: finding.Location{File: dir}, text: "too large: " + c.budget.spent + "; check a smaller folder"})
	}
	return nil
}

// suppressions adds what is wrong with the suppressions of all modules.
func (l *loader) suppressions(book *ruleBook, r *report) {
	for _, dir := range sortedKeys(l.modules) {
		for _, i := range l.modules[dir].ignores {
			message := ""
			switch {
			case !book.knows(i.rule):
				message = fmt.Sprintf("%q is no rule", clip(i.rule))
			case i.reason == "":
				message = "the suppression of " + i.rule + " gives no reason, and does not count"
			default:
				continue
			}
			r.add(finding.Finding{
				Rule: ruleSuppression, Title: ownRules()[2].Title, Severity: ownRules()[2].Severity, Verdict: finding.Fail,
				Message: message, Fix: "write bulkhead:ignore RULE reason", Location: i.place,
			})
		}
	}
}

// readArguments reads the values of the root module's variables: files of values in the order of Terraform, and
// then what the call gives.
func (c *check) readArguments(m *module, given map[string]string) map[string]cty.Value {
	out := map[string]cty.Value{}
	names, _ := c.files.folder(m.dir)
	var files []string
	for _, name := range []string{"terraform.tfvars", "terraform.tfvars.json"} {
		if slices.Contains(names, name) {
			files = append(files, name)
		}
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".auto.tfvars") || strings.HasSuffix(name, ".auto.tfvars.json") {
			files = append(files, name)
		}
	}
	for _, name := range files {
		c.readValues(path.Join(m.dir, name), out)
	}
	for _, name := range sortedKeys(given) {
		v := m.variables[name]
		if v == nil {
			continue // another root module's; judge says so where there is none
		}
		if v.kind == cty.String {
			out[name] = cty.StringVal(given[name])
			continue
		}
		value, err := c.constant(given[name], "the value of var."+clip(name))
		if err != nil {
			if v.kind == cty.DynamicPseudoType {
				value = cty.StringVal(given[name])
			} else {
				c.problems.add(err)
				continue
			}
		}
		out[name] = value
	}
	return out
}

// constant evaluates a text of the language that refers to nothing.
func (c *check) constant(text, name string) (cty.Value, *configError) {
	syntax, problems := expressions().text(text, name, hcl.InitialPos)
	if len(problems) > 0 {
		return cty.NilVal, problems[0]
	}
	value, diags := c.budget.compile(syntax).syntax.Value(nil)
	if diags.HasErrors() {
		return cty.NilVal, diagnosed(diags)[0]
	}
	return value, nil
}

// readValues reads a .tfvars file.
func (c *check) readValues(name string, into map[string]cty.Value) {
	data, err := c.files.read(name)
	if err != nil {
		c.problems.add(&configError{place: finding.Location{File: name}, text: err.Error()})
		return
	}
	var attributes hclsyntax.Attributes
	if strings.HasSuffix(name, ".json") {
		if e := tooDeepJSON(name, data); e != nil {
			c.problems.add(e)
			return
		}
		file, diags := json.Parse(data, name)
		c.diagnose(diags)
		if file == nil || diags.HasErrors() {
			return
		}
		converter := jsonConverter{}
		attributes = converter.body(file.Body, "variable.default", hcl.Range{Filename: name}).Attributes
		for _, e := range converter.problems {
			c.problems.add(e)
		}
	} else {
		body, problems := parseFile(name, data)
		for _, e := range problems {
			c.problems.add(e)
		}
		if body == nil {
			return
		}
		attributes = body.Attributes
	}
	for _, key := range sortedKeys(map[string]*hclsyntax.Attribute(attributes)) {
		value, diags := c.budget.compile(attributes[key].Expr).syntax.Value(nil)
		c.diagnose(diags)
		if diags.HasErrors() || measure(value, maxValueBytes).tooLarge {
			value = unknown("var." + key)
		}
		into[key] = value
	}
}

func (c *check) diagnose(diags hcl.Diagnostics) {
	for _, e := range diagnosed(diags) {
		c.problems.add(e)
	}
}

// configWorld is all that a root module makes.
type configWorld struct {
	all     []*Resource
	missing []missingCall
}

// missingCall is a call of a module that is not in the workspace.
type missingCall struct {
	resource *Resource
	why      string
}

func newWorld(c *check, m *module) *configWorld {
	w := &configWorld{}
	w.collect(c.instance(m, nil, nil, ""), map[*module]bool{})
	given := sync.OnceValue(w.given)
	relate(w.all, func(r *Resource) string { return given()[r] })
	return w
}

// given names the modules that are not there and are given something of a resource: what settles a matter may be
// in them.
func (w *configWorld) given() map[*Resource]string {
	out := map[*Resource]string{}
	for _, call := range w.missing {
		for _, name := range call.resource.Names() {
			for _, from := range call.resource.Attr(name).Resources() {
				out[from] = fmt.Sprintf("%s (%s)", call.resource.Address, call.why)
			}
		}
	}
	return out
}

// collect adds what an instance of a module makes. What a module says about itself is added once for all its
// instances.
func (w *configWorld) collect(i *instance, described map[*module]bool) {
	m := i.module
	m.made = true
	if !described[m] {
		described[m] = true
		for _, b := range m.settings {
			w.add(i, b)
		}
		for _, name := range sortedKeys(m.variables) {
			w.add(i, m.variables[name].block)
		}
		for _, blocks := range []map[string]*block{m.outputs, m.calls} {
			for _, name := range sortedKeys(blocks) {
				w.add(i, blocks[name])
			}
		}
	}
	for _, b := range m.providers {
		w.add(i, b)
	}
	for _, key := range sortedKeys(m.resources) {
		w.all = append(w.all, i.instancesOf(m.resources[key]).all...)
	}
	for _, name := range sortedKeys(m.calls) {
		if why := m.missing[name]; why != "" {
			w.missing = append(w.missing, missingCall{resource: i.resource(m.calls[name], repetition{}), why: why})
			continue
		}
		for _, child := range i.childrenOf(name).all {
			w.collect(child, described)
		}
	}
}

func (w *configWorld) add(i *instance, b *block) { w.all = append(w.all, i.resource(b, repetition{})) }

// ignored returns why a comment suppresses a rule's findings about the resource, and "" where none does: it stands in
// the resource's block or in a module block that led to it, or right above either.
func (r *Resource) ignored(rule string) string {
	content, ok := r.content.(*bodyContent)
	if !ok {
		return ""
	}
	at, block := content.scope.instance, r.source
	for {
		for _, i := range at.module.ignores {
			if i.rule == rule && i.file == block.Filename && i.line >= block.Start.Line && i.line <= block.End.Line && i.reason != "" {
				return i.reason
			}
		}
		if at.parent == nil {
			return ""
		}
		at, block = at.parent.instance, at.call.source
	}
}
