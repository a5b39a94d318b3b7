package main

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// The image of an answer of check_updates.
type updateLine struct {
	Image string `json:"image"` // the reference, in full; as it stands in the file where it is none
	// how far the update goes: patch, minor, major; rebuild is the same tag with another digest; none; unknown where it could
	// not be found out
	Class     class  `json:"class" enum:"none,rebuild,patch,minor,major,unknown"`
	Update    string `json:"update,omitempty"`    // TAG@DIGEST to move to
	Reference string `json:"reference,omitempty"` // the reference to write instead
	// the same thing for a newer release of the distribution that the tag names; a change of its own
	Distribution *distribution `json:"distribution,omitempty"`
	Evidence     *evidence     `json:"evidence,omitempty"`
	Mentions     []mentionLine `json:"mentions,omitempty"` // where the text or files name the image
	Error        *fault        `json:"error,omitempty"`    // why this image could not be looked at
}

type distribution struct {
	From string `json:"from"`
	To   string `json:"to"`
	Tag  string `json:"tag"` // newest tag for it, not below the present version
}

// evidence says how the answer came about.
type evidence struct {
	Tags     int          `json:"tags"`               // how many tags of the repository were looked at
	ListCut  bool         `json:"list_cut,omitempty"` // the repository has more tags than were looked at: a newer one may be among them
	Digest   string       `json:"digest,omitempty"`   // what the offered tag, or else the present one, stands for now
	Reason   string       `json:"reason"`             // what decided
	PassedBy []passedLine `json:"passed_over"`        // why the other tags are not offered
}

type passedLine struct {
	Why      string   `json:"why"`
	Count    int      `json:"count"`
	Examples []string `json:"examples"` // some of them
}

type mentionLine struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line"`
	Column int    `json:"column,omitempty"`
	Field  string `json:"field,omitempty"`
	// the lines to change so that the reference is written; absent where the file's author must do it
	Changes []change `json:"changes,omitempty"`
}

const classUnknown class = "unknown"

// update looks for the update of one image. An error of ours ends the call.
func (s *session) update(ctx context.Context, t target, documents map[string]document) (updateLine, error) {
	line := updateLine{Image: t.written, Class: classUnknown}
	if line.Error = t.fault(); line.Error != nil {
		line.Mentions = places(t, documents, "")
		return line, nil
	}
	line.Image = t.ref.String()
	offer, err := s.offer(ctx, t.ref)
	if err != nil {
		line.Error, err = faultOf(line.Image, err)
		line.Mentions = places(t, documents, "")
		return line, err
	}
	line.Class, line.Evidence, line.Distribution = offer.class, &offer.evidence, offer.distribution
	if offer.tag != "" {
		line.Update, line.Reference = offer.tag+"@"+offer.evidence.Digest, t.ref.pinned(offer.tag, offer.evidence.Digest)
	}
	line.Mentions = places(t, documents, line.Reference)
	return line, nil
}

// offer is what was found for a reference.
type offer struct {
	class        class
	tag          string // empty: stay
	distribution *distribution
	evidence     evidence
}

// offer asks for the tags once a repository, and for one digest an image: that of what it would be moved to.
func (s *session) offer(ctx context.Context, ref reference) (offer, error) {
	current := ref.effectiveTag()
	if current == "" {
		return offer{}, mcpserver.Errorf(mcpserver.CodeInvalidArguments,
			"%s: the reference has a digest and no tag, so that nothing says which version is wanted; write TAG@DIGEST", ref)
	}
	list, err := s.tags(ctx, ref.repository)
	if err != nil {
		return offer{}, err
	}
	chosen, err := s.choose(ctx, ref, current, list.tags)
	if err != nil {
		return offer{}, err
	}
	found := offer{class: chosen.class, tag: chosen.update, evidence: evidence{Tags: len(list.tags), ListCut: list.cut, PassedBy: passedOver(chosen)}}
	if chosen.distribution != "" {
		words := newVocabulary()
		found.distribution = &distribution{From: words.parse(current).dist.text, To: words.parse(chosen.distribution).dist.text, Tag: chosen.distribution}
	}
	digest, err := s.head(ctx, ref.repository, cmp.Or(chosen.update, current))
	if err != nil {
		return offer{}, err
	}
	found.evidence.Digest = digest
	found.settle(current, ref.digest, digest)
	return found, nil
}

// choose takes the tags of one repository apart at a time, and keeps them for the next image: they take many times what
// their names do.
func (s *session) choose(ctx context.Context, ref reference, current string, tags []string) (choice, error) {
	select {
	case s.choosing <- struct{}{}:
		defer func() { <-s.choosing }()
	case <-ctx.Done():
		return choice{}, ctx.Err()
	}
	words := newVocabulary()
	if name := ref.repository.Name(); s.apart.session != s || s.apart.repository != name {
		s.apart = takenApart{session: s, repository: name, tags: words.parseAll(tags)}
	}
	return chooseAmong(ref.repository.RepositoryStr(), words.parse(current), s.apart.tags), nil
}

// takenApart are the tags of the repository that was last chosen from.
type takenApart struct {
	session    *session
	repository string
	tags       []tag
}

// settle decides by digests: what stands for the same content is no update.
func (o *offer) settle(current, pin, digest string) {
	switch {
	case o.tag != "" && digest == pin:
		o.evidence.Reason = "the newest tag of the same kind, " + o.tag + ", is the content that the reference is pinned to"
		o.tag, o.class = "", classNone
	case o.tag != "":
		o.evidence.Reason = o.tag + " is the newest tag of the same variant and precision"
	case pin != "" && digest != pin:
		o.tag, o.class = current, classRebuild
		o.evidence.Reason = "no newer tag of the same variant and precision; the tag itself has moved on from the digest that is pinned"
	case pin != "":
		o.evidence.Reason = "no newer tag of the same variant and precision, and the tag still stands for the digest that is pinned"
	default:
		o.evidence.Reason = "no newer tag of the same variant and precision"
	}
}

// passedOver lists why tags were not chosen, in a fixed order.
func passedOver(c choice) []passedLine {
	lines := []passedLine{}
	for _, why := range []reason{
		notNewer, notDistribution, notPrerelease, notInterim, notImplausible, notScheme, notPrecision, notOlder, notVariant,
	} {
		if tags := c.passed[why]; len(tags) > 0 {
			lines = append(lines, passedLine{Why: string(why), Count: len(tags), Examples: slices.Clone(tags[max(0, len(tags)-maxExamples):])})
		}
	}
	return lines
}

// places lists where an image is named, with the lines to change.
func places(t target, documents map[string]document, reference string) []mentionLine {
	var lines []mentionLine
	for _, m := range t.mentions[:min(len(t.mentions), maxPlaces)] {
		line := mentionLine{File: m.file, Line: m.line, Column: m.column, Field: m.field}
		if reference != "" {
			line.Changes = m.rewrite(documents[m.file].lines, reference)
		}
		lines = append(lines, line)
	}
	return lines
}

// shownProblem is an error about an input, for an answer.
func shownProblem(err error) string {
	return clip(strings.ToValidUTF8(err.Error(), "\ufffd"), maxProblem)
}
