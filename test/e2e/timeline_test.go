package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"pgpipes/test/pgtest"
)

// A standby, fed by wal-get and by streaming, takes over from a lost primary.
// The archive then has two timelines: backups of either recover along the line
// that went on, and on demand to the end of the one that did not.
func TestPromotion(t *testing.T) {
	t.Parallel()
	primary := newSite(t, small)
	primary.SQL("CREATE TABLE rows (n int)")
	primary.backup("old")
	for n := 1; n <= 3; n++ {
		primary.row(n)
	}
	standby := primary.standby()
	primary.SQL("INSERT INTO rows VALUES (4)")
	standby.Until(allRows, "1,2,3,4")
	primary.Kill()
	standby.SQL("SELECT pg_promote()")
	switched := standby.row(5)
	standby.row(6)

	t.Run("files", func(t *testing.T) {
		expect(t, "timeline", switched[:8], "00000002")
		for _, file := range []string{"history/00000002.history", "0000000100000000/00000001" + switched[8:] + ".partial.zst", "0000000200000000/" + switched + ".zst"} {
			eventually(t, file, func() bool { return exists(primary.inRepo("wal", file)) })
		}
	})
	t.Run("nothing of the child yet", func(t *testing.T) { primary.in(t).newborn(switched) })
	standby.backup("new")
	standby.row(7)
	// The old primary comes back and goes on where it was: a dead branch.
	primary.Start()
	primary.SQL("INSERT INTO rows VALUES (99)")
	expect(t, "branch", primary.endSegment(), "00000001"+switched[8:])

	tests := []struct {
		name, rows string
		options    []string
	}{
		{"old backup to the latest", "1,2,3,4,5,6,7", []string{"--backup", "old"}},
		{"new backup to the latest", "1,2,3,4,5,6,7", []string{"--backup", "new"}},
		{"best backup to the latest", "1,2,3,4,5,6,7", nil},
		{"timeline 2", "1,2,3,4,5,6,7", []string{"--backup", "old", "--timeline", "2"}},
		{"timeline 1", "1,2,3,4,99", []string{"--timeline", "1"}},
		{"timeline 1 in hex", "1,2,3,4,99", []string{"--timeline", "00000001"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := primary.recovered(t, append(test.options, "--archive-mode", "off")...)
			expect(t, "rows", c.SQL(allRows), test.rows)
			expect(t, "timeline", c.SQL("SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)"), "00000003")
		})
	}
	t.Run("new backup not to timeline 1", func(t *testing.T) {
		data := filepath.Join(pgtest.TempDir(t), "data")
		primary.refuses(1, "does not descend", "restore", "-r", primary.repo, "-D", data, "--backup", "new", "--timeline", "1")
		if exists(data) {
			t.Error("something was written")
		}
	})
	primary.must("manifest", "verify", "-r", primary.repo)

	// Without the child's first segment, or all of them, the parent's of that
	// number is there, and leads past the switch.
	first := primary.segmentFile(switched)
	for name, file := range map[string]string{"first of the child missing": first, "all of the child missing": filepath.Dir(first)} {
		t.Run(name, func(t *testing.T) {
			s := primary.in(t)
			c := s.restored(t, "--backup", "old", "--archive-mode", "off")
			s.retryNever(c)
			shell(t, "mv", file, s.path("hidden"))
			s.refuses(1, switched+" is missing", "restore", "-r", s.repo, "-D", s.path("none"), "--backup", "old")
			if recovers(t, c) {
				t.Fatalf("recovered rows %s:\n%s", c.SQL(allRows), c.Log())
			}
			stopped(t, c, "hole in the archive")
			shell(t, "mv", s.path("hidden"), file)
			if !recovers(t, c) {
				t.Fatal(c.Log())
			}
			expect(t, "rows", c.SQL(allRows), "1,2,3,4,5,6,7")
		})
	}
}

// newborn is the archive as it was at the promotion: of the new timeline there is
// the history, and of the old one's last segment the .partial. All before that can
// be recovered.
func (s *site) newborn(switched string) {
	s.t.Helper()
	early := *s
	early.use(s.path("early"))
	shell(s.t, "cp", "-a", s.local, early.repo)
	shell(s.t, "rm", "-r", filepath.Dir(early.segmentFile(switched)))
	s.must("manifest", "status", "-r", early.repo)
	c := early.recovered(s.t, "--archive-mode", "off")
	expect(s.t, "rows", c.SQL(allRows), "1,2,3")
	expect(s.t, "timeline", c.SQL("SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)"), "00000003")
}

// retryNever has a restored server give up a file at the first failure.
func (s *site) retryNever(c *pgtest.Cluster) {
	s.t.Helper()
	s.must("sh", "-euc", `echo "$1" >> "$2"/postgresql.auto.conf`, "sh", restoreFrom(s.t, s.repo), c.Data)
}

// standby restores a standby of the newest backup, which archives to the same
// repository once it is promoted, and starts it.
func (s *site) standby(conf ...string) *site {
	s.t.Helper()
	c := s.restored(s.t, "--standby")
	c.Configure(append(conf, "primary_conninfo = '"+s.ConnInfo()+"'")...)
	c.Start()
	if c.Until("SELECT pg_is_in_recovery()", "t"); !strings.Contains(c.Log(), "restored log file") {
		s.t.Errorf("nothing came from the archive:\n%s", c.Log())
	}
	return s.with(c)
}

// The switch at the very end of the archive: a standby that saw nothing but the
// archive is promoted, and all that it goes on to archive is usable.
func TestPromotionFromArchiveAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE rows (n int)")
	s.backup("old")
	s.row(1)
	s.SQL("INSERT INTO rows VALUES (2)")
	s.Stop("fast")
	for n := 3; n <= 5; n++ { // each on a timeline of its own
		c := s.recovered(t, "--backup", "old")
		next := s.with(c)
		next.row(n)
		c.Stop("fast")
	}
	c := s.recovered(t)
	expect(t, "rows", c.SQL(allRows), "1,2,3,4,5")
	expect(t, "timeline", c.SQL("SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)"), "00000005")
	s.must("manifest", "verify", "-r", s.repo)
}

// A backup taken on a standby restores as one of the primary does.
func TestBackupOfStandby(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.populate()
	s.SQL("CREATE TABLE rows (n int)")
	s.SQL("DROP TABLE elsewhere")
	s.SQL("DROP TABLESPACE elsewhere")
	s.backup("old")
	s.row(1)
	standby := s.standby()
	s.burst(100)
	s.SQL("INSERT INTO rows VALUES (2)")
	standby.Until(allRows, "1,2")
	h := standby.hold("standby", 64<<10)
	s.burst(100)
	s.row(3)
	standby.Until(allRows, "1,2,3")
	h.read(4 << 20)
	s.row(4)
	standby.Until(allRows, "1,2,3,4")
	s.SQL("SELECT pg_switch_wal()")
	stop := s.endingSegments()
	h.done()
	stop()
	h.store("standby")
	want := s.SQL(balanced)
	s.row(5)
	c := s.recovered(t, "--backup", "standby", "--archive-mode", "off")
	expect(t, "rows", c.SQL(allRows), "1,2,3,4,5")
	expect(t, "balance", c.SQL(balanced), want)
	s.must("pg_verifybackup", "-n", s.unpack("standby"))
	sound(t, c)
}

// The backup of a standby that has replayed a switch of segments, and nothing since,
// ends where its last segment does. Its end can be recovered, also when nothing
// follows in the archive.
func TestBackupOfStandbyEndsWithSegment(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE rows (n int)")
	s.backup("old")
	s.row(1)
	standby := s.standby()
	label, at := "", ""
	eventually(t, "a backup that ends with a segment", func() bool {
		label = "standby" + at
		h := standby.hold(label, 64<<10)
		s.SQL("INSERT INTO rows VALUES (2)")
		s.endSegment()
		standby.Until("SELECT pg_last_wal_replay_lsn()", s.SQL("SELECT pg_current_wal_lsn()"))
		standby.SQL("CHECKPOINT")
		stop := s.endingSegments()
		h.done()
		stop()
		h.store(label)
		at = s.must("sed", "-n", "s/^stop-lsn\t.*\\///p", h.manifest)
		at = strings.TrimSpace(at)
		return strings.HasSuffix(at, "000000")
	})
	want := standby.SQL(allRows)
	standby.Stop("fast")
	s.Stop("fast")
	s.refuses(100, "only promote is possible", "restore", "-r", s.repo, "-D", s.path("none"), "--backup", label, "--to", "immediate", "--action", "pause")
	c := s.recovered(t, "--backup", label, "--to", "immediate", "--archive-mode", "off")
	expect(t, "rows", c.SQL(allRows), want)
}
