package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// page is the API's envelope of a list.
type page[T any] struct {
	Count   int        `json:"count"`
	Next    *string    `json:"next"`
	Results results[T] `json:"results"`
}

// results are the rows of a page. More than a page may have are an error before they take memory: a row that is two bytes
// in an answer is hundreds here.
type results[T any] []T

// UnmarshalJSON reads a list or null.
func (l *results[T]) UnmarshalJSON(data []byte) error {
	list, more, err := readList[T](data, maxPageSize)
	if more {
		return fmt.Errorf("more than %d rows", maxPageSize)
	}
	*l = list
	return err
}

// some are the first of a list, of which more than so many are left out: one more than any answer shows.
type some[T any] []T

// UnmarshalJSON reads a list or null.
func (l *some[T]) UnmarshalJSON(data []byte) (err error) {
	*l, _, err = readList[T](data, maxKept)
	return err
}

// readList reads up to most items of a list, and says whether there are more.
func readList[T any](data []byte, most int) (list []T, more bool, err error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	switch start, err := dec.Token(); {
	case err != nil:
		return nil, false, err
	case start == nil:
		return nil, false, nil
	case start != json.Delim('['):
		return nil, false, errors.New("there is something else where a list belongs")
	}
	for dec.More() {
		if len(list) == most {
			return list, true, nil
		}
		var item T
		if err := dec.Decode(&item); err != nil {
			return nil, false, err
		}
		list = append(list, item)
	}
	return list, false, nil
}

// hubTag is the API's tag, what of it is used. On old tags the digest is absent, the size 0, the dates null.
type hubTag struct {
	Name        string         `json:"name"`
	Images      some[hubImage] `json:"images"`
	LastUpdated timestamp      `json:"last_updated"`
	Status      word           `json:"tag_status"`
	LastPulled  timestamp      `json:"tag_last_pulled"`
	LastPushed  timestamp      `json:"tag_last_pushed"`
	MediaType   word           `json:"media_type"`
	Digest      digest         `json:"digest"`
	FullSize    size           `json:"full_size"`
}

// hubImage is one platform of a tag.
type hubImage struct {
	OS           word      `json:"os"`
	Architecture word      `json:"architecture"`
	Variant      word      `json:"variant"`
	OSVersion    word      `json:"os_version"`
	Digest       digest    `json:"digest"`
	Size         size      `json:"size"`
	Status       word      `json:"status"`
	LastPulled   timestamp `json:"last_pulled"`
	LastPushed   timestamp `json:"last_pushed"`
}

// platform is os/architecture, with the variant if there is one, or empty.
func (i hubImage) platform() string {
	if i.OS == "" || i.Architecture == "" {
		return ""
	}
	parts := []string{string(i.OS), string(i.Architecture)}
	if i.Variant != "" {
		parts = append(parts, string(i.Variant))
	}
	return strings.Join(parts, "/")
}

// hubRepository is the API's repository, what of it is used.
type hubRepository struct {
	Description     string    `json:"description"`
	FullDescription string    `json:"full_description"`
	Status          word      `json:"status_description"`
	Private         bool      `json:"is_private"`
	Stars           *int64    `json:"star_count"`
	Pulls           *int64    `json:"pull_count"`
	LastUpdated     timestamp `json:"last_updated"`
	LastModified    timestamp `json:"last_modified"`
	DateRegistered  timestamp `json:"date_registered"`
	StorageSize     size      `json:"storage_size"`
	Categories      some[struct {
		Name string `json:"name"`
	}] `json:"categories"`
	ImmutableTags *struct {
		Enabled bool         `json:"enabled"`
		Rules   some[string] `json:"rules"`
	} `json:"immutable_tags_settings"`
}

// hubFound is a result of the search API, which is not documented: whatever of it is odd counts as absent.
type hubFound struct {
	Name             string    `json:"name"`
	Type             word      `json:"type"`
	ShortDescription string    `json:"short_description"`
	Badge            word      `json:"badge"`
	Stars            *int64    `json:"star_count"`
	Pulls            rounded   `json:"pull_count"`
	UpdatedAt        timestamp `json:"updated_at"`
	OperatingSystems labels    `json:"operating_systems"`
	Architectures    labels    `json:"architectures"`
	Archived         bool      `json:"archived"`
}

// searchPage is the envelope of the search API.
type searchPage struct {
	Total   int               `json:"total"`
	Results results[hubFound] `json:"results"`
}

// hubOrganization is a namespace that the user is a member of, what of it is used.
type hubOrganization struct {
	Name string `json:"orgname"`
	Role word   `json:"user_role"`
}

// word is a short term that whoever pushed the image may have chosen: a platform, a status, a media type. One
// that is more than a term counts as absent, so that no sentence passes for a platform.
type word string

var wordForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+/-]{0,127}$`)

// UnmarshalJSON reads a string or null.
func (w *word) UnmarshalJSON(data []byte) error { return formed(w, data, wordForm) }

// digest is a digest of a registered algorithm (OCI image specification, "descriptors"), or empty.
type digest string

var digestForm = regexp.MustCompile(`^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$`)

// UnmarshalJSON reads a string or null. Anything that is no digest counts as absent: it could not be pulled.
func (d *digest) UnmarshalJSON(data []byte) error { return formed(d, data, digestForm) }

// rounded is a count as the search API rounds it: "1B+".
type rounded string

var roundedForm = regexp.MustCompile(`^[0-9]{1,15}(?:\.[0-9]{1,3})?[KMB]?\+?$`)

// UnmarshalJSON reads a string, a number or null.
func (r *rounded) UnmarshalJSON(data []byte) error {
	var number json.Number
	if json.Unmarshal(data, &number) == nil { // a string that holds a number is one, too
		data = []byte(`"` + number.String() + `"`)
	}
	return formed(r, data, roundedForm)
}

// formed reads a string of that form, or null; another string counts as absent.
func formed[T ~string](to *T, data []byte, form *regexp.Regexp) error {
	text, err := optionalString(data)
	if err != nil {
		return err
	}
	*to = ""
	if form.MatchString(text) {
		*to = T(text)
	}
	return nil
}

// labels are names, each alone or in an object with a text for people.
type labels []string

// UnmarshalJSON reads a list, or null. What is no name is left out.
func (l *labels) UnmarshalJSON(data []byte) error {
	items, _, err := readList[json.RawMessage](data, maxLabels)
	if err != nil {
		return err
	}
	*l = nil
	for _, item := range items {
		var object struct {
			Name word `json:"name"`
		}
		if json.Unmarshal(item, &object.Name) != nil && json.Unmarshal(item, &object) != nil {
			continue
		}
		if object.Name != "" {
			*l = append(*l, string(object.Name))
		}
	}
	return nil
}

// timestamp is a time in UTC; the zero time is unknown.
type timestamp struct{ time.Time }

// UnmarshalJSON reads a string in RFC 3339 or null.
func (t *timestamp) UnmarshalJSON(data []byte) error {
	text, err := optionalString(data)
	if err != nil {
		return err
	}
	*t = timestamp{}
	if text == "" {
		return nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return errors.New("a date is not in RFC 3339")
	}
	t.Time = at.UTC()
	return nil
}

// text is the time in RFC 3339 to the second, or empty.
func (t timestamp) text() string { return t.in(time.RFC3339) }

// day is the date, or empty.
func (t timestamp) day() string { return t.in(time.DateOnly) }

func (t timestamp) in(layout string) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(layout)
}

// size is a number of bytes; 0 is unknown.
type size int64

// UnmarshalJSON reads an integer or null.
func (s *size) UnmarshalJSON(data []byte) error {
	var n *int64
	if err := json.Unmarshal(data, &n); err != nil {
		return errors.New("a size is not an integer")
	}
	*s = 0
	if n != nil && *n > 0 {
		*s = size(*n)
	}
	return nil
}

func optionalString(data []byte) (string, error) {
	var text *string
	if err := json.Unmarshal(data, &text); err != nil {
		return "", errors.New("there is something else where a string belongs")
	}
	if text == nil {
		return "", nil
	}
	return *text, nil
}

// decodePage reads a list of at most size rows.
func decodePage[T any](data []byte, size int) (page[T], error) {
	var p page[T]
	if err := decode(data, &p); err != nil {
		return page[T]{}, err
	}
	if len(p.Results) > size {
		return page[T]{}, fmt.Errorf("%d rows where %d were asked for", len(p.Results), size)
	}
	if p.Count < len(p.Results) || p.Count > maxRows {
		return page[T]{}, fmt.Errorf("%d rows of a total of %d", len(p.Results), p.Count)
	}
	return p, nil
}

// decodeTags reads a list of at most size tags.
func decodeTags(data []byte, size int) (page[hubTag], error) {
	p, err := decodePage[hubTag](data, size)
	if err != nil {
		return page[hubTag]{}, err
	}
	for _, tag := range p.Results {
		if !tagName.MatchString(tag.Name) {
			return page[hubTag]{}, fmt.Errorf("%q is no tag", cut(tag.Name, maxUpstreamText))
		}
	}
	return p, nil
}

// decodeTag reads the tag of the given name.
func decodeTag(data []byte, name string) (hubTag, error) {
	var tag hubTag
	if err := decode(data, &tag); err != nil {
		return hubTag{}, err
	}
	if tag.Name != name {
		return hubTag{}, fmt.Errorf("it is about %q", cut(tag.Name, maxUpstreamText))
	}
	return tag, nil
}

func decodeRepository(data []byte) (hubRepository, error) {
	var repository hubRepository
	if err := decode(data, &repository); err != nil {
		return hubRepository{}, err
	}
	for _, count := range []*int64{repository.Stars, repository.Pulls} {
		if count != nil && *count < 0 {
			return hubRepository{}, errors.New("a negative count")
		}
	}
	return repository, nil
}

// decodeSearch reads at most size results.
func decodeSearch(data []byte, size int) (searchPage, error) {
	var p searchPage
	if err := decode(data, &p); err != nil {
		return searchPage{}, err
	}
	if len(p.Results) > size || p.Total < len(p.Results) || p.Total > maxRows {
		return searchPage{}, fmt.Errorf("%d results of a total of %d where %d were asked for", len(p.Results), p.Total, size)
	}
	return p, nil
}

// decode reads a JSON object. Fields that are not known are left alone: the API grows.
func decode(data []byte, v any) error {
	err := json.Unmarshal(data, v)
	if wrongType, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("the field %q holds a %s", wrongType.Field, wrongType.Value)
	}
	if err == nil && strings.TrimSpace(string(data)) == "null" {
		return errors.New("null")
	}
	return err
}

// cut returns text, at most bytes long, cut between two characters.
func cut(text string, bytes int) string {
	if len(text) <= bytes {
		return text
	}
	return strings.ToValidUTF8(text[:bytes], "")
}
