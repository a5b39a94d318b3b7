package main

import (
	"regexp"
	"strings"
)

// language is what wrote a stack trace.
type language string

// The languages whose traces are known. The empty one is no trace.
const (
	golang language = "go"
	java   language = "java"
	python language = "python"
	node   language = "node"
)

// How traces and the parts of them begin.
const (
	pythonHead    = "Traceback (most recent call last):"
	pythonDuring  = "During handling of the above exception"
	pythonCause   = "The above exception was the direct cause"
	javaHead      = "Exception in thread "
	javaCause     = "Caused by: "
	javaAlso      = "Suppressed: "
	goPanic       = "panic: "
	goFatal       = "fatal error: "
	goRoutine     = "goroutine "
	goCreated     = "created by "
	goSignal      = "[signal "
	goExit        = "exit status "
	goStack       = "runtime stack:"
	goElided      = "...additional frames elided..."
	framePrefix   = "at "
	maxJoinedLine = 2 << 10 // bytes of a line by which it is told whether it belongs to a trace
)

// javaException is a line that begins with the name of a class that is thrown.
var javaException = regexp.MustCompile(`^(?:[a-z_][\w$]*\.)+[A-Z][\w$]*(?:Exception|Error|Throwable)(?::|$)`)

// joiner tells which lines belong to the trace that the lines before them began. It sees them in their order.
type joiner struct {
	language language
	ended    bool // python: the line that names the exception was seen
	grave    bool // the entry says that it is an error
	timed    bool // the entry has a time of its own in its text
}

// continues says whether line, of this level and with a time of its own or not, goes on with the entry before it. If not, it
// begins the next one.
func (j *joiner) continues(line string, l level, timed bool) bool {
	line = line[:min(len(line), maxJoinedLine)]
	if j.goesOn(line, timed) {
		return true
	}
	*j = joiner{language: begins(line), grave: l >= fault, timed: timed}
	return false
}

// begins says whose trace a line begins, if it can be told so early.
func begins(line string) language {
	switch {
	case strings.HasSuffix(line, pythonHead):
		return python
	case strings.HasPrefix(line, goRoutine) && strings.HasSuffix(line, ":") || strings.Contains(line, goFatal) || strings.HasPrefix(line, goPanic) || strings.Contains(line, " "+goPanic):
		return golang
	case strings.HasPrefix(line, javaHead):
		return java
	}
	return ""
}

func (j *joiner) goesOn(line string, timed bool) bool {
	indented := strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")
	bare := strings.TrimLeft(line, " \t")
	switch j.language {
	case python:
		return j.pythonGoesOn(line, indented, timed)
	case golang:
		return line == "" || strings.HasPrefix(line, "\t") || goCall(line) || hasAny(line, goRoutine, goPanic, goCreated, goSignal, goExit, goStack, goElided)
	case java, node:
		if indented && (hasAny(bare, framePrefix, "... ", javaAlso) || j.language == node) || hasAny(line, javaCause) {
			return true
		}
		return j.language == node && line == "}"
	}
	switch {
	case indented && strings.HasPrefix(bare, framePrefix):
		j.language = java
		if !strings.HasPrefix(line, "\t") {
			j.language = node
		}
		return true
	case strings.HasPrefix(line, javaCause), j.timed && javaException.MatchString(line) && !timed:
		j.language = java
		return true
	case j.grave && line == pythonHead:
		j.language = python
		return true
	}
	return false
}

// pythonGoesOn: frames are indented, then one line names the exception; another trace may follow that says so.
func (j *joiner) pythonGoesOn(line string, indented, timed bool) bool {
	switch {
	case indented || hasAny(line, pythonDuring, pythonCause):
		return true
	case line == pythonHead:
		j.ended = false
		return true
	case line == "":
		return true
	case !j.ended && !timed:
		j.ended = true
		return true
	}
	return false
}

// goCall says whether line is the call of a frame: a name, and arguments.
func goCall(line string) bool {
	open := strings.IndexByte(line, '(')
	return open > 0 && strings.HasSuffix(line, ")") && !strings.ContainsAny(line[:open], " \t:=") && (strings.Contains(line[:open], ".") || line[:open] == "panic")
}

func hasAny(s string, prefixes ...string) bool {
	for _, prefix := range prefixes {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	return false
}
