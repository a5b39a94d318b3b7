package main

import (
	"fmt"
	"slices"
)

// relations is what resources have to do with one another.
type relations struct {
	kinds   map[kind][]*Resource
	indexes map[kind]*referrerIndex
	// elsewhere names what is not there to be judged, and is given something of the resource; "" for nothing.
	elsewhere func(r *Resource) string
}

// kind is a mode and a type.
type kind struct {
	mode Mode
	name string
}

// referrerIndex is who refers to whom, by one attribute of one type.
type referrerIndex struct {
	byOrigin map[*Resource][]*Resource
	byText   map[string][]*Resource
	named    bool // whether one refers by a name that is written out, instead of by a reference
	unknown  string
}

// relate makes the relations of resources, and lets them know.
func relate(all []*Resource, elsewhere func(*Resource) string) {
	w := &relations{kinds: map[kind][]*Resource{}, indexes: map[kind]*referrerIndex{}, elsewhere: elsewhere}
	for _, r := range all {
		r.world = w
		w.kinds[kind{r.Mode, r.Type}] = append(w.kinds[kind{r.Mode, r.Type}], r)
	}
}

func (w *relations) ofType(mode Mode, resourceType string) Related {
	return Related{All: w.kinds[kind{mode, resourceType}]}
}

func (w *relations) referrers(r *Resource, resourceType, attribute string) Related {
	key := kind{Mode(attribute), resourceType}
	index := w.indexes[key]
	if index == nil {
		index = w.index(resourceType, attribute)
		w.indexes[key] = index
	}
	found := slices.Clone(index.byOrigin[r])
	out := Related{Unknown: index.unknown}
	for _, name := range slices.Compact([]string{attribute, "bucket", "name", "id", "arn"}) {
		v := r.Attr(name)
		if v.Unknown() && !v.fromResources() && index.named && out.Unknown == "" {
			// What refers to something by a name that is written out may refer to this.
			out.Unknown = fmt.Sprintf("%s of %s (%s)", name, r.Address, v.Reason())
		}
		if text, ok := v.Text(); ok && text != "" {
			for _, other := range index.byText[text] {
				if !slices.Contains(found, other) {
					found = append(found, other)
				}
			}
		}
	}
	for _, other := range found {
		// Two that depend on the same unknown are taken to be there together.
		if other.Uncertain != "" && r.Uncertain == "" {
			out.Unknown = other.Uncertain
			continue
		}
		out.All = append(out.All, other)
	}
	if out.Unknown == "" {
		out.Unknown = w.elsewhere(r)
	}
	return out
}

// index works out what the attribute of all resources of a type refers to.
func (w *relations) index(resourceType, attribute string) *referrerIndex {
	index := &referrerIndex{byOrigin: map[*Resource][]*Resource{}, byText: map[string][]*Resource{}}
	for _, other := range w.kinds[kind{Managed, resourceType}] {
		v := other.Attr(attribute)
		resources := v.Resources()
		for _, r := range resources {
			index.byOrigin[r] = append(index.byOrigin[r], other)
		}
		for _, element := range v.Elements() {
			if text, ok := element.Text(); ok {
				index.byText[text] = append(index.byText[text], other)
				index.named = index.named || len(resources) == 0
			}
		}
		if v.Unknown() && len(resources) == 0 && index.unknown == "" {
			index.unknown = fmt.Sprintf("%s of %s (%s)", attribute, other.Address, v.Reason())
		}
	}
	return index
}
