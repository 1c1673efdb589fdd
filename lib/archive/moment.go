package archive

import (
	"cmp"
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
	e, err := r.ending(ctx, tli, first, last)
	return e.last, e.busy, err
}

// An ending is what a run of segments ends with.
type ending struct {
	record wal.LSN   // where the last record begins that is whole within a segment, 0 if there is none
	busy   bool      // there is the end of a transaction
	last   time.Time // of the last one
}

// ending looks for it from the end on, in no more than maxLookBack segments.
func (r *Repo) ending(ctx context.Context, tli wal.Timeline, first, last uint64) (e ending, err error) {
	var next *glimpse
	for n := last; n >= first && last-n < maxLookBack; n-- {
		g, err := r.glimpse(ctx, tli, n)
		if err != nil {
			return ending{}, err
		}
		e.record = cmp.Or(e.record, g.record)
		if next != nil {
			if e.last, e.busy, err = g.crossing(next); e.busy || err != nil {
				return e, err
			}
		}
		if g.busy || n == 0 {
			e.last, e.busy = g.last, g.busy
			return e, nil
		}
		next = g
	}
	return e, nil
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
	record wal.LSN   // where the last record begins that is whole in it, 0 if there is none
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
	var g glimpse
	link, err := r.walkSegment(ctx, tli, number, func() wal.Listener {
		g = glimpse{}
		return wal.Listener{Moment: g.note, Record: func(r wal.Record) { g.record = r.At }}
	})
	g.link = link
	return &g, err
}

// walkSegment reads a stored segment in the first of its forms that is good. For
// each that is tried it asks for a listener.
func (r *Repo) walkSegment(ctx context.Context, tli wal.Timeline, number uint64, listener func() wal.Listener) (wal.Link, error) {
	n, err := wal.ParseName(r.SegmentSize.Name(tli, number))
	if err != nil {
		return wal.Link{}, err
	}
	forms, err := r.Forms(ctx, n)
	if err != nil {
		return wal.Link{}, err
	}
	failed := []error{}
	slices.SortFunc(forms, CompareForms)
	for _, form := range forms {
		link, err := r.walk(ctx, form.Key, n, listener())
		if err == nil {
			return link, nil
		}
		failed = append(failed, err)
	}
	if len(failed) == 0 {
		return wal.Link{}, fmt.Errorf("%s: %w", n, store.ErrNotExist)
	}
	return wal.Link{}, errors.Join(failed...)
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
