package archive

import (
	"context"
	"time"

	"pgpipes/lib/retain"
	"pgpipes/lib/wal"
)

// A timeSearch looks for the first segment of a path with the end of a
// transaction after a time. Segments are numbered from 0 along the path.
type timeSearch struct {
	repo *Repo
	at   time.Time
	path []retain.WALRange
	seen map[int]*glimpse
}

func (s *timeSearch) length() int {
	n := 0
	for _, w := range s.path {
		n += int(w.Last - w.First + 1)
	}
	return n
}

// segment is the i-th of the path.
func (s *timeSearch) segment(i int) (wal.Timeline, uint64) {
	w := s.path[0]
	for _, next := range s.path[1:] {
		n := int(w.Last - w.First + 1)
		if i < n {
			break
		}
		i, w = i-n, next
	}
	return w.Timeline, w.First + uint64(i)
}

// look reads a segment, once.
func (s *timeSearch) look(ctx context.Context, i int) (*glimpse, error) {
	if g := s.seen[i]; g != nil {
		return g, nil
	}
	tli, number := s.segment(i)
	g, err := s.repo.glimpse(ctx, tli, number)
	if err == nil {
		s.seen[i] = g
	}
	return g, err
}

func (s *timeSearch) after(g *glimpse) bool { return g.busy && g.latest.After(s.at) }

// run returns the segment, or the length of the path if there is none.
func (s *timeSearch) run(ctx context.Context) (int, error) {
	i, err := s.between(ctx, 0, s.length())
	if err == nil {
		i, err = s.mind(ctx, i)
	}
	if err == nil {
		i, err = s.mindBorders(i)
	}
	return i, err
}

// between searches the segments from low to below high, and returns high if
// none of them is the one.
func (s *timeSearch) between(ctx context.Context, low, high int) (int, error) {
	for low < high {
		middle := low + (high-low)/2
		i, g, err := s.busy(ctx, middle, high)
		switch {
		case err != nil:
			return 0, err
		case g == nil:
			return s.idle(ctx, low, middle, high)
		case s.after(g):
			high = i
		default:
			low = i + 1
		}
	}
	return high, nil
}

// busy looks for a segment with transactions, in steps that double: of a single
// large one there may be thousands of segments without any.
func (s *timeSearch) busy(ctx context.Context, from, high int) (int, *glimpse, error) {
	for step := 1; from < high; step *= 2 {
		g, err := s.look(ctx, from)
		if err != nil || g.busy {
			return from, g, err
		}
		from += step
	}
	return 0, nil, nil
}

// idle searches where the upper half seems to have no transactions: in the lower
// half, and if that has none in every segment of the upper.
func (s *timeSearch) idle(ctx context.Context, low, middle, high int) (int, error) {
	i, err := s.between(ctx, low, middle)
	for err == nil && i >= middle && i < high {
		var g *glimpse
		if g, err = s.look(ctx, i); err == nil && s.after(g) {
			return i, nil
		}
		i++
	}
	return i, err
}

// What mind is content with.
const (
	enoughBusy = 2  // segments with transactions, all of them in time
	enoughRead = 16 // segments
)

// mind looks at the segments before the one that was found, as the times of
// transactions are not quite in order.
func (s *timeSearch) mind(ctx context.Context, found int) (int, error) {
	busy := 0
	for i := found - 1; i >= 0 && busy < enoughBusy && found-i <= enoughRead; i-- {
		g, err := s.look(ctx, i)
		if err != nil {
			return 0, err
		}
		if s.after(g) {
			found, busy = i, 0
		} else if g.busy {
			busy++
		}
	}
	return found, nil
}

// mindBorders looks for the end of a transaction that crosses a border between
// segments that were read.
func (s *timeSearch) mindBorders(found int) (int, error) {
	for i := range found {
		if s.seen[i] == nil || s.seen[i+1] == nil {
			continue
		}
		at, crosses, err := s.seen[i].crossing(s.seen[i+1])
		if err != nil {
			return 0, err
		}
		if crosses && at.After(s.at) {
			return i + 1, nil
		}
	}
	return found, nil
}
