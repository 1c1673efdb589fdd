package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"pgpipes/test/pgtest"
)

// What restore cannot do it refuses before it writes anything.
func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE rows (n int)")
	s.backup("b")
	end := s.SQL("SELECT pg_current_wal_lsn()")
	segment := s.row(1)
	s.nothingWaits()
	data := s.path("data")
	tests := []struct {
		name, says string
		status     int
		options    []string
	}{
		{"time before the backup", "no backup can be recovered", 1, []string{"--to", "time=2001-01-01T00:00:00Z"}},
		{"LSN before the backup", "no backup can be recovered", 1, []string{"--to", "lsn=0/1"}},
		{"LSN not yet archived", "no backup can be recovered", 1, []string{"--to", "lsn=FF/0"}},
		{"no such timeline", "no backup can be recovered", 1, []string{"--timeline", "9"}},
		{"no such backup", "not in the repository", 1, []string{"--backup", "nonesuch"}},
		{"no such target", "not a target", 100, []string{"--to", "yesterday"}},
		{"time without a zone", "in which time zone", 100, []string{"--to", "time=2026-01-01 10:00"}},
		{"option for nothing", "--action", 100, []string{"--action", "pause"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := s.in(t)
			s.refuses(test.status, test.says, "restore", append([]string{"-r", s.repo, "-D", data}, test.options...)...)
			if exists(data) {
				t.Error("something was written")
			}
		})
	}
	s.refuses(111, "no repository", "restore", "-r", s.path("nowhere"), "-D", data)
	t.Run("a reachable LSN", func(t *testing.T) {
		expect(t, "rows", s.recovered(t, "--to", "lsn="+end, "--archive-mode", "off").SQL("SELECT count(*) FROM rows"), "0")
	})
	t.Run("holes that nobody knows of", func(t *testing.T) {
		s := s.in(t)
		blind := withFake(t, "manifest", `case " $* " in *" --windows "*) exit 111 ;; esac; exec REAL "$@"`)
		s.must(filepath.Join(blind, "restore"), "-r", s.repo, "-D", s.path("blind"), "--to", "lsn="+end, "--archive-mode", "off")
		off := strings.Contains(s.must("cat", s.path("blind/postgresql.auto.conf")), "recovery_prefetch = 'off'")
		expect(t, "no prefetch", fmt.Sprint(off), fmt.Sprint(s.Major() >= 15))
	})
	t.Run("over a cluster", func(t *testing.T) {
		s.refuses(100, "a server runs in it", "restore", "-r", s.repo, "-D", s.Data)
		s.SQL("SELECT 1")
	})
	t.Run("WAL missing", func(t *testing.T) {
		s := s.in(t)
		shell(t, "mv", s.segmentFile(segment), s.path("hidden"))
		s.row(2)
		s.refuses(1, segment+" is missing", "restore", "-r", s.repo, "-D", data)
		s.refuses(0, "", "restore", "-r", s.repo, "-D", data, "--to", "immediate")
	})
}

// A damaged part is found before the restore calls it done.
func TestRestoreOfDamagedBackup(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.backup("b")
	needed := s.segmentFile(s.startSegment("b"))
	shell(t, "cp", "-p", needed, s.path("saved"))
	rot(t, needed)
	if r := s.run("manifest", "verify", "-r", s.repo); r.status != 1 || !strings.Contains(r.out, filepath.Base(needed)) {
		t.Errorf("manifest verify: %s", r)
	}
	shell(t, "mv", "-f", s.path("saved"), needed)
	s.must("manifest", "verify", "-r", s.repo)
	rot(t, s.inRepo("base/b/000.tar.zst"))
	r := s.run("restore", "-r", s.repo, "-D", s.path("data"))
	if r.status != 1 && r.status != 111 {
		t.Errorf("restore: %s", r)
	}
	if exists(s.path("data")) {
		t.Error("something was left")
	}
	if r := s.run("manifest", "verify", "-r", s.repo); r.status != 1 && r.status != 111 {
		t.Errorf("manifest verify: %s", r)
	}
}

// A manifest that is damaged behind its header is told of once, with the backup's
// name, before anything is written; an older backup restores, and expire leaves it.
func TestRestoreOfDamagedManifest(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE rows (n int)")
	s.backup("a")
	s.row(1)
	s.backup("b")
	s.nothingWaits()
	s.must("repo", "copy", s.repo, s.path("other"))
	manifest := s.inRepo("base/b/manifest")
	shell(t, "chmod", "u+w", manifest)
	shell(t, "truncate", "-s", "100000", manifest)
	r := s.run("restore", "-r", s.repo, "-D", s.path("data"))
	if r.status != 111 || strings.Count(r.err, "\n") != 2 ||
		!strings.Contains(r.err, "restore: backup b: damaged manifest: line ") || !strings.Contains(r.err, "restore: hint: an older one may work: --backup") {
		t.Errorf("restore: %s", r)
	}
	if exists(s.path("data")) {
		t.Error("something was left")
	}
	expect(t, "notes of restores", s.must("repo", "ls", "-r", s.repo, "restore/"), "")
	s.refuses(111, "nothing is removed while a backup is not whole: b: ", "expire", "-r", s.repo, "--keep-last", "1")
	s.must("restore", "-r", s.repo, "-D", s.path("data"), "--backup", "a", "--archive-mode", "off")
	both := s.run("restore", "-r", s.repo, "-r", s.path("other"), "-D", s.path("whole"), "--archive-mode", "off")
	if both.status != 0 || !strings.Contains(both.err, "restore: backup b: damaged manifest: line ") || !exists(s.path("whole/global/pg_control")) {
		t.Errorf("the manifest of another repository: %s", both)
	}
}

// startSegment is the first segment that a backup needs.
func (s *site) startSegment(label string) string {
	s.t.Helper()
	for line := range strings.Lines(s.must("manifest", "show", "-r", s.repo, "--header", label)) {
		if lsn, found := strings.CutPrefix(line, "start-lsn\t"); found {
			return s.SQL("SELECT pg_walfile_name('" + strings.TrimSpace(lsn) + "'::pg_lsn + 1)")
		}
	}
	s.t.Fatal("no start-lsn in the manifest")
	return ""
}

// Where a restore point is nobody knows before the recovery: the newest backup may be
// younger.
func TestRestorePointBeforeTheNewestBackup(t *testing.T) {
	t.Parallel()
	s := newSite(t, small)
	s.SQL("CREATE TABLE rows (n int)")
	s.backup("older")
	s.row(1)
	s.SQL("SELECT pg_create_restore_point('here')")
	s.row(2)
	s.backup("newer")
	restore := func(options ...string) result {
		return s.run("restore", append([]string{"-r", s.repo, "-D", filepath.Join(pgtest.TempDir(t), "data"), "--to", "name=here"}, options...)...)
	}
	const hint = "name=here it may lie before the end of newer: choose an older one"
	if r := restore(); r.status != 0 || !strings.Contains(r.err, hint) {
		t.Errorf("the newest: %s", r)
	}
	if r := restore("--backup", "older"); r.status != 0 || strings.Contains(r.err, "may lie before") {
		t.Errorf("an older one: %s", r)
	}
	c := s.recovered(t, "--to", "name=here", "--backup", "older", "--archive-mode", "off")
	expect(t, "rows", c.SQL("SELECT string_agg(n::text, ',' ORDER BY n) FROM rows"), "1")
}
