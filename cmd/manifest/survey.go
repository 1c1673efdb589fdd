package main

import (
	"context"
	"path"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/retain"
	"pgpipes/lib/wal"
)

// A survey is what there is in a repository.
type survey struct {
	repo        *archive.Repo
	backups     []archive.Backup // in the order of labels
	running     []archive.Backup // have begun and may well be under way
	interrupted []archive.Backup // have begun and are not
	coverage    archive.Coverage
	missing     []retain.WALRange // that nobody has accepted
	stored      map[wal.Timeline]storedWAL
}

// storedWAL is what is stored of a timeline.
type storedWAL struct {
	segments int64
	bytes    int64
	newest   time.Time // when the last was stored
}

func takeSurvey(ctx context.Context, r *archive.Repo, now time.Time) (survey, error) {
	s := survey{repo: r, stored: map[wal.Timeline]storedWAL{}}
	var err error
	if s.backups, err = r.Backups(ctx); err != nil {
		return s, err
	}
	if s.coverage, err = r.Coverage(ctx); err != nil {
		return s, err
	}
	s.missing = s.coverage.Missing()
	s.findInterrupted(now)
	return s, s.weigh(ctx)
}

// weigh looks at the sizes and times of what is stored of each timeline.
func (s *survey) weigh(ctx context.Context) error {
	for info, err := range s.repo.List(ctx, "wal/", "") {
		if err != nil {
			return err
		}
		s.add(info.Key, info.Size, info.ModTime)
	}
	return nil
}

const segmentDigits = 24

// add counts a segment, and passes over other keys.
func (s *survey) add(key string, bytes int64, stored time.Time) {
	base := path.Base(key)
	if len(base) < segmentDigits {
		return
	}
	n, err := wal.ParseName(base[:segmentDigits])
	if suffix := base[segmentDigits:]; err != nil || len(suffix) > len(".zst") {
		return
	}
	w := s.stored[n.Timeline]
	w.segments, w.bytes = w.segments+1, w.bytes+bytes
	if stored.After(w.newest) {
		w.newest = stored
	}
	s.stored[n.Timeline] = w
}

// newest is when the last WAL was stored, of whichever timeline.
func (s survey) newest() (newest time.Time) {
	for _, w := range s.stored {
		if w.newest.After(newest) {
			newest = w.newest
		}
	}
	return newest
}

// usualEnd is how long a backup may take before it is taken for interrupted.
const usualEnd = 24 * time.Hour

// findInterrupted tells interrupted backups from those that may be under way: the
// lock lets none begin before the one before has ended.
func (s *survey) findInterrupted(now time.Time) {
	var last time.Time // when the last of the complete ones began
	for _, b := range s.backups {
		if b.Complete && b.Header.StartTime.After(last) {
			last = b.Header.StartTime
		}
	}
	for _, b := range s.backups {
		switch began := b.Start.Time; {
		case b.Complete:
		case began.After(last) && now.Sub(began) < usualEnd:
			s.running = append(s.running, b)
		default:
			s.interrupted = append(s.interrupted, b)
		}
	}
}
