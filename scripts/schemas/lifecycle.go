package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"strconv"
	"strings"
)

// lifecycle is what the module of an API's types says of one kind: minor releases of Kubernetes 1, and 0 where it says nothing.
type lifecycle struct {
	deprecated, removed int
	replacement         gvk
}

func (l lifecycle) String() string {
	var b strings.Builder
	if l.deprecated > 0 {
		fmt.Fprintf(&b, " deprecated %d", l.deprecated)
	}
	if l.removed > 0 {
		fmt.Fprintf(&b, " removed %d", l.removed)
	}
	if l.replacement.Kind != "" {
		fmt.Fprintf(&b, " use %s", l.replacement)
	}
	return b.String()
}

const lifecycleFile = "zz_generated.prerelease-lifecycle.go"

// addLifecycles reads the methods APILifecycleDeprecated, APILifecycleRemoved and APILifecycleReplacement of every kind below dir.
// The API server's own warnings come from them.
func (c *collection) addLifecycles(dir string) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Name() != lifecycleFile || strings.Contains(path, "testdata") {
			return err
		}
		group, err := groupOf(filepath.Join(filepath.Dir(path), "register.go"))
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		found := map[gvk]lifecycle{}
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv == nil {
				continue
			}
			k := gvk{group, filepath.Base(filepath.Dir(path)), f.Recv.List[0].Type.(*ast.StarExpr).X.(*ast.Ident).Name}
			if strings.HasSuffix(k.Kind, "List") || strings.HasSuffix(k.Kind, "Options") {
				continue
			}
			results := f.Body.List[0].(*ast.ReturnStmt).Results
			l := found[k]
			switch f.Name.Name {
			case "APILifecycleDeprecated":
				l.deprecated, err = minorOf(results)
			case "APILifecycleRemoved":
				l.removed, err = minorOf(results)
			case "APILifecycleReplacement":
				l.replacement, err = gvkOf(results[0])
			default:
				continue
			}
			if err != nil {
				return fmt.Errorf("%s: %s of %s: %w", path, f.Name.Name, k.Kind, err)
			}
			found[k] = l
		}
		maps.Copy(c.lifecycles, found)
		return nil
	})
}

// minorOf reads `return 1, 22`.
func minorOf(results []ast.Expr) (int, error) {
	if len(results) != 2 || results[0].(*ast.BasicLit).Value != "1" {
		return 0, fmt.Errorf("no release of Kubernetes 1")
	}
	return strconv.Atoi(results[1].(*ast.BasicLit).Value)
}

// gvkOf reads schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "DaemonSet"}.
func gvkOf(e ast.Expr) (gvk, error) {
	var k gvk
	for _, element := range e.(*ast.CompositeLit).Elts {
		pair := element.(*ast.KeyValueExpr)
		value, err := strconv.Unquote(pair.Value.(*ast.BasicLit).Value)
		if err != nil {
			return k, err
		}
		switch pair.Key.(*ast.Ident).Name {
		case "Group":
			k.Group = value
		case "Version":
			k.Version = value
		case "Kind":
			k.Kind = value
		}
	}
	return k, nil
}

// groupOf reads the constant GroupName.
func groupOf(path string) (string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return "", err
	}
	for _, d := range file.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			if v := s.(*ast.ValueSpec); v.Names[0].Name == "GroupName" {
				return strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			}
		}
	}
	return "", fmt.Errorf("%s: no constant GroupName", path)
}
