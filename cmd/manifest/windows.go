package main

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"pgpipes/lib/archive"
	"pgpipes/lib/wal"
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
	l.title("", "TIMELINE", "FROM", "TO", "FROM-LSN", "TO-LSN", "BACKUPS")
	holes := s.Holes
	for _, w := range s.Windows {
		before := func(h archive.Hole) bool { return l.isBefore(s.Coverage, h, w) }
		for len(holes) > 0 && before(holes[0]) {
			l.hole(holes[0])
			holes = holes[1:]
		}
		l.window(w)
	}
	for _, h := range holes {
		l.hole(h)
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
	l.line(windowLine{"window", uint32(w.Timeline), instant(w.From), instant(w.To), w.Exact, w.FromLSN.String(), w.ToLSN.String(), w.Backups},
		"window", uint32(w.Timeline), instant(w.From), to, w.FromLSN, w.ToLSN, l.labels(w.Backups))
}

// labels are many on a long window: for people the first and the last will do.
func (l *listing) labels(all []string) string {
	all = slices.Compact(slices.Clone(all))
	if l.aligned != nil && len(all) > 2 {
		return all[0] + " … " + all[len(all)-1]
	}
	return strings.Join(all, ",")
}

func (l *listing) hole(h archive.Hole) {
	name := h.Span.String()
	if h.First == (wal.Name{}) || h.First == h.Last {
		name = h.First.String()
	}
	l.line(holeLine{"hole", name, h.Segments, dash(h.Since), h.State, h.Reason},
		"hole", name, h.Segments, dash(h.Since), h.State, cmp.Or(oneLine(h.Reason), "-"))
}

func (l *listing) newest(s archive.Survey, kind, name string, at time.Time) {
	age := s.At.Sub(at)
	l.line(namedLine{kind, name, utc(at), int64(age.Seconds())}, kind, name, dash(at), l.age(age))
}
