package main

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// read reads a file that the configuration names, relative to the folder of the root module.
func (c *check) read(name string) ([]byte, error) {
	if name == "" || len(name) > maxPathLength {
		return nil, errors.New("the path is empty or too long")
	}
	if path.IsAbs(name) || strings.HasPrefix(name, "~") {
		return nil, fmt.Errorf("%q is not below the workspace", clip(name))
	}
	data, err := c.files.read(path.Join(c.root, name))
	if err != nil {
		return nil, err
	}
	if c.budget.fileBytes -= len(data); c.budget.fileBytes < 0 {
		return nil, errTooLarge
	}
	return data, nil
}

// unread is the value of a file that cannot be read. It may be there where Terraform runs, so it is unknown.
func unread(name string, t cty.Type, err error) cty.Value {
	return cty.UnknownVal(t).Mark(origin{name: fmt.Sprintf("file(%q): %s", clip(name), err)})
}

// fileFunc is file, filebase64 and the hashes of files.
func (c *check) fileFunc(as func(string) string) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "path", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, t cty.Type) (cty.Value, error) {
			data, err := c.read(args[0].AsString())
			if err != nil {
				return unread(args[0].AsString(), t, err), nil
			}
			text := as(string(data))
			if !utf8.ValidString(text) {
				return cty.NilVal, fmt.Errorf("contents of %q are not valid UTF-8; use the filebase64 function", clip(args[0].AsString()))
			}
			return cty.StringVal(text), nil
		},
	})
}

func (c *check) fileExistsFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "path", Type: cty.String}},
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, t cty.Type) (cty.Value, error) {
			if _, err := c.read(args[0].AsString()); err != nil {
				return unread(args[0].AsString(), t, err), nil
			}
			return cty.True, nil
		},
	})
}

func (c *check) fileSetFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "path", Type: cty.String}, {Name: "pattern", Type: cty.String}},
		Type:   function.StaticReturnType(cty.Set(cty.String)),
		Impl: func(args []cty.Value, t cty.Type) (cty.Value, error) {
			folder, pattern := args[0].AsString(), args[1].AsString()
			if path.IsAbs(folder) || len(folder) > maxPathLength || !doublestar.ValidatePattern(pattern) {
				return unread(folder, t, errors.New("not below the workspace, or no pattern")), nil
			}
			base := path.Join(c.root, folder)
			names, err := c.files.below(base)
			if err != nil {
				return unread(folder, t, err), nil
			}
			var found []cty.Value
			for _, name := range names {
				if !c.budget.step(1) {
					return cty.NilVal, errTooLarge
				}
				if match, err := doublestar.Match(pattern, name); err == nil && match {
					found = append(found, cty.StringVal(name))
				}
			}
			if len(found) == 0 {
				return cty.SetValEmpty(cty.String), nil
			}
			return cty.SetVal(found), nil
		},
	})
}

func (c *check) templateFileFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "path", Type: cty.String}, {Name: "vars", Type: cty.DynamicPseudoType, AllowUnknown: true}},
		Type:   function.StaticReturnType(cty.DynamicPseudoType),
		Impl: func(args []cty.Value, t cty.Type) (cty.Value, error) {
			name := args[0].AsString()
			data, err := c.read(name)
			if err != nil {
				return unread(name, t, err), nil
			}
			if !utf8.Valid(data) {
				return cty.NilVal, fmt.Errorf("%q is not UTF-8", clip(name))
			}
			return c.render(string(data), name, args[1])
		},
	})
}

func (c *check) templateStringFunc() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "template", Type: cty.String}, {Name: "vars", Type: cty.DynamicPseudoType, AllowUnknown: true}},
		Type:   function.StaticReturnType(cty.DynamicPseudoType),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return c.render(args[0].AsString(), "template", args[1])
		},
	})
}

// render renders a template with variables. Templates in templates are refused, as by Terraform.
func (c *check) render(text, name string, vars cty.Value) (cty.Value, error) {
	if c.rendering {
		return cty.NilVal, errors.New("a template cannot render another one")
	}
	if t := vars.Type(); !vars.IsKnown() {
		return cty.DynamicVal, nil
	} else if !t.IsObjectType() && !t.IsMapType() {
		return cty.NilVal, errors.New("the variables must be a map")
	}
	syntax, problems := template().text(text, name, hcl.InitialPos)
	if len(problems) > 0 {
		return cty.NilVal, problems[0]
	}
	e := c.budget.compile(syntax)
	variables := vars.AsValueMap()
	for _, r := range e.references {
		if _, ok := variables[r.root]; !ok {
			return cty.NilVal, fmt.Errorf("vars map does not contain key %q", clip(r.root))
		}
	}
	c.rendering = true
	defer func() { c.rendering = false }()
	v, diags := e.syntax.Value(&hcl.EvalContext{Variables: variables, Functions: c.table})
	if diags.HasErrors() {
		return cty.NilVal, diagnosed(diags)[0]
	}
	return v, nil
}
