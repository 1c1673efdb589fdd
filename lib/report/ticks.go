package report

import "time"

// A tick is a time on an axis with a label and, where it begins, that of the day
// or the year around it.
type tick struct {
	at            time.Time
	label, around string
}

// A step is the distance between ticks: a number of days and months, or a
// duration.
type step struct {
	months, days int
	duration     time.Duration
}

var steps = []step{
	{duration: time.Minute}, {duration: 2 * time.Minute}, {duration: 5 * time.Minute}, {duration: 10 * time.Minute}, {duration: 15 * time.Minute}, {duration: 30 * time.Minute},
	{duration: time.Hour}, {duration: 2 * time.Hour}, {duration: 3 * time.Hour}, {duration: 6 * time.Hour}, {duration: 12 * time.Hour},
	{days: 1}, {days: 2}, {days: 7}, {days: 14}, {months: 1}, {months: 3}, {months: 6},
	{months: 12}, {months: 2 * 12}, {months: 5 * 12}, {months: 10 * 12}, {months: 20 * 12}, {months: 50 * 12}, {months: 100 * 12}, {months: 200 * 12},
}

// ticks are at round times in UTC, as many as possible up to a number.
func (s scale) ticks(most int) []tick {
	for _, step := range steps {
		if all, enough := s.every(step, most); !enough {
			return all
		}
	}
	return nil
}

// every are the ticks at one distance, and whether they are too many.
func (s scale) every(step step, most int) (all []tick, tooMany bool) {
	around := ""
	for t := step.from(s.from.UTC()); !t.After(s.to); t = step.next(t) {
		if t.Before(s.from) {
			continue
		}
		if len(all) == most {
			return nil, true
		}
		label := tick{t, step.label(t), step.around(t)}
		if label.around == around {
			label.around = ""
		} else {
			around = label.around
		}
		all = append(all, label)
	}
	return all, false
}

// monday is the first day of a week.
var monday = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)

// from is a round time, the last one before t.
func (p step) from(t time.Time) time.Time {
	switch {
	case p.months > 0:
		month := t.Year()*12 + int(t.Month()) - 1
		return time.Date(0, time.Month(month-month%p.months+1), 1, 0, 0, 0, 0, time.UTC)
	case p.days > 0:
		days := int(t.Sub(monday) / (24 * time.Hour))
		return monday.AddDate(0, 0, days-days%p.days-p.days)
	}
	return t.Truncate(p.duration)
}

func (p step) next(t time.Time) time.Time { return t.AddDate(0, p.months, p.days).Add(p.duration) }

func (p step) label(t time.Time) string {
	switch {
	case p.months >= 12:
		return t.Format("2006")
	case p.months > 0:
		return t.Format("Jan")
	case p.days > 0:
		return t.Format("2 Jan")
	}
	return t.Format("15:04")
}

// around is what the label leaves out.
func (p step) around(t time.Time) string {
	switch {
	case p.months >= 12:
		return ""
	case p.months > 0 || p.days > 0:
		return t.Format("2006")
	}
	return t.Format("2 Jan")
}

// An axis is the ticks of a scale for three widths, of which the style shows
// one.
type axis []row

type row struct {
	Class string
	Ticks []mark
}

// A mark is a tick as it is drawn.
type mark struct{ X, Anchor, Label, Around string }

// densities say how many labels have room, and how near to the end, as a share
// of the width, one must be written to one side.
var densities = []struct {
	class string
	most  int
	edge  float64
}{{"few", 3, .1}, {"some", 7, .05}, {"many", 14, .03}}

func (s scale) axis() axis {
	var a axis
	for _, d := range densities {
		r := row{Class: d.class}
		for _, t := range s.ticks(d.most) {
			place := s.at(t.at)
			r.Ticks = append(r.Ticks, mark{percent(place), anchor(place, d.edge), t.label, t.around})
		}
		a = append(a, r)
	}
	return a
}

func anchor(place, edge float64) string {
	switch {
	case place < edge:
		return "start"
	case place > 1-edge:
		return "end"
	}
	return "middle"
}
