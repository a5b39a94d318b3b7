package main

import (
	"path"
	"strings"
)

// class says how far an update goes.
type class string

// The classes of an update. A rebuild is the same tag with another digest.
const (
	classNone    class = "none"
	classRebuild class = "rebuild"
	classPatch   class = "patch"
	classMinor   class = "minor"
	classMajor   class = "major"
)

// reason says why a tag is not the one to move to.
type reason string

// Why a tag is passed over.
const (
	notVariant      reason = "another variant, or no version"
	notPrecision    reason = "more or less precise"
	notScheme       reason = "counts in another way (calendar and not)"
	notImplausible  reason = "a number too far away to be of the same series"
	notPrerelease   reason = "a prerelease"
	notOlder        reason = "not newer"
	notInterim      reason = "an interim release, where the present one is supported for long"
	notDistribution reason = "for another release of the distribution"
	notNewer        reason = "newer, and below the one that is offered"
)

// choice is what a list of tags offers to who has one of them.
type choice struct {
	update       string // newest tag that is the same thing; empty if the present one is
	class        class
	distribution string // newest tag that is the same thing for a newer release of its distribution; may be empty
	passed       map[reason][]string
}

// choose finds the update for the tag current among the tags of its repository.
func choose(repository, current string, tags []string) choice {
	words := newVocabulary()
	return chooseAmong(repository, words.parse(current), words.parseAll(tags))
}

// chooseAmong is choose with tags that are taken apart.
func chooseAmong(repository string, now tag, tags []tag) choice {
	c := choice{class: classNone, passed: map[reason][]string{}}
	var best, next *tag
	pass := func(why reason, text string) { c.passed[why] = append(c.passed[why], text) }
	for _, candidate := range tags {
		text := candidate.text
		if text == now.text {
			continue
		}
		why := against(repository, now, candidate)
		switch {
		case why == notDistribution && newerRelease(now.dist, candidate.dist):
			if next == nil || betterRelease(now, candidate, *next) {
				next = &candidate
			}
			pass(why, text)
		case why != "":
			pass(why, text)
		case best == nil || compareTags(candidate, *best) > 0:
			if best != nil {
				pass(notNewer, best.text)
			}
			best = &candidate
		default:
			pass(notNewer, text)
		}
	}
	if best != nil {
		c.update, c.class = best.text, classify(now, *best)
	}
	if next != nil {
		c.distribution = next.text
	}
	return c
}

// against says why candidate is no update of now; it is one if that is empty. What only another release of the
// distribution speaks against is notDistribution.
func against(repository string, now, candidate tag) reason {
	switch {
	case now.shape != candidate.shape || len(now.version) == 0 && now.dist == nil || len(now.build) != len(candidate.build):
		return notVariant
	case len(now.version) != len(candidate.version):
		return notPrecision
	case !schemesAgree(now.scheme, candidate.scheme):
		return notScheme
	case tooFar(now, candidate):
		return notImplausible
	case !stagesAgree(now, candidate):
		return notPrerelease
	}
	if !sameRelease(now.dist, candidate.dist) {
		// Builds of another release are counted on their own.
		if compareVersions(candidate.version, now.version) < 0 || compareVersions(candidate.version, now.version) == 0 && compareStages(candidate.pre, now.pre) < 0 {
			return notOlder
		}
		return notDistribution
	}
	switch {
	case compareTags(candidate, now) <= 0:
		return notOlder
	case path.Base(repository) == "ubuntu" && longTerm(now.version) && !longTerm(candidate.version):
		return notInterim
	}
	return ""
}

func schemesAgree(a, b scheme) bool { return a == b || a == either || b == either }

// tooFar catches what has the form of a version and is the number of a build or a year: 1543 beside 8.
func tooFar(now, candidate tag) bool {
	const magnitudes = 2
	return len(now.version) > 0 && len(candidate.version[0])-len(now.version[0]) >= magnitudes
}

// stagesAgree lets a prerelease through only to who is on one: a later one of the same version, or of what moves every
// night any.
func stagesAgree(now, candidate tag) bool {
	switch {
	case candidate.pre == nil:
		return true
	case now.pre == nil || (now.pre.number == "") != (candidate.pre.number == ""):
		return false
	case candidate.pre.kind == now.pre.kind && now.pre.rank == nightly:
		return true
	}
	return compareVersions(now.version, candidate.version) == 0
}

// betterRelease says whether a is the better move to a newer release of the distribution than b: the one that changes
// least beside it, then the newest release, then the newest version.
func betterRelease(now, a, b tag) bool {
	if near, nearer := near(now, a), near(now, b); near != nearer {
		return near
	}
	if c := compareReleases(*a.dist, *b.dist); c != 0 {
		return c > 0
	}
	return compareTags(a, b) > 0
}

// near says whether two tags have the same major version.
func near(a, b tag) bool {
	return len(a.version) == 0 || strings.Contains(a.shape, dateShape) && a.scheme == calendar || compareNumbers(a.version[0], b.version[0]) == 0
}

// classify says how far it is from one tag to a newer one of the same thing.
func classify(from, to tag) class {
	if strings.Contains(from.shape, dateShape) && from.scheme == calendar && (from.dist != nil || len(from.version) == 1) {
		return classPatch // a later build of the same release, or of a branch
	}
	for i := range from.version {
		if compareNumbers(from.version[i], to.version[i]) == 0 {
			continue
		}
		switch i {
		case 0:
			return classMajor
		case 1:
			return classMinor
		}
		return classPatch
	}
	return classPatch
}
