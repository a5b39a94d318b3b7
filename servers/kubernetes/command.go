package main

import (
	"flag"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/version"
)

// newChecker makes the check subcommand, with everything on.
func newChecker() finding.Checker {
	e, err := newEvaluator()
	c := checker{evaluator: e, err: err, pods: true, lint: lintRules(), values: maxCheckValues, kept: maxKept}
	add := func(list *[]string) func(string) error {
		return func(s string) error {
			rules, err := parseRules(s)
			*list = append(*list, rules...)
			return err
		}
	}
	return finding.Checker{
		Tool:     "kubernetes",
		Version:  version.String(),
		Rules:    sarifRules(),
		Match:    isManifest,
		CheckAll: c.checkAll,
		Flags: func(fs *flag.FlagSet) {
			fs.Func("level", "`level` of the Pod Security Standards to hold all pods to: privileged, baseline or restricted (default what\ntheir Namespace enforces, if it is among the inputs, else restricted)", c.setLevel)
			fs.Func("pod-security-version", "`version` of the standards: latest or v1.N (default what the Namespace states, else latest)", c.setVersion)
			fs.Func("only", "hold the inputs to these `rules` alone: ids, or THEME/*, separated by commas (repeatable)", add(&c.selection.only))
			fs.Func("skip", "leave out these `rules`, in the same form (repeatable)", add(&c.selection.skip))
			fs.BoolVar(&c.ignores, "annotations", false, "let objects set findings aside by their annotation "+ignoreAnnotation+": RULE REASON, one a line;\nthey are reported, and do not fail")
		},
	}
}
