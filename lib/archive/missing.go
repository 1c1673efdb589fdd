package archive

import (
	"fmt"
	"math"
	"slices"
	"time"

	"pgpipes/lib/retain"
	"pgpipes/lib/wal"
)

// The states of a hole.
const (
	HoleMissing  = "missing"
	HoleDropped  = "dropped"  // by wal-push --queue-max
	HoleAccepted = "accepted" // by an operator
	HoleExpired  = "expired"  // made by expire --wal-keep
)

// A Hole is a run of segments that must have existed and are not there, so that
// no recovery gets past it.
type Hole struct {
	Span
	Segments uint64
	Since    time.Time // it was missing at the latest then: what follows was stored; zero if nothing does
	State    string
	Reason   string // why, if somebody has said so
}

// Open reports whether nobody has accepted it.
func (h Hole) Open() bool { return h.State == HoleMissing || h.State == HoleDropped }

// Holes finds them in the graph of timelines: between stored segments, before
// the place where another timeline branches off, and where a timeline begins.
// What no complete backup could ever come upon, because none is before it on its
// line, is none. A run of which a part is known is divided.
func (c Coverage) Holes(backups []Backup) []Hole {
	var all []Hole
	for _, tli := range c.timelines(backups) {
		first, last, ok := c.expected(tli, backups)
		if !ok {
			continue
		}
		for _, run := range c.absent(tli, first, last) {
			all = append(all, c.divide(run)...)
		}
	}
	return all
}

// FirstNeeded is the first segment of a timeline that some backup needs.
func (c Coverage) FirstNeeded(tli wal.Timeline, backups []Backup) (first uint64, ok bool) {
	for _, b := range backups {
		if from, needs := c.needsFrom(tli, b); needs && (!ok || from < first) {
			first, ok = from, true
		}
	}
	return first, ok
}

// expected are the segments of a timeline from the first that some backup needs
// to the last that must have existed.
func (c Coverage) expected(tli wal.Timeline, backups []Backup) (first, last uint64, ok bool) {
	if first, ok = c.FirstNeeded(tli, backups); !ok {
		return 0, 0, false
	}
	last, found := c.end(tli)
	for _, h := range c.Histories {
		// The segment of the switch itself is the child's.
		if at, _ := h.SwitchFrom(tli); c.Size.Number(at) > 0 {
			last, found = max(last, c.Size.Number(at)-1), true
		}
	}
	return first, last, found
}

// needsFrom is the first segment of a timeline that a server asks for that goes
// on from a backup, on this timeline or by way of it. It asks for what a backup
// holds, too.
func (c Coverage) needsFrom(tli wal.Timeline, b Backup) (uint64, bool) {
	h := b.Header
	if b.Err != nil || !b.Complete || h.StopLSN == 0 {
		return 0, false
	}
	to := h.StopTimeline
	if c.descends(b, tli) {
		to = tli
	}
	for _, w := range c.Line(h.StartTimeline, c.Size.Number(h.StartLSN), to, math.MaxUint64-1) {
		if w.Timeline == tli {
			return w.First, true
		}
	}
	return 0, false
}

// absent are the runs of missing segments from first to last.
func (c Coverage) absent(tli wal.Timeline, first, last uint64) []retain.WALRange {
	var runs []retain.WALRange
	next := first
	for _, w := range c.Ranges[c.from(tli, first):] {
		if w.Timeline != tli || w.First > last {
			break
		}
		if w.First > next {
			runs = append(runs, retain.WALRange{Timeline: tli, First: next, Last: w.First - 1})
		}
		next = max(next, w.Last+1)
	}
	if next <= last {
		runs = append(runs, retain.WALRange{Timeline: tli, First: next, Last: last})
	}
	return runs
}

// divide cuts a run where what is known of it changes.
func (c Coverage) divide(run retain.WALRange) []Hole {
	cuts := []uint64{run.First, run.Last + 1}
	cut := func(s Span) {
		if first, last, ok := c.numbers(s); ok && s.First.Timeline == run.Timeline {
			cuts = append(cuts, first, last+1)
		}
	}
	for _, a := range c.Accepted {
		cut(a.Span)
	}
	for _, g := range c.Gaps {
		cut(g.Span)
	}
	slices.Sort(cuts)
	since := c.after(run)
	var holes []Hole
	for i, at := range cuts[:len(cuts)-1] {
		next := cuts[i+1]
		if at < run.First || at > run.Last || at == next {
			continue
		}
		h := c.Hole(run.Timeline, at, min(next-1, run.Last))
		h.Since = since
		if n := len(holes) - 1; n >= 0 && holes[n].State == h.State && holes[n].Reason == h.Reason {
			holes[n].Last, holes[n].Segments = h.Last, holes[n].Segments+h.Segments
			continue
		}
		holes = append(holes, h)
	}
	return holes
}

// after is when what follows a run was stored: on its timeline, or on one that
// left it there.
func (c Coverage) after(run retain.WALRange) time.Time {
	at := c.storedAt(run.Timeline, run.Last+1)
	for child, h := range c.Histories {
		if branch, ok := h.SwitchFrom(run.Timeline); ok && at.IsZero() && c.Size.Number(branch) > run.Last {
			at = c.storedAt(child, c.Size.Number(branch))
		}
	}
	return at
}

func (c Coverage) numbers(s Span) (first, last uint64, ok bool) {
	first, err1 := c.Size.Split(s.First)
	last, err2 := c.Size.Split(s.Last)
	return first, last, err1 == nil && err2 == nil && s.First.Kind == wal.Segment
}

// Hole is a run about which the same is known from first to last.
func (c Coverage) Hole(tli wal.Timeline, first, last uint64) Hole {
	h := Hole{Segments: last - first + 1, State: HoleMissing}
	h.First, _ = wal.ParseName(c.Size.Name(tli, first)) // made by Name
	h.Last, _ = wal.ParseName(c.Size.Name(tli, last))
	for _, g := range c.Gaps {
		if g.Holds(h.First) {
			h.State, h.Reason = HoleDropped, g.Reason
		}
	}
	for _, by := range []string{ByExpire, ByOperator} { // the operator has the last word
		for _, a := range c.Accepted {
			if a.Holds(h.First) && (a.By == ByExpire) == (by == ByExpire) {
				h.State, h.Reason = map[string]string{ByExpire: HoleExpired, ByOperator: HoleAccepted}[by], a.Reason
			}
		}
	}
	return h
}

// lostAbove names the first history above a timeline that is not there and must
// have been, "" if there is none. A server that recovers asks for one after the
// other until there is none, whatever timeline it is to follow: to find the newest
// or to name its own (timeline.c: findNewestTimeLine), and to have those on its way
// (restoreTimeLineHistoryFiles). wal-get stops it at the one that is missing, see
// proveHistoryEnd.
func (c Coverage) lostAbove(tli wal.Timeline) string {
	known := c.Backed
	for later := range c.Histories {
		known = max(known, later)
	}
	for tli++; c.missingHistory(tli) == ""; {
		tli++
	}
	if _, stored := c.end(tli); tli > known && !stored {
		return ""
	}
	return c.missingHistory(tli)
}

// LostHistories names the histories that are not there and must have been: of
// all timelines up to the newest, as a gap in the numbers hides what is above it
// from a server that looks for that (timeline.c:findNewestTimeLine). Many in a
// row are named FIRST-LAST.
func (c Coverage) LostHistories(backups []Backup) []string {
	const row = 16
	var lost []string
	next := wal.Timeline(2)
	for _, tli := range append(c.timelines(backups), c.Newest()) {
		last := tli
		if _, there := c.Histories[tli]; there {
			last--
		}
		switch {
		case last < next || tli < next:
		case last-next >= row:
			lost = append(lost, fmt.Sprintf("%s.history-%s.history", next, last))
		default:
			for ; next <= last; next++ {
				lost = append(lost, fmt.Sprintf("%s.history", next))
			}
		}
		next = max(next, tli+1)
	}
	return lost
}
