package main

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// tag is a tag's name, taken apart. Tags follow no grammar that anybody agreed on; this one holds for what the well-known
// images publish. Two tags name "the same thing in another version" when their shapes are equal.
type tag struct {
	text    string
	shape   string   // all but the numbers of version, prerelease, build and distribution release
	scheme  scheme   // how the version counts
	version []string // decimal numbers as they are written; empty where there is none
	pre     *stage   // nil for a release
	build   []string // numbers that count builds of one version: 3 in 1.2-r3, 12 in 21.0.1_12
	dist    *release // of the distribution that the tag names; nil if none, or without a release
	commit  bool     // it names a commit: a build of some moment, in no order with others
	words   []string // of the variant, in order: slim, fpm, jdk17
	fixed   bool     // it names one build: a date, or digits enough that publishers do not move it
}

// scheme says how a version counts.
type scheme int

const (
	counted  scheme = iota // 1.2.3
	calendar               // 2024.01.15, 20240115, 22.04
	either                 // 20.10 may be both
)

// stage is how far a prerelease is. A tag without one is a release, which is above all of them.
type stage struct {
	rank   int    // by its kind
	kind   string // as it is written, in lower case
	number string // may be empty
}

var (
	numberForm  = regexp.MustCompile(`^[0-9]+$`)
	versionForm = regexp.MustCompile(`^(v|V|r|release|version|ver)?\.?([0-9]+(?:\.[0-9]+)*)(.*)$`)
	javaForm    = regexp.MustCompile(`^([0-9]+)u([0-9]+)$`) // 8u392
	isoDate     = regexp.MustCompile(`(?:^|[._-])((?:19|20)[0-9]{2})-([01][0-9])-([0-3][0-9])(?:T([0-2][0-9])-([0-5][0-9])-([0-5][0-9])Z)?(?:$|[._-])`)
	hexForm     = regexp.MustCompile(`^(?:g|sha)?[0-9a-f]{7,64}$`)
	stageForm   = regexp.MustCompile(`^\.?([a-z]+)[.]?([0-9]+(?:\.[0-9]+)*)?$`)
	buildForm   = regexp.MustCompile(`^(r|b|ls|build|p|cu|rev|u|gdr|k3s|rke2r)\.?([0-9]+)$`)
)

// nightly is the rank of what moves every night. It is below everything that was given a number.
const nightly = 1

// stages orders the kinds of prerelease.
func stages() map[string]int {
	return map[string]int{
		"nightly": nightly, "snapshot": nightly, "dev": nightly, "devel": nightly, "develop": nightly, "daily": nightly, "canary": nightly,
		"edge": nightly, "unstable": nightly, "experimental": nightly, "next": nightly, "insiders": nightly, "testing": nightly, "test": nightly,
		"master": nightly, "main": nightly, "trunk": nightly, "head": nightly, "ci": nightly, "git": nightly,
		"alpha": 2, "a": 2,
		"ea": 3, "preview": 3, "pre": 3, "prerelease": 3, "m": 3, "milestone": 3,
		"beta": 4, "b": 4,
		"rc": 5, "cr": 5, "c": 5,
	}
}

// architectures are those that publishers put into tags.
func architectures() []string {
	return []string{
		"amd64", "x86_64", "x64", "x86", "i386", "386", "arm64", "arm64v8", "aarch64", "arm", "arm32v5", "arm32v6", "arm32v7", "armv5", "armv6",
		"armv7", "armv7l", "armhf", "armel", "ppc64le", "s390x", "riscv64", "mips64le", "loong64", "windows", "linux",
	}
}

// dateShape stands for a date in a shape.
const dateShape = "<date>"

// maxTag is the length of a tag (distribution specification, "pulling manifests").
const maxTag = 128

// vocabulary is what the parser knows of words.
type vocabulary struct {
	stages        map[string]int
	architectures map[string]bool
	codenames     map[string]release
	families      map[string][2]string
}

func newVocabulary() vocabulary {
	v := vocabulary{stages: stages(), architectures: map[string]bool{}, codenames: codenames(), families: families()}
	for _, name := range architectures() {
		v.architectures[name] = true
	}
	return v
}

// parse takes a tag apart. It never fails: what is no version is a word.
func (v vocabulary) parse(text string) tag {
	p := tagParser{tag: tag{text: text}, vocabulary: v}
	if len(text) > maxTag {
		p.tag.shape = text
		return p.tag
	}
	rest := strings.ReplaceAll(text, "x86_64", "x86~64") // the one word with a separator in it
	if at := isoDate.FindStringSubmatchIndex(rest); at != nil {
		// RELEASE.2024-01-13T07-53-03Z
		for group := 1; group <= 6; group++ {
			if at[2*group] >= 0 {
				p.tag.version = append(p.tag.version, rest[at[2*group]:at[2*group+1]])
			}
		}
		p.tag.scheme, p.tag.fixed = calendar, true
		end := at[7]
		if at[13] >= 0 {
			end = at[13] + len("Z")
		}
		p.segments(rest[:at[2]])
		p.shape.WriteString(dateShape)
		p.segments(rest[end:])
	} else {
		p.segments(rest)
	}
	p.tag.shape = strings.ReplaceAll(p.shape.String(), "x86~64", "x86_64")
	p.finish()
	return p.tag
}

func (v vocabulary) parseAll(texts []string) []tag {
	all := make([]tag, len(texts))
	for i, text := range texts {
		all[i] = v.parse(text)
	}
	return all
}

type tagParser struct {
	vocabulary
	tag   tag
	shape strings.Builder
	after after // what the last segment was
}

// after is what a segment stands behind, which decides what a bare number means.
type after int

const (
	afterNothing after = iota
	afterVersion
	afterStage
	afterDistribution
	afterOther
)

// segments reads what stands between hyphens and underscores.
func (p *tagParser) segments(text string) {
	for text != "" {
		separator := ""
		if strings.ContainsRune("-_", rune(text[0])) {
			separator, text = text[:1], text[1:]
		}
		segment := text
		if i := strings.IndexAny(text, "-_"); i >= 0 {
			segment = text[:i]
		}
		text = text[len(segment):]
		p.shape.WriteString(separator)
		p.segment(segment)
	}
}

// segment reads one.
func (p *tagParser) segment(segment string) {
	lower := strings.ToLower(segment)
	switch {
	case segment == "":
	case p.after == afterDistribution && p.tag.dist == nil && p.releaseOf(segment): // debian-11, ubuntu-22.04
	case p.number(segment):
	case isCommit(lower):
		p.tag.commit, p.tag.fixed = true, true
		p.put("<commit>", afterOther)
	case p.architectures[strings.ReplaceAll(lower, "~", "_")]:
		p.put(lower, p.after) // it says nothing of what follows
	case p.distribution(lower):
	case len(p.tag.version) == 0 && p.mainVersion(segment):
	case p.stage(lower):
	case p.buildNumber(lower):
	default:
		p.tag.words = append(p.tag.words, lower)
		p.put(lower, afterOther)
	}
}

func (p *tagParser) put(shape string, now after) {
	p.shape.WriteString(shape)
	p.after = now
}

// number reads a segment of digits alone: a version, a build of it, or a part of the word before.
func (p *tagParser) number(segment string) bool {
	if !numberForm.MatchString(segment) {
		return false
	}
	switch {
	case p.after == afterStage && p.tag.pre != nil && p.tag.pre.number == "": // rc-1
		p.tag.pre.number = segment
		p.trim()
		p.after = afterOther
	case len(p.tag.version) == 0 && p.after != afterOther || len(p.tag.version) == 0 && len(segment) >= dateDigits:
		p.tag.version = []string{segment}
		p.put("<v>", afterVersion)
	case p.after == afterVersion || len(segment) >= dateDigits: // 1.2.3-1, 21.0.1_12, 1.2.3-slim-20240115
		p.tag.build = append(p.tag.build, segment)
		if splitDate(segment) != nil {
			p.put(dateShape, afterVersion)
		} else {
			p.put("<build>", afterVersion)
		}
	case len(p.tag.version) == 0 && !slices.Contains(proposals(), p.tag.words[len(p.tag.words)-1]): // openjdk-17
		p.tag.version = []string{segment}
		p.put("<v>", afterVersion)
	default: // 3.9-eclipse-temurin-21
		p.tag.words = append(p.tag.words, segment)
		p.put(segment, afterOther)
	}
	return true
}

// proposals are words whose number is a name: pr-130 is no later version of pr-12.
func proposals() []string { return []string{"pr", "mr", "pull", "issue", "ticket", "merge", "request"} }

// The digits of dates and moments: 20240115, 202401151230, 20240115123000, and seconds since 1970.
const (
	dateDigits   = 8
	unixDigits   = 10
	minuteDigits = 12
	secondDigits = 14
)

// isCommit says whether a segment names a commit. Digits alone may be one too, but then nobody can tell.
func isCommit(segment string) bool {
	return segment == "sha" || hexForm.MatchString(segment) && strings.ContainsAny(segment, "abcdef") && strings.ContainsAny(segment, "0123456789")
}

// mainVersion reads the segment that holds the version: v1.2.3, 3.13.0rc1, 8u392.
func (p *tagParser) mainVersion(segment string) bool {
	if m := javaForm.FindStringSubmatch(segment); m != nil {
		p.tag.version = m[1:3]
		p.put("<v>u<v>", afterVersion)
		return true
	}
	m := versionForm.FindStringSubmatch(segment)
	if m == nil {
		return false
	}
	prefix, numbers, rest := m[1], m[2], strings.ToLower(m[3])
	var pre *stage
	var build string
	if rest != "" {
		switch s := stageForm.FindStringSubmatch(rest); {
		case s != nil && p.stages[s[1]] > 0:
			pre = &stage{rank: p.stages[s[1]], kind: s[1], number: s[2]}
		case buildForm.MatchString(strings.TrimPrefix(rest, ".")):
			b := buildForm.FindStringSubmatch(strings.TrimPrefix(rest, "."))
			rest, build = rest[:len(rest)-len(b[2])], b[2]
		case strings.HasPrefix(rest, "."): // 4.8.3.final
		default:
			return false // 2xlarge, 3d
		}
	}
	p.tag.version = strings.Split(numbers, ".")
	p.shape.WriteString(prefix)
	p.shape.WriteString("<v>")
	switch {
	case pre != nil:
		p.tag.pre = pre
		p.after = afterStage
	case build != "":
		p.tag.build = append(p.tag.build, build)
		p.put(rest+"<build>", afterVersion)
	default:
		p.put(rest, afterVersion)
	}
	return true
}

// stage reads a word that says that this is no release yet.
func (p *tagParser) stage(segment string) bool {
	s := stageForm.FindStringSubmatch(segment)
	if s == nil || p.stages[s[1]] == 0 || len(s[1]) == 1 && s[1] != "m" || p.tag.pre != nil {
		return false
	}
	p.tag.pre = &stage{rank: p.stages[s[1]], kind: s[1], number: s[2]}
	p.after = afterStage
	p.trim()
	return true
}

// trim takes the last separator out of the shape: 1.0-rc1 becomes 1.0.
func (p *tagParser) trim() {
	shape := strings.TrimRight(p.shape.String(), "-_")
	p.shape.Reset()
	p.shape.WriteString(shape)
}

func (p *tagParser) buildNumber(segment string) bool {
	b := buildForm.FindStringSubmatch(segment)
	if b == nil || len(p.tag.version) == 0 {
		return false
	}
	p.tag.build = append(p.tag.build, b[2])
	p.put(b[1]+"<build>", afterOther)
	return true
}

// finish decides how the version counts.
func (p *tagParser) finish() {
	t := &p.tag
	if t.scheme == calendar || len(t.version) == 0 {
		return
	}
	if date := splitDate(t.version[0]); date != nil && len(t.version) == 1 {
		t.version, t.scheme, t.fixed = date, calendar, true
		t.shape = strings.Replace(t.shape, "<v>", dateShape, 1)
		return
	}
	t.scheme = schemeOf(t.version)
	if len(t.version) == 1 && len(t.version[0]) >= shortCommit {
		// No program counts this far: the digits of a commit, or of a build somewhere.
		t.version, t.commit, t.fixed = nil, true, true
		t.shape = strings.Replace(t.shape, "<v>", "<digits>", 1)
		return
	}
	if len(t.version) >= 3 {
		t.fixed = true
	}
}

// shortCommit is how many digits git shows of a commit at least.
const shortCommit = 7

func schemeOf(version []string) scheme {
	first := version[0]
	if len(first) == 4 && (strings.HasPrefix(first, "19") || strings.HasPrefix(first, "20")) {
		return calendar
	}
	if len(version) >= 2 && len(first) == 2 && len(version[1]) == 2 && first[0] != '0' {
		switch month := version[1]; {
		case month >= "01" && month <= "09":
			return calendar
		case month >= "10" && month <= "12":
			return either
		}
	}
	return counted
}

// splitDate returns year, month and day, and what follows them, of digits that are a date.
func splitDate(digits string) []string {
	switch len(digits) {
	case dateDigits, minuteDigits, secondDigits:
	case unixDigits:
		if digits >= "1000000000" && digits < "3000000000" {
			return []string{digits}
		}
		return nil
	default:
		return nil
	}
	year, month, day := digits[:4], digits[4:6], digits[6:8]
	if year < "1990" || year > "2099" || month < "01" || month > "12" || day < "01" || day > "31" {
		return nil
	}
	if rest := digits[8:]; rest != "" {
		return []string{year, month, day, rest}
	}
	return []string{year, month, day}
}

// compareNumbers orders two decimal numbers of any length.
func compareNumbers(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}

// compareVersions orders two versions. Of two that agree as far as both go, the shorter is greater: 1.2 floats above
// every 1.2.x.
func compareVersions(a, b []string) int {
	for i := range min(len(a), len(b)) {
		if c := compareNumbers(a[i], b[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(b), len(a))
}

// compareTags orders two tags of the same thing: by version, then a prerelease below its release, then by build.
func compareTags(a, b tag) int {
	return cmp.Or(compareVersions(a.version, b.version), compareStages(a.pre, b.pre), slices.CompareFunc(a.build, b.build, compareNumbers))
}

func compareStages(a, b *stage) int {
	switch {
	case a == nil || b == nil:
		return cmp.Compare(boolInt(a == nil), boolInt(b == nil))
	default:
		return cmp.Or(cmp.Compare(a.rank, b.rank), compareVersions(dotted(a.number), dotted(b.number)))
	}
}

func dotted(number string) []string {
	if number == "" {
		return nil
	}
	return strings.Split(number, ".")
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
