// Command verdict reads what the agent policy-gate answered, and ends as CI needs it: with 0 if the verdict is pass, 1 if it is
// fail, 2 if there is no verdict to be read or it contradicts itself.
//
// A model's verdict is no proof: whoever writes a manifest also speaks to the model. What must hold is held by
// `kubernetes check`, which no words in a manifest can talk to.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Exit codes.
const (
	exitPass = 0
	exitFail = 1
	exitNone = 2
)

const maxAnswer = 1 << 20 // bytes

// verdict is the one object that the agent's instruction asks for.
type verdict struct {
	Verdict  string    `json:"verdict"`
	Findings []finding `json:"findings"`
	Unknown  []string  `json:"unknown"`
}

type finding struct {
	Rule     string `json:"rule"`
	Severity string `json:"severity"`
	Object   string `json:"object"`
	File     string `json:"file"`
	Line     int    `json:"line"`
	Message  string `json:"message"`
	Fix      string `json:"fix"`
}

func main() { os.Exit(run(os.Stdin, os.Stdout, os.Stderr)) }

func run(stdin io.Reader, stdout, stderr io.Writer) int {
	v, err := read(stdin)
	if err != nil {
		fmt.Fprintf(stderr, "verdict: %v\n", err)
		return exitNone
	}
	for _, f := range v.Findings {
		fmt.Fprintf(stdout, "%s:%d: %s %s [%s] %s; fix: %s\n", f.File, f.Line, f.Severity, f.Rule, f.Object, f.Message, f.Fix)
	}
	for _, why := range v.Unknown {
		fmt.Fprintf(stdout, "unknown: %s\n", why)
	}
	fmt.Fprintln(stdout, v.Verdict)
	if v.Verdict == "pass" {
		return exitPass
	}
	return exitFail
}

// read finds the verdict in an answer, around which an agent's program may print other lines. Two of them are none: one may be
// from what the model was told.
func read(r io.Reader) (verdict, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxAnswer+1))
	if err != nil {
		return verdict{}, err
	}
	if len(text) > maxAnswer {
		return verdict{}, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	var found []verdict
	problem := errors.New("no JSON object that begins a line")
	for line := 0; line < len(text); {
		rest := text[line:]
		next := line + len(rest)
		if end := bytes.IndexByte(rest, '\n'); end >= 0 {
			next = line + end + 1
		}
		if start := bytes.TrimLeft(rest, " \t"); bytes.HasPrefix(start, []byte("{")) {
			v, length, err := decode(start)
			if err != nil {
				problem = err
			} else {
				found = append(found, v)
				next = len(text) - len(start) + length
			}
		}
		line = next
	}
	switch len(found) {
	case 0:
		return verdict{}, fmt.Errorf("no verdict in the answer: %w", problem)
	case 1:
		return found[0], found[0].check()
	}
	return verdict{}, fmt.Errorf("%d verdicts in one answer", len(found))
}

// decode reads the object at the start of text, and how long it is.
func decode(text []byte) (v verdict, length int, err error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&v); err != nil {
		return verdict{}, 0, err
	}
	return v, int(decoder.InputOffset()), nil
}

func (v verdict) check() error {
	grave := len(v.Unknown)
	for _, f := range v.Findings {
		if f.Severity != "low" {
			grave++
		}
	}
	switch {
	case v.Verdict == "pass" && grave > 0:
		return fmt.Errorf("the verdict is pass, with %d findings that are not low, or unknown", grave)
	case v.Verdict == "fail" && len(v.Findings)+len(v.Unknown) == 0:
		return errors.New("the verdict is fail, and nothing says why")
	case v.Verdict != "pass" && v.Verdict != "fail":
		return fmt.Errorf("the verdict is %q, not pass or fail", strings.ToValidUTF8(v.Verdict, "?"))
	}
	return nil
}
