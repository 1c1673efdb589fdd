package report

import (
	"math"
	"strconv"
	"time"
)

// A scale puts times on a line: from is its left end, to its right one.
type scale struct{ from, to time.Time }

// newScale reaches from the first of some times to now, at least so far back.
func newScale(now time.Time, least time.Duration, times ...time.Time) scale {
	s := scale{now.Add(-least), now}
	for _, t := range times {
		if !t.IsZero() && t.Before(s.from) {
			s.from = t
		}
	}
	return s
}

// at is the place of a time, from 0 to 1. Those outside are put at the ends.
func (s scale) at(t time.Time) float64 {
	return min(max(seconds(s.from, t)/seconds(s.from, s.to), 0), 1)
}

// seconds is exact enough, and does not overflow for times that are centuries
// apart, as Sub does.
func seconds(from, to time.Time) float64 {
	return float64(to.Unix()-from.Unix()) + float64(to.Nanosecond()-from.Nanosecond())/1e9
}

// percent writes a place so that it stays right whatever the width.
func percent(place float64) string {
	return strconv.FormatFloat(math.Round(place*1e4)/100, 'f', -1, 64)
}
