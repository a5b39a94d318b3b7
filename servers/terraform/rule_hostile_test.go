package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// TestPoliciesOfPolicies puts a policy together from data sources that each name the one before forty times: whoever
// looks into each as often as it is named never ends.
func TestPoliciesOfPolicies(t *testing.T) {
	var b strings.Builder
	b.WriteString("data \"aws_iam_policy_document\" \"d0\" {\n  statement {\n    actions   = [\"*\"]\n    resources = [\"*\"]\n  }\n}\n")
	for i := range 30 {
		before := fmt.Sprintf("data.aws_iam_policy_document.d%d.json, ", i)
		fmt.Fprintf(&b, "data \"aws_iam_policy_document\" \"d%d\" {\n  source_policy_documents = [%s]\n}\n", i+1, strings.Repeat(before, 40))
	}
	b.WriteString("resource \"aws_iam_policy\" \"all\" {\n  policy = data.aws_iam_policy_document.d30.json\n}\n")
	failed := 0
	for _, f := range judgeTexts(t, newRuleBook(rules()), map[string]string{"main.tf": b.String()}).findings {
		if f.Rule == "aws/iam-admin-policy" && f.Verdict == finding.Fail {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("the statement at the bottom is found %d times", failed)
	}
}

// TestManyOfOneName has a thousand buckets and what settles their versioning, all of one name.
func TestManyOfOneName(t *testing.T) {
	text := "resource \"aws_s3_bucket\" \"a\" {\n  count  = 1000\n  bucket = \"data\"\n}\nresource \"aws_s3_bucket_versioning\" \"a\" {\n  count  = 1000\n  bucket = \"data\"\n}\n"
	unknown := 0
	for _, f := range judgeTexts(t, newRuleBook(rules()), map[string]string{"main.tf": text}).findings {
		if f.Rule == "aws/s3-versioning" && f.Verdict == finding.Unknown {
			unknown++
		}
	}
	if unknown != 1000 {
		t.Errorf("versioning is unknown of %d buckets, where it depends on more than are looked at", unknown)
	}
}

// TestDocumentsOfTwoMeanings: a JSON text that the provider may read in another way than we is not known, in every rule
// that reads one; and names are read in any case, as most readers do.
func TestDocumentsOfTwoMeanings(t *testing.T) {
	for name, tc := range map[string]struct{ rule, kind, attribute, before, after string }{
		"policy": {"aws/iam-admin-policy", "aws_iam_policy", "policy", `"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]`, `"Statement": []`},
		"policy, of two types": {"aws/iam-admin-policy", "aws_iam_policy", "policy", `"Statement": ""`,
			`"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]`},
		"policy, deep": {"aws/iam-admin-policy", "aws_iam_policy", "policy", `"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]`,
			`"x": ` + strings.Repeat("[", maxPlanNesting) + strings.Repeat("]", maxPlanNesting)},
		"grants": {"google/iam-public", "google_pubsub_topic_iam_policy", "policy_data", `"bindings": [{"role": "roles/viewer", "members": ["allUsers"]}]`, `"bindings": ""`},
		"policy, in two cases": {"aws/iam-admin-policy", "aws_iam_policy", "policy", `"Statement": []`,
			`"statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]`},
		"policy, in another case": {"aws/iam-admin-policy", "aws_iam_policy", "policy", `"Id": "x"`,
			`"statement": [{"effect": "Allow", "action": "*", "resource": "*"}]`},
		"principal, in another case": {"aws/sqs-policy-public", "aws_sqs_queue_policy", "policy", `"Id": "x"`,
			`"statement": [{"effect": "Allow", "action": "sqs:*", "resource": "*", "principal": {"aws": "*"}}]`},
		"grants, in another case":     {"google/iam-public", "google_pubsub_topic_iam_policy", "policy_data", `"etag": ""`, `"Bindings": [{"Role": "roles/viewer", "Members": ["allUsers"]}]`},
		"containers, in two cases":    {"aws/ecs-privileged", "aws_ecs_task_definition", "container_definitions", `"privileged": false`, `"Privileged": true`},
		"containers, in another case": {"aws/ecs-privileged", "aws_ecs_task_definition", "container_definitions", `"name": "x"`, `"Privileged": true`},
		"containers":                  {"aws/ecs-privileged", "aws_ecs_task_definition", "container_definitions", `"privileged": true`, `"privileged": false`},
	} {
		text := "{" + tc.before + ", " + tc.after + "}"
		if tc.kind == "aws_ecs_task_definition" {
			text = "[" + text + "]"
		}
		config := fmt.Sprintf("resource %q \"x\" {\n  %s = <<EOT\n%s\nEOT\n}\n", tc.kind, tc.attribute, text)
		verdict, reason := finding.Pass, ""
		for _, f := range judgeTexts(t, newRuleBook(rules()), map[string]string{"main.tf": config}).findings {
			if f.Rule == tc.rule {
				verdict, reason = verdict.Worse(f.Verdict), f.Reason
			}
		}
		want := finding.Unknown
		if strings.HasSuffix(name, "in another case") {
			want = finding.Fail
		}
		if verdict != want || strings.Contains(reason, "its JSON: ") != (want == finding.Unknown) {
			t.Errorf("%s: %s, because %q", name, verdict, reason)
		}
	}
}
