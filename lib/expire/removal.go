package expire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pgpipes/lib/archive"
	"pgpipes/lib/layout"
	"pgpipes/lib/lock"
	"pgpipes/lib/retain"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

// A removal is an Expiry being carried out.
type removal struct {
	*Expiry
	jobs   int
	mu     sync.Mutex
	warn   func(error)
	failed int
}

// Apply removes what was decided to be dropped, jobs objects at once. The
// manifests go first, that of a backup that uses parts of another before that
// one's: after that nobody can begin to use what they list, and when it has been
// seen that nobody has begun meanwhile, the parts and WAL go. What cannot be
// removed is given to warn and the rest goes on, but as long as a dropped backup
// still has its manifest neither WAL is removed nor a backup that it needs. What
// protects a backup under way goes last, when it has been seen that nobody has
// gone on with what is left. Holes that this makes are recorded before, so that
// nobody takes them for a loss. The error says how much is left.
func (e *Expiry) Apply(ctx context.Context, jobs int, warn func(error)) error {
	r := &removal{Expiry: e, jobs: max(1, jobs), warn: warn}
	if err := r.refuseChanged(ctx); err != nil {
		return err
	}
	listed := r.removeMarks(ctx)
	if err := r.refuseChanged(ctx); err != nil {
		return err
	}
	stays := r.removeParts(ctx, listed)
	if err := r.refuseChanged(ctx); err != nil {
		return err
	}
	r.removeStarts(ctx, stays)
	r.removeAll(ctx, e.orphans)
	if len(listed) == 0 {
		if err := r.removeRest(ctx); err != nil {
			return err
		}
	}
	if r.failed > 0 {
		return fmt.Errorf("%d objects could not be removed", r.failed)
	}
	return nil
}

// removeRest removes what is safe to remove when the backups are gone.
func (r *removal) removeRest(ctx context.Context) error {
	if err := r.refuseNewer(ctx); err != nil {
		return err
	}
	for _, s := range r.holes {
		a := archive.Accepted{Span: s, Time: r.now, By: archive.ByExpire, Reason: "expire --wal-keep " + r.policy.WAL.String()}
		if err := r.repo.Accept(ctx, a); err != nil {
			return err
		}
	}
	if err := r.removeWAL(ctx); err != nil {
		return err
	}
	r.removeNotes(ctx)
	r.removeLeases(ctx)
	if s, able := r.repo.Store.(interface {
		Sweep(ctx context.Context, before time.Time) error
	}); able && r.policy.Rules() {
		if err := s.Sweep(ctx, r.now.Add(-sweepAge)); err != nil {
			r.fail(err)
		}
	}
	return nil
}

// removeLeases removes those that hosts have left which may only add. They do no harm
// where they are: that another user's stay is told, and is no failure.
func (r *removal) removeLeases(ctx context.Context) {
	if !r.policy.Rules() {
		return
	}
	keys, err := lock.Outdated(ctx, r.repo.Store)
	leases := &removal{Expiry: r.Expiry, jobs: r.jobs, warn: func(why error) { err = cmp.Or(err, why) }}
	leases.removeAll(ctx, keys)
	switch {
	case ctx.Err() != nil:
		r.failed += max(1, leases.failed) // whoever broke this off says why
	case err != nil:
		r.warn(fmt.Errorf("leases that do not count any more stay: %w", err))
	}
}

func (r *removal) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.warn(err)
	r.failed++
}

// remove reports whether an object is gone.
func (r *removal) remove(ctx context.Context, key string) bool {
	if ctx.Err() != nil { // whoever broke this off says why, and once
		r.mu.Lock()
		defer r.mu.Unlock()
		r.failed++
		return false
	}
	err := r.repo.Remove(ctx, key)
	if err != nil && !errors.Is(err, store.ErrNotExist) {
		r.fail(err)
		return false
	}
	return true
}

// removeAll removes several at once and reports which are gone.
func (r *removal) removeAll(ctx context.Context, keys []string) (gone []bool) {
	var group errgroup.Group
	group.SetLimit(r.jobs)
	gone = make([]bool, len(keys))
	for i, key := range keys {
		group.Go(func() error {
			gone[i] = r.remove(ctx, key)
			return nil
		})
	}
	_ = group.Wait()
	return gone
}

// removeOf removes objects of several backups at once, but of none that stays, and
// notes which ones have to stay then.
func (r *removal) removeOf(ctx context.Context, backups []archive.Backup, stays map[string]bool, objects func(archive.Backup) []string) {
	var keys, owners []string
	for _, b := range backups {
		if stays[b.Label] {
			continue
		}
		for _, key := range objects(b) {
			keys, owners = append(keys, key), append(owners, b.Label)
		}
	}
	for i, gone := range r.removeAll(ctx, keys) {
		if !gone {
			stays[owners[i]] = true
		}
	}
}

// removeMarks removes the manifests of the dropped backups, and reports which of
// them stay listed, because theirs cannot be removed or that of one that needs
// them.
func (r *removal) removeMarks(ctx context.Context) (listed map[string]bool) {
	listed = map[string]bool{}
	for _, generation := range r.generations() {
		r.removeOf(ctx, generation, listed, marks)
		for _, b := range generation {
			if !listed[b.Label] {
				continue
			}
			for _, label := range b.Needs() {
				listed[label] = true
			}
		}
	}
	return listed
}

// removeParts removes what there is of the dropped backups that are not listed
// any more, but for the notes of their starts, and reports of which something
// stays.
func (r *removal) removeParts(ctx context.Context, listed map[string]bool) (stays map[string]bool) {
	dropped, stays := r.childrenFirst(), maps.Clone(listed)
	for _, b := range dropped {
		if stays[b.Label] || !b.Complete && r.completed(ctx, b) {
			stays[b.Label] = true
			for _, label := range b.Needs() {
				stays[label] = true
			}
		}
	}
	r.removeOf(ctx, dropped, stays, func(b archive.Backup) []string {
		return slices.DeleteFunc(slices.Clone(b.Keys), func(key string) bool {
			return key == layout.BaseKey(b.Label, layout.Manifest) || key == layout.BaseKey(b.Label, layout.Start)
		})
	})
	return stays
}

// completed reports whether a manifest has come at last to a backup that had none,
// as far as can be seen.
func (r *removal) completed(ctx context.Context, b archive.Backup) bool {
	_, err := r.repo.Stat(ctx, layout.BaseKey(b.Label, layout.Manifest))
	if errors.Is(err, store.ErrNotExist) {
		return false
	}
	if err == nil {
		err = fmt.Errorf("backup %s is complete by now: it stays", b.Label)
	}
	r.fail(err)
	return true
}

// removeStarts removes the notes of the starts. They go after the rest: each
// protects WAL, and tells the next run how old the rest is.
func (r *removal) removeStarts(ctx context.Context, stays map[string]bool) {
	r.removeOf(ctx, r.childrenFirst(), stays, func(b archive.Backup) []string {
		return slices.DeleteFunc(slices.Clone(b.Keys), func(key string) bool { return key != layout.BaseKey(b.Label, layout.Start) })
	})
}

// marks is the key of the manifest, if there is one.
func marks(b archive.Backup) []string {
	if !b.Complete {
		return nil
	}
	return []string{layout.BaseKey(b.Label, layout.Manifest)}
}

// removeWAL removes the files of dropped segments: all forms, and what else is
// named after them. Timeline histories are never removed.
func (r *removal) removeWAL(ctx context.Context) error {
	whole, partial := r.droppedWAL(retain.KindWAL), r.droppedWAL(retain.KindPartial)
	if len(whole)+len(partial) == 0 {
		return nil
	}
	var group errgroup.Group
	group.SetLimit(r.jobs)
	defer group.Wait()
	for info, err := range r.repo.List(ctx, layout.WAL, "") {
		if err != nil {
			return err
		}
		n, _, ok := layout.ParseWALKey(info.Key)
		if !ok || n.Kind == wal.TimelineHistory || strings.HasPrefix(info.Key, layout.History) {
			continue
		}
		dropped := whole
		if n.Kind == wal.Partial {
			dropped = partial
		}
		if number, err := r.repo.SegmentSize.Split(n); err == nil && inRanges(dropped[n.Timeline], number) {
			group.Go(func() error {
				r.remove(ctx, info.Key)
				return nil
			})
		}
	}
	return nil
}

// droppedWAL are the dropped segments of a kind, by number.
func (e *Expiry) droppedWAL(kind string) map[wal.Timeline][]retain.WALRange {
	dropped := map[wal.Timeline][]retain.WALRange{}
	for _, d := range e.Decisions {
		if !d.Keep && d.Kind == kind {
			dropped[d.WAL.Timeline] = append(dropped[d.WAL.Timeline], d.WAL)
		}
	}
	return dropped
}

// inRanges looks for a number in ranges that are in order.
func inRanges(all []retain.WALRange, number uint64) bool {
	i := sort.Search(len(all), func(i int) bool { return all[i].Last >= number })
	return i < len(all) && all[i].First <= number
}

// removeNotes removes the records that were dropped, and of gaps also those that
// say a part of the same again.
func (r *removal) removeNotes(ctx context.Context) {
	r.removeAll(ctx, r.notes)
	for info, err := range r.repo.List(ctx, layout.Gap, "") {
		if err != nil {
			r.fail(err)
			return
		}
		part, ok := r.repo.ParseGapKey(info.Key)
		covered := func(note string) bool {
			whole, is := r.repo.ParseGapKey(note)
			return is && strings.HasPrefix(note, layout.Gap) && whole.Covers(part.Span)
		}
		if ok && slices.ContainsFunc(r.notes, covered) {
			r.remove(ctx, info.Key)
		}
	}
}
