package archive

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"pgpipes/lib/layout"
	"pgpipes/lib/wal"
)

// A Span is a run of segments of one timeline, or of .partial files.
type Span struct{ First, Last wal.Name }

// String names it: FIRST-LAST.
func (s Span) String() string { return s.First.String() + "-" + s.Last.String() }

// Holds reports whether a file is one of the run.
func (s Span) Holds(n wal.Name) bool {
	return n.Kind == s.First.Kind && n.Timeline == s.First.Timeline &&
		compareSegments(s.First, n) <= 0 && compareSegments(n, s.Last) <= 0
}

// Covers reports whether the run holds all of another.
func (s Span) Covers(other Span) bool { return s.Holds(other.First) && s.Holds(other.Last) }

func compareSegments(a, b wal.Name) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Timeline, b.Timeline), cmp.Compare(a.Log, b.Log), cmp.Compare(a.Low, b.Low))
}

// IsSegment reports whether a file is as long as a segment: it is one, or a
// .partial file.
func IsSegment(n wal.Name) bool { return n.Kind == wal.Segment || n.Kind == wal.Partial }

// parseSpan is the inverse of String; it also counts the segments. What is no
// run of segments that this cluster can have is not ok.
func (r *Repo) parseSpan(text string) (s Span, segments uint64, ok bool) {
	first, last, isRange := strings.Cut(text, "-")
	var err1, err2 error
	s.First, err1 = wal.ParseName(first)
	s.Last, err2 = wal.ParseName(last)
	if !isRange || err1 != nil || err2 != nil || !IsSegment(s.First) || !s.Holds(s.First) || !s.Holds(s.Last) {
		return Span{}, 0, false
	}
	from, err1 := r.SegmentSize.Split(s.First)
	to, err2 := r.SegmentSize.Split(s.Last)
	return s, to - from + 1, err1 == nil && err2 == nil
}

// ParseSpan reads FIRST-LAST, or the name of one segment.
func (r *Repo) ParseSpan(text string) (Span, error) {
	if !strings.Contains(text, "-") {
		text += "-" + text
	}
	s, _, ok := r.parseSpan(text)
	if !ok || s.First.Kind != wal.Segment {
		return Span{}, fmt.Errorf("%w: not a segment of this cluster, nor FIRST-LAST: %s", wal.ErrName, text)
	}
	return s, nil
}

// FirstPresent names the first segment of a run that is stored, "" if none is.
func (r *Repo) FirstPresent(ctx context.Context, s Span) (string, error) {
	after := ""
	if first := r.Number(s.First); first > 0 {
		after = layout.AfterSegment(r.SegmentSize.Name(s.First.Timeline, first-1))
	}
	for n, err := range r.segments(ctx, layout.Timeline(s.First.Timeline), after) {
		switch {
		case err != nil:
			return "", err
		case compareSegments(n, s.Last) > 0:
			return "", nil
		case s.Holds(n):
			return n.String(), nil
		}
	}
	return "", nil
}
