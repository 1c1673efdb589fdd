package report

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// A chart shows values over time. Its paths are in a box of pathWidth by
// pathHeight, which the page stretches to the chart's width and height.
type chart struct {
	ID, Title, Describe string
	Height, Plot        int // pixels, with and without labels and axis
	Levels              []level
	Axis                axis
	Paths               []path
	Legend              []key
}

type path struct{ Class, D string }

const (
	pathWidth   = 10000
	pathHeight  = 1000
	plotHeight  = 120
	chartHeight = 10 + plotHeight + axisHeight
)

// A value is one point of a chart.
type value struct {
	at time.Time
	is float64
}

// plot turns values into paths.
type plot struct {
	scale
	top float64
}

func (p plot) x(t time.Time) int { return int(math.Round(p.at(t) * pathWidth)) }
func (p plot) y(v float64) int {
	if p.top <= 0 {
		return pathHeight
	}
	return pathHeight - int(math.Round(v/p.top*pathHeight))
}

// gapless is how many columns have no room for gaps.
const gapless = 120

// needles are lines from the bottom to each value.
func (p plot) needles(values []value) string {
	var d strings.Builder
	for _, v := range values {
		fmt.Fprintf(&d, "M%d %dV%d", p.x(v.at), pathHeight, p.y(v.is))
	}
	return d.String()
}

// stairs go on from each value to the next, and from the last to the end.
func (p plot) stairs(values []value) string {
	if len(values) == 0 {
		return ""
	}
	var d strings.Builder
	fmt.Fprintf(&d, "M%d %d", p.x(values[0].at), p.y(values[0].is))
	for _, v := range values[1:] {
		fmt.Fprintf(&d, "H%dV%d", p.x(v.at), p.y(v.is))
	}
	fmt.Fprintf(&d, "H%d", pathWidth)
	return d.String()
}

// columns are as wide as the time that each value is for. They have a gap between
// them where that can be seen.
func (p plot) columns(values []value, width time.Duration) string {
	var d strings.Builder
	if seconds(p.from, p.to) < gapless*width.Seconds() {
		width -= width / 8
	}
	for _, v := range values {
		x := p.x(v.at)
		fmt.Fprintf(&d, "M%d %dV%dH%dV%dZ", x, pathHeight, p.y(v.is), max(p.x(v.at.Add(width)), x+1), pathHeight)
	}
	return d.String()
}

// stroke is a class for lines of which there are so many.
func stroke(n int) string {
	switch {
	case n <= 12:
		return "wide"
	case n <= 60:
		return "middling"
	}
	return "thin"
}

func highest(all ...[]value) float64 {
	most := 0.0
	for _, values := range all {
		for _, v := range values {
			most = max(most, v.is)
		}
	}
	return most
}

// newChart is one whose levels fit the values.
func newChart(s scale, title string, round func(float64) float64, word func(float64) string, all ...[]value) (chart, plot) {
	c := chart{Title: title, Height: chartHeight, Plot: plotHeight, Axis: s.axis()[:1]}
	p := plot{scale: s}
	c.Levels, p.top = levels(highest(all...), plotHeight, round, word)
	return c, p
}

func sizeWord(v float64) string     { return size(int64(v)) }
func durationWord(v float64) string { return duration(time.Duration(v)) }

// backupCharts show how large the cluster was, what was stored for it, and how
// long that took.
func backupCharts(f Facts) []chart {
	var sizes, full, incremental, longFull, longIncremental []value
	var times []time.Time
	for _, b := range f.inOrder() {
		if !b.complete() || b.Start.IsZero() || b.State == Bad && b.Size == 0 {
			continue
		}
		at := b.Start
		times = append(times, at)
		stored, took := value{at, float64(b.Stored)}, value{at, float64(b.took())}
		if b.Type == Incremental {
			incremental, longIncremental = append(incremental, stored), append(longIncremental, took)
		} else {
			full, longFull = append(full, stored), append(longFull, took)
		}
		sizes = append(sizes, value{at, float64(b.Size)})
	}
	if len(times) == 0 {
		return nil
	}
	s := newScale(f.Made, day, times...)
	return []chart{
		sizeChart(s, sizes),
		pairChart(s, "stored", "Stored by each backup", roundSize, sizeWord, full, incremental),
		pairChart(s, "took", "Duration of each backup", roundDuration, durationWord, longFull, longIncremental),
	}
}

func sizeChart(s scale, sizes []value) chart {
	c, p := newChart(s, "Size of the cluster", roundSize, sizeWord, sizes)
	c.ID = "size"
	c.Paths = []path{{"stairs", p.stairs(sizes)}}
	first, last := sizes[0].is, sizes[len(sizes)-1].is
	c.Describe = fmt.Sprintf("%s in the first of these backups, %s in the last.", sizeWord(first), sizeWord(last))
	if len(sizes) == 1 {
		c.Describe = sizeWord(first) + "."
	}
	return c
}

// pairChart has needles for full and for incremental backups.
func pairChart(s scale, id, title string, round func(float64) float64, word func(float64) string, full, incremental []value) chart {
	c, p := newChart(s, title, round, word, full, incremental)
	c.ID = id
	width := stroke(len(full) + len(incremental))
	c.Paths = []path{{"needles full " + width, p.needles(full)}, {"needles incremental " + width, p.needles(incremental)}}
	c.Describe = fmt.Sprintf("At most %s.", word(highest(full, incremental)))
	if len(incremental) > 0 {
		c.Legend = []key{{"full-needle", Full}, {"incremental-needle", Incremental}}
	}
	return c
}

// walChart shows how much WAL there is of each hour, day, week or year.
func walChart(f Facts) *chart {
	if len(f.WAL.Bars) == 0 {
		return nil
	}
	var raw, stored []value
	for _, b := range f.WAL.Bars {
		raw = append(raw, value{b.From, float64(b.Segments) * float64(f.Repository.SegmentSize)})
		stored = append(stored, value{b.From, float64(b.Stored)})
	}
	s := newScale(f.WAL.end(f.WAL.Bars[len(f.WAL.Bars)-1]), 12*f.WAL.Width, f.WAL.Bars[0].From)
	c, p := newChart(s, "WAL per "+f.WAL.widthName(), roundSize, sizeWord, raw, stored)
	c.ID, c.Axis = "wal", s.axis()
	c.Paths = []path{{"columns raw", p.columns(raw, f.WAL.Width)}, {"columns stored", p.columns(stored, f.WAL.Width)}}
	c.Describe = fmt.Sprintf("By the time at which it was stored. At most %s in one %s, stored in %s.",
		sizeWord(highest(raw)), f.WAL.widthName(), sizeWord(highest(stored)))
	c.Legend = []key{{"raw-column", "as the server wrote it"}, {"stored-column", "as it is stored"}}
	return &c
}
