//go:build linux && (amd64 || arm64)

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/bulkhead-mcp/bulkhead/servers/e2e/attack"
)

// report is what was tried and what happened.
type report struct {
	Engine string  `json:"engine"`
	Rows   []*row  `json:"claims"`
	Matrix []*line `json:"matrix"`
}

// row is one claim, attacked from one place with all layers on.
type row struct {
	Claim   string `json:"claim"`
	From    string `json:"from"`
	Tries   []try  `json:"tries"`
	Through int    `json:"through"`
	Verdict string `json:"verdict"`
}

// try is one attack and how it ended.
type try struct {
	Attack  string `json:"attack"`
	Error   string `json:"error"`
	Through bool   `json:"through"`
}

// The verdicts. A line of the matrix whose attack this kernel does not let succeed by any means shows nothing.
const (
	pass    = "PASS"
	fail    = "FAIL"
	nothing = "SHOWS NOTHING HERE"
)

func (r *row) add(name, ended string, through bool) {
	r.Tries = append(r.Tries, try{name, ended, through})
	if through {
		r.Through++
	}
	r.Verdict = map[bool]string{true: pass, false: fail}[r.Through == 0]
}

// happened is the row in words: the names of what got through, and of the rest how they ended, by number.
func (r *row) happened() string {
	var through []string
	for _, t := range r.Tries {
		if t.Through {
			through = append(through, t.Attack)
		}
	}
	if len(through) > 0 {
		return "got through: " + strings.Join(through, ", ")
	}
	return "all refused"
}

// line is one attack with the layers taken away.
type line struct {
	Attack    string `json:"attack"`
	Claim     string `json:"claim"`
	From      string `json:"from"`
	By        string `json:"covered_by"`
	Cells     []cell `json:"cells"`
	Elsewhere bool   `json:"-"`
}

// verdict of a line: as expected with every set of layers.
func (l *line) verdict() string {
	off := func(c cell) bool { return !c.Want }
	if l.Elsewhere && !slices.ContainsFunc(l.Cells, func(c cell) bool { return off(c) && !c.Refused }) {
		return nothing
	}
	if slices.ContainsFunc(l.Cells, func(c cell) bool { return c.Refused != c.Want }) {
		return fail
	}
	return pass
}

// MarshalJSON adds the verdict.
func (l *line) MarshalJSON() ([]byte, error) {
	type plain line
	return json.Marshal(struct {
		*plain
		Verdict string `json:"verdict"`
	}{(*plain)(l), l.verdict()})
}

// Failed counts the rows and lines that are not as claimed.
func (r *report) Failed() int {
	n := 0
	for _, row := range r.Rows {
		if row.Verdict != pass {
			n++
		}
	}
	for _, l := range r.Matrix {
		if l.verdict() == fail {
			n++
		}
	}
	return n
}

func (r *report) print(w io.Writer, format string) error {
	switch format {
	case "json":
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	case "markdown":
		return r.markdown(w)
	}
	return r.text(w)
}

// claims joins the places of each claim.
func (r *report) claims() []*row {
	var all []*row
	for _, one := range r.Rows {
		i := slices.IndexFunc(all, func(o *row) bool { return o.Claim == one.Claim })
		if i < 0 {
			all = append(all, &row{Claim: one.Claim})
			i = len(all) - 1
		}
		all[i].From = strings.TrimPrefix(all[i].From+", "+one.From, ", ")
		for _, t := range one.Tries {
			name := t.Attack
			if t.Through {
				name += " (" + one.From + ")"
			}
			all[i].add(name, t.Error, t.Through)
		}
	}
	return all
}

func (r *report) markdown(w io.Writer) error {
	fmt.Fprintln(w, "| claim | from the place of | tried | what happened | |")
	fmt.Fprintln(w, "| --- | --- | --- | --- | --- |")
	for _, c := range r.claims() {
		fmt.Fprintf(w, "| %s | %s | %d | %s | %s |\n", c.Claim, c.From, len(c.Tries), c.happened(), c.Verdict)
	}
	_, err := fmt.Fprintf(w, "\n%s\n", r.summary())
	return err
}

func (r *report) text(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "CLAIM\tFROM\tTRIED\tWHAT HAPPENED\t")
	for _, row := range r.Rows {
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\n", row.Claim, row.From, len(row.Tries), row.happened(), row.Verdict)
	}
	fmt.Fprint(table, "\nATTACK\tFROM\tALL ON\t")
	for _, layer := range attack.Each() {
		fmt.Fprintf(table, "%s\t", layer)
	}
	fmt.Fprintln(table, "NONE\tOTHERS\t")
	for _, l := range r.Matrix {
		fmt.Fprintf(table, "%s\t%s\t", l.Attack, l.From)
		for _, c := range l.Cells {
			mark := map[bool]string{true: "refused", false: "open"}[c.Refused]
			if c.Refused != c.Want {
				mark += "!"
			}
			fmt.Fprintf(table, "%s\t", mark)
		}
		fmt.Fprintln(table, l.verdict())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, l := range r.Matrix {
		for _, c := range l.Cells {
			if l.verdict() == fail && c.Refused != c.Want {
				fmt.Fprintf(w, "! %s, from %s, with %s: %q, and it should %s\n", l.Attack, l.From, c.Layers, c.Error,
					map[bool]string{true: "be refused", false: "succeed"}[c.Want])
			}
		}
	}
	for _, row := range r.Rows {
		for _, t := range row.Tries {
			if t.Through {
				fmt.Fprintf(w, "! %s, from %s: %q\n", t.Attack, row.From, t.Error)
			}
		}
	}
	_, err := fmt.Fprintf(w, "\n%s\n", r.summary())
	return err
}

func (r *report) summary() string {
	tries, lines := 0, map[string]int{}
	for _, row := range r.Rows {
		tries += len(row.Tries)
	}
	cells := 0
	for _, l := range r.Matrix {
		lines[l.verdict()]++
		cells += len(l.Cells)
	}
	return fmt.Sprintf("%d attacks on %d claims from %d places with all layers on; a matrix of %d attacks in %d cells: %d as expected, %d not, %d that this kernel does not let succeed anyway. %s. Not as claimed: %d.",
		tries, len(r.claims()), places(r.Rows), len(r.Matrix), cells, lines[pass], lines[fail], lines[nothing], r.Engine, r.Failed())
}

func places(rows []*row) int {
	var names []string
	for _, r := range rows {
		if !slices.Contains(names, r.From) {
			names = append(names, r.From)
		}
	}
	return len(names)
}
