package archive

import (
	"context"
	"slices"
	"time"
)

// A Survey is all there is to say about a repository at one time: what lists are
// made of and, with Records, monitoring and reports.
type Survey struct {
	At        time.Time
	Backups   []Backup // in the order of labels
	Coverage  Coverage
	Windows   []Window // by timeline and place
	Holes     []Hole   // by timeline and number
	Histories []string // that are lost
	NewestWAL Stored   // the segment that was stored last
}

// Stored is a WAL file and when it was stored; the zero value is none.
type Stored struct {
	Name string
	At   time.Time
}

// Abandoned is how long nothing was stored of a backup that was begun and not
// completed, and is taken for one that nobody is writing any more.
const Abandoned = 48 * time.Hour

// Inventory is the part of a survey that needs no WAL to be read: what is stored,
// and when that was looked at.
func (r *Repo) Inventory(ctx context.Context, now time.Time) (Survey, error) {
	s := Survey{At: now}
	var err error
	if s.Backups, err = r.Backups(ctx); err != nil {
		return s, err
	}
	s.Coverage, err = r.Coverage(ctx)
	for _, b := range s.Backups {
		if b.Err != nil {
			continue
		}
		s.Coverage.Backed = max(s.Coverage.Backed, b.Header.StopTimeline)
	}
	return s, err
}

// Survey makes one. The ends of windows are read from the WAL: a segment or two
// for each.
func (r *Repo) Survey(ctx context.Context, now time.Time) (Survey, error) {
	s, err := r.Inventory(ctx, now)
	if err == nil && s.lacks() {
		s, err = r.Inventory(ctx, now)
	}
	if err != nil {
		return s, err
	}
	s.Windows, s.Holes = s.Coverage.Windows(s.Backups), s.Coverage.Holes(s.Backups)
	s.Histories = s.Coverage.LostHistories(s.Backups)
	for i := range s.Windows {
		r.measure(ctx, s.Coverage, &s.Windows[i])
	}
	if err := ctx.Err(); err != nil {
		return s, err
	}
	s.NewestWAL = s.Coverage.newestWAL()
	return s, nil
}

// lacks reports whether something seems to be missing. It may have come or gone
// while the repository was listed, which takes its time: look again.
func (s Survey) lacks() bool {
	return slices.ContainsFunc(s.Coverage.Holes(s.Backups), Hole.Open) || slices.ContainsFunc(s.Backups, func(b Backup) bool {
		return b.Err != nil || b.Lost != nil || b.Complete && s.Coverage.MissingFor(b.Header) != ""
	})
}

// newestWAL is the segment that was stored last, of those that end a range.
func (c Coverage) newestWAL() Stored {
	var newest Stored
	for i, w := range c.Ranges {
		if t := c.Times[i].Last; !t.Before(newest.At) {
			newest = Stored{c.Size.Name(w.Timeline, w.Last), t}
		}
	}
	return newest
}

// NewestBackup is the complete and whole one that stopped last, nil if there is
// none.
func (s Survey) NewestBackup() *Backup { return s.newest(func(Backup) bool { return true }) }

func (s Survey) newest(wanted func(Backup) bool) *Backup {
	var newest *Backup
	for i, b := range s.Backups {
		if s.State(b) == BackupComplete && wanted(b) && (newest == nil || CompareEnds(b, *newest) > 0) {
			newest = &s.Backups[i]
		}
	}
	return newest
}

// Beside says why the newest backup that can be recovered is not on the way to the end
// of the newest timeline, where a restore without a target goes: what that backup holds
// is on a branch that was left, or it is the newest timeline that leads astray, as when
// a copy to look at has archived here. The error is nil if all is well.
func (s Survey) Beside() (*Backup, error) {
	b := s.newest(func(b Backup) bool { return s.Coverage.MissingFor(b.Header) == "" })
	if b == nil {
		return nil, nil
	}
	return b, s.Coverage.leads(*b, s.Coverage.Newest())
}

// The states of a backup.
const (
	BackupComplete    = "complete"
	BackupInProgress  = "in-progress"
	BackupInterrupted = "interrupted" // or given up: nobody seems to write it
	BackupDamaged     = "damaged"
	BackupUnread      = "unreadable" // by whoever asks, or just now
)

// State says what is to be thought of a backup. Whether somebody writes one that
// is not complete nobody can tell from here: it is taken for interrupted when a
// later one was completed, or when nothing came for two days.
func (s Survey) State(b Backup) string {
	later := func(other Backup) bool {
		return other.Complete && other.Err == nil && other.Header.StartTime.After(b.Start.Time)
	}
	switch {
	case b.Unread() != nil:
		return BackupUnread
	case b.Err != nil || b.Lost != nil:
		return BackupDamaged
	case b.Complete:
		return BackupComplete
	case b.Start.Time.IsZero() || s.At.Sub(b.LastStored()) > Abandoned || slices.ContainsFunc(s.Backups, later):
		return BackupInterrupted
	}
	return BackupInProgress
}
