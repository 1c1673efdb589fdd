package archive

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgpipes/lib/wal"
	"pgpipes/test/fixture"
)

// forked is a repository with two timelines that commit once a segment: timeline 1
// at noon and the two hours after it in segments 1 to 3, timeline 2, which left it
// in segment 4, from 15:30 on in 4 to 6. It returns the place of the switch.
func forked(t *testing.T) (*Repo, wal.LSN) {
	t.Helper()
	l := fixture.NewLog(1, mib, 1)
	for hour := range 3 {
		l.Commit(noon.Add(time.Duration(hour) * time.Hour))
		l.Switch()
	}
	l.Commit(noon.Add(3 * time.Hour))
	at := l.At
	l.Branch(2)
	for hour := range 3 {
		l.Commit(noon.Add(time.Duration(hour)*time.Hour + 210*time.Minute))
		l.Switch()
	}
	delete(l.Segments, mib.Name(1, 4))
	r := logged(t, l)
	r.branch(t, 2, fmt.Sprintf("1\t%s\tno recovery target specified\n", at))
	return r, at
}

// atNoon is a backup that ended in the first segment, before the transaction.
func atNoon(label string, ended time.Time) Backup {
	b := backup(label, 1, 1, 1, "10:00")
	b.Header.StopLSN, b.Header.StopTime = mib.Start(1)+40, ended
	return b
}

func labelsOf(all []Backup) string {
	var labels []string
	for _, b := range all {
		labels = append(labels, b.Label)
	}
	return strings.Join(labels, ",")
}

func TestProve(t *testing.T) {
	r, switched := forked(t)
	c, err := r.Coverage(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	early := atNoon("early", noon.Add(-time.Hour))
	late := backup("late", 1, 2, 3, "10:00")
	late.Header.StopTime = noon.Add(130 * time.Minute)
	slow := backup("slow", 1, 2, 3, "10:00") // the clock of its host is behind
	slow.Header.StopTime = noon.Add(-time.Minute)
	for _, test := range []struct {
		target Target
		want   string
		why    string
	}{
		{Target{Kind: "time", Time: noon.Add(-time.Second)}, "early", "slow: it ended at 0/30012C, after the target"},
		{Target{Kind: "time", Time: noon.Add(2*time.Hour + 15*time.Minute)}, "early,late,slow", ""},
		{Target{Kind: "time", Time: noon.Add(5*time.Hour + 29*time.Minute)}, "early,late,slow", ""},
		{Target{Kind: "time", Time: noon.Add(5*time.Hour + 30*time.Minute)}, "", "early: no transaction ended after the target"},
		{Target{Kind: "time", Time: noon.Add(4 * time.Hour), Timeline: 1}, "", "late: no transaction ended after the target"},
		{Target{Kind: "lsn", LSN: mib.Start(6)}, "early,late,slow", ""},
		{Target{Kind: "lsn", LSN: switched}, "early,late,slow", ""},
		{Target{Kind: "lsn", LSN: mib.Start(7) - 1}, "", "slow: no record follows the target"},
		{Target{Kind: "lsn", LSN: switched, Timeline: 1}, "", "late: no record follows the target"},
		{Target{Kind: "latest"}, "early,late,slow", ""},
	} {
		all := []Backup{early, late, slow}
		if test.target.Kind == "time" {
			all = slices.DeleteFunc(all, func(b Backup) bool { return c.Reach(b, test.target) != nil })
		}
		can, cannot, err := r.Prove(context.Background(), c, all, test.target)
		if err != nil || labelsOf(can) != test.want || !strings.Contains(fmt.Sprint(cannot), test.why) {
			t.Errorf("%+v: %s, %v, %v, want %s, %s", test.target, labelsOf(can), cannot, err, test.want, test.why)
		}
	}
}

// However many backups are proved, the log is searched once.
func TestProveReadsLittle(t *testing.T) {
	r, _ := forked(t)
	c, err := r.Coverage(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var all []Backup
	for i := range 100 {
		all = append(all, atNoon(fmt.Sprint("b", i), noon.Add(-time.Minute)))
	}
	counts := counted{r.Store, new(atomic.Int64)}
	r.Store = counts
	can, _, err := r.Prove(context.Background(), c, all, Target{Kind: "time", Time: noon.Add(90 * time.Minute)})
	if reads := counts.reads.Load(); err != nil || len(can) != len(all) || reads > 10 {
		t.Errorf("%d of %d, %v, %d reads", len(can), len(all), err, reads)
	}
}

func TestProveNeedsToRead(t *testing.T) {
	r, _ := forked(t)
	c, err := r.Coverage(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	r.place(t, "wal/0000000200000000/000000020000000000000006.zst", []byte("no"))
	all := []Backup{atNoon("b", noon.Add(-time.Minute))}
	for _, target := range []Target{{Kind: "time", Time: noon.Add(9 * time.Hour)}, {Kind: "lsn", LSN: mib.Start(6) + 1}} {
		can, cannot, err := r.Prove(context.Background(), c, all, target)
		if err == nil || len(can) != 1 || cannot != nil {
			t.Errorf("%+v: %v, %v, %v", target, can, cannot, err)
		}
	}
}

// The ends of windows come from the log.
func TestSurveyReadsWindows(t *testing.T) {
	r, switched := forked(t)
	all := []Backup{atNoon("b", noon.Add(-time.Minute))}
	c, err := r.Coverage(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	measured := func() string {
		var lines []string
		for _, w := range c.Windows(all) {
			r.measure(context.Background(), c, &w)
			lines = append(lines, fmt.Sprintf("%d %s..%s %s..%s %t", uint32(w.Timeline), w.FromLSN, w.ToLSN, w.From.Format("15:04"), w.To.Format("15:04"), w.Exact))
		}
		return strings.Join(lines, "; ")
	}
	want := fmt.Sprintf("1 0/100028..0/300050 11:59..14:00 true; 2 %s..0/600050 15:30..17:30 true", switched)
	if got := measured(); got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
	// Without the last segment's contents: by when it was stored, and as far as it goes.
	stored := time.Now().Format("15:04")
	r.place(t, "wal/0000000200000000/000000020000000000000006.zst", []byte("no"))
	want = fmt.Sprintf("1 0/100028..0/300050 11:59..14:00 true; 2 %s..0/700000 15:30..%s false", switched, stored)
	if got := measured(); got != want && stored == time.Now().Format("15:04") {
		t.Errorf("%s, want\n%s", got, want)
	}
}

// A server without work ends segments without transactions.
func TestWindowOfIdleServer(t *testing.T) {
	for _, test := range []struct {
		idle  int
		exact bool
	}{{maxLookBack - 2, true}, {maxLookBack + 4, false}} {
		l := fixture.NewLog(1, mib, 1)
		l.Commit(noon)
		l.Switch()
		idle(l, test.idle)
		r := logged(t, l)
		c, err := r.Coverage(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		w := c.Windows([]Backup{atNoon("b", noon.Add(time.Minute))})[0]
		r.measure(context.Background(), c, &w)
		if w.Exact != test.exact || test.exact != w.To.Equal(noon.Add(time.Minute)) {
			t.Errorf("%d: %+v", test.idle, w)
		}
	}
}

func TestNearest(t *testing.T) {
	r, switched := forked(t)
	all := []Backup{atNoon("b", noon.Add(-time.Minute)), backup("later", 2, 6, 6, "10:00")}
	all[1].Header.StopTime = noon.Add(8 * time.Hour)
	shown := func(w *Window) string {
		if w == nil {
			return "-"
		}
		return fmt.Sprintf("%d %s..%s", uint32(w.Timeline), w.FromLSN, w.ToLSN)
	}
	for _, test := range []struct {
		what         string
		remove       string
		target       Target
		before, next string
	}{
		{"before all", "", Target{Kind: "time", Time: noon.Add(-time.Hour)}, "-", "2 0/100028..0/600050"},
		{"after all", "", Target{Kind: "lsn", LSN: mib.Start(9)}, "2 0/100028..0/600050", "-"},
		{"in a hole", "wal/0000000200000000/000000020000000000000005.zst", Target{Kind: "time", Time: noon.Add(7 * time.Hour)}, "2 0/100028..0/400078", "2 0/60012C..0/60012C"},
		{"on the parent", "", Target{Kind: "lsn", LSN: mib.Start(9), Timeline: 1}, "1 0/100028..0/300050", "-"},
		{"no such timeline", "", Target{Kind: "lsn", LSN: mib.Start(9), Timeline: 7}, "-", "-"},
	} {
		if test.remove != "" {
			if err := r.Remove(context.Background(), test.remove); err != nil {
				t.Fatal(err)
			}
		}
		c, err := r.Coverage(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		before, after := r.Nearest(context.Background(), c, all, test.target)
		if shown(before) != test.before || shown(after) != test.next {
			t.Errorf("%s: %s and %s, want %s and %s (switch at %s)", test.what, shown(before), shown(after), test.before, test.next, switched)
		}
	}
}
