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
	ToLSN    wal.LSN // the end of the WAL that follows without a hole
	From     time.Time
	To       time.Time // of the last transaction in that WAL; zero if there is none
	// Exact says that To was read from the WAL. Otherwise it is when the last
	// segment was stored, which is later.
	Exact   bool
	Backups []string // labels of those it can be reached from, the oldest first
}

// Windows lists the windows of all timelines, by timeline and place, without
// times of their ends (see Survey). Only backups that are complete and whole
// count.
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

// window is what a backup alone makes of a timeline.
func (c Coverage) window(b Backup, tli wal.Timeline) (Window, bool) {
	h := b.Header
	if b.Err != nil || !b.Complete || b.Lost != nil || c.MissingFor(h) != "" || c.missingHistory(tli) != "" {
		return Window{}, false
	}
	w := Window{Timeline: tli, FromLSN: h.StopLSN, From: b.Ended(), Backups: []string{b.Label}}
	next := c.Size.LastNumber(h.StopLSN)
	if tli != h.StopTimeline {
		at, way := c.switchTo(tli)
		if !way || !c.descends(b, tli) {
			return Window{}, false
		}
		w.FromLSN, w.From = at, time.Time{}
		next = c.Size.Number(at)
		if c.firstMissing(c.line(h.StopTimeline, c.Size.LastNumber(h.StopLSN), tli, next)) != "" {
			return Window{}, false
		}
	}
	end := c.contiguous(tli, next)
	if end == next && !h.WAL {
		return Window{}, false // nothing of it was archived: told by MissingFor, or of a child just begun
	}
	w.ToLSN = max(w.FromLSN, c.Size.Start(end))
	return w, true
}

// switchTo is where a timeline left its parent.
func (c Coverage) switchTo(tli wal.Timeline) (wal.LSN, bool) {
	h := c.Histories[tli]
	if len(h) == 0 {
		return 0, false
	}
	return h[len(h)-1].At, true
}

// descends reports whether a timeline goes on from where a backup ended.
func (c Coverage) descends(b Backup, tli wal.Timeline) bool {
	at, ok := c.Histories[tli].SwitchFrom(b.Header.StopTimeline)
	return ok && b.Header.StopLSN <= at
}

// contiguous is the number after the last of the segments that are there
// without a hole from next on.
func (c Coverage) contiguous(tli wal.Timeline, next uint64) uint64 {
	for _, w := range c.Ranges {
		if w.Timeline == tli && w.First <= next && next <= w.Last {
			next = w.Last + 1
		}
	}
	return next
}

// timeOf finds when a window ends: by the last transaction in its WAL, or, if
// that cannot be read, by when its last segment was stored.
func (r *Repo) timeOf(ctx context.Context, c Coverage, w *Window) {
	first, last := c.Size.Number(w.FromLSN), c.Size.LastNumber(w.ToLSN)
	if c.contiguous(w.Timeline, first) <= first { // its WAL is in the backup
		w.To, w.Exact = w.From, true
		return
	}
	at, found, err := r.LastCommit(ctx, w.Timeline, first, last)
	switch {
	case err != nil:
		w.To = c.storedAt(w.Timeline, last)
	case found && at.After(w.From):
		w.To, w.Exact = at, true
	default: // nothing was committed
		w.To, w.Exact = w.From, true
	}
}

// storedAt is about when a segment was stored: when the first one at or after it
// that begins or ends a run was.
func (c Coverage) storedAt(tli wal.Timeline, number uint64) time.Time {
	for i, w := range c.Ranges {
		if w.Timeline == tli && number <= w.Last && i < len(c.Times) {
			if number <= w.First {
				return c.Times[i].First
			}
			return c.Times[i].Last
		}
	}
	return time.Time{}
}
