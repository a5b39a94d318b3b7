package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const newDigest = "sha256:" + "ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12ab12"

// What each kind of file names, and the line that moves it to another tag at a digest.
func TestExtract(t *testing.T) {
	for name, tc := range map[string]struct {
		file, text string
		want       []string // LINE:COLUMN FIELD IMAGE -> changed line; or ! and why the image is not known
	}{
		"plain Dockerfile": {"Dockerfile", "FROM nginx:1.25\nRUN x\n", []string{
			"1:6 FROM nginx:1.25 -> FROM nginx:1.27@" + newDigest}},
		"stages, platforms, mounts": {"build/api.dockerfile", "FROM --platform=$BUILDPLATFORM golang:1.25 AS build\nRUN --mount=type=bind,from=tools:1.25,target=/t --mount=type=cache,target=/c x\nFROM build\nFROM scratch\nCOPY --from=0 /a /b\nCOPY --from=build /a /b\nCOPY --chown=1 --from=busy:1.25 /a /b\n", []string{
			"1:32 FROM golang:1.25 -> FROM --platform=$BUILDPLATFORM golang:1.27@" + newDigest + " AS build",
			"2:28 RUN --mount tools:1.25 -> RUN --mount=type=bind,from=tools:1.27@" + newDigest + ",target=/t --mount=type=cache,target=/c x",
			"7:23 COPY --from busy:1.25 -> COPY --chown=1 --from=busy:1.27@" + newDigest + " /a /b"}},
		"arguments": {"Dockerfile", "ARG TAG=1.25\nARG IMAGE=\"nginx:1.25\"\nARG NONE\nFROM nginx:$TAG\nFROM ${IMAGE}\nFROM a:${NONE}\nFROM b:${OTHER:-1.25}\nFROM c:${TAG:+x}\nARG TAG=9\nFROM d:1.25-${TAG}\n", []string{
			"4:6 FROM nginx:1.25 -> ARG TAG=1.27@" + newDigest,
			"5:6 FROM nginx:1.25 -> ARG IMAGE=\"nginx:1.27@" + newDigest + "\"",
			"6:6 FROM ! the value of NONE is not in the file",
			"7:6 FROM b:1.25 -> FROM b:${OTHER:-1.27@" + newDigest + "}",
			"8:6 FROM ! it is an expression that only the program knows that reads it",
			"10:6 FROM d:1.25-1.25 -> "}},
		"continued lines, comments, here-documents": {"Dockerfile", "# escape=`\n# a comment\nRUN <<EOF\nFROM no:1\nEOF\nFROM `\n# in between\n  nginx:1.25\r\n", []string{
			"8:3 FROM nginx:1.25 ->   nginx:1.27@" + newDigest}},
		"syntax directive": {"Dockerfile", "# syntax=docker/dockerfile:1.25\nFROM scratch\n", []string{
			"1:10 syntax docker/dockerfile:1.25 -> # syntax=docker/dockerfile:1.27@" + newDigest}},
		"compose": {"compose.yaml", "services:\n  web:\n    image: \"nginx:1.25\" # here\n    build: .\n  db:\n    image: postgres:${V:-1.25}\n  env:\n    image: a:${MISSING}\n    environment: {image: nothing}\nx-image: no\n", []string{
			"3:13 services.web.image nginx:1.25 ->     image: \"nginx:1.27@" + newDigest + "\" # here",
			"6:12 services.db.image postgres:1.25 ->     image: postgres:${V:-1.27@" + newDigest + "}",
			"8:12 services.env.image ! the value of MISSING is not in the file"}},
		"Kubernetes": {"pod.yaml", "apiVersion: v1\nkind: Pod\nspec:\n  initContainers:\n  - image: 'busybox:1.25'\n  containers:\n  - {name: a, image: nginx:1.25}\n  volumes:\n  - image: {reference: data:1.25}\n---\nkind: List\nitems:\n- spec: {template: {spec: {containers: [{image: x:1.25}]}}}\n", []string{
			"5:13 spec.initContainers[0].image busybox:1.25 ->   - image: 'busybox:1.27@" + newDigest + "'",
			"7:22 spec.containers[0].image nginx:1.25 ->   - {name: a, image: nginx:1.27@" + newDigest + "}",
			"9:24 spec.volumes[0].image.reference data:1.25 ->   - image: {reference: data:1.27@" + newDigest + "}",
			"13:49 items[0].spec.template.spec.containers[0].image x:1.25 -> - spec: {template: {spec: {containers: [{image: x:1.27@" + newDigest + "}]}}}"}},
		"Helm values": {"values.yaml", "image:\n  registry: ghcr.io\n  repository: acme/api\n  tag: \"1.25\"\nsidecar:\n  image: nginx:1.25\ninit:\n  repository: acme/init\n  tag: 1.25\nsource:\n  repository: https://charts.example\n  tag: x\nproxy:\n  image:\n    repository: acme/proxy\n    tag: 1.25\n    digest: sha256:" + strings.Repeat("0", 64) + "\n", []string{
			"4:8 image ghcr.io/acme/api:1.25 ->   tag: \"1.27@" + newDigest + "\"",
			"6:10 sidecar.image nginx:1.25 ->   image: nginx:1.27@" + newDigest,
			"9:8 init acme/init:1.25 ->   tag: 1.27@" + newDigest,
			"16:10 proxy.image acme/proxy:1.25@sha256:" + strings.Repeat("0", 64) + " ->     tag: 1.27 |     digest: " + newDigest}},
		"workflow": {".github/workflows/ci.yml", "on: push\njobs:\n  test:\n    container: node:1.25\n    services:\n      db: {image: postgres:1.25}\n    steps:\n    - uses: docker://alpine:1.25\n    - uses: actions/checkout@v4\n    - run: image\n      with: {image: no:1}\n  other:\n    container:\n      image: ${{ matrix.image }}\n", []string{
			"4:16 jobs.test.container node:1.25 ->     container: node:1.27@" + newDigest,
			"6:19 jobs.test.services.db.image postgres:1.25 ->       db: {image: postgres:1.27@" + newDigest + "}",
			"8:22 jobs.test.steps[0].uses alpine:1.25 ->     - uses: docker://alpine:1.27@" + newDigest,
			"14:14 jobs.other.container.image ! it is an expression that only the program knows that reads it"}},
		"anchors": {"compose.yml", "x: &i nginx:1.25\nservices:\n  a: {image: *i}\n  b:\n    image: &j redis:1.25\n", []string{
			"1:7 services.a.image nginx:1.25 -> x: &i nginx:1.27@" + newDigest,
			"5:15 services.b.image redis:1.25 ->     image: &j redis:1.27@" + newDigest}},
	} {
		t.Run(name, func(t *testing.T) {
			found, _ := extract(tc.file, tc.text, sourceAuto)
			if len(found.problems) > 0 {
				t.Errorf("problems %v", found.problems)
			}
			lines := newDocument(tc.file, tc.text).lines
			var got []string
			for _, m := range found.mentions {
				if m.hidden != "" {
					got = append(got, fmt.Sprintf("%d:%d %s ! %s", m.line, m.column, m.field, m.hidden))
					continue
				}
				old, _, _ := strings.Cut(m.text(), ":1.25")
				var changed []string
				for _, c := range m.rewrite(lines, old+":1.27@"+newDigest) {
					changed = append(changed, c.New)
				}
				got = append(got, fmt.Sprintf("%d:%d %s %s -> %s", m.line, m.column, m.field, m.text(), strings.Join(changed, " | ")))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSniff(t *testing.T) {
	for text, want := range map[string]source{
		"# x\nFROM a\n": sourceDockerfile, "apiVersion: v1\nkind: Pod\n": sourceKubernetes, "services:\n  a: {}\n": sourceCompose,
		"name: x\non: push\njobs: {}\n": sourceWorkflow, "image: {repository: a, tag: b}\n": sourceHelm, `{"apiVersion":"v1","kind":"Pod"}`: sourceKubernetes,
	} {
		if got := sniff("", text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestUnreadable(t *testing.T) {
	for text, want := range map[string]string{
		"kind: Secret\napiVersion: v1\ndata: {a: hunter2\n": "no YAML",
		"{{ if .x }}\nimage: a\n{{ end }}\n":                "no YAML",
	} {
		found, _ := extract("a.yaml", text, sourceKubernetes)
		if len(found.problems) != 1 || !strings.Contains(found.problems[0].text, want) || strings.Contains(found.problems[0].Error(), "hunter2") {
			t.Errorf("%q: %v", text, found.problems)
		}
	}
}

// Arguments that are made of each other do not grow without end.
func TestArgumentsThatGrow(t *testing.T) {
	text := "ARG A0=" + strings.Repeat("x", 100) + "\n"
	for i := range 40 {
		text += fmt.Sprintf("ARG A%d=%s\n", i+1, strings.Repeat(fmt.Sprintf("$A%d", i), 20))
	}
	found, _ := extract("Dockerfile", text+"FROM $A40\nFROM "+strings.Repeat("$A0", 100_000)+"\n", sourceAuto)
	if len(found.mentions) != 2 || found.mentions[0].hidden == "" || !strings.Contains(found.mentions[1].hidden, "longer") {
		t.Errorf("%d mentions", len(found.mentions))
	}
}

func FuzzDockerfile(f *testing.F) {
	f.Add("# syntax=a\nARG A=b\nFROM x:${A:-c} AS d\nCOPY --from=d\nRUN <<E\nE\n")
	f.Fuzz(func(t *testing.T, text string) { fuzzText(t, text, sourceDockerfile) })
}

func FuzzYAML(f *testing.F) {
	f.Add("image: {repository: a, tag: b, digest: c}\n---\nservices: {a: {image: &x \"y:1\"}}\n", 1)
	f.Add("apiVersion: v1\nimage: *x\n", 2)
	f.Fuzz(func(t *testing.T, text string, kind int) {
		kinds := []source{sourceCompose, sourceKubernetes, sourceHelm, sourceWorkflow}
		fuzzText(t, text, kinds[uint(kind)%uint(len(kinds))])
	})
}

// fuzzText: a change is of a line that is there, and writing it makes the file name the new image there.
func fuzzText(t *testing.T, text string, kind source) {
	text = strings.ToValidUTF8(text, "?")
	found, _ := extract("f", text, kind)
	lines := newDocument("f", text).lines
	for _, m := range found.mentions {
		if m.line < 0 || m.line > len(lines) || m.column < 0 {
			t.Fatalf("%d:%d is no place", m.line, m.column)
		}
		image := "example.com/a/b:1@" + newDigest
		for _, c := range m.rewrite(lines, image) {
			if lines[c.Line-1] != c.Old {
				t.Fatalf("line %d is %q and not %q", c.Line, lines[c.Line-1], c.Old)
			}
			if c.New == c.Old && m.text() != image {
				t.Fatalf("the change of %q changes nothing", c.Old)
			}
		}
	}
}
