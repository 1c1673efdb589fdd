package retain

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"pgpipes/lib/wal"
)

// need is a run of segments on some timeline that a backup needs.
type need struct {
	first, last uint64
	reason      string
	label       string
}

// endless is the last segment of a need that goes on to the present.
const endless = math.MaxUint64

// decideWAL decides about ranges of segments, given the backups that are kept.
func decideWAL(ranges []WALRange, s State, p Policy, kept []Backup) []Decision {
	var decisions []Decision
	needs := make(map[wal.Timeline][]need)
	for _, r := range sortedWAL(ranges) {
		if _, done := needs[r.Timeline]; !done {
			needs[r.Timeline] = needsOn(r.Timeline, s, p, kept)
		}
		decisions = append(decisions, split(r, needs[r.Timeline], s.SegmentSize)...)
	}
	return decisions
}

func sortedWAL(ranges []WALRange) []WALRange {
	return slices.SortedFunc(slices.Values(ranges), func(a, b WALRange) int {
		return cmp.Or(cmp.Compare(a.Timeline, b.Timeline), cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last))
	})
}

// needsOn are the segments of a timeline that must stay, by first segment.
func needsOn(tli wal.Timeline, s State, p Policy, kept []Backup) []need {
	everything := func(reason string) []need { return []need{{last: endless, reason: reason}} }
	switch {
	case !p.Rules():
		return everything(NoRule)
	case !slices.ContainsFunc(kept, func(b Backup) bool { return b.Complete }):
		return everything("there is no complete backup")
	case !s.SegmentSize.Valid():
		return everything("the segment size is unknown")
	case tli > 1 && s.Histories[tli] == nil:
		return everything(fmt.Sprintf("the history of timeline %d is unknown", tli))
	}
	var needs []need
	onward := p.onward(s, kept)
	for _, b := range kept {
		need := b.ownOn
		if onward(b) {
			need = b.needOn
		}
		if n, ok := need(tli, s); ok {
			needs = append(needs, n)
		}
	}
	// Of several that need a segment, the one that needs it the longest back
	// is named as the reason.
	slices.SortStableFunc(needs, func(a, b need) int { return cmp.Compare(a.first, b.first) })
	return needs
}

// needOn is what a backup needs of a timeline: from its start on if it can be
// rolled forward along it. Of a timeline on the way from its start to its stop
// it needs what lies before the way leaves it, with the segment in which that
// happens.
func (b Backup) needOn(tli wal.Timeline, s State) (need, bool) {
	if b.Timeline == 0 {
		return need{0, endless, "needed by " + b.Label + ", of which nothing is known", b.Label}, true
	}
	n := need{s.SegmentSize.Number(b.Start), endless, "needed by " + b.Label, b.Label}
	if !b.Complete {
		n.reason += ", which is in progress"
	}
	if b.reaches(tli, s.Histories) {
		return n, true
	}
	stopTimeline, _ := b.end()
	way := s.Histories[stopTimeline]
	if _, known := way.SwitchFrom(b.Timeline); !known {
		// The way is unknown, or the backup's facts contradict each other.
		return n, tli >= min(b.Timeline, stopTimeline) && tli <= max(b.Timeline, stopTimeline)
	}
	left, onWay := way.SwitchFrom(tli)
	n.last = s.SegmentSize.Number(left)
	return n, onWay && tli >= b.Timeline
}

// onward says which of the kept backups are to be rolled forward to any moment.
// The others are for their own end alone.
func (p Policy) onward(s State, kept []Backup) func(Backup) bool {
	if !p.WAL.Limited {
		return func(Backup) bool { return true }
	}
	complete, newest := newestFirst(kept), newestTimeline(s)
	onLine := slices.DeleteFunc(slices.Clone(complete), func(b Backup) bool { return !b.reaches(newest, s.Histories) })
	forth := map[string]bool{}
	for _, b := range slices.Concat(sinceEdge(complete, s.Now.Add(-p.WAL.Within)), sinceEdge(onLine, s.Now.Add(-p.WAL.Within))) {
		forth[b.Label] = true
	}
	return func(b Backup) bool { return !b.Complete || b.InUse != "" || forth[b.Label] }
}

// sinceEdge are the backups, given the newest first, from the newest on that
// ended before the edge, or else all.
func sinceEdge(backups []Backup, edge time.Time) []Backup {
	for i, b := range backups {
		if !b.StopTime.After(edge) {
			return backups[:i+1]
		}
	}
	return backups
}

// ownOn is what a backup needs of a timeline to be restored to its own end. Where
// the way from its start to its end is unknown it is more than that.
func (b Backup) ownOn(tli wal.Timeline, s State) (need, bool) {
	switch {
	case b.WAL:
		return need{}, false
	case b.Timeline == 0 || b.StopTimeline == 0 || b.Stop < b.Start:
		return b.needOn(tli, s)
	}
	n := need{s.SegmentSize.Number(b.Start), s.SegmentSize.LastNumber(b.Stop), "needed by " + b.Label + " alone", b.Label}
	way := s.Histories[b.StopTimeline]
	_, known := way.SwitchFrom(b.Timeline)
	switch {
	case tli == b.StopTimeline:
		return n, true
	case !known:
		return n, tli >= min(b.Timeline, b.StopTimeline) && tli <= max(b.Timeline, b.StopTimeline)
	}
	left, onWay := way.SwitchFrom(tli)
	n.last = s.SegmentSize.Number(left)
	return n, onWay && tli >= b.Timeline
}

// split cuts a range into what is needed, by whom, and what is not. needs are
// sorted by first segment.
func split(r WALRange, needs []need, size wal.SegmentSize) []Decision {
	var decisions []Decision
	decide := func(keep bool, first, last uint64, reason, label string) {
		part := WALRange{r.Timeline, first, last}
		decisions = append(decisions, Decision{Keep: keep, Kind: KindWAL, Name: part.name(size), Reason: reason, WAL: part, NeededBy: label})
	}
	next := r.First // all before it is decided
	for _, n := range needs {
		first, last := max(n.first, next), min(n.last, r.Last)
		if first > last {
			continue
		}
		if first > next {
			decide(false, next, first-1, "no kept backup needs it", "")
		}
		decide(true, first, last, n.reason, n.label)
		if last == r.Last {
			return decisions
		}
		next = last + 1
	}
	if next <= r.Last {
		decide(false, next, r.Last, "no kept backup needs it", "")
	}
	return decisions
}

// name is the name of the segment, or of the first and the last.
func (r WALRange) name(size wal.SegmentSize) string {
	if !size.Valid() {
		return fmt.Sprintf("timeline %d, segments %d..%d", r.Timeline, r.First, r.Last)
	}
	first := size.Name(r.Timeline, r.First)
	if r.First == r.Last {
		return first
	}
	return first + ".." + size.Name(r.Timeline, r.Last)
}
