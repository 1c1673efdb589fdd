package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"pgpipes/test/pgtest"
)

// Two backups, and only the last is to be kept: the first goes with its WAL, the
// history stays, and the second restores.
func TestBackupKeepsLast(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE rows (n int)")
	s.backup("first")
	old := s.row(1)
	s.row(2)
	s.Stop("fast")
	s.must("touch", filepath.Join(s.Data, "recovery.signal"))
	s.Configure(restoreFrom(t, s.repo))
	if !recovers(t, s.Cluster) {
		t.Fatal(s.Log())
	}
	s.row(3)
	s.must("backup", "-r", s.repo, "-D", s.Data, "--fast", "--label", "second", "--keep-last", "1")
	s.row(4)

	expect(t, "backups", s.listed(), "second")
	if exists(s.segmentFile(old)) {
		t.Errorf("%s is still there", old)
	}
	if !exists(s.inRepo("wal/history/00000002.history")) {
		t.Error("the history is gone")
	}
	s.must("manifest", "verify", "-r", s.repo)
	expect(t, "rows", s.recovered(t).SQL(allRows), "1,2,3,4")
}

// listed is the labels of the backups, one a line.
func (s *site) listed() string {
	s.t.Helper()
	var labels []string
	for line := range strings.Lines(s.must("manifest", "list", "--backups", "-r", s.repo)) {
		label, _, _ := strings.Cut(line, "\t")
		labels = append(labels, label)
	}
	return strings.Join(labels, " ")
}

// The dry run of expire says what the real one does, and removes nothing.
func TestExpireDryRun(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.backup("a")
	s.endAnySegment()
	s.backup("b")
	s.backup("c")
	s.nothingWaits()
	before := s.must("repo", "ls", "-r", s.repo)
	dry := s.must("expire", "-r", s.repo, "--keep-last", "1", "--dry-run")
	expect(t, "after the dry run", s.must("repo", "ls", "-r", s.repo), before)
	expect(t, "the real run", s.must("expire", "-r", s.repo, "--keep-last", "1"), dry)
	expect(t, "backups", s.listed(), "c")
	if !strings.Contains(dry, "drop\tbackup\ta\t") || !strings.Contains(dry, "keep\tbackup\tc\t") {
		t.Error(dry)
	}
}

// A second backup at the same time is told that one runs.
func TestBackupIsBusy(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.must("repo", "init", "-r", s.repo, "-D", s.Data)
	r := s.run("repo", "lock", "-r", s.repo, "backup", "backup", "-r", s.repo, "-D", s.Data, "--fast", "--label", "b")
	if r.status != 1 || !strings.Contains(r.err, "backup") {
		t.Errorf("backup: %s", r)
	}
	expect(t, "backups", s.listed(), "")
	s.backup("b")
	s.refuses(1, "there is a backup of that name", "backup", "-r", s.repo, "-D", s.Data, "--fast", "--label", "b")
	expect(t, "backups", s.listed(), "b")

	// One that is named by its time waits for another second.
	fake := withFake(t, "date", `[ -e "$0.asked" ] || { : >"$0.asked"; echo b; exit; }; PATH=${PATH#*:} exec date "$@"`)
	s.must(filepath.Join(fake, "backup"), "-r", s.repo, "-D", s.Data, "--fast")
	expect(t, "number of backups", itoa(len(strings.Fields(s.listed()))), "2")
	s.must("manifest", "verify", "-r", s.repo)
}

// A backup that fails on its way is none, whichever stage it was, and the next
// one removes what it has left.
func TestBackupThatFails(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.backup("good")
	failures := map[string]struct {
		program, fake, says string
		status              int
	}{
		"base-copy":                {"base-copy", "exit 111", "base-copy ended with status 111", 111},
		"repo put of parts":        {"repo", `case " $* " in *" put "*.tar*) head -c 100000 >/dev/null; exit 111;; esac; exec REAL "$@"`, "ended with status 111", 111},
		"repo put of the manifest": {"repo", `case " $* " in *" put "*/manifest*) exit 111;; esac; exec REAL "$@"`, "--resume", 111},
		"manifest":                 {"manifest", `case $1 in verify) exit 1;; esac; exec REAL "$@"`, "--resume", 1},
		"repo held":                {"repo", `case $1 in held) exit 111;; esac; exec REAL "$@"`, "--resume", 111},
	}
	for name, f := range failures {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			backup := filepath.Join(withFake(t, f.program, f.fake), "backup")
			r := s.run(backup, "-r", s.repo, "-D", s.Data, "--fast", "--label", "bad")
			if r.status != f.status || !strings.Contains(r.err, f.says) {
				t.Errorf("backup: %s", r)
			}
			if exists(s.inRepo("base/bad/manifest")) {
				t.Error("it is listed all the same")
			}
		})
	}
	s.backup("bad")
	s.must("manifest", "verify", "-r", s.repo)
	expect(t, "backups", s.listed(), "bad good")
	s.backup("newest")
	expect(t, "backups", s.listed(), "bad good newest")
}

// A backup that is stored and of which nobody has seen that it is bad stays.
func TestBackupThatCannotBeLookedAt(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	for label, verify := range map[string]string{"outage": "exit 111", "killed": "kill -TERM $PPID; sleep 1; exit 0"} {
		backup := filepath.Join(withFake(t, "manifest", `case $1 in verify) `+verify+`;; esac; exec REAL "$@"`), "backup")
		r := s.run(backup, "-r", s.repo, "-D", s.Data, "--fast", "--label", label)
		if want := map[string]int{"outage": 111, "killed": 128 + int(syscall.SIGTERM)}[label]; r.status != want || strings.Contains(r.err, "--resume") {
			t.Errorf("%s: %s", label, r)
		}
		s.must("manifest", "verify", "-r", s.repo, "--quick", label)
	}
	expect(t, "backups", s.listed(), "killed outage")
}

// withFake makes a directory of all programs but one, which is replaced by a
// script. In that REAL stands for the program.
func withFake(t *testing.T, program, script string) string {
	t.Helper()
	dir := pgtest.TempDir(t)
	list, err := filepath.Glob(filepath.Join(programs(t), "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range list {
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && filepath.Base(file) != program {
			shell(t, "cp", "-p", file, dir)
		}
	}
	script = "#!/bin/sh\n" + strings.ReplaceAll(script, "REAL", filepath.Join(programs(t), program)) + "\n"
	if err := os.WriteFile(filepath.Join(dir, program), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Check says that archiving works when it does, and what is wrong when not.
func TestCheck(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.must("check", "-r", s.repo)
	s.must("check", "-r", s.repo, "-D", s.Data)
	other := newCluster(t, shape{checksums: true, segmentMB: 1, serial: 1})
	s.must("repo", "init", "-r", s.path("other"), "-D", other.Data)
	s.refuses(1, "another cluster", "check", "-r", s.path("other"))
	s.must("chmod", "0", s.local)
	s.refuses(1, "not in the repository", "check", "-r", s.repo, "--timeout", "1")
	s.must("chmod", "700", s.local)
	s.catchUp()
	s.must("check", "-r", s.repo)

	// A copy of the server has archived there, and every restore follows it.
	s.must("sh", "-c", `printf '1\t0/2000000\tno reason\n' | repo put -r "$1" wal/history/00000012.history`, "sh", s.repo)
	s.refuses(1, "the server is on timeline 1, but a restore follows 18, ", "check", "-r", s.repo)
	s.must("repo", "rm", "-r", s.repo, "wal/history/00000012.history")
	s.must("check", "-r", s.repo)
	s.Stop("fast")
	s.must("pg_resetwal", "--wal-segsize=2", s.Data)
	s.Start()
	s.refuses(1, "is for WAL segments of", "check", "-r", s.repo)
	s.Stop("fast")
	s.Configure("archive_mode = off")
	s.Start()
	s.refuses(1, "archive_mode is off", "check", "-r", s.repo)
	s.Stop("fast")
	s.refuses(111, "", "check", "-r", s.repo)
}

// A backup killed by a signal cleans up after itself.
func TestBackupKilled(t *testing.T) {
	t.Parallel()
	s := newSite(t, small, "archive_command = 'false'")
	s.must("repo", "init", "-r", s.repo, "-D", s.Data)
	cmd := s.Command("backup", "-r", s.repo, "-D", s.Data, "--fast", "--label", "b")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "begun", func() bool { return exists(s.inRepo("base/b/start")) })
	cmd.Process.Signal(os.Interrupt)
	cmd.Wait()
	expect(t, "status", itoa(statusOf(cmd.ProcessState)), "130")
	expect(t, "left", s.must("repo", "ls", "-r", s.repo, "base/"), "")
	s.noBackupRuns()
}

// The demonstration ends well, and takes everything with it.
func TestDemo(t *testing.T) {
	t.Parallel()
	s := &site{Cluster: newCluster(t, small), t: t, dir: pgtest.TempDir(t)}
	if out := s.must("demo"); !strings.Contains(out, "restore") {
		t.Error(out)
	}
	left, err := filepath.Glob(s.path("*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}
