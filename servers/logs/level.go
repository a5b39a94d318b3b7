package main

import (
	"slices"
	"strings"
)

// level is how grave a line says it is.
type level int

// The levels, mildest first. A line that does not say is unknown.
const (
	unknown level = iota
	trace
	debug
	info
	warn
	fault
	fatal
)

func (l level) String() string {
	return [...]string{"unknown", "trace", "debug", "info", "warn", "error", "fatal"}[l]
}

// parseLevel is the inverse of String; what is none is unknown.
func parseLevel(name string) level {
	for l := trace; l <= fatal; l++ {
		if l.String() == name {
			return l
		}
	}
	return unknown
}

// levelWords are how programs spell the levels, in lower case, and what numbers mean (bunyan, pino).
func levelWords(word string) level {
	switch word {
	case "trace", "10", "finest", "finer":
		return trace
	case "debug", "20", "dbg", "fine", "verbose":
		return debug
	case "info", "30", "inf", "information", "informational", "notice", "config":
		return info
	case "warn", "40", "warning", "wrn":
		return warn
	case "error", "50", "err", "severe", "eror":
		return fault
	case "fatal", "60", "critical", "crit", "panic", "alert", "emerg", "emergency", "dpanic", "ftl":
		return fatal
	}
	return unknown
}

// levelFields are what a field with the level is called, in JSON and in logfmt.
func levelFields() []string {
	return []string{`"level":`, `"severity":`, `"lvl":`, `"loglevel":`, `"log.level":`, `"levelname":`, "level=", "severity=", "lvl=", "loglevel="}
}

// fieldsIn are those of levelFields that a line could have: most have none.
func fieldsIn(line string) []string {
	if strings.IndexByte(line, '=') < 0 && !strings.Contains(line, `":`) {
		return nil
	}
	return levelFields()
}

// levelHead is how far into a line its level is looked for, in bytes.
const levelHead = 192

// detectLevel reads the level of a message.
func detectLevel(text string) level {
	line, _, _ := strings.Cut(text[:min(len(text), timeFields)], "\n")
	for _, name := range fieldsIn(line) {
		if _, value, ok := strings.Cut(line, name); ok {
			value = strings.TrimLeft(value, ` "`)
			if l := levelWords(strings.ToLower(value[:wordEnd(value)])); l != unknown {
				return l
			}
		}
	}
	if len(line) > 6 && line[5] == ' ' && number(line[1:5]) > 0 { // klog
		if i := strings.IndexByte("IWEF", line[0]); i >= 0 {
			return [...]level{info, warn, fault, fatal}[i]
		}
	}
	for _, opening := range []struct {
		text  string
		level level
	}{{"panic: ", fatal}, {"fatal error: ", fatal}, {pythonHead, fault}, {javaHead, fault}, {"Uncaught ", fault}} {
		if strings.HasPrefix(line, opening.text) {
			return opening.level
		}
	}
	return levelInWords(line[:min(len(line), levelHead)])
}

// levelInWords finds the first word that is a level: in capitals, in brackets, or before a colon.
func levelInWords(line string) level {
	for i := 0; i < len(line); {
		n := wordEnd(line[i:])
		if n == 0 {
			i++
			continue
		}
		word := line[i : i+n]
		l := unknown
		if n > 2 && n < 14 && number(word) < 0 {
			l = levelWords(strings.ToLower(word))
		}
		bracketed := i > 0 && strings.IndexByte("[(<|", line[i-1]) >= 0 && i+n < len(line) && strings.IndexByte("])>|", line[i+n]) >= 0
		before := i+n < len(line) && line[i+n] == ':'
		if l != unknown && (bracketed || before || word == strings.ToUpper(word) && alone(line, i, i+n)) {
			return l
		}
		i += n
	}
	return unknown
}

// alone says that what stands between from and to is no part of a longer name.
func alone(line string, from, to int) bool {
	joined := []byte("_-./")
	return (from == 0 || !slices.Contains(joined, line[from-1])) && (to == len(line) || !slices.Contains(joined, line[to]))
}

func wordEnd(s string) int {
	n := 0
	for n < len(s) && isWord(s[n]) {
		n++
	}
	return n
}
