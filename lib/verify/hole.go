package verify

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/retain"
	"pgpipes/lib/wal"
)

// checkHoles finds what is missing on the way of recoveries, and what was
// dropped, unless somebody has accepted it.
func (v *verifier) checkHoles(ctx context.Context) error {
	if !v.all() {
		return nil
	}
	c := v.stock.coverage
	holes := slices.DeleteFunc(c.Holes(v.stock.backups), func(h archive.Hole) bool { return !h.Open() })
	if len(holes) == 0 && len(c.Gaps) == 0 {
		return nil
	}
	now, err := v.look(ctx)
	if err != nil {
		return err
	}
	backups, err := v.Backups(ctx) // one may have expired with its WAL
	if err != nil {
		return err
	}
	for _, h := range now.Holes(backups) {
		if h.State == archive.HoleMissing && slices.ContainsFunc(holes, func(known archive.Hole) bool { return overlap(h, known) }) {
			v.found(FoundHole, h.String(), "%s", story(h))
		}
	}
	return v.tellDropped(ctx, now)
}

func overlap(a, b archive.Hole) bool {
	return a.Holds(b.First) || b.Holds(a.First)
}

// story says of a hole what it means.
func story(h archive.Hole) string {
	segments := "a segment is"
	if h.Segments > 1 {
		segments = strconv.FormatUint(h.Segments, 10) + " segments are"
	}
	since := ""
	if !h.Since.IsZero() {
		since = ", since " + h.Since.UTC().Format(time.RFC3339) + " at the latest"
	}
	return segments + " missing" + since + ": no recovery gets past it"
}

// tellDropped tells of what was dropped and is not known to be given up.
func (v *verifier) tellDropped(ctx context.Context, now archive.Coverage) error {
	open, err := v.OpenGaps(ctx, now)
	if err != nil {
		return err
	}
	for _, g := range open {
		if g.First.Kind == wal.Partial || now.Open(g) {
			v.found(FoundDropped, g.String(), "%s (%s)", strings.TrimPrefix(g.Story(), "was "), g.Reason)
		}
	}
	return nil
}

// joinRuns sorts runs and makes one of those that overlap or touch.
func joinRuns(all []retain.WALRange) (joined []retain.WALRange) {
	slices.SortFunc(all, func(a, b retain.WALRange) int {
		return cmp.Or(cmp.Compare(a.Timeline, b.Timeline), cmp.Compare(a.First, b.First))
	})
	for _, w := range all {
		last := len(joined) - 1
		if last >= 0 && joined[last].Timeline == w.Timeline && w.First <= joined[last].Last+1 {
			joined[last].Last = max(joined[last].Last, w.Last)
			continue
		}
		joined = append(joined, w)
	}
	return joined
}
