package main

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/report"
	"pgpipes/lib/wal"
)

// gather makes a survey and the newest records into the facts of a report.
func gather(ctx context.Context, r *archive.Repo, s archive.Survey) (report.Facts, error) {
	f := report.Facts{
		Made:       s.At,
		Repository: report.Repository{Location: r.Location, ID: r.ID, SystemID: r.SystemID, Major: r.Major, SegmentSize: int64(r.SegmentSize)},
		Recovery:   bestRecovery(s), Timelines: timelines(s), Lost: s.Histories,
	}
	for _, b := range s.Backups {
		f.Backups = append(f.Backups, backupFact(s, b))
	}
	for _, h := range s.Holes {
		f.Holes = append(f.Holes, holeFact(s.Coverage, h))
	}
	var older1, older2 bool
	var err error
	if f.Verifications, older1, err = newest(ctx, r, archive.KindVerify, verificationFact, report.Verification.Tells); err != nil {
		return f, err
	}
	f.Drills, older2, err = newest(ctx, r, archive.KindDrill, drillFact, report.Drill.Tells)
	f.MoreRecords = older1 || older2
	return f, err
}

// newest reads as many records of a kind as the page shows, and on until there is
// one that tells. Older ones may be left.
func newest[T any](ctx context.Context, r *archive.Repo, kind string, fact func(archive.Record) T, tells func(T) bool) (all []T, older bool, err error) {
	told := false
	for record, err := range r.Records(ctx, kind) {
		if err != nil {
			return nil, false, err
		}
		if told && len(all) >= report.MostLines {
			return all, true, nil
		}
		all = append(all, fact(record))
		told = told || tells(all[len(all)-1])
	}
	return all, false, nil
}

// bestRecovery is what a restore without a target does or, if none reaches the
// end, the best that is left.
func bestRecovery(s archive.Survey) report.Recovery {
	best, cannot := s.Coverage.Best(s.Backups, archive.Target{Kind: "latest"})
	switch {
	case len(best) > 0:
		newest := s.Coverage.Newest()
		found := recoveryBy(s, func(w archive.Window) bool { return slices.Contains(w.Backups, best[0].Label) })
		if found.Timeline != uint32(newest) {
			found.Beyond = "nothing of timeline " + strconv.Itoa(int(newest)) + " is stored yet"
		}
		if _, why := s.Beside(); why != nil {
			found.Beyond = why.Error()
		}
		found.Backup, found.Size = best[0].Label, best[0].Header.Bytes
		return found
	case len(s.Windows) > 0:
		found := recoveryBy(s, func(archive.Window) bool { return true })
		found.Beyond = cannot[len(cannot)-1].Error()
		return found
	case len(cannot) > 0:
		return report.Recovery{Why: cannot[len(cannot)-1].Error()}
	}
	return report.Recovery{}
}

// recoveryBy is one to the end of the last window of some, from the last of its
// backups.
func recoveryBy(s archive.Survey, wanted func(archive.Window) bool) report.Recovery {
	var found report.Recovery
	for _, w := range s.Windows {
		if !wanted(w) {
			continue
		}
		label := w.Backups[len(w.Backups)-1]
		i := slices.IndexFunc(s.Backups, func(b archive.Backup) bool { return b.Label == label })
		found = report.Recovery{Backup: label, Size: s.Backups[i].Header.Bytes, Timeline: uint32(w.Timeline), Until: w.To, Exact: w.Exact}
	}
	return found
}

// timelines are all that anything is known of.
func timelines(s archive.Survey) []report.Timeline {
	known := map[wal.Timeline]bool{}
	for tli := range s.Coverage.Histories {
		known[tli] = true
	}
	for _, w := range s.Coverage.Ranges {
		known[w.Timeline] = true
	}
	for _, b := range s.Backups {
		known[timelineOf(b)] = true
	}
	delete(known, 0)
	var all []report.Timeline
	for _, tli := range slices.Sorted(maps.Keys(known)) {
		all = append(all, timelineFact(s, tli))
	}
	return all
}

// timelineOf is where a backup ended, or began if it is not complete; 0 if
// nobody knows.
func timelineOf(b archive.Backup) wal.Timeline {
	return cmp.Or(b.Header.StopTimeline, b.Header.StartTimeline, b.Start.Timeline)
}

func timelineFact(s archive.Survey, tli wal.Timeline) report.Timeline {
	t := report.Timeline{Number: uint32(tli), Forked: beginning(s, tli)}
	if h := s.Coverage.Histories[tli]; len(h) > 0 {
		last := h[len(h)-1]
		t.Parent, t.ForkLSN = uint32(last.Parent), last.At.String()
	}
	for _, w := range s.Windows {
		if w.Timeline != tli {
			continue
		}
		from := w.From
		if from.IsZero() {
			from = t.Forked
		}
		if from.IsZero() || from.After(w.To) {
			from = w.To
		}
		t.Windows = append(t.Windows, report.Window{From: from, To: w.To})
	}
	return t
}

// beginning is about when a timeline began: no history says. Its first segment
// was stored then, or its first backup begun.
func beginning(s archive.Survey, tli wal.Timeline) time.Time {
	var first time.Time
	earlier := func(t time.Time) {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	for i, w := range s.Coverage.Ranges {
		if w.Timeline == tli {
			earlier(s.Coverage.Times[i].First)
		}
	}
	for _, b := range s.Backups {
		if timelineOf(b) == tli && b.Header.StartTimeline == b.Header.StopTimeline {
			earlier(cmp.Or(b.Header.StartTime, b.Start.Time))
		}
	}
	return first
}

func backupFact(s archive.Survey, b archive.Backup) report.Backup {
	h := b.Header
	fact := report.Backup{
		Label: b.Label, Type: h.Type, Timeline: uint32(timelineOf(b)), Start: h.StartTime, Stop: h.StopTime,
		Size: h.Bytes, Stored: b.Stored, Parent: h.Parent, Pinned: b.Pin != "", Pin: b.Pin,
	}
	if !b.Complete {
		fact.Type, fact.Start, fact.Parent = report.Incomplete, b.Start.Time, b.Start.Parent
	}
	switch state := s.State(b); state {
	case archive.BackupUnread:
		fact.State, fact.Remark = report.Doubtful, b.Unread().Error()
	case archive.BackupDamaged:
		fact.State, fact.Remark = report.Bad, cmp.Or(b.Err, b.Lost).Error()
	case archive.BackupComplete:
		if missing := s.Coverage.MissingFor(h); missing != "" {
			fact.State, fact.Remark = report.Bad, missing+" is missing"+s.Coverage.Why(missing)
		}
	case archive.BackupInProgress:
		fact.Remark = "in progress"
	default:
		fact.State, fact.Remark = report.Doubtful, state
	}
	return fact
}

// holeFact finds the segments around a hole: its WAL was written between the
// times when they were stored.
func holeFact(c archive.Coverage, h archive.Hole) report.Hole {
	fact := report.Hole{
		Kind: report.HoleKind(h.State), Timeline: uint32(h.First.Timeline), First: h.First.String(), Last: h.Last.String(),
		Segments: h.Segments, Since: h.Since, Reason: h.Reason,
	}
	first, err1 := c.Size.Split(h.First)
	last, err2 := c.Size.Split(h.Last)
	for i, w := range c.Ranges {
		switch {
		case err1 != nil || err2 != nil || w.Timeline != h.First.Timeline:
		case w.Last < first:
			fact.From = c.Times[i].Last
		case w.First > last && fact.To.IsZero():
			fact.To = c.Times[i].First
		}
	}
	return fact
}

func verificationFact(r archive.Record) report.Verification {
	v := r.Values
	ended, _ := time.Parse(time.RFC3339, v["ended"])
	return report.Verification{
		Began: r.Began, Ended: ended, Full: v["scope"] == "full", Passed: v["result"] == "ok",
		Findings: integer(v["findings"]), Objects: integer(v["objects"]), Bytes: integer(v["bytes"]), Host: v["host"],
	}
}

func drillFact(r archive.Record) report.Drill {
	v := r.Values
	return report.Drill{
		Began: r.Began, Passed: v["result"] == "ok", Backup: v["backup"], Target: v["target"], Host: v["host"], Size: integer(v["bytes"]),
		Restore: interval(v["restore-seconds"]), Recovery: interval(v["recovery-seconds"]), Check: interval(v["check-seconds"]),
		Commit: v["commit-time"], Amcheck: v["amcheck"], Step: v["step"], Reason: v["reason"],
	}
}

// integer and interval read what programs have written, and are 0 for anything
// else.
func integer(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return max(n, 0)
}

func interval(text string) time.Duration {
	const longest = 1e9 // seconds: 31 years
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || !(n > 0 && n < longest) {
		return 0
	}
	return time.Duration(n * float64(time.Second))
}
