package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"pgpipes/test/pgtest"
)

// Paths with everything that a shell, the server's settings or its placeholders
// could take for something else.
func TestOddPaths(t *testing.T) {
	t.Parallel()
	odd := `it's "100%" \odd $HOME`
	s := hereSite(t, small)
	s.use(s.path(odd))
	quoted := "'" + strings.ReplaceAll(s.repo, "'", `'\''`) + "'"
	command := programs(t) + "/wal-push -r " + strings.ReplaceAll(quoted, "%", "%%") + " %p"
	s.Configure("archive_command = '" + strings.NewReplacer(`\`, `\\`, "'", "''").Replace(command) + "'")
	s.SQL("SELECT pg_reload_conf()")
	s.awaitCommand()
	s.SQL("CREATE TABLE rows (n int)")
	unquoted := s.path("space " + strings.ReplaceAll(odd, "'", "")) // that is all a tablespace's path must not have
	s.must("mkdir", unquoted)
	s.SQL("CREATE TABLESPACE odd LOCATION '" + unquoted + "'")
	s.SQL("CREATE TABLE odd TABLESPACE odd AS SELECT 1 AS n")
	s.backup("b")
	s.row(1)
	data, space := filepath.Join(pgtest.TempDir(t), odd), filepath.Join(pgtest.TempDir(t), "moved "+odd)
	s.must("restore", "-r", s.repo, "-D", data, "--tablespace", s.tablespaceOID("b")+"="+space)
	c := pgtest.Attach(t, data)
	if !recovers(t, c) {
		t.Fatal(c.Log())
	}
	expect(t, "rows", c.SQL(allRows), "1")
	expect(t, "odd", c.SQL("SELECT n FROM odd"), "1")
}

// A tablespace inside the data directory, of which the server only warns, is
// copied once.
func TestTablespaceInsideData(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	inside := filepath.Join(s.Data, "inside")
	s.must("mkdir", inside)
	s.SQL("CREATE TABLESPACE inside LOCATION '" + inside + "'")
	s.SQL("CREATE TABLE t TABLESPACE inside AS SELECT generate_series(1, 1000) AS n")
	h := s.hold("b", 64<<10)
	h.done()
	h.store("b")
	for name := range members(t, h.file) {
		if strings.HasPrefix(name, "inside/") {
			t.Errorf("%s: copied twice", name)
		}
	}
	s.endAnySegment()
	s.nothingWaits()
	s.refuses(100, "", "restore", "-r", s.repo, "-D", s.path("data"))
	c := s.recovered(t, "--tablespace", s.tablespaceOID("b")+"="+spaceFor(t), "--archive-mode", "off")
	expect(t, "rows", c.SQL("SELECT count(*) FROM t"), "1000")
}

// A running backup protects its WAL from expire.
func TestExpireDuringCopy(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE rows (n int)")
	s.backup("a")
	h := s.hold("b", 64<<10)
	s.row(1)
	s.must("repo", "lock", "-r", s.repo, "backup", "true")
	s.backup("c")
	s.row(2)
	if out := s.must("expire", "-r", s.repo, "--keep-last", "1"); !strings.Contains(out, "keep\tbackup\tb\t") {
		t.Error(out)
	}
	h.done()
	h.store("b")
	expect(t, "rows", s.recovered(t, "--backup", "b").SQL(allRows), "1,2")
}

// A standby that is promoted while it is copied makes the copy worthless.
func TestPromotionDuringCopy(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE rows (n int)")
	s.backup("old")
	s.row(1)
	standby := s.standby()
	h := standby.hold("promoted", 64<<10)
	standby.SQL("SELECT pg_promote()")
	if r := h.end(); r.status != 111 {
		t.Errorf("base-copy: %s", r)
	}
	h.incomplete()
	standby.backup("new")
}

// On an idle standby the last segment does not come by itself: the copy gives
// up and says what to do.
func TestCopyOfIdleStandby(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE rows (n int)")
	s.backup("old")
	s.row(1)
	standby := s.standby()
	s.SQL("INSERT INTO rows VALUES (2); CHECKPOINT")
	standby.Until(allRows, "1,2")
	r := standby.run("base-copy", "-D", standby.Data, "-r", s.repo, "--fast", "--archive-timeout", "1s")
	if r.status != 111 || !strings.Contains(r.err, "has not arrived within 1s") {
		t.Errorf("base-copy: status %d: %s", r.status, r.err)
	}
}

// An in-place tablespace, which is a directory of pg_tblspc, comes back as that.
func TestInPlaceTablespace(t *testing.T) {
	t.Parallel()
	s := newSite(t, small, "allow_in_place_tablespaces = on")
	s.SQL("CREATE TABLESPACE inplace LOCATION ''")
	s.SQL("CREATE TABLE t TABLESPACE inplace AS SELECT generate_series(1, 1000) AS n")
	s.backup("b")
	c := s.recovered(t, "--archive-mode", "off")
	expect(t, "rows", c.SQL("SELECT count(*) FROM t"), "1000")
}

// A relative path means nothing where the current directory has been removed; it
// must not be taken for one below the root.
func TestRestoreWithoutCurrentDirectory(t *testing.T) {
	t.Parallel()
	s := hereSite(t, small)
	s.backup("b")
	gone := s.path("gone")
	s.must("mkdir", gone)
	s.refuses(111, "current directory that is gone", "sh", "-c",
		`cd "$1" && rmdir "$1" && unset PWD && exec restore -r "$2" -D nowhere`, "sh", gone, s.repo)
	data := s.path("data")
	s.must("mkdir", gone)
	s.must("sh", "-c", `cd "$1" && rmdir "$1" && unset PWD && exec restore -r "$2" -D "$3"`, "sh", gone, s.repo, data)
	if !exists(filepath.Join(data, "PG_VERSION")) {
		t.Error("an absolute path did not do")
	}
}
