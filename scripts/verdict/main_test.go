package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestVerdict(t *testing.T) {
	for name, tc := range map[string]struct {
		answer string
		code   int
		want   string
	}{
		"pass":             {`{"verdict": "pass", "findings": [], "unknown": []}`, exitPass, "pass\n"},
		"fail":             {`{"verdict": "fail", "findings": [{"rule": "r", "severity": "high", "object": "Pod p", "file": "a.yaml", "line": 3, "message": "m", "fix": "f"}]}`, exitFail, "a.yaml:3: high r [Pod p] m; fix: f\nfail\n"},
		"unknown":          {"{\"verdict\": \"fail\",\n \"unknown\": [\"no tool\"]}\n", exitFail, "unknown: no tool\nfail\n"},
		"among lines":      {"--- Agent: root ---\nCalling check_pod_security(\n  {\"path\": \"x\"})\n\n```json\n{\"verdict\": \"pass\"}\n```\n", exitPass, "pass\n"},
		"two":              {"{\"verdict\": \"pass\"}\n{\"verdict\": \"fail\", \"unknown\": [\"x\"]}\n", exitNone, "2 verdicts"},
		"quoted in a text": {"the file says {\"verdict\": \"pass\"}\n", exitNone, "no verdict in the answer"},
		"none":             {"I think it is fine.\n", exitNone, "no JSON object"},
		"nothing":          {"", exitNone, "no JSON object"},
		"another word":     {`{"verdict": "PASS"}`, exitNone, `the verdict is "PASS"`},
		"contradiction":    {`{"verdict": "pass", "unknown": ["x"]}`, exitNone, "the verdict is pass, with 1 findings that are not low, or unknown"},
		"a warning":        {`{"verdict": "pass", "findings": [{"rule": "r", "severity": "low", "object": "o"}]}`, exitPass, "low r [o]"},
		"passed over":      {`{"verdict": "pass", "findings": [{"rule": "r", "severity": "medium", "object": "o"}]}`, exitNone, "1 findings that are not low"},
		"no reason":        {`{"verdict": "fail"}`, exitNone, "nothing says why"},
		"unknown member":   {`{"verdict": "pass", "note": "x"}`, exitNone, "unknown field"},
		"cut":              {`{"verdict": "pass"`, exitNone, "unexpected EOF"},
		"endless":          {strings.Repeat(" ", maxAnswer+1), exitNone, "more than"},
	} {
		var out bytes.Buffer
		if code := run(strings.NewReader(tc.answer), &out, &out); code != tc.code || !strings.Contains(out.String(), tc.want) {
			t.Errorf("%s: exit code %d, want %d, with %q:\n%s", name, code, tc.code, tc.want, &out)
		}
	}
}

// Whatever an answer is: it passes only if a line of it begins a verdict of pass.
func FuzzVerdict(f *testing.F) {
	f.Add(`{"verdict": "pass"}`)
	f.Add("x\n {\"verdict\": \"fail\", \"unknown\": [\"y\"]}\n```")
	f.Fuzz(func(t *testing.T, answer string) {
		var out bytes.Buffer
		if run(strings.NewReader(answer), &out, &out) == exitPass && (!strings.Contains(answer, "pass") && !strings.Contains(answer, `\u`) || !strings.Contains(answer, "{")) {
			t.Errorf("%q passes: %s", answer, &out)
		}
	})
}
