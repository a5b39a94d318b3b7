package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

type listTagsIn struct {
	Repository    string `json:"repository" jsonschema:"repository in any form that docker takes: nginx, docker.io/acme/api; a tag or digest in it is ignored" minLength:"1" maxLength:"512" pattern:"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$"`
	Name          string `json:"name,omitempty" jsonschema:"only tags whose name contains this" minLength:"1" maxLength:"128" pattern:"^[A-Za-z0-9._-]+$"`
	Order         string `json:"order,omitempty" jsonschema:"by the last push" enum:"newest,oldest" default:"newest"`
	Architecture  string `json:"architecture,omitempty" jsonschema:"only tags with an image for it: amd64, arm/v7" maxLength:"32" pattern:"^[a-z0-9_]+(/v[0-9]+)?$"`
	Since         string `json:"since,omitempty" jsonschema:"only tags pushed at or after this: a date, or RFC 3339" maxLength:"35" pattern:"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]+(Z|[+-][0-9]{2}:[0-9]{2}))?$"`
	GroupByDigest bool   `json:"group_by_digest,omitempty" jsonschema:"whether tags of this answer that share a digest share a row, their names joined by commas"`
	Limit         int    `json:"limit,omitempty" jsonschema:"tags in one answer; if absent, 25, or as many as in the answer before" minimum:"1" maximum:"100"`
	Cursor        string `json:"cursor,omitempty" jsonschema:"next_cursor of the answer before, with the same arguments, but limit" maxLength:"128" pattern:"^[A-Za-z0-9_-]+$"`
}

type listTagsOut struct {
	Repository string `json:"repository"`
	Total      int    `json:"total"` // tags that name leaves, in this answer or not; architecture and since are not counted
	// what stands in a row, with a space between; - is what Docker Hub does not know. pushed is a UTC date, size the compressed
	// bytes
	Columns    string   `json:"columns"`
	Tags       []string `json:"tags"`                // a row for each
	Platforms  []string `json:"platforms,omitempty"` // what p1, p2, … in the rows stand for; get_tag tells digests of each
	Scanned    int      `json:"scanned,omitempty"`   // tags looked at for this answer, where architecture or since passes over some
	Note       string   `json:"note,omitempty"`      // what it means that the repository changed since the first answer
	Truncated  bool     `json:"truncated"`           // whether more follow
	NextCursor string   `json:"next_cursor,omitempty"`
}

// columns are those of a row of list_tags. A table, because names of members would take more than what they name.
const columns = "tag digest pushed size platforms"

// What an answer says of a list that changed while it was read; see walk.
const (
	noteNewest = "tags were pushed or deleted since the first answer. Those that were pushed meanwhile are missing: they are first in a list without a cursor. No other tag is missing or comes twice."
	noteOldest = "tags were pushed or deleted since the first answer. A tag that was pushed again comes twice, and for each such one another may be missing. A list newest first misses none but those pushed meanwhile."
)

func (h *hub) listTags(ctx context.Context, in listTagsIn) (listTagsOut, error) {
	ref, err := parseReference(in.Repository)
	if err != nil {
		return listTagsOut{}, invalid("repository", err)
	}
	since, err := parseSince(in.Since)
	if err != nil {
		return listTagsOut{}, invalid("since", err)
	}
	list := tagList{ref: ref, part: in.Name, oldest: in.Order == "oldest"}
	filtered := in.Architecture != "" || !since.IsZero()
	place := cursor{
		kind: tagsCursor, listing: sumOf(ref.String(), in.Name, in.Order, in.Architecture, in.Since),
		size: cmp.Or(in.Limit, defaultLimit), began: h.now().Unix(),
	}
	if filtered {
		place.size = maxPageSize // most may be passed over
	}
	if err := place.resume(in.Cursor, in.Limit); err != nil {
		return listTagsOut{}, err
	}
	out := listTagsOut{Repository: ref.String(), Columns: columns}
	rows := table{grouped: in.GroupByDigest}
	scanned := 0
	place, out.Truncated, err = h.walk(ctx, list, place, func(tag hubTag) step {
		scanned++
		if !since.IsZero() && tag.LastUpdated.Before(since) {
			if list.oldest || tag.LastUpdated.IsZero() {
				return onward
			}
			return past
		}
		if in.Architecture == "" || slices.ContainsFunc(tag.Images, func(i hubImage) bool { return i.runsOn(in.Architecture) }) {
			rows.add(tag)
		}
		if rows.tags == place.limit {
			return full
		}
		return onward
	})
	if err != nil {
		return listTagsOut{}, err
	}
	out.Total, out.Tags, out.Platforms = place.total, rows.lines(), rows.platforms
	if filtered {
		out.Scanned = scanned
	}
	out.Note = place.note(list)
	if out.Truncated {
		out.NextCursor = place.String()
	}
	return out, nil
}

// note says what it means that a list changed, if it did.
func (c *cursor) note(list tagList) string {
	switch {
	case !c.changed:
		return ""
	case list.oldest:
		return noteOldest
	default:
		return noteNewest
	}
}

var errSince = errors.New("there is no such date; write 2026-01-31, or 2026-01-31T12:00:00Z")

func parseSince(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, errSince
}

// runsOn says whether an image is for the architecture, which may name a variant.
func (i hubImage) runsOn(architecture string) bool {
	name, variant, exact := strings.Cut(architecture, "/")
	return string(i.Architecture) == name && (!exact || string(i.Variant) == variant)
}

// table is the rows of an answer. A set of platforms, which is the same for most tags of a repository, stands in it once.
type table struct {
	grouped   bool
	tags      int
	rows      []tableRow
	platforms []string // "p1 linux/amd64 linux/arm64/v8"
}

type tableRow struct {
	names  []string
	digest digest
	rest   string
}

func (t *table) add(tag hubTag) {
	t.tags++
	if t.grouped && tag.Digest != "" {
		if i := slices.IndexFunc(t.rows, func(r tableRow) bool { return r.digest == tag.Digest }); i >= 0 {
			t.rows[i].names = append(t.rows[i].names, tag.Name)
			return
		}
	}
	bytes := ""
	if tag.FullSize > 0 {
		bytes = strconv.FormatInt(int64(tag.FullSize), 10)
	}
	pushed := cmp.Or(tag.LastPushed.day(), tag.LastUpdated.day())
	rest := []string{string(tag.Digest), pushed, bytes, t.platformsOf(tag.Images)}
	for i := range rest {
		rest[i] = cmp.Or(rest[i], "-")
	}
	t.rows = append(t.rows, tableRow{names: []string{tag.Name}, digest: tag.Digest, rest: strings.Join(rest, " ")})
}

// lines returns the rows as an answer has them.
func (t *table) lines() []string {
	lines := make([]string, len(t.rows))
	for i, row := range t.rows {
		lines[i] = strings.Join(row.names, ",") + " " + row.rest
	}
	return lines
}

// platformsOf returns the short name of the images' platforms, without attestations, which are stored as images of
// "unknown/unknown".
func (t *table) platformsOf(images []hubImage) string {
	var names []string
	for _, image := range images {
		name := image.platform()
		if name == "" || image.OS == "unknown" || slices.Contains(names, name) {
			continue
		}
		if len(names) == maxPlatforms {
			names = append(names, "…")
			break
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return ""
	}
	set := strings.Join(names, " ")
	for i, known := range t.platforms {
		if _, platforms, _ := strings.Cut(known, " "); platforms == set {
			return "p" + strconv.Itoa(i+1)
		}
	}
	short := "p" + strconv.Itoa(len(t.platforms)+1)
	t.platforms = append(t.platforms, short+" "+set)
	return short
}

type resolveDigestIn struct {
	Repository string `json:"repository" jsonschema:"repository in any form that docker takes; nginx@sha256:… names the digest too" minLength:"1" maxLength:"512" pattern:"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$"`
	Digest     string `json:"digest,omitempty" jsonschema:"of an index, or of one platform's manifest" maxLength:"135" pattern:"^sha(256|512):[0-9a-f]+$"`
	Cursor     string `json:"cursor,omitempty" jsonschema:"next_cursor of the answer before, with the same arguments" maxLength:"128" pattern:"^[A-Za-z0-9_-]+$"`
}

type resolveDigestOut struct {
	Repository string       `json:"repository"`
	Digest     string       `json:"digest"`
	Tags       []sharingTag `json:"tags"`           // newest first
	Scanned    int          `json:"scanned"`        // tags looked at for this answer
	Total      int          `json:"total"`          // tags of the repository
	Note       string       `json:"note,omitempty"` // what it means that the repository changed since the first answer
	Truncated  bool         `json:"truncated"`      // whether tags are left to look at
	NextCursor string       `json:"next_cursor,omitempty"`
}

type sharingTag struct {
	Tag        string `json:"tag"`
	Platform   string `json:"platform,omitempty"` // whose manifest has the digest; absent where it is the tag's own
	LastPushed string `json:"last_pushed,omitempty"`
}

func (h *hub) resolveDigest(ctx context.Context, in resolveDigestIn) (resolveDigestOut, error) {
	ref, err := parseReference(in.Repository)
	if err != nil {
		return resolveDigestOut{}, invalid("repository", err)
	}
	wanted, err := ref.wantedDigest(in.Digest)
	if err != nil {
		return resolveDigestOut{}, invalid("digest", err)
	}
	list := tagList{ref: ref}
	place := cursor{kind: digestCursor, listing: sumOf(ref.String(), string(wanted)), size: maxPageSize, began: h.now().Unix()}
	if err := place.resume(in.Cursor, maxPageSize); err != nil {
		return resolveDigestOut{}, err
	}
	out := resolveDigestOut{Repository: ref.String(), Digest: string(wanted), Tags: []sharingTag{}}
	place, out.Truncated, err = h.walk(ctx, list, place, func(tag hubTag) step {
		out.Scanned++
		if platform, ok := tag.has(wanted); ok {
			out.Tags = append(out.Tags, sharingTag{Tag: tag.Name, Platform: platform, LastPushed: cmp.Or(tag.LastPushed.text(), tag.LastUpdated.text())})
		}
		if len(out.Tags) == maxSharing {
			return full
		}
		return onward
	})
	if err != nil {
		return resolveDigestOut{}, err
	}
	out.Total, out.Note = place.total, place.note(list)
	if out.Truncated {
		out.NextCursor = place.String()
	}
	return out, nil
}

// has says whether the digest is the tag's own, and else whose image it is.
func (t hubTag) has(wanted digest) (platform string, ok bool) {
	if t.Digest == wanted {
		return "", true
	}
	for _, image := range t.Images {
		if image.Digest == wanted {
			return cmp.Or(image.platform(), "unknown"), true
		}
	}
	return "", false
}
