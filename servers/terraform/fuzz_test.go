package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// fuzzBounds makes the budget of a fuzzed check small, so that what goes on without end ends soon.
func fuzzBounds(l *loader) {
	l.budget.steps, l.budget.iterations, l.budget.instances, l.budget.templateBytes = 50_000, 5000, 500, 1<<20
}

// checkReport holds what is said to its form.
func checkReport(t *testing.T, r *report) {
	t.Helper()
	for _, f := range r.findings {
		switch {
		case f.Rule == "" || f.Severity.Rank() == 0 && f.Verdict != finding.Pass:
			t.Errorf("a finding without rule or severity: %+v", f)
		case f.Verdict == finding.Unknown && f.Reason == "":
			t.Errorf("an unknown verdict without a reason: %+v", f)
		case len(f.Message)+len(f.Reason) > 64<<10:
			t.Errorf("%s says %d bytes", f.Rule, len(f.Message)+len(f.Reason))
		}
	}
	if out, err := json.Marshal(r.findings); err != nil || !utf8.Valid(out) {
		t.Errorf("the findings are no JSON: %v", err)
	}
}

// FuzzLoader reads any bytes as source files of both syntaxes, and as a file of values.
func FuzzLoader(f *testing.F) {
	for _, text := range []string{
		"", estateModule, `variable "x" { type = map(object({ a = optional(string, "b") })) }`, "locals { x = <<EOT\n${y}\nEOT\n}",
		`{"resource": {"a": {"b": [{"dynamic": {"c": {"for_each": [1], "content": {}}}}]}}, "terraform": [{"backend": {"s3": {}}}]}`,
		`{"variable": {"x": {"type": "list(string)", "default": ["${1}"]}}, "locals": {"y": "${var.x[0]}"}}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, name := range []string{"main.tf", "main.tf.json"} {
			l := newLoader(textFiles{name: data, "terraform.tfvars": data, "x.auto.tfvars.json": data})
			fuzzBounds(l)
			r := &report{}
			_, err := l.judge(context.Background(), ".", nil, plainBook(), r)
			if _, none := errors.AsType[*noModuleError](err); err != nil && !none {
				t.Fatal(err)
			}
			checkReport(t, r)
			if _, err := l.summarize("."); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzEvaluator evaluates any text as an expression, with something to refer to, and holds the outcome against all rules.
func FuzzEvaluator(f *testing.F) {
	list, err := os.ReadFile(filepath.Join("testdata", "agree", "expressions.txt"))
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(list)) {
		f.Add(strings.TrimSpace(line))
	}
	module, err := os.ReadFile(filepath.Join("testdata", "agree", "module", "main.tf"))
	if err != nil {
		f.Fatal(err)
	}
	book := newRuleBook(rules())
	f.Fuzz(func(t *testing.T, expression string) {
		texts := textFiles{
			"main.tf": module,
			"more.tf": []byte("resource \"aws_s3_bucket\" \"x\" {\n  bucket = " + expression + "\n}\nresource \"aws_s3_bucket_policy\" \"x\" {\n  for_each = " + expression +
				"\n  bucket = aws_s3_bucket.x.id\n  policy = each.value\n}\nresource \"aws_security_group\" \"x\" {\n  count = try(" + expression + ", 1)\n  dynamic \"ingress\" {\n    for_each = " +
				expression + "\n    content {\n      from_port = ingress.value\n      cidr_blocks = " + expression + "\n    }\n  }\n}\n"),
		}
		l := newLoader(texts)
		fuzzBounds(l)
		r := &report{}
		if _, err := l.judge(context.Background(), ".", nil, book, r); err != nil {
			t.Fatal(err)
		}
		checkReport(t, r)
	})
}

// FuzzPlan reads any bytes as a plan. What a plan says is sensitive is in nothing that is said about it.
func FuzzPlan(f *testing.F) {
	for _, name := range []string{"new.json", "change.json"} {
		f.Add(planFixture(f, name))
	}
	f.Add([]byte(`{"format_version":"1.2","resource_changes":[{"address":"aws_db_instance.x","type":"aws_db_instance","mode":"managed","change":{"actions":["create"],"after":{"password":"hunter2-the-password"},"after_sensitive":{"password":true}}}]}`))
	book := newRuleBook(rules())
	f.Fuzz(func(t *testing.T, data []byte) {
		r := &report{}
		d, err := judgePlan(context.Background(), "plan.json", data, book, r)
		if err != nil {
			if bytes.Contains([]byte(err.Error()), []byte("hunter2-the-password")) {
				t.Errorf("the error repeats what is in the plan: %v", err)
			}
			return
		}
		checkReport(t, r)
		out, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		p, err := parsePlan(data)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range p.secrets() {
			if len(secret) > len("(sensitive)") && bytes.Contains(out, []byte(secret)) {
				t.Errorf("%q is in the delta", secret)
			}
			for _, f := range r.findings {
				if len(secret) > len("(sensitive)") && strings.Contains(f.Message+f.Reason+f.Object, secret) && !strings.Contains(f.Fix+f.Title, secret) {
					t.Errorf("%q is in %+v", secret, f)
				}
			}
		}
	})
}
