package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// tools is the table of what a caller may ask.
func (h *hub) tools() []mcpserver.Tool {
	all := []mcpserver.Tool{
		mcpserver.Typed(mcpserver.Definition{
			Name: "search_repositories", Title: "Search repositories", OpenWorld: true,
			Description: "Search Docker Hub's public repositories.",
		}, h.searchRepositories),
		mcpserver.Typed(mcpserver.Definition{
			Name: "get_repository", Title: "Get a repository", OpenWorld: true,
			Description: "Get what Docker Hub says about a repository: description, stars, pulls, dates, and which of its tags are immutable.",
		}, h.getRepository),
		mcpserver.Typed(mcpserver.Definition{
			Name: "list_tags", Title: "List tags", OpenWorld: true,
			Description: "List the tags of a Docker Hub repository as a table, newest first unless asked otherwise. " +
				"In a row pushed is a UTC date, size the compressed bytes, - what Docker Hub does not know; platforms says what p1, p2, … stand for. " +
				"Where truncated is true, pass next_cursor to go on; in this way the oldest tag is reached.",
		}, h.listTags),
		mcpserver.Typed(mcpserver.Definition{
			Name: "get_tag", Title: "Get a tag", OpenWorld: true,
			Description: "Get one tag of a Docker Hub repository: its digest, and digest, size and dates of push and pull for each platform. " +
				"What Docker Hub does not know (digests and sizes of old tags, say) is absent.",
		}, h.getTag),
		mcpserver.Typed(mcpserver.Definition{
			Name: "resolve_digest", Title: "Find tags by digest", OpenWorld: true,
			Description: "Find the tags of a Docker Hub repository that a digest has, as a whole or as one platform's image. Newest tags are looked at first.",
		}, h.resolveDigest),
		mcpserver.Typed(mcpserver.Definition{
			Name: "list_namespaces", Title: "List namespaces", OpenWorld: true,
			Description: "List the namespaces of the account that this server is logged in with: its own, and the organizations of its user.",
		}, h.listNamespaces),
		mcpserver.Typed(mcpserver.Definition{
			Name: "rate_limit_status", Title: "Rate limits", OpenWorld: true,
			Description: "Tell what is left of the two limits that this server is under at Docker Hub: that of its API, and that on pulling images, " +
				"of which no tool here uses any.",
		}, h.rateLimitStatus),
	}
	for i := range all {
		all[i] = h.guarded(all[i])
	}
	return all
}

// guarded keeps an upstream that repeats a token from handing it to a caller.
func (h *hub) guarded(tool mcpserver.Tool) mcpserver.Tool {
	call := tool.Call
	tool.Call = func(ctx context.Context, args json.RawMessage) (mcpserver.Result, error) {
		result, err := call(ctx, args)
		if h.login.reveals(string(result.Structured)) || err != nil && h.login.reveals(err.Error()) {
			return mcpserver.Result{}, mcpserver.Errorf(mcpserver.CodeUnavailable, "Docker Hub's answer repeats a token of this server's; it is not shown")
		}
		return result, err
	}
	return tool
}

func invalid(argument string, err error) error {
	return mcpserver.Errorf(mcpserver.CodeInvalidArguments, argument+": %w", err)
}

type getTagIn struct {
	Repository string `json:"repository" jsonschema:"repository in any form that docker takes: nginx, nginx:1.27, docker.io/acme/api" minLength:"1" maxLength:"512" pattern:"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$"`
	Tag        string `json:"tag,omitempty" jsonschema:"if absent, the tag in repository, or latest" minLength:"1" maxLength:"128" pattern:"^[A-Za-z0-9_][A-Za-z0-9._-]*$"`
}

type getTagOut struct {
	Repository  string     `json:"repository"`
	Tag         string     `json:"tag"`
	Digest      string     `json:"digest,omitempty"`       // of the index or, for a single platform, the manifest
	MediaType   string     `json:"media_type,omitempty"`   // of what the digest names
	SizeBytes   int64      `json:"size_bytes,omitempty"`   // compressed
	Status      string     `json:"status,omitempty"`       // active, inactive or stale: how long ago it was pulled or pushed
	LastUpdated string     `json:"last_updated,omitempty"` // RFC 3339
	LastPushed  string     `json:"last_pushed,omitempty"`
	LastPulled  string     `json:"last_pulled,omitempty"`
	Images      []tagImage `json:"images"`    // one for each platform; unknown/unknown is an attestation
	Truncated   bool       `json:"truncated"` // whether there are more images than shown
}

type tagImage struct {
	Platform   string `json:"platform,omitempty"` // os/architecture or os/architecture/variant
	OSVersion  string `json:"os_version,omitempty"`
	Digest     string `json:"digest,omitempty"` // of the platform's manifest
	SizeBytes  int64  `json:"size_bytes,omitempty"`
	Status     string `json:"status,omitempty"`
	LastPushed string `json:"last_pushed,omitempty"`
	LastPulled string `json:"last_pulled,omitempty"`
}

func (h *hub) getTag(ctx context.Context, in getTagIn) (getTagOut, error) {
	ref, err := parseReference(in.Repository)
	if err != nil {
		return getTagOut{}, invalid("repository", err)
	}
	name, err := ref.wantedTag(in.Tag)
	if err != nil {
		return getTagOut{}, invalid("tag", err)
	}
	tag, err := h.tag(ctx, ref, name)
	if err != nil {
		return getTagOut{}, err
	}
	out := getTagOut{
		Repository: ref.String(), Tag: tag.Name, Digest: string(tag.Digest), MediaType: string(tag.MediaType),
		SizeBytes: int64(tag.FullSize), Status: string(tag.Status), LastUpdated: tag.LastUpdated.text(),
		LastPushed: tag.LastPushed.text(), LastPulled: tag.LastPulled.text(),
		Images: make([]tagImage, 0, len(tag.Images)), Truncated: len(tag.Images) > maxImages,
	}
	for _, image := range tag.Images[:min(len(tag.Images), maxImages)] {
		out.Images = append(out.Images, tagImage{
			Platform: image.platform(), OSVersion: string(image.OSVersion), Digest: string(image.Digest), SizeBytes: int64(image.Size),
			Status: string(image.Status), LastPushed: image.LastPushed.text(), LastPulled: image.LastPulled.text(),
		})
	}
	return out, nil
}

type getRepositoryIn struct {
	Repository      string `json:"repository" jsonschema:"repository in any form that docker takes: nginx, docker.io/acme/api; a tag or digest in it is ignored" minLength:"1" maxLength:"512" pattern:"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$"`
	LongDescription bool   `json:"long_description,omitempty" jsonschema:"whether to return the long description too, a page of Markdown"`
}

type getRepositoryOut struct {
	Repository         string         `json:"repository"`
	Description        string         `json:"description,omitempty"`
	Status             string         `json:"status,omitempty"`
	Private            bool           `json:"private"`
	Stars              *int64         `json:"stars,omitempty"`
	Pulls              *int64         `json:"pulls,omitempty"`
	SizeBytes          int64          `json:"size_bytes,omitempty"`    // storage that all tags take
	LastUpdated        string         `json:"last_updated,omitempty"`  // last push, RFC 3339
	LastModified       string         `json:"last_modified,omitempty"` // last change of settings or content
	DateRegistered     string         `json:"date_registered,omitempty"`
	Categories         []string       `json:"categories,omitempty"`
	ImmutableTags      *immutableTags `json:"immutable_tags,omitempty"`       // absent where Docker Hub does not say
	LongDescription    string         `json:"long_description,omitempty"`     // Markdown by the repository's owner
	LongDescriptionCut bool           `json:"long_description_cut,omitempty"` // whether the end is missing
}

type immutableTags struct {
	Enabled   bool     `json:"enabled"`
	Rules     []string `json:"rules"`               // regular expressions; a tag that matches one cannot be overwritten
	Truncated bool     `json:"truncated,omitempty"` // whether there are more rules than shown
}

func (h *hub) getRepository(ctx context.Context, in getRepositoryIn) (getRepositoryOut, error) {
	ref, err := parseReference(in.Repository)
	if err != nil {
		return getRepositoryOut{}, invalid("repository", err)
	}
	found, err := h.repository(ctx, ref)
	if err != nil {
		return getRepositoryOut{}, err
	}
	out := getRepositoryOut{
		Repository: ref.String(), Description: cut(found.Description, maxDescription), Status: string(found.Status),
		Private: found.Private, Stars: found.Stars, Pulls: found.Pulls, SizeBytes: int64(found.StorageSize),
		LastUpdated: found.LastUpdated.text(), LastModified: found.LastModified.text(), DateRegistered: found.DateRegistered.text(),
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

const sortRelevance = "relevance"

type searchRepositoriesIn struct {
	Query           string `json:"query" jsonschema:"words to look for" minLength:"1" maxLength:"200"`
	Badge           string `json:"badge,omitempty" jsonschema:"only repositories with this badge" enum:"official,verified_publisher,open_source"`
	Architecture    string `json:"architecture,omitempty" jsonschema:"amd64, arm64, …" maxLength:"32" pattern:"^[a-z0-9_]+$"`
	OperatingSystem string `json:"operating_system,omitempty" enum:"linux,windows"`
	Sort            string `json:"sort,omitempty" jsonschema:"the best, most pulled or latest first" enum:"relevance,pull_count,updated_at" default:"relevance"`
	Limit           int    `json:"limit,omitempty" jsonschema:"results in one answer; if absent, 25, or as many as in the answer before" minimum:"1" maximum:"100"`
	Cursor          string `json:"cursor,omitempty" jsonschema:"next_cursor of the answer before, with the same arguments, but limit" maxLength:"128" pattern:"^[A-Za-z0-9_-]+$"`
}

type searchRepositoriesOut struct {
	Total        int               `json:"total"` // how many match, in this answer or not
	Repositories []foundRepository `json:"repositories"`
	Truncated    bool              `json:"truncated"`             // whether more follow
	NextCursor   string            `json:"next_cursor,omitempty"` // absent at the end, and where Docker Hub's search goes no further
}

type foundRepository struct {
	Repository       string   `json:"repository"`
	Description      string   `json:"description,omitempty"`
	Badge            string   `json:"badge,omitempty"`
	Stars            *int64   `json:"stars,omitempty"`
	Pulls            string   `json:"pulls,omitempty"` // rounded
	UpdatedAt        string   `json:"updated_at,omitempty"`
	OperatingSystems []string `json:"operating_systems,omitempty"`
	Architectures    []string `json:"architectures,omitempty"`
	Archived         bool     `json:"archived,omitempty"`
}

func (h *hub) searchRepositories(ctx context.Context, in searchRepositoriesIn) (searchRepositoriesOut, error) {
	place := cursor{kind: searchCursor, listing: sumOf(in.Query, in.Badge, in.Architecture, in.OperatingSystem, in.Sort)}
	if err := place.resume(in.Cursor, in.Limit); err != nil {
		return searchRepositoriesOut{}, err
	}
	size := min(place.limit, maxSearched-place.at)
	if size <= 0 {
		return searchRepositoriesOut{}, invalid("cursor", errCursor)
	}
	query := searchQuery{text: in.Query, badge: in.Badge, architecture: in.Architecture, os: in.OperatingSystem, sort: in.Sort}
	page, err := h.search(ctx, query, place.at, size)
	if err != nil {
		return searchRepositoriesOut{}, err
	}
	out := searchRepositoriesOut{Total: page.Total, Repositories: make([]foundRepository, 0, len(page.Results))}
	for _, result := range page.Results {
		// What docker could not pull is no repository: extensions, plug-ins, names in a form to come.
		ref, err := parseReference(result.Name)
		if err != nil || result.Type != "" && result.Type != "image" {
			continue
		}
		found := foundRepository{
			Repository: ref.String(), Description: cut(result.ShortDescription, maxSnippet), Stars: result.Stars, Pulls: string(result.Pulls),
			UpdatedAt: result.UpdatedAt.day(), OperatingSystems: result.OperatingSystems, Architectures: result.Architectures, Archived: result.Archived,
		}
		if result.Badge != "none" {
			found.Badge = string(result.Badge)
		}
		out.Repositories = append(out.Repositories, found)
	}
	place.at, place.size = place.at+size, size
	out.Truncated = place.at < page.Total && len(page.Results) > 0
	if out.Truncated && place.at < maxSearched {
		out.NextCursor = place.String()
	}
	return out, nil
}

type listNamespacesIn struct {
	Cursor string `json:"cursor,omitempty" jsonschema:"next_cursor of the answer before" maxLength:"128" pattern:"^[A-Za-z0-9_-]+$"`
}

type listNamespacesOut struct {
	Namespaces []namespace `json:"namespaces"`
	Truncated  bool        `json:"truncated"` // whether more follow
	NextCursor string      `json:"next_cursor,omitempty"`
}

type namespace struct {
	Namespace string `json:"namespace"`
	Type      string `json:"type"`           // user or organization
	Role      string `json:"role,omitempty"` // the user's in the organization
}

func (h *hub) listNamespaces(ctx context.Context, in listNamespacesIn) (listNamespacesOut, error) {
	who := h.login.current(ctx)
	if who == nil {
		return listNamespacesOut{}, mcpserver.Errorf(mcpserver.CodeForbidden,
			"this server is not logged in to Docker Hub, so it has no namespaces; whoever runs it can give it a token with --login")
	}
	place := cursor{kind: namespacesCursor, listing: sumOf(who.identifier)}
	if err := place.resume(in.Cursor, maxPageSize); err != nil {
		return listNamespacesOut{}, err
	}
	out := listNamespacesOut{Namespaces: []namespace{}}
	if who.organization() {
		// Its token is no user's. That it is good is all there is to ask.
		_, err := h.accessToken(ctx, who)
		out.Namespaces = append(out.Namespaces, namespace{Namespace: who.identifier, Type: "organization"})
		return out, err
	}
	place.size = maxPageSize
	page, more, err := h.organizations(ctx, place.page())
	if err != nil {
		return listNamespacesOut{}, err
	}
	if place.at == 0 {
		out.Namespaces = append(out.Namespaces, namespace{Namespace: who.identifier, Type: "user"})
	}
	for _, organization := range page.Results {
		if identifierForm.MatchString(organization.Name) {
			out.Namespaces = append(out.Namespaces, namespace{Namespace: organization.Name, Type: "organization", Role: string(organization.Role)})
		}
	}
	place.at += maxPageSize
	if out.Truncated = more && place.at < maxRows; out.Truncated {
		out.NextCursor = place.String()
	}
	return out, nil
}

type rateLimitStatusIn struct{}

type rateLimitStatusOut struct {
	API       *rateLimit `json:"api,omitempty"`            // requests to the API, which is what these tools make
	Pull      *rateLimit `json:"pull,omitempty"`           // image pulls, as they would be counted for this server: nothing that these tools do counts
	Unlimited bool       `json:"pull_unlimited,omitempty"` // pulls are not limited
	Problems  []string   `json:"problems,omitempty"`       // why a half is absent
	AsOf      string     `json:"as_of"`
}

type rateLimit struct {
	Limit         int    `json:"limit"`
	Remaining     int    `json:"remaining"`
	WindowSeconds int64  `json:"window_seconds,omitempty"` // how long each pull counts
	ResetsAt      string `json:"resets_at,omitempty"`      // when all of it is back; of pulls at the latest, if nothing is pulled until then
	CountedBy     string `json:"counted_by"`               // address or account
}

func (h *hub) rateLimitStatus(ctx context.Context, _ rateLimitStatusIn) (rateLimitStatusOut, error) {
	out := rateLimitStatusOut{AsOf: h.now().UTC().Format(time.RFC3339)}
	api, apiErr := h.apiQuota(ctx)
	if apiErr == nil {
		out.API = api.rateLimit()
	} else {
		out.Problems = append(out.Problems, problem("api", apiErr))
	}
	pull, limited, err := h.pullQuota(ctx)
	switch {
	case err == nil && limited:
		out.Pull = pull.rateLimit()
	case err == nil:
		out.Unlimited = true
	case apiErr != nil:
		return rateLimitStatusOut{}, apiErr
	default:
		out.Problems = append(out.Problems, problem("pull", err))
	}
	return out, nil
}
