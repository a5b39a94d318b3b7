package main

import (
	"context"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// tools is the table of what a caller may ask.
func (h *hub) tools() []mcpserver.Tool {
	return []mcpserver.Tool{
		mcpserver.Typed(mcpserver.Definition{
			Name: "list_tags", Title: "List tags", OpenWorld: true,
			Description: "List the tags of a Docker Hub repository, newest first unless asked otherwise, with digest, size and platforms. " +
				"Where the answer is truncated, pass its next_cursor to go on; in this way the oldest tag is reached. total counts all tags that match.",
		}, h.listTags),
		mcpserver.Typed(mcpserver.Definition{
			Name: "get_tag", Title: "Get a tag", OpenWorld: true,
			Description: "Get one tag of a Docker Hub repository: its digest, and digest, size and dates of push and pull for each platform. " +
				"What Docker Hub does not know (digests and sizes of old tags, say) is absent.",
		}, h.getTag),
		mcpserver.Typed(mcpserver.Definition{
			Name: "get_repository", Title: "Get a repository", OpenWorld: true,
			Description: "Get what Docker Hub says about a repository: description, stars, pulls, dates, and which of its tags are immutable.",
		}, h.getRepository),
	}
}

type listTagsIn struct {
	Repository string `json:"repository" jsonschema:"repository on Docker Hub in any form that docker takes: nginx, library/nginx, docker.io/acme/api. A tag or digest in it is ignored." minLength:"1" maxLength:"512" pattern:"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$"`
	Name       string `json:"name,omitempty" jsonschema:"only tags whose name contains this" minLength:"1" maxLength:"128" pattern:"^[A-Za-z0-9._-]+$"`
	Order      string `json:"order,omitempty" jsonschema:"by the time of the last push" enum:"newest,oldest" default:"newest"`
	Limit      int    `json:"limit,omitempty" jsonschema:"tags in one answer, 25 if absent; with a cursor, leave it out or repeat it" minimum:"1" maximum:"100"`
	Cursor     string `json:"cursor,omitempty" jsonschema:"next_cursor of the answer before, with the same repository, name and order" minLength:"1" maxLength:"64" pattern:"^[A-Za-z0-9_-]+$"`
}

type listTagsOut struct {
	Repository string    `json:"repository" jsonschema:"full name of the repository"`
	Total      int       `json:"total" jsonschema:"how many tags match, in this answer or not"`
	Tags       []tagLine `json:"tags"`
	Truncated  bool      `json:"truncated" jsonschema:"whether more tags follow"`
	NextCursor string    `json:"next_cursor,omitempty" jsonschema:"where to go on"`
}

type tagLine struct {
	Name        string   `json:"name"`
	Digest      string   `json:"digest,omitempty" jsonschema:"of the index or, for a single platform, the manifest"`
	SizeBytes   int64    `json:"size_bytes,omitempty" jsonschema:"compressed size"`
	LastUpdated string   `json:"last_updated,omitempty" jsonschema:"RFC 3339"`
	LastPulled  string   `json:"last_pulled,omitempty" jsonschema:"RFC 3339"`
	Platforms   []string `json:"platforms,omitempty" jsonschema:"os/architecture or os/architecture/variant"`
	Truncated   bool     `json:"platforms_truncated,omitempty" jsonschema:"whether there are more platforms; get_tag shows them"`
}

func (h *hub) listTags(ctx context.Context, in listTagsIn) (listTagsOut, error) {
	ref, err := parseReference(in.Repository)
	if err != nil {
		return listTagsOut{}, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "repository: %w", err)
	}
	place, err := startAt(in, ref)
	if err != nil {
		return listTagsOut{}, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "cursor: %w", err)
	}
	ordering := "last_updated" // Docker Hub's sign is the other way round: this is newest first
	if in.Order == "oldest" {
		ordering = "-last_updated"
	}
	page, more, err := h.tags(ctx, ref, in.Name, ordering, place)
	if err != nil {
		return listTagsOut{}, err
	}
	out := listTagsOut{Repository: ref.String(), Total: page.Count, Tags: make([]tagLine, 0, len(page.Results)), Truncated: more}
	for _, tag := range page.Results {
		names, cut := platforms(tag.Images)
		out.Tags = append(out.Tags, tagLine{
			Name: tag.Name, Digest: string(tag.Digest), SizeBytes: int64(tag.FullSize),
			LastUpdated: string(tag.LastUpdated), LastPulled: string(tag.LastPulled), Platforms: names, Truncated: cut,
		})
	}
	if more && place.page < maxPage {
		place.page++
		out.NextCursor = place.String()
	}
	return out, nil
}

// startAt returns the place that the cursor names, or the first.
func startAt(in listTagsIn, ref reference) (cursor, error) {
	wanted := listing(ref.String(), in.Name, in.Order)
	if in.Cursor == "" {
		size := in.Limit
		if size == 0 {
			size = defaultPageSize
		}
		return cursor{page: 1, size: size, listing: wanted}, nil
	}
	place, err := parseCursor(in.Cursor)
	if err != nil {
		return cursor{}, err
	}
	if place.listing != wanted || in.Limit != 0 && in.Limit != place.size {
		return cursor{}, errOtherListing
	}
	return place, nil
}

// platforms names each platform once, without attestations, which are stored as images of "unknown/unknown".
func platforms(images []hubImage) (names []string, truncated bool) {
	seen := map[string]bool{}
	for _, image := range images {
		name := platform(image)
		if name == "" || seen[name] || image.OS == "unknown" {
			continue
		}
		if len(names) == maxPlatforms {
			return names, true
		}
		seen[name] = true
		names = append(names, name)
	}
	return names, false
}

// platform is os/architecture, with the variant if there is one.
func platform(image hubImage) string {
	if image.OS == "" || image.Architecture == "" {
		return ""
	}
	parts := []string{string(image.OS), string(image.Architecture)}
	if image.Variant != "" {
		parts = append(parts, string(image.Variant))
	}
	return strings.Join(parts, "/")
}

type getTagIn struct {
	Repository string `json:"repository" jsonschema:"repository on Docker Hub in any form that docker takes: nginx, nginx:1.27, docker.io/acme/api" minLength:"1" maxLength:"512" pattern:"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$"`
	Tag        string `json:"tag,omitempty" jsonschema:"the tag's name; if absent, the tag in repository, or latest" minLength:"1" maxLength:"128" pattern:"^[A-Za-z0-9_][A-Za-z0-9._-]*$"`
}

type getTagOut struct {
	Repository  string     `json:"repository" jsonschema:"full name of the repository"`
	Tag         string     `json:"tag"`
	Digest      string     `json:"digest,omitempty" jsonschema:"of the index or, for a single platform, the manifest"`
	MediaType   string     `json:"media_type,omitempty" jsonschema:"of what the digest names"`
	SizeBytes   int64      `json:"size_bytes,omitempty" jsonschema:"compressed size"`
	Status      string     `json:"status,omitempty" jsonschema:"active, inactive or stale: how long ago it was pulled or pushed"`
	LastUpdated string     `json:"last_updated,omitempty" jsonschema:"RFC 3339"`
	LastPushed  string     `json:"last_pushed,omitempty" jsonschema:"RFC 3339"`
	LastPulled  string     `json:"last_pulled,omitempty" jsonschema:"RFC 3339"`
	Images      []tagImage `json:"images" jsonschema:"one for each platform; unknown/unknown is an attestation"`
	Truncated   bool       `json:"truncated" jsonschema:"whether there are more images than shown"`
}

type tagImage struct {
	Platform   string `json:"platform,omitempty" jsonschema:"os/architecture or os/architecture/variant"`
	OSVersion  string `json:"os_version,omitempty"`
	Digest     string `json:"digest,omitempty" jsonschema:"of the platform's manifest"`
	SizeBytes  int64  `json:"size_bytes,omitempty" jsonschema:"compressed size"`
	Status     string `json:"status,omitempty"`
	LastPushed string `json:"last_pushed,omitempty" jsonschema:"RFC 3339"`
	LastPulled string `json:"last_pulled,omitempty" jsonschema:"RFC 3339"`
}

func (h *hub) getTag(ctx context.Context, in getTagIn) (getTagOut, error) {
	ref, err := parseReference(in.Repository)
	if err != nil {
		return getTagOut{}, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "repository: %w", err)
	}
	name, err := ref.wantedTag(in.Tag)
	if err != nil {
		return getTagOut{}, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "tag: %w", err)
	}
	tag, err := h.tag(ctx, ref, name)
	if err != nil {
		return getTagOut{}, err
	}
	out := getTagOut{
		Repository: ref.String(), Tag: tag.Name, Digest: string(tag.Digest), MediaType: string(tag.MediaType),
		SizeBytes: int64(tag.FullSize), Status: string(tag.Status), LastUpdated: string(tag.LastUpdated),
		LastPushed: string(tag.LastPushed), LastPulled: string(tag.LastPulled), Images: make([]tagImage, 0, len(tag.Images)),
	}
	for _, image := range tag.Images {
		if len(out.Images) == maxImages {
			out.Truncated = true
			break
		}
		out.Images = append(out.Images, tagImage{
			Platform: platform(image), OSVersion: string(image.OSVersion), Digest: string(image.Digest), SizeBytes: int64(image.Size),
			Status: string(image.Status), LastPushed: string(image.LastPushed), LastPulled: string(image.LastPulled),
		})
	}
	return out, nil
}

type getRepositoryIn struct {
	Repository      string `json:"repository" jsonschema:"repository on Docker Hub in any form that docker takes: nginx, library/nginx, docker.io/acme/api. A tag or digest in it is ignored." minLength:"1" maxLength:"512" pattern:"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$"`
	LongDescription bool   `json:"long_description,omitempty" jsonschema:"whether to return the long description too, which is a page of Markdown"`
}

type getRepositoryOut struct {
	Repository         string         `json:"repository" jsonschema:"full name of the repository"`
	Description        string         `json:"description,omitempty"`
	Status             string         `json:"status,omitempty"`
	Private            bool           `json:"private"`
	Stars              int64          `json:"stars"`
	Pulls              int64          `json:"pulls"`
	SizeBytes          int64          `json:"size_bytes,omitempty" jsonschema:"storage that all tags take"`
	LastUpdated        string         `json:"last_updated,omitempty" jsonschema:"last push, RFC 3339"`
	LastModified       string         `json:"last_modified,omitempty" jsonschema:"last change of the repository's settings or content, RFC 3339"`
	DateRegistered     string         `json:"date_registered,omitempty" jsonschema:"RFC 3339"`
	Categories         []string       `json:"categories,omitempty"`
	ImmutableTags      *immutableTags `json:"immutable_tags,omitempty" jsonschema:"absent where Docker Hub does not say"`
	LongDescription    string         `json:"long_description,omitempty" jsonschema:"Markdown by the repository's owner"`
	LongDescriptionCut bool           `json:"long_description_cut,omitempty" jsonschema:"whether the end is missing"`
}

type immutableTags struct {
	Enabled   bool     `json:"enabled"`
	Rules     []string `json:"rules" jsonschema:"regular expressions; a tag that matches one cannot be overwritten"`
	Truncated bool     `json:"truncated,omitempty" jsonschema:"whether there are more rules than shown"`
}

func (h *hub) getRepository(ctx context.Context, in getRepositoryIn) (getRepositoryOut, error) {
	ref, err := parseReference(in.Repository)
	if err != nil {
		return getRepositoryOut{}, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "repository: %w", err)
	}
	found, err := h.repository(ctx, ref)
	if err != nil {
		return getRepositoryOut{}, err
	}
	out := getRepositoryOut{
		Repository: ref.String(), Description: cut(found.Description, maxDescription), Status: string(found.Status),
		Private: found.Private, Stars: found.Stars, Pulls: found.Pulls, SizeBytes: int64(found.StorageSize),
		LastUpdated: string(found.LastUpdated), LastModified: string(found.LastModified), DateRegistered: string(found.DateRegistered),
	}
	for _, category := range found.Categories[:min(len(found.Categories), maxCategories)] {
		out.Categories = append(out.Categories, cut(category.Name, maxCategory))
	}
	if settings := found.ImmutableTags; settings != nil {
		out.ImmutableTags = &immutableTags{Enabled: settings.Enabled, Rules: []string{}}
		room := maxRules
		for _, rule := range settings.Rules {
			// Half a regular expression would be another rule: whole ones only.
			if room -= len(rule) + 1; room < 0 { // and one, so that empty rules count too
				out.ImmutableTags.Truncated = true
				break
			}
			out.ImmutableTags.Rules = append(out.ImmutableTags.Rules, rule)
		}
	}
	if in.LongDescription {
		out.LongDescription = cut(found.FullDescription, maxLong)
		out.LongDescriptionCut = len(out.LongDescription) < len(found.FullDescription)
	}
	return out, nil
}
