// Package audit keeps the record of every request: who asked, for what, what was decided and what was
// answered. A [Stream] writes it as one log line on stderr; a [Log] keeps it on disk, synced.
package audit

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"
)

// Version is the format of a [Record]. A reader refuses a newer one.
const Version = 1

// MaxArgs is the most bytes of arguments that a record keeps.
const MaxArgs = 4 << 10

// Decision says what became of a request.
type Decision string

// The decisions. Allow means that the tool ran or that the method was answered; what the tool answered is in
// Reason.
const (
	Allow Decision = "allow"
	Deny  Decision = "deny"  // a policy or a credential stood against it
	Error Decision = "error" // it was malformed, unknown or failed before a tool could run
)

// Record is the evidence of one request.
type Record struct {
	Version    int             `json:"v"`
	Seq        uint64          `json:"seq,omitempty"` // position in a Log, from 1; absent in a Stream
	Time       time.Time       `json:"time"`          // when the request came, UTC
	Call       string          `json:"call"`          // the same on every hop of one call
	Principal  string          `json:"principal"`
	Server     string          `json:"server"`
	Tool       string          `json:"tool,omitempty"`
	Method     string          `json:"method,omitempty"`
	Transport  string          `json:"transport"`      // stdio, tcp or unix
	Era        string          `json:"era,omitempty"`  // the protocol version that the request named
	Args       json.RawMessage `json:"args,omitempty"` // a JSON object, or a string of its beginning if ArgsCut
	ArgsCut    bool            `json:"args_cut,omitempty"`
	Decision   Decision        `json:"decision"`
	Entry      string          `json:"entry,omitempty"`  // of the policy, that decided
	Reason     string          `json:"reason,omitempty"` // a code, and for faults their text
	DurationUS int64           `json:"duration_us"`
	Result     *Result         `json:"result,omitempty"`
	Trace      string          `json:"trace,omitempty"` // W3C traceparent, if the caller sent one
}

// Result says what was answered without keeping it.
type Result struct {
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"`
	Cut    bool   `json:"cut,omitempty"`
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
	Record(ctx context.Context, r Record) error
}

// Stream writes each record as one line to a logger.
type Stream struct{ Logger *slog.Logger }

// Record writes r. A logger reports no errors, so neither does Record.
func (s Stream) Record(ctx context.Context, r Record) error {
	r.Version = Version
	s.Logger.LogAttrs(ctx, slog.LevelInfo, "audit", slog.Any("record", r))
	return nil
}
