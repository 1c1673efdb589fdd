package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"pgpipes/lib/store"
	"pgpipes/lib/wal"
)

const (
	gapPrefix = "gap/"
	gapTitle  = "pgpipes-gap"
	gapFormat = 1
)

// A Gap is a run of segments that wal-push answered for without storing them,
// because it was told to save the server rather than its WAL (see Guard). It is
// the object gap/FIRST-LAST: the name alone says what was dropped, and the text
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
	First, Last wal.Name // both segments, or both .partial, of one timeline
	Segments    uint64   // how many
	From, To    time.Time
	Host        string
	Reason      string
}

// number is that of a segment whose name has been found good before.
func (r *Repo) number(n wal.Name) uint64 {
	number, _ := r.SegmentSize.Split(n)
	return number
}

// Holds reports whether a file was dropped with the gap.
func (g Gap) Holds(n wal.Name) bool {
	return n.Kind == g.First.Kind && n.Timeline == g.First.Timeline &&
		compareSegments(g.First, n) <= 0 && compareSegments(n, g.Last) <= 0
}

// Covers reports whether the gap holds all of another.
func (g Gap) Covers(other Gap) bool { return g.Holds(other.First) && g.Holds(other.Last) }

func compareSegments(a, b wal.Name) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Timeline, b.Timeline), cmp.Compare(a.Log, b.Log), cmp.Compare(a.Low, b.Low))
}

// String names the gap: FIRST-LAST.
func (g Gap) String() string { return g.First.String() + "-" + g.Last.String() }

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
	return fmt.Sprintf("%s\t%d\nfirst\t%s\nlast\t%s\nsegments\t%d\nfrom\t%s\nto\t%s\nhost\t%s\nreason\t%s\n",
		gapTitle, gapFormat, g.First, g.Last, g.Segments, g.From.Format(time.RFC3339), g.To.Format(time.RFC3339), g.Host, g.Reason)
}

// parseGapKey reads the range from the key of a gap. Other keys are not ok.
func (r *Repo) parseGapKey(key string) (g Gap, ok bool) {
	first, last, isRange := strings.Cut(strings.TrimPrefix(key, gapPrefix), "-")
	var err1, err2 error
	g.First, err1 = wal.ParseName(first)
	g.Last, err2 = wal.ParseName(last)
	if !isRange || err1 != nil || err2 != nil || !isSegment(g.First) || !g.Holds(g.First) || !g.Holds(g.Last) {
		return Gap{}, false
	}
	from, err1 := r.SegmentSize.Split(g.First)
	to, err2 := r.SegmentSize.Split(g.Last)
	g.Segments = to - from + 1
	return g, err1 == nil && err2 == nil
}

// isSegment reports whether a file is as long as a segment.
func isSegment(n wal.Name) bool { return n.Kind == wal.Segment || n.Kind == wal.Partial }

// readText adds what the text of the record says. One that is damaged says
// nothing; it is the name that counts.
func (g *Gap) readText(text []byte) {
	value, ok := readLines(text, gapTitle, gapFormat)
	from, err1 := time.Parse(time.RFC3339, value["from"])
	to, err2 := time.Parse(time.RFC3339, value["to"])
	if !ok || err1 != nil || err2 != nil {
		g.Reason = "the record is damaged"
		return
	}
	g.From, g.To, g.Host, g.Reason = from.UTC().Truncate(time.Second), to.UTC().Truncate(time.Second), value["host"], value["reason"]
}

// readLines takes lines of a key, a tab and a value apart, the first of which
// is a title and the number of the format.
func readLines(text []byte, title string, format int) (map[string]string, bool) {
	value := map[string]string{}
	for line := range strings.Lines(string(text)) {
		key, v, found := strings.Cut(line, "\t")
		v, whole := strings.CutSuffix(v, "\n")
		if !found || !whole {
			return nil, false
		}
		value[key] = v
	}
	return value, value[title] == strconv.Itoa(format)
}

// inLine makes a text fit for one line of a record.
func inLine(text string) string {
	const longest = 1000 // bytes
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }), " ")
	return strings.ToValidUTF8(text[:min(len(text), longest)], "?")
}

// putGap records a gap. The name being taken by other words is success: the
// range is the same.
func (r *Repo) putGap(ctx context.Context, g Gap) error {
	key := gapPrefix + g.String()
	_, err := r.Put(ctx, key, func(w io.Writer) error {
		_, err := io.WriteString(w, g.text())
		return err
	})
	if !errors.Is(err, store.ErrDiffers) {
		return err
	}
	if s, able := r.Store.(interface{ Sync(key string) error }); able {
		return s.Sync(key)
	}
	return nil
}

// Gaps lists the records of what was dropped, by timeline and number. Those
// that are part of another one are left out: a process that was killed between
// two steps has written twice.
func (r *Repo) Gaps(ctx context.Context) ([]Gap, error) {
	return r.gaps(ctx, gapPrefix, func(Gap) bool { return true })
}

// gapFrom finds the gap that holds a file, or else the first one after it on
// its timeline.
func (r *Repo) gapFrom(ctx context.Context, n wal.Name) (g Gap, found bool, err error) {
	all, err := r.gaps(ctx, gapPrefix+n.Timeline.String(), func(g Gap) bool {
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
		if g, ok := r.parseGapKey(info.Key); ok && wanted(g) {
			all = append(all, g)
		}
	}
	slices.SortFunc(all, func(a, b Gap) int {
		return cmp.Or(compareSegments(a.First, b.First), compareSegments(b.Last, a.Last))
	})
	var gaps []Gap
	for _, g := range all {
		if n := len(gaps); n > 0 && gaps[n-1].Covers(g) {
			continue
		}
		text, err := r.small(ctx, gapPrefix+g.String())
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
	first, last := r.number(g.First), r.number(g.Last)
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
		if forms, err := r.forms(ctx, n); err != nil || len(forms) == 0 {
			return true, err
		}
	}
	return false, nil
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
	return ""
}
