package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	fakehub "github.com/bulkhead-mcp/bulkhead/servers/e2e/fakehub/hub"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/outbound"
)

// What cannot be a repository of Docker Hub is refused before anything is asked.
func TestForeignReferences(t *testing.T) {
	h := hubThrough(t, func(*http.Request) (*http.Response, error) {
		t.Error("something was asked")
		return nil, errors.New("none")
	})
	for _, repository := range []string{"ghcr.io/acme/api", "acme/..", "acme/a/b", "Acme/api"} {
		_, err := h.listTags(t.Context(), listTagsIn{Repository: repository})
		wantError(t, err, mcpserver.CodeInvalidArguments, "repository: ", repository)
		_, err = h.getTag(t.Context(), getTagIn{Repository: repository})
		wantError(t, err, mcpserver.CodeInvalidArguments, "repository: ")
		_, err = h.getRepository(t.Context(), getRepositoryIn{Repository: repository})
		wantError(t, err, mcpserver.CodeInvalidArguments, "repository: ")
		_, err = h.resolveDigest(t.Context(), resolveDigestIn{Repository: repository, Digest: "sha256:" + strings.Repeat("0", 64)})
		wantError(t, err, mcpserver.CodeInvalidArguments, "repository: ")
	}
	_, err := h.listTags(t.Context(), listTagsIn{Repository: "nginx", Since: "2026-02-30"})
	wantError(t, err, mcpserver.CodeInvalidArguments, "since: ", "2026-01-31")
	_, err = h.getTag(t.Context(), getTagIn{Repository: "nginx:1", Tag: "2"})
	wantError(t, err, mcpserver.CodeInvalidArguments, "tag: ", `"1"`, `"2"`)
}

// Describing the tools takes no way out; calling one without says how to get it.
func TestWithoutEgress(t *testing.T) {
	calls := 0
	table := newHub(mcpserver.Env{Logger: testLogger(), Outbound: func() (*outbound.Client, error) {
		calls++
		return nil, mcpserver.Errorf(mcpserver.CodeUnavailable, "set --egress")
	}}, anonymous(t)).tools()
	if len(table) != 7 || calls != 0 {
		t.Fatalf("%d tools, outbound asked for %d times", len(table), calls)
	}
	_, err := table[1].Call(t.Context(), json.RawMessage(`{"repository":"nginx"}`))
	wantError(t, err, mcpserver.CodeUnavailable, "set --egress")
}

func TestLongDescription(t *testing.T) {
	h := hubAt(t, fake())
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
	if err != nil || len(list.Tags) != 1 || len(list.Platforms) != 1 || strings.Count(list.Platforms[0], " ") != maxPlatforms+1 || !strings.HasSuffix(list.Platforms[0], " …") {
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

// Lists whose items take two bytes each in the answer, and hundreds here, cost no memory.
func TestSwollenLists(t *testing.T) {
	swollen := func(item string) string { return "[" + strings.Repeat(item+",", maxBody/2/(len(item)+1)) + item + "]" }
	for name, tc := range map[string]struct {
		body string
		call func(h *hub) error
		word string // empty: what is too much is left out
	}{
		"tags": {`{"count":1000000,"results":` + swollen(`{}`) + `}`, func(h *hub) error {
			_, err := h.listTags(t.Context(), listTagsIn{Repository: "nginx"})
			return err
		}, "more than 100 rows"},
		"results": {`{"total":1000000,"results":` + swollen(`{}`) + `}`, func(h *hub) error {
			_, err := h.searchRepositories(t.Context(), searchRepositoriesIn{Query: "nginx"})
			return err
		}, "more than 100 rows"},
		"images": {`{"name":"latest","images":` + swollen(`{}`) + `}`, func(h *hub) error {
			out, err := h.getTag(t.Context(), getTagIn{Repository: "nginx"})
			if !out.Truncated || len(out.Images) != maxImages {
				t.Errorf("%d images, truncated %t", len(out.Images), out.Truncated)
			}
			return err
		}, ""},
		"rules": {`{"categories":` + swollen(`{}`)[:1<<20] + `{}],"immutable_tags_settings":{"rules":` + swollen(`""`)[:1<<20] + `""]}}`, func(h *hub) error {
			_, err := h.getRepository(t.Context(), getRepositoryIn{Repository: "nginx"})
			return err
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := hubSaying(t, http.StatusOK, nil, tc.body)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err := tc.call(h)
			runtime.ReadMemStats(&after)
			if tc.word != "" {
				wantError(t, err, mcpserver.CodeUnavailable, tc.word)
			} else if err != nil {
				t.Error(err)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > 10*maxBody {
				t.Errorf("%d bytes for an answer of %d", took, len(tc.body))
			}
		})
	}
}
