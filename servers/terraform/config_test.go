package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/workspace"
)

// evaluatedTexts evaluates a configuration and returns its resources by address.
func evaluatedTexts(t testing.TB, texts map[string]string, arguments map[string]string) (map[string]*Resource, *loader) {
	t.Helper()
	files := textFiles{}
	for name, text := range texts {
		if err := files.add(name, text); err != nil {
			t.Fatal(err)
		}
	}
	l := newLoader(files)
	m, err := l.load(".")
	if err != nil {
		t.Fatal(err)
	}
	c := newCheck(l, ".")
	c.arguments = c.readArguments(m, arguments)
	by := map[string]*Resource{}
	for _, r := range newWorld(c, m).all {
		by[r.Address] = r
	}
	return by, l
}

// TestAttributes holds what rules see of attributes against what is written.
func TestAttributes(t *testing.T) {
	texts := map[string]string{
		"main.tf": `
variable "given" {
  type = string
}
variable "absent" {
  type = object({ a = string })
}
variable "secret" {
  type      = string
  default   = "hunter2"
  sensitive = true
}
data "aws_ami" "x" {
  owners = ["self"]
}
resource "aws_kms_key" "k" {
  description = "named"
}
resource "x_y" "z" {
  plain    = "text"
  number   = "7"
  truth    = "true"
  nothing  = null
  list     = [1, var.absent.a]
  object   = { a = { b = true } }
  given    = var.given
  absent   = var.absent.a
  computed = aws_kms_key.k.arn
  set      = aws_kms_key.k.description
  source   = data.aws_ami.x.id
  owners   = data.aws_ami.x.owners
  mixed    = "${aws_kms_key.k.arn}/${var.given}"
  secret   = var.secret
  document = jsonencode({ Statement = [{ Effect = "Allow", Resource = aws_kms_key.k.arn }] })
  looped   = [for k in [aws_kms_key.k] : k.arn]
  elsewise = var.absent.a == "x" ? 1 : 2
  one {
    inner = 1
    two {
      deep = "down"
    }
  }
  dynamic "many" {
    for_each = ["a", "b"]
    iterator = it
    content {
      key   = it.key
      value = it.value
    }
  }
  dynamic "perhaps" {
    for_each = var.absent
    content {}
  }
  lifecycle {
    ignore_changes = [tags]
  }
}
`,
	}
	by, l := evaluatedTexts(t, texts, map[string]string{"given": "by the call"})
	r := by["x_y.z"]
	for _, e := range l.problems.all {
		t.Errorf("problem: %v", e)
	}
	for path, want := range map[string]string{
		"plain": `"text"`, "number": `"7"`, "truth": `"true"`, "nothing": "null", "missing": "null", "list": "a list", "object.a.b": "true",
		"object.x.y": "null", "given": `"by the call"`, "absent": "unknown: var.absent", "computed": "unknown: aws_kms_key.k.arn",
		"set": `"named"`, "source": "unknown: data.aws_ami.x.id", "owners": "a list", "mixed": "unknown: aws_kms_key.k.arn",
		"secret": "(sensitive)", "looped": "a list", "elsewise": "unknown: var.absent", "one.inner": "1", "one.two.deep": `"down"`,
		"one.two.missing": "null", "two.deep": "null", "many.value": `"a"`, "perhaps.x": "unknown: var.absent", "one": "unknown: a block",
	} {
		v := r.Attr(path)
		got := v.Show()
		if v.Unknown() {
			got = "unknown: " + v.Reason()
		}
		if got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	if n, ok := r.Attr("number").Number(); !ok || n != 7 {
		t.Errorf("number: %v %t", n, ok)
	}
	if b, ok := r.Attr("truth").Bool(); !ok || !b {
		t.Errorf("truth: %t %t", b, ok)
	}
	many := r.Blocks("many")
	if len(many.All) != 2 || many.All[1].Attr("value").Path() != "many[1].value" {
		t.Errorf("%+v", many)
	}
	if list := r.Attr("list").Elements(); len(list) != 2 || list[1].Reason() != "var.absent" {
		t.Errorf("%+v", list)
	}
	document, ok := r.Attr("document").JSON()
	if !ok {
		t.Fatal("no document")
	}
	statement := document.Key("Statement").Elements()[0]
	if effect, _ := statement.Key("Effect").Text(); effect != "Allow" || statement.Key("Resource").Reason() != "aws_kms_key.k.arn" {
		t.Errorf("%+v", statement)
	}
	if got := r.Attr("looped").Resources(); len(got) != 1 || got[0] != by["aws_kms_key.k"] {
		t.Errorf("looped comes from %v", got)
	}
	if at := r.Attr("one.inner").Location(); at.Line != 38 || at.Field != "one[0].inner" {
		t.Errorf("%+v", at)
	}
}

// TestRelations finds the resources that settle a matter for another one, by whatever way the reference goes.
func TestRelations(t *testing.T) {
	texts := map[string]string{
		"main.tf": `
variable "who" {
  type = string
}
locals {
  ids = { for k, b in aws_s3_bucket.each : k => b.id }
}
resource "aws_s3_bucket" "plain" {}
resource "aws_s3_bucket" "named" {
  bucket = "by-name"
}
resource "aws_s3_bucket" "each" {
  for_each = toset(["a", "b"])
}
resource "aws_s3_bucket" "counted" {
  count = 2
}
resource "aws_s3_bucket" "alone" {}
resource "block" "plain" {
  bucket = aws_s3_bucket.plain.id
}
resource "block" "named" {
  bucket = "by-name"
}
resource "block" "each" {
  for_each = local.ids
  bucket   = each.value
}
resource "block" "counted" {
  count  = 2
  bucket = aws_s3_bucket.counted[count.index].bucket
}
module "m" {
  source = "./m"
  id     = try(module.bucket.name, null)
}
module "bucket" {
  source = "./bucket"
}
module "far" {
  source  = "far/away/aws"
  buckets = [aws_s3_bucket.alone.arn]
}
`,
		"m/main.tf":      "variable \"id\" {}\nresource \"block\" \"b\" {\n  bucket = var.id\n}\n",
		"bucket/main.tf": "resource \"aws_s3_bucket\" \"b\" {}\noutput \"name\" {\n  value = aws_s3_bucket.b.id\n}\n",
	}
	by, l := evaluatedTexts(t, texts, nil)
	for _, e := range l.problems.all {
		t.Errorf("problem: %v", e)
	}
	for bucket, want := range map[string]string{
		"aws_s3_bucket.plain": "block.plain", "aws_s3_bucket.named": "block.named", `aws_s3_bucket.each["b"]`: `block.each["b"]`,
		"aws_s3_bucket.counted[1]": "block.counted[1]", "module.bucket.aws_s3_bucket.b": "module.m.block.b", "aws_s3_bucket.alone": "",
	} {
		related := by[bucket].Referrers("block", "bucket")
		var got []string
		for _, r := range related.All {
			got = append(got, r.Address)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s is referred to by %v, want %q", bucket, got, want)
		}
		if unknown := strings.HasPrefix(related.Unknown, "module.far (its source"); unknown != (bucket == "aws_s3_bucket.alone") {
			t.Errorf("%s: unknown is %q", bucket, related.Unknown)
		}
	}
}

// TestUncertainRelation takes what may not be there for what may not be there.
func TestUncertainRelation(t *testing.T) {
	texts := map[string]string{"main.tf": `
variable "create" {
  type = bool
}
resource "aws_s3_bucket" "sure" {}
resource "aws_s3_bucket" "unsure" {
  count = var.create ? 1 : 0
}
resource "block" "sure" {
  count  = var.create ? 1 : 0
  bucket = aws_s3_bucket.sure.id
}
resource "block" "unsure" {
  count  = var.create ? 1 : 0
  bucket = aws_s3_bucket.unsure[0].id
}
`}
	by, _ := evaluatedTexts(t, texts, nil)
	related := by["aws_s3_bucket.sure"].Referrers("block", "bucket")
	if len(related.All) != 0 || !strings.Contains(related.Unknown, "var.create") {
		t.Errorf("the bucket that is there: %+v", related)
	}
	if r := by["aws_s3_bucket.unsure[*]"]; r == nil || !strings.Contains(r.Uncertain, "var.create") {
		t.Errorf("%+v", r)
	}
}

// TestJSONSyntax evaluates the same configuration in both syntaxes.
func TestJSONSyntax(t *testing.T) {
	native := map[string]string{"main.tf": `
terraform {
  required_version = "~> 1.9"
  backend "s3" {
    bucket = "b"
  }
}
variable "ports" {
  type    = list(number)
  default = [1, 2]
}
resource "x_y" "z" {
  for_each = toset(["a"])
  name     = "${each.key}-${length(var.ports)}"
  nested {
    flag = true
    dynamic "deep" {
      for_each = var.ports
      content {
        number = deep.value
      }
    }
  }
  dynamic "port" {
    for_each = var.ports
    content {
      number = port.value
    }
  }
}
`}
	written := map[string]string{"main.tf.json": `{
  "//": "a comment",
  "terraform": {"required_version": "~> 1.9", "backend": {"s3": {"bucket": "b"}}},
  "variable": {"ports": {"type": "list(number)", "default": [1, 2]}},
  "resource": {"x_y": {"z": {
    "for_each": "${toset([\"a\"])}",
    "name": "${each.key}-${length(var.ports)}",
    "nested": {"//": "a comment", "//": "and another", "flag": true, "dynamic": {"deep": {"for_each": "${var.ports}", "content": {"number": "${deep.value}"}}}},
    "dynamic": {"port": {"for_each": "${var.ports}", "content": {"number": "${port.value}"}}}
  }}}
}`}
	facts := func(texts map[string]string) map[string]string {
		by, l := evaluatedTexts(t, texts, nil)
		for _, e := range l.problems.all {
			t.Errorf("problem: %v", e)
		}
		r := by[`x_y.z["a"]`]
		out := map[string]string{}
		for _, path := range []string{"name", "nested.flag", "nested.deep.number", "port.number"} {
			out[path] = r.Attr(path).Show()
		}
		out["last"] = r.Blocks("port").All[1].Attr("number").Show()
		out["names"] = strings.Join(r.Names(), " ")
		out["backend"] = by["terraform"].Attr("backend.type").Show() + by["terraform"].Attr("backend.bucket").Show()
		return out
	}
	if diff := cmp.Diff(facts(native), facts(written)); diff != "" {
		t.Errorf("native (-), JSON (+):\n%s", diff)
	}
}

// TestOverride lays override files over the others.
func TestOverride(t *testing.T) {
	by, l := evaluatedTexts(t, map[string]string{
		"main.tf":          "resource \"x_y\" \"z\" {\n  a = 1\n  b = 2\n  c {\n    d = 1\n  }\n}\nlocals {\n  l = 1\n}\n",
		"a_override.tf":    "resource \"x_y\" \"z\" {\n  b = 3\n  c {\n    d = 2\n  }\n}\n",
		"override.tf.json": `{"locals": {"l": 2}, "resource": {"x_y": {"z": {"a": "${local.l}"}}}}`,
	}, nil)
	for _, e := range l.problems.all {
		t.Errorf("problem: %v", e)
	}
	r := by["x_y.z"]
	if a, b, d := r.Attr("a").Show(), r.Attr("b").Show(), r.Attr("c.d").Show(); a != "2" || b != "3" || d != "2" || len(r.Blocks("c").All) != 1 {
		t.Errorf("a %s, b %s, d %s", a, b, d)
	}
}

// TestOverrideDynamic: blocks of a type take the place of those of that type alone, however either is written.
func TestOverrideDynamic(t *testing.T) {
	dynamic := func(name string) string {
		return "resource \"x_y\" \"z\" {\n  dynamic \"" + name + "\" {\n    for_each = [1]\n    content {\n      d = 2\n    }\n  }\n}\n"
	}
	plain := "resource \"x_y\" \"z\" {\n  c {\n    d = 1\n  }\n}\n"
	for name, tc := range map[string]struct {
		under, over, file, d string
	}{
		"dynamic, another one over it": {dynamic("c"), dynamic("e"), "override.tf", "2"},
		"plain, dynamic over it":       {plain, dynamic("c"), "override.tf", "2"},
		"dynamic, plain over it":       {dynamic("c"), plain, "override.tf", "1"},
		"plain, JSON over it":          {plain, `{"resource": {"x_y": {"z": {"c": {"d": 3}}}}}`, "override.tf.json", "3"},
		"plain, none over it":          {plain, `{"resource": {"x_y": {"z": {"c": []}}}}`, "override.tf.json", "1"},
	} {
		by, _ := evaluatedTexts(t, map[string]string{"main.tf": tc.under, tc.file: tc.over}, nil)
		if all := by["x_y.z"].Blocks("c").All; len(all) != 1 || all[0].Attr("d").Show() != tc.d {
			t.Errorf("%s: %d blocks", name, len(all))
		}
	}
}

// TestCalledRoots: who calls a folder that is deployed by itself does not keep it from being judged.
func TestCalledRoots(t *testing.T) {
	for name, more := range map[string]textFiles{
		"a backend": {"prod/backend.tf": []byte("terraform {\n  backend \"s3\" {}\n}\n")},
		"JSON":      {"prod/backend.tf.json": []byte(`{"terraform": {"backend": {"s3": {}}}}`)},
		"a lock":    {"prod/.terraform.lock.hcl": nil},
		"values":    {"prod/prod.auto.tfvars": []byte("a = 1\n")},
	} {
		more["prod/main.tf"] = []byte("variable \"a\" {}\n")
		more["decoy/main.tf"] = []byte("module \"p\" {\n  source = \"../prod\"\n  count  = 0\n}\n")
		roots, _, err := newLoader(more).roots(".")
		if err != nil || !slices.Equal(roots, []string{"decoy", "prod"}) {
			t.Errorf("%s: %q, %v", name, roots, err)
		}
	}
}

// TestHiddenRoots: a module is judged by itself where no call makes an instance of it, and just there.
func TestHiddenRoots(t *testing.T) {
	call := func(source, more string) string {
		return "module \"m\" {\n  source = \"" + source + "\"\n  a = 1\n" + more + "\n}\n"
	}
	const prod = "variable \"a\" {}\nresource \"terraform_data\" \"x\" {\n  input = var.a\n}\n"
	for name, tc := range map[string]struct {
		texts    map[string]string
		arg      string
		roots    string
		resource string // what is judged
		unknown  bool
	}{
		"no count":             {map[string]string{"decoy/main.tf": call("../prod", "")}, "", "decoy", "module.m.terraform_data.x", false},
		"count = 0":            {map[string]string{"decoy/main.tf": call("../prod", "count = 0")}, "", "decoy prod", "terraform_data.x", true},
		"for_each = {}":        {map[string]string{"decoy/main.tf": call("../prod", "for_each = {}")}, "", "decoy prod", "terraform_data.x", true},
		"JSON":                 {map[string]string{"decoy/main.tf.json": `{"module": {"m": {"source": "../prod", "a": 1, "for_each": {}}}}`}, "", "decoy prod", "terraform_data.x", true},
		"a default":            {map[string]string{"decoy/main.tf": "variable \"n\" {\n  default = false\n}\n" + call("../prod", "count = var.n ? 1 : 0")}, "", "decoy prod", "terraform_data.x", true},
		"a value":              {map[string]string{"decoy/main.tf": "variable \"n\" {}\n" + call("../prod", "count = var.n ? 1 : 0"), "decoy/x.auto.tfvars": "n = false\n"}, "", "decoy prod", "terraform_data.x", true},
		"an argument":          {map[string]string{"decoy/main.tf": call("../prod", "count = 0")}, "a", "decoy prod", "terraform_data.x", false},
		"another makes one":    {map[string]string{"decoy/main.tf": call("../prod", "count = 0"), "real/main.tf": call("../prod", "")}, "", "decoy real", "module.m.terraform_data.x", false},
		"a module between":     {map[string]string{"decoy/main.tf": call("../zone", "count = 0"), "zone/main.tf": "variable \"a\" {}\n" + call("../prod", "")}, "", "decoy zone", "module.m.terraform_data.x", false},
		"a decoy between":      {map[string]string{"decoy/main.tf": call("../between", "count = 0"), "between/main.tf": "variable \"a\" {}\n" + call("../prod", "count = 0")}, "", "between decoy prod", "terraform_data.x", true},
		"of one another":       {map[string]string{"decoy/main.tf": "locals {}\n", "between/main.tf": "variable \"a\" {}\n" + call("../prod", ""), "prod/call.tf": call("../between", "count = 0")}, "", "between decoy", "module.m.terraform_data.x", false},
		"of the folder itself": {map[string]string{"main.tf": call("./prod", "count = 0")}, "", ". prod", "terraform_data.x", true},
		"below the folder":     {map[string]string{"main.tf": call("./between", "count = 0"), "between/main.tf": "variable \"a\" {}\n"}, "", ". between prod", "terraform_data.x", true},
	} {
		files := textFiles{"prod/main.tf": []byte(prod)}
		for file, text := range tc.texts {
			files[file] = []byte(text)
		}
		arguments := map[string]string{}
		if tc.arg != "" {
			arguments[tc.arg] = "1"
		}
		var judged []string
		book := newRuleBook([]Rule{{ID: "test/a", Title: "a", Severity: finding.High, Types: []string{"terraform_data"}, Check: func(r *Resource) Result {
			judged = append(judged, fmt.Sprintf("%s %t", r.Address, r.Attr("input").Unknown()))
			return pass()
		}}})
		roots, err := newLoader(files).judge(t.Context(), ".", arguments, book, &report{})
		if got := strings.Join(roots, " "); err != nil || got != tc.roots {
			t.Errorf("%s: roots are %s, not %s: %v", name, got, tc.roots, err)
		}
		if want := fmt.Sprintf("%s %t", tc.resource, tc.unknown); !slices.Equal(judged, []string{want}) {
			t.Errorf("%s: %q are judged, not %q", name, judged, want)
		}
	}
}

// callTool calls a tool of a server over a workspace, or over none.
func callTool(t *testing.T, dir, name, args string) (out map[string]any, err error) {
	t.Helper()
	var env mcpserver.Env
	if dir != "" {
		root, err := workspace.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = root.Close() })
		env.Workspace = root
	}
	table, err := tools(env, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range table {
		if err := tool.Check(); err != nil {
			t.Fatal(err)
		}
		if tool.Definition.Name != name {
			continue
		}
		if err := tool.Definition.CheckArguments(json.RawMessage(args)); err != nil {
			return nil, err
		}
		result, err := tool.Call(context.Background(), json.RawMessage(args))
		if err != nil {
			return nil, err
		}
		return out, json.Unmarshal(result.Structured, &out)
	}
	t.Fatalf("no tool %s", name)
	return nil, nil
}

func TestTools(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a/main.tf": "resource \"aws_ebs_volume\" \"x\" {\n  encrypted = false\n}\n", "b/main.tf": "module \"m\" {\n  source = \"../c\"\n}\n",
		"c/main.tf": "variable \"x\" {\n  default = 1\n}\n", "empty/README": "x", "plan.json": "{}", ".git/main.tf": "x", "x.tfstate": "{}",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := callTool(t, dir, "check_config", `{"path": "."}`)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{"a", "b"}, out["roots"]); diff != "" || out["verdict"] != "fail" {
		t.Errorf("verdict %v, roots:\n%s", out["verdict"], diff)
	}
	out, err = callTool(t, "", "check_config", `{"texts": [{"name": "m/main.tf", "text": "variable \"x\" {}\nresource \"aws_ebs_volume\" \"x\" {\n  encrypted = var.x\n}"}], "variables": [{"name": "x", "value": "true"}]}`)
	if err != nil || out["resources"] != 1.0 || out["counts"].(map[string]any)["unknown"] != 0.0 {
		t.Errorf("%v %v", out, err)
	}
	for _, tc := range []struct {
		tool, args string
		code       mcpserver.Code
		want       string
	}{
		{"check_config", `{}`, mcpserver.CodeInvalidArguments, "exactly one of texts and path"},
		{"check_config", `{"path": "a", "texts": [{"name": "main.tf", "text": ""}]}`, mcpserver.CodeInvalidArguments, "exactly one"},
		{"check_config", `{"path": "../a"}`, mcpserver.CodeDenied, "outside the workspace"},
		{"check_config", `{"path": "/etc"}`, mcpserver.CodeDenied, "absolute"},
		{"check_config", `{"path": ".git"}`, mcpserver.CodeDenied, "never opened"},
		{"check_config", `{"path": "nope"}`, mcpserver.CodeNotFound, "no such file or folder"},
		{"check_config", `{"path": "empty"}`, mcpserver.CodeNotFound, "no .tf or .tf.json file"},
		{"check_config", `{"path": "a/main.tf"}`, mcpserver.CodeNotFound, "a file and no folder"},
		{"check_config", `{"texts": [{"name": "../main.tf", "text": ""}]}`, mcpserver.CodeInvalidArguments, "no name of a file"},
		{"check_config", `{"texts": [{"name": "main.tf", "text": ""}, {"name": "./main.tf", "text": ""}]}`, mcpserver.CodeInvalidArguments, "twice"},
		{"check_plan", `{}`, mcpserver.CodeInvalidArguments, "exactly one of text and path"},
		{"check_plan", `{"path": "plan.json"}`, mcpserver.CodeInvalidArguments, "no plan in JSON of a format"},
		{"check_plan", `{"path": "x.tfstate"}`, mcpserver.CodeDenied, "never opened"},
		{"check_plan", `{"text": "x"}`, mcpserver.CodeInvalidArguments, "not JSON"},
		{"summarize_module", `{"path": "nope"}`, mcpserver.CodeNotFound, "no such file"},
	} {
		_, err := callTool(t, dir, tc.tool, tc.args)
		if err == nil || !strings.HasPrefix(err.Error(), string(tc.code)+": ") || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s %s: %v, want %s: …%s…", tc.tool, tc.args, err, tc.code, tc.want)
		}
	}
	if _, err := callTool(t, "", "check_config", `{"path": "a"}`); err == nil || !strings.Contains(err.Error(), "without --workspace") {
		t.Error(err)
	}
	if _, err := callTool(t, "", "check_config", `{"texts": [{"name": "main.tf", "text": "", "more": 1}]}`); err == nil {
		t.Error("an unknown argument is taken")
	}
}

// TestAnswersAreBounded checks more resources that fail than an answer shows.
func TestAnswersAreBounded(t *testing.T) {
	out, err := callTool(t, "", "check_config", `{"texts": [{"name": "main.tf", "text": "resource \"aws_ebs_volume\" \"x\" {\n  count = 5000\n  encrypted = false\n}"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	findings := out["findings"].([]any)
	if len(findings) != maxFindings || out["truncated"] != true || out["resources"] != 5000.0 {
		t.Errorf("%d findings, truncated %v, %v resources", len(findings), out["truncated"], out["resources"])
	}
	if first := findings[0].(map[string]any); first["severity"] != string(finding.High) {
		t.Errorf("the first is %v", first)
	}
}
