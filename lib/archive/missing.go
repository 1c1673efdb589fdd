package archive

import (
	"cmp"
	"fmt"
	"slices"

	"pgpipes/lib/retain"
	"pgpipes/lib/wal"
)

// Missing are the runs of segments that recovery would need on its way along some
// timeline from the first segment that is known to the last: between others, and
// before a timeline branches off. Those that were dropped are the matter of Gaps,
// and those that somebody has accepted are left out.
func (c Coverage) Missing() []retain.WALRange {
	var all []retain.WALRange
	for _, tli := range c.timelines() {
		for _, way := range c.wayTo(tli) {
			all = append(all, c.unknownIn(way)...)
		}
	}
	return mergeRanges(all)
}

// timelines are those that there are segments or a history of.
func (c Coverage) timelines() []wal.Timeline {
	var all []wal.Timeline
	for tli := range c.Histories {
		all = append(all, tli)
	}
	for _, w := range c.Ranges {
		all = append(all, w.Timeline)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// wayTo is the line of history from the first segment that is known of it to the
// last of a timeline or, while nothing of that is archived, up to where it
// branched off: the segment with the switch will be its first.
func (c Coverage) wayTo(tli wal.Timeline) []retain.WALRange {
	history := c.Histories[tli]
	last, found := c.end(tli)
	if n := len(history); !found && n > 0 && c.Size.Number(history[n-1].At) > 0 {
		tli, last, found = history[n-1].Parent, c.Size.Number(history[n-1].At)-1, true
	}
	for _, w := range c.Ranges { // by timeline and number
		_, ancestor := history.SwitchFrom(w.Timeline)
		if found && (ancestor || w.Timeline == tli) && w.First <= last {
			return c.line(w.Timeline, w.First, tli, last)
		}
	}
	return nil
}

// unknownIn are the runs of a piece of which nothing is known.
func (c Coverage) unknownIn(way retain.WALRange) []retain.WALRange {
	var runs []retain.WALRange
	next := way.First
	for _, w := range c.knownOf(way.Timeline) {
		if w.First > way.Last {
			break
		}
		if w.First > next {
			runs = append(runs, retain.WALRange{Timeline: way.Timeline, First: next, Last: w.First - 1})
		}
		next = max(next, w.Last+1)
	}
	if next <= way.Last {
		runs = append(runs, retain.WALRange{Timeline: way.Timeline, First: next, Last: way.Last})
	}
	return runs
}

// knownOf are the segments of a timeline that are stored, dropped or accepted as
// missing, in order; the runs may overlap.
func (c Coverage) knownOf(tli wal.Timeline) []retain.WALRange {
	var known []retain.WALRange
	add := func(s Span) {
		first, err1 := c.Size.Split(s.First)
		last, err2 := c.Size.Split(s.Last)
		if s.First.Timeline == tli && s.First.Kind == wal.Segment && err1 == nil && err2 == nil {
			known = append(known, retain.WALRange{Timeline: tli, First: first, Last: last})
		}
	}
	for _, w := range c.Ranges {
		if w.Timeline == tli {
			known = append(known, w)
		}
	}
	for _, g := range c.Gaps {
		add(g.Span)
	}
	for _, a := range c.Accepted {
		add(a.Span)
	}
	slices.SortFunc(known, compareRanges)
	return known
}

func compareRanges(a, b retain.WALRange) int {
	return cmp.Or(cmp.Compare(a.Timeline, b.Timeline), cmp.Compare(a.First, b.First))
}

// mergeRanges makes one of runs that overlap or follow each other.
func mergeRanges(all []retain.WALRange) []retain.WALRange {
	slices.SortFunc(all, compareRanges)
	var merged []retain.WALRange
	for _, w := range all {
		if n := len(merged); n > 0 && merged[n-1].Timeline == w.Timeline && w.First <= merged[n-1].Last+1 {
			merged[n-1].Last = max(merged[n-1].Last, w.Last)
			continue
		}
		merged = append(merged, w)
	}
	return merged
}

// IsAccepted reports whether somebody knows that a file is missing.
func (c Coverage) IsAccepted(missing string) bool {
	n, err := wal.ParseName(missing)
	return err == nil && slices.ContainsFunc(c.Accepted, func(a Accepted) bool { return a.Holds(n) })
}

// RunName is a run of segments as people read it: first, last and how many.
func (c Coverage) RunName(w retain.WALRange) string {
	if w.First == w.Last {
		return c.Size.Name(w.Timeline, w.First)
	}
	return fmt.Sprintf("%s to %s, %d segments", c.Size.Name(w.Timeline, w.First), c.Size.Name(w.Timeline, w.Last), w.Last-w.First+1)
}
