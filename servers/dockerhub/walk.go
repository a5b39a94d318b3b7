package main

import (
	"context"
	"errors"
	"time"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/mcpserver"
)

// clockMargin is how far Docker Hub's clock may be behind ours.
const clockMargin = time.Minute

// step is what the reader of a list says to a tag.
type step int

const (
	onward step = iota // go on
	full               // this was the last that is wanted for now
	past               // nothing that is wanted follows
)

// walk reads a list of tags on from place, gives each tag to take, and returns the place after the last one that it
// gave, and whether more may follow. It reads at most maxScan pages.
//
// Docker Hub counts pages from the beginning of the list at the time of each request, so that a tag which is pushed or
// deleted meanwhile moves all that follow it. Newest first, a push makes tags come again that were given: these are
// known by the one that was given last, and left out. A deletion pulls others over the page's edge: the list is shorter
// then by as many as may have been missed, and walk goes back by so many. So each tag that stays where it is comes
// once, whatever happens to others. Oldest first the same holds for deletions; but a tag that was given and is pushed
// again moves to the end, and one may be missed that nothing tells of until the end is reached.
func (h *hub) walk(ctx context.Context, list tagList, place cursor, take func(hubTag) step) (cursor, bool, error) {
	repeated := 0
	for pages := 0; ; pages++ {
		if pages == maxScan || pages > 0 && !timeForMore(ctx, h.timeout) {
			return place, true, nil
		}
		b, err := h.follow(ctx, list, &place)
		if err != nil {
			if pages > 0 && passing(err) {
				return place, true, nil // what was read so far is worth having, and the next call tells
			}
			return place, false, err
		}
		for i, row := range b.rows {
			place.pass(row, b.first+i+1)
			if list.oldest && row.LastUpdated.After(time.Unix(place.began, 0).Add(-clockMargin)) {
				place.changed = true
			}
			switch take(row) {
			case onward:
			case full:
				return place, b.more || i < len(b.rows)-1, nil
			case past:
				return place, false, nil
			}
		}
		if place.at = b.end; !b.more {
			return place, false, nil
		}
		if repeated += b.given; len(b.rows) > 0 {
			repeated = 0
		}
		// A list of another length may well have moved by pages.
		if repeated >= maxPageSize && !place.recounted {
			return place, false, unreadable(aboutTags(list), errors.New("the list repeats itself"))
		}
	}
}

// timeForMore says whether a call has time for another question.
func timeForMore(ctx context.Context, timeout time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return !ok || time.Until(deadline) > timeout/4
}

// passing says whether an error may be gone when the same is asked again.
func passing(err error) bool {
	return hasCode(err, mcpserver.CodeRateLimited) || hasCode(err, mcpserver.CodeTimeout)
}

// pass moves the place to after a row.
func (c *cursor) pass(row hubTag, at int) {
	c.at, c.name, c.last = at, sumOf(row.Name), 0
	if !row.LastUpdated.IsZero() {
		c.last = row.LastUpdated.UnixMicro()
	}
}

// batch is what a page adds to a list.
type batch struct {
	rows  []hubTag // that were not given yet
	given int      // rows that were
	first int      // how many are behind the first of rows, as Docker Hub counts them
	end   int      // behind the page
	more  bool
}

// follow reads the page at place. It moves the place where the list has become shorter.
func (h *hub) follow(ctx context.Context, list tagList, place *cursor) (batch, error) {
	p, more, err := h.tags(ctx, list, place.page(), place.size)
	if hasCode(err, mcpserver.CodeNotFound) && place.page() > 1 {
		// The list ends before this page by now. How long it is, the first one tells.
		first, _, firstErr := h.tags(ctx, list, 1, place.size)
		if firstErr != nil {
			return batch{}, firstErr
		}
		if first.Count > place.at {
			return batch{}, unreadable(aboutTags(list), errors.New("it lacks a page in the middle"))
		}
		p, err = page[hubTag]{Count: first.Count}, nil
	}
	if err != nil {
		return batch{}, err
	}
	if place.at > 0 && p.Count != place.total {
		place.changed, place.recounted = true, true
	}
	// It may be shorter yet when it is asked again.
	for tries := 0; place.at > 0 && p.Count < place.total && tries < maxRecounts; tries++ {
		place.at, place.total = max(0, place.at-(place.total-p.Count)), p.Count
		if place.at >= p.Count {
			return batch{end: place.at}, nil
		}
		if p, more, err = h.tags(ctx, list, place.page(), place.size); err != nil {
			return batch{}, err
		}
	}
	place.total = p.Count
	start := (place.page() - 1) * place.size
	rows := p.Results[min(place.at-start, len(p.Results)):]
	b := batch{rows: place.unseen(rows, list.oldest), more: more && len(p.Results) > 0}
	b.given = len(rows) - len(b.rows)
	b.first, b.end = start+len(p.Results)-len(b.rows), start+len(p.Results)
	if b.given > 0 {
		place.changed = true
	}
	if b.more {
		b.end = start + place.size // a page that is short is a page all the same
	}
	if b.more && b.end >= min(maxRows, p.Count+place.size) {
		return batch{}, unreadable(aboutTags(list), errors.New("the list goes on after its end"))
	}
	return b, nil
}

func aboutTags(list tagList) subject {
	return aboutRepository(list.ref, "the tags of "+list.ref.String())
}

// page is the number of the page that holds the place.
func (c *cursor) page() int { return c.at/c.size + 1 }

// unseen returns rows without those that come before the place: up to the one that was given last, or, if that one is
// gone and the list is known to have changed, those that stood before it.
func (c *cursor) unseen(rows []hubTag, oldest bool) []hubTag {
	if c.name == (sum{}) {
		return rows
	}
	for i, row := range rows {
		if sumOf(row.Name) == c.name && (row.LastUpdated.IsZero() && c.last == 0 || row.LastUpdated.UnixMicro() == c.last) {
			return rows[i+1:]
		}
	}
	for c.changed && c.last != 0 && len(rows) > 0 {
		at := rows[0].LastUpdated.UnixMicro()
		if rows[0].LastUpdated.IsZero() || oldest && at >= c.last || !oldest && at <= c.last {
			break
		}
		rows = rows[1:]
	}
	return rows
}
