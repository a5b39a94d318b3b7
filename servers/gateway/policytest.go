package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/strictyaml"
)

// tableFile is the grammar of a decision table: what a policy is expected to decide, row by row.
type tableFile struct {
	Version count `yaml:"version"`
	Rows    []row `yaml:"decisions"`
}

type row struct {
	Agent  scalar         `yaml:"agent"`
	Tool   scalar         `yaml:"tool"`
	Args   map[string]any `yaml:"args"`
	Expect expectation    `yaml:"expect"`
}

// expectation is what a row can expect of the policy.
type expectation string

const (
	expectAllow   expectation = "allow"
	expectDeny    expectation = "deny"
	expectInvalid expectation = "invalid" // the tool's schema refuses the arguments, whatever the policy says
)

// UnmarshalYAML reads one of the three words.
func (e *expectation) UnmarshalYAML(node *yaml.Node) error {
	switch *e = expectation(node.Value); *e {
	case expectAllow, expectDeny, expectInvalid:
		return nil
	default:
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: expect is %q; it may be allow, deny or invalid", node.Line, node.Value)}}
	}
}

// policyCommand holds the policy against decision tables.
func policyCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	const usage = "usage: gateway policy test [--policy FILE] [--lock FILE] TABLE…\nprints what the policy decides for each row, and which entry did; fails where a row expects something else"
	set := flag.NewFlagSet("gateway policy test", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.Usage = func() {
		_, _ = fmt.Fprintln(stderr, usage)
		set.PrintDefaults()
	}
	policyPath, lockPath := configFlags(set)
	if len(args) == 0 || args[0] != "test" {
		return errors.New(usage)
	}
	if err := set.Parse(args[1:]); err != nil {
		return err
	}
	if set.NArg() == 0 {
		return errors.New(usage)
	}
	lock, p, err := readConfig(*policyPath, *lockPath)
	if err != nil {
		return err
	}
	wrong := 0
	for _, path := range set.Args() {
		table, err := readTable(path)
		if err != nil {
			return err
		}
		for _, row := range table.Rows {
			got, why, err := row.decide(ctx, lock, p)
			if err != nil {
				return fmt.Errorf("%s:%d: %w", path, row.Tool.line, err)
			}
			mark := "ok  "
			if got != row.Expect {
				mark, why = "FAIL", fmt.Sprintf("%s; want %s", why, row.Expect)
				wrong++
			}
			if _, err := fmt.Fprintf(stdout, "%s %s:%d: %s %s: %s (%s)\n", mark, path, row.Tool.line, row.Agent.value, row.Tool.value, got, why); err != nil {
				return err
			}
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d decisions are not the expected ones", wrong)
	}
	return nil
}

// decide asks the policy about the row, and says why in words.
func (r row) decide(ctx context.Context, lock *lockFile, p *policy) (got expectation, why string, err error) {
	if p.agents[r.Agent.value] == nil {
		return "", "", fmt.Errorf("the policy has no agent %q", r.Agent.value)
	}
	definition, ok := lock.definition(r.Tool.value)
	if !ok {
		return "", "", fmt.Errorf("the lock file has no tool %q", r.Tool.value)
	}
	arguments := r.Args
	if arguments == nil {
		arguments = map[string]any{}
	}
	encoded, err := json.Marshal(arguments)
	if err != nil {
		return "", "", fmt.Errorf("args: %w", err)
	}
	if !p.grants(r.Agent.value, r.Tool.value) {
		return expectDeny, reasonNotGranted, nil
	}
	if err := definition.CheckArguments(encoded); err != nil {
		return expectInvalid, err.Error(), nil //nolint:nilerr // a decision of the schema, and what the row may expect
	}
	entry, reason := p.decide(ctx, r.Agent.value, r.Tool.value, encoded)
	if entry == nil {
		return expectDeny, reason, nil
	}
	return expectAllow, p.entry(entry), nil
}

func readTable(path string) (tableFile, error) {
	data, err := readFile(path, maxPolicy)
	if err != nil {
		return tableFile{}, err
	}
	return decodeTable(path, data)
}

func decodeTable(path string, data []byte) (tableFile, error) {
	var table tableFile
	if err := strictyaml.Decode(path, bytes.NewReader(data), maxPolicy, &table); err != nil {
		return tableFile{}, err
	}
	if err := checkVersion(path, table.Version); err != nil {
		return tableFile{}, err
	}
	if len(table.Rows) == 0 {
		return tableFile{}, fmt.Errorf("%s:%d: no decisions: a table without rows shows nothing", path, table.Version.line)
	}
	for i, row := range table.Rows {
		if row.Agent.value == "" || row.Tool.value == "" || row.Expect == "" {
			return tableFile{}, fmt.Errorf("%s:%d: row %d: agent, tool and expect are needed", path, max(row.Agent.line, row.Tool.line, table.Version.line), i+1)
		}
	}
	return table, nil
}
