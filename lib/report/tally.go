package report

import (
	"cmp"
	"slices"
	"time"
)

const (
	hour = time.Hour
	day  = 24 * hour
	week = 7 * day
	year = 52 * week
)

// widths are those of the bars of a Volume.
var widths = []time.Duration{hour, day, week, year}

const (
	mostKept  = 1000 // bars, in memory
	mostShown = 400  // from the first to the last, there or not
)

// earliest is the oldest time that is believed.
var earliest = time.Date(2000, 1, 3, 0, 0, 0, 0, time.UTC) // a Monday

// A Tally counts WAL by the hour in which it was stored, or more coarsely where
// that would be too many bars. Memory is bounded.
type Tally struct {
	now    time.Time
	volume Volume
	bars   map[time.Time]Bar
	width  int
}

// NewTally begins one. What seems to be stored after now counts as of now.
func NewTally(now time.Time) *Tally {
	return &Tally{now: now, bars: map[time.Time]Bar{}}
}

// Add counts a segment and the bytes that it takes.
func (t *Tally) Add(at time.Time, stored int64) {
	if at.After(t.now) {
		at = t.now
	}
	if at.Before(earliest) {
		at = earliest
	}
	t.volume.Segments++
	t.volume.Stored += stored
	t.add(Bar{at, 1, stored})
	if len(t.bars) > mostKept {
		t.coarsen()
	}
}

func (t *Tally) add(b Bar) {
	from := earliest.Add(b.From.Sub(earliest).Truncate(widths[t.width]))
	old := t.bars[from]
	t.bars[from] = Bar{from, old.Segments + b.Segments, old.Stored + b.Stored}
}

// coarsen makes wider bars, if there are any.
func (t *Tally) coarsen() {
	if t.width == len(widths)-1 {
		return
	}
	fine := t.bars
	t.width, t.bars = t.width+1, map[time.Time]Bar{}
	for _, b := range fine {
		t.add(b)
	}
}

// Volume is the sum.
func (t *Tally) Volume() Volume {
	for t.span() > mostShown*widths[t.width] && t.width < len(widths)-1 {
		t.coarsen()
	}
	v := t.volume
	v.Width = widths[t.width]
	for _, b := range t.bars {
		v.Bars = append(v.Bars, b)
	}
	slices.SortFunc(v.Bars, func(a, b Bar) int { return a.From.Compare(b.From) })
	return v
}

// span is from the first bar to now.
func (t *Tally) span() time.Duration {
	var longest time.Duration
	for from := range t.bars {
		longest = max(longest, t.now.Sub(from))
	}
	return longest
}

// widthName is what a bar is for.
func (v Volume) widthName() string {
	return cmp.Or(map[time.Duration]string{hour: "hour", day: "day", week: "week"}[v.Width], "year")
}

// end is when a bar ends.
func (v Volume) end(b Bar) time.Time { return b.From.Add(v.Width) }
