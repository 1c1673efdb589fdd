package archive

import (
	"bytes"
	"context"
	"slices"

	"pgpipes/lib/wal"
)

// Holds reports whether a text is in a stored segment from first to last of a
// timeline.
func (r *Repo) Holds(ctx context.Context, tli wal.Timeline, first, last uint64, text string) (bool, error) {
	for n := last + 1; n > first; n-- {
		found, err := r.segmentHolds(ctx, tli, n-1, text)
		if found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// segmentHolds looks into the forms of a segment, of which one that is good will do.
func (r *Repo) segmentHolds(ctx context.Context, tli wal.Timeline, number uint64, text string) (bool, error) {
	n, err := wal.ParseName(r.SegmentSize.Name(tli, number))
	if err != nil {
		return false, err
	}
	forms, err := r.Forms(ctx, n)
	if err != nil {
		return false, err
	}
	slices.SortFunc(forms, CompareForms)
	for _, form := range forms {
		s := search{text: []byte(text)}
		if err = r.decode(ctx, form.Key, &s, int64(r.SegmentSize)); err == nil {
			return s.found, nil
		}
	}
	return false, err
}

// A search looks for a text in what is written to it.
type search struct {
	text  []byte
	found bool
	tail  []byte // of what came before
}

func (s *search) Write(p []byte) (int, error) {
	if s.found {
		return len(p), nil
	}
	edge := len(s.text) - 1
	s.tail = append(s.tail, p[:min(edge, len(p))]...)
	s.found = bytes.Contains(s.tail, s.text) || bytes.Contains(p, s.text)
	if len(p) >= edge {
		s.tail = append(s.tail[:0], p[len(p)-edge:]...)
	} else {
		s.tail = s.tail[max(0, len(s.tail)-edge):]
	}
	return len(p), nil
}
