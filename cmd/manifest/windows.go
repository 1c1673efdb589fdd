package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"pgpipes/lib/archive"
)

// The lines below the backups, as JSON.
type (
	windowLine struct {
		Kind     string   `json:"kind"`
		Timeline uint32   `json:"timeline"`
		From     string   `json:"from"`
		To       string   `json:"to"`
		Exact    bool     `json:"exact"`
		FromLSN  string   `json:"from-lsn"`
		ToLSN    string   `json:"to-lsn"`
		Backups  []string `json:"backups"`
	}
	holeLine struct {
		Kind     string `json:"kind"`
		Name     string `json:"name"`
		Segments uint64 `json:"segments"`
		Since    string `json:"since"`
		State    string `json:"state"`
		Reason   string `json:"reason,omitempty"`
	}
	namedLine struct {
		Kind string `json:"kind"`
		Name string `json:"name"`
		Time string `json:"time,omitempty"`
		Age  int64  `json:"age,omitempty"`
	}
)

// windows prints to what moments a recovery is possible, with the holes where
// they are, and what is newest.
func (l *listing) windows(s archive.Survey) {
	l.title("TIMELINE", "FROM", "TO", "FROM-LSN", "TO-LSN", "BACKUPS")
	holes := s.Holes
	for _, w := range s.Windows {
		before := func(h archive.Hole) bool { return l.isBefore(s.Coverage, h, w) }
		for len(holes) > 0 && before(holes[0]) {
			l.hole(s.Coverage, holes[0])
			holes = holes[1:]
		}
		l.window(w)
	}
	for _, h := range holes {
		l.hole(s.Coverage, h)
	}
	if l.aligned != nil {
		l.gap()
	}
	for _, name := range s.Histories {
		l.line(namedLine{Kind: "lost", Name: name}, "lost", name)
	}
	if s.NewestWAL.Name != "" {
		l.newest(s, "newest-wal", s.NewestWAL.Name, s.NewestWAL.At)
	}
	if b := s.NewestBackup(); b != nil {
		l.newest(s, "newest-backup", b.Label, b.Ended())
	}
}

// isBefore reports whether a hole comes before a window.
func (l *listing) isBefore(c archive.Coverage, h archive.Hole, w archive.Window) bool {
	number, err := c.Size.Split(h.First)
	return err != nil || h.First.Timeline < w.Timeline || h.First.Timeline == w.Timeline && c.Size.Start(number) < w.FromLSN
}

func (l *listing) window(w archive.Window) {
	to := instant(w.To)
	if !w.Exact {
		to = "~" + to
	}
	columns := []any{uint32(w.Timeline), instant(w.From), to, w.FromLSN, w.ToLSN, l.labels(w.Backups)}
	l.kind("window", windowLine{"window", uint32(w.Timeline), instant(w.From), instant(w.To), w.Exact, w.FromLSN.String(), w.ToLSN.String(), w.Backups}, columns)
}

// kind prints a line that begins with what it is, which people see.
func (l *listing) kind(kind string, object any, columns []any) {
	if l.aligned == nil {
		columns = append([]any{kind}, columns...)
	}
	l.line(object, columns...)
}

// labels are many on a long window: for people the first and the last will do.
func (l *listing) labels(all []string) string {
	all = slices.Compact(slices.Clone(all))
	if l.aligned != nil && len(all) > 2 {
		return all[0] + " … " + all[len(all)-1]
	}
	return strings.Join(all, ",")
}

func (l *listing) hole(c archive.Coverage, h archive.Hole) {
	name := h.Span.String()
	if h.First == h.Last {
		name = h.First.String()
	}
	columns := []any{name, h.Segments, dash(h.Since), h.State, cmp.Or(oneLine(h.Reason), "-")}
	if l.aligned != nil {
		columns = holeForPeople(c, h, name)
	}
	l.kind("hole", holeLine{"hole", name, h.Segments, dash(h.Since), h.State, h.Reason}, columns)
}

// holeForPeople has the columns of a window.
func holeForPeople(c archive.Coverage, h archive.Hole, name string) []any {
	number, err := c.Size.Split(h.First)
	if err != nil {
		return []any{uint32(h.First.Timeline), "hole", "-", "-", "-", name}
	}
	story := fmt.Sprintf("%d %s", h.Segments, h.State)
	if !h.Since.IsZero() {
		story += " since " + utc(h.Since)
	}
	if h.Reason != "" {
		story += " (" + oneLine(h.Reason) + ")"
	}
	return []any{uint32(h.First.Timeline), "hole", "-", c.Size.Start(number), c.Size.Start(number + h.Segments), story + ": " + name}
}

func (l *listing) newest(s archive.Survey, kind, name string, at time.Time) {
	age := s.At.Sub(at)
	l.line(namedLine{kind, name, utc(at), int64(age.Seconds())}, kind, name, dash(at), l.age(age))
}
