package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pgpipes/lib/layout"
	"pgpipes/lib/note"
	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

const (
	gapTitle  = "pgpipes-gap"
	gapFormat = 1
)

// A Gap is a run of segments that wal-push answered for without storing them,
// because it was told to save the server rather than its WAL (see push.Guard). It
// is the object gap/FIRST-LAST: the name alone says what was dropped, and the text
// says when and why, in lines of a key, a tab and a value:
//
//	pgpipes-gap  1
//	first        000000010000000000000005
//	last         000000010000000000000009
//	segments     5
//	from         2026-11-22T10:15:00Z     when the first was dropped
//	to           2026-11-22T10:16:10Z     and the last
//	host         db1
//	reason       what was wrong with the repository when the first was dropped
//
// A segment of a gap that is in the repository all the same is not missing:
// look for it first.
type Gap struct {
	Span
	Segments uint64 // how many
	From, To time.Time
	Host     string
	Reason   string
}

// Number is that of a segment on its timeline. Its name has been found to be one
// that this cluster can have.
func (r *Repo) Number(n wal.Name) uint64 {
	number, _ := r.SegmentSize.Split(n)
	return number
}

// Story says of something in the gap what became of it.
func (g Gap) Story() string {
	when := ""
	switch {
	case g.From.IsZero(): // the text of the record is damaged
	case g.From.Equal(g.To):
		when = " on " + g.From.Format(time.RFC3339)
	default:
		when = " between " + g.From.Format(time.RFC3339) + " and " + g.To.Format(time.RFC3339)
	}
	extent := "this segment alone"
	if g.Segments > 1 {
		extent = fmt.Sprintf("%d segments, %s to %s", g.Segments, g.First, g.Last)
	}
	return fmt.Sprintf("was dropped%s by wal-push --queue-max (%s)", when, extent)
}

func (g Gap) text() string {
	return note.Text(gapTitle, gapFormat, "first", g.First.String(), "last", g.Last.String(), "segments", strconv.FormatUint(g.Segments, 10),
		"from", g.From.Format(time.RFC3339), "to", g.To.Format(time.RFC3339), "host", g.Host, "reason", g.Reason)
}

// ParseGapKey reads the range from the key of a gap. Other keys are not ok.
func (r *Repo) ParseGapKey(key string) (g Gap, ok bool) {
	g.Span, g.Segments, ok = r.parseSpan(strings.TrimPrefix(key, layout.Gap))
	return g, ok
}

// readText adds what the text of the record says. One that is damaged says
// nothing; it is the name that counts.
func (g *Gap) readText(text []byte) {
	value, ok := note.Parse(text, gapTitle, gapFormat)
	from, err1 := time.Parse(time.RFC3339, value["from"])
	to, err2 := time.Parse(time.RFC3339, value["to"])
	if !ok || err1 != nil || err2 != nil {
		g.Reason = "the record is damaged"
		return
	}
	g.From, g.To, g.Host, g.Reason = from.UTC().Truncate(time.Second), to.UTC().Truncate(time.Second), value["host"], value["reason"]
}

// PutGap records a gap. The name being taken by other words is success: the
// range is the same.
func (r *Repo) PutGap(ctx context.Context, g Gap) error {
	return r.putNote(ctx, layout.Gap+g.String(), g.text())
}

// Gaps lists the records of what was dropped, by timeline and number. Those
// that are part of another one are left out: a process that was killed between
// two steps has written twice.
func (r *Repo) Gaps(ctx context.Context) ([]Gap, error) {
	return r.gaps(ctx, layout.Gap, func(Gap) bool { return true })
}

// gapFrom finds the gap that holds a file, or else the first one after it on
// its timeline.
func (r *Repo) gapFrom(ctx context.Context, n wal.Name) (g Gap, found bool, err error) {
	all, err := r.gaps(ctx, layout.Gap+n.Timeline.String(), func(g Gap) bool {
		return g.First.Kind == n.Kind && compareSegments(n, g.Last) <= 0
	})
	if err != nil || len(all) == 0 {
		return Gap{}, false, err
	}
	return all[0], true, nil
}

func (r *Repo) gaps(ctx context.Context, prefix string, wanted func(Gap) bool) ([]Gap, error) {
	var all []Gap
	for info, err := range r.List(ctx, prefix, "") {
		if err != nil {
			return nil, err
		}
		if g, ok := r.ParseGapKey(info.Key); ok && wanted(g) {
			all = append(all, g)
		}
	}
	slices.SortFunc(all, func(a, b Gap) int {
		return cmp.Or(compareSegments(a.First, b.First), compareSegments(b.Last, a.Last))
	})
	var gaps []Gap
	for _, g := range all {
		if n := len(gaps); n > 0 && gaps[n-1].Covers(g.Span) {
			continue
		}
		text, err := r.Text(ctx, layout.Gap+g.String())
		if errors.Is(err, store.ErrNotExist) { // expire has just removed it
			continue
		}
		if err != nil {
			return nil, err
		}
		g.readText(text)
		gaps = append(gaps, g)
	}
	return gaps, nil
}

// OpenGaps are the gaps of which something is still missing.
func (r *Repo) OpenGaps(ctx context.Context, c Coverage) ([]Gap, error) {
	var open []Gap
	for _, g := range c.Gaps {
		missing, err := r.missingOf(ctx, c, g)
		if err != nil {
			return nil, err
		}
		if missing {
			open = append(open, g)
		}
	}
	return open, nil
}

func (r *Repo) missingOf(ctx context.Context, c Coverage, g Gap) (bool, error) {
	first, last := r.Number(g.First), r.Number(g.Last)
	if g.First.Kind == wal.Segment {
		_, missing := c.missingIn(g.First.Timeline, first, last)
		return missing, nil
	}
	for number := first; number <= last; number++ {
		n, err := wal.ParseName(r.SegmentSize.Name(g.First.Timeline, number))
		if err != nil {
			return false, err
		}
		n.Kind = g.First.Kind
		if forms, err := r.Forms(ctx, n); err != nil || len(forms) == 0 {
			return true, err
		}
	}
	return false, nil
}

// Open reports whether something of a gap of whole segments is missing and not
// accepted.
func (c Coverage) Open(g Gap) bool {
	first, last, _ := c.numbers(g.Span)
	for _, run := range c.absent(g.First.Timeline, first, last) {
		if slices.ContainsFunc(c.divide(run), Hole.Open) {
			return true
		}
	}
	return false
}

// Gap finds the gap that holds a file that is missing.
func (c Coverage) Gap(missing string) (g Gap, found bool) {
	n, err := wal.ParseName(missing)
	if err != nil {
		return Gap{}, false
	}
	i := slices.IndexFunc(c.Gaps, func(g Gap) bool { return g.Holds(n) })
	if i < 0 {
		return Gap{}, false
	}
	return c.Gaps[i], true
}

// Why says, after a colon, why a file is missing, "" if that is not known.
func (c Coverage) Why(missing string) string {
	if g, dropped := c.Gap(missing); dropped {
		return ": it " + g.Story()
	}
	n, err := wal.ParseName(missing)
	for _, a := range c.Accepted {
		if err == nil && a.Holds(n) {
			return ": a known hole (" + a.Reason + ")"
		}
	}
	return ""
}
