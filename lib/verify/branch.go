package verify

import (
	"errors"
	"fmt"

	"pgpipes/lib/archive"
	"pgpipes/lib/wal"
)

// A history says where its timeline left the parent, and a server has nothing else to
// go by: it reads the parent's log up to there. One that is wrong takes a recovery
// down a branch that was left, and as the log does not go on behind that, it ends
// there as if all were well. What there is of the timeline itself knows better.

// began is where a timeline began, by its history.
func (v *verifier) began(tli wal.Timeline) (wal.LSN, bool) {
	h := v.stock.coverage.Histories[tli]
	if len(h) == 0 {
		return 0, false
	}
	return h[len(h)-1].At, true
}

// checkBeginnings finds segments of timelines from before these began.
func (v *verifier) checkBeginnings() {
	for _, w := range v.stock.ranges {
		at, known := v.began(w.Timeline)
		if known && w.First < v.SegmentSize.Number(at) {
			v.foundBranch(w.Timeline, at, "but there is "+v.SegmentSize.Name(w.Timeline, w.First))
		}
	}
}

// beginsIn says where in a segment its timeline began, if it did so there.
func (v *verifier) beginsIn(n wal.Name) (wal.LSN, bool) {
	number, err := v.SegmentSize.Split(n)
	at, known := v.began(n.Timeline)
	return at, known && err == nil && n.Kind == wal.Segment && v.SegmentSize.Number(at) == number
}

// checkBeginning compares where a timeline began with what its first segment shows of
// that: the server begins with a record, and all further pages are of the new timeline
// (xlog.c: StartupXLOG). next is the first record at that place or behind it. The error
// is what is wrong with the segment, and not with the history.
func (v *verifier) checkBeginning(n wal.Name, at, next wal.LSN, l wal.Link) error {
	page := l.Header.NextPage(at)
	switch {
	case next != l.Header.FirstRecord(at):
		v.foundBranch(n.Timeline, at, "where no record begins in "+n.String())
	case l.Turned != 0 && l.Turned != page:
		v.foundBranch(n.Timeline, at, "but the first page of its own is that at "+l.Turned.String())
	case l.Turned == 0 && l.Pages > page:
		return fmt.Errorf("%w: its timeline began at %s, by the history, but no page of it is of that", archive.ErrDamaged, at)
	}
	return nil
}

func (v *verifier) foundBranch(tli wal.Timeline, at wal.LSN, what string) {
	v.found(FoundDamaged, historyKey(tli), "it says that timeline %d began at %s, %s", uint32(tli), at, what)
}

// begins reports whether a group has the beginning of its timeline.
func (v *verifier) begins(g *walGroup) bool {
	_, begins := v.beginsIn(v.segment(g.timeline, g.number))
	return begins
}

// records notes what a walk comes upon of records: whether there is any, and the first
// one at the beginning of the timeline or behind it.
func (c *walContents) records(at wal.LSN) func(wal.Record) {
	return func(r wal.Record) {
		c.found = true
		if c.next == 0 && r.At >= at {
			c.next = r.At
		}
	}
}

// wasLeft reports whether what ends the log in a segment is no damage, but that another
// timeline left this one before, and nothing more came of it. A server that was shut
// down and follows its successor archives its last segment as it is, in time
// (xlogarchive.c: XLogArchiveCheckDone), and not only as a .partial. Recoveries go on
// in the other timeline, or end there.
func (v *verifier) wasLeft(n wal.Name, err error) bool {
	var d *wal.Damage
	number, serr := v.SegmentSize.Split(n)
	if !errors.As(err, &d) || serr != nil || n.Kind != wal.Segment {
		return false
	}
	for _, w := range v.stock.ranges {
		if w.Timeline == n.Timeline && w.Last > number {
			return false
		}
	}
	for _, b := range v.stock.backups {
		if h := b.Header; b.Complete && h.StopTimeline == n.Timeline && h.StopLSN > d.At {
			return false // it needs what is damaged
		}
	}
	left := false
	for _, h := range v.stock.coverage.Histories {
		if at, ok := h.SwitchFrom(n.Timeline); ok && v.SegmentSize.Number(at) == number {
			if d.At < at {
				return false
			}
			left = true
		}
	}
	return left
}
