package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/workspace"
)

// plainBook has one rule, which looks at one attribute of terraform_data.
func plainBook() *ruleBook {
	return newRuleBook([]Rule{{
		ID: "test/input", Title: "a test", Severity: finding.High, Types: []string{"terraform_data"},
		Check: func(r *Resource) Result {
			v := r.Attr("input")
			if v.Unknown() {
				return v.undecided()
			}
			return v.fails("input is %s", v.Show())
		},
	}})
}

// said is what a report says, a line for each finding.
func said(r *report) string {
	var b strings.Builder
	for _, f := range r.findings {
		fmt.Fprintf(&b, "%s %s %s %s: %s: %s\n", f.Location, f.Verdict, f.Rule, f.Object, f.Message, f.Reason)
	}
	return b.String()
}

// TestBadInput holds every kind of bad input to a clear answer.
func TestBadInput(t *testing.T) {
	data := func(input string) string { return "resource \"terraform_data\" \"x\" {\n  input = " + input + "\n}\n" }
	doubling := func(start, step string, times int) string {
		var b strings.Builder
		fmt.Fprintf(&b, "locals {\n  l0 = %s\n", start)
		for i := range times {
			fmt.Fprintf(&b, "  l%d = %s\n", i+1, strings.ReplaceAll(step, "@", fmt.Sprintf("local.l%d", i)))
		}
		b.WriteString("}\n")
		return b.String() + data(fmt.Sprintf("local.l%d", times))
	}
	for name, tc := range map[string]struct {
		texts map[string]string
		want  []string
	}{
		"broken": {map[string]string{"main.tf": "resource \"aws_x\" \"y\" {\n  a = [1,\n"}, []string{"main.tf:3:1", "Expected the start of an expression, but found the end of the file"}},
		"broken beside whole": {
			map[string]string{"a.tf": "locals { x = }", "b.tf": data("1")},
			[]string{"a.tf:1:14", "Invalid expression", "test/input terraform_data.x"},
		},
		"broken JSON": {map[string]string{"main.tf.json": `{"resource": [}`}, []string{"main.tf.json:1:15"}},
		"a value twice in JSON": {
			map[string]string{"main.tf": "variable \"a\" {}\nvariable \"b\" {}\n", "terraform.tfvars.json": `{"a": {"x": 1, "x": 2}, "b": 1, "b": 2}`},
			[]string{`"x" is there twice in one object`, "Duplicate attribute definition"},
		},
		"a block twice in JSON": {
			map[string]string{"main.tf.json": `{"resource": {"terraform_data": {"x": {"//": 1, "input": [{"//": 1, "//": 2, "a": {"b": 1}, "a": {"b": 2}}]}, "y": {"dynamic": {"input": {"for_each": [1], "content": {"c": 1, "c": 2}}}}}}}`},
			[]string{`"a" is there twice in one object: write blocks of one type as a list`, `"c" is there twice`},
		},
		"not UTF-8":       {map[string]string{"main.tf": "locals {\n a = \"\xff\"\n}"}, []string{"main.tf:2", "not UTF-8"}},
		"cycle of locals": {map[string]string{"main.tf": "locals {\n  a = local.b\n  b = local.a\n}\n" + data("local.a")}, []string{"a cycle: local.a", "test/input"}},
		"cycle of resources": {
			map[string]string{"main.tf": "resource \"terraform_data\" \"x\" {\n  input = terraform_data.y.input\n}\nresource \"terraform_data\" \"y\" {\n  input = terraform_data.x.input\n}\n"},
			[]string{"a cycle: input"},
		},
		"count of itself": {
			map[string]string{"main.tf": "resource \"terraform_data\" \"x\" {\n  count = length(terraform_data.x)\n}\n"},
			[]string{"a cycle: the instances of terraform_data.x"},
		},
		"cycle of modules": {
			map[string]string{"main.tf": "module \"a\" {\n  source = \"./a\"\n}\n", "a/main.tf": "module \"b\" {\n  source = \"../\"\n}\n" + data("1")},
			[]string{"modules call one another without end", "module.a.terraform_data.x"},
		},
		"module of a registry": {
			map[string]string{"main.tf": "module \"vpc\" {\n  source = \"terraform-aws-modules/vpc/aws\"\n}\n" + data("module.vpc.vpc_id")},
			[]string{"module.vpc is not judged: its source \"terraform-aws-modules/vpc/aws\" is not in the workspace", "input is not known: module.vpc.vpc_id"},
		},
		"module outside":         {map[string]string{"main.tf": "module \"m\" {\n  source = \"../m\"\n}\n"}, []string{"outside the workspace"}},
		"module without files":   {map[string]string{"main.tf": "module \"m\" {\n  source = \"./m\"\n}\n"}, []string{"main.tf:1:1", "no such file or folder: no text is in the folder m"}},
		"file outside":           {map[string]string{"main.tf": data(`file("../../etc/passwd")`)}, []string{"input is not known: file(\"../../etc/passwd\")"}},
		"file absolute":          {map[string]string{"main.tf": data(`file("/etc/passwd")`)}, []string{"not below the workspace"}},
		"file at home":           {map[string]string{"main.tf": data(`file("~/.ssh/id_rsa")`)}, []string{"not below the workspace"}},
		"undeclared":             {map[string]string{"main.tf": data("var.nope")}, []string{"var.nope is not declared"}},
		"unknown function":       {map[string]string{"main.tf": data("nope(1)")}, []string{"main.tf:2", "There is no function named"}},
		"function of a provider": {map[string]string{"main.tf": data("provider::aws::arn_parse(\"x\")")}, []string{"input is not known: function provider::aws::arn_parse"}},
		"wrong type":             {map[string]string{"main.tf": "variable \"n\" {\n  type = number\n  default = \"x\"\n}\n" + data("var.n")}, []string{"var.n: a number is required"}},
		"wrong argument":         {map[string]string{"main.tf": data("upper([1])")}, []string{"main.tf:2", "Invalid function argument"}},
		"for_each over a list":   {map[string]string{"main.tf": "resource \"terraform_data\" \"x\" {\n  for_each = [1]\n}\n"}, []string{"for_each takes a map, or a set of strings"}},

		"count of ten million": {
			map[string]string{"main.tf": "resource \"terraform_data\" \"x\" {\n  count = 10000000\n  input = count.index\n}\n"},
			[]string{"too large: a count of 10000000", "terraform_data.x[*]"},
		},
		"for_each over ten million": {
			map[string]string{"main.tf": "resource \"terraform_data\" \"x\" {\n  for_each = toset(flatten([for a in range(1000) : [for b in range(1000) : [for c in range(10) : \"${a}-${b}-${c}\"]]]))\n  input = each.key\n}\n"},
			[]string{"too", "terraform_data.x[*]"},
		},
		"loops in loops": {
			map[string]string{"main.tf": data("[for a in range(1000) : [for b in range(1000) : [for c in range(1000) : [for d in range(1000) : a]]]]")},
			[]string{"too many elements"},
		},
		"conditions in loops": {
			map[string]string{"main.tf": data("[for a in range(1000) : a if length([for b in range(1000) : b if length([for c in range(1000) : c if false]) > 0]) > 0]")},
			[]string{"too many elements"},
		},
		"templates of templates": {map[string]string{"main.tf": doubling(`"0123456789"`, `"@@"`, 60)}, []string{"test/input"}},
		"doubling templates": {
			map[string]string{"main.tf": doubling(`"0123456789"`, `"${@}${@}"`, 60)}, []string{"too large"},
		},
		"doubling lists":         {map[string]string{"main.tf": doubling("[1, 2]", "[@, @]", 60)}, []string{"too large"}},
		"doubling objects":       {map[string]string{"main.tf": doubling("{ a = 1 }", "{ a = @, b = @ }", 60)}, []string{"too large"}},
		"doubling by concat":     {map[string]string{"main.tf": doubling("[1, 2]", "concat(@, @)", 60)}, []string{"too large"}},
		"doubling by join":       {map[string]string{"main.tf": doubling(`"ab"`, `join(@, [@, @, @])`, 60)}, []string{"too large"}},
		"doubling by replace":    {map[string]string{"main.tf": doubling(`"aaaa"`, `replace(@, "a", @)`, 60)}, []string{"too large"}},
		"doubling by regex":      {map[string]string{"main.tf": doubling(`"aaaa"`, `replace(@, "/a/", "$0$0$0$0$0$0$0$0$0$0")`, 60)}, []string{"too large"}},
		"doubling by format":     {map[string]string{"main.tf": doubling(`"ab"`, `format("%s%s", @, @)`, 60)}, []string{"too large"}},
		"doubling by jsonencode": {map[string]string{"main.tf": doubling(`"\""`, `jsonencode([@, @])`, 60)}, []string{"too large"}},
		"products":               {map[string]string{"main.tf": data("length(setproduct(range(1000), range(1000), range(1000)))")}, []string{"too large"}},
		"powers":                 {map[string]string{"main.tf": doubling("9999999", "@ * @", 60)}, []string{"too large"}},
		"a large number":         {map[string]string{"main.tf": data(`"${1e99999999}"`)}, []string{"too many digits"}},
		"a wide format":          {map[string]string{"main.tf": data(`format("%0999999999d", 1)`)}, []string{"too large"}},
		"a wide indent":          {map[string]string{"main.tf": data(`indent(999999999, "a\nb\nc")`)}, []string{"too large"}},
		"tries in tries":         {map[string]string{"main.tf": data(strings.Repeat("try(", 60) + "1/0" + strings.Repeat(", 1/0)", 60))}, []string{"main.tf:2"}},
		"deep brackets":          {map[string]string{"main.tf": data(strings.Repeat("(", 100_000) + "1" + strings.Repeat(")", 100_000))}, []string{"main.tf:2", "brackets or operators"}},
		"deep operators":         {map[string]string{"main.tf": data(strings.Repeat("!", 100_000) + "true")}, []string{"main.tf:2", "brackets or operators"}},
		"a long sum":             {map[string]string{"main.tf": data("(\n" + strings.Repeat("1 +\n", 100_000) + "1)")}, []string{"brackets or operators"}},
		"deep templates":         {map[string]string{"main.tf": data(strings.Repeat(`"${`, 5000) + "1" + strings.Repeat(`}"`, 5000))}, []string{"brackets or operators"}},
		"deep directives":        {map[string]string{"main.tf": data(`"` + strings.Repeat("%{ if true }", 50_000) + strings.Repeat("%{ endif }", 50_000) + `"`)}, []string{"brackets or operators"}},
		"deep blocks":            {map[string]string{"main.tf": strings.Repeat("a {\n", 50_000) + strings.Repeat("}\n", 50_000)}, []string{"brackets or operators"}},
		"deep JSON":              {map[string]string{"main.tf.json": strings.Repeat(`{"locals":`, 50_000) + "1" + strings.Repeat("}", 50_000)}, []string{"lists and objects inside one another"}},
		"deep JSON in a text":    {map[string]string{"main.tf": data(`jsondecode(join("", [for i in range(1000) : "[[[[[[[[[["]))`)}, []string{"main.tf:2"}},
		"long chain":             {map[string]string{"main.tf": doubling("1", "@ + 1", 5000)}, []string{"references that lead to references without end"}},
		"aliases in YAML": {
			map[string]string{"main.tf": data("yamldecode(<<EOT\na: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]\nf: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e]\ng: &g [*f, *f, *f, *f, *f, *f, *f, *f, *f]\nEOT\n)")},
			[]string{"too large"},
		},
		"modules without end": {
			map[string]string{
				"main.tf": "module \"m\" {\n  source = \"./a\"\n  count = 1000\n}\n", "a/main.tf": "module \"m\" {\n  source = \"../b\"\n  count = 1000\n}\n", "b/main.tf": "resource \"terraform_data\" \"x\" {\n  count = 1000\n}\n",
			},
			[]string{"too large"},
		},
		"dynamic without end": {
			map[string]string{"main.tf": "locals {\n  l = flatten([for a in range(500) : range(500)])\n}\nresource \"terraform_data\" \"x\" {\n  count = 100\n  dynamic \"input\" {\n    for_each = local.l\n    content {\n      a = input.value\n    }\n  }\n}\n"},
			[]string{"too"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := allocated()
			r := judgeTexts(t, plainBook(), tc.texts)
			got := said(r)
			for _, want := range tc.want {
				if !strings.Contains(got, want) {
					t.Errorf("it does not say %q:\n%.2000s", want, got)
				}
			}
			r.gravest(maxFindings)
			if got := said(r); len(got) > 200_000 {
				t.Errorf("it says %d bytes", len(got))
			}
			t.Logf("%d MB allocated", (allocated()-before)>>20)
		})
	}
}

// allocated is how many bytes the process has asked for so far.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// TestLargeFile holds a source file of a hundred megabytes to an answer that reads none of it.
func TestLargeFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "main.tf")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 100<<20); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "other.tf"), []byte("resource \"terraform_data\" \"x\" {\n  input = 1\n}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	root, err := workspace.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	l := newLoader(workspaceFiles{root: root, most: maxFileContent})
	r := &report{}
	before := allocated()
	if _, err := l.judge(context.Background(), ".", nil, plainBook(), r); err != nil {
		t.Fatal(err)
	}
	if got := said(r); !strings.Contains(got, "too large: more than 1048576 bytes") || !strings.Contains(got, "terraform_data.x") {
		t.Error(got)
	}
	if used := (allocated() - before) >> 20; used > 20 {
		t.Errorf("%d MB were allocated for it", used)
	}
	debug.FreeOSMemory()
}
