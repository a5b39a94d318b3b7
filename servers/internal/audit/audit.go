// Package audit keeps the record of every request: who asked, for what, what was decided and what was
// answered. A [Stream] writes it as one log line on stderr; a [Log] keeps it on disk, synced, as the leaves of
// a signed tree, so that [Verify] finds what somebody edited who may write the folder and does not hold the key.
package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/mod/sumdb/tlog"
)

// Version is the format of a [Record]. A reader refuses a newer one.
const Version = 1

const (
	// MaxArgs is the most bytes of arguments that a record keeps.
	MaxArgs = 4 << 10
	// MaxLine is the longest line that a log holds, newline included.
	MaxLine = 64 << 10
	// MaxStored is the most bytes of a result that a log keeps, before they are compressed.
	MaxStored = 256 << 10
)

// ErrBroken is wrapped by errors about a log that cannot be read as one.
var ErrBroken = errors.New("audit log broken")

// Decision says what became of a request.
type Decision string

// The decisions. Allow means that the tool ran or that the method was answered; what the tool answered is in
// Reason.
const (
	Allow Decision = "allow"
	Deny  Decision = "deny"  // a policy or a credential stood against it
	Error Decision = "error" // it was malformed, unknown, or refused by the tool's schema before it could run
)

// Event says what a record is about if it is about the log itself and not about a request.
type Event string

// The events.
const (
	EventOpened  Event = "opened"  // a process opened the log; details in Opened
	EventResumed Event = "resumed" // records can be written again; details in Resumed
	EventExpired Event = "expired" // old segments are about to be removed; details in Expired
)

// Record is the evidence of one request, or of an event in the life of the log.
type Record struct {
	Version    int             `json:"v"`
	Seq        uint64          `json:"seq,omitzero"` // position in a Log, from 1; absent in a Stream
	Time       time.Time       `json:"time"`         // when the request came, UTC
	Event      Event           `json:"event,omitzero"`
	Call       string          `json:"call,omitzero"` // the same on every hop of one call
	Principal  string          `json:"principal,omitzero"`
	Server     string          `json:"server,omitzero"`
	Tool       string          `json:"tool,omitzero"`
	Method     string          `json:"method,omitzero"`
	Transport  string          `json:"transport,omitzero"` // stdio, tcp or unix
	Era        string          `json:"era,omitzero"`       // the protocol version that the request named
	Args       json.RawMessage `json:"args,omitzero"`      // a JSON object, or a string of its beginning if ArgsCut
	ArgsCut    bool            `json:"args_cut,omitzero"`
	Decision   Decision        `json:"decision,omitzero"`
	Entry      string          `json:"entry,omitzero"`  // of the policy, that decided
	Reason     string          `json:"reason,omitzero"` // a code, and for faults their text
	DurationUS int64           `json:"duration_us,omitzero"`
	Result     *Result         `json:"result,omitzero"`
	Trace      string          `json:"trace,omitzero"` // W3C traceparent, if the caller sent one
	Opened     *Opened         `json:"opened,omitzero"`
	Resumed    *Resumed        `json:"resumed,omitzero"`
	Expired    *Expired        `json:"expired,omitzero"`
}

// Result says what was answered.
type Result struct {
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"` // of the content, redacted, in hexadecimal
	Cut    bool   `json:"cut,omitzero"`
	Stored bool   `json:"stored,omitzero"` // ReadResult gives the content
}

// Opened says what a process found when it opened a log.
type Opened struct {
	// Covered is the size of the tree that the newest checkpoint has signed; 0 if there is none.
	Covered uint64 `json:"covered"`
	// Uncovered is how many records before this one no checkpoint covered: nothing proves that they are what
	// was written.
	Uncovered uint64 `json:"uncovered"`
	// DroppedBytes is the length of the half line that was dropped: a record that nobody was answered for.
	DroppedBytes int64 `json:"dropped_bytes,omitzero"`
	// Configuration is what the process was started with: SHA-256 in hexadecimal, by name.
	Configuration map[string]string `json:"configuration,omitzero"`
	// MissingResults are records whose stored result a crash took. Nobody was answered for them.
	MissingResults []uint64 `json:"missing_results,omitzero"`
}

// Resumed says that the log could not be written for a while, so that calls failed without a record.
type Resumed struct {
	Refused uint64 `json:"refused"` // records that were lost so
	Reason  string `json:"reason"`  // the first error
}

// Expired says which records are about to be removed because they are old, and from where a verifier goes on.
type Expired struct {
	From       uint64      `json:"from"`       // first record to go
	To         uint64      `json:"to"`         // last record to go
	Checkpoint string      `json:"checkpoint"` // signed note of the tree of To records (C2SP tlog-checkpoint)
	Frontier   []tlog.Hash `json:"frontier"`   // of that tree: its maximal complete subtrees, the largest first
}

// written is when r was ready to be written.
func (r Record) written() time.Time {
	return r.Time.Add(time.Duration(r.DurationUS) * time.Microsecond)
}

// SetArgs keeps args, or their first [MaxArgs] bytes.
func (r *Record) SetArgs(args json.RawMessage) {
	if len(args) <= MaxArgs {
		r.Args = args
		return
	}
	// A cut object is no JSON; as a string it stays readable and valid.
	r.Args, _ = json.Marshal(string(args[:MaxArgs])) // marshalling a string cannot fail
	r.ArgsCut = true
}

// Recorder keeps records. When Record returns, the record is as safe as the recorder makes it; if it fails,
// the request must fail too.
type Recorder interface {
	// Record keeps r. result is the content that the SHA256 of r.Result is of, nil if there is none.
	Record(ctx context.Context, r Record, result []byte) error
}

// The gateway looks at its servers' tools on nobody's behalf.
const (
	gatewayItself = "gateway"
	listTools     = "tools/list"
)

// Stream writes each record as one line to a logger, and no results.
type Stream struct{ Logger *slog.Logger }

// Record writes r. A logger reports no errors, so neither does Record.
func (s Stream) Record(ctx context.Context, r Record, _ []byte) error {
	r.Version = Version
	level := slog.LevelInfo
	if r.Principal == gatewayItself && r.Method == listTools && r.Decision == Allow {
		level = slog.LevelDebug // it looks every few seconds, and would push everything else out of the log
	}
	s.Logger.LogAttrs(ctx, level, "audit", slog.Any("record", r))
	return nil
}

// linePrefix begins every line; the sequence number follows it.
const linePrefix = `{"v":1,`

// body encodes r without its sequence number, which is known only when it is r's turn to be written.
func body(r Record) ([]byte, error) {
	r.Version, r.Seq, r.Time = Version, 0, r.Time.UTC()
	data, err := jsonv2.Marshal(r, jsontext.AllowInvalidUTF8(true)) // it becomes U+FFFD, so that the line reads back
	if err != nil {
		return nil, fmt.Errorf("encoding an audit record: %w", err)
	}
	if longest := len(appendLine(nil, data, 1<<64-1)); longest > MaxLine {
		return nil, fmt.Errorf("encoding an audit record: %d bytes, more than %d", longest, MaxLine)
	}
	return data, nil
}

// appendLine appends a record's line, newline included.
func appendLine(to, body []byte, seq uint64) []byte {
	to = append(to, linePrefix+`"seq":`...)
	to = strconv.AppendUint(to, seq, 10)
	to = append(to, ',')
	to = append(to, body[len(linePrefix):]...)
	return append(to, '\n')
}

// parse reads a line without its newline: unknown, repeated and case-variant members are errors.
func parse(line []byte) (Record, error) {
	var r Record
	if err := jsonv2.Unmarshal(line, &r, jsonv2.RejectUnknownMembers(true)); err != nil {
		return Record{}, err
	}
	if r.Version != Version {
		return Record{}, fmt.Errorf("version %d; this program reads version %d", r.Version, Version)
	}
	return r, nil
}
