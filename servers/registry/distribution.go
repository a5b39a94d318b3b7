package main

import (
	"regexp"
	"slices"
	"strings"
)

// release is one of a distribution.
type release struct {
	family string
	text   string   // as the tag writes it: bookworm, 3.18
	number []string // decimal numbers; orders the releases of a family
	lts    bool     // supported for long, where the family tells such apart
	coming bool     // not released yet
}

// compareReleases orders two of the same family.
func compareReleases(a, b release) int { return compareVersions(a.number, b.number) }

// codenames are the releases that tags name by a word: Debian's (https://www.debian.org/releases/) and Ubuntu's
// (https://wiki.ubuntu.com/Releases).
func codenames() map[string]release {
	names := map[string]release{}
	for number, name := range map[string]string{
		"7": "wheezy", "8": "jessie", "9": "stretch", "10": "buster", "11": "bullseye", "12": "bookworm", "13": "trixie",
	} {
		names[name] = release{family: "debian", number: []string{number}}
	}
	for number, name := range map[string]string{"14": "forky", "15": "duke"} {
		names[name] = release{family: "debian", number: []string{number}, coming: true}
	}
	for number, name := range map[string]string{
		"14.04": "trusty", "16.04": "xenial", "18.04": "bionic", "18.10": "cosmic", "19.04": "disco", "19.10": "eoan", "20.04": "focal",
		"20.10": "groovy", "21.04": "hirsute", "21.10": "impish", "22.04": "jammy", "22.10": "kinetic", "23.04": "lunar", "23.10": "mantic",
		"24.04": "noble", "24.10": "oracular", "25.04": "plucky", "25.10": "questing", "26.04": "resolute",
	} {
		names[name] = release{family: "ubuntu", number: strings.Split(number, "."), lts: longTerm(strings.Split(number, "."))}
	}
	return names
}

// longTerm says whether Ubuntu's release of that number is an LTS: April of an even year.
func longTerm(number []string) bool {
	return len(number) >= 2 && number[1] == "04" && len(number[0]) == 2 && (number[0][1]-'0')%2 == 0
}

// families are the distributions that tags name with a number, with the numbers that their releases begin with. A number
// that is none of them is something else: alpine-1.25.3 is no release of Alpine.
func families() map[string][2]string {
	return map[string][2]string{
		"alpine": {"2", "4"}, "debian": {"6", "20"}, "ubuntu": {"12", "40"}, "ubi": {"7", "12"}, "el": {"6", "12"}, "rhel": {"6", "12"},
		"centos": {"6", "12"}, "stream": {"8", "12"}, "fedora": {"25", "60"}, "rockylinux": {"8", "12"}, "rocky": {"8", "12"},
		"almalinux": {"8", "12"}, "alma": {"8", "12"}, "oraclelinux": {"6", "12"}, "ol": {"6", "12"}, "oracle": {"6", "12"},
		"amazonlinux": {"1", "2040"}, "amzn": {"1", "2040"}, "al": {"2", "2040"}, "azurelinux": {"2", "9"}, "mariner": {"1", "3"},
		"cbl": {"1", "3"}, "photon": {"1", "9"}, "leap": {"15", "17"}, "bci": {"15", "17"}, "sles": {"11", "17"},
		"nanoserver": {"1709", "2040"}, "windowsservercore": {"1709", "2040"}, "servercore": {"1709", "2040"}, "ltsc": {"2016", "2040"},
	}
}

var (
	familyForm  = regexp.MustCompile(`^([a-z]+)([0-9]+(?:\.[0-9]+){0,2})?$`)
	releaseForm = regexp.MustCompile(`^[0-9]+(?:\.[0-9]+){0,2}$`)
)

// distribution reads a segment that names one: bookworm, alpine3.18, ubuntu (whose release may follow).
func (p *tagParser) distribution(segment string) bool {
	if named, ok := p.codenames[segment]; ok && p.tag.dist == nil {
		named.text = segment
		p.tag.dist = &named
		p.put("<"+named.family+">", afterDistribution)
		return true
	}
	m := familyForm.FindStringSubmatch(segment)
	if m == nil {
		return false
	}
	numbers, known := p.families[m[1]]
	switch {
	case !known || p.tag.dist != nil:
		return false
	case m[2] == "":
		p.put(segment, afterDistribution)
		return true
	case !plausible(numbers, m[2]):
		return false
	}
	p.setRelease(m[1], m[2])
	p.shape.WriteString(m[1])
	p.put("<r>", afterOther)
	return true
}

// releaseOf reads the release that follows its distribution's name: debian-11.
func (p *tagParser) releaseOf(segment string) bool {
	if number, ok := strings.CutPrefix(strings.ToLower(segment), "ltsc"); ok && releaseForm.MatchString(number) {
		p.setRelease("ltsc", number)
		p.put("ltsc<r>", afterOther)
		return true
	}
	if !releaseForm.MatchString(segment) {
		return false
	}
	shape := p.shape.String()
	name := strings.TrimRight(shape, "-_")
	name = name[strings.LastIndexAny(name, "-_.>")+1:]
	numbers, known := p.families[name]
	if !known || !plausible(numbers, segment) {
		return false
	}
	p.setRelease(name, segment)
	p.put("<r>", afterOther)
	return true
}

func (p *tagParser) setRelease(family, number string) {
	numbers := strings.Split(number, ".")
	p.tag.dist = &release{family: family, text: number, number: numbers, lts: family == "ubuntu" && longTerm(numbers)}
}

func plausible(numbers [2]string, release string) bool {
	first, _, _ := strings.Cut(release, ".")
	return compareNumbers(first, numbers[0]) >= 0 && compareNumbers(first, numbers[1]) <= 0
}

// sameRelease says whether two tags are for the same release of a distribution, or both for none.
func sameRelease(a, b *release) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.family == b.family && slices.EqualFunc(a.number, b.number, func(x, y string) bool { return compareNumbers(x, y) == 0 })
}

// newerRelease says whether b is a release that who is on a may move to.
func newerRelease(a, b *release) bool {
	return a != nil && b != nil && a.family == b.family && len(a.number) == len(b.number) && !b.coming && (b.lts || !a.lts) &&
		compareReleases(*a, *b) < 0
}
