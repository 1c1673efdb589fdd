package report

import (
	"math"
	"time"
)

// roundSize is a round number of bytes, such that not more than four lines
// divide a chart as high as most.
func roundSize(most float64) float64 {
	if most < 1 {
		return 1
	}
	return roundIn(most, []float64{1, 2, 5}, 10)
}

// roundIn looks for a round distance among some numbers and what they are times
// powers of a base.
func roundIn(most float64, among []float64, base float64) float64 {
	for power := 1.0; ; power *= base {
		for _, n := range among {
			if n*power*lines >= most {
				return n * power
			}
		}
	}
}

const (
	lines    = 4
	headroom = 1.05
)

// roundDuration is likewise a round number of nanoseconds.
func roundDuration(most float64) float64 {
	for _, d := range []time.Duration{
		time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 20 * time.Second, 30 * time.Second,
		time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 30 * time.Minute,
		time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	} {
		if float64(d)*lines >= most {
			return float64(d)
		}
	}
	return float64(24*time.Hour) * roundIn(most/float64(24*time.Hour), []float64{1, 2, 5}, 10)
}

// A level is a line across a chart.
type level struct {
	Y     int
	Label string
}

// levels are those of a chart of a height in pixels, and the value at its top.
func levels(most float64, height int, round func(float64) float64, word func(float64) string) (all []level, top float64) {
	distance := round(most)
	top = max(most*headroom, distance)
	for value := distance; value <= top; value += distance {
		all = append(all, level{height - int(math.Round(value/top*float64(height))), word(value)})
	}
	return all, top
}
