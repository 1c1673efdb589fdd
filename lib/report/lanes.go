package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A picture shows which moments can be recovered: time goes from left to right,
// and every timeline has a lane. Places across are shares of the width, so that
// the page can have any; heights are in pixels.
type picture struct {
	Height, AxisY int
	Lanes         []lane
	Axis          axis
	Describe      string
	Now           string
	Legend        []key
}

// A lane is one timeline. Y is its upper edge.
type lane struct {
	Y                 int
	Label, Note       string
	Fork              fork
	Bars, Gaps        []bar
	Full, Incremental string // paths of ticks, in thousandths of the width
	Marks             []sign
}

// A fork is the line from the parent to the place where a timeline begins; its
// height is 0 if there is none.
type fork struct {
	X, Title  string
	Y, Height int
}

// A bar is a window or a hole.
type bar struct {
	X, Width, Class, Title string
}

// A sign is a symbol above or below the bar.
type sign struct {
	X             string
	Y             int
	Symbol, Title string
}

// A key explains a symbol.
type key struct{ Symbol, Text string }

// Heights in a lane, in pixels from its upper edge. The style knows some of them,
// too.
const (
	laneHeight = 88
	pinY       = 25
	fullY      = 34
	otherY     = 40
	barY       = 48
	barHeight  = 14
	gapY       = 72
	axisHeight = 36
)

// thinnest is what can be seen of a bar, as a share of the width.
const thinnest = .003

// drawing is what a picture is made from.
type drawing struct {
	Facts
	scale
	lanes map[uint32]int // of the timelines
	now   uint32         // the timeline that goes on
}

func drawPicture(f Facts) *picture {
	if len(f.Timelines) == 0 {
		return nil
	}
	f.Timelines = slices.SortedFunc(slices.Values(f.Timelines), func(a, b Timeline) int { return cmp.Compare(a.Number, b.Number) })
	d := drawing{Facts: f, scale: newScale(f.Made, hour, f.times()...), lanes: map[uint32]int{}}
	p := picture{AxisY: laneHeight * len(f.Timelines), Now: moment(f.Made) + " UTC"}
	p.Height = p.AxisY + axisHeight
	for i, t := range f.Timelines {
		d.lanes[t.Number], d.now = i, t.Number
	}
	for _, t := range f.Timelines {
		p.Lanes = append(p.Lanes, d.lane(t))
	}
	p.Axis, p.Describe, p.Legend = d.axis(), d.describe(), legend(p.Lanes)
	return &p
}

// times are all that the picture shows.
func (f Facts) times() []time.Time {
	var all []time.Time
	for _, t := range f.Timelines {
		all = append(all, t.Forked)
		for _, w := range t.Windows {
			all = append(all, w.From, w.To)
		}
	}
	for _, b := range f.Backups {
		all = append(all, b.Start)
	}
	for _, h := range f.Holes {
		all = append(all, h.From, h.To)
	}
	return all
}

func (d drawing) lane(t Timeline) lane {
	y := d.lanes[t.Number] * laneHeight
	l := lane{Y: y, Label: fmt.Sprintf("Timeline %d", t.Number), Note: d.note(t), Fork: d.fork(t)}
	for _, w := range t.Windows {
		l.Bars = append(l.Bars, d.bars(t, w)...)
	}
	l.addHoles(d, t)
	l.addBackups(d, t)
	return l
}

// note says where a timeline comes from.
func (d drawing) note(t Timeline) string {
	note := ""
	if t.Parent > 0 {
		note = fmt.Sprintf("from %d", t.Parent)
	}
	if len(t.Windows) == 0 {
		note += ", empty"
	}
	if end := d.leaves(t.Number); t.Number != d.now && end.IsZero() {
		note += ", abandoned"
	}
	return strings.TrimPrefix(note, ", ")
}

func (d drawing) fork(t Timeline) fork {
	parent, known := d.lanes[t.Parent]
	own := d.lanes[t.Number]
	if !known || t.Forked.IsZero() || own <= parent {
		return fork{}
	}
	from := parent*laneHeight + barY + barHeight/2
	title := fmt.Sprintf("Timeline %d left timeline %d at %s, about %s UTC", t.Number, t.Parent, clean(t.ForkLSN), moment(t.Forked))
	return fork{percent(d.at(t.Forked)), title, from, own*laneHeight + barY + barHeight/2 - from}
}

// leaves is when the line of history that goes on left a timeline, zero if it is
// not of that line, or its last.
func (d drawing) leaves(number uint32) time.Time {
	for at := d.now; at > 0; {
		i, known := d.lanes[at]
		if !known {
			return time.Time{}
		}
		t := d.Timelines[i]
		if t.Parent == number {
			return t.Forked
		}
		if t.Parent >= at { // no history is like that
			return time.Time{}
		}
		at = t.Parent
	}
	return time.Time{}
}

// bars are a window: the part that the cluster of today comes from, and the one
// that was abandoned.
func (d drawing) bars(t Timeline, w Window) []bar {
	title := fmt.Sprintf("Timeline %d: %s to %s UTC", t.Number, moment(w.From), moment(w.To))
	end := d.leaves(t.Number)
	switch {
	case t.Number == d.now || !end.IsZero() && !w.To.After(end):
		return []bar{d.bar(w.From, w.To, "window", title)}
	case end.IsZero() || !w.From.Before(end):
		return []bar{d.bar(w.From, w.To, "abandoned", title+", abandoned")}
	}
	return []bar{d.bar(w.From, end, "window", title), d.bar(end, w.To, "abandoned", title+", abandoned from "+moment(end))}
}

func (d drawing) bar(from, to time.Time, class, title string) bar {
	x := d.at(from)
	width := max(d.at(to)-x, thinnest)
	x = min(x, 1-width)
	return bar{percent(x), percent(width), class, title}
}

// addHoles adds those of a timeline. Where several are too near to each other one
// sign stands for all.
func (l *lane) addHoles(d drawing, t Timeline) {
	var thin thinner
	for _, h := range d.Holes {
		if h.Timeline != t.Number {
			continue
		}
		from, to := h.between()
		l.Gaps = append(l.Gaps, d.bar(from, to, string(h.Kind), ""))
		place := (d.at(from) + d.at(to)) / 2
		if thin.hides(string(h.Kind), place) {
			l.Gaps = l.Gaps[:len(l.Gaps)-1]
			continue
		}
		title := fmt.Sprintf("%s: %s, %s to %s", h.Kind, count(h.Segments, "segment", "segments"), clean(h.First), clean(h.Last))
		l.Marks = append(l.Marks, sign{percent(place), gapY, string(h.Kind), title})
	}
}

// between are the times around a hole, as far as is known.
func (h Hole) between() (from, to time.Time) {
	from = later(h.From, h.To, h.Since)
	if !h.From.IsZero() {
		from = h.From
	}
	return from, later(h.To, from)
}

// later is the first of some times that is known.
func later(times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

// mostHeads is how many ticks have a symbol at the end; with more there is no
// room for them.
const mostHeads = 36

// addBackups adds a tick for each backup of a timeline, and symbols for those
// that need one, or for all if they are few.
func (l *lane) addBackups(d drawing, t Timeline) {
	var own []Backup
	for _, b := range d.Backups {
		if b.Timeline == t.Number && !b.shownAt().IsZero() {
			own = append(own, b)
		}
	}
	slices.SortFunc(own, func(a, b Backup) int { return a.shownAt().Compare(b.shownAt()) })
	var full, incremental strings.Builder
	var heads, pins thinner
	for _, b := range own {
		place := d.at(b.shownAt())
		symbol, y := b.symbol()
		switch path := fmt.Sprintf("M%.0f 0V1", place*pathWidth); symbol {
		case Full:
			full.WriteString(path)
		case Incremental:
			incremental.WriteString(path)
		}
		if (len(own) <= mostHeads || b.damaged() || !b.complete()) && !heads.hides(symbol, place) {
			l.Marks = append(l.Marks, sign{percent(place), y, symbol, b.title()})
		}
		if b.Pinned && !pins.hides("pinned", place) {
			l.Marks = append(l.Marks, sign{percent(place), pinY, "pinned", "pinned: " + clean(b.Label)})
		}
	}
	l.Full, l.Incremental = full.String(), incremental.String()
}

// shownAt is when a backup was complete, and one that is not began.
func (b Backup) shownAt() time.Time { return later(b.Stop, b.Start) }

func (b Backup) symbol() (symbol string, y int) {
	switch {
	case !b.complete():
		return Incomplete, otherY
	case b.damaged():
		return "damaged", otherY
	case b.Type == Incremental:
		return Incremental, otherY
	}
	return Full, fullY
}

func (b Backup) title() string {
	return fmt.Sprintf("%s: %s, %s UTC", clean(b.Label), clean(b.Type), moment(b.shownAt()))
}

// A thinner leaves out what would lie on another of its kind.
type thinner map[string]float64

// apart is how far two symbols must be from each other to be told apart.
const apart = .006

func (t *thinner) hides(symbol string, place float64) bool {
	if *t == nil {
		*t = thinner{}
	}
	if before, any := (*t)[symbol]; any && place-before < apart && before-place < apart {
		return true
	}
	(*t)[symbol] = place
	return false
}

func (d drawing) describe() string {
	windows := 0
	for _, t := range d.Timelines {
		windows += len(t.Windows)
	}
	holes := "no hole"
	if n := len(d.Holes); n > 0 {
		holes = fmt.Sprintf("%s (%d open)", count(n, "hole", "holes"), counted(d.Holes, Hole.open))
	}
	return fmt.Sprintf("From %s to %s UTC: %s, %s, %s, %s.", moment(d.from), moment(d.to), count(len(d.Timelines), "timeline", "timelines"),
		count(windows, "window", "windows"), holes, count(len(d.Backups), "backup", "backups"))
}

var keys = []key{
	{"window", "can be recovered"}, {"abandoned", "can be recovered, on an abandoned branch"},
	{Full, "full backup"}, {"full-tick", "full backup"}, {Incremental, "incremental backup"}, {"incremental-tick", "incremental backup"}, {Incomplete, "incomplete backup"}, {"damaged", "backup that cannot be recovered"}, {"pinned", "pinned"},
	{string(Missing), "hole: missing"}, {string(Dropped), "hole: dropped"}, {string(Accepted), "hole: accepted"}, {string(Expired), "hole: expired"},
}

// legend explains what is there.
func legend(lanes []lane) []key {
	there := map[string]bool{}
	for _, l := range lanes {
		for _, b := range l.Bars {
			there[b.Class] = true
		}
		for _, m := range l.Marks {
			there[m.Symbol] = true
		}
	}
	for _, l := range lanes {
		there["full-tick"] = there["full-tick"] || l.Full != "" && !there[Full]
		there["incremental-tick"] = there["incremental-tick"] || l.Incremental != "" && !there[Incremental]
	}
	return slices.DeleteFunc(slices.Clone(keys), func(k key) bool { return !there[k.Symbol] })
}
