package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func policyTest(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	var all bytes.Buffer
	args = append([]string{"policy", "test", "--policy", "../../agents/policy.yaml", "--lock", "../../agents/tools.lock.json"}, args...)
	code = program().Run(t.Context(), args, os.Stdin, &all, &all)
	return code, all.String()
}

// The policy that is shipped decides what its table says.
func TestShippedPolicy(t *testing.T) {
	if code, out := policyTest(t, "../../agents/policy_test.yaml"); code != 0 {
		t.Errorf("exit code %d:\n%s", code, out)
	}
}

func TestPolicyTestCommand(t *testing.T) {
	for _, tc := range []struct {
		table string
		code  int
		want  string
	}{
		{"version: 1\ndecisions:\n  - {agent: policy-gate, tool: dockerhub_get_tag, expect: allow}\n", 1, "t.yaml:3: policy-gate dockerhub_get_tag: deny (not granted; want allow)"},
		{"version: 1\ndecisions:\n  - {agent: nobody, tool: dockerhub_get_tag, expect: deny}\n", 1, `t.yaml:3: the policy has no agent "nobody"`},
		{"version: 1\ndecisions:\n  - {agent: policy-gate, tool: dockerhub_get, expect: deny}\n", 1, `t.yaml:3: the lock file has no tool "dockerhub_get"`},
		{"version: 1\ndecisions:\n  - {agent: policy-gate, tool: dockerhub_get_tag, expect: maybe}\n", 1, `t.yaml:3: expect is "maybe"`},
		{"version: 1\ndecisions:\n  - {agent: policy-gate, tool: dockerhub_get_tag}\n", 1, "t.yaml:3: row 1: agent, tool and expect are needed"},
		{"version: 1\ndecisions:\n  - {agent: policy-gate, tol: x, expect: deny}\n", 1, "t.yaml:3: unknown key tol"},
		{"version: 1\ndecisions: []\n", 1, "t.yaml:1: no decisions: a table without rows shows nothing"},
	} {
		path := filepath.Join(t.TempDir(), "t.yaml")
		if err := os.WriteFile(path, []byte(tc.table), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, out := policyTest(t, path); code != tc.code || !strings.Contains(out, tc.want) {
			t.Errorf("exit code %d, want %d, with %q:\n%s", code, tc.code, tc.want, out)
		}
	}
	if code, out := policyTest(t); code == 0 || !strings.Contains(out, "usage") {
		t.Errorf("without a table: %d, %s", code, out)
	}
}
