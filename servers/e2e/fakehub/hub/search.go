package hub

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// What the catalogue holds.
const (
	SearchWord    = "proxy" // a query with SearchResults results
	SearchResults = 120
)

// found is one result of the search API.
type found struct {
	ID               string     `json:"id"`
	Name             string     `json:"name"`
	Slug             string     `json:"slug"`
	Type             string     `json:"type"`
	Publisher        publisher  `json:"publisher"`
	CreatedAt        *time.Time `json:"created_at"`
	UpdatedAt        *time.Time `json:"updated_at"`
	ShortDescription string     `json:"short_description"`
	Badge            string     `json:"badge"`
	StarCount        int        `json:"star_count"`
	PullCount        string     `json:"pull_count"`
	OperatingSystems []label    `json:"operating_systems"`
	Architectures    []label    `json:"architectures"`
	Categories       []category `json:"categories"`
	Archived         bool       `json:"archived"`
}

type publisher struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type label struct {
	Name  string `json:"name"`
	Label string `json:"label"`
}

// catalogue returns what can be found: two official images, and SearchResults proxies of everybody else.
func catalogue() []found {
	labels := func(names ...string) []label {
		var all []label
		for _, name := range names {
			all = append(all, label{Name: name, Label: name})
		}
		return all
	}
	official := func(name, text, pulls string, stars int) found {
		return found{
			ID: name, Name: name, Slug: name, Type: "image", Publisher: publisher{ID: "docker", Name: "Docker"}, Badge: "official",
			CreatedAt: new(epoch()), UpdatedAt: new(released(NginxTags - 1)), ShortDescription: text, StarCount: stars, PullCount: pulls,
			OperatingSystems: labels("linux"), Architectures: labels("amd64", "arm", "arm64"), Categories: []category{{"Web servers", "web-servers"}},
		}
	}
	all := []found{
		official("nginx", "Official build of Nginx.", "1B+", 20931),
		official("alpine", "A minimal image with a complete package index.", "1B+", 11234),
	}
	badges := []string{"verified_publisher", "open_source", "none"}
	for n := range SearchResults {
		name := fmt.Sprintf("user%03d/%s", n, SearchWord)
		f := found{
			ID: name, Name: name, Slug: name, Type: "image", Publisher: publisher{ID: fmt.Sprint("user", n), Name: fmt.Sprint("User ", n)},
			Badge: badges[n%len(badges)], UpdatedAt: new(released(n)), ShortDescription: fmt.Sprint("Proxy number ", n),
			StarCount: n, PullCount: fmt.Sprint(n, "K+"), OperatingSystems: labels("linux"), Architectures: labels("amd64"),
		}
		if n%10 == 0 {
			f.OperatingSystems, f.Architectures, f.Archived = labels("windows"), labels("amd64", "arm64"), true
		}
		all = append(all, f)
	}
	return all
}

// search is GET /api/search/v4.
func (h *Hub) search(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	has := func(labels []label, name string) bool {
		return name == "" || slices.ContainsFunc(labels, func(l label) bool { return l.Name == name })
	}
	results := slices.DeleteFunc(catalogue(), func(f found) bool {
		return !strings.Contains(f.Name, query.Get("query")) || query.Get("badges") != "" && f.Badge != query.Get("badges") ||
			!has(f.Architectures, query.Get("architectures")) || !has(f.OperatingSystems, query.Get("operating_systems"))
	})
	switch query.Get("sort") {
	case "updated_at":
		slices.SortStableFunc(results, func(a, b found) int { return b.UpdatedAt.Compare(*a.UpdatedAt) })
	case "pull_count":
		slices.SortStableFunc(results, func(a, b found) int { return cmp.Compare(b.StarCount, a.StarCount) })
	}
	if query.Get("order") == "asc" {
		slices.Reverse(results)
	}
	from, size := positive(query.Get("from"), 0), min(positive(query.Get("size"), DefaultPage), MaximumPage)
	from = min(from, len(results))
	answerJSON(w, map[string]any{"total": len(results), "results": results[from:min(from+size, len(results))]})
}
