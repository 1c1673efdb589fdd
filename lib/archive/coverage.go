package archive

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"pgpipes/lib/layout"
	"pgpipes/lib/manifest"
	"pgpipes/lib/retain"
	"pgpipes/lib/wal"
)

// FirstMissing names the first segment from first to last of a timeline that is
// not stored, "" if all are.
func (r *Repo) FirstMissing(ctx context.Context, tli wal.Timeline, first, last uint64) (string, error) {
	next := first
	after := ""
	if first > 0 {
		after = layout.AfterSegment(r.SegmentSize.Name(tli, first-1))
	}
	for n, err := range r.segments(ctx, layout.Timeline(tli), after) {
		if err != nil {
			return "", err
		}
		number, err := r.SegmentSize.Split(n)
		if err != nil {
			return "", err
		}
		if number > next || next > last {
			break
		}
		if number == next {
			next++
		}
	}
	if next > last {
		return "", nil
	}
	return r.SegmentSize.Name(tli, next), nil
}

// segments yields the names of stored whole segments in order; one that is
// stored in two codecs comes twice.
func (r *Repo) segments(ctx context.Context, prefix, after string) iter.Seq2[wal.Name, error] {
	return func(yield func(wal.Name, error) bool) {
		for s, err := range r.storedSegments(ctx, prefix, after) {
			if (err != nil || s.name.Kind == wal.Segment) && !yield(s.name, err) {
				return
			}
		}
	}
}

// A storedSegment is one, whole or partial, and when it was stored.
type storedSegment struct {
	name wal.Name
	at   time.Time
}

func (r *Repo) storedSegments(ctx context.Context, prefix, after string) iter.Seq2[storedSegment, error] {
	return func(yield func(storedSegment, error) bool) {
		for info, err := range r.List(ctx, prefix, after) {
			if err != nil {
				yield(storedSegment{}, err)
				return
			}
			if n, _, ok := layout.ParseWALKey(info.Key); ok && IsSegment(n) && !yield(storedSegment{n, info.ModTime}, nil) {
				return
			}
		}
	}
}

// Times says when the first and the last segment of a range were stored.
type Times struct{ First, Last time.Time }

// ListSegments lists the stored segments as runs of consecutive numbers, by
// timeline and number, when each run begins and ends, and the partial ones.
// The rest of a Coverage is left empty. Memory grows with the number of gaps and
// timelines, not of segments.
func (r *Repo) ListSegments(ctx context.Context) (c Coverage, err error) {
	for s, err := range r.storedSegments(ctx, layout.WAL, "") {
		if err != nil {
			return Coverage{}, err
		}
		number, err := r.SegmentSize.Split(s.name)
		if err != nil {
			return Coverage{}, err
		}
		c.add(s, number)
	}
	return c, nil
}

// add takes note of a segment. They come in order, one in two codecs twice.
func (c *Coverage) add(s storedSegment, number uint64) {
	one := retain.WALRange{Timeline: s.name.Timeline, First: number, Last: number}
	last := len(c.Ranges) - 1
	switch {
	case s.name.Kind == wal.Partial:
		if !slices.Contains(c.Partials, one) {
			c.Partials = append(c.Partials, one)
		}
	case last >= 0 && c.Ranges[last].Timeline == one.Timeline && number <= c.Ranges[last].Last+1:
		c.Ranges[last].Last, c.Times[last].Last = number, s.at
	default:
		c.Ranges, c.Times = append(c.Ranges, one), append(c.Times, Times{s.at, s.at})
	}
}

// A Coverage is the WAL of a repository at one time.
type Coverage struct {
	Size      wal.SegmentSize
	Ranges    []retain.WALRange
	Times     []Times           // of the ranges
	Partials  []retain.WALRange // each of one segment
	Histories map[wal.Timeline]wal.History
	Gaps      []Gap
	Accepted  []Accepted
	Backed    wal.Timeline // the last one that a complete backup has ended on
}

// Coverage reads it.
func (r *Repo) Coverage(ctx context.Context) (Coverage, error) {
	c, err := r.ListSegments(ctx)
	if err != nil {
		return Coverage{}, err
	}
	c.Size = r.SegmentSize
	if c.Histories, err = r.Histories(ctx); err != nil {
		return Coverage{}, err
	}
	if c.Gaps, err = r.Gaps(ctx); err != nil {
		return Coverage{}, err
	}
	c.Accepted, err = r.AcceptedHoles(ctx)
	return c, err
}

// MissingFor says what of the WAL is missing without which a backup cannot
// become consistent: the name of a file, "" if all is there, as it always is of
// one that holds its WAL itself.
func (c Coverage) MissingFor(h manifest.Header) string {
	if h.WAL {
		return ""
	}
	if h.StopLSN == 0 || h.StopTimeline == 0 {
		return "the place where it ends"
	}
	if missing := c.missingHistory(h.StopTimeline); missing != "" { // recovery asks for it at once
		return missing
	}
	return c.firstMissing(c.Needed(h))
}

// Needed are the segments that MissingFor looks for, by timeline.
func (c Coverage) Needed(h manifest.Header) []retain.WALRange {
	return c.Line(h.StartTimeline, c.Size.Number(h.StartLSN), h.StopTimeline, c.Size.LastNumber(h.StopLSN))
}

func (c Coverage) missingPath(from wal.Timeline, first uint64, to wal.Timeline, last uint64) string {
	return c.firstMissing(c.Line(from, first, to, last))
}

func (c Coverage) firstMissing(way []retain.WALRange) string {
	for _, w := range way {
		if missing, found := c.missingIn(w.Timeline, w.First, w.Last); found {
			return c.Size.Name(w.Timeline, missing)
		}
	}
	return ""
}

// Line follows the line of history from segment first on timeline from to
// segment last on timeline to. The segment of a switch point is the child's: the
// parent's copy of it may never have been archived.
func (c Coverage) Line(from wal.Timeline, first uint64, to wal.Timeline, last uint64) []retain.WALRange {
	var way []retain.WALRange
	steps := append(slices.Clone(c.ancestry(to)), wal.Switch{Parent: to, At: math.MaxUint64})
	next := first
	for i, s := range steps {
		end := last + 1
		if i < len(steps)-1 {
			at, _ := steps.SwitchFrom(s.Parent)
			end = min(end, c.Size.Number(at))
		}
		if s.Parent >= from && end > next {
			way = append(way, retain.WALRange{Timeline: s.Parent, First: next, Last: end - 1})
			next = end
		}
	}
	return way
}

// ancestry is the history of a timeline. One that is lost is the beginning of
// those of its descendants.
func (c Coverage) ancestry(tli wal.Timeline) wal.History {
	if h, there := c.Histories[tli]; there {
		return h
	}
	for _, h := range c.Histories {
		for i, s := range h {
			if s.Parent == tli {
				return h[:i]
			}
		}
	}
	return nil
}

// misled says why the history of a timeline cannot be right, "" if nothing tells: of a
// timeline on its line there are segments from before it began. A server would follow
// the parent, on a branch that was left, up to where the log does not go on, and take
// that for the end.
func (c Coverage) misled(tli wal.Timeline) string {
	h := c.ancestry(tli)
	for i, s := range h {
		began := tli
		if i+1 < len(h) {
			began = h[i+1].Parent
		}
		at := c.from(began, 0)
		if at < len(c.Ranges) && c.Ranges[at].Timeline == began && c.Ranges[at].First < c.Size.Number(s.At) {
			return fmt.Sprintf("%s.history is damaged, or there is WAL of a server that was given up: it says that timeline %d began at %s, but there is %s",
				tli, uint32(began), s.At, c.Size.Name(began, c.Ranges[at].First))
		}
	}
	return ""
}

// missingIn finds the first number from first to last without a segment.
func (c Coverage) missingIn(tli wal.Timeline, first, last uint64) (uint64, bool) {
	next := c.contiguous(tli, first)
	return next, next <= last
}

// contiguous is the number after the last of the segments that are there
// without a hole from next on.
func (c Coverage) contiguous(tli wal.Timeline, next uint64) uint64 {
	for _, w := range c.Ranges[c.from(tli, next):] {
		if w.Timeline != tli || w.First > next {
			break
		}
		next = w.Last + 1
	}
	return next
}

// from finds the first range that ends at or after a segment. There may be very
// many ranges.
func (c Coverage) from(tli wal.Timeline, number uint64) int {
	i, _ := slices.BinarySearchFunc(c.Ranges, number, func(w retain.WALRange, number uint64) int {
		return cmp.Or(cmp.Compare(w.Timeline, tli), cmp.Compare(w.Last, number))
	})
	return i
}

// storedAt is about when a segment was stored: when the first one at or after it
// that begins or ends a range was; zero if there is none.
func (c Coverage) storedAt(tli wal.Timeline, number uint64) time.Time {
	i := c.from(tli, number)
	switch {
	case i == len(c.Ranges) || c.Ranges[i].Timeline != tli || i >= len(c.Times):
		return time.Time{}
	case number <= c.Ranges[i].First:
		return c.Times[i].First
	}
	return c.Times[i].Last
}

func (c Coverage) missingHistory(tli wal.Timeline) string {
	if _, there := c.Histories[tli]; tli > 1 && !there {
		return tli.String() + ".history"
	}
	return ""
}

// Newest is the highest timeline anything is known of.
func (c Coverage) Newest() wal.Timeline { return slices.Max(c.timelines(nil)) }

// timelines are those that anything is known of, in order, and the first one
// always. Their numbers may be far apart.
func (c Coverage) timelines(backups []Backup) []wal.Timeline {
	known := []wal.Timeline{1}
	for _, w := range c.Ranges {
		if w.Timeline != known[len(known)-1] {
			known = append(known, w.Timeline)
		}
	}
	for tli, h := range c.Histories {
		known = append(known, tli)
		for _, s := range h {
			known = append(known, s.Parent)
		}
	}
	for _, b := range backups {
		known = append(known, b.Header.StartTimeline, b.Header.StopTimeline)
	}
	slices.Sort(known)
	known = slices.DeleteFunc(known, func(tli wal.Timeline) bool { return tli == 0 })
	return slices.Compact(known)
}

// end is the last segment known of a timeline: stored, dropped, or removed
// by expire for the sake of --wal-keep.
func (c Coverage) end(tli wal.Timeline) (last uint64, found bool) {
	for _, w := range c.Ranges {
		if w.Timeline == tli {
			last, found = max(last, w.Last), true
		}
	}
	known := func(s Span) {
		if _, number, ok := c.numbers(s); ok && s.First.Timeline == tli {
			last, found = max(last, number), true
		}
	}
	for _, g := range c.Gaps {
		known(g.Span)
	}
	for _, a := range c.Accepted {
		if a.By == ByExpire { // an operator may say what never was
			known(a.Span)
		}
	}
	return last, found
}
