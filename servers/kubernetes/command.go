package main

import (
	"errors"
	"flag"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/version"
)

// fullChecker has everything on.
func fullChecker() checker {
	e, podErr := newEvaluator()
	structure, schemaErr := loadSchemas()
	c := checker{
		evaluator: e, err: errors.Join(podErr, schemaErr), pods: true, lint: lintRules(), schemas: structure, values: maxCheckValues, kept: maxKept,
	}
	if c.err == nil {
		c.release = structure.newest
	}
	return c
}

// newChecker makes the check subcommand.
func newChecker() finding.Checker {
	c := fullChecker()
	add := func(list *[]string) func(string) error {
		return func(s string) error {
			rules, err := ruleIDs().Parse(s)
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
			fs.Func("kubernetes-version", "`release` of Kubernetes whose schemas count: latest or v1.N (default latest)", c.setRelease)
			fs.Func("schemas", "`folder` of CustomResourceDefinitions, which are the schemas of their kinds, besides those in the inputs", c.setSchemas)
			fs.Func("only", "hold the inputs to these `rules` alone: ids, or THEME/*, separated by commas (repeatable)", add(&c.selection.only))
			fs.Func("skip", "leave out these `rules`, in the same form (repeatable)", add(&c.selection.skip))
			fs.BoolVar(&c.allowEmpty, "allow-empty", false, "let inputs be empty, such as standard input after a chart that renders nothing")
			fs.BoolVar(&c.ignores, "annotations", false, "let objects set findings aside by their annotation "+ignoreAnnotation+": RULE REASON, one a line;\nthey are reported, and do not fail")
		},
	}
}

func (c *checker) setRelease(s string) error {
	if c.err != nil {
		return c.err
	}
	at, err := c.schemas.release(s)
	if err != nil {
		return err
	}
	c.release = at
	return nil
}

func (c *checker) setSchemas(folder string) (err error) {
	c.custom, err = readCustomKinds(folder)
	return err
}
