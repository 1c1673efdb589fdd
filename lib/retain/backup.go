package retain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pgpipes/lib/wal"
)

// decideBackups decides about the backups alone.
func decideBackups(s State, p Policy) []Decision {
	complete := newestFirst(s.Backups)
	rank := make(map[string]int)
	for i, b := range complete {
		rank[b.Label] = i
	}
	onLine := reaching(s, complete)
	var decisions []Decision
	for _, b := range byLabel(s.Backups) {
		keep, reason := true, ""
		switch {
		case p.KeepLast <= 0:
			reason = "no rule"
		case b.Pin != "":
			reason = "pinned: " + strings.Join(strings.Fields(b.Pin), " ")
		case !b.Complete:
			keep, reason = judgeIncomplete(b, complete, p, s.Now)
		case rank[b.Label] < p.KeepLast:
			reason = fmt.Sprintf("number %d of the last %d", rank[b.Label]+1, p.KeepLast)
		case b.Label == onLine:
			reason = fmt.Sprintf("the newest from which timeline %d can be reached", newestTimeline(s))
		default:
			keep, reason = false, fmt.Sprintf("older than the last %d", p.KeepLast)
		}
		decisions = append(decisions, Decision{Keep: keep, Kind: KindBackup, Name: b.Label, Reason: reason})
	}
	return decisions
}

// newestFirst are the complete backups by the time they stopped, ties by label.
// Time and not LSN: on several timelines LSNs say nothing about age.
func newestFirst(backups []Backup) []Backup {
	complete := slices.DeleteFunc(byLabel(backups), func(b Backup) bool { return !b.Complete })
	slices.Reverse(complete)
	slices.SortStableFunc(complete, func(a, b Backup) int { return b.StopTime.Compare(a.StopTime) })
	return complete
}

// judgeIncomplete decides about a backup without a manifest: it is still being
// written, or whoever wrote it is gone.
func judgeIncomplete(b Backup, complete []Backup, p Policy, now time.Time) (keep bool, reason string) {
	if b.StartTime.IsZero() {
		return true, "in progress since an unknown time"
	}
	since := "in progress since " + b.StartTime.UTC().Format(time.RFC3339)
	newer := slices.ContainsFunc(complete, func(c Backup) bool { return c.StartTime.After(b.StartTime) })
	if p.Abandoned > 0 && now.Sub(b.StartTime) > p.Abandoned && newer {
		return false, "abandoned: " + since
	}
	return true, since
}

// reaching is the label of the newest complete backup from which recovery can
// get to the newest timeline, which is where the server is most likely now; ""
// if there is none.
func reaching(s State, complete []Backup) string {
	newest := newestTimeline(s)
	for _, b := range complete {
		if b.reaches(newest, s.Histories) {
			return b.Label
		}
	}
	return ""
}

// newestTimeline is the highest timeline that the repository has WAL or a
// history of. Timelines of backups do not count: when one is dropped the answer
// must stay the same.
func newestTimeline(s State) wal.Timeline {
	newest := wal.Timeline(1)
	for tli := range s.Histories {
		newest = max(newest, tli)
	}
	for _, r := range s.WAL {
		newest = max(newest, r.Timeline)
	}
	return newest
}

// end is the timeline on which the backup stopped and the place where. Of one
// in progress only the start is known, which is a lower bound of both.
func (b Backup) end() (wal.Timeline, wal.LSN) {
	if !b.Complete || b.StopTimeline == 0 {
		return b.Timeline, max(b.Start, b.Stop)
	}
	return b.StopTimeline, b.Stop
}

// reaches reports whether the backup can be rolled forward along a timeline:
// its own, or one whose line of ancestors leaves the backup's timeline where
// the backup had stopped, or later (xlogrecovery.c: "requested timeline is not
// a child of this server's history").
func (b Backup) reaches(tli wal.Timeline, histories map[wal.Timeline]wal.History) bool {
	timeline, stop := b.end()
	if tli == timeline {
		return true
	}
	at, ok := histories[tli].SwitchFrom(timeline)
	return ok && at >= stop
}
