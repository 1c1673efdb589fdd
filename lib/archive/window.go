package archive

import (
	"cmp"
	"context"
	"slices"
	"time"

	"pgpipes/lib/wal"
)

// A Window is a run of moments to each of which a recovery is possible, on the
// part of history that is a timeline's own: after it left its parent.
type Window struct {
	Timeline wal.Timeline
	FromLSN  wal.LSN // where the first backup stopped, or the timeline began
	// ToLSN is where the last record begins in the WAL that follows without a hole.
	// If that was not read it is the end of the WAL.
	ToLSN wal.LSN
	// From is when the first backup stopped, or, on a timeline that is reached from
	// its parent, when the first transaction ended; zero if that is not known.
	From time.Time
	// To is when the last transaction ended: what is recovered to the very end has
	// it, and a target must be a time before it.
	To time.Time
	// Exact says that To was read from the WAL. Otherwise it is when the last
	// segment was stored, which is later.
	Exact   bool
	Backups []string // labels of those it can be reached from, the oldest first
}

// Windows lists the windows of all timelines, by timeline and place, as the
// names of the WAL show them: without times of their ends, and with the end of the
// last segment as that of the window. Survey reads more. Only backups that are
// complete and whole count.
func (c Coverage) Windows(backups []Backup) []Window {
	var all []Window
	for _, tli := range c.timelines(backups) {
		var own []Window
		for _, b := range backups {
			if w, ok := c.window(b, tli); ok {
				own = append(own, w)
			}
		}
		all = append(all, merged(own)...)
	}
	return all
}

// merged joins the windows of one timeline that end at the same place: it is the
// same WAL.
func merged(own []Window) []Window {
	slices.SortStableFunc(own, func(a, b Window) int {
		return cmp.Or(cmp.Compare(a.ToLSN, b.ToLSN), cmp.Compare(a.FromLSN, b.FromLSN))
	})
	var joined []Window
	for _, w := range own {
		if n := len(joined) - 1; n >= 0 && joined[n].ToLSN == w.ToLSN {
			joined[n].Backups = append(joined[n].Backups, w.Backups...)
			continue
		}
		joined = append(joined, w)
	}
	return joined
}

// window is what a backup alone makes of a timeline. One that holds its WAL can
// be recovered without any, but to nothing else: a server that goes on asks the
// repository for that WAL, too.
func (c Coverage) window(b Backup, tli wal.Timeline) (Window, bool) {
	h := b.Header
	if b.Err != nil || !b.Complete || b.Lost != nil || c.MissingFor(h) != "" || c.missingHistory(tli) != "" {
		return Window{}, false
	}
	w := Window{Timeline: tli, FromLSN: h.StopLSN, ToLSN: h.StopLSN, From: b.Ended(), Backups: []string{b.Label}}
	next := c.Size.LastNumber(h.StopLSN)
	if tli != h.StopTimeline {
		at, _ := c.switchTo(tli)
		if !c.descends(b, tli) || c.misled(tli) != "" {
			return Window{}, false
		}
		next = c.Size.Number(at)
		w.FromLSN, w.ToLSN, w.From = at, at, time.Time{}
	}
	if c.missingPath(h.StartTimeline, c.Size.Number(h.StartLSN), tli, next) != "" {
		return w, tli == h.StopTimeline
	}
	w.ToLSN = max(w.FromLSN, c.Size.Start(c.contiguous(tli, next)))
	return w, true
}

// switchTo is where a timeline left its parent.
func (c Coverage) switchTo(tli wal.Timeline) (wal.LSN, bool) {
	h := c.ancestry(tli)
	if len(h) == 0 {
		return 0, false
	}
	return h[len(h)-1].At, true
}

// descends reports whether a timeline goes on from where a backup ended.
func (c Coverage) descends(b Backup, tli wal.Timeline) bool {
	at, ok := c.ancestry(tli).SwitchFrom(b.Header.StopTimeline)
	return ok && b.Header.StopLSN <= at
}

// measure reads the ends of a window. A segment that cannot be read must not keep
// anybody from seeing the rest.
func (r *Repo) measure(ctx context.Context, c Coverage, w *Window) {
	if w.ToLSN == w.FromLSN {
		w.To, w.Exact = w.From, true
		return
	}
	first, last := c.Size.Number(w.FromLSN), c.Size.LastNumber(w.ToLSN)
	whole := last-first < maxLookBack // of the window, not of what can be read
	if at, ok := c.switchTo(w.Timeline); ok && w.FromLSN < at {
		first, whole = c.Size.Number(at), false
	}
	if w.From.IsZero() {
		w.From = r.firstEnd(ctx, w.Timeline, w.FromLSN, last)
	}
	end, err := r.ending(ctx, w.Timeline, first, last)
	if err == nil && end.record != 0 {
		w.ToLSN = max(w.FromLSN, end.record)
	}
	switch {
	case err == nil && end.busy && end.last.After(w.From):
		w.To, w.Exact = end.last, true
	case err == nil && (end.busy || whole):
		w.To, w.Exact = w.From, true // nothing was committed
	default:
		w.To = c.storedAt(w.Timeline, last)
	}
}

// firstEnd is when the first transaction ended at or after a place, zero if that
// is not soon found.
func (r *Repo) firstEnd(ctx context.Context, tli wal.Timeline, from wal.LSN, last uint64) time.Time {
	for n := r.SegmentSize.Number(from); n <= last && n < r.SegmentSize.Number(from)+maxLookBack; n++ {
		var at time.Time
		note := func(m wal.Moment) {
			if at.IsZero() && m.Kind != wal.RestorePoint && m.At >= from {
				at = m.Time
			}
		}
		_, err := r.walkSegment(ctx, tli, n, func() wal.Listener { return wal.Listener{Moment: note} })
		if err != nil || !at.IsZero() {
			return at
		}
	}
	return time.Time{}
}
