package finding

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
)

func (c Checker) write(w io.Writer, format string, r report) error {
	var (
		out []byte
		err error
	)
	switch format {
	case "json":
		out, err = c.json(r)
	case "sarif":
		out, err = c.sarif(r)
	default:
		out = text(r)
	}
	if err != nil {
		return err
	}
	_, err = w.Write(out)
	return err
}

// text writes what failed and what is unknown as a compiler would, so that editors find the place, and then
// one line that counts.
func text(r report) []byte {
	var b bytes.Buffer
	suppressed := 0
	for _, f := range r.Findings {
		severity := string(f.Severity)
		switch {
		case f.suppressed():
			suppressed++
			severity = "suppressed"
		case f.Verdict == Pass:
			continue
		case f.Verdict == Unknown:
			severity = string(Unknown)
		}
		fmt.Fprintf(&b, "%s: %s %s: %s", printable(f.Location.String()), printable(severity), printable(f.Rule), printable(f.text()))
		if f.Object != "" {
			fmt.Fprintf(&b, " [%s]", printable(f.Object))
		}
		b.WriteByte('\n')
		if f.Fix != "" {
			fmt.Fprintf(&b, "    fix: %s\n", printable(f.Fix))
		}
	}
	n := Count(r.Findings)
	if o := r.Objects; o != nil {
		// What failed may be counted in findings or in objects, and they are not the same number.
		fmt.Fprintf(&b, "findings: %d failed, %d unknown", n.Fail, n.Unknown)
		if suppressed > 0 {
			fmt.Fprintf(&b, ", %d suppressed", suppressed)
		}
		fmt.Fprintf(&b, "; objects: %d failed, %d unknown, %d passed", o.Fail, o.Unknown, o.Pass)
	} else {
		fmt.Fprintf(&b, "%d failed, %d unknown, %d passed", n.Fail, n.Unknown, n.Pass)
		if suppressed > 0 {
			fmt.Fprintf(&b, " (%d of them suppressed)", suppressed)
		}
	}
	if len(r.errs) > 0 {
		fmt.Fprintf(&b, ", %d could not be read", len(r.errs))
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// printable makes text from an input safe for a terminal and for one line: what does not print becomes its
// Go escape.
func printable(s string) string {
	plain := func(r rune) bool { return unicode.IsPrint(r) && r != unicode.ReplacementChar }
	if strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if plain(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))
		}
	}
	return b.String()
}

func (c Checker) json(r report) ([]byte, error) {
	out := struct {
		Tool     string    `json:"tool"`
		Version  string    `json:"version"`
		Counts   Counts    `json:"counts"`
		Objects  *Counts   `json:"objects,omitempty"`
		Findings []Finding `json:"findings"`
		Errors   []string  `json:"errors"`
	}{c.Tool, c.Version, Count(r.Findings), r.Objects, append([]Finding{}, r.Findings...), []string{}}
	for _, err := range r.errs {
		out.Errors = append(out.Errors, err.Error())
	}
	return indent(out)
}

func indent(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(v)
	return b.Bytes(), err
}
