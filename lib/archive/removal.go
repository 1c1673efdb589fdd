package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

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
	looked time.Time // when it was last seen that nothing has changed
}

// Apply removes what was decided to be dropped, jobs objects at once: of each
// backup the manifest first, that of one that uses parts of another before that
// one's, then WAL. What cannot be removed is given to warn and the rest goes on,
// but as long as a dropped backup still has its manifest neither WAL is removed
// nor a backup that it needs. Holes that this makes are recorded before, so that
// nobody takes them for a loss. The error says how much is left.
func (e *Expiry) Apply(ctx context.Context, jobs int, warn func(error)) error {
	r := &removal{Expiry: e, jobs: max(1, jobs), warn: warn}
	whole, err := r.removeBackups(ctx)
	if err != nil {
		return err
	}
	r.removeAll(ctx, e.orphans)
	if whole {
		err = r.removeRest(ctx)
	}
	if err == nil && r.failed > 0 {
		err = fmt.Errorf("%d objects could not be removed", r.failed)
	}
	return err
}

// removeRest removes what is safe to remove when the backups are gone.
func (r *removal) removeRest(ctx context.Context) error {
	if err := r.refuseNewer(ctx); err != nil {
		return err
	}
	for _, s := range r.holes {
		a := Accepted{Span: s, Time: r.now, By: ByExpire, Reason: "expire --wal-keep " + r.policy.WAL.String()}
		if err := r.repo.Accept(ctx, a); err != nil {
			return err
		}
	}
	if err := r.removeWAL(ctx); err != nil {
		return err
	}
	r.removeNotes(ctx)
	if s, able := r.repo.Store.(interface {
		Sweep(ctx context.Context, before time.Time) error
	}); able && retains(r.Decisions) {
		if err := s.Sweep(ctx, r.now.Add(-sweepAge)); err != nil {
			r.fail(err)
		}
	}
	return nil
}

func (r *removal) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.warn(err)
	r.failed++
}

// remove reports whether an object is gone.
func (r *removal) remove(ctx context.Context, key string) bool {
	err := r.repo.Remove(ctx, key)
	if err != nil && !errors.Is(err, store.ErrNotExist) {
		r.fail(err)
		return false
	}
	return true
}

// removeAll removes several at once and reports whether all are gone.
func (r *removal) removeAll(ctx context.Context, keys []string) (gone bool) {
	var group errgroup.Group
	group.SetLimit(r.jobs)
	results := make([]bool, len(keys))
	for i, key := range keys {
		group.Go(func() error {
			results[i] = r.remove(ctx, key)
			return nil
		})
	}
	_ = group.Wait()
	return !slices.Contains(results, false)
}

// removeBackups reports whether none of the dropped backups has a manifest any
// more.
func (r *removal) removeBackups(ctx context.Context) (whole bool, err error) {
	needed := map[string]bool{} // by backups that could not be removed
	for _, b := range r.childrenFirst() {
		if err := r.refuseChildren(ctx); err != nil { // one may begin at any time
			return false, err
		}
		if !needed[b.Label] && r.removeBackup(ctx, b) {
			continue
		}
		needed[b.Label] = true
		for _, label := range b.Needs() {
			needed[label] = true
		}
	}
	return len(needed) == 0, nil
}

// removeBackup removes the commit mark before the rest, and the note that
// protects the WAL of an incomplete backup after it. It reports whether the mark
// is gone.
func (r *removal) removeBackup(ctx context.Context, b Backup) bool {
	mark, start := baseKey(b.Label, manifestName), baseKey(b.Label, startName)
	if !r.remove(ctx, mark) { // also of one that was incomplete when this was decided
		return false
	}
	rest := slices.DeleteFunc(slices.Clone(b.Keys), func(key string) bool { return key == mark || key == start })
	gone := r.removeAll(ctx, rest)
	if gone && slices.Contains(b.Keys, start) { // it tells the next run how old the rest is
		r.remove(ctx, start)
	}
	return true
}

// lookEvery is for how long what was seen is taken for true.
const lookEvery = time.Second

// refuseChildren keeps everything if a backup that is to be dropped is needed by
// one that has begun, or ended, since that was decided, or is being restored now.
func (r *removal) refuseChildren(ctx context.Context) error {
	if time.Since(r.looked) < lookEvery {
		return nil
	}
	now, err := r.repo.Backups(ctx)
	if err != nil {
		return err
	}
	for _, b := range now {
		if r.drops(b.Label) {
			continue
		}
		if i := slices.IndexFunc(b.Needs(), r.drops); i >= 0 {
			return fmt.Errorf("backup %s has changed meanwhile and needs %s: nothing is removed", b.Label, b.Needs()[i])
		}
	}
	if err := r.refuseRestored(ctx); err != nil {
		return err
	}
	r.looked = time.Now()
	return nil
}

// refuseRestored keeps everything if the restore of a backup that is to be dropped
// has begun, or of one of which the WAL is.
func (r *removal) refuseRestored(ctx context.Context) error {
	now, err := r.repo.Restorings(ctx)
	if err != nil {
		return err
	}
	for _, n := range now {
		known := slices.ContainsFunc(r.restoring, func(old Restoring) bool { return old.Key == n.Key })
		if !known && time.Now().Before(n.Until) {
			return fmt.Errorf("backup %s is %s: the rest is left for the next run", n.Backup, n.Why())
		}
	}
	return nil
}

// refuseNewer keeps all WAL if a backup has begun since the decision was made: on
// a standby it may begin at an old checkpoint.
func (r *removal) refuseNewer(ctx context.Context) error {
	now, err := r.repo.Backups(ctx)
	if err != nil {
		return err
	}
	for _, b := range now {
		same := func(old Backup) bool { return old.Label == b.Label && old.Complete == b.Complete && old.Pin == b.Pin }
		if !slices.ContainsFunc(r.backups, same) && !r.drops(b.Label) {
			return fmt.Errorf("backup %s has changed meanwhile: WAL is left for the next run", b.Label)
		}
	}
	return r.refuseRestored(ctx)
}

// removeWAL removes the files of dropped segments: all forms, and what else is
// named after them. Timeline histories are never removed.
func (r *removal) removeWAL(ctx context.Context) error {
	dropped := map[wal.Timeline][]retain.WALRange{} // by number, as they were decided
	for _, d := range r.Decisions {
		if !d.Keep && d.Kind == retain.KindWAL {
			dropped[d.WAL.Timeline] = append(dropped[d.WAL.Timeline], d.WAL)
		}
	}
	if len(dropped) == 0 {
		return nil
	}
	var group errgroup.Group
	group.SetLimit(r.jobs)
	defer group.Wait()
	for info, err := range r.repo.List(ctx, walPrefix, "") {
		if err != nil {
			return err
		}
		n, _, ok := parseWALKey(info.Key)
		if !ok || n.Kind == wal.TimelineHistory || strings.HasPrefix(info.Key, historyPrefix) {
			continue
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

// inRanges looks for a number in ranges that are in order.
func inRanges(all []retain.WALRange, number uint64) bool {
	i := sort.Search(len(all), func(i int) bool { return all[i].Last >= number })
	return i < len(all) && all[i].First <= number
}

// removeNotes removes the records that were dropped, and of gaps also those that
// say a part of the same again.
func (r *removal) removeNotes(ctx context.Context) {
	r.removeAll(ctx, r.notes)
	for info, err := range r.repo.List(ctx, gapPrefix, "") {
		if err != nil {
			r.fail(err)
			return
		}
		part, ok := r.repo.parseGapKey(info.Key)
		covered := func(note string) bool {
			whole, is := r.repo.parseGapKey(note)
			return is && strings.HasPrefix(note, gapPrefix) && whole.Covers(part.Span)
		}
		if ok && slices.ContainsFunc(r.notes, covered) {
			r.remove(ctx, info.Key)
		}
	}
}
