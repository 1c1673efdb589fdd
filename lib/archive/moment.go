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

// maxLookBack is how many segments LastCommit reads. Those of an idle server
// have no transactions.
const maxLookBack = 16

// LastCommit is the time of the last transaction, committed or rolled back, in
// the stored segments first to last of a timeline. It is not found if the last
// maxLookBack of them have none.
func (r *Repo) LastCommit(ctx context.Context, tli wal.Timeline, first, last uint64) (at time.Time, found bool, err error) {
	var next *glimpse
	for n := last; n >= first && last-n < maxLookBack; n-- {
		g, err := r.glimpse(ctx, tli, n)
		if err != nil {
			return time.Time{}, false, err
		}
		if next != nil {
			if at, found, err := g.crossing(next); found || err != nil {
				return at, found, err
			}
		}
		if g.busy || n == 0 {
			return g.last, g.busy, nil
		}
		next = g
	}
	return time.Time{}, false, nil
}

// FirstCommitAfter finds the segment that holds the first transaction, committed
// or rolled back, that ended after a time. There a recovery to that time stops;
// the WAL up to there it needs (xlogrecovery.c: recoveryStopsBefore). A record
// that crosses a border is in the segment in which it ends. The path is of
// segments of consecutive numbers, all stored.
//
// Few segments are read, as times grow along the log. They do so only by and
// large: a transaction takes its time before it gets its place. So some segments
// before the one that is found are read, too. A clock that was put back by more
// than their time is not seen through.
func (r *Repo) FirstCommitAfter(ctx context.Context, at time.Time, path []retain.WALRange) (tli wal.Timeline, segment uint64, found bool, err error) {
	s := timeSearch{repo: r, at: at, path: path, seen: map[int]*glimpse{}}
	i, err := s.run(ctx)
	if err != nil || i == s.length() {
		return 0, 0, false, err
	}
	tli, segment = s.segment(i)
	return tli, segment, true, nil
}

// A glimpse is what a segment says of times.
type glimpse struct {
	link   wal.Link
	busy   bool      // it holds the end of a transaction
	last   time.Time // of the last one
	latest time.Time
}

// note takes the end of a transaction, and nothing else, as restore points have
// times at which no recovery to a time stops.
func (g *glimpse) note(m wal.Moment) {
	if m.Kind == wal.RestorePoint {
		return
	}
	g.busy, g.last = true, m.Time
	if m.Time.After(g.latest) {
		g.latest = m.Time
	}
}

// crossing is the time of the transaction whose end begins in one segment and
// ends in the next.
func (g *glimpse) crossing(next *glimpse) (at time.Time, found bool, err error) {
	var own glimpse
	c := wal.Chain{Listener: wal.Listener{Moment: own.note}}
	if err := errors.Join(c.Add(g.link), c.Add(next.link)); err != nil {
		return time.Time{}, false, fmt.Errorf("%w: %s", ErrDamaged, err)
	}
	return own.last, own.busy, nil
}

// glimpse reads a stored segment.
func (r *Repo) glimpse(ctx context.Context, tli wal.Timeline, number uint64) (*glimpse, error) {
	n, err := wal.ParseName(r.SegmentSize.Name(tli, number))
	if err != nil {
		return nil, err
	}
	forms, err := r.forms(ctx, n)
	if err != nil {
		return nil, err
	}
	failed := []error{}
	slices.SortFunc(forms, byForm)
	for _, form := range forms {
		var g glimpse
		if g.link, err = r.walk(ctx, form.Key, n, wal.Listener{Moment: g.note}); err == nil {
			return &g, nil
		}
		failed = append(failed, err)
	}
	if len(failed) == 0 {
		return nil, fmt.Errorf("%s: %w", n, store.ErrNotExist)
	}
	return nil, errors.Join(failed...)
}

// walk reads a stored segment record by record. One that cannot be read to its
// end is ErrDamaged, or of another cluster.
func (r *Repo) walk(ctx context.Context, key string, n wal.Name, l wal.Listener) (wal.Link, error) {
	w := wal.NewWalk(n)
	w.Listener = l
	err := r.decode(ctx, key, w, int64(r.SegmentSize))
	var link wal.Link
	if err == nil {
		link, err = w.End()
	}
	h := link.Header
	switch {
	case errors.Is(err, wal.ErrRecord) || errors.Is(err, wal.ErrHeader) || errors.Is(err, wal.ErrMismatch):
		what := strings.TrimPrefix(strings.TrimPrefix(err.Error(), n.String()+": "), "wal: ")
		return link, fmt.Errorf("%s: %w: %s", key, ErrDamaged, what)
	case err == nil && (Cluster{h.SystemID, h.Major(), h.SegmentSize}) != r.Cluster:
		return link, fmt.Errorf("%s: %w: it is of the cluster with system identifier %d", key, ErrDamaged, h.SystemID)
	}
	return link, err
}
