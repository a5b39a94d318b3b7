package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/zclconf/go-cty/cty"
)

// generator writes modules that call one another three levels deep.
type generator struct {
	*rand.Rand
	files map[string]string
}

func (g *generator) pick(choices ...string) string { return choices[g.IntN(len(choices))] }

// module writes a module and those below it. Its variables are always the same, so that any can call any.
func (g *generator) module(dir string, level int) {
	var b strings.Builder
	b.WriteString(`
variable "name" {
  type = string
}
variable "number" {
  type    = number
  default = 2
}
variable "flag" {
  type     = bool
  default  = true
  nullable = false
}
variable "items" {
  type    = map(object({ size = number, label = optional(string, "none") }))
  default = { one = { size = 1 } }
}
locals {
  upper = upper(var.name)
  big   = { for k, v in var.items : k => v if v.size > 1 }
  pairs = [for p in setproduct(keys(var.items), range(var.number)) : "${p[0]}-${p[1]}"]
}
`)
	for n := range 2 + g.IntN(3) {
		name := fmt.Sprintf("r%d", n)
		fmt.Fprintf(&b, "resource \"terraform_data\" %q {\n", name)
		self := `"one"`
		switch g.IntN(5) {
		case 0:
			fmt.Fprintf(&b, "  count = %s\n", g.pick("var.number", "var.flag ? 1 : 0", "length(var.items)", "3"))
			self = `"${var.name}-${count.index}"`
		case 1:
			fmt.Fprintf(&b, "  for_each = %s\n", g.pick("var.items", "local.big", `toset(["a", "b c", "d\"e", "${var.name}"])`, "toset(local.pairs)", "{ for k, v in var.items : upper(k) => v.size }"))
			self = `"${each.key}!"`
		}
		fmt.Fprintf(&b, "  input = %s\n", g.pick(
			self, `{ me = `+self+`, up = local.upper }`, "[for k, v in var.items : \"${k}:${v.label}\"]", "local.pairs",
			`var.flag ? { a = var.number } : null`, `merge({ x = 1 }, { y = `+self+` })`, `try(var.items["one"].size, "no one")`,
			"jsonencode(local.big)", `format("%s/%03d", var.name, var.number)`, "cidrsubnet(\"10.0.0.0/8\", 8, var.number)",
		))
		if g.IntN(3) == 0 {
			fmt.Fprintf(&b, "  triggers_replace = [%s]\n", g.pick("var.name", "var.number", self))
		}
		b.WriteString("}\n")
	}
	// What refers to others: known inputs, unknown ids, whole resources.
	b.WriteString(`
resource "terraform_data" "base" {
  for_each = var.items
  input    = { key = each.key, size = each.value.size }
}
resource "terraform_data" "counted" {
  count = var.number
  input = var.number > 1 ? "many" : "few"
}
`)
	fmt.Fprintf(&b, "resource \"terraform_data\" \"refers\" {\n  input = %s\n}\n", g.pick(
		`[for k, v in terraform_data.base : v.input.size]`, `terraform_data.counted[*].input`, `{ for k, v in terraform_data.base : k => v.id }`,
		`length(terraform_data.counted)`, `try(terraform_data.counted[0].input, "none")`, `values(terraform_data.base)[*].input.key`,
	))
	b.WriteString("resource \"terraform_data\" \"chained\" {\n  for_each = terraform_data.base\n  input = [each.key, each.value.input]\n}\n")
	if level > 0 {
		for n := range 1 + g.IntN(2) {
			child := fmt.Sprintf("m%d", n)
			g.module(filepath.Join(dir, child), level-1)
			fmt.Fprintf(&b, "module %q {\n  source = \"./%s\"\n", child, child)
			name := `"${var.name}.x"`
			switch g.IntN(3) {
			case 0:
				fmt.Fprintf(&b, "  count = %s\n", g.pick("var.number", "var.flag ? 1 : 0", "2"))
				name = `"${var.name}.${count.index}"`
			case 1:
				fmt.Fprintf(&b, "  for_each = %s\n", g.pick("var.items", `toset(["p", "q"])`))
				name = `each.key`
			}
			fmt.Fprintf(&b, "  name = %s\n", name)
			if g.IntN(2) == 0 {
				fmt.Fprintf(&b, "  number = %s\n", g.pick("1", "var.number + 1", "length(local.pairs)", "var.flag ? 0 : 2"))
			}
			if g.IntN(2) == 0 {
				fmt.Fprintf(&b, "  items = %s\n", g.pick("local.big", "{}", `{ z = { size = 5, label = local.upper } }`, "{ for k, v in var.items : \"${k}2\" => { size = v.size + 1 } }"))
			}
			if g.IntN(2) == 0 {
				fmt.Fprintf(&b, "  flag = %s\n", g.pick("!var.flag", "null", "false"))
			}
			b.WriteString("}\n")
			fmt.Fprintf(&b, "output \"of_%s\" {\n  value = %s\n}\n", child, g.pick("module."+child, fmt.Sprintf("[module.%s]", child)))
			fmt.Fprintf(&b, "resource \"terraform_data\" \"after_%s\" {\n  input = module.%s\n}\n", child, child)
		}
	}
	b.WriteString("output \"sizes\" {\n  value = { for k, v in terraform_data.base : k => v.input.size }\n}\noutput \"id\" {\n  value = terraform_data.refers.id\n}\n")
	g.files[filepath.Join(dir, "main.tf")] = b.String()
}

// TestModulesAgree compares addresses and planned values of generated modules with those of the real thing.
func TestModulesAgree(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			g := &generator{Rand: rand.New(rand.NewPCG(seed, 8)), files: map[string]string{}}
			g.module(".", 3)
			dir := t.TempDir()
			for name, text := range g.files {
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			vars := "name = \"root\"\nitems = { one = { size = 1 }, two = { size = 2, label = \"second\" } }\n"
			if err := os.WriteFile(filepath.Join(dir, "terraform.tfvars"), []byte(vars), 0o600); err != nil {
				t.Fatal(err)
			}
			want := plannedThere(t, dir)
			got := evaluatedHere(t, dir)
			t.Logf("%d resources in %d modules", len(want), len(g.files))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("there (-), here (+):\n%.4000s", diff)
			}
		})
	}
}

// plannedThere returns the planned values by address, as the real thing has them.
func plannedThere(t *testing.T, dir string) map[string]any {
	t.Helper()
	runTool(t, dir, "", "init", "-input=false")
	runTool(t, dir, "", "plan", "-input=false", "-refresh=false", "-out=plan")
	type moduleValues struct {
		Resources []struct {
			Address string
			Values  map[string]any
		}
		Children []json.RawMessage `json:"child_modules"`
	}
	var plan struct {
		Planned struct {
			Root json.RawMessage `json:"root_module"`
		} `json:"planned_values"`
	}
	if err := json.Unmarshal(runTool(t, dir, "", "show", "-json", "plan"), &plan); err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	var visit func(json.RawMessage)
	visit = func(raw json.RawMessage) {
		var m moduleValues
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		for _, r := range m.Resources {
			delete(r.Values, "id")
			delete(r.Values, "output")
			out[r.Address] = r.Values
		}
		for _, child := range m.Children {
			visit(child)
		}
	}
	visit(plan.Planned.Root)
	return out
}

// evaluatedHere returns the same as it is evaluated here.
func evaluatedHere(t *testing.T, dir string) map[string]any {
	t.Helper()
	l := newLoader(localFiles(t, dir))
	m, err := l.load(".")
	if err != nil {
		t.Fatal(err)
	}
	c := newCheck(l, ".")
	c.arguments = c.readArguments(m, nil)
	out := map[string]any{}
	for _, r := range newWorld(c, m).all {
		if r.Mode != Managed {
			continue
		}
		values := map[string]any{}
		for _, name := range []string{"input", "triggers_replace"} {
			v := r.Attr(name)
			bare, _ := v.value.UnmarkDeep()
			if v.Null() {
				values[name] = nil
			} else if bare.IsKnown() {
				values[name] = plain(bare)
			}
		}
		out[r.Address] = values
	}
	for _, e := range l.problems.all {
		t.Errorf("problem: %v", e)
	}
	return out
}

// plain makes of a value what a plan in JSON makes of it: unknowns in objects are left out, those in lists null.
func plain(v cty.Value) any {
	switch t := v.Type(); {
	case !v.IsKnown() || v.IsNull():
		return nil
	case t == cty.String:
		return v.AsString()
	case t == cty.Bool:
		return v.True()
	case t == cty.Number:
		f, _ := v.AsBigFloat().Float64()
		return f
	case t.IsObjectType() || t.IsMapType():
		out := map[string]any{}
		for it := v.ElementIterator(); it.Next(); {
			key, element := it.Element()
			if element.IsKnown() {
				out[key.AsString()] = plain(element)
			}
		}
		return out
	default:
		out := []any{}
		for it := v.ElementIterator(); it.Next(); {
			_, element := it.Element()
			out = append(out, plain(element))
		}
		return out
	}
}
