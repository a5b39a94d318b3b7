package main

import (
	"cmp"
	"slices"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/scrub"
)

// What messages can be counted by.
const (
	byLevel   = "level"
	bySource  = "source"
	byTime    = "time"
	byMessage = "message"
)

// count is the visitor that counts.
type count struct {
	query  query
	source string
	by     string
	bucket time.Duration
	stream string // that is visited

	groups  map[string]*group
	matched int
	rest    int // that belong to groups beyond maxGroups
}

// group is what has one key.
type group struct {
	// the level, the source and its log, the beginning of the time bucket, or the message with # for its numbers
	Key     string `json:"group"`
	Count   int    `json:"count"`
	First   string `json:"first,omitempty"`   // when the first was written
	Last    string `json:"last,omitempty"`    // when the last was written
	Example string `json:"example,omitempty"` // one of the messages, whole

	first, last time.Time
	example     string
}

// span widens the group to what was written at a time.
func (g *group) span(at time.Time) {
	if at.IsZero() {
		return
	}
	if g.first.IsZero() || at.Before(g.first) {
		g.first = at
	}
	if at.After(g.last) {
		g.last = at
	}
}

// enter implements [visitor].
func (c *count) enter(stream string) { c.stream = stream }

// visit implements [visitor].
func (c *count) visit(b block, _ int64) (int64, bool) {
	for _, e := range b.all[b.low:b.high] {
		if !c.query.fits(e) {
			continue
		}
		c.matched++
		key := c.key(e)
		g := c.groups[key]
		if g == nil {
			if len(c.groups) == maxGroups {
				c.rest++
				continue
			}
			g = &group{Key: key}
			if c.by == byMessage {
				g.example = clip(e.text[e.body:], maxKey)
			}
			c.groups[key] = g
		}
		g.Count++
		g.span(e.time)
	}
	return 0, false
}

func (c *count) key(e entry) string {
	switch c.by {
	case byLevel:
		return e.level.String()
	case byTime:
		if e.time.IsZero() {
			return "no time"
		}
		return e.time.UTC().Truncate(c.bucket).Format(time.RFC3339)
	case byMessage:
		return fold(scrub.Unnumbered(e.text[e.body:]))
	}
	return c.source + "/" + c.stream
}

// hold implements [visitor]: counts have no direction.
func (c *count) hold() visitor { return c }

// give implements [visitor].
func (c *count) give(visitor) (int64, bool, bool) { return 0, false, false }

// top returns the groups: those by time in its order, the others the largest first.
func (c *count) top(limit int) (groups []group, truncated bool) {
	for _, g := range c.groups {
		groups = append(groups, *g)
	}
	slices.SortFunc(groups, func(a, b group) int {
		if c.by == byTime {
			return cmp.Compare(a.Key, b.Key)
		}
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Key, b.Key))
	})
	truncated = c.rest > 0
	if len(groups) > limit {
		groups, truncated = groups[:limit], true
	}
	marks := scrub.NewRenumberer()
	for i := range groups {
		g := &groups[i]
		g.First, g.Last, g.Example = shownTime(g.first), shownTime(g.last), marks.Text(g.example)
	}
	if groups == nil {
		groups = []group{}
	}
	return groups, truncated
}
