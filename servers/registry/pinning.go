package main

import (
	"cmp"
	"context"
	"fmt"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// pinState says how firmly a reference names its image.
type pinState string

// The states, from the loosest.
const (
	pinNone     pinState = "no_tag"   // neither tag nor digest: latest is taken
	pinLatest   pinState = "latest"   // the tag latest
	pinFloating pinState = "floating" // a tag that its publisher moves: 1.25, bookworm, stable
	pinTag      pinState = "tag"      // a tag that names one version, and may be moved nevertheless
	pinMoved    pinState = "moved"    // a digest, and its tag stands for another one by now
	pinGone     pinState = "gone"     // a digest that the registry no longer has
	pinDigest   pinState = "pinned"   // a digest
	pinUnknown  pinState = "unknown"
)

// stateOf judges a reference by itself.
func stateOf(ref reference) pinState {
	switch {
	case ref.digest != "":
		return pinDigest
	case ref.tag == "":
		return pinNone
	case ref.tag == "latest":
		return pinLatest
	case newVocabulary().parse(ref.tag).fixed:
		return pinTag
	}
	return pinFloating
}

type pinLine struct {
	Image string `json:"image"` // the reference, in full; as it stands in the file where it is none
	// no_tag, latest and floating tags change under who uses them; tag names one version and may be moved nevertheless; pinned
	// has a digest; moved: its tag stands for another digest by now; gone: the registry has it no longer
	State     pinState      `json:"state" enum:"no_tag,latest,floating,tag,moved,gone,pinned,unknown"`
	Digest    string        `json:"digest,omitempty"`    // what the tag stands for now: the digest to pin to
	Reference string        `json:"reference,omitempty"` // the reference to write instead, where that would pin it
	Mentions  []mentionLine `json:"mentions,omitempty"`  // where the text or files name the image
	// why the registry could not be asked about this image; the state is then by the reference alone
	Error *fault `json:"error,omitempty"`
}

// pin judges one image. An error of ours ends the call.
func (s *session) pin(ctx context.Context, t target, documents map[string]document) (pinLine, error) {
	line := pinLine{Image: t.written, State: pinUnknown}
	if line.Error = t.fault(); line.Error != nil {
		line.Mentions = places(t, documents, "")
		return line, nil
	}
	line.Image, line.State = t.ref.String(), stateOf(t.ref)
	tag := t.ref.effectiveTag()
	digest, err := s.head(ctx, t.ref.repository, cmp.Or(tag, t.ref.digest))
	if err != nil {
		line.Error, err = faultOf(fmt.Sprintf("the digest of %s", line.Image), err)
		if line.Error != nil && line.Error.Code == string(mcpserver.CodeNotFound) && tag == "" {
			line.State, line.Error = pinGone, nil
		}
		line.Mentions = places(t, documents, "")
		return line, err
	}
	line.Digest = digest
	switch {
	case t.ref.digest == "":
		line.Reference = t.ref.pinned(tag, digest)
	case tag != "" && digest != t.ref.digest:
		line.State, line.Reference = pinMoved, t.ref.pinned(tag, digest)
	}
	line.Mentions = places(t, documents, line.Reference)
	return line, nil
}
