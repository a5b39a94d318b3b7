package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// tools is the table of what a caller may ask.
func (s *server) tools() []mcpserver.Tool {
	table := []mcpserver.Tool{
		mcpserver.Typed(mcpserver.Definition{
			Name: "list_repositories", Title: "List repositories", OpenWorld: true,
			Description: "List the repositories of a registry: its catalogue, or else those that the operator lists.",
		}, s.listRepositories),
		mcpserver.Typed(mcpserver.Definition{
			Name: "list_tags", Title: "List tags", OpenWorld: true,
			Description: "List the tags of a repository, by name. " +
				"Registries do not say when a tag was pushed; inspect_image says when an image was built.",
		}, s.listTags),
		mcpserver.Typed(mcpserver.Definition{
			Name: "check_updates", Title: "Find newer versions of images", OpenWorld: true,
			Description: "Find each image's newest tag of the same variant and precision, no prerelease unless it is on one. " +
				"Pass exactly one of references, text and path. " +
				"Updates are patch, minor, major or rebuild (same tag, new digest), as tag@digest, with the lines to change; " +
				"a newer release of the distribution is told apart. evidence says why other tags are not offered.",
		}, s.checkUpdates),
		mcpserver.Typed(mcpserver.Definition{
			Name: "check_pinning", Title: "Find images that are not pinned", OpenWorld: true,
			Description: "Find references without a tag or digest, with latest or a floating tag, and pins whose tag has moved on, " +
				"with the digest to pin to and the lines to change. No version changes. Pass exactly one of references, text and path.",
		}, s.checkPinning),
		mcpserver.Typed(mcpserver.Definition{
			Name: "inspect_image", Title: "Inspect an image", OpenWorld: true,
			Description: "Show an image's platforms, configuration, labels, annotations, age, layers with their sizes and instructions, " +
				"and what refers to it (signatures, attestations, SBOMs).",
		}, s.inspectImage),
		mcpserver.Typed(mcpserver.Definition{
			Name: "find_base_image", Title: "Find an image's base", OpenWorld: true,
			Description: "Find the image that an image was built on: by annotation, else by the layers of candidates, else by a guess from its history; " +
				"method says which. Says whether its tag has a newer digest by now, and how old it is.",
		}, s.findBaseImage),
		mcpserver.Typed(mcpserver.Definition{
			Name: "lint_image", Title: "Check how an image is built", OpenWorld: true,
			Description: "Check an image as section 4 of the CIS Docker Benchmark and dockle do: root user, secrets in environment, history or files, setuid files, " +
				"package caches, health check, ADD from a URL, empty passwords and more.",
		}, s.lintImage),
		mcpserver.Typed(mcpserver.Definition{
			Name: "check_signatures", Title: "Check an image's signatures", OpenWorld: true,
			Description: "Look for an image's cosign signatures and attestations, of any format, by tag and by referrer, and verify them " +
				"with the operator's keys and signers. verified, present (and not verified) and absent are three things; an attestation is no signature.",
		}, s.checkSignatures),
	}
	for i := range table {
		table[i].Timeout = callTimeout
		if table[i].Definition.Name == "lint_image" {
			table[i].Timeout = lintTimeout
		}
	}
	return table
}

type listRepositoriesIn struct {
	Registry string `json:"registry" jsonschema:"host[:port]: ghcr.io, registry.example.net:5000" maxLength:"260" pattern:"^[A-Za-z0-9][A-Za-z0-9.:-]*$"`
	Contains string `json:"contains,omitempty" jsonschema:"only names that contain this" maxLength:"128" pattern:"^[a-z0-9._/-]+$"`
	Limit    int    `json:"limit,omitempty" minimum:"1" maximum:"1000" default:"100"`
	Cursor   string `json:"cursor,omitempty" jsonschema:"next_cursor of the answer before, with the same arguments" maxLength:"64" pattern:"^[A-Za-z0-9_-]+$"`
}

type listRepositoriesOut struct {
	Registry string `json:"registry"`
	// catalogue: the registry's own list; operator: it has none that may be read, and these are those that the operator lists
	Source       string   `json:"source" enum:"catalogue,operator"`
	Total        int      `json:"total"`
	Repositories []string `json:"repositories"`
	Truncated    bool     `json:"truncated"` // whether there are more
	NextCursor   string   `json:"next_cursor,omitempty"`
}

func (s *server) listRepositories(ctx context.Context, in listRepositoriesIn) (listRepositoriesOut, error) {
	registry, err := name.NewRegistry(in.Registry)
	if err != nil || !hostForm.MatchString(registry.RegistryStr()) {
		return listRepositoriesOut{}, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "registry: %q is no registry's host", clip(in.Registry, maxShown))
	}
	id := listing("repositories", hostOf(registry), in.Contains, fmt.Sprint(in.Limit))
	offset, err := startAt(in.Cursor, id)
	if err != nil {
		return listRepositoriesOut{}, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "cursor: %w", err)
	}
	asked, end, err := s.begin(ctx)
	if err != nil {
		return listRepositoriesOut{}, err
	}
	defer end()
	out := listRepositoriesOut{Registry: hostOf(registry), Source: "catalogue"}
	all, err := asked.catalogue(ctx, registry)
	if err != nil {
		own := s.client.config.listed(registry)
		if len(own) == 0 {
			return listRepositoriesOut{}, explain(fmt.Sprintf("the catalogue of %s (and the operator lists no repositories for it)", out.Registry), err)
		}
		out.Source, all = "operator", tagList{tags: own}
	}
	matching := containing(all.tags, in.Contains)
	out.Total = len(matching)
	out.Repositories, out.NextCursor = page(matching, offset, in.Limit, id)
	out.Truncated = out.NextCursor != "" || all.cut
	return out, nil
}

func containing(names []string, part string) []string {
	if part == "" {
		return names
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !strings.Contains(name, part) })
}

type listTagsIn struct {
	Repository string `json:"repository" jsonschema:"nginx, ghcr.io/acme/api; a tag or digest in it is ignored" maxLength:"512" pattern:"^[A-Za-z0-9\\[][A-Za-z0-9._:/@+\\[\\]-]*$"`
	Contains   string `json:"contains,omitempty" jsonschema:"only names that contain this" maxLength:"128" pattern:"^[A-Za-z0-9._-]+$"`
	Limit      int    `json:"limit,omitempty" minimum:"1" maximum:"1000" default:"100"`
	Cursor     string `json:"cursor,omitempty" jsonschema:"next_cursor of the answer before, with the same arguments" maxLength:"64" pattern:"^[A-Za-z0-9_-]+$"`
}

type listTagsOut struct {
	Repository string   `json:"repository"` // full name of the repository
	Total      int      `json:"total"`      // how many tags match, in this answer or not
	Tags       []string `json:"tags"`
	Truncated  bool     `json:"truncated"` // whether there are more
	NextCursor string   `json:"next_cursor,omitempty"`
}

func (s *server) listTags(ctx context.Context, in listTagsIn) (listTagsOut, error) {
	repository, err := parseRepository(in.Repository)
	if err != nil {
		return listTagsOut{}, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "repository: %w", err)
	}
	id := listing("tags", fullName(repository), in.Contains, fmt.Sprint(in.Limit))
	offset, err := startAt(in.Cursor, id)
	if err != nil {
		return listTagsOut{}, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "cursor: %w", err)
	}
	asked, end, err := s.begin(ctx)
	if err != nil {
		return listTagsOut{}, err
	}
	defer end()
	all, err := asked.keptTags(ctx, repository)
	if err != nil {
		return listTagsOut{}, explain("the tags of "+fullName(repository), err)
	}
	matching := containing(all.tags, in.Contains)
	out := listTagsOut{Repository: fullName(repository), Total: len(matching)}
	out.Tags, out.NextCursor = page(matching, offset, in.Limit, id)
	out.Truncated = out.NextCursor != "" || all.cut
	return out, nil
}

type imagesIn struct {
	References []string `json:"references,omitempty" jsonschema:"nginx:1.25, ghcr.io/acme/api:v2@sha256:…" maxItems:"100" minLength:"1" maxLength:"512"`
	Text       string   `json:"text,omitempty" jsonschema:"instead: the text of a file" maxLength:"1048576"`
	Path       string   `json:"path,omitempty" jsonschema:"instead: a path in the workspace; of a folder, its Dockerfiles, .yaml and .yml files" maxLength:"1024"`
	Kind       string   `json:"kind,omitempty" jsonschema:"what it is; auto finds out" enum:"auto,dockerfile,compose,kubernetes,helm,workflow" default:"auto"`
	Cursor     string   `json:"cursor,omitempty" jsonschema:"next_cursor of the answer before, with the same arguments" maxLength:"64" pattern:"^[A-Za-z0-9_-]+$"`
}

type checkUpdatesOut struct {
	Images     []updateLine `json:"images"`             // one for each reference; the same reference in several places is one
	Total      int          `json:"total"`              // how many references there are, in this answer or not
	Problems   []string     `json:"problems,omitempty"` // what of the text or files could not be read
	Truncated  bool         `json:"truncated"`          // whether there are more
	NextCursor string       `json:"next_cursor,omitempty"`
}

func (s *server) checkUpdates(ctx context.Context, in imagesIn) (checkUpdatesOut, error) {
	found, err := judge(ctx, s, "updates", in, (*session).update)
	return checkUpdatesOut{found.lines, found.total, found.problems, found.truncated, found.next}, err
}

type checkPinningOut struct {
	Images     []pinLine `json:"images"`             // one for each reference; the same reference in several places is one
	Total      int       `json:"total"`              // how many references there are, in this answer or not
	Problems   []string  `json:"problems,omitempty"` // what of the text or files could not be read
	Truncated  bool      `json:"truncated"`          // whether there are more
	NextCursor string    `json:"next_cursor,omitempty"`
}

func (s *server) checkPinning(ctx context.Context, in imagesIn) (checkPinningOut, error) {
	found, err := judge(ctx, s, "pinning", in, (*session).pin)
	return checkPinningOut{found.lines, found.total, found.problems, found.truncated, found.next}, err
}

// judged is a page of verdicts on images.
type judged[Line any] struct {
	lines     []Line
	total     int
	problems  []string
	truncated bool
	next      string
}

// judge holds each image of the input against f, many at a time.
func judge[Line any](ctx context.Context, s *server, tool string, in imagesIn, f func(*session, context.Context, target, map[string]document) (Line, error)) (judged[Line], error) {
	none := judged[Line]{}
	id := listing(append([]string{tool, in.Text, in.Path, in.Kind}, in.References...)...)
	offset, err := startAt(in.Cursor, id)
	if err != nil {
		return none, mcpserver.Errorf(mcpserver.CodeInvalidArguments, "cursor: %w", err)
	}
	asked, end, err := s.begin(ctx)
	if err != nil {
		return none, err
	}
	defer end()
	images, err := s.targets(ctx, inputs{references: in.References, text: in.Text, path: in.Path, kind: source(in.Kind)})
	if err != nil {
		return none, err
	}
	part, next := page(images.images, offset, maxImages, id)
	out := judged[Line]{lines: make([]Line, len(part)), total: len(images.images), next: next, truncated: next != "" || images.cut}
	faults := make([]error, len(part))
	each(len(part), atOnce, func(i int) { out.lines[i], faults[i] = f(asked, ctx, part[i], images.documents) })
	for _, err := range faults {
		if err != nil {
			return none, err
		}
	}
	for _, problem := range images.problems[:min(len(images.problems), maxProblems)] {
		out.problems = append(out.problems, shownProblem(problem))
	}
	return out, nil
}
