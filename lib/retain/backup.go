package retain

import (
	"fmt"
	"slices"
	"time"

	"pgpipes/lib/wal"
)

// decideBackups decides about the backups alone.
func decideBackups(s State, p Policy) []Decision {
	j := judge(s, p)
	var decisions []Decision
	for _, b := range byLabel(s.Backups) {
		decisions = append(decisions, j.decide(b))
	}
	keepNeeded(s, decisions)
	if j.keepMin(decisions) {
		keepNeeded(s, decisions)
	}
	return decisions
}

// keepMin keeps the newest full backups that would go, until there are as many
// as must be. It reports whether it has kept any.
func (j *judgement) keepMin(decisions []Decision) (any bool) {
	place := map[string]int{}
	for i, d := range decisions {
		place[d.Name] = i
	}
	missing := j.policy.KeepMin
	for _, b := range j.complete {
		if b.Full && decisions[place[b.Label]].Keep {
			missing--
		}
	}
	for _, b := range j.complete {
		if d := &decisions[place[b.Label]]; b.Full && !d.Keep && missing > 0 {
			d.Keep, d.Reason = true, fmt.Sprintf("one of at least %d full backups", j.policy.KeepMin)
			missing, any = missing-1, true
		}
	}
	return any
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
	idle := now.Sub(b.StartTime) > p.Abandoned && now.Sub(b.Stored) > p.Abandoned
	if p.Abandoned > 0 && idle && newer {
		return false, "abandoned: " + since
	}
	return true, since
}

// reaching is the label of the newest complete backup from which recovery can
// get to the newest timeline, which is where the server is most likely now; ""
// if there is none. These are all on one line of history, where the log tells which
// is the newest, whatever clocks have said.
func reaching(s State, complete []Backup) string {
	newest := newestTimeline(s)
	label, furthest := "", wal.LSN(0)
	for _, b := range complete {
		if _, stop := b.end(); b.reaches(newest, s.Histories) && (label == "" || stop > furthest) {
			label, furthest = b.Label, stop
		}
	}
	return label
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
