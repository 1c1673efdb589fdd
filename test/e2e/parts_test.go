package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pgpipes/test/pgtest"
)

// tiny has a small cluster make many parts.
var tiny = []string{"--part-size", "1MiB", "-j", "2"}

// copies are the files of a backup that its own parts hold.
func (s *site) copies(label string) map[string]bool {
	s.t.Helper()
	own := map[string]bool{}
	for line := range strings.Lines(s.must("manifest", "show", "-r", s.repo, label)) {
		c := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(c) >= 8 && c[0] == "f" && !strings.Contains(c[6], "/") {
			own[c[7]] = true
		}
	}
	return own
}

// Increments hold what has changed, under load, and every one of them restores:
// also the last, of files from all of them.
func TestIncrements(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.populate()
	idle := s.SQL("CREATE TABLE idle AS SELECT n, repeat('i', 500) AS pad FROM generate_series(1, 3000) n; CHECKPOINT; SELECT pg_relation_filepath('idle')")
	idle = idle[strings.LastIndex(idle, "\n")+1:]
	time.Sleep(3 * time.Second) // the times of files tell something when they are older than the backup
	s.must("backup", append([]string{"-r", s.repo, "-D", s.Data, "--fast", "--label", "full"}, tiny...)...)
	s.burst(100)
	s.disturb()
	stop := s.keepBusy()
	s.must("backup", append([]string{"-r", s.repo, "-D", s.Data, "--fast", "--label", "inc1", "--since", "full"}, tiny...)...)
	stop()
	s.SQL("INSERT INTO marks VALUES ('between')")
	s.must("backup", append([]string{"-r", s.repo, "-D", s.Data, "--fast", "--label", "inc2", "--since", "last"}, tiny...)...)
	s.SQL("INSERT INTO marks VALUES ('after')")
	want := s.SQL(digest)
	s.endAnySegment()
	s.nothingWaits()

	if !s.copies("full")[idle] || s.copies("inc1")[idle] || s.copies("inc2")[idle] {
		t.Errorf("%s is copied again, or not at all", idle)
	}
	for _, label := range []string{"full", "inc1", "inc2"} {
		c := s.recovered(t, "--backup", label, "--archive-mode", "off", "--tablespace", s.spaceOID()+"="+s.path(label+" space"))
		expect(t, label, c.SQL(digest), want)
		c.Run("pg_amcheck", "--install-missing", "-d", "postgres")
		c.Stop("fast")
		c.Run("pg_checksums", "--check", "-D", c.Data)
	}
	s.must("manifest", "verify", "-r", s.repo)
	s.must("expire", "-r", s.repo, "--keep-last", "1")
	s.must("manifest", "verify", "-r", s.repo, "inc2")
	s.must("rm", "-r", s.path("inc2 space"))
	s.restored(t, "--backup", "inc2", "--tablespace", s.spaceOID()+"="+s.path("inc2 space"))
}

// spaceOID is the tablespace that populate makes.
func (s *site) spaceOID() string {
	s.t.Helper()
	return s.SQL("SELECT oid FROM pg_tablespace WHERE spcname = 'elsewhere'")
}

// A backup that is killed, again and again, and then gone on with is equal to
// one that was not, and copies nothing twice that has not changed.
func TestResume(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.populate()
	s.SQL("CREATE TABLE idle AS SELECT n, repeat('i', 500) AS pad FROM generate_series(1, 20000) n; CHECKPOINT")
	time.Sleep(3 * time.Second)
	options := append([]string{"-r", s.repo, "-D", s.Data, "--fast", "--resume"}, tiny...)
	for _, parts := range []int{2, 4, 6} {
		s.interrupt(parts, append(options, "--label", "b")...)
		s.SQL("INSERT INTO marks VALUES ('interrupted')")
		if exists(s.inRepo("base/b/manifest")) {
			t.Fatal("it was not interrupted")
		}
	}
	stored := s.stored("b")
	s.must("backup", append(options, "--label", "b")...)
	for name, at := range stored {
		if name == "start" {
			continue
		}
		if info, err := os.Stat(s.inRepo("base/b", name)); err != nil || !info.ModTime().Equal(at) {
			t.Errorf("%s was written again, or is gone: %v", name, err)
		}
	}
	s.must("manifest", "verify", "-r", s.repo)
	s.SQL("CHECKPOINT")
	s.must("backup", append([]string{"-r", s.repo, "-D", s.Data, "--fast", "--label", "c"}, tiny...)...)
	if b, c := s.outline("b"), s.outline("c"); b != c {
		t.Errorf("the manifests are of different files:\n%s\n%s", b, c)
	}
	if b, c := len(s.stored("b")), len(s.stored("c")); b > c+9 {
		t.Errorf("%d parts with three interruptions, %d without", b, c)
	}
	want := s.SQL(digest)
	s.endAnySegment()
	s.nothingWaits()
	c := s.recovered(t, "--backup", "b", "--archive-mode", "off", "--tablespace", s.spaceOID()+"="+s.path("space"))
	expect(t, "contents", c.SQL(digest), want)
	c.Run("pg_amcheck", "--install-missing", "-d", "postgres")
}

// interrupt starts the backup script and kills it and its base-copy as soon as
// a number of parts is stored. The commands that store parts see their input
// end, and store what they have got; they have the lock until then.
func (s *site) interrupt(parts int, options ...string) {
	s.t.Helper()
	cmd := s.Command("backup", append(options, "--", "--max-rate", "4MiB")...)
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, "some parts", func() bool {
		found, _ := filepath.Glob(s.inRepo("base/b/*.tar.zst"))
		return len(found) >= parts
	})
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
	cmd.Wait()
	s.noBackupRuns()
	s.must("repo", "lock", "-r", s.repo, "backup", "--wait", "1m", "true")
}

// stored are the objects of a backup and when they were stored.
func (s *site) stored(label string) map[string]time.Time {
	s.t.Helper()
	list, err := os.ReadDir(s.inRepo("base", label))
	if err != nil {
		s.t.Fatal(err)
	}
	found := map[string]time.Time{}
	for _, e := range list {
		if info, err := e.Info(); err == nil {
			found[e.Name()] = info.ModTime()
		}
	}
	return found
}

// outline is what a manifest says about the files that two backups of an idle
// server have in common.
func (s *site) outline(label string) string {
	s.t.Helper()
	var lines []string
	for line := range strings.Lines(s.must("manifest", "show", "-r", s.repo, label)) {
		c := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(c) >= 8 && (c[0] == "f" || c[0] == "d") {
			lines = append(lines, c[0]+" "+c[1]+" "+c[2]+" "+c[7])
		}
	}
	return strings.Join(lines, "\n")
}

// What an interrupted backup has left goes when the next one begins.
func TestLeftoverIsRemoved(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.interrupt(2, append([]string{"-r", s.repo, "-D", s.Data, "--fast", "--label", "b"}, tiny...)...)
	s.backup("next")
	expect(t, "left", s.must("repo", "ls", "-r", s.repo, "base/b/"), "")
	s.must("manifest", "verify", "-r", s.repo)
}

// What is needed or pinned of one that has no manifest stays, what is not ours, and
// what does not say when it began: somebody may be copying it in.
func TestLeftoverThatStays(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.backup("full")
	s.must("backup", "-r", s.repo, "-D", s.Data, "--fast", "--label", "increment", "--since", "full")
	s.must("repo", "rm", "-r", s.repo, "base/full/manifest") // given up, as expire says how
	for key, text := range map[string]string{
		"base/pinned/000.tar": "x", "base/pinned/keep": "evidence", "base/pinned/start": "torn", "base/no label/a * b": "x", "base/dead/000.tar": "x", "base/dead/a * b": "x", "base/dead/start": "torn", "base/copied/000.tar": "x",
	} {
		s.must("mkdir", "-p", filepath.Dir(s.inRepo(key)))
		s.must("sh", "-c", `printf %s "$1" > "$2"`, "sh", text, s.inRepo(key))
	}
	s.backup("next")
	left := s.must("repo", "ls", "-r", s.repo, "base/pinned/") + s.must("repo", "ls", "-r", s.repo, "base/no label/") +
		s.must("repo", "ls", "-r", s.repo, "base/dead/") + s.must("repo", "ls", "-r", s.repo, "base/copied/")
	expect(t, "left", left, "base/pinned/000.tar\nbase/pinned/keep\nbase/pinned/start\nbase/no label/a * b\nbase/copied/000.tar\n")
	s.must("manifest", "verify", "-r", s.repo, "increment")
}

// A backup with its WAL starts without an archive, from a server that has none.
func TestWithWAL(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.populate()
	s.Stop("fast")
	s.Configure("archive_mode = off")
	s.Start()
	stop := s.keepBusy()
	dir := s.path("data")
	s.must("sh", "-euc", `mkdir -m 700 "$2"; cd "$2"; base-copy -D "$1" --fast --with-wal -m "$3" | tar -xpf -
		pg_verifybackup . && mkdir "$3 space" && mv pg_tblspc/*/* "$3 space" && rmdir pg_tblspc/* && sed -i "s|/.*|$3 space|" tablespace_map`,
		"sh", s.Data, dir, s.path("manifest"))
	stop()
	c := pgtest.Attach(t, dir)
	c.Start()
	expect(t, "balanced", c.SQL(balanced), "t")
	c.Run("pg_amcheck", "--install-missing", "-d", "postgres")
}

// Parts may be stored by any command, which stands for encryption here: the
// backup, one that is resumed, its verification and the restore go through it.
func TestPartsThroughCommands(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.populate()
	in := `gzip -1 | base64 -w 0 | repo put -r "` + s.repo + `" "base/$LABEL/$PART.tar.gz.b64"`
	out := `repo get -r "` + s.repo + `" "$KEY" | base64 -d`
	through := append([]string{"-r", s.repo, "-D", s.Data, "--fast", "--label", "b", "--filter", in, "--source", out}, tiny...)
	cmd := s.Command("backup", append(through, "--", "--max-rate", "4MiB")...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "some parts", func() bool {
		found, _ := filepath.Glob(s.inRepo("base/b/*.b64"))
		return len(found) >= 3
	})
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err == nil || exists(s.inRepo("base/b/manifest")) {
		t.Fatalf("it was not interrupted: %v", err)
	}
	s.noBackupRuns()
	parts := len(s.stored("b"))
	s.must("backup", append(through, "--resume")...)
	if after := len(s.stored("b")); after <= parts {
		t.Errorf("%d objects were there, %d are", parts, after)
	}
	s.must("manifest", "verify", "-r", s.repo, "--source", out)
	want := s.SQL(digest)
	s.endAnySegment()
	s.nothingWaits()
	c := s.recovered(t, "--source", out, "--archive-mode", "off", "--tablespace", s.spaceOID()+"="+s.path("space"))
	expect(t, "contents", c.SQL(digest), want)
}

// A backup that brings its WAL is restored by the script where there is no
// archive at all.
func TestRestoreWithWALAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.populate()
	s.SQL("CREATE DATABASE \"odd 'name'\"")
	s.Stop("fast")
	s.Configure("archive_mode = off")
	s.Start()
	s.must("rm", "-rf", s.local)
	s.must("backup", "-r", s.repo, "-D", s.Data, "--fast", "--label", "b", "--with-wal")
	s.must("manifest", "verify", "-r", s.repo)
	header := s.must("manifest", "show", "-r", s.repo, "--header", "b")
	for _, line := range []string{"wal\tincluded\n", "\todd 'name'\n", "x-database\t"} {
		if !strings.Contains(header, line) {
			t.Errorf("no %q in\n%s", line, header)
		}
	}
	want := s.SQL(digest)
	c := s.restored(t, "--tablespace", s.spaceOID()+"="+s.path("space"))
	c.Start()
	expect(t, "contents", c.SQL(digest), want)
}

// Its own WAL takes a backup to its end, also where the archive has a hole.
func TestRestoreWithWALOverHole(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.populate()
	s.must("backup", "-r", s.repo, "-D", s.Data, "--fast", "--label", "b", "--with-wal")
	needed := s.segmentFile(s.startSegment("b"))
	s.endAnySegment()
	s.nothingWaits()
	s.must("rm", needed)
	space := s.spaceOID() + "=" + s.path("space")
	s.refuses(1, "is missing", "restore", "-r", s.repo, "-D", s.path("data"), "--tablespace", space)
	c := s.recovered(t, "--to", "immediate", "--archive-mode", "off", "--tablespace", space)
	expect(t, "timeline", c.SQL("SELECT timeline_id FROM pg_control_checkpoint()"), "2")
	expect(t, "balanced", c.SQL(balanced), "t")
}

// What a standby has on its disk has times of its own: nothing of its backup is
// taken for unchanged without a look at the contents.
func TestIncrementOfStandbysBackup(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	standby := s.Standby("archive_mode = off")
	s.SQL("CREATE TABLE victim AS SELECT n, md5(n::text) AS pad FROM generate_series(1, 20000) n; CHECKPOINT")
	standby.Until("SELECT pg_last_wal_replay_lsn() >= '"+s.SQL("SELECT pg_current_wal_lsn()")+"'", "t")
	standby.SQL("CHECKPOINT")
	s.SQL("CREATE INDEX ON victim (n)")
	end := s.SQL("SELECT pg_current_wal_lsn()")
	standby.Until("SELECT pg_last_wal_replay_lsn() >= '"+end+"'", "t")
	time.Sleep(3 * time.Second)
	put := `repo put -r "` + s.repo + `" -c zstd "base/$LABEL/$PART.tar.zst"`
	s.must("base-copy", "-D", standby.Data, "-d", standby.ConnInfo(), "--fast", "--no-archive-check", "--label", "h1", "--filter", put, "-m", s.path("h1"))
	s.SQL("CHECKPOINT")
	s.must("base-copy", "-D", s.Data, "--fast", "--no-archive-check", "--label", "h2", "--since", s.path("h1"), "--filter", put, "-m", s.path("h2"))
	s.endAnySegment()
	s.nothingWaits()
	s.must("sh", "-euc", `repo put -r "$1" base/h1/manifest <"$2"; repo put -r "$1" base/h2/manifest <"$3"`, "sh", s.repo, s.path("h1"), s.path("h2"))
	c := s.recovered(t, "--backup", "h2", "--archive-mode", "off")
	c.Run("pg_amcheck", "--install-missing", "--heapallindexed", "-d", "postgres", "-t", "victim")
}

// What another host has begun today may be under way there.
func TestBackupElsewhereIsLeftAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.interrupt(2, append([]string{"-r", s.repo, "-D", s.Data, "--fast", "--label", "b"}, tiny...)...)
	s.must("sed", "-i", "s/^host\t.*/host\telsewhere/", s.inRepo("base/b/start"))
	before := s.must("repo", "ls", "-r", s.repo, "base/b/")
	s.backup("next")
	expect(t, "left", s.must("repo", "ls", "-r", s.repo, "base/b/"), before)
	s.must("sh", "-c", `touch -d 2026-01-01 "$1"/*`, "sh", s.inRepo("base/b"))
	s.backup("later")
	expect(t, "left", s.must("repo", "ls", "-r", s.repo, "base/b/"), "")
}
