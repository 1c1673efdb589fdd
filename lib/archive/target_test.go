package archive

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgpipes/lib/layout"
	"pgpipes/lib/manifest"
	"pgpipes/lib/retain"
	"pgpipes/lib/wal"
)

func clock(s string) time.Time {
	at, err := time.Parse("15:04", s)
	if err != nil {
		panic(err)
	}
	return at.AddDate(2026, 0, 0)
}

// backup is one of timeline tli from segment first to segment last, that ended
// at a time of day.
func backup(label string, tli wal.Timeline, first, last uint64, ended string) Backup {
	return Backup{Label: label, Complete: true, Header: manifest.Header{
		Label: label, StartTimeline: tli, StopTimeline: tli, StopTime: clock(ended),
		StartLSN: mib.Start(first) + 40, StopLSN: mib.Start(last) + 300,
	}}
}

// run is the segments from first to last of a timeline.
func run(tli wal.Timeline, first, last uint64) retain.WALRange {
	return retain.WALRange{Timeline: tli, First: first, Last: last}
}

func history(t *testing.T, tli wal.Timeline, text string) wal.History {
	t.Helper()
	h, err := wal.ParseHistory(tli, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// branched is a cluster that was recovered twice: timeline 2 leaves 1 in
// segment 6, timeline 3 leaves 2 in segment 9.
func branched(t *testing.T, ranges ...retain.WALRange) Coverage {
	t.Helper()
	return Coverage{Size: mib, Ranges: ranges, Histories: map[wal.Timeline]wal.History{
		2: history(t, 2, "1\t0/600100\tx\n"),
		3: history(t, 3, "1\t0/600100\tx\n2\t0/900100\tx\n"),
	}}
}

func TestMissingFor(t *testing.T) {
	onOne := backup("b", 1, 3, 5, "10:00").Header
	exact := onOne
	exact.StopLSN = mib.Start(5) // the backup ends with segment 4
	across := onOne              // a standby that followed a promotion
	across.StopTimeline, across.StopLSN = 2, mib.Start(7)+1
	lost := across
	lost.StopTimeline = 4
	for _, test := range []struct {
		name   string
		ranges []retain.WALRange
		header manifest.Header
		want   string
	}{
		{"all there", []retain.WALRange{run(1, 1, 9)}, onOne, ""},
		{"just enough", []retain.WALRange{run(1, 3, 5)}, onOne, ""},
		{"none", nil, onOne, "000000010000000000000003"},
		{"first missing", []retain.WALRange{run(1, 4, 9)}, onOne, "000000010000000000000003"},
		{"middle missing", []retain.WALRange{run(1, 1, 3), run(1, 5, 9)}, onOne, "000000010000000000000004"},
		{"last missing", []retain.WALRange{run(1, 1, 4)}, onOne, "000000010000000000000005"},
		{"of another timeline", []retain.WALRange{run(2, 1, 9)}, onOne, "000000010000000000000003"},
		{"ends at a boundary", []retain.WALRange{run(1, 3, 4)}, exact, ""},
		{"across a switch", []retain.WALRange{run(1, 3, 5), run(2, 6, 7)}, across, ""},
		{"across a switch, parent's copy", []retain.WALRange{run(1, 3, 7), run(2, 7, 7)}, across, "000000020000000000000006"},
		{"across a switch, hole before", []retain.WALRange{run(1, 3, 4), run(2, 6, 7)}, across, "000000010000000000000005"},
		{"history missing", []retain.WALRange{run(1, 3, 9), run(4, 1, 9)}, lost, "00000004.history"},
	} {
		if got := branched(t, test.ranges...).MissingFor(test.header); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestReach(t *testing.T) {
	full := []retain.WALRange{run(1, 1, 8), run(2, 6, 12), run(3, 9, 15)}
	one := backup("one", 1, 3, 5, "10:00")
	two := backup("two", 2, 7, 8, "12:00")
	late := backup("late", 2, 10, 11, "13:00") // after timeline 3 left 2
	begun := Backup{Label: "begun"}
	broken := one
	broken.Err = ErrDamaged
	for _, test := range []struct {
		name   string
		ranges []retain.WALRange
		backup Backup
		target string
		tli    wal.Timeline
		why    string // "" for yes
	}{
		{"latest", full, one, "latest", 0, ""},
		{"latest from the child", full, two, "latest", 0, ""},
		{"latest from a dead branch", full, late, "latest", 0, "branched off before"},
		{"latest of that branch", full, late, "latest", 2, ""},
		{"timeline of the parent", full, two, "latest", 1, "does not descend"},
		{"unknown timeline", full, one, "latest", 4, "00000004.history is missing"},
		{"immediate", full, late, "immediate", 0, ""},
		{"immediate on a timeline that left before", full, late, "immediate", 3, "branched off before"},
		{"immediate on its own", full, late, "immediate", 2, ""},
		{"incomplete", full, begun, "latest", 0, "not complete"},
		{"unreadable", full, broken, "latest", 0, "damaged"},
		{"own WAL missing", []retain.WALRange{run(1, 1, 4), run(3, 9, 15)}, one, "immediate", 0, "cannot be recovered at all"},
		{"hole on the way", []retain.WALRange{run(1, 1, 5), run(2, 6, 7), run(3, 9, 15)}, one, "latest", 0, "000000020000000000000008 is missing on the way"},
		{"hole behind the target", []retain.WALRange{run(1, 1, 5), run(2, 6, 7), run(3, 9, 15)}, one, "lsn=0/7F0000", 0, ""},
		{"hole before the target", []retain.WALRange{run(1, 1, 5), run(2, 6, 7), run(3, 9, 15)}, one, "lsn=0/A00000", 0, "000000020000000000000008"},
		{"beyond the end", full, one, "lsn=0/1100000", 0, "000000030000000000000010 is missing"},
		{"LSN before its end", full, one, "lsn=0/500000", 0, "after the target"},
		{"LSN at its end", full, one, "lsn=0/50012C", 1, ""},
		{"time before its end", full, one, "time=2026-01-01 09:59:00+00", 0, "after the target"},
		{"time at its end", full, one, "time=2026-01-01 10:00:00+00", 0, "after the target"},
		{"time after its end", full, one, "time=2026-01-01 10:01:00+00", 0, ""},
		{"transaction", full, one, "xid=1234", 0, ""},
		{"restore point", full, two, "name=before the change", 0, ""},
		{"nothing archived since", []retain.WALRange{run(1, 1, 5)}, one, "latest", 1, ""},
		{"from before its beginning", []retain.WALRange{run(1, 1, 8), run(2, 5, 12), run(3, 9, 15)}, one, "latest", 2, "timeline 2 began at 0/600100, but there is 000000020000000000000005"},
		{"an ancestor from before its beginning", []retain.WALRange{run(1, 1, 8), run(2, 5, 12), run(3, 9, 15)}, one, "time=2026-01-01 10:01:00+00", 0, "00000003.history is damaged"},
		{"no matter on its own timeline", []retain.WALRange{run(1, 1, 8), run(2, 5, 12)}, two, "latest", 2, ""},
	} {
		target, err := ParseTarget(test.target)
		if err != nil {
			t.Fatal(err)
		}
		target.Timeline = test.tli
		err = branched(t, test.ranges...).Reach(test.backup, target)
		if (err == nil) != (test.why == "") || err != nil && !strings.Contains(err.Error(), test.why) {
			t.Errorf("%s: %v, want %q", test.name, err, test.why)
		}
	}
}

// A timeline that has just begun: of a promoted standby the parent's segment of the
// switch is archived as .partial only, and recovery ends before it. Of a cluster
// that was recovered to a moment it is there, and leads past the switch.
func TestReachNewborn(t *testing.T) {
	one := backup("one", 1, 3, 5, "10:00")
	child := map[wal.Timeline]wal.History{2: history(t, 2, "1\t0/800100\tx\n")}
	for _, test := range []struct {
		name   string
		ranges []retain.WALRange
		tli    wal.Timeline
		why    string
	}{
		{"of a standby", []retain.WALRange{run(1, 1, 7)}, 0, ""},
		{"its parent", []retain.WALRange{run(1, 1, 7)}, 1, ""},
		{"a hole before it", []retain.WALRange{run(1, 1, 6)}, 0, "000000010000000000000007 is missing on the way"},
		{"of a recovery", []retain.WALRange{run(1, 1, 8)}, 0, "000000020000000000000008 is missing on the way"},
		{"its parent", []retain.WALRange{run(1, 1, 8)}, 1, ""},
		{"with a segment", []retain.WALRange{run(1, 1, 8), run(2, 8, 8)}, 0, ""},
	} {
		err := Coverage{Size: mib, Ranges: test.ranges, Histories: child}.Reach(one, Target{Kind: "latest", Timeline: test.tli})
		if (err == nil) != (test.why == "") || err != nil && !strings.Contains(err.Error(), test.why) {
			t.Errorf("%s: %v, want %q", test.name, err, test.why)
		}
	}
}

// A server asks for the histories of all timelines above its own, whichever it is
// to follow.
func TestReachWithoutAHistory(t *testing.T) {
	full := []retain.WALRange{run(1, 1, 8), run(2, 6, 12), run(3, 9, 15)}
	one, three := backup("one", 1, 3, 5, "10:00"), backup("three", 3, 10, 11, "13:00")
	lost := branched(t, full...)
	delete(lost.Histories, 2)
	unknown := Coverage{Size: mib, Ranges: full[:1]}
	backed := unknown
	backed.Backed = 2
	stored := unknown
	stored.Ranges = full[:2]
	for _, test := range []struct {
		name     string
		coverage Coverage
		backup   Backup
		target   string
		tli      wal.Timeline
		lost     bool
	}{
		{"latest", lost, one, "latest", 0, true},
		{"immediate", lost, one, "immediate", 0, true},
		{"a time", lost, one, "time=2026-01-01 10:01:00+00", 0, true},
		{"a later one", lost, one, "latest", 3, true},
		{"one below", lost, one, "latest", 1, true},
		{"a backup above", lost, three, "latest", 0, false},
		{"nothing known above", unknown, one, "latest", 0, false},
		{"a backup is of it", backed, one, "latest", 0, true},
		{"a segment is of it", stored, one, "immediate", 0, true},
	} {
		target, err := ParseTarget(test.target)
		if err != nil {
			t.Fatal(err)
		}
		target.Timeline = test.tli
		err = test.coverage.Reach(test.backup, target)
		if (err != nil) != test.lost || err != nil && !strings.Contains(err.Error(), "00000002.history is missing") {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

// A recovery to before the beginning of the timeline that it followed leaves all
// of its ancestors there.
func TestLineStepsBack(t *testing.T) {
	c := Coverage{Size: mib, Ranges: []retain.WALRange{run(1, 1, 1), run(3, 2, 8)}, Histories: map[wal.Timeline]wal.History{
		2: history(t, 2, "1\t0/500100\tx\n"),
		3: history(t, 3, "1\t0/500100\tx\n2\t0/200100\tx\n"),
	}}
	if missing := c.missingPath(1, 1, 3, 8); missing != "" {
		t.Errorf("all is there, but %s is missed", missing)
	}
	c.Ranges = []retain.WALRange{run(1, 1, 5), run(3, 2, 2), run(3, 5, 8)}
	if missing := c.missingPath(1, 1, 3, 8); missing != "000000030000000000000003" {
		t.Errorf("missing: %q", missing)
	}
}

// A manifest that does not say where its backup ends proves nothing.
func TestReachUnknownEnd(t *testing.T) {
	c := branched(t, run(1, 1, 9))
	b := backup("b", 1, 3, 5, "10:00")
	b.Header.StopLSN = 0
	for _, to := range []string{"latest", "immediate", "lsn=0/400000"} {
		target, err := ParseTarget(to)
		if err != nil {
			t.Fatal(err)
		}
		if c.Reach(b, target) == nil {
			t.Errorf("%s can be reached", to)
		}
	}
}

// A cluster may be on a later timeline already when it gets its repository.
func TestStoreHistories(t *testing.T) {
	r, data := repository(t), t.TempDir()
	if err := os.Mkdir(filepath.Join(data, "pg_wal"), 0o700); err != nil {
		t.Fatal(err)
	}
	for tli, text := range map[wal.Timeline]string{2: fork2, 3: fork3} {
		if err := os.WriteFile(filepath.Join(data, "pg_wal", tli.String()+".history"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.StoreHistories(t.Context(), data, 4); err == nil {
		t.Error("a history that is nowhere is not missed")
	}
	for range 2 {
		if err := r.StoreHistories(t.Context(), data, 3); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := r.Histories(t.Context()); err != nil || len(all) != 2 {
		t.Errorf("%v, %v", all, err)
	}
}

func TestBestIsTheNewest(t *testing.T) {
	c := branched(t, run(1, 1, 8), run(2, 6, 12), run(3, 9, 15))
	all := []Backup{
		backup("at once", 1, 3, 4, "10:00"), backup("old", 1, 1, 2, "08:00"), backup("new", 1, 4, 5, "10:00"), backup("middle", 1, 2, 3, "09:00"),
		backup("too late", 1, 5, 5, "11:00"), {Label: "begun"},
	}
	target, err := ParseTarget("time=2026-01-01 10:30:00Z")
	if err != nil {
		t.Fatal(err)
	}
	can, cannot := c.Best(all, target)
	var labels []string
	for _, b := range can {
		labels = append(labels, b.Label)
	}
	if !slices.Equal(labels, []string{"new", "at once", "middle", "old"}) || len(cannot) != 2 {
		t.Errorf("%q, and not because of %v", labels, cannot)
	}
}

func TestParseTarget(t *testing.T) {
	for text, want := range map[string]Target{
		"latest":     {Kind: "latest"},
		"immediate":  {Kind: "immediate"},
		"lsn=1/2A":   {Kind: "lsn", Value: "1/2A", LSN: 1<<32 + 0x2a},
		"xid=7":      {Kind: "xid", Value: "7"},
		"name=a=b c": {Kind: "name", Value: "a=b c"},
	} {
		if got, err := ParseTarget(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	at := time.Date(2026, 11, 22, 10, 15, 0, 0, time.UTC)
	for _, text := range []string{
		"2026-11-22T10:15:00Z", "2026-11-22T12:15:00+02:00", "2026-11-22 10:15:00+00", "2026-11-22 12:15:00.000+02",
		"2026-11-22 05:15:00-05:00", "2026-11-22 10:15:00 UTC", "2026-11-22 15:45:00+05:30",
	} {
		if got, err := ParseTarget("time=" + text); err != nil || !got.Time.Equal(at) {
			t.Errorf("%s: %v, %v", text, got.Time, err)
		}
	}
	for _, text := range []string{"", "x", "latest=1", "immediate=", "time", "time=", "time=now", "time=10:15", "lsn=", "lsn=x", "xid=", "xid=abc", "xid=-1", "xid=2", "xid=0700", "xid=4294967296", "name", "Latest"} {
		if got, err := ParseTarget(text); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestRangesAndFirstMissing(t *testing.T) {
	r := repository(t)
	r.mark(t, "000000010000000000000001", "000000010000000000000002", "000000010000000000000FFF", "000000010000000100000000",
		"000000010000000000000005", "000000010000000000000003.partial", "000000010000000000000004.00000028.backup", "000000020000000000000003")
	r.place(t, layout.WALKey(name(t, "000000010000000000000002"))+".zst", nil) // in two codecs
	r.place(t, "wal/0000000100000000/000000010000000000000003.tmp", nil)
	r.place(t, layout.WALKey(name(t, "000000010000000000000003.partial"))+".gz", nil)
	got, err := r.ListSegments(context.Background())
	want := []retain.WALRange{run(1, 1, 2), run(1, 5, 5), run(1, 0xFFF, 0x1000), run(2, 3, 3)}
	if err != nil || !slices.Equal(got.Ranges, want) || !slices.Equal(got.Partials, []retain.WALRange{run(1, 3, 3)}) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	for _, test := range []struct {
		tli         wal.Timeline
		first, last uint64
		want        string
	}{
		{1, 1, 2, ""}, {1, 0, 2, "000000010000000000000000"}, {1, 1, 5, "000000010000000000000003"}, {1, 5, 5, ""},
		{1, 0xFFF, 0x1000, ""}, {1, 0xFFF, 0x1001, "000000010000000100000001"}, {2, 3, 3, ""}, {3, 1, 1, "000000030000000000000001"},
	} {
		if got, err := r.FirstMissing(context.Background(), test.tli, test.first, test.last); err != nil || got != test.want {
			t.Errorf("timeline %d, %d to %d: %q, %v; want %q", test.tli, test.first, test.last, got, err, test.want)
		}
	}
}
