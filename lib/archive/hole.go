package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"sync"

	"pgpipes/lib/layout"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

// ProveEnd succeeds when a file that is not there may honestly be called
// absent. The error wraps ErrHole if something in the repository proves that it
// must have existed: a recovering server that is told "absent" takes this for
// the end of the log and begins a new timeline.
func (r *Repo) ProveEnd(ctx context.Context, n wal.Name) error {
	switch n.Kind {
	case wal.Segment:
		return r.proveSegmentEnd(ctx, n)
	case wal.TimelineHistory:
		return r.proveHistoryEnd(ctx, n.Timeline)
	}
	return r.proveNoGap(ctx, n)
}

// allAtOnce makes proofs of which each waits for the repository, and returns
// the first error in their order.
func allAtOnce(proofs ...func() error) error {
	failed := make([]error, len(proofs))
	var all sync.WaitGroup
	for i, prove := range proofs {
		all.Go(func() { failed[i] = prove() })
	}
	all.Wait()
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}

// proveNoGap looks for a record that the file, or a later one, was dropped. It
// was there, also if nothing after it is.
func (r *Repo) proveNoGap(ctx context.Context, n wal.Name) error {
	if !IsSegment(n) {
		return nil
	}
	g, found, err := r.gapFrom(ctx, n)
	switch {
	case err != nil || !found:
		return err
	case g.Holds(n):
		return fmt.Errorf("%w: %s %s: recovery cannot go past it", ErrHole, n, g.Story())
	}
	return fmt.Errorf("%w: %s is missing, later ones were dropped: %s", ErrHole, n, g)
}

// proveNotExpired looks for a record that expire has removed the segment, or a
// later one: the rest of a timeline, of which backups keep the beginning.
func (r *Repo) proveNotExpired(ctx context.Context, n wal.Name) error {
	all, err := r.acceptedHoles(ctx, layout.Hole+n.Timeline.String(), func(s Span) bool { return compareSegments(n, s.Last) <= 0 })
	for _, a := range all {
		if a.By == ByExpire {
			return fmt.Errorf("%w: %s is missing: %s to %s were removed by %s", ErrHole, n, a.First, a.Last, a.Reason)
		}
	}
	return err
}

func (r *Repo) proveSegmentEnd(ctx context.Context, n wal.Name) error {
	number, err := r.SegmentSize.Split(n)
	if err != nil {
		return err
	}
	return allAtOnce(
		func() error { return r.ProvePast(ctx, n) },
		func() error { return r.proveNoBackup(ctx, n, number) },
	)
}

// ProvePast wraps ErrHole if the log of a repository has gone on after a segment
// that is not there, so that it will not come any more, and is nil if it may.
func (r *Repo) ProvePast(ctx context.Context, n wal.Name) error {
	number, err := r.SegmentSize.Split(n)
	if err != nil {
		return err
	}
	return allAtOnce(
		func() error { return r.proveNoGap(ctx, n) },
		func() error { return r.proveNotExpired(ctx, n) },
		func() error { return r.proveNoLater(ctx, n) },
		func() error { return r.proveNoBranch(ctx, n, number) },
	)
}

func (r *Repo) proveNoLater(ctx context.Context, n wal.Name) error {
	later, err := r.firstFile(ctx, layout.Timeline(n.Timeline), layout.AfterSegment(n.Base()))
	if err == nil && later != "" {
		err = fmt.Errorf("%w: %s is missing, a later file of its timeline is there: %s", ErrHole, n, later)
	}
	return err
}

// proveNoBranch minds the timelines that branch off after a segment, and the
// one that begins with it.
func (r *Repo) proveNoBranch(ctx context.Context, n wal.Name, number uint64) error {
	histories, err := r.Histories(ctx)
	if err != nil {
		return err
	}
	for tli, h := range histories {
		at, descends := h.SwitchFrom(n.Timeline)
		if descends && r.SegmentSize.Number(at) > number {
			return fmt.Errorf("%w: %s is missing, timeline %d branches off after it, at %s", ErrHole, n, uint32(tli), at)
		}
	}
	return r.proveBranchEnd(ctx, n, number, histories[n.Timeline])
}

// proveNoBackup looks for a backup that ended later: the segment was there then.
// One that holds its WAL itself tells that only of what came before it.
func (r *Repo) proveNoBackup(ctx context.Context, n wal.Name, number uint64) error {
	return r.eachBackup(ctx, func(b Backup) error {
		h := b.Header
		inside := h.WAL && number >= r.SegmentSize.Number(h.StartLSN)
		if h.StopTimeline == n.Timeline && number <= r.SegmentSize.LastNumber(h.StopLSN) && !inside {
			return fmt.Errorf("%w: %s is missing, backup %s ended after it, at %s", ErrHole, n, b.Label, h.StopLSN)
		}
		return nil
	})
}

// eachBackup calls do for the complete backups. Unless they hold their WAL
// themselves there can be none without WAL in the repository: when wal/ is a disk
// of its own that is not mounted, this is what is left to tell.
func (r *Repo) eachBackup(ctx context.Context, do func(b Backup) error) error {
	all, err := r.Backups(ctx)
	if err != nil {
		return err
	}
	for _, b := range all {
		if !b.Complete {
			continue
		}
		first, err := r.firstFile(ctx, layout.WAL, "")
		if err == nil && first == "" && b.Header.WAL {
			continue // archiving may never have been in use
		}
		if err != nil || first == "" {
			return errors.Join(err, fmt.Errorf("%w: there is no WAL at all, but backup %s is there: is %s mounted?", ErrHole, b.Label, layout.WAL))
		}
		if err := b.Unread(); err != nil {
			return err
		}
		if b.Err != nil {
			continue
		}
		if err := do(b); err != nil {
			return err
		}
	}
	return nil
}

// proveBranchEnd minds the first segment of a timeline: told that it is absent,
// a server goes on with an ancestor's segment of that number, past the switch
// point, where the ancestor's log is not its own (xlogrecovery.c:
// XLogFileReadAnyTLI). After a recovery to before the beginning of the timeline
// it followed that may be any ancestor, not only the parent.
func (r *Repo) proveBranchEnd(ctx context.Context, n wal.Name, number uint64, h wal.History) error {
	if len(h) == 0 || r.SegmentSize.Number(h[len(h)-1].At) != number {
		return nil
	}
	for _, s := range h {
		ancestor, err := wal.ParseName(r.SegmentSize.Name(s.Parent, number))
		if err != nil {
			return err
		}
		forms, err := r.Forms(ctx, ancestor)
		if err != nil {
			return err
		}
		if len(forms) > 0 {
			return fmt.Errorf("%w: %s is missing, and recovery would take its ancestor's %s past the switch point", ErrHole, n, ancestor)
		}
	}
	return nil
}

func (r *Repo) proveHistoryEnd(ctx context.Context, tli wal.Timeline) error {
	if tli <= 1 {
		return nil // the first timeline has no history
	}
	return allAtOnce(
		func() error { return r.proveNoLaterHistory(ctx, tli) },
		func() error { return r.proveNoFile(ctx, tli) },
		func() error {
			return r.eachBackup(ctx, func(b Backup) error {
				if b.Header.StopTimeline >= tli {
					return fmt.Errorf("%w: %s.history is missing, backup %s is of timeline %d", ErrHole, tli, b.Label, uint32(b.Header.StopTimeline))
				}
				return nil
			})
		},
	)
}

func (r *Repo) proveNoLaterHistory(ctx context.Context, tli wal.Timeline) error {
	histories, err := r.Histories(ctx)
	if err != nil {
		return err
	}
	for other := range histories {
		if other > tli {
			return fmt.Errorf("%w: %s.history is missing, a later one is there: %s.history", ErrHole, tli, other)
		}
	}
	return nil
}

func (r *Repo) proveNoFile(ctx context.Context, tli wal.Timeline) error {
	file, err := r.firstFile(ctx, layout.Timeline(tli), "")
	if err == nil && file != "" {
		err = fmt.Errorf("%w: %s.history is missing, a file of its timeline is there: %s", ErrHole, tli, file)
	}
	return err
}

// firstFile names the first WAL file after a key, "" if there is none.
func (r *Repo) firstFile(ctx context.Context, prefix, after string) (string, error) {
	for info, err := range r.List(ctx, prefix, after) {
		if err != nil {
			return "", err
		}
		if n, _, ok := layout.ParseWALKey(info.Key); ok {
			return n.String(), nil
		}
	}
	return "", nil
}

// Histories reads all timeline histories.
func (r *Repo) Histories(ctx context.Context) (map[wal.Timeline]wal.History, error) {
	histories := map[wal.Timeline]wal.History{}
	for info, err := range r.List(ctx, layout.History, "") {
		if err != nil {
			return nil, err
		}
		n, err := wal.ParseName(path.Base(info.Key))
		if err != nil || n.Kind != wal.TimelineHistory {
			continue
		}
		h, err := r.History(ctx, n.Timeline)
		if errors.Is(err, store.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		histories[n.Timeline] = h
	}
	return histories, nil
}

// History reads the history of a timeline, which is store.ErrNotExist if it is
// not there and ErrDamaged if it is none.
func (r *Repo) History(ctx context.Context, tli wal.Timeline) (wal.History, error) {
	key := layout.History + tli.String() + ".history"
	body, err := r.Get(ctx, key, 0, TextLimit)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	h, err := wal.ParseHistory(tli, text)
	if err != nil {
		return nil, damagedHistory{fmt.Errorf("%s: %w: %v", key, ErrDamaged, err)}
	}
	return h, nil
}

// A damagedHistory stops everybody: which timeline comes from which is not known then.
type damagedHistory struct{ error }

// Unwrap is what is wrong with it.
func (d damagedHistory) Unwrap() error { return d.error }

// Hint says how to go on.
func (damagedHistory) Hint() string {
	return "servers of that timeline and later ones may have it in pg_wal, other repositories below wal/history, and that of a later timeline begins with it: repo rm the damaged one, and store it again with wal-push or repo put"
}
