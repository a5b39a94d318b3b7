package main

import (
	"slices"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// bounded gives a function bounds: on its arguments, on what it would make of them, and on the number of calls.
func (c *check) bounded(name string, f function.Function) function.Function {
	var vary *function.Parameter
	if p := f.VarParam(); p != nil {
		vary = new(*p)
	}
	return function.New(&function.Spec{
		Params: slices.Clone(f.Params()), VarParam: vary,
		Type: func(args []cty.Value) (cty.Type, error) {
			s := size{}
			for _, arg := range args {
				s.add(arg, maxFunctionBytes)
			}
			if s.tooLarge {
				return cty.NilType, errTooLarge
			}
			if !c.budget.step(1 + s.nodes/stepNodes) {
				return cty.NilType, errTooLarge
			}
			if err := amplifies(name, args, s); err != nil {
				return cty.NilType, err
			}
			return f.ReturnTypeForValues(args)
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			v, err := f.Call(args)
			if err == nil && measure(v, maxFunctionBytes).tooLarge {
				return cty.NilVal, errTooLarge
			}
			return v, err
		},
	})
}

// amplifies refuses calls that would make much of little, before they do.
func amplifies(name string, args []cty.Value, s size) error {
	product := 1
	switch name {
	case "join":
		// The separator stands between any two elements.
		product = textLength(args, 0) * s.nodes
	case "replace":
		product = (1 + textLength(args, 0)) * (1 + textLength(args, 2))
	case "indent":
		if width, ok := whole(args, 0); ok {
			product = max(width, 1) * (1 + textLength(args, 1))
		}
	case "format", "formatlist":
		if tooWide(args) {
			return errTooLarge
		}
		product = (1 + textLength(args, 0)) * s.nodes
	case "setproduct":
		elements := len(args)
		for _, arg := range args {
			if n := count(arg); elements <= maxValueNodes {
				elements *= n
			}
		}
		if elements > maxValueNodes {
			return errTooLarge
		}
	case "distinct", "matchkeys":
		if s.nodes > maxSquareElements {
			return errTooLarge
		}
	case "parseint":
		if textLength(args, 0) > maxFormatWidth {
			return errTooLarge
		}
	}
	if product > maxFunctionBytes {
		return errTooLarge
	}
	return nil
}

func textLength(args []cty.Value, i int) int {
	if i >= len(args) {
		return 0
	}
	v, _ := args[i].Unmark()
	if v.Type() != cty.String || !v.IsKnown() || v.IsNull() {
		return 0
	}
	return len(v.AsString())
}

func whole(args []cty.Value, i int) (int, bool) {
	v, _ := args[i].Unmark()
	if v.Type() != cty.Number || !v.IsKnown() || v.IsNull() {
		return 0, false
	}
	n, accuracy := v.AsBigFloat().Int64()
	if accuracy != 0 || n > maxFunctionBytes {
		return maxFunctionBytes, true
	}
	return int(n), true
}

func count(v cty.Value) int {
	v, _ = v.Unmark()
	if !v.IsKnown() || v.IsNull() || !v.CanIterateElements() {
		return 1
	}
	return v.LengthInt()
}

// tooWide says whether a format's widths are more than anybody needs.
func tooWide(args []cty.Value) bool {
	v, _ := args[0].Unmark()
	if v.Type() != cty.String || !v.IsKnown() || v.IsNull() {
		return false
	}
	digits := 0
	total := 0
	for _, r := range v.AsString() {
		if r < '0' || r > '9' {
			total += digits
			digits = 0
			continue
		}
		digits = min(digits*10+int(r-'0'), maxFormatWidth+1)
		if digits > maxFormatWidth || total > maxFunctionBytes {
			return true
		}
	}
	return false
}
