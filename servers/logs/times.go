package main

import (
	"strconv"
	"strings"
	"time"
)

// How far into a line its time is looked for.
const (
	timeHead   = 48      // bytes, where it stands bare: after a bracket, a priority, a process
	timeFields = 1 << 10 // bytes, where a field is called so
	timeAccess = 256     // bytes, in brackets, as web servers write it
)

// clock reads the times of lines that leave something out.
type clock struct {
	zone *time.Location
	near time.Time // when the file was last written: what tells the year where none is written
}

// stamp is a time and where it stands in a line.
type stamp struct {
	time     time.Time
	from, to int
}

// timeNames are what fields with a time are called, in JSON and in logfmt.
func timeNames() []string {
	return []string{`"time":"`, `"timestamp":"`, `"@timestamp":"`, `"ts":"`, `"t":"`, `"date":"`, `time="`, `ts="`, `time=`, `ts=`, `timestamp=`}
}

// numberNames are those whose values are seconds, milli-, micro- or nanoseconds since 1970.
func numberNames() []string {
	return []string{`"ts":`, `"time":`, `"timestamp":`, `"t":`, `ts=`, `time=`}
}

// read returns the time that a line says it is of.
func (c clock) read(line string) (stamp, bool) {
	line = line[:min(len(line), timeFields)]
	head := min(len(line), timeHead)
	for i := range head {
		if i > 0 && isWord(line[i-1]) && line[i-1] != 'T' || !isWord(line[i]) {
			continue
		}
		for _, shape := range []func(string) (time.Time, int){c.iso, c.syslog, c.klog} {
			if at, n := shape(line[i:]); n > 0 {
				return stamp{at, i, i + n}, true
			}
		}
	}
	for i := 0; i < min(len(line), timeAccess); i++ {
		if line[i] != '[' {
			continue
		}
		if at, err := time.Parse("02/Jan/2006:15:04:05 -0700", between(line[i+1:], "]")); err == nil {
			return stamp{at, i + 1, i + 1 + len("02/Jan/2006:15:04:05 -0700")}, true
		}
	}
	for _, name := range timeNames() {
		if i := strings.Index(line, name); i >= 0 {
			i += len(name)
			if at, n := c.iso(line[i:]); n > 0 {
				return stamp{at, i, i + n}, true
			}
		}
	}
	for _, name := range numberNames() {
		if i := strings.Index(line, name); i >= 0 {
			i += len(name)
			if at, n := epoch(line[i:]); n > 0 {
				return stamp{at, i, i + n}, true
			}
		}
	}
	return stamp{}, false
}

// isWord says whether c is a letter or digit.
func isWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// between returns what stands before end, or nothing.
func between(s, end string) string {
	before, _, ok := strings.Cut(s[:min(len(s), timeHead)], end)
	if !ok {
		return ""
	}
	return before
}

// iso reads YYYY-MM-DD or YYYY/MM/DD, a T or a blank, and a time of day, with or without a fraction and a zone
// (RFC 3339, ISO 8601, Java, Python, Go).
func (c clock) iso(s string) (time.Time, int) {
	const size = len("2006-01-02 15:04:05")
	if len(s) < size || s[4] != '-' && s[4] != '/' || s[7] != s[4] || s[10] != 'T' && s[10] != ' ' || s[13] != ':' || s[16] != ':' {
		return time.Time{}, 0
	}
	year, month, day := number(s[:4]), number(s[5:7]), number(s[8:10])
	hour, minute, second := number(s[11:13]), number(s[14:16]), number(s[17:19])
	if year < 0 || month < 1 || month > 12 || day < 1 || day > 31 || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60 {
		return time.Time{}, 0
	}
	n := size
	nanos := 0
	if n+1 < len(s) && (s[n] == '.' || s[n] == ',') {
		nanos, n = fraction(s, n+1)
	}
	zone, n := c.offset(s, n)
	return time.Date(year, time.Month(month), day, hour, minute, second, nanos, zone), n
}

// fraction reads digits at from as a part of a second.
func fraction(s string, from int) (nanos, to int) {
	to = from
	for scale := int(time.Second) / 10; to < len(s) && s[to] >= '0' && s[to] <= '9'; to++ {
		nanos += int(s[to]-'0') * scale
		scale /= 10
	}
	return nanos, to
}

// offset reads a zone that stands at n, with or without a blank before it.
func (c clock) offset(s string, n int) (*time.Location, int) {
	at := n
	if at+1 < len(s) && s[at] == ' ' && (s[at+1] == '+' || s[at+1] == '-') {
		at++
	}
	switch {
	case at >= len(s):
	case s[at] == 'Z':
		return time.UTC, at + 1
	case s[at] == '+' || s[at] == '-':
		digits := strings.Replace(s[at+1:min(len(s), at+6)], ":", "", 1)
		size := len("+0000")
		if len(digits) == 5 {
			digits = digits[:4]
		} else {
			size++
		}
		if hours, minutes := number(pad(digits)[:2]), number(pad(digits)[2:4]); hours >= 0 && hours < 24 && minutes >= 0 && minutes < 60 {
			seconds := hours*3600 + minutes*60
			if s[at] == '-' {
				seconds = -seconds
			}
			return time.FixedZone("", seconds), at + size
		}
	}
	return c.zone, n
}

// pad makes a text that is too short one that is no number.
func pad(digits string) string { return digits + "xxxx" }

// syslog reads "Jan  2 15:04:05" (RFC 3164), which has no year.
func (c clock) syslog(s string) (time.Time, int) {
	const layout = "Jan _2 15:04:05"
	if len(s) < len(layout) || s[0] < 'A' || s[0] > 'Z' || s[3] != ' ' || s[9] != ':' {
		return time.Time{}, 0
	}
	at, err := time.ParseInLocation(layout, s[:len(layout)], c.zone)
	if err != nil {
		return time.Time{}, 0
	}
	return c.dated(at), len(layout)
}

// klog reads "I0102 15:04:05.000000", which has no year either.
func (c clock) klog(s string) (time.Time, int) {
	const layout = "0102 15:04:05.000000"
	if len(s) < 1+len(layout) || strings.IndexByte("IWEF", s[0]) < 0 || s[5] != ' ' {
		return time.Time{}, 0
	}
	at, err := time.ParseInLocation(layout, s[1:1+len(layout)], c.zone)
	if err != nil {
		return time.Time{}, 0
	}
	return c.dated(at), 1 + len(layout)
}

// dated gives a time without a year the last one in which it is not after the file's.
func (c clock) dated(at time.Time) time.Time {
	const slack = 24 * time.Hour
	near := c.near.In(at.Location())
	dated := time.Date(near.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), at.Location())
	if dated.After(near.Add(slack)) {
		dated = dated.AddDate(-1, 0, 0)
	}
	return dated
}

// epoch reads seconds, with or without a fraction, milli-, micro- or nanoseconds since 1970; what is before 2001 is none.
func epoch(s string) (time.Time, int) {
	n := 0
	for n < len(s) && n < 20 && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	whole, err := strconv.ParseInt(s[:n], 10, 64)
	if err != nil {
		return time.Time{}, 0
	}
	switch n {
	case 10:
		nanos, to := 0, n
		if n+1 < len(s) && s[n] == '.' {
			nanos, to = fraction(s, n+1)
		}
		return time.Unix(whole, int64(nanos)).UTC(), to
	case 13:
		return time.UnixMilli(whole).UTC(), n
	case 16:
		return time.UnixMicro(whole).UTC(), n
	case 19:
		return time.Unix(0, whole).UTC(), n
	}
	return time.Time{}, 0
}

// number reads a few digits; -1 is none.
func number(s string) int {
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return -1
		}
		n = n*10 + int(s[i]-'0')
	}
	return n
}
