package archive

import (
	"context"
	"errors"
	"fmt"

	"pgpipes/lib/retain"
	"pgpipes/lib/wal"
)

// Prove keeps those of the backups that reach a time or an LSN for which the WAL
// shows it: recovery stops before the first transaction that ended after the
// time, or after the first record that begins at the LSN or later, and fails if
// there is none (xlogrecovery.c: recoveryStopsBefore, recoveryStopsAfter,
// PerformWalRecovery). The others come with the reason. The error says that the
// WAL cannot be read; then all of them are kept. Other targets are not looked for.
func (r *Repo) Prove(ctx context.Context, c Coverage, all []Backup, t Target) (can []Backup, cannot []error, err error) {
	if t.Kind != "time" && t.Kind != "lsn" {
		return all, nil, nil
	}
	p := proof{r, c, t, map[retain.WALRange]stop{}}
	for _, b := range all {
		why, err := p.why(ctx, b)
		if err != nil {
			return all, nil, err
		}
		if why != nil {
			cannot = append(cannot, fmt.Errorf("%s: %w", b.Label, why))
			continue
		}
		can = append(can, b)
	}
	return can, cannot, nil
}

// A proof looks for the place where a recovery stops.
type proof struct {
	*Repo
	coverage Coverage
	target   Target
	stops    map[retain.WALRange]stop // by the last segment of the way
}

// A stop is the segment in which a recovery stops.
type stop struct {
	timeline wal.Timeline
	segment  uint64
	found    bool
}

// why says why a recovery from a backup would not stop, nil if it does.
func (p proof) why(ctx context.Context, b Backup) (why, err error) {
	way, missing := p.coverage.wayOn(b, p.target.timeline(p.coverage))
	s, err := p.stop(ctx, way)
	switch {
	case err != nil:
		return nil, err
	case s.found:
		return p.early(ctx, b, s)
	case missing != "":
		return fmt.Errorf("%s is missing on the way%s", missing, p.coverage.Why(missing)), nil
	case p.target.Kind == "lsn":
		return errors.New("no record follows the target: recovery to it would fail; latest gets all there is"), nil
	}
	return errors.New("no transaction ended after the target: recovery to it would fail; latest gets all there is"), nil
}

// stop looks for it on a way. Ways that end alike have one: backups only differ in
// how far before it they begin.
func (p proof) stop(ctx context.Context, way []retain.WALRange) (s stop, err error) {
	if len(way) == 0 {
		return stop{}, nil
	}
	end := way[len(way)-1]
	end.First = end.Last
	s, known := p.stops[end]
	switch {
	case known:
		return s, nil
	case p.target.Kind == "lsn":
		s, err = p.recordFrom(ctx, p.target.LSN, way)
	default:
		s.timeline, s.segment, s.found, err = p.FirstCommitAfter(ctx, p.target.Time, way)
	}
	if err == nil {
		p.stops[end] = s
	}
	return s, err
}

// recordFrom finds the first segment of a way with a record that begins at a
// place or after it.
func (p proof) recordFrom(ctx context.Context, at wal.LSN, way []retain.WALRange) (stop, error) {
	for _, w := range way {
		for n := max(w.First, p.SegmentSize.Number(at)); n <= w.Last; n++ {
			g, err := p.glimpse(ctx, w.Timeline, n)
			if err != nil || g.record >= at && g.record != 0 {
				return stop{w.Timeline, n, err == nil}, err
			}
		}
	}
	return stop{}, nil
}

// early minds a clock that was behind when the backup ended: the place to stop
// must come after its end. An LSN does.
func (p proof) early(ctx context.Context, b Backup, s stop) (why, err error) {
	end := b.Header.StopLSN
	if p.target.Kind == "lsn" || s.segment > p.SegmentSize.LastNumber(end) {
		return nil, nil
	}
	var at wal.LSN
	note := func(m wal.Moment) {
		if at == 0 && m.Kind != wal.RestorePoint && m.Time.After(p.target.Time) {
			at = m.At
		}
	}
	_, err = p.walkSegment(ctx, s.timeline, s.segment, func() wal.Listener { return wal.Listener{Moment: note} })
	if err == nil && at < end {
		why = fmt.Errorf("it ended at %s, after the target: recovery would have to stop before", end)
	}
	return why, err
}

// timeline is the one that a recovery to the target follows.
func (t Target) timeline(c Coverage) wal.Timeline {
	if t.Timeline != 0 {
		return t.Timeline
	}
	return c.Newest()
}

// wayOn is all the WAL by which a recovery can go on from a backup on the line of
// a timeline, to the end of that or to the first segment that is missing.
func (c Coverage) wayOn(b Backup, to wal.Timeline) (way []retain.WALRange, missing string) {
	last, _ := c.end(to)
	if at, ok := c.switchTo(to); ok {
		last = max(last, c.Size.Number(at))
	}
	return c.unbroken(c.Line(b.Header.StartTimeline, c.Size.Number(b.Header.StartLSN), to, last))
}

// unbroken is the part of a way before the first missing segment.
func (c Coverage) unbroken(way []retain.WALRange) (part []retain.WALRange, missing string) {
	for _, w := range way {
		number, found := c.missingIn(w.Timeline, w.First, w.Last)
		if !found {
			part = append(part, w)
			continue
		}
		if number > w.First {
			part = append(part, retain.WALRange{Timeline: w.Timeline, First: w.First, Last: number - 1})
		}
		return part, c.Size.Name(w.Timeline, number)
	}
	return part, ""
}
