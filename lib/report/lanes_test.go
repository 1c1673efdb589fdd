package report

import (
	"fmt"
	"testing"
	"time"
)

func TestForks(t *testing.T) {
	p := drawPicture(branches())
	for i, want := range []struct {
		note   string
		height int // in lanes
	}{{"", 0}, {"from 1, abandoned", 1}, {"from 1", 2}, {"from 3, empty, abandoned", 1}, {"from 3", 2}} {
		l := p.Lanes[i]
		if l.Note != want.note || l.Fork.Height != want.height*laneHeight {
			t.Errorf("%s: %q and a fork of %d, want %q and %d lanes", l.Label, l.Note, l.Fork.Height, want.note, want.height)
		}
	}
}

// A timeline that the cluster left is shown as such from where it was left.
func TestAbandonedParts(t *testing.T) {
	want := [][]string{{"window", "window", "window", "abandoned"}, {"abandoned"}, {"window", "window", "abandoned"}, nil, {"window", "window"}}
	for i, l := range drawPicture(branches()).Lanes {
		var got []string
		for _, b := range l.Bars {
			got = append(got, b.Class)
		}
		if fmt.Sprint(got) != fmt.Sprint(want[i]) {
			t.Errorf("%s: %v, want %v", l.Label, got, want[i])
		}
	}
}

// Histories that contradict themselves, as damage makes them, end no loop.
func TestForksInACircle(t *testing.T) {
	f := empty()
	f.Timelines = []Timeline{{Number: 1, Parent: 2, Forked: now}, {Number: 2, Parent: 1, Forked: now}, {Number: 3, Parent: 3, Forked: now}, {Number: 9, Parent: 7}}
	for _, l := range drawPicture(f).Lanes {
		if l.Fork.Height < 0 {
			t.Errorf("%s: a fork of %d", l.Label, l.Fork.Height)
		}
	}
}

func TestMarks(t *testing.T) {
	count := map[string]int{}
	for _, l := range drawPicture(branches()).Lanes {
		for _, m := range l.Marks {
			count[m.Symbol]++
		}
	}
	want := map[string]int{Full: 6, Incremental: 30, Incomplete: 1, "damaged": 1, "pinned": 1, "missing": 1, "dropped": 1, "accepted": 1, "expired": 1}
	if fmt.Sprint(count) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", count, want)
	}
}

// Of 1,000 backups on one lane the ticks are drawn, the symbols are not, and
// what needs one has it if it lies not upon another.
func TestManyBackupsAreThinned(t *testing.T) {
	f := many()
	for i := range f.Backups {
		f.Backups[i].Pinned = true
	}
	last := map[string]float64{}
	marks := drawPicture(f).Lanes[0].Marks
	for _, m := range marks {
		var x float64
		if _, err := fmt.Sscan(m.X, &x); err != nil {
			t.Fatal(err)
		}
		if before, any := last[m.Symbol]; any && x-before < 100*apart-.02 {
			t.Errorf("%s at %v and at %v", m.Symbol, before, x)
		}
		last[m.Symbol] = x
	}
	if n := len(marks); n < 100 || float64(n) > 1/apart+1 {
		t.Errorf("%d marks", n)
	}
}

// What is too short to be seen is shown all the same, inside the picture.
func TestShortWindows(t *testing.T) {
	f := empty()
	f.Timelines = []Timeline{{Number: 1, Windows: []Window{{before(900 * day), before(900*day - time.Second)}, {now, now}}}}
	for _, b := range drawPicture(f).Lanes[0].Bars {
		var x, width float64
		if _, err := fmt.Sscan(b.X, &x); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(b.Width, &width); err != nil {
			t.Fatal(err)
		}
		if width < 100*thinnest || x < 0 || x+width > 100 {
			t.Errorf("a window at %v, %v wide", x, width)
		}
	}
}
