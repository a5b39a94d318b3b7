package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	fakehub "github.com/bulkhead-mcp/bulkhead/servers/e2e/fakehub/hub"
	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// walked is what a caller learns that follows the cursors.
type walked struct {
	names   []string
	answers []listTagsOut
	err     error
}

// walk follows the cursors from the first answer to the last; between runs after every answer but the last.
func walk(t *testing.T, h *hub, in listTagsIn, between func(answers int)) (w walked) {
	t.Helper()
	if in.Order == "" {
		in.Order = "newest" // as the schema's default does
	}
	for {
		out, err := h.listTags(t.Context(), in)
		if err != nil {
			w.err = err
			return w
		}
		w.answers = append(w.answers, out)
		for _, row := range out.Tags {
			names, _, _ := strings.Cut(row, " ")
			w.names = append(w.names, strings.Split(names, ",")...)
		}
		if out.Truncated != (out.NextCursor != "") {
			t.Fatalf("truncated is %t and next_cursor %q", out.Truncated, out.NextCursor)
		}
		if !out.Truncated {
			return w
		}
		if len(w.answers) > 2*w.answers[0].Total {
			t.Fatal("the cursors lead nowhere")
		}
		if between != nil {
			between(len(w.answers))
		}
		// A caller that repeats nothing but the cursor and what selects the tags.
		in.Cursor, in.Limit = out.NextCursor, 0
	}
}

// twice returns what stands in names more than once.
func twice(names []string) (double []string) {
	sorted := slices.Sorted(slices.Values(names))
	for i := 1; i < len(sorted); i++ {
		if sorted[i] == sorted[i-1] {
			double = append(double, sorted[i])
		}
	}
	return double
}

// missing returns what of want is not in names.
func missing(want, names []string) (gone []string) {
	has := map[string]bool{}
	for _, name := range names {
		has[name] = true
	}
	return slices.DeleteFunc(slices.Clone(want), func(name string) bool { return has[name] })
}

// The oldest tag is in reach, whatever the size of an answer, and no tag comes twice or not at all.
func TestListTagsReachesTheOldest(t *testing.T) {
	h := hubAt(t, fake())
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
		{listTagsIn{Repository: "alpine", Limit: 3, GroupByDigest: true}, 3, 1, "latest", "edge"},
		// Old tags have one platform only, and the filter looks at a hundred tags at a time.
		{listTagsIn{Repository: "nginx", Architecture: "arm/v7", Limit: 60}, fakehub.NginxTags - fakehub.NginxOld, 4, fakehub.NginxNewest, "1.10.0"},
		{listTagsIn{Repository: "nginx", Architecture: "amd64", Limit: 100}, fakehub.NginxTags, 3, fakehub.NginxNewest, fakehub.NginxOldest},
		{listTagsIn{Repository: "nginx", Architecture: "riscv64"}, 0, 1, "", ""},
		{listTagsIn{Repository: "nginx", Since: "2025-01-01"}, 4, 1, fakehub.NginxNewest, "1.29.3"},
		{listTagsIn{Repository: "nginx", Since: "2025-01-07T00:00:00Z", Order: "oldest"}, 3, 1, "alpine", fakehub.NginxNewest},
	} {
		t.Run(fmt.Sprintf("%s %s %s%s%s %d", tc.in.Repository, tc.in.Name, tc.in.Order, tc.in.Architecture, tc.in.Since, tc.in.Limit), func(t *testing.T) {
			w := walk(t, h, tc.in, nil)
			if w.err != nil {
				t.Fatal(w.err)
			}
			if len(w.names) != tc.tags || len(w.answers) != tc.answers {
				t.Errorf("%d tags in %d answers, want %d in %d", len(w.names), len(w.answers), tc.tags, tc.answers)
			}
			if len(w.names) > 0 && (w.names[0] != tc.first || w.names[len(w.names)-1] != tc.last) {
				t.Errorf("from %s to %s, want from %s to %s", w.names[0], w.names[len(w.names)-1], tc.first, tc.last)
			}
			if double := twice(w.names); double != nil {
				t.Errorf("twice: %v", double)
			}
			if note := w.answers[len(w.answers)-1].Note; note != "" {
				t.Errorf("nothing changed, and yet: %s", note)
			}
		})
	}
}

// Ten thousand tags: every one of them once, in a hundred requests.
func TestTenThousandTags(t *testing.T) {
	const most = 100
	for _, order := range []string{"newest", "oldest"} {
		hub := fake()
		w := walk(t, hubAt(t, hub), listTagsIn{Repository: fakehub.Big, Limit: 100, Order: order}, nil)
		if w.err != nil {
			t.Fatal(w.err)
		}
		want := hub.Tags(fakehub.Big)
		if order == "oldest" {
			slices.Reverse(want)
		}
		if diff := cmp.Diff(want, w.names); diff != "" || len(want) != fakehub.BigTags {
			t.Errorf("%s first: %d tags (-want +got):\n%s", order, len(w.names), diff)
		}
		asked := len(hub.Requests())
		t.Logf("%s first: %d tags in %d answers and %d requests", order, len(w.names), len(w.answers), asked)
		if asked > most {
			t.Errorf("%s first: %d requests, more than %d", order, asked, most)
		}
	}
}

// The list changes after every answer. What stays where it is comes once, and the answer says what is with the rest.
func TestChangesMeanwhile(t *testing.T) {
	push := func(hub *fakehub.Hub, names ...string) []string {
		for _, name := range names {
			hub.Push(fakehub.Big, name)
		}
		return names
	}
	remove := func(hub *fakehub.Hub, names ...string) []string {
		hub.Delete(fakehub.Big, names...)
		return names
	}
	oldest := func(hub *fakehub.Hub, n int) []string {
		names := hub.Tags(fakehub.Big)
		return names[len(names)-n:]
	}
	for name, tc := range map[string]struct {
		order  string
		change func(hub *fakehub.Hub, answers int) []string // returns what it touched
		exact  bool                                         // oldest first, a tag that is pushed again may cost another
		unseen bool                                         // it does no harm, and nothing tells of it
	}{
		"new tags are pushed": {"newest", func(hub *fakehub.Hub, n int) []string { return push(hub, fmt.Sprint("new-", n)) }, true, false},
		"many new tags are pushed": {"newest", func(hub *fakehub.Hub, n int) []string {
			for i := range 150 * (n % 2) {
				push(hub, fmt.Sprint("new-", n, "-", i))
			}
			return nil
		}, true, false},
		"the oldest is pushed again":           {"newest", func(hub *fakehub.Hub, _ int) []string { return push(hub, oldest(hub, 1)...) }, true, false},
		"a tag that was given is pushed again": {"newest", func(hub *fakehub.Hub, _ int) []string { return push(hub, hub.Tags(fakehub.Big)[50]) }, true, true},
		"the last that was given is pushed again": {"newest", func(hub *fakehub.Hub, n int) []string {
			return push(hub, hub.Tags(fakehub.Big)[100*n-1])
		}, true, true},
		"tags that were given are deleted": {"newest", func(hub *fakehub.Hub, _ int) []string { return remove(hub, hub.Tags(fakehub.Big)[:3]...) }, true, false},
		"tags to come are deleted":         {"newest", func(hub *fakehub.Hub, _ int) []string { return remove(hub, oldest(hub, 3)...) }, true, false},
		"half of it is deleted": {"newest", func(hub *fakehub.Hub, n int) []string {
			if n == 10 {
				return remove(hub, hub.Tags(fakehub.Big)[:700]...)
			}
			return nil
		}, true, false},
		"all that is left is deleted": {"newest", func(hub *fakehub.Hub, n int) []string {
			if n == 10 {
				return remove(hub, hub.Tags(fakehub.Big)[950:]...)
			}
			return nil
		}, true, false},
		"pushes and deletions": {"newest", func(hub *fakehub.Hub, n int) []string {
			touched := push(hub, fmt.Sprint("new-", n), oldest(hub, 1)[0])
			return append(touched, remove(hub, hub.Tags(fakehub.Big)[40:45]...)...)
		}, true, false},
		"oldest first, tags are pushed":        {"oldest", func(hub *fakehub.Hub, n int) []string { return push(hub, fmt.Sprint("new-", n)) }, true, false},
		"oldest first, given ones are deleted": {"oldest", func(hub *fakehub.Hub, _ int) []string { return remove(hub, oldest(hub, 1)...) }, true, false},
		"oldest first, one is pushed again":    {"oldest", func(hub *fakehub.Hub, _ int) []string { return push(hub, oldest(hub, 1)...) }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			hub := fake()
			hub.Delete(fakehub.Big, hub.Tags(fakehub.Big)[1500:]...) // as much as it takes
			want := hub.Tags(fakehub.Big)
			touched := map[string]bool{}
			w := walk(t, hubAt(t, hub), listTagsIn{Repository: fakehub.Big, Limit: 100, Order: tc.order}, func(answers int) {
				for _, name := range tc.change(hub, answers) {
					touched[name] = true
				}
			})
			if w.err != nil {
				t.Fatal(w.err)
			}
			want = slices.DeleteFunc(want, func(name string) bool { return touched[name] })
			if gone := missing(want, w.names); tc.exact && len(gone) > 0 {
				t.Errorf("%d missing: %v", len(gone), gone[:min(len(gone), 5)])
			}
			if double := twice(w.names); tc.exact && double != nil {
				t.Errorf("%d twice: %v", len(double), double[:min(len(double), 5)])
			}
			wantNote := noteNewest
			switch {
			case tc.unseen:
				wantNote = ""
			case tc.order == "oldest":
				wantNote = noteOldest
			}
			if note := w.answers[len(w.answers)-1].Note; note != wantNote {
				t.Errorf("the last answer says %q", note)
			}
			if w.answers[0].Note != "" {
				t.Errorf("the first answer says %q", w.answers[0].Note)
			}
		})
	}
}

// A small page and tags pushed between: what was given is found again, and is no reason to give up.
func TestOneByOne(t *testing.T) {
	hub := fake()
	want := hub.Tags(fakehub.Alpine)
	w := walk(t, hubAt(t, hub), listTagsIn{Repository: "alpine", Limit: 1}, func(n int) {
		hub.Push(fakehub.Alpine, fmt.Sprint("a", n))
		hub.Push(fakehub.Alpine, fmt.Sprint("b", n))
	})
	if diff := cmp.Diff(want, w.names); diff != "" || w.err != nil {
		t.Errorf("%v (-want +got):\n%s", w.err, diff)
	}
}

// Lists that contradict themselves are errors, not answers.
func TestLyingLists(t *testing.T) {
	h := hubAt(t, fake())
	for repository, words := range map[string][]string{
		fakehub.Loop:       {"cannot be understood", "the list"},
		fakehub.Miscounted: {"cannot be understood", "10 rows of a total of 3"},
	} {
		for _, limit := range []int{10, 25, 100} {
			w := walk(t, h, listTagsIn{Repository: repository, Limit: limit}, nil)
			wantError(t, w.err, mcpserver.CodeUnavailable, words...)
			if len(w.names) > fakehub.NginxTags {
				t.Errorf("%s: %d tags came before the error", repository, len(w.names))
			}
		}
	}
	// One that says it is long, and has the same rows on every page, is found out by its rows.
	same := make([]string, maxPageSize)
	for i := range same {
		same[i] = fmt.Sprintf(`{"name":"t%d"}`, i)
	}
	asked := 0
	repeats := hubAt(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked++
		_, _ = fmt.Fprintf(w, `{"count":1000000,"next":"https://%s/","results":[%s]}`, r.Host, strings.Join(same, ","))
	}))
	r := walk(t, repeats, listTagsIn{Repository: "acme/api", Limit: 100}, nil)
	wantError(t, r.err, mcpserver.CodeUnavailable, "the list repeats itself")
	if asked != 2 || len(r.names) != maxPageSize {
		t.Errorf("%d tags in %d requests", len(r.names), asked)
	}
	// A list of rows that are all new, and of no end, ends by its own count.
	n := 0
	endless := hubAt(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n++
		_, _ = fmt.Fprintf(w, `{"count":5,"next":"https://%s/","results":[{"name":"t%d"}]}`, r.Host, n)
	}))
	w := walk(t, endless, listTagsIn{Repository: "acme/api", Limit: 1}, nil)
	wantError(t, w.err, mcpserver.CodeUnavailable, "goes on after its end")
	// One whose pages are empty has none.
	empty := hubAt(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `{"count":500,"next":"https://%s/","results":[]}`, r.Host)
	}))
	if w := walk(t, empty, listTagsIn{Repository: "acme/api"}, nil); w.err != nil || len(w.answers) != 1 {
		t.Errorf("%d answers, %v", len(w.answers), w.err)
	}
}

func TestNulls(t *testing.T) {
	h := hubAt(t, fake())
	var list listTagsOut
	if err := call(t, h, "list_tags", `{"repository":"`+fakehub.Nulls+`"}`, &list); err != nil || list.Total != 0 || list.Tags == nil {
		t.Errorf("%+v, %v", list, err)
	}
	var repository map[string]any
	if err := call(t, h, "get_repository", `{"repository":"`+fakehub.Nulls+`","long_description":true}`, &repository); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"repository": "docker.io/" + fakehub.Nulls, "private": false}, repository); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	wantError(t, call(t, h, "get_tag", `{"repository":"`+fakehub.Nulls+`"}`, nil), mcpserver.CodeUnavailable, `about ""`)
}

func TestCursorRefused(t *testing.T) {
	hub := fake()
	h := hubAt(t, hub)
	first, err := h.listTags(t.Context(), listTagsIn{Repository: "nginx", Order: "newest", Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	asked := len(hub.Requests())
	for _, tc := range []struct {
		name, word string
		in         listTagsIn
	}{
		{"damaged", "damaged", listTagsIn{Repository: "nginx", Order: "newest", Cursor: first.NextCursor + "A"}},
		{"other repository", "another list", listTagsIn{Repository: "alpine", Order: "newest", Cursor: first.NextCursor}},
		{"other name", "another list", listTagsIn{Repository: "nginx", Name: "a", Order: "newest", Cursor: first.NextCursor}},
		{"other order", "another list", listTagsIn{Repository: "nginx", Order: "oldest", Cursor: first.NextCursor}},
		{"other architecture", "another list", listTagsIn{Repository: "nginx", Order: "newest", Architecture: "arm64", Cursor: first.NextCursor}},
		{"other since", "another list", listTagsIn{Repository: "nginx", Order: "newest", Since: "2025-01-01", Cursor: first.NextCursor}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := h.listTags(t.Context(), tc.in)
			wantError(t, err, mcpserver.CodeInvalidArguments, "cursor: ", tc.word, "start again")
		})
	}
	_, err = h.resolveDigest(t.Context(), resolveDigestIn{Repository: "nginx", Digest: "sha256:" + strings.Repeat("0", 64), Cursor: first.NextCursor})
	wantError(t, err, mcpserver.CodeInvalidArguments, "another list")
	_, err = h.searchRepositories(t.Context(), searchRepositoriesIn{Query: "nginx", Cursor: first.NextCursor})
	wantError(t, err, mcpserver.CodeInvalidArguments, "another list")
	if len(hub.Requests()) != asked {
		t.Error("something was asked for a cursor that is refused")
	}
	// The same repository in another form, and another limit, are the same list.
	second, err := h.listTags(t.Context(), listTagsIn{Repository: "docker.io/library/nginx", Order: "newest", Limit: 25, Cursor: first.NextCursor})
	if err != nil || len(second.Tags) != 25 {
		t.Errorf("%d tags, %v", len(second.Tags), err)
	}
	// A place that a caller makes up beyond the end is the end.
	beyond := cursor{kind: tagsCursor, listing: sumOf("docker.io/library/nginx", "", "newest", "", ""), at: 500, size: 10, limit: 10, total: 500}
	out, err := h.listTags(t.Context(), listTagsIn{Repository: "nginx", Order: "newest", Cursor: beyond.String()})
	if err != nil || out.Truncated {
		t.Errorf("%+v, %v", out, err)
	}
}
