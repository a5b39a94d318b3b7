package finding

import (
	"fmt"
	"strings"
	"testing"
)

func TestPatterns(t *testing.T) {
	ids := IDs{"aws/ebs-key", "aws/s3-logging", "image/missing", "pod/image"}
	for i := range maxLikely {
		ids = append(ids, fmt.Sprintf("aws/rds-%d", i))
	}
	for pattern, want := range map[string]string{
		"aws/ebs-key": "", "aws/*": "", " pod/image , image/*": "",
		"": "is empty", "aws/*,": "is empty", "*": `no rule "*"; explain_check lists them`, "AWS/*": `no rule "AWS/*"; explain_check`,
		"image/latest": `no rule "image/latest"; there are image/missing`, "image": "; there are image/missing, pod/image",
		"missing": "; there are image/missing", "aws/ebs-keys": "; there are aws/ebs-key", "aws/rds": "; there are aws/rds-0, ", "aws": "; explain_check lists them",
		strings.Repeat("x", 100): strings.Repeat("x", maxPattern) + "…",
	} {
		patterns, err := ids.Parse(pattern)
		if want == "" && (err != nil || !Named(patterns, ids[0]) && !Named(patterns, "pod/image")) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %q, %v; want %q", pattern, patterns, err, want)
		}
	}
	if Named([]string{"aws/*", "pod/image"}, "pod/images") || !Named([]string{"aws/*"}, "aws/new") || Named(nil, "aws/new") {
		t.Error("a pattern stands for an id, or for all of a theme")
	}
}
