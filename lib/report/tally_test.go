package report

import (
	"testing"
	"time"
)

func TestTally(t *testing.T) {
	for _, c := range []struct {
		span, every, width time.Duration
	}{
		{2 * hour, time.Minute, hour}, {14 * day, hour, hour}, {300 * day, hour, day}, {300 * day, 30 * day, day},
		{5 * 365 * day, hour, week}, {20 * 365 * day, 3 * day, year},
	} {
		tally := NewTally(now)
		segments := int64(0)
		for age := time.Duration(0); age < c.span; age += c.every {
			tally.Add(before(age), 100)
			segments++
			if len(tally.bars) > mostKept+1 {
				t.Fatalf("%v: %d bars in memory", c.span, len(tally.bars))
			}
		}
		v := tally.Volume()
		if v.Width != c.width || v.Segments != segments || v.Stored != 100*segments {
			t.Errorf("%v every %v: %v, %d segments, %d bytes; want %v, %d", c.span, c.every, v.Width, v.Segments, v.Stored, c.width, segments)
		}
		var sum int64
		for i, b := range v.Bars {
			sum += b.Segments
			if i > 0 && b.From.Sub(v.Bars[i-1].From) < v.Width || b.From.UTC().Minute() != 0 {
				t.Errorf("%v: bar %d begins at %v", c.span, i, b.From)
			}
		}
		if sum != segments || len(v.Bars) > mostShown+1 {
			t.Errorf("%v: %d segments in %d bars, want %d", c.span, sum, len(v.Bars), segments)
		}
	}
}

// A clock that was wrong makes no bars in the future, nor ones that nobody
// could draw.
func TestTallyOfWrongClocks(t *testing.T) {
	tally := NewTally(now)
	tally.Add(now.Add(100*365*day), 1)
	tally.Add(time.Time{}, 1)
	v := tally.Volume()
	if first, last := v.Bars[0].From, v.Bars[len(v.Bars)-1]; first.Before(earliest) || last.From.After(now) || v.end(last).Before(now) || v.Segments != 2 {
		t.Errorf("bars from %v to %v", first, last.From)
	}
}

func TestBarsBeginAtRoundTimes(t *testing.T) {
	tally := NewTally(now)
	tally.Add(now, 1)
	if got, want := tally.Volume().Bars[0].From, at("2026-11-22 10:00"); !got.Equal(want) {
		t.Errorf("hour: %v, want %v", got, want)
	}
	tally.coarsen()
	if got, want := tally.Volume().Bars[0].From, at("2026-11-22 00:00"); !got.Equal(want) {
		t.Errorf("day: %v, want %v", got, want)
	}
	tally.coarsen()
	if got, want := tally.Volume().Bars[0].From, at("2026-11-16 00:00"); !got.Equal(want) { // a Monday
		t.Errorf("week: %v, want %v", got, want)
	}
}
