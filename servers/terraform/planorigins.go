package main

import (
	"encoding/json"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"
)

// origins are the resources that an attribute refers to, by the configuration in the plan, through variables and
// outputs of modules.
func (w *planned) origins(r *planResource, e *tfjson.Expression) []origin {
	left := maxPlanReferences
	var out []origin
	for _, o := range w.follow(r, modulePath(r.Module), references(e, 0), &left) {
		if !slices.Contains(out, o) && len(out) < maxOrigins {
			out = append(out, o)
		}
	}
	return out
}

// references are those of an expression and of all that is nested in it.
func references(e *tfjson.Expression, depth int) []string {
	if e == nil || e.ExpressionData == nil || depth > maxPlanNesting {
		return nil
	}
	out := e.References
	for _, block := range e.NestedBlocks {
		for _, name := range sortedKeys(block) {
			out = append(slices.Clone(out), references(block[name], depth+1)...)
		}
	}
	return out
}

// follow finds what references in the module at path lead to. left bounds how many are followed.
func (w *planned) follow(r *planResource, path string, refs []string, left *int) []origin {
	var out []origin
	for i, ref := range refs {
		if i > 0 && strings.HasPrefix(refs[i-1], ref+".") || i > 0 && strings.HasPrefix(refs[i-1], ref+"[") {
			continue // the same, less precise
		}
		if *left--; *left < 0 {
			return out
		}
		steps := strings.Split(modulePath(ref), ".")
		switch {
		case steps[0] == "each" && r.config != nil:
			out = append(out, w.follow(r, path, references(r.config.ForEachExpression, 0), left)...)
		case steps[0] == "var" && len(steps) > 1:
			m, parent := w.modules[path], parentPath(path)
			if path == "" || m == nil || m.call == nil {
				out = append(out, origin{name: prefixed(path, "var."+steps[1])})
				continue
			}
			out = append(out, w.follow(r, parent, references(m.call.Expressions[steps[1]], 0), left)...)
		case steps[0] == "module" && len(steps) > 2:
			child := prefixed(path, "module."+steps[1])
			m := w.modules[child]
			if m == nil || m.outputs[steps[2]] == nil {
				out = append(out, origin{name: prefixed(path, ref)})
				continue
			}
			out = append(out, w.follow(r, child, references(m.outputs[steps[2]].Expression, 0), left)...)
		case steps[0] == "local", steps[0] == "module":
			out = append(out, origin{name: prefixed(path, ref)})
		case steps[0] == "data" && len(steps) > 2:
			out = append(out, w.instances(r, path, strings.Join(steps[:3], "."), ref)...)
		case len(steps) > 1 && !slices.Contains([]string{"each", "count", "path", "terraform", "self"}, steps[0]):
			out = append(out, w.instances(r, path, strings.Join(steps[:2], "."), ref)...)
		}
	}
	return out
}

// parentPath is the path of the module that calls the one at path.
func parentPath(path string) string {
	i := strings.LastIndex(path, "module.")
	return strings.TrimSuffix(path[:max(i, 0)], ".")
}

// instances are those of a resource that a reference may mean: the one with the index that is written, else with
// the index of the resource that refers, else all, in the same instances of modules.
func (w *planned) instances(r *planResource, path, address, ref string) []origin {
	var out, same []origin
	candidates := w.byConfig[configKey(path, address)]
	if len(candidates) == 0 {
		return []origin{{name: prefixed(path, ref)}}
	}
	for _, other := range candidates {
		if !sameModules(r.Module, other.Module) {
			continue
		}
		o := origin{resource: other.Resource, name: other.Address}
		if suffix, ok := strings.CutPrefix(other.Address, prefixed(other.Module, address)); ok && suffix != "" && strings.Contains(ref, address+suffix) {
			return []origin{o}
		}
		out = append(out, o)
		if indexText(r.index) != "" && indexText(other.index) == indexText(r.index) {
			same = append(same, o)
		}
	}
	if len(same) > 0 {
		return same
	}
	return out
}

// indexText is the key of an instance: "" for a resource without count and for_each.
func indexText(index any) string {
	switch index := index.(type) {
	case string:
		return quote(index)
	case json.Number:
		return index.String()
	default:
		return ""
	}
}

// sameModules says whether two module addresses agree in the keys of the calls that they share.
func sameModules(a, b string) bool {
	as, bs := moduleChain(a), moduleChain(b)
	for i := range min(len(as), len(bs)) {
		if modulePath(as[i]) != modulePath(bs[i]) {
			return true
		}
		if as[i] != bs[i] {
			return false
		}
	}
	return true
}
