package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgpipes/lib/durable"
	"pgpipes/test/pgtest"
	"pgpipes/test/s3"
)

// behindSFTP has repositories on a host that offers nothing but sftp.
func (s *site) behindSFTP() *farHost {
	s.t.Helper()
	h := newFarHost(s)
	h.host.Admit("user", `command="internal-sftp"`)
	s.beside = func(name string) (repo, local string) {
		return "sftp://backup" + s.path(name) + "?config=" + h.path("config"), s.path(name)
	}
	return h
}

// inBucket has repositories in a bucket of a real S3 server.
func (s *site) inBucket() {
	s.t.Helper()
	server := s3.StartAs(s.t, pgtest.TempDir(s.t), s.Cluster.Command, "bucket")
	keys := s.path("keys")
	text := "[default]\naws_access_key_id = " + s3.Access + "\naws_secret_access_key = " + s3.Secret + "\n"
	if err := os.WriteFile(keys, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	s.beside = func(name string) (repo, local string) {
		return server.Location("bucket/pg/"+name) + "&credentials=" + keys, filepath.Join(server.Dir, "bucket/pg", name)
	}
}

// All that is done with a directory is done with a repository elsewhere.
func TestRepositoryElsewhere(t *testing.T) {
	for _, kind := range []string{"sftp", "s3"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newSiteOn(t, kind, small)
			s.SQL("CREATE TABLE rows (n int)")
			s.must("check", "-r", s.repo)
			s.backup("full")
			s.SQL("INSERT INTO rows VALUES (1)")
			s.must("backup", "-r", s.repo, "-D", s.Data, "--fast", "--label", "more", "--since", "full")
			s.SQL("INSERT INTO rows VALUES (2)")
			then := s.SQL("SELECT clock_timestamp()")
			s.SQL("INSERT INTO rows VALUES (3)")
			s.must("check", "-r", s.repo)
			expect(t, "backups", s.listed(), "full more")
			s.must("manifest", "verify", "-r", s.repo)

			c := s.recovered(t, "--archive-mode", "off", "--protect", "0")
			expect(t, "rows", c.SQL(allRows), "1,2,3")
			c.Stop("fast")
			s.must("restore", "-r", s.repo, "-D", c.Data, "--delta", "--archive-mode", "off", "--protect", "0")
			expect(t, "rows then", s.recovered(t, "--archive-mode", "off", "--to", "time="+then).SQL(allRows), "1,2")

			s.must("backup", "-r", s.repo, "-D", s.Data, "--fast", "--label", "newest", "--keep-last", "1")
			expect(t, "backups, as one was just restored", s.listed(), "full more newest")
			s.must("repo", "rm", "-r", s.repo, strings.TrimSpace(s.must("repo", "ls", "-r", s.repo, "restore/")))
			s.refuses(1, "expire: lock expire: busy: held by pid", "repo", "lock", "-r", s.repo, "expire", "expire", "-r", s.repo, "--keep-last", "1")
			s.must("expire", "-r", s.repo, "--keep-last", "1")
			expect(t, "backups", s.listed(), "newest")
			expect(t, "rows at last", s.recovered(t, "--archive-mode", "off").SQL(allRows), "1,2,3")
			shell(t, "sh", "-euc", `other=$(sed 's/^\(system-identifier.\).*/\142/' "$1"); printf '%s\n' "$other" >"$1"`, "sh", filepath.Join(s.local, "pgpipes"))
			s.refuses(1, "belongs to another cluster: its system identifier is 42", "check", "-r", s.repo)
			filepath.WalkDir(s.local, func(path string, _ os.DirEntry, _ error) error {
				if strings.HasPrefix(filepath.Base(path), durable.TemporaryPrefix) {
					t.Errorf("left behind: %s", path)
				}
				return nil
			})
		})
	}
}

// A killed backup leaves its parts there, and the next one goes on with them.
func TestResumeElsewhere(t *testing.T) {
	for _, kind := range []string{"sftp", "s3"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newSiteOn(t, kind, small)
			s.SQL("CREATE TABLE rows (n int)")
			s.must("check", "-r", s.repo)
			cmd := s.Command("backup", "-r", s.repo, "-D", s.Data, "--fast", "--label", "b", "-j", "1", "--part-size", "4MiB", "--", "--max-rate", "20MiB")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			first := s.inRepo("base/b/001.tar.zst")
			eventually(t, "two parts", func() bool { return exists(first) })
			cmd.Process.Kill()
			cmd.Wait()
			s.noBackupRuns()
			before, err := os.Stat(first)
			if err != nil {
				t.Fatal(err)
			}
			s.must("backup", "-r", s.repo, "-D", s.Data, "--fast", "--resume")
			if after, err := os.Stat(first); err != nil || !os.SameFile(before, after) {
				t.Errorf("a part was stored again: %v", err)
			}
			expect(t, "backups", s.listed(), "b")
			s.must("manifest", "verify", "-r", s.repo)
		})
	}
}

// A repository nearby is drained to one far away, which loses nothing when the
// near one is lost.
func TestForward(t *testing.T) {
	t.Parallel()
	s := hereSite(t, small)
	near, far := s.repo, s.path("far")
	s.SQL("CREATE TABLE rows (n int)")
	s.backup("a")
	old := s.row(1)
	s.must("forward", "-r", near, "--to", far, "--once", "--keep-last", "1")
	s.backup("b")
	s.row(2)
	s.must("forward", "-r", near, "--to", far, "--once", "--keep-last", "1")
	expect(t, "backups nearby", s.listed(), "b")
	if exists(segmentFile(near, old)) || !exists(segmentFile(far, old)) {
		t.Error("the near repository was not emptied, or the far one was")
	}
	s.refuses(0, "busy", "repo", "lock", "-r", near, "backup", "forward", "-v", "-r", near, "--to", far, "--once", "--keep-last", "1")
	daemon := s.Command("forward", "-r", near, "--to", far, "--every", "1s")
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	last := s.row(3)
	eventually(t, "forwarded", func() bool { return exists(segmentFile(far, last)) })
	daemon.Process.Signal(os.Interrupt)
	daemon.Wait()
	expect(t, "status", itoa(statusOf(daemon.ProcessState)), "130")
	s.must("rm", "-r", near)
	s.use(far)
	s.must("manifest", "verify", "-r", far)
	expect(t, "backups far away", s.listed(), "a b")
	expect(t, "rows", s.recovered(t, "--archive-mode", "off").SQL(allRows), "1,2,3")
}

// A backup whose WAL is lost nearby is told of in every round, and keeps nothing
// else from being brought. What is nearby stays until the backup is given up.
func TestForwardWithoutWhatIsLost(t *testing.T) {
	t.Parallel()
	s := hereSite(t, small)
	near, far := s.repo, s.path("far")
	s.SQL("CREATE TABLE rows (n int)")
	s.backup("a")
	missing := s.startSegment("a")
	s.must("rm", s.segmentFile(missing))
	s.row(1)
	s.backup("b")
	old := s.row(2)
	s.backup("c")
	s.row(3)
	s.backup("d")
	forward := []string{"forward", "-r", near, "--to", far, "--once", "--keep-last", "2"}
	for range 2 {
		r := s.run(forward[0], forward[1:]...)
		if r.status != 1 || strings.Count(r.err, "a: its WAL is lost: hole in the archive: "+missing) != 1 || !strings.Contains(r.err, "nothing is removed from "+near) {
			t.Error(r)
		}
		expect(t, "nearby", s.listed(), "a b c d")
		if !exists(s.segmentFile(old)) || !exists(segmentFile(far, old)) {
			t.Error("something was not brought, or was removed")
		}
	}
	s.must("repo", "rm", "-r", near, "base/a/manifest")
	s.must("expire", "-r", near, "--abandon", "a")
	s.must(forward[0], forward[1:]...)
	expect(t, "nearby at last", s.listed(), "c d")
	if exists(s.segmentFile(old)) {
		t.Error("what was brought was not removed nearby")
	}
	s.use(far)
	expect(t, "far away", s.listed(), "b c d")
	expect(t, "rows", s.recovered(t, "--archive-mode", "off").SQL(allRows), "1,2,3")
}

// With two repositories a backup goes to both. One that is away does not keep it
// from the other, and what one has lost or damaged comes from the other.
func TestTwoRepositories(t *testing.T) {
	t.Parallel()
	s := newSiteOn(t, "s3", small)
	s.must("mkdir", s.path("disk"))
	far, near := s.repo, s.path("disk/near")
	s.Configure(archiveTo(t, near, far))
	s.SQL("SELECT pg_reload_conf()")
	backup := func(label string) []string {
		return []string{"-r", near, "-r", far, "-D", s.Data, "--fast", "--label", label, "--part-size", "4MiB", "--keep-last", "1"}
	}
	both := func(label string) {
		t.Helper()
		for _, repo := range []string{near, far} {
			s.must("manifest", "verify", "-r", repo)
			s.repo = repo
			expect(t, "backups in "+repo, s.listed(), label)
		}
	}
	s.SQL("CREATE TABLE rows (n int)")
	s.must("backup", backup("a")...)
	both("a")
	s.must("backup", backup("b")...)
	both("b")
	last := s.row(1)

	s.repo = near
	damage(t, filepath.Join(near, "base/b/001.tar.zst"), 100_000)
	s.must("rm", segmentFile(near, last), segmentFile(near, s.startSegment("b")))
	c := s.recovered(t, "-r", far, "--archive-mode", "off", "--protect", "0")
	expect(t, "rows", c.SQL(allRows), "1")

	s.must("mv", s.path("disk"), s.path("away"))
	s.refuses(111, "is good in "+far, "backup", backup("c")...)
	s.row(2)
	s.repo = far
	s.refuses(0, "leave it out", "restore", "-r", near, "-r", far, "-D", s.path("data"))
	expect(t, "rows without the first", s.recovered(t, "--archive-mode", "off").SQL(allRows), "1,2")
	s.must("mv", s.path("away"), s.path("disk"))
	s.catchUp()
}

// A backup that brings its WAL, from a repository that has no other, is recovered
// beyond its end with the WAL of another one. Of one that is away nobody knows that it
// has none.
func TestRestoreWithWALElsewhere(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE rows (n int)")
	s.must("backup", "-r", s.repo, "-D", s.Data, "--fast", "--label", "b", "--with-wal")
	first := s.path("first")
	s.must("repo", "copy", "--backup", "b", s.repo, first)
	expect(t, "WAL", s.must("repo", "ls", "-r", first, "wal/0"), "")
	s.row(1)
	archive := s.repo
	s.repo = first
	expect(t, "rows", s.recovered(t, "-r", archive, "--archive-mode", "off").SQL(allRows), "1")

	gone, data := s.path("gone"), s.path("data")
	s.refuses(0, "whether "+gone+" has WAL is unknown: ", "restore", "-r", first, "-r", gone, "-D", data)
	s.must("sh", "-c", `! grep -F "case %f in" "$1" && grep -F "$2" "$1"`, "sh", filepath.Join(data, "postgresql.auto.conf"), gone)
}
