package verify

import (
	"context"
	"maps"
	"slices"

	"pgpipes/lib/archive"
	"pgpipes/lib/layout"
	"pgpipes/lib/wal"
)

// checkHistories reads the timeline histories: each has to begin with that of
// its parent, and none may be missing that recovery asks for.
func (v *verifier) checkHistories(ctx context.Context) error {
	histories := map[wal.Timeline]wal.History{}
	unreadable := map[wal.Timeline]bool{}
	for _, tli := range v.stock.histories {
		h, err := v.History(ctx, tli)
		if err == nil {
			histories[tli] = h
			continue
		}
		unreadable[tli] = !v.judge(historyKey(tli), err)
	}
	v.stock.coverage = archive.Coverage{Size: v.SegmentSize, Ranges: v.stock.ranges, Times: v.stock.times, Histories: histories}
	if !v.all() {
		return nil
	}
	for tli, h := range histories {
		v.checkDescent(tli, h, histories)
	}
	v.checkBeginnings()
	return v.checkLineage(ctx, histories, unreadable)
}

func historyKey(tli wal.Timeline) string { return layout.History + tli.String() + ".history" }

// checkDescent compares a history with that of the parent: the server copies it
// and adds a line (timeline.c: writeTimeLineHistory).
func (v *verifier) checkDescent(tli wal.Timeline, h wal.History, all map[wal.Timeline]wal.History) {
	parent := h[len(h)-1].Parent
	of, there := all[parent]
	if !there && parent > 1 {
		return // which is a finding of its own
	}
	same := slices.EqualFunc(h[:len(h)-1], of, func(a, b wal.Switch) bool { return a.Parent == b.Parent && a.At == b.At })
	if !same {
		v.found(FoundDamaged, historyKey(tli), "it does not begin with the history of its parent, %s", historyName(parent))
	}
}

func historyName(tli wal.Timeline) string { return tli.String() + ".history" }

// checkLineage finds histories that are missing: a recovery looks for them all,
// to find the newest timeline (timeline.c: findNewestTimeLine), and wal-get tells
// it of no end while a later one is known.
func (v *verifier) checkLineage(ctx context.Context, histories map[wal.Timeline]wal.History, unreadable map[wal.Timeline]bool) error {
	known := v.timelines(histories)
	next := wal.Timeline(2)
	for _, tli := range slices.Sorted(maps.Keys(known)) {
		_, there := histories[tli]
		last := tli
		if there || unreadable[tli] {
			last--
		}
		if next <= last {
			if err := v.missHistories(ctx, next, last, known); err != nil {
				return err
			}
		}
		next = max(next, tli+1)
	}
	return nil
}

// timelines are those anything is known of, and why.
func (v *verifier) timelines(histories map[wal.Timeline]wal.History) map[wal.Timeline]string {
	known := map[wal.Timeline]string{}
	for tli, h := range histories {
		known[tli] = historyName(tli) + " is there"
		for _, s := range h {
			if known[s.Parent] == "" {
				known[s.Parent] = historyName(tli) + " names it"
			}
		}
	}
	for _, w := range v.stock.ranges {
		known[w.Timeline] = "there are segments of it"
	}
	for _, b := range v.stock.backups {
		if b.Complete && b.Err == nil && b.Header.StopTimeline > 0 {
			known[b.Header.StopTimeline] = "backup " + b.Label + " is of it"
		}
	}
	return known
}

// missHistories tells of those that are missing from one timeline to another,
// having looked again: one may have come meanwhile.
func (v *verifier) missHistories(ctx context.Context, first, last wal.Timeline, known map[wal.Timeline]string) error {
	const name = 16 // so many are told of one by one
	if last-first >= name {
		v.found(FoundMissing, historyName(first)+"-"+historyName(last), "timelines after these are known")
		return nil
	}
	for tli := first; tli <= last; tli++ {
		n := wal.Name{Kind: wal.TimelineHistory, Timeline: tli}
		forms, err := v.Forms(ctx, n)
		if err != nil {
			return err
		}
		why := known[tli]
		if why == "" {
			why = "later timelines are known"
		}
		if len(forms) == 0 {
			v.found(FoundMissing, historyName(tli), "%s", why)
		}
	}
	return nil
}
