package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	fakehub "github.com/bulkhead-mcp/bulkhead/servers/e2e/fakehub/hub"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/outbound"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// walk follows the cursors from the first answer to the last and returns all names.
func walk(t *testing.T, h *hub, in listTagsIn) (names []string, answers int) {
	t.Helper()
	if in.Order == "" {
		in.Order = "newest" // as the schema's default does
	}
	for {
		out, err := h.listTags(t.Context(), in)
		if err != nil {
			t.Fatalf("after %d answers: %v", answers, err)
		}
		answers++
		for _, tag := range out.Tags {
			names = append(names, tag.Name)
		}
		if out.Truncated != (out.NextCursor != "") {
			t.Fatalf("truncated is %t and next_cursor %q", out.Truncated, out.NextCursor)
		}
		if !out.Truncated {
			if len(names) != out.Total {
				t.Errorf("%d tags of a total of %d", len(names), out.Total)
			}
			return names, answers
		}
		if answers > out.Total {
			t.Fatal("the cursors lead nowhere")
		}
		// A caller that repeats nothing but the cursor and what selects the tags.
		in.Cursor, in.Limit = out.NextCursor, 0
	}
}

// The oldest tag is in reach, whatever the size of an answer, and no tag comes twice or not at all.
func TestListTagsReachesTheOldest(t *testing.T) {
	h := hubAt(t, fakehub.Handler())
	for _, tc := range []struct {
		in          listTagsIn
		tags        int
		answers     int
		first, last string
	}{
		{listTagsIn{Repository: "nginx"}, fakehub.NginxTags, 10, fakehub.NginxNewest, fakehub.NginxOldest},
		{listTagsIn{Repository: "library/nginx:1.27", Limit: 100}, fakehub.NginxTags, 3, fakehub.NginxNewest, fakehub.NginxOldest},
		{listTagsIn{Repository: "docker.io/nginx", Limit: 7, Order: "oldest"}, fakehub.NginxTags, 33, fakehub.NginxOldest, fakehub.NginxNewest},
		{listTagsIn{Repository: "nginx", Limit: 1, Name: "1.7."}, 10, 10, "1.7.4-alpine", fakehub.NginxOldest},
		{listTagsIn{Repository: "nginx", Name: "nothing"}, 0, 1, "", ""},
		{listTagsIn{Repository: "alpine", Limit: 3}, 3, 1, "latest", "edge"},
	} {
		t.Run(fmt.Sprintf("%s %s %s %d", tc.in.Repository, tc.in.Name, tc.in.Order, tc.in.Limit), func(t *testing.T) {
			names, answers := walk(t, h, tc.in)
			if len(names) != tc.tags || answers != tc.answers {
				t.Errorf("%d tags in %d answers, want %d in %d", len(names), answers, tc.tags, tc.answers)
			}
			if tc.tags > 0 && (names[0] != tc.first || names[len(names)-1] != tc.last) {
				t.Errorf("from %s to %s, want from %s to %s", names[0], names[len(names)-1], tc.first, tc.last)
			}
			slices.Sort(names)
			if len(slices.Compact(names)) != tc.tags {
				t.Error("a tag came twice")
			}
		})
	}
}

func TestCursorRefused(t *testing.T) {
	h := hubAt(t, fakehub.Handler())
	first, err := h.listTags(t.Context(), listTagsIn{Repository: "nginx", Order: "newest", Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	beyond := cursor{page: 24, size: 10, listing: listing("docker.io/library/nginx", "", "newest")}.String()
	for _, tc := range []struct {
		name string
		in   listTagsIn
		code mcpserver.Code
		word string
	}{
		{"damaged", listTagsIn{Repository: "nginx", Order: "newest", Cursor: first.NextCursor + "A"}, mcpserver.CodeInvalidArguments, "damaged"},
		{"other repository", listTagsIn{Repository: "alpine", Order: "newest", Cursor: first.NextCursor}, mcpserver.CodeInvalidArguments, "another repository"},
		{"other name", listTagsIn{Repository: "nginx", Name: "a", Order: "newest", Cursor: first.NextCursor}, mcpserver.CodeInvalidArguments, "another repository, name"},
		{"other order", listTagsIn{Repository: "nginx", Order: "oldest", Cursor: first.NextCursor}, mcpserver.CodeInvalidArguments, "order"},
		{"other limit", listTagsIn{Repository: "nginx", Order: "newest", Limit: 11, Cursor: first.NextCursor}, mcpserver.CodeInvalidArguments, "limit"},
		{"beyond the end", listTagsIn{Repository: "nginx", Order: "newest", Cursor: beyond}, mcpserver.CodeNotFound, "start again without a cursor"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := h.listTags(t.Context(), tc.in)
			wantError(t, err, tc.code, tc.word)
		})
	}
	// The same repository in another form, and the limit repeated, are the same listing.
	if _, err := h.listTags(t.Context(), listTagsIn{Repository: "docker.io/library/nginx", Order: "newest", Limit: 10, Cursor: first.NextCursor}); err != nil {
		t.Error(err)
	}
}

// What cannot be a repository of Docker Hub is refused before anything is asked.
func TestForeignReferences(t *testing.T) {
	h := newHub(func() (http.RoundTripper, error) {
		t.Error("the way out was asked for")
		return nil, errors.New("none")
	})
	for _, repository := range []string{"ghcr.io/acme/api", "acme/..", "acme/a/b", "Acme/api"} {
		_, err := h.listTags(t.Context(), listTagsIn{Repository: repository})
		wantError(t, err, mcpserver.CodeInvalidArguments, "repository: ", repository)
		_, err = h.getTag(t.Context(), getTagIn{Repository: repository})
		wantError(t, err, mcpserver.CodeInvalidArguments, "repository: ")
		_, err = h.getRepository(t.Context(), getRepositoryIn{Repository: repository})
		wantError(t, err, mcpserver.CodeInvalidArguments, "repository: ")
	}
	_, err := h.getTag(t.Context(), getTagIn{Repository: "nginx:1", Tag: "2"})
	wantError(t, err, mcpserver.CodeInvalidArguments, "tag: ", `"1"`, `"2"`)
}

// Describing the tools takes no way out; calling one without says how to get it.
func TestWithoutEgress(t *testing.T) {
	calls := 0
	table, err := tools(mcpserver.Env{Outbound: func() (*outbound.Client, error) {
		calls++
		return nil, mcpserver.Errorf(mcpserver.CodeUnavailable, "set --egress")
	}})
	if err != nil || len(table) != 3 || calls != 0 {
		t.Fatalf("%d tools, %v, outbound asked for %d times", len(table), err, calls)
	}
	_, err = table[0].Call(t.Context(), json.RawMessage(`{"repository":"nginx"}`))
	wantError(t, err, mcpserver.CodeUnavailable, "set --egress")
}

// The answers as they go to the caller, and the defaults of the schemas.
func TestAnswers(t *testing.T) {
	h := hubAt(t, fakehub.Handler())
	for _, tc := range []struct{ golden, tool, args string }{
		{"list_tags_newest", "list_tags", `{"repository":"nginx","limit":2}`},
		{"list_tags_oldest", "list_tags", `{"repository":"nginx","limit":2,"order":"oldest"}`},
		{"list_tags_none", "list_tags", `{"repository":"nginx","name":"nothing"}`},
		{"get_tag_latest", "get_tag", `{"repository":"nginx"}`},
		{"get_tag_old", "get_tag", `{"repository":"docker.io/library/nginx:1.7.0"}`},
		{"get_tag_windows", "get_tag", `{"repository":"alpine","tag":"edge"}`},
		{"get_repository", "get_repository", `{"repository":"acme/api"}`},
		{"get_repository_sparse", "get_repository", `{"repository":"alpine","long_description":true}`},
		{"get_repository_long", "get_repository", `{"repository":"nginx","long_description":true}`},
	} {
		t.Run(tc.golden, func(t *testing.T) {
			i := slices.IndexFunc(h.tools(), func(tool mcpserver.Tool) bool { return tool.Definition.Name == tc.tool })
			result, err := h.tools()[i].Call(t.Context(), json.RawMessage(tc.args))
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if err := json.Indent(&got, result.Structured, "", "  "); err != nil {
				t.Fatal(err)
			}
			got.WriteByte('\n')
			file := filepath.Join("testdata", tc.golden+".json")
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLongDescription(t *testing.T) {
	h := hubAt(t, fakehub.Handler())
	out, err := h.getRepository(t.Context(), getRepositoryIn{Repository: fakehub.User})
	if err != nil || out.LongDescription != "" || out.LongDescriptionCut {
		t.Errorf("not asked for: %+v, %v", out, err)
	}
	out, err = h.getRepository(t.Context(), getRepositoryIn{Repository: fakehub.User, LongDescription: true})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(out.LongDescription); n > maxLong || n < maxLong-utf8.UTFMax || !out.LongDescriptionCut || !utf8.ValidString(out.LongDescription) {
		t.Errorf("%d bytes, cut %t", n, out.LongDescriptionCut)
	}
}

// An answer cannot grow without bound, however much Docker Hub sends.
func TestBounds(t *testing.T) {
	image := `{"os":"os%d","architecture":"amd64"}`
	var images, rules, categories []string
	for i := range 2 * maxImages {
		images = append(images, fmt.Sprintf(image, i))
		rules = append(rules, `"`+strings.Repeat("x", 99)+`"`)
		categories = append(categories, `{"name":"`+strings.Repeat("y", 2*maxCategory)+`"}`)
	}
	tag := `{"name":"v1","images":[` + strings.Join(images, ",") + `]}`

	one, err := hubSaying(t, http.StatusOK, nil, tag).getTag(t.Context(), getTagIn{Repository: "acme/api:v1"})
	if err != nil || len(one.Images) != maxImages || !one.Truncated {
		t.Errorf("%d images, truncated %t, %v", len(one.Images), one.Truncated, err)
	}
	list, err := hubSaying(t, http.StatusOK, nil, `{"count":1,"results":[`+tag+`]}`).listTags(t.Context(), listTagsIn{Repository: "acme/api"})
	if err != nil || len(list.Tags) != 1 || len(list.Tags[0].Platforms) != maxPlatforms || !list.Tags[0].Truncated {
		t.Errorf("%+v, %v", list, err)
	}
	repository, err := hubSaying(t, http.StatusOK, nil, `{"description":"`+strings.Repeat("z", 2*maxDescription)+`","categories":[`+strings.Join(categories, ",")+
		`],"immutable_tags_settings":{"enabled":true,"rules":[`+strings.Join(rules, ",")+`]}}`).getRepository(t.Context(), getRepositoryIn{Repository: "acme/api"})
	if err != nil {
		t.Fatal(err)
	}
	if len(repository.Description) != maxDescription || len(repository.Categories) != maxCategories || len(repository.Categories[0]) != maxCategory {
		t.Errorf("description of %d bytes, %d categories", len(repository.Description), len(repository.Categories))
	}
	if r := repository.ImmutableTags; len(r.Rules) != maxRules/100 || len(r.Rules[len(r.Rules)-1]) != 99 || !r.Truncated {
		t.Errorf("%d rules, truncated %t", len(r.Rules), r.Truncated)
	}
}
