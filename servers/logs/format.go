package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
)

// The forms that lines are kept in.
const (
	formatAuto     = "auto"      // told by the first line
	formatPlain    = "plain"     // a line is a message
	formatJSONFile = "json-file" // Docker's: {"log":"message\n","stream":"stdout","time":"RFC 3339"}
	formatCRI      = "cri"       // Kubernetes' on a node: "RFC3339 stdout F message"
	formatPod      = "pod"       // the API server's with timestamps: "RFC3339 message"
)

// formatNames are those that an operator may write.
func formatNames() []string {
	return []string{formatAuto, formatPlain, formatJSONFile, formatCRI}
}

// raw is what one line of a log says. partial says that its message goes on in the next line of the same stream.
type raw struct {
	time    time.Time // zero where the form has none
	stream  string    // stdout, stderr or empty
	text    string
	partial bool
}

// decoder returns what reads the lines of a format. A line that is not of the form is a message as it stands.
func decoder(format string) func(line []byte) raw {
	switch format {
	case formatJSONFile:
		return decodeJSONFile
	case formatCRI:
		return decodeCRI
	case formatPod:
		return decodePod
	}
	return func(line []byte) raw { return raw{text: string(line)} }
}

// sniff tells the format of a log by how it begins.
func sniff(head []byte) string {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	if r := decodeJSONFile(line); !r.time.IsZero() {
		return formatJSONFile
	}
	if r := decodeCRI(line); !r.time.IsZero() {
		return formatCRI
	}
	return formatPlain
}

func decodeJSONFile(line []byte) raw {
	if !bytes.HasPrefix(line, []byte("{")) {
		return raw{text: string(line)}
	}
	var form struct {
		Log    *string   `json:"log"`
		Stream string    `json:"stream"`
		Time   time.Time `json:"time"`
	}
	if json.Unmarshal(line, &form) != nil || form.Log == nil {
		return raw{text: string(line)}
	}
	text, whole := strings.CutSuffix(*form.Log, "\n")
	return raw{time: form.Time, stream: knownStream(form.Stream), text: strings.TrimSuffix(text, "\r"), partial: !whole}
}

func decodeCRI(line []byte) raw {
	stamp, rest, ok := bytes.Cut(line, []byte(" "))
	stream, rest, ok2 := bytes.Cut(rest, []byte(" "))
	tag, text, _ := bytes.Cut(rest, []byte(" "))
	at, err := parseStamp(stamp)
	tag, _, _ = bytes.Cut(tag, []byte(":")) // tags may follow each other
	if !ok || !ok2 || err != nil || knownStream(string(stream)) == "" || string(tag) != "F" && string(tag) != "P" {
		return raw{text: string(line)}
	}
	return raw{time: at, stream: string(stream), text: string(text), partial: string(tag) == "P"}
}

func decodePod(line []byte) raw {
	stamp, text, _ := bytes.Cut(line, []byte(" "))
	at, err := parseStamp(stamp)
	if err != nil {
		return raw{text: string(line)}
	}
	return raw{time: at, text: string(text)}
}

// maxStamp is the longest that a time in RFC 3339 with nanoseconds is.
const maxStamp = len("2006-01-02T15:04:05.000000000+00:00")

func parseStamp(stamp []byte) (time.Time, error) {
	return time.Parse(time.RFC3339Nano, string(stamp[:min(len(stamp), maxStamp+1)]))
}

func knownStream(name string) string {
	if name == "stdout" || name == "stderr" {
		return name
	}
	return ""
}
