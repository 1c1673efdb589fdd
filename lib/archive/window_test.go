package archive

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgpipes/lib/retain"
	"pgpipes/lib/wal"
)

// timed gives every range times: its numbers, as minutes.
func timed(c Coverage) Coverage {
	for _, w := range c.Ranges {
		c.Times = append(c.Times, Times{clock("00:00").AddDate(0, 0, int(w.First)), clock("00:00").AddDate(0, 0, int(w.Last))})
	}
	return c
}

// shown is a list of windows as TIMELINE FROM..TO BACKUPS.
func shown(all []Window) string {
	var lines []string
	for _, w := range all {
		lines = append(lines, fmt.Sprintf("%d %s..%s %s", uint32(w.Timeline), w.FromLSN, w.ToLSN, strings.Join(w.Backups, ",")))
	}
	return strings.Join(lines, "; ")
}

func TestWindows(t *testing.T) {
	one, more := backup("one", 1, 3, 4, "10:00"), backup("more", 1, 5, 5, "11:00")
	two := backup("two", 2, 7, 8, "12:00")
	late := backup("late", 2, 10, 11, "13:00") // after timeline 3 left 2
	held := backup("held", 1, 3, 4, "10:00")
	held.Header.WAL = true
	lost := one
	lost.Lost = ErrDamaged
	for _, test := range []struct {
		name    string
		ranges  []retain.WALRange
		backups []Backup
		want    string
	}{
		{"nothing", nil, nil, ""},
		{"no backup", []retain.WALRange{run(1, 1, 9)}, nil, ""},
		{"one timeline", []retain.WALRange{run(1, 1, 4)}, []Backup{one}, "1 0/40012C..0/500000 one"},
		{"two backups", []retain.WALRange{run(1, 1, 5)}, []Backup{one, more}, "1 0/40012C..0/600000 one,more"},
		{"a hole between them", []retain.WALRange{run(1, 3, 4), run(1, 5, 5)}, []Backup{one, more}, "1 0/40012C..0/600000 one,more"},
		{"a hole", []retain.WALRange{run(1, 3, 4), run(1, 6, 8)}, []Backup{one}, "1 0/40012C..0/500000 one"},
		{"damaged", []retain.WALRange{run(1, 1, 9)}, []Backup{lost}, ""},
		{"without its WAL", []retain.WALRange{run(1, 4, 9)}, []Backup{one}, ""},
		{"holds its WAL", nil, []Backup{held}, "1 0/40012C..0/40012C held"},
		{"and archived more, not all", []retain.WALRange{run(1, 4, 5)}, []Backup{held}, "1 0/40012C..0/40012C held"},
		{"and archived all", []retain.WALRange{run(1, 3, 5)}, []Backup{held}, "1 0/40012C..0/600000 held"},
		{
			"branches", []retain.WALRange{run(1, 1, 7), run(2, 6, 12), run(3, 9, 15)}, []Backup{one, two, late},
			"1 0/40012C..0/800000 one; 2 0/600100..0/D00000 one,two,late; 3 0/900100..0/1000000 one,two",
		},
		{
			"a hole before the branch", []retain.WALRange{run(1, 1, 4), run(2, 6, 12), run(3, 9, 15)}, []Backup{one, two},
			"1 0/40012C..0/500000 one; 2 0/80012C..0/D00000 two; 3 0/900100..0/1000000 two",
		},
		{
			"a branch just begun", []retain.WALRange{run(1, 1, 6)}, []Backup{one},
			"1 0/40012C..0/700000 one",
		},
	} {
		if got := shown(branched(t, test.ranges...).Windows(test.backups)); got != test.want {
			t.Errorf("%s:\n%s, want\n%s", test.name, got, test.want)
		}
	}
}

func holesShown(all []Hole) string {
	var lines []string
	for _, h := range all {
		lines = append(lines, fmt.Sprintf("%s %d %s", h.Span, h.Segments, h.State))
	}
	return strings.Join(lines, "; ")
}

func TestHoles(t *testing.T) {
	one, two := backup("one", 1, 3, 4, "10:00"), backup("two", 2, 7, 8, "12:00")
	across := backup("across", 1, 3, 4, "10:00")
	across.Header.StopTimeline, across.Header.StopLSN = 2, mib.Start(7)+1
	for _, test := range []struct {
		name    string
		ranges  []retain.WALRange
		backups []Backup
		want    string
	}{
		{"nothing", nil, nil, ""},
		{"none", []retain.WALRange{run(1, 3, 5), run(2, 6, 8), run(3, 9, 9)}, []Backup{one}, ""},
		{"where a child begins", []retain.WALRange{run(1, 3, 7)}, []Backup{one}, "000000020000000000000006-000000020000000000000008 3 missing"},
		{"between", []retain.WALRange{run(1, 3, 3), run(1, 5, 5), run(2, 6, 8)}, []Backup{one}, "000000010000000000000004-000000010000000000000004 1 missing"},
		{"at the top", []retain.WALRange{run(1, 3, 4), run(2, 6, 8)}, []Backup{one}, "000000010000000000000005-000000010000000000000005 1 missing"},
		{"at the bottom", []retain.WALRange{run(1, 3, 5), run(2, 8, 8)}, []Backup{one}, "000000020000000000000006-000000020000000000000007 2 missing"},
		{"at its start", []retain.WALRange{run(1, 4, 5), run(2, 6, 8)}, []Backup{one}, "000000010000000000000003-000000010000000000000003 1 missing"},
		{"before any backup", []retain.WALRange{run(1, 1, 1), run(1, 3, 5), run(2, 6, 8)}, []Backup{one}, ""},
		{"on a line without a backup", []retain.WALRange{run(1, 1, 1), run(1, 3, 5), run(2, 7, 9)}, []Backup{two}, ""},
		{"of a branch that is left", []retain.WALRange{run(1, 3, 5), run(1, 9, 9), run(2, 6, 8)}, []Backup{one}, "000000010000000000000006-000000010000000000000008 3 missing"},
		{"from one timeline to the next", []retain.WALRange{run(1, 3, 3), run(2, 7, 8)}, []Backup{across}, "000000010000000000000004-000000010000000000000005 2 missing; 000000020000000000000006-000000020000000000000006 1 missing"},
	} {
		c := timed(branched(t, test.ranges...))
		if got := holesShown(c.Holes(test.backups)); got != test.want {
			t.Errorf("%s:\n%s, want\n%s", test.name, got, test.want)
		}
	}
}

// What is known of a part divides a hole.
func TestHolesThatAreKnown(t *testing.T) {
	span := func(first, last uint64) Span {
		return Span{name(t, mib.Name(1, first)), name(t, mib.Name(1, last))}
	}
	c := timed(Coverage{Size: mib, Ranges: []retain.WALRange{run(1, 1, 2), run(1, 20, 20)},
		Gaps:     []Gap{{Span: span(4, 8), Reason: "disk full"}},
		Accepted: []Accepted{{Span: span(7, 9), By: ByOperator, Reason: "known"}, {Span: span(9, 30), By: ByExpire, Reason: "--wal-keep 7d"}, {Span: span(15, 15), By: ByOperator, Reason: "known"}},
	})
	got := c.Holes([]Backup{backup("b", 1, 1, 2, "10:00")})
	want := "000000010000000000000003-000000010000000000000003 1 missing; " +
		"000000010000000000000004-000000010000000000000006 3 dropped; " +
		"000000010000000000000007-000000010000000000000009 3 accepted; " +
		"00000001000000000000000A-00000001000000000000000E 5 expired; " +
		"00000001000000000000000F-00000001000000000000000F 1 accepted; " +
		"000000010000000000000010-000000010000000000000013 4 expired; " +
		"000000010000000000000015-00000001000000000000001E 10 expired" // the end, which is known to have been there
	if holesShown(got) != want {
		t.Errorf("%s, want\n%s", holesShown(got), want)
	}
	if at := clock("00:00").AddDate(0, 0, 20); !got[0].Since.Equal(at) {
		t.Errorf("since %s, want %s", got[0].Since, at)
	}
	if !got[0].Open() || !got[1].Open() || got[2].Open() || got[3].Open() {
		t.Errorf("open: %+v", got)
	}
}

func TestLostHistories(t *testing.T) {
	c := branched(t, run(1, 1, 3), run(3, 9, 9), run(5, 11, 12))
	delete(c.Histories, 2)
	if got := c.LostHistories([]Backup{backup("b", 4, 10, 11, "10:00")}); !slices.Equal(got, []string{"00000002.history", "00000004.history", "00000005.history"}) {
		t.Errorf("%q", got)
	}
	if got := branched(t, run(1, 1, 3)).LostHistories(nil); got != nil {
		t.Errorf("%q", got)
	}
	stray := branched(t, run(1, 1, 3))
	stray.Histories[0xFFFFFFF0] = stray.Histories[2]
	if got := stray.LostHistories(nil); !slices.Equal(got, []string{"00000004.history-FFFFFFEF.history"}) {
		t.Errorf("%q", got)
	}
	if got := shown(stray.Windows([]Backup{backup("one", 1, 1, 2, "10:00")})); got == "" {
		t.Error("no windows")
	}
}

// Whatever is stored: every window can be reached as Reach sees it, at both of
// its ends, and what is after its end cannot; a hole is not stored; and where a
// recovery does not get on there is a hole.
func TestWindowsAndHolesAgree(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 7))
		var ranges []retain.WALRange
		for tli := wal.Timeline(1); tli <= 3; tli++ {
			for next := uint64(r.IntN(8)) + uint64(3*(tli-1)); r.IntN(4) > 0; {
				last := next + uint64(r.IntN(6))
				ranges = append(ranges, run(tli, next, last))
				next = last + 2
			}
		}
		c := timed(branched(t, ranges...))
		var backups []Backup
		for i := range 1 + r.IntN(3) {
			first := uint64(r.IntN(12))
			backups = append(backups, backup(fmt.Sprint("b", i), wal.Timeline(1+r.IntN(3)), first, first+uint64(r.IntN(2)), "10:00"))
			backups[i].Header.WAL = r.IntN(4) == 0
		}
		for _, w := range c.Windows(backups) {
			for _, b := range backups {
				if !slices.Contains(w.Backups, b.Label) || b.Header.WAL && w.FromLSN == w.ToLSN {
					continue // or it has all that there is in itself
				}
				for _, lsn := range []wal.LSN{w.FromLSN, w.ToLSN} {
					if err := c.Reach(b, Target{Kind: "lsn", LSN: lsn, Timeline: w.Timeline}); err != nil && lsn >= b.Header.StopLSN {
						t.Errorf("seed %d: %v is no window at %s: %v", seed, w, lsn, err)
					}
				}
				if err := c.Reach(b, Target{Kind: "lsn", LSN: w.ToLSN + 1, Timeline: w.Timeline}); err == nil {
					t.Errorf("seed %d: %v goes on", seed, w)
				}
			}
		}
		holes := c.Holes(backups)
		for _, b := range backups {
			for tli := b.Header.StopTimeline; tli <= 3; tli++ {
				_, missing := c.wayOn(b, tli)
				if tli != b.Header.StopTimeline && !c.descends(b, tli) || missing == "" {
					continue
				}
				n := name(t, missing)
				number, _ := mib.Split(n)
				last, begun := c.end(n.Timeline)
				if begun && number <= last && !slices.ContainsFunc(holes, func(h Hole) bool { return h.Holds(n) }) {
					t.Errorf("seed %d: from %s to timeline %d: %s is missing and in no hole", seed, b.Label, tli, missing)
				}
			}
		}
		for _, h := range holes {
			first, last, ok := c.numbers(h.Span)
			if _, missing := c.missingIn(h.First.Timeline, first, last); !ok || !missing || last-first+1 != h.Segments {
				t.Errorf("seed %d: %+v is no hole", seed, h)
			}
		}
	}
}
