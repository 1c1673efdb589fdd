package report

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func at(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	return t
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		from, to string
		most     int
		want     string
	}{
		{"2026-11-22 10:03", "2026-11-22 10:08", 7, "10:03/22 Nov 10:04 10:05 10:06 10:07 10:08"},
		{"2026-11-22 22:10", "2026-11-23 02:10", 4, "23:00/22 Nov 00:00/23 Nov 01:00 02:00"},
		{"2026-11-21 10:15", "2026-11-22 10:15", 4, "12:00/21 Nov 18:00 00:00/22 Nov 06:00"},
		{"2026-12-28 10:15", "2027-01-03 10:15", 7, "29 Dec/2026 30 Dec 31 Dec 1 Jan/2027 2 Jan 3 Jan"},
		{"2026-10-13 10:15", "2026-11-22 10:15", 7, "19 Oct/2026 26 Oct 2 Nov 9 Nov 16 Nov"},
		{"2026-01-31 12:00", "2026-07-01 00:00", 7, "Feb/2026 Mar Apr May Jun Jul"},
		{"2024-11-22 10:15", "2026-11-22 10:15", 4, "Jan/2025 Jul Jan/2026 Jul"},
		{"2001-11-22 10:15", "2026-11-22 10:15", 4, "2010 2020"},
		{"1970-01-01 00:00", "2026-11-22 10:15", 7, "1970 1980 1990 2000 2010 2020"},
	} {
		var got []string
		for _, tick := range (scale{at(c.from), at(c.to)}).ticks(c.most) {
			text := tick.label
			if tick.around != "" {
				text += "/" + tick.around
			}
			got = append(got, text)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s to %s: %s, want %s", c.from, c.to, strings.Join(got, " "), c.want)
		}
	}
}

// Whatever the span: there are ticks, they are in order, inside, never too
// many, and evenly spread.
func TestTicksOfAllSpans(t *testing.T) {
	for span := 3 * time.Minute; span < 200*365*day; span += span/16 + time.Second {
		s := scale{now.Add(-span), now}
		for _, d := range densities {
			all := s.ticks(d.most)
			if len(all) == 0 || len(all) > d.most {
				t.Errorf("%v: %d ticks, want 1 to %d", span, len(all), d.most)
			}
			last := s.from.Add(-1)
			for _, tick := range all {
				if !tick.at.After(last) || tick.at.After(s.to) {
					t.Errorf("%v: a tick at %v, after %v", span, tick.at, last)
				}
				last = tick.at
			}
		}
	}
}

// Labels of the axis do not touch each other on the narrowest page that each
// density is for. A letter is taken to be seven pixels wide.
func TestLabelsHaveRoom(t *testing.T) {
	const letter = 7
	narrowest := map[string]float64{"few": 256, "some": 572, "many": 1032}
	for span := 30 * time.Minute; span < 60*365*day; span += span / 8 {
		s := scale{now.Add(-span), now}
		for _, r := range s.axis() {
			free := map[bool]float64{false: -1000, true: -1000}
			for _, m := range r.Ticks {
				for _, around := range []bool{false, true} {
					text := map[bool]string{false: m.Label, true: m.Around}[around]
					if text == "" {
						continue
					}
					from, to := extent(t, m, narrowest[r.Class], float64(len(text)*letter))
					if from < free[around] {
						t.Errorf("%v, %s: %q at %s %% touches what is before it", span, r.Class, text, m.X)
					}
					free[around] = to
				}
			}
		}
	}
}

// extent is from where to where a label reaches, in pixels.
func extent(t *testing.T, m mark, width, long float64) (from, to float64) {
	t.Helper()
	var x float64
	if _, err := fmt.Sscan(m.X, &x); err != nil {
		t.Fatal(err)
	}
	x *= width / 100
	switch m.Anchor {
	case "start":
		return x, x + long
	case "end":
		return x - long, x
	}
	return x - long/2, x + long/2
}

func TestScale(t *testing.T) {
	s := newScale(now, hour, before(10*hour), time.Time{})
	for place, at := range map[float64]time.Time{0: before(11 * hour), .5: before(5 * hour), 1: now.Add(hour)} {
		if got := s.at(at); got != place {
			t.Errorf("%v: %v, want %v", at, got, place)
		}
	}
	if s := newScale(now, hour, now.Add(day)); s.at(before(30*time.Minute)) != .5 {
		t.Errorf("a short scale is %v to %v", s.from, s.to)
	}
	if got, want := percent(1./3), "33.33"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestLevels(t *testing.T) {
	for most, want := range map[float64]string{0: "1 B", 384e9: "100 GB 200 GB 300 GB 400 GB", 1e12: "500 GB 1 TB", 7: "2 B 4 B 6 B"} {
		all, top := levels(most, plotHeight, roundSize, sizeWord)
		var got []string
		for _, l := range all {
			got = append(got, strings.ReplaceAll(l.Label, thin, " "))
			if l.Y < 0 || l.Y >= plotHeight {
				t.Errorf("%v: a level at %d", most, l.Y)
			}
		}
		if strings.Join(got, " ") != want || top < most {
			t.Errorf("%v: %v below %v, want %s", most, got, top, want)
		}
	}
	if all, _ := levels(float64(106*time.Minute), plotHeight, roundDuration, durationWord); len(all) != 3 || all[2].Label != "1"+thin+"h 30"+thin+"min" {
		t.Errorf("levels of durations: %v", all)
	}
	if all, _ := levels(float64(500*hour), plotHeight, roundDuration, durationWord); len(all) != 2 || all[0].Label != "10"+thin+"d" {
		t.Errorf("levels of long durations: %v", all)
	}
}
