package rego

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/util"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/workspace"
)

// dataFolder is the folder of a policy folder whose files are data.
const dataFolder = "data"

// Policies are the rules and the data of one folder, compiled. They may be used from several goroutines; they
// judge one document at a time.
type Policies struct {
	dir        string
	compiler   *ast.Compiler
	store      storage.Store
	namespaces []*namespace // by name
}

// namespace is one package and its rules that are judged.
type namespace struct {
	name  string
	rules []*rule // by name
}

// rule is all rules of one name in a package.
type rule struct {
	namespace, name string
	title           string // of its METADATA
	warning         bool
	judge, excepted ast.Body
}

// id is the name of the rule in findings.
func (r *rule) id() string { return r.namespace + "." + r.name }

// severity is that of a finding, unless the policy says another one.
func (r *rule) severity() finding.Severity {
	if r.warning {
		return finding.Low
	}
	return finding.High
}

// LoadError is why the policies of a folder cannot be used: one problem a line, each with its file and line.
type LoadError struct{ Problems []string }

func (e *LoadError) Error() string { return strings.Join(e.Problems, "\n") }

// Load reads every .rego file below the folder dir as Rego v1, and every .yaml, .yml and .json file below its
// folder data as data, as `conftest test --policy DIR --data DIR/data` does, and compiles them. Nothing is read
// later. Tests (_test.rego) are left out, and what begins with a dot.
func Load(dir string) (*Policies, error) {
	guardBuiltins()
	root, err := workspace.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("policies: %w", err)
	}
	defer func() { _ = root.Close() }()
	files, err := root.Read(".", func(name string) bool { return isPolicy(name) || isData(name) })
	if err != nil {
		return nil, fmt.Errorf("policies: %s: %w", dir, err)
	}
	l := loader{dir: dir, data: map[string]any{}, values: maxStore}
	l.links()
	for _, f := range files {
		if isPolicy(f.Path) {
			l.parse(f)
		} else {
			l.add(f)
		}
	}
	if len(l.modules) == 0 && len(l.problems) == 0 {
		return nil, fmt.Errorf("policies: %s has no .rego file in it", dir)
	}
	p, err := l.compile()
	if err != nil {
		return nil, err
	}
	return p, p.prepare()
}

// links refuses links to folders, which are not entered: what is in them would be missed.
func (l *loader) links() {
	root, err := os.OpenRoot(l.dir)
	if err != nil {
		l.fail("", 0, "%v", err)
		return
	}
	defer func() { _ = root.Close() }()
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case name != "." && hidden(name):
			if entry.IsDir() {
				return fs.SkipDir
			}
		case entry.Type()&fs.ModeSymlink != 0:
			if info, err := root.Stat(name); err == nil && info.IsDir() {
				l.fail(name, 0, "a link to a folder, which is not entered: put the folder itself there")
			}
		}
		return nil
	})
	if err != nil {
		l.fail("", 0, "%v", err)
	}
}

// isPolicy says whether a file holds policies. Their tests, which only `conftest verify` runs, may call what no policy may.
func isPolicy(name string) bool {
	return strings.HasSuffix(name, ".rego") && !strings.HasSuffix(name, "_test.rego") && !hidden(name)
}

func isData(name string) bool {
	return strings.HasPrefix(name, dataFolder+"/") && slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(name)) && !hidden(name)
}

// hidden says whether a file or a folder around it begins with a dot, as an editor's copies do, and the folders
// that Kubernetes mounts a ConfigMap's versions under, beside links to their files.
func hidden(name string) bool { return strings.HasPrefix(name, ".") || strings.Contains(name, "/.") }

// loader is one Load.
type loader struct {
	dir      string
	modules  map[string]*ast.Module
	data     map[string]any
	values   int // that the data may still have
	problems []string
	dropped  int
}

// fail notes what is wrong at a place of the folder; line 0 is the whole file.
func (l *loader) fail(file string, line int, format string, args ...any) {
	if len(l.problems) == maxLoadErrors {
		l.dropped++
		return
	}
	where := filepath.Join(l.dir, file)
	if line > 0 {
		where = fmt.Sprintf("%s:%d", where, line)
	}
	l.problems = append(l.problems, where+": "+fmt.Sprintf(format, args...))
}

func (l *loader) err() error {
	if len(l.problems) == 0 {
		return nil
	}
	if l.dropped > 0 {
		l.problems = append(l.problems, fmt.Sprintf("%d more problems", l.dropped))
	}
	return &LoadError{Problems: l.problems}
}

func (l *loader) parse(f workspace.File) {
	module, err := ast.ParseModuleWithOpts(f.Path, string(f.Data), ast.ParserOptions{
		RegoVersion: ast.RegoV1, ProcessAnnotation: true, Capabilities: capabilities(),
	})
	if err != nil {
		l.explain(f.Path, err)
		return
	}
	if l.modules == nil {
		l.modules = map[string]*ast.Module{}
	}
	l.modules[f.Path] = module
}

// explain notes what OPA finds wrong, one by one, with what would mend it where that is known.
func (l *loader) explain(file string, err error) {
	var several ast.Errors
	if !errors.As(err, &several) {
		l.fail(file, 0, "%v", err)
		return
	}
	for _, e := range several {
		line := 0
		if e.Location != nil {
			file, line = e.Location.File, e.Location.Row
		}
		text := e.Code + ": " + e.Message
		if name, ok := strings.CutPrefix(e.Message, "undefined function "); ok {
			if reason, ok := refused(name); ok {
				text = fmt.Sprintf("%s is refused: %s", name, reason)
			}
		}
		if strings.Contains(e.Message, "keyword is required before rule body") {
			text += " (policies are read as Rego v1; opa fmt --v0-v1 --write rewrites older ones)"
		}
		l.fail(file, line, "%s", text)
	}
}

// add merges a data file into the data, below the folders that it lies in.
func (l *loader) add(f workspace.File) {
	var value any
	if err := util.Unmarshal(f.Data, &value); err != nil {
		l.fail(f.Path, 0, "%s", strings.ReplaceAll(err.Error(), "\n", " "))
		return
	}
	if documents(f.Data) > 1 {
		l.fail(f.Path, 0, "several documents, of which only the first would be read: make a file of each")
		return
	}
	if l.values -= measure(value, maxDepth, l.values).values; l.values < 0 {
		l.fail(f.Path, 0, "too large: more than %d values in all data files, or more than %d in each other", maxStore, maxDepth)
		return
	}
	folders := strings.Split(path.Dir(f.Path), "/")[1:]
	for _, folder := range slices.Backward(folders) {
		value = map[string]any{folder: value}
	}
	object, ok := value.(map[string]any)
	if !ok {
		l.fail(f.Path, 0, "data that lies in no folder of %s must be a mapping", dataFolder)
		return
	}
	if at, ok := merge(l.data, object, dataFolder); !ok {
		l.fail(f.Path, 0, "%s has another value in another file", at)
	}
}

// separator ends a document of YAML, which no value can have at the beginning of a line.
var separator = regexp.MustCompile(`(?m)^---(?:[ \t\r].*)?$`)

// documents counts those of a data file that are not empty.
func documents(data []byte) int {
	if json.Valid(data) {
		return 1
	}
	n := 0
	for _, text := range separator.Split(string(data), -1) {
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "%") {
				n++
				break
			}
		}
	}
	return n
}

// merge puts what from has into into. It returns the path of the first value that both have.
func merge(into, from map[string]any, at string) (string, bool) {
	for key, value := range from {
		have, ok := into[key]
		if !ok {
			into[key] = value
			continue
		}
		a, isObject := have.(map[string]any)
		b, isToo := value.(map[string]any)
		if !isObject || !isToo {
			return at + "." + key, false
		}
		if at, ok := merge(a, b, at+"."+key); !ok {
			return at, false
		}
	}
	return "", true
}

// extent is how many values something is made of, and how many bytes its texts have.
type extent struct{ values, bytes int }

// measure adds up v. It ends where there are more than most values, or more than depth in each other, and then
// returns more than most.
func measure(v any, depth, most int) extent {
	if depth < 0 {
		return extent{values: most + 1}
	}
	sum := extent{values: 1}
	add := func(key string, v any) bool {
		inner := measure(v, depth-1, most-sum.values)
		sum.values += inner.values
		sum.bytes += len(key) + inner.bytes
		return sum.values <= most
	}
	switch v := v.(type) {
	case string:
		sum.bytes = len(v)
	case map[string]any:
		for key, value := range v {
			if !add(key, value) {
				return sum
			}
		}
	case []any:
		for _, value := range v {
			if !add("", value) {
				return sum
			}
		}
	}
	return sum
}

func (l *loader) compile() (*Policies, error) {
	if err := l.err(); err != nil {
		return nil, err
	}
	p := &Policies{
		dir:      l.dir,
		compiler: ast.NewCompiler().WithCapabilities(capabilities()).SetErrorLimit(maxLoadErrors),
		store:    inmem.NewFromObjectWithOpts(l.data, inmem.OptRoundTripOnWrite(false), inmem.OptReturnASTValuesOnRead(true)),
	}
	txn, err := p.store.NewTransaction(context.Background())
	if err != nil {
		return nil, fmt.Errorf("policies: %w", err)
	}
	defer p.store.Abort(context.Background(), txn)
	p.compiler.WithPathConflictsCheck(storage.NonEmpty(context.Background(), p.store, txn))
	if p.compiler.Compile(l.modules); p.compiler.Failed() {
		l.explain("", p.compiler.Errors)
	}
	for name, module := range l.modules {
		for _, r := range module.Rules {
			l.checkHead(name, r)
		}
		p.add(module)
	}
	slices.SortFunc(p.namespaces, func(a, b *namespace) int { return strings.Compare(a.name, b.name) })
	for _, n := range p.namespaces {
		slices.SortFunc(n.rules, func(a, b *rule) int { return strings.Compare(a.name, b.name) })
	}
	slices.Sort(l.problems)
	return p, l.err()
}

// checkHead refuses what conftest fails on: deny[msg] if …, which makes no set of messages, and functions.
func (l *loader) checkHead(file string, r *ast.Rule) {
	if r.Head == nil || len(r.Head.Reference) == 0 || !judged.MatchString(r.Head.Reference[0].Value.String()) {
		return
	}
	name, line := r.Head.Reference[0].Value, r.Head.Location.Row
	switch {
	case len(r.Head.Args) > 0:
		l.fail(file, line, "%s is a function, and so has no messages: give it another name", name)
	case r.Head.Name == "" && r.Head.Value != nil && r.Head.Value.Value.Compare(ast.Boolean(true)) == 0:
		l.fail(file, line, "rule uses if without contains, and so has no messages: write %s contains msg if …", name)
	case r.Head.Name == "":
		l.fail(file, line, "%s is a part of %s, which is then an object, and so has no messages: write %s contains msg if …", r.Head.Reference, name, name)
	}
}

// judged is the names of the rules that conftest judges, with its patterns.
var judged = regexp.MustCompile(`^(deny|violation|warn)(_[a-zA-Z0-9]+)*$`)

// exceptionName is what exceptions call a rule: its name without the kind, as conftest takes it off.
func exceptionName(rule string) string {
	if !strings.Contains(rule, "_") {
		return ""
	}
	for _, kind := range []string{"violation_", "deny_", "warn_"} {
		rule = strings.TrimPrefix(rule, kind)
	}
	return rule
}

// add takes the rules of a module that are judged.
func (p *Policies) add(module *ast.Module) {
	name := strings.TrimPrefix(module.Package.Path.String(), "data.")
	i := slices.IndexFunc(p.namespaces, func(n *namespace) bool { return n.name == name })
	if i < 0 {
		i = len(p.namespaces)
		p.namespaces = append(p.namespaces, &namespace{name: name})
	}
	n := p.namespaces[i]
	for _, r := range module.Rules {
		head := r.Head.Name.String()
		if !judged.MatchString(head) {
			continue
		}
		j := slices.IndexFunc(n.rules, func(r *rule) bool { return r.name == head })
		if j < 0 {
			j = len(n.rules)
			n.rules = append(n.rules, &rule{namespace: name, name: head, warning: strings.HasPrefix(head, "warn")})
		}
		for _, a := range r.Annotations {
			if n.rules[j].title == "" {
				n.rules[j].title = shorten(a.Title, maxMessage)
			}
		}
	}
}

// prepare compiles the queries of all rules, which are conftest's.
func (p *Policies) prepare() error {
	for _, n := range p.namespaces {
		for _, r := range n.rules {
			for query, body := range map[string]*ast.Body{
				fmt.Sprintf("%s = data.%s", resultVar, r.id()):                              &r.judge,
				fmt.Sprintf("data.%s.exception[_][_] == %q", n.name, exceptionName(r.name)): &r.excepted,
			} {
				parsed, err := ast.ParseBodyWithOpts(query, ast.ParserOptions{RegoVersion: ast.RegoV1})
				if err == nil {
					*body, err = p.compiler.QueryCompiler().Compile(parsed)
				}
				if err != nil {
					return fmt.Errorf("policies: query %s: %w", query, err)
				}
			}
		}
	}
	return nil
}

// Namespaces are the packages of the folder, sorted.
func (p *Policies) Namespaces() []string {
	names := make([]string, len(p.namespaces))
	for i, n := range p.namespaces {
		names[i] = n.name
	}
	return names
}
