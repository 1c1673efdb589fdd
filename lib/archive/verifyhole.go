package archive

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"pgpipes/lib/retain"
	"pgpipes/lib/wal"
)

// checkHoles finds what is missing between segments, and is not known to be: on
// every line of history, from the first segment of it to the last.
func (v *verifier) checkHoles(ctx context.Context) error {
	if !v.all() {
		return nil
	}
	c := v.stock.coverage
	if holes := c.missingRuns(); len(holes) > 0 || len(c.Gaps) > 0 {
		now, err := v.look(ctx)
		if err != nil {
			return err
		}
		known := now.known()
		for _, hole := range holes {
			v.tellHoles(without(now.missingOf(hole), known))
		}
		return v.tellDropped(ctx, now)
	}
	return nil
}

// tellHoles tells of runs of segments that are still missing at the second look,
// and neither accepted nor dropped.
func (v *verifier) tellHoles(holes []retain.WALRange) {
	for _, w := range holes {
		name := v.SegmentSize.Name(w.Timeline, w.First) + "-" + v.SegmentSize.Name(w.Timeline, w.Last)
		v.found(Hole, name, "%d segments are missing: recovery cannot go on from those before to those after them", w.Last-w.First+1)
	}
}

func (v *verifier) tellDropped(ctx context.Context, now Coverage) error {
	open, err := v.OpenGaps(ctx, now)
	if err != nil {
		return err
	}
	for _, g := range open {
		w := retain.WALRange{Timeline: g.First.Timeline, First: v.number(g.First), Last: v.number(g.Last)}
		if len(without(now.missingOf(w), now.accepted())) > 0 || g.First.Kind == wal.Partial {
			v.found(Dropped, g.String(), "%s (%s)", strings.TrimPrefix(g.Story(), "was "), g.Reason)
		}
	}
	return nil
}

// missingRuns are the runs of segments that are missing on the line of any
// timeline after the first segment that is stored of it, each once. A timeline of
// which nothing is stored yet ends where it left its parent.
func (c Coverage) missingRuns() []retain.WALRange {
	var all []retain.WALRange
	for _, tli := range c.timelines() {
		last, found := c.lastStored(tli)
		if h := c.Histories[tli]; !found && len(h) > 0 {
			last = max(c.Size.Number(h[len(h)-1].At), 1) - 1
		}
		begun := false
		for _, w := range c.line(1, 0, tli, last) {
			missing := c.missingOf(w)
			for _, run := range missing {
				if begun || run.First > w.First {
					all = append(all, run)
				}
				begun = begun || run.First > w.First || run.Last < w.Last
			}
			begun = begun || len(missing) == 0
		}
	}
	return joinRuns(all)
}

// joinRuns sorts runs and makes one of those that overlap or touch.
func joinRuns(all []retain.WALRange) (joined []retain.WALRange) {
	slices.SortFunc(all, func(a, b retain.WALRange) int {
		return cmp.Or(cmp.Compare(a.Timeline, b.Timeline), cmp.Compare(a.First, b.First))
	})
	for _, w := range all {
		last := len(joined) - 1
		if last >= 0 && joined[last].Timeline == w.Timeline && w.First <= joined[last].Last+1 {
			joined[last].Last = max(joined[last].Last, w.Last)
			continue
		}
		joined = append(joined, w)
	}
	return joined
}

// timelines are those with segments or a history.
func (c Coverage) timelines() []wal.Timeline {
	var all []wal.Timeline
	for _, w := range c.Ranges {
		all = append(all, w.Timeline)
	}
	for tli := range c.Histories {
		all = append(all, tli)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (c Coverage) lastStored(tli wal.Timeline) (last uint64, found bool) {
	for _, w := range c.Ranges {
		if w.Timeline == tli {
			last, found = w.Last, true
		}
	}
	return last, found
}

// missingOf are the parts of a run that are not stored.
func (c Coverage) missingOf(run retain.WALRange) (missing []retain.WALRange) {
	from, _ := slices.BinarySearchFunc(c.Ranges, run, func(w, run retain.WALRange) int {
		return cmp.Or(cmp.Compare(w.Timeline, run.Timeline), cmp.Compare(w.Last, run.First))
	})
	next := run.First
	for _, w := range c.Ranges[from:] {
		if w.Timeline != run.Timeline || w.First > run.Last {
			break
		}
		if next < w.First {
			missing = append(missing, retain.WALRange{Timeline: run.Timeline, First: next, Last: w.First - 1})
		}
		next = w.Last + 1
	}
	if next <= run.Last {
		missing = append(missing, retain.WALRange{Timeline: run.Timeline, First: next, Last: run.Last})
	}
	return missing
}

// without takes runs away from others.
func without(all, gone []retain.WALRange) []retain.WALRange {
	for _, g := range gone {
		var left []retain.WALRange
		for _, w := range all {
			if g.Timeline != w.Timeline || g.Last < w.First || w.Last < g.First {
				left = append(left, w)
				continue
			}
			if w.First < g.First {
				left = append(left, retain.WALRange{Timeline: w.Timeline, First: w.First, Last: g.First - 1})
			}
			if g.Last < w.Last {
				left = append(left, retain.WALRange{Timeline: w.Timeline, First: g.Last + 1, Last: w.Last})
			}
		}
		all = left
	}
	return all
}

// accepted are the runs that somebody knows to be missing; known are these and
// those that were dropped.
func (c Coverage) accepted() (runs []retain.WALRange) {
	for _, a := range c.Accepted {
		runs = append(runs, c.run(a.Span))
	}
	return runs
}

func (c Coverage) known() []retain.WALRange {
	runs := c.accepted()
	for _, g := range c.Gaps {
		if g.First.Kind == wal.Segment {
			runs = append(runs, c.run(g.Span))
		}
	}
	return runs
}

// run is a span, whose names have been found good before.
func (c Coverage) run(s Span) retain.WALRange {
	first, _ := c.Size.Split(s.First)
	last, _ := c.Size.Split(s.Last)
	return retain.WALRange{Timeline: s.First.Timeline, First: first, Last: last}
}
