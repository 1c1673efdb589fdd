package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pgpipes/lib/retain"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

// An Expiry is a decision about everything in a repository, and the means to
// carry it out.
type Expiry struct {
	Decisions []retain.Decision
	repo      *Repo
	backups   []Backup
	gaps      []Gap    // that go
	orphans   []string // keys of parts that go
}

// Decide applies a policy. It changes nothing. A backup that cannot be read or
// restored is an error: without it nobody knows what WAL is needed, or how many
// backups there really are.
func (r *Repo) Decide(ctx context.Context, p retain.Policy, now time.Time) (*Expiry, error) {
	backups, err := r.Backups(ctx)
	if err != nil {
		return nil, err
	}
	coverage, err := r.Coverage(ctx)
	if err != nil {
		return nil, err
	}
	state := retain.State{
		WAL: coverage.Ranges, Histories: coverage.Histories, SegmentSize: r.SegmentSize, Now: now,
	}
	for _, b := range backups {
		if err := r.checkWhole(ctx, b, coverage); err != nil {
			return nil, fmt.Errorf("nothing is removed while a backup is not whole: %s: %w", b.Label, err)
		}
		state.Backups = append(state.Backups, b.state())
	}
	e := &Expiry{Decisions: retain.Decide(state, p), repo: r, backups: backups}
	e.decideGaps(coverage.Gaps)
	if p.KeepLast > 0 {
		e.decideOrphans()
	}
	return e, nil
}

// kindGap is the kind of decisions about records of dropped WAL.
const kindGap = "gap"

// decideGaps lets records of dropped WAL go that no recovery can come upon any
// more: all WAL that is kept, on whatever timeline, is after them.
func (e *Expiry) decideGaps(gaps []Gap) {
	for _, g := range gaps {
		last, kept, before := e.repo.number(g.Last), false, false
		for _, d := range e.Decisions {
			if d.Keep && d.Kind == retain.KindWAL {
				kept, before = true, before || d.WAL.First <= last
			}
		}
		d := retain.Decision{Keep: true, Kind: kindGap, Name: g.First.String() + ".." + g.Last.String(), Reason: "WAL before its end is kept"}
		if kept && !before {
			d.Keep, d.Reason = false, "all WAL that is kept is after it"
			e.gaps = append(e.gaps, g)
		}
		e.Decisions = append(e.Decisions, d)
	}
}

// checkWhole finds a backup that is listed but cannot be restored: counted as
// one to keep it would let good ones go.
func (r *Repo) checkWhole(ctx context.Context, b Backup, c Coverage) error {
	if b.Err != nil || !b.Complete {
		return b.Err
	}
	if err := r.VerifyParts(ctx, b.Header); err != nil {
		return fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	if missing := c.MissingFor(b.Header); missing != "" {
		return fmt.Errorf("%w: %s is missing%s", ErrHole, missing, c.Why(missing))
	}
	return nil
}

func (b Backup) state() retain.Backup {
	h := b.Header
	if !b.Complete {
		return retain.Backup{
			Label: b.Label, Timeline: b.Start.Timeline, Start: b.Start.LSN, StartTime: b.Start.Time, Pin: b.Pin,
			Needs: b.Needs(),
		}
	}
	return retain.Backup{
		Label: b.Label, Timeline: h.StartTimeline, StopTimeline: h.StopTimeline, Start: h.StartLSN, Stop: h.StopLSN,
		StartTime: h.StartTime, StopTime: h.StopTime, Complete: true, Pin: b.Pin,
		Needs: b.Needs(),
	}
}

// Apply removes what was decided to be dropped: of each backup the manifest
// first, that of one that uses parts of another before that one's, then WAL.
// What cannot be removed is given to warn and the rest goes on, but as long as a
// dropped backup still has its manifest neither WAL is removed nor a backup that
// it needs. The error says how much is left.
func (e *Expiry) Apply(ctx context.Context, warn func(error)) error {
	failed := 0
	remove := func(key string) bool {
		err := e.repo.Remove(ctx, key)
		if err != nil && !errors.Is(err, store.ErrNotExist) {
			warn(err)
			failed++
			return false
		}
		return true
	}
	whole, err := e.removeBackups(ctx, remove)
	if err != nil {
		return err
	}
	for _, key := range e.orphans {
		remove(key)
	}
	if !whole {
		return leftBehind(failed)
	}
	if err := e.refuseNewer(ctx); err != nil {
		return err
	}
	if err := e.removeWAL(ctx, remove); err != nil {
		return err
	}
	if err := e.removeGaps(ctx, remove); err != nil {
		return err
	}
	return leftBehind(failed)
}

func leftBehind(failed int) error {
	if failed > 0 {
		return fmt.Errorf("%d objects could not be removed", failed)
	}
	return nil
}

// removeBackups reports whether none of the dropped backups has a manifest any
// more.
func (e *Expiry) removeBackups(ctx context.Context, remove func(key string) bool) (whole bool, err error) {
	needed := map[string]bool{} // by backups that could not be removed
	for _, b := range e.childrenFirst() {
		if err := e.refuseChildren(ctx); err != nil { // one may begin at any time
			return false, err
		}
		if !needed[b.Label] && removeBackup(b, remove) {
			continue
		}
		needed[b.Label] = true
		for _, label := range b.Needs() {
			needed[label] = true
		}
	}
	return len(needed) == 0, nil
}

// refuseNewer keeps all WAL if a backup has begun since the decision was made: on
// a standby it may begin at an old checkpoint.
func (e *Expiry) refuseNewer(ctx context.Context) error {
	now, err := e.repo.Backups(ctx)
	if err != nil {
		return err
	}
	for _, b := range now {
		same := func(old Backup) bool { return old.Label == b.Label && old.Complete == b.Complete && old.Pin == b.Pin }
		if !slices.ContainsFunc(e.backups, same) && !e.drops(b.Label) {
			return fmt.Errorf("backup %s has changed meanwhile: WAL is left for the next run", b.Label)
		}
	}
	return nil
}

func (e *Expiry) drops(label string) bool {
	return slices.ContainsFunc(e.Decisions, func(d retain.Decision) bool {
		return !d.Keep && d.Kind == retain.KindBackup && d.Name == label
	})
}

// removeBackup removes the commit mark before the rest, and the note that
// protects the WAL of an incomplete backup after it. It reports whether the mark
// is gone.
func removeBackup(b Backup, remove func(key string) bool) bool {
	mark, start := baseKey(b.Label, manifestName), baseKey(b.Label, startName)
	if !remove(mark) { // also of one that was incomplete when this was decided
		return false
	}
	gone := true
	for _, key := range b.Keys {
		if key != mark && key != start {
			gone = remove(key) && gone
		}
	}
	if gone && slices.Contains(b.Keys, start) { // it tells the next run how old the rest is
		remove(start)
	}
	return true
}

// removeWAL removes the files of dropped segments: all forms, and what else is
// named after them. Timeline histories are never removed.
func (e *Expiry) removeWAL(ctx context.Context, remove func(key string) bool) error {
	var dropped []retain.WALRange
	for _, d := range e.Decisions {
		if !d.Keep && d.Kind == retain.KindWAL {
			dropped = append(dropped, d.WAL)
		}
	}
	if len(dropped) == 0 {
		return nil
	}
	for info, err := range e.repo.List(ctx, walPrefix, "") {
		if err != nil {
			return err
		}
		n, _, ok := parseWALKey(info.Key)
		if !ok || n.Kind == wal.TimelineHistory || strings.HasPrefix(info.Key, historyPrefix) {
			continue
		}
		if number, err := e.repo.SegmentSize.Split(n); err == nil && inRanges(dropped, n.Timeline, number) {
			remove(info.Key)
		}
	}
	return nil
}

// removeGaps removes the records of dropped gaps, also those that say a part of
// the same again.
func (e *Expiry) removeGaps(ctx context.Context, remove func(key string) bool) error {
	if len(e.gaps) == 0 {
		return nil
	}
	for info, err := range e.repo.List(ctx, gapPrefix, "") {
		if err != nil {
			return err
		}
		part, ok := e.repo.parseGapKey(info.Key)
		if ok && slices.ContainsFunc(e.gaps, func(g Gap) bool { return g.Covers(part.Span) }) {
			remove(info.Key)
		}
	}
	return nil
}

func inRanges(all []retain.WALRange, tli wal.Timeline, number uint64) bool {
	return slices.ContainsFunc(all, func(w retain.WALRange) bool {
		return w.Timeline == tli && w.First <= number && number <= w.Last
	})
}
