package majors

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgpipes/test/pgtest"
)

// restore restores a backup, has a server recover all that was archived, and
// compares.
func (s *site) restore(b *backup) {
	s.t.Helper()
	dir := pgtest.TempDir(s.t)
	data, spaces := filepath.Join(dir, "data"), filepath.Join(dir, "spaces")
	s.must("mkdir", spaces)
	args := []string{"-D", data, "-m", b.manifest, "--tablespace-root", spaces}
	if b.parts {
		args = append(args, "-j", "2", "--source", `repo get -r `+s.repo+` "$KEY"`)
	}
	cmd := s.command("base-restore", args...)
	if !b.parts {
		in, err := os.Open(b.file)
		must(s.t, err)
		defer in.Close()
		cmd.Stdin = in
	}
	s.finish(cmd)
	s.must("pg_verifybackup", "-n", data)
	if slices.Contains(b.options, "--with-wal") {
		s.startsAlone(data)
		return
	}
	c := s.recovered(data)
	if got := c.SQL(digest); got != b.digest {
		s.t.Errorf("%s\n%s as it was", got, b.digest)
	}
	sound(s.t, c)
}

// recovered recovers a restored data directory to the end of the archive.
func (s *site) recovered(data string) *pgtest.Cluster {
	s.t.Helper()
	c := pgtest.Attach(s.t, data)
	s.must("rm", "-f", filepath.Join(data, "standby.signal"))
	s.must("touch", filepath.Join(data, "recovery.signal"))
	c.Configure("archive_mode = off", "restore_command = '"+pgtest.BuildTools(s.t)+"/wal-get -r "+s.repo+" --retry 0s %f %p'")
	c.Start()
	c.Until("SELECT pg_is_in_recovery()", "f")
	return c
}

// startsAlone makes sure that a backup with its WAL needs no archive.
func (s *site) startsAlone(data string) {
	s.t.Helper()
	c := pgtest.Attach(s.t, data)
	s.must("rm", "-f", filepath.Join(data, "standby.signal"))
	c.Configure("archive_mode = off")
	c.Start()
	c.Until("SELECT pg_is_in_recovery()", "f")
	sound(s.t, c)
}

// sound makes sure that all indexes fit their tables, that every page can be
// read, and that unlogged tables are empty. Those that were temporary are in the
// catalog until autovacuum drops them, and nowhere else.
func sound(t *testing.T, c *pgtest.Cluster) {
	t.Helper()
	c.SQL(`SELECT bt_index_check(i.indexrelid, true) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
		JOIN pg_am a ON a.oid = c.relam WHERE a.amname = 'btree' AND c.relpersistence = 'p'`)
	if got := c.SQL("SELECT count(*) FROM unlogged"); got != "0" {
		t.Errorf("%s unlogged rows", got)
	}
	c.SQL(`DO $$ DECLARE r regclass; BEGIN
		FOR r IN SELECT oid FROM pg_class WHERE relkind IN ('r', 'm') AND relpersistence <> 't' LOOP EXECUTE 'SELECT count(t::text) FROM ' || r || ' t'; END LOOP;
	END $$`)
	if log := c.Log(); strings.Contains(log, "PANIC") || strings.Contains(log, "invalid page") {
		t.Error(log)
	}
}
