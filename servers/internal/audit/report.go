package audit

import (
	"fmt"
	"strings"
)

// Report is what [Verify] found out about a log.
type Report struct {
	Records    uint64 `json:"records"`          // read
	First      uint64 `json:"first,omitzero"`   // number of the first of them; those before have expired
	Last       uint64 `json:"last,omitzero"`    // number of the last of them
	Covered    uint64 `json:"covered"`          // size of the newest tree that was signed and has these records
	Uncovered  uint64 `json:"uncovered"`        // records that no checkpoint covers
	Checkpoint string `json:"checkpoint"`       // the note of that tree
	Results    uint64 `json:"results"`          // records whose stored result was checked
	Expired    uint64 `json:"expired,omitzero"` // records that a record says were removed for their age
	// Lost are records whose result a crash took, as the log itself says. Nobody was answered for them.
	Lost     []uint64  `json:"lost,omitzero"`
	Findings []Finding `json:"findings"`
	More     int       `json:"more,omitzero"` // findings that the report has no room for
	// Unseen says in words what this verification could not have seen.
	Unseen []string `json:"unseen"`
}

// Finding is something in the log that the writer did not leave so.
type Finding struct {
	From    uint64 `json:"from,omitzero"` // first record that it is about; 0 if it is about none
	To      uint64 `json:"to,omitzero"`   // last of them
	File    string `json:"file"`
	Message string `json:"message"`
}

// String names the records and the file.
func (f Finding) String() string {
	switch f.From {
	case 0:
		return f.File + ": " + f.Message
	case f.To:
		return fmt.Sprintf("record %d (%s): %s", f.From, f.File, f.Message)
	default:
		return fmt.Sprintf("records %d to %d (%s): %s", f.From, f.To, f.File, f.Message)
	}
}

// Text is the report for a person to read.
func (r Report) Text() string {
	var out strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&out, format+"\n", args...) }
	say("%d records read, %d to %d; %d stored results checked.", r.Records, r.First, r.Last, r.Results)
	say("Checkpoints cover the records up to %d; %d are newer.", r.Covered, r.Uncovered)
	for _, seq := range r.Lost {
		say("Record %d: a crash took its result before anybody was answered.", seq)
	}
	for _, f := range r.Findings {
		say("FOUND %s", f)
	}
	if r.More > 0 {
		say("FOUND %d more", r.More)
	}
	if len(r.Findings) == 0 {
		say("Nothing was changed that this could have seen.")
	}
	for _, text := range r.Unseen {
		say("Not seen: %s", text)
	}
	return out.String()
}

// unseen says what a change would have to look like that this verification takes for the truth.
func (v *verification) unseen() {
	say := func(format string, args ...any) {
		v.report.Unseen = append(v.report.Unseen, fmt.Sprintf(format, args...))
	}
	if v.given == 0 {
		say("Without a checkpoint that was kept elsewhere, nobody can see that the whole folder was rolled back to an earlier state.")
	} else {
		say("A roll-back of the folder to a state after record %d, which the trusted checkpoint covers, could not be seen.", v.given)
	}
	if v.report.Uncovered > 0 {
		say("Records %d to %d are newer than the newest checkpoint: whoever may write the folder could have changed them.",
			v.report.Covered+1, v.lines.size)
	}
	say("Whoever may write the folder could have cut off records behind the newest checkpoint (%d records).", v.report.Covered)
	if v.unproved > 0 {
		say("%d times a process that opened the log found records that no checkpoint covered yet, %d in all (their numbers are in the records of event %q). "+
			"What was changed in them before is signed since.", v.starts, v.unproved, EventOpened)
	}
	if v.report.Expired > 0 {
		say("Records 1 to %d have expired and are gone.", v.report.Expired)
	}
}
