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
