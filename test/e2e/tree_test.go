package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgpipes/lib/wal"
	"pgpipes/test/pgtest"
)

// A tree is a cluster that was recovered again and again, each time to a moment
// that it had passed, while what it had been went on. Each timeline has two rows
// of its own:
//
//	1 ── a ── 11 ─┬─ 12 ─┬─ 13 ── 14
//	              │      └─ 5: 51, 52
//	              └─ 2: 21 ─┬─ b ── 22
//	                        └─ 3: 31, 32
//	1, after 14: 4: 41, c, 42
type tree struct {
	*site
	moments map[int]place // after a row
}

// A place is somewhere in the log, after a transaction.
type place struct{ lsn, segment string }

// within is the tree in a subtest.
func (tr *tree) within(t *testing.T) *tree { return &tree{tr.in(t), tr.moments} }

// grow adds a row on a branch.
func (tr *tree) grow(branch *site, row int) {
	tr.t.Helper()
	branch.SQL(fmt.Sprintf("INSERT INTO rows VALUES (%d)", row))
	lsn := branch.SQL("SELECT pg_current_wal_insert_lsn()")
	tr.moments[row] = place{lsn, branch.endSegment()}
}

// fork recovers the cluster to another one that archives, too.
func (tr *tree) fork(options ...string) *site {
	tr.t.Helper()
	return tr.with(tr.recovered(tr.t, options...))
}

func newTree(t *testing.T) *tree {
	t.Helper()
	tr := &tree{newSite(t, small, "autovacuum = off"), map[int]place{}}
	tr.SQL("CREATE TABLE rows (n int)")
	tr.backup("a")
	tr.grow(tr.site, 11)
	tr.grow(tr.site, 12)
	second := tr.fork("--to", "lsn="+tr.moments[11].lsn)
	tr.grow(second, 21)
	third := tr.fork("--to", "lsn="+tr.moments[21].lsn)
	second.backup("b")
	tr.grow(second, 22)
	tr.grow(third, 31)
	tr.grow(third, 32)
	tr.grow(tr.site, 13)
	tr.grow(tr.site, 14)
	fourth := tr.fork("--timeline", "1")
	tr.grow(fourth, 41)
	fourth.backup("c")
	tr.grow(fourth, 42)
	fifth := tr.fork("--timeline", "1", "--to", "lsn="+tr.moments[12].lsn)
	tr.grow(fifth, 51)
	tr.grow(fifth, 52)
	for _, s := range []*site{tr.site, second, third, fourth, fifth} {
		s.Stop("fast")
	}
	return tr
}

// A listed line of manifest list --windows --json.
type listedLine struct {
	Kind, Name, State string
	Timeline          int
	From, To          time.Time
	FromLSN           string `json:"from-lsn"`
	ToLSN             string `json:"to-lsn"`
	Exact             bool
	Backups           []string
	Segments          int
}

// windows are what list says of windows and holes.
func (tr *tree) windows() (windows, holes []listedLine) {
	tr.t.Helper()
	for line := range strings.Lines(tr.must("manifest", "list", "-r", tr.repo, "--windows", "--json")) {
		var l listedLine
		if err := json.Unmarshal([]byte(line), &l); err != nil && !strings.Contains(line, `"from":"-"`) {
			tr.t.Fatalf("%s: %v", line, err)
		}
		switch l.Kind {
		case "window":
			windows = append(windows, l)
		case "hole":
			holes = append(holes, l)
		}
	}
	return windows, holes
}

// best is the backup that list would take for a moment, "" if there is none.
func (tr *tree) best(at string, timeline int) string {
	tr.t.Helper()
	r := tr.run("manifest", "list", "-r", tr.repo, "--at", at, "--timeline", itoa(timeline))
	if r.status > 1 || (r.status == 0) != (r.out != "") {
		tr.t.Errorf("--at %s on timeline %d: %s", at, timeline, r)
	}
	label, _, _ := strings.Cut(r.out, "\t")
	return label
}

// Five timelines, two of them abandoned in the midst, and what list says of them
// is what servers do.
func TestTreeOfTimelines(t *testing.T) {
	t.Parallel()
	tr := newTree(t)
	tr.must("manifest", "verify", "-r", tr.repo)
	t.Run("ends of windows", func(t *testing.T) { tr.within(t).ends() })
	t.Run("other branches", func(t *testing.T) { tr.within(t).otherBranches() })
	t.Run("a lost history", func(t *testing.T) { tr.within(t).lostHistory() })
	t.Run("a hole", func(t *testing.T) { tr.within(t).hole() })
}

// ends tries both ends of every window, and what is just beyond.
func (tr *tree) ends() {
	t := tr.t
	windows, holes := tr.windows()
	var shown []string
	for _, w := range windows {
		shown = append(shown, fmt.Sprintf("%d %s %t", w.Timeline, strings.Join(w.Backups, ","), w.Exact))
	}
	expect(t, "windows", strings.Join(shown, "; "), "1 a true; 2 a,b true; 3 a true; 4 a,c true; 5 a true")
	expect(t, "holes", itoa(len(holes)), "0")

	rows := map[int]string{1: "11,12,13,14", 2: "11,21,22", 3: "11,21,31,32", 4: "11,12,13,14,41,42", 5: "11,12,51,52"}
	backups := map[int]string{1: "a", 2: "b", 3: "a", 4: "c", 5: "a"}
	for _, w := range windows {
		all := rows[w.Timeline]
		short := all[:strings.LastIndex(all, ",")]
		last, err := wal.ParseLSN(w.ToLSN)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range []struct {
			name, at, rows, backup string
		}{
			{"before the last transaction", w.To.Add(-time.Microsecond).Format(time.RFC3339Nano), short, backups[w.Timeline]},
			{"at the last transaction", w.To.Format(time.RFC3339Nano), "", ""},
			{"the last record", w.ToLSN, all, backups[w.Timeline]},
			{"after the last record", (last + 1).String(), "", ""},
		} {
			t.Run(fmt.Sprintf("timeline %d, %s", w.Timeline, m.name), func(t *testing.T) {
				t.Parallel()
				tr := tr.within(t)
				expect(t, "backup", tr.best(m.at, w.Timeline), m.backup)
				expect(t, "rows", tr.reaches(m.at, w.Timeline, backups[w.Timeline]), m.rows)
			})
		}
	}
}

// otherBranches asks for moments of one timeline on another one.
func (tr *tree) otherBranches() {
	for _, test := range []struct {
		row, timeline int
		backup        string
	}{
		{11, 1, "a"}, {11, 2, "a"}, {11, 3, "a"}, {11, 4, "a"}, {11, 5, "a"},
		{14, 4, "a"}, {41, 4, "a"}, {42, 4, "c"}, {21, 3, "a"}, {22, 2, "b"},
		{42, 1, ""}, {42, 3, ""}, {32, 9, ""},
	} {
		expect(tr.t, fmt.Sprintf("row %d on timeline %d", test.row, test.timeline), tr.best(tr.moments[test.row].lsn, test.timeline), test.backup)
	}
	// The newest one does not go by this backup, to the end of which that is no matter.
	c := tr.recovered(tr.t, "--backup", "b", "--to", "immediate", "--archive-mode", "off")
	expect(tr.t, "rows", c.SQL(allRows), "11,21")
}

// reaches recovers a backup to a moment, whatever list thinks of it, and returns
// the rows, "" if the server says that it cannot get there.
func (tr *tree) reaches(at string, timeline int, label string) string {
	tr.t.Helper()
	c := tr.restored(tr.t, "--backup", label, "--timeline", itoa(timeline), "--archive-mode", "off")
	setting := "recovery_target_time"
	if strings.Contains(at, "/") {
		setting = "recovery_target_lsn"
	}
	at = strings.TrimSuffix(at, "Z")
	if setting == "recovery_target_time" {
		at += "+00:00"
	}
	tr.must("sh", "-euc", `echo "$1" >> "$2"/postgresql.auto.conf`, "sh", setting+" = '"+at+"'\nrecovery_target_action = promote", c.Data)
	if recovers(tr.t, c) {
		return c.SQL(allRows)
	}
	defer eventually(tr.t, "nothing runs any more", func() bool { return !fetches(c) })
	if !strings.Contains(c.Log(), "recovery ended before configured recovery target was reached") {
		tr.t.Errorf("not recovered, and not because of the target:\n%s", c.Log())
	}
	return ""
}

// fetches reports whether WAL is still fetched ahead for a server: when that has
// given up nobody waits for it.
func fetches(c *pgtest.Cluster) bool {
	env := c.Command("wal-get").Env
	i := slices.IndexFunc(env, func(v string) bool { return strings.HasPrefix(v, "PGPIPES_STATE=") })
	list, _ := filepath.Glob("/proc/[0-9]*/environ")
	return slices.ContainsFunc(list, func(process string) bool {
		has, _ := os.ReadFile(process)
		return strings.Contains(string(has), env[i])
	})
}

// lostHistory loses that of a timeline that is on nobody's way: a server asks for
// it all the same, whichever timeline it is to follow, and is not told that there is
// none. It is the beginning of that of a descendant.
func (tr *tree) lostHistory() {
	t := tr.t
	history := tr.inRepo("wal/history/00000002.history")
	stopping := tr.restored(t, "--backup", "a", "--timeline", "5", "--archive-mode", "off")
	tr.retryNever(stopping)
	shell(t, "mv", history, tr.path("hidden"))
	for _, to := range []string{"latest", "immediate"} {
		tr.refuses(1, "00000002.history is missing", "restore", "-r", tr.repo, "-D", tr.path("none"), "--backup", "a", "--to", to)
		tr.refuses(1, "00000002.history is missing", "restore", "-r", tr.repo, "-D", tr.path("none"), "--backup", "a", "--to", to, "--timeline", "5")
	}
	if recovers(t, stopping) {
		t.Errorf("recovered rows %s:\n%s", stopping.SQL(allRows), stopping.Log())
	}
	stopped(t, stopping, "hole in the archive: 00000002.history is missing")
	tr.must("sh", "-euc", `sed '/^2\t/,$d' "$1" | sed '${/^$/d}' | repo put -r "$2" wal/history/00000002.history`, "sh", filepath.Join(filepath.Dir(history), "00000003.history"), tr.repo)
	if !recovers(t, stopping) {
		t.Fatal(stopping.Log())
	}
	expect(t, "rows", stopping.SQL(allRows), "11,12,51,52")
	shell(t, "cmp", tr.path("hidden"), history)
	shell(t, "mv", "-f", tr.path("hidden"), history)
}

// hole makes one: it parts windows, on its timeline and on those that left that
// later.
func (tr *tree) hole() {
	t := tr.t
	hidden := tr.moments[13].segment
	shell(t, "mv", tr.segmentFile(hidden), tr.path("hidden"))
	windows, holes := tr.windows()
	var shown []string
	for _, w := range windows {
		shown = append(shown, fmt.Sprintf("%d %s", w.Timeline, strings.Join(w.Backups, ",")))
	}
	expect(t, "windows", strings.Join(shown, "; "), "1 a; 2 a,b; 3 a; 4 c; 5 a")
	if len(holes) != 1 || holes[0].Name != hidden || holes[0].Segments != 1 || holes[0].State != "missing" {
		t.Errorf("holes: %+v", holes)
	}
	tr.refuses(1, hidden+" is missing on the way", "restore", "-r", tr.repo, "-D", filepath.Join(pgtest.TempDir(t), "data"), "--timeline", "1", "--to", "lsn="+tr.moments[14].lsn)
	for _, test := range []struct {
		row, timeline int
		backup, rows  string
	}{{12, 1, "a", "11,12"}, {14, 1, "", ""}, {41, 4, "", ""}, {42, 4, "c", "11,12,13,14,41,42"}} {
		at := tr.moments[test.row].lsn
		expect(t, fmt.Sprintf("backup for row %d", test.row), tr.best(at, test.timeline), test.backup)
		if test.backup != "" {
			c := tr.recovered(t, "--to", "lsn="+at, "--timeline", itoa(test.timeline), "--archive-mode", "off")
			expect(t, "rows", c.SQL(allRows), test.rows)
		}
	}
	tr.must("manifest", "accept-hole", "-r", tr.repo, "--reason", "the disk was full", hidden)
	if _, holes := tr.windows(); !slices.ContainsFunc(holes, func(h listedLine) bool { return h.State == "accepted" }) {
		t.Errorf("holes: %+v", holes)
	}
	tr.must("manifest", "verify", "-r", tr.repo)
}
