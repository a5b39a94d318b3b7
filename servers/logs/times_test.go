package main

import (
	"strings"
	"testing"
	"time"
)

func TestTimes(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	c := clock{zone: berlin, near: time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)}
	for line, want := range map[string]string{
		"2026-01-02T03:04:05Z x":                                           "2026-01-02T03:04:05Z",
		"2026-01-02T03:04:05.123456789+02:00 x":                            "2026-01-02T01:04:05.123456789Z",
		"2026-01-02 03:04:05,678 INFO x":                                   "2026-01-02T02:04:05.678Z",
		"2026/01/02 03:04:05 [error] 7#7: x":                               "2026-01-02T02:04:05Z",
		"[2026-01-02T03:04:05-0530] x":                                     "2026-01-02T08:34:05Z",
		"2026-01-02 03:04:05 +0000 UTC x":                                  "2026-01-02T03:04:05Z",
		"<34>Dec 31 23:59:59 host su: x":                                   "2025-12-31T22:59:59Z",
		"Jan  5 00:00:01 host su: x":                                       "2026-01-04T23:00:01Z",
		"I0102 03:04:05.000006       1 main.go:3] x":                       "2026-01-02T02:04:05.000006Z",
		`10.0.0.1 - - [02/Jan/2026:03:04:05 +0100] "GET / HTTP/1.1" 200`:   "2026-01-02T02:04:05Z",
		`{"level":"info","time":"2026-01-02T03:04:05Z","msg":"x"}`:         "2026-01-02T03:04:05Z",
		`{"level":30,"time":1767323045678,"msg":"x"}`:                      "2026-01-02T03:04:05.678Z",
		`{"level":"info","ts":1767323045.25,"msg":"x"}`:                    "2026-01-02T03:04:05.25Z",
		`time="2026-01-02T03:04:05Z" level=info msg=x`:                     "2026-01-02T03:04:05Z",
		`level=info ts=2026-01-02T03:04:05.5Z msg=x`:                       "2026-01-02T03:04:05.5Z",
		"2026-13-02T03:04:05Z x":                                           "",
		"version 2026-01-02":                                               "",
		"order 12345678901234567890":                                       "",
		"":                                                                 "",
		strings.Repeat("x", timeHead+1) + " 2026-01-02T03:04:05Z":          "",
		"at 1.2.3.4:80, which was asked at 2026-01-02T03:04:05Z and so on": "2026-01-02T03:04:05Z",
	} {
		at, ok := c.read(line)
		got := ""
		if ok {
			got = at.time.UTC().Format(time.RFC3339Nano)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func TestWhen(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]string{
		"2026-01-02T03:04:05+01:00": "2026-01-02T02:04:05Z", "2026-01-02": "2026-01-02T00:00:00Z", "2026-01-02T03:04": "2026-01-02T03:04:00Z",
		"15m": "2026-01-02T02:49:05Z", "7d": "2025-12-26T03:04:05Z", "1h30m": "2026-01-02T01:34:05Z",
	} {
		if got, err := when(text, now); err != nil || got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%q: %v %v", text, got, err)
		}
	}
	for _, text := range []string{"x", "-5m", "5", "99999d", "2026-1-2", "1d2h"} {
		if got, err := when(text, now); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func FuzzTimes(f *testing.F) {
	f.Add("2026-01-02T03:04:05.123+02:00 x")
	f.Add("[02/Jan/2026:03:04:05 +0100]")
	f.Add(`{"ts":1767323045.25}`)
	f.Fuzz(func(t *testing.T, line string) {
		c := clock{zone: time.UTC, near: time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)}
		if at, ok := c.read(line); ok && (at.from < 0 || at.to > len(line) || at.from >= at.to || at.time.IsZero()) {
			t.Errorf("%q: %+v", line, at)
		}
		detectLevel(line)
		fold(line)
	})
}

func TestLevels(t *testing.T) {
	for text, want := range map[string]level{
		`{"level":"error","msg":"x"}`: fault, `{"severity": "WARNING"}`: warn, `{"level":50}`: fault, `{"level":30,"msg":"ERROR of yesterday"}`: info,
		"level=warn msg=x": warn, "lvl=dbug msg=x": unknown, "2026-01-02 03:04:05 ERROR x": fault, "[error] 7#7: x": fault, "<warn> x": warn,
		"I0102 03:04:05.000006 1 main.go:3] x": info, "E0102 03:04:05.000006 1 main.go:3] x": fault, "WARNING: x": warn, "error: x": fault,
		"panic: x": fatal, "Traceback (most recent call last):": fault, "Exception in thread \"main\" x": fault, "no error at all": unknown, "errors=0": unknown,
		"GET /error/500.html": unknown, "DEBUG-mode": unknown, "npm ERR! x": fault, "": unknown, "INFO a previous ERROR was": info, "200 OK": unknown,
	} {
		if got := detectLevel(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	for l := trace; l <= fatal; l++ {
		if parseLevel(l.String()) != l {
			t.Error(l)
		}
	}
}

func TestFold(t *testing.T) {
	for text, want := range map[string]string{
		"request 12 took 3.5 ms":                                     "request # took # ms",
		"user 550e8400-e29b-41d4-a716-446655440000 from 10.0.0.1:80": "user # from #",
		"web-7f9c4d-x2 v1.2.3 at 0xdeadbeef":                         "web-#-x# v# at #",
		"password=[redacted:password]":                               "password=[redacted:password]",
		"first\nsecond 2":                                            "first",
		"grün 7":                                                     "grün #",
	} {
		if got := fold(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := fold(strings.Repeat("ü", maxKey)); len(got) > maxKey+3 {
		t.Errorf("%d bytes", len(got))
	}
}
