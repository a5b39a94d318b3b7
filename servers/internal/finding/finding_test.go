package finding

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	validator "github.com/santhosh-tekuri/jsonschema/v6"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// linter is a checker of text files: a line is "VERDICT SEVERITY RULE MESSAGE", and a line "broken" cannot
// be read.
func linter() Checker {
	word := "Kind/shop/web"
	return Checker{
		Tool: "lint", Version: "v1.2.3",
		Rules: []Rule{
			{ID: "lint/a", Title: "No a", Severity: High, Help: "Write no a.", URL: "https://example.com/a?b=c"},
			{ID: "lint/b", Severity: Low},
		},
		Flags: func(fs *flag.FlagSet) { fs.StringVar(&word, "word", word, "the object's name") },
		Match: func(path string) bool { return strings.HasSuffix(path, ".lint") },
		Check: func(_ context.Context, in Input) ([]Finding, error) {
			var findings []Finding
			var errs []error
			for i, line := range strings.Split(strings.TrimSpace(string(in.Data)), "\n") {
				f := strings.SplitN(line, " ", 4)
				if len(f) < 4 {
					errs = append(errs, fmt.Errorf("%s:%d: not a line", in.Name, i+1))
					continue
				}
				found := Finding{
					Verdict: Verdict(f[0]), Severity: Severity(f[1]), Rule: f[2], Message: f[3], Object: word,
					Location: Location{File: in.Name, Line: i + 1, Column: 2, Field: "spec.x[0]"},
				}
				switch found.Verdict {
				case Fail:
					found.Fix = "write something else"
				case Unknown:
					found.Reason = "nobody knows"
				case Pass:
					found.Severity, found.Location.Field = "", ""
				}
				findings = append(findings, found)
			}
			return findings, errors.Join(errs...)
		},
	}
}

func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func run(t testing.TB, c Checker, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = c.Command(context.Background(), args, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

const mixed = `fail high lint/a an a
unknown medium lint/c what is this?
pass - lint/a fine
broken
fail low lint/b a b with an escape ` + "\x1b[31m" + ` in it
`

// TestFormats holds the three forms to their golden files.
func TestFormats(t *testing.T) {
	for _, format := range []string{"text", "json", "sarif"} {
		t.Run(format, func(t *testing.T) {
			code, out, errs := run(t, linter(), mixed, "--format", format, "-")
			if code != exitBroken || errs != "lint check: stdin:4: not a line\n" {
				t.Errorf("exit code %d, stderr %q", code, errs)
			}
			golden := filepath.Join("testdata", "mixed."+format)
			if *update {
				if err := os.WriteFile(golden, []byte(out), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), out); diff != "" {
				t.Errorf("%s (-want +got):\n%s", golden, diff)
			}
			if format == "sarif" {
				checkSARIF(t, []byte(out))
			}
		})
	}
}

// TestTogether: CheckAll sees the inputs of all paths at once, its objects are counted apart from its findings, and a
// finding that was set aside is reported without closing the gate.
func TestTogether(t *testing.T) {
	c := linter()
	c.CheckAll = func(_ context.Context, inputs []Input) (Report, error) {
		var r Report
		for _, in := range inputs {
			r.Findings = append(r.Findings,
				Finding{Rule: "lint/a", Verdict: Fail, Severity: Low, Message: "an a", Location: Location{File: in.Name}},
				Finding{Rule: "lint/b", Verdict: Pass, Severity: High, Message: "a b", Reason: "we like b", Location: Location{File: in.Name}},
				Finding{Rule: "lint/b", Verdict: Pass, Message: "fine"})
		}
		r.Objects = &Counts{Fail: 1, Pass: len(inputs)}
		return r, errors.New("f: half of it is missing")
	}
	dir := folder(t, map[string]string{"a.lint": "", "b.lint": "", "c": ""})
	code, out, errs := run(t, c, "", filepath.Join(dir, "a.lint"), filepath.Join(dir, "b.lint"))
	want := fmt.Sprintf("%[1]s/a.lint: low lint/a: an a\n%[1]s/a.lint: suppressed lint/b: a b: we like b\n"+
		"%[1]s/b.lint: low lint/a: an a\n%[1]s/b.lint: suppressed lint/b: a b: we like b\n"+
		"findings: 2 failed, 0 unknown, 2 suppressed; objects: 1 failed, 0 unknown, 2 passed, 1 could not be read\n", dir)
	if code != exitBroken || out != want || errs != "lint check: f: half of it is missing\n" {
		t.Errorf("exit code %d, stderr %q\n%s", code, errs, cmp.Diff(want, out))
	}
	if _, out, _ := run(t, c, "", "--format", "sarif", dir); strings.Count(out, `"justification": "we like b"`) != 2 {
		t.Errorf("not suppressed in SARIF: %s", out)
	} else {
		checkSARIF(t, []byte(out))
	}
	if code, _, _ := run(t, c, "", "--fail-on", "medium", filepath.Join(dir, "none")); code != exitBroken {
		t.Errorf("exit code %d of a path that is not there", code)
	}
	failing := c.CheckAll
	c.CheckAll = func(ctx context.Context, inputs []Input) (Report, error) {
		r, _ := failing(ctx, inputs)
		return r, nil
	}
	if code, _, _ := run(t, c, "", "--fail-on", "medium", dir); code != exitClean {
		t.Errorf("exit code %d, though what is high was suppressed", code)
	}
}

func TestExitCode(t *testing.T) {
	const (
		high    = "fail high lint/a x"
		low     = "fail low lint/b x"
		unknown = "unknown high lint/a x"
		pass    = "pass - lint/a x"
		bare    = "fail - lint/a x"
	)
	for _, tc := range []struct {
		name, in string
		args     []string
		want     int
	}{
		{"clean", pass, nil, 0},
		{"fail", low, nil, 1},
		{"below the threshold", low, []string{"--fail-on", "medium"}, 0},
		{"at the threshold", high, []string{"--fail-on", "high"}, 1},
		{"high is below critical", high, []string{"--fail-on=critical"}, 0},
		{"one of many", pass + "\n" + low + "\n" + high, []string{"--fail-on", "high"}, 1},
		{"unknown", unknown, nil, 0},
		{"unknown, strict", unknown, []string{"--strict"}, 1},
		{"unknown, strict, below", unknown, []string{"--strict", "--fail-on", "critical"}, 0},
		{"no severity", bare, []string{"--fail-on", "critical"}, 1},
		{"broken", "broken", nil, 2},
		{"broken beats fail", high + "\nbroken", nil, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := strings.ReplaceAll(tc.in, "fail - ", "fail  ")
			code, out, errs := run(t, linter(), in, append(tc.args, "-")...)
			if code != tc.want {
				t.Errorf("exit code %d, want %d\n%s%s", code, tc.want, out, errs)
			}
		})
	}
}

func TestUsage(t *testing.T) {
	dir := folder(t, map[string]string{"a.lint": "pass - lint/a x", "-x": "pass - lint/a x"})
	file := filepath.Join(dir, "a.lint")
	for _, tc := range []struct {
		name string
		args []string
		code int
		text string // of stderr
	}{
		{"no path", nil, 2, "name at least one"},
		{"empty path", []string{""}, 2, "a path is empty"},
		{"option after path", []string{file, "--strict"}, 2, "options stand before"},
		{"stdin twice", []string{"-", "-"}, 2, "can be read once"},
		{"unknown option", []string{"--nope", file}, 2, "-nope"},
		{"format", []string{"--format", "xml", file}, 2, "want text, json or sarif"},
		{"severity", []string{"--fail-on", "huge", file}, 2, "want low, medium, high or critical"},
		{"help", []string{"--help"}, 0, "Options stand before"},
		{"no such file", []string{filepath.Join(dir, "none")}, 2, "none: no such file"},
		{"after --", []string{"--", file, "-x"}, 2, "-x: no such file"},
		{"own flag", []string{"--word", "w", file}, 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, _, errs := run(t, linter(), "", tc.args...)
			if code != tc.code || !strings.Contains(errs, tc.text) {
				t.Errorf("exit code %d, want %d; stderr %q, want %q in it", code, tc.code, errs, tc.text)
			}
		})
	}
}

func TestPaths(t *testing.T) {
	dir := folder(t, map[string]string{
		"a.lint":      "fail low lint/a a",
		"sub/b.lint":  "fail low lint/a b",
		"c.txt":       "fail low lint/a c",
		".git/d.lint": "fail low lint/a d",
		"empty/x.txt": "",
	})
	if err := os.Symlink("a.lint", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, tc := range []struct {
		args []string
		want []string // file names, in order
		code int
	}{
		{[]string{"."}, []string{"a.lint", "sub/b.lint"}, 1},
		{[]string{dir}, []string{dir + "/a.lint", dir + "/sub/b.lint"}, 1},
		{[]string{"sub/../sub"}, []string{"sub/b.lint"}, 1},
		{[]string{"c.txt"}, []string{"c.txt"}, 1}, // named, so Match is not asked
		{[]string{"link"}, []string{"link"}, 1},
		{[]string{"sub", "-", "a.lint"}, []string{"sub/b.lint", "stdin", "a.lint"}, 1},
		{[]string{"none", "a.lint"}, []string{"a.lint"}, 2},
		{[]string{"empty"}, nil, 2},
	} {
		t.Run(strings.Join(tc.args, " "), func(t *testing.T) {
			code, out, errs := run(t, linter(), "fail low lint/a s", append([]string{"--format", "json"}, tc.args...)...)
			var got struct{ Findings []Finding }
			if err := json.Unmarshal([]byte(out), &got); err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, f := range got.Findings {
				names = append(names, f.Location.File)
			}
			if diff := cmp.Diff(tc.want, names); diff != "" || code != tc.code {
				t.Errorf("exit code %d, want %d, files (-want +got):\n%s%s", code, tc.code, diff, errs)
			}
		})
	}
}

func TestInputBound(t *testing.T) {
	over := strings.Repeat("x", MaxInput+1)
	code, _, errs := run(t, linter(), over, "-")
	if code != 2 || !strings.Contains(errs, "standard input: too large") {
		t.Errorf("exit code %d, stderr %q", code, errs)
	}
	dir := folder(t, map[string]string{"over": over, "full": "pass - lint/a " + over[:MaxInput-14]})
	if code, _, errs := run(t, linter(), "", filepath.Join(dir, "full")); code != 0 {
		t.Errorf("full: exit code %d, stderr %q", code, errs)
	}
	if code, _, errs := run(t, linter(), "", filepath.Join(dir, "over")); code != 2 || !strings.Contains(errs, "over: too large") {
		t.Errorf("over: exit code %d, stderr %q", code, errs)
	}
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var out, errs bytes.Buffer
	code := linter().Command(ctx, []string{"-"}, strings.NewReader("pass - lint/a x"), &out, &errs)
	if code != 2 || !strings.Contains(errs.String(), "stdin: not checked") {
		t.Errorf("exit code %d, stderr %q", code, errs.String())
	}
}

func TestWriteFails(t *testing.T) {
	var errs bytes.Buffer
	code := linter().Command(context.Background(), []string{"-"}, strings.NewReader("pass - lint/a x"), full{}, &errs)
	if code != 2 || !strings.Contains(errs.String(), "disk full") {
		t.Errorf("exit code %d, stderr %q", code, errs.String())
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWorse(t *testing.T) {
	for _, tc := range []struct{ a, b, want Verdict }{
		{Pass, Pass, Pass}, {Pass, Unknown, Unknown}, {Unknown, Fail, Fail}, {Fail, Pass, Fail}, {Unknown, Unknown, Unknown},
	} {
		if got := tc.a.Worse(tc.b); got != tc.want {
			t.Errorf("%s.Worse(%s) = %s, want %s", tc.a, tc.b, got, tc.want)
		}
		if got := tc.b.Worse(tc.a); got != tc.want {
			t.Errorf("%s.Worse(%s) = %s, want %s", tc.b, tc.a, got, tc.want)
		}
	}
}

func TestFileURI(t *testing.T) {
	for path, want := range map[string]string{
		"a/b.yaml":     "a/b.yaml",
		"a b%.yaml":    "a%20b%25.yaml",
		"c:d.yaml":     "./c:d.yaml",
		"/etc/x y":     "file:///etc/x%20y",
		"//host/x":     "file:////host/x",
		"../up.yaml":   "../up.yaml",
		"ünïcode":      "%C3%BCn%C3%AFcode",
		"bad\xffutf-8": "bad%EF%BF%BDutf-8",
	} {
		if got := fileURI(path); got != want {
			t.Errorf("fileURI(%q) = %q, want %q", path, got, want)
		}
	}
}

// checkSARIF holds a log to testdata/sarif.schema.json and to what the specification demands beyond a schema.
func checkSARIF(t *testing.T, log []byte) {
	t.Helper()
	schema, err := validator.NewCompiler().Compile("testdata/sarif.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := validator.UnmarshalJSON(bytes.NewReader(log))
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if err := schema.Validate(doc); err != nil {
		t.Errorf("%v\n%s", err, log)
	}
	var got sarifLog
	if err := json.Unmarshal(log, &got); err != nil {
		t.Fatal(err)
	}
	run := got.Runs[0]
	for i, r := range run.Results {
		if r.RuleIndex >= len(run.Tool.Driver.Rules) || run.Tool.Driver.Rules[r.RuleIndex].ID != r.RuleID {
			t.Errorf("result %d: ruleIndex %d is not rule %q", i, r.RuleIndex, r.RuleID)
		}
		if (r.Kind == "fail") == (r.Level == "none") {
			t.Errorf("result %d: kind %s with level %s", i, r.Kind, r.Level)
		}
		for _, l := range r.Locations {
			if l.Physical != nil {
				if _, err := url.Parse(l.Physical.Artifact.URI); err != nil {
					t.Errorf("result %d: %v", i, err)
				}
			}
		}
	}
	if success := run.Invocations[0].ExecutionSuccessful; success != (len(run.Invocations[0].Notifications) == 0) {
		t.Errorf("executionSuccessful %t with %d notifications", success, len(run.Invocations[0].Notifications))
	}
}

// FuzzWrite writes whatever an input may put into a finding: SARIF and JSON stay valid, and text stays one
// line a finding with nothing that a terminal acts on.
func FuzzWrite(f *testing.F) {
	f.Add("lint/a", "fail", "high", "message", "fix", "Kind/ns/name", "a/b.yaml", "spec.x", 3, 4, "error")
	f.Add("", "", "", "", "", "", "", "", 0, 0, "")
	f.Add("r", "fail", "low", "m", "", "", "f", "", 3, -9, "")
	f.Add("\x00\xff", "open", "none", "a\nb\r\n\x1b[2J", "\u202e", "\u2028", "c:\\x y\xff%zz", "]]>", -1, -9, "\x07")
	f.Fuzz(func(t *testing.T, rule, verdict, severity, message, fix, object, file, field string, line, column int, problem string) {
		c := linter()
		r := report{
			Report: Report{Findings: []Finding{{
				Rule: rule, Verdict: Verdict(verdict), Severity: Severity(severity), Message: message, Fix: fix, Reason: problem,
				Object: object, Location: Location{File: file, Line: line, Column: column, Field: field}, Chain: []string{object},
			}, {Rule: rule, Verdict: Fail}}},
			errs: []error{errors.New(problem)},
		}
		sarif, err := c.sarif(r)
		if err != nil {
			t.Fatal(err)
		}
		checkSARIF(t, sarif)
		plain, err := c.json(r)
		if err != nil || !json.Valid(plain) {
			t.Errorf("JSON: %v\n%s", err, plain)
		}
		lines := strings.Split(strings.TrimSuffix(string(text(r)), "\n"), "\n")
		if len(lines) > 4 {
			t.Errorf("%d lines of text: %q", len(lines), lines)
		}
		for _, line := range lines {
			if printable(line) != line {
				t.Errorf("not printable: %q", line)
			}
		}
	})
}
