package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/audit"
)

// Where the bundle mounts the log and the folder of its key.
const (
	auditFolder = "/var/lib/bulkhead"
	keyFolder   = "/keys"
)

const (
	defaultTail   = 20
	maxTail       = 10_000
	maxCheckpoint = 4 << 10 // bytes
)

// auditVerb is one thing to do with a log. Those that read may run beside the gateway that writes it.
type auditVerb struct {
	usage string // of its arguments
	flags func(set *flag.FlagSet)
	run   func(args []string, stdout io.Writer) error
}

// auditCommand reads the log, verifies it, and makes its key.
func auditCommand(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	verbs := auditVerbs()
	lines := []string{"usage:"}
	for _, name := range sortedKeys(verbs) {
		lines = append(lines, "  gateway audit "+strings.TrimSpace(name+" "+verbs[name].usage))
	}
	usage := strings.Join(lines, "\n")
	if len(args) == 0 {
		return errors.New(usage)
	}
	verb, ok := verbs[args[0]]
	if !ok {
		return fmt.Errorf("unknown command %q\n%s", args[0], usage)
	}
	set := flag.NewFlagSet("gateway audit "+args[0], flag.ContinueOnError)
	set.SetOutput(stderr)
	verb.flags(set)
	if err := set.Parse(args[1:]); err != nil {
		return err
	}
	// Reading a log takes as long as it takes, and whoever made it may have made it long; a signal ends it all the same.
	done := make(chan error, 1)
	go func() { done <- verb.run(set.Args(), stdout) }()
	select {
	case err := <-done:
		if _, missing := os.Stat(auditFolder); args[0] != "keygen" && errors.Is(missing, fs.ErrNotExist) && errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w; the bundle's log is in its gateway: docker compose exec gateway /ko-app/gateway audit %s", err, args[0])
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func auditVerbs() map[string]auditVerb {
	var r logReader
	return map[string]auditVerb{
		"tail": {"[--limit N] [FILTERS]", func(set *flag.FlagSet) {
			r.flags(set)
			set.IntVar(&r.limit, "limit", defaultTail, "records to print")
		}, r.tail},
		"show": {"[--results] CALL…", func(set *flag.FlagSet) {
			r.folderFlag(set)
			r.resultsFlag(set)
		}, r.show},
		"export": {"[--results] [FILTERS]", func(set *flag.FlagSet) {
			r.flags(set)
			r.resultsFlag(set)
		}, r.export},
		"verify":     {"[--key FILE] [--checkpoint FILE] [--format text|json]", r.verifyFlags, r.verify},
		"checkpoint": {"[--key FILE]", r.keyFlags, r.checkpoint},
		"keygen":     {"NAME DIR", func(*flag.FlagSet) {}, keygen},
	}
}

// logReader is the flags of the verbs that read a log.
type logReader struct {
	dir     string
	filter  audit.Filter
	limit   int
	results bool
	key     string
	trusted string
	format  string
}

func (r *logReader) folderFlag(set *flag.FlagSet) {
	set.StringVar(&r.dir, "audit", auditFolder, "folder of the audit log")
}

func (r *logReader) flags(set *flag.FlagSet) {
	r.folderFlag(set)
	set.StringVar(&r.filter.Principal, "agent", "", "only records of this agent")
	set.StringVar(&r.filter.Tool, "tool", "", "only records of this tool, as agents know it")
	set.Func("decision", "only records with this decision: allow, deny or error", func(text string) error {
		r.filter.Decision = audit.Decision(text)
		if !slices.Contains([]audit.Decision{audit.Allow, audit.Deny, audit.Error}, r.filter.Decision) {
			return errors.New("want allow, deny or error")
		}
		return nil
	})
	set.Func("since", "only records from this time on: 2026-11-25T13:00:00Z, 2026-11-25, or how long ago, as 90m", instant(&r.filter.Since))
	set.Func("until", "only records before this time", instant(&r.filter.Until))
}

// instant reads a time (RFC 3339), a date (UTC) or a duration before now.
func instant(to *time.Time) func(string) error {
	return func(text string) error {
		if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
			*to = time.Now().Add(-ago)
			return nil
		}
		for _, layout := range []string{time.RFC3339, time.DateOnly} {
			if at, err := time.Parse(layout, text); err == nil {
				*to = at
				return nil
			}
		}
		return errors.New("want a time such as 2026-11-25T13:00:00Z, a date, or a duration such as 90m")
	}
}

func (r *logReader) tail(args []string, stdout io.Writer) error {
	if len(args) > 0 || r.limit < 1 || r.limit > maxTail {
		return fmt.Errorf("tail takes no arguments, and a --limit of 1 to %d", maxTail)
	}
	return audit.Tail(r.dir, r.filter, r.limit, func(_ audit.Record, line []byte) error { return printLine(stdout, line) })
}

// show prints the records of calls.
func (r *logReader) show(calls []string, stdout io.Writer) error {
	if len(calls) == 0 {
		return errors.New("show needs the id of a call: it stands in the answer's _meta, and in the log as call")
	}
	missing := slices.Clone(calls)
	r.filter.Calls = calls
	err := r.printAll(stdout, func(record audit.Record) {
		missing = slices.DeleteFunc(missing, func(call string) bool { return call == record.Call })
	})
	if err == nil && len(missing) > 0 {
		return fmt.Errorf("no record of %q", missing)
	}
	return err
}

// export prints all records that the filters choose.
func (r *logReader) export(args []string, stdout io.Writer) error {
	if len(args) > 0 {
		return errors.New("export takes no arguments")
	}
	return r.printAll(stdout, func(audit.Record) {})
}

func (r *logReader) resultsFlag(set *flag.FlagSet) {
	set.BoolVar(&r.results, "results", false, `with what was answered: each line is then {"record": …, "result": …}, the result a string, or null if none was stored`)
}

// printAll prints the records that the filter chooses as they stand on disk, or with their results, and gives each to see.
// A result that cannot be read keeps none of the others back.
func (r *logReader) printAll(stdout io.Writer, see func(audit.Record)) error {
	results := audit.OpenResults(r.dir)
	unread := 0
	err := audit.Read(r.dir, r.filter, func(record audit.Record, line []byte) error {
		see(record)
		if !r.results {
			return printLine(stdout, line)
		}
		printed := struct {
			Record json.RawMessage `json:"record"`
			Result *string         `json:"result"`
			Error  string          `json:"error,omitempty"`
		}{Record: line}
		result, err := results.Read(record)
		switch {
		case err == nil:
			text := string(result)
			printed.Result = &text
		case !errors.Is(err, audit.ErrNoResult):
			printed.Error = err.Error()
			unread++
		}
		var out bytes.Buffer
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(printed); err != nil {
			return err
		}
		return printLine(stdout, bytes.TrimSuffix(out.Bytes(), []byte("\n")))
	})
	if err == nil && unread > 0 {
		err = fmt.Errorf("%d results could not be read; gateway audit verify says whether they were changed", unread)
	}
	return errors.Join(err, results.Close())
}

// printLine prints a line of JSON. Characters that a terminal obeys, or that hide others, are escaped: in a log that was
// edited they may stand as they are.
func printLine(w io.Writer, line []byte) error {
	var out bytes.Buffer
	for _, r := range string(line) {
		switch {
		case r == ' ' || unicode.IsPrint(r):
			out.WriteRune(r)
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			_, _ = fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		default:
			_, _ = fmt.Fprintf(&out, `\u%04x`, r)
		}
	}
	out.WriteByte('\n')
	_, err := w.Write(out.Bytes())
	return err
}

func (r *logReader) keyFlags(set *flag.FlagSet) {
	r.folderFlag(set)
	set.StringVar(&r.key, "key", keyFolder+"/"+audit.VerifierFile, "the public key of the log")
}

func (r *logReader) verifyFlags(set *flag.FlagSet) {
	r.keyFlags(set)
	set.StringVar(&r.trusted, "checkpoint", "", "a checkpoint that was kept elsewhere, - for standard input: the log must extend it")
	set.StringVar(&r.format, "format", "text", "text or json")
}

// verify fails if the log is not what was written.
func (r *logReader) verify(args []string, stdout io.Writer) error {
	if len(args) > 0 || r.format != "text" && r.format != "json" {
		return errors.New("verify takes no arguments, and a --format of text or json")
	}
	verifier, err := audit.ReadVerifier(r.key)
	if err != nil {
		return err
	}
	var trusted []byte
	if r.trusted != "" {
		if trusted, err = readCheckpoint(r.trusted); err != nil {
			return err
		}
	}
	report, err := audit.Verify(r.dir, verifier, trusted)
	if err != nil {
		return err
	}
	if r.format == "json" {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(report)
	} else {
		_, err = io.WriteString(stdout, report.Text())
	}
	if found := len(report.Findings) + report.More; err == nil && found > 0 {
		return fmt.Errorf("the log is not what was written: %d findings", found)
	}
	return err
}

// readCheckpoint reads a file, or standard input for "-". Blank lines at its end, as an editor leaves them, are no part of it.
func readCheckpoint(path string) ([]byte, error) {
	if path == "-" {
		path = "/dev/stdin"
	}
	data, err := readFile(path, maxCheckpoint)
	if err != nil {
		return nil, err
	}
	return append(bytes.TrimRight(data, "\r\n"), '\n'), nil
}

// checkpoint prints the newest checkpoint, to be kept elsewhere.
func (r *logReader) checkpoint(args []string, stdout io.Writer) error {
	if len(args) > 0 {
		return errors.New("checkpoint takes no arguments")
	}
	verifier, err := audit.ReadVerifier(r.key)
	if err != nil {
		return err
	}
	note, err := audit.NewestCheckpoint(r.dir, verifier)
	if err != nil {
		return err
	}
	_, err = stdout.Write(note)
	return err
}

// keygen makes the key that signs checkpoints.
func keygen(args []string, stdout io.Writer) error {
	if len(args) != 2 {
		return errors.New("keygen needs the NAME of the log, as in example.com/bulkhead, and the DIR that gets " + audit.SignerFile + " and " + audit.VerifierFile)
	}
	name, dir := args[0], args[1]
	if err := audit.GenerateKey(dir, name); err != nil {
		return err
	}
	_, err := fmt.Fprintf(stdout, "made %s/%s, which signs, and %s/%s, which verifies\n", dir, audit.SignerFile, dir, audit.VerifierFile)
	return err
}
