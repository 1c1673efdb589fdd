// Package expire applies a policy to a repository: it decides what goes and what
// stays, by the rules of lib/retain and by what the repository says of itself, and
// removes what goes so that at any moment what is left is a repository.
package expire

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/layout"
	"pgpipes/lib/retain"
	"pgpipes/lib/wal"
)

// An Expiry is a decision about everything in a repository, and the means to
// carry it out.
type Expiry struct {
	Decisions []retain.Decision
	repo      *archive.Repo
	policy    retain.Policy
	state     retain.State
	backups   []archive.Backup
	dropped   map[string]bool // labels
	restoring []archive.Restoring
	orphans   []string       // keys of parts that go
	notes     []string       // keys of other notes that go
	holes     []archive.Span // that will be there when WAL goes
	now       time.Time
}

// sweepAge is how old must be what nobody needs and somebody may be about to
// use: parts without a manifest, temporary files.
const sweepAge = 48 * time.Hour

// Decide applies a policy to a repository. It changes nothing. A backup that cannot
// be read or restored is a *NotWhole: without it nobody knows what WAL is needed, or
// how many backups there really are. If anything goes, the manifests of those that stay
// are read to their last line. Where nothing but what was abandoned may go it is enough
// that all their headers can be read.
func Decide(ctx context.Context, r *archive.Repo, p retain.Policy, now time.Time) (*Expiry, error) {
	backups, err := r.Backups(ctx)
	if err != nil {
		return nil, err
	}
	coverage, err := r.Coverage(ctx)
	if err != nil {
		return nil, err
	}
	restoring, err := r.Restorings(ctx)
	if err != nil {
		return nil, err
	}
	state := retain.State{
		WAL: coverage.Ranges, Partials: coverage.Partials, Histories: coverage.Histories, SegmentSize: r.SegmentSize, Now: now,
	}
	counts := p.Rules() || len(p.Abandon) == 0
	sizes := partSizes(backups)
	for _, b := range backups {
		err := b.Err
		if counts {
			err = checkWhole(ctx, r, b, coverage, sizes)
		}
		if !b.Complete && errors.Is(err, archive.ErrDamaged) && slices.Contains(p.Abandon, b.Label) {
			err = nil // whatever it needs
		}
		if err != nil {
			return nil, notWhole(b, backups, err)
		}
		state.Backups = append(state.Backups, stateOf(b, restoring, now))
	}
	e := &Expiry{
		Decisions: retain.Decide(state, p), repo: r, policy: p, state: state, backups: backups, restoring: restoring, now: now, dropped: map[string]bool{},
	}
	for _, d := range e.Decisions {
		if d.Kind == retain.KindBackup && !d.Keep {
			e.dropped[d.Name] = true
		}
	}
	e.decideSpans(coverage)
	e.decideRestorings()
	if p.Rules() {
		e.decideOrphans()
		if err := e.decideRecords(ctx); err != nil {
			return nil, err
		}
	}
	e.findHoles(coverage)
	if counts && e.removes() {
		if err := e.checkManifests(ctx); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// usersOf are the labels of the other backups that use the parts of one.
func usersOf(label string, backups []archive.Backup) []string {
	var users []string
	for _, b := range backups {
		if b.Label != label && slices.Contains(b.Needs(), label) {
			users = append(users, b.Label)
		}
	}
	return users
}

// stateOf is what the policy has to know of a backup.
func stateOf(b archive.Backup, restoring []archive.Restoring, now time.Time) retain.Backup {
	s := retain.Backup{Label: b.Label, Pin: b.Pin, Needs: b.Needs(), Complete: b.Complete, Stored: b.LastStored()}
	for _, n := range restoring {
		if n.Backup == b.Label && now.Before(n.Until) {
			s.InUse = n.Why()
		}
	}
	if h := b.Header; b.Complete {
		s.Timeline, s.StopTimeline, s.Start, s.Stop = h.StartTimeline, h.StopTimeline, h.StartLSN, h.StopLSN
		s.StartTime, s.StopTime, s.Full, s.WAL, s.Tags = h.StartTime, b.Ended(), len(s.Needs) == 0, h.WAL, h.Tags
		return s
	}
	s.Timeline, s.Start, s.StartTime = b.Start.Timeline, b.Start.LSN, b.Start.Time
	if s.StartTime.IsZero() { // what a removal has left that was cut short
		s.StartTime = s.Stored
	}
	return s
}

// Kinds of decisions about records.
const (
	kindGap     = "gap"
	kindHole    = "hole"
	kindRestore = "restore"
	kindRecord  = "record"
)

// decideSpans lets records of dropped WAL and of known holes go that no recovery
// can come upon any more: all WAL that is kept, on whatever timeline, is after
// them.
func (e *Expiry) decideSpans(c archive.Coverage) {
	for _, g := range c.Gaps {
		e.decideSpan(kindGap, layout.Gap, g.Span)
	}
	for _, a := range c.Accepted {
		e.decideSpan(kindHole, layout.Hole, a.Span)
	}
}

func (e *Expiry) decideSpan(kind, prefix string, s archive.Span) {
	last, kept, before := e.repo.Number(s.Last), false, false
	for _, d := range e.Decisions {
		if d.Keep && d.Kind == retain.KindWAL {
			kept, before = true, before || d.WAL.First <= last
		}
	}
	d := retain.Decision{Keep: true, Kind: kind, Name: s.First.String() + ".." + s.Last.String(), Reason: "WAL before its end is kept"}
	if kept && !before {
		d.Keep, d.Reason = false, "all WAL that is kept is after it"
		e.notes = append(e.notes, prefix+s.String())
	}
	e.Decisions = append(e.Decisions, d)
}

// decideRestorings lets the notes of restores go that are over.
func (e *Expiry) decideRestorings() {
	for _, n := range e.restoring {
		d := retain.Decision{Keep: true, Kind: kindRestore, Name: n.Key, Reason: n.Backup + " is " + n.Why()}
		if !e.now.Before(n.Until) {
			d.Keep, d.Reason = false, "it is over"
			e.notes = append(e.notes, n.Key)
		}
		e.Decisions = append(e.Decisions, d)
	}
}

// recordAge is how long records are kept: two of the same time of the year can be
// compared.
const recordAge = 400 * 24 * time.Hour

// decideRecords lets old records go, but for what monitoring may still have to say:
// of each kind the newest that says all there is to say, and what came after it.
func (e *Expiry) decideRecords(ctx context.Context) error {
	for _, kind := range []string{archive.KindVerify, archive.KindDrill} {
		keys, err := e.repo.RecordKeys(ctx, kind)
		if err != nil {
			return err
		}
		keys = slices.DeleteFunc(keys, func(key string) bool {
			began, err := archive.RecordBegan(kind, key)
			return err != nil || e.now.Sub(began) <= recordAge
		})
		if len(keys) == 0 {
			continue
		}
		last, err := e.repo.LastTelling(ctx, kind)
		if err != nil {
			return err
		}
		for _, key := range keys {
			if began, _ := archive.RecordBegan(kind, key); began.Before(last) {
				e.notes = append(e.notes, key)
				e.Decisions = append(e.Decisions, retain.Decision{Kind: kindRecord, Name: key, Reason: "older than 400 days, and newer ones say more"})
			}
		}
	}
	return nil
}

// findHoles finds what will be missing on purpose when the dropped WAL has gone:
// segments that the recovery of a backup which stays could come upon, those at the
// end of a timeline included. Nobody must take what is before them for all there
// ever was.
func (e *Expiry) findHoles(c archive.Coverage) {
	kept := slices.DeleteFunc(slices.Clone(e.backups), func(b archive.Backup) bool { return e.drops(b.Label) })
	tli, first, needed := wal.Timeline(0), uint64(0), false
	for _, d := range e.Decisions {
		w := d.WAL
		if d.Kind != retain.KindWAL || d.Keep {
			continue
		}
		if tli != w.Timeline { // they come by timeline
			tli = w.Timeline
			first, needed = c.FirstNeeded(tli, kept)
		}
		if !needed || first > w.Last {
			continue
		}
		s := c.Hole(tli, max(first, w.First), w.Last).Span
		if !slices.ContainsFunc(c.Accepted, func(a archive.Accepted) bool { return a.Covers(s) }) {
			e.holes = append(e.holes, s)
		}
	}
}

func (e *Expiry) drops(label string) bool { return e.dropped[label] }

// removes reports whether anything goes.
func (e *Expiry) removes() bool {
	return slices.ContainsFunc(e.Decisions, func(d retain.Decision) bool { return !d.Keep })
}

// An Explanation says why a backup stays or goes.
type Explanation struct {
	Rules    []retain.Verdict
	Decision retain.Decision
	NeededBy []string          // backups that use its parts
	WAL      []retain.Decision // that is kept for it
}

// Explain says what every rule makes of a backup.
func (e *Expiry) Explain(label string) (Explanation, error) {
	verdicts, d, found := retain.Explain(e.state, e.policy, label)
	if !found {
		return Explanation{}, fmt.Errorf("%s: %w", label, archive.ErrNoBackup)
	}
	x := Explanation{Rules: verdicts, Decision: d, NeededBy: usersOf(label, e.backups)}
	for _, d := range e.Decisions {
		if d.Kind == retain.KindWAL && d.Keep && d.NeededBy == label {
			x.WAL = append(x.WAL, d)
		}
	}
	return x, nil
}
