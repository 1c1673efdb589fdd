package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pgpipes/test/pgtest"
)

// A restored cluster that lived on, and then the damaged original, become what
// the backup and the archive say, in place.
func TestDelta(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.populate()
	s.burst(100)
	s.backup("b", "--part-size", "16MiB")
	s.disturb()
	s.burst(100)
	s.nothingWaits()
	want := s.SQL(digest)
	s.endSegment()
	s.nothingWaits()

	t.Run("a copy", func(t *testing.T) {
		space := spaceFor(t)
		c := s.recovered(t, "--archive-mode", "off", "--tablespace", s.tablespaceOID("b")+"="+space)
		for _, statement := range []string{"UPDATE elsewhere SET pad = 'changed'", "CREATE TABLE more AS TABLE extended", "CREATE DATABASE more", "VACUUM FULL pgbench_accounts"} {
			c.SQL(statement)
		}
		c.Run("mkdir", filepath.Join(c.Data, "of no backup"))
		s.refuses100(t, "a server runs in it", c)
		c.Stop("fast")
		live := filesBelow(t, s.path("the tablespace"))
		s.in(t).must("restore", "-r", s.repo, "-D", c.Data, "--delta", "--archive-mode", "off")
		s.in(t).must("manifest", "verify", "-m", s.manifestOf("b"), "-D", c.Data)
		if !recovers(t, c) {
			t.Fatalf("not recovered:\n%s", c.Log())
		}
		expect(t, "contents", c.SQL(digest), want)
		expect(t, "what came later", c.SQL("SELECT count(*) FROM pg_class WHERE relname = 'more'"), "0")
		expect(t, "the live tablespace", filesBelow(t, s.path("the tablespace")), live)
		if exists(filepath.Join(c.Data, "of no backup")) || !exists(space) {
			t.Error("what the backup does not have is left, or the tablespace has moved")
		}
		sound(t, c)
	})
	t.Run("the original", func(t *testing.T) {
		s.Stop("fast")
		rot(t, filepath.Join(s.Data, s.fileOf(t)))
		s.in(t).must("restore", "-r", s.repo, "-D", s.Data, "--delta")
		if !recovers(t, s.Cluster) {
			t.Fatalf("not recovered:\n%s", s.Log())
		}
		expect(t, "contents", s.SQL(digest), want)
		sound(t, s.Cluster)
	})
}

func (s *site) refuses100(t *testing.T, says string, c *pgtest.Cluster) {
	t.Helper()
	s.in(t).refuses(100, says, "restore", "-r", s.repo, "-D", c.Data, "--delta")
	c.SQL("SELECT 1")
}

// fileOf is a large file of the cluster.
func (s *site) fileOf(t *testing.T) string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(s.Data, "base/[1-9]*/[1-9]*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range list {
		if info, err := os.Stat(name); err == nil && info.Size() > 512<<10 {
			rel, _ := filepath.Rel(s.Data, name)
			return rel
		}
	}
	t.Fatal("no large file")
	return ""
}

// manifestOf puts the manifest of a backup into a file.
func (s *site) manifestOf(label string) string {
	s.t.Helper()
	file := s.path(label + ".m")
	s.must("sh", "-euc", `repo get -r "$1" "base/$2/manifest" >"$3"`, "sh", s.repo, label, file)
	return file
}

// filesBelow is a text of all files with their sizes and times.
func filesBelow(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil {
			fmt.Fprintf(&b, "%s %d %v\n", name, info.Size(), info.ModTime())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A delta restore that is killed, wherever, leaves nothing that a server could
// start from unless it is as it was, or complete; the same command goes on.
func TestDeltaKilled(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.lean()
	s.must("mkdir", s.path("the tablespace"))
	s.SQL("CREATE TABLESPACE elsewhere LOCATION '" + s.path("the tablespace") + "'")
	s.SQL("CREATE TABLE elsewhere TABLESPACE elsewhere AS SELECT generate_series(1, 1000) AS n")
	s.backup("b", "--part-size", "16MiB")
	m, space := s.manifestOf("b"), spaceFor(t)
	args := []string{"-D", s.path("data"), "-m", m, "--delta", "--source", "repo get -r '" + s.repo + "' \"$KEY\""}
	s.must("base-restore", append(args, "--tablespace", s.tablespaceOID("b")+"="+space)...)
	for _, point := range []string{
		"openat:30", "openat:500", "renameat:1", "unlinkat:1", "unlinkat:5", "pwrite64:1", "ftruncate:1",
		"fsync:1", "fsync:3", "fchmod:1", "utimensat:2", "syncfs:1",
	} {
		t.Run("at "+point, func(t *testing.T) {
			s := s.in(t)
			s.must("sh", "-euc", `cd "$1"; for f in base/*/1259 global/1262 pg_xact/0000; do printf x | dd of="$f" bs=1 seek=100 conv=notrunc status=none; done
				mkdir -p stray; touch stray/1 stray/2 pg_wal/000000010000000000000001; for d in "$2"/PG_*; do touch "$d/stray"; done; rm backup_label`, "sh", s.path("data"), space)
			r := s.killAt(t, point, os.DevNull, "base-restore", args...)
			if r.status != 128+int(syscall.SIGKILL) {
				t.Errorf("not killed: %s", r)
			}
			if exists(s.path("data/global/pg_control")) == exists(s.path("data/.pgpipes-restoring-delta")) {
				t.Error("neither startable nor marked, or both")
			}
			if !exists(s.path("data/global/pg_control")) {
				s.refuses(100, "killed delta", "base-restore", "-D", s.path("data"), "-m", m, "--source", "exit 1")
			}
			s.must("base-restore", args...)
			s.must("manifest", "verify", "-m", m, "-D", s.path("data"))
			if exists(s.path("data/stray")) || exists(s.path("data/.pgpipes-restoring-delta")) || exists(filepath.Join(space, ".pgpipes-restoring-tablespace")) {
				t.Error("something is left")
			}
		})
	}
}

// Of two databases one is restored; the server recovers, through WAL of the
// other one too, and the other one can be dropped.
func TestOnlyDatabase(t *testing.T) {
	for name, sh := range map[string]shape{"checksums": small, "no checksums": {segmentMB: 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, sh)
			s.must("mkdir", s.path("the tablespace"))
			s.SQL("CREATE TABLESPACE elsewhere LOCATION '" + s.path("the tablespace") + "'")
			in := func(c *pgtest.Cluster, database, query string) string {
				return strings.TrimSpace(c.Run("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", query))
			}
			for _, database := range []string{"kept", "other"} {
				s.SQL("CREATE DATABASE " + database)
				in(s.Cluster, database, `CREATE TABLE t AS SELECT n, repeat('x', 500) AS pad FROM generate_series(1, 5000) n; CREATE INDEX ON t (n);
					CREATE TABLE e TABLESPACE elsewhere AS TABLE t; CREATE TABLE young AS SELECT generate_series(1, 100000) AS n; CHECKPOINT`)
			}
			s.backup("b")
			for _, database := range []string{"kept", "other"} {
				in(s.Cluster, database, `UPDATE t SET pad = 'y' WHERE n % 5 = 0; DELETE FROM e WHERE n % 3 = 0`)
				in(s.Cluster, database, "VACUUM")
				in(s.Cluster, database, `INSERT INTO t SELECT n, 'z' FROM generate_series(1, 1000) n; TRUNCATE young; ALTER TABLE e SET TABLESPACE pg_default`)
				in(s.Cluster, database, "VACUUM FULL pg_class")
			}
			s.SQL("CREATE DATABASE third TEMPLATE other")
			const contents = "SELECT (SELECT count(*) || sum(hashtext(t::text))::text FROM t), (SELECT count(*) FROM e), (SELECT count(*) FROM young)"
			want := in(s.Cluster, "kept", contents)
			s.endSegment()
			s.nothingWaits()
			oid := s.SQL("SELECT oid FROM pg_database WHERE datname = 'kept'")
			c := s.recovered(t, "--archive-mode", "off", "--only-database", oid, "--tablespace-root", pgtest.TempDir(t))
			expect(t, "contents", in(c, "kept", contents), want)
			if out, err := c.Command("psql", "-XAtq", "-d", "other", "-c", "SELECT count(*) FROM t").CombinedOutput(); err == nil {
				t.Errorf("the other database answers: %s", out)
			}
			c.SQL("DROP DATABASE other")
			c.SQL("DROP DATABASE third")
			c.SQL("VACUUM")
			c.Run("pg_amcheck", "--install-missing", "-d", "kept")
			c.Run("pg_dumpall", "--file", filepath.Join(c.Socket, "dump"))
		})
	}
}
