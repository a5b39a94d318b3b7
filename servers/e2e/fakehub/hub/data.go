package hub

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/e2e/canary"
)

// The repositories that tests may count on. Those of the trouble namespace answer as trouble.go says.
const (
	Nginx   = "library/nginx"  // NginxTags tags over eleven years, the oldest without digests and sizes
	Alpine  = "library/alpine" // three tags, windows and attestation images among them, two of them one image
	User    = "acme/api"       // immutable tags, a long description, one tag nobody pulled
	Private = "acme/plans"     // for those who may read acme's private repositories
	Leaky   = "acme/leaky"     // secrets in its descriptions
	Big     = "acme/big"       // BigTags tags, each with an image of its own
)

// What the data set holds, for tests to compare with.
const (
	NginxTags   = 230      // the number of tags of Nginx
	NginxNewest = "latest" // the first tag in the default order
	NginxOldest = "1.7.0"  // the last one
	NginxOld    = 30       // how many of the oldest tags have no digest, no size and no dates of use
	BigTags     = 10_000
	DefaultPage = 10  // rows a page where the query does not say
	MaximumPage = 100 // more is cut to this

	nginxPatches   = 5 // patch releases of each minor
	releaseEvery   = 17 * 24 * time.Hour
	bigEvery       = 10 * time.Minute
	compressedSize = 27 << 20
)

// indexType is the media type of a tag with several platforms.
const indexType = "application/vnd.oci.image.index.v1+json"

// The first release; everything else is counted from it, so that the data are the same on every run.
func epoch() time.Time { return time.Date(2014, time.July, 1, 9, 30, 0, 123456000, time.UTC) }

// repository is the API's repository object. Pointers are what the API sends as null.
type repository struct {
	User            string     `json:"user"`
	Name            string     `json:"name"`
	Namespace       string     `json:"namespace"`
	RepositoryType  *string    `json:"repository_type"`
	Status          int        `json:"status"`
	StatusText      string     `json:"status_description"`
	Description     string     `json:"description"`
	IsPrivate       bool       `json:"is_private"`
	IsAutomated     bool       `json:"is_automated"`
	StarCount       int        `json:"star_count"`
	PullCount       int64      `json:"pull_count"`
	LastUpdated     *time.Time `json:"last_updated"`
	LastModified    *time.Time `json:"last_modified"`
	DateRegistered  *time.Time `json:"date_registered"`
	Affiliation     *string    `json:"affiliation"`
	HubUser         string     `json:"hub_user"`
	HasStarred      bool       `json:"has_starred"`
	FullDescription *string    `json:"full_description"`
	MediaTypes      []string   `json:"media_types"`
	ContentTypes    []string   `json:"content_types"`
	Categories      []category `json:"categories"`
	ImmutableTags   immutable  `json:"immutable_tags_settings"`
	StorageSize     *int64     `json:"storage_size"`

	tags []tag // newest first
}

func (r *repository) visibleTo(g grant) bool { return !r.IsPrivate || g.reads(r.Namespace) }

type category struct {
	Name string `json:"name"`
	Slug string `json:"slug"`
}

type immutable struct {
	Enabled bool     `json:"enabled"`
	Rules   []string `json:"rules"`
}

// tag is the API's tag object.
type tag struct {
	Creator         int64      `json:"creator"`
	ID              int64      `json:"id"`
	Images          []image    `json:"images"`
	LastUpdated     *time.Time `json:"last_updated"`
	LastUpdater     int64      `json:"last_updater"`
	LastUpdaterName string     `json:"last_updater_username"`
	Name            string     `json:"name"`
	Repository      int64      `json:"repository"`
	FullSize        int64      `json:"full_size"`
	V2              bool       `json:"v2"`
	Status          string     `json:"tag_status"`
	LastPulled      *time.Time `json:"tag_last_pulled"`
	LastPushed      *time.Time `json:"tag_last_pushed"`
	MediaType       string     `json:"media_type,omitempty"`
	ContentType     string     `json:"content_type"`
	Digest          string     `json:"digest,omitempty"`
}

// image is one platform of a tag.
type image struct {
	Architecture string     `json:"architecture"`
	Features     string     `json:"features"`
	Variant      *string    `json:"variant"`
	Digest       string     `json:"digest,omitempty"`
	OS           string     `json:"os"`
	OSFeatures   string     `json:"os_features"`
	OSVersion    *string    `json:"os_version"`
	Size         int64      `json:"size"`
	Status       string     `json:"status"`
	LastPulled   *time.Time `json:"last_pulled"`
	LastPushed   *time.Time `json:"last_pushed"`
}

func dataSet() map[string]*repository {
	return map[string]*repository{
		Nginx: {
			User: "library", Namespace: "library", Name: "nginx", HubUser: "stackbrew", RepositoryType: new("image"),
			Status: 1, StatusText: "active", Description: "Official build of Nginx.",
			StarCount: 20931, PullCount: 12837465012,
			LastUpdated: new(released(NginxTags - 1)), LastModified: new(released(NginxTags - 1)), DateRegistered: new(epoch().Add(-releaseEvery)),
			FullDescription: new("# Nginx\n\nThe server that the tests know.\n"),
			MediaTypes:      []string{indexType}, ContentTypes: []string{"image"},
			Categories: []category{{"Web servers", "web-servers"}},
			tags:       nginxTags(),
		},
		Alpine: {
			User: "library", Namespace: "library", Name: "alpine", HubUser: "stackbrew",
			Status: 1, StatusText: "active", Description: "A minimal image with a complete package index.",
			StarCount: 11234, PullCount: 10987654321,
			// The older objects have no dates and no type.
			ContentTypes: []string{"image"}, MediaTypes: []string{}, Categories: []category{},
			tags: alpineTags(),
		},
		Leaky: {
			User: "acme", Namespace: "acme", Name: "leaky", HubUser: "acme", RepositoryType: new("image"),
			Status: 1, StatusText: "active", Description: canary.Text(canary.Description), FullDescription: new("# Leaky\n\n" + canary.Text(canary.Description) + "\n"),
			MediaTypes: []string{}, ContentTypes: []string{}, Categories: []category{},
		},
		User: {
			User: "acme", Namespace: "acme", Name: "api", HubUser: "acme", RepositoryType: new("image"),
			Status: 1, StatusText: "active", Description: "ACME's API.",
			PullCount: 7, LastUpdated: new(released(3)), DateRegistered: new(released(0)),
			FullDescription: new(longDescription()), StorageSize: new(int64(2 * compressedSize)),
			ContentTypes: []string{"image"}, MediaTypes: []string{}, Categories: []category{},
			ImmutableTags: immutable{Enabled: true, Rules: []string{`v.*`, `.*-RELEASE`}},
			tags: []tag{{
				ID: 1, Name: "v1.0.0", LastUpdated: new(released(3)), LastUpdaterName: "acme", V2: true,
				Status: "inactive", ContentType: "image", MediaType: "application/vnd.docker.distribution.manifest.v2+json",
				FullSize: compressedSize, LastPushed: new(released(3)), Digest: digest(User, "v1.0.0"),
				Images: []image{platform(User, "v1.0.0", 3, "linux", "amd64", "", "")},
			}},
		},
		Private: {
			User: "acme", Namespace: "acme", Name: "plans", HubUser: "acme", IsPrivate: true,
			Status: 1, StatusText: "active", Description: "What ACME does next.", LastUpdated: new(released(4)),
			ContentTypes: []string{"image"}, MediaTypes: []string{}, Categories: []category{},
			tags: []tag{{ID: 2, Name: "v2", LastUpdated: new(released(4)), V2: true, Status: "active", ContentType: "image", Digest: digest(Private, "v2")}},
		},
		Big: {
			User: "acme", Namespace: "acme", Name: "big", HubUser: "acme",
			Status: 1, StatusText: "active", Description: "A tag for every commit.", LastUpdated: new(released(5)),
			ContentTypes: []string{"image"}, MediaTypes: []string{}, Categories: []category{},
			tags: bigTags(),
		},
	}
}

// bigTags returns what a pipeline leaves that tags every commit, newest first.
func bigTags() []tag {
	tags := make([]tag, 0, BigTags)
	for n := BigTags - 1; n >= 0; n-- {
		at := epoch().Add(time.Duration(n) * bigEvery)
		name := fmt.Sprintf("main-%05d-%s", n, at.Format("20060102"))
		tags = append(tags, tag{
			ID: int64(n), Name: name, V2: true, Status: "active", ContentType: "image", MediaType: indexType,
			FullSize: compressedSize + int64(n), Digest: digest(Big, name), LastUpdated: &at, LastPushed: &at,
			Images: []image{
				platform(Big, name, n, "linux", "amd64", "", ""), platform(Big, name, n, "linux", "arm64", "v8", ""),
				platform(Big, name, n, "unknown", "unknown", "", ""),
			},
		})
	}
	return tags
}

// released is when the n-th tag of Nginx was pushed.
func released(n int) time.Time { return epoch().Add(time.Duration(n) * releaseEvery) }

// nginxTags returns NginxTags tags, newest first: releases with and without "-alpine", then three that float.
func nginxTags() []tag {
	tags := make([]tag, 0, NginxTags)
	for n := NginxTags - 1; n >= 0; n-- {
		tags = append(tags, nginxTag(n))
	}
	return tags
}

func nginxTag(n int) tag {
	release := n / 2
	name := fmt.Sprintf("1.%d.%d", 7+release/nginxPatches, release%nginxPatches)
	switch {
	case n == NginxTags-1:
		name = NginxNewest
	case n == NginxTags-2:
		name = "stable"
	case n == NginxTags-3:
		name = "alpine"
	case n%2 == 1:
		name += "-alpine"
	}
	t := tag{
		Creator: 1156886, ID: int64(1000 + n), Name: name, Repository: 21171, LastUpdater: 1156886, LastUpdaterName: "doijanky",
		V2: true, Status: "active", ContentType: "image", LastUpdated: new(released(n)),
	}
	if n < NginxOld { // before Hub kept digests
		t.Status = "stale"
		t.Images = []image{{Architecture: "amd64", OS: "linux", Status: "stale"}}
		return t
	}
	t.MediaType = indexType
	t.FullSize = compressedSize + int64(n)
	t.Digest = digest(Nginx, name)
	t.LastPushed, t.LastPulled = t.LastUpdated, new(released(NginxTags))
	t.Images = []image{
		platform(Nginx, name, n, "linux", "amd64", "", ""),
		platform(Nginx, name, n, "linux", "arm", "v7", ""),
		platform(Nginx, name, n, "linux", "arm64", "v8", ""),
		platform(Nginx, name, n, "unknown", "unknown", "", ""), // an attestation manifest
	}
	return t
}

// alpineTags returns three tags, of which "latest" and "3.22" are one image.
func alpineTags() []tag {
	var tags []tag
	for i, name := range []string{"latest", "3.22", "edge"} {
		n, content := NginxTags-i, name
		if name == "3.22" {
			content = "latest"
		}
		tags = append(tags, tag{
			ID: int64(i), Name: name, V2: true, Status: "active", ContentType: "image",
			MediaType: indexType, FullSize: 3 << 20, Digest: digest(Alpine, content),
			LastUpdated: new(released(n)), LastPushed: new(released(n)), LastPulled: new(released(n)),
			Images: []image{
				platform(Alpine, content, NginxTags, "linux", "amd64", "", ""),
				platform(Alpine, content, NginxTags, "windows", "amd64", "", "10.0.20348.2402"),
				platform(Alpine, content, NginxTags, "unknown", "unknown", "", ""),
			},
		})
	}
	return tags
}

func platform(repo, tag string, n int, os, arch, variant, version string) image {
	i := image{
		Architecture: arch, OS: os, Size: compressedSize + int64(n), Status: "active",
		Digest:     digest(repo, tag, os, arch, variant),
		LastPushed: new(released(n)), LastPulled: new(released(NginxTags)),
	}
	if variant != "" {
		i.Variant = new(variant)
	}
	if version != "" {
		i.OSVersion = new(version)
	}
	return i
}

// digest makes a digest that looks like one and is the same on every run.
func digest(of ...string) string {
	sum := sha256.Sum256(fmt.Append(nil, of))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// longDescription is longer than anybody should hand to a model, with characters of two bytes to be cut at.
func longDescription() string {
	text := []byte("# ACME API\n\n")
	for len(text) < 64<<10 {
		text = append(text, "Größe über alles. "...)
	}
	return string(text)
}

// DigestOf is the digest of a tag, or of its image for an operating system, an architecture and a variant.
func DigestOf(repository, tag string, platform ...string) string {
	return digest(append([]string{repository, tag}, platform...)...)
}
